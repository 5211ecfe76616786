//! Reading a JSON body field by field, with complaints in the shape of FastAPI.

use serde_json::{Map, Value, json};

/// One complaint of a 422 answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Detail {
    loc: Vec<Value>,
    msg: String,
    kind: &'static str,
}

impl Detail {
    pub(super) fn new(loc: &[&str], msg: impl Into<String>, kind: &'static str) -> Self {
        let loc = loc.iter().map(|part| Value::from(*part)).collect();
        Self { loc, msg: msg.into(), kind }
    }

    /// A complaint about a body field that only this model or workflow has.
    pub(super) fn value(field: &str, msg: impl Into<String>) -> Self {
        Self::new(&["body", field], format!("Value error, {}", msg.into()), "value_error")
    }

    /// The complaint in one line of text.
    pub(super) fn line(&self) -> String {
        let place = self.loc.last().and_then(Value::as_str).unwrap_or_default();
        format!("{place}: {}", self.msg)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "loc": self.loc, "msg": self.msg, "type": self.kind })
    }
}

/// The fields of one object, null meaning absent, with the complaints so far.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    loc: Vec<Value>,
    pub(super) complaints: Vec<Detail>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, loc: &[&str]) -> Self {
        let loc = loc.iter().map(|part| Value::from(*part)).collect();
        Self { map, loc, complaints: Vec::new() }
    }

    pub(super) fn item(map: &'a Map<String, Value>, list: &str, position: usize) -> Self {
        let mut fields = Self::new(map, &["body", list]);
        fields.loc.push(position.into());
        fields
    }

    pub(super) fn raw(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn complain(&mut self, name: &str, msg: impl Into<String>, kind: &'static str) {
        let mut loc = self.loc.clone();
        loc.push(name.into());
        self.complaints.push(Detail { loc, msg: msg.into(), kind });
    }

    pub(super) fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.raw(name).is_none() {
            self.complain(name, "Field required", "missing");
        }
        value
    }

    /// A text of at most so many characters.
    pub(super) fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let value = self.raw(name)?;
        let Some(text) = value.as_str() else {
            self.complain(name, "Input should be a valid string", "string_type");
            return None;
        };
        if text.chars().count() > max {
            let msg = format!("String should have at most {max} characters");
            self.complain(name, msg, "string_too_long");
            return None;
        }
        Some(text.to_owned())
    }

    /// A list of one to so many texts.
    pub(super) fn texts(&mut self, name: &str, most: usize) -> Vec<String> {
        let Some(value) = self.raw(name) else { return Vec::new() };
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<String> =
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
        if !value.is_array() || texts.len() != items.len() {
            self.complain(name, "Input should be a valid list of strings", "list_type");
        } else if texts.is_empty() || texts.len() > most {
            let msg = format!("List should have 1 to {most} items");
            self.complain(name, msg, "too_long");
        }
        texts
    }

    pub(super) fn choice(&mut self, name: &str, choices: &[&str]) -> Option<String> {
        let text = self.text(name, usize::MAX)?;
        if choices.contains(&text.as_str()) {
            return Some(text);
        }
        let msg = format!("Input should be one of {}", choices.join(", "));
        self.complain(name, msg, "enum");
        None
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.raw(name)?;
        if value.as_bool().is_none() {
            self.complain(name, "Input should be a valid boolean", "bool_type");
        }
        value.as_bool()
    }

    /// A whole number of the range; `10.0` is one, `10.5` is not.
    pub(super) fn whole(&mut self, name: &str, min: i64, max: i64) -> Option<i64> {
        let value = self.raw(name)?;
        let whole = value.as_f64().filter(|number| number.fract() == 0.0).map(|n| n as i64);
        let Some(whole) = value.as_i64().or(whole) else {
            self.complain(name, "Input should be a valid integer", "int_type");
            return None;
        };
        if whole < min {
            let msg = format!("Input should be greater than or equal to {min}");
            self.complain(name, msg, "greater_than_equal");
            None
        } else if whole > max {
            let msg = format!("Input should be less than or equal to {max}");
            self.complain(name, msg, "less_than_equal");
            None
        } else {
            Some(whole)
        }
    }

    /// A whole number above zero.
    pub(super) fn positive(&mut self, name: &str) -> Option<u32> {
        let whole = self.whole(name, i64::MIN, u32::MAX.into())?;
        if whole <= 0 {
            self.complain(name, "Input should be greater than 0", "greater_than");
        }
        u32::try_from(whole).ok().filter(|whole| *whole > 0)
    }

    pub(super) fn number(&mut self, name: &str, range: NumberRange) -> Option<f64> {
        let Some(number) = self.raw(name)?.as_f64() else {
            self.complain(name, "Input should be a valid number", "float_type");
            return None;
        };
        let complaint = match range {
            NumberRange::Any => None,
            NumberRange::AboveZero => {
                (number <= 0.0).then_some(("Input should be greater than 0", "greater_than"))
            }
            NumberRange::Share if number < 0.0 => {
                Some(("Input should be greater than or equal to 0", "greater_than_equal"))
            }
            NumberRange::Share => (number > 1.0)
                .then_some(("Input should be less than or equal to 1", "less_than_equal")),
        };
        if let Some((msg, kind)) = complaint {
            self.complain(name, msg, kind);
            return None;
        }
        Some(number)
    }
}

/// The ranges of the reference's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum NumberRange {
    Any,
    AboveZero,
    /// From 0 to 1.
    Share,
}
