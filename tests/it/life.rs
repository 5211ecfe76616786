//! How servers end: whatever becomes of the client, nothing stays behind, and the next process can
//! begin at once.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::support::{TestEnv, files_below, for_each, picture, wait_until, with};

/// So long a server may take to end; milliseconds in truth, on a machine that has nothing else to
/// do.
const SOON: Duration = Duration::from_secs(5);
/// So long a process holds what it works on after its last sign of life (README, "Money").
const LEASE: Duration = Duration::from_secs(15);

/// A server and the client's ends of its pipes, each of which can be let go by itself.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
    asked: u64,
}

impl Server {
    fn of(env: &TestEnv) -> Self {
        Self::start(env.command(&["serve"]))
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, input, output, asked: 0 }
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Skips all before what is waited for.
    fn hear_of(&mut self, method: &str) -> Value {
        loop {
            let message = self.hear();
            if message["method"] == method {
                return message;
            }
            assert!(message["id"].is_null(), "instead of {method}: {message:#}");
        }
    }

    fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    fn answer(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        loop {
            let message = self.hear();
            if message["id"] == id && message["method"].is_null() {
                assert!(message["error"].is_null(), "{message:#}");
                return message["result"].clone();
            }
        }
    }

    fn shake_hands(&mut self, capabilities: Value) {
        let client = json!({ "name": "layer-mcp tests", "version": "1" });
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client,
        });
        self.answer("initialize", &hello);
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    }

    fn begin(&mut self, tool: &str, arguments: &Value) {
        let meta = json!({ "progressToken": self.asked + 1 });
        self.ask("tools/call", &json!({ "name": tool, "arguments": arguments, "_meta": meta }));
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let result = self.answer("tools/call", &json!({ "name": tool, "arguments": arguments }));
        serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, and gives what it still wrote.
    fn ended(mut self, within: Duration) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < within, "the server outlives its client");
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut rest = String::new();
        if let Some(output) = &mut self.output {
            // Ends only when nobody else has the pipe: no child of the server's.
            std::io::Read::read_to_string(output, &mut rest).unwrap();
        }
        (status, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What runs in this world: each process has its folder in its environment.
fn processes_of(env: &TestEnv) -> Vec<String> {
    let mark = env.path("");
    let mark = mark.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.windows(mark.len()).any(|part| part == mark) {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// A world with a folder for temporary files of its own.
fn hermetic(mut env: TestEnv) -> TestEnv {
    fs::create_dir(env.path("temporary")).unwrap();
    let temporary = env.path("temporary");
    env.set("TMPDIR", temporary);
    env
}

/// No process, no file that is not known, a journal that can be read and a trail that is whole.
fn nothing_is_left(env: &TestEnv) {
    wait_until("all processes have ended", || processes_of(env).is_empty());
    assert_eq!(files_below(&env.path("temporary")), Vec::<std::path::PathBuf>::new());
    let home = env.home();
    for file in files_below(&home) {
        let name = file.strip_prefix(&home).unwrap().to_str().unwrap().to_owned();
        let known = ["journal.db", "journal.db-wal", "journal.db-shm", "logs/layer-mcp.log"];
        assert!(known.contains(&name.as_str()) || name.starts_with("audit/"), "left: {name}");
    }
    let files = env.project_files();
    assert!(files.iter().all(|file| file.ends_with(".png")), "{files:?}");
    let verified = env.run(&["audit", "--verify"]);
    assert_eq!(verified.code, Some(0), "{verified:#?}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unopened,
    Idle,
    Waiting,
    TenJobs,
    Asking,
    Unanswered,
    Queued,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Unopened,
        Self::Idle,
        Self::Waiting,
        Self::TenJobs,
        Self::Asking,
        Self::Unanswered,
        Self::Queued,
    ];

    fn world(self) -> TestEnv {
        let mut env = match self {
            Self::Waiting | Self::TenJobs | Self::Queued => TestEnv::with(&["straggler"]),
            Self::Unanswered => TestEnv::with(&["slow_answers"]),
            _ => TestEnv::new(),
        };
        if self == Self::Queued {
            env.set("LAYER_STARTS_PER_MINUTE", "1");
        }
        if self == Self::Asking {
            env.set("LAYER_CONFIRM_ABOVE_CU", "0.001");
        }
        hermetic(env)
    }

    fn reach(self, env: &TestEnv) -> Server {
        let mut server = Server::of(env);
        if self == Self::Unopened {
            // Allowed before a session, and shows that the process is up.
            server.answer("ping", &json!({}));
            return server;
        }
        server.shake_hands(json!({ "elicitation": {} }));
        let jobs = match self {
            Self::Unopened | Self::Idle => 0,
            Self::TenJobs => 10,
            Self::Queued => 2,
            Self::Waiting | Self::Asking | Self::Unanswered => 1,
        };
        for job in 0..jobs {
            server.begin("create_asset", &picture(&format!("job {job}")));
        }
        match self {
            Self::Asking => drop(server.hear_of("elicitation/create")),
            Self::Unopened | Self::Idle => {}
            _ => {
                let starts = if self == Self::TenJobs { 10 } else { 1 };
                wait_until("the starts have arrived", || env.starts() == starts);
                server.hear_of("notifications/progress");
            }
        }
        server
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    InputClosed,
    OutputClosed,
    BothClosed,
    HalfAMessage,
    Signal(Signal),
}

impl Death {
    const ALL: [Self; 8] = [
        Self::InputClosed,
        Self::OutputClosed,
        Self::BothClosed,
        Self::HalfAMessage,
        Self::Signal(Signal::TERM),
        Self::Signal(Signal::INT),
        Self::Signal(Signal::HUP),
        Self::Signal(Signal::KILL),
    ];

    fn strike(self, server: &mut Server) {
        if self == Self::HalfAMessage {
            write!(server.input.as_mut().unwrap(), r#"{{"jsonrpc":"2.0","id":99,"met"#).unwrap();
        }
        if let Self::Signal(signal) = self {
            server.signal(signal);
        }
        if matches!(self, Self::InputClosed | Self::BothClosed | Self::HalfAMessage) {
            server.input = None;
        }
        if matches!(self, Self::OutputClosed | Self::BothClosed) {
            server.output = None;
        }
    }
}

#[test]
fn whatever_becomes_of_the_client_the_server_ends_and_leaves_nothing() {
    for state in State::ALL {
        for_each(&Death::ALL, |death| {
            let mut env = state.world();
            let mut server = state.reach(&env);
            death.strike(&mut server);
            // The answer to a start that was sent is waited for: it takes two seconds.
            let within = if state == State::Unanswered { 3 * SOON } else { SOON };
            let (status, rest) = server.ended(within);
            let killed = *death == Death::Signal(Signal::KILL);
            let end = (status.code(), status.signal());
            assert_eq!(end, if killed { (None, Some(9)) } else { (Some(0), None) }, "{state:?}");
            // Whole messages, if any; of the half one nothing was made.
            for line in rest.lines() {
                let message: Value = serde_json::from_str(line).unwrap();
                assert!(message["id"] != 99 && !message["id"].is_string(), "{message:#}");
            }

            env.faults(&[]);
            env.set("LAYER_STARTS_PER_MINUTE", "1000").set("LAYER_CONFIRM_ABOVE_CU", "1000");
            let began = Instant::now();
            let _ = env.call("create_asset", &picture("the next one")).complete();
            // What was killed in the queue keeps its place until its lease runs out.
            let at_most = if killed { LEASE + 3 * SOON } else { 3 * SOON };
            assert!(began.elapsed() < at_most, "it waited for a dead process: {state:?}");
            nothing_is_left(&env);
        });
    }
}

#[test]
fn five_hundred_starts_and_stops_leave_nothing() {
    const STARTS: usize = 500;
    let env = hermetic(TestEnv::hasty());
    // One that stays shows that the others leave nothing in it either.
    let mut witness = Server::of(&env);
    witness.shake_hands(json!({}));
    witness.call("create_asset", &picture("the first"));
    let open =
        |server: &Server| fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    wait_until("no connection is open", || {
        let before = open(&witness);
        std::thread::sleep(Duration::from_millis(100));
        before == open(&witness)
    });
    let before = open(&witness);
    let (next, bought) = (AtomicUsize::new(0), AtomicUsize::new(1));
    for_each(&[0; 8], |_| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= STARTS {
                return;
            }
            let mut server = Server::of(&env);
            match number % 5 {
                0 => server.shake_hands(json!({})),
                1 => drop(server.answer("ping", &json!({}))),
                2 => {
                    server.shake_hands(json!({}));
                    server.call("list_models", &json!({ "limit": 1 }));
                }
                3 => {
                    server.shake_hands(json!({}));
                    server.call("list_jobs", &json!({ "limit": 1 }));
                }
                _ => {
                    server.shake_hands(json!({}));
                    let call =
                        with(&picture(&format!("no. {number}")), json!({ "wait_seconds": 0 }));
                    let job = server.call("create_asset", &call);
                    assert!(job["job_id"].is_string(), "{job:#}");
                    bought.fetch_add(1, Ordering::Relaxed);
                }
            }
            let death = Death::ALL[number / 5 % Death::ALL.len()];
            // What a process was at work on when somebody kills it is free when its lease runs out.
            let death = if number % 5 >= 2 && death == Death::Signal(Signal::KILL) {
                Death::BothClosed
            } else {
                death
            };
            death.strike(&mut server);
            server.ended(3 * SOON);
        }
    });
    // Room for a second connection to the journal and to Layer, and not for one of each start.
    let after = open(&witness);
    assert!(after <= before + 16, "{after} files are open, {before} were");
    drop(witness.input.take());
    witness.ended(SOON);
    let bought = bought.into_inner();
    assert_eq!((bought, env.starts()), (STARTS / 5 + 1, STARTS / 5 + 1));
    // All of it is in the journal and comes to its end.
    let jobs = env.run(&["jobs", "--collect", "--limit", "1000", "--json"]).json();
    let jobs = jobs.as_array().unwrap();
    assert_eq!(jobs.len(), bought);
    let open: Vec<_> = jobs.iter().filter(|job| job["status"] != "complete").collect();
    assert!(open.is_empty(), "{open:#?}");
    let files = env.project_files();
    assert_eq!(files.len(), bought, "{files:#?}");
    nothing_is_left(&env);
}

#[test]
fn forty_starts_and_stops_of_the_sandbox_leave_nothing() {
    let mut env = hermetic(TestEnv::new());
    env.set("LAYER_SANDBOX_SPEED", "100");
    // As an earlier version left it when it was killed; nobody listens there.
    let left = env.home().join("sandbox/layer/ca-1.pem");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, "of a sandbox that was killed").unwrap();
    let numbers: Vec<usize> = (0..40).collect();
    for some in numbers.chunks(8) {
        for_each(some, |number| {
            let mut server = Server::start(env.command(&["--sandbox", "serve"]));
            server.shake_hands(json!({}));
            server.call("list_models", &json!({ "limit": 1 }));
            Death::ALL[number % Death::ALL.len()].strike(&mut server);
            server.ended(3 * SOON);
        });
    }
    wait_until("all processes have ended", || processes_of(&env).is_empty());
    let folder = env.home().join("sandbox/layer");
    let files = files_below(&folder);
    assert!(files.iter().all(|file| file.to_string_lossy().contains("state.db")), "{files:#?}");
    assert_eq!(files_below(&env.path("temporary")), Vec::<std::path::PathBuf>::new());
}

/// A server behind a launcher, while this test holds the client's ends of its pipes, as a sibling
/// does that has inherited them.
fn behind_a_launcher(env: &TestEnv) -> (Server, Pid) {
    let script = "exec 3<&0; \"$0\" serve <&3 & echo $! >\"$1\"; wait";
    let noted = env.path("pid");
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_layer-mcp"), noted.to_str().unwrap()]);
    let mut server = Server::start(env.dressed(command, &[]));
    server.shake_hands(json!({}));
    (server, noted_process(&noted))
}

/// The process whose id a shell writes there.
fn noted_process(file: &Path) -> Pid {
    let read = || fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'));
    wait_until("the id is written", || read().is_some());
    Pid::from_raw(read().unwrap().trim().parse().unwrap()).unwrap()
}

/// Ended; whoever should reap it may be slow.
fn has_ended(process: Pid) -> bool {
    let facts = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    facts.map_or(true, |facts| facts.rsplit(')').next().unwrap().trim().starts_with(['Z', 'X']))
}

#[test]
fn a_killed_client_whose_pipes_a_sibling_holds_is_missed() {
    let env = hermetic(TestEnv::new());
    let (mut server, process) = behind_a_launcher(&env);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    // It is asked whether it is there, and does not answer.
    server.hear_of("ping");
    wait_until("the server has ended", || has_ended(process));
    nothing_is_left(&env);
}

#[test]
fn a_launcher_that_ends_takes_no_client_with_it() {
    let env = hermetic(TestEnv::new());
    let (mut server, process) = behind_a_launcher(&env);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let ping = server.hear_of("ping");
    server.say(&json!({ "jsonrpc": "2.0", "id": ping["id"], "result": {} }));
    // Longer than the server waits for an answer that does not come.
    std::thread::sleep(Duration::from_secs(12));
    assert!(!has_ended(process));
    assert_eq!(server.call("list_jobs", &json!({}))["jobs"], json!([]));
    drop(server.input.take());
    wait_until("the server has ended", || has_ended(process));
    nothing_is_left(&env);
}

#[test]
fn a_terminal_that_hangs_up_ends_the_server_in_it() {
    let env = hermetic(TestEnv::new());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let terminal = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    // The shell leads the terminal's session; the server is in its foreground group, and has pipes.
    let script = "exec 3<&0; exec 4>&1; exec setsid -w sh -c '\
                  exec 5<>\"$1\"; \"$0\" serve <&3 >&4 & echo $! >\"$2\"; wait' \"$0\" \"$1\" \"$2\"";
    let noted = env.path("pid");
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_layer-mcp");
    command.args(["-c", script, binary, &terminal, noted.to_str().unwrap()]);
    let mut server = Server::start(env.dressed(command, &[]));
    server.shake_hands(json!({}));
    let process = noted_process(&noted);
    // Well before anybody would have been asked whether they are there.
    let began = Instant::now();
    drop(master);
    wait_until("the server has ended", || has_ended(process));
    assert!(began.elapsed() < SOON);
    drop(server.input.take());
    server.child.wait().unwrap();
    nothing_is_left(&env);
}

#[test]
fn a_client_that_reads_nothing_and_closes_its_end_is_not_waited_for() {
    let env = hermetic(TestEnv::new());
    let mut server = Server::of(&env);
    server.shake_hands(json!({}));
    let mut input = server.input.take().unwrap();
    let writer = std::thread::spawn(move || {
        for id in 100..6_000 {
            let ask = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" });
            // The server may have had enough.
            if writeln!(input, "{ask}").is_err() {
                return;
            }
        }
    });
    // Full of answers, and of questions that have no room: from here on nothing moves.
    std::thread::sleep(Duration::from_secs(1));
    assert!(!writer.is_finished(), "the pipes hold more than was thought");
    server.signal(Signal::TERM);
    server.ended(3 * SOON);
    writer.join().unwrap();

    // As much as fits, so that the end of the input lies behind what is never read.
    let mut server = Server::of(&env);
    server.shake_hands(json!({}));
    let input = server.input.take().unwrap();
    let ask = format!("{}\n", json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/list" }));
    let mut quiet = 0;
    let mut id = 0;
    while quiet < 5 {
        let mut ends = [rustix::event::PollFd::new(&input, rustix::event::PollFlags::OUT)];
        let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if rustix::event::poll(&mut ends, Some(&moment)).unwrap() == 0 {
            quiet += 1;
            continue;
        }
        quiet = 0;
        id += 1;
        let ask = ask.replace("\"x\"", &id.to_string());
        rustix::io::write(&input, ask.as_bytes()).unwrap();
    }
    drop(input);
    let output = server.output.take();
    let (status, _) = server.ended(3 * SOON);
    assert_eq!(status.code(), Some(0));
    drop(output);
    nothing_is_left(&env);
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let mut env = hermetic(TestEnv::new());
    env.set("LAYER_LOG", "trace");
    let (unread, stderr) = std::io::pipe().unwrap();
    // Full before the server begins.
    loop {
        let mut ends = [rustix::event::PollFd::new(&stderr, rustix::event::PollFlags::OUT)];
        let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if rustix::event::poll(&mut ends, Some(&moment)).unwrap() == 0 {
            break;
        }
        rustix::io::write(stderr.as_fd(), &[b'x'; 512]).unwrap();
    }
    let mut command = env.command(&["serve"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = command.spawn().unwrap();
    let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
    drop(command);
    let mut server = Server { child, input, output, asked: 0 };
    server.shake_hands(json!({}));
    let job = server.call("create_asset", &picture("an unheard bell"));
    assert_eq!(job["status"], "complete", "{job:#}");
    drop(server.input.take());
    let (status, _) = server.ended(SOON);
    assert_eq!(status.code(), Some(0));
    drop(unread);
    nothing_is_left(&env);
}

#[test]
fn a_password_command_does_not_outlive_the_server() {
    const PASSWORD: &str = "correct horse battery";
    let deaths = [
        Death::InputClosed,
        Death::OutputClosed,
        Death::Signal(Signal::TERM),
        Death::Signal(Signal::KILL),
    ];
    for_each(&deaths, |death| {
        let mut env = TestEnv::new();
        env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
        env.set("LAYER_MCP_PASSWORD", PASSWORD);
        let workspace = env.sandbox().workspace_id().to_owned();
        let token = env.sandbox().token().to_owned();
        let setup = ["setup", "--yes", "--unlock", "password", "--workspace", &workspace];
        let stored = env.run_with_input(&setup, &token);
        assert_eq!(stored.code, Some(0), "{stored:#?}");

        // One that asks somebody who is not there, with a helper of its own.
        let (begun, script) = (env.path("begun"), env.path("password.sh"));
        let text = format!("sleep 600 & touch '{}'; sleep 601; echo x\n", begun.display());
        fs::write(&script, text).unwrap();
        env.unset("LAYER_MCP_PASSWORD");
        env.set("LAYER_MCP_PASSWORD_COMMAND", format!("sh {}", script.display()));
        let mut server = Server::of(&env);
        server.shake_hands(json!({}));
        server.begin("list_models", &json!({}));
        wait_until("the command runs", || begun.exists());
        assert!(processes_of(&env).len() >= 4, "{:#?}", processes_of(&env));
        death.strike(&mut server);
        server.ended(SOON);
        wait_until("all processes have ended", || processes_of(&env).is_empty());
    });
}
