//! Asking the user through the protocol: by the input round trip of MCP 2026-07-28, by
//! `elicitation/create` before it.
//!
//! The round trip's state comes back from the client and is trusted for nothing: it is sealed with
//! a key of this process, bound to the tool and its arguments, and runs out. That it is used once
//! is the journal's business, where the quote that it names is used up.

use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use rmcp::RoleServer;
use rmcp::model::{
    BooleanSchema, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequests, InputRequiredResult, InputResponses,
    PrimitiveSchemaDefinition, ProtocolVersion, RequestStateCodec, SealOptions,
};
use rmcp::service::RequestContext;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::tools::{AskUser, Reply};
use crate::journal::Void;
use crate::runs::{Consent, Question, RunError};

/// The name of the question in a round trip, and of the field in its form.
const NAME: &str = "confirm";
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// Nobody reads and answers a question in less.
const NOBODY_READS: Duration = Duration::from_millis(400);

/// Seals and opens the state of round trips.
pub(super) struct Consents {
    codec: Option<RequestStateCodec>,
}

/// What a round trip has to remember.
#[derive(Serialize, Deserialize)]
struct State {
    quote: String,
    /// Milliseconds since 1970.
    asked_at: u64,
}

impl Consents {
    /// With a key of its own.
    pub(super) fn new() -> Self {
        let key: [u8; 32] = rand::random();
        Self { codec: RequestStateCodec::try_new(key).ok() }
    }

    /// The user behind one call, with the answer that came with it.
    ///
    /// # Errors
    /// [`RunError::QuoteVoid`] for a state that is not ours, of another call, or too old.
    pub(super) fn user<'a>(
        &self,
        context: &'a RequestContext<RoleServer>,
        forms: bool,
        call: &[u8],
        state: Option<&str>,
        responses: Option<&InputResponses>,
        limit: Duration,
    ) -> Result<User<'a>, RunError> {
        let answered = match state {
            None => None,
            Some(state) => {
                let opened =
                    self.codec.as_ref().and_then(|codec| codec.open_with(state, call).ok());
                let state: Option<State> =
                    opened.and_then(|opened| serde_json::from_slice(&opened).ok());
                let state = state.ok_or(RunError::QuoteVoid { why: Void::OtherCall })?;
                let took = Duration::from_millis(millis().saturating_sub(state.asked_at));
                let response = responses.and_then(|responses| responses.get(NAME));
                let result = response.and_then(|response| {
                    serde_json::from_value::<ElicitResult>(response.clone()).ok()
                });
                result.map(|result| (state.quote, consent(&result, took)))
            }
        };
        Ok(User { context, forms, answered, limit })
    }

    /// The answer to a call that waits for the user: the question, and the sealed state.
    pub(super) fn round_trip(
        &self,
        question: &Question,
        call: &[u8],
    ) -> Option<InputRequiredResult> {
        let state = State { quote: question.quote_id.clone(), asked_at: millis() };
        let state = serde_json::to_vec(&state).ok()?;
        let options = SealOptions::new().associated_data(call).ttl(ANSWER_WITHIN);
        let sealed = self.codec.as_ref()?.seal_with(&state, &options);
        let request = InputRequest::Elicitation(ElicitRequest::new(form(question)?));
        let requests = InputRequests::from([(NAME.to_owned(), request)]);
        Some(InputRequiredResult::new(Some(requests), Some(sealed)))
    }
}

/// What a state is bound to: the tool and its arguments, in whatever order those come.
pub(super) fn binding(tool: &str, arguments: &Map<String, Value>) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(tool.as_bytes());
    digest.update([0]);
    digest.update(sorted(&Value::Object(arguments.clone())).to_string().as_bytes());
    digest.finalize().to_vec()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let field = |name: &String| Some((name.clone(), sorted(fields.get(name)?)));
            Value::Object(names.into_iter().filter_map(field).collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// The user behind one call.
pub(super) struct User<'a> {
    context: &'a RequestContext<RoleServer>,
    /// Whether the client's word that it shows forms is taken.
    forms: bool,
    answered: Option<(String, Consent)>,
    limit: Duration,
}

impl AskUser for User<'_> {
    fn answered(&self) -> Option<(&str, Consent)> {
        self.answered.as_ref().map(|(quote, consent)| (quote.as_str(), *consent))
    }

    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            if !self.forms || !shows_forms(self.context) {
                return Reply::Nobody;
            }
            let version = self.context.protocol_version();
            if version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
                return Reply::Later;
            }
            let Some(form) = form(question) else { return Reply::Nobody };
            let asked = Instant::now();
            let limit = Some(self.limit);
            match self.context.peer.create_elicitation_with_timeout(form, limit).await {
                Ok(result) => Reply::Heard(consent(&result, asked.elapsed())),
                Err(rmcp::ServiceError::Timeout { .. }) => {
                    Reply::Heard(Consent::Unanswered(self.limit))
                }
                Err(error) => {
                    // No answer of the user's: they may never have seen it.
                    tracing::warn!(%error, "the client can't show a question after all");
                    Reply::Heard(Consent::ByClient("error"))
                }
            }
        })
    }
}

/// Whether the client of this call said that it can show a form. Nothing beside the modes means
/// forms (MCP, elicitation).
fn shows_forms(context: &RequestContext<RoleServer>) -> bool {
    let capabilities = context.client_capabilities();
    capabilities
        .and_then(|capabilities| capabilities.elicitation)
        .is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
}

/// One switch, off. The price stands first: a prompt is somebody else's words.
fn form(question: &Question) -> Option<ElicitRequestParams> {
    let Question { price, available, threshold, what, .. } = question;
    let switch = BooleanSchema::new()
        .title(format!("Spend {price}"))
        .description("Layer.ai bills it when you say yes.")
        .with_default(false);
    let schema = ElicitationSchema::builder()
        .required_property(NAME, PrimitiveSchemaDefinition::Boolean(switch))
        .build()
        .ok()?;
    Some(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: format!(
            "Spend {price} at Layer.ai? {available} are available; you are asked above \
             {threshold}. It is for: {what}"
        ),
        requested_schema: schema,
    })
}

fn consent(result: &ElicitResult, took: Duration) -> Consent {
    let switch = result.content.as_ref().and_then(|content| content.get(NAME));
    match (&result.action, switch.and_then(Value::as_bool)) {
        (ElicitationAction::Accept, Some(true)) => Consent::Given,
        (ElicitationAction::Accept, Some(false)) => Consent::Declined,
        (ElicitationAction::Accept, None) => Consent::Unclear,
        (ElicitationAction::Decline, _) if took < NOBODY_READS => Consent::ByClient("decline"),
        (ElicitationAction::Decline, _) => Consent::Declined,
        (_, _) if took < NOBODY_READS => Consent::ByClient("cancel"),
        (_, _) => Consent::Dismissed,
    }
}

fn millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
