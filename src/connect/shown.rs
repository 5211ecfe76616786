//! What a change is shown as: the lines that differ, without what they have of others' secrets.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;
use similar::TextDiff;

use super::client::Format;
use super::entry::texts;
use super::splice::{line_end, part};
use crate::redact::clean;

/// Unchanged lines around a change.
const AROUND: usize = 2;
/// Longer lines are cut to where they differ.
const LONGEST_LINE: usize = 200;
/// What is left of a long line on each side of a difference.
const BESIDE: usize = 40;

/// The difference between two texts. Texts in quotes are shown only where they are in `known`, and
/// comments not at all: what stands beside this server's entry may be another's key.
pub fn difference(format: Format, before: &str, after: &str, known: &[&Value]) -> String {
    let mut known: BTreeSet<&str> = known.iter().flat_map(|value| texts(value)).collect();
    known.extend(["stdio", "custom"]);
    // All of it before any part is taken, so that none is taken from within quotes.
    let [before, after] = [before, after].map(|text| masked(format, text, &known));
    let (before, after) = windows(&before, &after);
    let diff = TextDiff::from_lines(before.as_ref(), after.as_ref());
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(AROUND).iter_hunks() {
        lines.push(hunk.header().to_string());
        for change in hunk.iter_changes() {
            let line = clean(change.value().trim_end_matches(['\r', '\n']), 4 * LONGEST_LINE);
            lines.push(format!("{}{line}", change.tag()).trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// Both texts; when they are long lines, only what differs of them.
fn windows<'a>(before: &'a str, after: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
    let is_long = |text: &str| text.lines().any(|line| line.len() > LONGEST_LINE);
    let few = |text: &str| text.lines().count() <= 3;
    if !(is_long(before) && few(before) || is_long(after) && few(after)) {
        return (before.into(), after.into());
    }
    let same = |pairs: &mut dyn Iterator<Item = (char, char)>| {
        pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>()
    };
    let front = same(&mut before.chars().zip(after.chars()));
    let rests = [before, after].map(|text| part(text, front..text.len()));
    let [a, b] = rests;
    let back = same(&mut a.chars().rev().zip(b.chars().rev()));
    let window = |text: &str| {
        let end = text.len() - back;
        let head: String = {
            let kept: Vec<char> = part(text, 0..front).chars().rev().take(BESIDE).collect();
            kept.into_iter().rev().collect()
        };
        let head = if front > BESIDE { format!("… {head}") } else { head };
        let tail: String = part(text, end..text.len()).chars().take(BESIDE).collect();
        format!("{head}{}{tail} …", part(text, front..end))
    };
    (window(before).into(), window(after).into())
}

/// The text with `…` for comments and for what stands in quotes and is nobody's business.
fn masked(format: Format, text: &str, known: &BTreeSet<&str>) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let next = rest.char_indices().find_map(|(at, _)| {
            let here = part(rest, at..rest.len());
            piece(format, here).map(|piece| (at, piece, here))
        });
        let Some((at, piece, here)) = next else { break };
        shown.push_str(part(rest, 0..at));
        let taken = part(here, 0..piece.length());
        rest = part(here, piece.length()..here.len());
        match piece {
            Piece::Hidden { open, .. } => {
                shown.extend([open, " …"]);
                // The lines stay as many.
                shown.extend(taken.chars().filter(|letter| *letter == '\n'));
            }
            Piece::Quoted { quote, .. } => {
                let is_key = rest.trim_start_matches([' ', '\t']).starts_with([':', '=', '.']);
                let plain = match quote {
                    '"' => serde_json::from_str::<String>(taken).ok(),
                    _ => Some(taken.trim_matches(quote).to_owned()),
                };
                let is_known = |plain: &str| plain.is_empty() || known.contains(plain);
                if is_key || plain.as_deref().is_some_and(is_known) {
                    shown.push_str(taken);
                } else {
                    shown.extend([quote, '…', quote]);
                }
            }
        }
    }
    shown.push_str(rest);
    shown
}

/// Something in a text that is not shown as it is; lengths in bytes.
enum Piece {
    /// A comment, or a text over several lines: only its beginning is shown.
    Hidden { open: &'static str, length: usize },
    /// A text on one line, with its quotes.
    Quoted { quote: char, length: usize },
}

impl Piece {
    const fn length(&self) -> usize {
        match self {
            Self::Hidden { length, .. } | Self::Quoted { length, .. } => *length,
        }
    }
}

/// What begins here.
fn piece(format: Format, here: &str) -> Option<Piece> {
    let through = |open: &'static str, close: &str| {
        let inner = here.strip_prefix(open)?;
        let length = inner.find(close).map_or(inner.len(), |at| at + close.len());
        Some(Piece::Hidden { open, length: open.len() + length })
    };
    let line = |open: &'static str| {
        here.starts_with(open).then(|| Piece::Hidden { open, length: line_end(here, 0) })
    };
    let quoted = |quote: char| {
        here.starts_with(quote).then(|| Piece::Quoted { quote, length: quoted_length(here, quote) })
    };
    match format {
        Format::Json => line("//").or_else(|| through("/*", "*/")).or_else(|| quoted('"')),
        Format::Toml => line("#")
            .or_else(|| through("\"\"\"", "\"\"\""))
            .or_else(|| through("'''", "'''"))
            .or_else(|| quoted('"'))
            .or_else(|| quoted('\'')),
    }
}

/// How long a text in quotes is, with them; to the end of the line when it is not closed.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
