"""The official clients: where they come from, and one way to drive them all."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
CI = HERE.parent.parent / "target" / "ci"
HOME = CI / "consent"
MODULES = HOME / "node" / "node_modules"

# The Node.js of many machines is too old for the Inspector.
NODE = "24.21.0"
PACKAGES = {
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/inspector": "2.12.0",
}
OLD_PYTHON_CLIENT = "1.30.0"


class Failed(Exception):
    """A client that did something else than it should."""


def run(command, **more):
    """A command that works, and what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **more)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def node_package():
    system = {"Linux": "linux", "Darwin": "darwin"}[platform.system()]
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x64"
    return f"node-{system}-{machine}"


def environment(**more):
    """What a client gets of this machine's environment: Node first in the path, no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAYER_")}
    path = f"{MODULES / node_package() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path} | more


def installed(package):
    try:
        return json.loads((MODULES / package / "package.json").read_text())["version"]
    except FileNotFoundError:
        return None


def install():
    """Fetches whatever is missing or of another version, into target/ci and nowhere else."""
    python = HOME / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    if not python.exists():
        run([sys.executable, "-m", "venv", HOME / "venv"])
    run([*pip, "install", "--cache-dir", HOME / "pip-cache", f"mcp=={OLD_PYTHON_CLIENT}"])
    wanted = PACKAGES | {node_package(): NODE}
    if any(installed(package) != exact for package, exact in wanted.items()):
        MODULES.parent.mkdir(parents=True, exist_ok=True)
        (MODULES.parent / "package.json").write_text('{"private": true}\n')
        options = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
        options += ["--save-exact", "--cache", HOME / "npm-cache"]
        # Node first: the others are installed by the one that they run on.
        for some in ({node_package(): NODE}, wanted):
            names = [f"{package}@{exact}" for package, exact in some.items()]
            run(["npm", "install", *options, *names], cwd=MODULES.parent, env=environment())
    for package, exact in wanted.items():
        if installed(package) != exact:
            raise Failed(f"{package} {exact} is not there")
    if not version("mcp").startswith("2."):
        raise Failed(f"this Python has mcp {version('mcp')}")


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

    def open(self, server, forms):
        return self.order(open=server, forms=forms)["protocol"]

    def call(self, tool, arguments, answer):
        told = self.order(call=tool, arguments=arguments, answer=answer)
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
            [MODULES / ".bin" / "mcpdo", "--format", "json", *arguments],
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


def all_of_them(home):
    """Each client: its name, the protocol that it is to speak, and how to start it."""
    modern, legacy = "2026-07-28", "2025-11-25"
    mcp = version("mcp")
    new, old = sys.executable, HOME / "venv" / "bin" / "python"
    node = MODULES / node_package() / "bin" / "node"
    python = lambda program, mode: Lines([program, HERE / "client.py", mode])
    script = lambda package, mode: Lines([node, HERE / "client.mjs", MODULES, package, mode])
    return [
        (f"Python mcp {mcp}, auto", modern, lambda: python(new, "auto")),
        (f"Python mcp {mcp}, pinned", modern, lambda: python(new, modern)),
        (f"Python mcp {mcp}, legacy", legacy, lambda: python(new, "legacy")),
        (f"Python mcp {OLD_PYTHON_CLIENT}", legacy, lambda: python(old, "legacy")),
        ("TypeScript sdk 1.32", legacy, lambda: script("sdk", "legacy")),
        ("TypeScript client 2.4", legacy, lambda: script("client", "legacy")),
        ("TypeScript client 2.4, auto", modern, lambda: script("client", "auto")),
        ("Inspector mcpdo, legacy", legacy, lambda: Mcpdo("legacy", home)),
        ("Inspector mcpdo, modern", modern, lambda: Mcpdo("modern", home)),
    ]
