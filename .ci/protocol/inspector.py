"""The Inspector's command line, in each era."""

import json
import subprocess

from clients import check, environment, tool
from demands import PROMPTS, RESOURCES, TEMPLATES, demanded

# Calls of the load test, all of which must work.
LOAD = 500
IS_ERROR = 5


class Inspector:
    """Each command starts a server of its own, all with one home."""

    def __init__(self, world, era):
        self.world, self.era, self.done = world, era, 0

    def run(self, method, *options, code=0):
        """What a command prints; it exits with this code."""
        command = [tool("mcp-inspector"), "--cli", "--protocol-era", self.era]
        # It keeps its own environment to itself.
        for name, value in self.world.env.items():
            command += ["-e", f"{name}={value}"] if name.startswith("LAYER_") else []
        command += [self.world.program, "--sandbox", "serve", "--method", method]
        done = subprocess.run(
            [*command, "--format", "json", *options],
            env=environment(HOME=str(self.world.home)),
            cwd=self.world.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = f"{method} {options}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr}"
        check(done.returncode == code, said)
        self.done += 1
        return json.loads(done.stdout)["result"], done.stderr

    def listed(self, method, key, name):
        return {item[name] for item in self.run(method)[0][key]}

    def call(self, name, code=0, **arguments):
        options = ["--tool-name", name, "--tool-args-json", json.dumps(arguments)]
        return self.run("tools/call", *options, code=code)[0]

    def lists(self):
        result, said = self.run("tools/list", "--strict")
        check(len(result["tools"]) > 10, f"{len(result['tools'])} tools")
        check("error" not in said.lower() and "warning" not in said.lower(), said)
        if "prompts" in demanded:
            check(PROMPTS <= self.listed("prompts/list", "prompts", "name"), "prompts are missing")
        if "resources" in demanded:
            uris = self.listed("resources/list", "resources", "uri")
            check(RESOURCES <= uris, f"resources: {uris}")
            method = "resources/templates/list"
            uris = self.listed(method, "resourceTemplates", "uriTemplate")
            check(TEMPLATES <= uris, f"templates: {uris}")
            ledger, _ = self.run("resources/read", "--uri", "layer://ledger")
            check(ledger["contents"], "the ledger is empty")

    def calls(self):
        job = self.call("create_asset", prompt="a barrel", width=64, height=64, save_to="b.png")
        check(job["structuredContent"]["status"] == "complete", f"{job}")
        check((self.world.project / "b.png").exists(), "no file")
        shown = self.call("view_asset", image="b.png")
        check(shown["content"][1]["type"] == "image", f"{shown}")
        jobs = self.call("list_jobs")["structuredContent"]["jobs"]
        check(jobs[0]["job_id"] == job["structuredContent"]["job_id"], f"{jobs}")
        wrong = self.call("create_asset", code=IS_ERROR, prompt="x", widht=5)
        check(wrong["isError"] is True, f"{wrong}")

    def load(self):
        options = ["--tool-name", "list_models", "--load", "--load-requests", str(LOAD)]
        result, _ = self.run("tools/call", *options)
        check(result["ok"] == LOAD and result["errorRate"] == 0, f"{result}")


def prove(world, era):
    """How many commands did what they should."""
    inspector = Inspector(world, era)
    inspector.lists()
    inspector.calls()
    inspector.load()
    return inspector.done
