//! What can go wrong with files, in words that say what to do next.

use std::{io, path::Path};

use crate::files::name::Refusal;

/// Why a file was not written, not read or not shown.
///
/// [`Display`](std::fmt::Display) says what happened in one clause, [`code`](Self::code) is
/// the stable word for programs, and [`next_step`](Self::next_step) says how to mend it.
/// The system's own error, where there was one, is the [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A path that is not allowed here, whatever lies there.
    #[error("`{path}` is refused: {refusal}")]
    PathRefused {
        /// The path as it was given, made printable and cut to 200 characters.
        path: String,
        /// Which rule it broke.
        refusal: Refusal,
    },

    /// The output folder itself can't be used.
    #[error("`{path}` can't be the output folder: {why}")]
    Folder {
        /// The folder.
        path: String,
        /// Which rule it broke.
        why: &'static str,
    },

    /// The name is taken. Nothing was replaced.
    #[error("`{path}` already exists and was left as it is")]
    Exists {
        /// Where the existing file, folder or link lies.
        path: String,
    },

    /// There is no such file.
    #[error("there is no file at `{path}`")]
    NotFound {
        /// Where it was looked for.
        path: String,
    },

    /// The disk or the system would not do it.
    #[error("could not {doing} `{path}`: {trouble}")]
    Disk {
        /// The file or folder.
        path: String,
        /// What was being done, as a verb: "write to", "create".
        doing: &'static str,
        /// What the system's answer means.
        trouble: DiskTrouble,
        /// The system's answer.
        source: Option<io::Error>,
    },

    /// Saved bytes read back differently from what was written.
    #[error("`{path}` does not hold the bytes that were written to it")]
    Changed {
        /// The file. It is left where it is, because it may be somebody else's by now.
        path: String,
    },

    /// A download of more bytes than allowed, counted while they came in.
    #[error("what was to become `{path}` is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The file it was to become.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },

    /// A local file of more bytes than are read.
    #[error("`{path}` is larger than the {limit} bytes that are read")]
    TooLargeToRead {
        /// The file.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },

    /// The bytes that came are no picture, sound, film, mesh or archive known here.
    #[error("what was to become `{path}` is no asset: it {found}")]
    WrongType {
        /// The file it was to become.
        path: String,
        /// What the bytes look like, as the end of a sentence.
        found: String,
    },

    /// The bytes that came end before the file does.
    #[error("what was to become `{path}` is cut short: its end is missing")]
    CutShort {
        /// The file it was to become.
        path: String,
    },

    /// A pattern that can't be followed.
    #[error("the pattern `{pattern}` can't be used: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it, or with what lies below it.
        why: String,
    },

    /// A picture whose metadata can't be told from its pixels.
    #[error("`{path}` is damaged, so its metadata can't be taken out: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// A local file that is no asset.
    #[error("`{path}` is no asset: it {found}")]
    Unsupported {
        /// The file.
        path: String,
        /// What the bytes look like, as the end of a sentence.
        found: String,
    },

    /// A picture that can't be decoded: damaged, cut short, or of a kind without preview.
    #[error("the picture can't be decoded: it is damaged, cut short, or of a kind without preview")]
    Undecodable {
        /// The decoder's reason, where a decoder ran.
        source: Option<image::ImageError>,
    },

    /// A picture with more pixels than are ever decoded here.
    #[error("the picture has {width} x {height} pixels, more than are decoded here")]
    TooManyPixels {
        /// Width in pixels as the file's header claims.
        width: u32,
        /// Height in pixels as the file's header claims.
        height: u32,
    },
}

impl FileError {
    /// The stable word for this kind of failure, lower snake case.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PathRefused { .. } | Self::Folder { .. } => "path_refused",
            Self::Exists { .. } => "file_exists",
            Self::NotFound { .. } => "file_not_found",
            Self::Disk { .. } | Self::Changed { .. } => "disk",
            Self::TooLarge { .. } | Self::WrongType { .. } | Self::CutShort { .. } => {
                "download_failed"
            }
            Self::TooLargeToRead { .. } => "file_too_large",
            Self::Unsupported { .. } => "unsupported_file",
            Self::Pattern { .. } => "invalid_argument",
            Self::Damaged { .. } => "image_unreadable",
            Self::Undecodable { .. } | Self::TooManyPixels { .. } => "image_unreadable",
        }
    }

    /// What the caller can do about it: whole sentences.
    #[must_use]
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::PathRefused { .. } => {
                "Give a file or folder below the output folder, such as `assets/knight.png` or \
                 `assets/icons/`."
            }
            Self::Folder { .. } => {
                "Set `LAYER_OUTPUT_DIR` (or `--output-dir`) to a folder of your project."
            }
            Self::Exists { .. } => "Choose another name in `save_to`; nothing is ever replaced.",
            Self::NotFound { .. } => "Check the spelling; paths are relative to the output folder.",
            Self::Disk { trouble, .. } => trouble.next_step(),
            Self::Changed { .. } => {
                "Look at the file and the disk, then collect the result again; that costs nothing."
            }
            Self::TooLarge { .. } => {
                "Files of this size are not fetched: take it from app.layer.ai."
            }
            Self::TooLargeToRead { .. } => "Give a smaller file.",
            Self::WrongType { .. } | Self::CutShort { .. } => {
                "Collect the result again; if it stays so, look at the job at Layer."
            }
            Self::Unsupported { .. } => {
                "Give a picture (PNG, JPEG, WebP, GIF), a film, a sound or a mesh file."
            }
            Self::Pattern { .. } => {
                "Name the folder, or a narrower pattern such as `art/heroes/*.png`."
            }
            Self::Damaged { .. } => "Save the picture anew, as PNG, JPEG or WebP, and give that.",
            Self::Undecodable { .. } => "Open the file itself, or make a PNG, JPEG or WebP of it.",
            Self::TooManyPixels { .. } => "Scale the picture down, or open the file itself.",
        }
    }

    /// An error of the system on the way to `path`, told apart into "not allowed",
    /// "not there", "taken" and "the disk".
    pub(crate) fn from_io(path: &str, doing: &'static str, error: io::Error) -> Self {
        let path = shown(path);
        let refused = |refusal| Self::PathRefused { path: path.clone(), refusal };
        match error.kind() {
            // cap-std reports a way out of the folder as a denial without a system error.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
                refused(Refusal::LeadsOut)
            }
            io::ErrorKind::NotADirectory => refused(Refusal::FileInTheWay),
            io::ErrorKind::InvalidFilename => refused(Refusal::TooLong),
            io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => Self::Exists { path },
            _ if is_link_loop(&error) => refused(Refusal::LeadsOut),
            _ => Self::Disk { path, doing, trouble: DiskTrouble::of(&error), source: Some(error) },
        }
    }

    /// As [`from_io`](Self::from_io), for paths that must exist already.
    pub(crate) fn from_read(path: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path: shown(path) },
            _ => Self::from_io(path, "read", error),
        }
    }
}

/// What a failed write means, in the words a user needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskTrouble {
    /// No room left, or less than is kept free.
    Full,
    /// The user's quota is used up, or the file is larger than the disk's format allows.
    Quota,
    /// The disk is mounted for reading only.
    ReadOnly,
    /// This user may not write there.
    Denied,
    /// The folder vanished while it was in use.
    Gone,
    /// Anything else.
    Other,
}

impl DiskTrouble {
    /// What an error of the system means.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::Full,
            io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Quota,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Other,
        }
    }

    const fn next_step(self) -> &'static str {
        match self {
            Self::Full => "Free some space, then collect the result again; that costs nothing.",
            Self::Quota => {
                "Free some of your quota or use another disk, then collect the result again; that \
                 costs nothing."
            }
            Self::ReadOnly | Self::Denied => {
                "Make the folder writable for you, or set `LAYER_OUTPUT_DIR` to one that is."
            }
            Self::Gone => {
                "Create the folder again, or set `LAYER_OUTPUT_DIR` to one that exists, and restart."
            }
            Self::Other => "Check the disk, then collect the result again; that costs nothing.",
        }
    }
}

impl std::fmt::Display for DiskTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk is full",
            Self::Quota => "the disk quota is used up",
            Self::ReadOnly => "the disk is read-only",
            Self::Denied => "permission denied",
            Self::Gone => "the folder is not there",
            Self::Other => "the system refused",
        })
    }
}

/// `path` for a message: no control or invisible characters, at most 200 characters.
pub(crate) fn shown(path: &str) -> String {
    const MOST: usize = 200;
    let clean = |c| if crate::files::path::is_unprintable(c) { '\u{fffd}' } else { c };
    let mut text: String = path.chars().take(MOST).map(clean).collect();
    if path.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}

/// [`shown`] for a path of the system.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

#[cfg(unix)]
fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_link_loop(_error: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn each_answer_of_the_system_gets_its_own_words() {
        use rustix::io::Errno;
        let table = [
            (Errno::NOSPC, "disk", "the disk is full"),
            (Errno::DQUOT, "disk", "the disk quota is used up"),
            (Errno::ROFS, "disk", "the disk is read-only"),
            (Errno::ACCESS, "disk", "permission denied"),
            (Errno::PERM, "disk", "permission denied"),
            (Errno::IO, "disk", "the system refused"),
            (Errno::NOENT, "disk", "the folder is not there"),
            (Errno::EXIST, "file_exists", "already exists"),
            (Errno::NAMETOOLONG, "path_refused", "too long"),
            (Errno::NOTDIR, "path_refused", "a file is in the way"),
            (Errno::LOOP, "path_refused", "leads out of the output folder"),
        ];
        for (errno, code, words) in table {
            let error = FileError::from_io("assets/a.png", "write to", errno.into());
            assert_eq!(error.code(), code, "{errno:?}");
            let text = error.to_string();
            assert!(text.contains(words), "{errno:?}: {text}");
            assert!(text.contains("assets/a.png") && !text.ends_with('.'), "{text}");
            assert!(error.next_step().ends_with('.'));
        }
    }

    #[test]
    fn a_message_holds_no_control_characters_and_is_short() {
        let text = shown(&format!("a\u{1b}[31m\n\u{202e}{}", "x".repeat(500)));
        assert!(text.chars().count() <= 201 && !text.chars().any(char::is_control), "{text}");
        assert!(!text.contains('\u{202e}'));
    }
}
