//! From a request to what a model really does with it: size, length, count, price and the
//! artifacts to make. Here live the habits of models, also the silent ones.

use serde_json::{Value, json};

use super::fields::Detail;
use super::media::{Artifact, Make};
use super::models::{Length, Model, Prompt, Sizing};
use super::money::CreativeUnits;
use super::request::InferenceRequest;
use super::runs::Outcome;
use super::state::StoredFile;

/// The longest side of anything.
const MAX_SIDE: u32 = 4096;

/// What will be made, and for how much.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) size: Option<(u32, u32)>,
    pub(super) seconds: Option<f64>,
    pub(super) batch: u32,
    pub(super) fps: Option<u32>,
    pub(super) price: CreativeUnits,
    pub(super) outcome: Outcome,
    steps: Option<u32>,
    guidance_scale: Option<f64>,
}

impl Plan {
    /// What an estimate knows: everything but the files.
    pub(super) fn estimate(model: &Model, request: &InferenceRequest) -> Result<Self, Detail> {
        if model.prompt == Prompt::Required && request.prompt.trim().is_empty() {
            return Err(Detail::value("prompt", format!("{} needs a prompt", model.name)));
        }
        let seconds = seconds(model, request)?;
        let batch = request.batch_size.min(model.max_batch);
        let characters = request.prompt.chars().count();
        let unit = model.unit_price(request.quality.as_deref(), seconds, characters);
        let diffuses = model.can("structure") || model.can("negative_prompt");
        Ok(Self {
            size: size(model, request, None)?,
            seconds,
            batch,
            fps: (model.makes == Make::Video).then(|| fps(model, request)),
            price: unit.times(batch),
            outcome: Outcome::Complete,
            steps: diffuses.then(|| request.steps.unwrap_or(28).min(50)),
            guidance_scale: diffuses.then(|| request.guidance_scale.unwrap_or(3.5)),
        })
    }

    /// What an execution does, knowing the files.
    pub(super) fn execute(
        model: &Model,
        request: &InferenceRequest,
        files: &[StoredFile],
    ) -> Result<Self, Detail> {
        judge_files(model, request, files)?;
        let mut plan = Self::estimate(model, request)?;
        let without_files = request.guidance_files.is_empty();
        if model.prompt == Prompt::RequiredWithoutFiles
            && without_files
            && request.prompt.trim().is_empty()
        {
            let msg = format!("{} needs a prompt or a guidance file", model.name);
            return Err(Detail::value("prompt", msg));
        }
        if !without_files {
            plan.price = plan.price.plus(model.reference_surcharge.times(plan.batch));
        }
        plan.size = size(model, request, files.first().and_then(|file| file.size))?;
        if plan.size.is_some_and(|(width, height)| width.max(height) > MAX_SIDE) {
            plan.outcome = Outcome::ImageTooLarge;
        }
        Ok(plan)
    }

    /// What the model will really use (Layer REST reference, execute inference).
    pub(super) fn normalized(&self) -> Value {
        json!({
            "width": self.size.map(|(width, _)| width),
            "height": self.size.map(|(_, height)| height),
            "batch_size": self.batch,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "duration_seconds": self.seconds,
            "fps": self.fps,
        })
    }

    /// What a completed run hands out. `remove_background` is not looked at: generation models
    /// ignore it without a word.
    pub(super) fn artifacts(&self, model: &Model, request: &InferenceRequest) -> Vec<Artifact> {
        let seed = request.seed.unwrap_or_else(|| i64::from(rand::random::<u32>()));
        let (width, height) = self.size.unwrap_or_default();
        let files = request.guidance_files.iter().map(|file| file.file_id.clone());
        (0..self.batch)
            .map(|index| Artifact {
                makes: model.makes,
                model: model.id.to_owned(),
                prompt: request.prompt.clone(),
                seed,
                index,
                content_type: model.content_type.to_owned(),
                width,
                height,
                seconds: self.seconds.unwrap_or_default(),
                fps: self.fps.unwrap_or_default(),
                faces: request.face_limit.unwrap_or(2_000),
                transparent: request.transparency && model.can("transparency"),
                tileable: request.tileability && model.can("tileability"),
                sources: files.clone().collect(),
                mask: request.mask.clone(),
                label: None,
            })
            .collect()
    }
}

/// A model takes only the kinds of files that it lists, and so many of them.
fn judge_files(
    model: &Model,
    request: &InferenceRequest,
    files: &[StoredFile],
) -> Result<(), Detail> {
    let (least, most) = model.files;
    let count = request.guidance_files.len();
    let refuse = |msg: String| Err(Detail::value("guidance_files", msg));
    if count > 0 && most == 0 {
        return refuse(format!("{} does not take guidance files", model.name));
    }
    if count < least {
        return refuse(format!("{} needs at least {least} guidance file(s)", model.name));
    }
    if count > most {
        return refuse(format!("{} takes at most {most} guidance file(s)", model.name));
    }
    for (guidance, file) in request.guidance_files.iter().zip(files) {
        let kind = guidance.kind;
        if !model.guidance.iter().any(|taken| taken.takes(kind)) {
            return refuse(format!("{} does not take files of type {}", model.name, kind.word()));
        }
        if !file.content_type.starts_with(kind.media_prefix()) {
            let msg = format!("a file of type {} cannot be {}", kind.word(), file.content_type);
            return refuse(msg);
        }
    }
    Ok(())
}

fn size(
    model: &Model,
    request: &InferenceRequest,
    source: Option<(u32, u32)>,
) -> Result<Option<(u32, u32)>, Detail> {
    let asked = (request.width, request.height);
    Ok(match model.sizing {
        Sizing::None => None,
        Sizing::Range { min, max, step, default } => {
            let side = |field: &str, asked: Option<u32>, default: u32| match asked {
                Some(side) if side < min || side > max => {
                    Err(Detail::value(field, format!("{} takes {min} to {max}", model.name)))
                }
                side => Ok((side.unwrap_or(default) + step / 2) / step * step),
            };
            Some((side("width", asked.0, default.0)?, side("height", asked.1, default.1)?))
        }
        Sizing::Shapes(shapes) => {
            let wanted = aspect(asked.0.unwrap_or(1024), asked.1.unwrap_or(1024));
            let far = |shape: &&(u32, u32)| (aspect(shape.0, shape.1) - wanted).abs();
            shapes.iter().min_by(|a, b| far(a).total_cmp(&far(b))).copied()
        }
        Sizing::Frame(longest) => {
            if asked.0.max(asked.1) > Some(1920) {
                return Err(Detail::value("width", format!("{} takes up to 1920", model.name)));
            }
            let (width, height) = match (asked, source) {
                ((Some(width), Some(height)), _) | ((None, None), Some((width, height))) => {
                    (width, height)
                }
                ((Some(width), None), _) => (width, width * 9 / 16),
                ((None, Some(height)), _) => (height * 16 / 9, height),
                ((None, None), None) => (16, 9),
            };
            Some(shrunk(width, height, longest))
        }
        Sizing::Input => {
            let ratio = match model.makes {
                Make::Upscale => request.upscale_ratio.unwrap_or(2.0),
                _ => 1.0,
            };
            if !(1.0..=8.0).contains(&ratio) {
                return Err(Detail::value("upscale_ratio", "it must lie between 1 and 8"));
            }
            let scaled = |side: u32| ((f64::from(side) * ratio).round() as u32).max(1);
            source.map(|(width, height)| (scaled(width), scaled(height)))
        }
    })
}

/// The logarithm of width by height, so that 2:1 is as far from 1:1 as 1:2.
fn aspect(width: u32, height: u32) -> f64 {
    (f64::from(width.max(1)) / f64::from(height.max(1))).ln()
}

/// The same aspect with the longer side at `longest`, both even.
fn shrunk(width: u32, height: u32, longest: u32) -> (u32, u32) {
    let scale = f64::from(longest) / f64::from(width.max(height).max(1));
    let even = |side: u32| ((f64::from(side) * scale / 2.0).round() as u32).max(8) * 2;
    (even(width), even(height))
}

fn seconds(model: &Model, request: &InferenceRequest) -> Result<Option<f64>, Detail> {
    Ok(match model.length {
        Length::None => None,
        Length::Fixed(seconds) => Some(seconds),
        Length::Spoken => {
            let spoken = request.prompt.chars().count() as f64 / 15.0;
            let seconds = (spoken / request.speed.unwrap_or(1.0)).clamp(1.0, 120.0);
            Some((seconds * 10.0).round() / 10.0)
        }
        Length::Asked { min, max, default } => {
            let seconds = request.seconds.unwrap_or(default);
            if !(min..=max).contains(&seconds) {
                let msg = format!("{} makes {min} to {max} seconds", model.name);
                return Err(Detail::value("duration_seconds", msg));
            }
            Some(seconds)
        }
    })
}

/// Only LTX lets the rate be chosen (Layer REST reference, execute inference, `fps`).
fn fps(model: &Model, request: &InferenceRequest) -> u32 {
    if model.id.starts_with("ltx") { request.fps.unwrap_or(12).min(30) } else { 8 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn plan(id: &str, request: InferenceRequest) -> Result<Plan, Detail> {
        let request = InferenceRequest { prompt: "a fox".into(), batch_size: 4, ..request };
        Plan::estimate(Model::find(id).unwrap(), &request)
    }

    fn sized(width: u32, height: u32) -> InferenceRequest {
        InferenceRequest { width: Some(width), height: Some(height), ..Default::default() }
    }

    #[test]
    fn sizes_are_kept_rounded_snapped_or_refused() {
        let size = |id, request| plan(id, request).map(|plan| plan.size.unwrap());
        assert_eq!(size("gemini-3.1-flash-image", sized(333, 777)), Ok((333, 777)));
        assert_eq!(size("flux", sized(1000, 1000)), Ok((1008, 1008)));
        assert_eq!(size("gpt-image-1.5", sized(1920, 1080)), Ok((1536, 1024)));
        assert_eq!(size("veo-3.1-fast", sized(1280, 720)), Ok((320, 180)));
        assert!(size("flux", sized(64, 64)).is_err());
        assert!(size("gemini-3.1-flash-image", sized(4097, 64)).is_err());
    }

    #[test]
    fn a_model_of_fixed_duration_ignores_what_is_asked() {
        let request = InferenceRequest { seconds: Some(9.0), ..Default::default() };
        let fixed = plan("seedance-1-lite", request.clone()).unwrap();
        assert_eq!((fixed.seconds, fixed.batch), (Some(5.0), 1));
        assert!(plan("veo-3.1-fast", request).is_err());
    }

    #[test]
    fn references_cost_what_the_estimate_does_not_know() {
        let model = Model::find("flux").unwrap();
        let request = InferenceRequest {
            prompt: "a fox".into(),
            batch_size: 1,
            guidance_files: vec![super::super::request::GuidanceFile {
                file_id: String::new(),
                kind: super::super::guidance::GuidanceType::IpAdapter,
            }],
            ..Default::default()
        };
        let file = StoredFile {
            id: String::new(),
            workspace: String::new(),
            content_type: "image/png".into(),
            name: String::new(),
            artifact: None,
            size: Some((8, 8)),
            ready: true,
            label: None,
            created: 0,
            run: None,
        };
        let price = Plan::estimate(model, &request).unwrap().price;
        assert_eq!(price.json(), 0.6);
        let plan = Plan::execute(model, &request, std::slice::from_ref(&file)).unwrap();
        assert_eq!(plan.price.json(), 1.4);
        let sibling = Model::find("7b0f3c52-4d1e-4a86-9a35-0c61f0a2de11").unwrap();
        assert!(Plan::execute(sibling, &request, &[file]).is_err());
    }
}
