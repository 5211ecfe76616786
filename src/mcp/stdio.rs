//! MCP over standard input and output.
//!
//! rmcp brings a transport of its own. This one stands in its place because a server that people
//! work with all day has to survive what clients really send:
//!
//! - A line that cannot be used is answered, with the id of its request where one can be read,
//!   and the connection goes on. The same holds for params that cannot be read.
//! - Notifications and answers before a session are skipped. rmcp would end the process, for
//!   instance over the late `notifications/cancelled` of a discover probe.
//! - Memory is bounded, whatever the client sends and however little it reads.
//! - Two requests in flight never share an id, and a cancelled request is never heard of again.
//! - The end of the input, or an output nobody reads from, ends the process at once, also while
//!   nothing is read or written.
//!
//! # How it works
//!
//! rmcp's loop calls [`Transport::receive`] and [`Transport::send`], never both at a time, so
//! both work on plain fields. Requests queue up in `waiting` and go to rmcp while the limits
//! allow; notifications pass them, so that a cancellation gets through when everything is busy.
//! What is sent goes to the `outbox`, a queue with a single writer task, and never waits.
//!
//! Within rmcp each request has a number of its own in place of the client's id. rmcp finds the
//! request of an answer by id alone: had a client cancelled a request and used its id again, the
//! first request's late answer would pass for the second's.
//!
//! Two things rely on how rmcp 3.9.0 works inside, which is why its version is pinned: before a
//! session it answers each request before it receives the next message, and ids in flight are
//! nothing to it but keys. The second would change with `subscriptions/listen`, which puts the
//! id into notifications.

mod ends;
mod framing;
#[cfg(target_os = "linux")]
mod hangup;
mod introduction;
mod message;
mod outbox;
mod panics;
mod session;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta, JsonRpcMessage,
        ProgressToken, RequestId, ServerJsonRpcMessage, ServerNotification, ServerResult,
    },
    transport::Transport,
};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    ends::{Input, Output},
    panics::PanicGuard,
    session::{serve, serve_child},
};
use self::{
    framing::{Line, Lines},
    introduction::Introduction,
    message::{Message, Refusal},
    outbox::Outbox,
};

/// The server's side of a connection that carries one JSON-RPC message per line.
#[derive(Debug)]
pub struct StdioTransport<R> {
    lines: Lines<R>,
    outbox: Outbox,
    shutdown: CancellationToken,
    /// Nobody can write to the input any more; what is in it has yet to be read.
    hung_up: CancellationToken,
    /// Lines that came, to tell a client that is silent from one that is not.
    heard: Arc<AtomicU64>,
    /// What has been read and may not go on yet.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// What rmcp works on, by the number it knows the request by.
    running: HashMap<i64, Running>,
    running_bytes: usize,
    last_number: i64,
    session_open: bool,
    introduction: Introduction,
    /// The input has ended.
    ending: Option<Ending>,
}

/// Something that has been read and will lead to an answer.
#[derive(Debug)]
enum Waiting {
    Request { id: RequestId, request: Box<ClientRequest>, size: usize },
    Refusal { refusal: Refusal, size: usize },
}

/// A request that rmcp works on.
#[derive(Debug)]
struct Running {
    /// As the client knows it.
    id: RequestId,
    progress_token: Option<ProgressToken>,
    size: usize,
}

/// How long the connection goes on after the end of the input.
///
/// Time is counted in short spans, and each counts once at most: a process that gets no processor
/// for a while must not take that for its work having taken too long.
#[derive(Debug)]
struct Ending {
    span_ends: Instant,
    spans_left: u32,
    /// What the client had read when the count began.
    taken: u64,
}

impl StdioTransport<Input> {
    /// Connects to the client that started this process.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with I/O enabled.
    pub fn stdio(shutdown: CancellationToken) -> Self {
        let transport = Self::new(Input::stdin(), Output::stdout(), shutdown);
        #[cfg(target_os = "linux")]
        {
            hangup::watch(&io::stdin(), transport.hung_up.clone());
            hangup::watch(&io::stdout(), transport.shutdown.clone());
        }
        transport
    }
}

impl<R> StdioTransport<R>
where
    R: AsyncRead + Send + Unpin,
{
    /// Connects to a client behind `input` and `output`.
    ///
    /// `shutdown` is fired when the client is gone: when the input has ended and what was still
    /// running has had a moment to finish, or as soon as a write fails. When somebody else fires
    /// it, for a signal for instance, the transport reads no further.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn new<W>(input: R, output: W, shutdown: CancellationToken) -> Self
    where
        W: AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            lines: Lines::new(input, LONGEST_MESSAGE),
            outbox: Outbox::new(output, shutdown.clone()),
            shutdown,
            hung_up: CancellationToken::new(),
            heard: Arc::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            running: HashMap::new(),
            running_bytes: 0,
            last_number: 0,
            session_open: false,
            introduction: Introduction::default(),
            ending: None,
        }
    }

    /// Judges a line. What needs no answer comes back for rmcp, the rest joins the queue.
    fn take_in(&mut self, line: io::Result<Line>) -> Option<ClientJsonRpcMessage> {
        let (message, size) = match line {
            Ok(Line::Whole(line)) => (message::read(&line), line.len()),
            Ok(Line::Unfinished(line)) => {
                self.end_of_input();
                match message::read(&line) {
                    // A message cut in two because the client died: nobody is there to be told.
                    Message::Refused(_) => return None,
                    message => (message, line.len()),
                }
            }
            Ok(Line::TooLong(id)) => (Message::Refused(Refusal::too_long(id, LONGEST_MESSAGE)), 0),
            Ok(Line::End) => {
                self.end_of_input();
                return None;
            }
            Err(error) => {
                tracing::debug!(%error, "the input cannot be read");
                self.end_of_input();
                return None;
            }
        };
        match message {
            Message::Request(id, _) if self.is_taken(&id) => {
                self.enqueue(Waiting::Refusal { refusal: Refusal::duplicate(id), size });
                None
            }
            Message::Request(id, request) => {
                self.enqueue(Waiting::Request { id, request, size });
                None
            }
            Message::Refused(refusal) => {
                self.enqueue(Waiting::Refusal { refusal, size });
                None
            }
            Message::Notification(ClientNotification::CancelledNotification(mut cancelled)) => {
                let number = self.cancel(cancelled.params.request_id.as_ref()?)?;
                cancelled.params.request_id = Some(RequestId::Number(number));
                Some(ClientJsonRpcMessage::notification(cancelled.into()))
            }
            Message::Notification(notification) => {
                self.session_open.then(|| ClientJsonRpcMessage::notification(notification))
            }
            Message::Answer(answer) => self.session_open.then_some(*answer),
            Message::Nothing => None,
        }
    }

    /// The next request for rmcp, if the limits allow one. Refusals in front of it are sent.
    fn next_request(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let busy = self.running.len() + self.outbox.messages();
            if busy >= MOST_RUNNING || self.outbox.bytes() >= MOST_UNREAD_BYTES {
                return None;
            }
            // One request always runs, however large it is.
            if self.running_bytes >= MOST_RUNNING_BYTES {
                return None;
            }
            let next = self.waiting.pop_front()?;
            self.waiting_bytes -= next.size();
            match next {
                Waiting::Refusal { refusal, .. } => {
                    if let Err(error) = self.post(&refusal) {
                        tracing::debug!(%error, "a refusal was not sent");
                    }
                }
                Waiting::Request { id, request, .. } if self.introduction.is_ping(&request) => {
                    let pong = ServerJsonRpcMessage::response(ServerResult::empty(()), id);
                    if let Err(error) = self.post(&pong) {
                        tracing::debug!(%error, "a ping was not answered");
                    }
                }
                Waiting::Request { id, mut request, size } => {
                    self.introduction.complete(&mut request);
                    self.last_number += 1;
                    let number = self.last_number;
                    let progress_token = request.get_meta().get_progress_token();
                    self.running_bytes += size;
                    self.running.insert(number, Running { id, progress_token, size });
                    return Some(ClientJsonRpcMessage::request(
                        *request,
                        RequestId::Number(number),
                    ));
                }
            }
        }
    }

    /// Whether more may be read before something has been answered.
    fn has_room(&self) -> bool {
        self.ending.is_none()
            && self.waiting.len() < MOST_WAITING
            && self.waiting_bytes < MOST_WAITING_BYTES
    }

    fn enqueue(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.size();
        self.waiting.push_back(waiting);
    }

    fn is_taken(&self, id: &RequestId) -> bool {
        self.running.values().any(|running| running.id == *id)
            || self.waiting.iter().any(|waiting| waiting.is_request(id))
    }

    /// Forgets a request, so that nothing more is sent about it. Gives its number if rmcp has it.
    fn cancel(&mut self, id: &RequestId) -> Option<i64> {
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.is_request(id)) {
            if let Some(waiting) = self.waiting.remove(place) {
                self.waiting_bytes -= waiting.size();
            }
            return None;
        }
        let number = self
            .running
            .iter()
            .find_map(|(number, running)| (running.id == *id).then_some(*number))?;
        self.finish(&RequestId::Number(number));
        Some(number)
    }

    /// Takes a request out of the books.
    fn finish(&mut self, number: &RequestId) -> Option<Running> {
        let RequestId::Number(number) = number else { return None };
        let running = self.running.remove(number)?;
        self.running_bytes -= running.size;
        Some(running)
    }

    fn end_of_input(&mut self) {
        let taken = self.outbox.taken();
        let span_ends = Instant::now() + GRACE_SPAN;
        self.ending.get_or_insert(Ending { span_ends, spans_left: GRACE_SPANS, taken });
    }

    /// Whether there is no time left after a span. The count begins anew when the client has read
    /// something meanwhile.
    fn is_overdue(&mut self) -> bool {
        let taken = self.outbox.taken();
        let Some(ending) = &mut self.ending else { return false };
        ending.spans_left =
            if ending.taken == taken { ending.spans_left.saturating_sub(1) } else { GRACE_SPANS };
        ending.taken = taken;
        ending.span_ends = Instant::now() + GRACE_SPAN;
        ending.spans_left == 0
    }

    /// Whether everything the client asked before it closed the input has been answered.
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.outbox.messages() == 0
    }

    fn post(&self, message: &impl Serialize) -> io::Result<()> {
        self.outbox.post(serde_json::to_vec(message)?)
    }

    /// Sends what rmcp has for the client.
    fn deliver(&mut self, mut message: ServerJsonRpcMessage) -> io::Result<()> {
        match &mut message {
            JsonRpcMessage::Response(response) => {
                // Of a cancelled request, otherwise.
                let Some(running) = self.finish(&response.id) else { return Ok(()) };
                if let ServerResult::InitializeResult(answer) = &response.result {
                    self.session_open = true;
                    self.introduction.settled(answer);
                }
                response.id = running.id;
            }
            JsonRpcMessage::Error(error) => {
                if let Some(number) = &error.id {
                    let Some(running) = self.finish(number) else { return Ok(()) };
                    error.id = Some(running.id);
                }
            }
            JsonRpcMessage::Notification(notification) => {
                if let ServerNotification::ProgressNotification(progress) =
                    &notification.notification
                {
                    // A request that is done or cancelled makes no more progress.
                    let token = Some(&progress.params.progress_token);
                    if !self
                        .running
                        .values()
                        .any(|running| running.progress_token.as_ref() == token)
                    {
                        return Ok(());
                    }
                }
                self.may_speak()?;
            }
            JsonRpcMessage::Request(_) => self.may_speak()?,
        }

        match serde_json::to_vec(&message) {
            Ok(line) => self.outbox.post(line),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                let id = match message {
                    JsonRpcMessage::Response(response) => Some(response.id),
                    _ => return Err(error.into()),
                };
                let failure = ErrorData::internal_error("the answer cannot be written", None);
                self.post(&ServerJsonRpcMessage::error(failure, id))
            }
        }
    }

    /// What nobody asked for is not sent to a client that has closed its input or does not read:
    /// of answers there are only as many as requests, of notifications there is no end.
    fn may_speak(&self) -> io::Result<()> {
        if self.ending.is_some() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the client has gone"));
        }
        if self.outbox.messages() >= MOST_RUNNING || self.outbox.bytes() >= MOST_UNREAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "the client does not read"));
        }
        Ok(())
    }
}

impl<R> Transport<RoleServer> for StdioTransport<R>
where
    R: AsyncRead + Send + Unpin,
{
    type Error = io::Error;

    /// Queues a message. The future is ready at once, so a client that reads slowly never holds
    /// up a tool.
    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        std::future::ready(self.deliver(message))
    }

    /// The next message, or `None` when it is time to end. Dropping the future loses nothing.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        // Before a session rmcp answers a request before it asks for the next message. That it
        // asks while one is running is how a session without `initialize` shows itself.
        self.session_open |= !self.running.is_empty();
        loop {
            if self.shutdown.is_cancelled() {
                return None;
            }
            if let Some(request) = self.next_request() {
                return Some(request);
            }
            if self.ending.is_some() && self.is_done() {
                break;
            }
            let has_room = self.has_room();
            let is_full = !has_room && self.ending.is_none();
            let span_ends = self.ending.as_ref().map(|ending| ending.span_ends);
            let line = tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = self.outbox.changed() => continue,
                // Whoever is gone, or waits for our end, reads nothing any more: then there will
                // be no room to read up to the end of the input.
                () = long_after(&self.hung_up), if is_full => {
                    self.end_of_input();
                    continue;
                }
                () = reached(span_ends) => {
                    if self.is_overdue() {
                        break;
                    }
                    continue;
                }
                line = self.lines.next(), if has_room => line,
            };
            self.heard.fetch_add(1, Ordering::Relaxed);
            if let Some(message) = self.take_in(line) {
                return Some(message);
            }
        }
        self.shutdown.cancel();
        None
    }

    async fn close(&mut self) -> io::Result<()> {
        self.outbox.close(PATIENCE).await;
        Ok(())
    }
}

/// Waits for a moment, or for ever where there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for it, and then for as long as a client may take nothing.
async fn long_after(event: &CancellationToken) {
    event.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}

impl Waiting {
    fn size(&self) -> usize {
        match self {
            Self::Request { size, .. } | Self::Refusal { size, .. } => *size,
        }
    }

    fn is_request(&self, wanted: &RequestId) -> bool {
        matches!(self, Self::Request { id, .. } if id == wanted)
    }
}

/// The longest line that is read. Pictures travel as paths, so no honest message comes near.
const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// How many requests may run or have answers that the client has not read.
const MOST_RUNNING: usize = 256;

/// How much the requests that run may have taken on the wire.
const MOST_RUNNING_BYTES: usize = 32 * 1024 * 1024;

/// How much may wait for the client to read it before requests have to wait.
const MOST_UNREAD_BYTES: usize = 8 * 1024 * 1024;

/// How far reading runs ahead of the requests that may run, for the sake of cancellations.
const MOST_WAITING: usize = 256;

/// The same in bytes on the wire; one message more may be on top.
const MOST_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// How long requests that run at the end of the input may take to finish by themselves, counted
/// again from each answer that is read. It lets `layer-mcp < requests` answer what is answered
/// quickly, and is short because clients wait for the process to end.
const GRACE_SPAN: Duration = Duration::from_millis(10);
const GRACE_SPANS: u32 = 5;

/// How long, at the end, a client may take nothing of the last answers before they are dropped,
/// and a handler may go on. Clients kill a server that is still there after two seconds.
const PATIENCE: Duration = Duration::from_millis(500);
