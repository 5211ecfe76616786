//! Everything that Layer may do to its client, and what the user gets instead of an accident:
//! a clear error or the file, one start, one charge.

use std::time::{Duration, Instant};

use layer_mcp::sandbox::HostKind;
use serde_json::json;

use crate::support::{TestEnv, all_faults, for_each, picture, with};

/// A start that Layer refuses: fault, error code, whether a repetition is safe and sensible,
/// starts sent.
const REFUSED: &[(&str, &str, bool, usize)] = &[
    ("insufficient_balance", "insufficient_balance", true, 1),
    ("feature_disabled", "feature_disabled", false, 1),
    ("rate_limited", "rate_limited", true, 1),
    ("rate_limited_no_header", "rate_limited", true, 1),
    // These meet the question for the price already.
    ("model_not_found", "model_not_found", false, 0),
    ("validation", "invalid_argument", false, 0),
    ("nested_body", "invalid_argument", false, 0),
    ("unauthorized", "unauthenticated", false, 0),
    ("api_redirect", "service_error", true, 0),
    ("huge_json", "service_error", true, 0),
];

#[test]
fn a_refused_start_costs_nothing_is_not_repeated_and_leaves_the_way_free() {
    for_each(REFUSED, |&(fault, code, retryable, starts)| {
        let env = TestEnv::with(&[fault]);
        let call = picture("a lantern");
        let _ = env.call("create_asset", &call).error(code).says("not_charged", retryable);
        assert_eq!(env.starts(), starts);
        assert_eq!(env.project_files(), [""; 0]);

        env.faults(&[]);
        let job = env.call("create_asset", &call).complete();
        assert_eq!(env.starts(), starts + 1);
        assert_eq!(env.balance(), 500.0 - job.cost());
    });
}

#[test]
fn a_rate_limit_says_how_long_to_wait() {
    for_each(&[("rate_limited", "1 second"), ("rate_limited_no_header", "30 second")], |case| {
        let env = TestEnv::with(&[case.0]);
        let error = env.call("create_asset", &picture("a gate")).error("rate_limited");
        assert!(error.next_step().contains(case.1), "{error:#?}");
    });
}

/// A start after which nobody knows whether it happened, and what the message repeats of it.
const UNANSWERED: &[(&str, &str)] = &[
    ("server_error", "500"),
    ("start_dropped", "connection"),
    ("error_detail_string", "502: \"Oops! Our pixel wizards"),
    ("error_graphql_shape", "502: \"Oops! Our pixel wizards"),
    ("error_html", "502"),
];

#[test]
fn an_unanswered_start_is_never_sent_again_by_itself() {
    for_each(UNANSWERED, |&(fault, said)| {
        let env = TestEnv::with(&[fault]);
        let call = picture("a bridge");
        let first = env.call("create_asset", &call).error("start_unanswered");
        let first = first.says("unknown", false);
        assert!(first.message().contains(said), "{first:#?}");
        assert!(first.message().contains("Layer lists no such run"), "{first:#?}");
        assert!(!first.message().contains('<'), "a page is not a sentence: {first:#?}");
        assert!(first.next_step().contains("variation"), "{first:#?}");
        assert_eq!(env.starts(), 1);

        env.faults(&[]);
        for arguments in [call.clone(), with(&call, json!({ "save_to": "elsewhere/" }))] {
            let again = env.call("create_asset", &arguments).error("start_unanswered");
            assert_eq!(again.says("unknown", false).job_id(), first.job_id());
        }
        let look = env.call("get_job", &json!({ "job_id": first.job_id() }));
        let _ = look.error("start_unanswered").says("unknown", false);
        assert_eq!(env.starts(), 1);

        let another = with(&call, json!({ "variation": true }));
        let job = env.call("create_asset", &another).complete();
        assert_ne!(job.id(), first.job_id());
        assert_eq!(env.starts(), 2);
    });
}

#[test]
fn a_run_whose_start_got_no_answer_is_found_and_collected() {
    for_each(&["server_error_after_start", "start_dropped_after"], |fault| {
        let env = TestEnv::with(&[fault]);
        let call = picture("a bridge over a river");
        let job = env.call("create_asset", &call).complete();
        let said = job.0["message"].as_str().unwrap();
        assert!(said.contains("Layer lists the run"), "{fault}: {said}");
        assert_eq!((env.starts(), env.balance()), (1, 500.0 - job.cost()), "{fault}");
        env.faults(&[]);
        assert_eq!(env.call("create_asset", &call).complete().id(), job.id());
        // Where Layer can't be asked it stays unknown, until it can.
        env.faults(&[fault, "graphql_error"]);
        let other = picture("a ford through a river");
        let lost =
            env.call("create_asset", &other).error("start_unanswered").says("unknown", false);
        env.faults(&[]);
        let found = env.call("get_job", &json!({ "job_id": lost.job_id() })).complete();
        assert!(found.0["message"].as_str().unwrap().contains("Layer lists the run"));
        assert_eq!(env.starts(), 2, "{fault}");
    });
}

#[test]
fn an_unanswered_start_through_the_server_is_the_same() {
    let env = TestEnv::with(&["start_dropped"]);
    let mut client = env.client();
    let call = picture("a well");
    let first = client.error("create_asset", &call, "start_unanswered").says("unknown", false);
    env.faults(&[]);
    let again = client.error("create_asset", &call, "start_unanswered");
    assert_eq!(again.job_id(), first.job_id());
    assert_eq!(env.starts(), 1);
}

#[test]
fn reads_are_repeated_until_they_are_answered() {
    let faults =
        ["read_dropped:2", "read_server_error:2", "read_rate_limited:1", "read_rate_limited:2"];
    for_each(&faults, |fault| {
        // Before the start: the list of models.
        let env = TestEnv::with(&[fault]);
        let call = picture("a tower");
        let job = env.call("create_asset", &with(&call, json!({ "wait_seconds": 0 }))).running();
        // After it: the look at the run.
        env.faults(&[fault]);
        let job = env.call("get_job", &json!({ "job_id": job.id() })).complete();
        assert_eq!(env.starts(), 1);
        assert_eq!(env.balance(), 500.0 - job.cost());
    });
}

#[test]
fn a_read_waits_as_long_as_the_service_asks() {
    let env = TestEnv::with(&["read_rate_limited:1"]);
    let _ = env.call("list_models", &json!({})).done();
    let requests = env.requests();
    let refused = requests.iter().position(|request| request.status == Some(429)).unwrap();
    let pause = requests[refused + 1].at - requests[refused].at;
    assert!(pause >= Duration::from_secs(1), "came back after {pause:?}");
}

#[test]
fn reads_that_stay_unanswered_end_in_an_error_after_a_few_tries() {
    let cases = [("read_server_error", "service_error"), ("read_dropped", "network")];
    for_each(&cases, |&(fault, code)| {
        let env = TestEnv::with(&[fault]);
        let error = env.call("create_asset", &picture("a moat")).error(code);
        let _ = error.says("not_charged", true);
        let tries = env.requests().len();
        assert!((2..=6).contains(&tries), "{tries} tries");
        assert_eq!(env.starts(), 0);
    });
}

#[test]
fn a_run_that_can_not_be_looked_at_is_collected_later() {
    for_each(&["read_server_error", "read_dropped", "huge_json"], |fault| {
        let env = TestEnv::new();
        let call = with(&picture("a drawbridge"), json!({ "wait_seconds": 0 }));
        let job = env.call("create_asset", &call).running();
        env.faults(&[fault]);
        let look = json!({ "job_id": job.id(), "wait_seconds": 2 });
        let still = env.call("get_job", &look).running();
        assert_eq!(still.id(), job.id());
        env.faults(&[]);
        let _ = env.call("get_job", &json!({ "job_id": job.id() })).complete();
        assert_eq!(env.starts(), 1);
    });
}

#[test]
fn a_token_that_expires_while_a_run_goes_on_loses_nothing() {
    let env = TestEnv::new();
    let call = with(&picture("a torch"), json!({ "wait_seconds": 0 }));
    let job = env.call("create_asset", &call).running();
    env.faults(&["unauthorized"]);
    let look = json!({ "job_id": job.id() });
    let error = env.call("get_job", &look).error("unauthenticated");
    assert_eq!(error.job_id(), job.id());
    env.faults(&[]);
    let _ = env.call("get_job", &look).complete();
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_run_that_fails_says_why_and_may_be_tried_again() {
    for_each(&["run_fails", "status_failure", "status_error"], |fault| {
        let env = TestEnv::with(&[fault]);
        let call = picture("a dungeon");
        let error = env.call("create_asset", &call).error("run_failed").says("unknown", false);
        assert!(error.message().contains("CONTENT_POLICY_VIOLATION"), "{error:#?}");
        let look = env.call("get_job", &json!({ "job_id": error.job_id() })).error("run_failed");
        assert_eq!(look.message(), error.message());
        assert_eq!(env.project_files(), [""; 0]);
        assert_eq!(env.balance(), 500.0);

        env.faults(&[]);
        let job = env.call("create_asset", &call).complete();
        assert_ne!(job.id(), error.job_id());
    });
}

#[test]
fn a_run_that_layer_cancels_is_neither_saved_nor_lost() {
    for_each(&["run_cancelled", "status_canceled", "status_deleted"], |fault| {
        let env = TestEnv::with(&[fault]);
        let error = env.call("create_asset", &picture("a crypt")).error("run_cancelled");
        let error = error.says("unknown", false);
        let _ = env.call("get_job", &json!({ "job_id": error.job_id() })).error("run_cancelled");
        assert_eq!(env.starts(), 1);
        assert_eq!(env.balance(), 500.0);
    });
}

#[test]
fn every_spelling_of_a_status_and_every_name_of_an_output_is_understood() {
    let faults = [
        "status_upper",
        "status_completed",
        "status_succeeded",
        "status_odd",
        "outputs_under_files",
        "outputs_under_assets",
        "outputs_under_result",
        "output_single_object",
        "output_download_url",
    ];
    for_each(&faults, |fault| {
        let env = TestEnv::with(&[fault]);
        let job = env.call("create_asset", &picture("a banner")).complete();
        assert_eq!(job.paths().len(), 1);
        assert_eq!(env.starts(), 1);
    });
}

#[test]
fn every_form_of_the_list_of_models_is_understood() {
    for_each(&["models_camel_case", "models_id_field", "total_count_null"], |fault| {
        let env = TestEnv::with(&[fault]);
        let call = with(&picture("a seam"), json!({ "tileable": true, "wait_seconds": 0 }));
        let job = env.call("create_asset", &call).running();
        // 3D models stand on a later page of the list.
        let found = env.call("list_models", &json!({ "modality": "three_d" })).done();
        assert!(!found["models"].as_array().unwrap().is_empty(), "{found:#}");
        assert!(!job.0["model"].as_str().unwrap().is_empty());
    });
}

#[test]
fn unknown_words_for_a_running_run_keep_it_running() {
    let env = TestEnv::with(&["status_odd", "run_never_ends"]);
    let call = with(&picture("a throne"), json!({ "wait_seconds": 2 }));
    let _ = env.call("create_asset", &call).running();
}

#[test]
fn an_interval_between_looks_is_held_within_reason() {
    let faults = [
        "null_poll_interval",
        "zero_poll_interval",
        "negative_poll_interval",
        "huge_poll_interval",
    ];
    for_each(&faults, |fault| {
        let env = TestEnv::with(&[fault, "straggler"]);
        let outcome = env.call("create_asset", &picture("a hearth"));
        let _ = outcome.complete();
        assert!(outcome.took < Duration::from_secs(25), "{:?}", outcome.took);
        let looks = env.requests().iter().filter(|it| it.path.contains("/inferences/")).count();
        // One is the question for the price.
        assert!(looks <= 8, "{looks} looks at a run of two seconds");
    });
}

#[test]
fn a_run_that_never_ends_is_answered_in_time_and_stays_one_run() {
    let env = TestEnv::with(&["run_never_ends"]);
    let call = with(&picture("a maze"), json!({ "wait_seconds": 1 }));
    let began = Instant::now();
    let job = env.call("create_asset", &call).running();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for _ in 0..2 {
        assert_eq!(env.call("create_asset", &call).running().id(), job.id());
        let look = json!({ "job_id": job.id(), "wait_seconds": 0 });
        assert_eq!(env.call("get_job", &look).running().id(), job.id());
    }
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_straggler_is_collected_by_another_process_and_by_the_same() {
    let env = TestEnv::with(&["straggler"]);
    let call = with(&picture("a ship"), json!({ "wait_seconds": 0 }));
    let job = env.call("create_asset", &call).running();
    let _ = env.call("get_job", &json!({ "job_id": job.id() })).complete();

    let mut client = env.client();
    let call = with(&picture("a boat"), json!({ "wait_seconds": 0 }));
    let job = client.call("create_asset", &call);
    assert_eq!(job["status"], "running", "{job:#}");
    let look = json!({ "job_id": job["job_id"], "wait_seconds": 40 });
    let job = client.call("get_job", &look);
    assert_eq!(job["status"], "complete", "{job:#}");
    assert_eq!(env.starts(), 2);
}

#[test]
fn a_slow_service_is_waited_for() {
    let env = TestEnv::with(&["slow_answers"]);
    let _ = env.call("create_asset", &picture("a snail")).complete();
    assert_eq!(env.starts(), 1);
}

#[test]
fn the_price_that_was_charged_is_told() {
    let env = TestEnv::with(&["price_above_estimate"]);
    let job = env.call("create_asset", &picture("a crown")).complete();
    let estimated = job.0["estimated_cu"].as_f64().unwrap();
    assert_eq!(job.cost(), estimated * 1.5);
    assert_eq!(env.balance(), 500.0 - job.cost());
}

#[test]
fn a_redirect_of_the_api_is_never_followed_with_the_token() {
    let env = TestEnv::with(&["api_redirect"]);
    let error = env.call("create_asset", &picture("a key")).error("service_error");
    assert!(error.message().contains("redirect"), "{error:#?}");
    assert_eq!(env.arrived_at(HostKind::Media) + env.arrived_at(HostKind::Storage), 0);
}

#[test]
fn cancelling_says_plainly_whether_it_worked() {
    let env = TestEnv::with(&["run_never_ends"]);
    let call = with(&picture("a storm"), json!({ "wait_seconds": 0 }));
    let job = env.call("create_asset", &call).running();
    let cancel = json!({ "job_id": job.id() });
    let answer = env.call("cancel_job", &cancel).done();
    assert_eq!((&answer["stopped"], &answer["status"]), (&json!(false), &json!("running")));
    assert!(answer["message"].as_str().unwrap().contains("will be charged"), "{answer:#}");

    env.faults(&["cancel_supported"]);
    let answer = env.call("cancel_job", &cancel).done();
    assert_eq!((&answer["stopped"], &answer["status"]), (&json!(true), &json!("cancelled")));
    let _ = env.call("get_job", &cancel).error("run_cancelled");
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_model_that_left_the_catalogue_is_looked_up_again() {
    let env = TestEnv::with(&["model_not_found:1"]);
    let _ = env.call("create_asset", &picture("a lamp")).complete();
    let lists = env.requests().iter().filter(|it| it.path.ends_with("/models")).count();
    assert_eq!((lists, env.starts()), (2, 1));
}

#[test]
fn no_fault_is_forgotten() {
    let tests = [
        include_str!("faults.rs"),
        include_str!("downloads.rs"),
        include_str!("money.rs"),
        include_str!("quotes.rs"),
        include_str!("references.rs"),
        include_str!("library.rs"),
        include_str!("workflows.rs"),
    ];
    let forgotten: Vec<&str> =
        all_faults().filter(|fault| !tests.iter().any(|text| text.contains(fault))).collect();
    assert_eq!(forgotten, [""; 0]);
}
