//! How a call goes, in one line on a terminal that never wraps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::columns;
use super::terminal::Terminal;
use crate::runs::{Progress, ProgressStep};

/// A line on standard error that changes, when that is a terminal that can do so.
#[derive(Clone)]
pub(super) struct Bar {
    shown: ProgressBar,
    latest: Arc<Mutex<Option<Progress>>>,
    window: Option<usize>,
}

/// Windows whose width nobody tells.
const USUAL_WINDOW: usize = 80;
/// The sign that turns, and the space behind it.
const SIGN: usize = 2;

impl Bar {
    /// Nothing is shown before [`Bar::begin`].
    pub(super) fn new(terminal: &Terminal) -> Self {
        let shown = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let window = terminal
            .is_lively()
            .then(|| terminal.columns_of_notes().unwrap_or(USUAL_WINDOW))
            .filter(|columns| *columns > SIGN);
        // The last column stays empty: some terminals break the line there.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            shown.set_style(style.tick_strings(&["-", "\\", "|", "/", "*"]));
        }
        Self { shown, latest: Arc::default(), window }
    }

    /// Begins to show something.
    pub(super) fn begin(&self) {
        if self.window.is_none() || !self.shown.is_hidden() {
            return;
        }
        self.shown.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        self.draw();
        self.shown.enable_steady_tick(Duration::from_millis(150));
    }

    /// Shows how it goes.
    pub(super) fn tell(&self, progress: Progress) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        self.begin();
        self.draw();
    }

    /// Shows nothing any more, so that something else can be written.
    pub(super) fn clear(&self) {
        self.shown.disable_steady_tick();
        self.shown.finish_and_clear();
        self.shown.set_draw_target(ProgressDrawTarget::hidden());
        self.shown.reset();
    }

    fn draw(&self) {
        let Some(window) = self.window else { return };
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let line = match latest {
            Some(progress) => in_words(&progress, window.saturating_sub(SIGN + 1)),
            None => fitting("asking Layer", window.saturating_sub(SIGN + 1)),
        };
        self.shown.set_message(line);
    }
}

fn fitting(text: &str, room: usize) -> String {
    if columns(text) <= room { text.to_owned() } else { String::new() }
}

/// Widest and narrowest bar.
const BARS: (usize, usize) = (24, 8);
/// "fetching file 2 of 3": the bar stays at its place when what is done changes.
const STEP_WIDTH: usize = 12;

/// Step, bar, share, time and price, as many of them as there is room for: the step goes last.
fn in_words(progress: &Progress, room: usize) -> String {
    let step = match progress.step {
        ProgressStep::Queued(1) => "next in the queue".to_owned(),
        ProgressStep::Queued(place) => format!("place {place} in the queue"),
        ProgressStep::Starting => "starting".to_owned(),
        ProgressStep::Rendering => "rendering".to_owned(),
        ProgressStep::Fetching(_, 1) => "fetching".to_owned(),
        ProgressStep::Fetching(this, all) => format!("fetching {this}/{all}"),
        ProgressStep::Over => "done".to_owned(),
    };
    let percent = format!("{:>3.0} %", progress.percent.clamp(0.0, 100.0));
    let price = format!("~{}", progress.expected);
    let elapsed = progress.elapsed.as_secs();
    let time = match progress.left {
        _ if elapsed == 0 && progress.left.is_none() => String::new(),
        Some(left) if elapsed == 0 => format!("about {} left", clock(left.as_secs().max(1))),
        Some(left) => format!("{}, about {} left", clock(elapsed), clock(left.as_secs().max(1))),
        None => clock(elapsed),
    };
    let short_time = if elapsed == 0 { String::new() } else { clock(elapsed) };
    let padded = format!("{step:<STEP_WIDTH$}");
    let with_bar = |width: usize| format!("{padded} {} {percent}", bar(progress.percent, width));
    let join = |parts: &[&str]| -> String {
        let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        parts.join("  ")
    };
    let (wide, narrow) = BARS;
    let tries = [
        join(&[&with_bar(wide), &time, &price]),
        join(&[&with_bar(narrow), &time, &price]),
        join(&[&with_bar(narrow), &short_time, &price]),
        join(&[
            &format!("{step} {} {percent}", bar(progress.percent, narrow)),
            &short_time,
            &price,
        ]),
        join(&[&step, &percent, &short_time, &price]),
        join(&[&step, &percent, &price]),
        join(&[&step, &percent]),
        step.clone(),
    ];
    tries.into_iter().find(|line| columns(line) <= room).unwrap_or_default()
}

fn bar(percent: f64, width: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a width of a few columns"
    )]
    let full = (percent.clamp(0.0, 100.0) / 100.0 * width as f64) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width.saturating_sub(full)))
}

/// "12 s", "3 min 5 s".
fn clock(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
    use super::*;

    fn rendering(left: Option<u64>) -> Progress {
        Progress {
            percent: 42.4,
            message: String::new(),
            step: ProgressStep::Rendering,
            expected: "2.5".parse().unwrap(),
            elapsed: Duration::from_secs(72),
            left: left.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_wide_window_shows_step_bar_time_and_price() {
        let bar = "██████████░░░░░░░░░░░░░░";
        assert_eq!(
            in_words(&rendering(Some(30)), 120),
            format!("rendering    {bar}  42 %  1 min 12 s, about 30 s left  ~2.5 CU")
        );
        assert_eq!(
            in_words(&rendering(None), 120),
            format!("rendering    {bar}  42 %  1 min 12 s  ~2.5 CU")
        );
        let queued =
            Progress { step: ProgressStep::Queued(3), elapsed: Duration::ZERO, ..rendering(None) };
        assert!(in_words(&queued, 120).starts_with("place 3 in the queue "));
        assert!(in_words(&queued, 120).ends_with(" 42 %  ~2.5 CU"));
    }

    #[test]
    fn no_window_is_too_narrow_for_the_line() {
        for step in [
            ProgressStep::Queued(1),
            ProgressStep::Queued(99_999),
            ProgressStep::Starting,
            ProgressStep::Rendering,
            ProgressStep::Fetching(1, 1),
            ProgressStep::Fetching(12, 20),
            ProgressStep::Over,
        ] {
            for room in 0..100 {
                let progress = Progress { step, ..rendering(Some(3_599)) };
                assert!(columns(&in_words(&progress, room)) <= room, "{step:?} in {room}");
            }
        }
        assert_eq!(in_words(&rendering(Some(30)), 37), "rendering   42 %  1 min 12 s  ~2.5 CU");
        assert_eq!(in_words(&rendering(Some(30)), 9), "rendering");
        assert_eq!(in_words(&rendering(Some(30)), 8), "");
    }
}
