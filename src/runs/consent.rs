//! What only the user can allow: a purchase above their threshold.
//!
//! A question stands in the journal as a quote. Whoever asks the user (the protocol, a terminal)
//! brings back a [`Consent`]; a yes is written to the quote, and the purchase that names the quote
//! uses it up. No argument of a purchase can say yes.

use std::time::Duration;

use jiff::Timestamp;

use super::Runs;
use super::error::RunError;
use crate::audit::Event;
use crate::journal::{Quote, Verdict};
use crate::layer::CreativeUnits;

/// What the user is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The quote that a yes is written to.
    pub quote_id: String,
    /// What would be spent.
    pub price: CreativeUnits,
    /// From where on the user is asked.
    pub threshold: CreativeUnits,
    /// What there is to spend.
    pub available: CreativeUnits,
    /// What it is for, in one line that is safe to show.
    pub what: String,
    /// Until when the price holds.
    pub expires_at: Timestamp,
}

/// What came of asking. All but the first buy nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// The user said yes.
    Given,
    /// The user said no.
    Declined,
    /// The user closed the question.
    Dismissed,
    /// Nobody answered within this time.
    Unanswered(Duration),
    /// The client answered `decline` or `cancel` by itself, sooner than anybody can read.
    ByClient(&'static str),
    /// The client said yes in a form that holds no yes.
    Unclear,
}

impl Runs {
    /// Hears what the user said to a quote. `how` they were asked goes into the audit trail.
    ///
    /// # Errors
    /// [`RunError::QuoteVoid`] when there is nothing left to say to it.
    pub async fn hear(
        &self,
        quote_id: &str,
        consent: Consent,
        how: &'static str,
    ) -> Result<Quote, RunError> {
        let verdict = match consent {
            Consent::Given => Some(Verdict::Approved),
            Consent::Declined => Some(Verdict::Declined),
            _ => None,
        };
        let journal = self.inner.journal().await?;
        let now = self.inner.now();
        if let Some(verdict) = verdict {
            let first = journal.judge_quote(quote_id, verdict, now).await;
            if first.map_err(RunError::journal)? {
                let event = Event::new(match verdict {
                    Verdict::Approved => "purchase.approved",
                    Verdict::Declined => "purchase.declined",
                });
                self.inner.settings.audit.note(event.with("quote", quote_id).with("how", how));
            }
        }
        let quote = journal.quote(quote_id).await.map_err(RunError::journal)?;
        let void = |why: &str| Err(RunError::QuoteVoid { why: why.to_owned() });
        match quote {
            None => void("there is none with this id"),
            Some(quote) if quote.expires_at <= now => void("it has run out"),
            Some(quote) if verdict.is_some() && quote.verdict != verdict => match quote.verdict {
                Some(Verdict::Declined) => void("the user said no to it"),
                _ => void("the user said yes to it before"),
            },
            Some(quote) => Ok(quote),
        }
    }

    /// What the user is to be asked about a quote that waits for their word. `None` when they said
    /// yes already.
    ///
    /// # Errors
    /// [`RunError::QuoteVoid`].
    pub async fn question(&self, quote_id: &str) -> Result<Option<Question>, RunError> {
        let journal = self.inner.journal().await?;
        let quote = journal.quote(quote_id).await.map_err(RunError::journal)?;
        let void = |why: &str| Err(RunError::QuoteVoid { why: why.to_owned() });
        match quote {
            None => void("there is none with this id"),
            Some(quote) if quote.expires_at <= self.inner.now() => void("it has run out"),
            Some(Quote { verdict: Some(Verdict::Declined), .. }) => void("the user said no to it"),
            Some(Quote { verdict: Some(Verdict::Approved), .. }) => Ok(None),
            Some(quote) => Ok(Some(Question {
                price: quote.total(),
                threshold: self.inner.settings.limits.confirm_above,
                available: quote.available,
                what: quote.what,
                expires_at: quote.expires_at,
                quote_id: quote.id,
            })),
        }
    }
}
