"""The server under test: in a home of its own, with its offline Layer."""

import json
import os
import subprocess
import threading
import time
from queue import Empty, Queue

from clients import check

# Tells how the server ended, whoever started it. (Older clients say SIGTERM and keep the pipe open;
# then it is waited for once more.)
WRAPPER = """
exec 3<&0
"$0" "$@" <&3 3<&- 2>>"$LAYER_CI_HOME/stderr" & server=$!
trap 'kill -TERM $server' TERM
wait $server; code=$?
if [ $code -gt 128 ]; then wait $server; code=$?; fi
echo $code >"$LAYER_CI_HOME/exit"
"""
META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"


class World:
    """A home, a project and an account that only one server uses."""

    def __init__(self, program, home, speed="5"):
        self.program, self.home, self.project = program, home, home / "project"
        self.project.mkdir(parents=True)
        self.env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LAYER_MCP_HOME": str(home / "layer-mcp"),
            "LAYER_OUTPUT_DIR": str(self.project),
            "LAYER_SANDBOX_SPEED": speed,
            "LAYER_LOG": "warn",
        }

    def server(self):
        """What a client is told to start."""
        return {
            "command": "sh",
            "args": ["-c", WRAPPER, self.program, "--sandbox", "serve"],
            "env": self.env | {"LAYER_CI_HOME": str(self.home)},
            "cwd": str(self.home),
        }

    def ended_well(self):
        """Demands that the server ended by itself, and without a panic."""
        code, until = self.home / "exit", time.monotonic() + 2
        while not code.exists() and time.monotonic() < until:
            time.sleep(0.01)
        check(code.exists(), "the server was killed, or still runs")
        check(code.read_text().strip() == "0", f"the server's exit code is {code.read_text()}")
        said = (self.home / "stderr").read_text()
        check("panic" not in said, said[-2000:])
        code.unlink()


class Refused(Exception):
    """An error of the protocol that the server answered with."""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error}")
        self.error, self.code = error, error["code"]


class Raw:
    """JSON-RPC over pipes, as it stands on the wire."""

    def __init__(self, world):
        self.world, self.number, self.notes, self.answers = world, 0, [], Queue()
        pipe = subprocess.PIPE
        command = [world.program, "--sandbox", "serve"]
        with open(world.home / "stderr", "ab") as said:
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=said, env=world.env, cwd=world.home
            )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            (self.answers.put if "id" in message else self.notes.append)(message)

    def say(self, **message):
        line = json.dumps({"jsonrpc": "2.0"} | message) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def send(self, method, params):
        self.number += 1
        self.say(id=self.number, method=method, params=params)
        return self.number

    def answer(self, number, within=60):
        """The answer to a request, the whole message."""
        try:
            message = self.answers.get(timeout=within)
        except Empty:
            check(False, f"no answer within {within} s")
        check(message["id"] == number, f"an answer to something else: {message}")
        return message

    def ask(self, method, params):
        return self.answer(self.send(method, params))

    def noted(self, word, within=20):
        """Waits until progress says a word."""
        until = time.monotonic() + within
        while not any(word in note["params"].get("message", "") for note in list(self.notes)):
            check(time.monotonic() < until, f"no progress says {word} within {within} s")
            time.sleep(0.01)

    def silent(self, seconds):
        """Demands that no request is answered for so long."""
        try:
            answer = self.answers.get(timeout=seconds)
        except Empty:
            return
        check(False, f"an answer to a cancelled request: {answer}")

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=5)
        check(code == 0, f"the server's exit code is {code}")
        said = (self.world.home / "stderr").read_text()
        check("panic" not in said, said[-2000:])


def modern(params=None, version=MODERN, capabilities=None):
    """Parameters with what each request of the newest revision carries."""
    meta = {
        f"{META}protocolVersion": version,
        f"{META}clientInfo": {"name": "raw", "version": "1"},
        f"{META}clientCapabilities": capabilities or {},
    }
    params = dict(params or {})
    return params | {"_meta": meta | params.get("_meta", {})}
