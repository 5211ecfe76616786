"""The model's side of a conversation, played from a script.

A client is pointed at this server instead of at its maker's. It says what the script says: one
tool call after another, then a closing line; and it keeps every request, so that what a model is
really given of a server's answers can be read. Nothing else of a model is here.
"""

import base64
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLOSING = "That is all."


class Failed(Exception):
    """Something that is not as it should be."""


class Seen:
    """A value of an argument that the model takes from an earlier answer, as it was shown to it."""

    def __init__(self, path, call=-1, then=""):
        self.path, self.call, self.then = path, call, then


class Call:
    """One tool call of the script, with the name that the server gives the tool."""

    def __init__(self, tool, **arguments):
        self.tool, self.arguments = tool, arguments


class Picture:
    """A picture that reached the model."""

    def __init__(self, media_type, data):
        self.media_type, self.data = media_type, data

    def size(self):
        """Width and height of a PNG, or of a WebP or JPEG as far as their heads tell."""
        if self.data[:8] == b"\x89PNG\r\n\x1a\n":
            return struct.unpack(">II", self.data[16:24])
        return None

    @classmethod
    def of_url(cls, url):
        head, _, body = url.partition(";base64,")
        return cls(head.removeprefix("data:"), base64.b64decode(body))


def facts(blocks):
    """The object that a tool answered with, read out of what the model was shown."""
    for block in blocks:
        found = isinstance(block, str) and first_object(block)
        if not found:
            continue
        if "structuredContent" in found:
            return found["structuredContent"]
        if isinstance(found.get("content"), list):
            return facts([part.get("text", "") for part in found["content"]])
        return found
    raise Failed(f"no JSON object in {blocks}")


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
        return f"{found}{value.then}" if value.then else found
    if isinstance(value, dict):
        return {name: filled_in(inner, answers) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled_in(inner, answers) for inner in value]
    return value


def events(*all_of_them):
    """Server-sent events."""
    lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in all_of_them)
    return "".join(lines).encode()


class Messages:
    """Anthropic's Messages API, as Claude Code speaks it.

    What is deferred is looked for with ToolSearch first, as the real model has to."""

    prefix = "mcp__layer__"

    def is_turn(self, path, body):
        """Whether the script is to go on, rather than a side question to be answered."""
        return path.split("?")[0] == "/v1/messages" and bool(body.get("tools"))

    def blocks_of(self, body, kind):
        for message in body["messages"]:
            if isinstance(message["content"], list):
                yield from (block for block in message["content"] if block["type"] == kind)

    def results(self, body):
        """What each call got, by its id."""
        found = {}
        for block in self.blocks_of(body, "tool_result"):
            content = block.get("content") or []
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            shown = [self.part(part) for part in parts]
            if block.get("is_error"):
                shown.insert(0, {"is_error": True})
            found[block["tool_use_id"]] = shown
        return found

    def part(self, part):
        if part["type"] == "text":
            return part["text"]
        if part["type"] == "image":
            source = part["source"]
            return Picture(source["media_type"], base64.b64decode(source["data"]))
        return part

    def prepare(self, body, call, found):
        """The search that makes a deferred tool known, where that was not done yet."""
        loaded = {tool["name"] for tool in body["tools"] if not tool.get("defer_loading")}
        named = {
            part.get("tool_name")
            for parts in found.values()
            for part in parts
            if isinstance(part, dict)
        }
        name = self.prefix + call.tool
        if name in loaded | named:
            return None
        return "ToolSearch", {"query": f"select:{name}", "max_results": 5}

    def call(self, id, call, arguments):
        return self.use(id, self.prefix + call.tool, arguments)

    def use(self, id, name, arguments):
        start = {"type": "tool_use", "id": id, "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        return self.message(start, delta, "tool_use")

    def search(self, id, wanted):
        return self.use(id, *wanted)

    def close(self):
        start = {"type": "text", "text": ""}
        return self.message(start, {"type": "text_delta", "text": CLOSING}, "end_turn")

    def message(self, start, delta, stop):
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "scripted",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        return events(
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": stop, "stop_sequence": None},
                "usage": {"output_tokens": 1},
            },
            {"type": "message_stop"},
        )

    def aside(self, path, body):
        """An answer to whatever else is asked: JSON, or a short text where a message is wanted."""
        if path.startswith("/v1/messages/count_tokens"):
            return {"input_tokens": 1}
        return self.close() if path.startswith("/v1/messages") else None


class Responses:
    """OpenAI's Responses API, as Codex speaks it with a model that calls tools by name."""

    def is_turn(self, path, body):
        return path.endswith("/responses")

    def results(self, body):
        found = {}
        for item in body["input"]:
            if item["type"] in ("function_call_output", "custom_tool_call_output"):
                output = item["output"]
                parts = [output] if isinstance(output, str) else output
                # A script may tell something more than once.
                found.setdefault(item["call_id"], []).extend(self.part(part) for part in parts)
            elif item["type"] == "tool_search_output":
                found[item["call_id"]] = item["tools"]
        return found

    def part(self, part):
        if isinstance(part, str):
            return part
        if part["type"] == "input_text":
            return part["text"]
        if part["type"] == "input_image":
            return Picture.of_url(part["image_url"])
        return part

    def prepare(self, body, call, found):
        return None

    def call(self, id, call, arguments):
        return self.item(
            type="function_call",
            call_id=id,
            namespace="mcp__layer",
            name=call.tool,
            arguments=json.dumps(arguments),
        )

    def close(self):
        content = [{"type": "output_text", "text": CLOSING}]
        return self.item(type="message", role="assistant", id="msg_1", content=content)

    def item(self, **item):
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        return events(
            {"type": "response.created", "response": {"id": "resp_1"}},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
        )

    def aside(self, path, body):
        return None


class Code(Responses):
    """The same with a model that calls tools from JavaScript: the default of Codex."""

    def call(self, id, call, arguments):
        script = SHOWS_ALL % (f"mcp__layer__{call.tool}", json.dumps(arguments))
        return self.item(type="custom_tool_call", call_id=id, name="exec", input=script)


# What a model writes that wants to see the answer as it is.
SHOWS_ALL = """\
const result = await tools.%s(%s);
text(result);"""


class Model:
    """A server on loopback that plays one conversation."""

    def __init__(self, dialect, script):
        self.dialect, self.script = dialect, script
        # Requests as they came: method, path, headers and body.
        self.requests = []
        # The bodies of those that are turns of the conversation.
        self.turns = []
        self.problems = []
        self.lock = threading.Lock()

    def __enter__(self):
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                length = int(self.headers.get("content-length") or 0)
                raw = self.rfile.read(length)
                try:
                    status, kind, answer = model.answer(self, raw)
                except Exception as error:
                    model.problems.append(f"{type(error).__name__}: {error}")
                    wrong = {"type": "error", "error": {"type": "invalid_request_error"}}
                    wrong["error"]["message"] = f"the script can't go on: {error}"
                    status, kind, answer = 400, "application/json", json.dumps(wrong).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_HEAD = handle_any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
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
            self.requests.append((line, dict(request.headers), raw.decode()))
            if request.command == "POST" and self.dialect.is_turn(request.path, body):
                self.turns.append(body)
                return 200, "text/event-stream", self.turn(body)
        aside = self.dialect.aside(request.path, body)
        if aside is None:
            return 404, "application/json", b'{"error":{"message":"not here"}}'
        if isinstance(aside, bytes):
            return 200, "text/event-stream", aside
        return 200, "application/json", json.dumps(aside).encode()

    def turn(self, body):
        """The next thing to say: whatever has no answer yet, so that a request that is sent twice
        gets the same twice."""
        found = self.dialect.results(body)
        number = 0
        while f"call_{number + 1}" in found:
            number += 1
        if number == len(self.script):
            return self.dialect.close()
        call, answers = self.script[number], [found[f"call_{n + 1}"] for n in range(number)]
        search = f"search_{number + 1}"
        if search not in found and (wanted := self.dialect.prepare(body, call, found)):
            return self.dialect.search(search, wanted)
        return self.dialect.call(f"call_{number + 1}", call, filled_in(call.arguments, answers))
