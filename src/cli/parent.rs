//! Whether the process that started this one is still there.
//!
//! Not by `PR_SET_PDEATHSIG`: that signal comes when the *thread* ends that started us, and clients
//! start servers from threads that come and go. Nor does the parent's end mean the client's: see
//! [`crate::mcp::stdio::serve_child`].

/// Returns when the parent has ended. Never does for a process that was already left alone, or
/// whose parent is outside its process namespace: there is nothing to be watched.
#[cfg(unix)]
pub(super) async fn gone() {
    use rustix::process::{Pid, getppid};
    let Some(parent) = getppid().filter(|parent| *parent != Pid::INIT) else {
        return std::future::pending().await;
    };
    #[cfg(target_os = "linux")]
    if ended(parent).await.is_ok() {
        return;
    }
    while getppid() == Some(parent) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a process can't be waited for, it is looked for so often.
#[cfg(unix)]
const LOOK: std::time::Duration = std::time::Duration::from_secs(5);

/// Returns when this process has ended; an error where the kernel can't tell.
#[cfg(target_os = "linux")]
async fn ended(parent: rustix::process::Pid) -> std::io::Result<()> {
    use rustix::process::{PidfdFlags, getppid, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    let process = pidfd_open(parent, PidfdFlags::empty())?;
    // Its number may have been another's by the time it was opened.
    if getppid() != Some(parent) {
        return Ok(());
    }
    #[allow(
        deprecated,
        reason = "it is unsound for types whose descriptor changes; an `OwnedFd` keeps its own"
    )]
    let process = AsyncFd::with_interest(process, Interest::READABLE)?;
    process.readable().await.map(drop)
}

/// Parents are not told apart there.
#[cfg(not(unix))]
pub(super) async fn gone() {
    std::future::pending().await
}
