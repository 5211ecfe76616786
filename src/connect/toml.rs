//! Entries in TOML. The parser tells where things stand; the text is changed there.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::EditError;
use super::entry::{Entry, Standing, is_ours};
use super::splice::{Splice, apply, begins_line, line_end, line_start, newline_of, part};

/// The whole document as a value.
pub(super) fn value(text: &str) -> Result<Value, EditError> {
    let table: toml::Table = text.parse().map_err(|error| unreadable(text, &error))?;
    serde_json::to_value(table).map_err(|_| EditError::Unusual)
}

/// The entry below these keys.
pub(super) fn find(text: &str, path: &[String], name: &str) -> Result<Option<Value>, EditError> {
    let mut document = value(text)?;
    for key in path {
        document = match document.get_mut(key) {
            None => return Ok(None),
            Some(inner) if inner.is_object() => inner.take(),
            Some(_) => return Err(EditError::NotAnObject(key.clone())),
        };
    }
    Ok(document.get_mut(name).map(Value::take))
}

/// The text with this entry.
pub(super) fn put(
    text: &str,
    path: &[String],
    name: &str,
    entry: &Entry,
) -> Result<String, EditError> {
    let Some(found) = find(text, path, name)? else { return Ok(append(text, path, name, entry)) };
    if entry.standing(&found) == Standing::Same {
        return Ok(text.to_owned());
    }
    if !is_ours(&found) {
        let cleared = take(text, path, name)?;
        return Ok(append(&cleared, path, name, entry));
    }
    let document = read(text)?;
    let (_, table) = lookup(&document, path, name).ok_or(EditError::Unusual)?;
    let fields = table.as_ref().as_table().ok_or(EditError::Unusual)?;
    let newline = newline_of(text);
    let mut splices = Vec::new();
    let mut missing = String::new();
    let inline = part(text, table.span()).starts_with('{');
    for field in entry.fields.iter().filter(|field| !field.once) {
        if found.get(&field.key) == Some(&field.value) {
            continue;
        }
        match fields.get(field.key.as_str()) {
            Some(there) => splices.push(Splice::replace(there.span(), written(&field.value))),
            None if inline => {
                missing.push_str(&format!(" {} = {},", field.key, written(&field.value)))
            }
            None => {
                missing.push_str(&format!("{newline}{} = {}", field.key, written(&field.value)));
            }
        }
    }
    if !missing.is_empty() {
        let span = table.span();
        let at = if inline { span.start + 1 } else { line_end(text, span.start) };
        splices.push(Splice::insert(at, missing));
    }
    Ok(apply(text, splices))
}

/// The text without this entry.
pub(super) fn take(text: &str, path: &[String], name: &str) -> Result<String, EditError> {
    let document = read(text)?;
    let Some((key, table)) = lookup(&document, path, name) else { return Ok(text.to_owned()) };
    let mut cuts = Vec::new();
    if part(text, table.span()).starts_with('{') {
        if !begins_line(text, key.start) {
            return Err(EditError::Unusual);
        }
        let end = whole_line(text, table.span().end);
        cuts.push(line_start(text, key.start)..end);
    } else {
        tables_within(text, table, &mut cuts);
    }
    if cuts.is_empty() {
        return Err(EditError::Unusual);
    }
    Ok(apply(text, cuts.into_iter().map(Splice::cut).collect()))
}

/// A table of its own at the end of the text.
fn append(text: &str, path: &[String], name: &str, entry: &Entry) -> String {
    let newline = newline_of(text);
    let mut after = text.to_owned();
    if text.trim().is_empty() {
        after.clear();
    } else {
        if !text.ends_with('\n') {
            after.push_str(newline);
        }
        if !after.ends_with(&format!("{newline}{newline}")) {
            after.push_str(newline);
        }
    }
    let header: Vec<_> = path.iter().map(String::as_str).chain([name]).collect();
    after.push_str(&format!("[{}]{newline}", header.join(".")));
    // Tables that an entry had within it can't be written line by line; none of ours has any.
    for field in &entry.fields {
        after.push_str(&format!("{} = {}{newline}", field.key, written(&field.value)));
    }
    after
}

/// A text, a number or a list of texts. JSON's escapes are TOML's too.
fn written(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(written).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

fn read(text: &str) -> Result<Spanned<DeTable<'_>>, EditError> {
    DeTable::parse(text).map_err(|error| unreadable(text, &error))
}

/// Where the entry's key stands, and the entry.
fn lookup<'a, 'b>(
    document: &'b Spanned<DeTable<'a>>,
    path: &[String],
    name: &str,
) -> Option<(Range<usize>, &'b Spanned<DeValue<'a>>)> {
    let mut table = document.as_ref();
    for key in path {
        table = table.get(key.as_str())?.as_ref().as_table()?;
    }
    let (key, value) = table.get_key_value(name)?;
    value.as_ref().is_table().then(|| (key.span(), value))
}

/// The lines of a table with a header, and of those within it.
fn tables_within(text: &str, table: &Spanned<DeValue<'_>>, cuts: &mut Vec<Range<usize>>) {
    let Some(fields) = table.as_ref().as_table() else { return };
    let span = table.span();
    if part(text, span.clone()).starts_with('[') {
        let mut end = span.end;
        for (_, field) in fields {
            end = end.max(last_line_of(text, field));
        }
        let mut cut = line_start(text, span.start)..whole_line(text, end);
        let (before, after) = (part(text, 0..cut.start), part(text, cut.end..text.len()));
        // One of the empty lines around it goes with it.
        let blank = |text: &str| text.is_empty() || text.starts_with(['\r', '\n']);
        for gap in ["\r\n\r\n", "\n\n"] {
            if before.ends_with(gap) && blank(after) {
                cut.start -= gap.len() / 2;
                break;
            }
        }
        cuts.push(cut);
    }
    for (_, field) in fields {
        if field.as_ref().is_table() && !part(text, field.span()).starts_with('{') {
            tables_within(text, field, cuts);
        }
    }
}

/// Where a field ends that stands in the lines of its table; 0 for one with a header of its own.
fn last_line_of(text: &str, field: &Spanned<DeValue<'_>>) -> usize {
    let span = field.span();
    match field.as_ref().as_table() {
        Some(_) if part(text, span.clone()).starts_with('{') => span.end,
        // `a.b = 1`: the table is nowhere but in its fields.
        Some(fields) if !part(text, span.clone()).starts_with('[') => {
            fields.iter().map(|(_, field)| last_line_of(text, field)).max().unwrap_or_default()
        }
        Some(_) => 0,
        None => span.end,
    }
}

/// Where the next line begins.
fn whole_line(text: &str, at: usize) -> usize {
    let end = line_end(text, at);
    let rest = part(text, end..text.len());
    end + if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) }
}

fn unreadable(text: &str, error: &toml::de::Error) -> EditError {
    let at = error.span().map_or(0, |span| span.start);
    let line = part(text, 0..at).matches('\n').count() + 1;
    let column = part(text, line_start(text, at)..at).chars().count() + 1;
    // Some of the parser's words repeat what it read.
    let what = crate::redact::clean_line(error.message(), 120);
    EditError::Unreadable { line, column, what }
}
