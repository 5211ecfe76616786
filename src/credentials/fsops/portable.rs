//! The half for systems without Unix modes: plain paths. Access rules are those that the folder
//! inherits; on Windows the user's profile is closed to other users by default.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{failed, read_bounded};
use crate::credentials::cipher;
use crate::credentials::error::{PermissionProblem, StoreError};

/// A folder, by its path.
pub(in crate::credentials) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, links on the way to it included.
    pub(in crate::credentials) fn open_shared(path: &Path) -> Result<Option<Self>, StoreError> {
        match path.metadata() {
            Ok(facts) if facts.is_dir() => Ok(Some(Self { path: path.to_path_buf() })),
            Ok(_) => Err(refused(path, PermissionProblem::NotAFolder)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("open", path)(error)),
        }
    }

    /// Opens a folder and makes it when it does not exist.
    pub(in crate::credentials) fn make_shared(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        Self::open_shared(path)?.ok_or_else(|| failed("open", path)(ErrorKind::NotFound.into()))
    }

    /// Opens a folder below this one, which must not be a link.
    pub(in crate::credentials) fn open_folder(
        &self,
        name: &str,
    ) -> Result<Option<Self>, StoreError> {
        let path = self.path.join(name);
        match path.symlink_metadata() {
            Ok(facts) if facts.is_symlink() => Err(refused(&path, PermissionProblem::Symlink)),
            Ok(facts) if facts.is_dir() => Ok(Some(Self { path })),
            Ok(_) => Err(refused(&path, PermissionProblem::NotAFolder)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("open", &path)(error)),
        }
    }

    /// Makes a folder below this one.
    pub(in crate::credentials) fn make_folder(&self, name: &str) -> Result<Self, StoreError> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(failed("create", &path))?;
        Ok(Self { path })
    }

    /// Reads a file of at most `most` bytes; one more byte is given when it is longer.
    pub(in crate::credentials) fn read(
        &self,
        name: &str,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        read_private(&self.path.join(name), most)
    }

    /// Reads a file that others may see.
    pub(in crate::credentials) fn read_shared(
        &self,
        name: &str,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.read(name, most)
    }

    /// Creates a file that must not exist yet, writes it, and sees it to the disk.
    pub(in crate::credentials) fn create(
        &self,
        name: &str,
        content: &[u8],
    ) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(failed("create", &path))
    }

    /// Opens, or creates empty, the file that processes lock. When the file system can only be
    /// read, gives what is there, if anything, and `true`.
    pub(in crate::credentials) fn lock_file(
        &self,
        name: &str,
    ) -> Result<(Option<File>, bool), StoreError> {
        let path = self.path.join(name);
        let options = |write| {
            let mut options = OpenOptions::new();
            options.read(true).write(write).create(write).truncate(false);
            options
        };
        match options(true).open(&path) {
            Ok(file) => Ok((Some(file), false)),
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                Ok((options(false).open(&path).ok(), true))
            }
            Err(error) => Err(failed("open", &path)(error)),
        }
    }

    /// Whether there is something of this name.
    pub(in crate::credentials) fn contains(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path.join(name);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("examine", &path)(error)),
        }
    }

    /// The names in this folder.
    pub(in crate::credentials) fn names(&self) -> Result<Vec<String>, StoreError> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        };
        list().map_err(failed("list", &self.path))
    }

    /// Renames within this folder.
    pub(in crate::credentials) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let path = self.path.join(from);
        fs::rename(&path, self.path.join(to)).map_err(failed("rename", &path))
    }

    /// Moves a file out of `other` into this folder, over one of the same name. `false` when
    /// there is none.
    pub(in crate::credentials) fn take_from(
        &self,
        other: &Self,
        name: &str,
    ) -> Result<bool, StoreError> {
        let path = other.path.join(name);
        found(fs::rename(&path, self.path.join(name)), "rename", &path)
    }

    /// Removes a file, if there is one.
    pub(in crate::credentials) fn remove_file(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path.join(name);
        found(fs::remove_file(&path), "remove", &path)
    }

    /// Removes a folder with the files in it, if there is one.
    pub(in crate::credentials) fn remove_folder(&self, name: &str) -> Result<(), StoreError> {
        let Some(inner) = self.open_folder(name)? else {
            return Ok(());
        };
        for file in inner.names()? {
            inner.remove_file(&file)?;
        }
        fs::remove_dir(&inner.path).map_err(failed("remove", &inner.path))
    }

    /// Overwrites a file once with random bytes and removes it, if there is one.
    pub(in crate::credentials) fn erase(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path.join(name);
        if path.symlink_metadata().is_ok_and(|facts| facts.is_file())
            && let Ok(mut file) = OpenOptions::new().write(true).open(&path)
        {
            let size = file.metadata().map_err(failed("examine", &path))?.len();
            for _ in 0..size.div_ceil(512).min(256) {
                let noise: [u8; 512] = cipher::random().map_err(|_| StoreError::NoRandomness)?;
                file.write_all(&noise).map_err(failed("overwrite", &path))?;
            }
            file.sync_all().map_err(failed("overwrite", &path))?;
        }
        self.remove_file(name)
    }

    /// Folders cannot be synchronised here; renames are the file system's to keep.
    pub(in crate::credentials) fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Its path.
    pub(in crate::credentials) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a file that is no link. One byte more than `most` is given when it is longer.
pub(in crate::credentials) fn read_private(
    path: &Path,
    most: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    match path.symlink_metadata() {
        Ok(facts) if facts.is_symlink() => return Err(refused(path, PermissionProblem::Symlink)),
        Ok(facts) if !facts.is_file() => return Err(refused(path, PermissionProblem::NotAFile)),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    }
    let file = File::open(path).map_err(failed("open", path))?;
    read_bounded(&file, most).map(Some).map_err(failed("read", path))
}

fn refused(path: &Path, problem: PermissionProblem) -> StoreError {
    StoreError::Permissions { path: path.to_path_buf(), problem }
}

fn found(result: io::Result<()>, action: &'static str, path: &Path) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(action, path)(error)),
    }
}
