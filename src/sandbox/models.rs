//! What a model is: its words on the wire, its limits, its habits and its price. The models
//! themselves are in `catalogue`.

use serde_json::{Map, Value, json};

use super::catalogue::CATALOGUE;
use super::guidance::GuidanceType;
use super::media::Make;
use super::money::CreativeUnits;

/// The kinds of things a model makes (Layer REST reference, list models).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modality {
    Text,
    Image,
    Video,
    ThreeD,
    Audio,
}

impl Modality {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::ThreeD => "three_d",
            Self::Audio => "audio",
        }
    }

    /// Every capability that a model of this modality states, as true or false. The names are
    /// those of the filters `use_case` and `capabilities` of Layer's public skills, and
    /// `transparency`.
    const fn capability_names(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["image_description"],
            Self::Image => &[
                "text_to_image",
                "image_editing",
                "inpainting",
                "outpainting",
                "reframing",
                "multi_angle",
                "split_into_layers",
                "upscaling",
                "background_removal",
                "vectorization",
                "negative_prompt",
                "tileability",
                "transparency",
                "structure",
                "outline",
                "character_pose",
                "style_reference",
                "camera_transform",
                "square",
                "portrait_9_16",
                "landscape_16_9",
                "multiple_aspect_ratios",
            ],
            Self::Video => &[
                "text_to_video",
                "image_to_video",
                "video_editing",
                "video_extend",
                "lipsync",
                "negative_prompt",
                "generate_audio",
                "loop",
                "fixed_duration",
                "square",
                "portrait_9_16",
                "landscape_16_9",
                "multiple_aspect_ratios",
            ],
            Self::ThreeD => &[
                "text_to_3d",
                "image_to_3d",
                "textures",
                "remesh",
                "retexture",
                "rig",
                "animate",
                "segment",
            ],
            Self::Audio => &[
                "text_to_speech",
                "sound_effects",
                "sound_effect",
                "music",
                "instrumental",
                "loop",
                "fixed_duration",
            ],
        }
    }
}

/// Whether a prompt must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    Required,
    /// Needed only when no guidance file says what to make.
    RequiredWithoutFiles,
    Optional,
}

/// How a model arrives at the size of its output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sizing {
    /// Any size of the range, rounded to multiples of `step`; beyond the range it is refused.
    Range { min: u32, max: u32, step: u32, default: (u32, u32) },
    /// The nearest of a few shapes, whatever was asked.
    Shapes(&'static [(u32, u32)]),
    /// Any aspect up to 1920, shrunk so that the longer side has this many pixels.
    Frame(u32),
    /// The size of the input, times `upscale_ratio` where the model scales.
    Input,
    /// It has no width and height.
    None,
}

/// What a duration does to a model.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// As asked, within the range; beyond it the request is refused.
    Asked {
        min: f64,
        max: f64,
        default: f64,
    },
    /// Always this long, whatever was asked. Nothing is said about it.
    Fixed(f64),
    /// As long as the prompt takes to say.
    Spoken,
    None,
}

/// What a price is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Price {
    Output(CreativeUnits),
    /// As `Output`, two thirds for low quality and half as much again for high.
    OutputByQuality(CreativeUnits),
    Second(CreativeUnits),
    ThousandCharacters(CreativeUnits),
}

/// One base model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) modality: Modality,
    pub(super) makes: Make,
    pub(super) capabilities: &'static [&'static str],
    pub(super) prompt: Prompt,
    pub(super) sizing: Sizing,
    pub(super) length: Length,
    pub(super) guidance: &'static [GuidanceType],
    /// Guidance files it needs at least, and takes at most.
    pub(super) files: (usize, usize),
    pub(super) max_batch: u32,
    pub(super) price: Price,
    /// Added to each output when guidance files are present; the estimate cannot know it.
    pub(super) reference_surcharge: CreativeUnits,
    pub(super) content_type: &'static str,
    /// How long a run takes at speed 1, and the pause between polls, in milliseconds.
    pub(super) run_ms: i64,
    pub(super) poll_ms: i64,
}

impl Model {
    pub(super) fn find(id: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|model| model.id.eq_ignore_ascii_case(id))
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }

    /// The price of one output.
    pub(super) fn unit_price(
        &self,
        quality: Option<&str>,
        seconds: Option<f64>,
        characters: usize,
    ) -> CreativeUnits {
        match self.price {
            Price::Output(price) => price,
            Price::OutputByQuality(price) => match quality {
                Some("low") => price.scaled(2.0 / 3.0),
                Some("high") => price.scaled(1.5),
                _ => price,
            },
            Price::Second(price) => price.scaled(seconds.unwrap_or(1.0)),
            Price::ThousandCharacters(price) => {
                price.scaled((characters as f64 / 1_000.0).max(0.1))
            }
        }
    }

    /// The item of the list (Layer REST reference, list models).
    pub(super) fn listed(&self, form: ModelForm) -> Map<String, Value> {
        let names = self.modality.capability_names();
        let capabilities = if form.camel_case {
            names.iter().filter(|name| self.can(name)).map(|name| camel_case(name)).collect()
        } else {
            names
                .iter()
                .map(|name| ((*name).to_owned(), Value::Bool(self.can(name))))
                .collect::<Map<_, _>>()
                .into()
        };
        let id = if form.plain_id { "id" } else { "model_id" };
        Map::from_iter([
            (id.to_owned(), self.id.into()),
            ("name".to_owned(), self.name.into()),
            ("modality".to_owned(), self.modality.word().into()),
            ("capabilities".to_owned(), capabilities),
        ])
    }

    /// The single model, with the limits that the hosted MCP's model contract also tells.
    pub(super) fn detailed(&self, form: ModelForm) -> Map<String, Value> {
        let mut item = self.listed(form);
        let guidance: Vec<_> = self.guidance.iter().map(|kind| kind.word()).collect();
        item.insert("description".to_owned(), self.description.into());
        item.insert("guidance_file_types".to_owned(), json!(guidance));
        item.insert("max_guidance_files".to_owned(), json!(self.files.1));
        if let Sizing::Range { min, max, .. } = self.sizing {
            for name in ["min_width", "min_height"] {
                item.insert(name.to_owned(), min.into());
            }
            for name in ["max_width", "max_height"] {
                item.insert(name.to_owned(), max.into());
            }
        }
        if let Length::Asked { min, max, .. } = self.length {
            item.insert("min_duration_seconds".to_owned(), min.into());
            item.insert("max_duration_seconds".to_owned(), max.into());
        }
        item
    }
}

/// How model items are spelled; see the faults `models_camel_case` and `models_id_field`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ModelForm {
    pub(super) camel_case: bool,
    pub(super) plain_id: bool,
}

/// `text_to_3d` as `textTo3D`.
fn camel_case(name: &str) -> Value {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            camel.push_str(&letters.as_str().to_ascii_uppercase());
        } else {
            camel.push_str(letters.as_str());
        }
    }
    camel.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn ids_are_unique_and_mixed() {
        let mut ids: Vec<_> = CATALOGUE.iter().map(|model| model.id).collect();
        let uuids = ids.iter().filter(|id| uuid::Uuid::parse_str(id).is_ok()).count();
        assert!(uuids >= 8 && ids.len() - uuids >= 8, "{uuids} of {}", ids.len());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CATALOGUE.len());
    }

    #[test]
    fn the_first_page_holds_no_3d_model() {
        assert!(CATALOGUE.iter().take(20).all(|model| model.modality != Modality::ThreeD));
        assert!(CATALOGUE.iter().any(|model| model.modality == Modality::ThreeD));
    }

    #[test]
    fn every_capability_of_a_model_is_listed() {
        for model in CATALOGUE {
            for name in model.capabilities {
                assert!(model.modality.capability_names().contains(name), "{} {name}", model.id);
            }
            assert!(model.files.0 <= model.files.1, "{}", model.id);
            assert_eq!(model.guidance.is_empty(), model.files.1 == 0, "{}", model.id);
        }
    }

    #[test]
    fn capabilities_can_be_camel_case_names() {
        let model = Model::find("meshy-6").unwrap();
        let item = model.listed(ModelForm { camel_case: true, plain_id: true });
        assert_eq!(item.get("id").unwrap(), "meshy-6");
        assert!(item.get("capabilities").unwrap().as_array().unwrap().contains(&"textTo3D".into()));
        assert!(Model::find("flux").unwrap().listed(ModelForm::default()).contains_key("model_id"));
    }

    #[test]
    fn observed_prices_are_met() {
        let price = |id: &str| Model::find(id).unwrap().unit_price(Some("medium"), None, 10);
        assert_eq!(price("flux").json(), 0.6);
        assert_eq!(price("gemini-3.1-flash-image").json(), 2.0);
        assert_eq!(price("birefnet-v2").json(), 0.1);
        let flux = Model::find("flux").unwrap();
        assert_eq!(price("flux").plus(flux.reference_surcharge).json(), 1.4);
    }
}
