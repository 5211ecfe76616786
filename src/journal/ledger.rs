//! What was spent, and what is set aside.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::budget::COUNTS;
use super::row::read_job;
use super::{Job, Journal, JournalError};
use crate::layer::CreativeUnits;

/// An entry of the ledger: a job, and what it counts for now.
#[derive(Clone, Debug)]
pub struct LedgerEntry {
    /// The job.
    pub job: Job,
    /// The charge; before it is known what is reserved; nothing for what failed without a charge.
    pub counts: CreativeUnits,
}

impl LedgerEntry {
    /// What is set aside for it, and neither charged nor given back yet.
    pub fn reserved(&self) -> CreativeUnits {
        if self.job.charged.is_some() { CreativeUnits::ZERO } else { self.counts }
    }
}

impl Journal {
    /// All purchases that were made from `since` on and before `until`, from the oldest to the
    /// newest.
    pub async fn purchases(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<LedgerEntry>, JournalError> {
        let sql = format!(
            "SELECT *, {COUNTS} AS counts FROM jobs WHERE created_at >= ? AND created_at < ? \
             ORDER BY created_at, seq"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(since.as_millisecond())
            .bind(until.as_millisecond())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_entry).collect()
    }
}

/// From a row of the table with its `counts` to an entry.
pub(super) fn read_entry(row: &SqliteRow) -> Result<LedgerEntry, JournalError> {
    let counts = CreativeUnits::from_micros(row.try_get("counts")?);
    Ok(LedgerEntry { job: read_job(row)?, counts })
}
