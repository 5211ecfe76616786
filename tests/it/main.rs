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
mod assets;
mod audit;
mod canary;
mod cli;
mod client;
mod connect;
mod consent;
mod crash;
mod credentials;
mod doctor;
mod downloads;
mod edits;
#[cfg(unix)]
mod examples;
mod faults;
mod files;
mod ledger;
mod library;
#[cfg(target_os = "linux")]
mod life;
#[cfg(unix)]
mod loss;
mod money;
mod packages;
#[cfg(target_os = "linux")]
mod people;
mod profiles;
mod projects;
mod prompts;
mod queue;
mod quotes;
mod references;
mod resources;
mod roots;
mod rotation;
mod schemas;
mod stdio;
mod supply;
mod support;
mod task_extension;
mod tasks;
mod tidy;
mod tls;
#[cfg(target_os = "linux")]
mod wizard;
mod workflows;
