//! What lies at Layer: by its content, and what is gone there.

use jiff::Timestamp;

use super::row::read_job;
use super::{Journal, JournalError};
use crate::layer::{FileId, WorkspaceId};

impl Journal {
    /// The file at Layer with this content, when it was sent there before.
    pub async fn uploaded(
        &self,
        origin: &str,
        workspace: &WorkspaceId,
        sha256: &str,
    ) -> Result<Option<FileId>, JournalError> {
        let found: Option<String> = sqlx::query_scalar(
            "SELECT file FROM uploads WHERE origin = ? AND workspace = ? AND sha256 = ?",
        )
        .bind(origin)
        .bind(workspace.as_str())
        .bind(sha256)
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.and_then(|file| file.parse().ok()))
    }

    /// Keeps where a content lies at Layer.
    pub async fn record_upload(
        &self,
        origin: &str,
        workspace: &WorkspaceId,
        sha256: &str,
        file: &FileId,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?)")
            .bind(origin)
            .bind(workspace.as_str())
            .bind(sha256)
            .bind(file.as_str())
            .bind(now.as_millisecond())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The file at Layer that an earlier job made and saved with this content, unless it may be
    /// gone.
    pub async fn made(
        &self,
        origin: &str,
        workspace: &WorkspaceId,
        sha256: &str,
    ) -> Result<Option<FileId>, JournalError> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE id IN (SELECT job FROM saved_contents WHERE sha256 = ?) \
             AND origin = ? AND workspace = ? AND state = 'complete' \
             ORDER BY created_at DESC LIMIT 20",
        )
        .bind(sha256)
        .bind(origin)
        .bind(workspace.as_str())
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let job = read_job(row)?;
            let at = job.files.iter().position(|file| file.sha256 == sha256);
            let file = at.and_then(|at| job.at_layer(at));
            if let Some(file) = file
                && !self.is_gone(file).await?
            {
                return Ok(Some(file.clone()));
            }
        }
        Ok(None)
    }

    /// Whether Layer once refused a start that referred to this file.
    pub async fn is_gone(&self, file: &FileId) -> Result<bool, JournalError> {
        let known: Option<String> =
            sqlx::query_scalar("SELECT file FROM gone_files WHERE file = ?")
                .bind(file.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(known.is_some())
    }

    /// These files can't be referred to any more: their contents are to be sent again.
    pub async fn forget_uploads(&self, files: &[&FileId]) -> Result<(), JournalError> {
        for file in files {
            sqlx::query("INSERT OR IGNORE INTO gone_files VALUES (?)")
                .bind(file.as_str())
                .execute(&self.pool)
                .await?;
            sqlx::query("DELETE FROM uploads WHERE file = ?")
                .bind(file.as_str())
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}
