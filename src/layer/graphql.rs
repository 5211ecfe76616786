//! Layer's GraphQL side: one call, two channels of errors, and a schema that moves.
//!
//! The documents ask for what is needed and no more. A field whose name ends in `?` is asked for
//! where the live schema still has it, and left out where the service says that it is gone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::error::{ApiError, ApiErrorKind, Reached};
use super::http::Http;
use super::paths::{Call, Operation, Paths};
use super::wire;
use crate::redact::clean_line;

/// A document with one operation and one root field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document {
    /// The operation's name.
    pub(super) name: &'static str,
    /// The root field.
    pub(super) root: &'static str,
    /// What may be sent again: true for queries.
    pub(super) is_read: bool,
    /// The text, with `?` behind fields that can be done without.
    pub(super) text: &'static str,
}

/// The value of a root field, an object, a list or null, with what the service's support finds it
/// by.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) request_id: Option<String>,
}

impl std::ops::Deref for Found {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl Found {
    /// It has not the form that the schema gives it. Whatever was done is done: a second try of a
    /// mutation is not ours to make.
    pub(super) fn odd(&self, what: &'static str) -> ApiError {
        let message =
            format!("{what} in the service's answer is missing or has an unexpected form");
        let error = ApiError::new(ApiErrorKind::Service, Reached::Unknown, message);
        ApiError { request_id: self.request_id.clone(), ..error }
    }
}

/// Asks for what a document says, and returns what its root field holds.
///
/// # Errors
/// Those of the connection, of the top-level list `errors`, and of a root field that is an `Error`.
pub(super) async fn ask(
    http: &Http,
    paths: &Paths,
    document: Document,
    variables: Value,
) -> Result<Found, ApiError> {
    let mut left_out = BTreeSet::new();
    loop {
        let body = json!({
            "operationName": document.name,
            "query": document.render(&left_out),
            "variables": variables,
        });
        let call = if document.is_read { Call::Ask(&body) } else { Call::Once(Some(&body)) };
        let answer = paths.send(http, Operation::GraphQl, &[], call).await?;
        let told = |error: ApiError| ApiError { request_id: answer.request_id.clone(), ..error };
        match read(document, &answer.body) {
            // A document that does not fit the schema is refused before anything is done.
            Err(Refusal::NoField(field)) if document.can_leave_out(&field, &left_out) => {
                tracing::debug!(field, operation = document.name, "a field is gone");
                left_out.insert(field);
            }
            Err(Refusal::NoField(field)) => {
                return Err(told(ApiError::new(
                    ApiErrorKind::Service,
                    Reached::Refused,
                    format!("the service no longer knows the field `{field}`"),
                )));
            }
            Err(Refusal::Other(error)) => return Err(told(*error)),
            Ok(value) => return Ok(Found { value, request_id: answer.request_id }),
        }
    }
}

impl Document {
    fn render(self, left_out: &BTreeSet<String>) -> String {
        let word = |word: &str| match word.strip_suffix('?') {
            Some(field) if left_out.contains(field) => None,
            Some(field) => Some(field.to_owned()),
            None => Some(word.to_owned()),
        };
        let words: Vec<String> = self.text.split_whitespace().filter_map(word).collect();
        words.join(" ")
    }

    fn can_leave_out(self, field: &str, left_out: &BTreeSet<String>) -> bool {
        let marked = self.text.split_whitespace().any(|word| word.strip_suffix('?') == Some(field));
        marked && !left_out.contains(field)
    }
}

enum Refusal {
    NoField(String),
    Other(Box<ApiError>),
}

fn read(document: Document, answer: &Value) -> Result<Value, Refusal> {
    let found = answer.get("data").and_then(|data| data.get(document.root));
    let errors = answer.get("errors").and_then(Value::as_array).filter(|all| !all.is_empty());
    if let Some(errors) = errors
        && found.is_none_or(Value::is_null)
    {
        let first = errors.first().unwrap_or(&Value::Null);
        let said = first.get("message").and_then(Value::as_str).unwrap_or_default();
        if let Some(field) = missing_field(said) {
            return Err(Refusal::NoField(field));
        }
        let code = first.get("extensions").and_then(|inner| inner.get("code"));
        let kind = code.and_then(Value::as_str).unwrap_or_default();
        return Err(Refusal::Other(Box::new(failed(kind, None, said))));
    }
    let found = found.cloned().unwrap_or_default();
    let text = |name: &str| found.get(name).and_then(Value::as_str);
    if text("__typename") == Some("Error") {
        let (kind, code) = (text("type").unwrap_or_default(), text("code"));
        let said = text("message").or(text("title")).unwrap_or_default();
        return Err(Refusal::Other(Box::new(failed(kind, code, said))));
    }
    Ok(found)
}

/// The name in "Cannot query field 'x' on type 'Y'.", in either kind of quotes.
fn missing_field(said: &str) -> Option<String> {
    let rest = said.split_once("Cannot query field ")?.1;
    let name = rest.trim_start_matches(['\'', '"']).split(['\'', '"']).next()?;
    (!name.is_empty()).then(|| clean_line(name, 80))
}

/// What an error of either channel means. The types are those of the schema's `ErrorType`.
fn failed(kind: &str, code: Option<&str>, said: &str) -> ApiError {
    let (kind, reached) = match kind {
        "UNAUTHORIZED_ERROR" | "UNAUTHENTICATED" => {
            (ApiErrorKind::Unauthenticated, Reached::Refused)
        }
        "FORBIDDEN_ERROR" | "FORBIDDEN" => (ApiErrorKind::FeatureDisabled, Reached::Refused),
        "NOT_FOUND_ERROR" => (ApiErrorKind::NotFound, Reached::Refused),
        "RATE_LIMITED_ERROR" => (ApiErrorKind::RateLimited, Reached::Refused),
        "PAYMENT_REQUIRED_ERROR" => (ApiErrorKind::InsufficientBalance, Reached::Refused),
        "BAD_REQUEST_ERROR" | "BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED" => {
            (ApiErrorKind::InvalidRequest, Reached::Refused)
        }
        _ => (ApiErrorKind::Service, Reached::Unknown),
    };
    let said = wire::in_plain_words(&clean_line(said, 300));
    let error = ApiError::new(kind, reached, format!("the service answered: {said}"));
    ApiError { upstream_code: code.map(|code| clean_line(code, 80)), ..error }
}

/// The variables of a document with one input object.
pub(super) fn input(fields: Value) -> Value {
    json!({ "input": fields })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

    use super::*;

    const PLAN: Document = Document {
        name: "Plan",
        root: "getPlan",
        is_read: true,
        text: "query Plan { getPlan { id tier? notes? } }",
    };

    #[test]
    fn a_field_that_is_gone_is_left_out_and_asked_for_no_more() {
        let gone = json!({"errors": [{"message": "Cannot query field 'tier' on type 'Plan'."}]});
        let Err(Refusal::NoField(field)) = read(PLAN, &gone) else { panic!("it is a refusal") };
        assert!(PLAN.can_leave_out(&field, &BTreeSet::new()));
        let left_out = BTreeSet::from([field.clone()]);
        assert_eq!(PLAN.render(&left_out), "query Plan { getPlan { id notes } }");
        assert!(!PLAN.can_leave_out(&field, &left_out) && !PLAN.can_leave_out("id", &left_out));
    }

    #[test]
    fn both_channels_of_errors_are_read() {
        for (answer, kind, words) in [
            (
                json!({"errors": [{"message": "boom"}], "data": null}),
                ApiErrorKind::Service,
                "\"boom\"",
            ),
            (
                json!({"data": {"getPlan": {"__typename": "Error", "type": "FORBIDDEN_ERROR",
                       "code": "NO_PLAN", "title": "t", "message": "not yours"}}}),
                ApiErrorKind::FeatureDisabled,
                "not yours",
            ),
            (
                json!({"data": {"getPlan": {"__typename": "Error", "type": "BRAND_NEW_ERROR",
                       "message": "Oops! Our pixel wizards need a moment to recharge"}}}),
                ApiErrorKind::Service,
                "too many runs at",
            ),
        ] {
            let Err(Refusal::Other(error)) = read(PLAN, &answer) else { panic!("{answer}") };
            assert_eq!(error.kind, kind);
            assert!(error.message.contains(words), "{}", error.message);
        }
        let found = read(PLAN, &json!({"data": {"getPlan": {"__typename": "Plan", "id": 1}}}));
        assert!(found.is_ok());
        assert!(matches!(read(PLAN, &json!({"data": {"getPlan": null}})), Ok(Value::Null)));
    }
}
