//! An object whose fields no schema can name.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object of free fields. Some clients refuse a schema for such a thing, so it is announced as
/// the text of a JSON object; the object itself is taken as well.
#[derive(Clone, Debug, Default)]
pub(super) struct FreeObject(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for FreeObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = match Value::deserialize(deserializer)? {
            Value::Object(object) => Some(object),
            Value::Null => Some(Map::new()),
            Value::String(text) if text.trim().is_empty() => Some(Map::new()),
            Value::String(text) => serde_json::from_str(&text).ok(),
            _ => None,
        };
        object.map(Self).ok_or_else(|| {
            serde::de::Error::custom("it is a JSON object, such as {\"prompt\": \"a sword\"}")
        })
    }
}

impl JsonSchema for FreeObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FreeObject".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_and_its_text_are_the_same() {
        for value in [json!({"a": 1}), json!("{\"a\": 1}")] {
            let FreeObject(object) = serde_json::from_value(value).unwrap();
            assert_eq!(Value::from(object), json!({"a": 1}));
        }
        for value in [json!(""), json!(null), json!("{}")] {
            assert!(serde_json::from_value::<FreeObject>(value).unwrap().0.is_empty());
        }
        for value in [json!(3), json!("a=1"), json!("[1]"), json!([])] {
            assert!(serde_json::from_value::<FreeObject>(value).is_err());
        }
    }
}
