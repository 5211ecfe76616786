"""The official conformance suite, which speaks HTTP: through a proxy before the server."""

import json
import re
import socket
import subprocess
import time
from collections import Counter

from clients import check, environment, tool
from demands import PARTS, demanded
from scenarios import OF_PARTS, SETS

HOST = "127.0.0.1"
# As the suite names the folder of a scenario's findings.
FOLDER = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
GOOD = {"SUCCESS", "INFO"}


def free_port():
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


class Proxy:
    """The proxy, and behind it one server for each session."""

    def __init__(self, world, era):
        self.port = free_port()
        self.said = open(world.home / "proxy", "ab")
        command = [tool("mcp-proxy"), "--host", HOST, "--port", str(self.port), "--server"]
        command += ["stream", "--upstreamProtocol", era, "--", world.program, "--sandbox", "serve"]
        env = environment() | world.env | {"PATH": environment()["PATH"]}
        self.process = subprocess.Popen(
            command, env=env, cwd=world.home, stdout=self.said, stderr=self.said
        )

    def __enter__(self):
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return f"http://{HOST}:{self.port}/mcp"
            except OSError:
                check(self.process.poll() is None, f"mcp-proxy is gone: see {self.said.name}")
                check(time.monotonic() < until, "mcp-proxy does not listen")
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.said.close()


def findings(folder):
    """What each scenario found: pairs of a check and its status, and how often."""
    found = {}
    for one in sorted(folder.iterdir()):
        checks = json.loads((one / "checks.json").read_text())
        name = FOLDER.fullmatch(one.name)[1]
        found[name] = [(each["id"], each["status"], each.get("errorMessage")) for each in checks]
    return found


def deviations(name, found, known):
    """Whatever a scenario found that the table doesn't say, and the other way round."""
    wanted = known[1] if known else {}
    bad = Counter((check_, status) for check_, status, _ in found if status not in GOOD)
    for each in (bad - Counter(wanted.items())).elements():
        why = next((said for check_, _, said in found if check_ == each[0]), "")
        yield f"{name}: {each[0]} is {each[1]}, not {wanted.get(each[0], 'SUCCESS')}: {why}"
    for each in (Counter(wanted.items()) - bad).elements():
        yield f"{name}: {each[0]} is not {each[1]} any more: say so in scenarios.py"


def prove(world, revision, era, table):
    """Returns how many checks succeeded, the scenarios by what they found, and what is wrong."""
    out = world.home / f"conformance-{revision}"
    with Proxy(world, era) as url:
        command = [tool("conformance"), "server", "--url", url, "--requirements", revision]
        # It exits with 1 when any check fails, as some always do here: the findings count.
        subprocess.run(
            [*command, "-o", out],
            env=environment(),
            cwd=world.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
    check(out.is_dir(), "the conformance suite found nothing at all")
    found = findings(out)
    lenient = {name for part in PARTS - demanded for name in OF_PARTS.get(part, ())}
    by_reason, wrong, passed = {}, [], 0
    for name in sorted(set(found) | set(table)):
        if name not in found or name not in table:
            wrong.append(f"{name}: {'did not run' if name in table else 'is not known'}")
            continue
        counted = [status for _, status, _ in found[name] if status != "INFO"]
        good = counted.count("SUCCESS")
        passed += good
        reason = f"some checks fail, for it {table[name][0]}" if table[name] else "all succeed"
        by_reason.setdefault(reason, []).append(f"{name} {good}/{len(counted)}")
        if name not in lenient:
            wrong += deviations(name, found[name], table[name])
    lines = [f"{revision}, {reason}: {', '.join(names)}" for reason, names in by_reason.items()]
    return passed, lines, wrong


__all__ = ["SETS", "prove"]
