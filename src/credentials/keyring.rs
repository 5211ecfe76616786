//! The operating system's keyring, as one of the places that the secret of a store can lie in.
//!
//! Nothing here asks the user anything: a keyring that is locked or slow is an error. A server
//! that a client started must not own the screen.

use std::fmt;
#[cfg(all(feature = "keyring", target_os = "linux"))]
use std::time::Duration;

use super::error::{LockedReason, StoreError};
use super::unlock::Secret;

/// The name under which the entries lie.
#[cfg(all(feature = "keyring", target_os = "linux"))]
const SERVICE: &str = "layer-mcp";
/// A keyring that does not answer by then would keep a call waiting for ever.
#[cfg(all(feature = "keyring", target_os = "linux"))]
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the keyring gave no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringProblem {
    /// This build can't use the keyring of this system.
    NotBuilt,
    /// There is no keyring, or it can't be reached from here.
    Unreachable,
    /// It is locked, and only the user can unlock it.
    Locked,
    /// It has no entry for this store.
    Missing,
    /// It does not answer.
    Slow,
}

impl fmt::Display for KeyringProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotBuilt => "this build of layer-mcp can't use the keyring of this system",
            Self::Unreachable => "the system's keyring can't be reached from this process",
            Self::Locked => "the system's keyring is locked",
            Self::Missing => "the system's keyring has no entry for this store",
            Self::Slow => "the system's keyring does not answer",
        })
    }
}

impl KeyringProblem {
    pub(super) fn next_step(self) -> &'static str {
        match self {
            Self::NotBuilt => "Run `layer-mcp setup --unlock device`.",
            Self::Unreachable => {
                "Start the client inside your desktop session, or run `layer-mcp setup --unlock \
                 device`."
            }
            Self::Locked => "Unlock the keyring (log in to the desktop), and try again.",
            Self::Missing => "If the store came from another machine, run `layer-mcp setup` here.",
            Self::Slow => {
                "Look whether the keyring shows a dialog, or run `layer-mcp setup --unlock device`."
            }
        }
    }
}

impl From<KeyringProblem> for StoreError {
    fn from(problem: KeyringProblem) -> Self {
        LockedReason::Keyring(problem).into()
    }
}

/// Keeps one secret for each generation of a store.
pub(super) trait Keyring: fmt::Debug + Send + Sync {
    /// The secret of this account.
    fn get(&self, account: &str) -> Result<Secret, KeyringProblem>;
    /// Keeps a secret under this account.
    fn put(&self, account: &str, secret: &Secret) -> Result<(), KeyringProblem>;
    /// Forgets the secret of this account; gives whether there was one.
    fn delete(&self, account: &str) -> Result<bool, KeyringProblem>;
}

/// The keyring of this system: the Secret Service (freedesktop.org) on Linux.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SystemKeyring;

#[cfg(all(feature = "keyring", target_os = "linux"))]
mod secret_service_keyring {
    use std::collections::HashMap;
    use std::sync::mpsc::{self, RecvTimeoutError};

    use secret_service::blocking::SecretService;
    use secret_service::{EncryptionType, Error};
    use zeroize::Zeroizing;

    use super::{Keyring, KeyringProblem, PATIENCE, SERVICE, Secret, SystemKeyring};

    impl Keyring for SystemKeyring {
        fn get(&self, account: &str) -> Result<Secret, KeyringProblem> {
            let account = account.to_owned();
            in_time(move |service| {
                let found = service.search_items(attributes(&account)).map_err(problem)?;
                let Some(item) = found.unlocked.first() else {
                    return Err(match found.locked.is_empty() {
                        true => KeyringProblem::Missing,
                        false => KeyringProblem::Locked,
                    });
                };
                let bytes = Zeroizing::new(item.get_secret().map_err(problem)?);
                let text = str::from_utf8(&bytes).map_err(|_| KeyringProblem::Missing)?;
                Ok(Secret::from_text(text))
            })
        }

        fn put(&self, account: &str, secret: &Secret) -> Result<(), KeyringProblem> {
            let account = account.to_owned();
            let secret = Zeroizing::new(secret.bytes().to_vec());
            in_time(move |service| {
                let collection = service.get_default_collection().map_err(problem)?;
                if collection.is_locked().map_err(problem)? {
                    return Err(KeyringProblem::Locked);
                }
                let label = format!("layer-mcp credential store {account}");
                collection
                    .create_item(&label, attributes(&account), &secret, true, "text/plain")
                    .map_err(problem)?;
                Ok(())
            })
        }

        fn delete(&self, account: &str) -> Result<bool, KeyringProblem> {
            let account = account.to_owned();
            in_time(move |service| {
                let found = service.search_items(attributes(&account)).map_err(problem)?;
                if !found.locked.is_empty() {
                    return Err(KeyringProblem::Locked);
                }
                for item in &found.unlocked {
                    item.delete().map_err(problem)?;
                }
                Ok(!found.unlocked.is_empty())
            })
        }
    }

    fn attributes(account: &str) -> HashMap<&str, &str> {
        HashMap::from([("service", SERVICE), ("username", account)])
    }

    fn problem(error: Error) -> KeyringProblem {
        match error {
            Error::Locked | Error::Prompt => KeyringProblem::Locked,
            Error::NoResult => KeyringProblem::Missing,
            _ => KeyringProblem::Unreachable,
        }
    }

    /// Does the work in a thread of its own, because the bus may never answer. A thread that is
    /// given up ends with the process.
    fn in_time<T: Send + 'static>(
        work: impl FnOnce(&SecretService<'_>) -> Result<T, KeyringProblem> + Send + 'static,
    ) -> Result<T, KeyringProblem> {
        let (done, outcome) = mpsc::channel();
        std::thread::Builder::new()
            .name("keyring".to_owned())
            .spawn(move || {
                let service = SecretService::connect(EncryptionType::Dh).map_err(problem);
                let _ = done.send(service.and_then(|service| work(&service)));
            })
            .map_err(|_| KeyringProblem::Unreachable)?;
        outcome.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => KeyringProblem::Slow,
                RecvTimeoutError::Disconnected => KeyringProblem::Unreachable,
            })
        })
    }
}

#[cfg(not(all(feature = "keyring", target_os = "linux")))]
impl Keyring for SystemKeyring {
    fn get(&self, _account: &str) -> Result<Secret, KeyringProblem> {
        Err(KeyringProblem::NotBuilt)
    }

    fn put(&self, _account: &str, _secret: &Secret) -> Result<(), KeyringProblem> {
        Err(KeyringProblem::NotBuilt)
    }

    fn delete(&self, _account: &str) -> Result<bool, KeyringProblem> {
        Err(KeyringProblem::NotBuilt)
    }
}

#[cfg(test)]
pub(super) mod memory {
    //! A keyring that lasts as long as a test, and can be told to fail.

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::{Keyring, KeyringProblem, Secret};

    #[derive(Debug, Default)]
    pub(in crate::credentials) struct MemoryKeyring {
        pub(in crate::credentials) entries: Mutex<BTreeMap<String, String>>,
        pub(in crate::credentials) trouble: Mutex<Option<KeyringProblem>>,
    }

    impl MemoryKeyring {
        fn ready(&self) -> Result<(), KeyringProblem> {
            self.trouble.lock().ok().and_then(|trouble| *trouble).map_or(Ok(()), Err)
        }
    }

    impl Keyring for MemoryKeyring {
        fn get(&self, account: &str) -> Result<Secret, KeyringProblem> {
            self.ready()?;
            let entries = self.entries.lock().map_err(|_| KeyringProblem::Unreachable)?;
            let text = entries.get(account).ok_or(KeyringProblem::Missing)?;
            Ok(Secret::from_text(text))
        }

        fn put(&self, account: &str, secret: &Secret) -> Result<(), KeyringProblem> {
            self.ready()?;
            let mut entries = self.entries.lock().map_err(|_| KeyringProblem::Unreachable)?;
            entries.insert(account.to_owned(), secret.text().to_owned());
            Ok(())
        }

        fn delete(&self, account: &str) -> Result<bool, KeyringProblem> {
            self.ready()?;
            let mut entries = self.entries.lock().map_err(|_| KeyringProblem::Unreachable)?;
            Ok(entries.remove(account).is_some())
        }
    }
}
