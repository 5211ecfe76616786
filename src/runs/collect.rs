//! Looking after jobs that nobody waits for: what earlier processes paid for and did not fetch.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::SignedDuration;

use super::Runs;
use super::lost::Search;
use super::wait::Patience;
use super::work::Stage;
use crate::journal::{Job, JobId, JobState};

/// What is older was looked for often enough; `get_job` still collects it.
const OLDEST: SignedDuration = SignedDuration::from_hours(24 * 30);
/// So many are looked after in one go, and so many of them at once.
const MOST: u32 = 200;
const AT_ONCE: usize = 8;
/// A call makes somebody look again, but not sooner than this.
const PAUSE: Duration = Duration::from_secs(300);
/// A process that was killed holds its jobs for so long.
const LEASES_RUN_OUT: Duration = Duration::from_secs(17);

/// What was looked after.
#[derive(Default)]
pub(super) struct Collector {
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    last: Option<Instant>,
    /// Unknown starts are searched for once in a process, and then whenever somebody asks.
    searched: HashSet<JobId>,
}

impl Collector {
    fn looked(&self) -> std::sync::MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self) -> Option<bool> {
        let mut looked = self.looked();
        let first = looked.last.is_none();
        if looked.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        looked.last = Some(Instant::now());
        Some(first)
    }
}

impl Runs {
    /// Collects, in the background, what earlier processes paid for. Costs nothing, starts nothing,
    /// and returns at once. To be called at every call of a session; most of the time it does
    /// nothing.
    pub fn collect_in_background(&self) {
        let Some(first) = self.inner.collector.is_due() else { return };
        let runs = self.clone();
        tokio::spawn(async move {
            runs.collect().await;
            if first {
                tokio::time::sleep(LEASES_RUN_OUT).await;
                runs.collect().await;
            }
        });
    }

    /// Collects what nobody works on. Returns how many jobs came to an end.
    pub async fn collect(&self) -> usize {
        // Where nothing was ever bought, nothing is made.
        if !self.inner.settings.journal.exists() {
            return 0;
        }
        let Ok(journal) = self.inner.journal().await else { return 0 };
        let now = self.inner.now();
        let Ok(jobs) = journal.abandoned(now - OLDEST, now, MOST).await else { return 0 };
        let jobs: Vec<Job> = jobs.into_iter().filter(|job| !self.is_at_work(job.id())).collect();
        if jobs.is_empty() {
            return 0;
        }
        tracing::info!(count = jobs.len(), "jobs of earlier processes are looked after");
        let looked_after = futures::stream::iter(jobs).map(|job| self.look_after(job));
        let ended = looked_after.buffer_unordered(AT_ONCE).collect::<Vec<bool>>().await;
        ended.into_iter().filter(|ended| *ended).count()
    }

    async fn look_after(&self, job: Job) -> bool {
        let job = match job.state {
            JobState::Unknown => {
                if !self.inner.collector.looked().searched.insert(job.id().clone()) {
                    return false;
                }
                match self.search(&job).await {
                    Ok(Search::Adopted(job)) => *job,
                    _ => return false,
                }
            }
            _ => job,
        };
        let quiet = |_| {};
        tokio::select! {
            ended = self.attend(&job, Patience::ToTheEnd, &quiet) => {
                matches!(ended, Ok(Stage::Over(Ok(_))))
            }
            () = self.inner.ending.cancelled() => false,
        }
    }
}
