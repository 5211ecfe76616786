//! `layer-mcp`: a local MCP server through which game artists and programmers make assets
//! with Layer.ai.
#![forbid(unsafe_code)]

pub mod sandbox;
