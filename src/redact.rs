//! What may be shown of a secret in text that leaves the process.

/// How many characters of a token may appear in logs and on the terminal: `pat_` and four more.
pub const TOKEN_HINT_LENGTH: usize = 8;
