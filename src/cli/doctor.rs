//! The self-check: what a careful user would look at, looked at, each finding with its remedy.
//!
//! Gathers facts and judges them; changes nothing but permissions, and those only with `--fix`.

mod client;
mod files;
mod online;
mod system;

use std::process::ExitCode;

use serde_json::json;
use tokio::runtime::Runtime;

use super::Process;
use super::credentials::{Age, nudge};
use super::layer_access::token_of_environment;
use super::table::{Fit, Row, Table};
use super::terminal::Terminal;
use super::theme::Tone;
use crate::audit::{SealKey, verify};
use crate::config::{Config, names};
use crate::connect::Places;
use crate::redact::clean_line;

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Ask Layer too: reads and questions that cost nothing
    #[arg(long)]
    online: bool,
    /// Take back permissions that others have on files in the home
    #[arg(long)]
    fix: bool,
    /// Show how this client is served and why, and try it with a picture: `claude-code`, `codex`,
    /// what a client calls itself, or `NAME@VERSION`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["online", "fix"])]
    client: Option<String>,
}

/// Clients whose configuration names this program.
pub(super) fn connected(places: &Places) -> Vec<&'static str> {
    system::connected(places)
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

    const fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Warning => Tone::Warning,
            Self::Failed => Tone::Bad,
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
    places: Option<&Places>,
    terminal: &mut Terminal,
) -> ExitCode {
    let Process { config, redactor, .. } = process;
    if let Some(client) = &arguments.client {
        return runtime.block_on(client::run(process, client, arguments.json, terminal));
    }
    let mut checks = vec![settings(config)];
    checks.extend(files::permissions(config, arguments.fix));
    checks.extend(store(process));
    checks.push(system::environment(config));
    checks.push(files::device_key(config));
    checks.extend(files::project(config));
    checks.push(files::ignored(config));
    checks.extend(files::tracked(config));
    checks.extend(files::predecessor(config));
    checks.push(files::writable(config));
    checks.push(files::output_folder(config));
    checks.push(system::network(config));
    checks.push(system::process());
    checks.extend(places.map(system::clients));
    if arguments.online {
        checks.extend(runtime.block_on(online::checks(process)));
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
        terminal.print_json(&json!({ "passed": !failed, "checks": listed }))
    } else {
        let mut table = Table::new([Fit::Whole, Fit::Whole, Fit::Wrap(30)]);
        for check in &checks {
            let said = |text: &str| clean_line(&redactor.redact(text), 1000);
            table.push(Row::new([
                (check.outcome.tone(), check.outcome.name().to_owned()),
                (Tone::Strong, check.name.to_owned()),
                (Tone::Plain, said(&check.message)),
            ]));
            if !check.remedy.is_empty() {
                let nothing = || (Tone::Plain, String::new());
                let remedy = (Tone::Plain, said(&check.remedy));
                table.push(Row::new([nothing(), nothing(), remedy]));
            }
        }
        terminal.print_lines(&table.lines(terminal.columns()))
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
    let now = jiff::Timestamp::now();
    let unopened = |check| vec![check, trail(config, None), system::clock(now, None)];
    if config.sandbox {
        return unopened(Check::ok(NAME, "the sandbox needs no token"));
    }
    if config.store_problem().is_some() {
        let message = "not looked at: the settings name none";
        return unopened(Check::failed(NAME, message, "Correct the settings."));
    }
    // Looking leaves no line in the trail that is looked at.
    let credentials = match process.store().load(&config.unlock) {
        Ok(credentials) => credentials,
        Err(error) if error.is_absent() => {
            return unopened(match &config.token {
                Some(token) => match token_of_environment(token) {
                    Ok(_) => Check::ok(NAME, "none; the environment's token is used"),
                    Err(problem) => Check::failed(NAME, problem.message, problem.next_step),
                },
                None => Check::failed(NAME, "there is no token", "Run `layer-mcp setup`."),
            });
        }
        Err(error) => {
            return unopened(Check::failed(NAME, error.to_string(), error.next_step()));
        }
    };
    let mut checks = Vec::new();
    let here = config.api_base.origin();
    checks.push(match process.store().header() {
        _ if credentials.api_origin() != here => Check::failed(
            NAME,
            format!("the token belongs to `{}`, not `{here}`", credentials.api_origin()),
            format!("Unset `{}`, or run `layer-mcp setup`.", names::BASE_URL),
        ),
        Ok(header) if header.iterations < header.source.iterations() => Check::warning(
            NAME,
            format!(
                "opens, by {}, with {} iterations; new stores have {}",
                header.source.name(),
                header.iterations,
                header.source.iterations()
            ),
            "`layer-mcp credentials rotate` writes it anew.",
        ),
        Ok(header) => Check::ok(
            NAME,
            format!(
                "opens, by {}; AES-256-CBC with HMAC-SHA-256, PBKDF2 with {} iterations",
                header.source.name(),
                header.iterations
            ),
        ),
        Err(error) => Check::failed(NAME, error.to_string(), error.next_step()),
    });
    checks.push(system::clock(now, Some(credentials.created_at())));
    let key = SealKey::new(credentials.audit_key().as_bytes());
    // The sandbox's trail is its own, and under no key.
    checks.push(trail(config, (!config.sandbox).then_some(&key)));
    let age = Age::of(credentials.created_at(), now);
    let hint = credentials.token().hint();
    let message = format!("{hint}…, stored {}", age.in_words());
    checks.push(match nudge(&credentials, now) {
        None => Check::ok("token", message),
        Some(nudge) => Check::warning("token", message, nudge),
    });
    checks
}

fn trail(config: &Config, key: Option<&SealKey>) -> Check {
    const NAME: &str = "audit";
    match verify(&config.audit_dir(), key) {
        Ok(report) => match report.findings.first() {
            None => match report.notes.first() {
                _ if report.newest.is_some_and(|newest| newest > tomorrow()) => Check::warning(
                    NAME,
                    format!(
                        "all lines go into the file of a day to come, {}",
                        report.newest.map(|newest| newest.to_string()).unwrap_or_default()
                    ),
                    "The clock was wrong once. To begin a new trail, move the folder away.",
                ),
                None => Check::ok(NAME, format!("{} lines, whole", report.lines)),
                Some(note) => Check::warning(
                    NAME,
                    format!("{} lines; {note}", report.lines),
                    "Usual after you moved or emptied the trail, and with several profiles or a token \
                     from the environment; otherwise find out who did.",
                ),
            },
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

/// The latest day that it can be anywhere, with a day to spare.
fn tomorrow() -> jiff::civil::Date {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    now.saturating_add(jiff::Span::new().days(1))
}
