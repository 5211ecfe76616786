//! Proving that a server that a client starts can open the store: in another process, with no
//! terminal, no input and the few variables that clients pass on.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::Process;
use crate::config::Profile;
use crate::redact::clean_line;

/// What the official SDKs pass on to the servers they start, and no more.
const PASSED_ON: [&str; 17] = [
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    "APPDATA",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PROCESSOR_ARCHITECTURE",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMPDIR",
    "USERNAME",
    "USERPROFILE",
];

/// What of this environment a client would pass on.
pub(super) fn passed_on(environment: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let passes = |name: &OsString| PASSED_ON.iter().any(|passed| name.eq_ignore_ascii_case(passed));
    environment.iter().filter(|(name, _)| passes(name)).cloned().collect()
}

/// Opens the store as a server would. Gives what such a server could not do, in its own words.
pub(super) fn opens_without_a_terminal(process: &Process) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    let project = process.config.project_home.as_ref().filter(|found| found.trusted);
    if project.is_none() {
        command.arg("--home").arg(&process.config.home);
    }
    if let Some(profile) = process.config.profile.as_ref().map(Profile::as_str) {
        command.args(["--profile", profile]);
    }
    command.args(["credentials", "status", "--json"]).env_clear();
    command.envs(process.passed_on.iter().map(|(name, value)| (name, value)));
    match project {
        // Its home counts where the client starts servers in the project, and nowhere else.
        Some(found) => {
            command.current_dir(found.project());
        }
        None if cfg!(unix) => {
            command.current_dir("/");
        }
        None => {}
    }
    let ended = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| error.to_string())?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let first = said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&said);
    Err(clean_line(&process.redactor.redact(first), 300))
}
