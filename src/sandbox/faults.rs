//! Faults that can be ordered by name: everything a remote paid service has been seen to do, or
//! may do, to its client. A prompt never causes one.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident $name:literal $description:literal;)+) => {
        /// One way in which the sandbox misbehaves on request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $(#[doc = $description] $variant,)+
        }

        impl Fault {
            /// Every fault, in the order of the help text.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant,)+];

            /// The name by which it is ordered.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One line on what it does and to which requests.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)+ }
            }
        }
    };
}

faults! {
    Unauthorized "unauthorized" "every API request answers 401 UNAUTHENTICATED";
    InsufficientBalance "insufficient_balance" "a start answers 402 INSUFFICIENT_BALANCE";
    FeatureDisabled "feature_disabled" "a start answers 403 FEATURE_DISABLED";
    ModelNotFound "model_not_found" "a start or an estimate answers 404 MODEL_NOT_FOUND";
    Validation "validation" "a start or an estimate answers 422 in the FastAPI shape";
    RateLimited "rate_limited" "a start answers 429 RATE_LIMITED with Retry-After: 1";
    RateLimitedNoHeader "rate_limited_no_header" "a start answers 429 without Retry-After";
    ServerError "server_error" "a start answers 500 and nothing was started";
    ServerErrorAfterStart "server_error_after_start" "a start answers 500 although the run goes on and is charged";
    StartDropped "start_dropped" "the connection closes on a start before anything was started";
    StartDroppedAfter "start_dropped_after" "the run starts and is charged, but the connection closes without an answer";
    ReadDropped "read_dropped" "the connection closes on a GET to the API";
    ReadServerError "read_server_error" "a GET to the API answers 500";
    ReadRateLimited "read_rate_limited" "a GET to the API answers 429 with Retry-After: 1";
    StatusUpper "status_upper" "status words are upper case: IN_PROGRESS, COMPLETE";
    StatusCompleted "status_completed" "a finished run reads COMPLETED, a running one IN_PROGRESS";
    StatusSucceeded "status_succeeded" "a finished run reads succeeded";
    StatusOdd "status_odd" "a running run reads queued, rendering, post_processing";
    StatusFailure "status_failure" "the run fails and reads failure";
    StatusError "status_error" "the run fails and reads error";
    StatusCanceled "status_canceled" "the run is cancelled by the service and reads canceled";
    StatusDeleted "status_deleted" "the run is cancelled by the service and reads deleted";
    RunFails "run_fails" "the run ends failed with CONTENT_POLICY_VIOLATION, nothing is charged";
    RunCancelled "run_cancelled" "the run ends cancelled, nothing is charged";
    RunNeverEnds "run_never_ends" "the run stays in progress for ever";
    Straggler "straggler" "the run takes ten times as long";
    PriceAboveEstimate "price_above_estimate" "the charge is half as much again as the start announced";
    EstimateRises "estimate_rises" "an estimate is half as much again";
    StyleDegraded "style_degraded" "an estimate says that a style would be applied in part, as the hosted server does";
    NegativeBalanceAllowed "negative_balance_allowed" "workspaces carry allow_negative_balance: true and may overdraw";
    NestedBody "nested_body" "generation fields are read from `parameters`, flat ones are ignored";
    OutputsUnderFiles "outputs_under_files" "outputs come under `files`";
    OutputsUnderAssets "outputs_under_assets" "outputs come under `assets`";
    OutputsUnderResult "outputs_under_result" "outputs come under `result`";
    OutputSingleObject "output_single_object" "one output as an object instead of a list";
    OutputDownloadUrl "output_download_url" "an output has `download_url` instead of `url`";
    ErrorDetailString "error_detail_string" "errors come as {\"detail\": \"...\"}; a start that would work answers 502 that way";
    ErrorGraphqlShape "error_graphql_shape" "errors come as {type, code, title, message, data}; a start that would work answers 502 that way";
    ErrorHtml "error_html" "errors come as an HTML page; a start that would work answers 502 that way";
    NullPollInterval "null_poll_interval" "poll_interval_seconds is null";
    ZeroPollInterval "zero_poll_interval" "poll_interval_seconds is 0";
    HugePollInterval "huge_poll_interval" "poll_interval_seconds is 86400";
    NegativePollInterval "negative_poll_interval" "poll_interval_seconds is -5";
    DownloadTruncated "download_truncated" "a download ends before its Content-Length";
    DownloadOversized "download_oversized" "a download never ends";
    DownloadRedirect "download_redirect" "a download answers 302 to another port";
    DownloadWrongType "download_wrong_type" "a download is an HTML page labelled image/png";
    Download404 "download_404" "a download answers 404";
    DownloadSlow "download_slow" "a download trickles, 1 KiB each half second";
    UrlFileScheme "url_file_scheme" "an output's url is file:///etc/passwd";
    UrlHttp "url_http" "an output's url is plain http";
    UrlPrivateAddress "url_private_address" "an output's url points to 169.254.169.254";
    UrlForeignHost "url_foreign_host" "an output's url points to a host that only looks like Layer's";
    ApiRedirect "api_redirect" "an API request answers 302 to another port";
    HugeJson "huge_json" "a GET to the API answers 64 MiB of JSON";
    ExpiredUploadUrl "expired_upload_url" "the storage host answers ExpiredToken to the start of an upload";
    UploadUnavailable "upload_unavailable" "the storage host answers 503 to bytes and keeps none";
    UploadDropped "upload_dropped" "the storage host keeps the bytes and closes the connection without an answer";
    CancelSupported "cancel_supported" "POST .../cancel works; without it those paths answer 404";
    ModelsCamelCase "models_camel_case" "capabilities are a list of camelCase names";
    ModelsIdField "models_id_field" "a model has `id` instead of `model_id`";
    TotalCountNull "total_count_null" "total_count is always null";
    GraphqlError "graphql_error" "a GraphQL request answers top-level errors and no data";
    GraphqlDomainError "graphql_domain_error" "a GraphQL operation answers the Error member INTERNAL_SERVER_ERROR";
    GraphqlForbidden "graphql_forbidden" "a GraphQL operation answers the Error member FORBIDDEN_ERROR";
    GraphqlUnknownEnum "graphql_unknown_enum" "GraphQL statuses and plan tiers read HIBERNATING, which the schema does not have";
    GraphqlFieldGone "graphql_field_gone" "GraphQL does not know planTier, autoCaption and trainingReadinessErrors any more";
    GraphqlParametersString "graphql_parameters_string" "GraphQL inference parameters come as a JSON string";
    WorkflowOutputsObject "workflow_outputs_object" "workflow outputs are an object of lists of files by output name";
    WorkflowOutputsIds "workflow_outputs_ids" "workflow outputs are an object of lists of bare file ids by output name";
    WorkflowPathsOther "workflow_paths_other" "workflows are priced at .../runs/estimate and started at .../execute, their usual paths answer 404";
    SlowAnswers "slow_answers" "every API answer takes two seconds of real time";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a fault could not be read from text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultError {
    /// There is no fault of that name.
    #[error("there is no fault named `{0}`")]
    Unknown(String),
    /// What follows the colon is not a count.
    #[error("`{0}` is not a number of times from 1 upwards")]
    Times(String),
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|fault| fault.name() == name)
            .ok_or_else(|| FaultError::Unknown(name.to_owned()))
    }
}

/// A fault, and for how many matching requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    /// What happens.
    pub fault: Fault,
    /// Only to the first so many requests that match; `None` for all of them.
    pub times: Option<u32>,
}

impl From<Fault> for FaultSpec {
    fn from(fault: Fault) -> Self {
        Self { fault, times: None }
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.times {
            Some(times) => write!(f, "{}:{times}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

/// `name`, or `name:3` for the first three matching requests.
impl FromStr for FaultSpec {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((name, times)) = text.split_once(':') else {
            return Ok(Fault::from_str(text)?.into());
        };
        let fault = name.parse()?;
        match times.parse() {
            Ok(0) | Err(_) => Err(FaultError::Times(times.to_owned())),
            Ok(times) => Ok(Self { fault, times: Some(times) }),
        }
    }
}

/// The faults in force, with their remaining counts.
#[derive(Debug, Default)]
pub(super) struct ArmedFaults(Mutex<Vec<FaultSpec>>);

impl ArmedFaults {
    pub(super) fn new(faults: Vec<FaultSpec>) -> Self {
        Self(Mutex::new(faults))
    }

    pub(super) fn set(&self, faults: Vec<FaultSpec>) {
        *self.lock() = faults;
    }

    /// Whether the fault strikes here and now; one of its times is used up.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let mut armed = self.lock();
        let Some(spec) = armed.iter_mut().find(|s| s.fault == fault && s.times != Some(0)) else {
            return false;
        };
        spec.times = spec.times.map(|left| left.saturating_sub(1));
        true
    }

    /// Whether the fault would strike; nothing is used up.
    pub(super) fn is_armed(&self, fault: Fault) -> bool {
        self.lock().iter().any(|s| s.fault == fault && s.times != Some(0))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<FaultSpec>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn every_name_reads_back_and_is_described() {
        let mut names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), *fault);
            assert!(!fault.description().is_empty());
            assert!(!fault.description().contains('\n'));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fault::ALL.len());
    }

    #[test]
    fn a_count_limits_a_fault() {
        let spec: FaultSpec = "server_error:2".parse().unwrap();
        assert_eq!(spec, FaultSpec { fault: Fault::ServerError, times: Some(2) });
        assert_eq!(spec.to_string(), "server_error:2");

        let armed = ArmedFaults::new(vec![spec]);
        assert!(armed.is_armed(Fault::ServerError));
        assert!(armed.strikes(Fault::ServerError));
        assert!(armed.strikes(Fault::ServerError));
        assert!(!armed.strikes(Fault::ServerError));
        assert!(!armed.strikes(Fault::Straggler));
        armed.set(vec![Fault::Straggler.into()]);
        assert!((0..50).all(|_| armed.strikes(Fault::Straggler)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!("no_such".parse::<FaultSpec>(), Err(FaultError::Unknown("no_such".into())));
        for bad in ["straggler:0", "straggler:", "straggler:-1", "straggler:many"] {
            assert!(matches!(bad.parse::<FaultSpec>(), Err(FaultError::Times(_))), "{bad}");
        }
    }
}
