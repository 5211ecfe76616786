"""Whether a release build keeps its memory to itself: no core dump, and on Linux no look into it by
other programs of the same user.

Usage: hardening.py PATH_OF_LAYER_MCP

Starts the server where core dumps are allowed, and beside it a program that is not hardened, to
show that the checks can fail. As root, both run as another user, because root may look anywhere.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

NOBODY = 65534
HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
    b'"capabilities":{},"clientInfo":{"name":"hardening","version":"1"}}}\n'
)


def allow_dumps():
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def start(command, folder):
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen(
        command,
        cwd=folder,
        env={"HOME": folder, "PATH": os.defpath, "CANARY": "in its environment"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=allow_dumps,
        **user,
    )


def seen_by_same_user(pid, folder):
    """What another program of that user reads of the environment, or nothing."""
    looking = start(["cat", f"/proc/{pid}/environ"], folder)
    return b"CANARY" in looking.communicate(timeout=30)[0]


def core_limit(pid):
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


def main():
    signal.alarm(120)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        program = shutil.copy(sys.argv[1], f"{folder}/layer-mcp")
        os.chmod(program, 0o755)

        usual = start(["cat"], folder)
        usual.stdin.write(b"ready\n")
        usual.stdin.flush()
        usual.stdout.readline()
        assert seen_by_same_user(usual.pid, folder), "the check itself sees nothing"
        usual.kill()
        usual.wait()

        server = start([program, "--sandbox", "serve"], folder)
        server.stdin.write(HELLO)
        server.stdin.flush()
        assert b'"serverInfo"' in server.stdout.readline(), "no answer"
        assert core_limit(server.pid) == ["0", "0"], core_limit(server.pid)
        assert not seen_by_same_user(server.pid, folder), "others see its environment"
        server.send_signal(signal.SIGABRT)
        _, status = os.waitpid(server.pid, 0)
        server.returncode = status
        assert os.WIFSIGNALED(status) and not os.WCOREDUMP(status), f"status {status}"
        assert not list(Path(folder).glob("core*")), os.listdir(folder)
    print("ok hardening")


if __name__ == "__main__":
    main()
