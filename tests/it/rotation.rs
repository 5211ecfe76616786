//! What becomes of a stored token: `credentials status`, `rotate`, `password` and `remove`.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Outcome, Running, TestEnv, WRONG_TOKEN, for_each};

const OTHER_TOKEN: &str = "pat_OtherOtherOtherOtherOtherOtherOther0";
const PASSWORD: &str = "a long enough password";

fn status(env: &TestEnv) -> Value {
    let outcome = env.run(&["credentials", "status", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    outcome.json()
}

fn refused(outcome: &Outcome, code: i32, said: &str) {
    refused_with(outcome, code, said);
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
}

#[test]
fn the_status_tells_all_but_the_token() {
    let env = TestEnv::with_store();
    let shown = status(&env);
    assert_eq!(shown["workspace_id"], env.sandbox().workspace_id());
    assert_eq!(shown["unlock"], "device");
    assert_eq!(shown["iterations"], 100_000);
    assert_eq!((&shown["age_days"], &shown["rotation_due"]), (&json!(0), &json!(false)));
    let hint: String = env.sandbox().token().chars().take(8).collect();
    assert_eq!(shown["token"], format!("{hint}…"));
    let words = env.run(&["credentials", "status", "--fail-if-older", "90"]);
    assert_eq!(words.code, Some(0), "{words:#?}");
    assert!(words.stdout.contains("today"), "{words:#?}");
    for text in [shown.to_string(), words.stdout, words.stderr] {
        assert!(!text.contains(env.sandbox().token()), "{text}");
    }
    let nothing = TestEnv::new();
    refused(&nothing.run(&["credentials", "status"]), 3, "no stored credentials");
}

#[test]
fn profiles_lie_side_by_side_and_none_stands_in_for_another() {
    let mut env = TestEnv::with_store();
    let setup = ["--profile", "staging", "setup", "--yes", "--offline", "--workspace", "w-staging"];
    let stored = env.run_with_input(&setup, OTHER_TOKEN);
    assert_eq!(stored.code, Some(0), "{stored:#?}");
    let staging = env.run(&["--profile", "staging", "credentials", "status", "--json"]).json();
    assert_eq!(
        (&staging["profile"], &staging["workspace_id"]),
        (&json!("staging"), &json!("w-staging"))
    );
    assert_eq!(status(&env)["workspace_id"], env.sandbox().workspace_id());
    let _ = env.call("get_workspace_info", &json!({})).done();
    env.set("LAYER_MCP_PROFILE", "staging");
    let _ = env.call("get_workspace_info", &json!({})).setup_error("unauthenticated");
    // A name that can't be one does not lead to the usual store.
    for name in ["../x", "..", "a b", "CON"] {
        for command in [&["status"][..], &["remove", "--yes"], &["password", "--remove"]] {
            let arguments = [&["--profile", name, "credentials"], command].concat();
            refused(&env.run(&arguments), 3, "LAYER_MCP_PROFILE");
        }
    }
    assert_eq!(status(&env)["workspace_id"], "w-staging");
    // A profile that is not there is an error, also with a good token in the environment.
    let token = env.sandbox().token().to_owned();
    env.set("LAYER_API_TOKEN", token);
    env.set("LAYER_MCP_PROFILE", "stagign");
    let error = env.call("get_workspace_info", &json!({})).setup_error("credentials_missing");
    assert!(error.next_step().contains("--profile stagign setup"), "{error:#?}");
    for name in ["../other", "UPPER", "-x", "a/b", "."] {
        env.set("LAYER_MCP_PROFILE", name);
        let _ = env.call("get_workspace_info", &json!({})).setup_error("configuration");
    }
    // Its own settings go before the home's.
    let folder = env.home().join("profiles/staging");
    fs::write(env.home().join("config.toml"), "confirm_above_cu = 1.0\n").unwrap();
    fs::write(folder.join("config.toml"), "api_base_url = \"https://127.0.0.1:9\"\n").unwrap();
    env.unset("LAYER_API_BASE_URL").set("LAYER_MCP_PROFILE", "staging");
    let error = env.call("get_workspace_info", &json!({})).setup_error("configuration");
    assert!(error.message().contains("127.0.0.1:9"), "{error:#?}");
}

#[test]
fn an_old_token_is_said_in_the_log_once_and_in_the_status() {
    use layer_mcp::credentials::{ApiToken, AuditKey, CredentialStore, Credentials, NewUnlock};

    let mut env = TestEnv::with_store();
    let key = env.path("own/device.key");
    env.set("LAYER_MCP_DEVICE_KEY", &key);
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 91);
    let credentials = Credentials::new(
        ApiToken::parse(env.sandbox().token()).unwrap(),
        env.sandbox().workspace_id(),
        &env.sandbox().base_url().parse().unwrap(),
        old,
        AuditKey::generate().unwrap(),
    )
    .unwrap();
    CredentialStore::new(env.home().join("secure"))
        .save(&credentials, &NewUnlock::Device(key))
        .unwrap();
    let mut client = env.client();
    for _ in 0..2 {
        let _ = client.call("get_workspace_info", &json!({}));
    }
    let log = fs::read_to_string(env.home().join("logs/layer-mcp.log")).unwrap();
    assert_eq!(log.matches("90 or more days ago").count(), 1, "{log}");
    let shown = env.run(&["credentials", "status", "--fail-if-older", "90"]);
    refused_with(&shown, 1, "90 or more days ago");
    assert!(env.run(&["doctor"]).stdout.contains("90 or more days ago"));
    assert_eq!(status(&env)["rotation_due"], true);
}

fn refused_with(outcome: &Outcome, code: i32, said: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:#?}");
    assert!(outcome.stderr.contains(said), "`{said}` is missing: {outcome:#?}");
}

#[test]
fn a_rotation_keeps_the_old_token_until_the_new_one_is_known_to_work() {
    let env = TestEnv::with_store();
    let before = status(&env);
    let rotate = ["credentials", "rotate", "--yes"];
    refused(&env.run_with_input(&rotate, WRONG_TOKEN), 3, "does not accept");
    refused(&env.run_with_input(&rotate, env.sandbox().token()), 3, "stored already");
    refused(&env.run_with_input(&rotate, "lp_live_0123456789.0123456789abcdef"), 3, "no Layer.ai");
    refused(&env.run_with_input(&rotate, ""), 3, "No token was given");
    assert_eq!(status(&env), before);
    let _ = env.call("get_workspace_info", &json!({})).done();

    let done = env.run_with_input(&["credentials", "rotate", "--yes", "--offline"], OTHER_TOKEN);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.stdout.contains("Revoke the old one"), "{done:#?}");
    assert!(!done.stdout.contains(OTHER_TOKEN), "{done:#?}");
    let after = status(&env);
    assert_eq!(after["token"], "pat_Othe…");
    assert_eq!(after["workspace_id"], before["workspace_id"]);
    let _ = env.call("get_workspace_info", &json!({})).error("unauthenticated");
    // And back, with the call that proves it.
    let token = env.sandbox().token().to_owned();
    let back = env.run_with_input(&rotate, &token);
    assert_eq!(back.code, Some(0), "{back:#?}");
    let _ = env.call("get_workspace_info", &json!({})).done();
}

#[test]
fn a_password_locks_the_store_and_is_taken_off_again() {
    let mut env = TestEnv::with_store();
    refused(&env.run_with_input(&["credentials", "password"], "short"), 2, "needs at least 12");
    let set = env.run_with_input(&["credentials", "password"], &format!("{PASSWORD}\n"));
    assert_eq!(set.code, Some(0), "{set:#?}");
    let _ = env.call("get_workspace_info", &json!({})).setup_error("store_locked");
    env.set("LAYER_MCP_PASSWORD", "another long password");
    refused(&env.run(&["credentials", "status"]), 3, "wrong password");
    env.set("LAYER_MCP_PASSWORD", PASSWORD);
    let shown = status(&env);
    assert_eq!((&shown["unlock"], &shown["iterations"]), (&json!("password"), &json!(600_000)));
    // A new token under the same password.
    let rotated = env.run_with_input(&["credentials", "rotate", "--offline"], OTHER_TOKEN);
    assert_eq!(rotated.code, Some(0), "{rotated:#?}");
    assert_eq!(status(&env)["unlock"], "password");
    let dropped = env.run(&["credentials", "password", "--remove"]);
    assert_eq!(dropped.code, Some(0), "{dropped:#?}");
    env.unset("LAYER_MCP_PASSWORD");
    assert_eq!(status(&env)["unlock"], "device");
    assert_eq!(status(&env)["token"], "pat_Othe…");
}

#[test]
fn a_file_with_the_token_is_named_when_it_is_not_needed_any_more() {
    let env = TestEnv::with_store();
    let file = env.path("token.txt");
    fs::write(&file, OTHER_TOKEN).unwrap();
    let path = file.to_str().unwrap();
    let rotated = env.run(&["credentials", "rotate", "--offline", "--token-file", path]);
    assert_eq!(rotated.code, Some(0), "{rotated:#?}");
    assert!(rotated.stderr.contains("delete that file"), "{rotated:#?}");
}

/// Whoever says that it worked is believed, so no change may be lost to another.
#[test]
fn of_two_changes_at_the_same_moment_none_is_lost() {
    for_each(&[1, 2, 3, 4], |_| {
        let mut env = TestEnv::with_store();
        let rotate = env.command(&["credentials", "rotate", "--offline"]);
        let lock = env.command(&["credentials", "password"]);
        let rotating = Running::start_with_input(rotate, OTHER_TOKEN);
        let locking = Running::start_with_input(lock, PASSWORD);
        let (rotated, locked) = (rotating.finish(), locking.finish());
        let ok = |outcome: &Outcome| outcome.code == Some(0);
        assert!(ok(&rotated) || ok(&locked), "{rotated:#?}\n{locked:#?}");
        env.set("LAYER_MCP_PASSWORD", PASSWORD);
        let shown = status(&env);
        assert_eq!(shown["token"] == "pat_Othe…", ok(&rotated), "{rotated:#?}\n{shown:#}");
        assert_eq!(shown["unlock"] == "password", ok(&locked), "{locked:#?}\n{shown:#}");
    });
}

#[test]
fn what_is_removed_is_gone_and_asked_about_first() {
    let env = TestEnv::with_store();
    refused(&env.run(&["credentials", "remove"]), 3, "Nothing was erased");
    let _ = env.call("get_workspace_info", &json!({})).done();
    let done = env.run(&["credentials", "remove", "--yes"]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    for name in ["salt.bin", "key.bin", "credentials.enc"] {
        assert!(fs::symlink_metadata(env.home().join("secure").join(name)).is_err(), "{name}");
    }
    let _ = env.call("get_workspace_info", &json!({})).setup_error("credentials_missing");
    let again = env.run(&["credentials", "remove", "--yes", "--device-key"]);
    assert_eq!((again.code, again.stdout.contains("Erased")), (Some(0), true), "{again:#?}");
    let none = env.run(&["credentials", "remove", "--yes", "--device-key"]);
    assert!(none.stdout.contains("nothing to erase"), "{none:#?}");
}

#[test]
fn what_is_piped_in_and_can_not_be_a_token_leads_to_no_other() {
    let mut env = TestEnv::with_store();
    env.set("LAYER_API_TOKEN", OTHER_TOKEN);
    let before = status(&env);
    let long = "x".repeat(100_000);
    let outcome = env.run_with_input(&["credentials", "rotate", "--offline", "--yes"], &long);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:#?}");
    let outcome =
        env.run(&["credentials", "rotate", "--offline", "--yes", "--token-file", "/dev/zero"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:#?}");
    assert_eq!(status(&env), before);
}
