//! The `layer-mcp` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    layer_mcp::cli::run()
}
