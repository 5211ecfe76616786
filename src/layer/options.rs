//! Settings that only some models have, as Layer's reference lists them (execute, estimate).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::Modality;

/// Settings of a model beyond those that every generation has: names of Layer's flat body with
/// values of the right kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelOptions(Map<String, Value>);

/// What a setting's value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Truth,
    /// A whole number above 0.
    Count,
    /// Above 0.
    Positive,
    /// From 0 to 1.
    Share,
    Number,
    /// `[{"type": "ZOOM_IN", "weight": 50}]`; a list of names is taken as well.
    Effects,
    /// Words, at most so many characters.
    Words(usize),
}

use Kind::{Count, Effects, Number, Positive, Share, Truth, Words};

const IMAGE: &[Modality] = &[Modality::Image];
const MOVING: &[Modality] = &[Modality::Image, Modality::Video];
const VIDEO: &[Modality] = &[Modality::Video];
const MESH: &[Modality] = &[Modality::ThreeD];
const SOUND: &[Modality] = &[Modality::Audio];
const ANY: &[Modality] =
    &[Modality::Image, Modality::Video, Modality::ThreeD, Modality::Audio, Modality::Text];

/// Every setting, what it takes, and what it belongs to.
const OPTIONS: [(&str, Kind, &[Modality]); 27] = [
    ("num_inference_steps", Count, MOVING),
    ("guidance_scale", Number, MOVING),
    ("prompt_strength", Share, MOVING),
    ("sharpness", Number, IMAGE),
    ("creativity", Number, MOVING),
    ("resemblance", Number, MOVING),
    ("upscale_ratio", Positive, MOVING),
    ("refill", Truth, IMAGE),
    ("generate_audio", Truth, VIDEO),
    ("keep_audio", Truth, VIDEO),
    ("fps", Count, VIDEO),
    ("video_effects", Effects, VIDEO),
    ("use_ta_pose", Truth, MESH),
    ("include_textures", Truth, MESH),
    ("quad_mesh", Truth, MESH),
    ("pbr_materials", Truth, MESH),
    ("low_poly", Truth, MESH),
    ("generate_parts", Truth, MESH),
    ("face_limit", Count, MESH),
    ("stability", Share, SOUND),
    ("similarity_boost", Share, SOUND),
    ("style_exaggeration", Share, SOUND),
    ("use_speaker_boost", Truth, SOUND),
    ("speed", Positive, SOUND),
    // Known to the hosted server only; a service that ignores them makes the sound without.
    ("lyrics", Words(10_000), SOUND),
    ("instrumental", Truth, SOUND),
    ("session_name", Words(255), ANY),
];

/// The one that estimate does not know.
const NOT_IN_ESTIMATE: &str = "session_name";

impl ModelOptions {
    /// Takes settings for what makes things of this kind.
    ///
    /// # Errors
    /// What is wrong with one, and what there is.
    pub fn parse(given: &Map<String, Value>, modality: Modality) -> Result<Self, String> {
        let mut taken = Map::new();
        for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
            let known = OPTIONS.iter().find(|(known, ..)| known == name);
            let Some((name, kind, _)) = known.filter(|(_, _, of)| of.contains(&modality)) else {
                let what = modality.as_str();
                return Err(format!(
                    "`{}` is no setting for {what}; there are: {}",
                    crate::redact::clean_line(name, 60),
                    names(modality).join(", ")
                ));
            };
            let value =
                kind.read(value).ok_or_else(|| format!("`{name}` is {}", kind.in_words()))?;
            taken.insert((*name).to_owned(), value);
        }
        Ok(Self(taken))
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number that was asked for.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }

    /// The fields of the flat body, as execute takes them.
    pub(super) fn fields(&self) -> Map<String, Value> {
        self.0.clone()
    }

    /// The same as estimate takes them.
    pub(super) fn priced_fields(&self) -> Map<String, Value> {
        let mut fields = self.0.clone();
        fields.remove(NOT_IN_ESTIMATE);
        fields
    }
}

/// The settings for what makes things of this kind.
fn names(modality: Modality) -> Vec<&'static str> {
    let of = OPTIONS.iter().filter(|(_, _, of)| of.contains(&modality));
    of.map(|(name, ..)| *name).collect()
}

impl Kind {
    fn in_words(self) -> String {
        match self {
            Truth => "true or false".to_owned(),
            Count => "a whole number above 0".to_owned(),
            Positive => "a number above 0".to_owned(),
            Share => "a number from 0 to 1".to_owned(),
            Number => "a number".to_owned(),
            Effects => "a list such as [{\"type\": \"ZOOM_IN\", \"weight\": 50}]".to_owned(),
            Words(most) => format!("a text of at most {most} characters"),
        }
    }

    /// The value as Layer takes it. Models write numbers and truths as text.
    fn read(self, value: &Value) -> Option<Value> {
        let read = match (self, value) {
            (Truth | Count | Positive | Share | Number, Value::String(text)) => {
                serde_json::from_str(text.trim()).ok()?
            }
            _ => value.clone(),
        };
        let number = read.as_f64().filter(|number| number.is_finite());
        let fits = match self {
            Truth => read.is_boolean(),
            Count => {
                number.is_some_and(|number| number.fract() == 0.0 && (1.0..=1e9).contains(&number))
            }
            Positive => number.is_some_and(|number| number > 0.0),
            Share => number.is_some_and(|number| (0.0..=1.0).contains(&number)),
            Number => number.is_some(),
            Words(most) => read
                .as_str()
                .is_some_and(|text| !text.contains('\0') && text.chars().count() <= most),
            Effects => return effects(&read),
        };
        fits.then_some(read)
    }
}

/// `[{"type": UPPERCASE, "weight": 0 to 100}]`, also from names alone.
fn effects(value: &Value) -> Option<Value> {
    let listed = value.as_array().filter(|effects| effects.len() <= 20)?;
    let effects = listed.iter().map(|effect| {
        let (name, weight) = match effect {
            Value::String(name) => (name.as_str(), None),
            Value::Object(fields) => {
                let known = |name: &String| matches!(name.as_str(), "type" | "weight");
                fields.keys().all(known).then_some(())?;
                (fields.get("type")?.as_str()?, fields.get("weight"))
            }
            _ => return None,
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let word = name.trim().to_ascii_uppercase().replace([' ', '-'], "_");
        if word.is_empty() || word.len() > 60 || !word.bytes().all(plain) {
            return None;
        }
        let mut taken = Map::from_iter([("type".to_owned(), Value::from(word))]);
        if let Some(weight) = weight {
            weight.as_f64().filter(|weight| (0.0..=100.0).contains(weight))?;
            taken.insert("weight".to_owned(), weight.clone());
        }
        Some(Value::Object(taken))
    });
    effects.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    fn parse(given: Value, modality: Modality) -> Result<Value, String> {
        ModelOptions::parse(given.as_object().unwrap(), modality).map(|it| it.fields().into())
    }

    #[test]
    fn settings_of_the_right_kind_are_taken() {
        for (modality, given, taken) in [
            (
                Modality::Audio,
                json!({"speed": 1.2, "stability": "0.5", "use_speaker_boost": "true"}),
                json!({"speed": 1.2, "stability": 0.5, "use_speaker_boost": true}),
            ),
            (
                Modality::Video,
                json!({"fps": 25, "video_effects": ["zoom in", {"type": "STATIC", "weight": 30}]}),
                json!({"fps": 25, "video_effects": [{"type": "ZOOM_IN"},
                       {"type": "STATIC", "weight": 30}]}),
            ),
            (
                Modality::ThreeD,
                json!({"face_limit": 5000, "quad_mesh": false, "low_poly": null}),
                json!({"face_limit": 5000, "quad_mesh": false}),
            ),
        ] {
            assert_eq!(parse(given, modality), Ok(taken));
        }
    }

    #[test]
    fn a_wrong_setting_is_refused_with_what_there_is() {
        for (modality, given, words) in [
            (Modality::Image, json!({"speed": 1}), "there are: num_inference_steps"),
            (Modality::Audio, json!({"sped": 1}), "stability, similarity_boost"),
            (Modality::Audio, json!({"stability": 1.5}), "a number from 0 to 1"),
            (Modality::ThreeD, json!({"face_limit": 0}), "a whole number above 0"),
            (Modality::ThreeD, json!({"quad_mesh": "maybe"}), "true or false"),
            (Modality::Video, json!({"video_effects": [{"kind": "X"}]}), "a list such as"),
            (Modality::Video, json!({"session_name": "x".repeat(256)}), "at most 255"),
        ] {
            let error = parse(given.clone(), modality).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
    }

    #[test]
    fn a_session_is_no_part_of_a_price() {
        let given = json!({"session_name": "icons", "fps": 25});
        let options = ModelOptions::parse(given.as_object().unwrap(), Modality::Video).unwrap();
        assert_eq!(Value::from(options.priced_fields()), json!({"fps": 25}));
    }
}
