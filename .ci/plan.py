"""Tries the tool list on a fresh reader: a model, or a person, who knows nothing else.

Usage: plan.py show PATH_OF_LAYER_MCP [TASK...]
       plan.py score PLANS.json
       plan.py check

`show` prints what a reader is given: the instructions and tools as the server tells them, and the
tasks of tests/tasks without what is expected, by number. `score` reads the reader's plans, an object
of lists of steps by task (`-` reads standard input), tells which are right and why others are not, and
exits with 1 when one is not. `check` looks whether the expectations accept the plans that are
written with them and refuse those that are written down as wrong. tests/tasks/README.md has the
words.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

folder = Path(__file__).resolve().parent.parent / "tests" / "tasks"
# They neither cost nor change anything: a reader may look before acting, or after.
FREE = {
    "get_job",
    "get_workspace_info",
    "list_history",
    "list_jobs",
    "list_models",
    "list_styles",
    "list_workflows",
    "quote",
    "view_asset",
}
# What costs more, or is guessed, unless a task expects it.
SUSPECT = ["count", "variation", "quote_id", "model"]
# The same as leaving it out.
NOTHING = {"count": 1, "variation": False, "transparent": False, "tileable": False, "usage": False}

HOW = """\
You are the assistant in the conversations below, connected to the MCP server whose instructions
and tools follow. For each task write down what you do next: the steps up to the point where you
need to hear the user again, or where the task is done. You can't make the calls now, so nothing
answers; plan them.

Answer with one JSON object and nothing else: the title of each task, such as "task 7", and a list
of steps.
A step is a call, {"tool": "...", "arguments": {...}}, or something that you tell or ask the user,
{"say": "..."}. Where an argument is only known from the answer to an earlier step of your plan,
write a text such as "$1.job_id": the field `job_id` of the answer to step 1 ("$2.files.0.path"
goes deeper). Don't plan for what you can't foresee, such as errors.
"""


def tasks():
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def numbers():
    """What readers are shown in the place of names, which tell too much."""
    return {name: f"task {number}" for number, name in enumerate(tasks(), 1)}


def shown_answers(name):
    path = folder / "answers" / f"{name}.snap"
    return json.loads(path.read_text().split("---", 2)[2]) if path.exists() else []


class Misfit(Exception):
    """Why a step is not the expected one."""


def match(value, wanted, places):
    """Raises `Misfit`. `places` tells which step of the reader's plan an expected step became."""
    if isinstance(wanted, dict) and len(wanted) == 1 and next(iter(wanted)).startswith("$"):
        ((word, what),) = wanted.items()
        return by_rule(value, word, what, places)
    if isinstance(wanted, dict) and isinstance(value, dict):
        return fields(value, wanted, places)
    if isinstance(wanted, list) and isinstance(value, list) and len(wanted) == len(value):
        for one, other in zip(value, wanted):
            match(one, other, places)
        return
    if isinstance(wanted, str) and isinstance(value, str):
        if plain(value) == plain(wanted):
            return
    elif value == wanted and isinstance(value, bool) == isinstance(wanted, bool):
        return
    raise Misfit(f"{json.dumps(value)} instead of {json.dumps(wanted)}")


def plain(text):
    return text.strip().removeprefix("./")


def fields(value, wanted, places):
    for name, what in wanted.items():
        if name not in value:
            raise Misfit(f"no `{name}`")
        try:
            match(value[name], what, places)
        except Misfit as why:
            raise Misfit(f"`{name}`: {why}") from None


def fits(value, wanted, places):
    try:
        match(value, wanted, places)
    except Misfit:
        return False
    return True


def says(text, words):
    text = text.lower()
    return all(any(word.lower() in text for word in one.split("|")) for one in words)


def by_rule(value, word, what, places):
    if word == "$json":
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise Misfit(f"{json.dumps(value)} is no JSON") from None
        return match(value, what, places)
    if word == "$all":
        for wanted in what:
            match(value, wanted, places)
        return None
    if word == "$each":
        if not isinstance(value, list) or not value:
            raise Misfit(f"{json.dumps(value)} is no list of something")
        for item in value:
            match(item, what, places)
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    right = {
        "$any": lambda: True,
        "$one_of": lambda: any(fits(value, wanted, places) for wanted in what),
        "$not": lambda: not fits(value, what, places),
        "$words": lambda: isinstance(value, str) and says(value, what),
        "$starts": lambda: isinstance(value, str) and value.startswith(what),
        "$between": lambda: number and what[0] <= value <= what[1],
        "$count": lambda: isinstance(value, list) and len(value) == what,
        "$of_answer": lambda: isinstance(value, str)
        and value.startswith(f"${places.get(what[0], what[0])}.")
        and value.endswith(what[1]),
    }[word]()
    if not right:
        raise Misfit(f"{json.dumps(value)} does not fit {word} {json.dumps(what)}")


def given(arguments):
    return {
        name: value
        for name, value in arguments.items()
        if value is not None and value != "" and not (name in NOTHING and NOTHING[name] == value)
    }


def step_fits(step, expected, places):
    """Raises `Misfit`."""
    if "say" in expected:
        if "say" not in step:
            raise Misfit("the user is not told")
        if not says(step["say"], expected["mentions"]):
            raise Misfit(f"the user is not told of {expected['mentions']}")
        return
    if step.get("tool") != expected["tool"]:
        raise Misfit(f"{step.get('tool', 'words')} instead of {expected['tool']}")
    arguments = given(step.get("arguments", {}))
    wanted = expected.get("fits", expected["arguments"])
    fields(arguments, given(wanted), places)
    unwanted = list(expected.get("without", []))
    unwanted += [name for name in SUSPECT if name not in expected.get("may", [])]
    for name in unwanted:
        if name in arguments and name not in wanted:
            raise Misfit(f"`{name}` is not expected")


def compare(steps, plan):
    """None, or why the steps are not this plan."""
    waiting = list(enumerate(plan["steps"], 1))
    places = {}
    for place, step in enumerate(steps, 1):
        why = None
        for number, expected in waiting if plan.get("any_order") else waiting[:1]:
            try:
                step_fits(step, expected, places)
            except Misfit as misfit:
                why = why or str(misfit)
                continue
            waiting.remove((number, expected))
            places[number] = place
            break
        else:
            if "say" not in step and step.get("tool") not in FREE:
                return f"step {place}: {why or 'one call too many: ' + str(step.get('tool'))}"
            # The reason stays the best one there is, should nothing better come.
    if waiting:
        missing = waiting[0][1]
        return f"missing: {missing.get('tool') or 'a word to the user about ' + str(missing['mentions'])}"
    return None


def verdict(steps, task):
    """None when one of the plans fits, or why none does."""
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return "no list of steps"
    whys = [compare(steps, plan) for plan in task["plans"]]
    return None if None in whys else "; or ".join(dict.fromkeys(whys))


def check():
    wrong = []
    for name, task in tasks().items():
        for number, plan in enumerate(task["plans"], 1):
            if why := verdict(plan["steps"], task):
                wrong.append(f"{name}: its own plan {number} is refused: {why}")
        if verdict([], task) is None:
            wrong.append(f"{name}: doing nothing is accepted")
        for number, plan in enumerate(task.get("wrong", []), 1):
            if verdict(plan["steps"], task) is None:
                wrong.append(f"{name}: wrong plan {number} is accepted")
    return wrong


def score(plans):
    right, known, titles = 0, tasks(), numbers()
    names = {title: name for name, title in titles.items()}
    plans = {names.get(name, name): steps for name, steps in plans.items()}
    for name, task in known.items():
        why = verdict(plans[name], task) if name in plans else "no plan"
        right += why is None
        print(f"{'right' if why is None else 'WRONG'}  {name}{'' if why is None else ': ' + why}")
    for name in plans.keys() - known.keys():
        print(f"there is no task `{name}`")
    print(f"{right} of {len(known)} right")
    return right == len(known)


def told(program, toolsets):
    """Instructions and tools as the server tells them."""
    with tempfile.TemporaryDirectory() as home:
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "plan", "version": "1"},
        }
        lines = [
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
        ]
        server = subprocess.Popen(
            [program, "--sandbox", "--toolsets", toolsets, "--output-dir", home, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"HOME": home, "PATH": "/usr/bin:/bin"},
            text=True,
        )
        with server:
            server.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
            server.stdin.flush()
            answers = {}
            while 2 not in answers:
                answer = json.loads(server.stdout.readline())
                answers[answer.get("id")] = answer.get("result")
            server.stdin.close()
    return answers[1]["instructions"], answers[2]["tools"]


def tool_lines(tools):
    for tool in tools:
        seen = {name: tool[name] for name in ("name", "description", "inputSchema")}
        yield json.dumps(seen, ensure_ascii=False)


def conversation(name, task):
    yield f"\n### {numbers()[name]}"
    if situation := task.get("situation"):
        yield f"Situation: {situation}"
    answers = iter(shown_answers(name))
    for turn in task["talk"]:
        if "user" in turn:
            yield f"User: {turn['user']}"
        elif "you" in turn:
            yield f"You: {turn['you']}"
        elif "tool" in turn and not turn.get("hidden"):
            yield f"You call {turn['tool']} {json.dumps(turn['arguments'], ensure_ascii=False)}"
            yield f"Answer: {json.dumps(next(answers), ensure_ascii=False)}"


def show(program, names):
    chosen = {name: task for name, task in tasks().items() if not names or name in names}
    sets = lambda task: task.get("world", {}).get("toolsets", "default")
    instructions, tools = told(program, "default")
    print(HOW, "\n## Instructions of the server\n", instructions, "\n## Tools\n", sep="\n")
    print(*tool_lines(tools), sep="\n")
    print("\n## Tasks")
    for toolsets in sorted({sets(task) for task in chosen.values()}, key=lambda it: it != "default"):
        if toolsets != "default":
            usual = {tool["name"] for tool in tools}
            more = [tool for tool in told(program, toolsets)[1] if tool["name"] not in usual]
            print("\nIn the following there are these tools as well:\n")
            print(*tool_lines(more), sep="\n")
        for name, task in chosen.items():
            if sets(task) == toolsets:
                print(*conversation(name, task), sep="\n")


def main():
    match sys.argv[1:]:
        case ["show", program, *names]:
            show(str(Path(program).resolve()), names)
        case ["score", path]:
            text = sys.stdin.read() if path == "-" else Path(path).read_text()
            # Models like to put it into a block.
            text = re.sub(r"^\s*```\w*\n|\n```\s*$", "", text)
            sys.exit(0 if score(json.loads(text)) else 1)
        case ["check"]:
            wrong = check()
            print(*wrong, sep="\n", end="\n" if wrong else "")
            print(f"{len(tasks())} tasks, {len(wrong)} wrong")
            sys.exit(1 if wrong else 0)
        case _:
            sys.exit(__doc__)


main()
