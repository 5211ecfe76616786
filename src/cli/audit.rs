//! Showing the audit trail, and checking that it is whole.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::Process;
use super::terminal::Terminal;
use crate::audit::{Finding, SealKey, read_lines, verify};
use crate::redact::clean_line;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 shown or whole, 1 something is wrong with the trail, 3 it \
                        can't be read.")]
pub(super) struct AuditArguments {
    /// Check that no line was edited, removed or reordered
    #[arg(long)]
    verify: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Only events whose name begins so, such as `auth` or `security`
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only lines about this job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only lines since this day (UTC), such as 2026-01-31
    #[arg(long, value_name = "DAY")]
    since: Option<Date>,
    /// At most so many lines, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

/// Shows or verifies the trail.
pub(super) fn run(
    process: &Process,
    arguments: &AuditArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    let shown = if arguments.verify {
        check(process, arguments, terminal)
    } else {
        show(process, arguments, terminal)
    };
    shown.unwrap_or_else(|error| {
        // Who reads only the first lines has seen what they wanted.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return ExitCode::FAILURE;
        }
        let folder = process.config.audit_dir();
        let _ = terminal.note(format!("error: `{}` can't be read: {error}", folder.display()));
        ExitCode::from(3)
    })
}

fn check(
    process: &Process,
    arguments: &AuditArguments,
    terminal: &mut Terminal,
) -> std::io::Result<ExitCode> {
    // Looking leaves no line: the store is opened beside the trail.
    let opened = (!process.config.sandbox).then(|| process.store().load(&process.config.unlock));
    let opened = opened.and_then(Result::ok);
    let key = opened.map(|credentials| SealKey::new(credentials.audit_key().as_bytes()));
    let report = verify(&process.config.audit_dir(), key.as_ref())?;
    let whole = report.findings.is_empty();
    if arguments.json {
        let listed = |found: &[Finding]| -> Vec<Value> {
            let one =
                |one: &Finding| json!({ "file": one.file, "line": one.line, "what": one.what });
            found.iter().map(one).collect()
        };
        terminal.print(json!({
            "whole": whole,
            "files": report.files,
            "lines": report.lines,
            "sealed": report.seals.checked,
            "sealed_with_another_key": report.seals.unchecked,
            "unsealed": report.seals.unsealed,
            "after_the_newest_seal": report.seals.after,
            "findings": listed(&report.findings),
            "notes": listed(&report.notes),
        }))?;
    } else {
        for finding in &report.findings {
            terminal.print(clean_line(&finding.to_string(), 300))?;
        }
        for note in &report.notes {
            terminal.print(clean_line(&format!("note: {note}"), 300))?;
        }
        let seals = report.seals;
        terminal.print(format!(
            "{}: {} lines in {} files; {} seals right, {} of another key or none at hand, {} lines \
             without one; {} lines after the newest right seal, for which nothing vouches yet.",
            if whole { "Whole" } else { "Not whole" },
            report.lines,
            report.files,
            seals.checked,
            seals.unchecked,
            seals.unsealed,
            seals.after
        ))?;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(
    process: &Process,
    arguments: &AuditArguments,
    terminal: &mut Terminal,
) -> std::io::Result<ExitCode> {
    let mut lines = read_lines(&process.config.audit_dir())?;
    lines.retain(|line| arguments.wants(line));
    lines.drain(..lines.len().saturating_sub(arguments.limit));
    if arguments.json {
        let lines = lines.into_iter().map(Value::Object).collect();
        terminal.print(Value::Array(lines))?;
    } else {
        for line in &lines {
            terminal.print(in_words(line))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl AuditArguments {
    fn wants(&self, line: &Map<String, Value>) -> bool {
        let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
        let named = self.event.as_ref().is_none_or(|event| text("event").starts_with(event));
        let about = self.job.as_ref().is_none_or(|job| text("job") == job);
        let day = text("ts").parse::<Timestamp>().ok();
        let day = day.map(|time| time.to_zoned(jiff::tz::TimeZone::UTC).date());
        let recent = self.since.is_none_or(|since| day.is_some_and(|day| day >= since));
        named && about && recent
    }
}

/// Time, event, and whatever else is told.
fn in_words(line: &Map<String, Value>) -> String {
    const ELSEWHERE: [&str; 9] =
        ["v", "ts", "seq", "session", "pid", "event", "key", "prev", "mac"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |field: &str| line.get(field).map(text).unwrap_or_default();
    let rest: Vec<String> = line
        .iter()
        .filter(|(field, _)| !ELSEWHERE.contains(&field.as_str()))
        .map(|(field, value)| format!("{field}={}", text(value)))
        .collect();
    clean_line(&format!("{} {:<20} {}", of("ts"), of("event"), rest.join(" ")), 1_000)
}
