//! Jobs as tasks, for clients that declare the extension `io.modelcontextprotocol/tasks`
//! (SEP-2663).
//!
//! A task's id is that of its job, so it outlives this process: whoever asks for it later, in
//! whatever process, is told what the journal and Layer know.

use jiff::Timestamp;
use rmcp::model::{
    CreateTaskResult, DetailedTask, ErrorData, GetTaskResult, JsonObject, Task, TaskPayload,
    TaskStatus,
};
use serde_json::{Map, Value};

use super::answer::Recipient;
use super::tools::{Answer, Tools};
use crate::files::{Preview, PreviewLimits};
use crate::journal::{Job, JobId, JobState};
use crate::runs::{JobReport, JobStatus, Patience, RunError, Runs};

/// How often a task is worth looking at, in milliseconds.
const POLL_MS: u64 = 2_000;

/// The job that this answer is about, when it goes on.
pub(super) fn running(answer: &Map<String, Value>) -> Option<JobId> {
    let status = answer.get("status").and_then(Value::as_str)?;
    let id = answer.get("job_id").and_then(Value::as_str)?;
    (status == "running").then(|| id.parse().ok())?
}

/// A job that was just started, as a task.
///
/// # Errors
/// When the journal can't be read.
pub(super) async fn create(
    runs: &Runs,
    id: &JobId,
    answer: &Map<String, Value>,
) -> Result<CreateTaskResult, RunError> {
    let job = runs.known_job(id).await?;
    let mut task = task(&job);
    if let Some(message) = answer.get("message").and_then(Value::as_str) {
        task = task.with_status_message(message);
    }
    Ok(CreateTaskResult::new(task))
}

/// `tasks/get`.
///
/// # Errors
/// Invalid params for an id that is no job's.
pub(super) async fn get(
    tools: &Tools,
    id: &str,
    recipient: &Recipient<'_>,
    picture: Option<PreviewLimits>,
) -> Result<GetTaskResult, ErrorData> {
    let runs = tools.runs();
    let id = known(runs, id).await?;
    let mut job = runs.known_job(&id).await.map_err(unknown)?;
    let mut looked = Ok(JobReport::kept(&job));
    // What has come to its end stays there, whatever became of the file.
    if job.state != JobState::Complete {
        looked = runs.job(&id, Patience::UpTo(std::time::Duration::ZERO), &|_| {}).await;
        job = runs.known_job(&id).await.map_err(unknown)?;
        if job.state == JobState::Complete {
            looked = Ok(JobReport::kept(&job));
        }
    }
    let mut task = task(&job);
    let payload = match looked {
        Ok(report) if report.status == JobStatus::Running => {
            task = task.with_status_message(report.message);
            TaskPayload::Working
        }
        Ok(report) => {
            task = task.with_status_message(report.message.clone());
            match serde_json::to_value(&report) {
                Ok(Value::Object(object)) => {
                    let pictures = match picture.filter(|_| recipient.profile.picture_beside_data) {
                        Some(limits) => tools.pictures(&object, limits).await,
                        None => Vec::new(),
                    };
                    completed(recipient, Answer::Data(object), &pictures)
                }
                _ => return Err(ErrorData::internal_error("the job can't be put into JSON", None)),
            }
        }
        Err(error) => {
            let report = error.report();
            task = task.with_status_message(report.message.clone());
            match job.state {
                JobState::Cancelled => TaskPayload::Cancelled,
                // The network or the token may be back when it is looked at next.
                JobState::Starting | JobState::Running | JobState::Finished if report.retryable => {
                    TaskPayload::Working
                }
                _ => completed(recipient, Answer::Error(Box::new(report)), &[]),
            }
        }
    };
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

/// `tasks/cancel`: asks Layer to stop the run. What became of it, the next `tasks/get` tells.
///
/// # Errors
/// Invalid params for an id that is no job's.
pub(super) async fn cancel(runs: &Runs, id: &str) -> Result<(), ErrorData> {
    let id = known(runs, id).await?;
    if let Err(error) = runs.cancel(&id).await {
        tracing::warn!(%error, job = %id, "a task could not be cancelled");
    }
    Ok(())
}

/// `tasks/update`: no task of ours waits for input, so there is nothing to take in.
///
/// # Errors
/// Invalid params for an id that is no job's.
pub(super) async fn update(runs: &Runs, id: &str) -> Result<(), ErrorData> {
    known(runs, id).await.map(drop)
}

async fn known(runs: &Runs, id: &str) -> Result<JobId, ErrorData> {
    let id: JobId =
        id.parse().map_err(|_| ErrorData::invalid_params("there is no such task", None))?;
    if !runs.has_journal() {
        return Err(ErrorData::invalid_params("there is no such task", None));
    }
    runs.known_job(&id).await.map(|_| id).map_err(unknown)
}

fn unknown(error: RunError) -> ErrorData {
    match error {
        RunError::JobUnknown { .. } => ErrorData::invalid_params("there is no such task", None),
        error => ErrorData::internal_error(error.report().message, None),
    }
}

fn completed(recipient: &Recipient<'_>, answer: Answer, pictures: &[Preview]) -> TaskPayload {
    let result = serde_json::to_value(recipient.result(answer, pictures));
    let result = match result {
        Ok(Value::Object(result)) => result,
        _ => JsonObject::new(),
    };
    TaskPayload::Completed { result }
}

/// What is the same for every state. The journal keeps a job for ever, so a task has no end either.
fn task(job: &Job) -> Task {
    let text = |moment: Timestamp| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ended =
        job.sent_at.zip(job.took).and_then(|(sent_at, took)| sent_at.checked_add(took).ok());
    let updated = ended.or(job.sent_at).unwrap_or(job.created_at);
    Task::new(
        job.id().to_string(),
        TaskStatus::Working,
        text(job.created_at),
        text(updated.max(job.created_at)),
    )
    .with_poll_interval_ms(POLL_MS)
}
