//! Whether a value is one that is wanted. `.ci/plan.py` reads the same words.

use serde_json::{Map, Value};

/// Says what is wrong with `value`; the words of `wanted` are explained in `tests/tasks/README.md`.
pub(crate) fn matches(value: &Value, wanted: &Value) -> Result<(), String> {
    if let Some((word, what)) = rule(wanted) {
        return by_rule(value, word, what);
    }
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => fields(value, wanted),
        (Value::Array(values), Value::Array(wanted)) if values.len() == wanted.len() => {
            values.iter().zip(wanted).try_for_each(|(value, wanted)| matches(value, wanted))
        }
        (Value::Number(value), Value::Number(wanted)) if value.as_f64() == wanted.as_f64() => {
            Ok(())
        }
        (value, wanted) if value == wanted => Ok(()),
        (value, wanted) => Err(format!("{value} instead of {wanted}")),
    }
}

/// Whether an object has all these fields, each as it is wanted.
pub(crate) fn fields(
    value: &Map<String, Value>,
    wanted: &Map<String, Value>,
) -> Result<(), String> {
    wanted.iter().try_for_each(|(name, wanted)| {
        let there = value.get(name).ok_or_else(|| format!("no `{name}`"))?;
        matches(there, wanted).map_err(|why| format!("`{name}`: {why}"))
    })
}

fn rule(wanted: &Value) -> Option<(&str, &Value)> {
    let fields = wanted.as_object().filter(|fields| fields.len() == 1)?;
    let (word, what) = fields.iter().next()?;
    word.starts_with('$').then_some((word.as_str(), what))
}

fn by_rule(value: &Value, word: &str, what: &Value) -> Result<(), String> {
    let list = || what.as_array().into_iter().flatten();
    let right = match word {
        "$any" => true,
        "$one_of" => list().any(|wanted| matches(value, wanted).is_ok()),
        "$not" => matches(value, what).is_err(),
        "$words" => {
            let text = value.as_str().unwrap_or_default().to_lowercase();
            let said = |word: &Value| {
                let word = word.as_str().unwrap_or_default().to_lowercase();
                word.split('|').any(|word| text.contains(word))
            };
            value.is_string() && list().all(said)
        }
        "$starts" => {
            let start = what.as_str().unwrap_or_default();
            value.as_str().is_some_and(|text| text.starts_with(start))
        }
        "$between" => {
            let bounds: Vec<f64> = list().filter_map(Value::as_f64).collect();
            value.as_f64().is_some_and(|it| bounds[0] <= it && it <= bounds[1])
        }
        "$json" => {
            let object = match value {
                Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
                other => other.clone(),
            };
            return matches(&object, what);
        }
        "$each" => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            return match items {
                [] => Err(format!("{value} is no list of something")),
                items => items.iter().try_for_each(|item| matches(item, what)),
            };
        }
        "$count" => value.as_array().is_some_and(|items| what.as_u64() == Some(items.len() as u64)),
        "$all" => return list().try_for_each(|wanted| matches(value, wanted)),
        "$of_answer" => value.as_str().is_some_and(|text| {
            let [at, field] = [0, 1].map(|part| what[part].to_string());
            let from = text.strip_prefix(&format!("${at}."));
            from.is_some_and(|path| path.ends_with(field.trim_matches('"')))
        }),
        other => panic!("`{other}` is no word of tests/tasks/README.md"),
    };
    if right { Ok(()) } else { Err(format!("{value} does not fit {word} {what}")) }
}
