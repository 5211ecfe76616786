"""Checks that README.md and SECURITY.md say what the code says.

Usage: documents.py PATH_OF_LAYER_MCP

The README's tables of tools, errors and settings name exactly what there is; every test that
SECURITY.md names in brackets exists; every file that it names exists.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
readme = (root / "README.md").read_text()
security = (root / "SECURITY.md").read_text()
sources = {path: path.read_text() for path in sorted((root / "src").rglob("*.rs"))}
wrong = []


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", readme, re.M | re.S)[1]


def first_column(text):
    return re.findall(r"^\| `([^`]+)`", text, re.M)


def same(what, said, found):
    if sorted(said) != sorted(found):
        only = sorted(set(said) - set(found)), sorted(set(found) - set(said))
        wrong.append(f"{what}: only in the README {only[0]}, only in the code {only[1]}")


listed = subprocess.run([sys.argv[1], "--toolsets", "all", "tools", "--json"], check=True, capture_output=True)
same("tools", first_column(section("Tools")), [tool["name"] for tool in json.loads(listed.stdout)])

codes = set()
for path, text in sources.items():
    if (path.parent / path.stem).name == "tests" or "sandbox" in path.parts:
        continue
    codes |= set(re.findall(r'\bcode: "([a-z_]+)"', text))
    if path.name in ("error.rs", "upstream.rs"):
        # The arms of `fn code`, and the tuples of `fn verdict` and `fn of_api`.
        for body in re.findall(r"fn code\(.*?\n    }\n", text, re.S):
            codes |= set(re.findall(r'=> "([a-z_]+)"', body))
        verdict = r'\(\s*"([a-z_]+)",\s*(?:Charged|NotCharged|Unknown|money|true|false)'
        codes |= set(re.findall(verdict, text))
same("errors", first_column(section("Errors")), codes)

names = set(re.findall(r'pub const \w+: &str = "(LAYER_\w+)";', sources[root / "src/config.rs"]))
same("settings", set(re.findall(r"`(LAYER_\w+)`", section("Settings"))), names)

tests = set()
for path in [*sources, *sorted((root / "tests").rglob("*.rs"))]:
    tests |= set(re.findall(r"#\[(?:tokio::)?test.*?\bfn (\w+)", path.read_text(), re.S))
named = re.findall(r"\[(\w+)\](?!\()", security)
for name in named:
    if name not in tests:
        wrong.append(f"SECURITY.md names the test {name}, which does not exist")
for name in re.findall(r"`((?:\w+/)*\w+\.rs)`", security):
    if not (root / "src" / name).exists():
        wrong.append(f"SECURITY.md names the file {name}, which does not exist")

for line in wrong:
    print(line, file=sys.stderr)
print(f"{len(codes)} error codes, {len(names)} settings, {len(named)} names of tests")
sys.exit(1 if wrong else 0)
