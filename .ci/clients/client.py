"""One of the official Python clients, driven by lines of JSON. Works with `mcp` 1.30 and 2.3.

Usage: client.py MODE

Reads {"open": {command, args, env, cwd}, "forms": bool}, then any number of

    {"list": "tools" | "prompts" | "resources" | "templates"}
    {"prompt": name, "arguments": {...}}    {"read": uri}    {"complete": ref, "argument": {...}}
    {"call": tool, "arguments": {...}, "answer": {action, content, after}, "progress": bool,
     "cancel_after": seconds}

and then {"close": true}. Each is answered by one line, with `result`, or `error` when the server
said so, or `cancelled`. A question of the server's is answered with the "answer" of the call under
way, so many seconds after it came.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import anyio
from mcp import types
from mcp.client.stdio import StdioServerParameters

try:
    from mcp import Client, MCPError
except ImportError:
    from mcp import McpError as MCPError

    Client = None

answer, questions = None, []


async def asked(_context, params):
    questions.append(params.message)
    await asyncio.sleep(answer["after"])
    return types.ElicitResult(action=answer["action"], content=answer.get("content"))


@asynccontextmanager
async def connected(server, forms, mode):
    """A client, and what it knows of the server."""
    callback = asked if forms else None
    if Client:
        async with Client(server, mode=mode, elicitation_callback=callback) as client:
            yield client, {
                "protocol": client.protocol_version,
                "info": plain(client.server_info),
                "capabilities": plain(client.server_capabilities),
                "instructions": client.instructions,
            }
        return
    from mcp import ClientSession
    from mcp.client.stdio import stdio_client

    async with stdio_client(server) as (reads, writes):
        async with ClientSession(reads, writes, elicitation_callback=callback) as client:
            told = await client.initialize()
            yield client, {
                "protocol": told.protocolVersion,
                "info": plain(told.serverInfo),
                "capabilities": plain(told.capabilities),
                "instructions": told.instructions,
            }


def plain(model):
    return model and model.model_dump(mode="json", by_alias=True, exclude_none=True)


def tell(**line):
    print(json.dumps(line), flush=True)


async def lines():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield json.loads(line)


async def give_up(client, number):
    """What the new client sends by itself, when nobody waits for an answer any more."""
    params = types.CancelledNotificationParams(requestId=number, reason="not wanted any more")
    note = types.CancelledNotification(method="notifications/cancelled", params=params)
    await client.send_notification(types.ClientNotification(note))


async def call(client, order):
    global answer
    answer, progress = order.get("answer"), []
    questions.clear()

    async def seen(now, total, message):
        progress.append({"progress": now, "total": total, "message": message})

    number, result = getattr(client, "_request_id", None), None
    with anyio.move_on_after(order.get("cancel_after") or 600) as scope:
        callback = seen if order.get("progress") else None
        result = await client.call_tool(
            order["call"], order["arguments"], progress_callback=callback
        )
    if scope.cancelled_caught:
        if not Client:
            await give_up(client, number)
        return {"cancelled": True, "progress": progress}
    return {"result": plain(result), "questions": list(questions), "progress": progress}


async def listed(client, kind):
    method = "resource_templates" if kind == "templates" else kind
    result = plain(await getattr(client, f"list_{method}")())
    return result["resourceTemplates" if kind == "templates" else kind]


async def completed(client, order):
    ref = order["complete"]
    of = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
    return plain(await client.complete(of(**ref), order["argument"]))


async def carry_out(client, order):
    if "list" in order:
        return {"result": await listed(client, order["list"])}
    if "prompt" in order:
        return {"result": plain(await client.get_prompt(order["prompt"], order["arguments"]))}
    if "read" in order:
        return {"result": plain(await client.read_resource(order["read"]))}
    if "complete" in order:
        return {"result": await completed(client, order)}
    return await call(client, order)


async def main(mode):
    orders = lines()
    async for opening in orders:
        server = StdioServerParameters(**opening["open"])
        async with connected(server, opening["forms"], mode) as (client, known):
            tell(**known)
            async for order in orders:
                if "close" in order:
                    break
                try:
                    tell(**await carry_out(client, order))
                except MCPError as error:
                    tell(error={"code": error.error.code, "message": error.error.message})
        tell(closed=True)


asyncio.run(main(sys.argv[1]))
