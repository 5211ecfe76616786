//! What a failure at Layer means for the caller.

use std::time::Duration;

use crate::layer::{ApiError, ApiErrorKind};

/// Code, whether a repetition can help, and the next step, for a failure after which nothing is
/// charged.
pub(super) fn of_api(error: &ApiError) -> (&'static str, bool, String) {
    of_kind(error.kind, error.retry_after)
}

pub(super) fn of_kind(
    kind: ApiErrorKind,
    retry_after: Option<Duration>,
) -> (&'static str, bool, String) {
    let (code, retryable, next) = match kind {
        ApiErrorKind::Unauthenticated => (
            "unauthenticated",
            false,
            "the token is wrong, expired or revoked: ask the user to run `layer-mcp setup` with a \
             new one from app.layer.ai, Settings, Personal Access Tokens",
        ),
        ApiErrorKind::FeatureDisabled => (
            "feature_disabled",
            false,
            "the workspace or its plan does not allow this: take another model, or ask the \
             workspace's owner",
        ),
        ApiErrorKind::InsufficientBalance => (
            "insufficient_balance",
            true,
            "ask the user to add Creative Units at app.layer.ai, or take a cheaper model \
             (`list_models` with `max_cu`) or a smaller `count`",
        ),
        ApiErrorKind::ModelNotFound => (
            "model_not_found",
            false,
            "call `list_models` and take a `model_id` from it, or leave out `model`",
        ),
        ApiErrorKind::NotFound => (
            "not_found",
            false,
            "check the workspace with `get_workspace_info`, and the ids with the tools that list them",
        ),
        ApiErrorKind::InvalidRequest => {
            ("invalid_argument", false, "correct what the service names, or take another model")
        }
        ApiErrorKind::RateLimited => {
            let wait = retry_after.map_or(30, |wait| wait.as_secs().max(1));
            let next = format!("wait {wait} seconds, then call again");
            return ("rate_limited", true, next);
        }
        ApiErrorKind::Service => {
            ("service_error", true, "the service has trouble: call again in a minute")
        }
        ApiErrorKind::Network => (
            "network",
            true,
            "check the connection, the proxy, `LAYER_API_BASE_URL` and, where a certificate is \
             named, `LAYER_CA_BUNDLE`; then call again",
        ),
        ApiErrorKind::Timeout => ("timeout", true, "call again in a minute"),
        ApiErrorKind::BlockedHost => (
            "blocked_host",
            false,
            "if the host is to be trusted, the user can add it to `LAYER_ALLOWED_HOSTS`",
        ),
        ApiErrorKind::BadAddress => ("blocked_host", true, "call again"),
        ApiErrorKind::BadDownload => ("download_failed", true, "call again"),
        ApiErrorKind::Configuration => (
            "configuration",
            false,
            "correct the setting (`LAYER_CA_BUNDLE`, `LAYER_PROXY`) and restart the server",
        ),
    };
    (code, retryable, next.to_owned())
}
