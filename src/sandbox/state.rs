//! What the sandbox remembers: one SQLite file and the uploaded bytes, in a directory that
//! several processes may use at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::money::CreativeUnits;

/// The workspace that has Creative Units, and the one that has none.
pub(super) const WORKSPACE_ID: &str = "5a4db0c5-0000-4000-8000-000000000001";
pub(super) const EMPTY_WORKSPACE_ID: &str = "5a4db0c5-0000-4000-8000-000000000002";

const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE workspaces (
    id TEXT PRIMARY KEY, slug TEXT NOT NULL, name TEXT NOT NULL,
    balance INTEGER NOT NULL, last_active INTEGER, three_d INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (workspace, name)
) STRICT;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    video INTEGER NOT NULL, artifacts TEXT NOT NULL, normalized TEXT NOT NULL,
    estimated INTEGER NOT NULL, price INTEGER NOT NULL, poll_ms INTEGER NOT NULL,
    created INTEGER NOT NULL, due INTEGER, outcome TEXT NOT NULL, session TEXT,
    settled INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_open ON runs (due) WHERE settled = 0;
CREATE INDEX runs_created ON runs (created);
CREATE TABLE files (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, content_type TEXT NOT NULL,
    name TEXT NOT NULL, created INTEGER NOT NULL, artifact TEXT, width INTEGER, height INTEGER,
    ready INTEGER NOT NULL, run TEXT, position INTEGER, label TEXT
) STRICT;
CREATE INDEX files_of_run ON files (run, position);
CREATE TABLE uploads (
    file TEXT PRIMARY KEY, size INTEGER NOT NULL, signature TEXT NOT NULL,
    expires INTEGER NOT NULL, session TEXT, received INTEGER NOT NULL
) STRICT;
";

/// What version 2 added: styles, and what the GraphQL endpoint tells of sessions and runs. A new
/// state takes the same two steps as an old one.
const SCHEMA_2: &str = "
ALTER TABLE sessions ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE styles (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, name TEXT NOT NULL, description TEXT,
    kind TEXT NOT NULL, content_type TEXT NOT NULL, visibility TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, run TEXT, deleted INTEGER NOT NULL
) STRICT;
CREATE TABLE style_files (
    style TEXT NOT NULL, position INTEGER NOT NULL, file TEXT NOT NULL, caption TEXT,
    caption_type TEXT, PRIMARY KEY (style, position)
) STRICT;
";

/// The open state directory.
#[derive(Debug)]
pub(super) struct Store {
    pool: SqlitePool,
    uploads: PathBuf,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("the state directory cannot be made")]
    Directory(#[source] std::io::Error),
    #[error("the state database cannot be used")]
    Database(#[from] sqlx::Error),
    #[error("the state database is of version {0}, made by a newer program")]
    Newer(i64),
}

impl Store {
    /// Opens the directory, making it and its database when they are not there.
    pub(super) async fn open(directory: &Path) -> Result<Self, StoreError> {
        let uploads = directory.join("uploads");
        private_directory(directory).map_err(StoreError::Directory)?;
        private_directory(&uploads).map_err(StoreError::Directory)?;
        let database = directory.join("state.db");
        private_file(&database).map_err(StoreError::Directory)?;
        let options = SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(20));
        let pool = SqlitePoolOptions::new().max_connections(4);
        let store = Self { pool: connect(pool, options).await?, uploads };
        store.prepare().await?;
        Ok(store)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// A transaction that has the write lock from the start: what it reads stays true until it
    /// commits, in this process and in all others.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// Where the bytes of an uploaded file lie.
    pub(super) fn upload_path(&self, file_id: &str) -> PathBuf {
        self.uploads.join(file_id)
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        if version(&mut connection).await? == SCHEMA_VERSION {
            return Ok(());
        }
        drop(connection);
        let mut tx = self.write().await?;
        match version(&mut tx).await? {
            0 => first(&mut tx).await?,
            1 => {}
            SCHEMA_VERSION => return Ok(()),
            newer => return Err(StoreError::Newer(newer)),
        }
        sqlx::raw_sql(SCHEMA_2).execute(&mut *tx).await?;
        sqlx::raw_sql("PRAGMA user_version = 2").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The tables of version 1, with the two workspaces.
async fn first(tx: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
    for (id, slug, name, balance, three_d) in [
        (WORKSPACE_ID, "sandbox-studio", "Sandbox Studio", 500_000_000_i64, true),
        (EMPTY_WORKSPACE_ID, "sandbox-empty", "Sandbox without Creative Units", 0, false),
    ] {
        sqlx::query("INSERT INTO workspaces VALUES (?, ?, ?, ?, NULL, ?)")
            .bind(id)
            .bind(slug)
            .bind(name)
            .bind(balance)
            .bind(three_d)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// A process that turns on the write-ahead log has the file to itself for a moment, and SQLite
/// does not wait for that by itself.
async fn connect(
    pool: SqlitePoolOptions,
    options: SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let mut attempts = 0;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error))
                if attempts < 200 && error.message().contains("locked") =>
            {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("PRAGMA user_version").fetch_one(connection).await?.try_get(0)
}

/// Makes the database's file before SQLite does; its companions get the same mode.
fn private_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

/// Makes a directory that only its owner can enter.
fn private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A workspace with its money, as of one moment (Layer REST reference, get workspace).
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) balance: CreativeUnits,
    /// Held by runs that have not ended.
    pub(super) reserved: CreativeUnits,
    pub(super) last_active: Option<i64>,
    /// Whether the plan covers 3D.
    pub(super) three_d: bool,
}

impl Workspace {
    /// May be negative.
    pub(super) const fn available(&self) -> CreativeUnits {
        self.balance.minus(self.reserved)
    }

    /// All workspaces, most recently active first.
    pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Self>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT w.*, (SELECT COALESCE(SUM(estimated), 0) FROM runs
                          WHERE workspace = w.id AND settled = 0) AS reserved
             FROM workspaces w ORDER BY w.last_active IS NULL, w.last_active DESC, w.id",
        )
        .fetch_all(connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Self {
                    id: row.try_get("id")?,
                    slug: row.try_get("slug")?,
                    name: row.try_get("name")?,
                    balance: CreativeUnits::from_micros(row.try_get("balance")?),
                    reserved: CreativeUnits::from_micros(row.try_get("reserved")?),
                    last_active: row.try_get("last_active")?,
                    three_d: row.try_get("three_d")?,
                })
            })
            .collect()
    }

    pub(super) async fn find(
        connection: &mut SqliteConnection,
        id: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let all = Self::all(connection).await?;
        Ok(all.into_iter().find(|workspace| workspace.id.eq_ignore_ascii_case(id)))
    }
}

/// A file of a workspace: an upload, or an output that is made again when it is fetched.
#[derive(Clone, Debug)]
pub(super) struct StoredFile {
    pub(super) id: String,
    pub(super) workspace: String,
    pub(super) content_type: String,
    pub(super) name: String,
    /// What to make again; `None` for an upload.
    pub(super) artifact: Option<String>,
    pub(super) size: Option<(u32, u32)>,
    /// An upload is usable only when all its bytes have arrived.
    pub(super) ready: bool,
    pub(super) label: Option<String>,
    pub(super) created: i64,
    /// The run that made it; `None` for an upload.
    pub(super) run: Option<String>,
}

impl StoredFile {
    pub(super) async fn find(pool: &SqlitePool, id: &str) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query("SELECT * FROM files WHERE id = ?")
            .bind(id.to_ascii_lowercase())
            .fetch_optional(pool)
            .await?;
        row.as_ref().map(Self::from_row).transpose()
    }

    pub(super) async fn of_run(pool: &SqlitePool, run: &str) -> Result<Vec<Self>, sqlx::Error> {
        let rows = sqlx::query("SELECT * FROM files WHERE run = ? ORDER BY position")
            .bind(run)
            .fetch_all(pool)
            .await?;
        rows.iter().map(Self::from_row).collect()
    }

    /// All files of a workspace, newest first.
    pub(super) async fn all(pool: &SqlitePool, workspace: &str) -> Result<Vec<Self>, sqlx::Error> {
        let rows = sqlx::query("SELECT * FROM files WHERE workspace = ? ORDER BY created DESC, id")
            .bind(workspace)
            .fetch_all(pool)
            .await?;
        rows.iter().map(Self::from_row).collect()
    }

    fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
        let width: Option<u32> = row.try_get("width")?;
        let height: Option<u32> = row.try_get("height")?;
        Ok(Self {
            id: row.try_get("id")?,
            workspace: row.try_get("workspace")?,
            content_type: row.try_get("content_type")?,
            name: row.try_get("name")?,
            artifact: row.try_get("artifact")?,
            size: width.zip(height),
            ready: row.try_get("ready")?,
            label: row.try_get("label")?,
            created: row.try_get("created")?,
            run: row.try_get("run")?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
    use super::*;

    #[tokio::test]
    async fn a_state_of_version_one_keeps_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("state.db"))
            .create_if_missing(true);
        let old = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        let mut tx = old.begin().await.unwrap();
        first(&mut tx).await.unwrap();
        let more = "INSERT INTO sessions VALUES ('s', 'w', 'icons'); UPDATE workspaces SET balance \
                    = 7; PRAGMA user_version = 1";
        sqlx::raw_sql(more).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        old.close().await;

        let store = Store::open(folder.path()).await.unwrap();
        let row = sqlx::query("SELECT name, created FROM sessions").fetch_one(store.pool());
        let row = row.await.unwrap();
        assert_eq!((row.get::<&str, _>(0), row.get::<i64, _>(1)), ("icons", 0));
        let mut connection = store.pool().acquire().await.unwrap();
        assert_eq!(Workspace::all(&mut connection).await.unwrap()[0].balance.micros(), 7);
        assert_eq!(version(&mut connection).await.unwrap(), SCHEMA_VERSION);
    }
}
