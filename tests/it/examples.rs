//! The examples below the help of each command are run as they stand, so that they can't rot.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{TestEnv, WRONG_TOKEN, for_each, picture};

/// Every command that a user can give, but `help`.
fn commands() -> Vec<String> {
    let program = layer_mcp::cli::command();
    let names = program.get_subcommands().map(|command| command.get_name().to_owned());
    let names: Vec<String> = names.filter(|name| name != "help").collect();
    assert!(names.len() >= 12, "{names:?}");
    std::iter::once(String::new()).chain(names).collect()
}

/// The lines between "Examples:" and the next empty line.
fn examples(env: &TestEnv, command: &str) -> Vec<String> {
    let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    let help = env.run(&arguments);
    assert_eq!(help.code, Some(0), "{help:#?}");
    let lines = help.stdout.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| !line.is_empty()).map(|line| line.trim().to_owned()).collect()
}

/// A world in which the commands have something to show.
fn world(example: &str) -> TestEnv {
    let mut env = TestEnv::new();
    let call = env.call("create_asset", &picture("a pixel knight")).complete();
    // What a reader puts in place of what an example calls by a name.
    let token = env.sandbox().token().to_owned();
    fs::write(env.project().join("token.txt"), &token).unwrap();
    fs::write(env.project().join("new-token.txt"), WRONG_TOKEN).unwrap();
    fs::create_dir(env.path("bin")).unwrap();
    let binary = env.path("bin").join("layer-mcp");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_layer-mcp"), binary).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", env.path("bin").display());
    env.set("PATH", path).set("JOB", call.id().to_owned());
    if example.contains("--unlock password") {
        env.set("LAYER_MCP_PASSWORD", "correct horse battery");
    }
    if !example.contains(" setup") {
        let stored = env.run(&["setup", "--yes"]);
        assert_eq!(stored.code, Some(0), "{stored:#?}");
        env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
    }
    env
}

fn shell(env: &TestEnv, line: &str) -> Child {
    let mut command = env.dressed(Command::new("sh"), &["-c", line]);
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn run(example: &str) -> Output {
    let env = world(example);
    let line = example
        .replace("job_1f0e9d8c7b6a5f4e", env.newest_job().unwrap()["job_id"].as_str().unwrap());
    let words: Vec<&str> = line.split_whitespace().collect();
    let runs_on = words.get(1) == Some(&"sandbox") && !words.contains(&"--list-faults");
    // What is told to stop is the program and no shell around it.
    let mut child = shell(&env, &if runs_on { format!("exec {line}") } else { line.clone() });
    let mut stdin = child.stdin.take().unwrap();
    if words.contains(&"serve") {
        let hello = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": { "name": "examples", "version": "1" },
            },
        });
        writeln!(stdin, "{hello}").unwrap();
    }
    if runs_on {
        // It runs until it is told to stop.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let told: Value = serde_json::from_str(&first).unwrap();
        assert!(told["base_url"].is_string(), "{told:#}");
        let group = format!("-{}", child.id());
        assert!(Command::new("kill").args(["-TERM", "--", &group]).status().unwrap().success());
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn every_command_has_examples_and_they_work() {
    let env = TestEnv::new();
    let mut cases = Vec::new();
    for command in commands() {
        let found = examples(&env, &command);
        assert!(found.len() >= 2, "`layer-mcp {command}` has {found:?}");
        for example in found {
            let about = example.contains("layer-mcp ") && example.contains(&command);
            assert!(about, "`{example}` is no example of `{command}`");
            // A terminal of the usual width shows it on one line.
            assert!(example.len() <= 76, "{example}");
            cases.push(example);
        }
    }
    assert!(cases.len() > 30, "{cases:?}");
    // Worlds are made four at a time: each is a service of its own.
    for some in cases.chunks(4) {
        for_each(some, |example| {
            let output = run(example);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "`{example}`: {:?}: {said}", output.status);
        });
    }
}
