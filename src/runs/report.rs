//! What a job looks like to the caller.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::SavedFile;
use crate::journal::{Job, JobState};
use crate::layer::{CreativeUnits, Output};

/// How a job stands, in the words that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the words speak; docs on variants would split the schema")]
pub enum JobStatus {
    Running,
    Complete,
    Failed,
    Cancelled,
    Unknown,
}

impl JobStatus {
    /// The word for a state of the journal.
    pub fn of(state: JobState) -> Self {
        match state {
            JobState::Starting | JobState::Running | JobState::Finished => Self::Running,
            JobState::Complete => Self::Complete,
            JobState::Failed | JobState::Refused => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
            JobState::Unknown => Self::Unknown,
        }
    }

    /// The states of the journal that the word covers.
    pub fn states(self) -> &'static [JobState] {
        match self {
            Self::Running => &[JobState::Starting, JobState::Running, JobState::Finished],
            Self::Complete => &[JobState::Complete],
            Self::Failed => &[JobState::Failed, JobState::Refused],
            Self::Cancelled => &[JobState::Cancelled],
            Self::Unknown => &[JobState::Unknown],
        }
    }
}

/// What a call that buys came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purchase {
    /// A new job.
    New,
    /// The same request was made before, and its job was not at its end.
    SameJobTakenUp,
    /// The same request was made before, and its files lie on the disk.
    SameJobSaved,
    /// The same request was made before; its files were gone or changed, and were fetched again.
    SameJobFetchedAgain,
}

impl Purchase {
    /// What there is to say to it.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::New => "",
            Self::SameJobTakenUp => {
                "The same request was made before; this is its job, which is not paid for again \
                 (`variation: true` buys a new one)."
            }
            Self::SameJobSaved => {
                "The same request was made before; these are its files, and nothing is paid for \
                 again (`variation: true` buys a new one)."
            }
            Self::SameJobFetchedAgain => {
                "The same request was made before; its files were gone or changed and were fetched \
                 again, and nothing is paid for again (`variation: true` buys a new one)."
            }
        }
    }
}

/// A file on the disk, as it was read back.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct FileReport {
    /// Absolute path.
    pub path: String,
    /// From the bytes.
    pub media_type: String,
    /// Size.
    pub bytes: u64,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Length of a sound or video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// Of the bytes on the disk.
    pub sha256: String,
    /// True when some pixel is see-through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_alpha: Option<bool>,
}

impl From<&SavedFile> for FileReport {
    fn from(file: &SavedFile) -> Self {
        Self {
            path: file.path.to_string_lossy().into_owned(),
            media_type: file.media_type.to_string(),
            bytes: file.bytes,
            width: file.width,
            height: file.height,
            duration_seconds: file.duration_seconds,
            sha256: file.sha256.clone(),
            has_alpha: file.has_alpha,
        }
    }
}

/// Words that a workflow made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextReport {
    /// The name of the output.
    pub name: String,
    /// The words.
    pub text: String,
}

/// As many characters as a model should have to read.
const MOST_WORDS: usize = 20_000;

impl TextReport {
    /// The words of a job as far as they are few, and how many texts are left out.
    fn all(job: &Job) -> (Vec<Self>, usize) {
        let mut room = MOST_WORDS;
        let texts: Vec<Self> = job.outputs.iter().filter_map(Self::of).collect();
        let all = texts.len();
        let fits = |text: &Self| {
            let length = text.name.len() + text.text.len();
            room = room.saturating_sub(length.max(20));
            room > 0
        };
        let shown: Vec<Self> = texts.into_iter().take_while(fits).collect();
        let left_out = all - shown.len();
        (shown, left_out)
    }

    fn of(output: &Output) -> Option<Self> {
        let text = output.text.clone()?;
        Some(Self { name: output.name.clone().unwrap_or_default(), text })
    }
}

/// A job, as every tool that makes or looks at one answers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct JobReport {
    /// Give it to `get_job`.
    pub job_id: String,
    /// How it stands.
    pub status: JobStatus,
    /// The same in a sentence.
    pub message: String,
    /// Whether something was bought, or the same was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub purchase: Option<Purchase>,
    /// Id of the model or workflow.
    pub model: String,
    /// Price in Creative Units before the start.
    pub estimated_cu: CreativeUnits,
    /// What Layer says it charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_cu: Option<CreativeUnits>,
    /// What was saved.
    pub files: Vec<FileReport>,
    /// What a workflow answered in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub texts: Vec<TextReport>,
    /// What the service changed in the request.
    pub adjusted: Vec<String>,
    /// Repeats the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// What to do now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

impl JobReport {
    /// The report of a job as the journal has it, with a sentence of the caller's.
    pub(super) fn new(job: &Job, message: String) -> Self {
        let status = JobStatus::of(job.state);
        let (texts, left_out) = TextReport::all(job);
        let message = match left_out {
            0 => message,
            count => format!("{message} {count} more texts are left out here; they are at Layer."),
        };
        let next_step = match status {
            JobStatus::Running => Some(format!(
                "Call `get_job` with job_id `{}` and wait_seconds 45. The job goes on meanwhile; \
                 don't start it again.",
                job.id()
            )),
            JobStatus::Unknown => Some(
                "`get_job` looks for it at Layer again, without a new charge. If it stays unknown, the \
                 user can look at app.layer.ai; if it is not there, `variation: true` buys a new one."
                    .to_owned(),
            ),
            _ => None,
        };
        Self {
            job_id: job.id().to_string(),
            status,
            message,
            purchase: None,
            model: job.new.order.subject().to_owned(),
            estimated_cu: job.expected(),
            cost_cu: job.charged,
            files: job.files.iter().map(FileReport::from).collect(),
            adjusted: job.adjusted.clone(),
            texts,
            seed: job.new.order.seed(),
            next_step,
        }
    }

    /// The report of a job as the journal has it; nobody looks at Layer for it.
    pub fn kept(job: &Job) -> Self {
        let message = match job.state {
            JobState::Complete => Self::saved_sentence(job),
            JobState::Starting => "Its start has not been answered yet.".to_owned(),
            JobState::Running => "Layer is working on it.".to_owned(),
            JobState::Finished => "It is done; its files are still to be fetched.".to_owned(),
            JobState::Cancelled => "It was cancelled.".to_owned(),
            JobState::Unknown => "Nobody knows whether its start arrived.".to_owned(),
            JobState::Failed | JobState::Refused => match &job.failure {
                Some(failure) => format!("It failed: {}.", failure.message.trim_end_matches('.')),
                None => "It failed.".to_owned(),
            },
        };
        Self::new(job, message)
    }

    /// The same, of a call that buys.
    pub(super) fn of(mut self, purchase: Purchase) -> Self {
        self.purchase = Some(purchase);
        self
    }

    /// "2 files saved", "a file saved".
    pub(super) fn saved_sentence(job: &Job) -> String {
        let what = match job.files.as_slice() {
            [one] => format!("Saved `{}`", one.path.display()),
            [] => "It answered in words".to_owned(),
            many => format!("Saved {} files", many.len()),
        };
        let cost = match job.charged {
            Some(charged) => format!("{charged} charged"),
            None => format!("Layer did not say what it charged; estimated {}", job.expected()),
        };
        format!("{what} ({cost}).")
    }
}
