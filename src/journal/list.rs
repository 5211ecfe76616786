//! Looking through the jobs.

use jiff::Timestamp;

use super::budget::COUNTS;
use super::lease::{LEASE, millis};
use super::ledger::read_entry;
use super::row::read_job;
use super::{Fingerprint, Job, JobId, JobState, Journal, JournalError, LedgerEntry};
use crate::layer::InferenceId;

/// Which jobs are wanted.
#[derive(Clone, Debug, Default)]
pub struct JobFilter<'a> {
    /// Of these states; all when there are none.
    pub states: &'a [JobState],
    /// With these words in the prompt; the last may be a beginning.
    pub search: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
    /// After so many.
    pub skip: u32,
}

impl Journal {
    /// One job.
    pub async fn job(&self, id: &JobId) -> Result<Option<Job>, JournalError> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_job).transpose()
    }

    /// The newest entry of the same request since then that led or may still lead to a result.
    pub async fn same_request(
        &self,
        fingerprint: &Fingerprint,
        since: Timestamp,
    ) -> Result<Option<Job>, JournalError> {
        let mut connection = self.pool.acquire().await?;
        super::same_request(&mut connection, fingerprint, since).await
    }

    /// Jobs from the newest to the oldest, each with what it counts for now.
    ///
    /// # Errors
    /// [`JournalError::Database`] when the file can't be read, [`JournalError::Entry`] when an
    /// entry can't be.
    pub async fn entries(&self, filter: &JobFilter<'_>) -> Result<Vec<LedgerEntry>, JournalError> {
        let words = filter.search.map(words).filter(|words| !words.is_empty());
        let mut sql = sqlx::QueryBuilder::new("SELECT jobs.*, ");
        sql.push(COUNTS).push(" AS counts FROM ");
        // The order in which the words are kept is that of the entries: whoever finds many stops
        // after the newest.
        let by = match words {
            Some(words) => {
                sql.push(
                    "job_words JOIN jobs ON jobs.seq = job_words.rowid WHERE job_words MATCH ",
                );
                sql.push_bind(words);
                "job_words.rowid"
            }
            None => {
                sql.push("jobs WHERE 1");
                "seq"
            }
        };
        if let [first, rest @ ..] = filter.states {
            sql.push(" AND state IN (").push_bind(first.as_str());
            for state in rest {
                sql.push(", ").push_bind(state.as_str());
            }
            sql.push(")");
        }
        sql.push(" ORDER BY ").push(by).push(" DESC LIMIT ").push_bind(filter.limit);
        sql.push(" OFFSET ").push_bind(filter.skip);
        let rows = sql.build().fetch_all(&self.pool).await?;
        rows.iter().map(read_entry).collect()
    }

    /// Jobs from the newest to the oldest.
    ///
    /// # Errors
    /// As [`Journal::entries`].
    pub async fn jobs(&self, filter: &JobFilter<'_>) -> Result<Vec<Job>, JournalError> {
        let entries = self.entries(filter).await?;
        Ok(entries.into_iter().map(|entry| entry.job).collect())
    }

    /// Jobs since then that are at no end and that nobody works on, from the oldest to the newest.
    pub async fn abandoned(
        &self,
        since: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Job>, JournalError> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE state IN ('starting', 'running', 'finished', 'unknown') \
             AND created_at >= ? AND (holder IS NULL OR held_until < ? OR held_until > ?) \
             ORDER BY created_at LIMIT ?",
        )
        .bind(since.as_millisecond())
        .bind(now.as_millisecond())
        .bind(now.as_millisecond() + 2 * millis(LEASE))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_job).collect()
    }

    /// How many jobs are on their way, and how many starts have no known end.
    pub async fn unfinished(&self) -> Result<(u64, u64), JournalError> {
        let (running, unknown): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM jobs WHERE state IN ('starting', 'running', 'finished')), \
             (SELECT count(*) FROM jobs WHERE state = 'unknown')",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((running.unsigned_abs(), unknown.unsigned_abs()))
    }

    /// Whether a job of ours is this run.
    pub async fn knows_run(&self, inference: &InferenceId) -> Result<bool, JournalError> {
        let known: i64 =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM jobs WHERE inference = ?)")
                .bind(inference.as_str())
                .fetch_one(&self.pool)
                .await?;
        Ok(known == 1)
    }
}

/// What somebody looks for, in the words of the index: each is quoted, so that none is an operator.
fn words(search: &str) -> String {
    let words = search.split(|letter: char| !letter.is_alphanumeric());
    let quoted = words.filter(|word| !word.is_empty()).map(|word| format!("\"{word}\"*"));
    quoted.collect::<Vec<_>>().join(" ")
}
