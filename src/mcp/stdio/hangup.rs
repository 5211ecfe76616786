//! Noticing that the client has let go of its end of a stream, without reading or writing.

use std::io;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

/// Fires `gone` when nobody holds the other end of this stream any more. Never does for files and
/// devices, which have none.
pub(super) fn watch(stream: &impl AsFd, gone: CancellationToken) {
    // Of these two the kernel tells only hang-ups and errors, so that no message wakes anybody.
    let interest = Interest::PRIORITY | Interest::ERROR;
    let own = stream.as_fd().try_clone_to_owned();
    let watched = own.and_then(|own| {
        #[allow(
            deprecated,
            reason = "it is unsound for types whose descriptor changes; an `OwnedFd` keeps its own"
        )]
        AsyncFd::with_interest(own, interest)
    });
    let Ok(watched) = watched else { return };
    tokio::spawn(async move {
        if is_closed(&watched, interest).await.is_ok() {
            gone.cancel();
        }
    });
}

async fn is_closed<T: std::os::fd::AsRawFd>(
    watched: &AsyncFd<T>,
    interest: Interest,
) -> io::Result<()> {
    loop {
        let mut news = watched.ready(interest).await?;
        let ready = news.ready();
        if ready.is_read_closed() || ready.is_write_closed() || ready.is_error() {
            return Ok(());
        }
        news.clear_ready();
    }
}
