"""Whether the packages work where they are unpacked.

Usage: prove.py OUT_DIR --mcpb PATH_OF_MCPB

OUT_DIR is what build.py left. The extension is unpacked and started as a desktop client does it:
with the official tool, that tool's own substitution of settings, no terminal, few variables and
the root folder; then an asset is made through it. The archive's manual pages pass mandoc's lint,
and its completions are sourced by bash, zsh and fish.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from mcp import Client
from mcp.client.stdio import StdioServerParameters

TOOL = "create_asset"
# There is no date on purpose; the other is how the generator lists values.
HARMLESS = ("missing date", "skipping paragraph macro")


class Wrong(Exception):
    """Something that is not as it should be."""


def check(true, what):
    if not true:
        raise Wrong(what)


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


SUBSTITUTE = """
const { getMcpConfigForManifest } = await import(process.argv[1]);
const [manifest, extensionPath, home, userConfig] = process.argv.slice(2);
const { readFileSync } = await import("node:fs");
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(manifest, "utf8")),
  extensionPath, userConfig: JSON.parse(userConfig), pathSeparator: "/",
  systemDirs: { HOME: home, DOCUMENTS: home + "/Documents" },
});
console.log(JSON.stringify(config));
"""


def as_client(mcpb, folder, home, answers):
    """How a client would start the extension whose user answered its questions so."""
    module = Path(mcpb).resolve().parents[1] / "index.js"
    arguments = (module, folder / "manifest.json", folder, home, json.dumps(answers))
    config = json.loads(output("node", "--input-type=module", "-e", SUBSTITUTE, *map(str, arguments)))
    return StdioServerParameters(
        command=config["command"],
        args=config["args"],
        env=config["env"]
        | {"HOME": str(home), "PATH": os.defpath, "LAYER_SANDBOX_SPEED": "20", "LAYER_LOG": "off"},
        cwd="/",
    )


def data(result):
    return json.loads(result.content[0].text)


async def extension(mcpb, bundle, work):
    folder = work / "extension"
    output(mcpb, "unpack", bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    settings = manifest["user_config"]
    sensitive = {name for name, setting in settings.items() if setting.get("sensitive")}
    check(sensitive == {"token", "password"}, f"sensitive: {sensitive}")
    filled = set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(manifest["server"])))
    check(filled == set(settings), f"asked {set(settings)}, used {filled}")

    async def made(name, answers, where):
        home = work / name
        home.mkdir()
        server = as_client(mcpb, folder, home, answers)
        async with Client(server, read_timeout_seconds=60) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
            check(listed == [it["name"] for it in manifest["tools"]], f"offers {listed}")
            account = data(await client.call_tool("get_workspace_info", {}))
            request = {"prompt": "a coin", "width": 64, "height": 64}
            answer = data(await client.call_tool(TOOL, request))
            if where is None:
                return answer, account
            check(answer.get("status") == "complete", f"{name}: {answer}")
            (file,) = answer["files"]
            path = Path(file["path"])
            check(path.is_relative_to(where(home)) and path.stat().st_size > 100, f"{name}: {path}")
            return answer, account

    def pictures(home):
        return home / "Pictures/Layer"

    # What was left empty arrives as the placeholder itself, or as nothing.
    await made("untouched", {"sandbox": True}, pictures)
    empty = {name: "" for name in settings} | {"sandbox": True}
    await made("empty", empty, pictures)
    full = {
        "sandbox": True,
        "output_dir": str(work / "assets"),
        "token": "pat_" + "a1B2" * 8,
        "workspace": "00000000-0000-4000-8000-000000000000",
        "password": "correct horse battery staple",
        "confirm_above": 7.5,
        "budget_day": 40,
    }
    _, account = await made("full", full, lambda home: work / "assets")
    check("7.5" in json.dumps(account) and "40" in json.dumps(account), f"limits: {account}")
    # The real Layer and no token: the server starts, and says what is missing.
    answer, _ = await made("account", {"sandbox": False}, None)
    check(answer.get("code") == "credentials_missing", f"without a token: {answer}")
    print(f"extension: {len(manifest['tools'])} tools, started with 4 sets of answers")


def manual(folder):
    pages = sorted((folder / "man").iterdir())
    check(len(pages) > 10, f"{len(pages)} manual pages")
    for page in pages:
        lint = ["mandoc", "-T", "lint", "-W", "warning", page]
        said = subprocess.run(lint, capture_output=True, text=True).stdout.splitlines()
        said = [line for line in said if not any(word in line for word in HARMLESS)]
        check(not said, f"mandoc: {said}")
    text = output("mandoc", "-T", "utf8", folder / "man/layer-mcp.1")
    text = re.sub(".\b", "", text)
    for word in ("--sandbox", "layer-mcp-call(1)", "--budget-day <CU>"):
        check(word in text, f"the manual does not say {word}")
    print(f"manual: {len(pages)} pages")


BASH = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_layer__mcp layer-mcp "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
complete -p layer-mcp
"""


def completions(folder, tools):
    shells = folder / "completions"

    def bash(*words):
        script = shells / "layer-mcp.bash"
        return output("bash", "--norc", "-euc", BASH, "-", script, "layer-mcp", *words).split()

    check("completions" in bash("comp"), f"bash: {bash('comp')}")
    check("--output-dir" in bash("--sandbox", "--out"), f"bash: {bash('--sandbox', '--out')}")
    offered = bash("--sandbox", "call", "")
    check(set(tools) <= set(offered), f"bash, call: {offered}")
    one = [word for word in bash("call", "create_a") if word == TOOL]
    check(one == [TOOL], "bash, call create_a")

    home = folder / "shell-home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.defpath + ":/usr/local/bin", "TERM": "dumb"}
    output("zsh", "-n", shells / "_layer-mcp", env=environment)
    loaded = 'fpath=("$1" $fpath); autoload -Uz compinit; compinit -D -u; print ${_comps[layer-mcp]}'
    said = output("zsh", "-fc", loaded, "-", shells, env=environment).strip()
    check(said == "_layer-mcp", f"zsh: {said}")

    fish = 'source $argv[1]; complete -C "layer-mcp call create_"'
    said = output("fish", "--no-config", "-c", fish, shells / "layer-mcp.fish", env=environment)
    check(TOOL in said.split(), f"fish: {said}")
    print("completions: bash, zsh and fish took them")


def main():
    reader = argparse.ArgumentParser(description="Whether the packages work where they are unpacked.")
    reader.add_argument("out", type=Path)
    reader.add_argument("--mcpb", required=True, help="the official tool's command")
    asked = reader.parse_args()
    (bundle,) = asked.out.glob("*.mcpb")
    (archive,) = asked.out.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        asyncio.run(extension(asked.mcpb, bundle.resolve(), work))
        with tarfile.open(archive) as packed:
            packed.extractall(work, filter="data")
        (folder,) = work.glob("layer-mcp-*")
        listed = json.loads(output(folder / "layer-mcp", "--toolsets", "all", "tools", "--json"))
        manual(folder)
        completions(folder, [tool["name"] for tool in listed])


try:
    main()
except* Wrong as wrongs:
    # The client's tasks wrap it.
    wrong = wrongs
    while isinstance(wrong, BaseExceptionGroup):
        wrong = wrong.exceptions[0]
    sys.exit(f"prove.py: {wrong}")
