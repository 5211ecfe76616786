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
    // A number for each entry, so that their order depends on no clock; queue, quotes that the user
    // says yes to, projects, what past jobs teach; and indexes for a journal of years.
    &[
        "CREATE TABLE numbered_jobs (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        state TEXT NOT NULL,
        origin TEXT NOT NULL,
        workspace TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        request TEXT NOT NULL,
        subject TEXT NOT NULL,
        model_name TEXT NOT NULL,
        modality TEXT NOT NULL,
        prompt TEXT NOT NULL,
        guided BOOLEAN NOT NULL,
        estimated BIGINT NOT NULL,
        margin BIGINT NOT NULL,
        named_at_start BIGINT,
        charged BIGINT,
        quote TEXT,
        save_to TEXT,
        output_dir TEXT NOT NULL,
        project TEXT NOT NULL,
        session TEXT NOT NULL,
        holder TEXT,
        held_until BIGINT NOT NULL DEFAULT 0,
        sent_at BIGINT,
        took BIGINT,
        inference TEXT,
        outputs TEXT,
        files TEXT,
        adjusted TEXT,
        failure TEXT
    )",
        "INSERT INTO numbered_jobs (id, created_at, updated_at, state, origin, workspace, \
         fingerprint, request, subject, model_name, modality, prompt, guided, estimated, margin, \
         named_at_start, charged, save_to, output_dir, project, session, holder, held_until, \
         sent_at, inference, outputs, files, adjusted, failure) \
         SELECT id, created_at, updated_at, state, origin, workspace, fingerprint, request, \
         coalesce(json_extract(request, '$.model'), json_extract(request, '$.workflow'), ''), \
         model_name, modality, prompt, \
         coalesce(json_array_length(request, '$.references'), 0) > 0, estimated, 0, \
         named_at_start, charged, save_to, output_dir, output_dir, session, holder, held_until, \
         created_at, inference, outputs, files, adjusted, failure FROM jobs ORDER BY rowid",
        "DROP TABLE jobs",
        "ALTER TABLE numbered_jobs RENAME TO jobs",
        "CREATE INDEX jobs_by_time ON jobs (created_at)",
        "CREATE INDEX jobs_by_state ON jobs (state)",
        "CREATE INDEX jobs_by_request ON jobs (fingerprint, created_at)",
        "CREATE INDEX jobs_that_took ON jobs (subject, created_at) WHERE took IS NOT NULL",
        "CREATE INDEX jobs_with_references ON jobs (subject, created_at) WHERE guided",
        "CREATE INDEX jobs_by_session ON jobs (session)",
        "CREATE INDEX jobs_by_project ON jobs (project)",
        "CREATE INDEX jobs_by_run ON jobs (inference)",
        "CREATE INDEX jobs_by_quote ON jobs (quote) WHERE quote IS NOT NULL",
        "CREATE INDEX jobs_by_sending ON jobs (sent_at)",
        "CREATE INDEX jobs_by_holder ON jobs (holder) WHERE holder IS NOT NULL",
        // A price that was named holds for minutes: nothing is lost with those of before.
        "DROP TABLE quotes",
        "CREATE TABLE quotes (
        id TEXT NOT NULL,
        line BIGINT NOT NULL,
        fingerprint TEXT NOT NULL,
        price BIGINT NOT NULL,
        available BIGINT NOT NULL,
        what TEXT NOT NULL,
        expires_at BIGINT NOT NULL,
        verdict TEXT,
        PRIMARY KEY (id, line)
    )",
        "CREATE VIRTUAL TABLE job_words USING fts5 (prompt, content='jobs', content_rowid='seq')",
        "CREATE TRIGGER job_words_in AFTER INSERT ON jobs BEGIN \
         INSERT INTO job_words (rowid, prompt) VALUES (new.seq, new.prompt); END",
        "INSERT INTO job_words (job_words) VALUES ('rebuild')",
        // Which job saved which content.
        "CREATE TABLE saved_contents (sha256 TEXT NOT NULL, job TEXT NOT NULL, \
         PRIMARY KEY (sha256, job)) WITHOUT ROWID",
        "INSERT OR IGNORE INTO saved_contents SELECT json_extract(file.value, '$.sha256'), jobs.id \
         FROM jobs, json_each(jobs.files) AS file WHERE jobs.files IS NOT NULL",
    ],
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
        return Err(JournalError::Newer);
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

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

    use super::STEPS;

    /// A journal as it was before jobs had numbers, with one job.
    pub(in crate::journal) async fn write_version_3(path: &std::path::Path) {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        for statement in STEPS.iter().take(3).copied().flatten() {
            sqlx::query(*statement).execute(&pool).await.unwrap();
        }
        for statement in [
            "CREATE TABLE journal_version (version BIGINT NOT NULL)",
            "INSERT INTO journal_version VALUES (3)",
            "INSERT INTO jobs (id, created_at, updated_at, state, origin, workspace, fingerprint, \
             request, model_name, modality, prompt, estimated, output_dir, session, inference) \
             VALUES ('job_0123456789abcdef', 1800000000000, 1800000000000, 'running', \
             'https://api', 'w1', 'f', '{\"model\": \"flux\", \"prompt\": \"a knight\", \
             \"negative_prompt\": null, \"width\": 512, \"height\": 512, \"count\": 1, \
             \"seed\": 7, \"quality\": null, \"transparency\": false, \"tileability\": false, \
             \"duration_seconds\": null}', 'FLUX', 'image', 'a knight', 600000, '/out', 's1', 'i1')",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }
}
