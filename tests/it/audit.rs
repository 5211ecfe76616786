//! The audit trail, as `layer-mcp audit` shows and verifies it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{TestEnv, files_below, picture};

fn events(env: &TestEnv, more: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["audit", "--json"];
    arguments.extend(more);
    let outcome = env.run(&arguments);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    outcome.json().as_array().unwrap().clone()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// The files of the trail.
fn trail(env: &TestEnv) -> Vec<PathBuf> {
    let mut files = files_below(&env.home().join("audit"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    assert_ne!(files, Vec::<PathBuf>::new());
    files
}

#[test]
fn a_purchase_leaves_its_whole_way_in_the_trail() {
    let env = TestEnv::with_store();
    let prompt = "a canaryword on a branch";
    let job = env.call("create_asset", &picture(prompt)).complete();
    let all = events(&env, &["--job", job.id()]);
    assert_eq!(
        names(&all),
        ["purchase.request", "purchase.started", "purchase.complete", "file.write"]
    );
    assert_eq!(all[0]["cu"], all[2]["cu"]);
    assert_eq!(all[3]["sha256"], job.0["files"][0]["sha256"]);
    let calls = events(&env, &["--event", "api."]);
    let start = calls.iter().find(|call| call["method"] == "POST" && call["status"] == 200);
    let start = start.or(calls.iter().find(|call| call["method"] == "POST")).unwrap();
    assert!(start["route"].as_str().unwrap().starts_with("/api/v1/workspaces/{id}/inferences"));
    assert!(start["ms"].is_u64() && start["bytes_out"].as_u64() > Some(10), "{start:#}");
    assert!(names(&events(&env, &["--event", "auth"])).contains(&"auth.unlock"));
    assert_eq!(events(&env, &["--since", "2999-01-01"]), Vec::<Value>::new());
    assert_eq!(events(&env, &["--limit", "2"]).len(), 2);
    // Once the store is open, lines are sealed.
    assert!(all.iter().all(|line| line["mac"].is_string()), "{all:#?}");
    for file in trail(&env) {
        let text = fs::read_to_string(file).unwrap();
        for secret in ["canaryword", env.sandbox().token(), env.sandbox().workspace_id()] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[test]
fn errors_and_refusals_are_in_the_trail() {
    let mut env = TestEnv::new();
    let _ = env.call("view_asset", &json!({ "image": "../../etc/passwd" })).error("path_refused");
    env.set("LAYER_BUDGET_RUN_CU", "0.001");
    let _ = env.call("create_asset", &picture("a palace")).error("budget");
    env.set("LAYER_API_TOKEN", crate::support::WRONG_TOKEN);
    let _ = env.call("get_workspace_info", &json!({})).setup_error("unauthenticated");
    let all = events(&env, &[]);
    for name in ["security.path_refused", "security.budget_stop", "auth.use", "auth.fail"] {
        assert!(names(&all).contains(&name), "{name}: {all:#?}");
    }
    assert!(all.iter().any(|line| line["code"] == "unauthenticated"), "{all:#?}");
    assert!(!names(&all).contains(&"purchase.request"), "{all:#?}");
}

#[test]
fn an_edited_removed_or_moved_line_is_found() {
    let env = TestEnv::with_store();
    let _ = env.call("create_asset", &picture("a boat")).complete();
    let whole = env.run(&["audit", "--verify"]);
    assert_eq!(whole.code, Some(0), "{whole:#?}");
    assert!(whole.stdout.contains("Whole"), "{whole:#?}");
    let file = trail(&env).pop().unwrap();
    let good = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let edited = good.replacen("\"method\":\"GET\"", "\"method\":\"PUT\"", 1);
    let removed = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let swapped = swapped.join("\n") + "\n";
    for changed in [edited, removed, cut, swapped] {
        assert_ne!(changed, good);
        fs::write(&file, changed).unwrap();
        let outcome = env.run(&["audit", "--verify", "--json"]);
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert_eq!(outcome.json()["whole"], false);
    }
    // Looking leaves no line, so the trail is whole again.
    fs::write(&file, &good).unwrap();
    assert_eq!(env.run(&["audit", "--verify"]).code, Some(0));
    fs::write(&file, good.replacen("\"method\":\"GET\"", "\"method\":\"PUT\"", 1)).unwrap();
    let doctor = env.run(&["doctor"]);
    assert_eq!(doctor.code, Some(1), "{doctor:#?}");
    assert!(doctor.stdout.contains("audit --verify"), "{doctor:#?}");
}

#[test]
fn without_a_trail_nothing_is_bought_and_reads_go_on() {
    let env = TestEnv::new();
    fs::create_dir_all(env.home()).unwrap();
    fs::write(env.home().join("audit"), "not a folder").unwrap();
    let mut client = env.client();
    for _ in 0..2 {
        let error = client.error("create_asset", &picture("a bridge"), "audit");
        let _ = error.says("not_charged", true);
    }
    assert_eq!(env.starts(), 0);
    let _ = client.call("get_workspace_info", &json!({}));
    let log = fs::read_to_string(env.home().join("logs/layer-mcp.log")).unwrap();
    assert_eq!(log.matches("nothing is bought until it can be").count(), 1, "{log}");
    // And once it can be written again, the same call buys.
    fs::remove_file(env.home().join("audit")).unwrap();
    let _ = client.call("create_asset", &picture("a bridge"));
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_retention_that_can_not_be_read_is_a_problem() {
    let mut env = TestEnv::new();
    env.set("LAYER_AUDIT_DAYS", "0");
    let _ = env.call("get_workspace_info", &json!({})).setup_error("configuration");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_the_trail_hangs_nothing_and_stops_purchases() {
    for name in ["head", "today"] {
        let env = TestEnv::with_store();
        let folder = env.home().join("audit");
        let day = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let day = day.into_iter().find(|path| path.extension().is_some_and(|e| e == "jsonl"));
        let place = if name == "head" { folder.join("head") } else { day.unwrap() };
        std::fs::remove_file(&place).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&place).status().unwrap();
        assert!(made.success());
        let _ = env.call("create_asset", &picture("a pipe")).error("audit");
        let _ = env.call("get_workspace_info", &json!({})).done();
        assert_eq!(env.starts(), 0);
    }
}
