//! One generation of the store: the bytes of its three files, sealed and opened together.
//! Pure: no files, no clock; randomness comes in as [`Fresh`].

use zeroize::Zeroizing;

use super::cipher::{self, FileKeys, Key, NoRandomness};
use super::envelope::{
    self, Envelope, FileKind, FormatError, GENERATION_LENGTH, Header, IV_LENGTH, SALT_LENGTH,
};
use super::error::StoreError;
use super::unlock::{Secret, UnlockSource};

/// The bytes of `salt.bin`, `key.bin` and `credentials.enc`.
pub(super) struct Generation {
    pub(super) salt: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) credentials: Vec<u8>,
}

/// All that is random in a generation. Nothing of it is ever used for a second one.
pub(super) struct Fresh {
    pub(super) salt: [u8; SALT_LENGTH],
    pub(super) generation: [u8; GENERATION_LENGTH],
    pub(super) key_iv: [u8; IV_LENGTH],
    pub(super) credentials_iv: [u8; IV_LENGTH],
    pub(super) data_key: Key,
}

impl Fresh {
    /// Draws everything from the operating system.
    pub(super) fn draw() -> Result<Self, NoRandomness> {
        Ok(Self {
            salt: cipher::random()?,
            generation: cipher::random()?,
            key_iv: cipher::random()?,
            credentials_iv: cipher::random()?,
            data_key: cipher::random_key()?,
        })
    }
}

/// A generation whose files are well formed and belong together. Not authenticated yet.
pub(super) struct Checked<'a> {
    key: Envelope<'a>,
    credentials: Envelope<'a>,
}

impl Generation {
    /// Seals `plaintext` under a new data key, and that under the secret.
    pub(super) fn seal(
        fresh: &Fresh,
        source: UnlockSource,
        iterations: u32,
        secret: &Secret,
        plaintext: &[u8],
    ) -> Result<Self, FormatError> {
        let header = Header { source, iterations, salt: fresh.salt, generation: fresh.generation };
        let master = cipher::master_key(secret.bytes(), &fresh.salt, iterations);
        let outer = FileKeys::derive(FileKind::Key, &master);
        let inner = FileKeys::derive(FileKind::Credentials, &fresh.data_key);
        let credentials = FileKind::Credentials;
        Ok(Self {
            salt: fresh.salt.to_vec(),
            key: cipher::seal(
                &outer,
                FileKind::Key,
                &header,
                &fresh.key_iv,
                fresh.data_key.as_ref(),
            )?,
            credentials: cipher::seal(
                &inner,
                credentials,
                &header,
                &fresh.credentials_iv,
                plaintext,
            )?,
        })
    }

    /// Everything that can be judged without the secret, all of it cheap.
    pub(super) fn check(&self) -> Result<Checked<'_>, StoreError> {
        let salt = <[u8; SALT_LENGTH]>::try_from(self.salt.as_slice()).map_err(|_| {
            let (found, expected) = (self.salt.len(), SALT_LENGTH);
            StoreError::Format {
                file: "salt.bin",
                problem: FormatError::FileLength { found, expected },
            }
        })?;
        let key = parse(FileKind::Key, &self.key)?;
        let credentials = parse(FileKind::Credentials, &self.credentials)?;
        if key.header != credentials.header || key.header.salt != salt {
            return Err(StoreError::Mixed);
        }
        Ok(Checked { key, credentials })
    }
}

impl Checked<'_> {
    /// What both headers say.
    pub(super) fn header(&self) -> &Header {
        &self.key.header
    }

    /// Derives the keys, authenticates both files and gives the plaintext of the credentials.
    pub(super) fn unlock(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let data_key = {
            let header = self.header();
            let wrong = |_| StoreError::Auth { source_kind: header.source };
            let master = cipher::master_key(secret.bytes(), &header.salt, header.iterations);
            let wrapped = cipher::open(&FileKeys::derive(FileKind::Key, &master), &self.key)
                .map_err(wrong)?;
            let mut data_key: Key = Zeroizing::new([0; 32]);
            let bytes: &[u8; 32] = wrapped
                .as_slice()
                .try_into()
                .map_err(|_| StoreError::Auth { source_kind: header.source })?;
            data_key.copy_from_slice(bytes);
            data_key
        };
        cipher::open(&FileKeys::derive(FileKind::Credentials, &data_key), &self.credentials)
            .map_err(|_| StoreError::Tampered)
    }
}

fn parse(kind: FileKind, bytes: &[u8]) -> Result<Envelope<'_>, StoreError> {
    envelope::parse(kind, bytes)
        .map_err(|problem| StoreError::Format { file: kind.file_name(), problem })
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
    use crate::credentials::test_vectors::{self, store_a, store_b};

    fn count<const N: usize>(first: u8) -> [u8; N] {
        core::array::from_fn(|index| first + u8::try_from(index).unwrap())
    }

    fn secret(text: &str) -> Secret {
        Secret::from_text(text)
    }

    #[test]
    fn known_answer_a_is_opened_and_written_byte_for_byte() {
        let frozen = store_a();
        let checked = frozen.check().unwrap();
        assert_eq!(checked.header().source, UnlockSource::Password);
        assert_eq!(checked.header().iterations, 600_000);
        let plaintext = checked.unlock(&secret(test_vectors::PASSWORD_A)).unwrap();
        assert_eq!(plaintext.as_slice(), test_vectors::PLAINTEXT_A.as_bytes());

        let fresh = Fresh {
            salt: count(0x00),
            generation: count(0x20),
            key_iv: count(0x30),
            credentials_iv: count(0x40),
            data_key: Zeroizing::new(count(0x50)),
        };
        let written = Generation::seal(
            &fresh,
            UnlockSource::Password,
            600_000,
            &secret(test_vectors::PASSWORD_A),
            test_vectors::PLAINTEXT_A.as_bytes(),
        )
        .unwrap();
        assert_eq!(written.salt, frozen.salt);
        assert_eq!(written.key, frozen.key);
        assert_eq!(written.credentials, frozen.credentials);
    }

    #[test]
    fn known_answer_b_is_opened() {
        let frozen = store_b();
        let checked = frozen.check().unwrap();
        assert_eq!(checked.header().source, UnlockSource::Device);
        let plaintext = checked.unlock(&secret(test_vectors::DEVICE_B)).unwrap();
        assert!(plaintext.starts_with(br#"{"v":1,"api_token":"pat_"#));
    }

    #[test]
    fn the_frozen_files_are_the_ones_described() {
        use sha2::{Digest, Sha256};
        let digest = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
        for (bytes, expected) in [
            (store_a().key, "1016b28c0d535f98d4d2a29c663a787243e00e785646278477c9ca56a0b96e1f"),
            (
                store_a().credentials,
                "d4d490c569d3996983b355f9e88b6f43977ec091d6bf966a5bc9db2b1e5b3098",
            ),
            (store_b().key, "30b448c762e099113d7f1cca3154c2808cc3a9f9fa2517795790fc404bb4d406"),
            (
                store_b().credentials,
                "80fc2157d1334f615b4fc2f69bbbe81d7af88de4626c08c0dab504c5bbeafced",
            ),
        ] {
            assert_eq!(digest(&bytes), test_vectors::unhex(expected));
        }
    }

    #[test]
    fn another_secret_is_refused_as_such() {
        let frozen = store_b();
        let error = frozen.check().unwrap().unlock(&secret("another secret")).unwrap_err();
        assert_eq!(error.code(), "store_auth");
    }

    #[test]
    fn files_of_two_generations_do_not_mix() {
        let (a, b) = (store_a(), store_b());
        for mixed in [
            Generation {
                salt: b.salt.clone(),
                key: a.key.clone(),
                credentials: a.credentials.clone(),
            },
            Generation {
                salt: a.salt.clone(),
                key: b.key.clone(),
                credentials: a.credentials.clone(),
            },
            Generation {
                salt: a.salt.clone(),
                key: a.key.clone(),
                credentials: b.credentials.clone(),
            },
        ] {
            assert_eq!(mixed.check().err().unwrap().code(), "store_mixed");
        }
        let swapped = Generation { salt: a.salt.clone(), key: a.credentials, credentials: a.key };
        assert_eq!(swapped.check().err().unwrap().code(), "store_format");
    }

    #[test]
    fn every_truncation_is_refused_before_any_key_is_derived() {
        let whole = store_a();
        for length in 0..whole.key.len() {
            let cut = Generation { key: whole.key[..length].to_vec(), ..store_a() };
            assert_eq!(cut.check().err().unwrap().code(), "store_format", "key.bin at {length}");
        }
        for length in 0..whole.credentials.len() {
            let cut = Generation { credentials: whole.credentials[..length].to_vec(), ..store_a() };
            assert_eq!(
                cut.check().err().unwrap().code(),
                "store_format",
                "credentials.enc at {length}"
            );
        }
        for length in 0..whole.salt.len() {
            let cut = Generation { salt: whole.salt[..length].to_vec(), ..store_a() };
            assert_eq!(cut.check().err().unwrap().code(), "store_format", "salt.bin at {length}");
        }
    }

    /// Header bytes are caught by the comparison of the three files; the others by the tags,
    /// whose verification needs no new key derivation here.
    #[test]
    fn any_single_changed_byte_is_refused() {
        let header = Header {
            source: UnlockSource::Device,
            iterations: 100_000,
            salt: [1; 32],
            generation: [2; 16],
        };
        let keys = FileKeys::derive(FileKind::Credentials, &Zeroizing::new([9; 32]));
        let good =
            cipher::seal(&keys, FileKind::Credentials, &header, &[3; 16], b"content").unwrap();
        for offset in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[offset] ^= flip;
                let opened = envelope::parse(FileKind::Credentials, &bad)
                    .ok()
                    .and_then(|envelope| cipher::open(&keys, &envelope).ok());
                assert!(opened.is_none(), "byte {offset} with {flip:#04x}");
            }
        }
        let whole = store_b();
        for offset in 0..84 {
            if (64..80).contains(&offset) {
                continue; // the IV stands in one file only, and its tag covers it
            }
            let mut key = whole.key.clone();
            key[offset] ^= 0x01;
            assert!(Generation { key, ..store_b() }.check().is_err(), "key.bin at {offset}");
        }
    }

    #[test]
    fn a_changed_ciphertext_is_tampering_and_not_a_wrong_secret() {
        let mut changed = store_b();
        changed.credentials[100] ^= 1;
        let error = changed.check().unwrap().unlock(&secret(test_vectors::DEVICE_B)).unwrap_err();
        assert_eq!(error.code(), "store_tampered");
        let mut changed = store_b();
        changed.key[100] ^= 1;
        let error = changed.check().unwrap().unlock(&secret(test_vectors::DEVICE_B)).unwrap_err();
        assert_eq!(error.code(), "store_auth");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn whatever_is_sealed_opens_again(
            text in "\\PC{0,40}",
            plaintext in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let secret = Secret::from_text(&text);
            let sealed = Generation::seal(
                &Fresh::draw().unwrap(), UnlockSource::Device, 100_000, &secret, &plaintext,
            ).unwrap();
            let opened = sealed.check().unwrap().unlock(&secret).unwrap();
            prop_assert_eq!(opened.as_slice(), plaintext.as_slice());
        }
    }
}
