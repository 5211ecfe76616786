//! The crash drill: a process that dies at any step between a request and its file loses nothing
//! and pays nothing twice.

use std::sync::Mutex;
use std::time::Duration;

use layer_mcp::drill::Step;
use serde_json::{Value, json};

use crate::support::{TestEnv, for_each, picture, wait_until, with};

/// The files of the paying project, and whether the call that was repeated found all in order.
fn all_is_well(env: &TestEnv, call: &Value) {
    let again = env.call("create_asset", call).complete();
    assert_eq!(env.starts(), 1, "one start reached Layer");
    assert_eq!(env.balance(), 500.0 - again.cost(), "one charge");
    // Nothing but the file, and that whole.
    let files = env.project_files();
    assert_eq!(files.len(), 1, "{files:?}");
    let view = env.call("view_asset", &json!({ "image": again.path() })).done();
    assert_eq!(view["sha256"], again.0["files"][0]["sha256"], "{view:#}");
    // Nothing is set aside any more.
    let jobs = env.call("list_jobs", &json!({})).done();
    let open = jobs["jobs"].as_array().unwrap().iter().filter(|job| job["status"] == "running");
    assert_eq!(open.count(), 0, "{jobs:#}");
}

#[cfg(unix)]
#[test]
fn a_kill_at_any_step_costs_one_start_and_one_charge() {
    let tried = Mutex::new(0);
    for_each(&Step::ALL, |step| {
        let mut env = TestEnv::new();
        let call = with(&picture("a phoenix"), json!({ "save_to": "art/phoenix.png" }));
        env.set("LAYER_MCP_DIE_AT", step.name());
        let dead = env.call("create_asset", &call);
        assert_eq!(dead.code, None, "it was killed: {dead:#?}");
        assert_eq!(dead.stdout, "");
        env.unset("LAYER_MCP_DIE_AT");
        if *step == Step::BeforeSend {
            // Written down as sent: nobody but Layer knows whether it was, and it is not sent again.
            let again = env.call("create_asset", &call).error("start_unanswered");
            let _ = again.says("unknown", false);
            assert_eq!((env.starts(), env.balance()), (0, 500.0));
            let anew = with(&call, json!({ "variation": true }));
            let job = env.call("create_asset", &anew).complete();
            assert_eq!((env.starts(), env.balance()), (1, 500.0 - job.cost()));
        } else {
            all_is_well(&env, &call);
        }
        *tried.lock().unwrap() += 1;
    });
    assert_eq!(tried.into_inner().unwrap(), Step::ALL.len());
}

#[test]
fn a_kill_between_the_start_and_its_answer_costs_one_start_and_one_charge() {
    let env = TestEnv::with(&["slow_answers"]);
    let call = picture("a griffin");
    let run = env.begin("create_asset", &call);
    wait_until("the start has reached Layer", || env.starts() == 1);
    // The run exists; its answer takes two seconds.
    std::thread::sleep(Duration::from_millis(500));
    run.kill();
    env.faults(&[]);
    all_is_well(&env, &call);
}

#[test]
fn what_a_dead_process_paid_for_is_collected_without_being_asked() {
    for_each(&[Step::AfterRecord, Step::Downloading, Step::AfterAnswer], |step| {
        let mut env = TestEnv::new();
        let call = picture("a wyvern");
        env.set("LAYER_MCP_DIE_AT", step.name());
        assert_eq!(env.call("create_asset", &call).code, None);
        env.unset("LAYER_MCP_DIE_AT");
        assert!(env.project_files().iter().all(|file| file.contains(".part")));
        // Whatever the first call of a session is.
        let mut client = env.client();
        client.call("list_jobs", &json!({}));
        wait_until(
            "its file is there",
            || matches!(env.project_files().as_slice(), [file] if file.ends_with(".png")),
        );
        wait_until("the entry is closed", || env.newest_job().unwrap()["status"] == "complete");
        assert_eq!(env.starts(), 1);
    });
}

#[test]
fn what_was_never_sent_is_not_sent_without_being_asked() {
    let mut env = TestEnv::new();
    let call = picture("a basilisk");
    env.set("LAYER_MCP_DIE_AT", Step::AfterEntry.name());
    assert_eq!(env.call("create_asset", &call).code, None);
    env.unset("LAYER_MCP_DIE_AT");
    let mut client = env.client();
    client.call("list_jobs", &json!({}));
    wait_until("the entry is closed", || env.newest_job().unwrap()["status"] == "failed");
    assert_eq!((env.starts(), env.balance()), (0, 500.0));
}

#[test]
fn two_processes_with_the_same_call_pay_once_two_hundred_times() {
    let env = TestEnv::hasty();
    let (mut one, mut other) = (env.client(), env.client());
    for round in 0..200 {
        let call = with(&picture(&format!("sword {round}")), json!({ "wait_seconds": 0 }));
        // The one and the other first in turns, one write apart.
        let (first, second) =
            if round % 2 == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
        let asked = (first.ask("create_asset", &call), second.ask("create_asset", &call));
        let jobs = (first.result(asked.0), second.result(asked.1));
        assert!(!jobs.0.1 && !jobs.1.1, "{jobs:#?}");
        assert_eq!(jobs.0.0["job_id"], jobs.1.0["job_id"], "{jobs:#?}");
    }
    assert_eq!(env.starts(), 200);
}
