//! Waiting for the work on a job, and telling how it goes.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Runs;
use super::error::RunError;
use super::work::Stage;
use crate::journal::JobId;

/// How long a caller wants to wait.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// At most so long.
    UpTo(Duration),
    /// Until the job ends.
    ToTheEnd,
}

impl Patience {
    /// Until when a purchase may be prepared: models listed, price asked.
    pub(super) fn before_a_start(self) -> tokio::time::Instant {
        let limit = match self {
            Self::UpTo(limit) => limit.max(FIRST_LOOK),
            Self::ToTheEnd => Duration::from_secs(120),
        };
        tokio::time::Instant::now() + limit
    }

    /// What is left of it.
    pub(super) fn since(self, began: Instant) -> Self {
        match self {
            Self::UpTo(limit) => Self::UpTo(limit.saturating_sub(began.elapsed())),
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
}

/// Takes progress. Must not block.
pub type ProgressSink = dyn Fn(Progress) + Send + Sync;

/// How long a call waits at least for the answer to a start, or for the first look at a run.
const FIRST_LOOK: Duration = Duration::from_secs(10);

impl Runs {
    /// Waits until the work is over or patience ends, telling how it goes every second.
    pub(super) async fn wait(
        &self,
        id: &JobId,
        mut stage: watch::Receiver<Stage>,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Stage {
        let began = Instant::now();
        let from_now = |limit| tokio::time::Instant::now() + limit;
        let (end, first_look) = match patience {
            Patience::UpTo(limit) => (Some(from_now(limit)), from_now(limit.max(FIRST_LOOK))),
            Patience::ToTheEnd => (None, from_now(Duration::ZERO)),
        };
        let mut percent = 0.0_f64;
        loop {
            let now = stage.borrow_and_update().clone();
            if let Stage::Over(_) = now {
                return now;
            }
            let told = tell(&now, began.elapsed(), percent);
            percent = told.percent;
            progress(told);
            let tick = tokio::time::Instant::now() + Duration::from_secs(1);
            // Whoever only wants to look still wants to see something.
            let end = match now {
                Stage::Starting => end.map(|_| first_look),
                _ => end,
            };
            let wake = end.map_or(tick, |end| end.min(tick));
            tokio::select! {
                changed = stage.changed() => if changed.is_err() {
                    // The work ended: with its last word, or broken off by a mistake of ours.
                    return match stage.borrow().clone() {
                        Stage::Over(result) => Stage::Over(result),
                        _ => Stage::Over(Err(RunError::Internal { job: id.clone() })),
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
}

/// How it goes, in a number that only rises. Nobody knows how long a run takes, so the number
/// nears its end without reaching it.
fn tell(stage: &Stage, waited: Duration, so_far: f64) -> Progress {
    let seconds = waited.as_secs();
    let (percent, message) = match stage {
        Stage::Starting => (1.0, "starting".to_owned()),
        Stage::Rendering(look) => {
            let share = 1.0 - (-waited.as_secs_f64() / 30.0).exp();
            let steps = look.steps.as_ref().map(|steps| format!(", {steps}")).unwrap_or_default();
            (2.0 + 88.0 * share, format!("rendering at Layer, {seconds} s{steps}"))
        }
        Stage::Fetching(this, total) => (92.0, format!("fetching file {this} of {total}")),
        Stage::Over(_) => (100.0, "done".to_owned()),
    };
    Progress { percent: percent.max(so_far + 0.01), message }
}
