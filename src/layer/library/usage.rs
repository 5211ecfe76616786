//! What was spent. Layer's schema leaves the form of the two tables open, so every form in which
//! days or names stand beside numbers is read, and what can't be read is told as such.

use serde_json::Value;

use super::super::units::CreativeUnits;
use crate::redact::clean_line;

/// What a workspace spent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// All of the present period, where Layer says so.
    pub used: Option<CreativeUnits>,
    /// By day, the newest first.
    pub by_day: Vec<(String, CreativeUnits)>,
    /// By model, the most first.
    pub by_model: Vec<(String, CreativeUnits)>,
    /// True when Layer told something that this version can't read.
    pub unreadable: bool,
}

/// A year, and more models than anybody uses.
const MOST: usize = 400;

impl Usage {
    pub(super) fn read(found: &Value) -> Self {
        let number = |value: Option<&Value>| amount(value?);
        let used = found.get("entitlement").and_then(|inner| number(inner.get("usage")));
        let used = used.filter(|used| *used >= CreativeUnits::ZERO);
        let table = |name: &str| found.get("usage").and_then(|inner| inner.get(name));
        let mut by_day = table("byDate").map(|table| rows(table, is_day)).unwrap_or_default();
        let mut by_model = table("top").map(|table| rows(table, |_| true)).unwrap_or_default();
        by_day.sort_by(|one, other| other.0.cmp(&one.0));
        by_model
            .sort_by(|one, other| other.1.partial_cmp(&one.1).unwrap_or(std::cmp::Ordering::Equal));
        let told = |name: &str| table(name).is_some_and(|table| !is_empty(table));
        let unreadable =
            (told("byDate") && by_day.is_empty()) || (told("top") && by_model.is_empty());
        let unreadable = unreadable || !found.get("usage").is_some_and(Value::is_object);
        Self { used, by_day, by_model, unreadable }
    }
}

fn is_empty(table: &Value) -> bool {
    match table {
        Value::Null => true,
        Value::Array(rows) => rows.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Rows of a list such as `[{"date": …, "usage": 1.5}]`, or the pairs of an object. Where a row
/// has several numbers below its name, their sum counts.
fn rows(table: &Value, is_name: fn(&str) -> bool) -> Vec<(String, CreativeUnits)> {
    // A table may come as the text of one.
    if let Value::String(text) = table {
        return match serde_json::from_str::<Value>(text) {
            Ok(Value::String(_)) | Err(_) => Vec::new(),
            Ok(inner) => rows(&inner, is_name),
        };
    }
    let pairs: Vec<(String, CreativeUnits)> = match table {
        Value::Array(rows) => rows.iter().filter_map(|row| row_of(row, is_name)).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| is_name(name))
            .filter_map(|(name, value)| Some((name.clone(), amount(value)?)))
            .collect(),
        _ => Vec::new(),
    };
    let clean = |(name, cu): (String, CreativeUnits)| (clean_line(&name, 100), cu);
    pairs.into_iter().take(MOST).map(clean).collect()
}

fn row_of(row: &Value, is_name: fn(&str) -> bool) -> Option<(String, CreativeUnits)> {
    const NAMES: [&str; 9] =
        ["date", "day", "name", "key", "label", "modelId", "model_id", "group", "id"];
    let name = NAMES.iter().find_map(|name| row.get(*name)?.as_str()).filter(|it| is_name(it))?;
    const AMOUNTS: [&str; 7] = ["usage", "value", "amount", "total", "creativeUnits", "sum", "cu"];
    let cu = AMOUNTS.iter().find_map(|name| amount(row.get(*name)?))?;
    Some((name.to_owned(), cu))
}

/// A number, or the sum of the numbers below.
fn amount(value: &Value) -> Option<CreativeUnits> {
    match value {
        Value::Number(number) => CreativeUnits::from_number(number.as_f64()?),
        Value::Object(fields) => {
            let parts: Vec<_> = fields.values().filter_map(Value::as_f64).collect();
            (!parts.is_empty()).then(|| parts.iter().sum()).and_then(CreativeUnits::from_number)
        }
        _ => None,
    }
}

fn is_day(name: &str) -> bool {
    let day = name.get(..10).unwrap_or_default();
    day.parse::<jiff::civil::Date>().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    #[test]
    fn days_and_models_are_read_in_every_form() {
        let cu = |number| CreativeUnits::from_number(number).unwrap();
        for (by_date, top) in [
            (
                json!([{"date": "2026-11-24", "usage": 1.5}, {"date": "2026-11-25", "usage": 2}]),
                json!([{"key": "flux", "usage": 0.5}, {"key": "veo", "usage": 3}]),
            ),
            (json!({"2026-11-24": 1.5, "2026-11-25": 2.0}), json!({"flux": 0.5, "veo": 3.0})),
            (
                json!(
                    "{\"2026-11-24\": {\"flux\": 0.5, \"veo\": 1}, \"2026-11-25\": {\"veo\": 2}}"
                ),
                json!([{"name": "veo", "total": 3}, {"name": "flux", "total": 0.5}]),
            ),
        ] {
            let usage = Usage::read(&json!({
                "entitlement": {"usage": 3.5, "balance": 10}, "usage": {"byDate": by_date, "top": top},
            }));
            let days = [("2026-11-25".to_owned(), cu(2.0)), ("2026-11-24".to_owned(), cu(1.5))];
            assert_eq!(usage.by_day, days);
            assert_eq!(usage.by_model, [("veo".to_owned(), cu(3.0)), ("flux".to_owned(), cu(0.5))]);
            assert_eq!((usage.used, usage.unreadable), (Some(cu(3.5)), false));
        }
        let odd = Usage::read(&json!({"usage": {"byDate": [[1, 2]], "top": []}}));
        assert!(odd.unreadable && odd.by_day.is_empty() && odd.used.is_none());
    }
}
