//! The greeting: the state at a glance and one next step, without network, keys or traces.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Process;
use super::failure::Form;
use super::table::{Fit, Row, Table, wrap};
use super::terminal::Terminal;
use super::theme::{Line, Tone};
use crate::config::Config;
use crate::connect::Places;
use crate::credentials::UnlockSource;

/// A journal that another process holds is not waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// Where the token comes from.
enum Token {
    /// From nowhere: the sandbox has its own.
    Sandbox,
    /// From the store, unlocked by this, where that can be read.
    Stored(Option<UnlockSource>),
    /// From the environment.
    Environment,
    /// There is none.
    Missing,
    /// What there is can't be looked at, for this reason.
    Unreadable(String),
}

/// Jobs that are at no end, or why they are not known.
type Unfinished = Result<(u64, u64), String>;

struct State<'a> {
    config: &'a Config,
    token: Token,
    clients: Vec<&'static str>,
    unfinished: Unfinished,
}

/// Shows the state.
pub(super) fn run(
    process: &Process,
    places: Option<&Places>,
    form: Form,
    terminal: &mut Terminal,
) -> ExitCode {
    let config = &*process.config;
    let state = State {
        config,
        token: token(process),
        clients: places.map(super::doctor::connected).unwrap_or_default(),
        unfinished: unfinished(process),
    };
    let shown = match form {
        Form::Json => terminal.print_json(&state.in_json()),
        Form::Text => terminal.print_lines(&state.in_lines(terminal.columns())),
    };
    if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn token(process: &Process) -> Token {
    let config = &process.config;
    if config.sandbox {
        return Token::Sandbox;
    }
    let store = process.store();
    if config.credentials_from_env && config.token.is_some() {
        return Token::Environment;
    }
    match store.exists() {
        Ok(true) => Token::Stored(store.source().ok()),
        // A profile's token stands in for no other's.
        Ok(false) if config.token.is_some() && config.profile.is_none() => Token::Environment,
        Ok(false) => Token::Missing,
        Err(error) => Token::Unreadable(error.to_string()),
    }
}

fn unfinished(process: &Process) -> Unfinished {
    // Most often there is nothing to ask, and then no thread is started.
    if !process.config.journal().try_exists().unwrap_or(true) {
        return Ok((0, 0));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let runs = super::runs(process);
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, runs.unfinished()).await });
    // What still waits for the file must not keep the process.
    runtime.shutdown_background();
    match asked {
        Ok(Ok(counts)) => Ok(counts),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("another process holds the journal".to_owned()),
    }
}

impl State<'_> {
    fn in_lines(&self, room: Option<usize>) -> Vec<Line> {
        let mut lines = vec![
            Line::new()
                .with(Tone::Strong, format!("layer-mcp {}", env!("CARGO_PKG_VERSION")))
                .with(Tone::Plain, ", for Layer.ai"),
            Line::new(),
        ];
        let mut table = Table::new([Fit::Whole, Fit::Wrap(24)]);
        for (name, tone, said) in self.rows() {
            table.push(Row::new([(Tone::Dim, name.to_owned()), (tone, said)]));
        }
        lines.extend(table.lines(room));
        lines.push(Line::new());
        let next = format!("next: {}", self.next_step());
        let pieces = match room {
            Some(room) => wrap(&next, room),
            None => vec![next],
        };
        for piece in pieces {
            lines.push(match piece.strip_prefix("next:") {
                Some(rest) => Line::new().with(Tone::Strong, "next:").with(Tone::Plain, rest),
                None => piece.into(),
            });
        }
        lines
    }

    fn rows(&self) -> Vec<(&'static str, Tone, String)> {
        let config = self.config;
        let mut rows = Vec::new();
        let (tone, said) = match &self.token {
            Token::Sandbox => (Tone::Good, "the sandbox needs none".to_owned()),
            Token::Stored(Some(source)) => {
                let by = match source {
                    UnlockSource::Device => "the device key",
                    UnlockSource::Password => "a password",
                    UnlockSource::Keyring => "the system's keyring",
                };
                (Tone::Good, format!("stored, unlocked by {by}"))
            }
            Token::Stored(None) => (
                Tone::Warning,
                "stored, and its files can't be read: `layer-mcp doctor` tells more".to_owned(),
            ),
            Token::Environment => (Tone::Good, "from the environment".to_owned()),
            Token::Missing => (Tone::Warning, "none yet".to_owned()),
            Token::Unreadable(why) => (Tone::Bad, format!("not known: {why}")),
        };
        rows.push(("token", tone, said));
        if let Some(profile) = &config.profile {
            rows.push(("profile", Tone::Plain, profile.as_str().to_owned()));
        }
        let workspace = match (&self.token, &config.workspace) {
            (Token::Sandbox, _) => Some("the sandbox's own".to_owned()),
            (Token::Stored(_), _) => Some("the one that was chosen in `setup`".to_owned()),
            (Token::Environment, Some(id)) => Some(id.to_string()),
            (Token::Environment, None) => Some("the only one that the token reaches".to_owned()),
            _ => None,
        };
        rows.extend(workspace.map(|said| ("workspace", Tone::Plain, said)));
        rows.push(match &config.output_dir {
            Some(folder) => ("files go to", Tone::Plain, folder.display().to_string()),
            None => ("files go to", Tone::Warning, "nowhere: name a folder".to_owned()),
        });
        rows.push(("limits", Tone::Plain, self.limits()));
        rows.push(match &self.unfinished {
            Ok((0, 0)) => ("jobs", Tone::Plain, "none unfinished".to_owned()),
            Ok((running, 0)) => ("jobs", Tone::Warning, format!("{running} unfinished")),
            Ok((0, unknown)) => {
                ("jobs", Tone::Warning, format!("{unknown} whose start got no answer"))
            }
            Ok((running, unknown)) => (
                "jobs",
                Tone::Warning,
                format!("{running} unfinished, {unknown} whose start got no answer"),
            ),
            Err(why) => ("jobs", Tone::Warning, format!("not known: {why}")),
        });
        rows.push(match self.clients.as_slice() {
            [] => ("clients", Tone::Plain, "none found: `layer-mcp connect`".to_owned()),
            found => ("clients", Tone::Good, found.join(", ")),
        });
        for problem in &config.problems {
            rows.push(("wrong", Tone::Bad, format!("`{}`: {}", problem.setting, problem.message)));
        }
        rows
    }

    fn limits(&self) -> String {
        let limits = &self.config.limits;
        let named = [
            ("a purchase", limits.run),
            ("a session", limits.session),
            ("a day", limits.day),
            ("a project", limits.project),
        ];
        let mut said = vec![format!("asks above {}", limits.confirm_above)];
        said.extend(
            named.into_iter().filter_map(|(of, most)| Some(format!("at most {} {of}", most?))),
        );
        said.join(", ")
    }

    /// The one thing to do now.
    fn next_step(&self) -> String {
        let unfinished = self.unfinished.as_ref().map_or(0, |(running, unknown)| running + unknown);
        match &self.token {
            _ if !self.config.problems.is_empty() => {
                "correct the setting; until then no call works".to_owned()
            }
            Token::Unreadable(_) | Token::Stored(None) => {
                "`layer-mcp doctor` says how to mend it".to_owned()
            }
            Token::Missing => "`layer-mcp setup` stores your Layer.ai token; without an account, \
                               try `layer-mcp --sandbox call create_asset '{\"prompt\": \"a \
                               knight\"}'`"
                .to_owned(),
            _ if self.config.output_dir.is_none() => {
                "name a folder with `--output-dir`; without one nothing can be saved".to_owned()
            }
            _ if unfinished > 0 => {
                "`layer-mcp jobs --collect` fetches what is unfinished; it buys nothing".to_owned()
            }
            _ if self.clients.is_empty() => {
                "`layer-mcp connect` connects your editor or chat client".to_owned()
            }
            _ => "ask your client for an asset, such as \"a pixel-art knight, 512 by 512, in \
                  assets/\""
                .to_owned(),
        }
    }

    fn in_json(&self) -> Value {
        let config = self.config;
        let (token, unlock) = match &self.token {
            Token::Sandbox => ("sandbox", None),
            Token::Stored(source) => ("stored", source.map(|source| source.name())),
            Token::Environment => ("environment", None),
            Token::Missing => ("missing", None),
            Token::Unreadable(_) => ("unreadable", None),
        };
        let limits = &config.limits;
        let named = [
            ("confirm_above_cu", Some(limits.confirm_above)),
            ("budget_run_cu", limits.run),
            ("budget_session_cu", limits.session),
            ("budget_day_cu", limits.day),
            ("budget_project_cu", limits.project),
        ];
        let limits = named.into_iter().map(|(name, most)| (name.to_owned(), json!(most)));
        let unfinished = self.unfinished.as_ref().ok();
        let problems = config
            .problems
            .iter()
            .map(|problem| json!({ "setting": problem.setting, "message": problem.message }));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "token": token,
            "unlock": unlock,
            "profile": config.profile.as_ref().map(|profile| profile.as_str()),
            // The store's workspace is under its lock.
            "workspace_id": config.workspace.as_ref().filter(|_| token == "environment"),
            "home": config.home,
            "output_dir": config.output_dir,
            "limits": Map::from_iter(limits),
            "jobs_running": unfinished.map(|(running, _)| running),
            "jobs_unknown": unfinished.map(|(_, unknown)| unknown),
            "clients": self.clients,
            "problems": problems.collect::<Vec<_>>(),
            "next_step": self.next_step(),
        })
    }
}
