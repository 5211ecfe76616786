//! A small MCP client over the real pipes of the built binary, in an environment of its own.
//!
//! A [`Place`] is a home, an output folder and nothing else of the machine's environment. A
//! [`Client`] reads every line that the server writes and insists that it is JSON-RPC, whatever
//! the test is about.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

/// The longest that a test waits for anything. Reached only when something is broken.
const DEADLINE: Duration = Duration::from_secs(40);

/// What every object with an error has to say.
const ERROR_FIELDS: [&str; 5] = ["code", "message", "money", "retryable", "next_step"];

/// Waits until `found` finds something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < end, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A hermetic environment for the binary.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    speed: &'static str,
    settings: Vec<(String, String)>,
}

impl Place {
    /// Empty folders, and a sandbox whose runs take moments.
    pub(crate) fn new() -> Self {
        Self::at_speed("20")
    }

    /// The same with another clock.
    pub(crate) fn at_speed(speed: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["user", "output"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, speed, settings: Vec::new() }
    }

    /// The same with a setting more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The `.layer-mcp` folder, which the binary makes when it needs it.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Where assets go.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// The binary in this place.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layer-mcp"));
        command
            .env_clear()
            .env("HOME", self.folder.path().join("user"))
            .env("LAYER_MCP_HOME", self.home())
            .env("LAYER_OUTPUT_DIR", self.output())
            .env("LAYER_SANDBOX_SPEED", self.speed)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path().join("user"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, b"")
    }

    /// Runs a command to its end, with something on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A command that does not read its input is free to.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Calls a tool from the command line, in the sandbox.
    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Ran {
        self.run(&["--sandbox", "call", tool, &arguments.to_string()])
    }

    /// A server with the sandbox inside, and a client that has not said anything yet.
    pub(crate) fn serve(&self) -> Client {
        Client::new(self.command(&["--sandbox", "serve"]))
    }

    /// A server with the sandbox inside, and a client that has shaken hands.
    pub(crate) fn connect(&self) -> Client {
        let mut client = self.serve();
        client.shake_hands(Revision::V2025_11_25);
        client
    }

    /// All files below the home, for tests of what is written when.
    pub(crate) fn written(&self) -> Vec<PathBuf> {
        fn below(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => below(&path, found),
                    path => found.push(path),
                }
            }
        }
        let mut found = Vec::new();
        below(&self.home(), &mut found);
        below(&self.output(), &mut found);
        found.sort();
        found
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The one JSON document on standard output, after an exit with `code`.
    #[track_caller]
    pub(crate) fn document(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A revision of MCP, and how a client of it talks.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
#[allow(non_camel_case_types, reason = "dates")]
pub(crate) enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Revision {
    pub(crate) const fn date(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Since this revision there are no sessions.
    pub(crate) fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }
}

/// A server process and the client's end of its pipes. Dropping it kills the process.
pub(crate) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    lines: Option<Receiver<Vec<u8>>>,
    stderr: Option<JoinHandle<String>>,
    revision: Revision,
    /// What the client calls itself, and its version.
    info: (String, String),
    capabilities: Value,
    last_id: i64,
    /// Read while something else was waited for.
    kept: VecDeque<Value>,
}

impl Client {
    /// Starts the process and reads what it writes.
    pub(crate) fn new(command: Command) -> Self {
        let mut client = Self::deaf(command);
        client.listen();
        client
    }

    /// Starts the process and reads nothing until [`Client::listen`].
    pub(crate) fn deaf(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            input: child.stdin.take(),
            output: child.stdout.take(),
            child,
            lines: None,
            stderr: Some(stderr),
            revision: Revision::V2025_11_25,
            info: ("tests".to_owned(), "1".to_owned()),
            capabilities: json!({}),
            last_id: 1000,
            kept: VecDeque::new(),
        }
    }

    /// Begins to read.
    pub(crate) fn listen(&mut self) {
        let mut output = BufReader::new(self.output.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                match output.read_until(b'\n', &mut line) {
                    Ok(1..) if sender.send(line).is_ok() => {}
                    _ => return,
                }
            }
        });
        self.lines = Some(lines);
    }

    /// The same as another client.
    pub(crate) fn known_as(mut self, name: &str, version: &str) -> Self {
        self.info = (name.to_owned(), version.to_owned());
        self
    }

    /// The same with these capabilities.
    pub(crate) fn able_to(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Opens a session the way clients of this revision do. Gives the server's introduction.
    pub(crate) fn shake_hands(&mut self, revision: Revision) -> Value {
        self.revision = revision;
        if revision.is_modern() {
            return self.request("server/discover", json!({}));
        }
        let introduction = self.request(
            "initialize",
            json!({
                "protocolVersion": revision.date(),
                "capabilities": self.capabilities,
                "clientInfo": { "name": self.info.0, "version": self.info.1 },
            }),
        );
        assert_eq!(introduction["protocolVersion"], revision.date());
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        introduction
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Value) {
        self.send_bytes(message.to_string().as_bytes());
    }

    /// Sends a line, whatever it is.
    pub(crate) fn send_bytes(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
    }

    /// Gives the writing end to a thread of the test's own.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.input.take().unwrap()
    }

    /// Sends a request under an id of its own, with what the revision puts into each.
    pub(crate) fn begin(&mut self, method: &str, params: Value) -> i64 {
        self.last_id += 1;
        let id = self.last_id;
        let message = self.message(json!(id), method, params);
        self.send(&message);
        id
    }

    /// A request as a client of this revision writes it.
    pub(crate) fn message(&self, id: Value, method: &str, mut params: Value) -> Value {
        if self.revision.is_modern() {
            let meta = params
                .as_object_mut()
                .unwrap()
                .entry("_meta")
                .or_insert_with(|| Value::Object(Map::new()));
            let date = self.revision.date();
            meta["io.modelcontextprotocol/protocolVersion"] = json!(date);
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            let (name, version) = &self.info;
            meta["io.modelcontextprotocol/clientInfo"] =
                json!({ "name": name, "version": version });
        }
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    }

    /// Begins a tool call.
    pub(crate) fn begin_call(&mut self, tool: &str, arguments: Value) -> i64 {
        self.begin("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// The next message that nobody has claimed, or `None` at the end of the output.
    pub(crate) fn next(&mut self) -> Option<Value> {
        self.kept.pop_front().or_else(|| self.read(DEADLINE).expect("the server is silent"))
    }

    /// The next message from the pipe; `Err` when none comes in time.
    fn read(&mut self, patience: Duration) -> Result<Option<Value>, RecvTimeoutError> {
        let lines = self.lines.as_ref().expect("the client listens");
        match lines.recv_timeout(patience) {
            Ok(line) => Ok(Some(json_rpc(&line))),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(timeout) => Err(timeout),
        }
    }

    /// The answer to a request: the whole message. Other messages are kept.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        if let Some(place) = self.kept.iter().position(|message| is_answer(message, &id)) {
            return self.kept.remove(place).unwrap();
        }
        loop {
            let message = self
                .read(DEADLINE)
                .unwrap_or_else(|_| panic!("request {id} is not answered"))
                .unwrap_or_else(|| panic!("the output ended before request {id} was answered"));
            if is_answer(&message, &id) {
                return message;
            }
            self.kept.push_back(message);
        }
    }

    /// Asks, and gives the result.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        let mut answer = self.answer(id);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Asks for something that is refused, and gives the error.
    #[track_caller]
    pub(crate) fn refused(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        let mut answer = self.answer(id);
        assert!(answer.get("result").is_none(), "{method}: {answer}");
        answer["error"].take()
    }

    /// Calls a tool, and gives the whole result.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Calls a tool that answers with data, and gives the data.
    #[track_caller]
    pub(crate) fn data(&mut self, tool: &str, arguments: Value) -> Value {
        data(self.call(tool, arguments))
    }

    /// Calls a tool that can't do what it is asked, and gives the report.
    #[track_caller]
    pub(crate) fn error(&mut self, tool: &str, arguments: Value) -> Value {
        error(&self.call(tool, arguments))
    }

    /// The latest state of a job, once it has one of the words.
    #[track_caller]
    pub(crate) fn job_that_is(&mut self, status: &str) -> Value {
        eventually(&format!("a job that is {status}"), || {
            let mut jobs = self.data("list_jobs", json!({ "status": status }));
            match jobs["jobs"].as_array_mut().unwrap().as_mut_slice() {
                [job, ..] => Some(job.take()),
                [] => None,
            }
        })
    }

    /// What was read and not claimed so far.
    pub(crate) fn unclaimed(&mut self) -> Vec<Value> {
        self.kept.drain(..).collect()
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Ends the server's input.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for the end of the process. Gives how long that took from now, how it ended, what
    /// else it wrote, and its log.
    pub(crate) fn end(mut self) -> End {
        let began = Instant::now();
        let mut messages: Vec<Value> = self.kept.drain(..).collect();
        if self.lines.is_some() {
            while let Some(message) = self.read(DEADLINE).expect("the output does not end") {
                messages.push(message);
            }
        }
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        let took = began.elapsed();
        self.close_input();
        let log = self.stderr.take().unwrap().join().unwrap();
        End { took, status, messages, log }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) took: Duration,
    pub(crate) status: ExitStatus,
    pub(crate) messages: Vec<Value>,
    pub(crate) log: String,
}

/// The data of a result, in the shape that every data tool answers in.
#[track_caller]
pub(crate) fn data(mut result: Value) -> Value {
    assert_ne!(result["isError"], true, "{result}");
    let structured = result["structuredContent"].take();
    assert!(structured.is_object(), "{result}");
    let blocks = result["content"].as_array().unwrap();
    assert_eq!(blocks.len(), 1, "{result}");
    assert_eq!(blocks[0]["type"], "text");
    assert_eq!(blocks[0]["text"], structured.to_string(), "the same, compact, in the same order");
    structured
}

/// The report of a result, in the shape that every error has.
#[track_caller]
pub(crate) fn error(result: &Value) -> Value {
    assert_eq!(result["isError"], true, "{result}");
    assert!(result.get("structuredContent").is_none(), "{result}");
    let blocks = result["content"].as_array().unwrap();
    assert_eq!(blocks.len(), 1, "{result}");
    let report: Value = serde_json::from_str(blocks[0]["text"].as_str().unwrap()).unwrap();
    is_report(&report);
    report
}

/// Insists on the fields that every error has.
#[track_caller]
pub(crate) fn is_report(report: &Value) {
    for field in ERROR_FIELDS {
        assert!(report.get(field).is_some(), "`{field}` is missing: {report}");
    }
    let code = report["code"].as_str().unwrap();
    assert!(code.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{code}");
    assert!(["not_charged", "charged", "unknown"].contains(&report["money"].as_str().unwrap()));
    assert!(report["retryable"].is_boolean());
    for field in ["message", "next_step"] {
        let sentence = report[field].as_str().unwrap();
        assert!(sentence.ends_with(['.', '!', '?']), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}

fn is_answer(message: &Value, id: &Value) -> bool {
    message.get("method").is_none() && message.get("id") == Some(id)
}

/// A line of the server's as a message: JSON-RPC, whatever happens.
#[track_caller]
fn json_rpc(line: &[u8]) -> Value {
    let shown = String::from_utf8_lossy(line).into_owned();
    assert!(line.ends_with(b"\n"), "cut off: {shown}");
    let message: Value = serde_json::from_slice(line).expect(&shown);
    assert_eq!(message["jsonrpc"], "2.0", "{shown}");
    let has = |field: &str| message.get(field).is_some();
    let id = message.get("id").is_none_or(|id| id.is_string() || id.is_i64());
    let shape = match (has("method"), has("result"), has("error")) {
        // The server asks nothing of the client.
        (true, false, false) => !has("id") && message["method"].is_string(),
        (false, true, false) => has("id"),
        (false, false, true) => {
            message["error"]["code"].is_i64() && message["error"]["message"].is_string()
        }
        _ => false,
    };
    assert!(id && shape, "{shown}");
    message
}

/// `layer-mcp sandbox`: the offline Layer as a process of its own, for faults.
pub(crate) struct Standalone {
    child: Child,
    /// The line that it prints.
    pub(crate) line: Value,
}

impl Standalone {
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = ["sandbox"].iter().chain(arguments).copied().collect();
        let mut child = place.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { line: serde_json::from_str(&line).expect(&line), child }
    }

    /// A place whose binary talks to this sandbox as if it were Layer.
    pub(crate) fn client(&self, place: Place) -> Place {
        [
            ("LAYER_API_BASE_URL", "base_url"),
            ("LAYER_CA_BUNDLE", "ca_file"),
            ("LAYER_API_TOKEN", "token"),
            ("LAYER_WORKSPACE_ID", "workspace_id"),
            ("LAYER_ALLOWED_HOSTS", "allowed_hosts"),
        ]
        .into_iter()
        .fold(place, |place, (setting, name)| {
            place.with(setting, self.line[name].as_str().unwrap())
        })
    }

    /// Ends it politely.
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        eventually("the end of the sandbox", || self.child.try_wait().unwrap())
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
