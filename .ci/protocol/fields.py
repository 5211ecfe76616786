"""Which revision brought which field, and what a server that speaks an older one does with it.

`ABSENT`: it must not be sent to a client of an older revision; it would be misread, or is an
unknown kind of content, on which old clients fail. `IGNORED`: old schemas let further fields pass
and old clients skip them. From the revision that brought it on, each field must be there.
"""

from clients import check

from demands import demanded

ABSENT, IGNORED = "absent", "ignored"

CACHED = ("server/discover", "tools/list", "prompts/list", "resources/list")
CACHED += ("resources/templates/list", "resources/read")

# Where it is looked for, the field, the revision that brought it, what holds before.
RESULT_FIELDS = [
    ("*", "resultType", "2026-07-28", ABSENT),
    *((method, "ttlMs", "2026-07-28", ABSENT) for method in CACHED),
    *((method, "cacheScope", "2026-07-28", ABSENT) for method in CACHED),
    ("server/discover", "supportedVersions", "2026-07-28", ABSENT),
    ("initialize", "instructions", "2024-11-05", ABSENT),
    ("initialize", "protocolVersion", "2024-11-05", ABSENT),
]
TOOL_FIELDS = [
    ("annotations", "2025-03-26", IGNORED),
    ("title", "2025-06-18", IGNORED),
]
# What the server tells about itself.
SERVER_FIELDS = [
    ("name", "2024-11-05", ABSENT),
    ("version", "2024-11-05", ABSENT),
    ("title", "2025-06-18", IGNORED),
    ("icons", "2025-11-25", IGNORED),
]
# Kinds of content in an answer.
CONTENT = {
    "text": "2024-11-05",
    "image": "2024-11-05",
    "resource": "2024-11-05",
    "audio": "2025-03-26",
    "resource_link": "2025-06-18",
}
STRUCTURED = "2025-06-18"


def capabilities(revision):
    """What a server that has it all declares. (Completions came before their capability.)"""
    parts = {"prompts", "resources"} | ({"completions"} if revision > "2024-11-05" else set())
    return {"tools"} | (parts & demanded)


def of_result(revision, method, result):
    """Demands a result's fields. `tools/call` answers with anything, so just its kind."""
    for where, field, since, before in RESULT_FIELDS:
        if where not in ("*", method):
            continue
        if revision >= since:
            check(field in result, f"{method} has no {field} in {revision}")
        elif before == ABSENT:
            check(field not in result, f"{method} has {field}, which came with {since}")


def of_server(revision, info):
    check(info["name"] == "layer-mcp", f"{info}")
    for field, since, _ in SERVER_FIELDS:
        if field != "icons" or "icons" in demanded:
            check(field in info or revision < since, f"serverInfo has no {field} in {revision}")


def of_tools(revision, tools):
    for tool in tools:
        for field, since, _ in TOOL_FIELDS:
            there = field in tool
            check(there or revision < since, f"{tool['name']} has no {field} in {revision}")
    structured = [tool["name"] for tool in tools if "outputSchema" in tool]
    check(structured or revision < STRUCTURED, f"no outputSchema in {revision}")
    return structured


def of_content(revision, blocks):
    for block in blocks:
        since = CONTENT[block["type"]]
        check(revision >= since, f"content of kind {block['type']}, which came with {since}")


def of_data(revision, result):
    """Demands structured content where the revision knows it, and the same as text."""
    of_content(revision, result["content"])
    there = "structuredContent" in result
    check(there or revision < STRUCTURED, f"no structuredContent in {revision}")
