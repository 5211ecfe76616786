"""Requests of one revision on the wire, whose answers are checked in every way there is."""

import json

import fields
from clients import check
from schemas import MODERN, valid_answer, valid_note
from server import Refused, modern


class Exchange:
    """One server and the revision that is spoken with it now."""

    def __init__(self, raw, revision):
        self.raw, self.revision = raw, revision
        self.asked, self.token = 0, 0

    def params(self, params):
        return modern(params) if self.revision == MODERN else dict(params or {})

    def message(self, method, params=None):
        self.asked += 1
        self.raw.notes.clear()
        message = self.raw.ask(method, self.params(params))
        valid_answer(self.revision, method, message)
        for note in self.raw.notes:
            valid_note(self.revision, note)
        return message

    def result(self, method, params=None):
        message = self.message(method, params)
        if "error" in message:
            raise Refused(method, message["error"])
        fields.of_result(self.revision, method, message["result"])
        return message["result"]

    def refused(self, code, method, params=None):
        """Demands an error of the protocol."""
        message = self.message(method, params)
        check("error" in message, f"{method} {params} worked: {message}")
        check(message["error"]["code"] == code, f"{method}: {message['error']}, not {code}")
        check(message["error"]["message"], f"{method}: {message['error']}")
        return message["error"]

    def call(self, tool, arguments, **more):
        """A tool's answer."""
        return self.result("tools/call", {"name": tool, "arguments": arguments} | more)

    def data(self, tool, arguments, **more):
        """What a tool that makes data answers with."""
        result = self.call(tool, arguments, **more)
        fields.of_data(self.revision, result)
        check(not result.get("isError"), f"{tool}: {result['content']}")
        data = json.loads(result["content"][0]["text"])
        check(result.get("structuredContent", data) == data, f"{tool}: text and data differ")
        return data

    def progress(self, tool, arguments):
        """The same, and what was told meanwhile."""
        self.token += 1
        token = f"{self.revision}-{self.token}"
        data = self.data(tool, arguments, _meta={"progressToken": token})
        seen = [note["params"] for note in self.raw.notes]
        check(all(note["progressToken"] == token for note in seen), f"another's token: {seen}")
        steps = [note["progress"] for note in seen]
        check(all(a < b for a, b in zip(steps, steps[1:])), f"progress fell: {steps}")
        return data, steps
