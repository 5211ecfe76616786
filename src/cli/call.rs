//! One tool call for a script: the same tool through the same code, one JSON document on stdout.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use super::Process;
use super::signals::told_to_stop;
use super::terminal::{Prompt, Terminal};
use crate::files::PreviewLimits;
use crate::mcp::{Answer, Caller, NobodyToAsk, Offered, Tools, Toolset, Waiting};
use crate::redact::{clean_line, cut_foreign_keys};
use crate::runs::{Consent, ErrorReport, Progress, RunError, Runs};

/// The tool reported an error.
const TOOL_ERROR: u8 = 1;
/// The call itself was wrong.
const USAGE: u8 = 2;
/// Credentials or settings are missing or wrong.
const SETUP: u8 = 3;

/// The largest JSON that is read from a file or from stdin.
const LARGEST_ARGUMENTS: u64 = 4 * 1024 * 1024;

/// Calls a tool. `arguments` is JSON, `@file`, or `-` for stdin; nothing is an empty object.
pub(super) async fn call(
    process: &Process,
    tool: &str,
    arguments: Option<&str>,
    no_wait: bool,
    terminal: &mut Terminal,
) -> ExitCode {
    let arguments = match read_arguments(arguments) {
        Ok(arguments) => arguments,
        Err(message) => return usage(terminal, message),
    };
    let runs = super::runs(process);
    let waiting = if no_wait { Waiting::Never } else { Waiting::ToTheEnd };
    // Whoever names a tool wants it, whatever a client would be offered.
    let offered = Offered { toolsets: Toolset::ALL.to_vec(), read_only: process.config.read_only };
    let tools = Tools::new(runs.clone(), &offered, process.redactor.clone());
    let bar = bar();
    let shown = bar.clone();
    let progress = move |progress: Progress| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a percentage lies between 0 and 100"
        )]
        shown.set_position(progress.percent as u64);
        shown.set_message(progress.message);
    };
    let caller = Caller {
        progress: &progress,
        user: &NobodyToAsk,
        waiting,
        picture: Some(PreviewLimits::default()),
    };
    let mut arguments = arguments;
    let answer = loop {
        let call = tools.call(tool, arguments.clone(), caller);
        let answer = tokio::select! {
            answer = call => answer,
            () = told_to_stop() => {
                bar.finish_and_clear();
                runs.shut_down(Duration::from_secs(2)).await;
                let _ = terminal.note(
                    "Interrupted. A job that was started goes on at Layer: `layer-mcp jobs` \
                     shows it, `layer-mcp jobs --collect` fetches it.",
                );
                return ExitCode::from(130);
            }
        };
        // Who sits at the terminal can say yes here and now.
        match &answer {
            Ok(Answer::Error(report)) if !arguments.contains_key("quote_id") => {
                let Some(quote) = report.quote_id.clone() else { break answer };
                if !terminal.can_ask() {
                    break answer;
                }
                bar.finish_and_clear();
                match ask(&runs, &quote, terminal).await {
                    Ok(()) => arguments.insert("quote_id".to_owned(), quote.into()),
                    Err(None) => break answer,
                    Err(Some(error)) => break Ok(Answer::Error(Box::new(error.report()))),
                };
                bar.reset();
            }
            _ => break answer,
        }
    };
    bar.finish_and_clear();
    runs.shut_down(Duration::from_secs(20)).await;
    let (document, code) = match answer {
        Ok(Answer::Data(object)) => (Value::Object(object), ExitCode::SUCCESS),
        Ok(Answer::Ask(question)) => {
            let report = RunError::confirmation_needed(*question).report();
            (serde_json::to_value(report).unwrap_or_default(), ExitCode::from(TOOL_ERROR))
        }
        Ok(Answer::Picture(picture)) => (Value::Object(picture.facts), ExitCode::SUCCESS),
        Ok(Answer::Error(report)) => {
            let code = exit_code(report.code);
            let _ = terminal.note(format!("error: {} {}", report.message, report.next_step));
            (serde_json::to_value(report).unwrap_or_default(), code)
        }
        Err(unknown) => return usage(terminal, unknown.to_string()),
    };
    match terminal.print(document) {
        Ok(()) => code,
        // Whoever reads has gone; there is nobody to tell.
        Err(_) => ExitCode::from(TOOL_ERROR),
    }
}

/// Asks the person at the terminal about a price, and writes down what they say. An error without
/// words when there was no answer.
async fn ask(runs: &Runs, quote: &str, terminal: &mut Terminal) -> Result<(), Option<RunError>> {
    let Some(question) = runs.question(quote).await.map_err(Some)? else { return Ok(()) };
    let asked = format!("Spend {} at Layer.ai? It is for: {}", question.price, question.what);
    // What was typed before the price was seen is no answer to it.
    terminal.forget_typed_ahead();
    let said = terminal.confirm(&asked, false).map_err(|_| None)?;
    let consent = if said { Consent::Given } else { Consent::Declined };
    runs.hear(quote, consent, "terminal").await.map_err(Some)?;
    match consent {
        Consent::Given => Ok(()),
        consent => Err(Some(RunError::ConfirmationNeeded {
            question: Box::new(question),
            consent: Some(consent),
        })),
    }
}

/// Tells of an error outside of a tool, with what to do about it.
pub(super) fn failed(error: &RunError, terminal: &mut Terminal) -> ExitCode {
    let report = error.report();
    let _ = terminal.note(format!("error: {} {}", report.message, report.next_step));
    exit_code(report.code)
}

fn exit_code(code: &str) -> ExitCode {
    let setup = code.starts_with("store_")
        || matches!(
            code,
            "credentials_missing" | "unauthenticated" | "configuration" | "workspace_missing"
        );
    ExitCode::from(if setup { SETUP } else { TOOL_ERROR })
}

fn usage(terminal: &mut Terminal, message: String) -> ExitCode {
    let message = cut_foreign_keys(&message).into_owned();
    let _ = terminal.note(format!("error: {message}"));
    let report = ErrorReport {
        next_step: "`layer-mcp tools` shows the tools and their arguments.".to_owned(),
        ..RunError::Argument { field: "", message }.report()
    };
    let _ = terminal.print(serde_json::to_value(report).unwrap_or_default());
    ExitCode::from(USAGE)
}

fn read_arguments(given: Option<&str>) -> Result<Map<String, Value>, String> {
    let unreadable = |what: &str, error: std::io::Error| format!("{what} can't be read: {error}");
    let text = match given {
        None => return Ok(Map::new()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .take(LARGEST_ARGUMENTS)
                .read_to_string(&mut text)
                .map_err(|error| unreadable("stdin", error))?;
            text
        }
        Some(given) => match given.strip_prefix('@') {
            Some(path) => std::fs::File::open(path)
                .and_then(|file| {
                    let mut text = String::new();
                    file.take(LARGEST_ARGUMENTS).read_to_string(&mut text)?;
                    Ok(text)
                })
                .map_err(|error| unreadable(&format!("`{}`", clean_line(path, 200)), error))?,
            None => given.to_owned(),
        },
    };
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => {
            Err("the arguments must be a JSON object such as '{\"prompt\": \"a knight\"}'"
                .to_owned())
        }
        Err(error) => Err(format!("the arguments are not JSON: {error}")),
    }
}

/// A bar on stderr, when that is a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar
}
