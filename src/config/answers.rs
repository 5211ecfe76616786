//! How answers are given: how long a call waits for them, and whether they have pictures.

use std::time::Duration;

use super::{Reader, names};

impl Reader<'_> {
    /// The longest that one call blocks; `None` leaves it to what the client is known to wait for.
    pub(super) fn max_wait(&mut self, file: Option<f64>) -> Option<Duration> {
        let seconds = match self.text(names::MAX_WAIT, None) {
            Some(text) => text.parse::<f64>().ok(),
            None => Some(file?),
        };
        match seconds {
            Some(seconds) if (0.0..=3_600.0).contains(&seconds) => {
                Some(Duration::from_secs_f64(seconds))
            }
            _ => {
                self.problem(names::MAX_WAIT, "it must be a number of seconds from 0 to 3600");
                None
            }
        }
    }

    /// Whether answers may have pictures.
    pub(super) fn pictures(&mut self, file: Option<String>) -> bool {
        match self.text(names::PREVIEWS, file).as_deref() {
            None | Some("on") => true,
            Some("off") => false,
            Some(_) => {
                self.problem(names::PREVIEWS, "it is `on` or `off`");
                true
            }
        }
    }
}
