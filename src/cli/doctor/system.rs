//! Checks of what is around the program: environment, network, process, clock, clients.

use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use super::Check;
use crate::config::{Config, names};
use crate::credentials::CredentialStore;
use crate::layer::ProxyChoice;

pub(super) fn environment(config: &Config) -> Check {
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

/// Whether other programs can look into this one.
pub(super) fn process() -> Check {
    const NAME: &str = "process";
    if cfg!(debug_assertions) {
        return Check::ok(NAME, "a development build: memory dumps are as the system allows");
    }
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        if getrlimit(Resource::Core).current != Some(0) {
            return Check::warning(NAME, "memory dumps are allowed", "Set `ulimit -c 0`.");
        }
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        if dumpable_behavior() != Ok(DumpableBehavior::NotDumpable) {
            let message = "other programs of this user may look into its memory";
            return Check::warning(NAME, message, "Look at the system's ptrace settings.");
        }
    }
    Check::ok(NAME, "leaves no memory dumps")
}

/// A clock that is wrong makes certificates, budgets of the day and the audit trail wrong.
pub(super) fn clock(now: jiff::Timestamp, stored: Option<jiff::Timestamp>) -> Check {
    const NAME: &str = "clock";
    let remedy = "Set the clock: budgets, certificates and the audit trail depend on it.";
    // This version was not there before.
    if now < jiff::Timestamp::constant(1_782_864_000, 0) {
        return Check::failed(NAME, format!("it is {now}, which is long past"), remedy);
    }
    match stored {
        Some(stored) if stored > now => {
            Check::failed(NAME, format!("it is {now}, before the token was stored"), remedy)
        }
        _ => Check::ok(NAME, now.strftime("%Y-%m-%d %H:%M UTC").to_string()),
    }
}

/// Who is trusted, and which way connections go.
pub(super) fn network(config: &Config) -> Check {
    const NAME: &str = "network";
    let system = |name: &str| {
        config.system_network.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    let mut said = vec!["TLS 1.2 or newer".to_owned()];
    let bundle = config.ca_bundle.clone().map(|path| (names::CA_BUNDLE, path));
    let file = system("SSL_CERT_FILE").map(|path| ("SSL_CERT_FILE", PathBuf::from(path)));
    let folders: Vec<_> = system("SSL_CERT_DIR")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|path| ("SSL_CERT_DIR", path))
        .collect();
    for (name, path) in file.into_iter().chain(folders).chain(bundle) {
        if fs::File::open(&path).is_err() {
            let message = format!("`{}` can't be read", path.display());
            return Check::failed(NAME, message, format!("Correct or unset `{name}`."));
        }
        said.push(format!("authorities of `{name}` ({})", path.display()));
    }
    if said.len() == 1 {
        said.push("the system's authorities".to_owned());
    }
    // An address without `http://` may parse as something else, and hold a password anywhere.
    let from_system = config
        .system_network
        .iter()
        .find(|(name, _)| name.to_ascii_uppercase().ends_with("_PROXY"))
        .map(|(name, value)| (name, Url::parse(value).ok().filter(Url::has_host)));
    said.push(match (&config.proxy, from_system) {
        (ProxyChoice::Through(proxy, _), _) => format!("through the proxy {}", host_of(proxy)),
        (ProxyChoice::System, Some((name, Some(proxy)))) => {
            format!("through the proxy {} of `{name}`", host_of(&proxy))
        }
        (ProxyChoice::System, Some((name, None))) => format!("through the proxy of `{name}`"),
        _ => "no proxy".to_owned(),
    });
    Check::ok(NAME, said.join(", "))
}

/// A proxy without its user and password.
fn host_of(proxy: &Url) -> String {
    let host = proxy.host_str().unwrap_or_default();
    proxy.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
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
pub(super) fn clients(user_home: &Path) -> Check {
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

/// Clients whose configuration names this program.
pub(super) fn connected(user_home: &Path) -> Vec<&'static str> {
    let names_us = |file: &&&str| {
        let path = user_home.join(**file);
        let small = fs::metadata(&path)
            .is_ok_and(|facts| facts.is_file() && facts.len() <= CLIENT_FILE_BYTES);
        small
            && fs::read(&path)
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("layer-mcp"))
    };
    let mut clients: Vec<&str> =
        CLIENT_FILES.iter().filter(names_us).map(|file| client_of(file)).collect();
    clients.dedup();
    clients
}

/// Whose file it is.
fn client_of(file: &str) -> &'static str {
    let known = [
        (".claude.json", "Claude Code"),
        ("Claude/", "Claude Desktop"),
        (".cursor/", "Cursor"),
        ("windsurf", "Windsurf"),
        ("zed/", "Zed"),
        (".codex/", "Codex"),
        (".gemini/", "Gemini CLI"),
        ("Code/", "VS Code"),
    ];
    known.iter().find(|(part, _)| file.contains(part)).map_or("a client", |(_, name)| name)
}

/// Whether there is `pat_` with 28 or more letters, digits or underscores after it.
fn has_token(bytes: &[u8]) -> bool {
    bytes.windows(32).any(|window| {
        window.strip_prefix(b"pat_").is_some_and(|rest| {
            rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_token_is_told_from_what_only_looks_like_one() {
        let token = format!("{{\"env\": \"pat_{}\"}}", "a1B2".repeat(7));
        assert!(has_token(token.as_bytes()));
        for text in ["", "pat_", "pat_your_token_here", "\"pat_${LAYER_API_TOKEN_OF_THIS_USER}\""] {
            assert!(!has_token(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn clients_that_start_this_program_are_known() {
        let home = tempfile::tempdir().unwrap();
        assert!(connected(home.path()).is_empty());
        let here = home.path().join(".cursor/mcp.json");
        fs::create_dir_all(here.parent().unwrap()).unwrap();
        fs::write(&here, r#"{"mcpServers": {"other": {"command": "/bin/other"}}}"#).unwrap();
        assert!(connected(home.path()).is_empty());
        fs::write(&here, r#"{"mcpServers": {"layer": {"command": "/bin/layer-mcp"}}}"#).unwrap();
        assert_eq!(connected(home.path()), ["Cursor"]);
        for file in CLIENT_FILES {
            assert_ne!(client_of(file), "a client", "{file}");
        }
    }

    #[test]
    fn a_clock_that_can_not_be_right_is_found() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let now = at("2027-03-01T12:00:00Z");
        for (now, stored, outcome) in [
            (now, None, Outcome::Ok),
            (now, Some(at("2027-03-01T11:59:59Z")), Outcome::Ok),
            (now, Some(at("2027-03-01T12:00:01Z")), Outcome::Failed),
            (at("1970-01-01T00:00:05Z"), None, Outcome::Failed),
        ] {
            assert_eq!(clock(now, stored).outcome, outcome, "{now} {stored:?}");
        }
    }
}
