//! Whether arguments are allowed by the schema that a client is shown.

use serde_json::{Map, Value};

/// Says what a strict client would refuse. `$1.job_id` stands for a text that comes later.
pub(crate) fn allows(schema: &Value, value: &Value) -> Result<(), String> {
    let kind = schema["type"].as_str().unwrap_or_default();
    let right = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        _ => false,
    };
    if !right {
        return Err(format!("{value} is no {kind}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let bound = |name: &str| schema[name].as_f64();
    let size = match value {
        Value::Array(items) => Some((items.len() as f64, "minItems", "maxItems")),
        Value::Number(number) => number.as_f64().map(|number| (number, "minimum", "maximum")),
        _ => None,
    };
    if let Some((size, least, most)) = size {
        let low = bound(least).is_some_and(|least| size < least)
            || (value.is_number() && bound("exclusiveMinimum").is_some_and(|least| size <= least));
        if low || bound(most).is_some_and(|most| size > most) {
            return Err(format!("{value} is out of bounds"));
        }
    }
    if let Value::Object(fields) = value {
        object(schema, fields)?;
    }
    value.as_array().into_iter().flatten().try_for_each(|item| allows(&schema["items"], item))
}

fn object(schema: &Value, fields: &Map<String, Value>) -> Result<(), String> {
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap_or_default();
        if !fields.contains_key(name) {
            return Err(format!("`{name}` is missing"));
        }
    }
    for (name, value) in fields {
        match schema["properties"].get(name) {
            Some(schema) => allows(schema, value).map_err(|why| format!("`{name}`: {why}"))?,
            None => return Err(format!("there is no `{name}`")),
        }
    }
    Ok(())
}
