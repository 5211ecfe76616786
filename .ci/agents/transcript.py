"""What a model was shown, as text that people read and that is the same in every run."""

import json
import re

from dialects import Picture, Tools, Wrong
from model import Look

# What differs from run to run or from machine to machine, and its name. Numbered ones are counted
# in the order in which they are seen, so that it stays visible which is which.
NUMBERED = {
    "job": r"job_[0-9a-f]{8,}",
    "quote": r"quote_[0-9a-f]{8,}",
    "id": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
PLAIN = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    # Not the revisions of the protocol.
    (r"(?!2024-11-05|2025-03-26|2025-06-18|2025-11-25|2026-07-28)\d{4}-\d\d-\d\d", "<day>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"[A-Za-z0-9+/]{400,}={0,2}", "<base64>"),
    (r"127\.0\.0\.1:\d+", "<host>"),
    (r"(?<=\"bytes\": )\d+|(?<=\\\"bytes\\\":)\d+", "<bytes>"),
    (r"\d+(?= bytes)", "<bytes>"),
    # The scripts' own seed is 7; others are chosen by chance.
    (r"(?<=\"seed\": )(?!7\b)\d+|(?<=\\\"seed\\\":)(?!7\b)\d+", "<seed>"),
    (r"\d+(?= s so far)", "<seconds>"),
    (r"(?<=Wall time )[\d.]+|(?<=Wall time: )[\d.]+", "<seconds>"),
]


class Normaliser:
    def __init__(self, places):
        # The longest first: one lies in the other.
        self.places = sorted(places.items(), key=lambda place: -len(place[0]))
        self.numbers = {}

    def __call__(self, text):
        for place, name in self.places:
            text = text.replace(place, name)
        for kind, pattern in NUMBERED.items():
            text = re.sub(pattern, lambda found, kind=kind: self.number(kind, found[0]), text)
        for pattern, name in PLAIN:
            text = re.sub(pattern, name, text)
        return text

    def number(self, kind, value):
        known = self.numbers.setdefault(kind, {})
        return f"<{kind} {known.setdefault(value, len(known) + 1)}>"


def indented(text, by="    "):
    return "\n".join(f"{by}{line}".rstrip() for line in text.splitlines())


def part_as_text(part):
    if isinstance(part, Wrong):
        return "(marked as an error)"
    if isinstance(part, Picture):
        width, height = part.size()
        return f"(a picture: {part.media_type}, {width}x{height})"
    if isinstance(part, Tools):
        return "\n".join(tool_as_text(tool) for tool in part.tools)
    if not isinstance(part, str):
        return pretty(part)
    try:
        value = json.loads(part)
    except ValueError:
        # Codex puts the time before the data, in one text.
        head, brace, rest = part.partition("\n{")
        if brace and (data := as_object("{" + rest)) is not None:
            return f"{head}\n{pretty(data)}"
        return part
    return pretty(value) if isinstance(value, (dict, list)) else part


def as_object(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def pretty(value):
    return json.dumps(value, indent=1, ensure_ascii=False)


def tool_as_text(tool):
    """A definition in full; of its schema, one line for each argument."""
    if "tools" in tool:
        # Codex gives equally good finds in any order.
        inner = "\n".join(sorted(tool_as_text(inner) for inner in tool["tools"]))
        return f"[{tool['name']}]\n{tool['description']}\n{inner}"
    known = {"type", "name", "description", "input_schema", "parameters"}
    rest = {name: value for name, value in tool.items() if name not in known}
    schema = dict(tool.get("input_schema") or tool["parameters"])
    lines = [f"[{tool['name']}] {tool['description']}"]
    for name, argument in schema.pop("properties", {}).items():
        lines.append(f"  {name}: {json.dumps(argument, ensure_ascii=False)}")
    lines.append(f"  {json.dumps(schema | rest, ensure_ascii=False)}")
    return "\n".join(lines)


def told_as_text(model, wire):
    """What a model is told of the server before it does anything."""
    hello, server = wire.hello()
    texts, names, tools = model.dialect.told(model.turns[0])
    instructions = shown_of(server["instructions"], texts)
    cut = f"{len(instructions)} of {len(server['instructions'])} characters"
    told = [f"## Handshake\n\n{indented(hello)}\n"]
    told.append(f"## At the start: of the instructions, {cut}\n\n{indented(instructions)}\n")
    if names:
        told.append("## At the start: names\n\n" + indented("\n".join(names)) + "\n")
    if tools:
        told.append("## At the start: tools\n\n" + indented(part_as_text(Tools(tools))) + "\n")
    return told


def shown_of(instructions, texts):
    """The longest beginning of the instructions that is in one of the texts."""
    length = len(instructions)
    while length and not any(instructions[:length] in text for text in texts):
        length -= 1
    return instructions[:length]


def transcript(title, model, wire, told, places):
    """The whole conversation."""
    lines = [f"# {title}", ""]
    lines += told_as_text(model, wire) if told else []
    found = model.dialect.results(model.turns[-1])
    for id, (step, _, said) in model.said.items():
        lines += [f"## {said}", ""]
        shown = found.get(id, [])
        if not isinstance(step, Look):
            # Definitions are told where the model looks at all of them.
            shown = [
                "\n".join(names(part)) if isinstance(part, Tools) else part for part in shown
            ]
        lines += [indented(part_as_text(part)) for part in shown] or [indented("(nothing)")]
        lines.append("")
    for question, answer in wire.asked():
        lines += ["## Not shown to the model", "", indented(question), ""]
        lines += [indented(f"The client answers: {answer}"), ""]
    return Normaliser(places)("\n".join(lines))


def names(part):
    for tool in part.tools:
        inner = tool.get("tools")
        yield from sorted(names(Tools(inner))) if inner else [tool["name"]]
