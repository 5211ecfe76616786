//! Where files may go, and what becomes of those that can't: nothing outside the output folder,
//! nothing replaced, nothing half written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use layer_mcp::sandbox::HostKind;
use serde_json::json;

use crate::support::{Running, TestEnv, files_below, for_each, picture, skipped, with};

/// Places that nothing is ever written to.
const FORBIDDEN: &[&str] = &[
    "",
    "   ",
    "../x.png",
    "art/../../x.png",
    "art/../x.png",
    "..\\x.png",
    "/etc/x.png",
    "/x.png",
    "\\\\server\\share\\x.png",
    "C:\\x.png",
    "C:x.png",
    "~/x.png",
    ".git/x.png",
    ".git/hooks/post-checkout",
    "art/.hidden/x.png",
    ".env",
    "CON.png",
    "art/nul",
    "com1.txt.png",
    "GIT~1/x.png",
    "-rf.png",
    "x.png.",
    "x.png ",
    "a\u{0}b.png",
    "a\nb.png",
    "a\u{1b}[31m.png",
    "a\u{202e}gnp.png",
    "what?.png",
    "a:b.png",
    "a|b.png",
];

#[test]
fn a_forbidden_place_is_refused_before_anything_is_sent() {
    for_each(&FORBIDDEN.chunks(8).collect::<Vec<_>>(), |places| {
        let env = TestEnv::new();
        for place in *places {
            let call = with(&picture("a thief"), json!({ "save_to": place }));
            let error = env.call("create_asset", &call).error("path_refused");
            let error = error.says("not_charged", false);
            assert!(!error.message().contains(char::is_control), "{error:#?}");
        }
        assert_eq!(env.requests().len(), 0);
        assert_eq!(env.project_files(), [""; 0]);
    });
}

#[test]
fn a_place_that_is_too_long_is_refused() {
    let env = TestEnv::new();
    for place in [format!("{}.png", "a".repeat(300)), "a/".repeat(600)] {
        let call = with(&picture("a worm"), json!({ "save_to": place }));
        let _ = env.call("create_asset", &call).error("path_refused").says("not_charged", false);
    }
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_link_that_leads_out_is_not_followed() {
    let env = TestEnv::new();
    symlink(env.path("outside"), env.project().join("out")).unwrap();
    symlink(env.path("nowhere"), env.project().join("dangling")).unwrap();
    symlink(env.project().join(".git"), env.project().join("repository")).unwrap();
    symlink("round", env.project().join("round")).unwrap();
    for place in ["out/x.png", "out/", "dangling/x.png", "repository/x.png", "round/x.png"] {
        let call = with(&picture("a burglar"), json!({ "save_to": place }));
        let _ = env.call("create_asset", &call).error("path_refused").says("not_charged", false);
    }
    assert_eq!(env.starts(), 0);
    assert_eq!(files_below(&env.path("outside")), Vec::<PathBuf>::new());
    assert_eq!(files_below(&env.project().join(".git")), Vec::<PathBuf>::new());
}

#[test]
fn a_link_put_there_while_the_run_goes_on_is_not_followed() {
    let env = TestEnv::with(&["straggler"]);
    let call = with(&picture("a spy"), json!({ "save_to": "art/x.png", "wait_seconds": 0 }));
    let job = env.call("create_asset", &call).running();
    symlink(env.path("outside"), env.project().join("art")).unwrap();
    let look = json!({ "job_id": job.id() });
    let _ = env.call("get_job", &look).error("path_refused").says("charged", true);
    assert_eq!(files_below(&env.path("outside")), Vec::<PathBuf>::new());

    fs::remove_file(env.project().join("art")).unwrap();
    let job = env.call("get_job", &look).complete();
    assert_eq!(job.path(), env.project().join("art/x.png"));
    assert_eq!(env.starts(), 1);
}

#[test]
fn an_existing_file_is_never_replaced() {
    let env = TestEnv::new();
    let project = env.project();
    fs::write(project.join("mine.png"), "mine").unwrap();
    fs::create_dir(project.join("folder.png")).unwrap();
    symlink(env.path("nowhere"), project.join("link.png")).unwrap();
    // The type that comes decides the extension, so `mine.webp` would become `mine.png`.
    for place in ["mine.png", "./mine.png", "mine.webp", "folder.png", "link.png"] {
        let call = with(&picture("a copy"), json!({ "save_to": place }));
        let _ = env.call("create_asset", &call).error("file_exists").says("not_charged", false);
    }
    assert_eq!(env.starts(), 0);
    assert_eq!(fs::read_to_string(project.join("mine.png")).unwrap(), "mine");
    assert!(!env.path("nowhere").exists());
}

#[test]
fn a_file_that_appears_while_the_run_goes_on_is_not_replaced_either() {
    let env = TestEnv::with(&["straggler"]);
    let call = with(&picture("a twin"), json!({ "save_to": "twin.png", "wait_seconds": 0 }));
    let job = env.call("create_asset", &call).running();
    let mine = env.project().join("twin.png");
    fs::write(&mine, "mine").unwrap();
    let job = env.call("get_job", &json!({ "job_id": job.id() })).complete();
    assert_ne!(job.path(), mine);
    assert!(job.0["adjusted"].to_string().contains("twin.png"), "{job:#?}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn files_go_where_they_are_wanted() {
    let env = TestEnv::new();
    let inside = env.project().join("deep/inside.png").to_str().unwrap().to_owned();
    let cases = [
        ("knight.png", "knight.png"),
        ("art/knights/blue.png", "art/knights/blue.png"),
        ("./dotted.png", "dotted.png"),
        ("back\\slash.png", "back/slash.png"),
        (inside.as_str(), "deep/inside.png"),
        // The bytes decide the ending.
        ("photo.jpg", "photo.png"),
        ("unicode-ümlaut.png", "unicode-ümlaut.png"),
        // A folder: the name comes from the prompt.
        ("sprites/", "sprites/where-to-7.png"),
    ];
    let numbered: Vec<_> = cases.iter().enumerate().collect();
    for_each(&numbered, |(number, (place, path))| {
        let call = with(&picture(&format!("Where to? {number}")), json!({ "save_to": place }));
        let job = env.call("create_asset", &call).complete();
        assert_eq!(job.path(), env.project().join(path));
    });
    assert_eq!(env.starts(), cases.len());
}

#[test]
fn an_output_folder_that_can_not_be_written_is_found_out_before_the_purchase() {
    let mut env = TestEnv::new();
    fs::write(env.path("a file"), "").unwrap();
    let cases = [
        (env.path("a file").join("below"), "path_refused"),
        (env.path("a file"), "path_refused"),
        (env.path("missing/parent"), "disk"),
        ("/".into(), "path_refused"),
        ("/etc".into(), "path_refused"),
        ("/proc/self/fdinfo".into(), "path_refused"),
        (env.project().join(".git"), "path_refused"),
        (env.home().join("assets"), "disk"),
    ];
    for (folder, code) in cases {
        env.set("LAYER_OUTPUT_DIR", &folder);
        let outcome = env.call("create_asset", &picture("a castle"));
        let answer = outcome.json();
        assert_eq!(answer["code"], code, "{}: {answer:#}", folder.display());
        let _ = outcome.error(code).says("not_charged", false);
    }
    assert_eq!(env.starts(), 0);
    assert_eq!(env.requests().len(), 0);
}

#[test]
fn a_file_in_the_way_of_a_folder_is_found_out_before_the_purchase() {
    let env = TestEnv::new();
    fs::write(env.project().join("art"), "a file").unwrap();
    let call = with(&picture("a wall"), json!({ "save_to": "art/wall.png" }));
    let _ = env.call("create_asset", &call).error("path_refused").says("not_charged", false);
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_read_only_disk_is_found_out_before_the_purchase() {
    let mut env = TestEnv::new();
    let Some(disk) = Disk::mount(&env.path("read-only"), "ro,size=1m") else { return };
    env.set("LAYER_OUTPUT_DIR", &disk.0);
    let error = env.call("create_asset", &picture("a stone")).error("disk");
    let error = error.says("not_charged", false);
    assert!(error.message().contains("read-only"), "{error:#?}");
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_full_disk_loses_no_paid_file() {
    let mut env = TestEnv::new();
    let Some(disk) = Disk::mount(&env.path("small"), "size=64k") else { return };
    env.set("LAYER_OUTPUT_DIR", &disk.0);
    let large = json!({ "prompt": "a mountain", "width": 1024, "height": 1024 });
    let error = env.call("create_asset", &large).error("disk");
    assert!(error.message().contains("full"), "{error:#?}");
    assert_eq!(files_below(&disk.0), Vec::<PathBuf>::new());
    if error.0["money"] == "charged" {
        assert_eq!(env.starts(), 1);
        disk.grow("size=8m");
        let look = json!({ "job_id": error.says("charged", true).job_id() });
        let _ = env.call("get_job", &look).complete();
        assert_eq!(env.starts(), 1);
    } else {
        assert_eq!(env.starts(), 0);
    }
}

#[test]
fn a_quota_that_is_used_up_loses_no_paid_file() {
    let env = TestEnv::new();
    // A limit on the size of files, in blocks of 512 bytes, is a quota that needs no
    // administrator. The journal fits, the picture does not.
    let script = "trap '' XFSZ; ulimit -f 500; exec \"$0\" \"$@\"";
    let large =
        json!({ "prompt": "an ocean of colours", "width": 2048, "height": 2048, "seed": 5 });
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_layer-mcp")]);
    let command = env.dressed(command, &["call", "create_asset", &large.to_string()]);
    let error = Running::start(command).finish().error("disk").says("charged", true);
    assert_eq!(env.project_files(), [""; 0]);
    let job = env.call("get_job", &json!({ "job_id": error.job_id() })).complete();
    assert!(job.0["files"][0]["bytes"].as_u64().unwrap() > 256_000, "{job:#?}");
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_journal_that_can_not_be_written_buys_nothing() {
    let mut env = TestEnv::new();
    fs::write(env.path("no folder"), "").unwrap();
    let below = env.path("no folder").join("home");
    env.set("LAYER_MCP_HOME", below);
    let outcome = env.call("create_asset", &picture("a book"));
    assert_ne!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(outcome.json()["money"], "not_charged", "{outcome:#?}");
    assert_eq!(env.starts(), 0);

    let env = TestEnv::new();
    fs::create_dir(env.home()).unwrap();
    fs::write(env.home().join("journal.db"), "this is no journal ".repeat(500)).unwrap();
    let _ = env.call("create_asset", &picture("a book")).error("journal").says("not_charged", true);
    assert_eq!(env.starts(), 0);
    let _ = env.call("list_jobs", &json!({})).error("journal");
    assert_eq!(env.arrived_at(HostKind::Media), 0);
}

#[test]
fn what_a_killed_process_left_behind_is_removed_another_day() {
    let env = TestEnv::new();
    fs::create_dir(env.project().join("assets")).unwrap();
    let days_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
    let part = |name: &str, written: SystemTime| {
        let path = env.project().join("assets").join(name);
        fs::write(&path, "half of a file").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        path
    };
    let left = part(".layer-mcp-0123456789abcdef.part", days_ago);
    let under_way = part(".layer-mcp-fedcba9876543210.part", SystemTime::now());
    let not_ours = part(".notes.part", days_ago);
    let _ = env.call("create_asset", &picture("a broom")).complete();
    assert_eq!([left, under_way, not_ours].map(|path| path.exists()), [false, true, true]);
}

/// A small disk of its own, for as long as the test lasts.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said aloud, where disks can't be mounted.
    fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("a full and a read-only disk: this user may not mount any");
        None
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,{size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
