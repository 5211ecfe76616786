//! The journal's tables, and their versions.

use sqlx::sqlite::SqlitePool;

use super::JournalError;

/// Statements that lead from one version to the next. Never edited, only added to.
const STEPS: &[&[&str]] = &[
    &[
        "CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        state TEXT NOT NULL,
        origin TEXT NOT NULL,
        workspace TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        request TEXT NOT NULL,
        model_name TEXT NOT NULL,
        modality TEXT NOT NULL,
        prompt TEXT NOT NULL,
        estimated BIGINT NOT NULL,
        named_at_start BIGINT,
        charged BIGINT,
        save_to TEXT,
        output_dir TEXT NOT NULL,
        session TEXT NOT NULL,
        holder TEXT,
        held_until BIGINT NOT NULL DEFAULT 0,
        inference TEXT,
        outputs TEXT,
        files TEXT,
        adjusted TEXT,
        failure TEXT
    )",
        "CREATE INDEX jobs_by_time ON jobs (created_at)",
        "CREATE INDEX jobs_by_request ON jobs (fingerprint, created_at)",
        "CREATE TABLE quotes (
        id TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        estimated BIGINT NOT NULL,
        expires_at BIGINT NOT NULL
    )",
    ],
    // What lies at Layer already, by its content.
    &["CREATE TABLE uploads (
        origin TEXT NOT NULL,
        workspace TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        file TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (origin, workspace, sha256)
    )"],
    // What may be gone at Layer, whoever put it there.
    &["CREATE TABLE gone_files (file TEXT PRIMARY KEY)"],
];

/// Brings the tables to the newest version. Several processes may try at once.
pub(super) async fn bring_up_to_date(pool: &SqlitePool) -> Result<(), JournalError> {
    if version(pool).await? == STEPS.len() {
        return Ok(());
    }
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS journal_version (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await?;
    let done: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM journal_version")
        .fetch_one(&mut *transaction)
        .await?;
    let done = usize::try_from(done.unwrap_or(0)).unwrap_or(0);
    if done > STEPS.len() {
        return Err(JournalError::Entry("it was written by a newer layer-mcp"));
    }
    for (step, statements) in STEPS.iter().enumerate().skip(done) {
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *transaction).await?;
        }
        sqlx::query("INSERT INTO journal_version (version) VALUES (?)")
            .bind(i64::try_from(step + 1).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn version(pool: &SqlitePool) -> Result<usize, JournalError> {
    let known: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'journal_version'",
    )
    .fetch_one(pool)
    .await?;
    if known == 0 {
        return Ok(0);
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM journal_version").fetch_one(pool).await?;
    Ok(usize::try_from(version.unwrap_or(0)).unwrap_or(0))
}
