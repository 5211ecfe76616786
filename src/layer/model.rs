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
    ImageEditing,
    Inpainting,
    Reframing,
    MultiAngle,
    SplitIntoLayers,
    Upscaling,
    BackgroundRemoval,
    Vectorization,
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

impl UseCase {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 23] = [
        Self::TextToImage,
        Self::ImageEditing,
        Self::Inpainting,
        Self::Reframing,
        Self::MultiAngle,
        Self::SplitIntoLayers,
        Self::Upscaling,
        Self::BackgroundRemoval,
        Self::Vectorization,
        Self::Segment,
        Self::TextToVideo,
        Self::ImageToVideo,
        Self::VideoEditing,
        Self::VideoExtend,
        Self::TextTo3d,
        Self::ImageTo3d,
        Self::Remesh,
        Self::Retexture,
        Self::Rig,
        Self::Animate,
        Self::TextToSpeech,
        Self::SoundEffects,
        Self::Music,
    ];

    /// The word of Layer's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TextToImage => "text_to_image",
            Self::ImageEditing => "image_editing",
            Self::Inpainting => "inpainting",
            Self::Reframing => "reframing",
            Self::MultiAngle => "multi_angle",
            Self::SplitIntoLayers => "split_into_layers",
            Self::Upscaling => "upscaling",
            Self::BackgroundRemoval => "background_removal",
            Self::Vectorization => "vectorization",
            Self::Segment => "segment",
            Self::TextToVideo => "text_to_video",
            Self::ImageToVideo => "image_to_video",
            Self::VideoEditing => "video_editing",
            Self::VideoExtend => "video_extend",
            Self::TextTo3d => "text_to_3d",
            Self::ImageTo3d => "image_to_3d",
            Self::Remesh => "remesh",
            Self::Retexture => "retexture",
            Self::Rig => "rig",
            Self::Animate => "animate",
            Self::TextToSpeech => "text_to_speech",
            Self::SoundEffects => "sound_effects",
            Self::Music => "music",
        }
    }

    /// What comes out of it.
    pub fn modality(self) -> Modality {
        match self {
            Self::TextToImage
            | Self::ImageEditing
            | Self::Inpainting
            | Self::Reframing
            | Self::MultiAngle
            | Self::SplitIntoLayers
            | Self::Upscaling
            | Self::BackgroundRemoval
            | Self::Vectorization => Modality::Image,
            Self::TextToVideo | Self::ImageToVideo | Self::VideoEditing | Self::VideoExtend => {
                Modality::Video
            }
            Self::TextTo3d
            | Self::ImageTo3d
            | Self::Remesh
            | Self::Retexture
            | Self::Rig
            | Self::Animate
            | Self::Segment => Modality::ThreeD,
            Self::TextToSpeech | Self::SoundEffects | Self::Music => Modality::Audio,
        }
    }

    /// True when it works on a file that the request refers to.
    pub fn needs_a_file(self) -> bool {
        !matches!(
            self,
            Self::TextToImage
                | Self::TextToVideo
                | Self::TextTo3d
                | Self::TextToSpeech
                | Self::SoundEffects
                | Self::Music
        )
    }

    /// The capability names under which models have been seen to list it.
    fn capability_names(self) -> &'static [&'static str] {
        match self {
            Self::TextToImage => &["text_to_image"],
            Self::ImageEditing => &["image_editing"],
            Self::Inpainting => &["inpainting"],
            Self::Reframing => &["reframing", "outpainting"],
            Self::MultiAngle => &["multi_angle", "camera_transform"],
            Self::SplitIntoLayers => &["split_into_layers"],
            Self::Upscaling => &["upscaling"],
            Self::BackgroundRemoval => &["background_removal"],
            Self::Vectorization => &["vectorization"],
            Self::Segment => &["segment"],
            Self::TextToVideo => &["text_to_video"],
            Self::ImageToVideo => &["image_to_video"],
            Self::VideoEditing => &["video_editing"],
            Self::VideoExtend => &["video_extend"],
            Self::TextTo3d => &["text_to_3d"],
            Self::ImageTo3d => &["image_to_3d"],
            Self::Remesh => &["remesh"],
            Self::Retexture => &["retexture"],
            Self::Rig => &["rig"],
            Self::Animate => &["animate"],
            Self::TextToSpeech => &["text_to_speech", "speech"],
            Self::SoundEffects => &["sound_effects", "sound_effect"],
            Self::Music => &["music"],
        }
    }
}

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
    /// The names by which it takes files, where the list tells them.
    pub reference_types: Vec<String>,
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
        let name = self.name.to_ascii_lowercase();
        let sounds_like_an_editor =
            ["background", "upscal", "vectori", "birefnet", "edit", "remove", "lip"]
                .iter()
                .any(|word| name.contains(word));
        Some(if sounds_like_an_editor { 2 } else { 1 })
    }

    fn works_on_files(&self) -> bool {
        let on_files = UseCase::ALL.into_iter().filter(|case| case.needs_a_file());
        let mut names = on_files.flat_map(|case| case.capability_names());
        names.any(|name| self.capabilities.has(name)) || self.capabilities.has("lipsync")
    }

    /// Whether the model says that it takes files beside the prompt.
    pub fn takes_references(&self) -> bool {
        const BESIDE_A_PROMPT: [&str; 7] = [
            "style_reference",
            "reference_image",
            "image_to_image",
            "character_pose",
            "structure",
            "outline",
            "face",
        ];
        self.works_on_files() || BESIDE_A_PROMPT.iter().any(|name| self.capabilities.has(name))
    }

    /// True when `text` names this model: its id, or its name in any case.
    pub fn is_named(&self, text: &str) -> bool {
        self.id.as_str() == text || self.name.to_lowercase() == text.trim().to_lowercase()
    }
}

/// What a model's own page tells beyond the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelDetails {
    /// The names by which it takes files; empty when it doesn't say.
    pub reference_types: Vec<String>,
    /// How many files it takes, where it says.
    pub most_references: Option<u64>,
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
            reference_types: Vec::new(),
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
        assert_eq!(cutter.suits(UseCase::TextToImage), None);
        assert_eq!(cutter.suits(UseCase::BackgroundRemoval), Some(0));
        let unlisted = model("BiRefNet v2", Modality::Image, &[]);
        assert_eq!(unlisted.suits(UseCase::TextToImage), Some(2));
        assert!(cutter.takes_references() && !listed.takes_references());
        assert_eq!(other.suits(UseCase::SoundEffects), None);
        assert_eq!(other.suits(UseCase::Music), Some(0));
        assert_eq!(listed.suits(UseCase::TextToVideo), None);
    }
}
