//! `layer-mcp`: a local MCP server through which game artists and programmers make assets
//! with Layer.ai.
//!
//! # The map, in reading order
//!
//! - [`cli`]: the command line. Builds everything else from the settings; owns the terminal.
//! - [`config`]: the settings, read once.
//! - [`mcp`]: the tools, and the server that offers them. All that knows rmcp.
//! - [`runs`]: the use cases: price, buy, wait, collect. Ties the next four together.
//! - [`layer`]: Layer's HTTPS API. All that knows reqwest.
//! - [`journal`]: every paid request on disk, before it is sent.
//! - [`files`]: the output folder: confined names, whole files, nothing replaced.
//! - [`credentials`]: the token, encrypted at rest.
//! - [`connect`]: this server in the configuration of clients, as texts.
//! - [`sandbox`]: an offline Layer, written from Layer's documents and not from our client.
//! - [`log`], [`audit`] and [`redact`]: what leaves the process beside answers, without secrets.
//! - [`drill`]: dying at a chosen step, in builds for development.
//!
//! ```text
//! cli → { mcp, sandbox, config, connect, credentials, log }
//!       mcp → runs → { layer, journal, files }
//!             layer → credentials::token
//! redact, audit, and the nouns of layer: used by all, use nobody (audit: redact)
//! ```
//!
//! # What holds, and is tested (`tests/it/tidy.rs`, `tests/it/money.rs`)
//!
//! - Nothing points back in the picture above.
//! - A paid start is sent at most once per entry of the journal, by one function
//!   (`runs::work`), and no retry can reach it.
//! - `runs` never sees a status code; `layer` never sees a file; the sandbox never sees `layer`.
//! - Nothing below `cli` reads the environment.
//! - Standard output carries JSON-RPC and nothing else while serving.
#![forbid(unsafe_code)]

pub mod audit;
pub mod cli;
pub mod config;
pub mod connect;
pub mod credentials;
pub mod drill;
pub mod files;
pub mod journal;
pub mod layer;
pub mod log;
pub mod mcp;
pub mod redact;
pub mod runs;
pub mod sandbox;
