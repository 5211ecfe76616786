//! What can go wrong in a use case: what happened, what became of the money, what to do next.

mod upstream;

use std::sync::Arc;

use serde::Serialize;

use upstream::{of_api, of_kind};

use super::consent::{Consent, Question};
use super::report::FileReport;
use crate::audit::AuditError;
use crate::files::{FileError, SavedFile};
use crate::journal::{JobFailure, JobId, JournalError, Void};
use crate::layer::{ApiError, ApiErrorKind, CreativeUnits, InferenceId};

/// Said of a job that was cancelled in the queue.
const NEVER_SENT: &str = "it was cancelled before its start was sent, so nothing is charged";

/// A use case that did not reach its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// Settings or credentials are missing or wrong.
    #[error("{0}")]
    Setup(SetupProblem),
    /// An argument can't be used.
    #[error("{message}")]
    Argument {
        /// Its name.
        field: &'static str,
        /// What is wrong with it and what is allowed.
        message: String,
    },
    /// A file at an address could not be fetched.
    #[error("the file on `{host}` can't be fetched: {source}")]
    Fetch {
        /// Its host; the rest of an address may be a secret.
        host: String,
        /// What went wrong.
        source: ApiError,
    },
    /// No model has this name or serves this purpose.
    #[error("this workspace has no model `{asked}`")]
    ModelNotFound {
        /// What was asked for.
        asked: String,
        /// Models that sound like it.
        near: Vec<String>,
    },
    /// The workspace has no model for a purpose.
    #[error("this workspace has no model for `{use_case}`")]
    NoModelFor {
        /// The purpose.
        use_case: &'static str,
    },
    /// Layer has no such thing.
    #[error("{what} `{asked}` is not at Layer, or not in this workspace")]
    NotThere {
        /// What kind of thing.
        what: &'static str,
        /// What was asked for.
        asked: String,
    },
    /// A call that costs nothing failed, before anything was started.
    #[error("{source}")]
    Layer {
        /// Why.
        source: ApiError,
    },
    /// The models or the price took longer than the caller wants to wait.
    #[error("Layer did not tell its models or the price in time; nothing was started")]
    TooSlow,
    /// The service refused the start, or it never left.
    #[error("the run was not started: {source}")]
    StartRefused {
        /// Our entry.
        job: JobId,
        /// Why.
        source: ApiError,
    },
    /// A start that was refused some time ago, so nothing ever ran.
    #[error("the run was never started: {}", failure.message)]
    NeverStarted {
        /// Our entry.
        job: JobId,
        /// Why.
        failure: JobFailure,
    },
    /// No usable answer to the start.
    #[error("no usable answer came to the start of the run; it may have started and be charged")]
    StartUnanswered {
        /// Our entry.
        job: JobId,
        /// What came instead, as far as it is known.
        failure: Option<JobFailure>,
    },
    /// Layer reported a failed run.
    #[error("the run failed at Layer")]
    RunFailed {
        /// Our entry.
        job: JobId,
        /// Layer's words.
        failure: JobFailure,
        /// What it cost all the same.
        charged: Option<CreativeUnits>,
    },
    /// The run was stopped at Layer, or its start before it was sent.
    #[error("{}", if *.unsent { NEVER_SENT } else { "the run was cancelled or deleted at Layer" })]
    RunCancelled {
        /// Our entry.
        job: JobId,
        /// Its start never left.
        unsent: bool,
    },
    /// The run goes on, but it can't be looked at.
    #[error("the run was started, but its state can't be read: {source}")]
    Watching {
        /// Our entry.
        job: JobId,
        /// Why.
        source: ApiError,
    },
    /// Layer says that the run is complete and lists no file.
    #[error("the run is complete at Layer, but lists no file")]
    NoFiles {
        /// Our entry.
        job: JobId,
    },
    /// A finished file could not be fetched.
    #[error("the run is complete, but its file could not be fetched: {source}")]
    Download {
        /// Our entry.
        job: JobId,
        /// Why.
        source: ApiError,
        /// The files of the same job that could.
        saved: Vec<SavedFile>,
    },
    /// The run is done and paid, and the journal can't take it.
    #[error(
        "the run `{inference}` is complete at Layer, but the journal can't be written: {source}"
    )]
    Unrecorded {
        /// Our entry.
        job: JobId,
        /// Layer's id, which stands nowhere else but in the log.
        inference: InferenceId,
        /// Why.
        source: Arc<JournalError>,
        /// What was saved all the same.
        saved: Vec<SavedFile>,
    },
    /// A file could not be written, read or named.
    #[error("{source}")]
    File {
        /// Our entry, when something was bought already.
        job: Option<JobId>,
        /// Why.
        source: Arc<FileError>,
    },
    /// The journal failed.
    #[error("{source}")]
    Journal {
        /// Our entry, when something was bought already.
        job: Option<JobId>,
        /// Why.
        source: Arc<JournalError>,
    },
    /// The audit trail can't take a purchase, so nothing was bought.
    #[error("{source}")]
    Audit {
        /// Why.
        source: Arc<AuditError>,
    },
    /// The workspace can't pay.
    #[error("it would cost {price}, and the workspace has {available} to spend")]
    Insufficient {
        /// The estimate.
        price: CreativeUnits,
        /// What there is.
        available: CreativeUnits,
    },
    /// It would go beyond a limit that the user set.
    #[error(
        "it would cost {price}, which with {spent} already spent goes beyond the {which} budget \
         of {limit}"
    )]
    Budget {
        /// `run`, `session`, `project` or `day`.
        which: &'static str,
        /// The estimate.
        price: CreativeUnits,
        /// Spent or reserved so far.
        spent: CreativeUnits,
        /// The limit.
        limit: CreativeUnits,
    },
    /// It is dearer than what may be bought without asking the user.
    #[error("{}", question.came_to(*consent))]
    ConfirmationNeeded {
        /// What the user is to be asked.
        question: Box<Question>,
        /// What came of asking; `None` when nobody could be asked.
        consent: Option<Consent>,
    },
    /// Layer has no price for it that could be asked.
    #[error("Layer names no price for {what}, so it needs the user's own consent")]
    Unpriced {
        /// What it is.
        what: &'static str,
    },
    /// The quote does not cover this purchase.
    #[error("the quote is void: {why}")]
    QuoteVoid {
        /// Why.
        why: Void,
    },
    /// There is no such job.
    #[error("there is no job `{asked}` in the journal")]
    JobUnknown {
        /// What was asked for.
        asked: String,
    },
    /// The longest time that a run is watched is over.
    #[error("the run did not end within the time it is watched for")]
    Timeout {
        /// Our entry.
        job: JobId,
    },
    /// A task of ours broke off.
    #[error("an internal fault stopped the work on this job")]
    Internal {
        /// Our entry.
        job: JobId,
    },
}

/// Settings or credentials that are missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupProblem {
    /// Its code, such as `credentials_missing`.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub next_step: String,
}

impl std::fmt::Display for SetupProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// What became of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Money {
    /// Nothing was charged.
    NotCharged,
    /// It was, or will be, charged.
    Charged,
    /// Nobody here can say.
    Unknown,
}

/// An error as every tool answers with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorReport {
    /// Stable, lower snake case; the list is in the README.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What became of the money.
    pub money: Money,
    /// True when the same call may be made again without fear of paying twice.
    pub retryable: bool,
    /// What to do now.
    pub next_step: String,
    /// Under which the service's support finds the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The job, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The quote that the user can say yes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote_id: Option<String>,
    /// Files of the job that were saved all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileReport>,
}

impl From<FileError> for RunError {
    fn from(source: FileError) -> Self {
        Self::file(source)
    }
}

impl RunError {
    pub(super) fn file(source: FileError) -> Self {
        Self::File { job: None, source: Arc::new(source) }
    }

    pub(super) fn journal(source: JournalError) -> Self {
        Self::Journal { job: None, source: Arc::new(source) }
    }

    pub(super) fn audit(source: AuditError) -> Self {
        Self::Audit { source: Arc::new(source) }
    }

    /// Somebody has to ask the user first.
    pub fn confirmation_needed(question: Question) -> Self {
        Self::ConfirmationNeeded { question: Box::new(question), consent: None }
    }

    /// The same error, said of a job that was already bought.
    pub(super) fn of_job(self, id: &JobId) -> Self {
        let job = Some(id.clone());
        match self {
            Self::File { source, .. } => Self::File { job, source },
            Self::Journal { source, .. } => Self::Journal { job, source },
            other => other,
        }
    }

    /// The job that it is about.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Self::StartRefused { job, .. }
            | Self::NeverStarted { job, .. }
            | Self::StartUnanswered { job, .. }
            | Self::RunFailed { job, .. }
            | Self::RunCancelled { job, .. }
            | Self::Watching { job, .. }
            | Self::NoFiles { job }
            | Self::Download { job, .. }
            | Self::Unrecorded { job, .. }
            | Self::Timeout { job }
            | Self::Internal { job } => Some(job),
            Self::File { job, .. } | Self::Journal { job, .. } => job.as_ref(),
            _ => None,
        }
    }

    /// Code, money, whether the same call may be made again, and the next step.
    fn verdict(&self) -> (&'static str, Money, bool, String) {
        use Money::{Charged, NotCharged, Unknown};
        let collect = |job: &JobId| {
            format!(
                "call `get_job` with job_id `{job}`: it fetches the result without a new charge"
            )
        };
        match self {
            Self::Setup(problem) => (problem.code, NotCharged, false, problem.next_step.clone()),
            Self::Audit { .. } => (
                "audit",
                NotCharged,
                true,
                "ask the user to make room or to correct the folder's permissions \
                 (`layer-mcp doctor`), then call again"
                    .into(),
            ),
            Self::Argument { .. } => (
                "invalid_argument",
                NotCharged,
                false,
                "correct the argument and call again".into(),
            ),
            Self::NotThere { .. } => (
                "invalid_argument",
                NotCharged,
                false,
                "correct the id; `list_styles` and `list_history` have those of the workspace".into(),
            ),
            Self::Fetch { source, .. } => {
                let (code, retryable, _) = of_api(source);
                let next = "look at the address, or save the file into the project and give its \
                            path";
                (code, NotCharged, retryable, next.into())
            }
            Self::NoModelFor { .. } => (
                "model_not_found",
                NotCharged,
                false,
                "call `list_models` to see what the workspace has, or ask its owner".into(),
            ),
            Self::ModelNotFound { near, .. } if near.is_empty() => (
                "model_not_found",
                NotCharged,
                false,
                "call `list_models` and take a `model_id` from it, or leave out `model`".into(),
            ),
            Self::ModelNotFound { near, .. } => (
                "model_not_found",
                NotCharged,
                false,
                format!(
                    "take the id of one of these: {}; `list_models` has them all",
                    near.join(", ")
                ),
            ),
            Self::Layer { source } | Self::StartRefused { source, .. } => {
                let (code, retryable, next) = of_api(source);
                (code, NotCharged, retryable, next)
            }
            Self::TooSlow => ("timeout", NotCharged, true, "call again in a minute".into()),
            Self::NeverStarted { failure, .. } => match failure.kind {
                Some(kind) => {
                    let (code, retryable, next) = of_kind(kind, None);
                    (code, NotCharged, retryable, next)
                }
                None => ("run_failed", NotCharged, true, "make the same call again".into()),
            },
            Self::StartUnanswered { job, .. } => (
                "start_unanswered",
                Unknown,
                false,
                format!(
                    "`get_job` with job_id `{job}` looks for it at Layer again, without a new charge. \
                     If it stays unknown, ask the user to look at app.layer.ai; only when they say \
                     that it is not there, `variation: true` buys a new one"
                ),
            ),
            Self::RunFailed { failure, charged, .. } => {
                let refused = failure
                    .upstream_code
                    .as_deref()
                    .is_some_and(|code| code.to_ascii_uppercase().contains("CONTENT_POLICY"));
                let money = match charged {
                    Some(charged) if *charged > CreativeUnits::ZERO => Charged,
                    Some(_) => NotCharged,
                    None => Unknown,
                };
                let next = match (refused, money) {
                    (true, _) => "change the prompt: the service's content policy refused it",
                    (false, Unknown) => {
                        "Layer does not say whether it charged the failed run; \
                         `get_workspace_info` shows the balance. Call again to buy another try, or \
                         take another model"
                    }
                    (false, _) => "call again to try once more, or take another model",
                };
                ("run_failed", money, !refused && money == NotCharged, next.into())
            }
            Self::RunCancelled { unsent: true, .. } => (
                "run_cancelled",
                NotCharged,
                true,
                "call again if the user still wants it".into(),
            ),
            Self::RunCancelled { .. } => (
                "run_cancelled",
                Unknown,
                false,
                "call again to buy a new run; `get_workspace_info` shows whether this one was charged"
                    .into(),
            ),
            Self::Watching { job, source } => {
                let (code, _, next) = of_api(source);
                let next = match source.kind {
                    ApiErrorKind::Unauthenticated => next,
                    _ => collect(job),
                };
                (code, Unknown, true, next)
            }
            Self::NoFiles { job } => ("download_failed", Charged, true, collect(job)),
            Self::Download { job, source, .. } if source.kind == ApiErrorKind::BlockedHost => (
                "blocked_host",
                Charged,
                true,
                format!(
                    "if the host is to be trusted, the user can add it to `LAYER_ALLOWED_HOSTS`; \
                     then {}",
                    collect(job)
                ),
            ),
            Self::Download { job, source, .. } if source.kind == ApiErrorKind::BadAddress => (
                "blocked_host",
                Charged,
                true,
                format!(
                    "such an address is never followed, whatever the settings say; {}, or fetch \
                     the file at app.layer.ai",
                    collect(job)
                ),
            ),
            Self::Download { job, .. } => ("download_failed", Charged, true, collect(job)),
            Self::Unrecorded { inference, .. } => (
                "journal",
                Charged,
                false,
                format!(
                    "make room on the disk, or end what locks the journal. Don't buy it again: \
                     the run is at app.layer.ai under the id `{inference}`"
                ),
            ),
            Self::File { job, source } => match job {
                Some(job) => (
                    source.code(),
                    Charged,
                    true,
                    format!("{}; then {}", source.next_step().trim_end_matches('.'), collect(job)),
                ),
                None => (source.code(), NotCharged, false, source.next_step().to_owned()),
            },
            Self::Journal { job, source } => match job {
                Some(job) => ("journal", Unknown, true, collect(job)),
                None => ("journal", NotCharged, true, source.next_step().into()),
            },
            Self::Insufficient { .. } => (
                "insufficient_balance",
                NotCharged,
                true,
                "ask the user to add Creative Units at app.layer.ai, or take a cheaper model \
                 (`list_models` with `max_cu`) or a smaller `count`"
                    .into(),
            ),
            Self::Budget { which, .. } => (
                "budget",
                NotCharged,
                false,
                format!(
                    "the limit is the user's: only they can raise it (`LAYER_BUDGET_{}_CU`). Take \
                     a cheaper model (`list_models` with `max_cu`) or a smaller `count`, or ask \
                     them",
                    which.to_ascii_uppercase()
                ),
            ),
            Self::ConfirmationNeeded { question, consent } => (
                "confirmation_needed",
                NotCharged,
                false,
                question.next_step(*consent),
            ),
            Self::Unpriced { .. } => (
                "confirmation_needed",
                NotCharged,
                false,
                "call again with `train` false: that makes a draft and costs nothing. The user can \
                 start its training in the app, where they see what it costs"
                    .into(),
            ),
            Self::QuoteVoid { why } => (
                "quote_void",
                NotCharged,
                false,
                match why {
                    Void::Declined | Void::Contradicted => {
                        "don't ask again. Take a cheaper model or a smaller `count`, or leave it"
                            .into()
                    }
                    Void::UsedUp { job } => format!(
                        "`get_job` with job_id `{job}` has what was bought. For another one call \
                         `quote` again"
                    ),
                    Void::OtherCall => "make the call again, without the answer".into(),
                    _ => "call `quote` again with exactly the arguments of the purchase".into(),
                },
            ),
            Self::JobUnknown { .. } => (
                "job_unknown",
                NotCharged,
                false,
                "call `list_jobs` and take a `job_id` from it".into(),
            ),
            Self::Timeout { job } => ("timeout", Unknown, true, collect(job)),
            Self::Internal { job } => ("internal", Unknown, true, collect(job)),
        }
    }

    /// The error as every tool answers with it.
    pub fn report(&self) -> ErrorReport {
        let (code, money, retryable, next_step) = self.verdict();
        ErrorReport {
            code,
            message: self.sentence(),
            money,
            retryable,
            next_step: sentence_case(&next_step),
            request_id: self.request_id(),
            job_id: self.job().cloned(),
            quote_id: match self {
                Self::ConfirmationNeeded { question, .. } => Some(question.quote_id.clone()),
                _ => None,
            },
            files: self.saved().iter().map(FileReport::from).collect(),
        }
    }

    fn saved(&self) -> &[SavedFile] {
        match self {
            Self::Download { saved, .. } | Self::Unrecorded { saved, .. } => saved,
            _ => &[],
        }
    }

    fn sentence(&self) -> String {
        let mut text = self.to_string();
        match self {
            Self::RunFailed { failure, .. } => {
                let words: Vec<&str> = [failure.upstream_code.as_deref()]
                    .into_iter()
                    .flatten()
                    .chain(Some(failure.message.as_str()).filter(|message| !message.is_empty()))
                    .collect();
                if !words.is_empty() {
                    text = format!("{text}: \"{}\"", words.join(": "));
                }
            }
            Self::StartUnanswered { failure: Some(failure), .. } => {
                text = format!("{text} ({})", failure.message);
            }
            Self::Journal { source, .. } => {
                let mut cause: &dyn std::error::Error = source.as_ref();
                while let Some(inner) = cause.source() {
                    cause = inner;
                }
                let cause = crate::redact::clean_line(&cause.to_string(), 200);
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
            }
            _ => {}
        }
        sentence_case(&text)
    }

    fn request_id(&self) -> Option<String> {
        match self {
            Self::Layer { source }
            | Self::StartRefused { source, .. }
            | Self::Watching { source, .. }
            | Self::Download { source, .. } => source.request_id.clone(),
            Self::StartUnanswered { failure: Some(failure), .. }
            | Self::NeverStarted { failure, .. }
            | Self::RunFailed { failure, .. } => failure.request_id.clone(),
            _ => None,
        }
    }
}

/// A clause made into a sentence: first letter large, one period at the end.
pub(super) fn sentence_case(clause: &str) -> String {
    let mut letters = clause.chars();
    let sentence: String = match letters.next() {
        Some(first) if !clause.starts_with("app.") => first.to_uppercase().chain(letters).collect(),
        _ => clause.to_owned(),
    };
    if sentence.ends_with(['.', '?', '!']) { sentence } else { format!("{sentence}.") }
}
