//! Colours on a terminal. They help to find one's way; nothing is said by colour alone.

use std::ffi::OsString;

use anstyle::{AnsiColor, Style};

/// What a piece of text is told apart as. Terminals choose the shades, so that each reads on light
/// and dark grounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it comes.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Works, but somebody should know.
    Warning,
    /// Went wrong.
    Bad,
    /// Less important.
    Dim,
    /// A name or heading.
    Strong,
}

impl Tone {
    const fn style(self) -> Style {
        let plain = Style::new();
        match self {
            Self::Plain => plain,
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Dim => plain.dimmed(),
            Self::Strong => plain.bold(),
        }
    }
}

/// A line of text whose pieces have tones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Tone, String)>);

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// The line with this behind it.
    #[must_use]
    pub fn with(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// The text alone, without spaces at its end.
    pub fn plain(&self) -> String {
        let all: String = self.0.iter().map(|(_, text)| text.as_str()).collect();
        all.trim_end().to_owned()
    }

    /// The text with the terminal's codes for its tones.
    pub fn styled(&self) -> String {
        let mut all = String::new();
        for (tone, text) in &self.0 {
            let style = tone.style();
            // Spaces look the same in every colour.
            let inked = text.trim_end();
            let spaces = text.strip_prefix(inked).unwrap_or_default();
            all.push_str(&format!("{style}{inked}{style:#}{spaces}"));
        }
        all.trim_end().to_owned()
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self(vec![(Tone::Plain, text)])
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// What `--color` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWish {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Everywhere but in JSON.
    Always,
    /// Nowhere.
    Never,
}

/// Whether text that goes there is coloured. `NO_COLOR` (no-color.org) beats `CLICOLOR_FORCE` and
/// `FORCE_COLOR`, those beat `CLICOLOR` (bixense.com/clicolors), and the flag beats them all.
pub fn colours(wish: ColorWish, env: &dyn Fn(&str) -> Option<OsString>, is_terminal: bool) -> bool {
    match wish {
        ColorWish::Always => return true,
        ColorWish::Never => return false,
        ColorWish::Auto => {}
    }
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    let forced = set("CLICOLOR_FORCE").or_else(|| set("FORCE_COLOR"));
    match forced {
        Some(value) if value == "0" || value == "false" => return false,
        Some(_) => return true,
        None => {}
    }
    let refused = set("CLICOLOR").is_some_and(|value| value == "0");
    is_terminal && !refused && !is_dumb(env)
}

/// Whether the terminal can do nothing but write one line after the other.
pub fn is_dumb(env: &dyn Fn(&str) -> Option<OsString>) -> bool {
    match env("TERM") {
        Some(term) => term == "dumb",
        None => cfg!(unix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_words(wish: ColorWish, set: &[(&str, &str)], is_terminal: bool) -> bool {
        let env = |name: &str| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| OsString::from(value))
        };
        colours(wish, &env, is_terminal)
    }

    #[test]
    fn the_flag_beats_the_environment_and_that_beats_the_terminal() {
        const XTERM: (&str, &str) = ("TERM", "xterm");
        for (set, on_terminal, in_pipe) in [
            (&[XTERM][..], true, false),
            (&[("TERM", "dumb")], false, false),
            (&[], cfg!(not(unix)), false),
            (&[XTERM, ("NO_COLOR", "1")], false, false),
            (&[XTERM, ("NO_COLOR", "")], true, false),
            (&[XTERM, ("CLICOLOR", "0")], false, false),
            (&[XTERM, ("CLICOLOR", "1")], true, false),
            (&[XTERM, ("CLICOLOR_FORCE", "1")], true, true),
            (&[("TERM", "dumb"), ("FORCE_COLOR", "1")], true, true),
            (&[XTERM, ("FORCE_COLOR", "0")], false, false),
            (&[XTERM, ("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false, false),
        ] {
            assert_eq!(in_words(ColorWish::Auto, set, true), on_terminal, "{set:?}");
            assert_eq!(in_words(ColorWish::Auto, set, false), in_pipe, "{set:?}");
            assert!(in_words(ColorWish::Always, set, false), "{set:?}");
            assert!(!in_words(ColorWish::Never, set, true), "{set:?}");
        }
    }

    #[test]
    fn a_line_reads_the_same_without_its_colours() {
        let line = Line::new().with(Tone::Bad, "failed ").with(Tone::Plain, "it  ");
        assert_eq!(line.plain(), "failed it");
        assert_eq!(line.styled(), "\u{1b}[1m\u{1b}[31mfailed\u{1b}[0m it");
        assert_eq!(Line::from("as it comes").styled(), "as it comes");
    }
}
