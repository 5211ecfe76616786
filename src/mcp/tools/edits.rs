//! Changing a picture that is there: cutting its subject out, editing, painting over, enlarging.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::consent::buy;
use super::{Answer, Call, Entry, Handled, Hints, Toolset, parse, spec};
use crate::files::SaveTo;
use crate::layer::UseCase;
use crate::runs::{
    AssetRequest, ErrorReport, JobReport, Pixels, Prompt, RunError, WaitSeconds, Wanted,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveBackgroundArgs {
    /// Path in the output folder, job_id (job_x#2) or file_id.
    image: String,
    /// Id or name from list_models.
    model: Option<String>,
    /// File or folder in the output folder.
    save_to: Option<String>,
    /// Longest wait; the job goes on.
    wait_seconds: Option<WaitSeconds>,
    /// Buys the same again; never to retry.
    #[serde(default)]
    variation: bool,
    /// From quote.
    quote_id: Option<String>,
}

pub(super) fn remove_background() -> Entry {
    Entry {
        spec: spec::<RemoveBackgroundArgs, JobReport>(
            "remove_background",
            "Remove background",
            "Cuts the subject of a picture out: a new PNG with real alpha, for sprites and icons. \
             Spends Creative Units (little). The original stays.",
            Hints::SPENDS,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(cut_out(call, arguments)) as Handled<'_>,
    }
}

async fn cut_out(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let (wanted, wait) =
        parse::<RemoveBackgroundArgs>(arguments)?.wanted().map_err(|error| error.report())?;
    buy(call, wanted, wait).await
}

impl RemoveBackgroundArgs {
    pub(super) fn wanted(self) -> Result<(Wanted, Option<WaitSeconds>), RunError> {
        let wait = self.wait_seconds;
        Ok((self.request()?.into(), wait))
    }

    fn request(self) -> Result<AssetRequest, RunError> {
        let prompt = name_for(&self.image, "cutout")?;
        Ok(AssetRequest {
            unprompted: true,
            use_case: Some(UseCase::BackgroundRemoval),
            model: self.model,
            of_one_picture: true,
            references: vec![self.image],
            save_to: self.save_to.as_deref().map(SaveTo::parse).transpose()?,
            variation: self.variation,
            quote_id: self.quote_id,
            ..AssetRequest::plain(prompt)
        })
    }
}

/// What to do with a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Action {
    #[default]
    Edit,
    Inpaint,
    RemoveObjects,
    Outpaint,
    Reframe,
    Upscale,
    Vectorize,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefineImageArgs {
    /// Path in the output folder, job_id (job_x#2) or file_id.
    image: String,
    /// inpaint: where mask is light. remove_objects: those of prompt. outpaint, reframe: to a size.
    #[serde(default)]
    #[schemars(extend("default" = "edit"))]
    action: Action,
    /// What to change or remove; needed by edit, inpaint, remove_objects.
    prompt: Option<Prompt>,
    /// Light where to paint; for inpaint.
    mask: Option<String>,
    /// For outpaint, reframe.
    width: Option<Pixels>,
    /// For outpaint, reframe.
    height: Option<Pixels>,
    /// How much larger upscale makes it; default 2.
    scale: Option<Scale>,
    /// Id or name from list_models.
    model: Option<String>,
    /// File or folder in the output folder.
    save_to: Option<String>,
    /// Longest wait; the job goes on.
    wait_seconds: Option<WaitSeconds>,
    /// Buys the same again; never to retry.
    #[serde(default)]
    variation: bool,
    /// From quote.
    quote_id: Option<String>,
}

/// More than 1, at most 8.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Scale(f64);

impl TryFrom<f64> for Scale {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        if number > 1.0 && number <= 8.0 {
            Ok(Self(number))
        } else {
            Err(format!("`scale` is more than 1 and at most 8, not {number}"))
        }
    }
}

impl JsonSchema for Scale {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scale".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "exclusiveMinimum": 1, "maximum": 8 })
    }
}

pub(super) fn refine_image() -> Entry {
    Entry {
        spec: spec::<RefineImageArgs, JobReport>(
            "refine_image",
            "Refine image",
            "Changes a picture: edit by words, inpaint under a mask, remove objects, outpaint, \
             reframe, upscale, vectorize. Spends Creative Units. Saves a new file. Edits render the \
             whole frame again: the rest may shift a little.",
            Hints::SPENDS,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(refine(call, arguments)) as Handled<'_>,
    }
}

async fn refine(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let (wanted, wait) =
        parse::<RefineImageArgs>(arguments)?.wanted().map_err(|error| error.report())?;
    buy(call, wanted, wait).await
}

impl RefineImageArgs {
    pub(super) fn wanted(self) -> Result<(Wanted, Option<WaitSeconds>), RunError> {
        let wait = self.wait_seconds;
        Ok((self.request()?.into(), wait))
    }

    fn request(self) -> Result<AssetRequest, RunError> {
        let (use_case, word) = match self.action {
            Action::Edit => (UseCase::ImageEditing, "edited"),
            Action::Inpaint => (UseCase::Inpainting, "inpainted"),
            Action::RemoveObjects if self.mask.is_some() => (UseCase::Inpainting, "cleaned"),
            Action::RemoveObjects => (UseCase::ImageEditing, "cleaned"),
            Action::Outpaint => (UseCase::Reframing, "outpainted"),
            Action::Reframe => (UseCase::Reframing, "reframed"),
            Action::Upscale => (UseCase::Upscaling, "upscaled"),
            Action::Vectorize => (UseCase::Vectorization, "vector"),
        };
        let words = matches!(self.action, Action::Edit | Action::Inpaint | Action::RemoveObjects);
        let sized = matches!(self.action, Action::Outpaint | Action::Reframe);
        let arguments = [
            ("prompt", self.prompt.is_some(), words, words || sized),
            ("mask", self.mask.is_some(), self.action == Action::Inpaint, words),
            ("width", self.width.is_some(), sized, sized || words),
            ("height", self.height.is_some(), sized, sized || words),
            ("scale", self.scale.is_some(), false, self.action == Action::Upscale),
        ];
        for (field, given, needed, taken) in arguments {
            if needed && !given {
                return Err(wrong(field, format!("`{field}` is needed for `{word}` pictures")));
            }
            if given && !taken {
                return Err(wrong(field, format!("`{field}` does nothing here; leave it out")));
            }
        }
        // Models that paint beyond the edges want words; the others work on the picture alone.
        let unprompted = self.prompt.is_none() && !sized;
        let became =
            if sized { "reframed, the scene continued beyond its old edges" } else { word };
        let prompt = self.prompt.map_or_else(|| name_for(&self.image, became), Ok)?;
        let prompt = match self.action {
            Action::RemoveObjects => gone(&prompt)?,
            _ => prompt,
        };
        Ok(AssetRequest {
            unprompted,
            use_case: Some(use_case),
            model: self.model,
            width: self.width,
            height: self.height,
            of_one_picture: true,
            references: vec![self.image],
            mask: self.mask,
            upscale_ratio: (self.action == Action::Upscale)
                .then(|| self.scale.map_or(2.0, |scale| scale.0)),
            save_to: self.save_to.as_deref().map(SaveTo::parse).transpose()?,
            variation: self.variation,
            quote_id: self.quote_id,
            ..AssetRequest::plain(prompt)
        })
    }
}

/// The wish to be rid of something, in words for a model that edits.
fn gone(what: &Prompt) -> Result<Prompt, RunError> {
    let words = what.as_str().trim();
    let words = match words.to_lowercase().starts_with("remove ") {
        true => words.to_owned(),
        false => format!("Remove {words}"),
    };
    let words = format!("{words}. Show what is behind it, and change nothing else.");
    Prompt::try_from(words).map_err(|why| wrong("prompt", why))
}

fn wrong(field: &'static str, message: String) -> RunError {
    RunError::Argument { field, message }
}

/// What such a run is called where no prompt says it: the file's own name and what became of it.
/// The models for this take no notice of a prompt, and files are named for it.
fn name_for(image: &str, became: &str) -> Result<Prompt, RunError> {
    let name = image.trim().rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    Prompt::try_from(format!("{stem} {became}")).map_err(|why| wrong("image", why))
}
