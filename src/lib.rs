//! `layer-mcp`: a local MCP server through which game artists and programmers make assets
//! with Layer.ai.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod credentials;
pub mod files;
pub mod journal;
pub mod layer;
pub mod log;
pub mod mcp;
pub mod redact;
pub mod runs;
pub mod sandbox;
