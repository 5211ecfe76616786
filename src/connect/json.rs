//! Entries in JSON with comments. The parser tells where things stand; the text is changed there.

use std::ops::Range;

use jsonc_parser::ast::{self, Object, ObjectProp};
use jsonc_parser::common::Ranged;
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};
use serde_json::{Map, Value};

use super::entry::{Entry, Standing, is_ours};
use super::splice::{
    Splice, apply, begins_line, indent_at, line_end, line_start, newline_of, part,
};
use super::{EditError, Field};

/// The whole document as a value; nothing at all counts as an empty object.
pub(super) fn value(text: &str) -> Result<Value, EditError> {
    let root = Document::read(text)?.root;
    Ok(root.map_or_else(|| Value::Object(Map::new()), |root| ast::Value::Object(root).into()))
}

/// The entry below these keys.
pub(super) fn find(text: &str, path: &[String], name: &str) -> Result<Option<Value>, EditError> {
    let document = Document::read(text)?;
    let Some(list) = document.list(path)? else { return Ok(None) };
    let entry = only(list, name)?;
    Ok(entry.map(|property| property.value.clone().into()))
}

/// The text with this entry.
pub(super) fn put(
    text: &str,
    path: &[String],
    name: &str,
    entry: &Entry,
) -> Result<String, EditError> {
    let document = Document::read(text)?;
    let style = document.style();
    let Some(root) = &document.root else {
        let mut whole = entry.to_json();
        for key in std::iter::once(name).chain(path.iter().rev().map(String::as_str)) {
            whole = Value::Object(Map::from_iter([(key.to_owned(), whole)]));
        }
        let newline = style.newline;
        let kept = if text.trim().is_empty() { "" } else { text };
        let gap = if kept.is_empty() || kept.ends_with('\n') { "" } else { newline };
        return Ok(format!("{kept}{gap}{}{newline}", style.pretty(&whole, "")));
    };
    // The innermost object that is there, and what is missing below it.
    let (mut object, mut rest) = (root, path);
    while let Some((key, below)) = rest.split_first() {
        let Some(property) = only(object, key)? else { break };
        object = property.value.as_object().ok_or_else(|| EditError::NotAnObject(key.clone()))?;
        rest = below;
    }
    let there = if rest.is_empty() { only(object, name)? } else { None };
    let Some(there) = there else {
        let (first, below) = match rest.split_first() {
            Some((key, below)) => (key.as_str(), below),
            None => (name, rest),
        };
        let mut value = entry.to_json();
        if !rest.is_empty() {
            for key in std::iter::once(name).chain(below.iter().rev().map(String::as_str)) {
                value = Value::Object(Map::from_iter([(key.to_owned(), value)]));
            }
        }
        return Ok(apply(text, document.insert(object, first, &value)));
    };
    let found: Value = there.value.clone().into();
    match (entry.standing(&found), there.value.as_object()) {
        (Standing::Same, _) => Ok(text.to_owned()),
        (_, Some(fields)) if is_ours(&found) => {
            let Some(field) = first_different(entry, &found) else { return Ok(text.to_owned()) };
            let splices = match only(fields, &field.key)? {
                Some(property) => {
                    let indent = indent_at(text, property.range.start);
                    let with = style.pretty(&field.value, indent);
                    vec![Splice::replace(range(&property.value), with)]
                }
                None => document.insert(fields, &field.key, &field.value),
            };
            // One by one, because each moves what follows.
            put(&apply(text, splices), path, name, entry)
        }
        _ => {
            let multiline = begins_line(text, there.range.start);
            let indent = indent_at(text, there.range.start);
            let value = entry.to_json();
            let with = if multiline { style.pretty(&value, indent) } else { style.compact(&value) };
            Ok(apply(text, vec![Splice::replace(range(&there.value), with)]))
        }
    }
}

/// The text without this entry. The list that it stood in stays, empty or not.
pub(super) fn take(text: &str, path: &[String], name: &str) -> Result<String, EditError> {
    let document = Document::read(text)?;
    let Some(list) = document.list(path)? else { return Ok(text.to_owned()) };
    if only(list, name)?.is_none() {
        return Ok(text.to_owned());
    }
    Ok(apply(text, document.remove(list, name)))
}

/// The first field that is not as it is wanted.
fn first_different<'a>(entry: &'a Entry, found: &Value) -> Option<&'a Field> {
    let mut kept = entry.fields.iter().filter(|field| !field.once);
    kept.find(|field| found.get(&field.key) != Some(&field.value))
}

/// The property of this name, which must not stand twice: readers differ in which they take.
fn only<'a, 'b>(
    object: &'b Object<'a>,
    key: &str,
) -> Result<Option<&'b ObjectProp<'a>>, EditError> {
    let mut named = object.properties.iter().filter(|property| property.name.as_str() == key);
    match (named.next(), named.next()) {
        (first, None) => Ok(first),
        _ => Err(EditError::Twice(key.to_owned())),
    }
}

fn range(node: &impl Ranged) -> Range<usize> {
    node.start()..node.end()
}

struct Document<'a> {
    text: &'a str,
    root: Option<Object<'a>>,
    tokens: Vec<TokenAndRange<'a>>,
}

impl<'a> Document<'a> {
    fn read(text: &'a str) -> Result<Self, EditError> {
        let collect =
            CollectOptions { comments: CommentCollectionStrategy::AsTokens, tokens: true };
        // What the most forgiving of the clients reads too.
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let parsed =
            parse_to_ast(text, &collect, &options).map_err(|error| EditError::Unreadable {
                line: error.line_display(),
                column: error.column_display(),
                what: error.kind().to_string(),
            })?;
        let root = match parsed.value {
            None => None,
            Some(ast::Value::Object(root)) => Some(root),
            Some(_) => return Err(EditError::NotAnObject("the document".to_owned())),
        };
        Ok(Self { text, root, tokens: parsed.tokens.unwrap_or_default() })
    }

    /// The object below these keys.
    fn list(&self, path: &[String]) -> Result<Option<&Object<'a>>, EditError> {
        let Some(mut object) = self.root.as_ref() else { return Ok(None) };
        for key in path {
            let Some(property) = only(object, key)? else { return Ok(None) };
            let inner = property.value.as_object();
            object = inner.ok_or_else(|| EditError::NotAnObject(key.clone()))?;
        }
        Ok(Some(object))
    }

    fn style(&self) -> Style<'a> {
        let own_line = self.root.iter().flat_map(|root| &root.properties).find(|property| {
            begins_line(self.text, property.range.start)
                && !indent_at(self.text, property.range.start).is_empty()
        });
        let unit = own_line.map_or("  ", |property| indent_at(self.text, property.range.start));
        let mut colons = self.tokens.iter().filter(|token| token.token == Token::Colon);
        let spaced = colons.next().is_none_or(|colon| {
            part(self.text, colon.range.end..self.text.len()).starts_with(char::is_whitespace)
        });
        Style { newline: newline_of(self.text), unit, spaced }
    }

    /// The tokens from this place on.
    fn from(&self, at: usize) -> impl Iterator<Item = &TokenAndRange<'a>> {
        let first = self.tokens.partition_point(|token| token.range.start < at);
        self.tokens.iter().skip(first)
    }

    /// The comma behind a value that ends here.
    fn comma_after(&self, at: usize) -> Option<Range<usize>> {
        let next = self.from(at).find(|token| !is_comment(token))?;
        (next.token == Token::Comma).then(|| range(next))
    }

    /// Where the comments end that begin on the line of this place, with nothing else before them.
    fn after_comments(&self, at: usize) -> usize {
        let mut end = at;
        for token in self.from(at) {
            let between = part(self.text, end..token.range.start);
            if !is_comment(token) || between.contains('\n') {
                break;
            }
            end = token.range.end;
        }
        part(self.text, 0..end).trim_end_matches(['\r', '\n']).len().max(at)
    }

    fn has_comment(&self, within: Range<usize>) -> bool {
        self.from(within.start).take_while(|token| token.range.end <= within.end).any(is_comment)
    }

    /// What adds a property at the end of an object.
    fn insert(&self, object: &Object<'a>, key: &str, value: &Value) -> Vec<Splice> {
        let (text, style) = (self.text, self.style());
        let newline = style.newline;
        let inner = object.range.start + 1..object.range.end.saturating_sub(1);
        let Some(last) = object.properties.last() else {
            let root = self.root.as_ref().map_or(0..0, range);
            let has_more = self.tokens.iter().any(|token| token.token == Token::Colon);
            if has_more && !part(text, root).contains('\n') {
                return vec![Splice::replace(inner, style.property(key, &style.compact(value)))];
            }
            let around = indent_at(text, object.range.start);
            let indent = format!("{around}{}", style.unit);
            let property = style.property(key, &style.pretty(value, &indent));
            let last =
                self.from(inner.start).take_while(|token| token.range.end <= inner.end).last();
            let Some(comment) = last else {
                let with = format!("{newline}{indent}{property}{newline}{around}");
                return vec![Splice::replace(inner, with)];
            };
            let end = part(text, 0..comment.range.end).trim_end_matches(['\r', '\n']).len();
            let closed = part(text, end..inner.end).contains('\n');
            let close = if closed { String::new() } else { format!("{newline}{around}") };
            return vec![Splice::insert(end, format!("{newline}{indent}{property}{close}"))];
        };
        let comma = self.comma_after(last.range.end);
        if !begins_line(text, last.range.start) {
            let property = style.property(key, &style.compact(value));
            let space = if style.spaced { " " } else { "" };
            return vec![match comma {
                Some(comma) => Splice::insert(comma.end, format!("{space}{property},")),
                None => Splice::insert(last.range.end, format!(",{space}{property}")),
            }];
        }
        let indent = indent_at(text, last.range.start);
        let property = style.property(key, &style.pretty(value, indent));
        match comma {
            Some(comma) => {
                let end = self.after_comments(comma.end);
                vec![Splice::insert(end, format!("{newline}{indent}{property},"))]
            }
            None => {
                let end = self.after_comments(last.range.end);
                let added = format!("{newline}{indent}{property}");
                if end == last.range.end {
                    return vec![Splice::insert(end, format!(",{added}"))];
                }
                vec![Splice::insert(last.range.end, ","), Splice::insert(end, added)]
            }
        }
    }

    /// What takes a property out of an object.
    fn remove(&self, object: &Object<'a>, key: &str) -> Vec<Splice> {
        let text = self.text;
        let properties = &object.properties;
        let Some(index) = properties.iter().position(|one| one.name.as_str() == key) else {
            return Vec::new();
        };
        let Some(property) = properties.get(index) else { return Vec::new() };
        let inner = object.range.start + 1..object.range.end.saturating_sub(1);
        let (start, end) = (property.range.start, property.range.end);
        let comma = self.comma_after(end);
        let before = index.checked_sub(1).and_then(|index| properties.get(index));
        let comma_before = before.and_then(|before| self.comma_after(before.range.end));
        let after = self.after_comments(comma.as_ref().map_or(end, |comma| comma.end));
        let alone = properties.len() == 1;
        let own_line =
            begins_line(text, start) && part(text, after..line_end(text, after)).trim().is_empty();
        let mut splices = Vec::new();
        let cut = if own_line {
            // With the line end before it, so that the line before it keeps its comments.
            let from = match line_start(text, start).checked_sub(1) {
                Some(newline) if part(text, 0..newline).ends_with('\r') => newline - 1,
                Some(newline) => newline,
                None => start,
            };
            if comma.is_none() {
                splices.extend(comma_before.map(Splice::cut));
            }
            from..after
        } else {
            let next = properties.get(index + 1).map(|next| next.range.start);
            match (comma, next, comma_before) {
                (Some(_), Some(next), _) if !self.has_comment(end..next) => start..next,
                (Some(comma), Some(_), _) => start..comma.end,
                (Some(comma), None, _) => {
                    let gap = part(text, 0..start).trim_end_matches([' ', '\t']).len();
                    gap..comma.end
                }
                (None, _, Some(before)) if !self.has_comment(before.end..start) => {
                    before.start..end
                }
                (None, _, Some(before)) => {
                    splices.push(Splice::cut(before));
                    start..end
                }
                (None, _, None) => start..end,
            }
        };
        let left_alone = [part(text, inner.start..cut.start), part(text, cut.end..inner.end)];
        if alone && left_alone.into_iter().all(|part| part.trim().is_empty()) {
            return vec![Splice::cut(inner)];
        }
        splices.push(Splice::cut(cut));
        splices
    }
}

fn is_comment(token: &TokenAndRange<'_>) -> bool {
    matches!(token.token, Token::CommentLine(_) | Token::CommentBlock(_))
}

/// How a document is written.
struct Style<'a> {
    newline: &'static str,
    unit: &'a str,
    /// A space behind each colon and comma.
    spaced: bool,
}

impl Style<'_> {
    fn property(&self, key: &str, value: &str) -> String {
        let space = if self.spaced { " " } else { "" };
        format!("{}:{space}{value}", Value::String(key.to_owned()))
    }

    /// On one line.
    fn compact(&self, value: &Value) -> String {
        let comma = if self.spaced { ", " } else { "," };
        match value {
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| self.compact(value)).collect();
                format!("[{}]", values.join(comma))
            }
            Value::Object(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(key, value)| self.property(key, &self.compact(value)))
                    .collect();
                format!("{{{}}}", fields.join(comma))
            }
            other => other.to_string(),
        }
    }

    /// On several lines; `indent` is that of the line on which it begins.
    fn pretty(&self, value: &Value, indent: &str) -> String {
        let Value::Object(fields) = value else { return self.compact(value) };
        if fields.is_empty() {
            return "{}".to_owned();
        }
        let (newline, deeper) = (self.newline, format!("{indent}{}", self.unit));
        let fields: Vec<_> = fields
            .iter()
            .map(|(key, value)| {
                format!("{deeper}{}", self.property(key, &self.pretty(value, &deeper)))
            })
            .collect();
        format!("{{{newline}{}{newline}{indent}}}", fields.join(&format!(",{newline}")))
    }
}
