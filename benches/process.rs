//! What the process itself costs, measured from outside over pipes: start, memory, size, the
//! overhead of a tool call over the plain HTTP exchange behind it, and the end with a job under
//! way. `cargo bench` runs it against the optimised program.
//!
//! The numbers are those of a quiet machine; elsewhere the medians still tell, the maxima don't.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::indexing_slicing, reason = "what a JSON value lacks reads as null")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PROGRAM: &str = env!("CARGO_BIN_EXE_layer-mcp");
const STARTS: usize = 100;
const CALLS: usize = 300;
const ENDS: usize = 10;

fn main() -> Outcome<()> {
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let home = tempfile::tempdir()?;
    let megabyte = 1_000_000.0;
    let size = std::fs::metadata(PROGRAM)?.len() as f64 / megabyte;

    // The first starts warm the disk's cache.
    for _ in 0..5 {
        started(home.path())?;
    }
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (time, resident) = started(home.path())?;
        starts.push(time);
        memory.extend(resident);
    }
    let ends = (0..ENDS).map(|_| ended(home.path())).collect::<Outcome<Vec<_>>>()?;
    let (calls, plain) = calls(home.path())?;
    let overhead = milliseconds(median(&calls)) - milliseconds(median(&plain));

    row("figure", "median", "min", "max", "target");
    row("------", "------", "---", "---", "------");
    times("start to answer of initialize", &starts, "<= 8 ms");
    if !memory.is_empty() {
        memory.sort_by(f64::total_cmp);
        let at = |index: usize| memory.get(index).map_or(String::new(), |mb| format!("{mb:.1} MB"));
        let (middle, last) = (at(memory.len() / 2), at(memory.len() - 1));
        row("resident memory after it", &middle, &at(0), &last, "<= 12 MB");
    }
    row("size of the program", &format!("{size:.1} MB"), "", "", "<= 15 MB");
    times("get_workspace_info over MCP", &calls, "");
    times("the same GET over HTTPS", &plain, "");
    row("overhead of the call", &format!("{overhead:.2} ms"), "", "", "<= 2 ms");
    times("end of input to exit, job under way", &ends, "<= 1000 ms");
    Ok(())
}

/// From the start of the process to the answer of `initialize`, and the memory then, in MB.
fn started(home: &Path) -> Outcome<(Duration, Option<f64>)> {
    let mut command = program(home);
    command.args(["--sandbox", "serve"]);
    let began = Instant::now();
    let mut server = Server::start(command)?;
    server.open()?;
    let time = began.elapsed();
    let resident = resident(server.child.id());
    server.end()?;
    Ok((time, resident))
}

/// From the end of the input to the exit, while a run is being waited for.
fn ended(home: &Path) -> Outcome<Duration> {
    let mut command = program(home);
    command.args(["--sandbox", "--output-dir"]).arg(home.join("out")).arg("serve");
    // A clock this slow is still at work when the input ends; a rate limit of one minute holds
    // for as long, so that every measurement has a sandbox of its own.
    let own = tempfile::tempdir_in(home)?;
    command.arg("--home").arg(own.path()).env("LAYER_SANDBOX_SPEED", "0.1");
    let mut server = Server::start(command)?;
    server.open()?;
    let knight = json!({ "prompt": "a knight", "width": 512, "height": 512, "wait_seconds": 0 });
    let answer = server.call("create_asset", knight)?;
    if answer["result"]["structuredContent"]["status"] != "running" {
        return Err(format!("no job is under way: {answer}").into());
    }
    let began = Instant::now();
    server.end()?;
    Ok(began.elapsed())
}

/// `get_workspace_info` through the server, and the one GET behind it without the server, in
/// turns against the same stand-alone sandbox.
fn calls(home: &Path) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let mut command = program(home);
    command.arg("sandbox").stdout(Stdio::piped());
    let mut sandbox = Running(command.spawn()?);
    let mut line = String::new();
    BufReader::new(sandbox.0.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let sandbox_says: Value = serde_json::from_str(&line)?;
    let text = |name: &str| sandbox_says[name].as_str().unwrap_or_default().to_owned();

    let mut command = program(home);
    command
        .env("LAYER_API_TOKEN", text("token"))
        .env("LAYER_WORKSPACE_ID", text("workspace_id"))
        .env("LAYER_API_BASE_URL", text("base_url"))
        .env("LAYER_CA_BUNDLE", text("ca_file"))
        .arg("serve");
    let mut server = Server::start(command)?;
    server.open()?;

    // Fails only when there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(text("ca_file"))?)?;
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build()?;
    let address = format!("{}/api/v1/workspaces?limit=100", text("base_url"));
    let runtime = tokio::runtime::Runtime::new()?;
    let plain = || -> Outcome<Duration> {
        let began = Instant::now();
        let asked = client.get(&address).bearer_auth(text("token"));
        let body =
            runtime.block_on(async { asked.send().await?.error_for_status()?.bytes().await })?;
        serde_json::from_slice::<Value>(&body)?;
        Ok(began.elapsed())
    };

    let (mut over_mcp, mut over_https) = (Vec::new(), Vec::new());
    for round in 0..CALLS + 20 {
        let began = Instant::now();
        let answer = server.call("get_workspace_info", json!({}))?;
        let time = began.elapsed();
        if answer["result"]["isError"] != json!(false) {
            return Err(format!("the call failed: {answer}").into());
        }
        let exchange = plain()?;
        // The first ones connect, read certificates and warm up.
        if round >= 20 {
            over_mcp.push(time);
            over_https.push(exchange);
        }
    }
    server.end()?;
    Ok((over_mcp, over_https))
}

/// The program with nothing of the environment of whoever measures.
fn program(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).current_dir(home).stderr(Stdio::null());
    command
}

/// A process that is ended when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_id: u64,
}

impl Server {
    fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, input, output, last_id: 0 })
    }

    fn open(&mut self) -> Outcome<()> {
        let client = json!({ "name": "bench", "version": "1" });
        let hello =
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        self.request("initialize", &hello)?;
        writeln!(
            self.input,
            "{}",
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
        )?;
        Ok(())
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Outcome<Value> {
        self.request("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }

    fn request(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        // One write, as clients do it.
        self.input.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err("the server ended".into());
            }
            let answer: Value = serde_json::from_str(&line)?;
            if answer["id"] == json!(id) {
                return Ok(answer);
            }
        }
    }

    fn end(mut self) -> Outcome<()> {
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}

/// Resident memory in MB; only Linux tells it in a file.
fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1_000_000.0)
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn times(name: &str, times: &[Duration], target: &str) {
    let shown = |time: Duration| format!("{:.2} ms", milliseconds(time));
    let end = |time: Option<&Duration>| time.copied().map(shown).unwrap_or_default();
    row(name, &shown(median(times)), &end(times.iter().min()), &end(times.iter().max()), target);
}

fn row(name: &str, median: &str, least: &str, most: &str, target: &str) {
    println!("{name:<38} {median:>11} {least:>11} {most:>11}  {target}");
}
