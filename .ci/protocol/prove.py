"""The server with every suite and client that there is for the protocol, revision by revision.

Usage: prove.py PATH_OF_LAYER_MCP [--without PART]...

Prints what the conformance suite found scenario by scenario, and a table of what ran with which
client, version and revision. Exits with 1 when anything was other than it should, or a client or
suite is missing. PART is prompts, resources, completions, tasks or icons: for work on a server
that has no such thing yet.
"""

import argparse
import sys
import tempfile
from pathlib import Path

# Nothing is written beside the sources.
sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import conformance  # noqa: E402
import fuzz  # noqa: E402
import health  # noqa: E402
import inspector  # noqa: E402
import revisions  # noqa: E402
import sessions  # noqa: E402
import tasks  # noqa: E402
from clients import ENVIRONMENTS, install, installed, of_requirements  # noqa: E402
from clients.drivers import all_of_them  # noqa: E402
from demands import PARTS, demanded  # noqa: E402
from server import World  # noqa: E402


class Table:
    """What ran, and what was wrong with it."""

    def __init__(self, program, home):
        self.program, self.home = program, home
        self.rows, self.wrong, self.worlds = [], [], 0

    def world(self, **more):
        self.worlds += 1
        return World(self.program, self.home / str(self.worlds), **more)

    def row(self, client, version, revision, passed, wrong=()):
        """One row; a client of which something was wrong passed nothing as a whole."""
        self.rows.append((client, version, revision, passed, "WRONG" if wrong else "ok"))
        # The same is often wrong in many places.
        for what in dict.fromkeys(wrong):
            self.wrong.append(f"{client} {version}, {revision}: {what}")
        print(".", end="", flush=True)

    def attempt(self, client, version, revision, part):
        """A row of a part that returns what passed, or raises."""
        try:
            self.row(client, version, revision, part())
        except Exception as error:
            self.row(client, version, revision, "", [f"{type(error).__name__}: {error}"])

    def print(self):
        print()
        rows = [("client", "version", "revision", "passed", ""), *self.rows]
        widths = [max(len(str(row[column])) for row in rows) for column in range(5)]
        for row in rows:
            cells = (str(cell).ljust(width) for cell, width in zip(row, widths))
            print("  ".join(cells).rstrip())


def on_the_wire(table):
    ways = {
        "initialize first": revisions.prove,
        "unknown revision": revisions.prove_others,
        "discover first": revisions.prove_look_first,
    }
    for name, spoken in ways.items():
        try:
            answers, wrong = spoken(table.world())
        except Exception as error:
            answers, wrong = [], [("", f"{type(error).__name__}: {error}")]
        for revision in sorted({revision for revision, _ in answers}):
            count = sum(number for of, number in answers if of == revision)
            mine = [what for of, what in wrong if of == revision]
            table.row("JSON-RPC, one process", name, revision, f"{count} answers", mine)
            wrong = [(of, what) for of, what in wrong if of != revision]
        if wrong:
            table.row("JSON-RPC, one process", name, "", "", [what for _, what in wrong])
    for revision in revisions.REVISIONS:
        world = table.world()
        part = lambda: f"{revisions.cancelled(world, revision)} answers"
        table.attempt("JSON-RPC, cancelled call", "", revision, part)


def official_clients(table):
    for client in all_of_them(table.home):
        if client.lines:
            passed = []

            def part():
                passed.extend(sessions.prove(client, table.world()))
                return " ".join(passed)

            name = client.name + (f", {client.mode}" if client.mode else "")
            table.attempt(name, client.version, client.revision, part)
            if table.rows[-1][-1] == "WRONG":
                table.wrong[-1] += f" (after {' '.join(passed) or 'nothing'})"


def suites(table):
    version, lines = installed("@modelcontextprotocol/conformance"), []
    for revision, era, known in conformance.SETS:
        passed, found, wrong = conformance.prove(table.world(), revision, era, known)
        lines += found
        table.row("conformance suite", version, revision, f"{passed} checks", wrong)
    version = installed("@modelcontextprotocol/inspector")
    for era, revision in (("legacy", "2025-11-25"), ("modern", "2026-07-28")):
        world = table.world(speed="50")
        part = lambda: f"{inspector.prove(world, era)} commands"
        table.attempt("Inspector --strict", version, revision, part)
    if "tasks" in demanded:
        exact = f"mcpdo {version}"
        part = lambda: ", ".join(tasks.prove(table.world(), table.home))
        table.attempt("tasks extension", exact, "2026-07-28", part)
    ((_, version),) = of_requirements(ENVIRONMENTS["fuzzer"])
    table.attempt("mcp-fuzzer", version, "2025-11-25", lambda: fuzz.prove(table.world(speed="50")))
    return lines


def agents(table):
    for name, package, check_ in (("Claude Code", health.CLAUDE, health.claude_code),
                                  ("Gemini CLI", health.GEMINI, health.gemini_cli)):
        table.attempt(name, installed(package), "its own choice", lambda: check_(table.world()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--without", action="append", default=[], choices=sorted(PARTS))
    given = parser.parse_args()
    demanded.difference_update(given.without)
    try:
        install()
    except Exception as error:
        sys.exit(f"prove.py: a client is missing: {error}")
    # Short, for it holds sockets, whose paths must be.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        table = Table(given.program, Path(folder).resolve())
        on_the_wire(table)
        lines = suites(table)
        official_clients(table)
        agents(table)
        print("\n" + "\n".join(lines))
        table.print()
    print("\n".join(table.wrong))
    if demanded != PARTS:
        sys.exit(f"prove.py: not demanded: {', '.join(sorted(PARTS - demanded))}")
    sys.exit("prove.py: a client or suite found something wrong" if table.wrong else 0)


main()
