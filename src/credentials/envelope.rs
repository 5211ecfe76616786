//! The file format of the credential store, version 1: bytes to structure and back.
//!
//! This module is pure: it knows no keys and no files, and it takes any bytes without panicking.
//!
//! # The store
//!
//! | File | Size in bytes | Content |
//! |---|---|---|
//! | `salt.bin` | exactly 32 | the PBKDF2 salt, raw |
//! | `key.bin` | exactly 164 | a random 32-byte data key, wrapped under keys derived from the unlock secret |
//! | `credentials.enc` | 132 to 65,652 | the credentials, encrypted under the data key |
//! | `.lock` | 0 | advisory lock |
//! | `.commit/`, `.next-<16 hex>/` | | redo log and unfinished write, normally absent |
//!
//! The derived key itself is never stored: a stored derived key would be the password.
//!
//! # `key.bin` and `credentials.enc`
//!
//! All integers are big-endian.
//!
//! | Offset | Length | Field | Value |
//! |---|---|---|---|
//! | 0 | 8 | magic | `LMCPWKEY` or `LMCPCRED` |
//! | 8 | 1 | format version | 01 |
//! | 9 | 1 | suite | 01: PBKDF2-HMAC-SHA-256, HKDF-SHA-256-Expand, AES-256-CBC with PKCS #7 padding, HMAC-SHA-256 (all 32 bytes), encrypt-then-MAC |
//! | 10 | 1 | unlock source | 01 password, 02 keyring, 03 device |
//! | 11 | 1 | reserved | 00 |
//! | 12 | 4 | iterations | 100,000 to 10,000,000 |
//! | 16 | 32 | salt | equal to `salt.bin` |
//! | 48 | 16 | generation id | random at every write, the same in both files |
//! | 64 | 16 | IV | random, different in the two files |
//! | 80 | 4 | ciphertext length n | a multiple of 16: 48 in `key.bin`, 16 to 65,536 in `credentials.enc` |
//! | 84 | n | ciphertext | AES-256-CBC (NIST SP 800-38A, section 6.2), PKCS #7 padding (RFC 5652, section 6.3) |
//! | 84+n | 32 | tag | HMAC-SHA-256 (RFC 2104) over bytes 0 to 84+n-1 |
//!
//! The file ends after the tag. The header has a fixed length, so that the input of the MAC has
//! one reading only.
//!
//! # Keys
//!
//! ```text
//! MK  = PBKDF2-HMAC-SHA-256(P, salt, iterations, 32)                     RFC 8018, section 5.2
//! K1e = HKDF-Expand-SHA-256(MK,  "layer-mcp/v1/key.bin/enc", 32)         RFC 5869, section 2.3
//! K1m = HKDF-Expand-SHA-256(MK,  "layer-mcp/v1/key.bin/mac", 32)
//! DEK = 32 random bytes, new at every write
//! K2e = HKDF-Expand-SHA-256(DEK, "layer-mcp/v1/credentials.enc/enc", 32)
//! K2m = HKDF-Expand-SHA-256(DEK, "layer-mcp/v1/credentials.enc/mac", 32)
//! ```
//!
//! P is the unlock secret as text: the password in Unicode NFC as UTF-8, or the 43 characters of
//! the base64url form of 32 random bytes (device, keyring). Labels are ASCII without a
//! terminator. MK and DEK are uniform already, so that HKDF only expands. Separate labels mean
//! that neither file's bytes mean anything in the other's place.
//!
//! # Plaintext of `credentials.enc`
//!
//! One JSON object in UTF-8 of at most 60 KiB: `v` (1), `api_token`, `workspace_id`,
//! `api_origin`, `created_at` (RFC 3339, UTC), `audit_key` (base64url of 32 bytes), and
//! optionally `label` and `expires_at` (RFC 3339).

use std::fmt;

use super::unlock::UnlockSource;

/// Length of `salt.bin` in bytes.
pub const SALT_LENGTH: usize = 32;
/// Length of the generation id in bytes.
pub const GENERATION_LENGTH: usize = 16;
/// Length of the initialisation vector of AES-CBC in bytes.
pub const IV_LENGTH: usize = 16;
/// Length of the HMAC-SHA-256 tag in bytes.
pub const TAG_LENGTH: usize = 32;
/// Length of everything before the ciphertext in bytes.
pub const HEADER_LENGTH: usize = 84;
/// Fewest iterations of PBKDF2 that a file may ask for.
pub const MIN_ITERATIONS: u32 = 100_000;
/// Most iterations of PBKDF2 that a file may ask for; a planted file cannot keep the processor
/// busy for longer than this.
pub const MAX_ITERATIONS: u32 = 10_000_000;

const FORMAT_VERSION: u8 = 1;
const SUITE: u8 = 1;
const RESERVED: u8 = 0;
const BLOCK_LENGTH: usize = 16;

/// Which of the two sealed files some bytes are meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `key.bin`.
    Key,
    /// `credentials.enc`.
    Credentials,
}

impl FileKind {
    /// The file's name in the store's folder.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Key => "key.bin",
            Self::Credentials => "credentials.enc",
        }
    }

    /// The smallest file that can be well formed, in bytes.
    pub const fn min_length(self) -> usize {
        HEADER_LENGTH + self.min_ciphertext() + TAG_LENGTH
    }

    /// The largest file that can be well formed, in bytes.
    pub const fn max_length(self) -> usize {
        HEADER_LENGTH + self.max_ciphertext() + TAG_LENGTH
    }

    const fn min_ciphertext(self) -> usize {
        match self {
            Self::Key => 48,
            Self::Credentials => 16,
        }
    }

    const fn max_ciphertext(self) -> usize {
        match self {
            Self::Key => 48,
            Self::Credentials => 65_536,
        }
    }

    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Key => *b"LMCPWKEY",
            Self::Credentials => *b"LMCPCRED",
        }
    }
}

/// What the two sealed files of one generation have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where the unlock secret comes from.
    pub source: UnlockSource,
    /// Iterations of PBKDF2, within [`MIN_ITERATIONS`] and [`MAX_ITERATIONS`].
    pub iterations: u32,
    /// The salt of PBKDF2.
    pub salt: [u8; SALT_LENGTH],
    /// Random id of the write that made the file.
    pub generation: [u8; GENERATION_LENGTH],
}

/// One sealed file, taken apart. Well formed, but not authenticated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The fields before the initialisation vector.
    pub header: Header,
    /// The initialisation vector.
    pub iv: [u8; IV_LENGTH],
    /// The encrypted content.
    pub ciphertext: &'a [u8],
    /// Everything that the tag covers: the file up to the tag.
    pub covered: &'a [u8],
    /// The HMAC-SHA-256 tag that the file claims.
    pub tag: [u8; TAG_LENGTH],
}

/// Takes a sealed file apart and checks everything that can be checked without a key.
///
/// # Errors
///
/// [`FormatError`] for any deviation from format 1, before any expensive work.
pub fn parse(kind: FileKind, bytes: &[u8]) -> Result<Envelope<'_>, FormatError> {
    if bytes.len() < kind.min_length() {
        return Err(FormatError::TooShort { found: bytes.len(), least: kind.min_length() });
    }
    if bytes.len() > kind.max_length() {
        return Err(FormatError::TooLong { most: kind.max_length() });
    }
    let short = FormatError::TooShort { found: bytes.len(), least: kind.min_length() };
    let mut rest = bytes;
    if take::<8>(&mut rest).ok_or(short)? != kind.magic() {
        return Err(FormatError::Magic);
    }
    let [version, suite, source, reserved] = take::<4>(&mut rest).ok_or(short)?;
    match version {
        FORMAT_VERSION => {}
        0 => return Err(FormatError::Version),
        newer => return Err(FormatError::NewerVersion(newer)),
    }
    if suite != SUITE {
        return Err(FormatError::Suite(suite));
    }
    let source = UnlockSource::from_code(source).ok_or(FormatError::Source(source))?;
    if reserved != RESERVED {
        return Err(FormatError::Reserved(reserved));
    }
    let iterations = u32::from_be_bytes(take::<4>(&mut rest).ok_or(short)?);
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(FormatError::Iterations(iterations));
    }
    let salt = take::<SALT_LENGTH>(&mut rest).ok_or(short)?;
    let generation = take::<GENERATION_LENGTH>(&mut rest).ok_or(short)?;
    let iv = take::<IV_LENGTH>(&mut rest).ok_or(short)?;
    let claimed = u32::from_be_bytes(take::<4>(&mut rest).ok_or(short)?);
    let length = usize::try_from(claimed).map_err(|_| FormatError::CiphertextLength(claimed))?;
    if !length.is_multiple_of(BLOCK_LENGTH)
        || length < kind.min_ciphertext()
        || length > kind.max_ciphertext()
    {
        return Err(FormatError::CiphertextLength(claimed));
    }
    let expected = HEADER_LENGTH + length + TAG_LENGTH;
    let (Some(ciphertext), Some(covered), Some(tag)) =
        (rest.get(..length), bytes.get(..HEADER_LENGTH + length), rest.get(length..))
    else {
        return Err(FormatError::FileLength { found: bytes.len(), expected });
    };
    let tag = <[u8; TAG_LENGTH]>::try_from(tag)
        .map_err(|_| FormatError::FileLength { found: bytes.len(), expected })?;
    let header = Header { source, iterations, salt, generation };
    Ok(Envelope { header, iv, ciphertext, covered, tag })
}

/// Writes everything of a sealed file but the tag: the bytes that the tag has to cover.
///
/// # Errors
///
/// [`FormatError`] when [`parse`] would refuse the result.
pub fn encode_covered(
    kind: FileKind,
    header: &Header,
    iv: &[u8; IV_LENGTH],
    ciphertext: &[u8],
) -> Result<Vec<u8>, FormatError> {
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&header.iterations) {
        return Err(FormatError::Iterations(header.iterations));
    }
    let length = u32::try_from(ciphertext.len())
        .map_err(|_| FormatError::TooLong { most: kind.max_length() })?;
    if !ciphertext.len().is_multiple_of(BLOCK_LENGTH)
        || ciphertext.len() < kind.min_ciphertext()
        || ciphertext.len() > kind.max_ciphertext()
    {
        return Err(FormatError::CiphertextLength(length));
    }
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + ciphertext.len() + TAG_LENGTH);
    bytes.extend_from_slice(&kind.magic());
    bytes.extend_from_slice(&[FORMAT_VERSION, SUITE, header.source.code(), RESERVED]);
    bytes.extend_from_slice(&header.iterations.to_be_bytes());
    bytes.extend_from_slice(&header.salt);
    bytes.extend_from_slice(&header.generation);
    bytes.extend_from_slice(iv);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(ciphertext);
    Ok(bytes)
}

/// In which way a file is not format 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatError {
    /// Fewer bytes than the smallest well-formed file.
    TooShort {
        /// Bytes in the file.
        found: usize,
        /// Bytes in the smallest well-formed file.
        least: usize,
    },
    /// More bytes than the largest well-formed file.
    TooLong {
        /// Bytes in the largest well-formed file.
        most: usize,
    },
    /// The first eight bytes are not this file's.
    Magic,
    /// Format version 0, which never existed.
    Version,
    /// A format version that this program does not know yet.
    NewerVersion(u8),
    /// A cipher suite that this program does not know.
    Suite(u8),
    /// An unlock source that this program does not know.
    Source(u8),
    /// The reserved byte is not zero.
    Reserved(u8),
    /// An iteration count outside the limits.
    Iterations(u32),
    /// A ciphertext length outside the limits, or not whole blocks.
    CiphertextLength(u32),
    /// The file's length does not fit its header.
    FileLength {
        /// Bytes in the file.
        found: usize,
        /// Bytes that the header calls for.
        expected: usize,
    },
    /// The decrypted content is not what format 1 describes; says which part.
    Content(&'static str),
    /// The decrypted content has a version that this program does not know yet.
    NewerContent,
}

impl FormatError {
    /// Whether a newer program wrote the file, so that an upgrade is what helps.
    pub const fn is_newer(self) -> bool {
        matches!(self, Self::NewerVersion(_) | Self::NewerContent | Self::Suite(2))
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { found, least } => {
                write!(formatter, "it has {found} bytes and needs at least {least}")
            }
            Self::TooLong { most } => write!(formatter, "it has more than {most} bytes"),
            Self::Magic => formatter.write_str("it does not begin with the right marker"),
            Self::Version => formatter.write_str("its format version is 0"),
            Self::NewerVersion(version) => {
                write!(formatter, "it was written by a newer layer-mcp (format {version})")
            }
            Self::Suite(suite) => write!(formatter, "its cipher suite {suite} is unknown"),
            Self::Source(source) => write!(formatter, "its unlock source {source} is unknown"),
            Self::Reserved(byte) => write!(formatter, "its reserved byte is {byte} and not 0"),
            Self::Iterations(count) => write!(
                formatter,
                "it asks for {count} iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are allowed"
            ),
            Self::CiphertextLength(length) => {
                write!(formatter, "its ciphertext length {length} is not possible")
            }
            Self::FileLength { found, expected } => {
                write!(formatter, "it has {found} bytes and its header calls for {expected}")
            }
            Self::Content(part) => write!(formatter, "its content has {part}"),
            Self::NewerContent => {
                formatter.write_str("its content was written by a newer layer-mcp")
            }
        }
    }
}

impl std::error::Error for FormatError {}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test that cannot go on has failed"
    )]
    use proptest::prelude::*;

    use super::*;

    fn sample(kind: FileKind, length: usize) -> Vec<u8> {
        let header = Header {
            source: UnlockSource::Device,
            iterations: 100_000,
            salt: [1; 32],
            generation: [2; 16],
        };
        let mut bytes = encode_covered(kind, &header, &[3; 16], &vec![4; length]).unwrap();
        bytes.extend_from_slice(&[5; 32]);
        bytes
    }

    #[test]
    fn limits_hold_at_both_ends() {
        parse(FileKind::Key, &sample(FileKind::Key, 48)).unwrap();
        parse(FileKind::Credentials, &sample(FileKind::Credentials, 16)).unwrap();
        let largest = sample(FileKind::Credentials, 65_536);
        assert_eq!(largest.len(), 65_652);
        parse(FileKind::Credentials, &largest).unwrap();
        assert_eq!(FileKind::Key.max_length(), 164);
        assert_eq!(FileKind::Credentials.min_length(), 132);
    }

    #[test]
    fn each_field_is_checked() {
        let good = sample(FileKind::Key, 48);
        let changed = |offset: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            parse(FileKind::Key, &file).unwrap_err()
        };
        assert_eq!(changed(0, b"LMCPCRED"), FormatError::Magic);
        assert_eq!(changed(8, &[0]), FormatError::Version);
        assert_eq!(changed(8, &[2]), FormatError::NewerVersion(2));
        assert_eq!(changed(9, &[2]), FormatError::Suite(2));
        assert_eq!(changed(10, &[0]), FormatError::Source(0));
        assert_eq!(changed(10, &[4]), FormatError::Source(4));
        assert_eq!(changed(11, &[1]), FormatError::Reserved(1));
        for count in [0, 99_999, 10_000_001, u32::MAX] {
            assert_eq!(changed(12, &count.to_be_bytes()), FormatError::Iterations(count));
        }
        for length in [0_u32, 15, 16, 47, 64, u32::MAX] {
            assert_eq!(changed(80, &length.to_be_bytes()), FormatError::CiphertextLength(length));
        }
        let mut longer = sample(FileKind::Credentials, 16);
        longer.push(0);
        assert_eq!(
            parse(FileKind::Credentials, &longer).unwrap_err(),
            FormatError::FileLength { found: 133, expected: 132 }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(FileKind::Key, &bytes);
            let _ = parse(FileKind::Credentials, &bytes);
        }

        #[test]
        fn what_is_written_is_read_back(
            salt: [u8; 32], generation: [u8; 16], iv: [u8; 16], tag: [u8; 32],
            code in 1_u8..=3, iterations in MIN_ITERATIONS..=MAX_ITERATIONS, blocks in 1_usize..64,
        ) {
            let header = Header { source: UnlockSource::from_code(code).unwrap(), iterations, salt, generation };
            let ciphertext = vec![7; blocks * 16];
            let mut bytes = encode_covered(FileKind::Credentials, &header, &iv, &ciphertext).unwrap();
            bytes.extend_from_slice(&tag);
            let envelope = parse(FileKind::Credentials, &bytes).unwrap();
            prop_assert_eq!(envelope.header, header);
            prop_assert_eq!(envelope.iv, iv);
            prop_assert_eq!(envelope.ciphertext, ciphertext.as_slice());
            prop_assert_eq!(envelope.tag, tag);
            prop_assert_eq!(envelope.covered.len() + 32, bytes.len());
        }
    }
}
