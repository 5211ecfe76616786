"""What the models of real agents see of the answers: golden transcripts, with the agents
themselves and a model that follows a script.

Usage: prove.py PATH_OF_LAYER_MCP [--update] [CLIENT/SCENARIO ...]

Without `--update`, exits with 1 when a transcript differs from golden/CLIENT/SCENARIO.txt, when
something else is not as it should be, or when a client is missing.
"""

import argparse
import difflib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Nothing is written beside the sources, but what --update writes.
sys.dont_write_bytecode = True
from clients import CLIENTS, KEY, install  # noqa: E402
from dialects import Picture  # noqa: E402
from model import Failed, Model  # noqa: E402
from scenarios import SCENARIOS, check  # noqa: E402
from transcript import transcript  # noqa: E402

GOLDEN = Path(__file__).resolve().parent / "golden"
# In the server's environment, and nowhere that a model looks.
CANARY = "pat_canary0123456789abcdef0123456789abcdef"


def converse(client, scenario, program):
    """One conversation, checked; its transcript."""
    with tempfile.TemporaryDirectory(prefix="layer-agents-", dir="/tmp") as folder:
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
        sandbox = ("--sandbox",) if scenario.sandbox else ()
        server = {
            "command": program,
            "args": [*sandbox, *scenario.flags, "serve"],
            "env": env | scenario.env,
        }
        with Model(client.dialect(), scenario.script) as model:
            client.converse(model, server, home, project, scenario.approved)
        check(not model.problems, f"{model.problems}")
        told = model.dialect.told(model.turns[0]) if scenario.told else []
        places = {str(project): "<project>", str(home): "<home>"}
        return transcript(f"{scenario.name}: {client.name}", model, told, places)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--update", action="store_true")
    arguments.add_argument("only", nargs="*")
    arguments = arguments.parse_args()
    program = str(Path(arguments.program).resolve())
    try:
        install()
    except Exception as error:
        sys.exit(f"prove.py: a client is missing: {error}")

    def one(task):
        client, scenario = task
        began = time.monotonic()
        try:
            text, wrong = converse(client, scenario, program), None
        except Exception as error:
            text, wrong = None, f"{type(error).__name__}: {error}"
        return text, wrong, time.monotonic() - began

    tasks = [
        (client, scenario)
        for scenario in SCENARIOS
        for client in CLIENTS
        if (not scenario.clients or client.name in scenario.clients)
        and (not arguments.only or f"{client.name}/{scenario.name}" in arguments.only
        or client.name in arguments.only or scenario.name in arguments.only)
    ]
    with ThreadPoolExecutor(3) as pool:
        for (client, scenario), (text, wrong, took) in zip(tasks, pool.map(one, tasks)):
            print(f"{client.name}/{scenario.name}: {wrong or 'ok'} ({took:.1f} s)")
            if text:
                path = GOLDEN / client.name / f"{scenario.name}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)


main()
