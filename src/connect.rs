//! This server in the configuration of MCP clients: which files there are, and what to change.
//!
//! Texts in, texts out; files are read and written by `cli`. A change is a few splices in the text
//! that is there, so that comments, order, indentation and line ends stay; each is read again
//! before it is given out, and must differ from what was there in this server's entry alone.

pub mod client;
pub mod entry;
mod json;
pub mod shown;
mod splice;
#[cfg(test)]
mod tests;
mod toml;

use serde_json::Value;

pub use client::{Client, Format, Os, Places, Scope, Site};
pub use entry::{Entry, Field, Standing};

/// What is wanted of a file.
#[derive(Clone, Debug)]
pub enum Wish {
    /// This entry.
    Connect(Entry),
    /// No entry.
    Remove,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The entry is there as it is wanted.
    AlreadyConnected,
    /// The entry is new.
    Connected,
    /// The entry was this program's, with another path or other arguments.
    Updated,
    /// The entry was another program's.
    Replaced,
    /// The entry is taken out.
    Removed,
    /// There is no entry to take out.
    NotConnected,
}

impl Outcome {
    /// The word for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AlreadyConnected => "already_connected",
            Self::Connected => "connected",
            Self::Updated => "updated",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::NotConnected => "not_connected",
        }
    }

    /// Whether the file has to change for it.
    pub const fn changes(self) -> bool {
        !matches!(self, Self::AlreadyConnected | Self::NotConnected)
    }
}

/// What is to become of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What that does.
    pub outcome: Outcome,
    /// The text afterwards; `None` when there is to be no file, because all of it was this
    /// program's.
    pub after: Option<String>,
    /// The entry that was there.
    pub found: Option<Value>,
}

/// Why a text is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The text is not of its format.
    #[error("it can't be read (line {line}, column {column}: {what})")]
    Unreadable {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser misses; nothing of the text.
        what: String,
    },
    /// Something that should hold entries holds something else.
    #[error("`{0}` is not an object there")]
    NotAnObject(String),
    /// A key that leads to the entry stands twice.
    #[error("`{0}` stands there twice")]
    Twice(String),
    /// The entry is written in a way that can't be changed without touching something else.
    #[error("the entry is written in a way that is not understood")]
    Unusual,
}

/// The mark at the beginning of some files from Windows.
const MARK: char = '\u{feff}';

/// The entry of this name, if there is one.
///
/// # Errors
///
/// [`EditError`] when the text can't be read.
pub fn find(site: &Site, text: &str, name: &str) -> Result<Option<Value>, EditError> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    find_in(site, text, name)
}

/// All entries, whatever their names.
///
/// # Errors
///
/// [`EditError`] when the text can't be read.
pub fn entries(site: &Site, text: &str) -> Result<Vec<Value>, EditError> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let mut document = read(site, text)?;
    for key in &site.path {
        document = document.get_mut(key).map(Value::take).unwrap_or_default();
    }
    Ok(match document {
        Value::Object(list) => list.into_iter().map(|(_, entry)| entry).collect(),
        _ => Vec::new(),
    })
}

/// What is to become of a file with this text. `earlier` are texts that it had before this
/// program's changes, the newest first: when one of them, changed as it was then, gives the text
/// of today, removal gives it back to the byte.
///
/// # Errors
///
/// [`EditError`] when the text can't be read or changed.
pub fn plan(
    site: &Site,
    text: Option<&str>,
    earlier: &[String],
    name: &str,
    wish: &Wish,
) -> Result<Plan, EditError> {
    let whole = text.unwrap_or_default();
    let bare = whole.strip_prefix(MARK).unwrap_or(whole);
    let mark = whole.strip_suffix(bare).unwrap_or_default();
    let found = find_in(site, bare, name)?;
    let stays = |outcome| Plan { outcome, after: text.map(str::to_owned), found: found.clone() };
    let plan = match (wish, &found) {
        (Wish::Remove, None) => return Ok(stays(Outcome::NotConnected)),
        (Wish::Remove, Some(entry)) => {
            let after = match before_connecting(site, whole, earlier, name, entry) {
                Some(before) => before,
                None => Some(format!("{mark}{}", take(site, bare, name)?)),
            };
            Plan { outcome: Outcome::Removed, after, found: found.clone() }
        }
        (Wish::Connect(entry), found) => {
            let outcome = match found.as_ref().map(|found| entry.standing(found)) {
                Some(Standing::Same) => return Ok(stays(Outcome::AlreadyConnected)),
                Some(Standing::Ours) => Outcome::Updated,
                Some(Standing::Foreign) => Outcome::Replaced,
                None => Outcome::Connected,
            };
            let after = put(site, bare, name, entry)?;
            Plan { outcome, after: Some(format!("{mark}{after}")), found: found.clone() }
        }
    };
    let after = plan.after.as_deref().unwrap_or_default();
    check(site, bare, after.strip_prefix(MARK).unwrap_or(after), name, wish)?;
    Ok(plan)
}

/// The file as it was before an entry came into it, when that is known to the byte.
fn before_connecting(
    site: &Site,
    text: &str,
    earlier: &[String],
    name: &str,
    found: &Value,
) -> Option<Option<String>> {
    let entry = Entry::of(found)?;
    let leads_here = |before: &str| {
        let bare = before.strip_prefix(MARK).unwrap_or(before);
        let mark = before.strip_suffix(bare).unwrap_or_default();
        matches!(find_in(site, bare, name), Ok(None))
            && put(site, bare, name, &entry).is_ok_and(|after| format!("{mark}{after}") == text)
    };
    if let Some(before) = earlier.iter().find(|before| leads_here(before)) {
        return Some(Some(before.clone()));
    }
    // Where there was no file there is no earlier text.
    leads_here("").then_some(None)
}

fn find_in(site: &Site, text: &str, name: &str) -> Result<Option<Value>, EditError> {
    match site.format {
        Format::Json => json::find(text, &site.path, name),
        Format::Toml => toml::find(text, &site.path, name),
    }
}

fn put(site: &Site, text: &str, name: &str, entry: &Entry) -> Result<String, EditError> {
    match site.format {
        Format::Json => json::put(text, &site.path, name, entry),
        Format::Toml => toml::put(text, &site.path, name, entry),
    }
}

fn take(site: &Site, text: &str, name: &str) -> Result<String, EditError> {
    match site.format {
        Format::Json => json::take(text, &site.path, name),
        Format::Toml => toml::take(text, &site.path, name),
    }
}

fn read(site: &Site, text: &str) -> Result<Value, EditError> {
    match site.format {
        Format::Json => json::value(text),
        Format::Toml => toml::value(text),
    }
}

/// Reads a changed text again: the entry is as it is wanted, and all else is as it was.
fn check(site: &Site, before: &str, after: &str, name: &str, wish: &Wish) -> Result<(), EditError> {
    let (mut before, mut after) = (read(site, before)?, read(site, after)?);
    let is_right = match (wish, without(&mut after, &site.path, name)) {
        (Wish::Remove, left) => left.is_none(),
        (Wish::Connect(entry), Some(found)) => entry.standing(&found) == Standing::Same,
        (Wish::Connect(_), None) => false,
    };
    without(&mut before, &site.path, name);
    if is_right && before == after { Ok(()) } else { Err(EditError::Unusual) }
}

/// Takes an entry out of a document, and the objects around it that are empty then.
fn without(document: &mut Value, path: &[String], name: &str) -> Option<Value> {
    let object = document.as_object_mut()?;
    let Some((key, rest)) = path.split_first() else { return object.shift_remove(name) };
    let inner = object.get_mut(key)?;
    let found = without(inner, rest, name);
    if inner.as_object().is_some_and(serde_json::Map::is_empty) {
        object.shift_remove(key);
    }
    found
}
