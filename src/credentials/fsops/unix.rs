//! The Unix half: descriptors, owners, modes, link counts.

use std::ffi::CStr;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{FILE_MODE, FOLDER_MODE, failed, read_bounded};
use crate::credentials::cipher;
use crate::credentials::error::{PermissionProblem, StoreError};

/// An open folder. Names are looked up below its descriptor and links are never followed.
pub(in crate::credentials) struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that others may read but not write (unless it is sticky, as `/tmp` is),
    /// of this user or of root. Links on the way to it are followed: the path is the user's.
    pub(in crate::credentials) fn open_shared(path: &Path) -> Result<Option<Self>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR) => return Err(refused(path, PermissionProblem::NotAFolder)),
            Err(error) => return Err(failed("open", path)(error.into())),
        };
        let folder = Self { handle, path: path.to_path_buf() };
        let facts = folder.facts()?;
        if facts.uid() != 0 {
            owned(&facts, path)?;
        }
        let found = facts.mode() & 0o7777;
        if found & 0o022 != 0 && found & 0o1000 == 0 {
            return Err(refused(path, PermissionProblem::WritableParent { found }));
        }
        Ok(Some(folder))
    }

    /// Like [`Folder::open_shared`], and makes the folder, with what is missing above it, when it
    /// does not exist. Nothing is made in a place of another user: root shall not leave files in
    /// somebody's home.
    pub(in crate::credentials) fn make_shared(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = Self::open_shared(path)? {
            return Ok(folder);
        }
        let above = path
            .ancestors()
            .skip(1)
            .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
            .find(|folder| folder.exists());
        if let Some(above) = above {
            Self::open_shared_owner(above)?;
        }
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
            .map_err(failed("create", path))?;
        Self::open_shared(path)?.ok_or_else(|| failed("open", path)(io::ErrorKind::NotFound.into()))
    }

    /// Opens a private folder below this one: no link, of this user, closed to all others.
    pub(in crate::credentials) fn open_folder(
        &self,
        name: &str,
    ) -> Result<Option<Self>, StoreError> {
        let path = self.path.join(name);
        let Some(handle) = self.open_at(name, OFlags::RDONLY | OFlags::DIRECTORY, &path)? else {
            return Ok(None);
        };
        let folder = Self { handle, path };
        let facts = folder.facts()?;
        owned(&facts, &folder.path)?;
        private(&facts, &folder.path, FOLDER_MODE)?;
        Ok(Some(folder))
    }

    /// Makes a private folder below this one.
    pub(in crate::credentials) fn make_folder(&self, name: &str) -> Result<Self, StoreError> {
        let path = self.path.join(name);
        rustix::fs::mkdirat(&self.handle, name, Mode::RWXU)
            .map_err(|error| failed("create", &path)(error.into()))?;
        // The umask can take bits away and inherited access lists can add some.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let handle = self
            .open_at(name, flags, &path)?
            .ok_or_else(|| failed("open", &path)(io::ErrorKind::NotFound.into()))?;
        let facts = handle.metadata().map_err(failed("examine", &path))?;
        owned(&facts, &path)?;
        handle
            .set_permissions(Permissions::from_mode(FOLDER_MODE))
            .map_err(failed("set the permissions of", &path))?;
        self.open_folder(name)?.ok_or_else(|| failed("open", &path)(io::ErrorKind::NotFound.into()))
    }

    /// Reads a private file of at most `most` bytes; one more byte is given when it is longer.
    pub(in crate::credentials) fn read(
        &self,
        name: &str,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.read_if(name, most, private_file)
    }

    /// Reads a file that others may see: no link, of at most `most` bytes.
    pub(in crate::credentials) fn read_shared(
        &self,
        name: &str,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.read_if(name, most, |file, path| {
            let facts = file.metadata().map_err(failed("examine", path))?;
            if facts.is_file() { Ok(()) } else { Err(refused(path, PermissionProblem::NotAFile)) }
        })
    }

    fn read_if(
        &self,
        name: &str,
        most: usize,
        may: impl Fn(&File, &Path) -> Result<(), StoreError>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.path.join(name);
        let Some(file) = self.open_at(name, OFlags::RDONLY | OFlags::NONBLOCK, &path)? else {
            return Ok(None);
        };
        may(&file, &path)?;
        read_bounded(&file, most).map(Some).map_err(failed("read", &path))
    }

    /// Creates a private file that must not exist yet, writes it, and sees it to the disk.
    pub(in crate::credentials) fn create(
        &self,
        name: &str,
        content: &[u8],
    ) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self
            .open_at(name, flags, &path)?
            .ok_or_else(|| failed("create", &path)(io::ErrorKind::NotFound.into()))?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))
            .map_err(failed("set the permissions of", &path))?;
        private_file(&file, &path)?;
        file.write_all(content).map_err(failed("write", &path))?;
        file.sync_all().map_err(failed("write", &path))
    }

    /// Opens, or creates empty, the private file that processes lock. When the file system can
    /// only be read, gives what is there, if anything, and `true`.
    pub(in crate::credentials) fn lock_file(
        &self,
        name: &str,
    ) -> Result<(Option<File>, bool), StoreError> {
        let path = self.path.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(
            &self.handle,
            name,
            flags | OFlags::NONBLOCK,
            Mode::RUSR | Mode::WUSR,
        );
        let (file, read_only) = match opened {
            Ok(file) => (Some(File::from(file)), false),
            Err(Errno::ROFS) => {
                (self.open_at(name, OFlags::RDONLY | OFlags::NONBLOCK, &path)?, true)
            }
            Err(error) => return Err(why_not(&path, error, PermissionProblem::NotAFile, "open")),
        };
        if let Some(file) = &file {
            private_file(file, &path)?;
        }
        Ok((file, read_only))
    }

    /// Whether there is something of this name.
    pub(in crate::credentials) fn contains(&self, name: &str) -> Result<bool, StoreError> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("examine", &self.path.join(name))(error.into())),
        }
    }

    /// The names in this folder.
    pub(in crate::credentials) fn names(&self) -> Result<Vec<String>, StoreError> {
        let list = || -> Result<Vec<String>, Errno> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.handle)? {
                let entry = entry?;
                let name: &CStr = entry.file_name();
                // A name that is not UTF-8 is none of ours.
                if let Ok(name) = name.to_str()
                    && name != "."
                    && name != ".."
                {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        };
        list().map_err(|error| failed("list", &self.path)(error.into()))
    }

    /// Renames within this folder.
    pub(in crate::credentials) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        rustix::fs::renameat(&self.handle, from, &self.handle, to)
            .map_err(|error| failed("rename", &self.path.join(from))(error.into()))
    }

    /// Moves a file out of `other` into this folder, over one of the same name. `false` when
    /// there is none.
    pub(in crate::credentials) fn take_from(
        &self,
        other: &Self,
        name: &str,
    ) -> Result<bool, StoreError> {
        match rustix::fs::renameat(&other.handle, name, &self.handle, name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("rename", &other.path.join(name))(error.into())),
        }
    }

    /// Removes a file, if there is one.
    pub(in crate::credentials) fn remove_file(&self, name: &str) -> Result<bool, StoreError> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("remove", &self.path.join(name))(error.into())),
        }
    }

    /// Removes a folder with the files in it, if there is one. Folders inside it are not ours
    /// and make it fail.
    pub(in crate::credentials) fn remove_folder(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let Some(handle) = self.open_at(name, OFlags::RDONLY | OFlags::DIRECTORY, &path)? else {
            return Ok(());
        };
        let inner = Self { handle, path };
        owned(&inner.facts()?, &inner.path)?;
        for file in inner.names()? {
            inner.remove_file(&file)?;
        }
        rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR)
            .map_err(|error| failed("remove", &inner.path)(error.into()))
    }

    /// Overwrites a file once with random bytes and removes it, if there is one. What is not a
    /// regular file with one name is only removed.
    pub(in crate::credentials) fn erase(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            let mut file = File::from(file);
            let facts = file.metadata().map_err(failed("examine", &path))?;
            if facts.is_file() && facts.nlink() == 1 && facts.uid() == current_user() {
                let mut left = facts.len().min(MOST_OVERWRITTEN);
                while left > 0 {
                    let noise: [u8; 512] =
                        cipher::random().map_err(|_| StoreError::NoRandomness)?;
                    let count = usize::try_from(left).unwrap_or(noise.len()).min(noise.len());
                    let part = noise.get(..count).unwrap_or(&noise);
                    file.write_all(part).map_err(failed("overwrite", &path))?;
                    left = left.saturating_sub(u64::try_from(count).unwrap_or(left));
                }
                file.sync_all().map_err(failed("overwrite", &path))?;
            }
        }
        self.remove_file(name)
    }

    /// Sees the folder's entries to the disk.
    pub(in crate::credentials) fn sync(&self) -> Result<(), StoreError> {
        self.handle.sync_all().map_err(failed("write", &self.path))
    }

    /// The path it was opened by.
    pub(in crate::credentials) fn path(&self) -> &Path {
        &self.path
    }

    fn facts(&self) -> Result<Metadata, StoreError> {
        self.handle.metadata().map_err(failed("examine", &self.path))
    }

    /// The place below which folders are about to be made: of this user, of root, or sticky.
    fn open_shared_owner(path: &Path) -> Result<(), StoreError> {
        let facts = path.metadata().map_err(failed("examine", path))?;
        if facts.uid() == 0 || facts.mode() & 0o1000 != 0 {
            return Ok(());
        }
        owned(&facts, path)
    }

    fn open_at(&self, name: &str, flags: OFlags, path: &Path) -> Result<Option<File>, StoreError> {
        let always = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, name, flags | always, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => {
                let (wanted, action) = if flags.contains(OFlags::DIRECTORY) {
                    (PermissionProblem::NotAFolder, "open")
                } else if flags.contains(OFlags::CREATE) {
                    (PermissionProblem::NotAFile, "create")
                } else {
                    (PermissionProblem::NotAFile, "open")
                };
                Err(why_not(path, error, wanted, action))
            }
        }
    }
}

/// Reads a file that has to be as private as the store, wherever it lies. One byte more than
/// `most` is given when it is longer.
pub(in crate::credentials) fn read_private(
    path: &Path,
    most: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(why_not(path, error, PermissionProblem::NotAFile, "open")),
    };
    private_file(&file, path)?;
    read_bounded(&file, most).map(Some).map_err(failed("read", path))
}

fn current_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn refused(path: &Path, problem: PermissionProblem) -> StoreError {
    StoreError::Permissions { path: path.to_path_buf(), problem }
}

fn owned(facts: &Metadata, path: &Path) -> Result<(), StoreError> {
    let (found, wanted) = (facts.uid(), current_user());
    if found == wanted {
        Ok(())
    } else {
        Err(refused(path, PermissionProblem::Owner { found, wanted }))
    }
}

fn private(facts: &Metadata, path: &Path, wanted: u32) -> Result<(), StoreError> {
    let found = facts.mode() & 0o7777;
    if found & 0o077 == 0 {
        Ok(())
    } else {
        Err(refused(path, PermissionProblem::Mode { found, wanted }))
    }
}

fn private_file(file: &File, path: &Path) -> Result<(), StoreError> {
    let facts = file.metadata().map_err(failed("examine", path))?;
    if !facts.is_file() {
        return Err(refused(path, PermissionProblem::NotAFile));
    }
    owned(&facts, path)?;
    private(&facts, path, FILE_MODE)?;
    match facts.nlink() {
        1 => Ok(()),
        count => Err(refused(path, PermissionProblem::Links(count))),
    }
}

/// Why something could not be opened, in the terms of the person who has to mend it. The path is
/// looked at for the message only; nothing is opened on the strength of it.
fn why_not(
    path: &Path,
    error: Errno,
    wrong_kind: PermissionProblem,
    action: &'static str,
) -> StoreError {
    let Ok(facts) = path.symlink_metadata() else {
        return failed(action, path)(error.into());
    };
    let wants_folder = wrong_kind == PermissionProblem::NotAFolder;
    if facts.is_symlink() {
        return refused(path, PermissionProblem::Symlink);
    }
    if facts.is_dir() != wants_folder || !(facts.is_dir() || facts.is_file()) {
        return refused(path, wrong_kind);
    }
    if error == Errno::ACCESS {
        if let Err(error) = owned(&facts, path) {
            return error;
        }
        let found = facts.mode() & 0o7777;
        let wanted = if wants_folder { FOLDER_MODE } else { FILE_MODE };
        return refused(path, PermissionProblem::Mode { found, wanted });
    }
    failed(action, path)(error.into())
}

/// Nothing that is erased here is larger than this, in bytes.
const MOST_OVERWRITTEN: u64 = 128 * 1024;
