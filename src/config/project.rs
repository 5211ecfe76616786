//! A home inside a project: which one is trusted, and what it may say.
//!
//! A `.layer-mcp` that came with a repository, an archive or a container is somebody else's. It
//! counts only when this user ran `layer-mcp setup --project` for that very folder, and even then
//! it can set nothing that leads the token, the money or files elsewhere.

use std::path::{Path, PathBuf};

/// The name of a home.
const HOME: &str = ".layer-mcp";
/// The list of trusted homes, beside the device key.
const TRUSTED: &str = "trusted-homes";
/// The list is never this long.
#[cfg(unix)]
const LONGEST_LIST: u64 = 1024 * 1024;

/// A project's home as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectHome {
    /// The `.layer-mcp` folder, canonical.
    pub home: PathBuf,
    /// Whether this user ran `setup --project` for it.
    pub trusted: bool,
}

impl ProjectHome {
    /// The project's folder.
    pub fn project(&self) -> &Path {
        self.home.parent().unwrap_or(&self.home)
    }
}

/// The folder that `setup --project` makes a home in: the repository around the working
/// directory, else the working directory itself. `None` where no project can be: the root of a
/// disk, and the user's home folder with all that is above it.
pub fn place(cwd: &Path, user_home: Option<&Path>) -> Option<PathBuf> {
    let cwd = cwd.canonicalize().ok()?;
    let repository = cwd.ancestors().find(|folder| folder.join(".git").exists());
    let folder = repository.unwrap_or(&cwd);
    can_be_project(folder, user_home).then(|| folder.join(HOME))
}

/// The link on the way from a project to a folder of its home, if there is one: it leads to
/// somebody else's folder.
pub fn link_on_the_way(home: &Path, folder: &Path) -> Option<PathBuf> {
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
    let inside = folder.ancestors().take_while(|path| path.starts_with(home));
    inside.filter(|path| is_link(path)).last().map(Path::to_path_buf)
}

pub(super) fn can_be_project(folder: &Path, user_home: Option<&Path>) -> bool {
    let user_home = user_home.and_then(|home| home.canonicalize().ok());
    folder.parent().is_some() && !user_home.is_some_and(|home| home.starts_with(folder))
}

/// Walks up from the working directory to the repository's root, and no further than folders of
/// this user on the same file system.
#[cfg(unix)]
pub(super) fn find(cwd: &Path, user_home: Option<&Path>, list: &Path) -> Option<ProjectHome> {
    use std::os::unix::fs::MetadataExt;

    let user = rustix::process::geteuid().as_raw();
    let cwd = cwd.canonicalize().ok()?;
    let device = std::fs::metadata(&cwd).ok()?.dev();
    for folder in cwd.ancestors() {
        let facts = std::fs::metadata(folder).ok()?;
        let ours = facts.uid() == user && facts.dev() == device;
        if !ours || !can_be_project(folder, user_home) {
            return None;
        }
        let home = folder.join(HOME);
        if std::fs::symlink_metadata(&home).is_ok_and(|facts| facts.is_dir()) {
            let trusted =
                entry(&home).is_some_and(|entry| trusted(list).lines().any(|line| line == entry));
            return Some(ProjectHome { home, trusted });
        }
        if folder.join(".git").exists() {
            return None;
        }
    }
    None
}

/// Without owners and inodes nobody can tell whose folder it is.
#[cfg(not(unix))]
pub(super) fn find(_cwd: &Path, _user_home: Option<&Path>, _list: &Path) -> Option<ProjectHome> {
    None
}

/// Where the list lies when the device key lies there.
pub fn list_beside(device_key: &Path) -> PathBuf {
    device_key.with_file_name(TRUSTED)
}

/// Puts a home on the list of this user; `false` when it is there already.
///
/// # Errors
///
/// When the home can't be examined or the list can't be written.
#[cfg(unix)]
pub fn trust(home: &Path, list: &Path) -> std::io::Result<bool> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let entry = entry(home).ok_or(std::io::ErrorKind::NotFound)?;
    let folder = list.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Of two that add to the list at the same moment, the second reads what the first wrote.
    let mut options = std::fs::OpenOptions::new();
    let lock = list.with_extension("lock");
    let lock = options.write(true).create(true).truncate(false).mode(0o600).open(lock)?;
    lock.lock()?;
    let known = trusted(list);
    if known.lines().any(|line| line == entry) {
        return Ok(false);
    }
    // Written beside and renamed, so that the list is always whole.
    let new = list.with_extension(format!("new-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file
        .write_all(format!("{known}{entry}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, list));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written.map(|()| true)
}

/// There are no project homes here.
///
/// # Errors
///
/// Always.
#[cfg(not(unix))]
pub fn trust(_home: &Path, _list: &Path) -> std::io::Result<bool> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Device, inode and canonical path: a folder of the same name that is put in its place later is
/// another one.
#[cfg(unix)]
fn entry(home: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let home = home.canonicalize().ok()?;
    let facts = std::fs::metadata(&home).ok()?;
    let path = home.to_str().filter(|path| !path.contains('\n'))?;
    Some(format!("{}:{} {path}", facts.dev(), facts.ino()))
}

/// The list, if it is this user's alone.
#[cfg(unix)]
fn trusted(list: &Path) -> String {
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    let mut options = std::fs::OpenOptions::new();
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.read(true).custom_flags(flags.bits().cast_signed());
    let Ok(file) = options.open(list) else { return String::new() };
    let private = file.metadata().is_ok_and(|facts| {
        facts.is_file()
            && facts.uid() == rustix::process::geteuid().as_raw()
            && facts.mode() & 0o077 == 0
    });
    let mut text = String::new();
    if !private || file.take(LONGEST_LIST).read_to_string(&mut text).is_err() {
        return String::new();
    }
    text
}
