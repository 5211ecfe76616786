//! The `layer-mcp` command.
#![forbid(unsafe_code)]

fn main() {}
