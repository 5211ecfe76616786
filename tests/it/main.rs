//! What a user can see, through the built binary and against the offline sandbox on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic: that is how it fails"
)]

mod credentials;
mod downloads;
mod faults;
mod files;
mod money;
mod support;
