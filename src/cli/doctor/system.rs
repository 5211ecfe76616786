//! Checks of what is around the program: environment, network, process, clock, clients.

use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use super::Check;
use crate::config::{Config, names};
use crate::connect::entry::{is_ours, program_of};
use crate::connect::{Places, Site, entries};
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

/// More of a file is not searched.
const CLIENT_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Looks for tokens that lie open, and for entries whose program is gone.
pub(super) fn clients(places: &Places) -> Check {
    const NAME: &str = "clients";
    let (mut open, mut gone, mut connected) = (Vec::new(), Vec::new(), Vec::new());
    for (site, bytes) in files(places) {
        let path = &site.file;
        if has_token(&bytes) {
            open.push(format!("`{}`", path.display()));
        }
        let entries = str::from_utf8(&bytes).ok().and_then(|text| entries(&site, text).ok());
        for entry in entries.iter().flatten().filter(|entry| is_ours(entry)) {
            let program = Path::new(program_of(entry).unwrap_or_default());
            if program.is_absolute() && !program.exists() {
                gone.push((format!("`{}`", path.display()), site.client.name()));
            } else if !connected.contains(&site.client.title()) {
                connected.push(site.client.title());
            }
        }
    }
    if !open.is_empty() {
        return Check::failed(
            NAME,
            format!("a token lies open in {}", open.join(", ")),
            "Run `layer-mcp setup`, take the token out of the file, and replace it at Layer.ai if \
             others could read it.",
        );
    }
    if let Some((file, client)) = gone.first() {
        return Check::warning(
            NAME,
            format!("{file} starts a program that is not there any more"),
            format!("`layer-mcp connect {client}` puts the right path there."),
        );
    }
    let here = match connected.as_slice() {
        [] => "none connected".to_owned(),
        some => format!("{} connected", some.join(", ")),
    };
    Check::ok(NAME, format!("{here}; no token in their configuration files"))
}

/// Clients whose configuration has an entry of this program's.
pub(super) fn connected(places: &Places) -> Vec<&'static str> {
    let mut connected = Vec::new();
    for (site, bytes) in files(places) {
        let entries = str::from_utf8(&bytes).ok().and_then(|text| entries(&site, text).ok());
        let ours = entries.iter().flatten().any(is_ours);
        if ours && !connected.contains(&site.client.title()) {
            connected.push(site.client.title());
        }
    }
    connected
}

/// The clients' files that are there and of a sensible size, with what is in them.
fn files(places: &Places) -> Vec<(Site, Vec<u8>)> {
    let small = |site: &Site| {
        fs::metadata(&site.file)
            .is_ok_and(|facts| facts.is_file() && facts.len() <= CLIENT_FILE_BYTES)
    };
    let sites = places.sites().into_iter().filter(small);
    sites.filter_map(|site| fs::read(&site.file).ok().map(|bytes| (site, bytes))).collect()
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
    use crate::connect::Os;

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
        let places = Places::bare(Os::Linux, home.path());
        assert!(connected(&places).is_empty());
        let here = home.path().join(".cursor/mcp.json");
        fs::create_dir_all(here.parent().unwrap()).unwrap();
        fs::write(&here, r#"{"mcpServers": {"other": {"command": "/bin/other"}}}"#).unwrap();
        assert!(connected(&places).is_empty());
        fs::write(&here, r#"{"mcpServers": {"layer": {"command": "/bin/layer-mcp"}}}"#).unwrap();
        assert_eq!(connected(&places), ["Cursor"]);
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
