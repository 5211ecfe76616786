//! Schemas that every client takes: flat, short, without the dialect of their generator.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// A JSON Schema as an object.
pub(super) type Schema = Map<String, Value>;

/// The schema of a tool's arguments: closed, with the descriptions that a model reads.
pub(super) fn input<T: JsonSchema>() -> Schema {
    generate::<T>(SchemaSettings::draft2020_12().for_deserialize(), Keep::Descriptions)
}

/// The schema of a tool's answer: for programs, which need no descriptions. What may be left out
/// of the answer is not required: clients turn an answer that misses it into an error.
pub(super) fn output<T: JsonSchema>() -> Schema {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize(), Keep::Structure)
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Descriptions,
    Structure,
}

fn generate<T: JsonSchema>(settings: SchemaSettings, keep: Keep) -> Schema {
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    polish(&mut schema, keep);
    let Value::Object(mut schema) = schema else { return Schema::new() };
    schema.remove("description");
    schema.entry("type").or_insert_with(|| "object".into());
    schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    schema
}

/// Takes out what some client chokes on, or what only costs the model's attention: dialect,
/// titles, Rust's number formats, null as an alternative, null and false as a default.
fn polish(schema: &mut Value, keep: Keep) {
    let Value::Object(fields) = schema else { return };
    for name in ["$schema", "title", "format"] {
        if fields.get(name).is_some_and(Value::is_string) {
            fields.remove(name);
        }
    }
    if keep == Keep::Structure {
        if fields.get("description").is_some_and(Value::is_string) {
            fields.remove("description");
        }
        if fields.get("minimum").is_some_and(Value::is_number) {
            fields.remove("minimum");
        }
        // Nobody who reads an answer needs to be told what must be in it.
        if fields.get("required").is_some_and(Value::is_array) {
            fields.remove("required");
        }
    }
    // Whoever leaves a switch out does not expect it to be on.
    if matches!(fields.get("default"), Some(Value::Null | Value::Bool(false))) {
        fields.remove("default");
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|word| word != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(choices)) = fields.remove("anyOf") {
        let mut real = choices
            .into_iter()
            .filter(|choice| choice.get("type").and_then(Value::as_str) != Some("null"));
        if let (Some(Value::Object(only)), None) = (real.next(), real.next()) {
            for (name, value) in only {
                fields.entry(name).or_insert(value);
            }
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for property in properties.values_mut() {
            polish(property, keep);
        }
    }
    if let Some(items) = fields.get_mut("items") {
        polish(items, keep);
    }
}
