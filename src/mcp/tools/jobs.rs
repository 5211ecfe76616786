//! Looking at jobs, listing and stopping them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, data, offset, parse, spec};
use crate::journal::{Job, JobId};
use crate::layer::{CancelOutcome, CreativeUnits};
use crate::redact::clean_line;
use crate::runs::{ErrorReport, JobReport, JobStatus, Limit, Money, RunError, WaitSeconds};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetJobArgs {
    /// From create_asset or list_jobs.
    job_id: String,
    /// How long to wait for the files; 0 only looks.
    wait_seconds: Option<WaitSeconds>,
}

pub(super) fn get_job() -> Entry {
    Entry {
        spec: spec::<GetJobArgs, JobReport>(
            "get_job",
            "Get job",
            "Looks at a job, waits for it and saves its files; costs nothing. Use it after status \
             running, after an interruption, or for deleted files.",
            Hints::CHANGES_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(look(call, arguments)) as Handled<'_>,
    }
}

async fn look(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<GetJobArgs>(arguments)?;
    let id = job_id(&args.job_id)?;
    let patience = call.patience(args.wait_seconds);
    let job = call.runs.job(&id, patience, call.progress).await.map_err(|error| error.report())?;
    data(&job)
}

fn job_id(text: &str) -> Result<JobId, ErrorReport> {
    text.parse().map_err(|_| RunError::JobUnknown { asked: clean_line(text, 80) }.report())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListJobsArgs {
    /// Only jobs of this status.
    status: Option<JobStatus>,
    /// Words of the prompt.
    search: Option<String>,
    /// Default 20.
    limit: Option<Limit>,
    /// next_cursor of the last answer.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ListJobsAnswer {
    jobs: Vec<JobLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    message: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct JobLine {
    job_id: String,
    status: JobStatus,
    created_at: String,
    prompt: String,
    model: String,
    estimated_cu: CreativeUnits,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_cu: Option<CreativeUnits>,
    files: Vec<String>,
}

impl From<&Job> for JobLine {
    fn from(job: &Job) -> Self {
        Self {
            job_id: job.id().to_string(),
            status: JobStatus::of(job.state),
            created_at: job.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            prompt: clean_line(job.new.order.title(), 80),
            model: job.new.order.subject().to_owned(),
            estimated_cu: job.expected(),
            cost_cu: job.charged,
            files: job.files.iter().map(|file| file.path.display().to_string()).collect(),
        }
    }
}

pub(super) fn list_jobs() -> Entry {
    Entry {
        spec: spec::<ListJobsArgs, ListJobsAnswer>(
            "list_jobs",
            "List jobs",
            "Lists past and running jobs, newest first, with their files and costs. Use it to \
             find a job_id, or what was made before. Works offline.",
            Hints::READS_DISK,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(list(call, arguments)) as Handled<'_>,
    }
}

async fn list(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ListJobsArgs>(arguments)?;
    let limit = args.limit.map_or(20, Limit::get);
    let skip: u32 = offset(args.cursor.as_deref())?;
    let search = args.search.as_deref().filter(|words| !words.trim().is_empty());
    // One more than asked for tells whether there are more.
    let mut jobs = call
        .runs
        .jobs(args.status, search, limit.saturating_add(1), skip)
        .await
        .map_err(|error| error.report())?;
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let message = match (jobs.len(), args.status.is_some() || search.is_some()) {
        (0, false) => "No job was started yet.".to_owned(),
        (0, true) => "No job fits.".to_owned(),
        (1, _) => "One job.".to_owned(),
        (shown, _) => format!("{shown} jobs, newest first."),
    };
    data(&ListJobsAnswer {
        jobs: jobs.iter().map(JobLine::from).collect(),
        next_cursor: more.then(|| skip.saturating_add(limit).to_string()),
        message,
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelJobArgs {
    /// From create_asset or list_jobs.
    job_id: String,
}

#[derive(Serialize, JsonSchema)]
struct CancelJobAnswer {
    job_id: String,
    status: JobStatus,
    stopped: bool,
    #[schemars(with = "String")]
    money: Money,
    message: String,
}

pub(super) fn cancel_job() -> Entry {
    Entry {
        spec: spec::<CancelJobArgs, CancelJobAnswer>(
            "cancel_job",
            "Cancel job",
            "Stops a job where Layer can, and says whether that stopped the charge. Use only when the \
             user wants it stopped.",
            Hints { destructive: true, ..Hints::CHANGES_LAYER },
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(cancel(call, arguments)) as Handled<'_>,
    }
}

async fn cancel(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<CancelJobArgs>(arguments)?;
    let id = job_id(&args.job_id)?;
    let cancelled = call.runs.cancel(&id).await.map_err(|error| error.report())?;
    let status = JobStatus::of(cancelled.job.state);
    let (stopped, message) = match (cancelled.outcome, status) {
        (_, JobStatus::Cancelled) if cancelled.unsent => (
            true,
            "The job was cancelled before its start was sent; nothing is charged.".to_owned(),
        ),
        (_, JobStatus::Cancelled) => (
            true,
            match cancelled.money {
                Money::NotCharged => {
                    "The run is cancelled at Layer, and nothing is charged for it.".to_owned()
                }
                Money::Charged => format!(
                    "The run is cancelled at Layer; {} were charged for what it had done.",
                    cancelled.job.charged.unwrap_or_default()
                ),
                Money::Unknown => {
                    "The run is cancelled at Layer. Whether something is charged for \
                                   it Layer does not say; `get_workspace_info` shows the balance."
                        .to_owned()
                }
            },
        ),
        (Some(CancelOutcome::Accepted), _) => (
            false,
            "Layer accepted the cancellation, but does not report the run as cancelled yet. Look \
             again with `get_job`."
                .to_owned(),
        ),
        (Some(CancelOutcome::Unsupported), _) => (
            false,
            "Layer has no way to cancel a run over this interface: it goes on and will be \
             charged. `get_job` fetches its result."
                .to_owned(),
        ),
        (None, JobStatus::Complete) => {
            (false, "The job is complete; there is nothing to stop.".to_owned())
        }
        (None, JobStatus::Failed) => {
            (false, "The job has failed; there is nothing to stop.".to_owned())
        }
        (None, JobStatus::Running) => (
            false,
            "The run can't be stopped in its present state: its start is on its way, or it is \
             done and its files are being fetched."
                .to_owned(),
        ),
        (None, JobStatus::Unknown) => (
            false,
            "Nobody knows whether the run was started, so there is nothing to stop. Look at \
             app.layer.ai whether it is there."
                .to_owned(),
        ),
    };
    data(&CancelJobAnswer {
        job_id: id.to_string(),
        status,
        stopped,
        money: cancelled.money,
        message,
    })
}
