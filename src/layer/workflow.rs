//! Workflows: chains of models that somebody built in Layer, with inputs of their own (Layer REST
//! reference, list workflows, estimate, execute, get run).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::WorkflowId;
use super::model::Modality;

/// One workflow of a workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// Its id.
    pub id: WorkflowId,
    /// The name as the app shows it.
    pub name: String,
    /// What it does, in its author's words.
    pub description: String,
    /// What it takes.
    pub inputs: Vec<WorkflowInput>,
    /// What comes out: names and their descriptions.
    pub outputs: Vec<(String, String)>,
    /// What it makes; `None` for a kind that this version doesn't know.
    pub modality: Option<Modality>,
}

/// One input of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowInput {
    /// The key in a run's `inputs`.
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// What it is, in the author's words.
    pub description: String,
    /// Layer's word for its type, such as `text` or `image`.
    pub kind: String,
    /// Whether a run needs it.
    pub required: bool,
    /// What is taken when it is left out.
    pub default: Option<Value>,
    /// Its JSON Schema.
    pub schema: Value,
}

/// What a value of an input must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Takes {
    /// Words, one of a few where there are any listed.
    Text(Vec<String>),
    /// Words of at most so many characters.
    Short(usize),
    /// A number within a range.
    Number {
        /// Without a fraction.
        whole: bool,
        /// The smallest.
        least: Option<f64>,
        /// The largest.
        most: Option<f64>,
    },
    /// Yes or no.
    Truth,
    /// The id of a file at Layer.
    File,
    /// The id of a reference set or style.
    Style,
    /// Several of one kind, so many at least and at most.
    Several(Box<Takes>, usize, Option<usize>),
    /// Something that only the service can judge.
    Anything,
}

impl WorkflowInput {
    /// What its schema and type say that it takes.
    pub fn takes(&self) -> Takes {
        takes(&self.schema, &self.kind.to_ascii_lowercase())
    }
}

fn takes(schema: &Value, kind: &str) -> Takes {
    // What may also be null is still what it is.
    let choices = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(*name)?.as_array());
    if let Some(choices) = choices {
        let mut real = choices.iter().filter(|one| one.get("type") != Some(&"null".into()));
        return match (real.next(), real.next()) {
            (Some(only), None) => takes(only, kind),
            _ => Takes::Anything,
        };
    }
    let word = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let count = |name: &str| {
        let count = schema.get(name).and_then(Value::as_u64)?;
        usize::try_from(count).ok()
    };
    let of_files = ["image", "video", "audio", "mesh", "three_d", "3d", "file"];
    let of_styles = ["style", "reference_set", "reference set"];
    let says = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    let listed = || {
        let choices = schema.get("enum").and_then(Value::as_array);
        let choices = choices.into_iter().flatten().filter_map(Value::as_str);
        choices.map(str::to_owned).collect::<Vec<String>>()
    };
    // Without a schema the word for the type says it.
    let of_kind = match kind {
        "integer" | "int" => "integer",
        "number" | "float" => "number",
        "boolean" | "bool" => "boolean",
        "text" | "string" => "string",
        _ => "",
    };
    let of_schema = match word("type") {
        "" if !listed().is_empty() => "string",
        "" => of_kind,
        named => named,
    };
    match of_schema {
        "array" => {
            let each = schema.get("items").unwrap_or(&Value::Null);
            let each = Box::new(takes(each, kind));
            Takes::Several(each, count("minItems").unwrap_or(0), count("maxItems"))
        }
        "integer" => {
            Takes::Number { whole: true, least: number("minimum"), most: number("maximum") }
        }
        "number" => {
            Takes::Number { whole: false, least: number("minimum"), most: number("maximum") }
        }
        "boolean" => Takes::Truth,
        "object" | "" if says(&of_styles) => Takes::Style,
        "object" | "" if says(&of_files) => Takes::File,
        "string" if says(&of_styles) => Takes::Style,
        "string" if word("format") == "uuid" || says(&of_files) => Takes::File,
        "string" => match (listed(), count("maxLength")) {
            (choices, None) => Takes::Text(choices),
            (choices, Some(_)) if !choices.is_empty() => Takes::Text(choices),
            (_, Some(most)) => Takes::Short(most),
        },
        _ => Takes::Anything,
    }
}

impl Takes {
    /// Whether a value is of this kind.
    ///
    /// # Errors
    /// What is allowed, as the end of a sentence that begins with "it takes".
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match (self, value) {
            (Self::Text(choices), Value::String(text)) => {
                choices.is_empty() || choices.contains(text)
            }
            (Self::Short(most), Value::String(text)) => text.chars().count() <= *most,
            (Self::Number { whole, least, most }, Value::Number(number)) => {
                number.as_f64().is_some_and(|number| {
                    (!whole || number.fract() == 0.0)
                        && least.is_none_or(|least| number >= least)
                        && most.is_none_or(|most| number <= most)
                })
            }
            (Self::Truth, Value::Bool(_)) | (Self::Anything, _) => true,
            (Self::File | Self::Style, Value::String(text)) => !text.trim().is_empty(),
            (Self::Several(each, least, most), Value::Array(values)) => {
                values.iter().try_for_each(|value| each.check(value))?;
                values.len() >= *least && most.is_none_or(|most| values.len() <= most)
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.to_string()) }
    }

    /// True when a value names files.
    pub fn is_of_files(&self) -> bool {
        match self {
            Self::File => true,
            Self::Several(each, ..) => each.is_of_files(),
            _ => false,
        }
    }
}

impl std::fmt::Display for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(choices) if choices.is_empty() => f.write_str("text"),
            Self::Text(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Short(most) => write!(f, "text of at most {most} characters"),
            Self::Number { whole, least, most } => {
                f.write_str(if *whole { "a whole number" } else { "a number" })?;
                match (least, most) {
                    (Some(least), Some(most)) => write!(f, " from {least} to {most}"),
                    (Some(least), None) => write!(f, " of {least} or more"),
                    (None, Some(most)) => write!(f, " of {most} or less"),
                    (None, None) => Ok(()),
                }
            }
            Self::Truth => f.write_str("true or false"),
            Self::File => f.write_str("a file: its path, a job_id or a file_id"),
            Self::Style => f.write_str("the id of a reference set"),
            Self::Several(each, least, most) => match most {
                Some(most) => write!(f, "a list of {least} to {most}, each {each}"),
                None => write!(f, "a list, each {each}"),
            },
            Self::Anything => f.write_str("what its description says"),
        }
    }
}

/// A run of a workflow as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkflowRequest {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Its name, after which the files are called.
    pub name: String,
    /// The inputs by name. Files are ids at Layer.
    pub inputs: Map<String, Value>,
}

/// How far a workflow's run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Those that are done.
    pub done: usize,
    /// All of them.
    pub total: usize,
    /// What is being done.
    pub current: Option<String>,
}

impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} steps done", self.done, self.total)?;
        self.current.as_ref().map_or(Ok(()), |current| write!(f, ", now: {current}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_says_what_an_input_takes() {
        for (kind, schema, good, bad, words) in [
            ("text", json!({"type": "string"}), json!("x"), json!(1), "text"),
            (
                "text",
                json!({"type": "string", "enum": ["a", "b"]}),
                json!("a"),
                json!("c"),
                "one of a, b",
            ),
            (
                "number",
                json!({"type": "integer", "minimum": 1, "maximum": 12}),
                json!(12),
                json!(12.5),
                "a whole number from 1 to 12",
            ),
            ("number", json!({"type": "number"}), json!(0.5), json!("0.5"), "a number"),
            ("boolean", json!({"type": "boolean"}), json!(true), json!("true"), "true or false"),
            (
                "image",
                json!({"type": "string", "format": "uuid"}),
                json!("art/a.png"),
                json!(""),
                "a file: its path, a job_id or a file_id",
            ),
            (
                "image",
                json!({"type": "array", "minItems": 1, "maxItems": 2,
                       "items": {"type": "string", "format": "uuid"}}),
                json!(["a.png"]),
                json!([]),
                "a list of 1 to 2, each a file: its path, a job_id or a file_id",
            ),
            (
                "style",
                json!({"type": "string"}),
                json!("id"),
                json!(3),
                "the id of a reference set",
            ),
        ] {
            let takes = takes(&schema, kind);
            assert_eq!(takes.check(&good), Ok(()), "{schema}");
            assert_eq!(takes.check(&bad), Err(words.to_owned()), "{schema}");
        }
        assert_eq!(takes(&Value::Null, "hologram").check(&json!({"any": 1})), Ok(()));
    }
}
