//! A session as a certain client has it, inside this process: how `layer-mcp doctor --client` tries
//! what the table of clients says.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::stdio::{StdioTransport, serve};

/// What a client gets to see.
#[derive(Debug)]
pub struct Rehearsal {
    /// The tools as they are listed.
    pub tools: Vec<Value>,
    /// The answers to the calls, in their order.
    pub answers: Vec<Value>,
}

/// A call to make: the tool's name, and what makes its arguments of the answers before it.
pub type RehearsedCall<'a> = (&'a str, fn(&[Value]) -> Value);

/// The session did not go as it should.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// No answer, or none that can be read.
    #[error("the server gave no answer that can be read to `{0}`")]
    Unanswered(&'static str),
    /// An error of the protocol.
    #[error("the server answered `{0}` with an error: {1}")]
    Refused(&'static str, String),
    /// It took too long.
    #[error("the session took more than {} seconds", LIMIT.as_secs())]
    Overdue,
}

/// The whole session takes seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Room for messages on their way.
const BUFFER: usize = 64 * 1024;
/// The revision that most clients speak.
const REVISION: &str = "2025-11-25";

/// Lists the tools and makes the calls as a client of this name and version.
///
/// # Errors
/// [`RehearsalError`].
pub async fn rehearse(
    server: Server,
    client: (&str, &str),
    calls: &[RehearsedCall<'_>],
) -> Result<Rehearsal, RehearsalError> {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let (input, output) = tokio::io::split(theirs);
    let shutdown = CancellationToken::new();
    let transport = StdioTransport::new(input, output, shutdown.clone());
    let serving = tokio::spawn(serve(server, transport));
    let (read, write) = tokio::io::split(ours);
    let mut session = Session { read: BufReader::new(read), write, id: 0 };
    let told = tokio::time::timeout(LIMIT, session.run(client, calls)).await;
    shutdown.cancel();
    let _ = serving.await;
    told.map_err(|_| RehearsalError::Overdue)?
}

struct Session {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    id: u64,
}

impl Session {
    async fn run(
        &mut self,
        (name, version): (&str, &str),
        calls: &[RehearsedCall<'_>],
    ) -> Result<Rehearsal, RehearsalError> {
        let hello = json!({
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": name, "version": version },
        });
        self.request("initialize", hello).await?;
        self.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        let mut listed = self.request("tools/list", json!({})).await?;
        let tools = match listed.get_mut("tools").map(Value::take) {
            Some(Value::Array(tools)) => tools,
            _ => return Err(RehearsalError::Unanswered("tools/list")),
        };
        let mut answers = Vec::new();
        for (tool, arguments) in calls {
            let call = json!({ "name": tool, "arguments": arguments(&answers) });
            answers.push(self.request("tools/call", call).await?);
        }
        Ok(Rehearsal { tools, answers })
    }

    async fn send(&mut self, message: Value) {
        // What does not get through is missed when its answer is read.
        let _ = self.write.write_all(format!("{message}\n").as_bytes()).await;
    }

    async fn request(
        &mut self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, RehearsalError> {
        self.id += 1;
        let id = self.id;
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        let mut line = String::new();
        loop {
            line.clear();
            match self.read.read_line(&mut line).await {
                Ok(0) | Err(_) => return Err(RehearsalError::Unanswered(method)),
                Ok(_) => {}
            }
            let Ok(mut message) = serde_json::from_str::<Value>(&line) else {
                return Err(RehearsalError::Unanswered(method));
            };
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                continue;
            }
            return match message.get_mut("result").map(Value::take) {
                Some(result) => Ok(result),
                None => Err(RehearsalError::Refused(method, message.to_string())),
            };
        }
    }
}
