//! Looking for the run of a start whose answer got lost. Nothing is ever sent again for it.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::error::RunError;
use super::{Runs, api};
use crate::audit::Event;
use crate::journal::{Job, JobFailure, JobState};
use crate::layer::{InferenceId, InferenceRequest, PastRun};
use crate::redact::clean_line;

/// Layer's clock and ours differ by less, and a start takes less, than this.
const BEFORE: SignedDuration = SignedDuration::from_mins(5);
const AFTER: SignedDuration = SignedDuration::from_mins(15);
/// A caller waits no longer for it.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(15);
/// So many pages of the workspace's runs are looked through.
const PAGES: usize = 4;
const PAGE: u32 = 50;

/// What came of the search.
pub(super) enum Search {
    /// The run was found, and the job is running again.
    Adopted(Box<Job>),
    /// It can't be told which run it is: this many fit.
    Unclear(usize),
    /// Layer could not be asked, or its runs of this kind can't be told apart.
    NotLooked,
}

impl Runs {
    /// Looks for the run of a job whose start is unknown, by the seed, the prompt and the time, and
    /// takes it up when exactly one fits that belongs to no other job.
    pub(super) async fn search(&self, job: &Job) -> Result<Search, RunError> {
        let Some(request) = job.new.order.inference() else { return Ok(Search::NotLooked) };
        if job.state != JobState::Unknown || request.seed.is_none() {
            return Ok(Search::NotLooked);
        }
        let found = match tokio::time::timeout(LONGEST, self.runs_like(job, request)).await {
            Ok(Ok(found)) => found,
            Err(_) => return Ok(Search::NotLooked),
            Ok(Err(error)) => {
                tracing::warn!(job = %job.id(), %error, "a lost run can't be looked for");
                return Ok(Search::NotLooked);
            }
        };
        let journal = self.inner.records().await?;
        let mut free = HashSet::new();
        for id in found {
            if !journal.knows_run(&id).await.map_err(RunError::journal)? {
                free.insert(id);
            }
        }
        let mut free = free.into_iter();
        let (Some(id), 0) = (free.next(), free.len()) else {
            return Ok(Search::Unclear(if free.len() == 0 { 0 } else { free.len() + 1 }));
        };
        let adopted = journal.adopt(job.id(), &id, self.inner.now()).await;
        if adopted.map_err(RunError::journal)? {
            tracing::info!(job = %job.id(), inference = %id, "a lost run was found");
            let event = Event::new("purchase.found").with("job", job.id().as_str());
            self.inner.settings.audit.note(event.with("inference", id.as_str()));
        }
        // Another process may have been quicker, with this job or with this run.
        let now = self.known_job(job.id()).await?;
        match now.state {
            JobState::Unknown => Ok(Search::Unclear(0)),
            _ => Ok(Search::Adopted(Box::new(now))),
        }
    }

    async fn runs_like(
        &self,
        job: &Job,
        request: &InferenceRequest,
    ) -> Result<Vec<InferenceId>, RunError> {
        let connection = self.connection_of(job).await?;
        let (since, until) = (job.created_at - BEFORE, job.created_at + AFTER);
        let (mut found, mut after) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let workspace = &job.new.workspace;
            let page = connection.client.past_runs(workspace, PAGE, after.as_deref()).await;
            let page = page.map_err(api)?;
            let fits = |run: &&PastRun| is_like(run, request, since, until);
            found.extend(page.items.iter().filter(fits).map(|run| run.id.clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Our seed is random, so that seed and prompt together are as good as an id.
fn is_like(run: &PastRun, request: &InferenceRequest, since: Timestamp, until: Timestamp) -> bool {
    let prompt = if request.unprompted { "" } else { request.prompt.as_str() };
    let at = run.created_at.parse::<Timestamp>();
    run.seed == request.seed.map(u64::from)
        && run.prompt == clean_line(prompt, 300)
        && at.is_ok_and(|at| since <= at && at <= until)
}

/// The error of an unknown start, with what the search told.
pub(super) fn still_unknown(job: &Job, search: &Search) -> RunError {
    let mut failure = job.failure.clone().unwrap_or_default();
    let told = match search {
        Search::Unclear(0) => {
            "Layer lists no such run of that time, by this machine's clock".to_owned()
        }
        Search::Unclear(count) => format!("Layer lists {count} runs like it"),
        Search::NotLooked | Search::Adopted(_) => String::new(),
    };
    if !told.is_empty() {
        let because = match failure.message.as_str() {
            "" => told,
            said => format!("{said}; {told}"),
        };
        failure = JobFailure { message: because, ..failure };
    }
    RunError::StartUnanswered { job: job.id().clone(), failure: Some(failure) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn only_the_same_seed_prompt_and_time_is_the_same_run() {
        let asked = InferenceRequest {
            seed: Some(7),
            ..InferenceRequest::plain(&"flux".parse().unwrap(), "a knight")
        };
        let run = PastRun {
            id: "i-1".parse().unwrap(),
            status: "in_progress".to_owned(),
            created_at: "2026-11-26T20:00:00Z".to_owned(),
            prompt: "a knight".to_owned(),
            seed: Some(7),
            models: Vec::new(),
            error: None,
            files: Vec::new(),
        };
        let at: Timestamp = "2026-11-26T20:00:30Z".parse().unwrap();
        let (since, until) = (at - BEFORE, at + AFTER);
        assert!(is_like(&run, &asked, since, until));
        for other in [
            PastRun { seed: Some(8), ..run.clone() },
            PastRun { seed: None, ..run.clone() },
            PastRun { prompt: "a night".to_owned(), ..run.clone() },
            PastRun { created_at: "2026-11-26T19:00:00Z".to_owned(), ..run.clone() },
            PastRun { created_at: "yesterday".to_owned(), ..run },
        ] {
            assert!(!is_like(&other, &asked, since, until), "{other:?}");
        }
    }
}
