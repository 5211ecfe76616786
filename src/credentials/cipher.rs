//! The raw algorithms. Private: nobody outside this folder decrypts anything whose tag was not
//! verified first, because [`open`] is the only way to decrypt.

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::envelope::{
    Envelope, FileKind, FormatError, Header, IV_LENGTH, SALT_LENGTH, encode_covered,
};

/// A 256-bit key, wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// The tag is wrong, or what it covers does not decrypt. The two are one error on purpose:
/// nothing about padding ever reaches a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unauthentic;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRandomness;

/// The two keys of one file.
pub(super) struct FileKeys {
    pub(super) encryption: Key,
    pub(super) authentication: Key,
}

impl FileKeys {
    /// The keys of `key.bin`, from the master key, or of `credentials.enc`, from the data key:
    /// HKDF-Expand (RFC 5869, section 2.3) under a label of its own for each use.
    pub(super) fn derive(kind: FileKind, parent: &Key) -> Self {
        let (encryption, authentication): (&[u8], &[u8]) = match kind {
            FileKind::Key => (b"layer-mcp/v1/key.bin/enc", b"layer-mcp/v1/key.bin/mac"),
            FileKind::Credentials => {
                (b"layer-mcp/v1/credentials.enc/enc", b"layer-mcp/v1/credentials.enc/mac")
            }
        };
        Self {
            encryption: expand(parent, encryption),
            authentication: expand(parent, authentication),
        }
    }
}

/// The master key: PBKDF2-HMAC-SHA-256 (RFC 8018, section 5.2), 32 bytes. Slow on purpose.
pub(super) fn master_key(secret: &[u8], salt: &[u8; SALT_LENGTH], iterations: u32) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, iterations, key.as_mut());
    key
}

/// Encrypts `plaintext` and authenticates it together with the header: a whole file.
pub(super) fn seal(
    keys: &FileKeys,
    kind: FileKind,
    header: &Header,
    iv: &[u8; IV_LENGTH],
    plaintext: &[u8],
) -> Result<Vec<u8>, FormatError> {
    let ciphertext = cbc::Encryptor::<Aes256>::new((&*keys.encryption).into(), iv.into())
        .encrypt_padded_vec::<Pkcs7>(plaintext);
    let mut file = encode_covered(kind, header, iv, &ciphertext)?;
    let tag = mac(&keys.authentication, &file).finalize().into_bytes();
    file.extend_from_slice(&tag);
    Ok(file)
}

/// Verifies the tag in constant time and, only when it is right, decrypts.
pub(super) fn open(
    keys: &FileKeys,
    envelope: &Envelope<'_>,
) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
    mac(&keys.authentication, envelope.covered)
        .verify_slice(&envelope.tag)
        .map_err(|_| Unauthentic)?;
    let mut buffer = Zeroizing::new(envelope.ciphertext.to_vec());
    let length = cbc::Decryptor::<Aes256>::new((&*keys.encryption).into(), (&envelope.iv).into())
        .decrypt_padded::<Pkcs7>(&mut buffer)
        .map_err(|_| Unauthentic)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A random key from the operating system.
pub(super) fn random_key() -> Result<Key, NoRandomness> {
    let mut key = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(key.as_mut()).map_err(|_| NoRandomness)?;
    Ok(key)
}

#[expect(
    clippy::expect_used,
    reason = "a 32-byte key is long enough and 32 bytes are few enough for HKDF-SHA-256, always"
)]
pub(super) fn expand(parent: &Key, label: &[u8]) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::from_prk(parent.as_ref())
        .expect("32 bytes are a pseudorandom key for SHA-256")
        .expand(label, key.as_mut())
        .expect("32 bytes are one block of SHA-256");
    key
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104, section 2)")]
pub(super) fn mac(key: &Key, covered: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_ref()).expect("HMAC takes any key");
    mac.update(covered);
    mac
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;
    use crate::credentials::test_vectors::unhex;

    /// RFC 7914, section 11: the first 32 bytes of each 64-byte answer.
    #[test]
    fn pbkdf2_agrees_with_rfc_7914() {
        for (secret, salt, iterations, expected) in [
            (
                "passwd",
                "salt",
                1,
                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
            ),
            (
                "Password",
                "NaCl",
                80_000,
                "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56",
            ),
        ] {
            let mut key = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(secret.as_bytes(), salt.as_bytes(), iterations, &mut key);
            assert_eq!(key.as_slice(), unhex(expected));
        }
    }

    /// The intermediate keys of known answer A.
    #[test]
    fn the_key_ladder_agrees_with_known_answer_a() {
        let salt = core::array::from_fn(|index| u8::try_from(index).unwrap());
        let master = master_key(b"correct horse battery staple", &salt, 600_000);
        assert_eq!(
            master.as_slice(),
            unhex("613a4c3411394e24fffe6c51994307724572e574bcd98ea8cf457c64899bfbfe")
        );
        let first = FileKeys::derive(FileKind::Key, &master);
        assert_eq!(
            first.encryption.as_slice(),
            unhex("acc80cb1baa2a1f75d102251c50261380d63d0ffdd2672acd50e3341d8430e2b")
        );
        assert_eq!(
            first.authentication.as_slice(),
            unhex("51a559fc302db438c0df5872b03c3587ab782255b3430b8cf291adc4536fc226")
        );
        let data =
            Zeroizing::new(core::array::from_fn(|index| 0x50 + u8::try_from(index).unwrap()));
        let second = FileKeys::derive(FileKind::Credentials, &data);
        assert_eq!(
            second.encryption.as_slice(),
            unhex("6d7a8cf151a62166f55365e6637cfd5b93de6c09da6ed74e944233fbac450293")
        );
        assert_eq!(
            second.authentication.as_slice(),
            unhex("fe5cbe99aa338daac149a7659171cfd9a307e1209b8534e1dbef1f4b70df3a37")
        );
    }
}
