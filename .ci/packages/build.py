"""Makes the packages of one release binary.

Usage: build.py BINARY OUT_DIR --mcpb PATH_OF_MCPB [--target TRIPLE]

Leaves in OUT_DIR, the same to the byte each time:
  layer-mcp-VERSION-TARGET.tar.gz   binary, manual pages, completions, documents
  layer-mcp-VERSION-TARGET.mcpb     desktop extension, checked and packed by its official tool
  server.json                       entry for the registry of MCP servers
  SHA256SUMS
The version is the binary's; what the extension lists is what the binary offers; the archive's names
are those that `cargo binstall` is told in Cargo.toml. Without a `repository` in Cargo.toml,
server.json has no address that the registry would take, and says so in its name.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# Seconds; 1980 is the first year that a zip can name.
WHEN = max(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), 315_532_800)
SHELLS = {
    "bash": "layer-mcp.bash",
    "zsh": "_layer-mcp",
    "fish": "layer-mcp.fish",
    "powershell": "_layer-mcp.ps1",
    "elvish": "layer-mcp.elv",
}
PLATFORMS = {"linux": "linux", "apple": "darwin", "windows": "win32"}


def fail(message):
    sys.exit(f"build.py: {message}")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def offers_prompts(binary):
    """Whether the server has prompts, asked over its pipes."""
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "build", "version": "1"},
    }
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "prompts/list", "params": {}},
    ]
    with tempfile.TemporaryDirectory() as home:
        said = subprocess.run(
            [binary, "--home", home, "--sandbox", "serve"],
            input="".join(json.dumps(line) + "\n" for line in lines),
            env={"HOME": home},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    answers = {answer.get("id"): answer for answer in map(json.loads, said.splitlines())}
    return bool(answers[2].get("result", {}).get("prompts"))


def stage_archive(binary, program, folder):
    """What the release archive holds."""
    shutil.copy(binary, folder / program)
    for name in ("README.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    output(binary, "man", "--out", folder / "man")
    (folder / "completions").mkdir()
    for shell, name in SHELLS.items():
        (folder / "completions" / name).write_text(output(binary, "completions", shell))


def tar(folder, archive):
    """The folder as a .tar.gz: sorted, nobody's, of a fixed date."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        for path in [folder, *sorted(folder.rglob("*"))]:
            entry = packed.gettarinfo(path, str(path.relative_to(folder.parent)))
            entry.mode = 0o755 if path.is_dir() or path.parent == folder and is_program(path) else 0o644
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = WHEN
            with path.open("rb") if path.is_file() else io.BytesIO() as content:
                packed.addfile(entry, content)
    with archive.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=WHEN) as packed:
        packed.write(raw.getvalue())


def is_program(path):
    return path.name in ("layer-mcp", "layer-mcp.exe")


def manifest(binary, version, program, platform, repository):
    """The extension's manifest, filled in from the binary."""
    filled = json.loads((HERE / "mcpb/manifest.json").read_text())
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    filled |= {"version": version, "description": package["description"]}
    filled["server"]["entry_point"] = f"server/{program}"
    filled["compatibility"] = {"platforms": [platform]}
    listed = json.loads(output(binary, "tools", "--json"))
    filled["tools"] = [{"name": it["name"], "description": it["description"]} for it in listed]
    if offers_prompts(binary):
        filled["prompts_generated"] = True
    if repository:
        filled["repository"] = {"type": "git", "url": repository}
    return filled


def pack_extension(mcpb, folder, bundle):
    """Has the official tool check and pack the folder, then brings its zip into order: the tool
    takes the files as the disk lists them, and today's date."""
    loose = bundle.with_suffix(".loose")
    for command in (["validate", folder / "manifest.json"], ["pack", folder, loose]):
        done = subprocess.run([mcpb, *command], capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"mcpb {command[0]}: {done.stdout}{done.stderr}")
    with zipfile.ZipFile(loose) as found, zipfile.ZipFile(bundle, "w") as ordered:
        for name in sorted(found.namelist()):
            entry = zipfile.ZipInfo(name, time.gmtime(WHEN)[:6])
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if is_program(Path(name)) else 0o100644) << 16
            ordered.writestr(entry, found.read(name), compresslevel=9)
    loose.unlink()


def registry_entry(version, bundle, digest, repository):
    """server.json, for this bundle."""
    template = json.loads((HERE / "server.json").read_text())
    # By name first, as people read it.
    entry = {"$schema": template["$schema"], "name": "", **template}
    (package,) = entry["packages"]
    if repository:
        owner, name = repository.removesuffix(".git").rstrip("/").split("/")[-2:]
        entry["name"] = f"io.github.{owner}/{name}"
        entry["repository"] = {"url": repository, "source": "github"}
        package["identifier"] = f"{repository}/releases/download/v{version}/{bundle.name}"
    else:
        # Both are refused by the registry, so that nobody publishes them by mistake.
        entry["name"] = "unpublished/layer-mcp"
        package["identifier"] = bundle.name
    entry["version"] = package["version"] = version
    package["fileSha256"] = digest
    jsonschema.validate(entry, json.loads((HERE / "server.schema.json").read_text()))
    return entry


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def main():
    reader = argparse.ArgumentParser(description="Makes the packages of one release binary.")
    reader.add_argument("binary", type=Path)
    reader.add_argument("out", type=Path)
    reader.add_argument("--mcpb", required=True, help="the official tool's command")
    reader.add_argument("--target", help="what the binary was built for; this machine by default")
    asked = reader.parse_args()
    binary, out = asked.binary.resolve(), asked.out.resolve()
    target = asked.target or output("rustc", "--print", "host-tuple").strip()

    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    version = output(binary, "--version").split()[1]
    if version != package["version"]:
        fail(f"the binary is {version}, Cargo.toml is {package['version']}")
    platform = next((PLATFORMS[it] for it in PLATFORMS if it in target), None)
    if platform is None:
        fail(f"no extension is made for {target}")
    repository = package.get("repository")
    program = "layer-mcp.exe" if platform == "win32" else "layer-mcp"

    # The names under which `cargo binstall` looks for the archive and the program in it.
    known = {"repo": repository or "", "version": version, "target": target, "bin": "layer-mcp"}
    known["binary-ext"] = program.removeprefix("layer-mcp")
    told = package["metadata"]["binstall"]
    for key, value in known.items():
        told = {name: text.replace(f"{{ {key} }}", value) for name, text in told.items()}
    archive_name = told["pkg-url"].rsplit("/", 1)[1]
    top, inside = told["bin-dir"].rsplit("/", 1)
    if inside != program or not archive_name.endswith(".tar.gz") or told["pkg-fmt"] != "tgz":
        fail(f"Cargo.toml tells `cargo binstall` something else than is made: {told}")

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        staged = Path(work, top)
        staged.mkdir()
        stage_archive(binary, program, staged)
        tar(staged, out / archive_name)

        extension = Path(work, "extension")
        (extension / "server").mkdir(parents=True)
        shutil.copy(binary, extension / "server" / program)
        shutil.copy(ROOT / "examples/knight.png", extension / "icon.png")
        shutil.copy(ROOT / "LICENSE", extension / "LICENSE")
        filled = manifest(binary, version, program, platform, repository)
        write_json(extension / "manifest.json", filled)
        bundle = out / f"layer-mcp-{version}-{target}.mcpb"
        pack_extension(asked.mcpb, extension, bundle)
    write_json(out / "server.json", registry_entry(version, bundle, sha256(bundle), repository))
    sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(out.iterdir())]
    (out / "SHA256SUMS").write_text("".join(sums))
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>10} {path.name}")
    if not repository:
        print("server.json can't be published: Cargo.toml names no repository")


main()
