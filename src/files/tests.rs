//! The folder as a whole: what gets in, what stays out, what stands there afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should stop"
)]

use std::fs;

use super::*;

const MIB: u64 = 1024 * 1024;

struct Place {
    /// Holds the output folder `game` and, beside it, what must never be touched.
    around: tempfile::TempDir,
    output: OutputDir,
}

impl Place {
    fn new() -> Self {
        let around = tempfile::tempdir().unwrap();
        fs::create_dir(around.path().join("outside")).unwrap();
        let output = OutputDir::open(&around.path().join("game")).unwrap();
        Self { around, output }
    }

    fn root(&self) -> &Path {
        self.output.path()
    }

    fn outside(&self) -> PathBuf {
        self.around.path().join("outside")
    }

    fn target(&self, save_to: &str, count: u32) -> Result<Target, FileError> {
        self.output.target(Some(&SaveTo::parse(save_to)?), "A brave knight", count)
    }

    fn save(&self, save_to: &str, bytes: &[u8]) -> Result<SavedFile, FileError> {
        self.output.save(&self.target(save_to, 1)?, 0, bytes)
    }

    /// Every file below the output folder, relative, sorted.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), root, found);
                } else {
                    let path = entry.path();
                    found.push(
                        path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"),
                    );
                }
            }
        }
        let mut found = Vec::new();
        walk(self.root(), self.root(), &mut found);
        found.sort();
        found
    }
}

fn art() -> Vec<u8> {
    samples::png(4, 3, |x, _| [x as u8, 0, 0, if x == 0 { 0 } else { 255 }])
}

#[test]
fn a_saved_file_is_described_as_it_lies_on_the_disk() {
    let place = Place::new();
    let bytes = art();
    let saved = place.save("art/icons/knight.png", &bytes).unwrap();
    assert_eq!(saved.path, place.root().join("art/icons/knight.png"));
    assert_eq!(fs::read(&saved.path).unwrap(), bytes);
    assert_eq!((saved.media_type, saved.bytes), (MediaType::Png, bytes.len() as u64));
    assert_eq!((saved.width, saved.height), (Some(4), Some(3)));
    assert_eq!((saved.has_alpha, saved.readable), (Some(true), Some(true)));
    assert_eq!(saved.sha256, incoming::digest(&mut Cursor::new(&bytes)).unwrap().0);
    assert_eq!(saved.sha256.len(), 64);
    assert_eq!(saved.asked_name, None);
    assert_eq!(place.files(), ["art/icons/knight.png"]);
    assert_eq!(place.output.inspect("art/icons/knight.png").unwrap(), saved);
    assert_eq!(place.output.inspect(saved.path.to_str().unwrap()).unwrap(), saved);

    let json = serde_json::to_value(&saved).unwrap();
    assert_eq!(serde_json::from_value::<SavedFile>(json.clone()).unwrap(), saved);
    assert_eq!(json["media_type"], "image/png");
    assert_eq!(json["path"], saved.path.to_str().unwrap());
    assert!(json["duration_seconds"].is_null() && json.get("asked_name").is_none());
}

#[test]
fn an_existing_file_is_never_replaced() {
    let place = Place::new();
    place.save("knight.png", &art()).unwrap();
    let before = fs::read(place.root().join("knight.png")).unwrap();

    let target = place.target("knight.png", 1).unwrap();
    assert_eq!(place.output.would_clobber(&target, &[]), Some(place.root().join("knight.png")));
    let other = samples::noise_png(9, 9);
    let error = place.output.save(&target, 0, &other).unwrap_err();
    assert_eq!(error.code(), "file_exists");

    let mut incoming = place.output.begin(&target, MIB).unwrap();
    incoming.write(&other).unwrap();
    let saved = incoming.finish_unique(0).unwrap();
    assert_eq!(saved.path, place.root().join("knight-2.png"));
    assert_eq!(saved.asked_name.as_deref(), Some("knight.png"));
    assert_eq!(fs::read(place.root().join("knight.png")).unwrap(), before);
    assert_eq!(place.files(), ["knight-2.png", "knight.png"]);
}

#[test]
fn the_extension_follows_the_bytes() {
    let place = Place::new();
    let saved = place.save("knight.png", &samples::jpeg(8, 8)).unwrap();
    assert_eq!(saved.path, place.root().join("knight.jpg"));
    assert_eq!(saved.asked_name.as_deref(), Some("knight.png"));
    // The same wish again would meet it, once that is thought of.
    let target = place.target("knight.png", 1).unwrap();
    assert_eq!(place.output.would_clobber(&target, &[]), None);
    assert!(place.output.would_clobber(&target, &[MediaType::Jpeg]).is_some());
    // A program's ending never stays the last one.
    let saved = place.save("run.sh", &art()).unwrap();
    assert_eq!(saved.path, place.root().join("run.sh.png"));
}

#[test]
fn a_picture_without_its_end_is_no_file() {
    let place = Place::new();
    let whole = samples::noise_png(40, 40);
    for cut in [20, 30, whole.len() - 8] {
        let error = place.save("knight.png", &whole[..whole.len() - cut]).unwrap_err();
        assert_eq!(error.code(), "download_failed", "{cut}: {error}");
    }
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn several_outputs_are_numbered_and_folders_take_the_prompts_name() {
    let place = Place::new();
    let target = place.target("art/", 2).unwrap();
    for (index, name) in ["a-brave-knight-1.png", "a-brave-knight-2.png"].iter().enumerate() {
        let saved = place.output.save(&target, index as u32, &art()).unwrap();
        assert_eq!(saved.path, place.root().join("art").join(name));
    }
    let again = place.output.save(&target, 0, &samples::noise_png(5, 5)).unwrap();
    assert_eq!(again.path, place.root().join("art/a-brave-knight-1-2.png"));
    // The very same bytes are there already: no second copy of them is made.
    let same = place.output.save(&target, 0, &art()).unwrap();
    assert_eq!(same.path, place.root().join("art/a-brave-knight-1.png"));
    assert_eq!(place.output.would_clobber(&target, &[MediaType::Png]), None);

    let target = place.output.target(None, "Ein Ritter", 0).unwrap();
    let saved = place.output.save(&target, 0, &art()).unwrap();
    assert_eq!(saved.path, place.root().join("assets/ein-ritter.png"));
}

#[test]
fn a_folder_is_not_a_free_name() {
    let place = Place::new();
    fs::create_dir(place.root().join("knight.png")).unwrap();
    fs::create_dir(place.root().join("knight.v2")).unwrap();
    let target = place.target("knight.png", 1).unwrap();
    assert!(place.output.would_clobber(&target, &[]).is_some());
    assert_eq!(place.save("knight.png", &art()).unwrap_err().code(), "file_exists");
    // A name with an unknown ending that is a folder is meant as that folder.
    let saved = place.save("knight.v2", &art()).unwrap();
    assert_eq!(saved.path, place.root().join("knight.v2/a-brave-knight.png"));
}

#[test]
fn a_file_is_not_a_folder() {
    let place = Place::new();
    fs::write(place.root().join("notes"), "mine").unwrap();
    for save_to in ["notes/knight.png", "notes", "notes/deep/knight.png"] {
        let target = place.target(save_to, 1).unwrap();
        let error = place.output.check(&target).unwrap_err();
        assert_eq!(error.code(), "path_refused", "{save_to}: {error}");
        assert!(error.to_string().contains("in the way"), "{error}");
        let error = place.output.begin(&target, MIB).unwrap_err();
        assert_eq!(error.code(), "path_refused", "{save_to}: {error}");
    }
    assert_eq!(place.files(), ["notes"]);
}

#[test]
fn checking_a_place_creates_nothing() {
    let place = Place::new();
    for save_to in ["a/b/c/knight.png", "knight.png", "x/"] {
        place.output.check(&place.target(save_to, 1).unwrap()).unwrap();
    }
    assert_eq!(fs::read_dir(place.root()).unwrap().count(), 0);
}

#[test]
fn an_absolute_path_inside_is_the_same_place() {
    let place = Place::new();
    let inside = place.root().join("art/knight.png");
    let saved = place.save(inside.to_str().unwrap(), &art()).unwrap();
    assert_eq!(saved.path, inside);
    let beside = format!("{}_evil/knight.png", place.root().display());
    assert_eq!(place.save(&beside, &art()).unwrap_err().code(), "path_refused");
}

#[test]
fn names_of_300_bytes_are_refused_and_of_240_saved() {
    let place = Place::new();
    let error = place.save(&format!("{}.png", "x".repeat(296)), &art()).unwrap_err();
    assert_eq!(error.code(), "path_refused");
    // Allowed by the rules, and still too long for this disk once it is numbered.
    let target = place.target(&format!("{}.x", "x".repeat(238)), u32::MAX).unwrap();
    assert_eq!(place.output.check(&target).unwrap_err().code(), "path_refused");
    let name = format!("{}.png", "x".repeat(236));
    place.save(&name, &art()).unwrap();
    let target = place.target(&name, 1).unwrap();
    let mut incoming = place.output.begin(&target, MIB).unwrap();
    incoming.write(&samples::webp(2, 2, 255)).unwrap();
    incoming.finish_unique(0).unwrap();
    let mut incoming = place.output.begin(&target, MIB).unwrap();
    incoming.write(&samples::noise_png(5, 5)).unwrap();
    incoming.finish_unique(0).unwrap();
    assert_eq!(place.files().len(), 3);
}

#[test]
fn composed_and_decomposed_names_meet_in_one_file() {
    let place = Place::new();
    place.save("ka\u{308}se.png", &art()).unwrap();
    assert_eq!(place.files(), ["k\u{e4}se.png"]);
    assert_eq!(place.save("k\u{e4}se.png", &art()).unwrap_err().code(), "file_exists");
}

#[test]
fn threads_that_want_one_name_get_one_file_each() {
    const THREADS: usize = 8;
    let place = Place::new();
    let barrier = std::sync::Barrier::new(THREADS);
    let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let save = |n: usize| {
            let (place, barrier) = (&place, &barrier);
            scope.spawn(move || {
                let target = place.target("art/knight.png", 1).unwrap();
                let mut incoming = place.output.begin(&target, MIB).unwrap();
                incoming.write(&samples::png(2, 2, |_, _| [n as u8; 4])).unwrap();
                barrier.wait();
                incoming.finish_unique(0).unwrap().path
            })
        };
        let threads: Vec<_> = (0..THREADS).map(save).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), THREADS);
    assert_eq!(place.files().len(), THREADS);
    let contents: std::collections::HashSet<_> =
        paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(contents.len(), THREADS);
}

#[test]
fn only_one_of_two_threads_gets_exactly_the_name() {
    let place = Place::new();
    for round in 0..20 {
        let barrier = std::sync::Barrier::new(2);
        let won: usize = std::thread::scope(|scope| {
            let save = || {
                let target = place.target(&format!("k{round}.png"), 1).unwrap();
                let mut incoming = place.output.begin(&target, MIB).unwrap();
                incoming.write(&art()).unwrap();
                barrier.wait();
                usize::from(incoming.finish_as(0).is_ok())
            };
            let (a, b) = (scope.spawn(save), scope.spawn(save));
            a.join().unwrap() + b.join().unwrap()
        });
        assert_eq!(won, 1);
    }
    assert_eq!(place.files().len(), 20);
}

#[test]
fn reading_is_confined_like_writing() {
    let place = Place::new();
    fs::write(place.outside().join("secret.png"), art()).unwrap();
    for folder in [".git", ".ssh"] {
        fs::create_dir(place.root().join(folder)).unwrap();
        fs::write(place.root().join(folder).join("x.png"), art()).unwrap();
    }
    fs::write(place.root().join(".env"), "TOKEN=1").unwrap();
    let secret = place.outside().join("secret.png");
    for path in [
        "",
        "..",
        "../outside/secret.png",
        "a/../../outside/secret.png",
        secret.to_str().unwrap(),
        "/etc/passwd",
        ".git/x.png",
        ".ssh/x.png",
        ".env",
        "a\0b",
        ".",
        "./",
        "\u{202e}x",
    ] {
        let error = place.output.read(path, MIB).unwrap_err();
        assert_eq!(error.code(), "path_refused", "{path:?}: {error}");
        assert!(
            place.output.inspect(path).is_err()
                && place.output.preview(path, PreviewLimits::default()).is_err()
        );
    }
    assert_eq!(place.output.read("nothing.png", MIB).unwrap_err().code(), "file_not_found");
}

#[test]
fn only_assets_of_allowed_size_are_read() {
    let place = Place::new();
    fs::write(place.root().join("key.png"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    assert_eq!(place.output.read("key.png", MIB).unwrap_err().code(), "unsupported_file");
    assert_eq!(place.output.inspect("key.png").unwrap_err().code(), "unsupported_file");
    let bytes = art();
    // A name that would not be given here, but may be there.
    fs::write(place.root().join("-#knight ~1.dat"), &bytes).unwrap();
    let len = bytes.len() as u64;
    let (saved, read) = place.output.read("-#knight ~1.dat", len).unwrap();
    assert_eq!((saved.media_type, read), (MediaType::Png, bytes));
    let error = place.output.read("-#knight ~1.dat", len - 1).unwrap_err();
    assert_eq!(error.code(), "file_too_large", "{error}");
    fs::create_dir(place.root().join("folder.png")).unwrap();
    assert_eq!(place.output.read("folder.png", MIB).unwrap_err().code(), "path_refused");
}

#[test]
fn a_preview_of_a_saved_file_is_bounded() {
    let place = Place::new();
    place.save("big.png", &samples::noise_png(900, 600)).unwrap();
    let preview = place.output.preview("big.png", PreviewLimits::default()).unwrap();
    assert!(preview.bytes.len() <= 100_000 && preview.width <= 512);
    place.save("tone.wav", &samples::wav(8000, 16_000)).unwrap();
    let error = place.output.preview("tone.wav", PreviewLimits::default()).unwrap_err();
    assert_eq!(error.code(), "image_unreadable");
    assert_eq!(place.output.inspect("tone.wav").unwrap().duration_seconds, Some(1.0));
}

#[test]
fn stale_parts_go_and_nothing_else() {
    let place = Place::new();
    let target = place.target("art/knight.png", 1).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(place.output.remove_stale_parts(&target, SystemTime::now(), day), 0);
    let live = place.output.begin(&target, MIB).unwrap();
    for name in [".layer-mcp-0123456789abcdef.part", ".layer-mcp-mine.part", "knight.png"] {
        fs::write(place.root().join("art").join(name), "x").unwrap();
    }
    assert_eq!(place.output.remove_stale_parts(&target, SystemTime::now(), day), 0);
    let tomorrow = SystemTime::now() + day + Duration::from_secs(60);
    drop(live);
    assert_eq!(place.output.remove_stale_parts(&target, tomorrow, day), 1);
    assert_eq!(place.files(), ["art/.layer-mcp-mine.part", "art/knight.png"]);
    let root = place.target("knight.png", 1).unwrap();
    fs::write(place.root().join(".layer-mcp-0123456789abcdef.part"), "x").unwrap();
    assert_eq!(place.output.remove_stale_parts(&root, tomorrow, day), 1);
}

#[test]
fn folders_that_can_not_be_the_output_folder_are_refused() {
    let around = tempfile::tempdir().unwrap();
    for path in ["/", "/etc", "/usr/share", "relative/folder", "", "/proc/self"] {
        let error = OutputDir::open(Path::new(path)).unwrap_err();
        assert_eq!(error.code(), "path_refused", "{path}: {error}");
    }
    for name in [".git", ".ssh", ".layer-mcp/secure"] {
        let error = OutputDir::open(&around.path().join(name)).unwrap_err();
        assert_eq!(error.code(), "path_refused", "{name}: {error}");
    }
    // It is a file.
    fs::write(around.path().join("file"), "x").unwrap();
    assert_eq!(OutputDir::open(&around.path().join("file")).unwrap_err().code(), "path_refused");
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1);
}

#[test]
fn what_is_missing_of_the_output_folder_is_made_but_never_behind_a_link_to_a_forbidden_place() {
    let around = tempfile::tempdir().unwrap();
    let output = OutputDir::open(&around.path().join("Pictures/Layer")).unwrap();
    assert!(output.path().is_dir());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc", around.path().join("link")).unwrap();
        let error = OutputDir::open(&around.path().join("link/a/b")).unwrap_err();
        assert_eq!(error.code(), "path_refused");
        assert!(!Path::new("/etc/a").exists());
    }
}

#[test]
fn a_folder_deleted_while_it_is_open_is_said_to_be_gone() {
    let place = Place::new();
    let target = place.target("knight.png", 1).unwrap();
    fs::remove_dir(place.root()).unwrap();
    for error in [
        place.output.check(&target).unwrap_err(),
        place.output.save(&target, 0, &art()).unwrap_err(),
        place.save("art/knight.png", &art()).unwrap_err(),
    ] {
        assert!(matches!(error, FileError::Disk { trouble: DiskTrouble::Gone, .. }), "{error}");
    }
}

#[cfg(unix)]
mod links {
    use std::{
        os::unix::fs::{PermissionsExt, symlink},
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn a_link_that_leads_out_is_refused_for_writing_and_reading() {
        let place = Place::new();
        fs::write(place.outside().join("secret.png"), art()).unwrap();
        symlink(place.outside(), place.root().join("art")).unwrap();
        symlink("../outside", place.root().join("relative")).unwrap();
        symlink("/", place.root().join("slash")).unwrap();
        symlink("circle", place.root().join("circle")).unwrap();
        symlink(place.outside().join("not-there"), place.root().join("dangling")).unwrap();
        for save_to in [
            "art/knight.png",
            "art/deep/knight.png",
            "relative/",
            "slash/tmp/x.png",
            "circle/x.png",
            "dangling/x.png",
        ] {
            let target = place.target(save_to, 1).unwrap();
            let error = place.output.check(&target).unwrap_err();
            assert_eq!(error.code(), "path_refused", "{save_to}: {error}");
            let error = place.output.begin(&target, MIB).unwrap_err();
            assert!(matches!(error.code(), "path_refused" | "disk"), "{save_to}: {error}");
        }
        for path in ["art/secret.png", "relative/secret.png", "slash/etc/passwd", "circle"] {
            let error = place.output.read(path, MIB).unwrap_err();
            assert_eq!(error.code(), "path_refused", "{path}: {error}");
        }
        assert_eq!(fs::read_dir(place.outside()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_into_a_hidden_folder_is_refused() {
        let place = Place::new();
        fs::create_dir_all(place.root().join(".git/hooks")).unwrap();
        fs::write(place.root().join(".git/x.png"), art()).unwrap();
        symlink(".git", place.root().join("art")).unwrap();
        for save_to in ["art/knight.png", "art/hooks/", "art/new/x.png"] {
            let error = place.save(save_to, &art()).unwrap_err();
            assert_eq!(error.code(), "path_refused", "{save_to}: {error}");
        }
        assert_eq!(place.output.read("art/x.png", MIB).unwrap_err().code(), "path_refused");
        assert_eq!(place.files(), [".git/x.png", "art"]);
    }

    #[test]
    fn a_link_that_stays_inside_is_followed() {
        let place = Place::new();
        fs::create_dir(place.root().join("real")).unwrap();
        symlink("real", place.root().join("art")).unwrap();
        let saved = place.save("art/knight.png", &art()).unwrap();
        assert_eq!(saved.path, place.root().join("art/knight.png"));
        assert!(place.root().join("real/knight.png").is_file());
    }

    #[test]
    fn a_link_at_the_place_itself_is_a_taken_name() {
        let place = Place::new();
        fs::write(place.outside().join("mine.png"), "mine").unwrap();
        symlink(place.outside().join("mine.png"), place.root().join("a.png")).unwrap();
        symlink(place.outside().join("not-there.png"), place.root().join("b.png")).unwrap();
        for name in ["a.png", "b.png"] {
            let target = place.target(name, 1).unwrap();
            assert!(place.output.would_clobber(&target, &[]).is_some(), "{name}");
            assert_eq!(place.save(name, &art()).unwrap_err().code(), "file_exists", "{name}");
        }
        assert_eq!(fs::read(place.outside().join("mine.png")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(place.outside()).unwrap().count(), 1);
    }

    /// A folder and a link out of the root change places as fast as they can.
    #[test]
    fn a_link_swapped_in_during_writes_lets_nothing_out() {
        let place = Place::new();
        let (art_dir, aside) = (place.root().join("art"), place.root().join("aside"));
        fs::create_dir(&art_dir).unwrap();
        let stop = AtomicBool::new(false);
        let (mut saved, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = fs::rename(&art_dir, &aside);
                    let _ = symlink(place.outside(), &art_dir);
                    std::thread::sleep(Duration::from_micros(50));
                    let _ = fs::remove_file(&art_dir);
                    if fs::rename(&aside, &art_dir).is_err() {
                        // The writer made the folder anew in between.
                        let _ = fs::remove_dir_all(&art_dir);
                        let _ = fs::rename(&aside, &art_dir);
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
            let bytes = art();
            for n in 0..10_000 {
                let name = format!("art/k{n}.png");
                match place.save(&name, &bytes) {
                    Ok(_) => saved += 1,
                    Err(_) => refused += 1,
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(place.outside()).unwrap().count(), 0);
        assert!(saved > 0 && refused > 0, "{saved} saved, {refused} refused");
    }

    #[test]
    fn pipes_and_devices_are_not_read() {
        let place = Place::new();
        let pipe = place.root().join("pipe.png");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(place.output.read("pipe.png", MIB).unwrap_err().code(), "path_refused");
        assert_eq!(place.save("pipe.png", &art()).unwrap_err().code(), "file_exists");
    }

    #[test]
    fn a_folder_that_may_not_be_written_is_named_with_what_to_do() {
        let place = Place::new();
        let locked = place.root().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        let output = if rustix::process::geteuid().is_root() {
            // Nothing is forbidden to root in a folder of its own; the kernel's are different.
            let Ok(dir) = Dir::open_ambient_dir("/sys/kernel", ambient_authority()) else {
                panic!("as root this test needs /sys/kernel: run it as another user");
            };
            let path = PathBuf::from("/sys/kernel");
            OutputDir(Arc::new(Inner { real: path.clone(), path, dir }))
        } else {
            let error = OutputDir::open(&locked).unwrap_err();
            assert_eq!(error.code(), "disk", "{error}");
            OutputDir::open_existing(&locked).unwrap()
        };
        let target =
            output.target(Some(&SaveTo::parse("knight.png").unwrap()), "knight", 1).unwrap();
        for error in [output.check(&target).unwrap_err(), output.begin(&target, MIB).unwrap_err()] {
            assert!(
                matches!(
                    error,
                    FileError::Disk { trouble: DiskTrouble::Denied | DiskTrouble::ReadOnly, .. }
                ),
                "{error}"
            );
            assert!(error.next_step().contains("LAYER_OUTPUT_DIR"));
        }
    }

    #[test]
    fn an_output_folder_behind_a_link_to_the_system_is_refused() {
        let around = tempfile::tempdir().unwrap();
        symlink("/etc", around.path().join("art")).unwrap();
        for path in ["art", "art/layer-mcp-test"] {
            let error = OutputDir::open(&around.path().join(path)).unwrap_err();
            assert_eq!(error.code(), "path_refused", "{path}: {error}");
        }
        assert!(!Path::new("/etc/layer-mcp-test").exists());
    }

    #[test]
    fn a_folder_behind_a_link_is_known_by_both_names() {
        let around = tempfile::tempdir().unwrap();
        fs::create_dir(around.path().join("real")).unwrap();
        symlink("real", around.path().join("link")).unwrap();
        let output = OutputDir::open(&around.path().join("link")).unwrap();
        for (name, count) in [("link", 0), ("real", 1)] {
            let wish = around.path().join(name).canonicalize().unwrap().join(format!("{name}.png"));
            let wish = if count == 0 { around.path().join("link/link.png") } else { wish };
            let save_to = SaveTo::parse(wish.to_str().unwrap()).unwrap();
            let target = output.target(Some(&save_to), "x", 1).unwrap();
            let saved = output.save(&target, 0, &art()).unwrap();
            assert_eq!(saved.path, around.path().join("link").join(format!("{name}.png")));
        }
    }
}
