//! The journal: every paid request on disk, before it is sent and ever after.
//!
//! One SQLite file, in WAL mode so that several server processes share it. What can't be recorded
//! is not bought: [`Journal::reserve`] must have succeeded before a start leaves. A start's entry
//! is held by a lease of the process that works on it; when that process dies, the lease runs out
//! and another takes over.

mod budget;
mod job;
mod learned;
mod lease;
mod ledger;
mod list;
mod quotes;
mod row;
mod schema;
mod turns;
mod uploads;

pub use budget::{Budgets, OverBudget, Spent};
pub use job::{Fingerprint, Job, JobFailure, JobId, JobState, NewJob, NotAJobId};
pub use lease::LEASE;
pub use ledger::LedgerEntry;
pub use list::JobFilter;
pub use quotes::{Quote, QuoteLine, Verdict, Void};
pub use turns::{Pace, Turn};

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, Transaction};

use row::{json, path_text, read_job};

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
    /// The file is not the one that was opened: what would be written to that, nobody would find.
    #[error(
        "the journal `{path}` is gone: it was moved, deleted or replaced while this server ran, \
         and what is bought can't be recorded",
        path = path.display()
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// It was written by a newer version, whose entries this one would not understand.
    #[error("the journal was written by a newer layer-mcp")]
    Newer,
    /// SQLite failed: full disk, damaged file, too long a wait for another process.
    #[error("the journal failed")]
    Database(#[from] sqlx::Error),
    /// An entry holds what this version can't read.
    #[error("an entry of the journal can't be read: {0}")]
    Entry(&'static str),
}

impl JournalError {
    /// What the user can do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Gone { .. } => {
                "nothing is bought meanwhile. Ask the user to put the journal back, with the files \
                 beside it: then the server goes on by itself. If it is lost, a restart of the \
                 server begins a new one, which knows nothing of earlier purchases and budgets"
            }
            Self::Newer => {
                "ask the user to update layer-mcp, or to have each version use a home of its own \
                 (`LAYER_MCP_HOME`); nothing is bought that can't be recorded"
            }
            Self::Database(_) if self.is_damaged() => {
                "nothing is bought that can't be recorded. Ask the user to put a copy of the \
                 journal back, or to move the damaged file and those beside it away and to restart \
                 the server: a new journal knows nothing of earlier purchases and budgets"
            }
            _ => {
                "nothing is bought that can't be recorded: make room on the disk, or check that \
                 the `.layer-mcp` folder in the home folder is a folder and writable \
                 (`layer-mcp doctor`), and call again"
            }
        }
    }

    /// The primary result code of SQLite.
    fn sqlite_code(&self) -> Option<u32> {
        let Self::Database(sqlx::Error::Database(error)) = self else { return None };
        let code = error.code().and_then(|code| code.parse::<u32>().ok());
        code.map(|code| code & 0xff)
    }

    /// SQLITE_CORRUPT and SQLITE_NOTADB.
    fn is_damaged(&self) -> bool {
        matches!(self.sqlite_code(), Some(11 | 26))
    }

    /// True when another process held the file.
    fn is_busy(&self) -> bool {
        // SQLITE_BUSY.
        self.sqlite_code() == Some(5)
    }
}

/// What came of a reservation.
#[derive(Debug)]
pub enum Reservation {
    /// The entry is on disk and held by us: the start may be sent.
    New,
    /// The same request is already there; nothing was written.
    Existing(Box<Job>),
    /// It may not be made; nothing was written.
    Refused(Objection),
}

/// Why a purchase may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It would go beyond a budget.
    OverBudget(OverBudget),
    /// Its quote does not cover it, for this reason.
    QuoteVoid(Void),
}

/// On what terms an entry may be written.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What it must stay below.
    pub budgets: Budgets,
    /// Only with a quote that the user said yes to.
    pub needs_approval: bool,
}

/// Every paid request of one user.
#[derive(Clone, Debug)]
pub struct Journal {
    pool: SqlitePool,
    path: PathBuf,
    /// Which files it were when it was opened.
    identity: Identity,
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
                opened => {
                    let (pool, identity) = (opened?, identity(path));
                    return Ok(Self { pool, path: path.to_owned(), identity });
                }
            }
        }
    }

    async fn connect(options: SqliteConnectOptions) -> Result<SqlitePool, JournalError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            // A connection that was closed would be opened again by its path, whatever lies there
            // by then; and the last one takes the log with it, which tells whose file this is.
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(15))
            .connect_with(options)
            .await?;
        schema::bring_up_to_date(&pool).await?;
        Ok(pool)
    }

    /// Whether the file still lies where it was opened.
    ///
    /// # Errors
    /// [`JournalError::Gone`].
    pub fn in_place(&self) -> Result<&Self, JournalError> {
        if identity(&self.path) == self.identity {
            return Ok(self);
        }
        Err(JournalError::Gone { path: self.path.clone() })
    }

    /// Writes down a purchase that is about to be made, holds it for its session, and checks its
    /// quote and the budgets, all in one step that no other process can come between. An entry of
    /// the same request since `same_since` that may still lead to a result comes back instead.
    pub async fn reserve(
        &self,
        new: &NewJob,
        same_since: Option<Timestamp>,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Reservation, JournalError> {
        // What is written to a file that nobody finds any more is not recorded.
        self.in_place()?;
        let mut transaction = self.write().await?;
        if let Some(since) = same_since
            && let Some(same) = same_request(&mut transaction, &new.fingerprint, since).await?
        {
            return Ok(Reservation::Existing(Box::new(same)));
        }
        if let Some(objection) = quotes::objection(&mut transaction, new, terms, now).await? {
            return Ok(Reservation::Refused(objection));
        }
        let guided = new.order.inference().is_some_and(|request| !request.references.is_empty());
        let held_until = now.as_millisecond() + lease::millis(LEASE);
        sqlx::query(
            "INSERT INTO jobs (id, created_at, updated_at, state, origin, workspace, fingerprint, \
             request, subject, model_name, modality, prompt, guided, estimated, margin, quote, \
             save_to, output_dir, project, session, holder, held_until) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id.as_str())
        .bind(now.as_millisecond())
        .bind(now.as_millisecond())
        .bind(JobState::Starting.as_str())
        .bind(&new.origin)
        .bind(new.workspace.as_str())
        .bind(new.fingerprint.as_str())
        .bind(json(&new.order)?)
        .bind(new.order.subject())
        .bind(&new.model_name)
        .bind(new.modality.as_str())
        .bind(new.order.title())
        .bind(guided)
        .bind(new.estimated.micros())
        .bind(new.margin.micros())
        .bind(new.quote.as_deref())
        .bind(new.save_to.as_deref())
        .bind(path_text(&new.output_dir)?)
        .bind(path_text(&new.project)?)
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

    /// Layer is done; the files are still there. `took` is how long that was, when somebody
    /// watched from its start on.
    pub async fn record_finished(
        &self,
        id: &JobId,
        inference: &InferenceId,
        outputs: &[Output],
        charged: Option<CreativeUnits>,
        took: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "UPDATE jobs SET state = ?, inference = ?, outputs = ?, \
             charged = coalesce(?, charged), took = coalesce(?, took), updated_at = ? WHERE id = ?",
        )
        .bind(JobState::Finished.as_str())
        .bind(inference.as_str())
        .bind(json(&outputs)?)
        .bind(charged.map(CreativeUnits::micros))
        .bind(took.map(lease::millis))
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
        let mut transaction = self.write().await?;
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
        .execute(&mut *transaction)
        .await?;
        for file in files {
            sqlx::query("INSERT OR IGNORE INTO saved_contents VALUES (?, ?)")
                .bind(&file.sha256)
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
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

    /// Closes the file; what was written is on disk already.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, JournalError> {
        // IMMEDIATE: what is read in the transaction is still true when it writes.
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// What is at no end is found however old it is: nobody buys beside a run that is under way, or that
/// may be.
async fn same_request(
    connection: &mut SqliteConnection,
    fingerprint: &Fingerprint,
    since: Timestamp,
) -> Result<Option<Job>, JournalError> {
    let row = sqlx::query(
        "SELECT * FROM jobs WHERE fingerprint = ? AND ((state = 'complete' AND created_at >= ?) OR \
         state IN ('starting', 'running', 'finished', 'unknown')) \
         ORDER BY created_at DESC LIMIT 1",
    )
    .bind(fingerprint.as_str())
    .bind(since.as_millisecond())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_job).transpose()
}

/// The journal and its write-ahead log, each by device and number.
type Identity = [Option<(u64, u64)>; 2];

/// Which files lie at this path.
fn identity(path: &Path) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        [path.to_owned(), beside(path, "-wal")].map(|path| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.dev(), facts.ino()))
        })
    }
    // An open file can't be taken away there.
    #[cfg(not(unix))]
    {
        let _ = path;
        [None, None]
    }
}

/// A file that SQLite keeps beside the journal.
#[cfg(unix)]
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Makes the file before SQLite does, so that it and its companions are never readable by others.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        options.mode(0o600);
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // Of two processes that begin a journal only one finds none. Where a file system has no
            // locks, two that begin one at the very same moment are left to SQLite.
            let folder = std::fs::File::open(folder)?;
            let _ = folder.lock();
            if !path.try_exists()? {
                // Of a journal that was taken away. A server that had it open still uses them, and
                // SQLite would take them for the new journal's.
                for ending in ["-wal", "-shm"] {
                    match std::fs::remove_file(beside(path, ending)) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(error);
                        }
                        _ => {}
                    }
                }
            }
            return options.open(path).map(drop);
        }
    }
    #[cfg(not(unix))]
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests;
