//! The log: one line per event, to stderr and to a file in the home, through the redactor.
//!
//! Client applications keep what a server writes to stderr, so stderr counts as disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::redact::{Redactor, clean_line};

/// A file is renamed to `.1` at this size, and so on.
const FULL: u64 = 5 * 1024 * 1024;
/// How many full files are kept.
const KEPT: u32 = 4;
/// The longest line; an event is never worth more.
const LONGEST_LINE: usize = 4_000;
const NAME: &str = "layer-mcp.log";
/// For so long a full stderr is waited for; whoever does not read it loses lines from then on.
#[cfg(unix)]
const PATIENCE: rustix::event::Timespec =
    rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A pipe that has room takes so many bytes without making anybody wait: `PIPE_BUF` is at least
/// that much (POSIX).
const PIECE: usize = 512;

/// The target of our own events. Libraries would log whole requests, with their prompts and
/// tokens, so that nothing below a warning is taken from them.
const OURS: &str = "layer_mcp";

/// Starts logging. `to_stderr` is the filter of what people see at once, `to_file` of what is
/// kept; the file is made at the first line. A filter that can't be read counts as `info`.
pub fn start(folder: &Path, to_stderr: &str, to_file: &str, redactor: &Redactor) {
    let stderr = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Sink::new(Out::Stderr(Stderr::default()), redactor))
        .with_filter(filter(to_stderr));
    let file = fmt::layer()
        .with_ansi(false)
        .with_writer(Sink::new(Out::File(LogFile::new(folder)), redactor))
        .with_filter(filter(to_file));
    // A second start, as in tests of one process, changes nothing.
    let _ = tracing_subscriber::registry().with(stderr).with(file).try_init();
    quiet_panics();
}

fn filter(wanted: &str) -> Targets {
    let wanted: Targets =
        wanted.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let level = wanted.default_level().unwrap_or(LevelFilter::WARN);
    let ours = wanted.iter().filter(|(target, _)| {
        target.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(OURS, level)
        .with_targets(ours)
}

/// A panic's payload may hold anything; where it happened is enough.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a mistake in layer-mcp broke off some work");
    }));
}

/// One place that lines go to.
#[derive(Clone)]
struct Sink {
    out: Arc<Mutex<Out>>,
    redactor: Redactor,
}

enum Out {
    Stderr(Stderr),
    File(LogFile),
}

/// Standard error, which must never hold up the work: a client may not read it, and a pipe that is
/// full would stop whoever writes the next line, for ever.
#[derive(Default)]
struct Stderr {
    /// Lines that found no room since the last one that did.
    lost: u64,
    /// The last line was cut off.
    within_a_line: bool,
}

impl Stderr {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.lost > 0 && self.has_room() {
            let told = format!("{} lines of the log were not read and are lost\n", self.lost);
            let end = if self.within_a_line { "\n" } else { "" };
            io::stderr().lock().write_all(format!("{end}{told}").as_bytes())?;
            self.lost = 0;
        }
        self.within_a_line = false;
        let pieces = line.chunks(PIECE);
        for (number, piece) in pieces.enumerate() {
            if !self.has_room() {
                self.lost += 1;
                self.within_a_line = number > 0;
                return Ok(());
            }
            io::stderr().lock().write_all(piece)?;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn has_room(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // Whoever lost a line already does not wait for the next.
        let patience = if self.lost == 0 { PATIENCE } else { Timespec { tv_sec: 0, tv_nsec: 0 } };
        let stderr = io::stderr();
        let mut ends = [PollFd::new(&stderr, PollFlags::OUT)];
        // What can't be asked is written to as ever.
        poll(&mut ends, Some(&patience)).map_or(true, |ready| ready > 0)
    }

    #[cfg(not(unix))]
    fn has_room(&self) -> bool {
        true
    }
}

impl Sink {
    fn new(out: Out, redactor: &Redactor) -> Self {
        Self { out: Arc::new(Mutex::new(out)), redactor: redactor.clone() }
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { sink: self, text: Vec::new() }
    }
}

/// One event, gathered until it is whole, so that no secret is split and no value starts a line.
struct Line<'a> {
    sink: &'a Sink,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let safe = self.sink.redactor.redact(text.trim_end());
        let line = format!("{}\n", clean_line(&safe, LONGEST_LINE));
        let mut out = self.sink.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that can't be written must not stop the work it is about.
        let _ = match &mut *out {
            Out::Stderr(stderr) => stderr.append(line.as_bytes()),
            Out::File(file) => file.append(line.as_bytes()),
        };
    }
}

/// The file, opened at the first line, renamed when it is full.
struct LogFile {
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl LogFile {
    fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME), open: None }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, size)| *size > FULL) {
            self.open = None;
            self.make_room();
        }
        if self.open.is_none() {
            let file = open_private(&self.path)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        if let Some((file, size)) = &mut self.open {
            // One write of a file opened for appending: processes don't mix their lines.
            file.write_all(line)?;
            *size += line.len() as u64;
        }
        Ok(())
    }

    fn make_room(&self) {
        // Another process may have done it meanwhile.
        if fs::metadata(&self.path).is_ok_and(|now| now.len() <= FULL) {
            return;
        }
        let numbered = |number: u32| self.path.with_extension(format!("log.{number}"));
        let _ = fs::remove_file(numbered(KEPT));
        for number in (1..KEPT).rev() {
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        let _ = fs::rename(&self.path, numbered(1));
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    #[cfg(not(unix))]
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed unwrap is a failed test"
    )]

    use super::*;

    #[test]
    fn an_event_is_one_line_without_secrets_or_escapes() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::new(Out::File(LogFile::new(folder.path())), &Redactor::new());
        let token = format!("pat_{}", "a1B2".repeat(8));
        let subscriber =
            tracing_subscriber::registry().with(fmt::layer().with_ansi(false).with_writer(sink));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("first\nsecond \u{1b}[31mred {token}");
            tracing::info!(prompt = "line\u{2028}break", "more");
        });
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(&token) && text.contains("pat_a1B2"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn libraries_tell_nothing_below_a_warning() {
        use tracing::Level;
        for (wanted, ours, library) in [
            ("info", Some(Level::INFO), Some(Level::WARN)),
            ("trace", Some(Level::TRACE), Some(Level::WARN)),
            ("error", Some(Level::ERROR), Some(Level::ERROR)),
            ("off", None, None),
            ("trace,reqwest=trace,hyper=debug", Some(Level::TRACE), Some(Level::WARN)),
            ("layer_mcp=debug", Some(Level::DEBUG), Some(Level::WARN)),
            ("warn,layer_mcp::layer=trace", Some(Level::TRACE), Some(Level::WARN)),
            ("no such = filter", Some(Level::INFO), Some(Level::WARN)),
        ] {
            let filter = filter(wanted);
            let most = |target: &str| {
                [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR]
                    .into_iter()
                    .find(|level| filter.would_enable(target, level))
            };
            assert_eq!(most("layer_mcp::layer::http"), ours, "{wanted}");
            for target in ["reqwest::connect", "hyper", "zbus::connection"] {
                assert_eq!(most(target), library, "{wanted} {target}");
            }
        }
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_its_words() {
        const FOLDER: &str = "LAYER_MCP_TEST_LOG_FOLDER";
        const THIS: &str = "log::tests::a_panic_is_told_by_its_place_and_not_by_its_words";
        // A hook is the whole process's, so that it is tried in a process of its own.
        if let Some(folder) = std::env::var_os(FOLDER) {
            start(Path::new(&folder), "info", "info", &Redactor::new());
            let _ = std::panic::catch_unwind(|| panic!("the words of {}", "a mistake"));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", THIS, "--nocapture"])
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let log = fs::read_to_string(folder.path().join(NAME)).unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        for text in [&log, &stderr] {
            assert!(text.contains("a mistake in layer-mcp"), "{text}");
            assert!(text.contains("log.rs") && !text.contains("the words"), "{text}");
        }
    }

    #[test]
    fn a_full_file_makes_room_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path());
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..40 {
            log.append(&line).unwrap();
        }
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len() as u32, KEPT + 1);
        for entry in names {
            assert!(entry.unwrap().metadata().unwrap().len() <= FULL + 1024 * 1024);
        }
    }
}
