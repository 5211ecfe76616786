//! An inference: what is asked for, how it goes, what comes out.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{FileId, InferenceId, ModelId};
use super::options::ModelOptions;
use super::units::CreativeUnits;
use super::workflow::Steps;

/// What one paid run is asked to make. Only fields that Layer documents for the flat body, and
/// those that a model lists among its capabilities, can be expressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceRequest {
    /// The model.
    pub model: ModelId,
    /// The prompt, at most 100,000 characters.
    pub prompt: String,
    /// What to keep out, for models that take it.
    pub negative_prompt: Option<String>,
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// How many variations of the prompt, 1 to 16.
    pub count: u8,
    /// Repeats a result; always set by the time a start is sent, so that a run can be recognised.
    pub seed: Option<u32>,
    /// How much work the model puts in.
    pub quality: Option<Quality>,
    /// Asks for real alpha, for models that can.
    pub transparency: bool,
    /// Asks for edges that meet, for models that can.
    pub tileability: bool,
    /// Length in seconds, for video and audio.
    pub duration_seconds: Option<f64>,
    /// The prompt names the files and is not sent: the model works on a file alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unprompted: bool,
    /// What is to be done with the file that the run works on, where the model does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// How much larger, from 1 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upscale_ratio: Option<f64>,
    /// Settings that only some models have.
    #[serde(default, skip_serializing_if = "ModelOptions::is_empty")]
    pub options: ModelOptions,
    /// A picture that is light where the file may be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<FileId>,
    /// Files to go by, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}

/// What a run does with a file, for which Layer has a field of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Cuts the subject out. Models that make pictures ignore the field in silence.
    RemoveBackground,
    /// Another shape, with the new parts painted.
    Reframe,
    /// Into curves.
    Vectorize,
}

/// A file that a run goes by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The file, at Layer.
    pub file: FileId,
    /// What it is for, in the word that the model knows: `reference_image`, `first_frame` and so
    /// on. Words changed over time and differ between models.
    pub role: String,
}

impl InferenceRequest {
    /// One output of a prompt, everything else as the model likes it.
    pub fn plain(model: &ModelId, prompt: &str) -> Self {
        Self {
            model: model.clone(),
            prompt: prompt.to_owned(),
            negative_prompt: None,
            width: None,
            height: None,
            count: 1,
            seed: None,
            quality: None,
            transparency: false,
            tileability: false,
            duration_seconds: None,
            unprompted: false,
            task: None,
            upscale_ratio: None,
            options: ModelOptions::default(),
            mask: None,
            references: Vec::new(),
        }
    }
}

/// How much work a model puts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the words speak; docs on variants would split the schema")]
pub enum Quality {
    Low,
    Medium,
    High,
}

/// What a run would cost (Layer REST reference, estimate).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// The estimate. The charge may differ.
    pub estimated: CreativeUnits,
    /// What the workspace can spend now.
    pub available: CreativeUnits,
    /// Layer's own answer to "is it enough".
    pub sufficient: bool,
    /// Layer would run it without all of the style or reference set that was asked for (Layer's
    /// hosted server, `reference_sets_degraded`).
    pub degraded: bool,
}

/// A run that Layer has accepted (Layer REST reference, execute).
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// Its id.
    pub id: InferenceId,
    /// Price that Layer named at the start.
    pub estimated: Option<CreativeUnits>,
    /// When to look first.
    pub poll_after: Duration,
    /// What the model will really use.
    pub normalized: Normalized,
}

/// Numbers that the service may have changed in a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Normalized {
    /// Pixels.
    pub width: Option<f64>,
    /// Pixels.
    pub height: Option<f64>,
    /// Outputs.
    pub batch_size: Option<f64>,
    /// Seconds.
    pub duration_seconds: Option<f64>,
    /// Pictures a second.
    pub fps: Option<f64>,
    /// Steps of diffusion.
    pub num_inference_steps: Option<f64>,
    /// How closely the prompt is followed.
    pub guidance_scale: Option<f64>,
}

impl Normalized {
    /// What the service changed, one sentence each.
    pub fn differences(&self, request: &InferenceRequest) -> Vec<String> {
        let pairs = [
            ("width", request.width.map(f64::from), self.width),
            ("height", request.height.map(f64::from), self.height),
            ("count", Some(f64::from(request.count)), self.batch_size),
            ("duration_seconds", request.duration_seconds, self.duration_seconds),
            ("fps", request.options.number("fps"), self.fps),
            (
                "num_inference_steps",
                request.options.number("num_inference_steps"),
                self.num_inference_steps,
            ),
            ("guidance_scale", request.options.number("guidance_scale"), self.guidance_scale),
        ];
        pairs
            .into_iter()
            .filter_map(|(name, asked, used)| match (asked, used) {
                (Some(asked), Some(used)) if (asked - used).abs() > 1e-6 => {
                    Some(format!("{name}: asked for {asked}, the model uses {used}"))
                }
                _ => None,
            })
            .collect()
    }
}

/// How an inference stands.
#[derive(Clone, Debug, PartialEq)]
pub enum RunStatus {
    /// Not at its end, or in a state whose word is not known: keep looking until the deadline.
    Running,
    /// Done. It may list no outputs, which is for the caller to judge.
    Complete(Completed),
    /// Ended without a result.
    Failed(Failure),
    /// Stopped by somebody, or deleted; with what was charged, when Layer says so.
    Cancelled(Option<CreativeUnits>),
}

/// The result of a finished inference.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// What was made, in Layer's order, words after files.
    pub outputs: Vec<Output>,
    /// What was charged, when Layer says so.
    pub charged: Option<CreativeUnits>,
}

/// Why a run failed, in the service's words (cleaned and cut).
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its code, such as `CONTENT_POLICY_VIOLATION`.
    pub code: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// What was charged all the same, when Layer says so.
    pub charged: Option<CreativeUnits>,
}

/// One look at a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// How it stands.
    pub status: RunStatus,
    /// When to look again.
    pub poll_after: Duration,
    /// When Layer says it was completed.
    pub completed_at: Option<Timestamp>,
    /// How far a workflow has come.
    pub steps: Option<Steps>,
}

/// One thing that a run made: a file, or words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its id at Layer, by which it can be used again without an upload.
    pub file_id: Option<FileId>,
    /// The name of a workflow's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Words, where there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where it lies. Unchecked: the download decides whether it goes there. Never kept on disk:
    /// it may be signed, and it dies.
    #[serde(skip)]
    pub url: String,
}

/// Whether a stop reached the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The service accepted it.
    Accepted,
    /// The service has no way to cancel over this interface.
    Unsupported,
}

/// The interval at which to look: what the service says, held between 1 and 15 seconds, because a
/// missing, zero, negative or huge value must not be trusted. 10 seconds when it says nothing.
pub(super) fn poll_interval(seconds: Option<f64>) -> Duration {
    match seconds {
        Some(seconds) if seconds.is_finite() => Duration::from_secs_f64(seconds.clamp(1.0, 15.0)),
        _ => Duration::from_secs(10),
    }
}

/// Folds the many spellings of a status into the four states that matter.
pub(super) fn fold_status(word: &str) -> StatusWord {
    match word.trim().to_ascii_lowercase().as_str() {
        "complete" | "completed" | "success" | "succeeded" | "done" => StatusWord::Complete,
        "failed" | "failure" | "error" => StatusWord::Failed,
        "cancelled" | "canceled" | "deleted" => StatusWord::Cancelled,
        _ => StatusWord::Running,
    }
}

/// A status word without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusWord {
    Running,
    Complete,
    Failed,
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_status_is_understood() {
        for word in ["complete", "COMPLETE", "COMPLETED", "Success", "succeeded", "done"] {
            assert_eq!(fold_status(word), StatusWord::Complete, "{word}");
        }
        for word in ["failed", "FAILURE", "error"] {
            assert_eq!(fold_status(word), StatusWord::Failed, "{word}");
        }
        for word in ["cancelled", "canceled", "DELETED"] {
            assert_eq!(fold_status(word), StatusWord::Cancelled, "{word}");
        }
        for word in ["in_progress", "IN_PROGRESS", "queued", "", "42", "quantum"] {
            assert_eq!(fold_status(word), StatusWord::Running, "{word}");
        }
    }

    #[test]
    fn the_interval_is_held_within_reason() {
        for (given, wanted) in [
            (None, 10.0),
            (Some(0.0), 1.0),
            (Some(-5.0), 1.0),
            (Some(4.5), 4.5),
            (Some(1e9), 15.0),
            (Some(f64::NAN), 10.0),
            (Some(f64::INFINITY), 10.0),
        ] {
            assert_eq!(poll_interval(given), Duration::from_secs_f64(wanted), "{given:?}");
        }
    }
}
