//! The self-check: what a careful user would look at, looked at, each finding with its remedy.
//!
//! Gathers facts and judges them; changes nothing but permissions, and those only with `--fix`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use tokio::runtime::Runtime;

use super::Process;
use super::credentials::Age;
use super::layer_access::LayerAccess;
use super::terminal::Terminal;
use crate::audit::{SealKey, verify};
use crate::config::{Config, names};
use crate::credentials::{CredentialStore, UnlockSource};
use crate::files::OutputDir;
use crate::redact::clean_line;
use crate::runs::Connect as _;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing failed, 1 something did.")]
pub(super) struct DoctorArguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Ask Layer too: one call that costs nothing
    #[arg(long)]
    online: bool,
    /// Take back permissions that others have on files in the home
    #[arg(long)]
    fix: bool,
}

/// The outcome of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// Works, but somebody should know.
    Warning,
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    message: String,
    /// What to do; empty when there is nothing to do.
    remedy: String,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, message: message.into(), remedy: String::new() }
    }

    fn warning(name: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        Self { name, outcome: Outcome::Warning, message, remedy }
    }

    fn failed(name: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        Self { name, outcome: Outcome::Failed, message, remedy }
    }
}

/// Checks everything and prints a line a check.
pub(super) fn run(
    process: &Process,
    arguments: &DoctorArguments,
    runtime: &Runtime,
    user_home: Option<PathBuf>,
    terminal: &mut Terminal,
) -> ExitCode {
    let Process { config, redactor, .. } = process;
    let mut checks = vec![settings(config)];
    checks.extend(permissions(config, arguments.fix));
    checks.extend(store(process));
    checks.push(environment(config));
    checks.push(device_key(config));
    checks.extend(project(config));
    checks.push(ignored(config));
    checks.push(output_folder(config));
    checks.push(certificates(config));
    checks.extend(user_home.map(|home| clients(&home)));
    if arguments.online {
        checks.push(runtime.block_on(online(process)));
    }
    let failed = checks.iter().any(|check| check.outcome == Outcome::Failed);
    let shown = if arguments.json {
        let listed: Vec<_> = checks
            .iter()
            .map(|check| {
                json!({
                    "check": check.name,
                    "outcome": check.outcome.name(),
                    "message": redactor.redact(&check.message),
                    "remedy": redactor.redact(&check.remedy),
                })
            })
            .collect();
        terminal.print(json!({ "passed": !failed, "checks": listed }))
    } else {
        let lines: Vec<String> = checks
            .iter()
            .map(|check| {
                let line = format!(
                    "{:<8} {:<12} {}",
                    check.outcome.name(),
                    check.name,
                    clean_line(&redactor.redact(&check.message), 1000)
                );
                if check.remedy.is_empty() {
                    return line;
                }
                format!("{line}\n{:21} {}", "", clean_line(&redactor.redact(&check.remedy), 1000))
            })
            .collect();
        terminal.print(lines.join("\n"))
    };
    if failed || shown.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn settings(config: &Config) -> Check {
    const NAME: &str = "settings";
    let listed = |lines: Vec<String>| lines.join("; ");
    if !config.problems.is_empty() {
        let problems = config.problems.iter();
        let problems = problems.map(|one| format!("`{}`: {}", one.setting, one.message)).collect();
        return Check::failed(NAME, listed(problems), "Correct them; until then no call works.");
    }
    if !config.warnings.is_empty() {
        return Check::warning(NAME, listed(config.warnings.clone()), "");
    }
    let home = config.home.display();
    Check::ok(NAME, format!("home {home}, API {}", config.api_base.origin()))
}

/// Whether the store opens, and how old the token is.
fn store(process: &Process) -> Vec<Check> {
    const NAME: &str = "store";
    let config = &process.config;
    let credentials = match process.open_store(&config.unlock) {
        Ok(credentials) => credentials,
        Err(error) if error.is_absent() => {
            let check = match &config.token {
                Some(_) => Check::ok(NAME, "none; the environment's token is used"),
                None => Check::failed(NAME, "there is no token", "Run `layer-mcp setup`."),
            };
            return vec![check, trail(config, None)];
        }
        Err(error) => {
            let check = Check::failed(NAME, error.to_string(), error.next_step());
            return vec![check, trail(config, None)];
        }
    };
    let mut checks = Vec::new();
    let here = config.api_base.origin();
    checks.push(if credentials.api_origin() == here {
        let source = process.store().source().map_or("?", UnlockSource::name);
        Check::ok(NAME, format!("opens, by {source}; AES-256-CBC with HMAC-SHA-256"))
    } else {
        Check::failed(
            NAME,
            format!("the token belongs to `{}`, not `{here}`", credentials.api_origin()),
            format!("Unset `{}`, or run `layer-mcp setup`.", names::BASE_URL),
        )
    });
    checks.push(trail(config, Some(&SealKey::new(credentials.audit_key().as_bytes()))));
    let age = Age::of(credentials.created_at(), jiff::Timestamp::now());
    let hint = credentials.token().hint();
    let message = format!("{hint}…, stored {}", age.in_words());
    checks.push(match age.nudge() {
        None => Check::ok("token", message),
        Some(nudge) => Check::warning("token", message, nudge),
    });
    checks
}

fn trail(config: &Config, key: Option<&SealKey>) -> Check {
    const NAME: &str = "audit";
    match verify(&config.audit_dir(), key) {
        Ok(report) => match report.findings.first() {
            None => Check::ok(NAME, format!("{} lines, whole", report.lines)),
            Some(first) => Check::failed(
                NAME,
                format!("{} findings, the first: {first}", report.findings.len()),
                "`layer-mcp audit --verify` lists them. Find out who changed the trail; to begin \
                 a new one, move the folder away.",
            ),
        },
        Err(error) => Check::failed(
            NAME,
            format!("`{}` can't be read: {error}", config.audit_dir().display()),
            "Correct its permissions.",
        ),
    }
}

fn environment(config: &Config) -> Check {
    const NAME: &str = "environment";
    let stored = CredentialStore::new(config.secure_dir()).exists().unwrap_or(true);
    match (&config.token, stored, config.credentials_from_env) {
        (None, ..) => Check::ok(NAME, "no token in it"),
        (Some(_), true, true) => Check::warning(
            NAME,
            format!("`{}` is used in place of the store", names::TOKEN),
            format!("Unset `{}` to use the store.", names::CREDENTIALS),
        ),
        (Some(_), true, false) => Check::warning(
            NAME,
            format!("`{}` is set, and not used: the store goes first", names::TOKEN),
            format!("Unset `{}`.", names::TOKEN),
        ),
        (Some(_), false, _) => Check::warning(
            NAME,
            format!("the token is in `{}`, readable wherever that is set", names::TOKEN),
            "`layer-mcp setup` stores it encrypted; then unset it.",
        ),
    }
}

fn device_key(config: &Config) -> Check {
    const NAME: &str = "device-key";
    let key = &config.unlock.device_key;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(key).starts_with(real(&config.home)) {
        return Check::failed(
            NAME,
            format!("`{}` lies in the home that it locks", key.display()),
            format!("Unset `{}`, then run `layer-mcp setup`.", names::DEVICE_KEY),
        );
    }
    Check::ok(NAME, format!("outside of the home: {}", key.display()))
}

fn project(config: &Config) -> Option<Check> {
    const NAME: &str = "project";
    let found = config.project_home.as_ref()?;
    let home = found.home.display();
    Some(if found.trusted {
        Check::ok(NAME, format!("`{home}` holds the token of this project"))
    } else {
        Check::warning(
            NAME,
            format!("`{home}` is ignored: you did not set it up"),
            "If it is yours, run `layer-mcp setup --project`; otherwise remove it.",
        )
    })
}

fn ignored(config: &Config) -> Check {
    const NAME: &str = "gitignore";
    let secure = config.secure_dir();
    let file = secure.parent().unwrap_or(&config.home).join(".gitignore");
    let remedy = "`layer-mcp setup` makes it anew when the file is removed.";
    match fs::read_to_string(&file) {
        Ok(text) if text.lines().any(|line| line.trim() == "*") => {
            Check::ok(NAME, "the home ignores itself")
        }
        Ok(_) => Check::failed(NAME, format!("`{}` does not ignore all", file.display()), remedy),
        Err(_) if !secure.exists() => Check::ok(NAME, "nothing to ignore yet"),
        Err(_) => Check::failed(
            NAME,
            format!("`{}` is missing", file.display()),
            "Run `layer-mcp setup` again, or write a line `*` into it.",
        ),
    }
}

fn output_folder(config: &Config) -> Check {
    const NAME: &str = "output";
    let Some(path) = &config.output_dir else {
        let remedy = format!("Set `{}`.", names::OUTPUT_DIR);
        return Check::failed(NAME, "there is no folder to write assets to", remedy);
    };
    if !path.exists() {
        return Check::ok(NAME, format!("`{}` will be made", path.display()));
    }
    match OutputDir::open_existing(path) {
        Ok(_) => Check::ok(NAME, path.display().to_string()),
        Err(error) => {
            let remedy = format!("Set `{}` to another folder.", names::OUTPUT_DIR);
            Check::failed(NAME, error.to_string(), remedy)
        }
    }
}

fn certificates(config: &Config) -> Check {
    const NAME: &str = "network";
    match &config.ca_bundle {
        Some(path) if fs::File::open(path).is_err() => Check::failed(
            NAME,
            format!("`{}` can't be read", path.display()),
            format!("Correct or unset `{}`.", names::CA_BUNDLE),
        ),
        Some(path) => Check::ok(NAME, format!("TLS 1.2 or newer, also with {}", path.display())),
        None => Check::ok(NAME, "TLS 1.2 or newer, with the system's authorities"),
    }
}

/// Configuration files of the clients, below the user's home folder.
const CLIENT_FILES: [&str; 10] = [
    "Library/Application Support/Claude/claude_desktop_config.json",
    "AppData/Roaming/Claude/claude_desktop_config.json",
    ".config/Claude/claude_desktop_config.json",
    ".claude.json",
    ".cursor/mcp.json",
    ".codeium/windsurf/mcp_config.json",
    ".config/zed/settings.json",
    ".codex/config.toml",
    ".gemini/settings.json",
    ".config/Code/User/mcp.json",
];
/// More of a file is not searched.
const CLIENT_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Looks for tokens that lie open.
fn clients(user_home: &Path) -> Check {
    const NAME: &str = "clients";
    let holds_token = |path: &PathBuf| {
        let small = fs::metadata(path)
            .is_ok_and(|facts| facts.is_file() && facts.len() <= CLIENT_FILE_BYTES);
        small && fs::read(path).is_ok_and(|bytes| has_token(&bytes))
    };
    let found: Vec<String> = CLIENT_FILES
        .iter()
        .map(|file| user_home.join(file))
        .filter(holds_token)
        .map(|path| format!("`{}`", path.display()))
        .collect();
    if found.is_empty() {
        return Check::ok(NAME, "no token in the clients' configuration files");
    }
    Check::failed(
        NAME,
        format!("a token lies open in {}", found.join(", ")),
        "Run `layer-mcp setup`, take the token out of the file, and replace it at Layer.ai if \
         others could read it.",
    )
}

/// Whether there is `pat_` with 28 or more letters, digits or underscores after it.
fn has_token(bytes: &[u8]) -> bool {
    bytes.windows(32).any(|window| {
        window.strip_prefix(b"pat_").is_some_and(|rest| {
            rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        })
    })
}

#[cfg(unix)]
fn permissions(config: &Config, fix: bool) -> Option<Check> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    const NAME: &str = "permissions";
    let user = rustix::process::geteuid().as_raw();
    let mut open = Vec::new();
    let mut foreign = Vec::new();
    let mut seen = 0_usize;
    let mut folders = Vec::new();
    let mut judge = |path: PathBuf, folders: &mut Vec<PathBuf>| {
        // Links are judged by those who follow them.
        let Ok(facts) = fs::symlink_metadata(&path) else { return };
        if facts.is_symlink() {
            return;
        }
        seen += 1;
        if facts.uid() != user {
            foreign.push(path.clone());
        }
        let forbidden = match path.file_name().is_some_and(|name| name == "config.toml") {
            true => 0o022,
            false => 0o077,
        };
        let mode = facts.mode() & 0o777;
        if mode & forbidden != 0 {
            let closed = fs::Permissions::from_mode(mode & !0o077);
            if !fix || fs::set_permissions(&path, closed).is_err() {
                open.push(path.clone());
            }
        }
        if facts.is_dir() {
            folders.push(path);
        }
    };
    judge(config.unlock.device_key.clone(), &mut folders);
    judge(config.home.clone(), &mut folders);
    if let Some(found) = config.project_home.as_ref().filter(|found| found.trusted) {
        judge(found.home.clone(), &mut folders);
    }
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            judge(entry.path(), &mut folders);
        }
    }
    let first = |paths: &[PathBuf]| {
        let shown: Vec<String> =
            paths.iter().take(5).map(|path| format!("`{}`", path.display())).collect();
        shown.join(", ")
    };
    Some(if !foreign.is_empty() {
        let message = format!("{} of another user: {}", foreign.len(), first(&foreign));
        Check::failed(NAME, message, "Run layer-mcp as one user, or set `LAYER_MCP_HOME`.")
    } else if !open.is_empty() {
        let message = format!("{} open to others: {}", open.len(), first(&open));
        Check::failed(NAME, message, "Run `layer-mcp doctor --fix`.")
    } else {
        Check::ok(NAME, format!("{seen} files and folders, for you alone"))
    })
}

#[cfg(not(unix))]
fn permissions(_config: &Config, _fix: bool) -> Option<Check> {
    None
}

async fn online(process: &Process) -> Check {
    const NAME: &str = "layer";
    let access = LayerAccess::new(process.clone());
    let connection = match access.connect().await {
        Ok(connection) => connection,
        Err(problem) => return Check::failed(NAME, problem.message, problem.next_step),
    };
    match connection.client.workspaces().await {
        Ok(all) => Check::ok(NAME, format!("answers; the token reaches {} workspaces", all.len())),
        Err(error) => Check::failed(NAME, error.message, "See the errors in README.md."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_from_what_only_looks_like_one() {
        let token = format!("{{\"env\": \"pat_{}\"}}", "a1B2".repeat(7));
        assert!(has_token(token.as_bytes()));
        for text in ["", "pat_", "pat_your_token_here", "\"pat_${LAYER_API_TOKEN_OF_THIS_USER}\""] {
            assert!(!has_token(text.as_bytes()), "{text}");
        }
    }
}
