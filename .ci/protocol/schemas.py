"""The protocol's own JSON schemas, revision by revision, and messages checked against them."""

import copy
import json
from base64 import b64decode
from functools import cache
from pathlib import Path

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from clients import MODULES, check, node, run

FORMATS = FormatChecker(["uri"])


@FORMATS.checks("byte", ValueError)
def is_base64(value):
    return not isinstance(value, str) or b64decode(value, validate=True) is not None


HERE = Path(__file__).resolve().parent
REVISIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]
NEWEST_LEGACY, MODERN = REVISIONS[-2:]
RESULTS = {
    "initialize": "InitializeResult",
    "server/discover": "DiscoverResult",
    "ping": "EmptyResult",
    "tools/list": "ListToolsResult",
    "tools/call": "CallToolResult",
    "prompts/list": "ListPromptsResult",
    "prompts/get": "GetPromptResult",
    "resources/list": "ListResourcesResult",
    "resources/templates/list": "ListResourceTemplatesResult",
    "resources/read": "ReadResourceResult",
    "completion/complete": "CompleteResult",
}
NOTES = {
    "notifications/progress": "ProgressNotification",
    "notifications/message": "LoggingMessageNotification",
}


def without_audio(schema):
    """2024-11-05 as far as a server's answers go: 2025-03-26 brought sounds as content. (What
    else it brought are optional fields, which the older schema lets pass.)"""
    if isinstance(schema, dict):
        return {key: without_audio(part) for key, part in schema.items()}
    if isinstance(schema, list):
        audio = {"$ref": "#/definitions/AudioContent"}
        return [without_audio(part) for part in schema if part != audio]
    return schema


@cache
def schemas():
    suite = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    of = json.loads(run([node(), HERE / "schemas.mjs", suite]))
    of["2024-11-05"] = without_audio(copy.deepcopy(of["2025-03-26"]))
    check(sorted(of) == REVISIONS, f"schemas of {sorted(of)}")
    return of


@cache
def validator(revision, name):
    schema = schemas()[revision]
    key = "$defs" if "$defs" in schema else "definitions"
    check(name in schema[key], f"revision {revision} has no {name}")
    of = Draft202012Validator if key == "$defs" else Draft7Validator
    whole = {"$schema": schema["$schema"], key: schema[key], "$ref": f"#/{key}/{name}"}
    return of(whole, format_checker=FORMATS)


def valid(revision, name, value):
    """Demands that a value is what a revision calls by a name."""
    for error in validator(revision, name).iter_errors(value):
        where = "/".join(map(str, error.absolute_path))
        check(False, f"no {name} of {revision}: {where}: {error.message[:500]}")


def valid_answer(revision, method, message):
    """Demands that an answer to a method has the revision's shape."""
    if "error" in message:
        newer = "JSONRPCErrorResponse"
        known = schemas()[revision].get("$defs") or schemas()[revision]["definitions"]
        valid(revision, newer if newer in known else "JSONRPCError", message)
        return
    newer = revision >= "2025-11-25"
    valid(revision, "JSONRPCResultResponse" if newer else "JSONRPCResponse", message)
    valid(revision, RESULTS[method], message["result"])


def valid_note(revision, message):
    check(message["method"] in NOTES, f"unasked: {message}")
    valid(revision, NOTES[message["method"]], message)
