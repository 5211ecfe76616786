//! Clients' files on the disk: read with care, replaced whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Larger files are no configuration.
const LARGEST: u64 = 32 * 1024 * 1024;
/// As many backups are looked at for an earlier text.
const MOST_EARLIER: usize = 20;
/// What the name of a backup has behind that of the file.
const BACKUP: &str = ".layer-mcp-backup-";

/// Why a file is left alone.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("`{}` is no file, so nothing was changed", .0.display())]
    NotAFile(PathBuf),
    #[error("`{}` is a link to something that does not exist, so nothing was changed", .0.display())]
    Dangling(PathBuf),
    #[error("`{}` is larger than {} MiB, so nothing was changed", .0.display(), LARGEST / 1024 / 1024)]
    TooLarge(PathBuf),
    #[error("`{}` is not text in UTF-8, so nothing was changed", .0.display())]
    NotText(PathBuf),
    #[error("`{}` is write-protected, so nothing was changed", .0.display())]
    Protected(PathBuf),
    #[error("`{}` belongs to another user, so nothing was changed", .0.display())]
    NotYours(PathBuf),
    #[error("`{}` was changed by another program at the same moment, so nothing was changed", .0.display())]
    Changed(PathBuf),
    #[error("`{}` can't be {action}: {source}; nothing was changed", .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl FileError {
    /// What to do about it.
    pub(super) fn next_step(&self) -> &'static str {
        match self {
            Self::NotAFile(_) | Self::Dangling(_) => "Move it away, then try again.",
            Self::TooLarge(_) => "Look whether it is the right file.",
            Self::NotText(_) => "Store it as UTF-8, then try again.",
            Self::Protected(_) => {
                "If a tool of yours makes the file, add the entry there (`--print` shows it); \
                 otherwise make it writable."
            }
            Self::NotYours(_) => "Run the command as that user.",
            Self::Changed(_) => "Run the command again.",
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "Free some space, then try again."
                }
                _ => "Correct that, or add the entry by hand: `--print` shows it.",
            },
        }
    }
}

/// The right to read files and to write what follows from them, among all processes of this user,
/// for as long as it is kept. Where there are no such locks, nobody waits.
pub(super) fn turn(home: &Path) -> Option<File> {
    let home = File::open(home).ok()?;
    #[cfg(unix)]
    rustix::fs::flock(&home, rustix::fs::FlockOperation::LockExclusive).ok()?;
    Some(home)
}

/// A file as it is now.
#[derive(Debug)]
pub(super) struct Present {
    /// Where it really lies, behind links.
    path: PathBuf,
    /// What is in it.
    pub(super) text: String,
    permissions: Permissions,
}

/// Reads a file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Present>, FileError> {
    let failed = |source| FileError::Io { action: "read", path: path.to_owned(), source };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_link = fs::symlink_metadata(path).is_ok_and(|facts| facts.is_symlink());
            return if is_link { Err(FileError::Dangling(path.to_owned())) } else { Ok(None) };
        }
        Err(error) => return Err(failed(error)),
    };
    // Before it is opened: a pipe would keep the program waiting.
    if !fs::metadata(&real).map_err(failed)?.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let file = File::open(&real).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if facts.len() > LARGEST {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| FileError::NotText(path.to_owned()))?;
    Ok(Some(Present { path: real, text, permissions: facts.permissions() }))
}

/// Texts that the file had before changes of this program, the newest first.
pub(super) fn earlier(present: &Present) -> Vec<String> {
    let mut found: Vec<PathBuf> = backups(&present.path);
    found.sort();
    let texts = found.into_iter().rev().take(MOST_EARLIER);
    texts.filter_map(|path| Some(read(&path).ok()??.text)).collect()
}

fn backups(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|it| it.to_str()))
    else {
        return Vec::new();
    };
    let begin = format!("{name}{BACKUP}");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|it| it.starts_with(&begin)))
        .map(|entry| entry.path())
        .collect()
}

/// Puts a text in the place of a file, or removes it. What was there is kept beside it, and the
/// path of that is given back.
pub(super) fn replace(
    path: &Path,
    before: Option<&Present>,
    after: Option<&str>,
    private: bool,
    now: &jiff::Zoned,
) -> Result<Option<PathBuf>, FileError> {
    let real = before.map_or(path, |present| present.path.as_path());
    let failed = |action| move |source| FileError::Io { action, path: path.to_owned(), source };
    let folder = real.parent().unwrap_or(Path::new("."));
    if let Some(present) = before {
        if present.permissions.readonly() {
            return Err(FileError::Protected(path.to_owned()));
        }
        is_still(path, Some(present))?;
    } else {
        fs::create_dir_all(folder).map_err(failed("made"))?;
    }
    let new = after.map(|after| Unfinished::write(real, after, before, private)).transpose();
    let new = new.map_err(|source| owner_or(source, path, "written"))?;
    let backup = before.map(|present| back_up(present, now)).transpose();
    let backup = backup.map_err(|source| owner_or(source, path, "kept in a backup"))?;
    let put = is_still(path, before).and_then(|()| match new {
        Some(new) => new.put(before.is_some()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => FileError::Changed(path.to_owned()),
            _ => failed("replaced")(error),
        }),
        None => fs::remove_file(real).map_err(failed("removed")),
    });
    if let Err(error) = put {
        if let Some(backup) = &backup {
            let _ = fs::remove_file(backup);
        }
        return Err(error);
    }
    // The new name is on the disk once the folder is; where folders can't be synced, it is theirs.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(backup)
}

fn owner_or(source: io::Error, path: &Path, action: &'static str) -> FileError {
    match source.get_ref() {
        Some(inner) if inner.is::<OtherOwner>() => FileError::NotYours(path.to_owned()),
        _ => FileError::Io { action, path: path.to_owned(), source },
    }
}

/// Whether the file is as it was read.
fn is_still(path: &Path, before: Option<&Present>) -> Result<(), FileError> {
    let now = read(path)?;
    let same = match (&now, before) {
        (None, None) => true,
        (Some(now), Some(before)) => now.text == before.text && now.path == before.path,
        _ => false,
    };
    if same { Ok(()) } else { Err(FileError::Changed(path.to_owned())) }
}

fn back_up(present: &Present, now: &jiff::Zoned) -> io::Result<PathBuf> {
    let stamp = now.strftime("%Y%m%d-%H%M%S");
    let name = present.path.file_name().unwrap_or_default().to_string_lossy();
    // Several in a second have numbers, which sort behind it.
    for number in 0..100 {
        let number = if number == 0 { String::new() } else { format!("-{number:02}") };
        let backup = present.path.with_file_name(format!("{name}{BACKUP}{stamp}{number}"));
        match create(&backup, &present.text, Some(present), true) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error);
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Creates a file that must not exist yet, with the permissions and the owner of another where
/// there is one. Nothing is left of it when that fails.
fn create(path: &Path, text: &str, like: Option<&Present>, private: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private || like.is_some() {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    let mut file = options.open(path)?;
    let filled = (|| {
        file.write_all(text.as_bytes())?;
        if let Some(like) = like {
            take_after(&file, like)?;
        }
        file.sync_all()
    })();
    if filled.is_err() {
        let _ = fs::remove_file(path);
    }
    filled
}

#[derive(Debug, thiserror::Error)]
#[error("the owner can't be kept")]
struct OtherOwner;

fn take_after(file: &File, like: &Present) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (ours, theirs) = (file.metadata()?, fs::metadata(&like.path)?);
        if (ours.uid(), ours.gid()) != (theirs.uid(), theirs.gid()) {
            let uid = rustix::process::Uid::from_raw(theirs.uid());
            let gid = rustix::process::Gid::from_raw(theirs.gid());
            let kept = rustix::fs::fchown(file, Some(uid), Some(gid));
            // A group that this user is not in is lost; another owner would be a loss of access.
            if kept.is_err() && ours.uid() != theirs.uid() {
                return Err(io::Error::other(OtherOwner));
            }
        }
    }
    file.set_permissions(like.permissions.clone())
}

/// A text beside the file whose place it is to take. Gone when it does not.
struct Unfinished {
    at: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Unfinished {
    fn write(target: &Path, text: &str, like: Option<&Present>, private: bool) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let at = target.with_file_name(format!(".{name}.layer-mcp-{}", std::process::id()));
        // Of a process of this number that was killed.
        let _ = fs::remove_file(&at);
        create(&at, text, like, private)?;
        Ok(Self { at, target: target.to_owned(), done: false })
    }

    /// In the place of what is there; where nothing was there, nothing may be.
    fn put(mut self, over: bool) -> io::Result<()> {
        if over {
            fs::rename(&self.at, &self.target)?;
            self.done = true;
            return Ok(());
        }
        match fs::hard_link(&self.at, &self.target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            // Not every file system has links.
            Err(_) => {
                fs::rename(&self.at, &self.target)?;
                self.done = true;
                Ok(())
            }
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.at);
        }
    }
}
