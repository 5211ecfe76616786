"""Clients that talk with models, as far as they go without one: do they reach the server?"""

import json
import subprocess

from clients import check, claude, environment, installed, machine, run, tool

CLAUDE = f"@anthropic-ai/claude-code-{machine()}"
GEMINI = "@google/gemini-cli"


def connected(said, package):
    """Demands that what ran is the version that the table names."""
    check(said.split()[0] == installed(package), f"{package} says it is {said}")
    return "connected"


def claude_code(world):
    env = environment(HOME=str(world.home), LAYER_MCP_HOME=world.env["LAYER_MCP_HOME"])
    server = [world.program, "--sandbox", "serve"]
    run([claude(), "mcp", "add", "layer", "--", *server], env=env, cwd=world.home)
    said = run([claude(), "mcp", "list"], env=env, cwd=world.home)
    (line,) = [line for line in said.splitlines() if line.startswith("layer:")]
    check("✔ Connected" in line, said)
    return connected(run([claude(), "--version"], env=env), CLAUDE)


def gemini_cli(world):
    env = environment(
        HOME=str(world.home),
        LAYER_MCP_HOME=world.env["LAYER_MCP_HOME"],
        GEMINI_CLI_TRUST_WORKSPACE="true",
    )
    settings = world.home / ".gemini" / "settings.json"
    settings.parent.mkdir()
    server = {"command": world.program, "args": ["--sandbox", "serve"]}
    settings.write_text(json.dumps({"mcpServers": {"layer": server}}))
    together = {"stderr": subprocess.STDOUT}
    said = run([tool("gemini"), "mcp", "list"], env=env, cwd=world.home, **together)
    (line,) = [line for line in said.splitlines() if "layer:" in line]
    check("✓" in line and "Connected" in line and "Disconnected" not in line, said)
    return connected(run([tool("gemini"), "--version"], env=env), GEMINI)
