//! The only writer: one task that puts whole lines on the output, one after the other.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Lines on their way to the client.
///
/// The queue has no limit of its own, so that posting never waits: the transport stops taking in
/// work while [`Outbox::messages`] or [`Outbox::bytes`] is high, and that bounds it.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Gone once the outbox is closed.
    queue: Option<mpsc::UnboundedSender<Vec<u8>>>,
    count: Arc<Count>,
    writer: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Count {
    /// Posted and not yet written.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Every byte the client has taken, to tell a slow reader from one that has stopped.
    taken: AtomicU64,
    changed: Notify,
    /// Nothing will be written any more.
    ended: AtomicBool,
}

/// Waits for an outbox from outside.
#[derive(Debug)]
pub(super) struct Flush(Arc<Count>);

impl Flush {
    /// Waits until all has been written, or nothing will be or has been for `patience`.
    pub(super) async fn wait(&self, patience: Duration) {
        let Self(count) = self;
        while count.messages.load(Ordering::Relaxed) > 0 && !count.ended.load(Ordering::Relaxed) {
            let taken = count.taken.load(Ordering::Relaxed);
            let changed = tokio::time::timeout(patience, count.changed.notified()).await;
            if changed.is_err() && count.taken.load(Ordering::Relaxed) == taken {
                return;
            }
        }
    }
}

impl Outbox {
    /// Starts the writer. `broken` is fired when the client has closed its end.
    pub(super) fn new<W>(output: W, broken: CancellationToken) -> Self
    where
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (queue, lines) = mpsc::unbounded_channel();
        let count = Arc::new(Count::default());
        let writer = tokio::spawn(write_lines(output, lines, Arc::clone(&count), broken));
        Self { queue: Some(queue), count, writer }
    }

    /// Queues a line, without waiting.
    pub(super) fn post(&self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        let size = line.len();
        // Counted first: the writer may be quicker than this function.
        self.count.messages.fetch_add(1, Ordering::Relaxed);
        self.count.bytes.fetch_add(size, Ordering::Relaxed);
        let posted = self.queue.as_ref().is_some_and(|queue| queue.send(line).is_ok());
        if posted {
            return Ok(());
        }
        self.count.messages.fetch_sub(1, Ordering::Relaxed);
        self.count.bytes.fetch_sub(size, Ordering::Relaxed);
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client no longer reads"))
    }

    /// Lets somebody wait for this outbox who does not have it.
    pub(super) fn flush(&self) -> Flush {
        Flush(Arc::clone(&self.count))
    }

    /// How many messages wait to be written.
    pub(super) fn messages(&self) -> usize {
        self.count.messages.load(Ordering::Relaxed)
    }

    /// How many bytes wait to be written.
    pub(super) fn bytes(&self) -> usize {
        self.count.bytes.load(Ordering::Relaxed)
    }

    /// Waits until something has been written since the last call.
    pub(super) async fn changed(&self) {
        self.count.changed.notified().await;
    }

    /// How many bytes the client has taken since the beginning.
    pub(super) fn taken(&self) -> u64 {
        self.count.taken.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends, or gives up on a client that takes nothing for `patience`.
    pub(super) async fn close(&mut self, patience: Duration) {
        if self.queue.take().is_none() {
            return;
        }
        let mut taken = self.taken();
        while tokio::time::timeout(patience, &mut self.writer).await.is_err() {
            if self.taken() == taken {
                tracing::debug!("the client does not read; unwritten answers are dropped");
                self.writer.abort();
                self.count.ended.store(true, Ordering::Relaxed);
                return;
            }
            taken = self.taken();
        }
    }
}

async fn write_lines<W>(
    mut output: W,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    count: Arc<Count>,
    broken: CancellationToken,
) where
    W: AsyncWrite + Unpin,
{
    while let Some(mut batch) = lines.recv().await {
        let mut messages = 1;
        // Small answers that are ready together go out in one system call.
        while batch.len() < BATCH {
            let Ok(line) = lines.try_recv() else { break };
            batch.extend_from_slice(&line);
            messages += 1;
        }
        if let Err(error) = write_batch(&mut output, &batch, &count).await {
            tracing::debug!(%error, "the output is closed");
            count.ended.store(true, Ordering::Relaxed);
            count.changed.notify_one();
            broken.cancel();
            return;
        }
        count.messages.fetch_sub(messages, Ordering::Relaxed);
        count.bytes.fetch_sub(batch.len(), Ordering::Relaxed);
        count.changed.notify_one();
    }
}

async fn write_batch<W>(output: &mut W, mut rest: &[u8], count: &Count) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    while !rest.is_empty() {
        let size = output.write(rest).await?;
        if size == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        count.taken.fetch_add(size as u64, Ordering::Relaxed);
        rest = rest.get(size..).unwrap_or_default();
    }
    output.flush().await
}

const BATCH: usize = 64 * 1024;
