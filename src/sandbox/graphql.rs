//! Layer's GraphQL endpoint (public introspection of August 2025): a document is read, held
//! against the schema and carried out over the same state as the REST routes.
//!
//! - `schema`, `values`, `validate`: whether a request is right;
//! - `execute`: from a right request to its answer;
//! - `operations`, `assist`, `making`: what the operations do;
//! - `objects`: the fields of what they answer.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value, json};

use super::App;
use super::answers::ApiError;
use super::api::json_body;
use super::faults::Fault;
use execute::{Execution, Failure};

mod assist;
mod execute;
mod making;
mod objects;
mod operations;
mod schema;
mod validate;
mod values;

/// What the service says whatever went wrong.
const JOKE: &str = "Oops! Our pixel wizards need a moment to recharge";
/// The fields that `graphql_field_gone` takes away.
const GONE: &[&str] = &["planTier", "autoCaption", "trainingReadinessErrors"];

/// `POST /graphql`. Whatever is wrong with the document, the status is 200.
pub(super) async fn answer(State(app): State<Arc<App>>, body: Bytes) -> Response {
    match carried_out(&app, &body).await {
        Ok(data) => Json(json!({ "data": data })).into_response(),
        Err(Refusal::Messages(messages)) => {
            let errors: Vec<_> = messages.iter().map(|text| json!({ "message": text })).collect();
            Json(json!({ "errors": errors, "data": null })).into_response()
        }
        Err(Refusal::Answer(error)) => error.into_response(),
    }
}

/// Why there is no data.
enum Refusal {
    Messages(Vec<String>),
    Answer(ApiError),
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::Messages(vec![message])
    }
}

async fn carried_out(app: &Arc<App>, body: &Bytes) -> Result<Value, Refusal> {
    if app.faults.strikes(Fault::GraphqlError) {
        return Err(JOKE.to_owned().into());
    }
    let body = json_body(body).map_err(Refusal::Answer)?;
    let Some(text) = body.get("query").and_then(Value::as_str) else {
        return Err("Must provide query string.".to_owned().into());
    };
    let empty = Map::new();
    let given = match body.get("variables") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(given)) => given,
        Some(_) => return Err("Variables must be provided as a mapping.".to_owned().into()),
    };
    let document = validate::parsed(text)?;
    let gone = if app.faults.strikes(Fault::GraphqlFieldGone) { GONE } else { &[] };
    let errors = validate::validate(&document, gone);
    if !errors.is_empty() {
        return Err(Refusal::Messages(errors));
    }
    let operation =
        validate::operation(&document, body.get("operationName").and_then(Value::as_str))?;
    let variables = validate::variables(operation, given).map_err(Refusal::Messages)?;
    Execution::new(app, &document, variables).run(operation).await.map_err(
        |failure| match failure {
            Failure::Message(message) => message.into(),
            Failure::Answer(ApiError::Dropped) => Refusal::Answer(ApiError::Dropped),
            Failure::Answer(error) => error.member().3.into(),
        },
    )
}
