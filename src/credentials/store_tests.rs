//! The store on a real file system.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use tempfile::TempDir;
use url::Url;

use super::keyring::memory::MemoryKeyring;
use super::test_vectors::{DEVICE_B, PASSWORD_A};
use super::*;

const TOKEN: &str = "pat_STO0000000000000000000000000000000000";

/// A home folder of its own, with a store and a place for the device key.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn with_store() -> Self {
        let place = Self::new();
        place.store().save(&credentials(TOKEN), &place.device()).unwrap();
        place
    }

    /// A store that looks like one and cannot be unlocked: enough for what comes before.
    fn with_files() -> Self {
        let place = Self::new();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(place.secure()).unwrap();
        let frozen = test_vectors::store_b();
        for file in FILES {
            place.write(file.name, (file.bytes)(&frozen));
        }
        place
    }

    fn secure(&self) -> PathBuf {
        self.folder.path().join("home").join("secure")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("data").join("layer-mcp").join("device.key")
    }

    fn store(&self) -> CredentialStore {
        CredentialStore::new(self.secure())
            .with_lock_waits(Duration::from_millis(100), Duration::from_secs(30))
    }

    fn device(&self) -> NewUnlock {
        NewUnlock::Device(self.key())
    }

    fn options(&self) -> UnlockOptions {
        UnlockOptions { device_key: self.key(), password: PasswordSettings::default() }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.secure().join(name);
        fs::write(&path, bytes).unwrap();
        chmod(&path, 0o600);
    }

    fn load_code(&self) -> &'static str {
        self.store().load(&self.options()).unwrap_err().code()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.secure())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn credentials(token: &str) -> Credentials {
    Credentials::new(
        ApiToken::parse(token).unwrap(),
        "workspace-1",
        &Url::parse("https://api.app.layer.ai").unwrap(),
        "2026-11-22T00:00:00Z".parse().unwrap(),
        AuditKey::generate().unwrap(),
    )
    .unwrap()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn nothing_newer_than_what_was_seen_is_written_over() {
    let place = Place::with_store();
    let store = place.store();
    let seen = store.seen();
    store.replace(seen, &credentials(TOKEN), &place.device()).unwrap();
    let later = "pat_LAT0000000000000000000000000000000000";
    let error = store.replace(seen, &credentials(later), &place.device()).unwrap_err();
    assert_eq!(error.code(), "store_changed");
    assert!(store.load(&place.options()).unwrap().has_token(TOKEN));
    // What could not be read may be replaced, as long as it is still so.
    place.write("salt.bin", b"damaged");
    let seen = store.seen();
    store.replace(seen, &credentials(later), &place.device()).unwrap();
    assert!(store.load(&place.options()).unwrap().has_token(later));
}

#[test]
fn a_device_key_in_a_folder_that_others_can_write_to_is_refused() {
    let place = Place::with_store();
    let folder = place.key().parent().unwrap().to_path_buf();
    chmod(&folder, 0o777);
    assert_eq!(place.load_code(), "store_permissions");
    chmod(&folder, 0o755);
    place.store().load(&place.options()).unwrap();
}

/// From its marker on an erasure is done, whoever dies in between.
#[test]
fn an_erasure_that_was_cut_short_is_finished_by_the_next_process() {
    for (gone, noise) in [(0, None), (0, Some("key.bin")), (1, Some("credentials.enc")), (3, None)]
    {
        for reader in [true, false] {
            let place = Place::with_store();
            place.write(".erase", b"");
            for name in ["key.bin", "credentials.enc", "salt.bin"].iter().take(gone) {
                fs::remove_file(place.secure().join(name)).unwrap();
            }
            if let Some(name) = noise {
                place.write(name, &[7; 40]);
            }
            if reader {
                assert_eq!(place.load_code(), "store_absent");
            } else {
                place.store().save(&credentials(TOKEN), &place.device()).unwrap();
                place.store().load(&place.options()).unwrap();
            }
            assert!(!place.names().contains(&".erase".to_owned()), "{:?}", place.names());
        }
    }
}

/// What can't be put in its place counts all the same, and is not said to be lost.
#[test]
fn a_store_that_is_written_and_not_in_its_place_is_said_to_count() {
    let place = Place::with_store();
    let salt = place.secure().join("salt.bin");
    fs::remove_file(&salt).unwrap();
    fs::create_dir(&salt).unwrap();
    let later = "pat_LAT0000000000000000000000000000000000";
    let error = place.store().save(&credentials(later), &place.device()).unwrap_err();
    assert!(error.to_string().contains("written and counts"), "{error}");
    fs::remove_dir(&salt).unwrap();
    assert!(place.store().load(&place.options()).unwrap().has_token(later));
}

const ALL: [&str; 4] = [".lock", "credentials.enc", "key.bin", "salt.bin"];

#[test]
fn what_is_saved_is_loaded_and_private_from_the_start() {
    let place = Place::new();
    let store = place.store();
    assert!(!store.exists().unwrap());
    assert_eq!(place.load_code(), "store_absent");

    store.save(&credentials(TOKEN), &place.device()).unwrap();
    assert!(store.exists().unwrap());
    let loaded = store.load(&place.options()).unwrap();
    assert_eq!(loaded.token().expose(), TOKEN);
    assert_eq!(loaded.workspace_id(), "workspace-1");
    assert_eq!(store.source().unwrap(), UnlockSource::Device);
    assert_eq!(store.header().unwrap().iterations, 100_000);

    assert_eq!(place.names(), ALL);
    for name in ALL {
        assert_eq!(mode(&place.secure().join(name)), 0o600, "{name}");
    }
    assert_eq!(fs::metadata(place.secure().join(".lock")).unwrap().len(), 0);
    assert_eq!(mode(&place.secure()), 0o700);
    assert_eq!(mode(&place.folder.path().join("home")), 0o700);
    assert_eq!(mode(&place.key()), 0o600);
    assert_eq!(fs::metadata(place.key()).unwrap().len(), 44);
    assert_eq!(fs::read(place.folder.path().join("home/.gitignore")).unwrap(), b"*\n");
    for file in FILES {
        let bytes = fs::read(place.secure().join(file.name)).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"pat_STO0"));
    }
}

#[test]
fn every_write_is_a_new_generation_under_the_same_device_key() {
    let place = Place::with_store();
    let read = |name: &str| fs::read(place.secure().join(name)).unwrap();
    let (before, key) = (FILES.map(|file| read(file.name)), fs::read(place.key()).unwrap());
    place.store().save(&credentials(TOKEN), &place.device()).unwrap();
    let after = FILES.map(|file| read(file.name));
    assert_ne!(before[0], after[0]);
    assert_ne!(before[1][48..164], after[1][48..164]);
    assert_ne!(before[2][48..], after[2][48..]);
    assert_eq!(fs::read(place.key()).unwrap(), key);
    // Files of the two generations do not open together.
    place.write("key.bin", &before[1]);
    assert_eq!(place.load_code(), "store_mixed");
}

#[test]
fn a_password_opens_from_each_of_its_sources_and_no_other_source_is_tried() {
    let place = Place::new();
    let password = NewPassword::parse(&SecretString::from(PASSWORD_A)).unwrap();
    place.store().save(&credentials(TOKEN), &NewUnlock::Password(password)).unwrap();
    assert!(!place.key().exists());
    assert_eq!(place.store().header().unwrap().iterations, 600_000);

    let load = |password: PasswordSettings| {
        place.store().load(&UnlockOptions { device_key: place.key(), password })
    };
    let error = load(PasswordSettings::default()).unwrap_err();
    assert_eq!(error.code(), "store_locked");
    assert!(error.next_step().contains("LAYER_MCP_PASSWORD_FILE"));

    let value = Some(SecretString::from("another password"));
    let error = load(PasswordSettings { value, ..Default::default() }).unwrap_err();
    assert_eq!(error.code(), "store_auth");
    assert_eq!(error.to_string(), "wrong password, or `key.bin` was changed");

    let file = place.folder.path().join("password");
    fs::write(&file, format!("{PASSWORD_A}\n")).unwrap();
    chmod(&file, 0o644);
    let settings = PasswordSettings { file: Some(file.clone()), ..Default::default() };
    assert_eq!(load(settings.clone()).unwrap_err().code(), "store_permissions");
    chmod(&file, 0o600);
    assert_eq!(load(settings.clone()).unwrap().token().expose(), TOKEN);
    fs::remove_file(&file).unwrap();
    assert_eq!(load(settings).unwrap_err().code(), "store_locked");
}

#[test]
fn what_others_can_reach_is_refused_with_the_line_that_mends_it() {
    for (path, bad, good) in [
        ("home/secure", 0o755, 0o700),
        ("home/secure/salt.bin", 0o644, 0o600),
        ("home/secure/key.bin", 0o640, 0o600),
        ("home/secure/credentials.enc", 0o602, 0o600),
        ("home/secure/.lock", 0o666, 0o600),
    ] {
        let place = Place::with_files();
        place.store().header().unwrap();
        let path = place.folder.path().join(path);
        chmod(&path, bad);
        let error = place.store().header().unwrap_err();
        assert_eq!(error.code(), "store_permissions");
        let line = format!("`chmod {good:o} {}`", path.display());
        assert!(error.next_step().contains(&line), "{}", error.next_step());
        assert!(error.to_string().contains(&format!("{bad:03o}")), "{error}");
        chmod(&path, good);
        place.store().header().unwrap();
    }
    let place = Place::with_files();
    chmod(&place.folder.path().join("home"), 0o777);
    let error = place.store().exists().unwrap_err();
    assert!(error.next_step().starts_with("Run `chmod go-w "), "{}", error.next_step());
    chmod(&place.folder.path().join("home"), 0o1777);
    assert!(place.store().exists().unwrap());
}

#[test]
fn links_and_other_kinds_of_file_are_refused() {
    for name in ["salt.bin", "key.bin", "credentials.enc"] {
        let place = Place::with_files();
        let (path, elsewhere) = (place.secure().join(name), place.folder.path().join("other"));
        fs::hard_link(&path, &elsewhere).unwrap();
        let error = place.store().header().unwrap_err();
        assert!(error.to_string().ends_with("has 2 names (hard links) and needs one"), "{error}");

        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let error = place.store().header().unwrap_err();
        assert!(error.to_string().ends_with("is a symbolic link"), "{error}");

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = place.store().header().unwrap_err();
        assert!(error.to_string().ends_with("is not a regular file"), "{error}");
    }
    let place = Place::with_files();
    let moved = place.folder.path().join("moved");
    fs::rename(place.secure(), &moved).unwrap();
    symlink(&moved, place.secure()).unwrap();
    for error in [
        place.store().exists().unwrap_err(),
        place.store().header().unwrap_err(),
        place.store().save(&credentials(TOKEN), &place.device()).unwrap_err(),
        place.store().forget(None).unwrap_err(),
    ] {
        assert_eq!(error.code(), "store_permissions");
        assert!(error.to_string().ends_with("is a symbolic link"), "{error}");
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_does_not_hang() {
    let place = Place::with_files();
    let path = place.secure().join("key.bin");
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status();
    assert!(made.unwrap().success());
    assert_eq!(place.store().header().unwrap_err().code(), "store_permissions");
}

#[test]
fn a_missing_file_is_incomplete_and_three_are_absent() {
    let place = Place::with_files();
    for (name, code) in [
        ("key.bin", "store_incomplete"),
        ("salt.bin", "store_incomplete"),
        ("credentials.enc", "store_absent"),
    ] {
        assert!(place.store().exists().unwrap());
        fs::remove_file(place.secure().join(name)).unwrap();
        let error = place.store().header().unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(error.is_absent(), code == "store_absent");
    }
    assert!(!place.store().exists().unwrap());
}

#[test]
fn oversized_files_are_refused_without_being_read_to_the_end() {
    for file in FILES {
        let place = Place::with_files();
        place.write(file.name, &vec![0; 1_000_000]);
        assert_eq!(place.store().header().unwrap_err().code(), "store_format", "{}", file.name);
    }
}

#[test]
fn the_device_key_is_needed_and_checked() {
    let place = Place::with_files();
    assert_eq!(place.load_code(), "store_locked");
    fs::create_dir_all(place.key().parent().unwrap()).unwrap();
    fs::write(place.key(), "too short\n").unwrap();
    chmod(&place.key(), 0o600);
    assert_eq!(place.load_code(), "store_locked");
    let error = place.store().save(&credentials(TOKEN), &place.device()).unwrap_err();
    assert_eq!(error.code(), "store_locked", "a damaged key is not replaced silently");
    fs::write(place.key(), format!("{DEVICE_B}\n")).unwrap();
    chmod(&place.key(), 0o644);
    assert_eq!(place.load_code(), "store_permissions");
    chmod(&place.key(), 0o600);
    // Store B opens now; its content is older than two of the fields.
    assert_eq!(place.load_code(), "store_format");

    let inside = NewUnlock::Device(place.secure().join("device.key"));
    let error = place.store().save(&credentials(TOKEN), &inside).unwrap_err();
    assert_eq!(error.code(), "store_locked");
    assert!(!place.secure().join("device.key").exists());
}

#[test]
fn a_keyring_store_is_recognised_and_says_what_to_do() {
    let place = Place::with_files();
    for name in ["key.bin", "credentials.enc"] {
        let mut bytes = fs::read(place.secure().join(name)).unwrap();
        bytes[10] = 2;
        place.write(name, &bytes);
    }
    assert_eq!(place.store().source().unwrap(), UnlockSource::Keyring);
    let store = place.store().with_keyring(Arc::new(MemoryKeyring::default()));
    let error = store.load(&place.options()).unwrap_err();
    assert_eq!(error.code(), "store_locked");
    assert!(error.to_string().contains("has no entry"), "{error}");
}

#[test]
fn a_keyring_holds_one_secret_for_the_generation_that_counts() {
    let place = Place::new();
    let keyring = Arc::new(MemoryKeyring::default());
    let store = place.store().with_keyring(keyring.clone());
    let accounts = || keyring.entries.lock().unwrap().keys().cloned().collect::<Vec<_>>();
    store.save(&credentials(TOKEN), &NewUnlock::Keyring).unwrap();
    let first = accounts();
    assert_eq!(first, [unlock::account(&store.header().unwrap().generation)]);
    assert_eq!(store.source().unwrap(), UnlockSource::Keyring);
    assert_eq!(store.load(&place.options()).unwrap().token().expose(), TOKEN);
    // A new generation has a new entry, and the old one goes.
    store.save(&credentials(TOKEN), &NewUnlock::Keyring).unwrap();
    assert_eq!(accounts().len(), 1);
    assert_ne!(accounts(), first);
    // Neither the device key nor another keyring stands in for it.
    let other = place.store().with_keyring(Arc::new(MemoryKeyring::default()));
    assert_eq!(other.load(&place.options()).unwrap_err().code(), "store_locked");
    for trouble in [KeyringProblem::Locked, KeyringProblem::Slow, KeyringProblem::Unreachable] {
        *keyring.trouble.lock().unwrap() = Some(trouble);
        let error = store.load(&place.options()).unwrap_err();
        assert_eq!((error.code(), error.to_string()), ("store_locked", trouble.to_string()));
        // A write that can't have its secret changes nothing.
        assert!(store.save(&credentials(TOKEN), &NewUnlock::Keyring).is_err());
    }
    *keyring.trouble.lock().unwrap() = None;
    assert_eq!(store.load(&place.options()).unwrap().token().expose(), TOKEN);
    // Another way of unlocking, or removal, leaves no entry.
    store.save(&credentials(TOKEN), &place.device()).unwrap();
    assert_eq!(accounts(), Vec::<String>::new());
    store.save(&credentials(TOKEN), &NewUnlock::Keyring).unwrap();
    assert!(store.forget(None).unwrap());
    assert_eq!(accounts(), Vec::<String>::new());
}

/// The states between any two renames of step 5, built by hand.
#[test]
fn a_commit_that_was_cut_short_is_finished_by_the_next_reader() {
    let place = Place::with_store();
    let old = FILES.map(|file| fs::read(place.secure().join(file.name)).unwrap());
    let other = "pat_NEW0000000000000000000000000000000000";
    place.store().save(&credentials(other), &place.device()).unwrap();
    let new = FILES.map(|file| fs::read(place.secure().join(file.name)).unwrap());

    for moved in 0..=3 {
        let commit = place.secure().join(".commit");
        fs::DirBuilder::new().mode(0o700).create(&commit).unwrap();
        for (index, file) in FILES.iter().enumerate() {
            if index < moved {
                place.write(file.name, &new[index]);
            } else {
                place.write(file.name, &old[index]);
                fs::write(commit.join(file.name), &new[index]).unwrap();
                chmod(&commit.join(file.name), 0o600);
            }
        }
        assert!(place.store().exists().unwrap());
        // The folder may hold what a file manager left in it.
        fs::write(commit.join(".DS_Store"), b"x").unwrap();
        if moved == 1 {
            let loaded = place.store().load(&place.options()).unwrap();
            assert_eq!(loaded.token().hint(), "pat_NEW0");
        } else {
            place.store().header().unwrap();
        }
        assert_eq!(place.names(), ALL);
        for (index, file) in FILES.iter().enumerate() {
            assert_eq!(fs::read(place.secure().join(file.name)).unwrap(), new[index]);
        }
    }
}

#[test]
fn a_first_write_that_was_cut_short_after_its_commit_is_a_store() {
    let place = Place::with_files();
    let commit = place.secure().join(".commit");
    fs::DirBuilder::new().mode(0o700).create(&commit).unwrap();
    for file in FILES {
        fs::rename(place.secure().join(file.name), commit.join(file.name)).unwrap();
    }
    assert!(place.store().exists().unwrap());
    place.store().header().unwrap();
    assert_eq!(place.names(), ALL);
}

#[test]
fn unfinished_writes_of_the_dead_are_removed_by_the_next_writer_only() {
    let place = Place::with_store();
    let dead = place.secure().join(".next-0123456789abcdef");
    fs::DirBuilder::new().mode(0o700).create(&dead).unwrap();
    fs::write(dead.join("salt.bin"), b"half").unwrap();
    let foreign = place.secure().join(".next-keep");
    fs::create_dir(&foreign).unwrap();

    place.store().load(&place.options()).unwrap();
    assert!(dead.exists(), "a reader removes nothing");
    place.store().save(&credentials(TOKEN), &place.device()).unwrap();
    assert!(!dead.exists());
    assert!(foreign.exists());
}

#[test]
fn a_write_that_fails_leaves_the_old_generation() {
    let place = Place::with_store();
    let before = FILES.map(|file| fs::read(place.secure().join(file.name)).unwrap());
    // The device key cannot be used, so that the write ends before its commit.
    chmod(&place.key(), 0o644);
    let error = place.store().save(&credentials(TOKEN), &place.device()).unwrap_err();
    assert_eq!(error.code(), "store_permissions");
    chmod(&place.key(), 0o600);
    assert_eq!(place.names(), ALL);
    assert_eq!(FILES.map(|file| fs::read(place.secure().join(file.name)).unwrap()), before);
}

#[test]
fn writers_at_the_same_time_leave_one_whole_generation() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let place = &place;
            scope.spawn(move || {
                let token = format!("pat_TH{number}0000000000000000000000000000000000");
                let store =
                    place.store().with_lock_waits(Duration::from_secs(60), Duration::from_secs(60));
                store.save(&credentials(&token), &place.device()).unwrap();
                let hint = store.load(&place.options()).unwrap().token().hint();
                assert!(hint.starts_with("pat_TH"), "{hint}");
            });
        }
    });
    assert_eq!(place.names(), ALL);
    place.store().load(&place.options()).unwrap();
    let data = place.key().parent().unwrap().to_path_buf();
    assert_eq!(fs::read_dir(data).unwrap().count(), 2, "the key and the lock file");
}

#[test]
fn a_lock_that_is_held_is_waited_for_and_then_reported() {
    let place = Place::with_files();
    place.store().header().unwrap();
    let file = fs::File::open(place.secure().join(".lock")).unwrap();
    file.lock().unwrap();
    let error = place.store().header().unwrap_err();
    assert_eq!(error.code(), "store_busy");
    if let StoreError::Busy { holder: Some(pid), .. } = error {
        assert_eq!(pid, std::process::id());
    }
    let impatient = place.store().with_lock_waits(Duration::ZERO, Duration::ZERO);
    let error = impatient.save(&credentials(TOKEN), &place.device()).unwrap_err();
    assert_eq!(error.code(), "store_busy");
    file.unlock().unwrap();
    // Readers do not keep each other out.
    file.lock_shared().unwrap();
    place.store().header().unwrap();
}

#[test]
fn forgetting_removes_the_files_and_the_device_key_when_asked() {
    let place = Place::with_store();
    assert!(place.store().forget(None).unwrap());
    assert!(!place.store().exists().unwrap());
    assert_eq!(place.names(), [".lock"]);
    assert!(place.key().exists());
    assert!(!place.store().forget(None).unwrap());
    assert!(place.store().forget(Some(&place.key())).unwrap());
    assert!(!place.key().exists());
    // Files that others could read can be removed too, and links are not written through.
    let place = Place::with_files();
    chmod(&place.secure().join("key.bin"), 0o644);
    let outside = place.folder.path().join("outside");
    fs::rename(place.secure().join("salt.bin"), &outside).unwrap();
    symlink(&outside, place.secure().join("salt.bin")).unwrap();
    assert!(place.store().forget(None).unwrap());
    assert_eq!(place.names(), [".lock"]);
    assert_eq!(fs::read(&outside).unwrap(), test_vectors::store_b().salt);
}

#[test]
fn no_error_shows_the_token_or_the_secret() {
    let place = Place::with_store();
    let text = format!(
        "{:?} {:?} {:?}",
        place.store(),
        place.options(),
        place.store().load(&place.options()).unwrap(),
    );
    let key = fs::read_to_string(place.key()).unwrap();
    assert!(!text.contains("STO0"), "{text}");
    assert!(!text.contains(key.trim()), "{text}");

    let redactor = Redactor::new();
    place.store().with_redactor(redactor.clone()).load(&place.options()).unwrap();
    let shown = redactor.redact(&format!("{} {TOKEN}", key.trim())).into_owned();
    assert_eq!(shown, "[removed] pat_STO0…");
}
