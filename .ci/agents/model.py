"""The model's side of a conversation, played from a script.

A client is pointed at this server instead of at its maker's. It says what the script says: one
tool call after another, then a closing line; and it keeps every request, so that what a model is
really given of a server's answers can be read. Nothing else of a model is here.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Failed(Exception):
    """Something that is not as it should be."""


class TooSlow(Failed):
    """Something that is so only where a machine takes its time; another try may show it."""


class Seen:
    """A value of an argument that the model takes from an earlier answer, as it was shown to it."""

    def __init__(self, path, call, then=""):
        self.path, self.call, self.then = path, call, then

    def __add__(self, then):
        return Seen(self.path, self.call, then)


class Call:
    """One tool call of the script, with the name that the server gives the tool."""

    def __init__(self, tool, **arguments):
        self.tool, self.arguments = tool, arguments


class Look:
    """The model reads all that there is to read about all tools of the server."""

    arguments = {}


class Find:
    """The model looks for tools by a word, where the client hides them until then."""

    def __init__(self, word):
        self.arguments = {"word": word}


def facts(shown):
    """The object that a tool answered with, read out of what the model was shown."""
    for part in shown:
        found = isinstance(part, str) and first_object(part)
        if not found:
            continue
        if "structuredContent" in found:
            return found["structuredContent"]
        if isinstance(found.get("content"), list):
            return facts([inner.get("text", "") for inner in found["content"]])
        return found
    raise Failed(f"no JSON object in {shown}")


def first_object(text):
    start = text.find("{")
    while start >= 0:
        try:
            return json.JSONDecoder().raw_decode(text, start)[0]
        except ValueError:
            start = text.find("{", start + 1)
    return None


def filled_in(value, answers):
    """Arguments in which what was seen stands in the place of each `Seen`."""
    if isinstance(value, Seen):
        found = facts(answers[value.call])
        for key in value.path.split("."):
            found = found[int(key) if key.isdigit() else key]
        return f"{found}{value.then}"
    if isinstance(value, dict):
        return {name: filled_in(inner, answers) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled_in(inner, answers) for inner in value]
    return value


class Model:
    """A server on loopback that plays one conversation. It is the client's proxy, too: one that
    lets nothing through and remembers what was tried."""

    def __init__(self, dialect, script):
        self.dialect, self.script = dialect, script
        # Requests as they came: first line, headers and body.
        self.requests = []
        # The bodies of those that are turns of the conversation.
        self.turns = []
        # What it said, by the id of the call: the step, its arguments, and words for people.
        self.said = {}
        self.problems = []
        self.lock = threading.Lock()

    def __enter__(self):
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    status, kind, answer = model.answer(self, raw)
                except Exception as error:
                    model.problems.append(f"{type(error).__name__}: {error}")
                    wrong = f"the script can't go on: {error}"
                    told = {"type": "error", "error": {"type": "invalid_request_error"}}
                    told["error"]["message"] = wrong
                    status, kind, answer = 400, "application/json", json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_HEAD = do_CONNECT = handle_any

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that goes away in the middle is no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, raw):
        body = json.loads(raw) if raw else {}
        with self.lock:
            line = f"{request.command} {request.path}"
            self.requests.append((line, str(request.headers), raw.decode()))
            if request.command == "POST" and self.dialect.is_turn(request.path, body):
                self.turns.append(body)
                return 200, "text/event-stream", self.turn(body)
        aside = request.command != "CONNECT" and self.dialect.aside(request.path)
        if not aside:
            return 404, "application/json", b'{"error":{"message":"not here"}}'
        if isinstance(aside, bytes):
            return 200, "text/event-stream", aside
        return 200, "application/json", json.dumps(aside).encode()

    def turn(self, body):
        """The next thing to say: whatever has no answer yet, so that a request that is sent twice
        gets the same twice."""
        found = self.dialect.results(body)
        number = 0
        while f"call_{number}" in found:
            number += 1
        if number == len(self.script):
            return self.dialect.close()
        step, answers = self.script[number], [found[f"call_{n}"] for n in range(number)]
        search = f"search_{number}"
        if search not in found and (wanted := self.dialect.search_before(step, body, found)):
            return self.say(search, wanted, wanted.arguments)
        return self.say(f"call_{number}", step, filled_in(step.arguments, answers))

    def say(self, id, step, arguments):
        words, answer = self.dialect.say(id, step, arguments)
        self.said[id] = step, arguments, words
        return answer
