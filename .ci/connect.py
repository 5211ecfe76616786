"""`layer-mcp connect` against the command lines of Claude Code, Codex and Gemini CLI.

Usage: connect.py LAYER_MCP

Each client, in a home folder of its own and without a network, must see what `connect` writes, and
must not see it any more after `--remove`; what the client's own command adds must be known to
`connect`, and go by its `--remove`. Exits with 1 at the first thing that is otherwise, also when
a client is not there.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Nothing is written beside the sources.
sys.dont_write_bytecode = True
import clients  # noqa: E402


class Wrong(Exception):
    """Something that is not as it should be."""


def check(true, what):
    if not true:
        raise Wrong(what)


class Home:
    """A home folder with a project in it, and nothing else of this machine."""

    def __init__(self, program):
        # Codex does not like homes below /tmp.
        self.folder = tempfile.TemporaryDirectory(dir=program.parent)
        self.path = Path(self.folder.name).resolve()
        self.program = program
        self.project = self.path / "game"
        (self.project / "art").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", str(self.project)], check=True)

    def run(self, command, where=None, code=0, **more):
        environment = {"HOME": str(self.path), "PATH": "/usr/local/bin:/usr/bin:/bin", "NO_COLOR": "1"}
        environment |= {"DISABLE_AUTOUPDATER": "1", "GEMINI_CLI_TRUST_WORKSPACE": "true"} | more
        ran = subprocess.run(
            [str(word) for word in command],
            cwd=where or self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        what = f"{command} ended with {ran.returncode}: {ran.stdout[-1500:]}{ran.stderr[-1500:]}"
        check(code is None or ran.returncode == code, what)
        return ran.stdout + ran.stderr

    def connect(self, *words, where=None, **more):
        """The status, and the whole answer."""
        command = [self.program, "connect", *words, "--json"]
        environment = {"HOME": str(self.path), "PATH": "/usr/bin:/bin"} | more
        ran = subprocess.run(
            [str(word) for word in command],
            cwd=where or self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        check(ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}")
        answer = json.loads(ran.stdout)
        return answer["status"], answer

    def expect(self, status, *words, **more):
        found, answer = self.connect(*words, **more)
        check(found == status, f"connect {words}: {found} instead of {status}: {answer}")
        return answer


def version(home, command):
    return re.search(r"\d+\.\d+\.\d+", home.run([*command, "--version"]))[0]


def claude_code(program, claude):
    home = Home(program)
    state = home.path / ".claude.json"

    home.expect("connected", "claude-code", "--sandbox")
    shown = home.run([claude, "mcp", "get", "layer"])
    for words in ["User config", "Connected", "stdio", str(program), "--sandbox serve"]:
        check(words in shown, f"claude mcp get: no `{words}` in {shown}")
    check("layer" in home.run([claude, "mcp", "list"]), "claude mcp list")
    # It has written its file anew by now.
    check(len(json.loads(state.read_text())) > 1, "Claude Code left its file alone")
    home.expect("already_connected", "claude-code", "--sandbox")
    home.expect("already_connected", "claude-code")
    home.expect("updated", "claude-code", "--read-only")
    shown = home.run([claude, "mcp", "get", "layer"])
    check("Args: --read-only serve" in shown, "claude mcp get after a change")
    before = json.loads(state.read_text())
    home.expect("removed", "claude-code", "--remove")
    home.run([claude, "mcp", "get", "layer"], code=1)
    before["mcpServers"].pop("layer")
    left, now = before.pop("mcpServers"), json.loads(state.read_text())
    check(left == now.pop("mcpServers", {}), "other servers changed")
    same = {key for key in before if before[key] == now.get(key)}
    check(set(before) - same <= {"numStartups", "cachedGrowthBookFeatures"}, f"changed: {set(before) - same}")

    # In the project's file.
    home.expect("connected", "claude-code", "--project")
    check("Project config" in home.run([claude, "mcp", "get", "layer"], code=None), "project scope")
    home.run([claude, "mcp", "remove", "layer", "-s", "project"])
    home.expect("not_connected", "claude-code", "--project", "--remove")

    # What its own command wrote, in each scope, also from a folder of the project.
    for scope, words in [("user", ["--user"]), ("project", ["--project"]), ("local", [])]:
        for where in [home.project, home.project / "art"]:
            add = [claude, "mcp", "add", "-s", scope, "layer", "--", program, "serve"]
            home.run(add, where=where)
            if scope == "project":
                file = [path for path in (where, home.project) if (path / ".mcp.json").exists()][0]
                if file != home.project:
                    # Claude Code files it where it is started; `connect` at the repository's root.
                    (file / ".mcp.json").unlink()
                    continue
            answer = home.expect("already_connected", "claude-code", *words, where=where)
            check(answer["scope"] == scope, f"{scope}: {answer}")
            home.expect("removed", "claude-code", *words, "--remove", where=where)
            home.run([claude, "mcp", "get", "layer"], where=where, code=1)

    elsewhere = home.path / "elsewhere"
    elsewhere.mkdir()
    home.expect("connected", "claude-code", CLAUDE_CONFIG_DIR=str(elsewhere))
    shown = home.run([claude, "mcp", "get", "layer"], CLAUDE_CONFIG_DIR=str(elsewhere))
    check(str(program) in shown, f"CLAUDE_CONFIG_DIR: {shown}")
    return version(home, [claude])


def codex(program, client):
    home = Home(program)
    (home.path / ".codex").mkdir()

    def entry(**more):
        listed = json.loads(home.run([client, "mcp", "list", "--json"], **more).split("\nWARNING")[0])
        return next((one for one in listed if one["name"] == "layer"), None)

    home.expect("connected", "codex", "--sandbox")
    found = entry()
    check(found and found["enabled"], f"codex mcp list: {found}")
    check(found["transport"]["command"] == str(program), f"{found}")
    check(found["transport"]["args"] == ["--sandbox", "serve"], f"{found}")
    check(found["tool_timeout_sec"] == 180 and found["startup_timeout_sec"] == 30, f"{found}")
    home.run([client, "mcp", "add", "other", "--", "/bin/true"])
    home.expect("already_connected", "codex", "--sandbox")
    home.expect("already_connected", "codex")
    home.expect("updated", "codex", "--read-only")
    check(entry()["transport"]["args"] == ["--read-only", "serve"], "after a change")
    home.expect("removed", "codex", "--remove")
    check(entry() is None, "after --remove")
    check("other" in home.run([client, "mcp", "list"]), "another server is gone")
    home.run([client, "mcp", "add", "layer", "--env", "LAYER_LOG=debug", "--", program, "serve"])
    home.expect("already_connected", "codex")
    home.expect("removed", "codex", "--remove")
    check(entry() is None, "what codex added does not go")
    elsewhere = home.path / "elsewhere"
    elsewhere.mkdir()
    home.expect("connected", "codex", CODEX_HOME=str(elsewhere))
    check(entry(CODEX_HOME=str(elsewhere)), "CODEX_HOME")
    return version(home, [client])


def gemini(program, node, script):
    home = Home(program)
    client = [node, script]
    for words, scope in [(["--user"], "user"), (["--project"], "project")]:
        home.expect("connected", "gemini-cli", *words, "--sandbox")
        shown = home.run([*client, "mcp", "list"])
        line = next((line for line in shown.splitlines() if str(program) in line), "")
        check("--sandbox serve" in line and "Connected" in line, f"gemini mcp list: {shown}")
        home.expect("removed", "gemini-cli", *words, "--remove")
        check(str(program) not in home.run([*client, "mcp", "list"]), f"{scope}: still there")
        home.run([*client, "mcp", "add", "-s", scope, "layer", program, "serve"])
        home.expect("already_connected", "gemini-cli", *words)
        home.run([*client, "mcp", "add", "-s", scope, "other", "/bin/true"])
        home.expect("removed", "gemini-cli", *words, "--remove")
        shown = home.run([*client, "mcp", "list"])
        check("other" in shown and str(program) not in shown, f"{scope}: {shown}")
    elsewhere = home.path / "elsewhere"
    elsewhere.mkdir()
    home.expect("connected", "gemini-cli", GEMINI_CLI_HOME=str(elsewhere))
    shown = home.run([*client, "mcp", "list"], GEMINI_CLI_HOME=str(elsewhere))
    check(str(program) in shown, f"GEMINI_CLI_HOME: {shown}")
    return version(home, client)


def main():
    program = Path(sys.argv[1]).resolve()
    try:
        clients.install()
        check(program.is_file(), f"{program} is not there")
        print("Claude Code", claude_code(program, clients.claude()))
        print("Codex", codex(program, clients.codex()))
        print("Gemini CLI", gemini(program, clients.node(), clients.gemini()))
    except (Wrong, clients.Failed) as wrong:
        sys.exit(f"connect.py: {wrong}")


main()
