//! Naming prices, and holding to them.

use jiff::{SignedDuration, Timestamp};

use super::Runs;
use super::consent::Question;
use super::error::RunError;
use super::purchase::{Offer, Settled, Wanted};
use super::wait::Patience;
use crate::journal::{JobId, Quote, QuoteLine};
use crate::layer::CreativeUnits;
use crate::redact::clean_line;

/// How long a quoted price holds.
const HOLDS: SignedDuration = SignedDuration::from_mins(15);

/// The price of one call or several, with the right to hold us to it.
#[derive(Clone, Debug)]
pub struct QuoteReport {
    /// Give it to the calls that buy.
    pub id: String,
    /// Each call.
    pub calls: Vec<QuotedCall>,
    /// The sum of what they are expected to cost.
    pub total: CreativeUnits,
    /// What the workspace can spend now.
    pub available: CreativeUnits,
    /// Whether that is enough.
    pub sufficient: bool,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// True when only the user can allow one of them.
    pub needs_confirmation: bool,
}

/// The price of one call.
#[derive(Clone, Debug)]
pub struct QuotedCall {
    /// What it is expected to cost.
    pub price: CreativeUnits,
    /// How much of that is no estimate of Layer's, but learned from earlier charges.
    pub margin: CreativeUnits,
    /// The id of the model or workflow.
    pub subject: String,
    /// The model and why it, or the workflow, and what the price does not include.
    pub remarks: String,
    /// The job that the call would be answered with, for nothing.
    pub same_as: Option<JobId>,
}

impl Runs {
    /// Names the price of these calls, one after the other, and holds to it for a quarter of an
    /// hour. Costs nothing.
    ///
    /// # Errors
    /// Whatever the first call that can't be made would fail with.
    pub async fn quote(&self, wanted: &[Wanted]) -> Result<QuoteReport, RunError> {
        let deadline = Patience::ToTheEnd.before_a_start();
        let (mut calls, mut lines, mut whats) = (Vec::new(), Vec::new(), Vec::new());
        let (mut available, mut sufficient) = (CreativeUnits::ZERO, true);
        for one in wanted {
            let (prepared, offer) = match self.settle(one, None, deadline).await {
                Ok(Settled::New(prepared, offer)) => (prepared, offer),
                Ok(Settled::Same(job)) => {
                    return Err(RunError::Internal { job: job.id().clone() });
                }
                Err((error, None)) => return Err(error),
                Err((error, Some(at))) => return Err(self.explained(error, &at.0, &at.1).await),
            };
            let mut same_as = None;
            if let Some(since) = self.same_request_since(one) {
                let journal = self.inner.journal().await?;
                let same = journal.same_request(&prepared.fingerprint, since).await;
                same_as = same.map_err(RunError::journal)?.map(|job| job.id().clone());
            }
            available = offer.price.available;
            sufficient &= offer.price.sufficient;
            whats.push(what(one, &prepared.name));
            lines.push(QuoteLine {
                fingerprint: prepared.fingerprint.clone(),
                price: offer.expected(),
            });
            calls.push(QuotedCall {
                price: offer.expected(),
                margin: offer.margin.unwrap_or_default(),
                subject: prepared.order.subject().to_owned(),
                remarks: prepared.remarks(&offer, false),
                same_as,
            });
        }
        let quote = self.keep_quote(lines, available, &whats).await?;
        let threshold = self.inner.settings.limits.confirm_above;
        let total = quote.total();
        Ok(QuoteReport {
            needs_confirmation: calls.iter().any(|call| call.price > threshold),
            total,
            sufficient: sufficient && (total <= available || calls.len() == 1),
            id: quote.id,
            calls,
            available,
            expires_at: quote.expires_at,
        })
    }

    /// The question whether one call may cost so much.
    pub(super) async fn ask_for(
        &self,
        wanted: &Wanted,
        line: QuoteLine,
        name: &str,
        offer: &Offer,
    ) -> Result<Question, RunError> {
        if let Some(id) = wanted.quote_id()
            && let Some(question) = self.question(id).await?
        {
            return Ok(question);
        }
        let available = offer.price.available;
        let quote = self.keep_quote(vec![line], available, &[what(wanted, name)]).await?;
        Ok(Question {
            price: quote.total(),
            threshold: self.inner.settings.limits.confirm_above,
            available,
            what: quote.what,
            expires_at: quote.expires_at,
            quote_id: quote.id,
        })
    }

    async fn keep_quote(
        &self,
        lines: Vec<QuoteLine>,
        available: CreativeUnits,
        whats: &[String],
    ) -> Result<Quote, RunError> {
        let what = match whats {
            [] => String::new(),
            [one] => one.clone(),
            [first, ..] => format!("{} calls, the first: {first}", whats.len()),
        };
        let quote = Quote {
            id: format!("quote_{:016x}", rand::random::<u64>()),
            lines,
            available,
            what,
            expires_at: self.inner.now() + HOLDS,
            verdict: None,
        };
        self.inner.journal().await?.keep_quote(&quote).await.map_err(RunError::journal)?;
        Ok(quote)
    }
}

/// `2 × FLUX.1, "a knight"`, safe to show to the user.
fn what(wanted: &Wanted, name: &str) -> String {
    let times = match wanted.count() {
        1 => String::new(),
        count => format!("{count} × "),
    };
    // In quotes that it can't close: a prompt is somebody else's words beside the price.
    let title = clean_line(wanted.title(), 160).replace(['"', '“', '”', '„', '«', '»'], "'");
    format!("{times}{}, \"{title}\"", clean_line(name, 60))
}
