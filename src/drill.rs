//! Dying on purpose: the crash drill of the tests.
//!
//! In a build for development the variable `LAYER_MCP_DIE_AT` names a [`Step`], and the process
//! kills itself there, as `kill -9` would. A release has nothing of it.

/// A step on the way from a request to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is known, nothing is written down.
    BeforeEntry,
    /// The entry is on disk; the start waits for its turn.
    AfterEntry,
    /// Written down as sent, and not sent.
    BeforeSend,
    /// Layer has answered; the answer stands nowhere else.
    AfterAnswer,
    /// The answer is written down.
    AfterRecord,
    /// Before a look at the run.
    Waiting,
    /// The first part of a file is on disk.
    Downloading,
    /// The file is whole under its temporary name.
    BeforeRename,
    /// The file has its name.
    AfterRename,
    /// All files are there; the entry is still open.
    BeforeClose,
}

impl Step {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 10] = [
        Self::BeforeEntry,
        Self::AfterEntry,
        Self::BeforeSend,
        Self::AfterAnswer,
        Self::AfterRecord,
        Self::Waiting,
        Self::Downloading,
        Self::BeforeRename,
        Self::AfterRename,
        Self::BeforeClose,
    ];

    /// Its name in `LAYER_MCP_DIE_AT`.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

#[cfg(all(debug_assertions, unix))]
static DIES_AT: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Sets where this process dies.
#[cfg(all(debug_assertions, unix))]
pub fn die_at(step: String) {
    let _ = DIES_AT.set(step);
}

/// Dies here, if this is the step.
#[cfg(all(debug_assertions, unix))]
pub fn reach(step: Step) {
    if DIES_AT.get().is_some_and(|name| *name == step.name()) {
        use rustix::process::{Signal, getpid, kill_process};
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal is on its way.
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}

/// Nothing, in a release.
#[cfg(not(all(debug_assertions, unix)))]
pub fn reach(_: Step) {}
