//! The journal: every paid request on disk, before it is sent and ever after.
//!
//! One SQLite file, in WAL mode so that several server processes share it. What can't be recorded
//! is not bought: [`Journal::reserve`] must have succeeded before a start leaves. A start's entry
//! is held by a lease of the process that works on it; when that process dies, the lease runs out
//! and another takes over.

mod job;
mod schema;
mod uploads;

pub use job::{Fingerprint, Job, JobFailure, JobId, JobState, NewJob, NotAJobId};

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row, Sqlite, Transaction};

use crate::files::SavedFile;
use crate::layer::{CreativeUnits, InferenceId, Output};

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder or the file can't be made, or has the wrong owner or mode.
    #[error("the journal `{path}` can't be opened", path = path.display())]
    Open {
        /// Where it should lie.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite failed: full disk, damaged file, too long a wait for another process.
    #[error("the journal failed")]
    Database(#[from] sqlx::Error),
    /// An entry holds what this version can't read.
    #[error("an entry of the journal can't be read: {0}")]
    Entry(&'static str),
}

impl JournalError {
    /// True when another process held the file.
    fn is_busy(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        // SQLITE_BUSY and its extended codes.
        let code = error.code().and_then(|code| code.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == 5)
    }
}

/// What a purchase must stay below, in sums that the journal knows.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// All that this process may spend.
    pub session: Option<CreativeUnits>,
    /// All that may be spent since `day_began`, by every process of this user.
    pub day: Option<CreativeUnits>,
    /// Local midnight.
    pub day_began: Timestamp,
}

/// What came of a reservation.
#[derive(Debug)]
pub enum Reservation {
    /// The entry is on disk and held by us: the start may be sent.
    New,
    /// The same request is already there; nothing was written.
    Existing(Box<Job>),
    /// It would go beyond a budget; nothing was written.
    OverBudget {
        /// Which: `session` or `day`.
        which: &'static str,
        /// The limit.
        limit: CreativeUnits,
        /// What is spent or reserved already.
        spent: CreativeUnits,
    },
}

/// A price that was named and is held to.
#[derive(Clone, Debug)]
pub struct Quote {
    /// Its id.
    pub id: String,
    /// The request it was for.
    pub fingerprint: Fingerprint,
    /// The price.
    pub estimated: CreativeUnits,
    /// Until when it holds.
    pub expires_at: Timestamp,
}

/// How long a process holds a job without renewing.
pub const LEASE: Duration = Duration::from_secs(15);

/// Every paid request of one user.
#[derive(Clone, Debug)]
pub struct Journal {
    pool: SqlitePool,
}

impl Journal {
    /// Opens the journal, and makes it with mode 0600 when there is none.
    ///
    /// # Errors
    /// [`JournalError::Open`] when the folder or file can't be made, [`JournalError::Database`]
    /// when the file is not a journal.
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        create_private(path).map_err(|source| JournalError::Open { path: path.into(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let mut tried = 0;
        loop {
            tried += 1;
            match Self::connect(options.clone()).await {
                // Turning on WAL does not wait for others who do the same at the first start.
                Err(error) if error.is_busy() && tried < 20 => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                opened => return opened,
            }
        }
    }

    async fn connect(options: SqliteConnectOptions) -> Result<Self, JournalError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(15))
            .connect_with(options)
            .await?;
        schema::bring_up_to_date(&pool).await?;
        Ok(Self { pool })
    }

    /// Writes down a purchase that is about to be made, holds it for `holder`, and checks the
    /// budgets, all in one step that no other process can come between. An entry of the same
    /// request since `same_since` that may still lead to a result comes back instead.
    pub async fn reserve(
        &self,
        new: &NewJob,
        same_since: Option<Timestamp>,
        budgets: &Budgets,
        now: Timestamp,
    ) -> Result<Reservation, JournalError> {
        let mut transaction = self.write().await?;
        if let Some(since) = same_since
            && let Some(same) = same_request(&mut transaction, &new.fingerprint, since).await?
        {
            return Ok(Reservation::Existing(Box::new(same)));
        }
        let session = (budgets.session, Some(new.session.as_str()), None, "session");
        let day = (budgets.day, None, Some(budgets.day_began), "day");
        for (limit, session, since, which) in [session, day] {
            let Some(limit) = limit else { continue };
            let spent = spent(&mut transaction, session, since).await?;
            if spent.plus(new.estimated) > limit {
                return Ok(Reservation::OverBudget { which, limit, spent });
            }
        }
        let held_until = now.as_millisecond() + millis(LEASE);
        sqlx::query(
            "INSERT INTO jobs (id, created_at, updated_at, state, origin, workspace, fingerprint, \
             request, model_name, modality, prompt, estimated, save_to, output_dir, session, \
             holder, held_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id.as_str())
        .bind(now.as_millisecond())
        .bind(now.as_millisecond())
        .bind(JobState::Starting.as_str())
        .bind(&new.origin)
        .bind(new.workspace.as_str())
        .bind(new.fingerprint.as_str())
        .bind(json(&new.order)?)
        .bind(&new.model_name)
        .bind(new.modality.as_str())
        .bind(new.order.title())
        .bind(new.estimated.micros())
        .bind(new.save_to.as_deref())
        .bind(path_text(&new.output_dir)?)
        .bind(&new.session)
        .bind(&new.session)
        .bind(held_until)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Reservation::New)
    }

    /// Layer accepted the start.
    pub async fn record_started(
        &self,
        id: &JobId,
        inference: &InferenceId,
        estimated: Option<CreativeUnits>,
        adjusted: &[String],
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query(
            // A late write must not undo what came after it.
            "UPDATE jobs SET state = ?, inference = ?, named_at_start = ?, adjusted = ?, \
             updated_at = ? WHERE id = ? AND state = 'starting'",
        )
        .bind(JobState::Running.as_str())
        .bind(inference.as_str())
        .bind(estimated.map(CreativeUnits::micros))
        .bind(json(&adjusted)?)
        .bind(now.as_millisecond())
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The run of an unknown start was found. `false` when the job is not unknown any more, or the
    /// run is another job's.
    pub async fn adopt(
        &self,
        id: &JobId,
        inference: &InferenceId,
        now: Timestamp,
    ) -> Result<bool, JournalError> {
        let done = sqlx::query(
            "UPDATE jobs SET state = ?, inference = ?, failure = NULL, updated_at = ? \
             WHERE id = ? AND state = 'unknown' AND NOT EXISTS \
             (SELECT 1 FROM jobs AS other WHERE other.inference = ?)",
        )
        .bind(JobState::Running.as_str())
        .bind(inference.as_str())
        .bind(now.as_millisecond())
        .bind(id.as_str())
        .bind(inference.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether a job of ours is this run.
    pub async fn knows_run(&self, inference: &InferenceId) -> Result<bool, JournalError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE inference = ?")
            .bind(inference.as_str())
            .fetch_one(&self.pool)
            .await?;
        Ok(count > 0)
    }

    /// The job came to an end without a result, or its start to an unknown one.
    pub async fn record_failure(
        &self,
        id: &JobId,
        state: JobState,
        failure: &JobFailure,
        charged: Option<CreativeUnits>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "UPDATE jobs SET state = ?, failure = ?, charged = coalesce(?, charged), \
             updated_at = ? WHERE id = ?",
        )
        .bind(state.as_str())
        .bind(json(failure)?)
        .bind(charged.map(CreativeUnits::micros))
        .bind(now.as_millisecond())
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Layer is done; the files are still there.
    pub async fn record_finished(
        &self,
        id: &JobId,
        inference: &InferenceId,
        outputs: &[Output],
        charged: Option<CreativeUnits>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "UPDATE jobs SET state = ?, inference = ?, outputs = ?, \
             charged = coalesce(?, charged), updated_at = ? WHERE id = ?",
        )
        .bind(JobState::Finished.as_str())
        .bind(inference.as_str())
        .bind(json(&outputs)?)
        .bind(charged.map(CreativeUnits::micros))
        .bind(now.as_millisecond())
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The files are saved. Writes all that is known of the run, in case an earlier step could
    /// not be written.
    pub async fn record_complete(
        &self,
        id: &JobId,
        inference: &InferenceId,
        charged: Option<CreativeUnits>,
        files: &[SavedFile],
        adjusted: &[String],
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "UPDATE jobs SET state = ?, inference = ?, charged = coalesce(?, charged), files = ?, \
             adjusted = ?, updated_at = ? WHERE id = ?",
        )
        .bind(JobState::Complete.as_str())
        .bind(inference.as_str())
        .bind(charged.map(CreativeUnits::micros))
        .bind(json(&files)?)
        .bind(json(&adjusted)?)
        .bind(now.as_millisecond())
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Some files are saved and others could not be.
    pub async fn record_some_files(
        &self,
        id: &JobId,
        files: &[SavedFile],
    ) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET files = ? WHERE id = ?")
            .bind(json(&files)?)
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The files of a job that has none yet are to go somewhere else.
    pub async fn redirect(
        &self,
        id: &JobId,
        save_to: &str,
        output_dir: &Path,
    ) -> Result<(), JournalError> {
        sqlx::query("UPDATE jobs SET save_to = ?, output_dir = ? WHERE id = ?")
            .bind(save_to)
            .bind(path_text(output_dir)?)
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

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
        let row = sqlx::query(SAME_REQUEST)
            .bind(fingerprint.as_str())
            .bind(since.as_millisecond())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_job).transpose()
    }

    /// Jobs from the newest to the oldest, those of one state or all, after `skip`.
    pub async fn jobs(
        &self,
        state: Option<&[JobState]>,
        limit: u32,
        skip: u32,
    ) -> Result<Vec<Job>, JournalError> {
        let words: Option<Vec<&str>> =
            state.map(|states| states.iter().map(|state| state.as_str()).collect());
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE ? IS NULL OR instr(?, ',' || state || ',') > 0 \
             ORDER BY created_at DESC, id LIMIT ? OFFSET ?",
        )
        .bind(words.as_ref().map(|words| words.len() as i64))
        .bind(words.map(|words| format!(",{},", words.join(","))).unwrap_or_default())
        .bind(limit)
        .bind(skip)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_job).collect()
    }

    /// Writes down a price that is held to.
    pub async fn keep_quote(&self, quote: &Quote) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO quotes (id, fingerprint, estimated, expires_at) VALUES (?, ?, ?, ?)",
        )
        .bind(&quote.id)
        .bind(quote.fingerprint.as_str())
        .bind(quote.estimated.micros())
        .bind(quote.expires_at.as_millisecond())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A price that was named before.
    pub async fn quote(&self, id: &str) -> Result<Option<Quote>, JournalError> {
        let row = sqlx::query("SELECT * FROM quotes WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            Ok(Quote {
                id: row.try_get("id")?,
                fingerprint: Fingerprint::kept(row.try_get("fingerprint")?),
                estimated: CreativeUnits::from_micros(row.try_get("estimated")?),
                expires_at: timestamp(row.try_get("expires_at")?)?,
            })
        })
        .transpose()
    }

    /// Closes the file; what was written is on disk already.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, JournalError> {
        // IMMEDIATE: what is read in the transaction is still true when it writes.
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

const SAME_REQUEST: &str = "SELECT * FROM jobs WHERE fingerprint = ? AND created_at >= ? AND \
     state IN ('starting', 'running', 'finished', 'complete', 'unknown') \
     ORDER BY created_at DESC LIMIT 1";

async fn same_request(
    transaction: &mut Transaction<'_, Sqlite>,
    fingerprint: &Fingerprint,
    since: Timestamp,
) -> Result<Option<Job>, JournalError> {
    let row = sqlx::query(SAME_REQUEST)
        .bind(fingerprint.as_str())
        .bind(since.as_millisecond())
        .fetch_optional(&mut **transaction)
        .await?;
    row.as_ref().map(read_job).transpose()
}

/// What was charged, and what is still reserved: an unknown outcome counts until it is known.
async fn spent(
    transaction: &mut Transaction<'_, Sqlite>,
    session: Option<&str>,
    since: Option<Timestamp>,
) -> Result<CreativeUnits, JournalError> {
    let micros: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(CASE WHEN state IN ('failed', 'cancelled', 'refused') \
         THEN coalesce(charged, 0) ELSE coalesce(charged, CASE WHEN named_at_start > estimated \
         THEN named_at_start ELSE estimated END) END), 0) FROM jobs \
         WHERE (? IS NULL OR session = ?) AND created_at >= ?",
    )
    .bind(session)
    .bind(session)
    .bind(since.map_or(0, Timestamp::as_millisecond))
    .fetch_one(&mut **transaction)
    .await?;
    Ok(CreativeUnits::from_micros(micros))
}

fn read_job(row: &SqliteRow) -> Result<Job, JournalError> {
    let text = |name: &str| row.try_get::<Option<String>, _>(name);
    let state: String = row.try_get("state")?;
    let modality: String = row.try_get("modality")?;
    let inference = text("inference")?;
    Ok(Job {
        new: NewJob {
            id: JobId::try_from(row.try_get::<String, _>("id")?)
                .map_err(|_| JournalError::Entry("id"))?,
            origin: row.try_get("origin")?,
            workspace: row
                .try_get::<String, _>("workspace")?
                .try_into()
                .map_err(|_| JournalError::Entry("workspace"))?,
            fingerprint: Fingerprint::kept(row.try_get("fingerprint")?),
            order: parse(&row.try_get::<String, _>("request")?, "request")?,
            model_name: row.try_get("model_name")?,
            modality: crate::layer::Modality::from_word(&modality)
                .ok_or(JournalError::Entry("modality"))?,
            estimated: CreativeUnits::from_micros(row.try_get("estimated")?),
            save_to: text("save_to")?,
            output_dir: row.try_get::<String, _>("output_dir")?.into(),
            session: row.try_get("session")?,
        },
        created_at: timestamp(row.try_get("created_at")?)?,
        state: JobState::from_word(&state).ok_or(JournalError::Entry("state"))?,
        inference: inference
            .map(InferenceId::try_from)
            .transpose()
            .map_err(|_| JournalError::Entry("inference"))?,
        charged: row.try_get::<Option<i64>, _>("charged")?.map(CreativeUnits::from_micros),
        outputs: list(text("outputs")?, "outputs")?,
        files: list(text("files")?, "files")?,
        adjusted: list(text("adjusted")?, "adjusted")?,
        failure: text("failure")?.map(|text| parse(&text, "failure")).transpose()?,
    })
}

fn list<T: serde::de::DeserializeOwned>(
    text: Option<String>,
    name: &'static str,
) -> Result<Vec<T>, JournalError> {
    text.map_or_else(|| Ok(Vec::new()), |text| parse(&text, name))
}

fn parse<T: serde::de::DeserializeOwned>(
    text: &str,
    name: &'static str,
) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|_| JournalError::Entry(name))
}

fn json(value: &impl serde::Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|_| JournalError::Entry("a value that JSON can't carry"))
}

fn path_text(path: &Path) -> Result<&str, JournalError> {
    path.to_str().ok_or(JournalError::Entry("the output folder's path is not Unicode"))
}

fn timestamp(millis: i64) -> Result<Timestamp, JournalError> {
    Timestamp::from_millisecond(millis).map_err(|_| JournalError::Entry("a time"))
}

#[expect(clippy::cast_possible_truncation, reason = "leases are seconds")]
fn millis(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

/// Makes the file before SQLite does, so that it and its companions are never readable by others.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests;
