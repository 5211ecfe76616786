//! Waiting for the work on a job, and telling how it goes.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Runs;
use super::error::RunError;
use super::work::Stage;
use crate::journal::{Job, JobId};
use crate::layer::CreativeUnits;

/// How long a caller wants to wait.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// At most so long.
    UpTo(Duration),
    /// At most so long, but not before its start has left: the caller's process ends with the
    /// answer, and takes its part of the queue with it.
    AndStarted(Duration),
    /// Until the job ends.
    ToTheEnd,
}

impl Patience {
    /// Until when a purchase may be prepared: models listed, price asked.
    pub(super) fn before_a_start(self) -> tokio::time::Instant {
        let limit = match self {
            Self::UpTo(limit) | Self::AndStarted(limit) => limit.max(FIRST_LOOK),
            Self::ToTheEnd => Duration::from_secs(120),
        };
        tokio::time::Instant::now() + limit
    }

    /// What is left of it.
    #[must_use]
    pub fn since(self, began: Instant) -> Self {
        match self {
            Self::UpTo(limit) => Self::UpTo(limit.saturating_sub(began.elapsed())),
            Self::AndStarted(limit) => Self::AndStarted(limit.saturating_sub(began.elapsed())),
            Self::ToTheEnd => Self::ToTheEnd,
        }
    }
}

/// Something to tell those who wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// 0 to 100, rising.
    pub percent: f64,
    /// A few words.
    pub message: String,
    /// The same for programs.
    pub step: ProgressStep,
    /// What the job is expected to cost.
    pub expected: CreativeUnits,
    /// How long the run has taken so far; nothing before it began.
    pub elapsed: Duration,
    /// How long it still takes if it takes as long as runs like it; `None` when nobody knows, or
    /// when it takes longer than they did.
    pub left: Option<Duration>,
}

/// What a job is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressStep {
    /// Its start waits for its turn, at this place; 1 is the next.
    Queued(u64),
    /// Its start is being sent, or its run is being looked up for the first time.
    Starting,
    /// Layer works on it.
    Rendering,
    /// A file is being fetched: this one of so many.
    Fetching(usize, usize),
    /// It is over.
    Over,
}

/// Takes progress. Must not block.
pub type ProgressSink = dyn Fn(Progress) + Send + Sync;

/// How long a call waits at least for the answer to a start, or for the first look at a run.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// How long a call waits at least in the queue: other processes' starts mostly leave sooner.
const SHORT_QUEUE: Duration = Duration::from_secs(1);

impl Runs {
    /// Waits until the work is over or patience ends, telling how it goes every second.
    pub(super) async fn wait(
        &self,
        job: &Job,
        mut stage: watch::Receiver<Stage>,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Stage {
        let mut clock = RunClock { usual: self.usual_duration(job).await, ..RunClock::default() };
        if let Some(sent_at) = job.sent_at {
            clock.started(self.since(sent_at));
        }
        let from_now = |limit| tokio::time::Instant::now() + limit;
        let (end, first_look) = match patience {
            Patience::UpTo(limit) | Patience::AndStarted(limit) => {
                (Some(from_now(limit)), from_now(limit.max(FIRST_LOOK)))
            }
            Patience::ToTheEnd => (None, from_now(Duration::ZERO)),
        };
        let short_queue = from_now(SHORT_QUEUE);
        let mut percent = 0.0_f64;
        loop {
            let now = stage.borrow_and_update().clone();
            if let Stage::Over(_) = now {
                return now;
            }
            if matches!(now, Stage::Rendering(_)) {
                clock.started(Duration::ZERO);
            }
            let mut told = tell(&now, &clock, job.expected(), percent);
            percent = told.percent;
            if let Stage::Queued | Stage::QueuedElsewhere = now {
                let place = self.place(job.id()).await;
                told.message = self.queued_at(place);
                told.step = ProgressStep::Queued(place);
            }
            progress(told);
            let tick = tokio::time::Instant::now() + Duration::from_secs(1);
            // Whoever only wants to look still wants to see something.
            let end = match now {
                Stage::Starting => end.map(|_| first_look),
                Stage::Queued if matches!(patience, Patience::AndStarted(_)) => None,
                // A place in the queue is often gone in no time.
                Stage::Queued | Stage::QueuedElsewhere => end.map(|end| end.max(short_queue)),
                _ => end,
            };
            let wake = end.map_or(tick, |end| end.min(tick));
            tokio::select! {
                changed = stage.changed() => if changed.is_err() {
                    // The work ended: with its last word, or broken off by a mistake of ours.
                    return match stage.borrow().clone() {
                        Stage::Over(result) => Stage::Over(result),
                        _ => Stage::Over(Err(RunError::Internal { job: job.id().clone() })),
                    };
                },
                () = tokio::time::sleep_until(wake) => {
                    if end.is_some_and(|end| tokio::time::Instant::now() >= end) {
                        return stage.borrow().clone();
                    }
                }
            }
        }
    }

    /// Where the start of a job stands in the queue, as a sentence.
    pub(super) async fn place_in_queue(&self, id: &JobId) -> String {
        self.queued_at(self.place(id).await)
    }

    async fn place(&self, id: &JobId) -> u64 {
        let ahead = match self.inner.records().await {
            Ok(journal) => journal.ahead_of(id, self.inner.now()).await.unwrap_or(0),
            Err(_) => 0,
        };
        u64::from(ahead).saturating_add(1)
    }

    fn queued_at(&self, place: u64) -> String {
        format!(
            "It waits for its turn, place {place} in the queue: Layer takes {} starts a minute, {} \
             of them videos. It was not sent yet and leaves by itself.",
            self.inner.settings.pace.starts, self.inner.settings.pace.videos,
        )
    }

    /// How long a run has taken so far, of how long runs like it usually take.
    pub(super) async fn time_of(&self, job: &Job) -> String {
        let mut clock = RunClock { usual: self.usual_duration(job).await, ..RunClock::default() };
        clock.started(job.sent_at.map_or(Duration::ZERO, |sent_at| self.since(sent_at)));
        clock.in_words()
    }

    async fn usual_duration(&self, job: &Job) -> Option<Duration> {
        let journal = self.inner.records().await.ok()?;
        let usual = journal.usual_duration(&job.new.origin, job.new.order.subject());
        usual.await.ok().flatten()
    }

    fn since(&self, then: jiff::Timestamp) -> Duration {
        self.inner.now().duration_since(then).try_into().unwrap_or_default()
    }
}

/// How long a run takes.
#[derive(Default)]
struct RunClock {
    /// Runs like it, lately.
    usual: Option<Duration>,
    /// When it began, as far as it is known.
    began: Option<Instant>,
}

impl RunClock {
    /// It began so long ago, unless that is known already.
    fn started(&mut self, ago: Duration) {
        self.began
            .get_or_insert_with(|| Instant::now().checked_sub(ago).unwrap_or_else(Instant::now));
    }

    fn elapsed(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// "12 s of usually 40 s".
    fn in_words(&self) -> String {
        let so_far = self.elapsed().as_secs();
        match self.usual {
            Some(usual) => format!("{so_far} s of usually {} s", usual.as_secs().max(1)),
            None => format!("{so_far} s so far"),
        }
    }

    /// How long it still takes, if it takes as long as usual.
    fn left(&self) -> Option<Duration> {
        self.usual?.checked_sub(self.elapsed()).filter(|left| !left.is_zero())
    }

    /// How much of it is done, from 0 to 1, without reaching it: nobody knows how long this one
    /// takes.
    fn share(&self) -> f64 {
        let so_far = self.elapsed().as_secs_f64();
        match self.usual.map(|usual| usual.as_secs_f64().max(1.0)) {
            Some(usual) if so_far < usual => 0.9 * so_far / usual,
            Some(usual) => 1.0 - 0.1 * (-(so_far - usual) / usual).exp(),
            None => 1.0 - (-so_far / 30.0).exp(),
        }
    }
}

/// How it goes, in a number that only rises.
fn tell(stage: &Stage, clock: &RunClock, expected: CreativeUnits, so_far: f64) -> Progress {
    let (percent, step, message) = match stage {
        Stage::Queued | Stage::QueuedElsewhere => {
            (0.5, ProgressStep::Queued(1), "waiting for its turn".to_owned())
        }
        Stage::Starting => (1.0, ProgressStep::Starting, "starting".to_owned()),
        Stage::Rendering(look) => {
            let steps = look.steps.as_ref().map(|steps| format!(", {steps}")).unwrap_or_default();
            let message = format!("rendering at Layer, {}{steps}", clock.in_words());
            (2.0 + 88.0 * clock.share(), ProgressStep::Rendering, message)
        }
        Stage::Fetching(this, total) => {
            let step = ProgressStep::Fetching(*this, *total);
            (92.0, step, format!("fetching file {this} of {total}"))
        }
        Stage::Over(_) => (100.0, ProgressStep::Over, "done".to_owned()),
    };
    let left = clock.left().filter(|_| step == ProgressStep::Rendering);
    let percent = percent.max(so_far + 0.01);
    Progress { percent, message, step, expected, elapsed: clock.elapsed(), left }
}
