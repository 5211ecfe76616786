//! A world of its own for each test: home, output folder, environment and an offline Layer, with
//! the built binary in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use layer_mcp::sandbox::{Fault, HostKind, RequestRecord, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A token in Layer's format that no sandbox accepts.
pub(crate) const WRONG_TOKEN: &str = "pat_WrongWrongWrongWrongWrongWrongWrong";

/// Nothing that a test does takes longer, unless it says so itself.
const LONG: Duration = Duration::from_secs(90);

/// The sandboxes of all tests live here; each has its own ports and state.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime for the sandboxes")
});

/// A user's world.
pub(crate) struct TestEnv {
    temp: tempfile::TempDir,
    sandbox: Sandbox,
    settings: BTreeMap<&'static str, OsString>,
}

impl TestEnv {
    /// A home, a project with a `.git`, and a sandbox that runs twenty times as fast as usual.
    pub(crate) fn new() -> Self {
        Self::of(None, 20.0)
    }

    /// One whose sandbox has a minute of an eightieth of a second, for hundreds of starts.
    pub(crate) fn hasty() -> Self {
        let mut env = Self::of(None, 4_800.0);
        env.set("LAYER_STARTS_PER_MINUTE", "100000");
        env
    }

    /// The same with an offline Layer that accepts this token.
    pub(crate) fn with_token(token: &str) -> Self {
        Self::of(Some(token.to_owned()), 20.0)
    }

    fn of(token: Option<String>, speed: f64) -> Self {
        let temp = tempfile::Builder::new().prefix("layer-mcp-it-").tempdir().unwrap();
        for folder in ["user", "project/.git", "outside"] {
            fs::create_dir_all(temp.path().join(folder)).unwrap();
        }
        let mut options = SandboxOptions::new(temp.path().join("service"));
        options.speed = speed;
        options.token = token;
        let sandbox = RUNTIME.block_on(Sandbox::start(options)).unwrap();
        let mut env = Self { temp, sandbox, settings: BTreeMap::new() };
        let path = |env: &Self, name: &str| env.temp.path().join(name).into_os_string();
        let settings = [
            ("HOME", path(&env, "user")),
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("LAYER_MCP_HOME", path(&env, "home")),
            ("LAYER_OUTPUT_DIR", path(&env, "project")),
            ("LAYER_API_BASE_URL", env.sandbox.base_url().into()),
            ("LAYER_CA_BUNDLE", env.sandbox.ca_file().into()),
            ("LAYER_ALLOWED_HOSTS", env.sandbox.allowed_hosts().join(",").into()),
            ("LAYER_API_TOKEN", env.sandbox.token().into()),
            ("LAYER_WORKSPACE_ID", env.sandbox.workspace_id().into()),
        ];
        env.settings.extend(settings);
        env
    }

    /// The same with faults in force.
    pub(crate) fn with(faults: &[&str]) -> Self {
        let env = Self::new();
        env.faults(faults);
        env
    }

    /// A world whose token is in the store and not in the environment.
    pub(crate) fn with_store() -> Self {
        let mut env = Self::new();
        env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
        let token = env.sandbox().token().to_owned();
        let workspace = env.sandbox().workspace_id().to_owned();
        let outcome = env.run_with_input(&["setup", "--yes", "--workspace", &workspace], &token);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        env
    }

    /// Puts these faults in force (`name` or `name:times`), in place of those before.
    pub(crate) fn faults(&self, faults: &[&str]) {
        self.sandbox.set_faults(faults.iter().map(|fault| fault.parse().unwrap()).collect());
    }

    /// Sets a variable for every process started from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<OsString>) -> &mut Self {
        self.settings.insert(name, value.into());
        self
    }

    /// Unsets a variable.
    pub(crate) fn unset(&mut self, name: &'static str) -> &mut Self {
        self.settings.remove(name);
        self
    }

    /// The offline Layer.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A path in this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The `.layer-mcp` folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The output folder.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// The binary with these arguments in this world and no other.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.dressed(Command::new(env!("CARGO_BIN_EXE_layer-mcp")), arguments)
    }

    /// Any program in this world.
    pub(crate) fn dressed(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env_clear().envs(&self.settings).current_dir(self.project());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        Running::start(self.command(arguments)).finish()
    }

    /// Runs the binary to its end with this on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        Running::start_with_input(self.command(arguments), input).finish()
    }

    /// `layer-mcp call TOOL JSON`, to its end.
    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Outcome {
        self.begin(tool, arguments).finish()
    }

    /// `layer-mcp call TOOL JSON`, begun.
    pub(crate) fn begin(&self, tool: &str, arguments: &Value) -> Running {
        Running::start(self.command(&["call", tool, &arguments.to_string()]))
    }

    /// An MCP client of a new server process, with the handshake behind it.
    pub(crate) fn client(&self) -> McpClient {
        self.client_in(Era::Sessions, json!({}))
    }

    /// The same in this era, with these capabilities.
    pub(crate) fn client_in(&self, era: Era, capabilities: Value) -> McpClient {
        McpClient::start(self.command(&["serve"]), era, capabilities)
    }

    /// Everything that arrived at the offline Layer.
    pub(crate) fn requests(&self) -> Vec<RequestRecord> {
        self.sandbox.requests()
    }

    /// How many paid starts arrived, answered or not.
    pub(crate) fn starts(&self) -> usize {
        let is_start = |request: &&RequestRecord| {
            request.method == "POST" && request.path.ends_with("/inferences")
        };
        self.requests().iter().filter(is_start).count()
    }

    /// How many requests arrived at one of the hosts.
    pub(crate) fn arrived_at(&self, host: HostKind) -> usize {
        self.requests().iter().filter(|request| request.host == host).count()
    }

    /// What the paying workspace has left, in Creative Units, as Layer says.
    pub(crate) fn balance(&self) -> f64 {
        let account = self.call("get_workspace_info", &json!({})).done();
        account["balance_cu"].as_f64().unwrap_or_else(|| panic!("no balance in {account:#}"))
    }

    /// The newest job, as `list_jobs` has it.
    pub(crate) fn newest_job(&self) -> Option<Value> {
        let list = self.call("list_jobs", &json!({})).done();
        list["jobs"].as_array().unwrap().first().cloned()
    }

    /// All files of the project except those of its repository, relative to it and sorted; hidden
    /// and temporary ones too.
    pub(crate) fn project_files(&self) -> Vec<String> {
        let project = self.project();
        let mut files: Vec<String> = files_below(&project)
            .iter()
            .map(|path| path.strip_prefix(&project).unwrap().to_str().unwrap().to_owned())
            .filter(|path| !path.starts_with(".git/"))
            .collect();
        files.sort();
        files
    }
}

/// All files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files
}

/// A small picture of this prompt.
pub(crate) fn picture(prompt: &str) -> Value {
    json!({ "prompt": prompt, "width": 64, "height": 64 })
}

/// `base` with further arguments.
pub(crate) fn with(base: &Value, more: Value) -> Value {
    let mut all = base.clone();
    let (Some(all_fields), Value::Object(more)) = (all.as_object_mut(), more) else {
        panic!("both are objects");
    };
    all_fields.extend(more);
    all
}

/// Does the same with each case, all at once: most of a case is waiting. Says which ones failed.
pub(crate) fn for_each<C: Debug + Sync>(cases: &[C], check: impl Fn(&C) + Sync) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let begun: Vec<_> = cases.iter().map(|case| (case, scope.spawn(|| check(case)))).collect();
        let ended = begun.into_iter().map(|(case, thread)| (case, thread.join()));
        ended.filter(|(_, end)| end.is_err()).map(|(case, _)| format!("{case:?}")).collect()
    });
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}

/// Looks again and again until it is so; panics after 30 seconds.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process under way.
pub(crate) struct Running {
    child: Child,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
    began: Instant,
    what: String,
}

impl Running {
    /// Starts it with nothing on its standard input.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with_input(command, "")
    }

    /// Starts it with this on its standard input.
    pub(crate) fn start_with_input(mut command: Command, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A process that does not read has ended, and then says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        Self { child, stdout, stderr, began: Instant::now(), what }
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Outcome {
        self.finish_within(LONG)
    }

    /// Waits for its end, at most so long from its start.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Outcome {
        let deadline = self.began + limit;
        let status = wait(&mut self.child, deadline, &self.what);
        let took = self.began.elapsed();
        let text = |thread: JoinHandle<Vec<u8>>| {
            String::from_utf8(thread.join().unwrap()).expect("output is UTF-8")
        };
        let (stdout, stderr) = (text(self.stdout), text(self.stderr));
        Outcome { code: status.code(), stdout, stderr, took, what: self.what }
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Interrupts it, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

fn wait(child: &mut Child, deadline: Instant, what: &str) -> ExitStatus {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{what} did not end in time");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How a process ended.
#[derive(Debug)]
#[must_use = "a run that nobody looks at tests nothing"]
pub(crate) struct Outcome {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it told the user.
    pub(crate) stderr: String,
    /// How long it took.
    pub(crate) took: Duration,
    what: String,
}

impl Outcome {
    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout);
        document.unwrap_or_else(|error| panic!("{}: {error} in {self:#?}", self.what))
    }

    /// The result of a call that worked.
    pub(crate) fn done(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.json()
    }

    /// The finished job of a call: complete, and every file as large, and with the hash, that the
    /// answer says.
    pub(crate) fn complete(&self) -> Job {
        Job::of(self.done()).checked()
    }

    /// The job of a call that came back before its end.
    pub(crate) fn running(&self) -> Job {
        let job = Job::of(self.done());
        assert_eq!(job.0["status"], "running", "{self:#?}");
        assert!(job.0["next_step"].as_str().unwrap().contains("get_job"), "{self:#?}");
        job
    }

    /// The error of a call that did not work: all fields there, exit 1, or 3 where the token
    /// itself is at fault.
    pub(crate) fn error(&self, code: &str) -> Problem {
        self.failed(if code == "unauthenticated" { 3 } else { 1 }, code)
    }

    /// The error of a call that lacks credentials or settings: exit 3.
    pub(crate) fn setup_error(&self, code: &str) -> Problem {
        self.failed(3, code)
    }

    fn failed(&self, exit: i32, code: &str) -> Problem {
        assert_eq!(self.code, Some(exit), "{self:#?}");
        Problem::of(self.json(), code)
    }
}

/// A job as a tool answers with it.
#[derive(Clone, Debug)]
pub(crate) struct Job(pub(crate) Value);

impl Job {
    pub(crate) fn of(answer: Value) -> Self {
        for field in ["job_id", "status", "message", "model", "estimated_cu", "files"] {
            assert!(!answer[field].is_null(), "no {field} in {answer:#}");
        }
        Self(answer)
    }

    pub(crate) fn id(&self) -> &str {
        self.0["job_id"].as_str().unwrap()
    }

    pub(crate) fn cost(&self) -> f64 {
        self.0["cost_cu"].as_f64().unwrap_or_else(|| panic!("no cost in {:#}", self.0))
    }

    /// Absolute paths of its files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let files = self.0["files"].as_array().unwrap();
        files.iter().map(|file| PathBuf::from(file["path"].as_str().unwrap())).collect()
    }

    /// Absolute path of its only file.
    pub(crate) fn path(&self) -> PathBuf {
        let [path] = <[PathBuf; 1]>::try_from(self.paths()).unwrap();
        path
    }

    /// Asserts that it is complete and that its files are what it says they are.
    pub(crate) fn checked(self) -> Self {
        assert_eq!(self.0["status"], "complete", "{:#}", self.0);
        let files = self.0["files"].as_array().unwrap();
        assert!(!files.is_empty(), "{:#}", self.0);
        for (file, path) in files.iter().zip(self.paths()) {
            assert!(path.is_absolute(), "{:#}", self.0);
            let bytes = fs::read(&path).unwrap();
            assert_eq!(file["bytes"], bytes.len(), "{:#}", self.0);
            let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(file["sha256"], hash, "{:#}", self.0);
        }
        self
    }
}

/// An error as a tool answers with it.
#[derive(Clone, Debug)]
pub(crate) struct Problem(pub(crate) Value);

impl Problem {
    pub(crate) fn of(answer: Value, code: &str) -> Self {
        assert_eq!(answer["code"], code, "{answer:#}");
        for field in ["message", "next_step"] {
            let text = answer[field].as_str().unwrap_or_default();
            let is_sentence = text.ends_with(['.', '?', '!']) && text.len() > 10;
            assert!(is_sentence, "`{field}` is no sentence: {answer:#}");
        }
        assert!(answer["retryable"].is_boolean(), "{answer:#}");
        Self(answer)
    }

    /// Asserts what became of the money and whether the same call may be made again.
    pub(crate) fn says(self, money: &str, retryable: bool) -> Self {
        assert_eq!(self.0["money"], money, "{:#}", self.0);
        assert_eq!(self.0["retryable"], retryable, "{:#}", self.0);
        self
    }

    pub(crate) fn job_id(&self) -> &str {
        self.0["job_id"].as_str().unwrap_or_else(|| panic!("no job_id in {:#}", self.0))
    }

    pub(crate) fn message(&self) -> &str {
        self.0["message"].as_str().unwrap()
    }

    pub(crate) fn next_step(&self) -> &str {
        self.0["next_step"].as_str().unwrap()
    }
}

/// How a client talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// As all have since 2024: a handshake, and the server may ask as well.
    Sessions,
    /// As since 2026-07-28: everything stands in each request, and only the client asks.
    Stateless,
}

/// An MCP client over pipes.
pub(crate) struct McpClient {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    last_id: u64,
    notifications: Vec<Value>,
    /// Answers that came while another one was waited for.
    early: Vec<Value>,
    era: Era,
    capabilities: Value,
}

impl McpClient {
    /// Starts a server and shakes hands with it, where that is done.
    pub(crate) fn start(mut command: Command, era: Era, capabilities: Value) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = Some(drain(child.stderr.take().unwrap()));
        let (sender, lines) = channel();
        let stdout = Some(std::thread::spawn(move || {
            let mut all = String::new();
            for line in stdout.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line).expect("each line is JSON");
                all.extend([line.as_str(), "\n"]);
                // Nobody may wait for it any more.
                let _ = sender.send(message);
            }
            all
        }));
        let mut client = Self {
            child,
            stdin,
            lines,
            stdout,
            stderr,
            last_id: 0,
            notifications: Vec::new(),
            early: Vec::new(),
            era,
            capabilities,
        };
        if era == Era::Sessions {
            let hello = json!({
                "protocolVersion": "2025-06-18",
                "capabilities": client.capabilities,
                "clientInfo": { "name": "layer-mcp tests", "version": "1" },
            });
            let id = client.request("initialize", hello);
            let welcome = client.answer(id);
            assert_eq!(welcome["result"]["serverInfo"]["name"], "layer-mcp", "{welcome:#}");
            client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        }
        client
    }

    fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    /// Sends this, whether it is a message or not.
    pub(crate) fn send_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the client is still there");
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// How it talks.
    pub(crate) fn era(&self) -> Era {
        self.era
    }

    /// The id of the server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request and does not wait for its answer.
    pub(crate) fn request(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if self.era == Era::Stateless {
            let of = |name: &str| format!("io.modelcontextprotocol/{name}");
            params["_meta"][of("protocolVersion")] = json!("2026-07-28");
            params["_meta"][of("clientCapabilities")] = self.capabilities.clone();
            params["_meta"][of("clientInfo")] =
                json!({ "name": "layer-mcp tests", "version": "1" });
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Asks for a tool and does not wait; its progress is wanted.
    pub(crate) fn ask(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.ask_with(tool, arguments, json!({}))
    }

    /// The same with further parameters beside the arguments.
    pub(crate) fn ask_with(&mut self, tool: &str, arguments: &Value, more: Value) -> u64 {
        let token = self.last_id + 1;
        let meta = json!({ "progressToken": token });
        let call = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        self.request("tools/call", with(&call, more))
    }

    /// What the server asks of the client next.
    pub(crate) fn question(&mut self) -> Value {
        loop {
            let message = self.message();
            if !message["method"].is_null() && !message["id"].is_null() {
                return message;
            }
            assert!(message["id"].is_null(), "an answer instead of a question: {message:#}");
            self.notifications.push(message);
        }
    }

    /// Answers a question of the server's: `result` or `error`, and its value.
    pub(crate) fn reply(&mut self, question: &Value, kind: &str, value: Value) {
        let mut reply = json!({ "jsonrpc": "2.0", "id": question["id"] });
        reply[kind] = value;
        self.send(&reply);
    }

    /// Tells the server that an answer is not wanted any more.
    pub(crate) fn cancel(&mut self, id: u64) {
        let params = json!({ "requestId": id, "reason": "no longer wanted" });
        let method = "notifications/cancelled";
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The whole answer to a request; whatever else comes is kept.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        if let Some(place) = self.early.iter().position(|answer| answer["id"] == id) {
            return self.early.remove(place);
        }
        loop {
            let message = self.message();
            if message["id"].is_null() {
                self.notifications.push(message);
                continue;
            }
            assert!(message["method"].is_null(), "a question instead of an answer: {message:#}");
            if message["id"] == id {
                return message;
            }
            let asked = message["id"].as_u64().is_some_and(|it| it <= self.last_id);
            assert!(asked, "an answer to nothing: {message:#}");
            self.early.push(message);
        }
    }

    fn message(&mut self) -> Value {
        match self.lines.recv_timeout(LONG) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("the server says nothing"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait();
                let stderr = self.stderr.take().map(|thread| thread.join().unwrap());
                let stderr = String::from_utf8(stderr.unwrap_or_default());
                panic!("the server is gone: {status:?}, {stderr:?}")
            }
        }
    }

    /// The next result of any tool call.
    pub(crate) fn any_result(&mut self) -> (Value, bool) {
        loop {
            let message = self.message();
            if message["method"].is_null() {
                return Self::read(&message);
            }
        }
    }

    /// The result of a tool call: its object, and whether it is an error.
    pub(crate) fn result(&mut self, id: u64) -> (Value, bool) {
        let answer = self.answer(id);
        Self::read(&answer)
    }

    fn read(answer: &Value) -> (Value, bool) {
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("no text in {answer:#}"));
        (serde_json::from_str(text).unwrap(), result["isError"] == true)
    }

    /// Calls a tool that works.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let id = self.ask(tool, arguments);
        let (value, is_error) = self.result(id);
        assert!(!is_error, "{value:#}");
        value
    }

    /// Calls a tool that does not work.
    pub(crate) fn error(&mut self, tool: &str, arguments: &Value, code: &str) -> Problem {
        let id = self.ask(tool, arguments);
        let (value, is_error) = self.result(id);
        assert!(is_error, "{value:#}");
        Problem::of(value, code)
    }

    /// Waits until some progress was told.
    pub(crate) fn wait_for_progress(&mut self) -> Value {
        loop {
            let told =
                self.notifications.pop().unwrap_or_else(|| self.lines.recv_timeout(LONG).unwrap());
            if told["method"] == "notifications/progress" {
                return told;
            }
        }
    }

    /// Goes away without a word. Returns how long the server outlived it.
    pub(crate) fn disappear(mut self) -> Duration {
        drop(self.stdin.take());
        let began = Instant::now();
        let status = wait(&mut self.child, began + LONG, "the server");
        assert_eq!(status.code(), Some(0), "an end of the input is a normal end");
        began.elapsed()
    }

    /// Goes away, and gives everything that the server wrote to its standard output and to its
    /// standard error.
    pub(crate) fn leave(mut self) -> (String, String) {
        drop(self.stdin.take());
        let status = wait(&mut self.child, Instant::now() + LONG, "the server");
        assert_eq!(status.code(), Some(0), "an end of the input is a normal end");
        let stdout = self.stdout.take().expect("nobody else takes it").join().unwrap();
        let stderr = self.stderr.take().expect("the server did not disappear").join().unwrap();
        (stdout, String::from_utf8(stderr).expect("output is UTF-8"))
    }

    /// Ends the server at once, as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for McpClient {
    fn drop(&mut self) {
        // Only a failed test leaves one behind; after a normal end this does nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every fault that the sandbox knows, for a test that none is forgotten.
pub(crate) fn all_faults() -> impl Iterator<Item = &'static str> {
    Fault::ALL.iter().map(|fault| fault.name())
}

/// Says on the terminal, past the capture of a test's output, that a test could not be done here.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED, not tested on this machine: {why}");
}
