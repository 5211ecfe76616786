//! The trail's folder and files: private, one's own, and no links.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;

use super::line;

/// A line is never longer, so that the last one is found in so many bytes.
const LONGEST_LINE: u64 = 16 * 1024;
const LOCK: &str = ".lock";

/// The day (UTC) on which a file of the trail takes what is written now.
pub(super) fn day_of(time: Timestamp) -> Date {
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}

pub(super) fn file_name(day: Date) -> String {
    format!("{day}.jsonl")
}

/// The days that have a file with something in it, from the oldest on.
pub(super) fn days_of(folder: &Path) -> io::Result<Vec<Date>> {
    let mut days = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let day = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        let day = day.and_then(|day| day.parse::<Date>().ok());
        days.extend(day.filter(|day| {
            name.to_str() == Some(&file_name(*day))
                && !entry.metadata().is_ok_and(|facts| facts.is_file() && facts.len() == 0)
        }));
    }
    days.sort_unstable();
    Ok(days)
}

/// Keeps other processes out of the folder.
pub(super) fn lock(folder: &Path, patience: Duration) -> io::Result<File> {
    let file = open_private(&folder.join(LOCK), false)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "another process holds its lock",
                ));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The last line of a file, or what there is of it.
pub(super) fn last_line(path: &Path) -> io::Result<Option<String>> {
    let mut file = open_readable(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LINE)))?;
    let mut bytes = Vec::new();
    file.take(LONGEST_LINE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.rsplit('\n').next().map(str::to_owned))
}

pub(super) fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    let mut file = open_readable(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

pub(super) fn first_number(path: &Path) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    open_readable(path)?.take(LONGEST_LINE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().and_then(line::number))
}

/// All of a file, unless it has more than `most` bytes. What is not UTF-8 in it is replaced, and
/// so can't be what was sealed.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<Option<String>> {
    let file = open_readable(path)?;
    if file.metadata()?.len() > most {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Makes the folder, or closes it to others where it was open to them.
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    match check_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(path)
        }
        checked => checked.and_then(|()| close_to_others(path, &fs::symlink_metadata(path)?)),
    }
}

/// A folder of this user, and no link to one.
pub(super) fn check_folder(path: &Path) -> io::Result<()> {
    let facts = fs::symlink_metadata(path)?;
    if facts.is_symlink() {
        return Err(io::Error::other("it is a link"));
    }
    if !facts.is_dir() {
        return Err(io::Error::other("it is no folder"));
    }
    is_mine(&facts)
}

pub(super) fn open_private(path: &Path, append: bool) -> io::Result<File> {
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
    let file = options.open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    is_mine(&facts)?;
    has_one_name(&facts)?;
    close_to_others(path, &facts)?;
    Ok(file)
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
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

#[cfg(unix)]
fn is_mine(facts: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if facts.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"))
}

#[cfg(unix)]
fn has_one_name(facts: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if facts.nlink() <= 1 { Ok(()) } else { Err(io::Error::other("it has a second name")) }
}

/// Where the file system keeps no modes there is nothing to close.
#[cfg(unix)]
fn close_to_others(path: &Path, facts: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = facts.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))?;
    tracing::warn!(path = %path.display(), "a part of the audit trail was open to others; it is closed now");
    Ok(())
}

#[cfg(not(unix))]
fn is_mine(_facts: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn has_one_name(_facts: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_path: &Path, _facts: &Metadata) -> io::Result<()> {
    Ok(())
}
