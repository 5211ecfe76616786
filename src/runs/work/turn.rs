//! Waiting for the moment at which a start may leave: Layer takes so many in a minute.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Stage, Worker};
use crate::journal::{Job, JobFailure, JobState, Turn};
use crate::layer::{ApiError, Modality};
use crate::runs::error::RunError;

/// The starts of this process that wait: the earliest of each kind asks the journal, the others
/// stand behind it. The order is that of the journal's entries, which is one for all processes: were
/// it another, two processes could wait for each other.
#[derive(Default)]
pub(in crate::runs) struct Starts {
    videos: Line,
    others: Line,
    /// Layer said that it takes no more before then.
    full_until: Mutex<Option<Instant>>,
    /// Told when one that waits may have been cancelled.
    pub(in crate::runs) cancelled: Notify,
}

#[derive(Default)]
struct Line {
    waiting: Mutex<BTreeSet<i64>>,
    moved: Notify,
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, seq: i64) -> Place<'_> {
        self.waiting().insert(seq);
        Place { line: self, seq }
    }
}

/// A place in the line, left in any case.
struct Place<'a> {
    line: &'a Line,
    seq: i64,
}

impl Place<'_> {
    fn is_first(&self) -> bool {
        self.line.waiting().first() == Some(&self.seq)
    }

    /// Waits until nobody stands before this one.
    async fn until_first(&self) {
        loop {
            let mut moved = pin!(self.line.moved.notified());
            moved.as_mut().enable();
            if self.is_first() {
                return;
            }
            moved.await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.waiting().remove(&self.seq);
        self.line.moved.notify_waiters();
    }
}

/// Why a start that waits when its process ends never leaves.
pub(in crate::runs) const ENDED: &str = "layer-mcp ended before it was its turn";

/// How long Layer is left alone when it does not say.
const FULL: Duration = Duration::from_secs(5);
const LONGEST_FULL: Duration = Duration::from_secs(120);

impl Starts {
    /// Layer refused a start because there are too many: nothing else is sent for a while.
    pub(super) fn refused_for_rate(&self, error: &ApiError) {
        let pause = error.retry_after.unwrap_or(FULL).min(LONGEST_FULL);
        *self.full_until() = Some(Instant::now() + pause);
    }

    fn is_full_for(&self) -> Option<Duration> {
        let until = (*self.full_until())?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn full_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Waits until the start may be sent, and writes it down as sent. The end of the process waits
    /// for whoever holds what comes back.
    pub(super) async fn take_turn(&self, job: &Job) -> Result<TaskTrackerToken, RunError> {
        let starts = &self.inner.pace;
        let line = match job.new.modality {
            Modality::Video => &starts.videos,
            _ => &starts.others,
        };
        let place = line.join(job.seq);
        loop {
            if !place.is_first() {
                self.stage.send_replace(Stage::Queued);
                tokio::select! {
                    () = place.until_first() => {}
                    () = starts.cancelled.notified() => self.still_wanted().await?,
                    () = self.inner.ending.cancelled() => return Err(self.give_up()),
                }
                continue;
            }
            if self.inner.ending.is_cancelled() {
                return Err(self.give_up());
            }
            let sending = self.inner.starts.token();
            let turn = match starts.is_full_for() {
                Some(left) => Turn::In(left),
                None => {
                    let journal = self.inner.journal().await?;
                    let turn = journal.turn(job, self.inner.settings.pace, self.inner.now()).await;
                    turn.map_err(|error| RunError::journal(error).of_job(&self.id))?
                }
            };
            match turn {
                Turn::Now => {
                    self.stage.send_replace(Stage::Starting);
                    return Ok(sending);
                }
                Turn::Gone => {
                    self.of_state(self.job().await?)?;
                    return Err(RunError::Internal { job: self.id.clone() });
                }
                Turn::In(pause) => {
                    drop(sending);
                    self.stage.send_replace(Stage::Queued);
                    // Somebody may leave the queue before the time that was named.
                    let pause = pause.min(Duration::from_secs(1));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = starts.cancelled.notified() => self.still_wanted().await?,
                        () = self.inner.ending.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn still_wanted(&self) -> Result<(), RunError> {
        self.of_state(self.job().await?).map(drop)
    }

    /// The process ends while the start waits: it never leaves. Its end closes all such entries.
    fn give_up(&self) -> RunError {
        let failure = JobFailure { message: ENDED.to_owned(), ..JobFailure::default() };
        RunError::NeverStarted { job: self.id.clone(), failure }
    }

    /// Closes an entry whose start never left, unless it turns out that it did.
    pub(super) async fn close_unsent(&self, why: &str) -> RunError {
        let failure = JobFailure { message: why.to_owned(), ..JobFailure::default() };
        let never = RunError::NeverStarted { job: self.id.clone(), failure: failure.clone() };
        let Ok(journal) = self.inner.records().await else { return never };
        let now = self.inner.now();
        match journal.never_sent(&self.id, JobState::Refused, &failure, now).await {
            Ok(true) => never,
            Ok(false) => match self.job().await {
                Ok(job) => super::bad_end(&job).unwrap_or(never),
                Err(error) => error,
            },
            Err(error) => RunError::journal(error).of_job(&self.id),
        }
    }
}
