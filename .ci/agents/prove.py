"""What the models of real agents see of the answers: golden transcripts, with the agents
themselves and a model that follows a script.

Usage: prove.py PATH_OF_LAYER_MCP [--update] [CLIENT | SCENARIO | CLIENT/SCENARIO ...]

Exits with 1 when a transcript differs from golden/CLIENT/SCENARIO.txt, when something else is not
as it should be, or when a client is missing. With `--update` transcripts are written instead of
compared.
"""

import argparse
import base64
import difflib
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Nothing is written beside the sources, but what --update writes.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from agent import CLIENTS, KEY  # noqa: E402
from clients import install  # noqa: E402
from dialects import Picture, Tools, Wrong  # noqa: E402
from model import Call, Model, TooSlow, facts  # noqa: E402
from scenarios import SCENARIOS, check, text  # noqa: E402
from transcript import shown_of, transcript  # noqa: E402
from wire import Wire  # noqa: E402

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
# In the server's environment, and nowhere that a model looks.
CANARY = "pat_canary_0123456789abcdef0123456789abcdef0123456789abcdef"
# Conversations that go on at the same time.
AT_ONCE = 3
# Of one that needs a machine in good time.
TRIES = 5
# Short, for sockets lie in it; what an agent still writes there when it ends is left to it.
PLACE = {"dir": "/tmp", "ignore_cleanup_errors": True}


def converse(client, scenario, program):
    """One conversation, checked; its transcript."""
    with tempfile.TemporaryDirectory(prefix="layer-agents-", **PLACE) as folder:
        home = Path(folder).resolve()
        project = home / "project"
        project.mkdir()
        for name, content in scenario.files.items():
            (project / name).write_bytes(content)
        env = {
            "HOME": str(home),
            "LAYER_MCP_HOME": str(home / "layer-mcp"),
            "LAYER_OUTPUT_DIR": str(project),
            "LAYER_SANDBOX_SPEED": "50",
            "LAYER_LOG": "warn",
        }
        if scenario.name != "no-token":
            env["LAYER_API_TOKEN"] = CANARY
        log = home / "wire.log"
        server = {
            "command": sys.executable,
            "args": [str(HERE / "wire.py"), str(log), program, *scenario.flags, "serve"],
            "env": env | scenario.env,
        }
        with Model(client.dialect(), scenario.script) as model:
            client.converse(model, server, home, project, scenario)
        check(not model.problems, f"{model.problems}")
        wire = Wire(log)
        check_requests(model)
        check_answers(client, model, wire)
        if scenario.told:
            check_offer(client, model, wire)
        if scenario.check:
            found = model.dialect.results(model.turns[-1])
            shown = [found[f"call_{number}"] for number in range(len(scenario.script))]
            _, _, loaded = model.dialect.told(model.turns[0])
            scenario.check(shown, client, [tool["name"] for tool in loaded])
        answers = {answer for _, answer in wire.asked()}
        check(answers == set(scenario.answers(client)), f"the client answered {answers}")
        places = {str(project): "<project>", str(home): "<home>"}
        title = f"{scenario.name}, {client.title} {client.version}"
        return transcript(title, model, wire, scenario.told, places)


def check_requests(model):
    """Nothing went anywhere else, and no secret went along."""
    for line, headers, body in model.requests:
        check(model.dialect.knows(line), f"it asked for something else: {line}")
        check(CANARY not in line + headers + body, f"the token is in {line}")
        check(KEY not in line + body, f"the key is in the body of {line}")
        for word in ("pat_sandbox", "device.key", "PRIVATE KEY"):
            check(word not in line + headers + body, f"{word} is in {line}")


def check_answers(client, model, wire):
    """Each answer of the server reached the model whole, and as often as is known of the client."""
    found, used = model.dialect.results(model.turns[-1]), set()
    for id, (step, arguments, said) in model.said.items():
        answer = isinstance(step, Call) and wire.answer(step.tool, arguments, used)
        if not answer:
            continue
        shown = found[id]
        words = text(shown)
        if wrong := answer.get("isError"):
            told = json.loads(answer["content"][0]["text"])
            check(facts(shown) == told, f"{said}: shown {shown} of {told}")
            marked = any(isinstance(part, Wrong) for part in shown)
            check(marked == client.marks_errors, f"{said}: marked as an error: {marked}")
        elif data := answer.get("structuredContent"):
            check(facts(shown) == data, f"{said}: shown {shown} of {data}")
            # Each object has one message; in a text that is quoted in JSON, it is escaped.
            times = words.count('"message":') + words.count('\\"message\\":')
            check(times == client.shows_data, f"{said}: shown {times} times: {words}")
        else:
            check_blocks(said, answer["content"], shown, words)


def check_blocks(said, content, shown, words):
    """Text, picture and link, each once."""
    pictures = [part for part in shown if isinstance(part, Picture)]
    sent = [block for block in content if block["type"] == "image"]
    check(len(pictures) == len(sent), f"{said}: {len(pictures)} pictures")
    for picture, block in zip(pictures, sent):
        check(picture.data == base64.b64decode(block["data"]), f"{said}: another picture")
    for block in content:
        told = block.get("text") or block.get("uri")
        check(not told or words.count(told) == 1, f"{said}: {told} is shown otherwise: {words}")


def check_offer(client, model, wire):
    """What the server says of itself and of its tools reached the model."""
    _, server = wire.hello()
    texts, names, tools = model.dialect.told(model.turns[0])
    instructions = server["instructions"]
    shown = shown_of(instructions, texts)
    whole = instructions if client.shows_instructions else instructions.split("\n")[0]
    check(shown.strip() == whole, f"of the instructions is shown: {shown}")
    found = model.dialect.results(model.turns[-1])["call_0"]
    looked = "\n".join(
        json.dumps(part.tools, ensure_ascii=False) if isinstance(part, Tools) else str(part)
        for part in [*found, Tools(tools)]
    )
    for tool in wire.tools():
        check(tool["name"] in looked, f"{tool['name']} is not offered")
        check(tool["description"] in looked, f"the description of {tool['name']} is cut")


def compare(path, new, update):
    """What is wrong with the transcript, if something is."""
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new)
        return None
    old = path.read_text() if path.exists() else ""
    if old == new:
        return None
    names = str(path.relative_to(HERE)), "now"
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm="")
    return "other than before:\n" + "\n".join(lines)


def wanted(only):
    """The conversations to be held."""
    for scenario in SCENARIOS:
        for client in CLIENTS:
            names = {client.name, scenario.name, f"{client.name}/{scenario.name}"}
            if client.name in scenario.clients and (not only or names & set(only)):
                yield client, scenario


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--update", action="store_true")
    arguments.add_argument("only", nargs="*")
    arguments = arguments.parse_intermixed_args()
    program = str(Path(arguments.program).resolve())
    try:
        install()
    except Exception as error:
        sys.exit(f"prove.py: a client is missing: {error}")

    def one(task):
        client, scenario = task
        path, began = GOLDEN / client.name / f"{scenario.name}.txt", time.monotonic()
        for _ in range(TRIES):
            try:
                wrong = compare(path, converse(client, scenario, program), arguments.update)
            except TooSlow as error:
                wrong = f"{TRIES} times too slow for it: {error}"
                continue
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            break
        return wrong, time.monotonic() - began

    tasks, failed = list(wanted(arguments.only)), False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for (client, scenario), (wrong, took) in zip(tasks, pool.map(one, tasks)):
            print(f"{client.name}/{scenario.name}: {wrong or 'ok'} ({took:.1f} s)", flush=True)
            failed = failed or bool(wrong)
    if not arguments.only:
        known = {GOLDEN / client.name / f"{scenario.name}.txt" for client, scenario in tasks}
        for path in set(GOLDEN.glob("*/*")) - known:
            if arguments.update:
                path.unlink()
            else:
                print(f"{path.relative_to(HERE)} belongs to no conversation")
                failed = True
    if failed:
        sys.exit("prove.py: not as it was, or not as it should be; --update writes what is new")
    print(f"{len(tasks)} conversations")


main()
