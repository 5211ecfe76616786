//! Creative Units as whole millionths, so that no sum drifts.

use serde_json::Value;

/// An amount of Creative Units. Inside it counts millionths; on the wire it is a JSON number
/// with a fraction (Layer REST reference, estimate inference price).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CreativeUnits(i64);

impl CreativeUnits {
    pub(super) const ZERO: Self = Self(0);

    pub(super) const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(super) const fn micros(self) -> i64 {
        self.0
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount once per output.
    pub(super) fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(i64::from(count)))
    }

    /// The amount times a measure such as seconds or megapixels, rounded up to a thousandth of
    /// a unit: prices are quoted with three decimals at most.
    pub(super) fn scaled(self, measure: f64) -> Self {
        let exact = self.0 as f64 * measure.max(0.0);
        Self((exact / 1_000.0).ceil() as i64 * 1_000)
    }

    /// Half as much again, what `price_above_estimate` charges and
    /// `estimate_rises` names.
    pub(super) const fn with_half_more(self) -> Self {
        Self(self.0.saturating_add(self.0 / 2))
    }

    pub(super) fn json(self) -> Value {
        Value::from(self.0 as f64 / 1_000_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::CreativeUnits;

    #[test]
    fn tenths_add_up_exactly() {
        let tenth = CreativeUnits::from_micros(100_000);
        let sum = (0..10).fold(CreativeUnits::ZERO, |sum, _| sum.plus(tenth));
        assert_eq!(sum, tenth.times(10));
        assert_eq!(sum.json().to_string(), "1.0");
        assert_eq!(CreativeUnits::from_micros(891_000).json().to_string(), "0.891");
    }

    #[test]
    fn measured_prices_round_up_to_thousandths() {
        let per_second = CreativeUnits::from_micros(333_000);
        assert_eq!(per_second.scaled(0.5).micros(), 167_000);
        assert_eq!(per_second.scaled(-1.0), CreativeUnits::ZERO);
    }

    #[test]
    fn a_balance_may_go_below_zero() {
        let left = CreativeUnits::from_micros(1).minus(CreativeUnits::from_micros(3));
        assert_eq!(left.micros(), -2);
        assert_eq!(CreativeUnits::from_micros(600_000).with_half_more().micros(), 900_000);
    }
}
