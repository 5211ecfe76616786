//! Making assets, and asking what they would cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Call, Entry, Handled, Hints, data, parse, spec};
use crate::files::SaveTo;
use crate::layer::{CreativeUnits, Quality, UseCase};
use crate::runs::{
    AssetRequest, Count, ErrorReport, JobReport, Pixels, Prompt, RunError, Seconds, Seed,
    WaitSeconds,
};

/// The use cases that make something new. What changes a picture or a mesh in place is chosen by
/// its model.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Creation {
    TextToImage,
    ImageEditing,
    TextToVideo,
    ImageToVideo,
    #[serde(rename = "text_to_3d")]
    TextTo3d,
    #[serde(rename = "image_to_3d")]
    ImageTo3d,
    TextToSpeech,
    SoundEffects,
    Music,
}

impl From<Creation> for UseCase {
    fn from(creation: Creation) -> Self {
        match creation {
            Creation::TextToImage => Self::TextToImage,
            Creation::ImageEditing => Self::ImageEditing,
            Creation::TextToVideo => Self::TextToVideo,
            Creation::ImageToVideo => Self::ImageToVideo,
            Creation::TextTo3d => Self::TextTo3d,
            Creation::ImageTo3d => Self::ImageTo3d,
            Creation::TextToSpeech => Self::TextToSpeech,
            Creation::SoundEffects => Self::SoundEffects,
            Creation::Music => Self::Music,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateAssetArgs {
    /// What to make, in words.
    prompt: Prompt,
    /// Picks the model if `model` is absent.
    use_case: Option<Creation>,
    /// Id or name from list_models.
    model: Option<String>,
    /// Pixels.
    width: Option<Pixels>,
    /// Pixels.
    height: Option<Pixels>,
    /// Variations; each is paid for.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    count: Count,
    /// Repeats a result.
    seed: Option<Seed>,
    /// Effort and price, where offered.
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
    /// Files to go by: paths (art/*.png), job ids (job_x#2) or file ids.
    #[schemars(length(max = 20))]
    references: Option<Vec<String>>,
    /// File or folder in the output folder, e.g. assets/knight.png.
    save_to: Option<String>,
    /// Longest wait; the job goes on.
    wait_seconds: Option<WaitSeconds>,
    /// Buys the same again; never to retry.
    #[serde(default)]
    variation: bool,
    /// From quote; holds its price.
    quote_id: Option<String>,
}

impl CreateAssetArgs {
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
            "Makes an image, video, 3D model or sound from a prompt with Layer.ai and saves the \
             file in the user's project. Spends Creative Units. Waits for the file; if that takes \
             long, returns status running and a job_id for get_job. The same request again \
             is the same job, not charged again.",
            Hints::SPENDS,
        ),
        handle: |call, arguments| Box::pin(create(call, arguments)) as Handled<'_>,
    }
}

async fn create(
    call: Call<'_>,
    arguments: Map<String, Value>,
) -> Result<super::Answer, ErrorReport> {
    let (request, wait) = parse::<CreateAssetArgs>(arguments)?.request().map_err(report)?;
    buy(call, request, wait).await
}

/// Buys what a tool made of its arguments.
pub(super) async fn buy(
    call: Call<'_>,
    request: AssetRequest,
    wait: Option<WaitSeconds>,
) -> Result<super::Answer, ErrorReport> {
    let patience = call.patience(wait);
    let job = call.runs.create(&request, patience, call.progress).await.map_err(report)?;
    data(&job)
}

#[derive(Serialize, JsonSchema)]
struct QuoteAnswer {
    quote_id: String,
    estimated_cu: CreativeUnits,
    available_cu: CreativeUnits,
    expires_at: String,
    needs_confirmation: bool,
    model: String,
    message: String,
}

pub(super) fn quote() -> Entry {
    Entry {
        spec: spec::<CreateAssetArgs, QuoteAnswer>(
            "quote",
            "Quote a price",
            "Prices a create_asset call without making anything. Free. Takes the same arguments; \
             pass the quote_id on to buy at this price. Use it before dear or repeated purchases.",
            Hints::READS_LAYER,
        ),
        handle: |call, arguments| Box::pin(price(call, arguments)) as Handled<'_>,
    }
}

async fn price(
    call: Call<'_>,
    arguments: Map<String, Value>,
) -> Result<super::Answer, ErrorReport> {
    let (request, _) = parse::<CreateAssetArgs>(arguments)?.request().map_err(report)?;
    let quote = call.runs.quote(&request).await.map_err(report)?;
    let price = quote.price;
    let message = if quote.needs_confirmation {
        format!(
            "It would cost {}. That is above what may be spent without the user's consent; tell \
             them the price.",
            price.estimated
        )
    } else if price.sufficient {
        format!("It would cost {} of the {} available.", price.estimated, price.available)
    } else {
        format!("It would cost {}; only {} are available.", price.estimated, price.available)
    };
    data(&QuoteAnswer {
        quote_id: quote.id,
        estimated_cu: price.estimated,
        available_cu: price.available,
        expires_at: quote.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        needs_confirmation: quote.needs_confirmation,
        model: quote.model.id.to_string(),
        message: format!(
            "{message} Model: {} ({}). {}",
            quote.model.name,
            quote.reason,
            quote.unpriced.unwrap_or_default()
        )
        .trim_end()
        .to_owned(),
    })
}

fn report(error: RunError) -> ErrorReport {
    error.report()
}
