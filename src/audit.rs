//! The audit trail: who was let in, what was asked of Layer, what was bought, which files were
//! touched, what was refused. Facts only: no bodies, no prompts, no full addresses, no tokens.
//!
//! One JSON object a line, in one file a day (UTC) in `<home>/audit`, mode 0600. Each line names
//! the SHA-256 of the line before it (`prev`), and once the credential store is open it carries an
//! HMAC-SHA-256 under the store's audit key (`mac`), so that [`verify`] finds what was edited,
//! removed or reordered. `head` holds number and hash of the newest line, so that its removal is
//! found as well, and for each key a sealed mark of the newest line under it; a sealed line names
//! the one that its key sealed before (`after`, unless it is the line before it). So a trail that
//! was written anew without the key is found too, and its next sealed line covers nothing up.
//!
//! A program that runs as the same user can read the audit key and write a whole new trail; the
//! chain is no defence against that, nor against an earlier copy of the whole folder.

mod line;
mod place;
mod verify;

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};

pub use line::SealKey;
pub use verify::{Finding, Report, Sealing, read_lines, verify};

use crate::redact::{Redactor, clean_line};
use line::{Head, Link, Role};
use place::{
    day_of, days_of, ends_within_a_line, file_name, first_number, last_line, lock,
    make_private_folder, open_private,
};

/// All files together may be so large; then the oldest go, whatever their age.
const MOST_BYTES: u64 = 50 * 1024 * 1024;
/// How long a writer waits for another process.
const PATIENCE: Duration = Duration::from_secs(2);
/// No value in a line is longer.
const LONGEST_VALUE: usize = 300;
/// For so long after a vain wait nobody but a purchase waits again.
const NO_WAIT: Duration = Duration::from_secs(60);
const HEAD: &str = "head";
/// What is larger is no head of ours, in bytes.
const LARGEST_HEAD: u64 = 1024 * 1024;

/// Something that happened, as a line of the trail will say it.
#[derive(Debug, Clone)]
pub struct Event {
    name: &'static str,
    fields: Map<String, Value>,
}

impl Event {
    /// An event such as `api.request`; events about attacks and mistakes with secrets begin with
    /// `security.`.
    pub fn new(name: &'static str) -> Self {
        Self { name, fields: Map::new() }
    }

    /// With one more fact. Text is redacted, cleaned and cut when it is written.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// With one more fact, where there is one.
    #[must_use]
    pub fn with_some(self, field: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }
}

/// The trail can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the audit trail in `{folder}` can't be written: {source}", folder = folder.display())]
pub struct AuditError {
    folder: PathBuf,
    source: io::Error,
}

/// Writes the trail of one process. Cheap to clone.
#[derive(Clone)]
pub struct AuditTrail {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    folder: PathBuf,
    days: u32,
    /// Tells processes apart, also when their ids are used again.
    session: String,
    redactor: Redactor,
    now: fn() -> Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    key: Option<SealKey>,
    /// The day on which old files were last looked for.
    swept: Option<Date>,
    /// Whether this process has written to the folder.
    begun: bool,
    /// Whether a failure was reported already.
    reported: bool,
    /// When another process was last waited for in vain.
    waited: Option<Instant>,
}

impl AuditTrail {
    /// A trail in this folder, kept for so many days. Touches nothing yet.
    pub fn new(folder: PathBuf, days: u32, redactor: Redactor, now: fn() -> Timestamp) -> Self {
        let session = format!("{:016x}", rand::random::<u64>());
        let state = Mutex::default();
        Self { inner: Some(Arc::new(Inner { folder, days, session, redactor, now, state })) }
    }

    /// A trail that is kept nowhere, for uses of the library that need none.
    pub fn nowhere() -> Self {
        Self { inner: None }
    }

    /// Seals every line from now on with the store's audit key.
    pub fn seal_with(&self, key: &[u8; 32]) {
        if let Some(inner) = &self.inner {
            inner.state().key = Some(SealKey::new(key));
        }
    }

    /// The same with a key that was just made: its first line says so.
    pub fn seal_with_new(&self, key: &[u8; 32]) {
        self.seal_with(key);
        self.note(Event::new(line::NEW_KEY));
    }

    /// Writes a line without which the work it is about must not go on.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the line is not on its way to the disk.
    pub fn record(&self, event: Event) -> Result<(), AuditError> {
        self.append(event, true)
    }

    /// Writes a line about work that goes on whether or not it can be written. A failure is in
    /// the log, once.
    pub fn note(&self, event: Event) {
        let _ = self.append(event, false);
    }

    /// Writes the last line under the key that seals now: its store is erased.
    pub fn end_key(&self, event: Event) {
        let role = Role { ends_key: true, ..Role::default() };
        let _ = self.append_as(event, false, role);
        if let Some(inner) = &self.inner {
            inner.state().key = None;
        }
    }

    fn append(&self, event: Event, needed: bool) -> Result<(), AuditError> {
        self.append_as(event, needed, Role::default())
    }

    fn append_as(&self, event: Event, needed: bool, role: Role) -> Result<(), AuditError> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let mut state = inner.state();
        inner.append(&mut state, event, needed, role).map_err(|source| {
            let error = AuditError { folder: inner.folder.clone(), source };
            if !state.reported {
                state.reported = true;
                tracing::error!(%error, "nothing is bought until it can be");
            }
            error
        })?;
        state.reported = false;
        Ok(())
    }
}

impl fmt::Debug for AuditTrail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AuditTrail(...)")
    }
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, state: &mut State, event: Event, needed: bool, role: Role) -> io::Result<()> {
        // A home that was moved or removed meanwhile is not made again: it could not be put back.
        if state.begun && !self.folder.parent().is_none_or(|home| home.is_dir()) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the folder above it is gone"));
        }
        make_private_folder(&self.folder)?;
        let in_vain = state.waited.is_some_and(|waited| waited.elapsed() < NO_WAIT);
        let patience = if in_vain && !needed { Duration::ZERO } else { PATIENCE };
        let locked = lock(&self.folder, patience);
        if locked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            state.waited = Some(Instant::now());
        }
        let _lock = locked?;
        state.waited = None;
        let now = (self.now)();
        let newest = days_of(&self.folder)?.last().copied();
        // A clock that was set back must not put a line before older ones.
        let day = newest.map_or(day_of(now), |newest| newest.max(day_of(now)));
        self.write(state, day, now, newest, event, role)?;
        state.begun = true;
        if state.swept != Some(day) {
            state.swept = Some(day);
            self.sweep(state, day, now)?;
        }
        Ok(())
    }

    /// Writes one line behind the newest, under the lock.
    fn write(
        &self,
        state: &State,
        day: Date,
        now: Timestamp,
        newest: Option<Date>,
        event: Event,
        role: Role,
    ) -> io::Result<()> {
        let mut head = open_private(&self.folder.join(HEAD), false)?;
        let mut text = String::new();
        // What is no head is as good as none: then the last line counts.
        let _ = (&mut head).take(LARGEST_HEAD).read_to_string(&mut text);
        let last = match newest {
            Some(newest) => last_line(&self.file(newest))?,
            None => None,
        };
        let link = Link::after(Head::parse(&text), last.as_deref());
        let path = self.file(day);
        let mut file = open_private(&path, true)?;
        let length = file.metadata()?.len();
        let mut fields = Map::new();
        for (name, value) in event.fields {
            fields.insert(name, self.safe(value));
        }
        let role = Role { opens: length == 0, ..role };
        let line = link.line(now, &self.session, event.name, fields, state.key.as_ref(), role);
        // The writer before was killed within a line: its rest stays, as a line of its own.
        let gap = if ends_within_a_line(&path)? { "\n" } else { "" };
        if let Err(error) = file.write_all(format!("{gap}{}\n", line.text).as_bytes()) {
            // Half a line is worse than none.
            let _ = file.set_len(length);
            return Err(error);
        }
        head.seek(SeekFrom::Start(0))?;
        head.write_all(line.head.as_bytes())?;
        head.set_len(u64::try_from(line.head.len()).unwrap_or(u64::MAX))
    }

    /// Deletes whole files that are too old or too many, and says so in a line. Nothing is deleted
    /// from a trail in which something is wrong: that would take the evidence away.
    fn sweep(&self, state: &State, today: Date, now: Timestamp) -> io::Result<()> {
        let mut kept = days_of(&self.folder)?;
        let size = |day: &Date| fs::metadata(self.file(*day)).map_or(0, |facts| facts.len());
        let mut bytes: u64 = kept.iter().map(size).sum();
        let mut deleted = Vec::new();
        while let Some(oldest) = kept.first().copied() {
            let age = today.since(oldest).map_or(0, |span| span.get_days());
            let old = i64::from(age) >= i64::from(self.days) || bytes > MOST_BYTES;
            if oldest == today || !old {
                break;
            }
            bytes = bytes.saturating_sub(size(&oldest));
            deleted.push(kept.remove(0));
        }
        if deleted.is_empty() {
            return Ok(());
        }
        if !verify::walk(&self.folder, state.key.as_ref())?.findings.is_empty() {
            tracing::warn!(
                "something is wrong with the audit trail, so its old files stay: \
                 `layer-mcp audit --verify`"
            );
            return Ok(());
        }
        // Said first: whoever is killed in between has deleted less than was said, and not more.
        let first = kept.first().map(|day| first_number(&self.file(*day))).transpose()?.flatten();
        let event = Event::new("audit.retention")
            .with("files", deleted.len())
            .with_some("kept_from", first);
        self.write(state, today, now, kept.last().copied(), event, Role::default())?;
        for day in &deleted {
            fs::remove_file(self.file(*day))?;
        }
        Ok(())
    }

    fn file(&self, day: Date) -> PathBuf {
        self.folder.join(file_name(day))
    }

    fn safe(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                Value::String(clean_line(&self.redactor.redact(&text), LONGEST_VALUE))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
