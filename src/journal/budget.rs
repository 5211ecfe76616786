//! What may be spent, counted where no other process can come between.

use std::path::Path;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::row::path_text;
use super::{Journal, JournalError, NewJob};
use crate::layer::CreativeUnits;

/// What a purchase must stay below, in sums that the journal knows.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// All that this process may spend.
    pub session: Option<CreativeUnits>,
    /// All that may be spent for one project, ever.
    pub project: Option<CreativeUnits>,
    /// All that may be spent since `day_began`, by every process of this user.
    pub day: Option<CreativeUnits>,
    /// Local midnight.
    pub day_began: Timestamp,
}

/// A budget that a purchase would go beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Which: `session`, `project` or `day`.
    pub which: &'static str,
    /// The limit.
    pub limit: CreativeUnits,
    /// What is spent or reserved already.
    pub spent: CreativeUnits,
}

/// What is spent or set aside already, in the sums that budgets are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// By one process.
    pub session: CreativeUnits,
    /// For one project, ever.
    pub project: CreativeUnits,
    /// By every process of this user, since the day began.
    pub day: CreativeUnits,
}

/// What an entry counts for: the charge, and before it is known what is reserved. An unknown
/// outcome keeps its reservation; what failed without a charge gives it back.
pub(super) const COUNTS: &str = "CASE WHEN state IN ('failed', 'cancelled', 'refused') \
     THEN coalesce(charged, 0) ELSE coalesce(charged, \
     max(coalesce(named_at_start, 0), estimated + margin)) END";

/// The first budget that `new` does not fit into.
pub(super) async fn exceeded(
    transaction: &mut SqliteConnection,
    new: &NewJob,
    budgets: &Budgets,
) -> Result<Option<OverBudget>, JournalError> {
    let price = new.estimated.plus(new.margin);
    if let Some(limit) = budgets.session {
        let spent = of_session(transaction, &new.session).await?;
        if spent.plus(price) > limit {
            return Ok(Some(OverBudget { which: "session", limit, spent }));
        }
    }
    if let Some(limit) = budgets.project {
        let spent = of_project(transaction, &new.project).await?;
        if spent.plus(price) > limit {
            return Ok(Some(OverBudget { which: "project", limit, spent }));
        }
    }
    if let Some(limit) = budgets.day {
        let spent = since(transaction, budgets.day_began).await?;
        if spent.plus(price) > limit {
            return Ok(Some(OverBudget { which: "day", limit, spent }));
        }
    }
    Ok(None)
}

impl Journal {
    /// What is spent or set aside by this session, for this project, and since `day_began`,
    /// counted as budgets count it.
    ///
    /// # Errors
    /// [`JournalError::Database`] when the file can't be read, [`JournalError::Entry`] when the
    /// project's path is not Unicode.
    pub async fn spent(
        &self,
        session: &str,
        project: &Path,
        day_began: Timestamp,
    ) -> Result<Spent, JournalError> {
        // One transaction, so that the three sums are of one moment.
        let mut transaction = self.pool.begin().await?;
        Ok(Spent {
            session: of_session(&mut transaction, session).await?,
            project: of_project(&mut transaction, project).await?,
            day: since(&mut transaction, day_began).await?,
        })
    }
}

async fn of_session(
    transaction: &mut SqliteConnection,
    session: &str,
) -> Result<CreativeUnits, JournalError> {
    let of_session = format!("SELECT coalesce(sum({COUNTS}), 0) FROM jobs WHERE session = ?");
    let micros: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(of_session))
        .bind(session)
        .fetch_one(transaction)
        .await?;
    Ok(CreativeUnits::from_micros(micros))
}

async fn of_project(
    transaction: &mut SqliteConnection,
    project: &Path,
) -> Result<CreativeUnits, JournalError> {
    let of_project = format!("SELECT coalesce(sum({COUNTS}), 0) FROM jobs WHERE project = ?");
    let micros: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(of_project))
        .bind(path_text(project)?)
        .fetch_one(transaction)
        .await?;
    Ok(CreativeUnits::from_micros(micros))
}

/// What was spent since then: all entries after the first of that time, whatever time they say. So
/// a clock that is set back gives nothing back, neither while it is wrong nor afterwards.
async fn since(
    transaction: &mut SqliteConnection,
    began: Timestamp,
) -> Result<CreativeUnits, JournalError> {
    let of_day = format!(
        "SELECT coalesce(sum({COUNTS}), 0) FROM jobs WHERE seq >= \
         (SELECT min(seq) FROM jobs WHERE created_at >= ?)"
    );
    let micros: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(of_day))
        .bind(began.as_millisecond())
        .fetch_one(transaction)
        .await?;
    Ok(CreativeUnits::from_micros(micros))
}
