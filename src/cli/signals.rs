//! Being told to stop.

/// Ends when the process is told to end: interrupt, termination, or a terminal that hung up. Counts
/// from this call on, so that whoever announces that it runs can listen before it says so.
#[cfg(unix)]
pub(super) fn told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    async move {
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = signals else {
            // Without handlers the signals do what they always do: end the process.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

/// Returns when the process is told to end.
#[cfg(not(unix))]
pub(super) async fn told_to_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// From here on a write beyond the largest size that a file may have (`ulimit -f`) fails, as one on
/// a full disk does. By default its signal ends the process.
#[cfg(unix)]
pub(super) fn keep_large_files_harmless() {
    use tokio::signal::unix::{SignalKind, signal};
    // Its handler stays when nobody listens any more.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
}
