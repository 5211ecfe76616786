#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use rmcp::{
    ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    service::ServerInitializeError,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines as ReadLines},
    sync::{Notify, Semaphore},
    task::JoinHandle,
};

use super::*;

/// A server whose tools do what a test needs.
#[derive(Clone, Default)]
struct Tools(Arc<Doings>);

struct Doings {
    /// Calls that have begun, and the one progress sent too late.
    begun: AtomicUsize,
    change: Notify,
    /// `wait` takes one and ends.
    tickets: Semaphore,
}

impl Default for Doings {
    fn default() -> Self {
        Self { begun: AtomicUsize::new(0), change: Notify::new(), tickets: Semaphore::new(0) }
    }
}

impl Tools {
    /// Waits until so many calls have begun.
    async fn begun(&self, count: usize) {
        loop {
            let change = self.0.change.notified();
            if self.0.begun.load(Ordering::SeqCst) >= count {
                return;
            }
            change.await;
        }
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::default())
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        self.0.change.notify_waiters();
        let text = match call.name.as_ref() {
            "quick" => "done".to_owned(),
            "panic" => panic!("as asked"),
            "large" => "x".repeat(200_000),
            "progress" => {
                let token = context.meta.get_progress_token().unwrap();
                let progress = ProgressNotificationParam::new(token, 1.0);
                context.peer.notify_progress(progress.clone()).await.unwrap();
                context.ct.cancelled().await;
                let late = context.peer.notify_progress(progress).await;
                assert!(late.is_ok());
                self.0.begun.fetch_add(1, Ordering::SeqCst);
                self.0.change.notify_waiters();
                "too late".to_owned()
            }
            // Does not look at the cancellation, so its answer comes after it.
            "stubborn" => {
                self.0.tickets.acquire().await.unwrap().forget();
                "late".to_owned()
            }
            _ => tokio::select! {
                () = context.ct.cancelled() => "interrupted".to_owned(),
                ticket = self.0.tickets.acquire() => {
                    ticket.unwrap().forget();
                    "waited".to_owned()
                }
            },
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// The client's side of a connection, and the server behind it.
struct Client {
    input: Option<DuplexStream>,
    output: ReadLines<BufReader<DuplexStream>>,
    shutdown: CancellationToken,
    tools: Tools,
    server: JoinHandle<Result<(), ServerInitializeError>>,
}

impl Client {
    fn connect() -> Self {
        Self::connect_through(1 << 20, 1 << 20)
    }

    /// Through pipes that hold so many bytes.
    fn connect_through(input_pipe: usize, output_pipe: usize) -> Self {
        let (input, server_input) = tokio::io::duplex(input_pipe);
        let (server_output, output) = tokio::io::duplex(output_pipe);
        let shutdown = CancellationToken::new();
        let transport = StdioTransport::new(server_input, server_output, shutdown.clone());
        let tools = Tools::default();
        let server = tokio::spawn(serve(tools.clone(), transport));
        let output = BufReader::new(output).lines();
        Self { input: Some(input), output, shutdown, tools, server }
    }

    /// With a session of a client that says `initialize`.
    async fn initialized() -> Self {
        let mut client = Self::connect();
        client.initialize("2025-11-25").await;
        client
    }

    async fn initialize(&mut self, version: &str) -> Value {
        self.send(json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}}))
            .await;
        let answer = self.next().await;
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        answer
    }

    async fn send(&mut self, message: Value) {
        self.send_bytes(format!("{message}\n").as_bytes()).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    async fn call(&mut self, id: impl Into<Value>, tool: &str) {
        self.send(call(id, tool)).await;
    }

    async fn cancel(&mut self, id: impl Into<Value>) {
        let params = json!({"requestId": id.into()});
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
            .await;
    }

    /// The next line of the server. Every line must be a message.
    async fn next(&mut self) -> Value {
        let line = self.output.next_line().await.unwrap().expect("the server is still there");
        let message: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    /// Shows that the connection works, and that nothing else has been sent.
    async fn ping(&mut self) {
        self.send(json!({"jsonrpc": "2.0", "id": "ping", "method": "ping"})).await;
        assert_eq!(self.next().await, json!({"jsonrpc": "2.0", "id": "ping", "result": {}}));
    }

    /// Sends bytes and expects an error about them, and a connection that still works.
    async fn refused(&mut self, bytes: &[u8], id: Value, code: i64) -> String {
        self.send_bytes(bytes).await;
        self.send_bytes(b"\n").await;
        let answer = self.next().await;
        let shown = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned();
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
        assert_eq!(answer["id"], id, "{shown}: {answer}");
        assert_eq!(answer.get("id").is_none(), id.is_null(), "{shown}: {answer}");
        self.ping().await;
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    /// Closes the input and takes what still comes.
    async fn rest(&mut self) -> Vec<Value> {
        self.input = None;
        let mut rest = Vec::new();
        while let Some(line) = self.output.next_line().await.unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        rest
    }
}

fn call(id: impl Into<Value>, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": {"name": tool}})
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// Lets everything happen that can without the test. All tasks share the test's thread.
async fn come_to_rest() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

fn modern(id: u32, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}}}})
}

#[tokio::test]
async fn every_legacy_revision_is_negotiated() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Client::connect();
        let answer = client.initialize(version).await;
        assert_eq!(answer["result"]["protocolVersion"], version);
        client.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        assert_eq!(client.next().await["result"]["tools"], json!([]));
        // A modern request on the same process.
        client.send(modern(2, "tools/list")).await;
        assert_eq!(client.next().await["result"]["resultType"], "complete");
    }
}

#[tokio::test]
async fn a_client_without_initialize_is_served_and_can_cancel() {
    let mut client = Client::connect();
    client.send(modern(1, "server/discover")).await;
    let versions = client.next().await["result"]["supportedVersions"].clone();
    assert!(versions.as_array().unwrap().contains(&json!("2026-07-28")));
    client.send(modern(2, "tools/list")).await;
    assert_eq!(client.next().await["result"]["tools"], json!([]));

    let mut slow = modern(3, "tools/call");
    slow["params"]["name"] = json!("wait");
    client.send(slow).await;
    client.tools.begun(1).await;
    client.cancel(3).await;
    client.send(modern(4, "tools/list")).await;
    assert_eq!(client.next().await["id"], 4);
    assert_eq!(client.rest().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_client_may_say_initialize_after_its_probe() {
    let mut client = Client::connect();
    client.send(modern(0, "server/discover")).await;
    assert_eq!(client.next().await["id"], 0);
    client.cancel(0).await;
    assert_eq!(client.initialize("2025-06-18").await["result"]["protocolVersion"], "2025-06-18");
    client.call(1, "quick").await;
    assert_eq!(text(&client.next().await), "done");
}

#[tokio::test]
async fn nothing_before_a_session_ends_the_process() {
    let mut client = Client::connect();
    client.cancel(1).await;
    client.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    client.send(json!({"jsonrpc": "2.0", "method": "notifications/of/others", "params": 1})).await;
    client.send(json!({"jsonrpc": "2.0", "id": 9, "result": {}})).await;
    client.send(json!({"jsonrpc": "2.0", "id": 9, "error": {"code": 1, "message": ""}})).await;
    client.refused(b"{", Value::Null, -32700).await;
    client.call(1, "quick").await;
    assert_eq!(client.next().await["error"]["code"], -32602);
    client.initialize("2025-11-25").await;
    client.call(1, "quick").await;
    assert_eq!(text(&client.next().await), "done");
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_connection_stays() {
    let mut client = Client::initialized().await;
    for (line, code) in [
        (&b"hello"[..], -32700),
        (b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\"", -32700),
        (b"\xff\xfe", -32700),
        (b"{} {}", -32700),
        (b"{}", -32600),
        (b"[]", -32600),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (b"1", -32600),
        (b"null", -32600),
        (br#""ping""#, -32600),
        (br#"{"jsonrpc":"2.0","method":7}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, -32600),
    ] {
        client.refused(line, Value::Null, code).await;
    }
    let deep = "[".repeat(200_000);
    client.refused(deep.as_bytes(), Value::Null, -32700).await;
}

#[tokio::test]
async fn an_error_has_the_id_of_its_request_where_one_can_be_read() {
    let mut client = Client::initialized().await;
    for (line, id, code) in [
        (&br#"{"jsonrpc":"2.0","id":1}"#[..], json!(1), -32600),
        (br#"{"id":"a","method":"ping"}"#, json!("a"), -32600),
        (br#"{"jsonrpc":"1.0","id":2,"method":"ping"}"#, json!(2), -32600),
        (br#"{"jsonrpc":"2.0","id":3,"method":[]}"#, json!(3), -32600),
        (br#"{"jsonrpc":"2.0","id":4,"method":"ping","result":{}}"#, json!(4), -32600),
        (
            br#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#,
            json!(u64::MAX),
            -32600,
        ),
        (br#"{"method":"ping","params":{"x":"\ud800"},"jsonrpc":"2.0","id":5}"#, json!(5), -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"\xff\"}", json!(6), -32700),
    ] {
        client.refused(line, id, code).await;
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","method":"ping","params":{{"x":{}{}}},"id":7}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    client.refused(deep.as_bytes(), json!(7), -32700).await;
    let long = format!(
        r#"{{"method":"ping","params":{{"x":"{}"}},"jsonrpc":"2.0","id":8}}"#,
        "x".repeat(LONGEST_MESSAGE)
    );
    client.refused(long.as_bytes(), json!(8), -32600).await;
}

#[tokio::test]
async fn blank_lines_carriage_returns_and_byte_order_marks_do_no_harm() {
    let mut client = Client::connect();
    client.send_bytes(b"\xEF\xBB\xBF\n\n  \r\n").await;
    client.send_bytes(b"\xEF\xBB\xBF{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n").await;
    assert_eq!(client.next().await["id"], 1);
    client.ping().await;
}

#[tokio::test]
async fn params_that_cannot_be_read_are_named() {
    let mut client = Client::initialized().await;
    for (method, params, why) in [
        ("tools/call", "{}", "`name`"),
        ("tools/call", "null", "tools/call"),
        ("tools/call", "[1]", "must be an object"),
        ("tools/call", r#"{"name":5}"#, "invalid type"),
        ("tools/call", r#"{"name":"quick","arguments":[]}"#, "invalid type"),
        ("tools/call", r#"{"name":"quick","_meta":5}"#, "`_meta`"),
        ("tools/list", r#"{"cursor":5}"#, "invalid type"),
        ("tools/list", r#""x""#, "must be an object"),
        ("initialize", "{}", "`protocolVersion`"),
        ("ping", "1", "must be an object"),
    ] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let said = client.refused(line.as_bytes(), json!(1), -32602).await;
        assert!(said.contains(&format!("`{method}`")) && said.contains(why), "{line}: {said}");
    }
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":{{"a":"{}"}}}}}}"#,
        "é".repeat(10_000)
    );
    assert!(client.refused(long.as_bytes(), json!(1), -32602).await.len() < 1000);
    for params in ["{}", "[1]", "7", r#"{"_meta":5}"#] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"no/such","params":{params}}}"#);
        client.refused(line.as_bytes(), json!(1), -32601).await;
    }
}

#[tokio::test]
async fn a_panic_is_answered() {
    let mut client = Client::initialized().await;
    client.call(1, "panic").await;
    let answer = client.next().await;
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["error"]["code"], -32603);
    client.ping().await;
}

#[tokio::test]
async fn an_id_in_flight_is_not_given_twice() {
    let mut client = Client::initialized().await;
    client.call("a", "wait").await;
    client.call("a", "quick").await;
    let refusal = client.next().await;
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!("a"), &json!(-32600)));
    client.tools.0.tickets.add_permits(1);
    let answer = client.next().await;
    assert_eq!((&answer["id"], text(&answer)), (&json!("a"), "waited"));
    // The id is free again.
    client.call("a", "quick").await;
    assert_eq!(text(&client.next().await), "done");
}

#[tokio::test]
async fn an_integer_and_a_string_are_different_ids() {
    let mut client = Client::initialized().await;
    client.call(1, "wait").await;
    client.call("1", "wait").await;
    client.tools.begun(2).await;
    client.tools.0.tickets.add_permits(2);
    let mut ids = [client.next().await["id"].clone(), client.next().await["id"].clone()];
    ids.sort_by_key(Value::is_string);
    assert_eq!(ids, [json!(1), json!("1")]);
}

#[tokio::test]
async fn a_cancelled_request_is_never_heard_of_again() {
    let mut client = Client::initialized().await;
    client.call(1, "stubborn").await;
    client.tools.begun(1).await;
    client.cancel(1).await;
    // The same id for another request: the first one's late answer must not pass for its.
    client.call(1, "wait").await;
    client.tools.begun(2).await;
    client.tools.0.tickets.add_permits(1);
    client.ping().await;
    client.tools.0.tickets.add_permits(1);
    let answer = client.next().await;
    assert_eq!((&answer["id"], text(&answer)), (&json!(1), "waited"));
    assert_eq!(client.rest().await, Vec::<Value>::new());
}

#[tokio::test]
async fn progress_stops_with_the_request() {
    let mut client = Client::initialized().await;
    let mut request = call(1, "progress");
    request["params"]["_meta"] = json!({"progressToken": "t"});
    client.send(request).await;
    let progress = client.next().await;
    assert_eq!(progress["method"], "notifications/progress");
    assert_eq!(progress["params"]["progressToken"], "t");
    client.cancel(1).await;
    client.tools.begun(2).await;
    assert_eq!(client.rest().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_cancellation_of_nothing_is_ignored() {
    let mut client = Client::initialized().await;
    client.call("x", "wait").await;
    client.tools.begun(1).await;
    // Numbers that rmcp may know requests by.
    for number in 0..5 {
        client.cancel(number).await;
    }
    client.ping().await;
    client.tools.0.tickets.add_permits(1);
    assert_eq!(text(&client.next().await), "waited");
}

#[tokio::test]
async fn work_is_limited_and_cancellations_get_through() {
    let mut client = Client::initialized().await;
    let more = 10;
    for id in 0..MOST_RUNNING + more {
        client.call(id, "wait").await;
    }
    client.tools.begun(MOST_RUNNING).await;
    // One that runs, and one that waits for its turn.
    client.cancel(0).await;
    client.cancel(MOST_RUNNING + more - 1).await;
    client.tools.begun(MOST_RUNNING + 1).await;
    client.tools.0.tickets.add_permits(MOST_RUNNING + more);

    let mut ids = Vec::new();
    for _ in 0..MOST_RUNNING + more - 2 {
        let answer = client.next().await;
        assert_eq!(text(&answer), "waited");
        ids.push(answer["id"].as_u64().unwrap() as usize);
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..MOST_RUNNING + more - 1).collect::<Vec<_>>());
    client.ping().await;
    assert_eq!(client.tools.0.begun.load(Ordering::SeqCst), MOST_RUNNING + more - 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_fill_the_memory() {
    let mut client = Client::connect_through(4096, 8192);
    client.initialize("2025-11-25").await;
    let calls = 600;
    let script = (0..calls).map(|id| format!("{}\n", call(id, "large"))).collect::<String>();
    let mut input = client.input.take().unwrap();
    let writing = tokio::spawn(async move { input.write_all(script.as_bytes()).await.unwrap() });
    come_to_rest().await;
    let begun = client.tools.0.begun.load(Ordering::SeqCst);
    assert!(begun * 200_000 <= 2 * MOST_UNREAD_BYTES, "{begun} calls were served to nobody");
    assert!(!writing.is_finished());
    // Once it reads, everything is there.
    for _ in 0..calls {
        assert_eq!(text(&client.next().await).len(), 200_000);
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn garbage_that_is_not_read_about_cannot_fill_the_memory() {
    let mut client = Client::connect_through(4096, 64);
    let lines = 10_000;
    let mut input = client.input.take().unwrap();
    let writing = tokio::spawn(async move {
        input.write_all("garbage\n".repeat(lines).as_bytes()).await.unwrap();
    });
    come_to_rest().await;
    assert!(!writing.is_finished());
    for _ in 0..lines {
        assert_eq!(client.next().await["error"]["code"], -32700);
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_input_ends_the_work() {
    let mut client = Client::initialized().await;
    client.call(1, "wait").await;
    client.tools.begun(1).await;
    let start = Instant::now();
    let rest = client.rest().await;
    client.server.await.unwrap().unwrap();
    let took = start.elapsed();
    assert!(client.shutdown.is_cancelled());
    assert_eq!(rest.iter().map(text).collect::<Vec<_>>(), ["interrupted"]);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_abandoned() {
    let mut client = Client::initialized().await;
    client.call(1, "stubborn").await;
    client.tools.begun(1).await;
    client.input = None;
    let start = Instant::now();
    client.server.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn requests_from_a_file_are_answered_before_the_end() {
    let mut client = Client::connect();
    let calls = 1000;
    let mut script = json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}}})
    .to_string();
    for id in 0..calls {
        script += &format!("\n{}", call(id, "quick"));
    }
    // The last line has no end.
    client.send_bytes(script.as_bytes()).await;
    assert_eq!(client.rest().await.len(), 1 + calls);
    client.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_before_a_session_are_written_before_the_end() {
    let mut client = Client::connect();
    client.send_bytes(b"garbage\n{\"half a mess").await;
    assert_eq!(client.rest().await.len(), 1);
    client.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_closed_output_ends_the_work() {
    let mut client = Client::initialized().await;
    client.call(1, "wait").await;
    client.tools.begun(1).await;
    let Client { input, output, shutdown, server, .. } = client;
    drop(output);
    let mut input = input.unwrap();
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n").await.unwrap();
    shutdown.cancelled().await;
    let start = Instant::now();
    server.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_up_the_end() {
    let mut client = Client::connect_through(4096, 64);
    client.send(json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}})).await;
    client.initialize("2025-11-25").await;
    client.call(1, "large").await;
    client.tools.begun(1).await;
    client.input = None;
    let start = Instant::now();
    client.server.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_shutdown_from_outside_ends_the_work() {
    let mut client = Client::initialized().await;
    client.call(1, "wait").await;
    client.tools.begun(1).await;
    client.shutdown.cancel();
    assert_eq!(text(&client.next().await), "interrupted");
    client.server.await.unwrap().unwrap();
}
