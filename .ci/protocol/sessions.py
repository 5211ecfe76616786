"""One session with each official client: everything that a client of its revision can do."""

import json
import time
from pathlib import Path

import fields
from clients import check
from demands import PROMPTS, RESOURCES, TEMPLATES, demanded, filled

PNG = b"\x89PNG\r\n\x1a\n"
# Seconds after which a call is cancelled, at which its job is under way, and tries to hit that.
EARLY, TRIES = 0.4, 5
INVALID_PARAMS = -32602
# The newest revision changed that code, and some clients put one for the other in either era; what
# stands on the wire is demanded in revisions.py.
NO_RESOURCE = (-32602, -32002)


class Session:
    """A client with a server of its own, and what is tried with them, case by case."""

    # Names that every client gets the same of.
    same = {}

    def __init__(self, client, driver, world):
        self.client, self.driver, self.world = client, driver, world
        self.revision = client.revision

    def agrees(self, what, value):
        first = Session.same.setdefault(what, value)
        check(value == first, f"other {what} than for the first client: {value}")

    def data(self, tool, arguments, **more):
        told = self.driver.order(call=tool, arguments=arguments, **more)
        check("result" in told, f"{tool}: {told}")
        result = told["result"]
        check(not result.get("isError"), f"{tool}: {result}")
        fields.of_data(self.revision, result)
        data = json.loads(result["content"][0]["text"])
        check(result.get("structuredContent", data) == data, f"{tool}: text and data differ")
        return data, told

    def opens(self):
        spoken = self.driver.open(self.world.server(), False)
        check(spoken == self.revision, f"speaks {spoken} instead of {self.revision}")
        opened = self.driver.opened
        # A client that was told the revision asks nothing before its first request.
        if opened.get("capabilities"):
            wanted = fields.capabilities(self.revision)
            check(wanted <= set(opened["capabilities"]), f"capabilities {opened['capabilities']}")
        if opened.get("info"):
            check(opened["info"]["name"] == "layer-mcp", f"{opened['info']}")

    def lists_tools(self):
        tools = self.driver.result(list="tools")
        self.agrees("tools", [tool["name"] for tool in tools])
        for tool in tools:
            check(tool["description"] and tool["inputSchema"]["type"] == "object", f"{tool}")

    def lists_prompts(self):
        self.prompts = self.driver.result(list="prompts")
        names = [prompt["name"] for prompt in self.prompts]
        self.agrees("prompts", names)
        check(PROMPTS <= set(names), f"prompts: {names}")
        check(all(prompt["description"] for prompt in self.prompts), "a prompt without words")

    def lists_resources(self):
        uris = [one["uri"] for one in self.driver.result(list="resources")]
        check(RESOURCES <= set(uris), f"resources: {uris}")

    def lists_templates(self):
        templates = [one["uriTemplate"] for one in self.driver.result(list="templates")]
        self.agrees("templates", templates)
        check(TEMPLATES <= set(templates), f"templates: {templates}")

    def gets_prompts(self):
        for prompt in self.prompts:
            arguments = prompt.get("arguments") or []
            needed = [one["name"] for one in arguments if one.get("required")]
            check(needed, f"{prompt['name']} needs no argument")
            filled = {name: f"a red dragon, {name}" for name in needed}
            got = self.driver.result(prompt=prompt["name"], arguments=filled)["messages"]
            text = " ".join(message["content"].get("text", "") for message in got)
            check(all(value in text for value in filled.values()), f"{prompt['name']}: {text}")
            told = self.driver.order(prompt=prompt["name"], arguments={})
            self.refused(told, (INVALID_PARAMS,), prompt["name"])

    def refused(self, told, codes, what):
        check(told.get("error", {}).get("code") in codes, f"{what}: {told}, not {codes}")

    def completions(self, ref, name, value):
        argument = {"name": name, "value": value}
        values = self.driver.result(complete=ref, argument=argument)["completion"]["values"]
        check(len(values) <= 100 and all(isinstance(one, str) for one in values), f"{values}")
        return values

    def completes(self):
        """Some argument of a prompt has values, and the first letters of one lead to it."""
        for prompt in self.prompts:
            ref = {"type": "ref/prompt", "name": prompt["name"]}
            for argument in prompt["arguments"]:
                values = self.completions(ref, argument["name"], "")
                if values:
                    begun = values[-1][:3]
                    fewer = self.completions(ref, argument["name"], begun)
                    check(values[-1] in fewer, f"{begun} leads to {fewer}, not {values[-1]}")
                    return
        check(False, "no argument of any prompt is completed")

    def makes(self):
        wish = {"prompt": "a knight", "width": 128, "height": 64, "save_to": "assets/knight.png"}
        self.job, told = self.data("create_asset", wish, progress=True)
        check(self.job["status"] == "complete", f"{self.job}")
        (file,) = self.job["files"]
        path = Path(file["path"])
        check(path == self.world.project / "assets" / "knight.png", f"saved {path}")
        check(path.read_bytes().startswith(PNG), f"{path} is no PNG")
        check(path.stat().st_size == file["bytes"], f"{file}")
        steps = [step["progress"] for step in told["progress"]]
        check(len(steps) > 1, f"progress came {len(steps)} times")
        check(all(a < b for a, b in zip(steps, steps[1:])), f"progress fell: {steps}")

    def reads(self):
        job_id = self.job["job_id"]
        for uri in [*sorted(RESOURCES), *(filled(one, job_id) for one in sorted(TEMPLATES))]:
            contents = self.driver.result(read=uri)["contents"]
            check(contents and all(one.get("text") or one.get("blob") for one in contents), uri)
            if uri.startswith("layer://jobs"):
                check(job_id in contents[0]["text"], f"{uri} does not tell of {job_id}")
        # Clients keep a list for as long as the server says that it is fresh, a few seconds here.
        file, until = filled("layer://assets/{job_id}/{number}", job_id), time.monotonic() + 10
        while file not in (one["uri"] for one in self.driver.result(list="resources")):
            check(time.monotonic() < until, f"{file} is not in the list")
            time.sleep(0.2)
        told = self.driver.order(read="layer://jobs/job_0000000000000000")
        self.refused(told, NO_RESOURCE, "a job that there isn't")

    def completes_uris(self):
        for template in sorted(TEMPLATES):
            ref = {"type": "ref/resource", "uri": template}
            values = self.completions(ref, "job_id", self.job["job_id"][:5])
            check(self.job["job_id"] in values, f"{template} is completed with {values}")

    def views(self):
        shown = self.driver.result(call="view_asset", arguments={"image": "assets/knight.png"})
        kinds = [block["type"] for block in shown["content"]]
        fields.of_content(self.revision, shown["content"])
        check(kinds[:2] == ["text", "image"] and not shown.get("isError"), f"shows {kinds}")
        check(shown.get("structuredContent") is None, "a picture hidden behind data")

    def cancels(self):
        """A call in flight; the job goes on, as it is paid for, and so does the session."""
        for number in range(TRIES):
            wish = {"prompt": f"a tower {number}", "width": 64, "height": 64}
            told = self.driver.order(call="create_asset", arguments=wish, cancel_after=EARLY)
            jobs = self.data("list_jobs", {})[0]["jobs"]
            if told.get("cancelled") and jobs[0]["job_id"] != self.job["job_id"]:
                break
        else:
            check(False, f"no call was cancelled in time: {told}")
        arguments = {"job_id": jobs[0]["job_id"], "wait_seconds": 30}
        job, _ = self.data("get_job", arguments)
        check(job["status"] == "complete", f"the job of a cancelled call: {job}")
        check(Path(job["files"][0]["path"]).exists(), f"{job}")

    def ends(self):
        began = time.monotonic()
        self.driver.close()
        check(time.monotonic() - began < 2, "the end took so long that the client kills it")
        self.world.ended_well()


# The heading of each case, and the part that it needs.
CASES = {
    Session.opens: ("open", None),
    Session.lists_tools: ("tools", None),
    Session.lists_prompts: ("prompts", "prompts"),
    Session.lists_resources: ("resources", "resources"),
    Session.lists_templates: ("templates", "resources"),
    Session.gets_prompts: ("get", "prompts"),
    Session.completes: ("complete", "completions"),
    Session.makes: ("make", None),
    Session.reads: ("read", "resources"),
    Session.completes_uris: ("uris", "completions"),
    Session.views: ("view", None),
    Session.cancels: ("cancel", None),
    Session.ends: ("end", None),
}


def prove(client, world):
    """Yields the heading of each case that passed. Raises at the first that went wrong."""
    driver = client.start()
    session = Session(client, driver, world)
    try:
        for case, (heading, part) in CASES.items():
            if part in demanded or part is None:
                case(session)
                yield heading
    finally:
        driver.end()
