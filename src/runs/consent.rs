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
use crate::journal::{Quote, Verdict, Void};
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
    /// The client answered `decline` or `cancel` by itself, sooner than anybody can read, or with
    /// an error.
    ByClient(&'static str),
    /// The client said yes in a form that holds no yes.
    Unclear,
}

impl Question {
    /// What came of it, as a clause.
    pub(super) fn came_to(&self, consent: Option<Consent>) -> String {
        let Self { price, threshold, .. } = self;
        match consent {
            None => format!(
                "it would cost {price}; above {threshold} a purchase needs the user's own consent"
            ),
            Some(Consent::Declined) => format!("the user was asked and said no to {price}"),
            Some(Consent::Dismissed) => {
                format!("the user closed the question about {price} without an answer (cancel)")
            }
            Some(Consent::Unanswered(waited)) => format!(
                "the user did not answer the question about {price} within {} seconds",
                waited.as_secs()
            ),
            Some(Consent::ByClient(action)) => format!(
                "the client itself answered `{action}` to the question about {price}, without showing \
             it to anybody"
            ),
            Some(Consent::Given | Consent::Unclear) => {
                format!(
                    "the client accepted the question about {price} without the user's yes in it"
                )
            }
        }
    }

    /// What whoever wanted to buy can do now.
    pub(super) fn next_step(&self, consent: Option<Consent>) -> String {
        let id = &self.quote_id;
        match consent {
            None => format!(
                "tell the user the price and what it is for. If they want it, call `confirm_spend` \
             with quote_id `{id}`, then repeat this call with that quote_id. If not, a cheaper \
             model or a smaller `count` may do; don't split the purchase to stay below the limit"
            ),
            Some(Consent::Declined) => {
                "don't ask again. Take a cheaper model or a smaller `count`, or leave it".to_owned()
            }
            Some(
                Consent::Given | Consent::Dismissed | Consent::Unanswered(_) | Consent::Unclear,
            ) => {
                format!(
                    "ask the user in the conversation whether they want it; if so, repeat the call with \
             quote_id `{id}`, and they are asked once more"
                )
            }
            Some(Consent::ByClient(_)) => {
                "nobody is there to say yes. Whoever runs this can raise \
                                       `LAYER_CONFIRM_ABOVE_CU`; or take a cheaper model or a \
                                       smaller `count`"
                    .to_owned()
            }
        }
    }
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
        let void = |why: Void| Err(RunError::QuoteVoid { why });
        match quote {
            None => void(Void::Absent),
            Some(quote) if quote.expires_at <= now => void(Void::RanOut),
            Some(quote) if verdict.is_some() && quote.verdict != verdict => match quote.verdict {
                Some(Verdict::Declined) => void(Void::Declined),
                _ => void(Void::Contradicted),
            },
            Some(quote) => Ok(quote),
        }
    }

    /// Hears a yes that stands for purchases to come.
    ///
    /// # Errors
    /// [`RunError::QuoteVoid`], also when there is nothing left to buy with the quote.
    pub async fn release(&self, quote_id: &str, how: &'static str) -> Result<Quote, RunError> {
        let quote = self.hear(quote_id, Consent::Given, how).await?;
        let journal = self.inner.journal().await?;
        match journal.used_up_by(&quote).await.map_err(RunError::journal)? {
            Some(job) => Err(RunError::QuoteVoid { why: Void::UsedUp { job } }),
            None => Ok(quote),
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
        let void = |why: Void| Err(RunError::QuoteVoid { why });
        match quote {
            None => void(Void::Absent),
            Some(quote) if quote.expires_at <= self.inner.now() => void(Void::RanOut),
            Some(Quote { verdict: Some(Verdict::Declined), .. }) => void(Void::Declined),
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
