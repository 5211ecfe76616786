//! Reading the trail back: is each line what was written, and is none missing?

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;

use super::line::{self, Head, Parsed, Place, SealKey};
use super::place::{check_folder, day_of, days_of, file_name, lock, read_text};
use super::{HEAD, MOST_BYTES, PATIENCE};

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
    /// Lines after the newest one whose seal is right. Nothing vouches for them but their place in
    /// the chain.
    pub after: u64,
}

/// What a look through the whole trail found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files there are.
    pub files: usize,
    /// The day of the newest, into which new lines go.
    pub newest: Option<Date>,
    /// How many lines.
    pub lines: u64,
    /// Their seals.
    pub seals: Sealing,
    /// What is wrong; nothing, when the trail is whole.
    pub findings: Vec<Finding>,
    /// What is not wrong, and can't be proven right.
    pub notes: Vec<Finding>,
}

/// Looks through the trail in `folder`; with the store's audit key, seals are checked too.
///
/// # Errors
///
/// When a file can't be read, or something else is in the folder's place.
pub fn verify(folder: &Path, key: Option<&SealKey>) -> io::Result<Report> {
    match check_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        checked => checked?,
    }
    // Without the lock a line may come between the files and the head; that is better than to
    // fail where nothing can be written.
    let _lock = lock(folder, PATIENCE).ok();
    walk(folder, key)
}

/// The same for a writer, which has the lock.
pub(super) fn walk(folder: &Path, key: Option<&SealKey>) -> io::Result<Report> {
    let head = match read_text(&folder.join(HEAD), MOST_BYTES) {
        Ok(text) => Some(text.unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut walk = Walk { key, key_id: key.map(SealKey::id), ..Walk::default() };
    for (day, text) in files(folder)? {
        let name = file_name(day);
        walk.report.files += 1;
        walk.report.newest = Some(day);
        let Some(text) = text else {
            walk.find(&name, 0, "it is larger than the whole trail may be");
            continue;
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if text.is_empty() {
            continue;
        }
        for (index, line) in text.split('\n').enumerate() {
            walk.report.lines += 1;
            walk.line(&name, index + 1, day, line);
        }
    }
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
        let text = text.unwrap_or_default();
        all.extend(text.lines().filter_map(line::parse).map(|parsed| parsed.fields));
    }
    Ok(all)
}

/// The files by age, each with its day and its text; `None` for the text of one that is too large.
fn files(folder: &Path) -> io::Result<Vec<(Date, Option<String>)>> {
    let days = match days_of(folder) {
        Ok(days) => days,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let read =
        |day: Date| read_text(&folder.join(file_name(day)), 2 * MOST_BYTES).map(|text| (day, text));
    days.into_iter().map(read).collect()
}

#[derive(Default)]
struct Walk<'a> {
    key: Option<&'a SealKey>,
    key_id: Option<String>,
    report: Report,
    /// The line before, where it was a line at all; and the key that sealed it.
    before: Option<Before>,
    number: Option<u64>,
    first: Option<(String, u64)>,
    /// The highest number of a line from which on lines were kept when old files went: by the
    /// words that the key at hand vouches for, and by all words.
    kept_from: [u64; 2],
    sealed_sessions: HashSet<String>,
    /// Place of a line that was cut short, until the next one owns up to it.
    torn: Option<(String, usize)>,
    /// The lines that each key has sealed.
    sealed: HashMap<String, HashSet<Place>>,
    /// The last two lines, for a head that is one line behind.
    newest: [Option<Place>; 2],
}

struct Before {
    hash: String,
    key: Option<String>,
}

impl Walk<'_> {
    fn find(&mut self, file: &str, line: usize, what: &'static str) {
        self.report.findings.push(Finding { file: file.to_owned(), line, what });
    }

    fn note(&mut self, file: &str, line: usize, what: &'static str) {
        self.report.notes.push(Finding { file: file.to_owned(), line, what });
    }

    fn line(&mut self, file: &str, index: usize, day: Date, text: &str) {
        let hash = line::hash(text);
        let parsed = line::parse(text);
        let number = parsed.as_ref().and_then(|parsed| parsed.number("seq"));
        let (Some(parsed), Some(number)) = (parsed, number) else {
            if let Some((file, index)) = self.torn.replace((file.to_owned(), index)) {
                self.find(&file, index, "this is no line of the trail");
            }
            self.report.seals.after += 1;
            self.before = Some(Before { hash, key: None });
            return;
        };
        let says = |field: &str| parsed.fields.get(field).is_some_and(|it| it == true);
        if let Some((file, index)) = self.torn.take()
            && !says("recovered")
        {
            self.find(&file, index, "this is no line of the trail");
        }
        if self.before.as_ref().is_some_and(|it| parsed.text("prev") != Some(&it.hash)) {
            self.find(file, index, "the line before it was changed, removed or moved");
        }
        if self.number.is_some_and(|before| before.checked_add(1) != Some(number)) {
            self.find(file, index, "its number does not follow the one before");
        }
        if says("lost") {
            self.find(
                file,
                index,
                "`head` had lost its mark when this was written: lines before it may be gone",
            );
        }
        self.day(file, index, day, &parsed);
        let place = Place { number, hash: hash.clone() };
        let ours = self.seal(file, index, &parsed, &place);
        if parsed.text("event") == Some("audit.retention")
            && let Some(kept_from) = parsed.number("kept_from")
        {
            let [vouched, said] = &mut self.kept_from;
            *said = kept_from.max(*said);
            if ours || self.key.is_none() {
                *vouched = kept_from.max(*vouched);
            }
        }
        if self.first.is_none() {
            self.first = Some((file.to_owned(), number));
        }
        self.number = Some(number);
        self.newest = [self.newest[1].take(), Some(place)];
        let key = parsed.text("mac").and(parsed.text("key")).map(str::to_owned);
        self.before = Some(Before { hash, key });
    }

    /// A file goes with the day in its name, so that must not lie. A line can be older than its
    /// file, after the clock was set back.
    fn day(&mut self, file: &str, index: usize, day: Date, parsed: &Parsed<'_>) {
        let time = parsed.text("ts").and_then(|time| time.parse::<Timestamp>().ok());
        let written = time.map(day_of);
        if written.is_none_or(|written| written > day) || (index == 1 && written != Some(day)) {
            self.find(file, index, "it was not written on the day that its file is named for");
        }
        if index == 1 && !parsed.fields.contains_key("opens") {
            self.find(file, index, "the beginning of its file was removed");
        }
    }

    /// Whether the key at hand vouches for the line.
    fn seal(&mut self, file: &str, index: usize, parsed: &Parsed<'_>, place: &Place) -> bool {
        let session = parsed.text("session").unwrap_or_default().to_owned();
        self.report.seals.after += 1;
        let Some(seal) = parsed.text("mac") else {
            self.report.seals.unsealed += 1;
            if self.sealed_sessions.contains(&session) {
                self.find(file, index, "its seal was removed");
            }
            return false;
        };
        self.sealed_sessions.insert(session);
        let id = parsed.text("key").unwrap_or_default();
        self.follows(file, index, parsed, id, place.number);
        self.sealed.entry(id.to_owned()).or_default().insert(place.clone());
        match self.key {
            Some(key) if self.key_id.as_deref() == Some(id) => {
                let right = key.has_sealed(parsed.covered, seal);
                if right {
                    self.report.seals.checked += 1;
                    self.report.seals.after = 0;
                } else {
                    self.find(file, index, "it is not what was sealed");
                }
                right
            }
            _ => {
                self.report.seals.unchecked += 1;
                false
            }
        }
    }

    /// A sealed line comes after the one that its key sealed before: the line before it, or the
    /// one that it names.
    fn follows(&mut self, file: &str, index: usize, parsed: &Parsed<'_>, id: &str, number: u64) {
        let named = parsed.text("after").map(Place::parse_reference);
        let sealed = self.sealed.get(id);
        let first = self.first.as_ref().map_or(number, |(_, first)| *first);
        let follows = match named {
            // Of several lines whose writers were killed before `head` had them, any is named.
            Some(Some(named)) => {
                sealed.is_some_and(|sealed| sealed.contains(&named)) || named.number < first
            }
            Some(None) => false,
            None => {
                let of_one_key =
                    self.before.as_ref().is_none_or(|before| before.key.as_deref() == Some(id));
                of_one_key
                    || parsed.text("event") == Some(line::NEW_KEY)
                    || parsed.fields.contains_key("lost")
            }
        };
        if !follows {
            self.find(file, index, "lines that were sealed before it were removed or rewritten");
        }
        if number == 1 && parsed.text("event") != Some(line::NEW_KEY) {
            self.note(file, index, "the trail begins anew here, and its key is older");
        }
    }

    fn end(&mut self, head: Option<&str>) {
        if let Some((file, index)) = self.torn.take() {
            self.find(&file, index, "this is no line of the trail, or its writer was killed");
        }
        if let Some((file, first)) = self.first.clone()
            && first != 1
        {
            let [vouched, said] = self.kept_from;
            if first > said {
                self.find(&file, 1, "the lines before it were removed");
            } else if first > vouched {
                self.note(
                    &file,
                    1,
                    "the lines before it are gone; that they were old is not under your store's seal",
                );
            }
        }
        let found = head.and_then(Head::parse);
        let [behind, newest] = std::mem::take(&mut self.newest);
        let wrong = match (&found, &newest) {
            (None, None) => head.is_some_and(|text| !text.is_empty()).then_some("it is damaged"),
            (None, Some(_)) => Some("it is missing or damaged"),
            (Some(_), None) => Some("all lines were removed"),
            (Some(head), Some(newest)) => {
                let agrees = *newest == head.newest || behind.as_ref() == Some(&head.newest);
                if newest.number < head.newest.number {
                    Some("the newest lines were removed")
                } else {
                    (!agrees).then_some("the newest line is not the one that was written last")
                }
            }
        };
        if let Some(what) = wrong {
            self.find(HEAD, 0, what);
        }
        if let (Some(head), Some(_)) = (found, newest) {
            self.marks(&head);
        }
        if self.key.is_some() && self.report.lines == 0 && self.report.findings.is_empty() {
            self.note(HEAD, 0, "there is no line: nothing was written yet, or all was removed");
        }
    }

    /// The marks in `head` hold the sealed lines fast: what they name is there, or went with the
    /// old files.
    fn marks(&mut self, head: &Head) {
        let first = self.first.as_ref().map_or(0, |(_, first)| *first);
        for mark in &head.marks {
            let sealed = self.sealed.get(&mark.key);
            if !sealed.is_some_and(|it| it.contains(&mark.place)) && mark.place.number >= first {
                self.find(HEAD, 0, "the newest line under a key was removed or rewritten");
            }
        }
        let (Some(key), Some(id)) = (self.key, self.key_id.clone()) else { return };
        match head.mark(&id) {
            Some(mark) if mark.is_of(key) => {}
            Some(_) => self.find(HEAD, 0, "the mark of your store's key is not what was sealed"),
            None => self.find(HEAD, 0, "no line is marked as sealed with your store's key"),
        }
    }
}
