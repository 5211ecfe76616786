//! Runs and their money: reserve at the start, settle at the end, release on failure or
//! cancellation. A run's end is decided when it starts; time alone brings it there.

use serde_json::Value;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::clock::file_stamp;
use super::media::Artifact;
use super::money::CreativeUnits;
use super::state::{Store, Workspace};

/// Starts a minute for one user, and how many of them may be video.
const STARTS_A_MINUTE: i64 = 60;
const VIDEO_STARTS_A_MINUTE: i64 = 30;

/// The kinds of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Inference,
    Workflow,
    /// Of a style; it has no outputs.
    Training,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Workflow => "workflow",
            Self::Training => "training",
        }
    }
}

/// How a run will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Complete,
    ContentPolicyViolation,
    ImageTooLarge,
    Cancelled,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ContentPolicyViolation => "CONTENT_POLICY_VIOLATION",
            Self::ImageTooLarge => "IMAGE_TOO_LARGE",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(word: &str) -> Self {
        [Self::Complete, Self::ContentPolicyViolation, Self::ImageTooLarge]
            .into_iter()
            .find(|outcome| outcome.word() == word)
            .unwrap_or(Self::Cancelled)
    }
}

/// Where a run is at some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Underway; the part of its time that has gone by, below 1.
    Running(f64),
    Complete,
    Failed {
        code: &'static str,
        message: &'static str,
    },
    Cancelled,
}

/// What a start asks for.
#[derive(Debug)]
pub(super) struct NewRun {
    pub(super) workspace: String,
    pub(super) kind: Kind,
    /// The model or the workflow.
    pub(super) subject: String,
    pub(super) video: bool,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) normalized: Value,
    pub(super) estimated: CreativeUnits,
    pub(super) price: CreativeUnits,
    /// `None`: it never ends.
    pub(super) lasts_ms: Option<i64>,
    pub(super) poll_ms: i64,
    pub(super) outcome: Outcome,
    pub(super) session: Option<Session>,
}

/// The session of a run, by either of its names.
#[derive(Clone, Debug)]
pub(super) enum Session {
    Id(String),
    Name(String),
}

impl Session {
    /// Whether the workspace has a session of that id.
    pub(super) async fn exists(
        store: &Store,
        workspace: &str,
        id: &str,
    ) -> Result<bool, sqlx::Error> {
        let row = sqlx::query("SELECT 1 FROM sessions WHERE workspace = ? AND id = ?")
            .bind(workspace)
            .bind(id)
            .fetch_optional(store.pool())
            .await?;
        Ok(row.is_some())
    }
}

/// What runs are looked up by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    Id,
    Workspace,
    Session,
}

/// Why a start was refused.
#[derive(Debug)]
pub(super) enum Refused {
    RateLimited { retry_after_ms: i64 },
    InsufficientBalance { available: CreativeUnits },
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The rules a start is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) now_ms: i64,
    /// How long the minute of the rate limit is.
    pub(super) minute_ms: i64,
    pub(super) may_overdraw: bool,
}

/// A stored run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) workspace: String,
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) normalized: Value,
    pub(super) estimated: CreativeUnits,
    pub(super) price: CreativeUnits,
    pub(super) poll_ms: i64,
    pub(super) created: i64,
    pub(super) due: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) session: Option<String>,
    /// What it makes, with prompt and seed.
    pub(super) artifacts: Vec<Artifact>,
    /// Whether its user wants to see it no more.
    pub(super) deleted: bool,
}

impl Run {
    /// The state machine: where the run is at `now_ms`.
    pub(super) fn phase(&self, now_ms: i64) -> Phase {
        let Some(due) = self.due else {
            return Phase::Running(0.5);
        };
        if now_ms < due {
            let whole = (due - self.created).max(1) as f64;
            return Phase::Running(((now_ms - self.created) as f64 / whole).clamp(0.0, 0.999));
        }
        match self.outcome {
            Outcome::Complete => Phase::Complete,
            Outcome::ContentPolicyViolation => Phase::Failed {
                code: "CONTENT_POLICY_VIOLATION",
                message: "The request was refused by the content policy.",
            },
            Outcome::ImageTooLarge => Phase::Failed {
                code: "IMAGE_TOO_LARGE",
                message: "The image would be larger than 4096 pixels.",
            },
            Outcome::Cancelled => Phase::Cancelled,
        }
    }

    /// Starts a run: judges it, holds its price and stores it, all at once.
    pub(super) async fn start(store: &Store, new: NewRun, terms: Terms) -> Result<Self, Refused> {
        let now = terms.now_ms;
        let mut tx = store.write().await?;
        settle_due(&mut tx, now).await?;
        judge_rate(&mut tx, new.video, terms).await?;
        let available = Workspace::find(&mut tx, &new.workspace)
            .await?
            .map_or(CreativeUnits::ZERO, |workspace| workspace.available());
        if new.estimated > available && !terms.may_overdraw {
            return Err(Refused::InsufficientBalance { available });
        }
        let session = match new.session {
            Some(Session::Id(id)) => Some(id),
            Some(Session::Name(name)) => Some(session(&mut tx, &new.workspace, &name, now).await?),
            None => None,
        };
        let run = Self {
            id: Uuid::new_v4().to_string(),
            workspace: new.workspace,
            kind: new.kind,
            subject: new.subject,
            normalized: new.normalized,
            estimated: new.estimated,
            price: new.price,
            poll_ms: new.poll_ms,
            created: now,
            due: new.lasts_ms.map(|ms| now.saturating_add(ms.max(1))),
            outcome: new.outcome,
            session,
            artifacts: new.artifacts,
            deleted: false,
        };
        let artifacts = serde_json::to_string(&run.artifacts)
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)")
            .bind(&run.id)
            .bind(&run.workspace)
            .bind(run.kind.word())
            .bind(&run.subject)
            .bind(new.video)
            .bind(artifacts)
            .bind(run.normalized.to_string())
            .bind(run.estimated.micros())
            .bind(run.price.micros())
            .bind(run.poll_ms)
            .bind(run.created)
            .bind(run.due)
            .bind(run.outcome.word())
            .bind(&run.session)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE workspaces SET last_active = ? WHERE id = ?")
            .bind(now)
            .bind(&run.workspace)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(run)
    }

    /// Looks a run up in its workspace, after what is due has been settled.
    pub(super) async fn find(
        store: &Store,
        kind: Kind,
        workspace: &str,
        id: &str,
        now_ms: i64,
    ) -> Result<Option<Self>, sqlx::Error> {
        settle(store, now_ms).await?;
        let row = sqlx::query("SELECT * FROM runs WHERE id = ? AND workspace = ?")
            .bind(id.to_ascii_lowercase())
            .bind(workspace)
            .fetch_optional(store.pool())
            .await?;
        let run = row.as_ref().map(Self::from_row).transpose()?;
        Ok(run.filter(|run| run.kind == kind))
    }

    /// Runs of any kind by a condition on the table, newest first.
    pub(super) async fn all(
        store: &Store,
        column: Column,
        value: &str,
        now_ms: i64,
    ) -> Result<Vec<Self>, sqlx::Error> {
        settle(store, now_ms).await?;
        let statement = match column {
            Column::Id => "SELECT * FROM runs WHERE id = ?",
            Column::Workspace => "SELECT * FROM runs WHERE workspace = ? ORDER BY created DESC, id",
            Column::Session => "SELECT * FROM runs WHERE session = ? ORDER BY created DESC, id",
        };
        let rows = sqlx::query(statement).bind(value).fetch_all(store.pool()).await?;
        rows.iter().map(Self::from_row).collect()
    }

    /// Brings a run that would complete to its end now; `None` when it would not.
    pub(super) async fn at_once(
        mut self,
        store: &Store,
        now_ms: i64,
    ) -> Result<Option<Self>, sqlx::Error> {
        if self.due.is_none() || self.outcome != Outcome::Complete {
            return Ok(None);
        }
        let mut tx = store.write().await?;
        sqlx::query("UPDATE runs SET due = ? WHERE id = ? AND settled = 0")
            .bind(now_ms)
            .bind(&self.id)
            .execute(&mut *tx)
            .await?;
        settle_due(&mut tx, now_ms).await?;
        tx.commit().await?;
        self.due = Some(now_ms);
        Ok(Some(self))
    }

    /// Hides the run from lists.
    pub(super) async fn delete(&self, store: &Store) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE runs SET deleted = 1 WHERE id = ?")
            .bind(&self.id)
            .execute(store.pool())
            .await
            .map(drop)
    }

    /// Cancels what still runs and releases its reservation. A run that has ended stays as it is.
    pub(super) async fn cancel(&self, store: &Store, now_ms: i64) -> Result<(), sqlx::Error> {
        let mut tx = store.write().await?;
        settle_due(&mut tx, now_ms).await?;
        sqlx::query(
            "UPDATE runs SET outcome = 'cancelled', due = ?, settled = 1
             WHERE id = ? AND settled = 0",
        )
        .bind(now_ms)
        .bind(&self.id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let kind: &str = row.try_get("kind")?;
        let normalized: &str = row.try_get("normalized")?;
        Ok(Self {
            id: row.try_get("id")?,
            workspace: row.try_get("workspace")?,
            kind: [Kind::Workflow, Kind::Training]
                .into_iter()
                .find(|known| known.word() == kind)
                .unwrap_or(Kind::Inference),
            subject: row.try_get("subject")?,
            normalized: serde_json::from_str(normalized).unwrap_or_default(),
            estimated: CreativeUnits::from_micros(row.try_get("estimated")?),
            price: CreativeUnits::from_micros(row.try_get("price")?),
            poll_ms: row.try_get("poll_ms")?,
            created: row.try_get("created")?,
            due: row.try_get("due")?,
            outcome: Outcome::parse(row.try_get("outcome")?),
            session: row.try_get("session")?,
            artifacts: serde_json::from_str(row.try_get("artifacts")?)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            deleted: row.try_get("deleted")?,
        })
    }
}

/// Settles every run whose time has come. Cheap when there is none.
pub(super) async fn settle(store: &Store, now_ms: i64) -> Result<(), sqlx::Error> {
    let due = sqlx::query("SELECT 1 FROM runs WHERE settled = 0 AND due <= ? LIMIT 1")
        .bind(now_ms)
        .fetch_optional(store.pool())
        .await?;
    if due.is_some() {
        let mut tx = store.write().await?;
        settle_due(&mut tx, now_ms).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Charges what completed, and gives its outputs their ids. What failed or was cancelled only
/// ceases to be reserved.
async fn settle_due(tx: &mut SqliteConnection, now_ms: i64) -> Result<(), sqlx::Error> {
    let due = sqlx::query("SELECT * FROM runs WHERE settled = 0 AND due <= ?")
        .bind(now_ms)
        .fetch_all(&mut *tx)
        .await?;
    for row in &due {
        let run = Run::from_row(row)?;
        if run.outcome == Outcome::Complete {
            sqlx::query("UPDATE workspaces SET balance = balance - ? WHERE id = ?")
                .bind(run.price.micros())
                .bind(&run.workspace)
                .execute(&mut *tx)
                .await?;
            insert_outputs(tx, &run).await?;
        }
        sqlx::query("UPDATE runs SET settled = 1 WHERE id = ?")
            .bind(&run.id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn insert_outputs(tx: &mut SqliteConnection, run: &Run) -> Result<(), sqlx::Error> {
    let namespace = Uuid::parse_str(&run.id).unwrap_or_default();
    let ended = run.due.unwrap_or(run.created);
    for (position, artifact) in (0_i64..).zip(&run.artifacts) {
        let id = Uuid::new_v5(&namespace, &position.to_le_bytes()).to_string();
        let stamp = file_stamp(ended);
        let name = format!("{}-{stamp}.{}", artifact.slug(), artifact.extension());
        let spec =
            serde_json::to_string(artifact).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let size = artifact.size();
        sqlx::query("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)")
            .bind(id)
            .bind(&run.workspace)
            .bind(&artifact.content_type)
            .bind(name)
            .bind(ended)
            .bind(spec)
            .bind(size.map(|(width, _)| width))
            .bind(size.map(|(_, height)| height))
            .bind(&run.id)
            .bind(position)
            .bind(&artifact.label)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Counts the starts of the last minute, whatever became of them.
async fn judge_rate(tx: &mut SqliteConnection, video: bool, terms: Terms) -> Result<(), Refused> {
    let since = terms.now_ms.saturating_sub(terms.minute_ms);
    let row = sqlx::query(
        "SELECT COUNT(*), COALESCE(SUM(video), 0), MIN(created) FROM runs WHERE created > ?",
    )
    .bind(since)
    .fetch_one(tx)
    .await?;
    let (all, videos): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if all < STARTS_A_MINUTE && !(video && videos >= VIDEO_STARTS_A_MINUTE) {
        return Ok(());
    }
    let oldest: Option<i64> = row.try_get(2)?;
    let free = oldest.unwrap_or(terms.now_ms).saturating_add(terms.minute_ms);
    Err(Refused::RateLimited { retry_after_ms: free - terms.now_ms })
}

/// Finds the session of that exact name, or makes it.
pub(super) async fn session(
    tx: &mut SqliteConnection,
    workspace: &str,
    name: &str,
    now_ms: i64,
) -> Result<String, sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?)")
        .bind(Uuid::new_v4().to_string())
        .bind(workspace)
        .bind(name)
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
    sqlx::query("SELECT id FROM sessions WHERE workspace = ? AND name = ?")
        .bind(workspace)
        .bind(name)
        .fetch_one(tx)
        .await?
        .try_get(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::super::state::WORKSPACE_ID;
    use super::*;

    fn new(outcome: Outcome) -> NewRun {
        NewRun {
            workspace: WORKSPACE_ID.to_owned(),
            kind: Kind::Inference,
            subject: "flux".to_owned(),
            video: false,
            artifacts: vec![Artifact::default()],
            normalized: Value::Null,
            estimated: CreativeUnits::from_micros(600_000),
            price: CreativeUnits::from_micros(900_000),
            lasts_ms: Some(4_000),
            poll_ms: 1_000,
            outcome,
            session: None,
        }
    }

    const TERMS: Terms = Terms { now_ms: 1_000, minute_ms: 60_000, may_overdraw: false };

    async fn money(store: &Store) -> (i64, i64) {
        let mut connection = store.pool().acquire().await.unwrap();
        let workspace = Workspace::find(&mut connection, WORKSPACE_ID).await.unwrap().unwrap();
        (workspace.balance.micros(), workspace.reserved.micros())
    }

    #[tokio::test]
    async fn time_alone_brings_a_run_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let run = Run::start(&store, new(Outcome::Complete), TERMS).await.unwrap();
        assert_eq!(run.phase(1_000), Phase::Running(0.0));
        assert_eq!(run.phase(3_000), Phase::Running(0.5));
        assert_eq!(run.phase(5_000), Phase::Complete);
        assert_eq!(money(&store).await, (500_000_000, 600_000));
        // Settled once, however often and by whomever it is looked at.
        for now in [4_999, 5_000, 5_001, 90_000] {
            settle(&store, now).await.unwrap();
        }
        assert_eq!(money(&store).await, (499_100_000, 0));
        let found =
            Run::find(&store, Kind::Inference, WORKSPACE_ID, &run.id, 90_000).await.unwrap();
        assert_eq!(found.unwrap().phase(90_000), Phase::Complete);
        let workflow = Run::find(&store, Kind::Workflow, WORKSPACE_ID, &run.id, 90_000);
        assert!(workflow.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn failed_and_cancelled_runs_release_their_reservation() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        for outcome in [Outcome::ContentPolicyViolation, Outcome::ImageTooLarge, Outcome::Cancelled]
        {
            Run::start(&store, new(outcome), TERMS).await.unwrap();
        }
        assert_eq!(money(&store).await, (500_000_000, 1_800_000));
        settle(&store, 5_000).await.unwrap();
        assert_eq!(money(&store).await, (500_000_000, 0));

        let endless = NewRun { lasts_ms: None, ..new(Outcome::Complete) };
        let endless = Run::start(&store, endless, TERMS).await.unwrap();
        assert_eq!(endless.phase(i64::MAX), Phase::Running(0.5));
        settle(&store, i64::MAX - 1).await.unwrap();
        assert_eq!(money(&store).await, (500_000_000, 600_000));
        endless.cancel(&store, 9_000).await.unwrap();
        assert_eq!(money(&store).await, (500_000_000, 0));
    }
}
