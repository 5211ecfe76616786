//! The MCP server: all that knows rmcp.

pub mod stdio;
