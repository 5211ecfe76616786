//! Files: where assets may lie, how they get there whole, and what they are.
//!
//! - [`OutputDir`]: the one folder that is written to, held open as a handle
//! - [`SaveTo`], [`Target`], [`slug`] (`name`): which names are allowed, and who gets which
//! - [`IncomingFile`] (`incoming`): bytes on their way in; a temporary file, then one rename
//! - [`MediaType`] (`media`): what bytes are, whatever they are called
//! - [`Outgoing`] (`outgoing`): a file on its way out, without its `metadata`
//! - [`Matches`] (`pattern`): the files that `art/**/*.png` stands for
//! - [`OutputDir::continuations`] (`listing`): what a path being typed may go on with
//! - `measure`: pixels, seconds, transparency
//! - [`preview()`] (`preview`): a small picture made anew
//! - [`FileError`] (`error`): what went wrong and what to do
//!
//! Invariants. Nothing is ever replaced or written outside the folder: every access goes
//! through the folder's handle, so a link that leads out, or is put there in between, is
//! refused by the access itself and not by a check before it. A [`SavedFile`] describes what
//! was read back from the disk. Nothing here reads the environment or the clock, and
//! everything blocks: call it from `spawn_blocking`.

use std::{
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, File, OpenOptions},
};
use serde::{Deserialize, Serialize, Serializer};

mod error;
mod incoming;
mod listing;
mod measure;
mod media;
mod metadata;
mod name;
mod outgoing;
mod path;
mod pattern;
mod preview;
#[cfg(test)]
mod samples;
mod slug;
mod whole;

pub use error::{DiskTrouble, FileError};
pub use incoming::IncomingFile;
pub use measure::{MAX_DECODED_BYTES, MAX_PIXELS};
pub use media::{HEAD_BYTES, MediaKind, MediaType};
pub use name::{DEFAULT_FOLDER, Refusal, SaveTo, Target};
pub use outgoing::Outgoing;
pub use pattern::{MOST_LOOKED_AT, Matches, is_pattern};
pub use preview::{Preview, PreviewLimits, preview, preview_of};
pub use slug::slug;

use error::{shown, shown_path};
use name::Wish;

/// The usual `limit` of [`OutputDir::begin`]: 512 MiB.
pub const DOWNLOAD_LIMIT: u64 = 512 * 1024 * 1024;

/// The folder that assets may be written to and read from, held open.
///
/// Cheap to clone; clones share the handle. If the folder is moved while it is open, the
/// handle moves with it, and saving then fails when the file is not found under its path.
#[derive(Debug, Clone)]
pub struct OutputDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The same place with every link resolved.
    real: PathBuf,
    dir: Dir,
}

/// A file that is being written was touched later than this.
const UNTOUCHED: Duration = Duration::from_secs(5);

impl OutputDir {
    /// Opens the folder at `path` for writing, and creates what is missing of it. Writes and
    /// removes a small file to see that it can.
    ///
    /// # Errors
    /// [`FileError::Folder`] for a relative path, the root of a disk, a folder of the system,
    /// a folder of keys (`.ssh`, `.gnupg`, `.layer-mcp`) or a repository's `.git`;
    /// [`FileError::Disk`] when it can't be created, opened or written.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        judge_folder(path, path)?;
        // Before anything is created: a folder above may be a link to a forbidden place.
        let above = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        if let Some((above, real)) = above
            && let Ok(missing) = path.strip_prefix(above)
        {
            judge_folder(path, &real.join(missing))?;
        }
        match std::fs::create_dir_all(path) {
            Ok(()) => {}
            // Something is there; whether it is a folder shows when it is opened.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if path.is_dir() => drop(error),
            Err(error) => {
                return Err(FileError::from_io(&shown_path(path), "create the folder", error));
            }
        }
        let output = Self::open_existing(path)?;
        let probe = incoming::create_part(&output.0.dir)
            .and_then(|(name, _)| output.0.dir.remove_file(name));
        match probe {
            Ok(()) => Ok(output),
            Err(error) => Err(FileError::from_io(&shown_path(path), "write to", error)),
        }
    }

    /// Opens a folder that exists, to read from: no file is written to see whether it could
    /// be.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_existing(path: &Path) -> Result<Self, FileError> {
        judge_folder(path, path)?;
        let failed = |error| FileError::from_io(&shown_path(path), "open the folder", error);
        let real = path.canonicalize().map_err(failed)?;
        judge_folder(path, &real)?;
        let dir = Dir::open_ambient_dir(&real, ambient_authority()).map_err(failed)?;
        // The way it was given is the way to show it, unless it says less than the truth.
        let plain = path.components().all(|part| part != std::path::Component::ParentDir);
        let path = if plain { path.components().collect() } else { real.clone() };
        Ok(Self(Arc::new(Inner { path, real, dir })))
    }

    /// The folder's absolute path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Plans where `count` files go (0 is taken as 1). Touches nothing.
    ///
    /// Without `save_to`, and for folders, names are made of `prompt` by [`slug`]; without
    /// `save_to` the folder is [`DEFAULT_FOLDER`]. A name with an unknown ending that is a
    /// folder on the disk (`knight.v2`) is that folder.
    ///
    /// # Errors
    /// [`FileError::PathRefused`] when an absolute `save_to` lies elsewhere or holds a part
    /// that is not allowed.
    pub fn target(
        &self,
        save_to: Option<&SaveTo>,
        prompt: &str,
        count: u32,
    ) -> Result<Target, FileError> {
        let (mut folder, wish) = match save_to {
            Some(save_to) => save_to.below(&self.roots())?,
            None => (vec![DEFAULT_FOLDER.to_owned()], None),
        };
        let wish = match wish {
            Some(Wish { stem, extension: None })
                if self.0.dir.is_dir(Self::relative(&folder, &stem)) =>
            {
                folder.push(stem);
                None
            }
            wish => wish,
        };
        let count = count.max(1);
        Ok(match wish {
            Some(Wish { stem, extension }) => {
                Target { folder, stem, extension, wished: true, count }
            }
            None => Target { folder, stem: slug(prompt), extension: None, wished: false, count },
        })
    }

    /// Checks, before anything is bought, that `target` can be saved: no link on the way
    /// leads out, no file is in the way of a folder, the disk lets a file be made there.
    /// Creates no folder, and leaves no file.
    ///
    /// # Errors
    /// [`FileError::PathRefused`] or [`FileError::Disk`].
    pub fn check(&self, target: &Target) -> Result<(), FileError> {
        let shown = self.shown(target, "");
        let mut existing = target.folder.as_slice();
        let dir = loop {
            match self.open_folder(existing) {
                Ok(dir) => break dir,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // A dangling link is there and yet not found: no folder can be made of it.
                    let path: PathBuf = existing.iter().collect();
                    if self.0.dir.symlink_metadata(path).is_ok() {
                        return Err(FileError::PathRefused {
                            path: shown,
                            refusal: Refusal::LeadsOut,
                        });
                    }
                    let Some((_, above)) = existing.split_last() else {
                        return Err(FileError::from_io(&shown, "open the folder", error));
                    };
                    existing = above;
                }
                Err(error) => return Err(FileError::from_io(&shown, "open the folder", error)),
            }
        };
        // Some disks take only short names. Asking for one is enough to hear of it.
        let last = target.name(target.count() - 1, target.wished_type().unwrap_or(MediaType::Webp));
        match dir.symlink_metadata(&last) {
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                return Err(FileError::from_io(&self.shown(target, &last), "create", error));
            }
            _ => {}
        }
        incoming::create_part(&dir)
            .and_then(|(name, _)| dir.remove_file(name))
            .map_err(|error| FileError::from_io(&shown, "create a file in", error))
    }

    /// The first place where a file that was asked for by name would meet an existing file,
    /// folder or link: to be asked before anything is bought.
    ///
    /// Looks at every output, as the wished type and as each of `may_be`, the types that the
    /// service may deliver instead. Names made from a prompt never meet anything, because
    /// they are saved by [`IncomingFile::finish_unique`].
    #[must_use]
    pub fn would_clobber(&self, target: &Target, may_be: &[MediaType]) -> Option<PathBuf> {
        if !target.is_wish() {
            return None;
        }
        (0..target.count()).find_map(|index| {
            let types = target.wished_type().into_iter().chain(may_be.iter().copied());
            types.map(|media| target.name(index, media)).find_map(|name| {
                let relative = Self::relative(&target.folder, &name);
                let there = self.0.dir.symlink_metadata(&relative).is_ok();
                there.then(|| self.0.path.join(relative))
            })
        })
    }

    /// Opens a temporary file beside the place of `target`, creating missing folders, for at
    /// most `limit` bytes (and never more than leaves the disk some room).
    ///
    /// # Errors
    /// [`FileError::PathRefused`] when a link leads out or a file is in the way;
    /// [`FileError::Disk`].
    pub fn begin(&self, target: &Target, limit: u64) -> Result<IncomingFile, FileError> {
        let failed =
            |error| FileError::from_io(&self.shown(target, ""), "create the folder", error);
        let mut path = PathBuf::new();
        for part in &target.folder {
            path.push(part);
            match self.0.dir.create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // A read-only disk says so before it says that the folder is there.
                Err(error) if self.0.dir.is_dir(&path) => drop(error),
                Err(error) => return Err(failed(error)),
            }
            self.judge_real(&path).map_err(failed)?;
        }
        let folder = self.open_folder(&target.folder).map_err(failed)?;
        IncomingFile::create(self.clone(), target.clone(), folder, limit)
    }

    /// Saves `bytes` at once: [`begin`](Self::begin), write, and
    /// [`finish_as`](IncomingFile::finish_as) for a wish or
    /// [`finish_unique`](IncomingFile::finish_unique) for a name of our own.
    ///
    /// # Errors
    /// As those.
    pub fn save(&self, target: &Target, index: u32, bytes: &[u8]) -> Result<SavedFile, FileError> {
        let mut incoming = self.begin(target, bytes.len() as u64)?;
        incoming.write(bytes)?;
        if target.is_wish() { incoming.finish_as(index) } else { incoming.finish_unique(index) }
    }

    /// What lies at `path` now: relative to the folder, or absolute inside it.
    ///
    /// # Errors
    /// [`FileError::PathRefused`] for paths outside, hidden ones and all that is no plain
    /// file; [`FileError::NotFound`]; [`FileError::Unsupported`] for a file that is no asset;
    /// [`FileError::Disk`].
    pub fn inspect(&self, path: &str) -> Result<SavedFile, FileError> {
        self.inspect_relative(&self.existing(path)?, None)
    }

    /// Reads a file of at most `max_bytes`, for an upload or a preview. The description is of
    /// exactly these bytes, whatever happens to the file meanwhile.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect), and [`FileError::TooLargeToRead`].
    pub fn read(&self, path: &str, max_bytes: u64) -> Result<(SavedFile, Vec<u8>), FileError> {
        let (path, bytes) = self.bytes(path, max_bytes)?;
        let (shown, len) = (shown_path(&path), bytes.len() as u64);
        let head = bytes.get(..HEAD_BYTES).unwrap_or(&bytes);
        let Some(media) = MediaType::detect(head, len) else {
            return Err(FileError::Unsupported { path: shown, found: media::describe(head) });
        };
        let saved = SavedFile::of(path, &mut Cursor::new(&bytes), media)
            .map_err(|error| FileError::from_read(&shown, error))?;
        Ok((saved, bytes))
    }

    /// How many bytes the file at `path` has.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    pub fn length(&self, path: &str) -> Result<u64, FileError> {
        Ok(self.open_file(&self.existing(path)?)?.1)
    }

    /// The path and the bytes of a file of at most `max_bytes`, whatever they are.
    fn bytes(&self, path: &str, max_bytes: u64) -> Result<(PathBuf, Vec<u8>), FileError> {
        let relative = self.existing(path)?;
        let path = self.0.path.join(&relative);
        let shown = shown_path(&path);
        let too_large = || FileError::TooLargeToRead { path: shown.clone(), limit: max_bytes };
        let (file, len) = self.open_file(&relative)?;
        if len > max_bytes {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| FileError::from_read(&shown, error))?;
        if bytes.len() as u64 > max_bytes { Err(too_large()) } else { Ok((path, bytes)) }
    }

    /// [`preview()`] of the picture at `path`, of at most 256 MiB on the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`preview()`].
    pub fn preview(&self, path: &str, limits: PreviewLimits) -> Result<Preview, FileError> {
        const LARGEST_FILE: u64 = 256 * 1024 * 1024;
        let relative = self.existing(path)?;
        let shown = shown_path(&self.0.path.join(&relative));
        let (file, len) = self.open_file(&relative)?;
        if len > LARGEST_FILE {
            return Err(FileError::TooLargeToRead { path: shown, limit: LARGEST_FILE });
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE)
            .read_to_end(&mut bytes)
            .map_err(|error| FileError::from_read(&shown, error))?;
        preview(&bytes, limits)
    }

    /// Removes what a killed process left in the folder of `target`: files named
    /// `.layer-mcp-<16 hex digits>.part` whose lock nobody holds, or, on disks without locks, last
    /// written at least `older_than` before `now`. Returns how many. Folders are not searched, and
    /// what can't be removed is left.
    pub fn remove_stale_parts(
        &self,
        target: &Target,
        now: SystemTime,
        older_than: Duration,
    ) -> usize {
        let Ok(dir) = self.open_folder(&target.folder) else { return 0 };
        let Ok(entries) = dir.entries() else { return 0 };
        let stale = |entry: &cap_std::fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(cap_std::fs::Metadata::is_file)?;
            let written = metadata.modified().ok()?.into_std();
            let age = now.duration_since(written).ok()?;
            let name = entry.file_name();
            let least = match incoming::is_written(&dir, name.to_str()?) {
                incoming::Lock::Taken => return None,
                // Another machine's lock may not be seen here: a moment of rest is asked for.
                incoming::Lock::Ours => UNTOUCHED,
                incoming::Lock::Unknown => older_than,
            };
            (age >= least.min(older_than)).then_some(())
        };
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(incoming::is_part))
            .filter(|entry| stale(entry).is_some())
            .filter(|entry| dir.remove_file(entry.file_name()).is_ok())
            .count()
    }

    /// `folder` and `name` as one relative path.
    fn relative(folder: &[String], name: &str) -> PathBuf {
        folder.iter().map(String::as_str).chain(Some(name)).collect()
    }

    /// Where `name` of `target` lies, for messages.
    fn shown(&self, target: &Target, name: &str) -> String {
        let mut path = self.0.path.clone();
        path.extend(&target.folder);
        if !name.is_empty() {
            path.push(name);
        }
        shown_path(&path)
    }

    fn roots(&self) -> [&Path; 2] {
        [&self.0.path, &self.0.real]
    }

    /// The path of an existing file below the folder, from what a call gave.
    fn existing(&self, text: &str) -> Result<PathBuf, FileError> {
        let refused = |refusal| FileError::PathRefused { path: shown(text), refusal };
        if text.trim().is_empty() {
            return Err(refused(Refusal::Empty));
        }
        let split = path::split(text).map_err(refused)?;
        let parts = if split.absolute {
            path::strip_root(&split.parts, &self.roots()).ok_or(refused(Refusal::Outside))?
        } else {
            &split.parts
        };
        path::judge_existing(parts).map_err(refused)?;
        if parts.is_empty() {
            return Err(refused(Refusal::NotAFile));
        }
        Ok(parts.iter().collect())
    }

    /// Describes the file at `relative`; its type is looked for unless it is `known`.
    fn inspect_relative(
        &self,
        relative: &Path,
        known: Option<MediaType>,
    ) -> Result<SavedFile, FileError> {
        let path = self.0.path.join(relative);
        let failed = |error| FileError::from_read(&shown_path(&path), error);
        let (mut file, len) = self.open_file(relative)?;
        let media = match known {
            Some(media) => media,
            None => {
                let mut head = Vec::new();
                file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
                MediaType::detect(&head, len).ok_or_else(|| FileError::Unsupported {
                    path: shown_path(&path),
                    found: media::describe(&head),
                })?
            }
        };
        SavedFile::of(path.clone(), &mut file, media).map_err(failed)
    }

    /// Opens a plain file for reading, with its length. Never waits for a pipe's other end.
    fn open_file(&self, relative: &Path) -> Result<(File, u64), FileError> {
        let shown = shown_path(&self.0.path.join(relative));
        let refused = |refusal| FileError::PathRefused { path: shown.clone(), refusal };
        let failed = |error| FileError::from_read(&shown, error);
        self.judge_real(relative).map_err(failed)?;
        if !self.0.dir.metadata(relative).map_err(failed)?.is_file() {
            return Err(refused(Refusal::NotAFile));
        }
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt as _;
            let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
            options.custom_flags(flags.bits().cast_signed());
        }
        let file = self.0.dir.open_with(relative, &options).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            Ok((file, metadata.len()))
        } else {
            Err(refused(Refusal::NotAFile))
        }
    }

    /// Opens a folder below the root; an empty `folder` is the root itself.
    fn open_folder(&self, folder: &[String]) -> io::Result<Dir> {
        if folder.is_empty() {
            return self.0.dir.try_clone();
        }
        let path: PathBuf = folder.iter().collect();
        self.judge_real(&path)?;
        self.0.dir.open_dir(path)
    }

    /// Refuses a path that leads into a hidden part of the folder through a link. That it
    /// does not lead out is the handle's own doing, at every access.
    fn judge_real(&self, relative: &Path) -> io::Result<()> {
        let real = self.0.dir.canonicalize(relative)?;
        let hidden = real.components().any(|part| {
            matches!(part, std::path::Component::Normal(name)
                if name.as_encoded_bytes().starts_with(b"."))
        });
        // Without a system error in it, this becomes `Refusal::LeadsOut`.
        if hidden { Err(io::Error::from(io::ErrorKind::PermissionDenied)) } else { Ok(()) }
    }
}

/// A file as it was found on the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SavedFile {
    /// Absolute path.
    #[serde(serialize_with = "lossy_path")]
    pub path: PathBuf,
    /// What the bytes are.
    pub media_type: MediaType,
    /// Length in bytes.
    pub bytes: u64,
    /// Width in pixels: PNG, JPEG, WebP, GIF, MP4 and QuickTime.
    pub width: Option<u32>,
    /// Height in pixels, as width.
    pub height: Option<u32>,
    /// Length in seconds: WAV, FLAC, MP4, QuickTime and M4A.
    pub duration_seconds: Option<f64>,
    /// SHA-256 of the bytes on the disk, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// True when some pixel of the first frame really is see-through, false when none is;
    /// not known for other files, damaged ones and those above [`MAX_PIXELS`].
    pub has_alpha: Option<bool>,
    /// False when the picture can't be decoded to its end, so the file is damaged; not known
    /// for what is not decoded here.
    pub readable: Option<bool>,
    /// The name that was asked for, where the file got another: its bytes are of another
    /// type, or the name was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_name: Option<String>,
}

/// A path that is not Unicode can't stand in JSON; its odd bytes are shown as replaced.
fn lossy_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Judges a folder to write to, `real` being `given` or the place its links lead to.
fn judge_folder(given: &Path, real: &Path) -> Result<(), FileError> {
    let refused = |why| Err(FileError::Folder { path: shown_path(given), why });
    let Some(text) = real.to_str() else { return refused("its path is not Unicode") };
    if !real.is_absolute() {
        return refused("its path is not absolute");
    }
    if path::is_system_folder(text, cfg!(windows)) {
        return refused("it belongs to the system, holds keys, or is the root of a disk");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
