//! A file on its way out of the machine: judged by its bytes, and without its metadata.

use sha2::{Digest, Sha256};

use super::error::{FileError, shown, shown_path};
use super::media::{self, HEAD_BYTES, MediaType};
use super::{OutputDir, metadata};

/// Bytes that may leave the machine.
#[non_exhaustive]
pub struct Outgoing {
    /// Where they lie; as it was given for what lies elsewhere.
    pub path: std::path::PathBuf,
    /// What they are.
    pub media_type: MediaType,
    /// How many bytes the file itself has.
    pub length: u64,
    /// SHA-256 of the file itself.
    pub sha256: String,
    /// What is to be sent.
    pub bytes: Vec<u8>,
    /// SHA-256 of what is to be sent.
    pub sent_sha256: String,
    /// True when metadata was taken out, so that the two differ.
    pub stripped: bool,
}

impl Outgoing {
    /// Judges bytes that came from elsewhere; `place` stands for them in errors.
    ///
    /// # Errors
    /// [`FileError::Unsupported`] for what is no asset; [`FileError::Damaged`] for a picture whose
    /// metadata can't be taken out.
    pub fn of(place: &str, bytes: Vec<u8>) -> Result<Self, FileError> {
        Self::new(place.into(), shown(place), bytes)
    }

    fn new(path: std::path::PathBuf, shown: String, bytes: Vec<u8>) -> Result<Self, FileError> {
        let length = bytes.len() as u64;
        let head = bytes.get(..HEAD_BYTES).unwrap_or(&bytes);
        let Some(media_type) = MediaType::detect(head, length) else {
            return Err(FileError::Unsupported { path: shown, found: media::describe(head) });
        };
        let sha256 = hash(&bytes);
        let without = metadata::without(&bytes, media_type)
            .map_err(|why| FileError::Damaged { path: shown, why })?;
        Ok(match without {
            Some(rest) => Self {
                path,
                media_type,
                length,
                sha256,
                sent_sha256: hash(&rest),
                bytes: rest,
                stripped: true,
            },
            None => {
                let sent_sha256 = sha256.clone();
                Self { path, media_type, length, sha256, bytes, sent_sha256, stripped: false }
            }
        })
    }
}

impl OutputDir {
    /// Reads a file of at most `max_bytes` that is to leave the machine.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`Outgoing::of`].
    pub fn outgoing(&self, path: &str, max_bytes: u64) -> Result<Outgoing, FileError> {
        let (path, bytes) = self.bytes(path, max_bytes)?;
        let shown = shown_path(&path);
        Outgoing::new(path, shown, bytes)
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
