"""One session over pipes with the official Python client, in each era of the protocol.

Usage: session.py PATH_OF_LAYER_MCP

Starts the server with its sandbox, makes an asset, looks at it, and checks the shapes of the
answers, the progress and the file on the disk. Exits with 1 at the first thing that is wrong.
"""

import asyncio
import base64
import hashlib
import json
import struct
import sys
import tempfile
from pathlib import Path

from mcp import Client
from mcp.client.stdio import StdioServerParameters

TOOLS = {
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
}
# `auto` asks `server/discover` first and stays modern; a revision is spoken without asking;
# `legacy` says `initialize`.
MODES = {"auto": "2026-07-28", "2026-07-28": "2026-07-28", "legacy": "2025-11-25"}
PNG = b"\x89PNG\r\n\x1a\n"


class Wrong(Exception):
    """Something that is not as it should be."""


def check(true, what):
    if not true:
        raise Wrong(what)


def data(result):
    """The structured content of an answer that is no error, which its only text repeats."""
    check(not result.is_error, f"an error: {result.content}")
    check(len(result.content) == 1, f"{len(result.content)} blocks instead of one text")
    check(json.loads(result.content[0].text) == result.structured_content, "text and data differ")
    check(result.structured_content["message"], "no message")
    return result.structured_content


async def session(program, mode, home):
    seen = []

    async def progress(now, total, message):
        seen.append((now, total, message))

    project = home / "project"
    project.mkdir()
    server = StdioServerParameters(
        command=program,
        args=["--sandbox", "--output-dir", str(project), "serve"],
        env={"HOME": str(home)},
        cwd=str(home),
    )
    async with Client(server, mode=mode, read_timeout_seconds=120) as client:
        check(client.protocol_version == MODES[mode], f"{mode}: spoke {client.protocol_version}")
        if mode != client.protocol_version:
            check(client.instructions and len(client.instructions) < 1500, "instructions")

        tools = (await client.list_tools()).tools
        check({tool.name for tool in tools} == TOOLS, f"tools: {[tool.name for tool in tools]}")
        for tool in tools:
            check(tool.description and tool.annotations, f"{tool.name} is not described")
            check(tool.input_schema["type"] == "object", f"{tool.name}: input schema")
            check(tool.input_schema["additionalProperties"] is False, f"{tool.name} is not closed")
            check(
                (tool.output_schema is None) == (tool.name == "view_asset"),
                f"{tool.name}: output schema",
            )

        wish = {
            "prompt": "a pixel-art knight with a red cape",
            "width": 256,
            "height": 128,
            "save_to": "assets/knight.png",
        }
        job = data(await client.call_tool("create_asset", wish, progress_callback=progress))
        check(job["status"] == "complete", f"status {job['status']}")
        check(len(job["files"]) == 1, f"{len(job['files'])} files")
        check(job["cost_cu"] > 0, "no cost")
        file = job["files"][0]
        path = Path(file["path"])
        check(path == project / "assets" / "knight.png", f"path {path}")
        bytes_ = path.read_bytes()
        check(bytes_.startswith(PNG), "no PNG")
        check(struct.unpack(">II", bytes_[16:24]) == (256, 128), "the picture's size")
        check((file["width"], file["height"]) == (256, 128), "the size in the answer")
        check(file["media_type"] == "image/png", "media type")
        check(file["bytes"] == len(bytes_), "length")
        check(file["sha256"] == hashlib.sha256(bytes_).hexdigest(), "sha256")
        check(len(seen) >= 2, f"progress came {len(seen)} times")
        check(all(a[0] < b[0] for a, b in zip(seen, seen[1:])), f"progress fell: {seen}")

        again = data(await client.call_tool("create_asset", wish))
        check(again["job_id"] == job["job_id"], "the same request was bought twice")

        shown = await client.call_tool("view_asset", {"image": "assets/knight.png"})
        check(not shown.is_error and shown.structured_content is None, "view_asset")
        kinds = [block.type for block in shown.content]
        check(kinds == ["text", "image", "resource_link"], f"view_asset answers {kinds}")
        picture = base64.b64decode(shown.content[1].data)
        check(len(picture) <= 100_000, f"a preview of {len(picture)} bytes")

        looked = data(await client.call_tool("get_job", {"job_id": job["job_id"]}))
        check(looked["files"] == job["files"], "get_job tells of other files")
        jobs = data(await client.call_tool("list_jobs", {}))["jobs"]
        check([line["job_id"] for line in jobs] == [job["job_id"]], f"list_jobs: {jobs}")

        cut = data(await client.call_tool("remove_background", {"image": "assets/knight.png"}))
        check(cut["files"][0]["has_alpha"] is True, f"remove_background: {cut}")

        wrong = await client.call_tool("create_asset", {"prompt": "x", "widht": 5})
        error = json.loads(wrong.content[0].text)
        check(wrong.is_error and error["code"] == "invalid_argument", f"a typo: {error}")
        check(error["money"] == "not_charged" and "width" in error["message"], f"a typo: {error}")
    print(f"mode {mode}: protocol {MODES[mode]}, {len(tools)} tools, progress {len(seen)} times")


def main():
    program = str(Path(sys.argv[1]).resolve())
    for mode in MODES:
        with tempfile.TemporaryDirectory() as home:
            try:
                asyncio.run(session(program, mode, Path(home).resolve()))
            except BaseException as error:
                while getattr(error, "exceptions", None):
                    error = error.exceptions[0]
                sys.exit(f"session.py, mode {mode}: {type(error).__name__}: {error}")


main()
