//! Which names are allowed, and how a prompt or a wish becomes one.
//!
//! The rules are the same on every system, so that a project written on Linux can be checked
//! out on Windows. They judge text only; that a path stays inside the folder in spite of
//! links is the business of the directory handle in [`files`](crate::files).

use std::{fmt, path::Path, str::FromStr};

use unicode_normalization::UnicodeNormalization;

use crate::files::{
    error::{FileError, shown},
    media::MediaType,
    path::{Split, judge_all, split, strip_root},
};

/// The folder that takes assets when a call names none.
pub const DEFAULT_FOLDER: &str = "assets";

/// Where a tool call wants its files: a file or a folder below the output folder.
///
/// | Given | Means |
/// |---|---|
/// | `knight.png`, `./art/knight.png` | this file; its extension follows the bytes |
/// | `art/`, `art`, `v1.5` | a folder (a last dot counts when letters or a known type follow) |
/// | `/abs/inside/art/` | the same, when the output folder is `/abs/inside` |
///
/// `\` is a separator on every system, so that a path means the same place everywhere. Text
/// is put into Unicode's form C. Refused: empty text, `..`, hidden parts (leading dot), a
/// leading `-` or `~`, a trailing dot or space, a leading space, `< > : " | ? *`, control and
/// invisible characters, Windows device names and short names, parts above 240 bytes, paths
/// above 1,024 bytes, and absolute paths that lead elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveTo {
    given: String,
    absolute: bool,
    parts: Vec<String>,
    folder: bool,
}

impl SaveTo {
    /// Reads what a tool call gave.
    ///
    /// # Errors
    /// [`FileError::PathRefused`] with the rule that was broken. An absolute path is judged
    /// in full only when it meets a folder, in `OutputDir::target`.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let refused = |refusal| FileError::PathRefused { path: shown(text), refusal };
        if text.trim().is_empty() {
            return Err(refused(Refusal::Empty));
        }
        let normal: String = text.nfc().collect();
        let Split { absolute, parts, folder } = split(&normal).map_err(refused)?;
        if !absolute {
            judge_all(&parts).map_err(refused)?;
        }
        Ok(Self { given: text.to_owned(), absolute, parts, folder })
    }

    /// The text as it was given.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The folder parts and, when a file is meant, its name, below `roots` (the same folder
    /// in several spellings).
    pub(crate) fn below(&self, roots: &[&Path]) -> Result<(Vec<String>, Option<Wish>), FileError> {
        let refused = |refusal| FileError::PathRefused { path: shown(&self.given), refusal };
        let mut parts = if self.absolute {
            let parts = strip_root(&self.parts, roots).ok_or(refused(Refusal::Outside))?;
            judge_all(parts).map_err(refused)?;
            parts.to_vec()
        } else {
            self.parts.clone()
        };
        let wish = match parts.last() {
            Some(last) if !self.folder => Wish::of(last),
            _ => None,
        };
        if wish.is_some() {
            parts.pop();
        }
        Ok((parts, wish))
    }
}

impl FromStr for SaveTo {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SaveTo {
    type Error = FileError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for SaveTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.given))
    }
}

/// A file name somebody asked for, apart from its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The name without the extension of a known type.
    pub(crate) stem: String,
    /// The extension as it was spelled, when it is one of a known type.
    pub(crate) extension: Option<String>,
}

impl Wish {
    /// `None` when the name reads as a folder's: it has no extension.
    fn of(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        let known = MediaType::from_extension(extension).is_some();
        let plain = extension.len() <= 10
            && extension.bytes().all(|b| b.is_ascii_alphanumeric())
            && extension.bytes().any(|b| b.is_ascii_alphabetic());
        if known {
            Some(Self { stem: stem.to_owned(), extension: Some(extension.to_owned()) })
        } else if plain {
            // An unknown ending (`knight.v2`) stays, and the real one follows it.
            Some(Self { stem: name.to_owned(), extension: None })
        } else {
            None
        }
    }
}

/// Where the files of one job go: a folder, a name, and how many there will be.
///
/// Made by `OutputDir::target`. Names come from [`name`](Self::name) once the bytes have
/// shown their type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) folder: Vec<String>,
    pub(crate) stem: String,
    pub(crate) extension: Option<String>,
    pub(crate) wished: bool,
    pub(crate) count: u32,
}

impl Target {
    /// The name of output `index` (from 0): `knight.png` when there is one output,
    /// `knight-1.png`, `knight-2.png` ... when there are several. The extension is the wished
    /// one when it fits the type (`JPG`, `jpeg` for JPEG), else the type's own.
    #[must_use]
    pub fn name(&self, index: u32, media: MediaType) -> String {
        let extension = self.extension_for(media);
        if self.count > 1 {
            format!("{}-{}.{extension}", self.stem, index.saturating_add(1))
        } else {
            format!("{}.{extension}", self.stem)
        }
    }

    /// The name that was asked for, when a file was asked for: what to show beside the name
    /// it really got.
    #[must_use]
    pub fn asked_name(&self, index: u32) -> Option<String> {
        if !self.wished {
            return None;
        }
        let number =
            if self.count > 1 { format!("-{}", index.saturating_add(1)) } else { String::new() };
        Some(match &self.extension {
            Some(extension) => format!("{}{number}.{extension}", self.stem),
            None => format!("{}{number}", self.stem),
        })
    }

    /// True when the call named a file and not a folder.
    #[must_use]
    pub const fn is_wish(&self) -> bool {
        self.wished
    }

    /// How many outputs are planned, at least 1.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The folder below the output folder, with `/` between its parts; empty for the output
    /// folder itself.
    #[must_use]
    pub fn folder(&self) -> String {
        self.folder.join("/")
    }

    /// The type that the wished extension stands for.
    #[must_use]
    pub fn wished_type(&self) -> Option<MediaType> {
        self.extension.as_deref().and_then(MediaType::from_extension)
    }

    fn extension_for(&self, media: MediaType) -> &str {
        match &self.extension {
            Some(wished) if MediaType::from_extension(wished) == Some(media) => wished,
            _ => media.extension(),
        }
    }
}

/// The rule that a path broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No text, or only spaces.
    Empty,
    /// A control or invisible character.
    Unprintable,
    /// One of `< > : " | ? *`.
    Character,
    /// A `..` part.
    Parent,
    /// An absolute path that does not lie in the folder.
    Outside,
    /// A part with a leading dot.
    Hidden,
    /// A part that begins with `-`, `~` or a space.
    Start,
    /// A part that ends with a dot or a space.
    End,
    /// A name that Windows keeps for a device, in whatever case and with any extension.
    Device,
    /// A Windows short name, which may stand for a hidden folder.
    ShortName,
    /// More than 240 bytes in a part or 1,024 in the path, or too long for this disk.
    TooLong,
    /// A link leads out of the folder, or into a hidden one, or in a circle.
    LeadsOut,
    /// A folder is needed where a file lies.
    FileInTheWay,
    /// A folder, a device or a pipe where a file is needed.
    NotAFile,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Unprintable => "it holds a control or an invisible character",
            Self::Character => "the characters < > : \" | ? * are not allowed in names",
            Self::Parent => "`..` is not allowed",
            Self::Outside => "it is absolute and not inside the output folder",
            Self::Hidden => "hidden files and folders (leading dot) are not touched",
            Self::Start => "names begin with a letter or a digit, not with `-`, `~` or a space",
            Self::End => "names don't end with a dot or a space",
            Self::Device => "Windows keeps this name for a device",
            Self::ShortName => "it looks like a Windows short name (`~1`)",
            Self::TooLong => "it is too long; a name has at most 240 bytes and a path 1,024",
            Self::LeadsOut => "it leads out of the output folder, or into a hidden part of it",
            Self::FileInTheWay => "a file is in the way where a folder is needed",
            Self::NotAFile => "it is not a plain file",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test that meets the unexpected should stop"
    )]

    use proptest::prelude::*;

    use super::*;
    use crate::files::{path::judge, slug};

    fn below(text: &str) -> Result<(Vec<String>, Option<Wish>), FileError> {
        SaveTo::parse(text)?.below(&[Path::new("/home/game"), Path::new("/real/game")])
    }

    /// Every way out of the folder that is known to have worked somewhere.
    #[test]
    fn hostile_paths_are_refused() {
        let long = "x".repeat(241);
        let longer = "x".repeat(300);
        let deep = "deep/".repeat(300);
        let table = [
            "",
            " ",
            "\t",
            "\n",
            "..",
            "../x.png",
            "../../etc/passwd",
            "a/../x.png",
            "a/b/../../../x",
            "./../x",
            "a/..",
            "..\\x.png",
            "a\\..\\..\\x.png",
            "..\\..\\Windows",
            "/",
            "/etc/passwd",
            "/etc/cron.d/x",
            "/home/game_evil/x.png",
            "/work",
            "/home/gam",
            "/home/game/../x.png",
            "/home/game/.git/config",
            "/WORK/game/x.png",
            "//server/share/x",
            "\\\\server\\share\\x",
            "\\\\?\\C:\\Windows\\x",
            "\\\\.\\PhysicalDrive0",
            "//?/etc/x",
            "C:\\Windows\\x.png",
            "C:/x.png",
            "C:x.png",
            "c:",
            "file:///etc/passwd",
            "https://evil.example/x.png",
            "x.png:stream",
            "x.png::$DATA",
            ".git/hooks/pre-commit",
            "a/.git/config",
            ".env",
            "a/.env",
            ".layer-mcp/secure/key.bin",
            ".png",
            "...",
            ".hidden/x.png",
            "a/.b/c.png",
            "-rf",
            "-rf.png",
            "a/--help.png",
            "~/x.png",
            "~root/x",
            "~",
            "CON",
            "con.png",
            "a/NUL.png",
            "aux.tar.gz",
            "COM1",
            "com9.png",
            "LPT1.png",
            "LPT\u{b9}.png",
            "COM\u{b2}",
            "CONIN$",
            "conout$.png",
            "nul .png",
            "a/prn/x.png",
            "x.png.",
            "x.png ",
            "a /x.png",
            "a./x.png",
            " x.png",
            "x.png\u{a0}",
            "a\0b.png",
            "x\n.png",
            "x\r.png",
            "\u{1b}[31mx.png",
            "x\u{7f}.png",
            "x\u{85}.png",
            "x\u{202e}gnp.exe",
            "x\u{200b}.png",
            ".\u{200b}git/x",
            "x\u{feff}.png",
            "x\u{e0041}.png",
            "x\u{2028}.png",
            "GIT~1/config",
            "LAYER-~1.MCP",
            "git~12",
            "a<b.png",
            "a>b.png",
            "a|b.png",
            "a?.png",
            "*.png",
            "a\"b.png",
            &long,
            &longer,
            &deep,
            "a/\u{3164}.png",
        ];
        assert!(table.len() >= 60);
        for text in table {
            match below(text) {
                Ok(found) => {
                    // Only the root itself is harmless, and only if it names no file.
                    panic!("{text:?} was allowed as {found:?}");
                }
                Err(error) => assert_eq!(error.code(), "path_refused", "{text:?}"),
            }
        }
    }

    #[test]
    fn ordinary_paths_mean_what_they_say() {
        let table = [
            ("knight.png", "", Some(("knight", Some("png")))),
            ("./art/knight.PNG", "art", Some(("knight", Some("PNG")))),
            ("art/knight.jpeg", "art", Some(("knight", Some("jpeg")))),
            ("art\\icons\\sword.webp", "art/icons", Some(("sword", Some("webp")))),
            ("art//icons/", "art/icons", None),
            ("art", "art", None),
            (".", "", None),
            ("v1.5", "v1.5", None),
            ("knight.v2", "", Some(("knight.v2", None))),
            ("run.sh", "", Some(("run.sh", None))),
            ("knight.v2.png", "", Some(("knight.v2", Some("png")))),
            ("knight.png/", "knight.png", None),
            ("/home/game/art/a.png", "art", Some(("a", Some("png")))),
            ("/real/game/", "", None),
            ("Ritter Kunibert.png", "", Some(("Ritter Kunibert", Some("png")))),
            ("騎士.png", "", Some(("騎士", Some("png")))),
            ("concept.png", "", Some(("concept", Some("png")))),
            ("community/com10.png", "community", Some(("com10", Some("png")))),
            ("$(touch x).png", "", Some(("$(touch x)", Some("png")))),
            ("sound.mp3", "", Some(("sound", Some("mp3")))),
        ];
        for (text, folder, wish) in table {
            let (parts, found) = below(text).unwrap();
            assert_eq!(parts.join("/"), folder, "{text:?}");
            let found = found.as_ref().map(|w| (w.stem.as_str(), w.extension.as_deref()));
            assert_eq!(found, wish, "{text:?}");
        }
    }

    #[test]
    fn composed_and_decomposed_names_are_one_name() {
        assert_eq!(below("ka\u{308}se.png").unwrap(), below("k\u{e4}se.png").unwrap());
    }

    #[test]
    fn names_are_numbered_and_follow_the_bytes() {
        let target = |extension: Option<&str>, count| Target {
            folder: Vec::new(),
            stem: "knight".to_owned(),
            extension: extension.map(str::to_owned),
            wished: true,
            count,
        };
        assert_eq!(target(Some("png"), 1).name(0, MediaType::Png), "knight.png");
        assert_eq!(target(Some("PNG"), 1).name(0, MediaType::Png), "knight.PNG");
        assert_eq!(target(Some("jpeg"), 1).name(0, MediaType::Jpeg), "knight.jpeg");
        assert_eq!(target(Some("png"), 1).name(0, MediaType::Jpeg), "knight.jpg");
        assert_eq!(target(None, 4).name(3, MediaType::Glb), "knight-4.glb");
        assert_eq!(target(Some("png"), 4).asked_name(1).unwrap(), "knight-2.png");
    }

    proptest! {
        #[test]
        fn a_slug_is_always_a_good_name_and_its_own_slug(prompt in "\\PC{0,80}|.{0,80}") {
            let first = slug(&prompt);
            prop_assert_eq!(&slug(&first), &first);
            prop_assert!(first.chars().count() <= 46 && first.len() <= 86, "{}", first);
            prop_assert!(judge(&first).is_ok(), "{:?}", first);
            prop_assert!(!first.contains(['/', '\\', '.']));
            // As a wish it is a folder, with an extension a file.
            let file = format!("{first}.png");
            prop_assert!(below(&file).unwrap().1.is_some());
        }

        #[test]
        fn what_is_allowed_never_climbs_or_hides(text in "[a-z./\\\\~:\\- ]{0,24}|.{0,60}") {
            if let Ok((parts, wish)) = below(&text) {
                for part in parts.iter().chain(wish.as_ref().map(|w| &w.stem)) {
                    prop_assert!(!part.is_empty() && !part.starts_with('.'), "{:?}", text);
                    prop_assert!(!part.contains(['/', '\\', ':', '\0']), "{:?}", text);
                }
            }
        }
    }
}
