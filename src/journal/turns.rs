//! Whose start is sent next: one queue for all processes of this user.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::lease::millis;
use super::{Job, JobFailure, JobId, JobState, Journal, JournalError};
use crate::layer::Modality;

/// How fast starts may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// In a minute, of all kinds.
    pub starts: u32,
    /// In a minute, of videos.
    pub videos: u32,
    /// Runs of the workspace that may be under way; `None` leaves it to Layer.
    pub at_once: Option<u32>,
}

impl Pace {
    /// So many starts in a minute, half of them videos, as in the published rate.
    pub fn of(starts: u32, at_once: Option<u32>) -> Self {
        Self { starts, videos: (starts / 2).max(1), at_once }
    }
}

impl Default for Pace {
    /// What Layer publishes (docs.layer.ai, video generation): 60 in a minute, 30 of them videos.
    fn default() -> Self {
        Self::of(60, None)
    }
}

/// What came of asking for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The start may be sent, and has to be: it is written down as sent.
    Now,
    /// Ask again then.
    In(Duration),
    /// The job waits no more: it was cancelled or closed.
    Gone,
}

/// Waits its turn: written down, not sent, and somebody works on it.
const WAITS: &str = "state = 'starting' AND sent_at IS NULL AND holder IS NOT NULL";
/// A minute as the service may see it: starts are written down a little before they arrive.
const MINUTE: i64 = 61_000;
/// Others may end at any time; a place is looked for so often.
const SOON: Duration = Duration::from_millis(100);

impl Journal {
    /// Asks whether the start of `job` may be sent now. [`Turn::Now`] has written it down as sent:
    /// from then on nobody knows whether it was, until Layer answers.
    pub async fn turn(&self, job: &Job, pace: Pace, now: Timestamp) -> Result<Turn, JournalError> {
        let (id, at) = (job.id(), now.as_millisecond());
        let video = job.new.modality == Modality::Video;
        // Whoever only waits keeps nobody from writing.
        let mut reader = self.pool.acquire().await?;
        if ahead(&mut reader, id, Some(video), at).await? > 0 {
            return Ok(Turn::In(SOON));
        }
        drop(reader);
        let mut transaction = self.write().await?;
        // Whoever lost its lease sends nothing: somebody else decides about the entry.
        let waits = format!("SELECT count(*) FROM jobs WHERE id = ? AND holder = ? AND {WAITS}");
        let waits: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(waits))
            .bind(id.as_str())
            .bind(&job.new.session)
            .fetch_one(&mut *transaction)
            .await?;
        if waits == 0 {
            return Ok(Turn::Gone);
        }
        if ahead(&mut transaction, id, Some(video), at).await? > 0 {
            return Ok(Turn::In(SOON));
        }
        if let Some(limit) = pace.at_once {
            let under_way: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM jobs WHERE (state = 'running' OR (state = 'starting' AND \
                 sent_at IS NOT NULL)) AND workspace = ? AND origin = ? AND created_at > ?",
            )
            .bind(job.new.workspace.as_str())
            .bind(&job.new.origin)
            // What is older was forgotten by somebody, and will not end.
            .bind(at - 60 * 60_000)
            .fetch_one(&mut *transaction)
            .await?;
            if under_way >= i64::from(limit) {
                return Ok(Turn::In(SOON));
            }
        }
        let all = (false, pace.starts);
        let videos = (true, pace.videos);
        for (only_video, limit) in [all, videos] {
            if only_video && !video {
                continue;
            }
            // The one that has to leave the minute before there is room for another.
            let blocking: Option<i64> = sqlx::query_scalar(
                "SELECT sent_at FROM jobs WHERE sent_at > ? AND sent_at <= ? AND origin = ? AND \
                 (? = 0 OR modality = 'video') ORDER BY sent_at DESC LIMIT 1 OFFSET ?",
            )
            .bind(at - MINUTE)
            .bind(at + MINUTE)
            .bind(&job.new.origin)
            .bind(only_video)
            .bind(limit.saturating_sub(1))
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(sent_at) = blocking {
                let wait = (sent_at + MINUTE - at).clamp(1, MINUTE);
                return Ok(Turn::In(Duration::from_millis(wait.unsigned_abs())));
            }
        }
        sqlx::query("UPDATE jobs SET sent_at = ? WHERE id = ?")
            .bind(at)
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Turn::Now)
    }

    /// How many starts leave before that of this job.
    pub async fn ahead_of(&self, id: &JobId, now: Timestamp) -> Result<u32, JournalError> {
        let mut connection = self.pool.acquire().await?;
        let count = ahead(&mut connection, id, None, now.as_millisecond()).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Closes the entry of a start that never left. `false` when it did, or when somebody else was
    /// quicker: then nothing is changed.
    pub async fn never_sent(
        &self,
        id: &JobId,
        state: JobState,
        failure: &JobFailure,
        now: Timestamp,
    ) -> Result<bool, JournalError> {
        let done = sqlx::query(
            "UPDATE jobs SET state = ?, failure = ?, charged = 0, updated_at = ? WHERE id = ? \
             AND state = 'starting' AND sent_at IS NULL",
        )
        .bind(state.as_str())
        .bind(super::row::json(failure)?)
        .bind(now.as_millisecond())
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Closes the entries of all starts of a process that ends: they never leave.
    pub async fn never_sent_of(
        &self,
        session: &str,
        failure: &JobFailure,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "UPDATE jobs SET state = ?, failure = ?, charged = 0, updated_at = ? WHERE session = ? \
             AND state = 'starting' AND sent_at IS NULL",
        )
        .bind(JobState::Refused.as_str())
        .bind(super::row::json(failure)?)
        .bind(now.as_millisecond())
        .bind(session)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Starts that were written down earlier and still wait, with somebody alive to send them.
async fn ahead(
    connection: &mut SqliteConnection,
    id: &JobId,
    video: Option<bool>,
    now: i64,
) -> Result<i64, JournalError> {
    let sql = format!(
        "SELECT count(*) FROM jobs WHERE {WAITS} AND held_until >= ? AND held_until <= ? AND \
         seq < (SELECT seq FROM jobs WHERE id = ?) AND (? IS NULL OR (modality = 'video') = ?)"
    );
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(now)
        .bind(now + 2 * millis(super::LEASE))
        .bind(id.as_str())
        .bind(video)
        .bind(video)
        .fetch_one(connection)
        .await?;
    Ok(count)
}
