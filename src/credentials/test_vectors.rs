//! The frozen stores of `tests/data/credentials`, and what is known about them.

use super::generation::Generation;

/// The password of store A.
pub(super) const PASSWORD_A: &str = "correct horse battery staple";
/// What store A holds.
pub(super) const PLAINTEXT_A: &str = r#"{"v":1,"api_token":"pat_KAT0000000000000000000000000000000000","workspace_id":"00000000-0000-4000-8000-000000000000","created_at":"2026-11-22T00:00:00Z"}"#;
/// The text of the device key of store B.
pub(super) const DEVICE_B: &str = "gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaXmJmam5ydnp8";

/// Known answer A: password, 600,000 iterations.
pub(super) fn store_a() -> Generation {
    Generation {
        salt: include_bytes!("../../tests/data/credentials/a/salt.bin").to_vec(),
        key: include_bytes!("../../tests/data/credentials/a/key.bin").to_vec(),
        credentials: include_bytes!("../../tests/data/credentials/a/credentials.enc").to_vec(),
    }
}

/// Known answer B: device key, 100,000 iterations.
pub(super) fn store_b() -> Generation {
    Generation {
        salt: include_bytes!("../../tests/data/credentials/b/salt.bin").to_vec(),
        key: include_bytes!("../../tests/data/credentials/b/key.bin").to_vec(),
        credentials: include_bytes!("../../tests/data/credentials/b/credentials.enc").to_vec(),
    }
}

/// The bytes that a text of hexadecimal digits stands for.
pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit))
        .collect()
}
