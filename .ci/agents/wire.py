"""Between a client and the server: passes every line on, and writes it down.

Usage as a program: wire.py LOG COMMAND [ARGUMENT ...]
"""

import json
import os
import subprocess
import sys
import threading


def pass_on(source, target, log, lock, mark):
    for line in source:
        with lock:
            log.write(mark + line)
            log.flush()
        try:
            target.write(line)
            target.flush()
        except OSError:
            break
    target.close()


def main():
    pipe = subprocess.PIPE
    server = subprocess.Popen(sys.argv[2:], stdin=pipe, stdout=pipe)
    lock = threading.Lock()
    with open(sys.argv[1], "wb") as log:
        # The client's end of input is the server's.
        up = (sys.stdin.buffer, server.stdin, log, lock, b"> ")
        threading.Thread(target=pass_on, args=up, daemon=True).start()
        pass_on(server.stdout, sys.stdout.buffer, log, lock, b"< ")
        code = server.wait()
    # At once: the other thread may still wait for a client that says nothing more.
    os._exit(code)


class Wire:
    """What was written down."""

    def __init__(self, path):
        asked = {}
        # Method, parameters and result, in the order of the requests.
        self.exchanges = []
        for line in path.read_bytes().splitlines():
            message = json.loads(line[2:])
            if line.startswith(b">") and "method" in message and "id" in message:
                asked[message["id"]] = [message["method"], message.get("params", {}), None]
                self.exchanges.append(asked[message["id"]])
            elif line.startswith(b"<") and message.get("id") in asked and "method" not in message:
                asked[message["id"]][2] = message.get("result", message.get("error"))

    def results(self, method):
        return [result for asked, _, result in self.exchanges if asked == method and result]

    def hello(self):
        """How the client opened, as one line, and what it was told."""
        method, asked, result = self.exchanges[0]
        meta = asked.get("_meta", {})
        of = lambda name: asked.get(name) or meta.get(f"io.modelcontextprotocol/{name}")
        who, can = of("clientInfo"), json.dumps(of("clientCapabilities") or of("capabilities"))
        line = f"{method} {of('protocolVersion')} from {who['name']} {who['version']}, with {can}"
        return line, result

    def tools(self):
        return self.results("tools/list")[0]["tools"]

    def answer(self, name, arguments, used):
        """The server's answer to the next such call; a question to the user is none."""
        for number, (method, asked, result) in enumerate(self.exchanges):
            if number in used or method != "tools/call" or not result:
                continue
            if asked["name"] == name and asked.get("arguments", {}) == arguments:
                used.add(number)
                if result.get("resultType") != "input_required":
                    return result
        return None


if __name__ == "__main__":
    main()
