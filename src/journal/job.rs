//! A job: one paid request and all that became of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::SavedFile;
use crate::layer::{
    ApiErrorKind, CreativeUnits, FileId, InferenceId, Modality, Order, Output, WorkspaceId,
};

/// Our own id of a job: it exists before Layer has given one, and stays the same ever after.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// The text is not the id of a job.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a job id looks like `job_1f0e9d8c7b6a5f4e`: `job_` and 16 letters or digits")]
pub struct NotAJobId;

impl JobId {
    const PREFIX: &'static str = "job_";

    /// A new id: 64 random bits.
    pub fn random() -> Self {
        Self(format!("{}{:016x}", Self::PREFIX, rand::random::<u64>()))
    }

    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = NotAJobId;

    fn try_from(text: String) -> Result<Self, NotAJobId> {
        let rest = text.strip_prefix(Self::PREFIX).ok_or(NotAJobId)?;
        let plain = rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { Ok(Self(text)) } else { Err(NotAJobId) }
    }
}

impl std::str::FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        Self::try_from(text.trim().to_owned())
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes two requests the same: SHA-256 over where they go and what they ask for, in hex.
/// The seed counts only when the user chose it; ours is different every time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of an order as the user made it, without its files; `references` has what
    /// makes each of them the same, such as the hash of its content.
    pub fn of(origin: &str, workspace: &WorkspaceId, order: &Order, references: &[&str]) -> Self {
        // Serde writes the fields in the order of the struct, so equal requests are equal bytes.
        let canonical = match references {
            [] => serde_json::json!([1, origin, workspace, order]),
            some => serde_json::json!([1, origin, workspace, order, some]),
        };
        let canonical = canonical.to_string();
        let digest = Sha256::digest(canonical.as_bytes());
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The text of a fingerprint that the journal kept.
    pub(super) fn kept(text: String) -> Self {
        Self(text)
    }

    /// 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Written down; the start waits for its turn or is being sent.
    Starting,
    /// Layer accepted it.
    Running,
    /// Done and charged at Layer; the files are not all here yet.
    Finished,
    /// Done, and the files are saved.
    Complete,
    /// Layer reported that it failed.
    Failed,
    /// Stopped or deleted at Layer.
    Cancelled,
    /// The start was sent and no usable answer came: it may have happened.
    Unknown,
    /// The start was refused, or never left: nothing happened and nothing was charged.
    Refused,
}

impl JobState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [
            Self::Starting,
            Self::Running,
            Self::Finished,
            Self::Complete,
            Self::Failed,
            Self::Cancelled,
            Self::Unknown,
            Self::Refused,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// What is written down before a start is sent.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// The API that it goes to.
    pub origin: String,
    /// The workspace that pays.
    pub workspace: WorkspaceId,
    /// What makes it the same as another.
    pub fingerprint: Fingerprint,
    /// What is sent, with the seed.
    pub order: Order,
    /// The model's or workflow's name.
    pub model_name: String,
    /// What comes out.
    pub modality: Modality,
    /// Layer's estimate.
    pub estimated: CreativeUnits,
    /// What past charges add to it: references are in no estimate.
    pub margin: CreativeUnits,
    /// The quote that it is bought with.
    pub quote: Option<String>,
    /// Where the files are to go, as the user wrote it.
    pub save_to: Option<String>,
    /// The output folder that `save_to` is relative to.
    pub output_dir: PathBuf,
    /// The project that it is for: the repository around the output folder, or that folder.
    pub project: PathBuf,
    /// The process that buys: what a session's budget counts.
    pub session: String,
}

/// A job as the journal has it.
#[derive(Clone, Debug)]
pub struct Job {
    /// What was written down before the start.
    pub new: NewJob,
    /// Its number: later entries have higher ones.
    pub seq: i64,
    /// When that was.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: JobState,
    /// When its start was about to be sent. Without it, it never was.
    pub sent_at: Option<Timestamp>,
    /// How long the run took, when somebody watched it from its start on.
    pub took: Option<Duration>,
    /// Layer's id of the run, once it gave one.
    pub inference: Option<InferenceId>,
    /// What was charged, once Layer said so.
    pub charged: Option<CreativeUnits>,
    /// What Layer made.
    pub outputs: Vec<Output>,
    /// What was saved.
    pub files: Vec<SavedFile>,
    /// What the service changed in the request, one sentence each.
    pub adjusted: Vec<String>,
    /// Why it did not come to a good end.
    pub failure: Option<JobFailure>,
}

impl Job {
    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.new.id
    }

    /// What it is expected to cost, in all.
    pub fn expected(&self) -> CreativeUnits {
        self.new.estimated.plus(self.new.margin)
    }

    /// Its start has not left yet.
    pub fn is_queued(&self) -> bool {
        self.state == JobState::Starting && self.sent_at.is_none()
    }

    /// The id at Layer of the saved file with this index. When some files could not be saved, the
    /// two lists don't stand side by side.
    pub fn at_layer(&self, index: usize) -> Option<&FileId> {
        let same_order = self.files.is_empty() || self.files.len() == self.outputs.len();
        self.outputs.get(index).filter(|_| same_order)?.file_id.as_ref()
    }
}

/// Why a job did not come to a good end, in words safe to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobFailure {
    /// One clause.
    pub message: String,
    /// What kind of failure it was, when it was one of a call to Layer.
    #[serde(default)]
    pub kind: Option<ApiErrorKind>,
    /// The service's code.
    pub upstream_code: Option<String>,
    /// The id under which the service's support finds the request.
    pub request_id: Option<String>,
}
