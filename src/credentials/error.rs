//! What can go wrong with the store, what it is called, and what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::envelope::FormatError;
use super::keyring::KeyringProblem;
use super::unlock::UnlockSource;

/// Why the store could not be read or written. No message holds a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store.
    Absent {
        /// The folder it would lie in.
        folder: PathBuf,
    },
    /// A file or folder is open to others, belongs to somebody else, or is not what it should be.
    Permissions {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: PermissionProblem,
    },
    /// Some of the three files are missing.
    Incomplete {
        /// The first one that is missing.
        missing: &'static str,
    },
    /// A file is not format 1.
    Format {
        /// The file's name.
        file: &'static str,
        /// In which way.
        problem: FormatError,
    },
    /// The three files were not written together.
    Mixed,
    /// The unlock source gives no secret.
    Locked(LockedReason),
    /// `key.bin` does not open with the secret.
    Auth {
        /// Where the secret came from.
        source_kind: UnlockSource,
    },
    /// `credentials.enc` is not what was written.
    Tampered,
    /// The new store counts, and could not be put in its place yet: the next process that opens
    /// the store does so, once this is mended.
    Unfinished(Box<StoreError>),
    /// Another process wrote the store since it was read; nothing was written over that.
    Changed,
    /// Another process holds the lock.
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The other process, where the operating system tells.
        holder: Option<u32>,
    },
    /// The operating system gave no random bytes.
    NoRandomness,
    /// A file operation failed for another reason, such as a full disk.
    Io {
        /// What was being done, as in "could not ...".
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StoreError {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unfinished(error) => error.code(),
            Self::Absent { .. } => "store_absent",
            Self::Permissions { .. } => "store_permissions",
            Self::Incomplete { .. } => "store_incomplete",
            Self::Format { .. } => "store_format",
            Self::Mixed => "store_mixed",
            Self::Locked(_) => "store_locked",
            Self::Auth { .. } => "store_auth",
            Self::Tampered => "store_tampered",
            Self::Changed => "store_changed",
            Self::Busy { .. } => "store_busy",
            Self::NoRandomness | Self::Io { .. } => "store_io",
        }
    }

    /// Whether there is no store at all: the one case in which credentials may come from the
    /// environment instead. Any other failure must not be papered over.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// What the user can do about it, as whole sentences.
    pub fn next_step(&self) -> String {
        match self {
            Self::Unfinished(error) => error.next_step(),
            Self::Absent { .. } => "Run `layer-mcp setup`.".to_owned(),
            Self::Permissions { path, problem } => problem.next_step(path),
            Self::Incomplete { .. } => "Restore all three files together from a backup, or run \
                                        `layer-mcp setup` again."
                .to_owned(),
            Self::Format { problem, .. } if problem.is_newer() => {
                "Upgrade layer-mcp, or run `layer-mcp setup` again.".to_owned()
            }
            Self::Format { .. } | Self::Mixed => "Restore `salt.bin`, `key.bin` and \
                                                  `credentials.enc` together from one backup, or \
                                                  run `layer-mcp setup` again."
                .to_owned(),
            Self::Locked(reason) => reason.next_step(),
            Self::Auth { source_kind: UnlockSource::Password } => {
                "Check the password. If it is lost, run `layer-mcp setup` again.".to_owned()
            }
            Self::Auth { .. } => "If the store was copied from another machine or account, run \
                                  `layer-mcp setup` here. Otherwise restore the device key that \
                                  it was written with."
                .to_owned(),
            Self::Tampered => "Find out who changed the file. If you cannot, revoke the token at \
                               Layer.ai and run `layer-mcp setup` with a new one."
                .to_owned(),
            Self::Changed => "Look at `layer-mcp credentials`, and run the command again if it is \
                              still wanted."
                .to_owned(),
            Self::Busy { holder: Some(_), .. } => {
                "Wait until that process has finished, or end it, and try again.".to_owned()
            }
            Self::Busy { holder: None, .. } => {
                "Another layer-mcp is using the store. Wait a moment and try again.".to_owned()
            }
            Self::NoRandomness => "Try again; if it persists, the system has a problem that \
                                   layer-mcp cannot mend."
                .to_owned(),
            Self::Io { path, .. } => format!(
                "Check that the disk is not full and that `{}` can be read and written by you.",
                path.display()
            ),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { folder } => {
                write!(formatter, "there are no stored credentials in `{}`", folder.display())
            }
            Self::Permissions { path, problem } => {
                write!(formatter, "`{}` {problem}", path.display())
            }
            Self::Incomplete { missing } => {
                write!(formatter, "the credential store is incomplete: `{missing}` is missing")
            }
            Self::Format { file, problem } => {
                write!(formatter, "`{file}` is not a file that can be read: {problem}")
            }
            Self::Mixed => formatter
                .write_str("`salt.bin`, `key.bin` and `credentials.enc` are not of one generation"),
            Self::Locked(reason) => reason.fmt(formatter),
            Self::Auth { source_kind: UnlockSource::Password } => {
                formatter.write_str("wrong password, or `key.bin` was changed")
            }
            Self::Auth { .. } => formatter.write_str(
                "this is not the secret that the store was locked with, or `key.bin` was changed",
            ),
            Self::Tampered => formatter.write_str("`credentials.enc` was changed or damaged"),
            Self::Unfinished(error) => write!(
                formatter,
                "the new store is written and counts, but is not in its place yet: {error}"
            ),
            Self::Changed => {
                formatter.write_str("another process changed the store at the same moment")
            }
            Self::Busy { path, holder: Some(pid) } => {
                write!(formatter, "process {pid} holds the lock `{}`", path.display())
            }
            Self::Busy { path, holder: None } => {
                write!(formatter, "another process holds the lock `{}`", path.display())
            }
            Self::NoRandomness => formatter.write_str("the operating system gave no random bytes"),
            Self::Io { action, path, .. } => {
                write!(formatter, "could not {action} `{}`", path.display())
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<LockedReason> for StoreError {
    fn from(reason: LockedReason) -> Self {
        Self::Locked(reason)
    }
}

/// What is wrong with a file or folder that has to be private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionProblem {
    /// Others may read or write it, or its owner may not.
    Mode {
        /// Its permission bits.
        found: u32,
        /// The bits it should have.
        wanted: u32,
    },
    /// Others may put files into the folder that the store's folder lies in.
    WritableParent {
        /// Its permission bits.
        found: u32,
    },
    /// It belongs to another user.
    Owner {
        /// Whose it is, as a user id.
        found: u32,
        /// The user id of this process.
        wanted: u32,
    },
    /// It has more than one name, so that it can be reached from elsewhere.
    Links(u64),
    /// It is a symbolic link.
    Symlink,
    /// It should be a regular file and is something else.
    NotAFile,
    /// It should be a folder and is something else.
    NotAFolder,
}

impl PermissionProblem {
    fn next_step(self, path: &Path) -> String {
        let path = shell_word(path);
        match self {
            Self::Mode { wanted, .. } => format!(
                "Run `chmod {wanted:o} {path}`. If that has no effect, the file system keeps no \
                 permissions: set `LAYER_MCP_HOME` to a folder on one that does."
            ),
            Self::WritableParent { .. } => format!("Run `chmod go-w {path}`."),
            Self::Owner { .. } => format!(
                "Run layer-mcp as the owner of {path}, or set `LAYER_MCP_HOME` to a folder of \
                 your own and run `layer-mcp setup`."
            ),
            Self::Links(_) | Self::Symlink | Self::NotAFile | Self::NotAFolder => format!(
                "Find out how {path} came to be, move it away, and run `layer-mcp setup` again."
            ),
        }
    }
}

impl fmt::Display for PermissionProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode { found, wanted } => {
                write!(formatter, "has the permissions {found:03o} and needs {wanted:03o}")
            }
            Self::WritableParent { found } => {
                write!(formatter, "can be written by others (permissions {found:03o})")
            }
            Self::Owner { found, wanted } => write!(
                formatter,
                "belongs to the user with id {found}, and this process runs as {wanted}"
            ),
            Self::Links(count) => write!(formatter, "has {count} names (hard links) and needs one"),
            Self::Symlink => formatter.write_str("is a symbolic link"),
            Self::NotAFile => formatter.write_str("is not a regular file"),
            Self::NotAFolder => formatter.write_str("is not a folder"),
        }
    }
}

/// Why the unlock source gave no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockedReason {
    /// The store has a password and none was given.
    NoPassword,
    /// More than one password setting is set.
    TwoPasswords {
        /// One of them.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// The password file does not exist.
    PasswordFileMissing(PathBuf),
    /// The password command failed; says how.
    PasswordCommand(&'static str),
    /// What this setting gives is empty or not UTF-8.
    NotAPassword(&'static str),
    /// The device key does not exist.
    DeviceKeyMissing(PathBuf),
    /// The device key is not 43 characters of base64url.
    DeviceKeyDamaged(PathBuf),
    /// The device key would lie in the folder that it locks, so that one copy takes both.
    DeviceKeyInStore(PathBuf),
    /// The keyring gives no secret.
    Keyring(KeyringProblem),
}

impl LockedReason {
    fn next_step(&self) -> String {
        match self {
            Self::NoPassword => "Set one of `LAYER_MCP_PASSWORD_FILE`, \
                                 `LAYER_MCP_PASSWORD_COMMAND` and `LAYER_MCP_PASSWORD` for the \
                                 server, or run `layer-mcp setup --unlock device`."
                .to_owned(),
            Self::TwoPasswords { first, second } => format!("Unset `{first}` or `{second}`."),
            Self::PasswordFileMissing(path) => format!(
                "Create `{}` with permissions 600, or correct `LAYER_MCP_PASSWORD_FILE`.",
                path.display()
            ),
            Self::PasswordCommand(_) => "Run the command of `LAYER_MCP_PASSWORD_COMMAND` by hand; \
                                         it has to print the password without asking anything."
                .to_owned(),
            Self::NotAPassword(setting) => format!("Check what `{setting}` gives."),
            Self::DeviceKeyMissing(path) => format!(
                "Restore `{}` from a backup, set `LAYER_MCP_DEVICE_KEY` to where it lies now, or \
                 run `layer-mcp setup` again.",
                path.display()
            ),
            Self::DeviceKeyDamaged(path) => format!(
                "Restore `{}` from a backup, or remove it and run `layer-mcp setup` again.",
                path.display()
            ),
            Self::DeviceKeyInStore(_) => "Set `LAYER_MCP_DEVICE_KEY` to a place outside the \
                                          store's folder, or unset it."
                .to_owned(),
            Self::Keyring(problem) => problem.next_step().to_owned(),
        }
    }
}

impl fmt::Display for LockedReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPassword => {
                formatter.write_str("the store is locked with a password, and none was given")
            }
            Self::TwoPasswords { first, second } => {
                write!(formatter, "`{first}` and `{second}` are both set; only one may be")
            }
            Self::PasswordFileMissing(path) => {
                write!(formatter, "the password file `{}` does not exist", path.display())
            }
            Self::PasswordCommand(problem) => write!(formatter, "the password command {problem}"),
            Self::NotAPassword(setting) => {
                write!(formatter, "what `{setting}` gives is empty or not UTF-8")
            }
            Self::DeviceKeyMissing(path) => {
                write!(formatter, "the device key `{}` does not exist", path.display())
            }
            Self::DeviceKeyDamaged(path) => {
                write!(formatter, "the device key `{}` is damaged", path.display())
            }
            Self::DeviceKeyInStore(path) => {
                write!(formatter, "the device key `{}` lies in the folder it locks", path.display())
            }
            Self::Keyring(problem) => problem.fmt(formatter),
        }
    }
}

/// A path as one word of a POSIX shell, to be pasted.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-+,:@".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chmod_line_can_be_pasted() {
        let step = |path: &str| {
            let problem = PermissionProblem::Mode { found: 0o644, wanted: 0o600 };
            StoreError::Permissions { path: PathBuf::from(path), problem }.next_step()
        };
        assert!(step("/home/a/key.bin").starts_with("Run `chmod 600 /home/a/key.bin`."));
        assert!(step("/home/a b/it's").starts_with(r"Run `chmod 600 '/home/a b/it'\''s'`."));
    }

    #[test]
    fn every_locked_reason_has_a_next_step() {
        for reason in [
            LockedReason::NoPassword,
            LockedReason::TwoPasswords { first: "A", second: "B" },
            LockedReason::PasswordFileMissing(PathBuf::from("p")),
            LockedReason::PasswordCommand("is empty"),
            LockedReason::NotAPassword("A"),
            LockedReason::DeviceKeyMissing(PathBuf::from("p")),
            LockedReason::DeviceKeyDamaged(PathBuf::from("p")),
            LockedReason::DeviceKeyInStore(PathBuf::from("p")),
            LockedReason::Keyring(KeyringProblem::NotBuilt),
            LockedReason::Keyring(KeyringProblem::Unreachable),
            LockedReason::Keyring(KeyringProblem::Locked),
            LockedReason::Keyring(KeyringProblem::Missing),
            LockedReason::Keyring(KeyringProblem::Slow),
        ] {
            let error = StoreError::from(reason);
            assert_eq!(error.code(), "store_locked");
            assert!(error.next_step().ends_with('.') && !error.to_string().is_empty());
        }
    }
}
