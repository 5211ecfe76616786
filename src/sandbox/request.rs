//! The body of an inference: the flat form of the reference pages (Layer REST reference, execute
//! inference and estimate inference price), and on request the nested form of the quickstart.

use serde_json::{Map, Value};

use super::fields::{Detail, Fields, NumberRange};
use super::guidance::GuidanceType;

const MAX_PROMPT: usize = 100_000;
const MAX_GUIDANCE_FILES: usize = 20;
const MAX_SESSION_NAME: usize = 255;

/// What the sandbox heeds of an inference body. The other documented fields are checked and
/// change nothing; unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct InferenceRequest {
    pub(super) model_id: String,
    pub(super) prompt: String,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) batch_size: u32,
    pub(super) steps: Option<u32>,
    pub(super) guidance_scale: Option<f64>,
    pub(super) quality: Option<String>,
    pub(super) seconds: Option<f64>,
    pub(super) fps: Option<u32>,
    pub(super) face_limit: Option<u32>,
    pub(super) speed: Option<f64>,
    pub(super) upscale_ratio: Option<f64>,
    /// By capability; no reference page names it.
    pub(super) transparency: bool,
    /// By capability; no reference page names it.
    pub(super) tileability: bool,
    /// `None`: random.
    pub(super) seed: Option<i64>,
    pub(super) guidance_files: Vec<GuidanceFile>,
    pub(super) mask: Option<String>,
    pub(super) session_name: Option<String>,
}

/// One reference.
#[derive(Clone, Debug)]
pub(super) struct GuidanceFile {
    pub(super) file_id: String,
    pub(super) kind: GuidanceType,
}

/// Which of the two forms of body the service takes, and for which call.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyForm {
    /// Generation fields lie under `parameters`.
    pub(super) nested: bool,
    /// The call is an estimate, which has no seed, guidance files, mask or session.
    pub(super) estimate: bool,
}

impl InferenceRequest {
    pub(super) fn read(body: &Value, form: BodyForm) -> Result<Self, Vec<Detail>> {
        let Some(top) = body.as_object() else {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            return Err(vec![Detail::new(&["body"], msg, "model_attributes_type")]);
        };
        let empty = Map::new();
        let mut outer = Fields::new(top, &["body"]);
        let model_id = outer.text("model_id", usize::MAX);
        let model_id = outer.required("model_id", model_id);
        let parameters = outer.raw("parameters");
        let mut fields = if form.nested {
            let inner = parameters.and_then(Value::as_object).unwrap_or(&empty);
            Fields::new(inner, &["body", "parameters"])
        } else {
            if parameters.is_some() {
                outer.complain("parameters", "Extra inputs are not permitted", "extra_forbidden");
            }
            Fields::new(top, &["body"])
        };
        let mut request = Self::generation(&mut fields);
        request.model_id = model_id.unwrap_or_default();
        if !form.estimate {
            request.execution(&mut fields);
        }
        let mut complaints = outer.complaints;
        complaints.append(&mut fields.complaints);
        if complaints.is_empty() { Ok(request) } else { Err(complaints) }
    }

    /// The fields that execute and estimate share.
    fn generation(fields: &mut Fields<'_>) -> Self {
        for name in [
            "generate_audio",
            "keep_audio",
            "use_ta_pose",
            "include_textures",
            "quad_mesh",
            "pbr_materials",
            "low_poly",
            "generate_parts",
            "use_speaker_boost",
            "vectorize",
            "remove_background",
            "reframe",
            "refill",
        ] {
            fields.flag(name);
        }
        for name in ["prompt_strength", "stability", "similarity_boost", "style_exaggeration"] {
            fields.number(name, NumberRange::Share);
        }
        for name in ["sharpness", "creativity", "resemblance"] {
            fields.number(name, NumberRange::Any);
        }
        if fields.raw("video_effects").is_some_and(|effects| !effects.is_array()) {
            fields.complain("video_effects", "Input should be a valid list", "list_type");
        }
        Self {
            model_id: String::new(),
            prompt: fields.text("prompt", MAX_PROMPT).unwrap_or_default(),
            width: fields.positive("width"),
            height: fields.positive("height"),
            batch_size: fields
                .whole("batch_size", 1, 16)
                .and_then(|size| u32::try_from(size).ok())
                .unwrap_or(4),
            steps: fields.positive("num_inference_steps"),
            guidance_scale: fields.number("guidance_scale", NumberRange::Any),
            quality: fields.choice("quality", &["low", "medium", "high"]),
            seconds: fields.number("duration_seconds", NumberRange::AboveZero),
            fps: fields.positive("fps"),
            face_limit: fields.positive("face_limit"),
            speed: fields.number("speed", NumberRange::AboveZero),
            upscale_ratio: fields.number("upscale_ratio", NumberRange::AboveZero),
            transparency: is_true(fields, "transparency"),
            tileability: is_true(fields, "tileability"),
            ..Self::default()
        }
    }

    /// The fields that only execute has.
    fn execution(&mut self, fields: &mut Fields<'_>) {
        self.seed = fields.whole("seed", -1, i64::MAX).filter(|seed| *seed >= 0);
        self.session_name = fields.text("session_name", MAX_SESSION_NAME);
        match fields.raw("mask") {
            Some(Value::Object(mask)) => {
                let mut mask = Fields::new(mask, &["body", "mask"]);
                self.mask = file_id(&mut mask);
                mask.flag("for_transparency");
                mask.flag("for_nontransparency");
                mask.whole("edge_radius", 0, i64::MAX);
                fields.complaints.append(&mut mask.complaints);
            }
            Some(_) => fields.complain("mask", "Input should be a valid dictionary", "dict_type"),
            None => {}
        }
        let items = match fields.raw("guidance_files") {
            Some(Value::Array(items)) => items,
            Some(_) => {
                fields.complain("guidance_files", "Input should be a valid list", "list_type");
                return;
            }
            None => return,
        };
        if items.len() > MAX_GUIDANCE_FILES {
            let msg = format!(
                "List should have at most {MAX_GUIDANCE_FILES} items after validation, not {}",
                items.len()
            );
            fields.complain("guidance_files", msg, "too_long");
            return;
        }
        for (position, item) in items.iter().enumerate() {
            let empty = Map::new();
            let item = item.as_object().unwrap_or(&empty);
            let mut item = Fields::item(item, "guidance_files", position);
            let id = file_id(&mut item);
            let name = item.text("type", usize::MAX);
            let name = item.required("type", name);
            let kind = name.as_deref().and_then(GuidanceType::parse);
            if name.is_some() && kind.is_none() {
                item.complain("type", "Input should be a known guidance file type", "enum");
            }
            item.number("weight", NumberRange::Any);
            fields.complaints.append(&mut item.complaints);
            if let Some((file_id, kind)) = id.zip(kind) {
                self.guidance_files.push(GuidanceFile { file_id, kind });
            }
        }
    }
}

/// Undocumented fields are never complained about.
fn is_true(fields: &Fields<'_>, name: &str) -> bool {
    fields.raw(name).and_then(Value::as_bool) == Some(true)
}

fn file_id(fields: &mut Fields<'_>) -> Option<String> {
    let id = fields.text("file_id", usize::MAX);
    let id = fields.required("file_id", id)?;
    if let Ok(uuid) = uuid::Uuid::parse_str(&id) {
        return Some(uuid.to_string());
    }
    fields.complain("file_id", "Input should be a valid UUID", "uuid_parsing");
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    const FLAT: BodyForm = BodyForm { nested: false, estimate: false };

    fn complaints(body: Value) -> String {
        let details = InferenceRequest::read(&body, FLAT).unwrap_err();
        Value::from_iter(details.iter().map(Detail::json)).to_string()
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        let body = json!({ "model_id": "flux", "prompt": null, "seed": -1, "unknown": {} });
        let request = InferenceRequest::read(&body, FLAT).unwrap();
        assert_eq!((request.batch_size, request.seed, request.prompt.as_str()), (4, None, ""));
    }

    #[test]
    fn complaints_name_the_field() {
        assert!(complaints(json!({})).contains(r#""loc":["body","model_id"]"#));
        assert!(complaints(json!([])).contains(r#""loc":["body"]"#));
        for (field, bad) in [
            ("width", json!(0)),
            ("height", json!("big")),
            ("batch_size", json!(17)),
            ("quality", json!("best")),
            ("duration_seconds", json!(0)),
            ("prompt_strength", json!(1.5)),
            ("remove_background", json!("yes")),
            ("seed", json!(-2)),
            ("guidance_files", json!({})),
            ("session_name", json!("x".repeat(256))),
            ("prompt", json!("x".repeat(100_001))),
            ("parameters", json!({ "prompt": "nested" })),
        ] {
            let text = complaints(json!({ "model_id": "flux", field: bad }));
            assert!(text.contains(&format!(r#"["body","{field}"]"#)), "{text}");
        }
    }

    #[test]
    fn guidance_files_are_looked_at_one_by_one() {
        let id = "11111111-1111-4111-8111-111111111111";
        let files = json!([
            { "file_id": id, "type": "editing_reference", "weight": 1.0 },
            { "file_id": "nonsense", "type": "init_image" },
            { "file_id": id, "type": "magic" },
        ]);
        let text = complaints(json!({ "model_id": "flux", "guidance_files": files }));
        assert!(text.contains(r#"["body","guidance_files",1,"file_id"]"#), "{text}");
        assert!(text.contains(r#"["body","guidance_files",2,"type"]"#), "{text}");
        let many: Vec<_> = (0..21).map(|_| json!({ "file_id": id, "type": "init" })).collect();
        assert!(
            complaints(json!({ "model_id": "f", "guidance_files": many })).contains("too_long")
        );
    }

    #[test]
    fn an_estimate_does_not_look_at_references() {
        let body = json!({ "model_id": "flux", "guidance_files": "nonsense", "seed": "x" });
        let form = BodyForm { nested: false, estimate: true };
        assert!(InferenceRequest::read(&body, form).unwrap().guidance_files.is_empty());
    }

    #[test]
    fn the_nested_form_reads_only_parameters() {
        let form = BodyForm { nested: true, estimate: false };
        let body = json!({ "model_id": "flux", "prompt": "flat", "parameters": { "width": 64 } });
        let request = InferenceRequest::read(&body, form).unwrap();
        assert_eq!((request.prompt.as_str(), request.width), ("", Some(64)));
    }
}
