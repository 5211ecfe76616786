//! What can go wrong between us and Layer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A call to Layer that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure it is: what a caller would do differently.
    pub kind: ApiErrorKind,
    /// One clause on what happened. Text from the service is in it only cleaned, cut and quoted.
    pub message: String,
    /// HTTP status, when an answer came.
    pub status: Option<u16>,
    /// The service's own code, when it gave one.
    pub upstream_code: Option<String>,
    /// The id under which the service's support finds the request.
    pub request_id: Option<String>,
    /// How long the service asked us to wait, at most an hour.
    pub retry_after: Option<Duration>,
    /// How far the request got.
    pub reached: Reached,
}

/// The failures that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiErrorKind {
    /// The token is wrong, expired or revoked (401).
    Unauthenticated,
    /// The workspace, its plan or the token doesn't allow it (403).
    FeatureDisabled,
    /// The workspace can't pay (402).
    InsufficientBalance,
    /// The model is not in the workspace's catalogue.
    ModelNotFound,
    /// Something else that the request named does not exist (404).
    NotFound,
    /// The service found a fault in the request (400, 405, 409, 413, 422).
    InvalidRequest,
    /// Too many requests or too many runs at once (429).
    RateLimited,
    /// The service failed (5xx), or answered what no version of its interface says.
    Service,
    /// The service could not be reached, or the connection broke.
    Network,
    /// The service took too long.
    Timeout,
    /// The address is one that this server never contacts.
    BlockedHost,
    /// The address is of a kind that is never followed, whoever allows its host.
    BadAddress,
    /// What came is larger than allowed, cut short, or too slow to be a file.
    BadDownload,
    /// The client can't be built from the settings: certificate bundle, proxy.
    Configuration,
}

/// What became of a request, in one word for the audit trail.
pub(super) fn outcome<T>(answer: &Result<T, ApiError>) -> serde_json::Value {
    match answer {
        Ok(_) => "ok".into(),
        Err(error) => serde_json::to_value(error.kind).unwrap_or_default(),
    }
}

/// How far a failed request got: what decides whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No byte of the request left this machine.
    NotSent,
    /// The service answered that it will not do it.
    Refused,
    /// The service may have done it: the answer is missing, broken, or a failure of its own.
    Unknown,
}

impl ApiError {
    pub(crate) fn new(kind: ApiErrorKind, reached: Reached, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            upstream_code: None,
            request_id: None,
            retry_after: None,
            reached,
        }
    }

    /// No path serves an operation.
    pub(super) fn no_path() -> Self {
        Self::new(ApiErrorKind::NotFound, Reached::NotSent, "no path serves this")
    }

    /// True when a read may be repeated in the hope of a better answer.
    pub(super) fn is_passing(&self) -> bool {
        match self.kind {
            ApiErrorKind::RateLimited | ApiErrorKind::Network | ApiErrorKind::Timeout => true,
            ApiErrorKind::Service => matches!(self.status, Some(500 | 502 | 503 | 504)),
            _ => false,
        }
    }

    /// True when the service may have carried out what the request asked for.
    pub fn may_have_happened(&self) -> bool {
        self.reached == Reached::Unknown
    }
}
