//! Answers that are not the one hoped for, in the shapes that Layer may give them.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::fields::Detail;
use super::runs::Refused;

/// Why a request has no good answer.
#[derive(Clone, Debug)]
pub(super) enum ApiError {
    Coded {
        status: StatusCode,
        code: &'static str,
        message: String,
        retry_after: Option<u64>,
    },
    Invalid(Vec<Detail>),
    /// The connection is closed instead.
    Dropped,
}

/// Marks a response that is never sent: its connection is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropped;

/// The shapes of an error body, by the faults of that name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    DetailString,
    Graphql,
    Html,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::Coded { status, code, message: message.into(), retry_after: None }
    }

    pub(super) fn unauthenticated() -> Self {
        let message = "The access token is missing, malformed or expired.";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("{what} not found"))
    }

    pub(super) fn model_not_found(id: &str) -> Self {
        let message = format!("Model '{id}' was not found in this workspace");
        Self::new(StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", message)
    }

    pub(super) fn insufficient_balance() -> Self {
        let message = "Not enough Creative Units available in this workspace.";
        Self::new(StatusCode::PAYMENT_REQUIRED, "INSUFFICIENT_BALANCE", message)
    }

    pub(super) fn feature_disabled(modality: &str) -> Self {
        let message = format!("Cannot run {modality} inferences on this workspace");
        Self::new(StatusCode::FORBIDDEN, "FEATURE_DISABLED", message)
    }

    pub(super) fn rate_limited(retry_after: Option<u64>) -> Self {
        Self::Coded {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "RATE_LIMITED",
            message: "Too many generations. Please wait before starting another.".to_owned(),
            retry_after,
        }
    }

    pub(super) fn internal() -> Self {
        let message = "Oops! Our pixel wizards need a moment to recharge";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", message)
    }

    pub(super) fn bad_gateway() -> Self {
        let message = "Oops! Our pixel wizards need a moment to recharge";
        Self::new(StatusCode::BAD_GATEWAY, "DOWNSTREAM_SERVICE_ERROR", message)
    }

    /// The response with the body in one of the stranger shapes.
    pub(super) fn shaped(&self, shape: Shape) -> Response {
        let (status, code, message) = match self {
            Self::Coded { status, code, message, .. } => (*status, *code, message.clone()),
            Self::Invalid(details) => {
                let text = Value::from_iter(details.iter().map(Detail::json)).to_string();
                (StatusCode::UNPROCESSABLE_ENTITY, "BAD_REQUEST", text)
            }
            Self::Dropped => return self.clone().into_response(),
        };
        let mut response = match shape {
            Shape::DetailString => Json(json!({ "detail": message })).into_response(),
            Shape::Graphql => Json(json!({
                "type": graphql_type(status),
                "code": code,
                "title": status.canonical_reason(),
                "message": message,
                "data": null,
            }))
            .into_response(),
            Shape::Html => Html(format!(
                "<!doctype html><html><head><title>{status}</title></head>\
                 <body><h1>{status}</h1><p>{message}</p><hr>sandbox</body></html>"
            ))
            .into_response(),
        };
        *response.status_mut() = status;
        self.add_retry_after(&mut response);
        response
    }

    /// Type, code, title and message of the error member of a GraphQL answer.
    pub(super) fn member(&self) -> (&'static str, &'static str, &'static str, String) {
        let (status, code, message) = match self {
            Self::Coded { status, code, message, .. } => (*status, *code, message.clone()),
            Self::Invalid(details) => {
                let text: Vec<_> = details.iter().map(Detail::line).collect();
                (StatusCode::BAD_REQUEST, "BAD_REQUEST", text.join("; "))
            }
            Self::Dropped => (StatusCode::BAD_GATEWAY, "DROPPED", String::new()),
        };
        (graphql_type(status), code, status.canonical_reason().unwrap_or("Error"), message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    fn add_retry_after(&self, response: &mut Response) {
        if let Self::Coded { retry_after: Some(seconds), .. } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
    }
}

/// The error types of the GraphQL schema.
fn graphql_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHORIZED_ERROR",
        402 => "PAYMENT_REQUIRED_ERROR",
        403 => "FORBIDDEN_ERROR",
        404 => "NOT_FOUND_ERROR",
        429 => "RATE_LIMITED_ERROR",
        500.. => "INTERNAL_SERVER_ERROR",
        _ => "BAD_REQUEST_ERROR",
    }
}

impl From<Detail> for ApiError {
    fn from(detail: Detail) -> Self {
        Self::Invalid(vec![detail])
    }
}

impl From<Vec<Detail>> for ApiError {
    fn from(details: Vec<Detail>) -> Self {
        Self::Invalid(details)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the sandbox's state cannot be read or written");
        Self::internal()
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::RateLimited { retry_after_ms } => {
                let seconds = u64::try_from(retry_after_ms).unwrap_or(0).div_ceil(1_000);
                Self::rate_limited(Some(seconds.max(1)))
            }
            Refused::InsufficientBalance { available } => {
                tracing::debug!(available = available.micros(), "refused a start");
                Self::insufficient_balance()
            }
            Refused::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = match &self {
            Self::Coded { status, code, message, .. } => {
                let body = json!({ "error": { "code": code, "message": message } });
                (*status, Json(body)).into_response()
            }
            Self::Invalid(details) => {
                let details = Value::from_iter(details.iter().map(Detail::json));
                let body = json!({ "detail": details });
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::Dropped => {
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(Dropped);
                response
            }
        };
        self.add_retry_after(&mut response);
        // For whoever gives the body another shape.
        response.extensions_mut().insert(self);
        response
    }
}
