//! The journal's jobs: what was bought, how it stands, and where its files lie.

use std::process::ExitCode;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Process;
use super::call::failed;
use super::failure::Form;
use super::signals::told_to_stop;
use super::table::{Fit, Row, Table, wrap};
use super::terminal::Terminal;
use super::theme::{Line, Tone};
use crate::journal::{Job, JobState, LedgerEntry};
use crate::redact::clean_line;
use crate::runs::{JobStatus, RunError, Runs};

#[derive(Debug, clap::Args)]
pub(super) struct JobsArguments {
    /// Only jobs of this status; a queued job is a running one
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<Status>,
    /// Only jobs with all of these words, or words that begin so, in the prompt
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// First wait for what earlier processes paid for, and fetch its files; buys nothing
    #[arg(long)]
    collect: bool,
}

/// The words of `--status`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Status {
    Running,
    Complete,
    Failed,
    Cancelled,
    Unknown,
}

impl From<Status> for JobStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Complete => Self::Complete,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Unknown => Self::Unknown,
        }
    }
}

/// What was found in the journal.
struct Found {
    /// How many jobs came to an end, where that was asked for.
    ended: Option<usize>,
    entries: Vec<LedgerEntry>,
    /// There are more than were asked for.
    more: bool,
}

/// Lists the jobs.
pub(super) async fn run(
    process: &Process,
    arguments: &JobsArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    let runs = super::runs(process);
    let found = tokio::select! {
        found = find(&runs, arguments) => found,
        () = told_to_stop() => {
            runs.shut_down(Duration::from_secs(2)).await;
            let _ = terminal.note("Interrupted. Nothing is lost: `layer-mcp jobs --collect` goes on.");
            return ExitCode::from(130);
        }
    };
    runs.shut_down(Duration::from_secs(20)).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => return failed(&error, Form::of(arguments.json), terminal),
    };
    if let Some(ended) = found.ended {
        let _ = terminal.note(match ended {
            0 => "No job came to an end.".to_owned(),
            1 => "One job came to an end.".to_owned(),
            many => format!("{many} jobs came to an end."),
        });
    }
    let shown = if arguments.json {
        terminal.print_json(&Value::Array(found.entries.iter().map(in_json).collect()))
    } else {
        let room = terminal.columns();
        let mut lines = in_lines(&found.entries, room, &TimeZone::system());
        let sum = in_sum(&found, arguments);
        match room {
            Some(room) => lines.extend(wrap(&sum, room).into_iter().map(Line::from)),
            None => lines.push(sum.into()),
        }
        terminal.print_lines(&lines)
    };
    if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn find(runs: &Runs, arguments: &JobsArguments) -> Result<Found, RunError> {
    let mut ended = None;
    if arguments.collect {
        let mut unfinished = runs.entries(Some(JobStatus::Running), None, 1).await?;
        unfinished.extend(runs.entries(Some(JobStatus::Unknown), None, 1).await?);
        if !unfinished.is_empty() {
            // To collect is to say nothing of what fails; a missing token must be said.
            runs.connect().await?;
        }
        ended = Some(runs.collect().await);
    }
    let search = arguments.search.as_deref().filter(|words| !words.trim().is_empty());
    // One more than asked for tells whether there are more.
    let limit = arguments.limit.saturating_add(1);
    let mut entries = runs.entries(arguments.status.map(Into::into), search, limit).await?;
    let asked = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let more = entries.len() > asked;
    entries.truncate(asked);
    Ok(Found { ended, entries, more })
}

/// More of a path or prompt is no help to anybody. Prompts have up to 100,000 characters.
const LONGEST_LINE: usize = 1_000;
const LONGEST_PROMPT: usize = 100_000;

fn status(job: &Job) -> &'static str {
    match JobStatus::of(job.state) {
        _ if job.is_queued() => "queued",
        JobStatus::Running => "running",
        JobStatus::Complete => "complete",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
        JobStatus::Unknown => "unknown",
    }
}

/// Done, on its way, or amiss.
fn tone(job: &Job) -> Tone {
    match JobStatus::of(job.state) {
        JobStatus::Complete => Tone::Good,
        JobStatus::Running => Tone::Strong,
        JobStatus::Unknown => Tone::Warning,
        JobStatus::Failed => Tone::Bad,
        JobStatus::Cancelled => Tone::Plain,
    }
}

/// What was charged; before that is known, what is expected. Nothing is expected any more of what
/// failed without a charge.
fn cost(job: &Job) -> String {
    match (job.charged, job.state) {
        (Some(charged), _) => charged.decimal(),
        (None, JobState::Failed | JobState::Cancelled | JobState::Refused) => "-".to_owned(),
        (None, _) => format!("~{}", job.expected().decimal()),
    }
}

/// A line a job, and one for each of its files.
fn in_lines(entries: &[LedgerEntry], room: Option<usize>, zone: &TimeZone) -> Vec<Line> {
    // The name: the id of many a model is a UUID.
    let model = |job: &Job| match clean_line(&job.new.model_name, 200) {
        name if name.is_empty() => clean_line(job.new.order.subject(), 200),
        name => name,
    };
    let prompt = |job: &Job| clean_line(job.new.order.title(), LONGEST_LINE);
    let fits = [Fit::Whole, Fit::Whole, Fit::Number, Fit::Whole, Fit::Cut(12), Fit::Cut(16)];
    let mut table = Table::new(fits);
    for LedgerEntry { job, .. } in entries {
        let time = job.created_at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let mut row = Row::new([
            (Tone::Plain, time),
            (tone(job), status(job).to_owned()),
            (Tone::Plain, cost(job)),
            (Tone::Plain, job.id().to_string()),
            (Tone::Plain, model(job)),
            (Tone::Strong, prompt(job)),
        ]);
        for file in &job.files {
            row.below(Tone::Dim, clean_line(&file.path.to_string_lossy(), LONGEST_LINE));
        }
        table.push(row);
    }
    table.lines(room)
}

/// How many there are, and what to do about those that are at no end.
fn in_sum(found: &Found, arguments: &JobsArguments) -> String {
    let count = found.entries.len();
    let mut line = match count {
        0 if arguments.status.is_some() || arguments.search.is_some() => "No job fits.".to_owned(),
        0 => "Nothing was bought yet.".to_owned(),
        1 if !found.more => "One job.".to_owned(),
        _ if found.more => format!("The newest {count}; a higher `--limit` shows more."),
        _ => format!("{count} jobs."),
    };
    let of = |wanted| {
        let status = |entry: &&LedgerEntry| JobStatus::of(entry.job.state) == wanted;
        found.entries.iter().filter(status).count()
    };
    let collected = found.ended.is_some();
    match (of(JobStatus::Running), collected) {
        (0, _) => {}
        (unfinished, false) => line.push_str(&format!(
            " {unfinished} unfinished: `layer-mcp jobs --collect` waits for what no other process \
             works on and fetches its files; nothing is paid again."
        )),
        (unfinished, true) => line.push_str(&format!(
            " {unfinished} still unfinished: another process works on it or died in the last 20 \
             seconds, or Layer could not be asked. `layer-mcp jobs --collect` tries again."
        )),
    }
    match (of(JobStatus::Unknown), collected) {
        (0, _) => {}
        (unknown, false) => line.push_str(&format!(
            " {unknown} whose start got no answer, so that its price stays set aside: `layer-mcp \
             jobs --collect` looks for the run at Layer."
        )),
        (unknown, true) => line.push_str(&format!(
            " {unknown} whose start got no answer and was not found at Layer; its price stays set \
             aside. app.layer.ai shows whether the run is there."
        )),
    }
    line
}

fn in_json(entry: &LedgerEntry) -> Value {
    let job = &entry.job;
    let files: Vec<_> = job.files.iter().map(|file| file.path.to_string_lossy()).collect();
    json!({
        "job_id": job.id(),
        "status": status(job),
        "created_at": job.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "prompt": clean_line(job.new.order.title(), LONGEST_PROMPT),
        "model": clean_line(job.new.order.subject(), 200),
        "estimated_cu": job.expected(),
        "cost_cu": job.charged,
        "reserved_cu": entry.reserved(),
        "project": job.new.project.to_string_lossy(),
        "files": files,
    })
}
