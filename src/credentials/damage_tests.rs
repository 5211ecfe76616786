//! Damaged stores, each with the code of its refusal. Frozen store B is damaged on the disk and
//! opened with the right secret.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use super::test_vectors::{DEVICE_B, store_a, store_b};
use super::unlock::Secret;
use super::*;

/// The bytes of `salt.bin`, `key.bin` and `credentials.enc`, where they exist.
type Files = [Option<Vec<u8>>; 3];
type Damage = Box<dyn Fn(&mut Files)>;

const SALT: usize = 0;
const KEY: usize = 1;
const CRED: usize = 2;

fn files_of(generation: Generation) -> Files {
    [Some(generation.salt), Some(generation.key), Some(generation.credentials)]
}

fn put(file: usize, offset: usize, bytes: impl Into<Vec<u8>>) -> Damage {
    let bytes = bytes.into();
    Box::new(move |files| {
        files[file].as_mut().unwrap()[offset..offset + bytes.len()].copy_from_slice(&bytes);
    })
}

/// The same bytes in both sealed files, so that these still agree.
fn both(offset: usize, bytes: impl Into<Vec<u8>>) -> Damage {
    let bytes = bytes.into();
    let (key, credentials) = (put(KEY, offset, bytes.clone()), put(CRED, offset, bytes));
    Box::new(move |files| {
        key(files);
        credentials(files);
    })
}

/// One changed bit; the offset counts from the end when it is negative.
fn flip(file: usize, offset: isize, bit: u8) -> Damage {
    Box::new(move |files| {
        let bytes = files[file].as_mut().unwrap();
        let index = match usize::try_from(offset) {
            Ok(index) => index,
            Err(_) => bytes.len() - offset.unsigned_abs(),
        };
        bytes[index] ^= 1 << bit;
    })
}

fn cut(file: usize, length: usize) -> Damage {
    Box::new(move |files| files[file].as_mut().unwrap().truncate(length))
}

fn cut_by(file: usize, count: usize) -> Damage {
    Box::new(move |files| {
        let bytes = files[file].as_mut().unwrap();
        bytes.truncate(bytes.len() - count);
    })
}

fn grow(file: usize, count: usize) -> Damage {
    Box::new(move |files| files[file].as_mut().unwrap().extend(vec![0; count]))
}

fn gone(file: usize) -> Damage {
    Box::new(move |files| files[file] = None)
}

fn swap(one: usize, other: usize) -> Damage {
    Box::new(move |files| files.swap(one, other))
}

/// The file of another store.
fn foreign(file: usize) -> Damage {
    Box::new(move |files| files[file] = files_of(store_a())[file].take())
}

/// A sealed file whose tag is computed by somebody without the key.
fn tag_of_zeros(file: usize) -> Damage {
    Box::new(move |files| {
        let bytes = files[file].as_mut().unwrap();
        let start = bytes.len() - 32;
        bytes[start..].fill(0);
    })
}

/// Swaps the IVs of the two files, each of which is a valid one.
fn swapped_ivs() -> Damage {
    Box::new(|files| {
        let [_, Some(key), Some(credentials)] = files else { return };
        key[64..80].swap_with_slice(&mut credentials[64..80]);
    })
}

fn damages() -> Vec<(&'static str, &'static str, Damage)> {
    const FORMAT: &str = "store_format";
    const MIXED: &str = "store_mixed";
    const AUTH: &str = "store_auth";
    const TAMPERED: &str = "store_tampered";
    const INCOMPLETE: &str = "store_incomplete";
    vec![
        ("salt empty", FORMAT, cut(SALT, 0)),
        ("salt without its last byte", FORMAT, cut(SALT, 31)),
        ("salt with a byte more", FORMAT, grow(SALT, 1)),
        ("salt bit 0", MIXED, flip(SALT, 0, 0)),
        ("salt last bit", MIXED, flip(SALT, -1, 7)),
        ("salt missing", INCOMPLETE, gone(SALT)),
        ("salt of another store", MIXED, foreign(SALT)),
        ("salt and key exchanged", FORMAT, swap(SALT, KEY)),
        ("salt and credentials exchanged", FORMAT, swap(SALT, CRED)),
        ("key and credentials exchanged", FORMAT, swap(KEY, CRED)),
        ("key empty", FORMAT, cut(KEY, 0)),
        ("key: one byte", FORMAT, cut(KEY, 1)),
        ("key: half a header", FORMAT, cut(KEY, 40)),
        ("key: the header alone", FORMAT, cut(KEY, 84)),
        ("key without its tag", FORMAT, cut(KEY, 132)),
        ("key without its last byte", FORMAT, cut_by(KEY, 1)),
        ("key with a byte more", FORMAT, grow(KEY, 1)),
        ("key with a block more", FORMAT, grow(KEY, 16)),
        ("key missing", INCOMPLETE, gone(KEY)),
        ("key of another store", MIXED, foreign(KEY)),
        ("key: magic of the other file", FORMAT, put(KEY, 0, b"LMCPCRED")),
        ("key: magic in small letters", FORMAT, put(KEY, 0, b"lmcpwkey")),
        ("key: version 0", FORMAT, put(KEY, 8, [0])),
        ("key: version 2", FORMAT, put(KEY, 8, [2])),
        ("key: suite 0", FORMAT, put(KEY, 9, [0])),
        ("key: suite 2", FORMAT, put(KEY, 9, [2])),
        ("key: source 0", FORMAT, put(KEY, 10, [0])),
        ("key: source 4", FORMAT, put(KEY, 10, [4])),
        ("key: source 255", FORMAT, put(KEY, 10, [255])),
        ("key: source of the other kind", MIXED, put(KEY, 10, [1])),
        ("key: reserved 1", FORMAT, put(KEY, 11, [1])),
        ("key: iterations 0", FORMAT, put(KEY, 12, [0; 4])),
        ("key: iterations 99,999", FORMAT, put(KEY, 12, 99_999_u32.to_be_bytes())),
        ("key: iterations 10,000,001", FORMAT, put(KEY, 12, 10_000_001_u32.to_be_bytes())),
        ("key: iterations 2^32-1", FORMAT, put(KEY, 12, [255; 4])),
        ("key: iterations little-endian", FORMAT, put(KEY, 12, 100_000_u32.to_le_bytes())),
        ("key: iterations 100,001", MIXED, put(KEY, 12, 100_001_u32.to_be_bytes())),
        ("key: salt bit", MIXED, flip(KEY, 16, 0)),
        ("key: last salt bit", MIXED, flip(KEY, 47, 7)),
        ("key: generation bit", MIXED, flip(KEY, 48, 0)),
        ("key: last generation bit", MIXED, flip(KEY, 63, 7)),
        ("key: length 0", FORMAT, put(KEY, 80, [0; 4])),
        ("key: length 15", FORMAT, put(KEY, 80, [0, 0, 0, 15])),
        ("key: length 32", FORMAT, put(KEY, 80, [0, 0, 0, 32])),
        ("key: length 64", FORMAT, put(KEY, 80, [0, 0, 0, 64])),
        ("key: length 2^32-1", FORMAT, put(KEY, 80, [255; 4])),
        ("key: first IV bit", AUTH, flip(KEY, 64, 0)),
        ("key: first ciphertext bit", AUTH, flip(KEY, 84, 0)),
        ("key: last ciphertext bit", AUTH, flip(KEY, 131, 7)),
        ("key: first tag bit", AUTH, flip(KEY, 132, 0)),
        ("key: last tag bit", AUTH, flip(KEY, -1, 7)),
        ("key: tag of zeros", AUTH, tag_of_zeros(KEY)),
        ("credentials empty", FORMAT, cut(CRED, 0)),
        ("credentials: the header alone", FORMAT, cut(CRED, 84)),
        ("credentials without their tag", FORMAT, cut_by(CRED, 32)),
        ("credentials without a block", FORMAT, cut_by(CRED, 16)),
        ("credentials without their last byte", FORMAT, cut_by(CRED, 1)),
        ("credentials with a byte more", FORMAT, grow(CRED, 1)),
        ("credentials with a block more", FORMAT, grow(CRED, 16)),
        ("credentials too large", FORMAT, grow(CRED, 65_653)),
        ("credentials missing", INCOMPLETE, gone(CRED)),
        ("credentials of another store", MIXED, foreign(CRED)),
        ("credentials: magic of the other file", FORMAT, put(CRED, 0, b"LMCPWKEY")),
        ("credentials: version 2", FORMAT, put(CRED, 8, [2])),
        ("credentials: suite 2", FORMAT, put(CRED, 9, [2])),
        ("credentials: source 4", FORMAT, put(CRED, 10, [4])),
        ("credentials: reserved 1", FORMAT, put(CRED, 11, [1])),
        ("credentials: iterations 0", FORMAT, put(CRED, 12, [0; 4])),
        ("credentials: iterations 2^32-1", FORMAT, put(CRED, 12, [255; 4])),
        ("credentials: iterations 100,001", MIXED, put(CRED, 12, 100_001_u32.to_be_bytes())),
        ("credentials: salt bit", MIXED, flip(CRED, 16, 0)),
        ("credentials: generation bit", MIXED, flip(CRED, 63, 7)),
        ("credentials: length 0", FORMAT, put(CRED, 80, [0; 4])),
        ("credentials: length 15", FORMAT, put(CRED, 80, [0, 0, 0, 15])),
        ("credentials: length 16", FORMAT, put(CRED, 80, [0, 0, 0, 16])),
        ("credentials: length 65,552", FORMAT, put(CRED, 80, 65_552_u32.to_be_bytes())),
        ("credentials: length 2^32-1", FORMAT, put(CRED, 80, [255; 4])),
        ("credentials: first IV bit", TAMPERED, flip(CRED, 64, 0)),
        ("credentials: first ciphertext bit", TAMPERED, flip(CRED, 84, 0)),
        ("credentials: last ciphertext bit", TAMPERED, flip(CRED, -33, 7)),
        ("credentials: first tag bit", TAMPERED, flip(CRED, -32, 0)),
        ("credentials: last tag bit", TAMPERED, flip(CRED, -1, 7)),
        ("credentials: tag of zeros", TAMPERED, tag_of_zeros(CRED)),
        ("both: version 2", FORMAT, both(8, [2])),
        ("both: iterations 99,999", FORMAT, both(12, [0, 1, 0x86, 0x9f])),
        ("both: iterations 10,000,001", FORMAT, both(12, [0, 0x98, 0x96, 0x81])),
        ("both: iterations 100,001", AUTH, both(12, [0, 1, 0x86, 0xa1])),
        ("both: source password", AUTH, both(10, [1])),
        ("both: another generation", AUTH, both(48, [0; 16])),
        ("both: another salt than the file's", MIXED, both(16, [0; 32])),
        ("both: IVs exchanged", AUTH, swapped_ivs()),
    ]
}

/// The files as they lie on the disk, read and checked, and unlocked when `secret` is given.
fn open(files: &Files, secret: Option<&Secret>) -> Result<(), StoreError> {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("secure");
    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    for (file, bytes) in FILES.iter().zip(files) {
        let Some(bytes) = bytes else { continue };
        let mut options = fs::OpenOptions::new();
        let mut opened =
            options.write(true).create_new(true).mode(0o600).open(folder.join(file.name)).unwrap();
        std::io::Write::write_all(&mut opened, bytes).unwrap();
    }
    let generation = CredentialStore::new(folder).read()?;
    let checked = generation.check()?;
    match secret {
        Some(secret) => checked.unlock(secret).map(drop),
        None => Ok(()),
    }
}

#[test]
fn each_damaged_store_is_refused_with_its_code() {
    let secret = Secret::from_text(DEVICE_B);
    open(&files_of(store_b()), Some(&secret)).unwrap();

    let damages = damages();
    assert!(damages.len() >= 60, "{}", damages.len());
    let mut names: Vec<_> = damages.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), damages.len(), "a name stands twice");
    for (name, code, damage) in damages {
        let mut files = files_of(store_b());
        damage(&mut files);
        assert_ne!(files, files_of(store_b()), "{name}: nothing was damaged");
        let error = open(&files, Some(&secret)).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        // What no key is needed for is refused without one.
        let needs_key = matches!(code, "store_auth" | "store_tampered");
        assert_eq!(open(&files, None).is_ok(), needs_key, "{name}");
    }
}
