//! The audit trail: who was let in, what was asked of Layer, what was bought, which files were
//! touched, what was refused. Facts only: no bodies, no prompts, no full addresses, no tokens.
//!
//! One JSON object a line, in one file a day (UTC) in `<home>/audit`, mode 0600. Each line names
//! the SHA-256 of the line before it (`prev`), and once the credential store is open it carries an
//! HMAC-SHA-256 under the store's audit key (`mac`), so that [`verify`] finds what was edited,
//! removed or reordered. `head` holds number and hash of the newest line, so that its removal is
//! found as well.
//!
//! A program that runs as the same user can read the audit key and write a whole new trail; the
//! chain is no defence against that.

mod line;
mod verify;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};

pub use line::SealKey;
pub use verify::{Finding, Report, Sealing, read_lines, verify};

use crate::redact::{Redactor, clean_line};
use line::{Head, Link};

/// All files together may be so large; then the oldest go, whatever their age.
const MOST_BYTES: u64 = 50 * 1024 * 1024;
/// How long a writer waits for another process.
const PATIENCE: Duration = Duration::from_secs(2);
/// No value in a line is longer.
const LONGEST_VALUE: usize = 300;
/// A line is never longer, so that the last one is found in so many bytes.
const LONGEST_LINE: u64 = 16 * 1024;
const LOCK: &str = ".lock";
const HEAD: &str = "head";

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
    /// Whether a failure was reported already.
    reported: bool,
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

    /// Writes a line without which the work it is about must not go on.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the line is not on its way to the disk.
    pub fn record(&self, event: Event) -> Result<(), AuditError> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let mut state = inner.state();
        inner.append(&mut state, event).map_err(|source| {
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

    /// Writes a line about work that goes on whether or not it can be written. A failure is in
    /// the log, once.
    pub fn note(&self, event: Event) {
        let _ = self.record(event);
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

    fn append(&self, state: &mut State, event: Event) -> io::Result<()> {
        make_private_folder(&self.folder)?;
        let _lock = self.lock()?;
        let now = (self.now)();
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let newest = days_of(&self.folder)?.last().copied();
        // A clock that was set back must not put a line before older ones.
        let day = newest.map_or(today, |newest| newest.max(today));
        self.write(state, day, now, newest, event)?;
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
    ) -> io::Result<()> {
        let mut head = open_private(&self.folder.join(HEAD), false)?;
        let mut text = String::new();
        // What is no head is as good as none: then the last line counts.
        let _ = head.read_to_string(&mut text);
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
        let line = link.line(now, &self.session, event.name, fields, state.key.as_ref());
        // The writer before was killed within a line: its rest stays, as a line of its own.
        let gap = if ends_within_a_line(&path)? { "\n" } else { "" };
        if let Err(error) = file.write_all(format!("{gap}{}\n", line.text).as_bytes()) {
            // Half a line is worse than none.
            let _ = file.set_len(length);
            return Err(error);
        }
        head.seek(SeekFrom::Start(0))?;
        head.write_all(line.head(state.key.as_ref()).as_bytes())
    }

    /// Deletes whole files that are too old or too many, and says so in a line.
    fn sweep(&self, state: &State, today: Date, now: Timestamp) -> io::Result<()> {
        let mut kept = days_of(&self.folder)?;
        let size = |day: &Date| fs::metadata(self.file(*day)).map_or(0, |facts| facts.len());
        let mut bytes: u64 = kept.iter().map(size).sum();
        let mut deleted = 0_u32;
        while let Some(oldest) = kept.first().copied() {
            let age = today.since(oldest).map_or(0, |span| span.get_days());
            let old = i64::from(age) >= i64::from(self.days) || bytes > MOST_BYTES;
            if oldest == today || !old {
                break;
            }
            bytes = bytes.saturating_sub(size(&oldest));
            fs::remove_file(self.file(oldest))?;
            kept.remove(0);
            deleted += 1;
        }
        if deleted == 0 {
            return Ok(());
        }
        let first = kept.first().map(|day| first_number(&self.file(*day))).transpose()?.flatten();
        let event =
            Event::new("audit.retention").with("files", deleted).with_some("kept_from", first);
        self.write(state, today, now, kept.last().copied(), event)
    }

    fn file(&self, day: Date) -> PathBuf {
        self.folder.join(format!("{day}.jsonl"))
    }

    fn safe(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                Value::String(clean_line(&self.redactor.redact(&text), LONGEST_VALUE))
            }
            other => other,
        }
    }

    fn lock(&self) -> io::Result<File> {
        let file = open_private(&self.folder.join(LOCK), false)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => {
                    return Err(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        "another process holds its lock",
                    ));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

/// The days that have a file, from the oldest on.
fn days_of(folder: &Path) -> io::Result<Vec<Date>> {
    let mut days = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let day = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        days.extend(day.and_then(|day| day.parse::<Date>().ok()));
    }
    days.sort_unstable();
    Ok(days)
}

/// The last line of a file, or what there is of it.
fn last_line(path: &Path) -> io::Result<Option<String>> {
    let mut file = open_readable(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LINE)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next_back().map(str::to_owned))
}

fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    let mut file = open_readable(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn first_number(path: &Path) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    open_readable(path)?.take(LONGEST_LINE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().and_then(line::number))
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn open_private(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).create(true);
    if append {
        options.append(true)
    } else {
        options.write(true).truncate(false)
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    only_a_file(options.open(path)?)
}

/// Opens a file of the trail for reading. A pipe in its place does not hang.
fn open_readable(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    only_a_file(options.open(path)?)
}

fn only_a_file(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

/// All of a file; what is not UTF-8 in it is replaced, and so can't be what was sealed.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open_readable(path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
