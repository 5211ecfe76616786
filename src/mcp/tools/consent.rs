//! Purchases that only the user can allow, as the tools see them: whoever can ask the user is
//! asked to, and without such a one `confirm_spend` stands for the question.

use std::time::Instant;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, data, parse, spec};
use crate::journal::Void;
use crate::layer::CreativeUnits;
use crate::redact::clean_line;
use crate::runs::{Consent, ErrorReport, Question, RunError, WaitSeconds, Wanted};

/// Asks the user, as far as the client of this call can.
pub trait AskUser: Send + Sync {
    /// The answer that came with the call: to which quote, and what it was.
    fn answered(&self) -> Option<(&str, Consent)>;

    /// Asks.
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Reply>;
}

/// What comes of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The user was asked, or the client answered for them.
    Heard(Consent),
    /// The client asks, and makes the call again with the answer.
    Later,
    /// This client can't ask.
    Nobody,
}

/// For calls behind which nobody can be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl AskUser for NobodyToAsk {
    fn answered(&self) -> Option<(&str, Consent)> {
        None
    }

    fn ask<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Reply> {
        Box::pin(std::future::ready(Reply::Nobody))
    }
}

/// The words of the audit trail for the ways in which the user was asked.
const BY_FORM: &str = "form";
const BY_TOOL: &str = "confirm_spend";

/// Buys what a tool made of its arguments, with the user's consent where that is needed.
pub(super) async fn buy(
    call: Call<'_>,
    mut wanted: Wanted,
    wait: Option<WaitSeconds>,
) -> Result<Answer, ErrorReport> {
    let began = Instant::now();
    let patience = call.patience(wait);
    let report = |error: RunError| error.report();
    if let Some((quote, consent)) = call.user.answered() {
        heard(&call, quote, consent).await.map_err(report)?;
        wanted = wanted.with_quote(quote);
    }
    let error = match call.runs.create(&wanted, patience, call.progress).await {
        Ok(job) => return data(&job),
        Err(error) => error,
    };
    let RunError::ConfirmationNeeded { question, consent: None } = &error else {
        return Err(error.report());
    };
    match call.user.ask(question).await {
        Reply::Nobody => Err(error.report()),
        Reply::Later => Ok(Answer::Ask(question.clone())),
        Reply::Heard(consent) => {
            heard(&call, &question.quote_id, consent).await.map_err(report)?;
            let wanted = wanted.with_quote(&question.quote_id);
            let job = call.runs.create(&wanted, patience.since(began), call.progress).await;
            data(&job.map_err(report)?)
        }
    }
}

/// Writes down what the user said. Everything but a yes is an error.
async fn heard(call: &Call<'_>, quote: &str, consent: Consent) -> Result<(), RunError> {
    if consent == Consent::Given {
        return call.runs.hear(quote, consent, BY_FORM).await.map(drop);
    }
    let question = call.runs.question(quote).await?;
    call.runs.hear(quote, consent, BY_FORM).await?;
    match question {
        Some(question) => Err(RunError::ConfirmationNeeded {
            question: Box::new(question),
            consent: Some(consent),
        }),
        // Their yes of before stands, but this call came with another answer.
        None => Err(RunError::QuoteVoid { why: Void::Contradicted }),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmSpendArgs {
    /// From the error or from quote.
    quote_id: String,
}

#[derive(Serialize, JsonSchema)]
struct ConfirmSpendAnswer {
    quote_id: String,
    estimated_cu: CreativeUnits,
    expires_at: String,
    message: String,
}

pub(super) fn confirm_spend() -> Entry {
    Entry {
        spec: spec::<ConfirmSpendArgs, ConfirmSpendAnswer>(
            "confirm_spend",
            "Confirm spending",
            "Releases a purchase that answered confirmation_needed. Only after the user, told the \
             price, said yes. Then repeat the purchase with the quote_id.",
            Hints {
                read_only: false,
                destructive: true,
                idempotent: true,
                open_world: false,
                asks_user: true,
            },
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(confirm(call, arguments)) as Handled<'_>,
    }
}

async fn confirm(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ConfirmSpendArgs>(arguments)?;
    let id = clean_line(&args.quote_id, 80);
    let report = |error: RunError| error.report();
    let answered = call.user.answered().filter(|(quote, _)| *quote == id);
    let question = call.runs.question(&id).await.map_err(report)?;
    if let Some(question) = &question {
        match answered.map_or(Reply::Later, |(_, consent)| Reply::Heard(consent)) {
            Reply::Heard(consent) => heard(&call, &id, consent).await.map_err(report)?,
            _ => match call.user.ask(question).await {
                Reply::Heard(consent) => heard(&call, &id, consent).await.map_err(report)?,
                Reply::Later => return Ok(Answer::Ask(Box::new(question.clone()))),
                // The client has asked the user whether this tool may be called.
                Reply::Nobody => {
                    call.runs.hear(&id, Consent::Given, BY_TOOL).await.map(drop).map_err(report)?;
                }
            },
        }
    }
    let quote = call.runs.release(&id, BY_TOOL).await.map_err(report)?;
    data(&ConfirmSpendAnswer {
        estimated_cu: quote.total(),
        expires_at: quote.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        message: format!(
            "{} may be spent on it once. Repeat the purchase with quote_id `{id}`.",
            quote.total()
        ),
        quote_id: id,
    })
}
