//! Creative Units, the money of Layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of Creative Units (CU), exact to a millionth.
///
/// Layer prices are fractional (0.891 CU for one picture) and are summed into budgets, so they
/// are whole millionths inside and decimal numbers only at the edges. Negative amounts exist: a
/// workspace may be overdrawn.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreativeUnits(i64);

/// The text or number is not an amount of Creative Units.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an amount of Creative Units is a decimal number such as `12` or `0.5`")]
pub struct NotAnAmount;

impl CreativeUnits {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    const MICROS: f64 = 1_000_000.0;
    /// A thousand million CU: far beyond any balance, and exact in an `f64`.
    const LARGEST: f64 = 1e9;

    /// The amount as Layer's JSON carries it; `None` when it is not finite or absurdly large.
    pub fn from_number(number: f64) -> Option<Self> {
        if !number.is_finite() || number.abs() > Self::LARGEST {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded by LARGEST just above")]
        Some(Self((number * Self::MICROS).round() as i64))
    }

    /// The amount in millionths, as the journal keeps it.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// An amount that was kept in millionths.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The sum, held at the largest amount rather than wrapped.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at the smallest amount rather than wrapped.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount as a decimal number without the unit, exact and without zeros that say nothing:
    /// `0.891`, `2`, `-0.5`.
    pub fn decimal(self) -> String {
        let micros = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
        if fraction == 0 {
            return format!("{sign}{whole}");
        }
        let fraction = format!("{fraction:06}");
        format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }

    #[expect(clippy::cast_precision_loss, reason = "amounts stay below 2^53 millionths")]
    fn number(self) -> f64 {
        self.0 as f64 / Self::MICROS
    }
}

impl fmt::Display for CreativeUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CU", self.decimal())
    }
}

impl fmt::Debug for CreativeUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CreativeUnits {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        text.trim().parse().ok().and_then(Self::from_number).ok_or(NotAnAmount)
    }
}

impl Serialize for CreativeUnits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.number())
    }
}

impl<'de> Deserialize<'de> for CreativeUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Self::from_number(number).ok_or_else(|| serde::de::Error::custom(NotAnAmount))
    }
}

impl schemars::JsonSchema for CreativeUnits {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CreativeUnits".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn amounts_are_exact_and_print_as_people_write_them() {
        let tenth = CreativeUnits::from_number(0.1).unwrap();
        let sum = (0..10).fold(CreativeUnits::ZERO, |sum, _| sum.plus(tenth));
        assert_eq!(sum, "1".parse().unwrap());
        assert_eq!(CreativeUnits::from_number(0.891).unwrap().to_string(), "0.891 CU");
        assert_eq!(
            serde_json::to_string(&"5.94".parse::<CreativeUnits>().unwrap()).unwrap(),
            "5.94"
        );
        assert_eq!(CreativeUnits::from_number(-2.5).unwrap().to_string(), "-2.5 CU");
        for (micros, text) in [
            (0, "0"),
            (1, "0.000001"),
            (-1, "-0.000001"),
            (-500_000, "-0.5"),
            (2_673_000, "2.673"),
            (20_000_000, "20"),
            (i64::MIN, "-9223372036854.775808"),
        ] {
            assert_eq!(CreativeUnits::from_micros(micros).decimal(), text);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "ten", "NaN", "inf", "1e300", "-inf"] {
            assert_eq!(text.parse::<CreativeUnits>(), Err(NotAnAmount), "{text}");
        }
    }
}
