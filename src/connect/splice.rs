//! Changes of a text that leave everything else in it alone.

use std::ops::Range;

/// What takes the place of a part of a text.
#[derive(Debug)]
pub(super) struct Splice {
    at: Range<usize>,
    with: String,
}

impl Splice {
    pub(super) fn insert(at: usize, with: impl Into<String>) -> Self {
        Self { at: at..at, with: with.into() }
    }

    pub(super) fn cut(at: Range<usize>) -> Self {
        Self { at, with: String::new() }
    }

    pub(super) fn replace(at: Range<usize>, with: impl Into<String>) -> Self {
        Self { at, with: with.into() }
    }
}

/// The text after all of these. They do not overlap.
pub(super) fn apply(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|splice| splice.at.start);
    let mut after = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for Splice { at, with } in splices {
        after.push_str(part(text, done..at.start));
        after.push_str(&with);
        done = at.end;
    }
    after.push_str(part(text, done..text.len()));
    after
}

/// A part of a text; nothing when there is no such part.
pub(super) fn part(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

/// Where the line begins in which this place lies.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    part(text, 0..at).rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line ends in which this place lies, before its line end.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let rest = part(text, at..text.len());
    let length = rest.find('\n').unwrap_or(rest.len());
    at + part(rest, 0..length).trim_end_matches('\r').len()
}

/// The white space that a line begins with.
pub(super) fn indent_at(text: &str, at: usize) -> &str {
    let line = part(text, line_start(text, at)..line_end(text, at));
    part(line, 0..line.len() - line.trim_start_matches([' ', '\t']).len())
}

/// Whether nothing but white space stands before this place on its line.
pub(super) fn begins_line(text: &str, at: usize) -> bool {
    part(text, line_start(text, at)..at).trim().is_empty()
}

/// How lines end in this text.
pub(super) fn newline_of(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if part(text, 0..at).ends_with('\r') => "\r\n",
        _ => "\n",
    }
}
