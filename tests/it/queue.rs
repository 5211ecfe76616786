//! Starts wait their turn, and whoever waits is told so.

use serde_json::json;

use crate::support::{TestEnv, picture, wait_until, with};

fn at_once(prompt: &str) -> serde_json::Value {
    with(&picture(prompt), json!({ "wait_seconds": 0 }))
}

#[test]
fn more_starts_than_the_rate_allows_wait_in_a_queue() {
    let mut env = TestEnv::new();
    env.set("LAYER_STARTS_PER_MINUTE", "2");
    let mut client = env.client();
    for prompt in ["one", "two"] {
        client.call("create_asset", &at_once(prompt));
    }
    let third = client.call("create_asset", &at_once("three"));
    let fourth = client.call("create_asset", &at_once("four"));
    for (job, place) in [(&third, "place 1 in the queue"), (&fourth, "place 2 in the queue")] {
        assert_eq!(job["status"], "running", "{job:#}");
        assert!(job["message"].as_str().unwrap().contains(place), "{job:#}");
    }
    // Another process stands behind them.
    let mut other = env.client();
    let fifth = other.call("create_asset", &at_once("five"));
    assert!(fifth["message"].as_str().unwrap().contains("place 3 in the queue"), "{fifth:#}");
    assert_eq!(env.starts(), 2);

    // Whoever leaves the queue pays nothing, and the next moves up.
    let left = client.call("cancel_job", &json!({ "job_id": third["job_id"] }));
    assert_eq!(
        (&left["stopped"], &left["money"]),
        (&json!(true), &json!("not_charged")),
        "{left:#}"
    );
    assert_eq!(left["status"], "cancelled");
    let gone = env.call("get_job", &json!({ "job_id": third["job_id"] })).error("run_cancelled");
    let _ = gone.says("not_charged", true);
    let look = json!({ "job_id": fourth["job_id"], "wait_seconds": 0 });
    let fourth = client.call("get_job", &look);
    assert!(fourth["message"].as_str().unwrap().contains("place 1 in the queue"), "{fourth:#}");

    // The end of the process takes its part of the queue with it; nothing is sent afterwards.
    client.leave();
    other.leave();
    let jobs = env.call("list_jobs", &json!({ "status": "failed" })).done();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2, "{jobs:#}");
    assert_eq!(env.starts(), 2);
    let spent = 500.0 - env.balance();
    assert!((0.0..=4.0).contains(&spent), "{spent}");
}

#[test]
fn the_next_start_leaves_when_a_run_has_ended() {
    let mut env = TestEnv::new();
    env.set("LAYER_RUNS_AT_ONCE", "1");
    let mut client = env.client();
    client.call("create_asset", &at_once("first"));
    let second = client.call("create_asset", &at_once("second"));
    assert!(second["message"].as_str().unwrap().contains("in the queue"), "{second:#}");
    let done = client.call("get_job", &json!({ "job_id": second["job_id"] }));
    assert_eq!(done["status"], "complete", "{done:#}");
    assert_eq!(env.starts(), 2);
}

#[test]
fn the_same_call_finds_its_job_in_the_queue() {
    let mut env = TestEnv::new();
    env.set("LAYER_STARTS_PER_MINUTE", "1");
    let mut client = env.client();
    client.call("create_asset", &at_once("one"));
    let waits = client.call("create_asset", &at_once("two"));
    let again = client.call("create_asset", &at_once("two"));
    assert_eq!(again["job_id"], waits["job_id"]);
    assert_eq!(again["purchase"], "same_job_taken_up");
    let elsewhere = env.call("create_asset", &at_once("two")).running();
    assert_eq!(elsewhere.id(), waits["job_id"]);
    assert_eq!(env.starts(), 1);
}

#[test]
fn two_hundred_jobs_of_two_processes_all_get_their_turn() {
    let env = TestEnv::hasty();
    let mut clients = [env.client(), env.client()];
    // All at the same moment, so that they are written down in another order than they come.
    for (number, client) in clients.iter_mut().enumerate() {
        for picture in 0..100 {
            client.ask("create_asset", &at_once(&format!("stone {number} {picture}")));
        }
    }
    for client in &mut clients {
        for _ in 0..100 {
            let (job, is_error) = client.any_result();
            assert!(!is_error, "{job:#}");
        }
    }
    for client in &mut clients {
        wait_until("no job is under way", || {
            let running = client.call("list_jobs", &json!({ "status": "running" }));
            running["jobs"].as_array().unwrap().is_empty()
        });
    }
    let failed = env.call("list_jobs", &json!({ "status": "failed" })).done();
    assert_eq!(failed["jobs"], json!([]));
    assert_eq!((env.starts(), env.project_files().len()), (200, 200));
}

#[test]
fn when_layer_takes_no_more_the_others_wait() {
    let env = TestEnv::with(&["rate_limited:1"]);
    let mut client = env.client();
    let error = client.error("create_asset", &at_once("one"), "rate_limited");
    let _ = error.says("not_charged", true);
    // Layer said: in a second. Until then nothing is sent.
    let asked = client.ask("create_asset", &picture("two"));
    let mut told = client.wait_for_progress();
    while !told["params"]["message"].as_str().unwrap().contains("in the queue") {
        told = client.wait_for_progress();
    }
    assert_eq!(env.starts(), 1);
    let (done, is_error) = client.result(asked);
    assert!(!is_error && done["status"] == "complete", "{done:#}");
    assert_eq!(env.starts(), 2);
}

#[test]
fn videos_have_a_rate_of_their_own() {
    let mut env = TestEnv::new();
    env.set("LAYER_STARTS_PER_MINUTE", "4");
    let mut client = env.client();
    let video =
        |prompt: &str| json!({ "prompt": prompt, "use_case": "text_to_video", "wait_seconds": 0 });
    for prompt in ["a flag in the wind", "a fire"] {
        client.call("create_asset", &video(prompt));
    }
    let third = client.call("create_asset", &video("a river"));
    assert!(third["message"].as_str().unwrap().contains("in the queue"), "{third:#}");
    // Pictures don't stand behind it.
    let picture = client.call("create_asset", &at_once("a stone"));
    assert!(!picture["message"].as_str().unwrap().contains("in the queue"), "{picture:#}");
    assert_eq!(env.starts(), 3);
}

#[test]
fn progress_tells_how_long_runs_of_the_model_take() {
    let env = TestEnv::new();
    let mut client = env.client();
    client.call("create_asset", &picture("a first look"));
    env.faults(&["straggler"]);
    let job = client.call("create_asset", &at_once("a second look"));
    wait_until("the run was looked at", || {
        let look = json!({ "job_id": job["job_id"], "wait_seconds": 0 });
        let seen = env.call("get_job", &look).running();
        seen.0["message"].as_str().unwrap().contains(" s of usually ")
    });
}
