//! The files that a pattern such as `art/**/*.png` stands for.
//!
//! The walk goes through the folder's handle, follows no link, and is bounded: a pattern over a
//! whole disk is an error and not a long wait.

use std::path::PathBuf;

use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use unicode_normalization::UnicodeNormalization;

use super::error::{FileError, shown};
use super::media::{HEAD_BYTES, MediaType};
use super::name::Refusal;
use super::{OutputDir, path};

/// So many entries of folders are looked at for one pattern.
pub const MOST_LOOKED_AT: usize = 10_000;
/// Folders that lie deeper below the first wildcard are not entered.
const DEEPEST: usize = 16;
/// What tools put beside a project's own files. A wildcard leaves it alone; its name does not.
const OF_TOOLS: [&str; 2] = ["node_modules", "target"];

/// True for a text with a wildcard in it.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// What a pattern stands for.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matches {
    /// Paths relative to the folder, sorted.
    pub paths: Vec<String>,
    /// How many further files have a fitting name, and are of another type.
    pub others: usize,
}

/// A pattern, taken apart at its first wildcard.
struct Pattern {
    /// The folder that the walk begins in.
    folder: Vec<String>,
    whole: GlobMatcher,
    /// One for each part before the first `**`: a folder that fits none is not entered.
    parts: Vec<GlobMatcher>,
    /// How deep a match can lie; `None` with a `**`.
    depth: Option<usize>,
    /// The parts without a wildcard.
    literal: Vec<String>,
}

impl Pattern {
    fn new(parts: &[String], refused: impl Fn(Refusal) -> FileError) -> Result<Self, FileError> {
        let wild = parts.iter().position(|part| is_pattern(part)).unwrap_or(parts.len());
        let (folder, rest) = parts.split_at(wild);
        path::judge_existing(folder).map_err(&refused)?;
        if rest.iter().any(|part| part.starts_with('.')) {
            return Err(refused(Refusal::Hidden));
        }
        let rest: Vec<String> = rest.iter().map(|part| part.nfc().collect()).collect();
        let text = rest.join("/");
        let matcher = |text: &str| {
            GlobBuilder::new(text)
                .literal_separator(true)
                .backslash_escape(false)
                .case_insensitive(cfg!(windows))
                .build()
                .map(|glob| glob.compile_matcher())
                .map_err(|error| FileError::Pattern {
                    pattern: shown(text),
                    why: error.kind().to_string(),
                })
        };
        // A brace may hold a separator; then the parts are no patterns by themselves.
        let whole_parts = rest.iter().all(|part| {
            part.matches('{').count() == part.matches('}').count()
                && part.matches('[').count() == part.matches(']').count()
        });
        let deep = text.contains("**");
        let shallow = rest.iter().take_while(|part| !part.contains("**"));
        Ok(Self {
            folder: folder.to_vec(),
            whole: matcher(&text)?,
            parts: match whole_parts {
                true => shallow.map(|part| matcher(part)).collect::<Result<_, _>>()?,
                false => Vec::new(),
            },
            depth: (!deep).then_some(rest.len()),
            literal: rest.into_iter().filter(|part| !is_pattern(part)).collect(),
        })
    }

    /// Whether to look into the folder `name`, which lies so many folders below the first.
    fn enters(&self, name: &str, depth: usize) -> bool {
        self.depth.is_none_or(|deepest| depth + 1 < deepest)
            && self.parts.get(depth).is_none_or(|part| part.is_match(name))
            && (!OF_TOOLS.contains(&name) || self.literal.iter().any(|part| part == name))
    }
}

impl OutputDir {
    /// The plain files below the folder that fit `pattern` and are of a type that is `wanted`,
    /// judged by their bytes.
    ///
    /// `*` and `?` stand for characters within a part of the path, `**` for any folders,
    /// `{a,b}` for one of several, `[a-z]` for one of these characters. A file that has the
    /// pattern itself for a name is that file. Hidden files and folders are left out, links are
    /// not followed, and `node_modules` and `target` are entered only by their names.
    ///
    /// # Errors
    /// [`FileError::PathRefused`] as for any path; [`FileError::Pattern`] for one that can't be
    /// read, and when more than [`MOST_LOOKED_AT`] entries or 16 levels would be looked at;
    /// [`FileError::NotFound`] when the folder before the first wildcard is not there.
    pub fn matching(
        &self,
        pattern: &str,
        wanted: impl Fn(MediaType) -> bool,
    ) -> Result<Matches, FileError> {
        let refused = |refusal| FileError::PathRefused { path: shown(pattern), refusal };
        let split = path::split(pattern).map_err(refused)?;
        let parts = if split.absolute {
            path::strip_root(&split.parts, &self.roots()).ok_or(refused(Refusal::Outside))?
        } else {
            &split.parts
        };
        if parts.is_empty() {
            return Err(refused(Refusal::NotAFile));
        }
        let itself: PathBuf = parts.iter().collect();
        if self.0.dir.symlink_metadata(&itself).is_ok_and(|it| it.is_file()) {
            return Ok(Matches { paths: vec![parts.join("/")], others: 0 });
        }
        let wanted_pattern = Pattern::new(parts, refused)?;
        let failed = |error| FileError::from_read(&shown(pattern), error);
        let top = self.open_folder(&wanted_pattern.folder).map_err(failed)?;
        let mut found = Matches::default();
        for below in names(&top, &wanted_pattern, pattern)? {
            let path: Vec<&str> =
                wanted_pattern.folder.iter().map(String::as_str).chain([below.as_str()]).collect();
            let path = path.join("/");
            match self.type_of(&path)? {
                Some(media) if wanted(media) => found.paths.push(path),
                _ => found.others += 1,
            }
        }
        found.paths.sort_unstable();
        Ok(found)
    }

    /// What a file is, by its first bytes; `None` for what is no asset or gone by now.
    fn type_of(&self, path: &str) -> Result<Option<MediaType>, FileError> {
        use std::io::Read as _;
        let (file, len) = match self.open_file(path.as_ref()) {
            Err(FileError::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        let mut head = Vec::new();
        file.take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|error| FileError::from_read(&shown(path), error))?;
        Ok(MediaType::detect(&head, len))
    }
}

/// The paths below `top` of plain files whose names fit.
fn names(top: &Dir, wanted: &Pattern, pattern: &str) -> Result<Vec<String>, FileError> {
    let failed = |error| FileError::from_read(&shown(pattern), error);
    let beyond = |why: String| FileError::Pattern { pattern: shown(pattern), why };
    let (mut found, mut looked_at) = (Vec::new(), 0_usize);
    let mut folders = vec![(String::new(), 0_usize)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match folder.as_str() {
            "" => top.entries().map_err(failed)?,
            below => match top.open_dir(below).and_then(|dir| dir.entries()) {
                // It went while the walk was elsewhere.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            },
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            looked_at += 1;
            if looked_at > MOST_LOOKED_AT {
                return Err(beyond(format!(
                    "more than {MOST_LOOKED_AT} files and folders would have to be looked at"
                )));
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let (Ok(kind), false) = (entry.file_type(), name.starts_with('.')) else { continue };
            let path = match folder.as_str() {
                "" => name.clone(),
                above => format!("{above}/{name}"),
            };
            let plain: String = name.nfc().collect();
            if kind.is_dir() && wanted.enters(&plain, depth) {
                if depth >= DEEPEST {
                    return Err(beyond(format!(
                        "folders lie more than {DEEPEST} levels below its first wildcard"
                    )));
                }
                folders.push((path, depth + 1));
            } else if kind.is_file() && wanted.whole.is_match(path.nfc().collect::<String>()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::files::samples;

    fn folder(files: &[&str]) -> (tempfile::TempDir, OutputDir) {
        let temp = tempfile::tempdir().unwrap();
        for file in files {
            let path = temp.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let png = file.to_lowercase().ends_with(".png");
            fs::write(path, if png { samples::noise_png(2, 2) } else { b"words".to_vec() })
                .unwrap();
        }
        let folder = OutputDir::open(temp.path()).unwrap();
        (temp, folder)
    }

    fn matching(folder: &OutputDir, pattern: &str) -> Vec<String> {
        folder.matching(pattern, |media| media == MediaType::Png).unwrap().paths
    }

    #[test]
    fn a_pattern_goes_through_folders() {
        let (_temp, folder) = folder(&[
            "hero.png",
            "art/b.png",
            "art/a.png",
            "art/note.txt",
            "art/heroes/hero-1.png",
            "art/heroes/hero-12.png",
            "art/heroes/deep/hero-2.png",
            "art/knights/knight.png",
            "art/[1].png",
            "art/h\u{e4}ro.png",
            "art/.hidden/x.png",
            "art/.x.png",
            ".git/x.png",
            "node_modules/x/x.png",
            "target/x.png",
        ]);
        let table: [(&str, &[&str]); 14] = [
            ("*.png", &["hero.png"]),
            ("art/?.png", &["art/a.png", "art/b.png"]),
            ("art/{a,b,c}.png", &["art/a.png", "art/b.png"]),
            ("art/[b-z].png", &["art/b.png"]),
            ("art/[1].png", &["art/[1].png"]),
            ("art/*/hero-?.png", &["art/heroes/hero-1.png"]),
            ("**/hero-2.png", &["art/heroes/deep/hero-2.png"]),
            ("art/{heroes,knights}/k*.png", &["art/knights/knight.png"]),
            ("{art/heroes,art/knights}/k*.png", &["art/knights/knight.png"]),
            ("art/ha\u{308}r?.png", &["art/h\u{e4}ro.png"]),
            ("target/*.png", &["target/x.png"]),
            ("*/x.png", &[]),
            ("art/*.gif", &[]),
            (
                "**/*ero*.png",
                &[
                    "art/heroes/deep/hero-2.png",
                    "art/heroes/hero-1.png",
                    "art/heroes/hero-12.png",
                    "hero.png",
                ],
            ),
        ];
        for (pattern, wanted) in table {
            assert_eq!(matching(&folder, pattern), wanted, "{pattern}");
        }
        // All but what is hidden or of tools.
        assert_eq!(matching(&folder, "**").len(), 9);
        let all = folder.matching("art/*", |media| media == MediaType::Png).unwrap();
        assert_eq!((all.paths.len(), all.others), (4, 1));
        let absolute = folder.path().join("art/?.png");
        assert_eq!(matching(&folder, absolute.to_str().unwrap()).len(), 2);
    }

    #[test]
    fn a_pattern_that_can_not_be_followed_says_why() {
        let (_temp, folder) = folder(&["art/a.png"]);
        for (pattern, code) in [
            ("../*.png", "path_refused"),
            ("/etc/*", "path_refused"),
            (".git/*", "path_refused"),
            ("*/.git/*", "path_refused"),
            ("none/*.png", "file_not_found"),
            ("art/[.png", "invalid_argument"),
            ("art/{a.png", "invalid_argument"),
        ] {
            let error = folder.matching(pattern, |_| true).unwrap_err();
            assert_eq!(error.code(), code, "{pattern}: {error}");
        }
    }

    #[test]
    fn a_walk_is_bounded_in_depth_and_number() {
        let deep = format!("{}x.png", "d/".repeat(17));
        let (temp, folder) = folder(&[&deep, "a.png"]);
        let error = folder.matching("**/*.png", |_| true).unwrap_err();
        assert!(error.to_string().contains("16 levels"), "{error}");
        assert_eq!(matching(&folder, "*.png"), ["a.png"]);
        fs::create_dir(temp.path().join("many")).unwrap();
        for number in 0..=MOST_LOOKED_AT {
            fs::File::create(temp.path().join(format!("many/{number}"))).unwrap();
        }
        let error = folder.matching("many/*", |_| true).unwrap_err();
        assert!(error.to_string().contains("10000"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_pattern_follows_no_link() {
        use std::os::unix::fs::symlink;
        let (temp, folder) = folder(&["art/a.png"]);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("out.png"), samples::noise_png(2, 2)).unwrap();
        symlink(outside.path(), temp.path().join("art/out")).unwrap();
        symlink(outside.path().join("out.png"), temp.path().join("art/out.png")).unwrap();
        symlink(temp.path().join("art"), temp.path().join("art/loop")).unwrap();
        assert_eq!(matching(&folder, "**/*.png"), ["art/a.png"]);
        assert_eq!(matching(&folder, "art/*/*.png"), Vec::<String>::new());
        assert!(folder.matching("art/out/*.png", |_| true).is_err());
    }

    proptest! {
        #[test]
        fn any_pattern_is_answered(pattern in "[a-c./*?{},\\[\\]!\\\\-]{1,16}") {
            let (_temp, folder) = folder(&["a/b.png", "c.png"]);
            if let Ok(found) = folder.matching(&pattern, |_| true) {
                for path in found.paths {
                    prop_assert!(["a/b.png", "c.png"].contains(&path.as_str()), "{}", path);
                }
            }
        }
    }
}
