//! What stands below the help of each command: examples that a test runs as they stand, and exit
//! codes.

/// Of the program.
pub(super) const ALL: &str = "\
Examples:
  layer-mcp --sandbox call create_asset '{\"prompt\": \"a knight\"}'
  layer-mcp setup     # store your token
  layer-mcp status    # what is there, and what to do next

Without a command, layer-mcp shows its state in a terminal and serves MCP elsewhere.";

pub(super) const STATUS: &str = "\
Examples:
  layer-mcp status
  layer-mcp status --json
  layer-mcp --sandbox status

Asks nobody and unlocks nothing. Exit codes: 0 shown, 1 nobody reads the output.";

pub(super) const SERVE: &str = "\
Examples:
  layer-mcp --output-dir . serve    # as a client starts it
  layer-mcp --sandbox serve         # without an account
  layer-mcp --read-only serve       # looks, and spends nothing";

pub(super) const CALL: &str = "\
Examples:
  layer-mcp call create_asset '{\"prompt\": \"a knight\"}'
  layer-mcp call get_job '{\"job_id\": \"job_1f0e9d8c7b6a5f4e\"}'
  echo '{\"limit\": 3}' | layer-mcp call list_jobs -

Exit codes: 0 done, 1 the tool reported an error, 2 wrong usage, 3 credentials or settings \
missing, 130 interrupted.";

pub(super) const TOOLS: &str = "\
Examples:
  layer-mcp tools
  layer-mcp tools --toolsets all --json
  layer-mcp --read-only tools";

pub(super) const JOBS: &str = "\
Examples:
  layer-mcp jobs
  layer-mcp jobs --search 'pixel knight' --limit 5
  layer-mcp jobs --collect    # fetch what was paid for and is not here

Exit codes: 0 shown, 1 the journal can't be read, or nobody reads the output, 3 credentials or \
settings that `--collect` needs are missing or wrong, 130 interrupted.";

pub(super) const ASSETS: &str = "\
Examples:
  layer-mcp assets
  layer-mcp assets --search knight --json
  layer-mcp assets --verify    # read each file and compare its bytes

Exit codes: 0 shown, 1 the journal can't be read, or nobody reads the output; with `--verify` also \
1 when a file is changed or gone.";

pub(super) const SPEND: &str = "\
Examples:
  layer-mcp spend
  layer-mcp spend --by model --since 2026-01-01
  layer-mcp spend --by asset --csv > spent.csv

Exit codes: 0 shown, also where the balance is not known, 1 the journal can't be read, or nobody \
reads the output, 2 wrong usage.";

pub(super) const SETUP: &str = "\
Examples:
  layer-mcp setup
  layer-mcp setup --unlock password
  layer-mcp setup --yes --token-file token.txt --json

The token comes from a hidden prompt, from standard input, from `--token-file`, or from \
LAYER_API_TOKEN; never from a flag.
Create one at app.layer.ai, Settings, Personal Access Tokens.

Exit codes: 0 stored, 1 Layer can't be asked, 2 wrong usage, 3 nothing was stored.";

pub(super) const CREDENTIALS: &str = "\
Examples:
  layer-mcp credentials status
  layer-mcp credentials rotate --offline --token-file new-token.txt
  layer-mcp credentials remove --yes

Exit codes: 0 done, 1 Layer can't be asked, or older than `--fail-if-older`, 2 wrong usage, \
3 nothing was changed.";

pub(super) const DOCTOR: &str = "\
Examples:
  layer-mcp doctor
  layer-mcp doctor --online
  layer-mcp doctor --fix --json

Exit codes: 0 nothing failed, 1 something did.";

pub(super) const AUDIT: &str = "\
Examples:
  layer-mcp audit --limit 20
  layer-mcp audit --event security --since 2026-01-01
  layer-mcp audit --verify

Exit codes: 0 shown or whole, 1 something is wrong with the trail, 3 it can't be read.";

pub(super) const SANDBOX: &str = "\
Examples:
  layer-mcp sandbox
  layer-mcp sandbox --fault rate_limited:2
  layer-mcp sandbox --list-faults

It prints one line of JSON, and runs until SIGINT or SIGTERM.";

pub(super) const CONNECT: &str = "\
Examples:
  layer-mcp connect    # which clients are here, and connected
  layer-mcp connect cursor --output-dir ~/game
  layer-mcp --sandbox connect claude-code --project
  layer-mcp connect codex --print
  layer-mcp connect cursor --remove

The options for the server (--sandbox, --output-dir, --toolsets, --read-only, --profile, --home,
--budget-..., --confirm-above) are written into the entry. What the file held before is kept
beside it.

Exit codes: 0 done, or nothing to do, 1 the file was left alone, 2 wrong usage.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  layer-mcp completions bash
  layer-mcp completions fish > layer-mcp.fish

Where they belong:
  bash        ~/.local/share/bash-completion/completions/layer-mcp
  zsh         _layer-mcp in a folder of your fpath
  fish        ~/.config/fish/completions/layer-mcp.fish
  powershell  layer-mcp completions powershell | Out-String | Invoke-Expression
  elvish      eval (layer-mcp completions elvish | slurp)";

pub(super) const MAN: &str = "\
Examples:
  layer-mcp man > layer-mcp.1
  layer-mcp man --out ~/.local/share/man/man1    # a page for every command

`layer-mcp man | man -l -` reads it at once.";
