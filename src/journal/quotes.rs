//! Prices that were named, and whether the user said yes to them.

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::budget::exceeded;
use super::row::timestamp;
use super::{Fingerprint, JobId, Journal, JournalError, NewJob, Objection, Terms};
use crate::layer::CreativeUnits;

/// A price that was named for one call or several, and is held to until it runs out.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    /// Its id.
    pub id: String,
    /// The calls that it is for; each may be bought once.
    pub lines: Vec<QuoteLine>,
    /// What the workspace could spend when it was named.
    pub available: CreativeUnits,
    /// What it is for, in one line that is safe to show.
    pub what: String,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// What the user said to it.
    pub verdict: Option<Verdict>,
}

/// One call of a quote.
#[derive(Clone, Debug, PartialEq)]
pub struct QuoteLine {
    /// The request.
    pub fingerprint: Fingerprint,
    /// Its price, with what is known to come on top.
    pub price: CreativeUnits,
}

/// What the user said to a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Approved,
    /// No.
    Declined,
}

/// Why a quote covers a purchase not, or no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// It was never made, or long ago.
    #[error("there is none with this id")]
    Absent,
    /// It is for other arguments.
    #[error("it was for a request with other arguments")]
    OtherRequest,
    /// The user said no.
    #[error("the user said no to it")]
    Declined,
    /// The user said yes before, and now something else.
    #[error("the user said yes to it before, but this answer is no yes")]
    Contradicted,
    /// The user was not asked, and has to be.
    #[error("the user has not said yes to it")]
    NotApproved,
    /// Its time is over.
    #[error("it has run out")]
    RanOut,
    /// It would cost more now.
    #[error("the price rose from {from} to {to}")]
    PriceRose {
        /// What was named.
        from: CreativeUnits,
        /// What it would cost.
        to: CreativeUnits,
    },
    /// All that it was for is bought.
    #[error("it is used up: `{job}` was bought with it")]
    UsedUp {
        /// With what it was.
        job: JobId,
    },
    /// Layer would apply a style in part.
    #[error("Layer would not apply all of the style that was asked for")]
    Degraded,
    /// What the client gave back belongs to another call, or is too old.
    #[error("the answer belongs to another call, or came too late")]
    OtherCall,
}

impl Quote {
    /// The sum over all its calls.
    pub fn total(&self) -> CreativeUnits {
        self.lines.iter().fold(CreativeUnits::ZERO, |sum, line| sum.plus(line.price))
    }
}

impl Journal {
    /// Writes down a price that is held to.
    pub async fn keep_quote(&self, quote: &Quote) -> Result<(), JournalError> {
        let mut transaction = self.write().await?;
        for (line, of_call) in quote.lines.iter().enumerate() {
            sqlx::query(
                "INSERT INTO quotes (id, line, fingerprint, price, available, what, expires_at) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&quote.id)
            .bind(i64::try_from(line).unwrap_or(i64::MAX))
            .bind(of_call.fingerprint.as_str())
            .bind(of_call.price.micros())
            .bind(quote.available.micros())
            .bind(&quote.what)
            .bind(quote.expires_at.as_millisecond())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A price that was named before.
    pub async fn quote(&self, id: &str) -> Result<Option<Quote>, JournalError> {
        let mut connection = self.pool.acquire().await?;
        read(&mut connection, id).await
    }

    /// A job that was bought with a quote of which no call is left to be bought.
    pub async fn used_up_by(&self, quote: &Quote) -> Result<Option<JobId>, JournalError> {
        let sql = "SELECT id FROM jobs WHERE quote = ? AND state != 'refused'";
        let jobs: Vec<String> =
            sqlx::query_scalar(sql).bind(&quote.id).fetch_all(&self.pool).await?;
        let last = jobs.last().filter(|_| jobs.len() >= quote.lines.len());
        Ok(last.and_then(|job| job.parse().ok()))
    }

    /// Why this purchase can't be made on these terms, as it stands now: a quote that does not cover
    /// it, or a budget. [`Journal::reserve`] asks again.
    pub async fn objection(
        &self,
        new: &NewJob,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Option<Objection>, JournalError> {
        let mut connection = self.pool.acquire().await?;
        objection(&mut connection, new, terms, now).await
    }

    /// Ends a quote, whatever the clock says later.
    pub async fn end_quote(&self, id: &str) -> Result<(), JournalError> {
        sqlx::query("UPDATE quotes SET expires_at = 0 WHERE id = ?")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Writes down what the user said. The first word counts: `false` when there was one already,
    /// the quote has run out, or there is none.
    pub async fn judge_quote(
        &self,
        id: &str,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<bool, JournalError> {
        let word = match verdict {
            Verdict::Approved => "approved",
            Verdict::Declined => "declined",
        };
        let done = sqlx::query(
            "UPDATE quotes SET verdict = ? WHERE id = ? AND verdict IS NULL AND expires_at > ?",
        )
        .bind(word)
        .bind(id)
        .bind(now.as_millisecond())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

pub(super) async fn objection(
    connection: &mut SqliteConnection,
    new: &NewJob,
    terms: &Terms,
    now: Timestamp,
) -> Result<Option<Objection>, JournalError> {
    if let Some(over) = exceeded(connection, new, &terms.budgets).await? {
        return Ok(Some(Objection::OverBudget(over)));
    }
    let approval = terms.needs_approval;
    if !approval && new.quote.is_none() {
        return Ok(None);
    }
    let refused = refusal(connection, new, approval, now).await?;
    Ok(refused.map(Objection::QuoteVoid))
}

async fn read(connection: &mut SqliteConnection, id: &str) -> Result<Option<Quote>, JournalError> {
    let rows = sqlx::query("SELECT * FROM quotes WHERE id = ? ORDER BY line")
        .bind(id)
        .fetch_all(connection)
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let verdict: Option<String> = first.try_get("verdict")?;
    let line = |row: &sqlx::sqlite::SqliteRow| {
        Ok(QuoteLine {
            fingerprint: Fingerprint::kept(row.try_get("fingerprint")?),
            price: CreativeUnits::from_micros(row.try_get("price")?),
        })
    };
    Ok(Some(Quote {
        id: id.to_owned(),
        lines: rows.iter().map(line).collect::<Result<_, JournalError>>()?,
        available: CreativeUnits::from_micros(first.try_get("available")?),
        what: first.try_get("what")?,
        expires_at: timestamp(first.try_get("expires_at")?)?,
        verdict: match verdict.as_deref() {
            Some("approved") => Some(Verdict::Approved),
            Some(_) => Some(Verdict::Declined),
            None => None,
        },
    }))
}

/// Why the quote that a purchase names does not cover it; `None` when it does. Asked again in the
/// transaction that writes the entry, so that one quote is never used by two.
pub(super) async fn refusal(
    transaction: &mut SqliteConnection,
    new: &NewJob,
    needs_approval: bool,
    now: Timestamp,
) -> Result<Option<Void>, JournalError> {
    let Some(id) = &new.quote else {
        return Ok(needs_approval.then_some(Void::NotApproved));
    };
    let Some(quote) = read(&mut *transaction, id).await? else {
        return Ok(Some(Void::Absent));
    };
    let of_request = |line: &&QuoteLine| line.fingerprint == new.fingerprint;
    let lines: Vec<&QuoteLine> = quote.lines.iter().filter(of_request).collect();
    let Some(line) = lines.first() else {
        return Ok(Some(Void::OtherRequest));
    };
    if quote.verdict == Some(Verdict::Declined) {
        return Ok(Some(Void::Declined));
    }
    if quote.expires_at <= now {
        return Ok(Some(Void::RanOut));
    }
    let price = new.estimated.plus(new.margin);
    if price > line.price {
        return Ok(Some(Void::PriceRose { from: line.price, to: price }));
    }
    if needs_approval && quote.verdict != Some(Verdict::Approved) {
        return Ok(Some(Void::NotApproved));
    }
    // A start that was refused cost nothing, and the price still holds.
    let used: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM jobs WHERE quote = ? AND fingerprint = ? AND state != 'refused'",
    )
    .bind(id)
    .bind(new.fingerprint.as_str())
    .fetch_all(transaction)
    .await?;
    let last = used.last().filter(|_| used.len() >= lines.len());
    Ok(last.and_then(|job| job.parse().ok()).map(|job| Void::UsedUp { job }))
}
