//! Tests through the built binary: real pipes, real files, the offline Layer on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod arguments;
mod cli;
mod client;
mod schemas;
mod stdio;
mod tidy;
