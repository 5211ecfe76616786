//! Stopping a job, and finding out whether that stopped the charge.

use std::time::Duration;

use super::Runs;
use super::error::{Money, RunError};
use super::wait::Patience;
use crate::journal::{Job, JobFailure, JobId, JobState};
use crate::layer::{CancelOutcome, CreativeUnits};

/// What came of a wish to stop a job.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// The job as it stands now.
    pub job: Job,
    /// What Layer said to it; `None` when it was not asked.
    pub outcome: Option<CancelOutcome>,
    /// Its start had not left yet, and never will.
    pub unsent: bool,
    /// What became of the money.
    pub money: Money,
}

/// How long a stop that Layer accepted is waited for.
const SOON: Duration = Duration::from_secs(5);

impl Runs {
    /// Stops a job: one whose start waits for its turn never leaves; a run is stopped by Layer, if
    /// it can. The outcome says whether the charge was stopped with it.
    pub async fn cancel(&self, id: &JobId) -> Result<Cancelled, RunError> {
        let job = self.known_job(id).await?;
        if job.is_queued() && self.cancel_unsent(id).await? {
            let job = self.known_job(id).await?;
            return Ok(Cancelled { job, outcome: None, unsent: true, money: Money::NotCharged });
        }
        let job = self.known_job(id).await?;
        let (JobState::Running, Some(inference)) = (job.state, &job.inference) else {
            let money = money_of(&job);
            return Ok(Cancelled { job, outcome: None, unsent: false, money });
        };
        let connection = self.connection_of(&job).await?;
        let (workspace, client) = (&job.new.workspace, &connection.client);
        let available = async || -> Option<CreativeUnits> {
            client.workspace(workspace).await.ok().map(|found| found.available)
        };
        let before = available().await;
        let outcome = client
            .cancel(workspace, &job.new.order, inference)
            .await
            .map_err(|source| RunError::Watching { job: id.clone(), source })?;
        if outcome == CancelOutcome::Accepted {
            // One look, so that the answer says what the service made of it.
            let quiet = |_| {};
            let _ = self.attend(&job, Patience::UpTo(SOON), &quiet).await;
        }
        let stopped = self.known_job(id).await?;
        let mut money = money_of(&stopped);
        if stopped.state == JobState::Cancelled
            && money == Money::Unknown
            && let (Some(before), Some(after)) = (before, available().await)
            // Just what was set aside for it can be spent again. More or less may be another's.
            && after.minus(before) == job.new.estimated
            && job.new.estimated > CreativeUnits::ZERO
        {
            money = Money::NotCharged;
        }
        Ok(Cancelled { job: stopped, outcome: Some(outcome), unsent: false, money })
    }

    async fn cancel_unsent(&self, id: &JobId) -> Result<bool, RunError> {
        let journal = self.inner.records().await?;
        let failure = JobFailure {
            message: "it was cancelled before it was its turn".to_owned(),
            ..JobFailure::default()
        };
        let now = self.inner.now();
        let closed = journal.never_sent(id, JobState::Cancelled, &failure, now).await;
        let closed = closed.map_err(RunError::journal)?;
        if closed {
            self.inner.pace.cancelled.notify_waiters();
        }
        Ok(closed)
    }
}

fn money_of(job: &Job) -> Money {
    match (job.state, job.charged) {
        (_, Some(charged)) if charged > CreativeUnits::ZERO => Money::Charged,
        (_, Some(_)) | (JobState::Refused, None) => Money::NotCharged,
        (JobState::Finished | JobState::Complete, None) => Money::Charged,
        _ => Money::Unknown,
    }
}
