//! The path of this program that a client is to start: absolute, and still right after an update.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// How this program was called, and what that can mean.
pub(super) struct Call {
    /// The first word of the command line.
    pub(super) word: Option<OsString>,
    /// The folders that commands are looked for in.
    pub(super) search: Option<OsString>,
    /// The working directory.
    pub(super) cwd: Option<PathBuf>,
    /// The running program, by its real name.
    pub(super) running: PathBuf,
}

impl Call {
    /// The name that the user knows the program by, when that is an absolute path of it: package
    /// managers put links there that outlive a version. Otherwise its real name.
    pub(super) fn stable_path(&self) -> PathBuf {
        let Ok(running) = fs::canonicalize(&self.running) else { return self.running.clone() };
        let is_it = |path: &PathBuf| {
            path.is_absolute() && fs::canonicalize(path).is_ok_and(|real| real == running)
        };
        let word = self.word.as_deref().map(Path::new);
        let named = word.and_then(|word| self.named_by(word)).filter(is_it);
        named.unwrap_or_else(|| self.running.clone())
    }

    fn named_by(&self, word: &Path) -> Option<PathBuf> {
        if word.components().count() > 1 || word.is_absolute() {
            return without_steps_back(self.cwd.as_ref()?.join(word));
        }
        let name = word.file_name()?;
        let folders = std::env::split_paths(self.search.as_deref()?).collect::<Vec<_>>();
        folders.iter().filter(|folder| folder.is_absolute()).find_map(|folder| {
            let files = [folder.join(name), folder.join(with_exe(name))];
            files.into_iter().find(|file| file.is_file())
        })
    }
}

fn with_exe(name: &OsStr) -> OsString {
    let mut name = name.to_owned();
    name.push(".exe");
    name
}

/// A path without `.`, and without `..`: those are only right where no link is.
fn without_steps_back(path: PathBuf) -> Option<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir) {
        let folder = fs::canonicalize(path.parent()?).ok()?;
        return Some(folder.join(path.file_name()?));
    }
    Some(path.components().collect())
}

/// Whether a build put the program there, which the next one replaces or removes.
pub(super) fn is_of_a_build(path: &Path) -> bool {
    let parts: Vec<_> = path.components().map(Component::as_os_str).collect();
    let target = parts.iter().position(|part| *part == "target");
    target
        .is_some_and(|at| parts.iter().skip(at).any(|part| *part == "debug" || *part == "release"))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_outlives_a_version_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let cellar = root.join("Cellar/layer-mcp/0.1.0");
        for made in [&cellar, &root.join("bin"), &root.join("other"), &root.join("work")] {
            fs::create_dir_all(made).unwrap();
        }
        let running = cellar.join("layer-mcp");
        fs::write(&running, "").unwrap();
        fs::write(root.join("other/layer-mcp"), "another").unwrap();
        let link = root.join("bin/layer-mcp");
        symlink(&running, &link).unwrap();
        let at = |word: &str, search: &str| {
            let call = Call {
                word: Some(word.into()),
                search: Some(search.replace("ROOT", root.to_str().unwrap()).into()),
                cwd: Some(root.join("work")),
                running: running.clone(),
            };
            call.stable_path()
        };
        assert_eq!(at("layer-mcp", "ROOT/bin"), link);
        assert_eq!(at("layer-mcp", "ROOT/none:bin:ROOT/bin:ROOT/other"), link);
        assert_eq!(at(link.to_str().unwrap(), ""), link);
        assert_eq!(at("../bin/layer-mcp", ""), link);
        assert_eq!(at("./../bin/./layer-mcp", ""), link);
        // Another program of the name, or none, names nothing.
        for (word, search) in
            [("layer-mcp", "ROOT/other"), ("layer-mcp", ""), ("something", "ROOT/bin"), ("", "")]
        {
            assert_eq!(at(word, search), running, "{word} {search}");
        }
    }

    #[test]
    fn builds_are_told_from_installations() {
        assert!(is_of_a_build(Path::new("/src/layer-mcp/target/release/layer-mcp")));
        assert!(is_of_a_build(Path::new("/t/target/x86_64-unknown-linux-musl/debug/layer-mcp")));
        assert!(!is_of_a_build(Path::new("/home/ada/.cargo/bin/layer-mcp")));
        assert!(!is_of_a_build(Path::new("/opt/target/layer-mcp")));
    }
}
