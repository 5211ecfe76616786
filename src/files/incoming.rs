//! A file on its way in: written under a name of its own, then put in place in one step.

use std::io::{self, Read, Seek, SeekFrom, Write};

use cap_std::fs::{Dir, File, OpenOptions};
use sha2::{Digest, Sha256};

use crate::drill::{self, Step};
use crate::files::{
    FileError, OutputDir, SavedFile,
    error::DiskTrouble,
    measure::measure,
    media::{HEAD_BYTES, MediaType, describe},
    name::Target,
    whole::is_whole,
};

/// Bytes being downloaded into the output folder.
///
/// They go to `.layer-mcp-<16 hex digits>.part` in the folder of their target, so that
/// finishing is a rename on one disk. Dropped without being finished, or failing to finish,
/// it removes that file. Made by [`OutputDir::begin`]. All calls block.
#[derive(Debug)]
pub struct IncomingFile {
    output: OutputDir,
    target: Target,
    folder: Dir,
    file: Option<File>,
    temporary: Option<String>,
    sha256: Sha256,
    bytes: u64,
    limit: u64,
    room: Option<u64>,
}

impl IncomingFile {
    pub(crate) fn create(
        output: OutputDir,
        target: Target,
        folder: Dir,
        limit: u64,
    ) -> Result<Self, FileError> {
        let (temporary, file) = create_part(&folder).map_err(|error| {
            FileError::from_io(&output.shown(&target, ""), "create a file in", error)
        })?;
        let room = room(&folder);
        Ok(Self {
            output,
            target,
            folder,
            file: Some(file),
            temporary: Some(temporary),
            sha256: Sha256::new(),
            bytes: 0,
            limit,
            room,
        })
    }

    /// Appends `chunk`.
    ///
    /// # Errors
    /// [`FileError::TooLarge`] when the limit would be passed, [`FileError::Disk`] when the
    /// disk has no room or refuses. After an error nothing more can be done with it.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), FileError> {
        let total = self.bytes.saturating_add(chunk.len() as u64);
        if total > self.limit {
            self.discard();
            return Err(FileError::TooLarge { path: self.wanted(0), limit: self.limit });
        }
        if self.room.is_some_and(|room| total > room) {
            self.discard();
            let trouble = DiskTrouble::Full;
            return Err(FileError::Disk {
                path: self.wanted(0),
                doing: "write to",
                trouble,
                source: None,
            });
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(chunk),
            None => Err(io::Error::other("an earlier write failed")),
        };
        if let Err(error) = written {
            self.discard();
            return Err(FileError::from_io(&self.wanted(0), "write to", error));
        }
        drill::reach(Step::Downloading);
        self.sha256.update(chunk);
        self.bytes = total;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts the file in place as output `index` (from 0) under exactly its name; only the
    /// extension follows the bytes.
    ///
    /// # Errors
    /// [`FileError::Exists`] when the name is taken (nothing is replaced, and these bytes are
    /// gone), [`FileError::WrongType`] for bytes that are no asset, [`FileError::Disk`], and
    /// [`FileError::Changed`] when the place holds other bytes right after.
    pub fn finish_as(mut self, index: u32) -> Result<SavedFile, FileError> {
        let media = self.close(index)?;
        let name = self.target.name(index, media);
        if !self.publish(&name)? {
            let path = self.output.shown(&self.target, &name);
            return Err(FileError::Exists { path });
        }
        self.read_back(index, &name, media)
    }

    /// Puts the file in place as output `index` (from 0), under the next free name:
    /// `knight.png`, `knight-2.png`, `knight-3.png` ... A name that is taken by a file of exactly
    /// these bytes is the place already: whoever put it there, perhaps this job before it was
    /// interrupted, a second copy would help nobody.
    ///
    /// # Errors
    /// As [`finish_as`](Self::finish_as), with [`FileError::Exists`] only when 10,000 names
    /// are taken.
    pub fn finish_unique(mut self, index: u32) -> Result<SavedFile, FileError> {
        const MOST_TRIES: u32 = 10_000;
        let media = self.close(index)?;
        let first = self.target.name(index, media);
        let mut name = first.clone();
        for number in 2..=MOST_TRIES {
            if self.publish(&name)? {
                return self.read_back(index, &name, media);
            }
            if self.lies_there_already(&name, media) {
                self.discard();
                return self.read_back(index, &name, media);
            }
            name = numbered(&first, number);
        }
        Err(FileError::Exists { path: self.output.shown(&self.target, &first) })
    }

    /// Brings the bytes to the disk and tells what they are.
    fn close(&mut self, index: u32) -> Result<MediaType, FileError> {
        let path = self.wanted(index);
        let broken = |error| FileError::from_io(&path, "write to", error);
        let file = match &mut self.file {
            Some(file) => file,
            None => return Err(broken(io::Error::other("an earlier write failed"))),
        };
        file.sync_all().map_err(broken)?;
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(broken)?;
        Read::by_ref(file).take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(broken)?;
        match MediaType::detect(&head, self.bytes) {
            Some(media) if !is_whole(file, media, self.bytes) => Err(FileError::CutShort { path }),
            Some(media) => {
                // Windows renames a file best when nobody holds it; elsewhere it stays locked until it
                // has its name.
                if cfg!(windows) {
                    self.file = None;
                }
                drill::reach(Step::BeforeRename);
                Ok(media)
            }
            None => Err(FileError::WrongType { path, found: describe(&head) }),
        }
    }

    /// Gives the file its name; false when the name is taken.
    fn publish(&mut self, name: &str) -> Result<bool, FileError> {
        let Some(temporary) = &self.temporary else { return Ok(false) };
        match rename_new(&self.folder, temporary, name) {
            Ok(()) => {
                self.temporary = None;
                self.file = None;
                drill::reach(Step::AfterRename);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => {
                Err(FileError::from_io(&self.output.shown(&self.target, name), "write to", error))
            }
        }
    }

    fn lies_there_already(&self, name: &str, media: MediaType) -> bool {
        let relative = OutputDir::relative(&self.target.folder, name);
        let found = self.output.inspect_relative(&relative, Some(media));
        let ours = hex(&self.sha256.clone().finalize());
        found.is_ok_and(|found| found.bytes == self.bytes && found.sha256 == ours)
    }

    /// Says what lies on the disk now, found by its path and not by the handle that wrote it.
    fn read_back(
        &mut self,
        index: u32,
        name: &str,
        media: MediaType,
    ) -> Result<SavedFile, FileError> {
        let shown = self.output.shown(&self.target, name);
        sync_folder(&self.folder)
            .map_err(|error| FileError::from_io(&shown, "bring to the disk", error))?;
        let relative = OutputDir::relative(&self.target.folder, name);
        let mut saved = self.output.inspect_relative(&relative, Some(media))?;
        let written = hex(&std::mem::take(&mut self.sha256).finalize());
        if saved.sha256 != written || saved.bytes != self.bytes {
            return Err(FileError::Changed { path: shown });
        }
        saved.asked_name = self.target.asked_name(index).filter(|asked| asked != name);
        Ok(saved)
    }

    /// The name for messages while the type is not known yet.
    fn wanted(&self, index: u32) -> String {
        let name = self.target.asked_name(index).unwrap_or_else(|| self.target.stem.clone());
        self.output.shown(&self.target, &name)
    }

    fn discard(&mut self) {
        self.file = None;
        if let Some(temporary) = self.temporary.take() {
            // If even this fails, `remove_stale_parts` takes it away another day.
            let _ = self.folder.remove_file(temporary);
        }
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        self.discard();
    }
}

const PART_START: &str = ".layer-mcp-";
const PART_END: &str = ".part";

/// True for names that [`IncomingFile`] gives to unfinished files, and for no others.
pub(crate) fn is_part(name: &str) -> bool {
    name.strip_prefix(PART_START).and_then(|rest| rest.strip_suffix(PART_END)).is_some_and(|hex| {
        hex.len() == 16 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A new, empty, unfinished file in `folder`, locked as long as it is open where the disk knows
/// locks. Neither an existing file nor a link is opened.
pub(crate) fn create_part(folder: &Dir) -> io::Result<(String, File)> {
    loop {
        let name = format!("{PART_START}{:016x}{PART_END}", rand::random::<u64>());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = folder.open_with(&name, &options)?;
        if lock(&file) != Lock::Taken {
            return Ok((name, file));
        }
        // Somebody who clears up looked at it in this very moment.
        let _ = folder.remove_file(&name);
    }
}

/// What came of locking a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It is ours.
    Ours,
    /// Somebody has it.
    Taken,
    /// This disk or system has no locks.
    Unknown,
}

#[cfg(unix)]
fn lock(file: &File) -> Lock {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Ours,
        Err(rustix::io::Errno::WOULDBLOCK) => Lock::Taken,
        Err(_) => Lock::Unknown,
    }
}

#[cfg(not(unix))]
fn lock(_: &File) -> Lock {
    Lock::Unknown
}

/// Whether the process that wrote the unfinished file `name` is still there, as its lock tells.
pub(crate) fn is_written(folder: &Dir, name: &str) -> Lock {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        options.custom_flags(
            (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits().cast_signed(),
        );
    }
    folder.open_with(name, &options).map_or(Lock::Unknown, |file| lock(&file))
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `knight.png`, 2 to `knight-2.png`.
fn numbered(name: &str, number: u32) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{number}.{extension}"),
        None => format!("{name}-{number}"),
    }
}

/// Renames without ever replacing: `AlreadyExists` when `to` is taken by anything at all.
fn rename_new(folder: &Dir, from: &str, to: &str) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE)
            .map_err(io::Error::from)
        {
            // Disks, systems and sandboxes without this kind of rename have one of the ways
            // below; where it is the folder that forbids it, so will they.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput
                        | io::ErrorKind::Unsupported
                        | io::ErrorKind::PermissionDenied
                ) => {}
            done => return done,
        }
    }
    link_new(folder, from, to)
}

/// A second name for the file, which is never given over an existing one, then the first
/// name taken away.
fn link_new(folder: &Dir, from: &str, to: &str) -> io::Result<()> {
    match folder.hard_link(from, folder, to) {
        Ok(()) => {
            // Both names are the same file; a leftover is swept up another day.
            let _ = folder.remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => reserve_new(folder, from, to),
    }
}

/// For disks without links (FAT, some network disks): reserves the name with an empty file of
/// our own, which the rename then replaces. A crash in between leaves an empty file.
fn reserve_new(folder: &Dir, from: &str, to: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    drop(folder.open_with(to, &options)?);
    folder.rename(from, folder, to).inspect_err(|_| {
        let _ = folder.remove_file(to);
    })
}

/// Makes the new name itself survive a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Dir) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, fsync, openat};

    // The handle at hand may be one that can only be looked through, so open it again.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let result = openat(folder, ".", flags, Mode::empty()).and_then(fsync);
    match result.map_err(io::Error::from) {
        // Some network and user-space disks know no such thing for folders; and a folder that
        // may be written but not listed can't be opened for it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Windows keeps its own journal of names and lets no folder be synced.
#[cfg(not(unix))]
fn sync_folder(_folder: &Dir) -> io::Result<()> {
    Ok(())
}

/// Bytes that may be written to the disk of `folder`: what is free, less 1 GiB or, on small
/// disks, less a tenth, so that a download never is what fills a disk. `None` if unknown.
#[cfg(unix)]
fn room(folder: &Dir) -> Option<u64> {
    const KEPT_FREE: u64 = 1024 * 1024 * 1024;
    let disk = rustix::fs::fstatvfs(folder).ok()?;
    let free = disk.f_bavail.checked_mul(disk.f_frsize)?;
    // Some user-space disks report no size at all.
    (disk.f_blocks > 0).then(|| free - KEPT_FREE.min(free / 10))
}

#[cfg(not(unix))]
fn room(_folder: &Dir) -> Option<u64> {
    None
}

/// SHA-256 in hexadecimal and length of everything `file` holds, from its start.
pub(crate) fn digest(file: &mut (impl Read + Seek)) -> io::Result<(String, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok((hex(&sha256.finalize()), total)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(buffer.get(..count).unwrap_or_default());
        total += count as u64;
    }
}

impl SavedFile {
    /// Puts together what is known of an open file.
    pub(crate) fn of(
        path: std::path::PathBuf,
        file: &mut (impl Read + Seek),
        media: MediaType,
    ) -> io::Result<Self> {
        let (sha256, bytes) = digest(file)?;
        let facts = measure(file, media, bytes);
        Ok(Self {
            path,
            media_type: media,
            bytes,
            width: facts.width,
            height: facts.height,
            duration_seconds: facts.duration_seconds,
            sha256,
            has_alpha: facts.has_alpha,
            readable: facts.readable,
            asked_name: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should stop")]

    use cap_std::ambient_authority;

    use super::*;
    use crate::files::{SaveTo, samples};

    fn output() -> (tempfile::TempDir, OutputDir) {
        let root = tempfile::tempdir().unwrap();
        let output = OutputDir::open(root.path()).unwrap();
        (root, output)
    }

    fn begin(output: &OutputDir, save_to: &str, limit: u64) -> IncomingFile {
        let save_to = SaveTo::parse(save_to).unwrap();
        let target = output.target(Some(&save_to), "a knight", 1).unwrap();
        output.begin(&target, limit).unwrap()
    }

    fn names(folder: &std::path::Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_download_can_change_threads() {
        fn sendable<T: Send>() {}
        fn shareable<T: Send + Sync + Clone>() {}
        sendable::<IncomingFile>();
        shareable::<OutputDir>();
    }

    #[test]
    fn a_dropped_download_leaves_nothing() {
        let (root, output) = output();
        let mut incoming = begin(&output, "a.png", 1000);
        incoming.write(b"half").unwrap();
        assert_eq!(names(root.path()).len(), 1);
        assert!(names(root.path()).iter().all(|name| is_part(name)));
        drop(incoming);
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn a_download_that_grows_too_large_leaves_nothing_and_stays_failed() {
        let (root, output) = output();
        let mut incoming = begin(&output, "a.png", 10);
        incoming.write(b"0123456789").unwrap();
        let error = incoming.write(b"x").unwrap_err();
        assert!(matches!(error, FileError::TooLarge { limit: 10, .. }), "{error}");
        assert_eq!(error.code(), "download_failed");
        assert_eq!(names(root.path()), [""; 0]);
        assert!(incoming.write(b"").is_err());
        assert!(incoming.finish_as(0).is_err());
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named_and_leaves_nothing() {
        let (root, output) = output();
        let mut incoming = begin(&output, "a.png", u64::MAX);
        // Every write to this device is answered "no space left".
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        incoming.file = Some(File::from_std(full));
        let error = incoming.write(b"x").unwrap_err();
        assert_eq!((error.code(), error.next_step().contains("space")), ("disk", true));
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn a_disk_about_to_be_full_is_not_filled() {
        let (root, output) = output();
        let mut incoming = begin(&output, "a.png", u64::MAX);
        incoming.room = Some(4);
        let error = incoming.write(b"12345").unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_asset_are_not_kept() {
        for (bytes, words) in [
            (&b""[..], "is empty"),
            (b"<!DOCTYPE html><html>expired</html>", "HTML"),
            (b"{\"error\":\"AccessDenied\"}", "JSON"),
            (b"#!/bin/sh\n", "looks like"),
        ] {
            let (root, output) = output();
            let mut incoming = begin(&output, "a.png", 1000);
            incoming.write(bytes).unwrap();
            let error = incoming.finish_unique(0).unwrap_err();
            assert_eq!(error.code(), "download_failed");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(names(root.path()), [""; 0]);
        }
    }

    #[test]
    fn what_was_swapped_on_the_disk_is_noticed() {
        let (root, output) = output();
        let mut incoming = begin(&output, "a.png", 10_000);
        incoming.write(&samples::png(3, 3, |_, _| [0; 4])).unwrap();
        // Somebody writes into the unfinished file behind our back.
        let part = names(root.path()).remove(0);
        std::fs::write(root.path().join(part), samples::noise_png(3, 3)).unwrap();
        let error = incoming.finish_as(0).unwrap_err();
        assert!(matches!(error, FileError::Changed { .. }), "{error}");
    }

    #[test]
    fn no_way_of_renaming_replaces_anything() {
        let root = tempfile::tempdir().unwrap();
        let folder = Dir::open_ambient_dir(root.path(), ambient_authority()).unwrap();
        for rename in [rename_new, link_new, reserve_new] {
            folder.write("new", b"new").unwrap();
            folder.write("taken", b"old").unwrap();
            folder.create_dir_all("folder").unwrap();
            for taken in ["taken", "folder"] {
                let error = rename(&folder, "new", taken).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            }
            #[cfg(unix)]
            {
                let _ = folder.symlink("nowhere", "dangling");
                let error = rename(&folder, "new", "dangling").unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            }
            assert_eq!(folder.read("taken").unwrap(), b"old");
            rename(&folder, "new", "free").unwrap();
            assert_eq!(folder.read("free").unwrap(), b"new");
            assert!(!folder.exists("new"));
            folder.remove_file("free").unwrap();
        }
    }

    #[test]
    fn only_our_own_unfinished_files_are_recognised() {
        assert!(is_part(".layer-mcp-0123456789abcdef.part"));
        for other in [
            ".layer-mcp-0123456789abcde.part",
            ".layer-mcp-0123456789ABCDEF.part",
            ".layer-mcp-0123456789abcdef.part.png",
            "x.layer-mcp-0123456789abcdef.part",
            ".layer-mcp",
            ".layer-mcp-.part",
        ] {
            assert!(!is_part(other), "{other}");
        }
    }
}
