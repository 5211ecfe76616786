//! Which process works on a job: the one that holds its lease. Whoever dies stops renewing.

use std::time::Duration;

use jiff::Timestamp;

use super::{JobId, Journal, JournalError};

/// How long a process holds a job without renewing.
pub const LEASE: Duration = Duration::from_secs(15);

impl Journal {
    /// Takes or renews the lease on a job; `false` while another process holds it.
    pub async fn hold(
        &self,
        id: &JobId,
        holder: &str,
        now: Timestamp,
    ) -> Result<bool, JournalError> {
        let now = now.as_millisecond();
        // A lease that ends further ahead than any lease can was written before the clock was set
        // back, and counts as run out.
        let done = sqlx::query(
            "UPDATE jobs SET holder = ?, held_until = ? WHERE id = ? AND (holder IS NULL OR \
             holder = ? OR held_until < ? OR held_until > ?)",
        )
        .bind(holder)
        .bind(now + millis(LEASE))
        .bind(id.as_str())
        .bind(holder)
        .bind(now)
        .bind(now + 2 * millis(LEASE))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Renews every lease of a holder.
    pub async fn hold_all(&self, holder: &str, now: Timestamp) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET held_until = ? WHERE holder = ?")
            .bind(now.as_millisecond() + millis(LEASE))
            .bind(holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives the lease back.
    pub async fn release(&self, id: &JobId, holder: &str) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET holder = NULL, held_until = 0 WHERE id = ? AND holder = ?")
            .bind(id.as_str())
            .bind(holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives every lease of a holder back: its process ends.
    pub async fn release_all(&self, holder: &str) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET holder = NULL, held_until = 0 WHERE holder = ?")
            .bind(holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "leases are seconds")]
pub(super) fn millis(duration: Duration) -> i64 {
    duration.as_millis() as i64
}
