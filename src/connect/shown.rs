//! What a change is shown as: the lines that differ, without what they have of others' secrets.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;
use similar::TextDiff;

use super::entry::texts;
use super::splice::part;
use crate::redact::clean_line;

/// Unchanged lines around a change.
const AROUND: usize = 2;
/// Longer lines are cut to where they differ.
const LONGEST_LINE: usize = 200;
/// What is left of a long line on each side of a difference.
const BESIDE: usize = 40;

/// The difference between two texts. Texts in quotes are shown only where they are in `known`: what
/// stands beside this server's entry may be another's key.
pub fn difference(before: &str, after: &str, known: &[&Value]) -> String {
    let mut known: BTreeSet<&str> = known.iter().flat_map(|value| texts(value)).collect();
    known.extend(["stdio", "custom"]);
    let (before, after) = windows(before, after);
    let diff = TextDiff::from_lines(before.as_ref(), after.as_ref());
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(AROUND).iter_hunks() {
        lines.push(hunk.header().to_string());
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches(['\r', '\n']);
            let line = clean_line(&masked(line, &known), 4 * LONGEST_LINE);
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
        // From a quote on, so that no half of a text stands there.
        let head = match head.find('"') {
            Some(at) if front > BESIDE => format!("… {}", part(&head, at..head.len())),
            _ => head,
        };
        let tail: String =
            part(text, end..text.len()).chars().take_while(|it| *it != '"').collect();
        format!("{head}{}{tail} …", part(text, front..end))
    };
    (window(before).into(), window(after).into())
}

/// A line in which texts that are nobody's business are `…`.
fn masked(line: &str, known: &BTreeSet<&str>) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\'']) {
        shown.push_str(part(rest, 0..at));
        let quoted = part(rest, at..rest.len());
        let apostrophe = quoted.starts_with('\'')
            && part(rest, 0..at).chars().next_back().is_some_and(char::is_alphanumeric);
        if apostrophe {
            shown.push('\'');
            rest = part(rest, at + 1..rest.len());
            continue;
        }
        let quote = if quoted.starts_with('"') { '"' } else { '\'' };
        let length = quoted_length(quoted, quote);
        let (text, behind) = (part(quoted, 0..length), part(quoted, length..quoted.len()));
        let is_key = behind.trim_start().starts_with([':', '=', '.']);
        let plain = match quote {
            '"' => serde_json::from_str::<String>(text).ok(),
            _ => text.get(1..length.saturating_sub(1)).map(str::to_owned),
        };
        if is_key || plain.is_some_and(|plain| plain.is_empty() || known.contains(plain.as_str())) {
            shown.push_str(text);
        } else {
            shown.extend([quote, '…', quote]);
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// How long a text in quotes is, with them; to the end of the line when it is not closed.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
