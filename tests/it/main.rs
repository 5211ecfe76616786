//! What a user can see: through the built binary, real pipes, real files, and an offline Layer on
//! loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that can't go on has failed"
)]

mod arguments;
mod audit;
mod canary;
mod cli;
mod client;
mod consent;
mod crash;
mod credentials;
mod doctor;
mod downloads;
mod edits;
mod faults;
mod files;
mod ledger;
mod library;
#[cfg(target_os = "linux")]
mod life;
#[cfg(unix)]
mod loss;
mod money;
mod projects;
mod queue;
mod quotes;
mod references;
mod rotation;
mod schemas;
mod stdio;
mod supply;
mod support;
mod tidy;
mod tls;
#[cfg(target_os = "linux")]
mod wizard;
mod workflows;
