"""The agents, and how each is started against a scripted model."""

import json
import os
import subprocess

from clients import NATIVE, claude, codex, machine
from dialects import Code, Messages, Responses
from model import Failed

# Each is a native program, and needs no Node.js.
CLAUDE_CODE = NATIVE[f"@anthropic-ai/claude-code-{machine()}"]
CODEX = NATIVE[f"@openai/codex-{machine()}"].rsplit("@", 1)[-1].removesuffix(f"-{machine()}")

# Not secrets: the scripted model takes any. That they are nowhere but in the header is checked.
KEY = "key-of-the-scripted-model"
PROMPT = "Go on."
# Seconds in which a conversation is over, on a machine that does other things as well.
LIMIT = 180
# Seconds in which the server is there.
START = 60


def environment(model, home, **more):
    """All that a client gets: a home of its own, no way out, and nothing of this machine's
    settings."""
    (home / "tmp").mkdir()
    proxy = {f"{scheme}_PROXY": model.url for scheme in ("HTTP", "HTTPS", "ALL")}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
        **proxy,
        "NO_PROXY": "127.0.0.1,localhost",
        **more,
    }


def run(command, env, cwd):
    """A conversation from its beginning to its end, and what the client prints."""
    try:
        done = subprocess.run(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as late:
        said = f"{late.stdout}{late.stderr}"[-4000:]
        raise Failed(f"not done after {LIMIT} seconds: {said}") from None
    if done.returncode:
        raise Failed(f"exit {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


# Claude Code has hooks that answer a server's question for the user.
YES = {"hookEventName": "Elicitation", "action": "accept", "content": {"confirm": True}}
SAYS_YES = {
    "hooks": {
        "Elicitation": [
            {
                "hooks": [
                    {
                        "type": "command",
                        "command": f"echo '{json.dumps({'hookSpecificOutput': YES})}'",
                    }
                ]
            }
        ]
    }
}


class ClaudeCode:
    """Claude Code, without a terminal."""

    name = "claude-code"
    title = "Claude Code"
    version = CLAUDE_CODE
    dialect = Messages
    # What is known of what it shows a model: how often the data of an answer, whether an answer is
    # an error, and whether all of the server's instructions at the start.
    shows_data = 1
    marks_errors = True
    shows_instructions = True
    # The tool's own mark is honoured, whatever else was allowed.
    asks_before_confirm_spend = True
    # To a question of the server, where nobody is there to answer it.
    answers_for_nobody = "cancel"
    # What it says for the user where nobody allowed a tool, and whether reading is allowed anyway.
    refusal = "requested permissions"
    allows_reading = False
    # So many tools a search tells at most.
    finds = 5

    def converse(self, model, server, home, project, scenario):
        """Talks with `model` until that is done; `server` is the command that it gives tools."""
        configuration = home / "mcp.json"
        configuration.write_text(json.dumps({"mcpServers": {"layer": server}}))
        command = [
            claude(),
            *("--print", PROMPT, "--strict-mcp-config", "--mcp-config", configuration),
            "--no-session-persistence",
        ]
        if scenario.allowed:
            command += ["--allowedTools", "mcp__layer"]
        if scenario.says_yes:
            command += ["--settings", json.dumps(SAYS_YES)]
        env = environment(
            model,
            home,
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY=KEY,
            CLAUDE_CONFIG_DIR=str(home / "claude"),
            MCP_TIMEOUT=str(START * 1000),
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_TELEMETRY="1",
            DISABLE_ERROR_REPORTING="1",
            DISABLE_AUTOUPDATER="1",
        )
        return run(command, env, project)


class Codex:
    """Codex, without a terminal, with the model that it takes unless told otherwise."""

    name = "codex"
    title = "Codex"
    version = CODEX
    dialect = Code
    # A script's author has the whole result: the sentence as text, the data as structured content.
    shows_data = 1
    marks_errors = False
    shows_instructions = False
    asks_before_confirm_spend = False
    answers_for_nobody = "decline"
    refusal = "requires approval"
    allows_reading = True
    finds = None
    # Of its own list of models: how tools are called depends on it.
    model = "gpt-6.2-sol"

    def converse(self, model, server, home, project, scenario):
        folder = home / "codex"
        folder.mkdir()
        # TOML has JSON's strings, numbers and lists.
        lines = [
            f'model = "{self.model}"',
            'model_provider = "scripted"',
            'approval_policy = "never"',
            'sandbox_mode = "read-only"',
            "check_for_update_on_startup = false",
            "[analytics]",
            "enabled = false",
            "[features]",
            # They are fetched from the net.
            "plugins = false",
            "[otel]",
            'exporter = "none"',
            "[model_providers.scripted]",
            'name = "scripted"',
            f'base_url = "{model.url}/v1"',
            'wire_api = "responses"',
            'env_key = "SCRIPTED_KEY"',
            "[mcp_servers.layer]",
            f"command = {json.dumps(server['command'])}",
            f"args = {json.dumps(server['args'])}",
            *(['default_tools_approval_mode = "approve"'] if scenario.allowed else []),
            # Otherwise it begins without the tools of a server that takes a second to start.
            "required = true",
            f"startup_timeout_sec = {START}",
            "[mcp_servers.layer.env]",
            *(f"{name} = {json.dumps(value)}" for name, value in server["env"].items()),
        ]
        (folder / "config.toml").write_text("\n".join(lines) + "\n")
        program = codex()
        command = [program, "exec", "--skip-git-repo-check", "--ephemeral", PROMPT]
        env = environment(model, home, CODEX_HOME=str(folder), SCRIPTED_KEY=KEY)
        return run(command, env, project)


class CodexByName(Codex):
    """The same with the last of its models that calls tools by their names."""

    name = "codex-gpt-5.5"
    title = "Codex with gpt-5.5"
    dialect = Responses
    shows_data = 1
    finds = 8
    model = "gpt-5.5"


CLIENTS = [ClaudeCode(), Codex(), CodexByName()]
