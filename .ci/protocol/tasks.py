"""The tasks extension: who declares it is answered with a task, and nobody else ever."""

import json
import time

from clients import check
from clients.drivers import Mcpdo
from demands import TASKS
from revisions import handshake
from schemas import MODERN, NEWEST_LEGACY, valid
from server import Raw, modern

DECLARED = {"extensions": {TASKS: {}}}
WISH = {"prompt": "a banner", "width": 64, "height": 64}
INVALID_PARAMS, NOT_DECLARED = -32602, -32021
# The Inspector's requests, for whoever wants to know which it sent.
LISTEN = 'tee -a "$LAYER_CI_HOME/asked" | "$0" "$@"'


def make(raw, name, capabilities=None):
    wish = WISH | {"prompt": f"{WISH['prompt']} {name}", "save_to": f"{name}.png"}
    params = {"name": "create_asset", "arguments": wish}
    return raw.ask("tools/call", modern(params, capabilities=capabilities))["result"]


def of_task(task):
    """The shape of SEP-2663, for which the protocol's schema has no definition."""
    for field in ("taskId", "status", "createdAt", "lastUpdatedAt"):
        check(isinstance(task.get(field), str), f"a task without {field}: {task}")
    check("ttlMs" in task and task["ttlMs"] != 0, f"a task without ttlMs: {task}")
    check(task.get("pollIntervalMs", 0) > 0, f"a task without pollIntervalMs: {task}")


def got(raw, task_id, capabilities=DECLARED):
    return raw.ask("tasks/get", modern({"taskId": task_id}, capabilities=capabilities))


def ended(raw, task_id):
    """What a task is in the end, asked as often as it says."""
    until = time.monotonic() + 60
    while True:
        task = got(raw, task_id)["result"]
        of_task(task)
        check(task["resultType"] == "complete" and task["taskId"] == task_id, f"{task}")
        if task["status"] != "working":
            return task
        check(time.monotonic() < until, f"the task does not end: {task}")
        time.sleep(min(task["pollIntervalMs"] / 1000, 0.25))


def on_the_wire(world):
    raw = Raw(world)
    told = raw.ask("server/discover", modern())["result"]
    check(TASKS in told["capabilities"].get("extensions", {}), "tasks are not declared")
    task = make(raw, "flag", DECLARED)
    check(task["resultType"] == "task" and task["status"] == "working", f"no task: {task}")
    of_task(task)
    done = ended(raw, task["taskId"])
    check(done["status"] == "completed", f"{done}")
    valid(MODERN, "CallToolResult", done["result"])
    check((world.project / "flag.png").exists(), "the file of a task is missing")

    plain = make(raw, "pennant")
    check(plain["resultType"] == "complete", f"a task for who declared none: {plain}")
    code = lambda answer: answer.get("error", {}).get("code")
    check(code(got(raw, task["taskId"], {})) == NOT_DECLARED, "tasks/get by who declared none")
    check(code(got(raw, "job_0000000000000000")) == INVALID_PARAMS, "a task that there isn't")
    check(code(got(raw, "nonsense")) == INVALID_PARAMS, "a task that can't be")
    stopped = raw.ask("tasks/cancel", modern({"taskId": task["taskId"]}, capabilities=DECLARED))
    check(stopped.get("result", {}).get("resultType") == "complete", f"tasks/cancel: {stopped}")
    check(got(raw, task["taskId"])["result"]["status"] == "completed", "an end that came undone")
    raw.end()
    return task["taskId"]


def restarted(world, task_id):
    """Another process knows the task, and one that was at work when the first was killed."""
    raw = Raw(world)
    check(ended(raw, task_id)["status"] == "completed", "the task is forgotten")
    task = make(raw, "kite", DECLARED)
    raw.process.kill()
    raw.process.wait()
    raw = Raw(world)
    check(ended(raw, task["taskId"])["status"] == "completed", "the task did not go on")
    check((world.project / "kite.png").exists(), "the file of a task is missing")
    raw.end()


def legacy(world):
    """The extension came with the newest revision: older sessions know no such result."""
    raw = Raw(world)
    exchange = handshake(raw, NEWEST_LEGACY, capabilities=DECLARED)
    job = exchange.data("create_asset", WISH | {"prompt": "a pole"})
    check(job["status"] == "complete", f"{job}")
    raw.end()


def inspector(world, home, era):
    """The Inspector declares tasks in each era, and waits for one by itself."""
    server = world.server()
    (world.home / "asked").unlink(missing_ok=True)
    server = {"command": "sh", "args": ["-c", LISTEN, *server["args"][2:]], "env": server["env"]}
    mcpdo = Mcpdo(era, home)
    try:
        mcpdo.open(server, False)
        wish = json.dumps(WISH | {"prompt": f"a rope {era}", "save_to": f"{era}.png"})
        result = mcpdo.do("--connection", mcpdo.name, "tools/call", "create_asset", wish)
        check(result.get("structuredContent", {}).get("status") == "complete", f"{result}")
        check((world.project / f"{era}.png").exists(), "the file of a task is missing")
        asked = (world.home / "asked").read_text()
        check(("tasks/get" in asked) == (era == "modern"), "tasks are for the newest revision only")
        mcpdo.close()
    finally:
        mcpdo.end()


def prove(world, home):
    """Yields each client and what it showed."""
    task_id = on_the_wire(world)
    yield "wire"
    restarted(world, task_id)
    yield "restart"
    legacy(world)
    yield "legacy"
    inspector(world, home, "modern")
    yield "mcpdo"
    inspector(world, home, "legacy")
    yield "mcpdo legacy"
