//! The names that a path being typed may go on with.

use std::path::PathBuf;

use super::path;
use super::{FileError, OutputDir, Refusal};
use crate::files::error::shown;

/// A folder with more entries than this is not read to its end.
const MOST_READ: usize = 5_000;

impl OutputDir {
    /// What could stand at the end of `typed`, a path below the folder: files, and folders with a
    /// `/` behind them, sorted, without hidden ones and links. Upper and lower case are the same.
    ///
    /// # Errors
    /// [`FileError::PathRefused`] for a path that leads out of the folder or can't be one. A
    /// folder that is not there or can't be read has no entries.
    pub fn continuations(&self, typed: &str) -> Result<Vec<String>, FileError> {
        let typed = typed.trim_start_matches("./");
        let (folder, begun) = typed.rsplit_once('/').unwrap_or(("", typed));
        let opened = if folder.is_empty() {
            self.0.dir.try_clone()
        } else {
            let refused = |refusal: Refusal| FileError::PathRefused { path: shown(typed), refusal };
            let split = path::split(folder).map_err(refused)?;
            if split.absolute {
                return Err(refused(Refusal::Outside));
            }
            path::judge_existing(&split.parts).map_err(refused)?;
            self.0.dir.open_dir(split.parts.iter().collect::<PathBuf>())
        };
        let Ok(entries) = opened.and_then(|dir| dir.entries()) else { return Ok(Vec::new()) };
        let begun = begun.to_lowercase();
        let mut found: Vec<String> = entries
            .take(MOST_READ)
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                if name.starts_with('.') || !name.to_lowercase().starts_with(&begun) {
                    return None;
                }
                let kind = entry.file_type().ok()?;
                let slash = match (kind.is_dir(), kind.is_file()) {
                    (true, _) => "/",
                    (_, true) => "",
                    _ => return None,
                };
                Some(match folder {
                    "" => format!("{name}{slash}"),
                    above => format!("{above}/{name}{slash}"),
                })
            })
            .collect();
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_path_goes_on_with_what_is_there_and_never_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        for folder in ["Art/heroes", "art2", ".git"] {
            std::fs::create_dir_all(temp.path().join(folder)).unwrap();
        }
        for file in ["art.png", "Art/knight.png", "Art/heroes/a.png", "Art/.hidden"] {
            std::fs::write(temp.path().join(file), "x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/", temp.path().join("Art/root")).unwrap();
        let output = OutputDir::open_existing(temp.path()).unwrap();
        for (typed, expected) in [
            ("", vec!["Art/", "art.png", "art2/"]),
            ("AR", vec!["Art/", "art.png", "art2/"]),
            ("./art.", vec!["art.png"]),
            ("Art/", vec!["Art/heroes/", "Art/knight.png"]),
            ("Art/root/", vec![]),
            ("nowhere/", vec![]),
            ("Art/heroes/a", vec!["Art/heroes/a.png"]),
        ] {
            assert_eq!(output.continuations(typed).unwrap(), expected, "{typed}");
        }
        for typed in ["/etc/", "../", "Art/../../", ".git/"] {
            assert!(output.continuations(typed).is_err(), "{typed}");
        }
    }
}
