//! An MCP client without any library: starts the server, writes JSON lines into it, prints what
//! comes back. Shows what a client and `layer-mcp` say to each other.
//!
//! ```text
//! cargo build && cargo run --example raw_client [PATH_OF_LAYER_MCP]
//! ```
#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo puts examples into a folder beside the program.
    let built = std::env::current_exe()?.with_file_name(format!("../layer-mcp{}", EXE));
    let program = std::env::args().nth(1).map_or(built, PathBuf::from);
    let output = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join("output");
    let mut server = Command::new(program)
        .args(["--sandbox", "--output-dir"])
        .arg(output)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to_server = server.stdin.take().ok_or("no stdin")?;
    let mut from_server = BufReader::new(server.stdout.take().ok_or("no stdout")?).lines();

    let client = json!({ "name": "raw_client", "version": "1" });
    let hello =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    let knight = json!({ "prompt": "a pixel-art knight", "width": 64, "height": 64 });
    let call =
        json!({ "name": "create_asset", "arguments": knight, "_meta": { "progressToken": 1 } });
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call }),
    ] {
        writeln!(to_server, "{message}")?;
        while let Some(id) = message.get("id") {
            let line = from_server.next().ok_or("the server ended")??;
            println!("{line}\n");
            // Progress comes before the answer, and has no id.
            if serde_json::from_str::<Value>(&line)?.get("id") == Some(id) {
                break;
            }
        }
    }
    drop(to_server);
    println!("the server ended: {}", server.wait()?);
    Ok(())
}

const EXE: &str = std::env::consts::EXE_SUFFIX;
