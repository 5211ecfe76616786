//! The advisory lock that keeps readers and writers of a folder apart.

use std::fs::{File, TryLockError};
use std::time::Duration;

use super::error::StoreError;
use super::fsops::Folder;

/// The file that is locked. It stays empty.
pub(super) const LOCK_FILE: &str = ".lock";

/// How a lock is to be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    /// With other readers.
    Shared,
    /// With nobody.
    Exclusive,
}

/// A lock that is held. Functions that need one take it as an argument, so that forgetting it
/// does not compile.
pub(super) struct StoreLock {
    /// Closing the file releases the lock.
    _file: Option<File>,
    read_only: bool,
}

impl StoreLock {
    /// Whether the file system cannot be written, so that nothing can be finished there.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }
}

/// Locks a folder, waiting for others for at most `wait`.
///
/// On a file system that can only be read and has no lock file there is nothing to lock and
/// nobody to be kept out.
pub(super) fn acquire(
    folder: &Folder,
    mode: LockMode,
    wait: Duration,
) -> Result<StoreLock, StoreError> {
    let path = || folder.path().join(LOCK_FILE);
    let (file, read_only) = folder.lock_file(LOCK_FILE)?;
    if let Some(file) = &file {
        let mut waited = Duration::ZERO;
        loop {
            let attempt = match mode {
                LockMode::Shared => file.try_lock_shared(),
                LockMode::Exclusive => file.try_lock(),
            };
            match attempt {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < wait => {
                    std::thread::sleep(POLL);
                    waited += POLL;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Busy { path: path(), holder: holder(file) });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::Io { action: "lock", path: path(), source });
                }
            }
        }
    }
    Ok(StoreLock { _file: file, read_only })
}

/// The process that holds a lock on this file, as `/proc/locks` tells it.
#[cfg(target_os = "linux")]
fn holder(file: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    let facts = file.metadata().ok()?;
    let device = facts.dev();
    let place = format!(
        "{:02x}:{:02x}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device),
        facts.ino()
    );
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, &place)
}

#[cfg(not(target_os = "linux"))]
fn holder(_file: &File) -> Option<u32> {
    None
}

/// Lines read `1: FLOCK  ADVISORY  WRITE 708 08:01:2886 0 EOF`; a waiting process has `->` after
/// the number (proc_locks(5)).
#[cfg(target_os = "linux")]
fn holder_in(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, _, pid, found, ..] if *found == place => pid.parse().ok(),
            _ => None,
        }
    })
}

const POLL: Duration = Duration::from_millis(20);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_and_a_waiting_process_is_not() {
        let locks = "1: -> FLOCK  ADVISORY  WRITE 12 08:01:77 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 13 08:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 14 08:01:77 0 EOF\n";
        assert_eq!(holder_in(locks, "08:01:77"), Some(14));
        assert_eq!(holder_in(locks, "08:01:78"), None);
    }
}
