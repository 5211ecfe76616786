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
        # Method, parameters and result, in the order of the requests: the client's, and the
        # server's.
        self.exchanges, self.questions = [], []
        open_ones = {b">": {}, b"<": {}}
        for line in path.read_bytes().splitlines():
            message, side = json.loads(line[2:]), line[:1]
            if "method" in message and "id" in message:
                exchange = [message["method"], message.get("params", {}), None]
                open_ones[side][message["id"]] = exchange
                (self.exchanges if side == b">" else self.questions).append(exchange)
            elif "id" in message and "method" not in message:
                other = open_ones[b"<" if side == b">" else b">"]
                other[message["id"]][2] = message.get("result", message.get("error"))

    def results(self, method):
        return [result for asked, _, result in self.exchanges if asked == method and result]

    def asked(self):
        """The questions to the user, and what the client answered to each. Since 2026-07-28 both
        come with a call and its repetition, before it as a request of the server's."""
        for method, params, result in self.questions:
            if method == "elicitation/create":
                yield params["message"], result["action"]
        put = {}
        for _, params, result in self.exchanges:
            for name, answer in params.get("inputResponses", {}).items():
                yield put.pop(name), answer["action"]
            for name, question in (result or {}).get("inputRequests", {}).items():
                put[name] = question["params"]["message"]

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
