#!/usr/bin/env bash
# The store behind a real Secret Service (gnome-keyring): written, opened, locked again, removed,
# and what is said when the keyring is not there.
# Usage: dbus-run-session -- keyring.sh PATH_OF_LAYER_MCP EMPTY_FOLDER
set -euo pipefail
program="$1"
export HOME="$2/user" XDG_RUNTIME_DIR="$2/run" XDG_DATA_HOME="$2/data"
mkdir -p -m 700 "$HOME" "$XDG_RUNTIME_DIR" "$XDG_DATA_HOME"
fail() { printf 'keyring: %s\n' "$*" >&2; exit 1; }
layer() { "$program" --home "$XDG_DATA_HOME/home" "$@"; }
setup=(setup --offline --yes --workspace 00000000-0000-4000-8000-000000000000)
token="pat_$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n')"

said="$(printf '%s' "$token" | DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent \
  layer "${setup[@]}" --unlock keyring 2>&1)" && fail "a store without a keyring"
grep -q "can't be reached" <<<"$said" || fail "$said"

gnome-keyring-daemon --unlock --components=secrets <<<"a password of this test" >/dev/null
said="$(printf '%s' "$token" | layer "${setup[@]}" --unlock keyring 2>&1)"
# A client that passes on nothing of this bus could not open it, and setup says so.
grep -q 'DBUS_SESSION_BUS_ADDRESS' <<<"$said" || fail "$said"
said="$(layer credentials status --json)"
grep -q '"unlock":"keyring"' <<<"$said" || fail "not the keyring's"
[ ! -e "$XDG_DATA_HOME/layer-mcp/device.key" ] || fail "a device key too"
# In one piece: a reader that goes away early is a failure of its own.
said="$(layer doctor)" || fail "doctor: $said"
grep -Eq '^ok +store +opens, by keyring' <<<"$said" || fail "doctor: $said"

# Another bus has another keyring, and nothing stands in for the right one.
said="$(DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent layer credentials status 2>&1)" &&
  fail "opened without its keyring"
grep -q "can't be reached" <<<"$said" || fail "$said"

layer credentials password --remove
said="$(layer credentials status --json)"
grep -q '"unlock":"device"' <<<"$said" || fail "not the device key's"
layer credentials password --keyring
said="$(layer credentials status --json)"
grep -q '"unlock":"keyring"' <<<"$said" || fail "not the keyring's again"
layer credentials remove --yes
layer credentials status >/dev/null 2>&1 && fail "still there"
printf 'ok keyring\n'
