//! The token: where it comes from, who may see it, and that nobody else does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::support::{Outcome, TestEnv, WRONG_TOKEN, files_below, for_each, picture, with};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A world without a token in its environment.
fn without_token() -> TestEnv {
    let mut env = TestEnv::new();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
    env
}

fn failed(outcome: &Outcome, code: i32, said: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:#?}");
    assert!(outcome.stderr.contains(said), "`{said}` is missing: {outcome:#?}");
}

#[test]
fn without_credentials_each_call_says_how_to_get_them_and_sends_nothing() {
    for_each(&[None, Some(""), Some("  "), Some("${LAYER_API_TOKEN}")], |token| {
        let mut env = TestEnv::new();
        match token {
            Some(token) => env.set("LAYER_API_TOKEN", *token),
            None => env.unset("LAYER_API_TOKEN"),
        };
        for tool in ["create_asset", "quote"] {
            let error = env.call(tool, &picture("a key")).setup_error("credentials_missing");
            let error = error.says("not_charged", false);
            assert!(error.next_step().contains("layer-mcp setup"), "{error:#?}");
            let is_placeholder = token.is_some_and(|token| token.starts_with('$'));
            assert_eq!(error.message().contains("placeholder"), is_placeholder, "{error:#?}");
        }
        let _ = env.call("get_workspace_info", &json!({})).setup_error("credentials_missing");
        assert_eq!(env.requests().len(), 0);
    });
}

#[test]
fn a_server_without_credentials_starts_and_works_once_they_are_there() {
    let env = without_token();
    let mut client = env.client();
    let error = client.error("create_asset", &picture("a door"), "credentials_missing");
    let _ = error.says("not_charged", false);
    let token = env.sandbox().token().to_owned();
    let workspace = env.sandbox().workspace_id().to_owned();
    let setup = env.run_with_input(&["setup", "--yes", "--workspace", &workspace], &token);
    assert_eq!(setup.code, Some(0), "{setup:#?}");
    let job = client.call("create_asset", &with(&picture("a door"), json!({ "wait_seconds": 0 })));
    assert_eq!(job["status"], "running", "{job:#}");
}

#[test]
fn a_token_that_is_none_is_not_sent_anywhere() {
    for token in
        ["sk-ant-api03-1234567890123456789012345678", "pat_short", "pat_with space ........."]
    {
        let mut env = TestEnv::new();
        env.set("LAYER_API_TOKEN", token);
        let outcome = env.call("create_asset", &picture("a lock"));
        let _ = outcome.setup_error("configuration").says("not_charged", false);
        assert!(!outcome.stdout.contains(token), "{outcome:#?}");
        assert!(!outcome.stderr.contains(token), "{outcome:#?}");
        assert_eq!(env.requests().len(), 0);
    }
}

#[test]
fn a_wrong_token_is_reported_and_not_tried_again() {
    let mut env = TestEnv::new();
    env.set("LAYER_API_TOKEN", WRONG_TOKEN);
    let error = env.call("create_asset", &picture("a lock")).error("unauthenticated");
    let error = error.says("not_charged", false);
    assert!(error.next_step().contains("app.layer.ai"), "{error:#?}");
    assert_eq!(env.requests().len(), 1);
}

#[test]
fn setup_takes_the_token_from_a_pipe_a_file_or_the_environment() {
    for_each(&["pipe", "file", "environment"], |source| {
        let mut env = without_token();
        let token = env.sandbox().token().to_owned();
        let workspace = env.sandbox().workspace_id().to_owned();
        let file = env.path("token.txt");
        fs::write(&file, format!("{token}\n")).unwrap();
        let mut arguments = vec!["setup", "--yes", "--workspace", &workspace];
        let outcome = match *source {
            "pipe" => env.run_with_input(&arguments, &format!("{token}\n")),
            "file" => {
                arguments.extend(["--token-file", file.to_str().unwrap()]);
                env.run(&arguments)
            }
            _ => {
                env.set("LAYER_API_TOKEN", token.as_str());
                env.run(&arguments)
            }
        };
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(!outcome.stdout.contains(&token), "{outcome:#?}");
        assert!(!outcome.stderr.contains(&token), "{outcome:#?}");
        env.unset("LAYER_API_TOKEN");

        let secure = env.home().join("secure");
        assert_eq!((mode(&env.home()), mode(&secure)), (0o700, 0o700));
        for name in ["salt.bin", "key.bin", "credentials.enc"] {
            assert_eq!(mode(&secure.join(name)), 0o600, "{name}");
        }
        let _ = env.call("create_asset", &picture("a chest")).complete();
    });
}

#[test]
fn setup_with_a_password_needs_it_again() {
    let mut env = without_token();
    let token = env.sandbox().token().to_owned();
    let workspace = env.sandbox().workspace_id().to_owned();
    env.set("LAYER_MCP_PASSWORD", "correct horse battery staple");
    let arguments = ["setup", "--yes", "--unlock", "password", "--workspace", &workspace];
    let outcome = env.run_with_input(&arguments, &token);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let _ = env.call("get_workspace_info", &json!({})).done();

    env.set("LAYER_MCP_PASSWORD", "incorrect horse battery staple");
    let _ = env.call("get_workspace_info", &json!({})).setup_error("store_auth");
    env.unset("LAYER_MCP_PASSWORD");
    let _ = env.call("get_workspace_info", &json!({})).setup_error("store_locked");
}

#[test]
fn setup_refuses_what_is_unsafe_or_wrong_and_stores_nothing() {
    let env = without_token();
    let token = env.sandbox().token().to_owned();
    let id = env.sandbox().workspace_id().to_owned();
    let named = ["setup", "--yes", "--workspace", &id];

    for arguments in
        [&["setup", "--token", &token][..], &["setup", "--token"], &["setup", "--token=x"]]
    {
        failed(&env.run_with_input(arguments, &token), 2, "never given as a flag");
    }
    failed(&env.run_with_input(&["--sandbox", "setup"], &token), 2, "needs no token");
    failed(&env.run_with_input(&["setup", "--unlock", "magic"], &token), 2, "magic");
    failed(&env.run_with_input(&["setup", "--yes", "--offline"], &token), 2, "--workspace");
    failed(
        &env.run_with_input(
            &["setup", "--yes", "--unlock", "password", "--workspace", &id],
            &token,
        ),
        2,
        "password",
    );
    failed(&env.run_with_input(&named, ""), 3, "No token was given");
    failed(
        &env.run_with_input(&named, "sk-ant-abcdefghijklmnopqrstuvwxyz123456"),
        3,
        "no Layer.ai token",
    );
    failed(&env.run_with_input(&named, WRONG_TOKEN), 3, "does not accept");
    failed(
        &env.run_with_input(&["setup", "--yes", "--workspace", "no-such"], &token),
        3,
        "Sandbox Studio",
    );
    failed(&env.run_with_input(&["setup", "--yes"], &token), 3, "several workspaces");
    env.faults(&["server_error", "read_server_error"]);
    failed(&env.run_with_input(&named, &token), 1, "could not be asked");
    assert!(!env.home().join("secure/credentials.enc").exists());
}

#[test]
fn setup_replaces_a_store_only_when_told_to() {
    let env = TestEnv::with_store();
    let token = env.sandbox().token().to_owned();
    let before = fs::read(env.home().join("secure/credentials.enc")).unwrap();
    failed(&env.run_with_input(&["setup"], &token), 3, "--yes");
    assert_eq!(fs::read(env.home().join("secure/credentials.enc")).unwrap(), before);
}

#[test]
fn a_store_that_others_may_read_is_refused_even_with_a_token_in_the_environment() {
    let files = ["secure/key.bin", "secure/salt.bin", "secure/credentials.enc", "secure"];
    for_each(&files, |name| {
        let mut env = TestEnv::with_store();
        let token = env.sandbox().token().to_owned();
        env.set("LAYER_API_TOKEN", token);
        let path = env.home().join(name);
        let right = mode(&path);
        chmod(&path, right | 0o044);
        let sent = env.requests().len();
        let error = env.call("create_asset", &picture("a vault")).setup_error("store_permissions");
        let error = error.says("not_charged", false);
        assert!(error.next_step().contains("chmod"), "{error:#?}");
        assert_eq!(env.requests().len(), sent, "nothing is sent");

        chmod(&path, right);
        let _ = env.call("get_workspace_info", &json!({})).done();
    });
}

#[test]
fn a_damaged_store_is_refused_even_with_a_token_in_the_environment() {
    for_each(&["key.bin", "salt.bin", "credentials.enc"], |name| {
        for damage in ["missing", "short", "changed"] {
            let mut env = TestEnv::with_store();
            let token = env.sandbox().token().to_owned();
            env.set("LAYER_API_TOKEN", token);
            let path = env.home().join("secure").join(name);
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "missing" => fs::remove_file(&path).unwrap(),
                "short" => fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
                _ => {
                    *bytes.last_mut().unwrap() ^= 1;
                    fs::write(&path, &bytes).unwrap();
                }
            }
            let outcome = env.call("create_asset", &picture("a ruin"));
            let code = outcome.json()["code"].as_str().unwrap().to_owned();
            assert!(code.starts_with("store_"), "{damage}: {outcome:#?}");
            let _ = outcome.setup_error(&code).says("not_charged", false);
            assert_eq!(env.starts(), 0);
        }
    });
}

#[test]
fn the_store_goes_before_the_environment_unless_the_user_says_otherwise() {
    let mut env = TestEnv::with_store();
    env.set("LAYER_API_TOKEN", WRONG_TOKEN);
    let _ = env.call("get_workspace_info", &json!({})).done();
    env.set("LAYER_MCP_CREDENTIALS", "env");
    let _ = env.call("get_workspace_info", &json!({})).error("unauthenticated");
    env.set("LAYER_MCP_CREDENTIALS", "both");
    let _ = env.call("get_workspace_info", &json!({})).setup_error("configuration");
}

#[test]
fn a_stored_token_is_sent_to_no_other_address() {
    let mut env = TestEnv::with_store();
    let other = TestEnv::new();
    env.set("LAYER_API_BASE_URL", other.sandbox().base_url())
        .set("LAYER_CA_BUNDLE", other.sandbox().ca_file());
    let _ = env.call("get_workspace_info", &json!({})).setup_error("configuration");
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn what_lies_in_the_home_is_for_its_owner_alone() {
    let env = TestEnv::new();
    let _ = env.call("create_asset", &picture("a diary")).complete();
    assert_eq!(mode(&env.home()), 0o700);
    for file in files_below(&env.home()) {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700, "{}", file.display());
    }
}

#[test]
fn setup_tries_the_store_as_a_client_would_start_the_server() {
    let mut env = TestEnv::new();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
    let token = env.sandbox().token().to_owned();
    let workspace = env.sandbox().workspace_id().to_owned();
    let setup = ["setup", "--yes", "--workspace", &workspace];
    let stored = env.run_with_input(&setup, &token);
    assert_eq!(stored.code, Some(0), "{stored:#?}");
    assert!(stored.stdout.contains("Tried: a server that a client starts"), "{stored:#?}");
    for said in ["0600", "0700", "Not protected"] {
        assert!(stored.stdout.contains(said), "{said}: {stored:#?}");
    }
    // A password, or a place of the key, that only this terminal knows does not reach a client's
    // server.
    let with_password = [&setup[..], &["--unlock", "password"]].concat();
    env.set("LAYER_MCP_PASSWORD", "a password of this terminal");
    let stored = env.run_with_input(&with_password, &token);
    failed(&stored, 0, "can't open it yet");
    assert!(stored.stderr.contains("config.toml"), "{stored:#?}");
    // A file that the settings name does.
    env.unset("LAYER_MCP_PASSWORD");
    let file = env.path("user/password");
    fs::write(&file, "a password in a file\n").unwrap();
    chmod(&file, 0o600);
    let settings = format!("password_file = \"{}\"\n", file.display());
    fs::write(env.home().join("config.toml"), settings).unwrap();
    let stored = env.run_with_input(&with_password, &token);
    assert_eq!(stored.code, Some(0), "{stored:#?}");
    assert!(stored.stdout.contains("Tried: a server that a client starts"), "{stored:#?}");
    env.set("LAYER_MCP_DEVICE_KEY", env.path("elsewhere/device.key"));
    failed(&env.run_with_input(&setup, &token), 0, "can't open it yet");
}
