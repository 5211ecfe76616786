//! Base models: what they make, and what they can do.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::ModelId;

/// What a model makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Modality {
    #[allow(missing_docs, reason = "documented on the enum: a doc here would split the schema")]
    Image,
    #[allow(missing_docs, reason = "documented on the enum: a doc here would split the schema")]
    Video,
    #[allow(missing_docs, reason = "documented on the enum: a doc here would split the schema")]
    ThreeD,
    #[allow(missing_docs, reason = "documented on the enum: a doc here would split the schema")]
    Audio,
    #[allow(missing_docs, reason = "documented on the enum: a doc here would split the schema")]
    Text,
}

impl Modality {
    /// The modality that Layer's word names, whatever its case; `None` for one it added since.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().replace(['-', ' '], "_").as_str() {
            "image" => Some(Self::Image),
            "video" => Some(Self::Video),
            "three_d" | "3d" | "threed" => Some(Self::ThreeD),
            "audio" => Some(Self::Audio),
            "text" => Some(Self::Text),
            _ => None,
        }
    }

    /// The word of Layer's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::ThreeD => "three_d",
            Self::Audio => "audio",
            Self::Text => "text",
        }
    }
}

/// What a generation is for. The words are those of Layer's own model filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the words speak; docs on variants would split the schema")]
pub enum UseCase {
    #[default]
    TextToImage,
    TextToVideo,
    #[serde(rename = "text_to_3d")]
    TextTo3d,
    TextToSpeech,
    SoundEffects,
    Music,
}

impl UseCase {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 6] = [
        Self::TextToImage,
        Self::TextToVideo,
        Self::TextTo3d,
        Self::TextToSpeech,
        Self::SoundEffects,
        Self::Music,
    ];

    /// The word of Layer's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TextToImage => "text_to_image",
            Self::TextToVideo => "text_to_video",
            Self::TextTo3d => "text_to_3d",
            Self::TextToSpeech => "text_to_speech",
            Self::SoundEffects => "sound_effects",
            Self::Music => "music",
        }
    }

    /// What comes out of it.
    pub fn modality(self) -> Modality {
        match self {
            Self::TextToImage => Modality::Image,
            Self::TextToVideo => Modality::Video,
            Self::TextTo3d => Modality::ThreeD,
            Self::TextToSpeech | Self::SoundEffects | Self::Music => Modality::Audio,
        }
    }

    /// The capability names under which models have been seen to list it.
    fn capability_names(self) -> &'static [&'static str] {
        match self {
            Self::TextToImage => &["text_to_image"],
            Self::TextToVideo => &["text_to_video"],
            Self::TextTo3d => &["text_to_3d"],
            Self::TextToSpeech => &["text_to_speech", "speech"],
            Self::SoundEffects => &["sound_effects", "sound_effect"],
            Self::Music => &["music"],
        }
    }
}

/// Use cases that need a file to work on. A model that lists only these can't start from a prompt.
const WORKS_ON_FILES: &[&str] = &[
    "image_editing",
    "inpainting",
    "reframing",
    "multi_angle",
    "split_into_layers",
    "upscaling",
    "background_removal",
    "vectorization",
    "image_to_video",
    "video_editing",
    "video_extend",
    "image_to_3d",
    "remesh",
    "retexture",
    "rig",
    "animate",
    "segment",
    "lipsync",
];

/// One model of a workspace's catalogue. Catalogues differ per workspace and change over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What a generation names.
    pub id: ModelId,
    /// The name as the app shows it.
    pub name: String,
    /// What it makes; `None` for a kind that this version doesn't know.
    pub modality: Option<Modality>,
    /// What it says it can do.
    pub capabilities: Capabilities,
}

impl Model {
    /// How well the model suits a use case: smaller is better, `None` is not at all.
    ///
    /// A model that lists the use case is taken at its word. One that lists no use case is judged
    /// by what it makes.
    pub fn suits(&self, use_case: UseCase) -> Option<u8> {
        let all_names = UseCase::ALL.iter().flat_map(|case| case.capability_names());
        let lists_any = all_names.clone().any(|name| self.capabilities.has(name));
        if use_case.capability_names().iter().any(|name| self.capabilities.has(name)) {
            return Some(0);
        }
        if self.modality != Some(use_case.modality()) || lists_any {
            return None;
        }
        let only_works_on_files = WORKS_ON_FILES.iter().any(|name| self.capabilities.has(name));
        let sounds_like_an_editor = {
            let name = self.name.to_ascii_lowercase();
            ["background", "upscal", "vectori", "birefnet", "edit", "remove"]
                .iter()
                .any(|word| name.contains(word))
        };
        Some(match (only_works_on_files, sounds_like_an_editor) {
            (false, false) => 1,
            (true, false) => 2,
            _ => 3,
        })
    }

    /// True when `text` names this model: its id, or its name in any case.
    pub fn is_named(&self, text: &str) -> bool {
        self.id.as_str() == text || self.name.to_lowercase() == text.trim().to_lowercase()
    }
}

/// The capabilities that a model has. Names are snake case, whichever form Layer used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeSet<String>);

impl Capabilities {
    /// Takes the names as they came, camelCase or snake_case.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(snake_case).filter(|name| !name.is_empty()).collect())
    }

    /// True when the model says that it can do this.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut previous: Option<char> = None;
    for letter in name.chars().take(80) {
        if letter.is_ascii_alphanumeric() {
            // "textTo3D" is text_to_3d, "textTo3d" likewise: a digit opens a word, and what
            // follows it belongs to it.
            let opens = match previous {
                Some(before) if letter.is_ascii_uppercase() => before.is_ascii_lowercase(),
                Some(before) if letter.is_ascii_digit() => before.is_ascii_lowercase(),
                _ => false,
            };
            if opens {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        } else if !snake.ends_with('_') && !snake.is_empty() {
            snake.push('_');
        }
        previous = Some(letter);
    }
    snake.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn model(name: &str, modality: Modality, capabilities: &[&str]) -> Model {
        Model {
            id: "m".parse().unwrap(),
            name: name.to_owned(),
            modality: Some(modality),
            capabilities: Capabilities::from_names(capabilities.iter().copied()),
        }
    }

    #[test]
    fn capability_names_of_both_forms_mean_the_same() {
        for (given, wanted) in [
            ("textTo3D", "text_to_3d"),
            ("text_to_3d", "text_to_3d"),
            ("negativePrompt", "negative_prompt"),
            ("portrait_9_16", "portrait_9_16"),
            ("Text To Image", "text_to_image"),
        ] {
            assert_eq!(snake_case(given), wanted);
        }
    }

    #[test]
    fn a_model_is_taken_at_its_word_before_its_modality() {
        let listed = model("A", Modality::Image, &["text_to_image"]);
        let silent = model("B", Modality::Image, &["tileability"]);
        let cutter = model("BiRefNet v2", Modality::Image, &["background_removal"]);
        let other = model("C", Modality::Audio, &["music"]);
        assert_eq!(listed.suits(UseCase::TextToImage), Some(0));
        assert_eq!(silent.suits(UseCase::TextToImage), Some(1));
        assert!(cutter.suits(UseCase::TextToImage) > Some(1));
        assert_eq!(other.suits(UseCase::SoundEffects), None);
        assert_eq!(other.suits(UseCase::Music), Some(0));
        assert_eq!(listed.suits(UseCase::TextToVideo), None);
    }
}
