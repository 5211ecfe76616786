//! Reading the trail back: is each line what was written, and is none missing?

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::line::{self, Head, Parsed, SealKey};
use super::{HEAD, days_of, read_text};

/// What is wrong with the trail, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// Its line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.file, self.what),
            line => write!(formatter, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// How many lines carry a seal that could be checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealing {
    /// Sealed with the key at hand, and right.
    pub checked: u64,
    /// Sealed with another key, or there is none at hand.
    pub unchecked: u64,
    /// Not sealed: written before the store was open, or without one.
    pub unsealed: u64,
}

/// What a look through the whole trail found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files there are.
    pub files: usize,
    /// How many lines.
    pub lines: u64,
    /// Their seals.
    pub seals: Sealing,
    /// What is wrong; nothing, when the trail is whole.
    pub findings: Vec<Finding>,
}

/// Looks through the trail in `folder`; with the store's audit key, seals are checked too.
///
/// # Errors
///
/// When a file can't be read.
pub fn verify(folder: &Path, key: Option<&SealKey>) -> io::Result<Report> {
    let mut walk = Walk { key, key_id: key.map(SealKey::id), ..Walk::default() };
    for (name, text) in files(folder)? {
        walk.report.files += 1;
        for (index, line) in text.lines().enumerate() {
            walk.report.lines += 1;
            walk.line(&name, index + 1, line);
        }
    }
    let head = match read_text(&folder.join(HEAD)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    walk.end(head.as_deref());
    Ok(walk.report)
}

/// The lines of the trail from the oldest on, each as the object it is; what is none is left out.
///
/// # Errors
///
/// When a file can't be read.
pub fn read_lines(folder: &Path) -> io::Result<Vec<serde_json::Map<String, serde_json::Value>>> {
    let mut all = Vec::new();
    for (_, text) in files(folder)? {
        all.extend(text.lines().filter_map(line::parse).map(|parsed| parsed.fields));
    }
    Ok(all)
}

/// The files by age, each with its name and text.
fn files(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let days = match days_of(folder) {
        Ok(days) => days,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let read = |name: String| {
        let path: PathBuf = folder.join(&name);
        read_text(&path).map(|text| (name, text))
    };
    days.iter().map(|day| read(format!("{day}.jsonl"))).collect()
}

#[derive(Default)]
struct Walk<'a> {
    key: Option<&'a SealKey>,
    key_id: Option<String>,
    report: Report,
    /// Hash of the line before, and whether it was a line at all.
    before: Option<(String, bool)>,
    number: Option<u64>,
    first: Option<(String, u64)>,
    kept_from: Option<u64>,
    sealed_sessions: HashSet<String>,
    /// Place of a line that was cut short, until the next one owns up to it.
    torn: Option<(String, usize)>,
    /// Whether the last line was sealed with the key at hand.
    ours: bool,
    /// Hash of the line before the last, for a head that is one line behind.
    hashes: [Option<(u64, String)>; 2],
}

impl Walk<'_> {
    fn find(&mut self, file: &str, line: usize, what: &'static str) {
        self.report.findings.push(Finding { file: file.to_owned(), line, what });
    }

    fn line(&mut self, file: &str, index: usize, text: &str) {
        let hash = line::hash(text);
        let parsed = line::parse(text);
        let number = parsed.as_ref().and_then(|parsed| parsed.number("seq"));
        let (Some(parsed), Some(number)) = (parsed, number) else {
            if let Some((file, index)) = self.torn.replace((file.to_owned(), index)) {
                self.find(&file, index, "this is no line of the trail");
            }
            self.before = Some((hash, false));
            return;
        };
        let recovered = parsed.fields.get("recovered").is_some_and(|it| it == true);
        if let Some((file, index)) = self.torn.take()
            && !recovered
        {
            self.find(&file, index, "this is no line of the trail");
        }
        match &self.before {
            Some((before, _)) if parsed.text("prev") != Some(before) => {
                self.find(file, index, "the line before it was changed, removed or moved");
            }
            _ => {}
        }
        if self.number.is_some_and(|before| before.checked_add(1) != Some(number)) {
            self.find(file, index, "its number does not follow the one before");
        }
        self.seal(file, index, &parsed);
        if parsed.text("event") == Some("audit.retention") {
            self.kept_from = parsed.number("kept_from").or(self.kept_from);
        }
        if self.first.is_none() {
            self.first = Some((file.to_owned(), number));
        }
        self.number = Some(number);
        self.hashes = [self.hashes[1].take(), Some((number, hash.clone()))];
        self.before = Some((hash, true));
    }

    fn seal(&mut self, file: &str, index: usize, parsed: &Parsed<'_>) {
        let session = parsed.text("session").unwrap_or_default().to_owned();
        self.ours = false;
        let Some(seal) = parsed.text("mac") else {
            self.report.seals.unsealed += 1;
            if self.sealed_sessions.contains(&session) {
                self.find(file, index, "its seal was removed");
            }
            return;
        };
        self.sealed_sessions.insert(session);
        self.ours = self.key_id.is_some() && parsed.text("key") == self.key_id.as_deref();
        match self.key {
            Some(key) if self.ours => {
                if key.has_sealed(parsed.covered, seal) {
                    self.report.seals.checked += 1;
                } else {
                    self.find(file, index, "it is not what was sealed");
                }
            }
            _ => self.report.seals.unchecked += 1,
        }
    }

    fn end(&mut self, head: Option<&str>) {
        if let Some((file, index)) = self.torn.take() {
            self.find(&file, index, "this is no line of the trail, or its writer was killed");
        }
        if let Some((file, first)) = self.first.take()
            && first != 1
            && self.kept_from != Some(first)
        {
            self.find(&file, 1, "the lines before it were removed");
        }
        let found = head.and_then(Head::parse);
        let last = self.hashes[1].take();
        let wrong = match (found, last) {
            (None, None) => head.is_some_and(|text| !text.is_empty()).then_some("it is damaged"),
            (None, Some(_)) => Some("it is missing or damaged"),
            (Some(_), None) => Some("all lines were removed"),
            (Some(head), Some((number, hash))) => {
                let sealed = match (self.key, &head.seal) {
                    (Some(key), Some(seal)) if self.ours => {
                        key.has_sealed(&head.sealed_text(), seal)
                    }
                    (_, seal) => seal.is_some() || !self.ours,
                };
                let behind = self.hashes[0].take().is_some_and(|(_, hash)| hash == head.hash);
                if number < head.number {
                    Some("the newest lines were removed")
                } else if hash != head.hash && !behind {
                    Some("the newest line is not the one that was written last")
                } else if !sealed && !behind {
                    Some("it is not what was sealed")
                } else {
                    None
                }
            }
        };
        if let Some(what) = wrong {
            self.find(HEAD, 0, what);
        }
    }
}
