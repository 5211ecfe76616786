//! Making assets.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::consent::buy;
use super::object::FreeObject;
use super::{Call, Entry, Handled, Hints, Toolset, parse, spec};
use crate::files::SaveTo;
use crate::layer::{Quality, UseCase};
use crate::runs::{
    AssetRequest, Count, ErrorReport, JobReport, Pixels, Prompt, RunError, Seconds, Seed,
    WaitSeconds, Wanted,
};

/// The use cases that have no tool of their own: `remove_background` and `refine_image` have the
/// other five.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Creation {
    TextToImage,
    ImageEditing,
    MultiAngle,
    SplitIntoLayers,
    Segment,
    TextToVideo,
    ImageToVideo,
    VideoEditing,
    VideoExtend,
    #[serde(rename = "text_to_3d")]
    TextTo3d,
    #[serde(rename = "image_to_3d")]
    ImageTo3d,
    Remesh,
    Retexture,
    Rig,
    Animate,
    TextToSpeech,
    SoundEffects,
    Music,
}

impl From<Creation> for UseCase {
    fn from(creation: Creation) -> Self {
        match creation {
            Creation::TextToImage => Self::TextToImage,
            Creation::ImageEditing => Self::ImageEditing,
            Creation::MultiAngle => Self::MultiAngle,
            Creation::SplitIntoLayers => Self::SplitIntoLayers,
            Creation::Segment => Self::Segment,
            Creation::TextToVideo => Self::TextToVideo,
            Creation::ImageToVideo => Self::ImageToVideo,
            Creation::VideoEditing => Self::VideoEditing,
            Creation::VideoExtend => Self::VideoExtend,
            Creation::TextTo3d => Self::TextTo3d,
            Creation::ImageTo3d => Self::ImageTo3d,
            Creation::Remesh => Self::Remesh,
            Creation::Retexture => Self::Retexture,
            Creation::Rig => Self::Rig,
            Creation::Animate => Self::Animate,
            Creation::TextToSpeech => Self::TextToSpeech,
            Creation::SoundEffects => Self::SoundEffects,
            Creation::Music => Self::Music,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAssetArgs {
    /// What to make.
    prompt: Prompt,
    /// Picks the model if `model` is absent.
    use_case: Option<Creation>,
    /// Id or name (list_models).
    model: Option<String>,
    /// Pixels.
    width: Option<Pixels>,
    /// Pixels.
    height: Option<Pixels>,
    /// Default 1; each is paid.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    count: Count,
    /// Repeats a result.
    seed: Option<Seed>,
    /// Effort and price.
    quality: Option<Quality>,
    /// What to keep out, if listed.
    negative_prompt: Option<String>,
    /// Real alpha, if the model lists it.
    #[serde(default)]
    transparent: bool,
    /// Seamless edges, if listed.
    #[serde(default)]
    tileable: bool,
    /// Of a video or sound.
    duration_seconds: Option<Seconds>,
    /// JSON object of model settings, e.g. {"speed": 1.2}.
    #[serde(default)]
    options: FreeObject,
    /// Paths (art/**/*.png), job ids (job_x#2) or file ids to go by.
    #[schemars(length(max = 20))]
    references: Option<Vec<String>>,
    /// File or folder, e.g. assets/knight.png.
    save_to: Option<String>,
    /// Longest; the job goes on.
    wait_seconds: Option<WaitSeconds>,
    /// Buys the same again; never to retry.
    #[serde(default)]
    variation: bool,
    /// From quote.
    quote_id: Option<String>,
}

impl CreateAssetArgs {
    pub(super) fn wanted(self) -> Result<(Wanted, Option<WaitSeconds>), RunError> {
        let (request, wait) = self.request()?;
        Ok((request.into(), wait))
    }

    fn request(self) -> Result<(AssetRequest, Option<WaitSeconds>), RunError> {
        let negative_prompt = self.negative_prompt.filter(|text| !text.trim().is_empty());
        let request = AssetRequest {
            use_case: self.use_case.map(UseCase::from),
            model: self.model,
            width: self.width,
            height: self.height,
            count: self.count,
            seed: self.seed,
            quality: self.quality,
            negative_prompt: negative_prompt.map(kept_out).transpose()?,
            transparent: self.transparent,
            tileable: self.tileable,
            duration: self.duration_seconds,
            options: self.options.0,
            references: self.references.unwrap_or_default(),
            save_to: self.save_to.as_deref().map(SaveTo::parse).transpose()?,
            variation: self.variation,
            quote_id: self.quote_id,
            ..AssetRequest::plain(self.prompt)
        };
        Ok((request, self.wait_seconds))
    }
}

/// The words of a negative prompt, which Layer limits like a prompt.
fn kept_out(text: String) -> Result<String, RunError> {
    match Prompt::try_from(text) {
        Ok(words) => Ok(words.as_str().to_owned()),
        Err(why) => Err(RunError::Argument {
            field: "negative_prompt",
            message: format!("`negative_prompt`: {why}"),
        }),
    }
}

pub(super) fn create_asset() -> Entry {
    Entry {
        spec: spec::<CreateAssetArgs, JobReport>(
            "create_asset",
            "Create asset",
            "Makes an image, video, 3D model or sound and saves it in the project. Spends Creative \
             Units. If it takes long, returns status running and a job_id for get_job. The same \
             request again is the same job, not charged again.",
            Hints::SPENDS,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(create(call, arguments)) as Handled<'_>,
    }
}

async fn create(
    call: Call<'_>,
    arguments: Map<String, Value>,
) -> Result<super::Answer, ErrorReport> {
    let (wanted, wait) = parse::<CreateAssetArgs>(arguments)?.wanted().map_err(report)?;
    buy(call, wanted, wait).await
}

fn report(error: RunError) -> ErrorReport {
    error.report()
}
