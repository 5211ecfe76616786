"""One of the official Python clients, driven by lines of JSON. Works with `mcp` 1.30 and 2.3.

Usage: client.py MODE

Reads {"open": {command, args, env, cwd}, "forms": bool}, then {"call": tool, "arguments": {...},
"answer": {action, content, after}} any number of times, then {"close": true}; each is answered by
one line. A question of the server's is answered with the "answer" of the call under way, so many
seconds after it came.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

from mcp import types
from mcp.client.stdio import StdioServerParameters

try:
    from mcp import Client
except ImportError:
    Client = None

answer, questions = None, []


async def asked(_context, params):
    questions.append(params.message)
    await asyncio.sleep(answer["after"])
    return types.ElicitResult(action=answer["action"], content=answer.get("content"))


@asynccontextmanager
async def connected(server, forms, mode):
    callback = asked if forms else None
    if Client:
        async with Client(server, mode=mode, elicitation_callback=callback) as client:
            yield client, client.protocol_version
        return
    from mcp import ClientSession
    from mcp.client.stdio import stdio_client

    async with stdio_client(server) as (reads, writes):
        async with ClientSession(reads, writes, elicitation_callback=callback) as client:
            yield client, (await client.initialize()).protocolVersion


def tell(**line):
    print(json.dumps(line), flush=True)


async def lines():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield json.loads(line)


async def main(mode):
    global answer
    orders = lines()
    async for opening in orders:
        server = StdioServerParameters(**opening["open"])
        async with connected(server, opening["forms"], mode) as (client, protocol):
            tell(protocol=protocol)
            async for order in orders:
                if "close" in order:
                    break
                answer = order.get("answer")
                questions.clear()
                result = await client.call_tool(order["call"], order["arguments"])
                result = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                tell(result=result, questions=questions)
        tell(closed=True)


asyncio.run(main(sys.argv[1]))
