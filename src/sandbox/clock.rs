//! The time that runs go by: the computer's, or one that a test drives.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A source of UTC milliseconds. Runs are stored with such stamps, so that another process can
/// go on where this one stopped.
#[derive(Clone, Debug, Default)]
pub(super) enum Clock {
    #[default]
    System,
    /// Stands still until it is moved.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests drive a clock"))]
    Driven(Arc<AtomicI64>),
}

impl Clock {
    pub(super) fn now_ms(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Self::Driven(now) => now.load(Ordering::SeqCst),
        }
    }
}

/// A `date-time` as the REST answers carry it.
pub(super) fn date_time(ms: i64) -> String {
    timestamp(ms).to_string()
}

/// The stamp in the name of an output file: `YYYY-MM-DD-HHMMSS`.
pub(super) fn file_stamp(ms: i64) -> String {
    timestamp(ms).strftime("%Y-%m-%d-%H%M%S").to_string()
}

/// The stamp in a signed storage URL.
pub(super) fn signing_stamp(ms: i64) -> String {
    timestamp(ms).strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
impl Clock {
    pub(super) fn driven(now_ms: i64) -> Self {
        Self::Driven(Arc::new(AtomicI64::new(now_ms)))
    }

    pub(super) fn advance_ms(&self, ms: i64) {
        if let Self::Driven(now) = self {
            now.fetch_add(ms, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, date_time, file_stamp, signing_stamp};

    #[test]
    fn stamps_are_utc() {
        let ms = 1_790_000_000_123;
        assert_eq!(date_time(ms), "2026-09-21T14:13:20.123Z");
        assert_eq!(file_stamp(ms), "2026-09-21-141320");
        assert_eq!(signing_stamp(ms), "20260921T141320Z");
    }

    #[test]
    fn a_driven_clock_moves_only_when_told() {
        let clock = Clock::driven(5);
        assert_eq!(clock.now_ms(), 5);
        clock.advance_ms(10);
        assert_eq!(clock.clone().now_ms(), 15);
    }
}
