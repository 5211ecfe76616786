//! What past jobs teach about the next: how long a model takes, and what references add.

use std::time::Duration;

use super::{Journal, JournalError};
use crate::layer::CreativeUnits;

/// So many of the newest jobs are looked at.
const SAMPLE: u32 = 20;

impl Journal {
    /// How long runs of this model or workflow take, as the middle of the newest.
    pub async fn usual_duration(
        &self,
        origin: &str,
        subject: &str,
    ) -> Result<Option<Duration>, JournalError> {
        let mut took: Vec<i64> = sqlx::query_scalar(
            "SELECT took FROM jobs WHERE subject = ? AND origin = ? AND took IS NOT NULL \
             ORDER BY created_at DESC LIMIT ?",
        )
        .bind(subject)
        .bind(origin)
        .bind(SAMPLE)
        .fetch_all(&self.pool)
        .await?;
        took.sort_unstable();
        let middle = took.get(took.len() / 2).and_then(|millis| u64::try_from(*millis).ok());
        Ok(middle.map(Duration::from_millis))
    }

    /// What references are to be expected to add to an estimate of this model: the most that they
    /// added lately, in proportion. `None` before anything is known.
    pub async fn margin(
        &self,
        origin: &str,
        subject: &str,
        estimated: CreativeUnits,
    ) -> Result<Option<CreativeUnits>, JournalError> {
        let past: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT estimated, charged FROM jobs WHERE subject = ? AND origin = ? AND guided AND \
             charged IS NOT NULL AND state IN ('finished', 'complete') AND estimated > 0 \
             ORDER BY created_at DESC LIMIT ?",
        )
        .bind(subject)
        .bind(origin)
        .bind(SAMPLE)
        .fetch_all(&self.pool)
        .await?;
        // The margin of a job like this one, had it been priced like each of those.
        let margins = past.into_iter().map(|(estimated_then, charged)| {
            let more = i128::from((charged - estimated_then).max(0));
            let share = more * i128::from(estimated.micros().max(0)) / i128::from(estimated_then);
            CreativeUnits::from_micros(i64::try_from(share).unwrap_or(i64::MAX))
        });
        Ok(margins.max())
    }
}
