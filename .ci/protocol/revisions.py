"""Every revision on one process, as it stands on the wire."""

import fields
from clients import Failed, check
from demands import PROMPTS, RESOURCES, TEMPLATES, demanded, filled
from exchange import Exchange
from schemas import MODERN, NEWEST_LEGACY, REVISIONS
from server import Raw, Refused, modern

WISH = {"prompt": "a wooden crate", "width": 64, "height": 64, "save_to": "assets/crate.png"}
INVALID_PARAMS, NO_METHOD, NO_RESOURCE = -32602, -32601, -32002
UNKNOWN_VERSION = -32022
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def handshake(raw, revision, asked=None, capabilities=None):
    """Opens a session of a legacy revision, and the exchange within."""
    exchange = Exchange(raw, revision)
    client = {"name": "raw", "version": "1"}
    params = {"protocolVersion": asked or revision, "clientInfo": client}
    params["capabilities"] = capabilities or {}
    opened = exchange.result("initialize", params)
    check(opened["protocolVersion"] == revision, f"{asked}: agreed on {opened['protocolVersion']}")
    fields.of_server(revision, opened["serverInfo"])
    of_capabilities(revision, opened["capabilities"])
    raw.say(method="notifications/initialized")
    return exchange


def discovered(raw):
    exchange = Exchange(raw, MODERN)
    told = exchange.result("server/discover")
    check(told["supportedVersions"] == REVISIONS, f"{told['supportedVersions']}")
    check(0 < len(told["instructions"]) < 2000, "instructions")
    fields.of_server(MODERN, told["_meta"]["io.modelcontextprotocol/serverInfo"])
    of_capabilities(MODERN, told["capabilities"])
    return exchange


def of_capabilities(revision, capabilities):
    wanted = fields.capabilities(revision)
    check(wanted <= set(capabilities), f"capabilities: {set(capabilities)}")


def lists(exchange, known):
    """The four lists, which are the same in each revision."""
    for method in LISTS:
        result = exchange.result(method)
        (key,) = set(result) & {"tools", "prompts", "resources", "resourceTemplates"}
        names = [item.get("uri") or item.get("uriTemplate") or item["name"] for item in result[key]]
        # What was made is listed, too, so this list grows.
        first = names if key == "resources" else known.setdefault(method, names)
        check(names == first, f"{method} varies: {names}")
        if key == "resources" and key in demanded:
            check(RESOURCES <= set(names), f"resources: {names}")
        if key == "tools" or {"prompts", "resources"} <= demanded:
            exchange.refused(INVALID_PARAMS, method, {"cursor": "nowhere"})
        if key == "tools":
            fields.of_tools(exchange.revision, result[key])
    if "prompts" in demanded:
        check(PROMPTS <= set(known["prompts/list"]), f"prompts: {known['prompts/list']}")
    if "resources" in demanded:
        check(TEMPLATES <= set(known["resources/templates/list"]), f"{known}")


def tools(exchange):
    job, _ = exchange.progress("create_asset", WISH)
    check(job["status"] == "complete", f"{job}")
    shown = exchange.call("view_asset", {"image": WISH["save_to"]})
    fields.of_content(exchange.revision, shown["content"])
    kinds = [block["type"] for block in shown["content"]]
    check("structuredContent" not in shown and kinds[:2] == ["text", "image"], f"shows {kinds}")
    links = exchange.revision >= fields.CONTENT["resource_link"]
    check(("resource_link" in kinds) == links, f"view_asset answers with {kinds}")
    wrong = exchange.call("create_asset", {"prompt": "x", "widht": 5})
    check(wrong["isError"] is True, f"a typo works: {wrong}")
    exchange.refused(INVALID_PARAMS, "tools/call", {"name": "no_such_tool", "arguments": {}})
    return job


def prompts(exchange):
    for prompt in exchange.result("prompts/list")["prompts"]:
        name, arguments = prompt["name"], prompt.get("arguments", [])
        filled = {one["name"]: "a red dragon" for one in arguments if one.get("required")}
        got = exchange.result("prompts/get", {"name": name, "arguments": filled})
        fields.of_content(exchange.revision, [message["content"] for message in got["messages"]])
        check(got["messages"], f"{name} says nothing")
        if filled:
            exchange.refused(INVALID_PARAMS, "prompts/get", {"name": name, "arguments": {}})
        for one in arguments if "completions" in demanded else []:
            ref = {"type": "ref/prompt", "name": name}
            argument = {"name": one["name"], "value": ""}
            exchange.result("completion/complete", {"ref": ref, "argument": argument})
    exchange.refused(INVALID_PARAMS, "prompts/get", {"name": "no_such_prompt"})


def resources(exchange, job):
    uris = [one["uri"] for one in exchange.result("resources/list")["resources"]]
    uris += [filled(template, job["job_id"]) for template in sorted(TEMPLATES)]
    for uri in uris:
        contents = exchange.result("resources/read", {"uri": uri})["contents"]
        check(contents, f"{uri} is empty")
    missing = INVALID_PARAMS if exchange.revision == MODERN else NO_RESOURCE
    exchange.refused(missing, "resources/read", {"uri": "layer://jobs/job_0000000000000000"})
    exchange.refused(missing, "resources/read", {"uri": "layer://nothing/like/it"})
    if "completions" in demanded:
        ref = {"type": "ref/resource", "uri": "layer://jobs/{job_id}"}
        argument = {"name": "job_id", "value": job["job_id"][:6]}
        told = exchange.result("completion/complete", {"ref": ref, "argument": argument})
        check(job["job_id"] in told["completion"]["values"], f"completes with {told}")


def methods(exchange):
    """What comes and goes with the eras."""
    exchange.refused(NO_METHOD, "layer/nothing")
    if exchange.revision == MODERN:
        exchange.refused(NO_METHOD, "ping")
        exchange.refused(NO_METHOD, "logging/setLevel", {"level": "info"})
    else:
        exchange.result("ping")


def modern_only(raw):
    """Requests that say a revision that there isn't, or too little."""
    refused = Exchange(raw, MODERN)
    unknown = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}}
    told = refused.refused(UNKNOWN_VERSION, "tools/list", unknown)
    check(told["data"]["supported"] == REVISIONS, f"{told}")
    params = modern()
    del params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    answer = raw.ask("tools/list", params)
    check(answer.get("error", {}).get("code") == INVALID_PARAMS, f"no capabilities: {answer}")


class Everything:
    """All parts with any number of exchanges, whose answers must agree."""

    def __init__(self, world):
        self.raw, self.known = Raw(world), {}
        # Pairs of a revision and how many answers it gave, and of one and what was wrong there.
        self.spoken, self.wrong = [], []

    def with_(self, revision, begin):
        """Begins an exchange and has all that there is, however much of it is wrong."""
        exchange, job = None, {}

        def opened():
            nonlocal exchange
            exchange = begin()

        def bought():
            job.update(tools(exchange))
            same = self.known.setdefault("job", job["job_id"])
            check(job["job_id"] == same, "the same request was bought twice")

        parts = [opened, lambda: lists(exchange, self.known), bought]
        parts += [lambda: prompts(exchange)] if "prompts" in demanded else []
        parts += [lambda: resources(exchange, job)] if "resources" in demanded else []
        parts += [lambda: methods(exchange)]
        for part in parts:
            try:
                part()
            except (Failed, Refused, KeyError) as error:
                self.wrong.append((revision, f"{type(error).__name__}: {error}"))
                if exchange is None:
                    return
        self.spoken.append((revision, exchange.asked))

    def hello(self, revision, asked=None):
        self.with_(revision, lambda: handshake(self.raw, revision, asked))

    def look(self):
        self.with_(MODERN, lambda: discovered(self.raw))

    def again(self, revision):
        self.with_(revision, lambda: Exchange(self.raw, revision))


def prove(world):
    """Every revision after every other, on one process. Returns what was spoken, and wrong."""
    all_ = Everything(world)
    for revision in REVISIONS[:-1]:
        all_.hello(revision)
        # The newest revision needs no session, and ends none.
        all_.look()
        all_.again(revision)
    try:
        modern_only(all_.raw)
    except Failed as error:
        all_.wrong.append((MODERN, str(error)))
    all_.raw.end()
    return all_.spoken, all_.wrong


def prove_others(world):
    """`initialize` with a revision that has no such thing, or that there isn't."""
    spoken, wrong = [], []
    for other in (MODERN, "2099-01-01", "1.0"):
        all_ = Everything(world)
        all_.hello(NEWEST_LEGACY, other)
        all_.raw.end()
        spoken, wrong = spoken + all_.spoken, wrong + all_.wrong
    return spoken, wrong


def prove_look_first(world):
    """A client that looks with the newest revision, and then opens a session of its own."""
    spoken, wrong = [], []
    for revision in REVISIONS[:-1]:
        all_ = Everything(world)
        all_.look()
        all_.hello(revision)
        all_.again(MODERN)
        all_.again(revision)
        all_.raw.end()
        spoken, wrong = spoken + all_.spoken, wrong + all_.wrong
    return spoken, wrong


def cancelled(world, revision):
    """That a cancelled request is answered no more, and its job is not lost."""
    raw = Raw(world)
    exchange = discovered(raw) if revision == MODERN else handshake(raw, revision)
    wish = WISH | {"prompt": f"a crate for {revision}", "save_to": f"assets/{revision}.png"}
    meta = {"progressToken": "mine"}
    params = {"name": "create_asset", "arguments": wish, "_meta": meta}
    number = raw.send("tools/call", exchange.params(params))
    raw.noted("rendering")
    job_id = exchange.data("list_jobs", {})["jobs"][0]["job_id"]
    raw.say(method="notifications/cancelled", params={"requestId": number, "reason": "a test"})
    raw.silent(1)
    job = exchange.data("get_job", {"job_id": job_id, "wait_seconds": 30})
    check(job["status"] == "complete", f"the job of a cancelled call: {job}")
    check((world.project / wish["save_to"]).exists(), "the file of a cancelled call is missing")
    raw.end()
    return exchange.asked
