//! `layer-mcp doctor`: each thing that is wrong is found, and named with its remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::{Outcome, TestEnv};

fn doctor(env: &TestEnv, more: &[&str]) -> (Outcome, Value) {
    let mut arguments = vec!["doctor", "--json"];
    arguments.extend(more);
    let outcome = env.run(&arguments);
    let shown = outcome.json();
    assert_eq!(shown["passed"], outcome.code == Some(0), "{outcome:#?}");
    (outcome, shown)
}

/// The outcome of one check, and that a failed one has a remedy.
fn outcome_of(shown: &Value, name: &str) -> String {
    let checks = shown["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("{name} is not checked: {shown:#}"));
    let outcome = check["outcome"].as_str().unwrap();
    assert!(outcome != "failed" || check["remedy"] != "", "{check:#}");
    outcome.to_owned()
}

#[test]
fn a_sound_installation_passes_also_online() {
    let env = TestEnv::with_store();
    let before = env.requests().len();
    let (_, shown) = doctor(&env, &[]);
    assert_eq!(shown["passed"], true, "{shown:#}");
    assert_eq!(env.requests().len(), before);
    for name in ["settings", "permissions", "store", "token", "environment", "device-key"] {
        assert_eq!(outcome_of(&shown, name), "ok", "{shown:#}");
    }
    let (_, shown) = doctor(&env, &["--online"]);
    assert_eq!(outcome_of(&shown, "layer"), "ok", "{shown:#}");
    let words = env.run(&["doctor"]);
    assert!(words.stdout.lines().count() >= 9, "{words:#?}");
    assert!(!words.stdout.contains(env.sandbox().token()), "{words:#?}");
}

#[test]
fn each_thing_that_is_wrong_is_found_and_fails() {
    let chmod = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    type Damage = fn(&mut TestEnv);
    let cases: [(&str, Damage); 12] = [
        ("settings", |env| {
            env.set("LAYER_BUDGET_DAY_CU", "much");
        }),
        ("store", |env| fs::remove_file(env.home().join("secure/salt.bin")).unwrap()),
        ("store", |env| fs::remove_dir_all(env.home().join("secure")).unwrap()),
        ("store", |env| {
            let file = env.home().join("secure/credentials.enc");
            let mut bytes = fs::read(&file).unwrap();
            bytes[100] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("gitignore", |env| fs::remove_file(env.home().join(".gitignore")).unwrap()),
        ("device-key", |env| {
            let key = env.home().join("device.key");
            env.set("LAYER_MCP_DEVICE_KEY", key);
        }),
        ("output", |env| {
            env.set("LAYER_OUTPUT_DIR", "/usr");
        }),
        ("network", |env| {
            let none = env.path("no-such-file.pem");
            env.set("LAYER_CA_BUNDLE", none);
        }),
        ("network", |env| {
            let none = env.path("no-such-file.pem");
            env.set("SSL_CERT_FILE", none);
        }),
        ("git", |env| {
            let git = env.path(".git");
            fs::create_dir(&git).unwrap();
            fs::write(git.join("index"), b"DIRC\0home/secure/credentials.enc\0").unwrap();
        }),
        ("git", |env| {
            // A further working tree of a repository.
            fs::write(env.path(".git"), "gitdir: outside/trees/one\n").unwrap();
            let tree = env.path("outside/trees/one");
            fs::create_dir_all(&tree).unwrap();
            fs::write(tree.join("index"), b"DIRC\0home/secure/credentials.enc\0").unwrap();
        }),
        ("clients", |env| {
            let folder = env.path("user/.cursor");
            fs::create_dir_all(&folder).unwrap();
            let token = env.sandbox().token();
            fs::write(folder.join("mcp.json"), format!("{{\"env\": \"{token}\"}}")).unwrap();
        }),
    ];
    for (name, damage) in cases {
        let mut env = TestEnv::with_store();
        damage(&mut env);
        let (outcome, shown) = doctor(&env, &[]);
        assert_eq!(outcome_of(&shown, name), "failed", "{shown:#}");
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert!(!outcome.stdout.contains(env.sandbox().token()), "{outcome:#?}");
    }
    let env = TestEnv::with_store();
    let file = env.home().join("secure/key.bin");
    chmod(&file, 0o644);
    let (_, shown) = doctor(&env, &[]);
    assert_eq!(outcome_of(&shown, "permissions"), "failed", "{shown:#}");
    let (_, shown) = doctor(&env, &["--fix"]);
    assert_eq!(shown["passed"], true, "{shown:#}");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

/// What one check says.
fn message_of(shown: &Value, name: &str) -> String {
    let checks = shown["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name).unwrap();
    check["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_way_out_is_told_without_the_proxy_s_password() {
    let mut env = TestEnv::with_store();
    let (_, shown) = doctor(&env, &[]);
    assert!(message_of(&shown, "network").ends_with("no proxy"), "{shown:#}");
    for name in ["HTTPS_PROXY", "all_proxy", "LAYER_PROXY"] {
        env.set(name, "http://zoe:hunter22@proxy.example:8080");
        let (outcome, shown) = doctor(&env, &[]);
        let said = message_of(&shown, "network");
        assert!(said.contains("through the proxy proxy.example:8080"), "{said}");
        assert!(!outcome.stdout.contains("hunter22"), "{outcome:#?}");
        env.unset(name);
    }
    env.set("HTTPS_PROXY", "zoe:hunter22@proxy.example:8080");
    let (outcome, shown) = doctor(&env, &[]);
    assert!(message_of(&shown, "network").ends_with("through the proxy of `HTTPS_PROXY`"));
    assert!(!outcome.stdout.contains("hunter22"), "{outcome:#?}");
}

#[test]
fn a_project_s_repository_that_keeps_the_project_s_store_is_found() {
    let mut env = TestEnv::with_store();
    env.unset("LAYER_MCP_HOME");
    let token = env.sandbox().token().to_owned();
    let workspace = env.sandbox().workspace_id().to_owned();
    let setup = ["setup", "--project", "--yes", "--workspace", &workspace];
    let stored = env.run_with_input(&setup, &token);
    assert_eq!(stored.code, Some(0), "{stored:#?}");
    let index = env.project().join(".git/index");
    for (listed, outcome) in
        [("src/main.rs", "ok"), (".layer-mcp/secure/credentials.enc", "failed")]
    {
        fs::write(&index, format!("DIRC\0{listed}\0")).unwrap();
        let (_, shown) = doctor(&env, &[]);
        assert_eq!(outcome_of(&shown, "git"), outcome, "{shown:#}");
    }
}

#[test]
fn what_an_earlier_program_left_is_a_warning() {
    let env = TestEnv::with_store();
    for name in ["layer_tokens.enc", ".key"] {
        let file = env.home().join("secure").join(name);
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (_, shown) = doctor(&env, &[]);
    assert_eq!(outcome_of(&shown, "predecessor"), "warning", "{shown:#}");
    assert_eq!(shown["passed"], true, "{shown:#}");
}

#[test]
fn a_repair_follows_no_link_and_changes_nothing_outside() {
    let env = TestEnv::with_store();
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let outside = env.path("outside/notes.txt");
    fs::write(&outside, "mine").unwrap();
    chmod(&outside, 0o644);
    chmod(&env.path("outside"), 0o755);
    std::os::unix::fs::symlink(&outside, env.home().join("link.txt")).unwrap();
    std::os::unix::fs::symlink(env.path("outside"), env.home().join("folder")).unwrap();
    chmod(&env.home(), 0o755);
    let (outcome, _) = doctor(&env, &["--fix"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    // A further name of a file that lies elsewhere is told and left alone.
    fs::hard_link(&outside, env.home().join("hard.txt")).unwrap();
    let (_, shown) = doctor(&env, &["--fix"]);
    assert_eq!(outcome_of(&shown, "permissions"), "failed", "{shown:#}");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(env.home()), 0o700);
    assert_eq!((mode(outside), mode(env.path("outside"))), (0o644, 0o755));
}

#[test]
fn a_token_in_the_environment_beside_a_store_is_a_warning() {
    let mut env = TestEnv::with_store();
    let token = env.sandbox().token().to_owned();
    env.set("LAYER_API_TOKEN", token);
    let (_, shown) = doctor(&env, &[]);
    assert_eq!(
        (outcome_of(&shown, "environment").as_str(), &shown["passed"]),
        ("warning", &true.into())
    );
}

/// What lies behind a link is looked at, and left as it is.
#[test]
fn a_home_behind_a_link_is_looked_at_and_not_changed() {
    let env = TestEnv::with_store();
    let real = env.path("real home");
    fs::rename(env.home(), &real).unwrap();
    std::os::unix::fs::symlink(&real, env.home()).unwrap();
    let open = real.join("journal.db");
    fs::write(&open, "").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    for arguments in [&["doctor"][..], &["doctor", "--fix"]] {
        let looked = env.run(arguments);
        assert_eq!(looked.code, Some(1), "{looked:#?}");
        assert!(looked.stdout.contains("1 open to others"), "{looked:#?}");
        assert_eq!(fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o644);
    }
}

/// What is no file of settings, in its place, neither hangs nor floods.
#[test]
fn settings_that_are_no_file_are_a_problem_at_once() {
    for (what, command) in [("pipe", "mkfifo"), ("device", "ln"), ("huge", "truncate")] {
        let env = TestEnv::with_store();
        let settings = env.home().join("config.toml");
        let mut made = std::process::Command::new(command);
        match command {
            "ln" => made.args(["-s", "/dev/zero"]),
            "truncate" => made.args(["-s", "20G"]),
            _ => &mut made,
        };
        assert!(made.arg(&settings).status().unwrap().success());
        let found = env.run(&["doctor"]);
        assert_eq!(found.code, Some(1), "{what}: {found:#?}");
        assert!(found.stdout.contains("can't be read: it is"), "{what}: {found:#?}");
    }
}

#[test]
fn a_device_key_s_folder_that_others_can_write_to_is_found_and_mended() {
    let env = TestEnv::with_store();
    let folder = env.path("user/.local/share/layer-mcp");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let found = env.run(&["doctor"]);
    assert!(found.stdout.contains("1 open to others"), "{found:#?}");
    let mended = env.run(&["doctor", "--fix"]);
    assert_eq!(mended.code, Some(0), "{mended:#?}");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_token_of_the_environment_that_can_be_none_fails() {
    let env = TestEnv::with_token("https://api.app.layer.ai/?token=x");
    let found = env.run(&["doctor"]);
    assert_eq!(found.code, Some(1), "{found:#?}");
    assert!(found.stdout.contains("is no Layer.ai token"), "{found:#?}");
}

#[test]
fn clients_that_start_this_program_are_named_and_so_is_one_that_starts_nothing() {
    let mut env = TestEnv::with_store();
    let (_, shown) = doctor(&env, &[]);
    assert!(message_of(&shown, "clients").starts_with("none connected"), "{shown:#}");
    for client in ["cursor", "codex"] {
        assert_eq!(env.run(&["connect", client]).code, Some(0));
    }
    let (_, shown) = doctor(&env, &[]);
    assert!(message_of(&shown, "clients").starts_with("Cursor, Codex connected"), "{shown:#}");
    env.set("CODEX_HOME", env.path("user/elsewhere"));
    let (_, shown) = doctor(&env, &[]);
    assert!(message_of(&shown, "clients").starts_with("Cursor connected"), "{shown:#}");
    let file = env.path("user/.cursor/mcp.json");
    fs::write(&file, r#"{"mcpServers": {"art": {"command": "/gone/layer-mcp"}}}"#).unwrap();
    let (outcome, shown) = doctor(&env, &[]);
    assert_eq!(outcome_of(&shown, "clients"), "warning", "{shown:#}");
    assert!(outcome.stdout.contains("layer-mcp connect cursor"), "{outcome:#?}");
}
