//! One tool call for a script: the same tool through the same code, one JSON document on stdout.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Process;
use super::failure::{self, Form};
use super::progress::Bar;
use super::signals::told_to_stop;
use super::terminal::{Prompt, Terminal};
use super::theme::Tone;
use crate::files::PreviewLimits;
use crate::layer::CreativeUnits;
use crate::mcp::{Answer, Caller, NobodyToAsk, Offered, Tools, Toolset, Waiting};
use crate::redact::{clean_line, cut_foreign_keys};
use crate::runs::{Consent, ErrorReport, Progress, RunError, Runs};

/// The tool reported an error.
const TOOL_ERROR: u8 = 1;
/// The call itself was wrong.
const USAGE: u8 = 2;
/// Credentials or settings are missing or wrong.
const SETUP: u8 = 3;

/// What takes longer is shown to be under way.
const AT_ONCE: Duration = Duration::from_millis(300);

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
    let bar = Bar::new(terminal);
    let shown = bar.clone();
    let progress = move |progress: Progress| shown.tell(progress);
    let caller = Caller {
        progress: &progress,
        user: &NobodyToAsk,
        waiting,
        picture: Some(PreviewLimits::default()),
    };
    let mut arguments = arguments;
    let answer = loop {
        let call = tools.call(tool, arguments.clone(), caller);
        // What is answered at once needs no line that flickers.
        let patience = async {
            tokio::time::sleep(AT_ONCE).await;
            bar.begin();
            std::future::pending::<ExitCode>().await
        };
        let answer = tokio::select! {
            answer = call => answer,
            code = patience => return code,
            () = told_to_stop() => {
                bar.clear();
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
                bar.clear();
                match ask(&runs, &quote, terminal).await {
                    Ok(()) => arguments.insert("quote_id".to_owned(), quote.into()),
                    Err(None) => break answer,
                    Err(Some(error)) => break Ok(Answer::Error(Box::new(error.report()))),
                };
            }
            _ => break answer,
        }
    };
    bar.clear();
    runs.shut_down(Duration::from_secs(20)).await;
    let (document, code) = match answer {
        Ok(Answer::Data(object)) => (Value::Object(object), ExitCode::SUCCESS),
        Ok(Answer::Ask(question)) => {
            let report = RunError::confirmation_needed(*question).report();
            failure::tell(&report, Form::Json, true, terminal);
            return ExitCode::from(TOOL_ERROR);
        }
        Ok(Answer::Picture(picture)) => (Value::Object(picture.facts), ExitCode::SUCCESS),
        Ok(Answer::Error(report)) => {
            let code = exit_code(report.code);
            failure::tell(&report, Form::Json, true, terminal);
            return code;
        }
        Err(unknown) => return usage(terminal, unknown.to_string()),
    };
    let shown = terminal.print_json(&document);
    if let (Ok(()), true, Some(summary)) = (&shown, terminal.is_lively(), summary(&document)) {
        let _ = terminal.tell(Tone::Good, "done:", summary);
    }
    match shown {
        Ok(()) => code,
        // Whoever reads has gone; there is nobody to tell.
        Err(_) => ExitCode::from(TOOL_ERROR),
    }
}

/// What a job came to, in a line below its document: where the files lie and what they cost.
fn summary(document: &Value) -> Option<String> {
    let status = document.get("status")?.as_str()?;
    let files = document.get("files")?.as_array()?;
    let price = |field: &str| -> Option<CreativeUnits> {
        document.get(field).filter(|price| price.is_number())?.to_string().parse().ok()
    };
    let cost = match (price("cost_cu"), price("estimated_cu")) {
        (Some(charged), _) => format!("{charged} charged"),
        (None, Some(expected)) => format!("~{expected}"),
        (None, None) => return None,
    };
    let what = match (status, files.as_slice()) {
        ("complete", [first, rest @ ..]) => {
            let path = clean_line(first.get("path")?.as_str()?, 1_000);
            match rest.len() {
                0 => path,
                more => format!("{path} and {more} more"),
            }
        }
        ("running", _) => {
            let id = document.get("job_id")?.as_str()?;
            format!("{id} goes on; `layer-mcp jobs --collect` fetches its files")
        }
        _ => return None,
    };
    Some(format!("{what} ({cost})"))
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
pub(super) fn failed(error: &RunError, form: Form, terminal: &mut Terminal) -> ExitCode {
    let report = error.report();
    failure::tell(&report, form, false, terminal);
    exit_code(report.code)
}

/// What a script learns from an error's code without reading it.
pub(super) fn exit_code(code: &str) -> ExitCode {
    let setup = code.starts_with("store_")
        || matches!(
            code,
            "credentials_missing" | "unauthenticated" | "configuration" | "workspace_missing"
        );
    ExitCode::from(if setup { SETUP } else { TOOL_ERROR })
}

fn usage(terminal: &mut Terminal, message: String) -> ExitCode {
    let message = cut_foreign_keys(&message).into_owned();
    let report = ErrorReport {
        next_step: "`layer-mcp tools` shows the tools and their arguments.".to_owned(),
        ..RunError::Argument { field: "", message }.report()
    };
    failure::tell(&report, Form::Json, true, terminal);
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
