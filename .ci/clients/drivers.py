"""One way to drive all the official clients: by lines of JSON, each answered by one."""

import json
import subprocess
import sys
import time
from importlib.metadata import version

from . import ENVIRONMENTS, HERE, MODULES, Failed, check
from . import environment, installed, node, of_requirements, python, tool

MODERN, NEWEST_LEGACY = "2026-07-28", "2025-11-25"


class Lines:
    """A client behind client.py or client.mjs."""

    # Seconds in which it answers when it is to answer at once.
    at_once = 0

    def __init__(self, command):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment()
        )

    def order(self, **line):
        print(json.dumps(line), file=self.process.stdin, flush=True)
        told = self.process.stdout.readline()
        if not told:
            raise Failed("the client is gone; it says why above")
        return json.loads(told)

    def result(self, **line):
        """What an order that works answers with."""
        told = self.order(**line)
        check("result" in told, f"{line}: {told}")
        return told["result"]

    def open(self, server, forms):
        self.opened = self.order(open=server, forms=forms)
        return self.opened["protocol"]

    def call(self, tool, arguments, answer):
        told = self.order(call=tool, arguments=arguments, answer=answer)
        check("result" in told, f"{tool}: {told}")
        return told["result"], told["questions"]

    def close(self):
        self.order(close=True)

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Mcpdo:
    """The Inspector's command line: the question comes back from one command, the answer is
    another."""

    # Sometimes such a command takes less than anybody reads in, and sometimes more.
    at_once = None

    def __init__(self, era, home):
        self.era = era
        self.env = environment(
            HOME=str(home),
            MCP_INSPECTOR_DAEMON_DIR=str(home / "daemon"),
            MCP_INSPECTOR_DAEMON_TOKEN="consent",
            MCP_INSPECTOR_SECRET_STORE="memory",
        )

    def do(self, *arguments):
        """What a command answers. Its exit code tells of an error in the result, too."""
        done = subprocess.run(
            [tool("mcpdo"), "--format", "json", *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        try:
            return json.loads(done.stdout)
        except ValueError:
            said = f"exit {done.returncode}: {done.stdout}{done.stderr}"
            raise Failed(f"mcpdo {arguments}: {said}") from None

    def open(self, server, forms):
        options = ["--era", self.era, "--elicit", "form" if forms else "off"]
        for name, value in server["env"].items():
            options += ["-e", f"{name}={value}"]
        opened = self.do("connect", *options, "--", server["command"], *server["args"])
        self.name = opened["name"]
        return self.do("connections/show", self.name)["protocolVersion"]

    def call(self, tool, arguments, answer):
        asking = ["--connection", self.name, "tools/call", tool, json.dumps(arguments)]
        told, questions = self.do(*asking), []
        while pending := told.get("elicitationPending"):
            questions.append(pending["message"])
            time.sleep(answer["after"])
            said = json.dumps(answer.get("content") or {})
            if answer["action"] != "accept":
                said = f"--{answer['action']}"
            told = self.do("elicitation/respond", pending["elicitationId"], said)
        return told, questions

    def close(self):
        self.do("disconnect", self.name)

    def end(self):
        self.do("daemon", "stop")


class Client:
    """An official client that can be started."""

    def __init__(self, name, exact, mode, revision, start, forms=True, lines=True):
        # What the tables call it, and the version that is really run.
        self.name, self.version, self.mode = name, exact, mode
        # What it is to speak.
        self.revision = revision
        # Starts it.
        self.start = start
        # Whether it can show a form, and whether it takes every order.
        self.forms, self.lines = forms, lines

    def __str__(self):
        return f"{self.name} {self.version}" + (f", {self.mode}" if self.mode else "")


def python_clients():
    new, old = version("mcp"), dict(of_requirements(ENVIRONMENTS["old"]))["mcp"]
    start = lambda program, mode: lambda: Lines([program, HERE / "client.py", mode])
    for mode, revision in (("auto", MODERN), (MODERN, MODERN), ("legacy", NEWEST_LEGACY)):
        yield Client("Python mcp", new, mode, revision, start(sys.executable, mode))
    yield Client("Python mcp", old, "", NEWEST_LEGACY, start(python("old"), "legacy"))


def script_clients():
    def of(name, package, mode, revision, **more):
        start = lambda: Lines([node(), HERE / "client.mjs", MODULES, package, mode or "legacy"])
        return Client(f"TypeScript {name}", installed(package), mode, revision, start, **more)

    # The newest of each time: a client that knows nothing of what came later.
    for revision in ("2024-11-05", "2025-03-26", "2025-06-18"):
        yield of("sdk", f"sdk-of-{revision}", "", revision, forms=False)
    yield of("sdk", "@modelcontextprotocol/sdk", "", NEWEST_LEGACY)
    for mode, revision in (("legacy", NEWEST_LEGACY), ("auto", MODERN), ("pin", MODERN)):
        yield of("client", "@modelcontextprotocol/client", mode, revision)


def all_of_them(home):
    exact = installed("@modelcontextprotocol/inspector")
    yield from python_clients()
    yield from script_clients()
    for era, revision in (("legacy", NEWEST_LEGACY), ("modern", MODERN)):
        start = lambda era=era: Mcpdo(era, home)
        yield Client("Inspector mcpdo", exact, era, revision, start, lines=False)
