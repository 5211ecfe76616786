//! The credential store: the API token and what belongs to it, encrypted, in three files.
//!
//! * [`token`] checks and guards the token, and [`record`](Credentials) what is kept with it.
//! * [`envelope`] describes the file format to the byte.
//! * [`CredentialStore`] reads, writes and erases the files.
//!
//! Nothing here reads the environment, asks a person or opens a network connection: paths and
//! password settings come in as [`UnlockOptions`]. All functions block; deriving a key takes up
//! to a second on slow machines.
//!
//! # Writing
//!
//! Every write is a whole new generation: new salt, data key, generation id and initialisation
//! vectors. (Wrapping the old data key again would let an old `key.bin` with an old password open
//! new contents.)
//!
//! 1. Take the exclusive lock on `.lock`.
//! 2. Finish a `.commit` folder that a dead process left (step 5), and delete `.next-*` folders.
//! 3. Write the three files into a new folder `.next-<16 hex>`; synchronise files and folder.
//! 4. Read them back and unlock them. Rename the folder to `.commit`; synchronise. This is the
//!    moment from which the new generation counts.
//! 5. Move each file in `.commit` over the old one; synchronise; remove `.commit`; synchronise.
//!
//! Erasing is likewise one step: from the moment `.erase` is there, there is no store, and the next
//! process removes what is left.
//!
//! Before step 4 the old generation is whole, after it the new one is, and any later process can
//! finish step 5 without a secret. Only ciphertext and salt are ever written.

pub mod envelope;
pub mod token;

mod cipher;
mod command;
#[cfg(all(test, unix))]
mod damage_tests;
mod error;
mod fsops;
mod generation;
mod keyring;
mod lock;
mod record;
#[cfg(all(test, unix))]
mod store_tests;
#[cfg(test)]
mod test_vectors;
mod unlock;
#[cfg(test)]
mod vectors_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use command::NOT_STARTED;
pub use error::{LockedReason, PermissionProblem, StoreError};
pub use keyring::KeyringProblem;
pub use record::{AuditKey, Credentials, InvalidCredentials};
pub use token::{ApiToken, TokenError};
pub use unlock::{
    NewPassword, NewUnlock, PasswordCommand, PasswordSettings, UnlockError, UnlockOptions,
    UnlockSource, default_device_key_path,
};

use envelope::{FileKind, FormatError, GENERATION_LENGTH, Header, SALT_LENGTH};
use fsops::Folder;
use generation::{Fresh, Generation};
use keyring::{Keyring, SystemKeyring};
use lock::{LockMode, StoreLock};

use crate::redact::Redactor;

/// The store in one folder, `<home>/secure`. Opening it reads nothing yet.
#[derive(Debug, Clone)]
pub struct CredentialStore {
    folder: PathBuf,
    read_wait: Duration,
    write_wait: Duration,
    redactor: Redactor,
    keyring: Arc<dyn Keyring>,
}

impl CredentialStore {
    /// The store in this folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            read_wait: Duration::from_secs(2),
            write_wait: Duration::from_secs(10),
            redactor: Redactor::new(),
            keyring: Arc::new(SystemKeyring),
        }
    }

    /// The same store with other patience: how long a reader and how long a writer waits for
    /// the lock before [`StoreError::Busy`].
    #[must_use]
    pub fn with_lock_waits(mut self, read: Duration, write: Duration) -> Self {
        self.read_wait = read;
        self.write_wait = write;
        self
    }

    /// The same store with a redactor that learns every secret that passes through it: token,
    /// password, device key.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// The same store with another keyring.
    #[cfg(test)]
    #[must_use]
    fn with_keyring(mut self, keyring: Arc<dyn Keyring>) -> Self {
        self.keyring = keyring;
        self
    }

    /// The folder of this store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is anything of a store, readable or not. `false` is certain: only then may
    /// credentials come from elsewhere.
    ///
    /// # Errors
    ///
    /// [`StoreError::Permissions`] and [`StoreError::Io`] when that cannot be told.
    pub fn exists(&self) -> Result<bool, StoreError> {
        let Some(folder) = self.open()? else {
            return Ok(false);
        };
        for name in FILES.iter().map(|file| file.name).chain([COMMIT]) {
            if folder.contains(name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the headers of the files say, without any secret. Nothing of it is authenticated.
    ///
    /// # Errors
    ///
    /// As [`CredentialStore::load`], up to the check that the files belong together.
    pub fn header(&self) -> Result<Header, StoreError> {
        Ok(*self.read()?.check()?.header())
    }

    /// The unlock source that the headers name.
    ///
    /// # Errors
    ///
    /// As [`CredentialStore::header`].
    pub fn source(&self) -> Result<UnlockSource, StoreError> {
        Ok(self.header()?.source)
    }

    /// Opens the store: permissions, lock, form and consistency of the files first, then the
    /// secret of the one source that the header names, then the cryptography.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; each variant is one thing that a user would do something else about.
    pub fn load(&self, options: &UnlockOptions) -> Result<Credentials, StoreError> {
        let generation = self.read()?;
        let checked = generation.check()?;
        let secret = unlock::secret(checked.header(), options, self.keyring.as_ref())?;
        self.redactor.register(secret.text());
        let plaintext = checked.unlock(&secret)?;
        drop(secret);
        let credentials = Credentials::from_plaintext(&plaintext).map_err(in_credentials)?;
        self.redactor.register(credentials.token().expose());
        Ok(credentials)
    }

    /// Writes the credentials as a new generation, over whatever was there. Makes the folder
    /// (mode 0700) and, beside it, a `.gitignore` that keeps the whole home out of repositories, in
    /// the place of one that does not.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the old generation is whole then, unless only the tidying up after the new
    /// one failed, which the next process to open the store makes good.
    pub fn save(&self, credentials: &Credentials, unlock: &NewUnlock) -> Result<(), StoreError> {
        self.write(credentials, unlock, None)
    }

    /// What a command that reads, asks and writes must not find changed when it writes.
    pub fn seen(&self) -> Seen {
        Seen(self.header().ok().map(|header| header.generation))
    }

    /// As [`CredentialStore::save`], over what was [`seen`](CredentialStore::seen) and nothing
    /// newer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] when another process wrote meanwhile; nothing was written then.
    /// Otherwise as [`CredentialStore::save`].
    pub fn replace(
        &self,
        seen: Seen,
        credentials: &Credentials,
        unlock: &NewUnlock,
    ) -> Result<(), StoreError> {
        self.write(credentials, unlock, Some(seen))
    }

    fn write(
        &self,
        credentials: &Credentials,
        unlock: &NewUnlock,
        seen: Option<Seen>,
    ) -> Result<(), StoreError> {
        self.redactor.register(credentials.token().expose());
        let plaintext = credentials.to_plaintext().map_err(in_credentials)?;
        let folder = self.make()?;
        if let NewUnlock::Device(key) = unlock {
            self.refuse_key_in_store(key)?;
        }
        let lock = lock::acquire(&folder, LockMode::Exclusive, self.write_wait)?;
        finish_erasing(&folder, &lock)?;
        self.finish_commit(&folder, &lock)?;
        remove_unfinished(&folder, &lock)?;

        let there = header_in(&folder);
        if seen.is_some_and(|Seen(seen)| seen != there.map(|header| header.generation)) {
            return Err(StoreError::Changed);
        }
        let before = there.as_ref().and_then(keyring_account);
        let fresh = Fresh::draw().map_err(|_| StoreError::NoRandomness)?;
        let id = fresh.generation;
        let keyring = self.keyring.as_ref();
        let draw_secret = || unlock::new_secret(unlock, &id, keyring, self.write_wait);
        let secret = draw_secret()?;
        self.redactor.register(secret.text());
        let source = unlock.source();
        let generation = Generation::seal(&fresh, source, source.iterations(), &secret, &plaintext)
            .map_err(in_credentials)?;
        drop((fresh, secret));

        let name = unfinished_name()?;
        let written = || -> Result<(), StoreError> {
            let next = folder.make_folder(&name)?;
            for file in FILES {
                next.create(file.name, (file.bytes)(&generation))?;
            }
            next.sync()?;
            let again = read_files(&[&next])?;
            let secret = draw_secret()?;
            if *again.check()?.unlock(&secret)? != *plaintext {
                return Err(StoreError::Tampered);
            }
            Ok(())
        };
        if let Err(error) = written() {
            // The first error is the one to tell; the next writer removes what is left.
            let _ = folder.remove_folder(&name);
            if source == UnlockSource::Keyring {
                let _ = keyring.delete(&unlock::account(&id));
            }
            return Err(error);
        }
        folder.rename(&name, COMMIT)?;
        folder
            .sync()
            .and_then(|()| self.finish_commit(&folder, &lock))
            .map_err(|error| StoreError::Unfinished(Box::new(error)))?;
        if let Some(account) = before {
            // It opens nothing any more; a keyring that is not there now keeps it.
            let _ = keyring.delete(&account);
        }
        Ok(())
    }

    /// Erases the store: the three files are overwritten once and removed, and so is the device
    /// key when its path is given, which is right when no other store uses it. Gives whether
    /// there was anything.
    ///
    /// Overwriting is best effort on solid-state disks and on file systems that copy on write.
    /// Revoking the token at Layer.ai is the real erasure.
    ///
    /// # Errors
    ///
    /// [`StoreError::Permissions`] for the folder, [`StoreError::Busy`], [`StoreError::Io`].
    pub fn forget(&self, device_key: Option<&Path>) -> Result<bool, StoreError> {
        let mut found = false;
        if let Some(folder) = self.open()? {
            let lock = lock::acquire(&folder, LockMode::Exclusive, self.write_wait)?;
            found |= folder.contains(ERASE)?;
            finish_erasing(&folder, &lock)?;
            self.finish_commit(&folder, &lock)?;
            remove_unfinished(&folder, &lock)?;
            let account = header_in(&folder).as_ref().and_then(keyring_account);
            let mut there = false;
            for file in &FILES {
                there |= folder.contains(file.name)?;
            }
            if there {
                folder.create(ERASE, b"")?;
                folder.sync()?;
            }
            found |= there;
            finish_erasing(&folder, &lock)?;
            if let Some(account) = account {
                self.keyring.delete(&account)?;
            }
        }
        if let Some(path) = device_key {
            found |= unlock::forget_device_key(path)?;
        }
        Ok(found)
    }

    /// The three files, under the lock, after finishing what a dead writer left.
    fn read(&self) -> Result<Generation, StoreError> {
        let absent = || StoreError::Absent { folder: self.folder.clone() };
        let folder = self.open()?.ok_or_else(absent)?;
        let mut lock = lock::acquire(&folder, LockMode::Shared, self.read_wait)?;
        let mut redo = folder.open_folder(COMMIT)?;
        if (redo.is_some() || folder.contains(ERASE)?) && !lock.is_read_only() {
            drop(lock);
            lock = lock::acquire(&folder, LockMode::Exclusive, self.write_wait)?;
            finish_erasing(&folder, &lock)?;
            self.finish_commit(&folder, &lock)?;
            redo = None;
        }
        let generation = match &redo {
            Some(redo) => read_files(&[redo, &folder]),
            None => read_files(&[&folder]),
        };
        drop(lock);
        match generation {
            Err(StoreError::Absent { .. }) => Err(absent()),
            other => other,
        }
    }

    /// Step 5 of writing. Needs no secret and may be repeated from any point.
    fn finish_commit(&self, folder: &Folder, _lock: &StoreLock) -> Result<(), StoreError> {
        let Some(commit) = folder.open_folder(COMMIT)? else {
            return Ok(());
        };
        for file in FILES {
            folder.take_from(&commit, file.name)?;
        }
        folder.sync()?;
        folder.remove_folder(COMMIT)?;
        folder.sync()
    }

    /// The folder, if it exists and only its owner has access. The folder above it may be read
    /// by others but not written.
    fn open(&self) -> Result<Option<Folder>, StoreError> {
        let (home, name) = self.place()?;
        match Folder::open_shared(home)? {
            Some(home) => home.open_folder(name),
            None => Ok(None),
        }
    }

    fn make(&self) -> Result<Folder, StoreError> {
        let (home, name) = self.place()?;
        let home = Folder::make_shared(home)?;
        if !keeps_all_out(&home) {
            // Whole at once, because another process may do the same.
            let unfinished = unfinished_name()?;
            home.create(&unfinished, b"*\n")?;
            home.rename(&unfinished, IGNORE_FILE).inspect_err(|_| {
                let _ = home.remove_file(&unfinished);
            })?;
        }
        if let Some(folder) = home.open_folder(name)? {
            return Ok(folder);
        }
        match home.make_folder(name) {
            Ok(folder) => {
                home.sync()?;
                Ok(folder)
            }
            Err(error) => home.open_folder(name)?.ok_or(error),
        }
    }

    /// A key beside the lock it opens protects from nothing.
    fn refuse_key_in_store(&self, key: &Path) -> Result<(), StoreError> {
        let beside = key.parent().and_then(|folder| folder.canonicalize().ok());
        if beside.is_some() && beside == self.folder.canonicalize().ok() {
            return Err(LockedReason::DeviceKeyInStore(key.to_path_buf()).into());
        }
        Ok(())
    }

    fn place(&self) -> Result<(&Path, &str), StoreError> {
        let name = self.folder.file_name().and_then(|name| name.to_str());
        match (self.folder.parent(), name) {
            (Some(home), Some(name)) if home.as_os_str().is_empty() => Ok((Path::new("."), name)),
            (Some(home), Some(name)) => Ok((home, name)),
            _ => Err(StoreError::Io {
                action: "use",
                path: self.folder.clone(),
                source: std::io::ErrorKind::InvalidFilename.into(),
            }),
        }
    }
}

/// Erases what somebody began to erase: from the marker on there is no store, whoever dies.
fn finish_erasing(folder: &Folder, _lock: &StoreLock) -> Result<(), StoreError> {
    if !folder.contains(ERASE)? {
        return Ok(());
    }
    // `key.bin` first: without it the rest is noise.
    for name in [FileKind::Key.file_name(), FileKind::Credentials.file_name(), SALT_FILE] {
        folder.erase(name)?;
    }
    folder.sync()?;
    folder.remove_file(ERASE)?;
    folder.sync()
}

/// What was there when somebody looked: a generation, or nothing that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(Option<[u8; GENERATION_LENGTH]>);

fn header_in(folder: &Folder) -> Option<Header> {
    let generation = read_files(&[folder]).ok()?;
    Some(*generation.check().ok()?.header())
}

/// The entry of the keyring that opens such a store, if that is how it is opened.
fn keyring_account(header: &Header) -> Option<String> {
    (header.source == UnlockSource::Keyring).then(|| unlock::account(&header.generation))
}

/// Whether a `.gitignore` keeps all of its folder out of a repository, the settings perhaps
/// excepted: they may be shared.
pub fn ignores_all(text: &str) -> bool {
    let lines = || text.lines().map(str::trim);
    let shared = |line: &str| {
        let name = line.trim_start_matches('!').trim_start_matches('/');
        name == IGNORE_FILE || name == "config.toml"
    };
    lines().any(|line| line == "*") && lines().all(|line| !line.starts_with('!') || shared(line))
}

/// A file that came with the folder, or a link, may let everything in.
fn keeps_all_out(home: &Folder) -> bool {
    let text = home.read_shared(IGNORE_FILE, MOST_IGNORED).ok().flatten();
    text.is_some_and(|text| std::str::from_utf8(&text).is_ok_and(ignores_all))
}

/// A `.gitignore` that is longer is none of ours.
const MOST_IGNORED: usize = 4096;
const SALT_FILE: &str = "salt.bin";
const COMMIT: &str = ".commit";
const ERASE: &str = ".erase";
const NEXT: &str = ".next-";
const IGNORE_FILE: &str = ".gitignore";

/// One of the three files: its name, its largest size in bytes, its place in a generation.
struct StoredFile {
    name: &'static str,
    most: usize,
    bytes: fn(&Generation) -> &[u8],
}

const FILES: [StoredFile; 3] = [
    StoredFile { name: SALT_FILE, most: SALT_LENGTH, bytes: |generation| &generation.salt },
    StoredFile {
        name: FileKind::Key.file_name(),
        most: FileKind::Key.max_length(),
        bytes: |generation| &generation.key,
    },
    StoredFile {
        name: FileKind::Credentials.file_name(),
        most: FileKind::Credentials.max_length(),
        bytes: |generation| &generation.credentials,
    },
];

/// Reads the three files, each from the first of the folders that has it.
fn read_files(folders: &[&Folder]) -> Result<Generation, StoreError> {
    let read = |file: &StoredFile| -> Result<Option<Vec<u8>>, StoreError> {
        for folder in folders {
            if let Some(mut bytes) = folder.read(file.name, file.most)? {
                return Ok(Some(std::mem::take(&mut *bytes)));
            }
        }
        Ok(None)
    };
    let [salt, key, credentials] = &FILES;
    match (read(salt)?, read(key)?, read(credentials)?) {
        (Some(salt), Some(key), Some(credentials)) => Ok(Generation { salt, key, credentials }),
        (None, None, None) => Err(StoreError::Absent { folder: PathBuf::new() }),
        (None, _, _) => Err(StoreError::Incomplete { missing: salt.name }),
        (_, None, _) => Err(StoreError::Incomplete { missing: key.name }),
        (_, _, None) => Err(StoreError::Incomplete { missing: credentials.name }),
    }
}

/// Removes the `.next-*` folders of writers that died. Under the exclusive lock nobody else is
/// writing one.
fn remove_unfinished(folder: &Folder, _lock: &StoreLock) -> Result<(), StoreError> {
    for name in folder.names()? {
        let ours = name
            .strip_prefix(NEXT)
            .is_some_and(|id| id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if ours {
            folder.remove_folder(&name)?;
        }
    }
    Ok(())
}

fn unfinished_name() -> Result<String, StoreError> {
    let id: [u8; 8] = cipher::random().map_err(|_| StoreError::NoRandomness)?;
    Ok(format!("{NEXT}{:016x}", u64::from_be_bytes(id)))
}

fn in_credentials(problem: FormatError) -> StoreError {
    StoreError::Format { file: FileKind::Credentials.file_name(), problem }
}
