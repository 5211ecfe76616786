//! Checks of what lies on the disk: modes and owners, what git sees, what can be written.

use std::fs;
use std::path::{Path, PathBuf};

use super::Check;
use crate::config::{Config, names, read_small};
use crate::credentials::ignores_all;
use crate::files::OutputDir;

#[cfg(unix)]
pub(super) fn permissions(config: &Config, fix: bool) -> Option<Check> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    const NAME: &str = "permissions";
    let user = rustix::process::geteuid().as_raw();
    let mut open = key_folder_open_for_writing(config, fix);
    let mut foreign = Vec::new();
    let mut seen = 0_usize;
    let mut unread = Vec::new();
    let mut folders = Vec::new();
    // What lies behind a link of the user's may be more than a home.
    let linked = config.home.is_symlink();
    let mut judge = |path: PathBuf, folders: &mut Vec<PathBuf>| {
        // Links are judged by those who follow them.
        let Ok(facts) = fs::symlink_metadata(&path) else { return };
        if facts.is_symlink() {
            return;
        }
        seen += 1;
        let ours = facts.uid() == user;
        if !ours {
            foreign.push(path.clone());
        }
        // A file with a further name may lie outside the home too.
        let may_fix = fix && ours && !linked && (facts.is_dir() || facts.nlink() == 1);
        let forbidden = match path.file_name().is_some_and(|name| name == "config.toml") {
            true => 0o022,
            false => 0o077,
        };
        let mode = facts.mode() & 0o777;
        if mode & forbidden != 0 {
            let closed = fs::Permissions::from_mode(mode & !0o077);
            if !may_fix || fs::set_permissions(&path, closed).is_err() {
                open.push(path.clone());
            }
        }
        if facts.is_dir() {
            folders.push(path);
        }
    };
    judge(config.unlock.device_key.clone(), &mut folders);
    judge(config.home.canonicalize().unwrap_or_else(|_| config.home.clone()), &mut folders);
    if let Some(found) = config.project_home.as_ref().filter(|found| found.trusted) {
        judge(found.home.clone(), &mut folders);
    }
    while let Some(folder) = folders.pop() {
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    judge(entry.path(), &mut folders);
                }
            }
            Err(_) => unread.push(folder),
        }
    }
    let first = |paths: &[PathBuf]| {
        let shown: Vec<String> =
            paths.iter().take(5).map(|path| format!("`{}`", path.display())).collect();
        shown.join(", ")
    };
    Some(if !foreign.is_empty() {
        let message = format!("{} of another user: {}", foreign.len(), first(&foreign));
        Check::failed(NAME, message, "Run layer-mcp as one user, or set `LAYER_MCP_HOME`.")
    } else if !unread.is_empty() {
        let message = format!("{} that can't be looked into: {}", unread.len(), first(&unread));
        Check::failed(NAME, message, "Run `chmod u+rwx` on it, or find out whose it is.")
    } else if !open.is_empty() {
        let message = format!("{} open to others: {}", open.len(), first(&open));
        let remedy = match fix {
            false => "Run `layer-mcp doctor --fix`.",
            true => {
                "Correct them by hand: they have a further name elsewhere, lie behind a link, or \
                 can't be changed."
            }
        };
        Check::failed(NAME, message, remedy)
    } else {
        Check::ok(NAME, format!("{seen} files and folders, for you alone"))
    })
}

/// The device key's folder, when others can write to it. They may read it: it can be one that other
/// programs share.
#[cfg(unix)]
fn key_folder_open_for_writing(config: &Config, fix: bool) -> Vec<PathBuf> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    const WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let Some(folder) = config.unlock.device_key.parent() else { return Vec::new() };
    let Ok(facts) = fs::symlink_metadata(folder) else { return Vec::new() };
    let mode = facts.mode() & 0o7777;
    if !facts.is_dir() || mode & WRITE == 0 || mode & STICKY != 0 {
        return Vec::new();
    }
    let ours = facts.uid() == rustix::process::geteuid().as_raw();
    let closed = || fs::set_permissions(folder, fs::Permissions::from_mode(mode & !WRITE));
    if fix && ours && closed().is_ok() { Vec::new() } else { vec![folder.to_owned()] }
}

#[cfg(not(unix))]
pub(super) fn permissions(_config: &Config, _fix: bool) -> Option<Check> {
    None
}

pub(super) fn device_key(config: &Config) -> Check {
    const NAME: &str = "device-key";
    let key = &config.unlock.device_key;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(key).starts_with(real(&config.home)) {
        return Check::failed(
            NAME,
            format!("`{}` lies in the home that it locks", key.display()),
            format!("Unset `{}`, then run `layer-mcp setup`.", names::DEVICE_KEY),
        );
    }
    Check::ok(NAME, format!("outside of the home: {}", key.display()))
}

pub(super) fn project(config: &Config) -> Option<Check> {
    const NAME: &str = "project";
    let found = config.project_home.as_ref()?;
    let home = found.home.display();
    Some(if found.trusted {
        Check::ok(NAME, format!("`{home}` holds the token of this project"))
    } else {
        Check::warning(
            NAME,
            format!("`{home}` is ignored: you did not set it up"),
            "If it is yours, run `layer-mcp setup --project`; otherwise remove it.",
        )
    })
}

pub(super) fn ignored(config: &Config) -> Check {
    const NAME: &str = "gitignore";
    let secure = config.secure_dir();
    let file = secure.parent().unwrap_or(&config.home).join(".gitignore");
    let remedy = "Write a line `*` into it and take the lines with `!` out, or run `layer-mcp \
                  setup` again.";
    let is_file = || fs::symlink_metadata(&file).is_ok_and(|facts| facts.is_file());
    match read_small(&file) {
        Ok(text) if ignores_all(&text) && is_file() => Check::ok(NAME, "the home ignores itself"),
        Ok(_) => Check::failed(NAME, format!("`{}` does not ignore all", file.display()), remedy),
        Err(_) if !secure.exists() => Check::ok(NAME, "nothing to ignore yet"),
        Err(_) => Check::failed(
            NAME,
            format!("`{}` is missing", file.display()),
            "Run `layer-mcp setup` again, or write a line `*` into it.",
        ),
    }
}

/// Whether a repository around the home keeps its store, which its `.gitignore` can't undo.
pub(super) fn tracked(config: &Config) -> Option<Check> {
    const NAME: &str = "git";
    let secure = config.secure_dir();
    let repository = secure.ancestors().find(|folder| folder.join(".git").exists())?;
    // The index is searched and not asked for: git runs what a repository's settings name.
    let index = fs::read(git_folder(repository)?.join("index")).ok()?;
    let name = b"credentials.enc";
    Some(if index.windows(name.len()).any(|window| window == name) {
        Check::failed(
            NAME,
            format!("the repository `{}` keeps a `credentials.enc`", repository.display()),
            "Revoke the token at app.layer.ai, take the folder out with `git rm -r --cached`, and \
             run `layer-mcp credentials rotate`.",
        )
    } else {
        Check::ok(NAME, format!("the repository `{}` keeps no store", repository.display()))
    })
}

/// `.git`, or where the file of that name points to in a further working tree.
fn git_folder(repository: &Path) -> Option<PathBuf> {
    let git = repository.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = read_small(&git).ok()?;
    Some(repository.join(text.strip_prefix("gitdir:")?.trim()))
}

/// The two files in which an earlier program in Python kept the token beside its key.
pub(super) fn predecessor(config: &Config) -> Option<Check> {
    let secure = config.secure_dir();
    let left: Vec<String> = ["layer_tokens.enc", ".key"]
        .iter()
        .map(|name| secure.join(name))
        .filter(|path| path.exists())
        .map(|path| format!("`{}`", path.display()))
        .collect();
    let message = format!("{} of an earlier program hold a token beside its key", left.join(", "));
    let remedy = "Run `layer-mcp setup` with a new token, revoke the old one, and delete them.";
    (!left.is_empty()).then(|| Check::warning("predecessor", message, remedy))
}

/// Whether the log, the journal and the audit trail can be written.
#[cfg(unix)]
pub(super) fn writable(config: &Config) -> Check {
    use rustix::fs::{Access, access};

    const NAME: &str = "writable";
    let folders = [config.home.clone(), config.log_dir(), config.audit_dir()];
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let closed: Vec<String> = folders
        .iter()
        .filter(|folder| folder.exists() && access(folder.as_path(), all).is_err())
        .map(|folder| format!("`{}`", folder.display()))
        .collect();
    if closed.is_empty() {
        return Check::ok(NAME, "log, journal and audit trail");
    }
    Check::failed(
        NAME,
        format!("{} can't be written, so that nothing can be bought", closed.join(", ")),
        "Correct the permissions, or set `LAYER_MCP_HOME`.",
    )
}

/// Elsewhere only a try would tell.
#[cfg(not(unix))]
pub(super) fn writable(_config: &Config) -> Check {
    Check::ok("writable", "not checked on this system")
}

pub(super) fn output_folder(config: &Config) -> Check {
    const NAME: &str = "output";
    let Some(path) = &config.output_dir else {
        let remedy = format!("Set `{}`.", names::OUTPUT_DIR);
        return Check::failed(NAME, "there is no folder to write assets to", remedy);
    };
    if !path.exists() {
        return Check::ok(NAME, format!("`{}` will be made", path.display()));
    }
    match OutputDir::open_existing(path) {
        Ok(_) => Check::ok(NAME, path.display().to_string()),
        Err(error) => {
            let remedy = format!("Set `{}` to another folder.", names::OUTPUT_DIR);
            Check::failed(NAME, error.to_string(), remedy)
        }
    }
}
