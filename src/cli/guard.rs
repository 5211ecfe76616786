//! The password command's keeper: ends it, with all that it started, when the server is gone.
//!
//! A process that is killed with `kill -9` can't end its children, and safe code can't ask the
//! kernel to. So the server starts this program a second time, as the leader of the command's
//! process group, and holds the other end of its standard input: when that closes, however the
//! server ended, the whole group is ended.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// The word that makes this program a keeper. No command for people.
const WORD: &str = "keep-password-command";

/// What to start in front of the password command; `None` where process groups are not there.
pub(super) fn program() -> Option<(PathBuf, OsString)> {
    if cfg!(not(unix)) {
        return None;
    }
    let own = std::env::current_exe().ok().filter(|path| path.exists());
    // A program that was replaced since it was started is still found there.
    let linked = || Some(PathBuf::from("/proc/self/exe")).filter(|path| path.exists());
    Some((own.or_else(linked)?, WORD.into()))
}

/// Keeps a command, when this process was started for that.
#[cfg(unix)]
pub(super) fn keep() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != WORD {
        return None;
    }
    let program = words.next()?;
    Some(unix::run(&program, words))
}

/// Keeps a command, when this process was started for that.
#[cfg(not(unix))]
pub(super) fn keep() -> Option<ExitCode> {
    None
}

#[cfg(unix)]
mod unix {
    use std::ffi::{OsStr, OsString};
    use std::process::{Command, ExitCode, Stdio};

    use rustix::process::{Signal, getpgrp, getpid, kill_process_group};

    pub(super) fn run(program: &OsStr, arguments: impl Iterator<Item = OsString>) -> ExitCode {
        // Whoever starts this by hand must not lose the group that they are in.
        if getpgrp() != getpid() {
            return ExitCode::FAILURE;
        }
        let started = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
        let Ok(mut child) = started else {
            return ExitCode::from(crate::credentials::NOT_STARTED);
        };
        let watched = std::thread::Builder::new().spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = kill_process_group(getpgrp(), Signal::KILL);
        });
        if watched.is_err() {
            let _ = kill_process_group(getpgrp(), Signal::KILL);
        }
        match child.wait() {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}
