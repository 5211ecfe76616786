//! Showing the audit trail, and checking that it is whole.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::Process;
use super::failure::{self, Form};
use super::table::{Fit, Row, Table, wrap};
use super::terminal::Terminal;
use super::theme::{Line, Tone};
use crate::audit::{Finding, SealKey, read_lines, verify};
use crate::redact::clean_line;

#[derive(Debug, clap::Args)]
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
        let message = format!("`{}` can't be read: {error}", folder.display());
        let report = failure::free("audit", &message, "correct its permissions");
        failure::tell(&report, Form::of(arguments.json), false, terminal);
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
        terminal.print_json(&json!({
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
        let mut lines: Vec<(Tone, String)> = Vec::new();
        let findings = report.findings.iter();
        lines.extend(findings.map(|one| (Tone::Bad, clean_line(&one.to_string(), 300))));
        let notes = report.notes.iter();
        lines.extend(notes.map(|one| (Tone::Warning, clean_line(&format!("note: {one}"), 300))));
        let seals = report.seals;
        let (tone, word) = if whole { (Tone::Good, "Whole") } else { (Tone::Bad, "Not whole") };
        lines.push((
            tone,
            format!(
                "{word}: {} lines in {} files; {} seals right, {} of another key or none at hand, \
                 {} lines without one; {} lines after the newest right seal, for which nothing \
                 vouches yet.",
                report.lines,
                report.files,
                seals.checked,
                seals.unchecked,
                seals.unsealed,
                seals.after
            ),
        ));
        let fitting = |(tone, text): (Tone, String)| {
            let pieces = match terminal.columns() {
                Some(room) => wrap(&text, room),
                None => vec![text],
            };
            pieces.into_iter().map(move |text| Line::new().with(tone, text)).collect::<Vec<_>>()
        };
        let lines: Vec<Line> = lines.into_iter().flat_map(fitting).collect();
        terminal.print_lines(&lines)?;
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
        terminal.print_json(&Value::Array(lines))?;
    } else {
        let mut table = Table::new([Fit::Whole, Fit::Whole, Fit::Wrap(24)]);
        lines.iter().map(row).for_each(|row| table.push(row));
        terminal.print_lines(&table.lines(terminal.columns()))?;
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
fn row(line: &Map<String, Value>) -> Row {
    const ELSEWHERE: [&str; 9] =
        ["v", "ts", "seq", "session", "pid", "event", "key", "prev", "mac"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |field: &str| clean_line(&line.get(field).map(text).unwrap_or_default(), 100);
    let rest: Vec<String> = line
        .iter()
        .filter(|(field, _)| !ELSEWHERE.contains(&field.as_str()))
        .map(|(field, value)| format!("{field}={}", text(value)))
        .collect();
    let event = of("event");
    let tone = match event.split('.').next() {
        Some("security") => Tone::Warning,
        Some("error") => Tone::Bad,
        _ if event == "auth.fail" => Tone::Bad,
        _ => Tone::Strong,
    };
    let rest = clean_line(&rest.join(" "), 1_000);
    Row::new([(Tone::Dim, of("ts")), (tone, event), (Tone::Plain, rest)])
}
