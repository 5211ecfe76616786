"""The clients and suites that prove the server: where they come from, and how one is started.

This is the only place that installs them: whatever package.json, package-lock.json and the
requirements beside it name, exactly, into target/ci and nowhere else. It takes Python with pip
and npm; the Node.js that the packages need comes from npm, too.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent / "target" / "ci" / "clients"
MODULES = HOME / "node_modules"
WANTED = json.loads((HERE / "package.json").read_text())
PACKAGES = WANTED["dependencies"]
# Each for a single kind of machine.
NATIVE = WANTED["optionalDependencies"]
NPM = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
# Environments of their own, for what can't live beside the newer Python client.
ENVIRONMENTS = {"old": HERE / "requirements-old.txt", "fuzzer": HERE / "requirements-fuzzer.txt"}


class Failed(Exception):
    """A client that is missing, or did something else than it should."""


def check(true, what):
    if not true:
        raise Failed(what)


def run(command, **more):
    """A command that works, and what it prints."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command, text=True, timeout=600, **(pipes | more))
    if done.returncode:
        said = f"{done.stdout[-2000:]}{(done.stderr or '')[-2000:]}"
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}: {said}")
    return done.stdout


def machine():
    """What npm calls this kind of machine."""
    system = platform.system().lower()
    return f"{system}-{'arm64' if platform.machine() in ('arm64', 'aarch64') else 'x64'}"


def node():
    """The Node.js that the packages run on: that of many machines is too old for them."""
    of_npm = MODULES / f"node-{machine()}" / "bin" / "node"
    return of_npm if f"node-{machine()}" in NATIVE else Path(shutil.which("node") or of_npm)


def python(name):
    return HOME / f"python-{name}" / "bin" / "python"


def tool(name):
    """The command line of an installed package."""
    return MODULES / ".bin" / name


def claude():
    """Claude Code itself; npm's launcher needs an install script, which is not run."""
    return MODULES / "@anthropic-ai" / f"claude-code-{machine()}" / "claude"


def codex():
    """Codex itself, in a folder that is named for how it was built."""
    (program,) = (MODULES / "@openai" / f"codex-{machine()}").glob("vendor/*/bin/codex")
    return program


def gemini():
    """The script of Gemini CLI, for `node()`."""
    return MODULES / "@google" / "gemini-cli" / "bundle" / "gemini.js"


def environment(**more):
    """What a client gets of this machine's environment: Node first in the path, no settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAYER_", "CLAUDE", "ANTHROPIC_", "GEMINI_", "MCP_"))
    }
    return kept | {"PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}"} | more


def installed(package):
    """The version of an npm package, or None."""
    try:
        return json.loads((MODULES / package / "package.json").read_text())["version"]
    except FileNotFoundError:
        return None


def of_requirements(file):
    """What a file of requirements names: pairs of a package and its version."""
    lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    return [(line.split("==")[0].split("[")[0], line.split("==")[1]) for line in lines]


def wanted_here():
    """The npm packages that this machine must have, and their versions."""
    wanted = {package: exact.rsplit("@", 1)[-1] for package, exact in PACKAGES.items()}
    native = {
        package: exact.rsplit("@", 1)[-1]
        for package, exact in NATIVE.items()
        if package.endswith(machine())
    }
    for name in ("claude-code", "codex"):
        check(any(name in package for package in native), f"no {name} for {machine()}")
    return wanted | native


def install_python(name, file):
    program, lines = python(name), of_requirements(file)
    names, exact = zip(*lines)
    if program.exists():
        ask = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
        have = subprocess.run([program, "-c", ask, *names], capture_output=True, text=True)
        if tuple(have.stdout.split()) == exact:
            return
    shutil.rmtree(program.parent.parent, ignore_errors=True)
    run([sys.executable, "-m", "venv", program.parent.parent])
    pip = [program, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    run([*pip, "--cache-dir", HOME / "pip-cache", "-r", file])


def install_node():
    """The folder of a Node.js for npm: that of an old one picks other packages without a word."""
    name = f"node-{machine()}"
    if name not in NATIVE:
        major = int(run([node(), "--version"]).lstrip("v").split(".")[0])
        check(major >= 24, f"Node.js 24 is missing: the one in PATH is {major}")
        return node().parent
    first = HOME / "node-first"
    first.mkdir(parents=True, exist_ok=True)
    (first / "package.json").write_text('{"private": true}\n')
    exact = f"{name}@{NATIVE[name]}"
    run(["npm", "install", *NPM, "--cache", HOME / "npm-cache", exact], cwd=first)
    return first / "node_modules" / name / "bin"


def install_npm():
    """Lays what the lock file names, unless that is there."""
    wanted, lock, stamp = wanted_here(), HERE / "package-lock.json", HOME / "laid"
    there = stamp.exists() and stamp.read_bytes() == lock.read_bytes()
    if not there or any(installed(package) != exact for package, exact in wanted.items()):
        stamp.unlink(missing_ok=True)
        path = f"{install_node()}{os.pathsep}{os.environ['PATH']}"
        shutil.copy(HERE / "package.json", HOME)
        shutil.copy(lock, HOME)
        command = ["npm", "ci", *NPM, "--cache", HOME / "npm-cache"]
        run(command, cwd=HOME, env=environment(PATH=path))
        shutil.copy(lock, stamp)
    for package, exact in wanted.items():
        check(installed(package) == exact, f"{package} {exact} is missing")


def install():
    """Fetches whatever is missing or of another version. Raises [Failed] when that can't be."""
    for package, exact in of_requirements(HERE / "requirements.txt"):
        try:
            have = version(package)
        except PackageNotFoundError:
            have = "none"
        check(have == exact, f"{package} {exact} is missing: this Python has {have}")
    HOME.mkdir(parents=True, exist_ok=True)
    for name, file in ENVIRONMENTS.items():
        install_python(name, file)
    install_npm()
