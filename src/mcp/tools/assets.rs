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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateAssetArgs {
    /// What to make, in words.
    prompt: Prompt,
    /// Picks the model when `model` is absent; default text_to_image.
    use_case: Option<UseCase>,
    /// Model id or name from list_models.
    model: Option<String>,
    /// Pixels; images and videos.
    width: Option<Pixels>,
    /// Pixels; images and videos.
    height: Option<Pixels>,
    /// Variations to make; each is paid for.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    count: Count,
    /// Repeats a result.
    seed: Option<Seed>,
    /// Effort, and price, of models that offer it.
    quality: Option<Quality>,
    /// What to keep out; only models that list it.
    negative_prompt: Option<String>,
    /// Real alpha; only models that list it.
    #[serde(default)]
    transparent: bool,
    /// Seamless edges; only models that list it.
    #[serde(default)]
    tileable: bool,
    /// Length of a video or sound.
    duration_seconds: Option<Seconds>,
    /// File or folder below the output folder, e.g. assets/knight.png. Never overwrites.
    save_to: Option<String>,
    /// Longest wait; when it ends the job goes on.
    wait_seconds: Option<WaitSeconds>,
    /// Buys another of the same request; never to retry.
    #[serde(default)]
    variation: bool,
    /// From quote: buys only at that price.
    quote_id: Option<String>,
}

impl CreateAssetArgs {
    fn request(self) -> Result<(AssetRequest, Option<WaitSeconds>), RunError> {
        let request = AssetRequest {
            prompt: self.prompt,
            use_case: self.use_case,
            model: self.model,
            width: self.width,
            height: self.height,
            count: self.count,
            seed: self.seed,
            quality: self.quality,
            negative_prompt: self
                .negative_prompt
                .filter(|text| !text.trim().is_empty())
                .map(kept_out)
                .transpose()?,
            transparent: self.transparent,
            tileable: self.tileable,
            duration: self.duration_seconds,
            save_to: self.save_to.as_deref().map(SaveTo::parse).transpose()?,
            variation: self.variation,
            quote_id: self.quote_id,
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
             returns the same job without a new charge.",
            Hints { read_only: false, destructive: false, idempotent: false, open_world: true },
        ),
        handle: |call, arguments| Box::pin(create(call, arguments)) as Handled<'_>,
    }
}

async fn create(
    call: Call<'_>,
    arguments: Map<String, Value>,
) -> Result<super::Answer, ErrorReport> {
    let (request, wait) = parse::<CreateAssetArgs>(arguments)?.request().map_err(report)?;
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
        message: format!("{message} Model: {} ({}).", quote.model.name, quote.reason),
    })
}

fn report(error: RunError) -> ErrorReport {
    error.report()
}
