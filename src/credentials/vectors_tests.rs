//! The algorithms of the store against published answers: Project Wycheproof, NIST SP 800-38A
//! and RFC 7914. Our own functions run wherever their fixed lengths allow; where they do not,
//! the same crates with the same types do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::cipher::{self, FileKeys, Key};
use super::envelope::{Envelope, FileKind, HEADER_LENGTH, Header, TAG_LENGTH};
use super::test_vectors::unhex;
use super::unlock::UnlockSource;

const HEADER: Header = Header {
    source: UnlockSource::Device,
    iterations: 100_000,
    salt: [1; 32],
    generation: [2; 16],
};

fn key(bytes: &[u8]) -> Key {
    Zeroizing::new(bytes.try_into().unwrap())
}

fn keys(encryption: &[u8]) -> FileKeys {
    FileKeys { encryption: key(encryption), authentication: key(&[7; 32]) }
}

/// The ciphertext that [`cipher::seal`] makes, without header and tag.
fn encrypt(encryption: &[u8], iv: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let iv = iv.try_into().unwrap();
    let file =
        cipher::seal(&keys(encryption), FileKind::Credentials, &HEADER, &iv, plaintext).unwrap();
    file[HEADER_LENGTH..file.len() - TAG_LENGTH].to_vec()
}

/// What [`cipher::open`] makes of a ciphertext whose tag is right.
fn decrypt(encryption: &[u8], iv: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let keys = keys(encryption);
    let covered = b"covered";
    let tag = cipher::mac(&keys.authentication, covered).finalize().into_bytes().into();
    let iv = iv.try_into().unwrap();
    let envelope = Envelope { header: HEADER, iv, ciphertext, covered, tag };
    cipher::open(&keys, &envelope).ok().map(|plaintext| plaintext.to_vec())
}

#[test]
fn aes_256_cbc_agrees_with_wycheproof() {
    use wycheproof::cipher::{TestName, TestSet};
    let (mut run, mut refused) = (0, 0);
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        if group.key_size != 256 {
            continue;
        }
        for test in group.tests {
            run += 1;
            let opened = decrypt(&test.key, &test.nonce, &test.ct);
            if test.result.must_fail() {
                refused += 1;
                assert_eq!(opened, None, "vector {}", test.tc_id);
            } else {
                assert_eq!(opened.as_deref(), Some(test.pt.as_slice()), "vector {}", test.tc_id);
                let sealed = encrypt(&test.key, &test.nonce, &test.pt);
                assert_eq!(sealed.as_slice(), &*test.ct, "vector {}", test.tc_id);
            }
        }
    }
    assert_eq!(run, 72);
    assert!((1..run).contains(&refused), "{refused}");
}

#[test]
fn hmac_sha_256_agrees_with_wycheproof() {
    use wycheproof::mac::{TestName, TestSet};
    let (mut run, mut ours) = (0, 0);
    for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
        for test in group.tests {
            run += 1;
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&test.key).unwrap();
            mac.update(&test.msg);
            let full = mac.finalize().into_bytes();
            // Some groups cut the tag; the store never does.
            let right = full[..group.tag_size / 8] == *test.tag;
            assert_eq!(right, !test.result.must_fail(), "vector {}", test.tc_id);
            if test.key.len() == 32 {
                ours += 1;
                let verified = cipher::mac(&key(&test.key), &test.msg).verify_slice(&test.tag);
                let whole = group.tag_size == 256;
                assert_eq!(verified.is_ok(), right && whole, "vector {}", test.tc_id);
            }
        }
    }
    assert_eq!(run, 174);
    assert!(ours > 50, "{ours}");
}

/// A shorter output of HKDF-Expand is the beginning of a longer one, so that our 32 bytes can
/// be compared at any length.
#[test]
fn hkdf_sha_256_agrees_with_wycheproof() {
    use wycheproof::hkdf::{TestName, TestSet};
    let (mut run, mut refused) = (0, 0);
    for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
        for test in group.tests {
            run += 1;
            let (pseudorandom, hkdf) = Hkdf::<Sha256>::extract(Some(&test.salt), &test.ikm);
            let mut output = vec![0; test.size];
            let expanded = hkdf.expand(&test.info, &mut output);
            if test.result.must_fail() {
                refused += 1;
                assert!(expanded.is_err(), "vector {}", test.tc_id);
                continue;
            }
            assert!(expanded.is_ok(), "vector {}", test.tc_id);
            assert_eq!(output.as_slice(), &*test.okm, "vector {}", test.tc_id);
            let ours = cipher::expand(&key(&pseudorandom), &test.info);
            let length = test.size.min(32);
            assert_eq!(ours[..length], test.okm[..length], "vector {}", test.tc_id);
        }
    }
    assert_eq!(run, 86);
    assert!((1..run).contains(&refused), "{refused}");
}

#[test]
fn pbkdf2_hmac_sha_256_agrees_with_wycheproof() {
    use wycheproof::pbkdf2::{TestName, TestSet};
    let mut run = 0;
    for group in TestSet::load(TestName::Pbkdf2HmacSha256).unwrap().test_groups {
        for test in group.tests {
            run += 1;
            assert!(!test.result.must_fail(), "vector {}", test.tc_id);
            let iterations = u32::try_from(test.iteration_count).unwrap();
            let mut output = vec![0; test.dk_len];
            pbkdf2::pbkdf2_hmac::<Sha256>(&test.password, &test.salt, iterations, &mut output);
            assert_eq!(output.as_slice(), &*test.dk, "vector {}", test.tc_id);
            if let Ok(salt) = <[u8; 32]>::try_from(test.salt.as_slice()) {
                let ours = cipher::master_key(&test.password, &salt, iterations);
                let length = test.dk_len.min(32);
                assert_eq!(ours[..length], test.dk[..length], "vector {}", test.tc_id);
            }
        }
    }
    assert_eq!(run, 60);
}

/// F.2.5 and F.2.6. The answers have no padding; with it, one more block follows.
#[test]
fn aes_256_cbc_agrees_with_sp_800_38a() {
    let key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let iv = unhex("000102030405060708090a0b0c0d0e0f");
    let plaintext = unhex(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    let ciphertext = unhex(
        "f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b",
    );
    let sealed = encrypt(&key, &iv, &plaintext);
    assert_eq!(sealed.len(), 80);
    assert_eq!(sealed[..64], ciphertext);
    assert_eq!(decrypt(&key, &iv, &sealed), Some(plaintext));
    // Without its padding block it is no content.
    assert_eq!(decrypt(&key, &iv, &ciphertext), None);
}

/// Section 11, all 64 bytes.
#[test]
fn pbkdf2_agrees_with_all_of_rfc_7914() {
    for (secret, salt, iterations, expected) in [
        (
            "passwd",
            "salt",
            1,
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
        ),
        (
            "Password",
            "NaCl",
            80_000,
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56
             a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
        ),
    ] {
        let mut output = [0; 64];
        pbkdf2::pbkdf2_hmac::<Sha256>(secret.as_bytes(), salt.as_bytes(), iterations, &mut output);
        assert_eq!(output.as_slice(), unhex(expected));
    }
}
