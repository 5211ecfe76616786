"""The ways in which clients talk with models: what of a request is the answer to a call, and what a
model's turn looks like."""

import base64
import json
import re
import struct

from model import Call, Failed, Find, Look

CLOSING = "That is all."
SERVER = "layer"
PREFIX = f"mcp__{SERVER}__"


class Picture:
    """A picture that reached the model."""

    def __init__(self, media_type, data):
        self.media_type, self.data = media_type, base64.b64decode(data)

    def size(self):
        """Width and height of a PNG or JPEG."""
        if self.data[:8] == b"\x89PNG\r\n\x1a\n":
            return struct.unpack(">II", self.data[16:24])
        at = 2
        while self.data[:2] == b"\xff\xd8" and at + 9 < len(self.data):
            marker, length = struct.unpack(">xBH", self.data[at : at + 4])
            if 0xC0 <= marker <= 0xC2:
                return struct.unpack(">HH", self.data[at + 5 : at + 9])[::-1]
            at += 2 + length
        raise Failed(f"{self.media_type} that is none: {self.data[:16]}")


class Wrong:
    """The mark of an error on an answer."""


class Tools:
    """Definitions of tools."""

    def __init__(self, tools):
        self.tools = tools


def events(*all_of_them):
    """Server-sent events."""
    lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in all_of_them)
    return "".join(lines).encode()


def words(name, arguments):
    return f"{name} {json.dumps(arguments, ensure_ascii=False)}"


class Messages:
    """Anthropic's Messages API, as Claude Code speaks it.

    What is deferred is looked up with ToolSearch first, as the real model has to."""

    def is_turn(self, path, body):
        """Whether the script is to go on, rather than a side question to be answered."""
        return path.split("?")[0] == "/v1/messages" and bool(body.get("tools"))

    def knows(self, line):
        """Whether a client may ask for this."""
        return line.startswith("POST /v1/messages")

    def blocks(self, body, kind):
        for message in body["messages"]:
            content = message["content"]
            if isinstance(content, str):
                content = [{"type": "text", "text": content}]
            yield from (block for block in content if block["type"] == kind)

    def results(self, body):
        """What each call got, by its id."""
        found = {}
        for block in self.blocks(body, "tool_result"):
            content = block.get("content") or []
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            shown = [self.part(part, body) for part in parts]
            found[block["tool_use_id"]] = [Wrong()] + shown if block.get("is_error") else shown
        return found

    def part(self, part, body):
        if part["type"] == "text":
            return part["text"]
        if part["type"] == "image":
            return Picture(part["source"]["media_type"], part["source"]["data"])
        if part["type"] == "tool_reference":
            # The service puts the definition in its place.
            return Tools([tool for tool in body["tools"] if tool["name"] == part["tool_name"]])
        return part

    def search_before(self, step, body, found):
        """The search that makes a deferred tool known, where that was not done yet."""
        if not isinstance(step, Call):
            return None
        name = PREFIX + step.tool
        loaded = {tool["name"] for tool in body["tools"]}
        # One that isn't there is called all the same.
        told = "\n".join(text["text"] for text in self.blocks(body, "text"))
        return None if name in loaded or name not in told else Find(f"select:{name}")

    def say(self, id, step, arguments):
        if isinstance(step, Find):
            return self.use(id, "ToolSearch", {"query": step.arguments["word"], "max_results": 5})
        if isinstance(step, Look):
            names = ",".join(PREFIX + name for name in ALL)
            return self.use(id, "ToolSearch", {"query": f"select:{names}", "max_results": 50})
        return self.use(id, PREFIX + step.tool, arguments)

    def use(self, id, name, arguments):
        start = {"type": "tool_use", "id": id, "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        return words(name, arguments), self.message(start, delta, "tool_use")

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

    def aside(self, path):
        """An answer to whatever else is asked: JSON, or a short text where a message is wanted."""
        if path.startswith("/v1/messages/count_tokens"):
            return {"input_tokens": 1}
        return self.close() if path.startswith("/v1/messages") else None

    def told(self, body):
        """What a model is told of the server before it does anything: the texts in which it may be,
        the names of tools, and definitions."""
        texts = [block["text"] for block in self.blocks(body, "text")]
        texts += [block["text"] for block in body["system"]]
        names = [name for text in texts for name in re.findall(rf"^{PREFIX}\w+$", text, re.M)]
        tools = [tool for tool in body["tools"] if tool["name"].startswith(PREFIX)]
        return texts, names, tools


class Responses:
    """OpenAI's Responses API, as Codex speaks it with a model that calls tools by their names."""

    def is_turn(self, path, body):
        return path.endswith("/responses")

    def knows(self, line):
        return line == "POST /v1/responses"

    def results(self, body):
        found = {}
        for item in body["input"]:
            if item["type"] in ("function_call_output", "custom_tool_call_output"):
                output = item["output"]
                parts = [output] if isinstance(output, str) else output
                found.setdefault(item["call_id"], []).extend(self.part(part) for part in parts)
            elif item["type"] == "tool_search_output":
                found[item["call_id"]] = [Tools(item["tools"])]
        return found

    def part(self, part):
        if isinstance(part, str):
            return part
        if part["type"] == "input_text":
            return part["text"]
        if part["type"] == "input_image":
            head, data = part["image_url"].split(";base64,")
            return Picture(head.removeprefix("data:"), data)
        return part

    def search_before(self, step, body, found):
        return None

    def say(self, id, step, arguments):
        if isinstance(step, Call):
            said = words(f"mcp__{SERVER}.{step.tool}", arguments)
            arguments = json.dumps(arguments)
            call = {"namespace": f"mcp__{SERVER}", "name": step.tool, "arguments": arguments}
            return said, self.item(type="function_call", call_id=id, **call)
        wanted = {"query": " ".join(ALL), "limit": 50}
        if isinstance(step, Find):
            wanted = {"query": step.arguments["word"], "limit": 50}
        call = {"execution": "client", "status": "completed", "arguments": wanted}
        return words("tool_search", wanted), self.item(type="tool_search_call", call_id=id, **call)

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

    def aside(self, path):
        return None

    def told(self, body):
        tools, texts = list(body.get("tools", [])), []
        for item in body["input"]:
            tools += item.get("tools", [])
            if item["type"] == "message":
                texts += [part["text"] for part in item["content"] if "text" in part]
        mine = rf"^.*\bmcp__{SERVER}\b.*$"
        names = [line for text in texts for line in re.findall(mine, text, re.M)]
        # Where tools are called from a script, the description of its tool may have them.
        for inner in (inner for tool in tools for inner in tool.get("tools", [])):
            names += re.findall(rf"^### `{PREFIX}.*?(?=^##|\Z)", inner["description"], re.M | re.S)
        return texts, names, [tool for tool in tools if tool.get("name") == f"mcp__{SERVER}"]


class Code(Responses):
    """The same with a model that calls tools from JavaScript: what Codex does unless it is given an
    old model."""

    def say(self, id, step, arguments):
        script = self.script(step, arguments)
        return f"exec\n{script}", self.item(
            type="custom_tool_call", call_id=id, name="exec", input=script
        )

    def script(self, step, arguments):
        mine = f'ALL_TOOLS.filter((tool) => tool.name.startsWith("{PREFIX}"))'
        if isinstance(step, Look):
            shown = "text(`${tool.name}\\n${tool.description}`)"
            limit = '// @exec: {"max_output_tokens": 100000}\n'
            return f"{limit}for (const tool of {mine}) {shown};"
        if isinstance(step, Find):
            pattern = step.arguments["word"].replace(" ", "|")
            test = f"/{pattern}/i.test(tool.name + tool.description)"
            return f"text(ALL_TOOLS.filter((tool) => {test}).map((tool) => tool.name));"
        call = f"const result = await tools.{PREFIX}{step.tool}({json.dumps(arguments)});"
        # What a model writes that wants to see the answer as it is.
        show = "text(result);"
        if step.tool == "view_asset":
            show = (
                "for (const block of result.content) {\n"
                '  if (block.type === "image") image(block);\n'
                "  else text(block.text ?? block);\n}"
            )
        return f"{call}\n{show}"


# The default toolset.
ALL = [
    "cancel_job",
    "confirm_spend",
    "create_asset",
    "create_style",
    "describe_image",
    "generate_prompt",
    "get_job",
    "get_workspace_info",
    "list_jobs",
    "list_models",
    "list_styles",
    "quote",
    "refine_image",
    "remove_background",
    "upload_file",
    "view_asset",
]
