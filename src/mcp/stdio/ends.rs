//! The process's own standard input and output.
//!
//! Tokio's handles do each read and write on another thread, at several times the cost. Where
//! the kernel lets us wait for the stream itself, that is done instead: for pipes on Linux, and
//! for the sockets that Node gives the servers it starts.
//!
//! Neither way makes the stream we were given non-blocking. That would hold for every process
//! that shares it, the user's shell for instance.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(target_os = "linux")]
use tokio::net::unix::pipe;

#[cfg(unix)]
use self::socket::Socket;

/// Standard input.
#[derive(Debug)]
pub struct Input(InputKind);

#[derive(Debug)]
enum InputKind {
    #[cfg(target_os = "linux")]
    Pipe(pipe::Receiver),
    #[cfg(unix)]
    Socket(Socket),
    Blocking(tokio::io::Stdin),
}

/// Standard output.
#[derive(Debug)]
pub struct Output(OutputKind);

#[derive(Debug)]
enum OutputKind {
    #[cfg(target_os = "linux")]
    Pipe(pipe::Sender),
    #[cfg(unix)]
    Socket(Socket),
    Blocking(tokio::io::Stdout),
}

impl Input {
    pub(super) fn stdin() -> Self {
        // Opening a pipe anew gives it flags of its own.
        #[cfg(target_os = "linux")]
        if let Ok(pipe) = pipe::OpenOptions::new().open_receiver("/proc/self/fd/0") {
            return Self(InputKind::Pipe(pipe));
        }
        #[cfg(unix)]
        if let Some(socket) = Socket::behind(io::stdin()) {
            return Self(InputKind::Socket(socket));
        }
        Self(InputKind::Blocking(tokio::io::stdin()))
    }
}

impl Output {
    pub(super) fn stdout() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(pipe) = pipe::OpenOptions::new().open_sender("/proc/self/fd/1") {
            return Self(OutputKind::Pipe(pipe));
        }
        #[cfg(unix)]
        if let Some(socket) = Socket::behind(io::stdout()) {
            return Self(OutputKind::Socket(socket));
        }
        Self(OutputKind::Blocking(tokio::io::stdout()))
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            #[cfg(target_os = "linux")]
            InputKind::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            #[cfg(unix)]
            InputKind::Socket(socket) => socket.poll_receive(cx, buffer),
            InputKind::Blocking(stdin) => Pin::new(stdin).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            #[cfg(target_os = "linux")]
            OutputKind::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            #[cfg(unix)]
            OutputKind::Socket(socket) => socket.poll_send(cx, bytes),
            OutputKind::Blocking(stdout) => Pin::new(stdout).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            #[cfg(target_os = "linux")]
            OutputKind::Pipe(pipe) => Pin::new(pipe).poll_flush(cx),
            #[cfg(unix)]
            OutputKind::Socket(_) => Poll::Ready(Ok(())),
            OutputKind::Blocking(stdout) => Pin::new(stdout).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            #[cfg(target_os = "linux")]
            OutputKind::Pipe(pipe) => Pin::new(pipe).poll_shutdown(cx),
            // The other direction of the same socket may still be in use.
            #[cfg(unix)]
            OutputKind::Socket(_) => Poll::Ready(Ok(())),
            OutputKind::Blocking(stdout) => Pin::new(stdout).poll_shutdown(cx),
        }
    }
}

#[cfg(unix)]
mod socket {
    use std::{
        io,
        os::fd::{AsFd, OwnedFd},
        task::{Context, Poll, ready},
    };

    use rustix::{
        io::retry_on_intr,
        net::{RecvFlags, SendFlags, SocketType, recv, send, sockopt::socket_type},
    };
    use tokio::io::{ReadBuf, unix::AsyncFd};

    /// A stream socket, asked each time not to wait.
    #[derive(Debug)]
    pub(super) struct Socket(AsyncFd<OwnedFd>);

    impl Socket {
        /// The socket behind a standard stream, if there is one.
        pub(super) fn behind(stream: impl AsFd) -> Option<Self> {
            let stream = stream.as_fd();
            if socket_type(stream).ok()? != SocketType::STREAM {
                return None;
            }
            let own = stream.try_clone_to_owned().ok()?;
            #[allow(
                deprecated,
                reason = "it is unsound for types whose descriptor changes; an `OwnedFd` keeps its own"
            )]
            AsyncFd::new(own).ok().map(Self)
        }

        pub(super) fn poll_receive(
            &self,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                let mut readable = ready!(self.0.poll_read_ready(cx))?;
                let received = readable.try_io(|socket| {
                    let space = buffer.initialize_unfilled();
                    let (size, _) =
                        retry_on_intr(|| recv(socket, &mut *space, RecvFlags::DONTWAIT))?;
                    Ok(size)
                });
                // Otherwise it was not ready after all.
                if let Ok(received) = received {
                    buffer.advance(received?);
                    return Poll::Ready(Ok(()));
                }
            }
        }

        pub(super) fn poll_send(
            &self,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut writable = ready!(self.0.poll_write_ready(cx))?;
                let sent = writable.try_io(|socket| {
                    Ok(retry_on_intr(|| send(socket, bytes, SendFlags::DONTWAIT))?)
                });
                if let Ok(sent) = sent {
                    return Poll::Ready(sent);
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

        use std::{
            io::{Read, Write},
            os::unix::net::UnixStream,
        };

        use rustix::fs::{OFlags, fcntl_getfl};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        use super::{
            super::{Input, InputKind, Output, OutputKind},
            *,
        };

        #[tokio::test]
        async fn a_socket_carries_more_than_it_holds_and_stays_blocking() {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut input = Input(InputKind::Socket(Socket::behind(&ours).unwrap()));
            let mut output = Output(OutputKind::Socket(Socket::behind(&ours).unwrap()));
            let size = 4 << 20;
            let echo = std::thread::spawn(move || {
                let mut bytes = vec![0; size];
                theirs.read_exact(&mut bytes).unwrap();
                theirs.write_all(&bytes).unwrap();
            });
            let sent = (0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>();
            output.write_all(&sent).await.unwrap();
            let mut received = Vec::new();
            input.read_to_end(&mut received).await.unwrap();
            echo.join().unwrap();
            assert!(sent == received);
            assert!(!fcntl_getfl(&ours).unwrap().contains(OFlags::NONBLOCK));
        }

        #[test]
        fn a_file_is_no_socket() {
            assert!(Socket::behind(std::fs::File::open("/dev/null").unwrap()).is_none());
        }
    }
}
