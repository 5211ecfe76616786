//! Files and folders that only their owner may see.
//!
//! On Unix everything happens through descriptors: what was checked is what is used, whatever
//! becomes of the path in between. Files are created with their final mode, and what is open to
//! others is refused, as `ssh` does. Elsewhere there are no modes, and the folder's inherited
//! access rules (those of the user's profile on Windows) have to be right.

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

#[cfg(not(unix))]
pub(super) use portable::{Folder, read_private};
#[cfg(unix)]
pub(super) use unix::{Folder, read_private};

use super::error::StoreError;

/// Permission bits of private files.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;
/// Permission bits of private folders.
#[cfg(unix)]
const FOLDER_MODE: u32 = 0o700;

/// Reads a file to its end, and one byte more than `most` at the most, so that the caller sees
/// when there is too much. The buffer never grows and so leaves no copies behind.
fn read_bounded(file: &File, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(2)));
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An error of the operating system as one of the store's.
fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_path_buf(), source }
}
