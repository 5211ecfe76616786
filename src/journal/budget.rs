//! What may be spent, counted where no other process can come between.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::row::path_text;
use super::{JournalError, NewJob};
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
        let of_session = format!("SELECT coalesce(sum({COUNTS}), 0) FROM jobs WHERE session = ?");
        let micros: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(of_session))
            .bind(&new.session)
            .fetch_one(&mut *transaction)
            .await?;
        let spent = CreativeUnits::from_micros(micros);
        if spent.plus(price) > limit {
            return Ok(Some(OverBudget { which: "session", limit, spent }));
        }
    }
    if let Some(limit) = budgets.project {
        let of_project = format!("SELECT coalesce(sum({COUNTS}), 0) FROM jobs WHERE project = ?");
        let micros: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(of_project))
            .bind(path_text(&new.project)?)
            .fetch_one(&mut *transaction)
            .await?;
        let spent = CreativeUnits::from_micros(micros);
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
