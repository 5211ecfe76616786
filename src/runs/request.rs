//! What a caller asks for, in values that can't be wrong, and how it becomes an inference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::choose::Choice;
use super::error::RunError;
use crate::files::SaveTo;
use crate::layer::{InferenceRequest, Modality, Model, ModelOptions, Quality, Task, UseCase};

/// A prompt of 1 to 100,000 characters, Layer's own limit, with something visible in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline)]
pub struct Prompt(#[schemars(length(min = 1, max = 100_000))] String);

impl TryFrom<String> for Prompt {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let length = text.chars().count();
        if crate::redact::clean(&text, usize::MAX).trim().is_empty() {
            Err("a prompt can't be empty: describe what to make".to_owned())
        } else if length > 100_000 {
            Err(format!("a prompt has at most 100,000 characters; this one has {length}"))
        } else if text.contains('\0') {
            Err("a prompt can't hold a NUL character".to_owned())
        } else {
            Ok(Self(text))
        }
    }
}

impl Prompt {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! whole_number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $low:literal to $high:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "f64")]
        pub struct $name($inner);

        impl TryFrom<f64> for $name {
            type Error = String;

            fn try_from(number: f64) -> Result<Self, String> {
                let whole = number.fract() == 0.0;
                if whole && (f64::from($low)..=f64::from($high)).contains(&number) {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "the range was checked just above"
                    )]
                    return Ok(Self(number as $inner));
                }
                Err(format!("{} is a whole number from {} to {}, not {number}", $what, $low, $high))
            }
        }

        impl $name {
            /// The number.
            pub fn get(self) -> $inner {
                self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "integer", "minimum": $low, "maximum": $high })
            }
        }
    };
}

whole_number! {
    /// Pixels along one side. What a model really takes is narrower, and the service says so.
    Pixels(u32), 1 to 16_384, "a side in pixels"
}
whole_number! {
    /// How many variations to make.
    Count(u8), 1 to 16, "`count`"
}
whole_number! {
    /// What makes a result repeatable.
    Seed(u32), 0 to 2_147_483_647, "a seed"
}
whole_number! {
    /// How long to wait, in seconds.
    WaitSeconds(u32), 0 to 3_600, "a time to wait, in seconds,"
}
whole_number! {
    /// How many entries to list.
    Limit(u32), 1 to 100, "`limit`"
}

impl Default for Count {
    /// One. The service's own default is 4, and each is paid for.
    fn default() -> Self {
        Self(1)
    }
}

/// A length in seconds, more than 0 and at most 600.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Seconds(f64);

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        if number > 0.0 && number <= 600.0 {
            Ok(Self(number))
        } else {
            Err(format!("`duration_seconds` is more than 0 and at most 600, not {number}"))
        }
    }
}

impl JsonSchema for Seconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": 600 })
    }
}

/// One asset, or several variations of one, as the caller describes it.
#[derive(Clone, Debug)]
pub struct AssetRequest {
    /// What to make.
    pub prompt: Prompt,
    /// The prompt only names the files: the model works on a file alone.
    pub unprompted: bool,
    /// The references are one picture, which an argument of its own names.
    pub of_one_picture: bool,
    /// What for; decides the model when none is named.
    pub use_case: Option<UseCase>,
    /// A model's id or name.
    pub model: Option<String>,
    /// Width.
    pub width: Option<Pixels>,
    /// Height.
    pub height: Option<Pixels>,
    /// How many.
    pub count: Count,
    /// Repeats a result.
    pub seed: Option<Seed>,
    /// How much work the model puts in.
    pub quality: Option<Quality>,
    /// What to keep out.
    pub negative_prompt: Option<String>,
    /// Real alpha wanted.
    pub transparent: bool,
    /// Edges that meet wanted.
    pub tileable: bool,
    /// Length of a video or sound.
    pub duration: Option<Seconds>,
    /// Settings that only some models have, in Layer's names.
    pub options: Map<String, Value>,
    /// What to go by: paths, patterns, jobs, ids of files at Layer.
    pub references: Vec<String>,
    /// Light where the file may be changed: a path, job or id as in `references`.
    pub mask: Option<String>,
    /// How much larger, from 1 to 8.
    pub upscale_ratio: Option<f64>,
    /// Where to put it below the output folder.
    pub save_to: Option<SaveTo>,
    /// Buy a new one although the same request was made before.
    pub variation: bool,
    /// A price that was named before and is to be held to.
    pub quote_id: Option<String>,
}

/// A wish that only some models can fulfil.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The argument that expresses it.
    pub(super) argument: &'static str,
    is_met_by: fn(&Model) -> bool,
}

fn lists_any(model: &Model, names: &[&str]) -> bool {
    names.iter().any(|name| model.capabilities.has(name))
}

const TRANSPARENT: Wish = Wish {
    argument: "transparent",
    is_met_by: |model| lists_any(model, &["transparency", "transparent_background", "transparent"]),
};
const TILEABLE: Wish = Wish {
    argument: "tileable",
    is_met_by: |model| lists_any(model, &["tileability", "tileable"]),
};
const NEGATIVE: Wish =
    Wish { argument: "negative_prompt", is_met_by: |model| lists_any(model, &["negative_prompt"]) };
const REFERENCES: Wish = Wish { argument: "references", is_met_by: Model::takes_references };

impl Wish {
    /// True when the model says that it can.
    pub(super) fn is_met_by(self, model: &Model) -> bool {
        (self.is_met_by)(model)
    }
}

impl AssetRequest {
    /// One of a prompt, with everything else as it comes.
    pub fn plain(prompt: Prompt) -> Self {
        Self {
            prompt,
            unprompted: false,
            of_one_picture: false,
            use_case: None,
            model: None,
            width: None,
            height: None,
            count: Count::default(),
            seed: None,
            quality: None,
            negative_prompt: None,
            transparent: false,
            tileable: false,
            duration: None,
            options: Map::new(),
            references: Vec::new(),
            mask: None,
            upscale_ratio: None,
            save_to: None,
            variation: false,
            quote_id: None,
        }
    }

    /// The wishes that narrow the choice of a model.
    pub(super) fn wishes(&self) -> Vec<Wish> {
        [
            (self.transparent, TRANSPARENT),
            (self.tileable, TILEABLE),
            (self.negative_prompt.is_some(), NEGATIVE),
            (!self.references.is_empty(), REFERENCES),
        ]
        .into_iter()
        .filter_map(|(wanted, wish)| wanted.then_some(wish))
        .collect()
    }

    /// The inference for the chosen model, with the seed that the caller gave, if any, and
    /// without its files, which have to be brought to Layer first.
    ///
    /// # Errors
    /// [`RunError::Argument`] for what does not apply to what the model makes. Nothing that the
    /// service would silently drop is sent.
    pub(super) fn inference(&self, choice: &Choice) -> Result<InferenceRequest, RunError> {
        let (model, modality) = (&choice.model, choice.modality);
        let makes = modality.as_str();
        let has_size = matches!(modality, Modality::Image | Modality::Video);
        let has_length = matches!(modality, Modality::Video | Modality::Audio);
        let misplaced = [
            ("width", self.width.is_some() && !has_size, "images and videos"),
            ("height", self.height.is_some() && !has_size, "images and videos"),
            ("duration_seconds", self.duration.is_some() && !has_length, "videos and sounds"),
        ]
        .into_iter()
        .find(|(_, misplaced, _)| *misplaced);
        if let Some((field, _, only)) = misplaced {
            return Err(RunError::Argument {
                field,
                message: format!(
                    "`{field}` applies to {only}; the model `{}` makes {makes}. Leave it out",
                    model.name
                ),
            });
        }
        let options = ModelOptions::parse(&self.options, modality)
            .map_err(|message| RunError::Argument { field: "options", message })?;
        Ok(InferenceRequest {
            model: model.id.clone(),
            prompt: self.prompt.as_str().to_owned(),
            negative_prompt: self.negative_prompt.clone(),
            width: self.width.map(Pixels::get),
            height: self.height.map(Pixels::get),
            count: self.count.get(),
            seed: self.seed.map(Seed::get),
            quality: self.quality,
            transparency: self.transparent,
            tileability: self.tileable,
            duration_seconds: self.duration.map(|seconds| seconds.0),
            unprompted: self.unprompted,
            task: match self.use_case {
                Some(UseCase::BackgroundRemoval) => Some(Task::RemoveBackground),
                Some(UseCase::Reframing) => Some(Task::Reframe),
                Some(UseCase::Vectorization) => Some(Task::Vectorize),
                _ => None,
            },
            upscale_ratio: self.upscale_ratio,
            options,
            mask: None,
            references: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn numbers_out_of_range_say_what_is_allowed() {
        for json in ["0", "-1", "1.5", "16385", "1e99"] {
            let error = serde_json::from_str::<Pixels>(json).unwrap_err().to_string();
            assert!(error.contains("whole number from 1 to 16384"), "{json}: {error}");
        }
        assert_eq!(serde_json::from_str::<Pixels>("512").unwrap().get(), 512);
        assert_eq!(serde_json::from_str::<Pixels>("512.0").unwrap().get(), 512);
        assert!(serde_json::from_str::<Pixels>("\"512\"").is_err());
        assert!(serde_json::from_str::<Count>("17").is_err());
        assert!(serde_json::from_str::<Seconds>("0").is_err());
    }

    #[test]
    fn a_prompt_has_something_to_say() {
        for text in ["", "  \n", "\n\u{200b}", "\u{0}x"] {
            assert!(Prompt::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(Prompt::try_from("é".repeat(100_000)).is_ok());
        assert!(Prompt::try_from("x".repeat(100_001)).is_err());
    }
}
