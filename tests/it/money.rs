//! Nothing is paid twice, nothing beyond a limit, nothing is lost.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Running, TestEnv, for_each, picture, wait_until, with};

#[test]
fn one_picture_is_asked_for_unless_more_are_wanted() {
    let env = TestEnv::new();
    let _ = env.call("create_asset", &picture("a lamp")).complete();
    let requests = env.requests();
    let start = requests.iter().find(|it| it.path.ends_with("/inferences")).unwrap();
    assert_eq!(start.body.as_ref().unwrap()["batch_size"], 1);
}

#[test]
fn the_same_request_again_is_the_same_job() {
    let env = TestEnv::new();
    let call = picture("a shield");
    let first = env.call("create_asset", &call).complete();
    let again = env.call("create_asset", &call).complete();
    assert_eq!((again.id(), again.path()), (first.id(), first.path()));
    assert_eq!(env.project_files().len(), 1);
    assert_eq!(env.starts(), 1);
    assert_eq!(env.balance(), 500.0 - first.cost());

    let another = env.call("create_asset", &with(&call, json!({ "variation": true }))).complete();
    assert_ne!(another.path(), first.path());
    assert_eq!(env.starts(), 2);
    assert_eq!(env.balance(), 500.0 - 2.0 * first.cost());
}

#[test]
fn whatever_changes_the_picture_is_another_request() {
    let env = TestEnv::new();
    let call = with(&picture("a helmet"), json!({ "wait_seconds": 0 }));
    let others = [
        json!({}),
        json!({ "prompt": "a helm" }),
        json!({ "width": 65 }),
        json!({ "count": 2 }),
        json!({ "seed": 7 }),
        json!({ "seed": 8 }),
        json!({ "model": "flux", "width": 256, "height": 256 }),
    ];
    for other in &others {
        let _ = env.call("create_asset", &with(&call, other.clone())).running();
    }
    assert_eq!(env.starts(), others.len());
}

#[test]
fn eight_processes_at_the_same_moment_pay_once() {
    let env = TestEnv::new();
    let call = picture("a sword");
    let begun: Vec<Running> = (0..8).map(|_| env.begin("create_asset", &call)).collect();
    let jobs: Vec<_> = begun.into_iter().map(|run| run.finish().complete()).collect();
    for job in &jobs {
        assert_eq!((job.id(), job.path()), (jobs[0].id(), jobs[0].path()));
    }
    assert_eq!(env.starts(), 1);
    assert_eq!(env.project_files().len(), 1);
    assert_eq!(env.balance(), 500.0 - jobs[0].cost());
}

#[test]
fn calls_at_the_same_moment_through_one_server_pay_once() {
    let env = TestEnv::new();
    let mut client = env.client();
    let ids: Vec<u64> = (0..6).map(|_| client.ask("create_asset", &picture("an axe"))).collect();
    let mut jobs = Vec::new();
    while jobs.len() < ids.len() {
        let (job, is_error) = client.any_result();
        assert!(!is_error, "{job:#}");
        jobs.push(job["job_id"].clone());
    }
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    assert_eq!(env.starts(), 1);

    // Many pairs, so that some meet while the first of them is between its entry and its start.
    let swords: Vec<Value> = (0..20).map(|sword| picture(&format!("sword {sword}"))).collect();
    let asked: usize = swords
        .iter()
        .flat_map(|sword| [sword, sword])
        .map(|sword| client.ask("create_asset", sword))
        .count();
    let mut jobs = BTreeSet::new();
    for _ in 0..asked {
        let (job, is_error) = client.any_result();
        assert!(!is_error, "{job:#}");
        jobs.insert(job["job_id"].to_string());
    }
    assert_eq!(jobs.len(), swords.len());
    assert_eq!(env.starts(), 1 + swords.len());
}

#[test]
fn the_same_request_to_another_place_is_a_free_copy() {
    let env = TestEnv::new();
    let call = picture("a bow");
    let at = |place: &str| with(&call, json!({ "save_to": place }));
    let first = env.call("create_asset", &at("one.png")).complete();
    for _ in 0..2 {
        let copy = env.call("create_asset", &at("two/copy.png")).complete();
        assert_eq!(copy.id(), first.id());
        assert_eq!(copy.path(), env.project().join("two/copy.png"));
        assert_eq!(fs::read(copy.path()).unwrap(), fs::read(first.path()).unwrap());
    }
    assert_eq!(env.project_files(), ["one.png", "two/copy.png"]);
    assert_eq!(env.starts(), 1);
}

#[test]
fn the_same_request_from_another_project_is_a_free_copy_there() {
    let mut env = TestEnv::new();
    let call = with(&picture("a quiver"), json!({ "save_to": "quiver.png" }));
    let first = env.call("create_asset", &call).complete();
    let elsewhere = env.path("another project");
    env.set("LAYER_OUTPUT_DIR", &elsewhere);
    let copy = env.call("create_asset", &call).complete();
    assert_eq!(copy.path(), elsewhere.join("quiver.png"));
    assert_eq!(fs::read(copy.path()).unwrap(), fs::read(first.path()).unwrap());
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_free_copy_never_replaces_a_file() {
    let env = TestEnv::new();
    let call = picture("an arrow");
    let _ = env.call("create_asset", &call).complete();
    let taken = env.project().join("taken.png");
    fs::write(&taken, "the user's own").unwrap();
    let _ = env.call("create_asset", &with(&call, json!({ "save_to": "taken.png" })));
    assert_eq!(fs::read_to_string(&taken).unwrap(), "the user's own");
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_deleted_or_changed_file_is_fetched_again_for_free() {
    let env = TestEnv::new();
    let call = with(&picture("a cape"), json!({ "save_to": "cape.png" }));
    let first = env.call("create_asset", &call).complete();
    let original = fs::read(first.path()).unwrap();

    fs::remove_file(first.path()).unwrap();
    let again = env.call("create_asset", &call).complete();
    assert_eq!(fs::read(again.path()).unwrap(), original);

    fs::write(first.path(), "painted over").unwrap();
    let again = env.call("get_job", &json!({ "job_id": first.id() })).complete();
    assert_eq!(fs::read(again.path()).unwrap(), original);
    assert_eq!(fs::read_to_string(first.path()).unwrap(), "painted over");

    assert_eq!(env.starts(), 1);
    assert_eq!(env.balance(), 500.0 - first.cost());
}

#[test]
fn a_quote_holds_for_the_request_it_was_made_for() {
    let env = TestEnv::new();
    let call = picture("a ring");
    let quote = env.call("quote", &call).done();
    assert_eq!(env.starts(), 0);
    assert_eq!(quote["needs_confirmation"], false);
    let bound = with(&call, json!({ "quote_id": quote["quote_id"] }));
    for other in [
        with(&bound, json!({ "prompt": "another ring" })),
        with(&bound, json!({ "count": 2 })),
        with(&call, json!({ "quote_id": "quote_0000000000000000" })),
    ] {
        let _ = env.call("create_asset", &other).error("quote_void").says("not_charged", false);
    }
    assert_eq!(env.starts(), 0);
    let job = env.call("create_asset", &bound).complete();
    assert_eq!(job.0["estimated_cu"], quote["estimated_cu"]);
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_budget_holds_whatever_is_called() {
    // The default model costs 2 a picture.
    for_each(&["LAYER_BUDGET_RUN_CU", "LAYER_BUDGET_SESSION_CU", "LAYER_BUDGET_DAY_CU"], |name| {
        for (limit, within) in [("1.999999", false), ("0", false), ("2", true)] {
            let mut env = TestEnv::new();
            env.set(name, limit);
            let outcome = env.call("create_asset", &picture("a gem"));
            if within {
                let _ = outcome.complete();
            } else {
                let error = outcome.error("budget").says("not_charged", false);
                assert!(error.next_step().contains(name), "{error:#?}");
            }
            assert_eq!(env.starts(), usize::from(within), "{name}={limit}");
        }
    });
}

#[test]
fn a_budget_that_can_not_be_read_is_no_permission() {
    for_each(&["LAYER_BUDGET_RUN_CU", "LAYER_BUDGET_DAY_CU", "LAYER_CONFIRM_ABOVE_CU"], |name| {
        for nonsense in ["lots", "-1", "1,5", "1e400", "NaN"] {
            let mut env = TestEnv::new();
            env.set(name, nonsense);
            let outcome = env.call("create_asset", &picture("a gem"));
            let error = outcome.setup_error("configuration").says("not_charged", false);
            assert!(error.message().contains(name), "{error:#?}");
            assert_eq!(env.starts(), 0);
        }
    });
}

#[test]
fn a_day_budget_counts_every_process_and_a_session_budget_one() {
    let mut env = TestEnv::new();
    env.set("LAYER_BUDGET_DAY_CU", "4").set("LAYER_BUDGET_SESSION_CU", "2");
    let call = |prompt: &str| with(&picture(prompt), json!({ "wait_seconds": 0 }));
    let mut client = env.client();
    let job = client.call("create_asset", &call("one"));
    assert_eq!(job["status"], "running", "{job:#}");
    let error = client.error("create_asset", &call("two"), "budget");
    assert!(error.message().contains("session"), "{error:#?}");
    // Other processes have sessions of their own, but share the day.
    let _ = env.call("create_asset", &call("two")).running();
    let error = env.call("create_asset", &call("three")).error("budget");
    assert!(error.message().contains("day"), "{error:#?}");
    // What is there already costs nothing.
    let _ = env.call("create_asset", &picture("one")).complete();
    assert_eq!(env.starts(), 2);
}

#[test]
fn budgets_hold_between_processes_at_the_same_moment() {
    let mut env = TestEnv::new();
    env.set("LAYER_BUDGET_DAY_CU", "6");
    let begun: Vec<Running> = (0..8)
        .map(|number| {
            let call = with(&picture(&format!("gem {number}")), json!({ "wait_seconds": 0 }));
            env.begin("create_asset", &call)
        })
        .collect();
    let codes: Vec<Option<i32>> = begun.into_iter().map(|run| run.finish().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 3, "{codes:?}");
    assert_eq!(env.starts(), 3);
}

#[test]
fn a_project_has_a_budget_whatever_folder_of_it_is_written_to() {
    let mut env = TestEnv::new();
    let refused = |env: &TestEnv| {
        let error = env.call("create_asset", &picture("a second gem")).error("budget");
        let error = error.says("not_charged", false);
        assert!(error.message().contains("project"), "{error:#?}");
        assert!(error.next_step().contains("LAYER_BUDGET_PROJECT_CU"), "{error:#?}");
    };
    env.set("LAYER_BUDGET_PROJECT_CU", "2");
    let _ = env.call("create_asset", &picture("a gem")).complete();
    refused(&env);
    let art = env.project().join("art");
    env.set("LAYER_OUTPUT_DIR", art);
    refused(&env);
    #[cfg(unix)]
    {
        let link = env.path("by another name");
        std::os::unix::fs::symlink(env.project(), &link).unwrap();
        env.set("LAYER_OUTPUT_DIR", link);
        refused(&env);
    }
    let elsewhere = env.path("another project");
    env.set("LAYER_OUTPUT_DIR", elsewhere);
    let _ = env.call("create_asset", &picture("a second gem")).complete();
    assert_eq!(env.starts(), 2);
}

#[cfg(unix)]
#[test]
fn a_server_whose_journal_is_taken_away_buys_nothing_more() {
    let env = TestEnv::new();
    let mut client = env.client();
    client.call("create_asset", &picture("a lute"));
    fs::rename(env.home().join("journal.db"), env.home().join("elsewhere.db")).unwrap();
    let error = client.error("create_asset", &picture("a lyre"), "journal");
    let error = error.says("not_charged", true);
    assert!(error.message().contains("moved, deleted or replaced"), "{error:#?}");
    assert_eq!(env.starts(), 1);
}

#[test]
fn limits_can_be_set_by_flag() {
    let mut env = TestEnv::new();
    env.set("LAYER_BUDGET_DAY_CU", "100").set("LAYER_CONFIRM_ABOVE_CU", "100");
    let call = picture("a gem").to_string();
    for flag in ["run", "session", "day", "project"] {
        let flag = format!("--budget-{flag}");
        let _ = env.run(&[&flag, "1.5", "call", "create_asset", &call]).error("budget");
    }
    let outcome = env.run(&["--confirm-above", "1.5", "call", "create_asset", &call]);
    let _ = outcome.error("confirmation_needed");
    let outcome = env.run(&["--budget-day", "a lot", "call", "create_asset", &call]);
    let _ = outcome.setup_error("configuration");
    assert_eq!(env.starts(), 0);
}

#[test]
fn an_answer_says_whether_something_was_bought() {
    let mut env = TestEnv::new();
    let call = picture("an anvil");
    let asked = |env: &TestEnv| env.call("create_asset", &call).complete();
    let first = asked(&env);
    assert_eq!(first.0["purchase"], "new");
    assert_eq!(asked(&env).0["purchase"], "same_job_saved");
    fs::remove_file(first.path()).unwrap();
    let again = asked(&env);
    assert_eq!(again.0["purchase"], "same_job_fetched_again", "{again:#?}");
    assert_eq!(again.path(), first.path());
    assert_eq!(env.starts(), 1);
    // A window of its own: nothing that is done is remembered.
    env.set("LAYER_SAME_REQUEST_HOURS", "0");
    assert_eq!(asked(&env).0["purchase"], "new");
    assert_eq!(env.starts(), 2);
    // But nobody buys beside what may be under way.
    env.faults(&["start_dropped"]);
    let other = picture("another anvil");
    for _ in 0..2 {
        let _ = env.call("create_asset", &other).error("start_unanswered");
        env.faults(&[]);
    }
    assert_eq!(env.starts(), 3);
}

#[test]
fn what_references_cost_is_learned_from_charges() {
    let env = TestEnv::new();
    let reference = env.call("create_asset", &picture("a hero")).complete();
    let call = |prompt: &str| {
        let sized = json!({ "prompt": prompt, "width": 256, "height": 256, "model": "flux" });
        with(&sized, json!({ "references": [reference.path()] }))
    };
    let before = env.call("quote", &call("the hero runs")).done();
    assert!(before["message"].as_str().unwrap().contains("may be higher"), "{before:#}");
    let job = env.call("create_asset", &call("the hero runs")).complete();
    assert!(job.cost() > before["estimated_cu"].as_f64().unwrap(), "references cost more");
    let after = env.call("quote", &call("the hero jumps")).done();
    assert_eq!(after["estimated_cu"].as_f64(), Some(job.cost()), "{after:#}");
    assert!(after["message"].as_str().unwrap().contains("more are added"), "{after:#}");
    // What is expected is what is asked about and set aside.
    let bound = with(&call("the hero jumps"), json!({ "quote_id": after["quote_id"] }));
    let next = env.call("create_asset", &bound).complete();
    assert_eq!(next.0["estimated_cu"].as_f64(), Some(job.cost()));
}

#[test]
fn above_the_threshold_the_call_alone_buys_nothing() {
    let mut env = TestEnv::new();
    env.set("LAYER_CONFIRM_ABOVE_CU", "1.99");
    let call = picture("a palace");
    let error = env.call("create_asset", &call).error("confirmation_needed");
    let error = error.says("not_charged", false);
    assert!(error.next_step().contains("confirm_spend"), "{error:#?}");
    let quote = env.call("quote", &call).done();
    assert_eq!(quote["needs_confirmation"], true);
    let bound = with(&call, json!({ "quote_id": quote["quote_id"] }));
    let _ = env.call("create_asset", &bound).error("confirmation_needed");
    assert_eq!(env.starts(), 0);

    env.set("LAYER_CONFIRM_ABOVE_CU", "2");
    let _ = env.call("create_asset", &call).complete();
    assert_eq!(env.starts(), 1);
}

#[test]
fn by_default_more_than_20_needs_the_user() {
    let env = TestEnv::new();
    let call = with(&picture("an army"), json!({ "count": 11 }));
    let _ = env.call("create_asset", &call).error("confirmation_needed");
    assert_eq!(env.starts(), 0);
}

#[test]
fn an_empty_workspace_buys_nothing() {
    // A workspace that may go below zero is no reason to: only the user can decide that.
    for_each(&[&[][..], &["negative_balance_allowed"][..]], |faults| {
        let mut env = TestEnv::with(faults);
        let empty = env.sandbox().empty_workspace_id().to_owned();
        env.set("LAYER_WORKSPACE_ID", empty);
        let error = env.call("create_asset", &picture("bread")).error("insufficient_balance");
        let _ = error.says("not_charged", true);
        assert_eq!(env.starts(), 0);
    });
}

#[test]
fn an_unknown_model_is_refused_with_others_like_it() {
    let env = TestEnv::new();
    let call = with(&picture("a cat"), json!({ "model": "gemini-9-ultra" }));
    let error = env.call("create_asset", &call).error("model_not_found");
    let error = error.says("not_charged", false);
    assert!(error.next_step().contains("gemini-3.1-flash-image"), "{error:#?}");
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_client_that_disappears_loses_nothing() {
    let env = TestEnv::with(&["straggler"]);
    let mut client = env.client();
    let call = picture("a ghost");
    client.ask("create_asset", &call);
    let told = client.wait_for_progress();
    assert!(told["params"]["progress"].as_f64().unwrap() > 0.0, "{told:#}");
    wait_until("the start has arrived", || env.starts() == 1);
    let outlived = client.disappear();
    assert!(outlived <= Duration::from_secs(1), "the server outlived its client by {outlived:?}");
    let _ = env.call("create_asset", &call).complete();
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_cancelled_call_stops_the_wait_and_not_the_job() {
    let env = TestEnv::with(&["straggler"]);
    let mut client = env.client();
    let call = picture("a spirit");
    let id = client.ask("create_asset", &call);
    client.wait_for_progress();
    client.cancel(id);
    let job = client.call("create_asset", &call);
    assert_eq!(job["status"], "complete", "{job:#}");
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_killed_server_loses_nothing() {
    let env = TestEnv::with(&["straggler"]);
    let mut client = env.client();
    let call = picture("a phoenix");
    client.ask("create_asset", &call);
    wait_until("the run was looked at", || {
        env.requests().iter().any(|it| it.method == "GET" && it.path.contains("/inferences/"))
    });
    client.kill();
    let id = env.newest_job().unwrap()["job_id"].clone();
    let began = Instant::now();
    // The dead server holds the job for up to 15 seconds.
    let _ = env.call("get_job", &json!({ "job_id": id })).complete();
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert_eq!(env.starts(), 1);
}

#[test]
fn an_interrupted_call_says_how_to_go_on_and_loses_nothing() {
    let env = TestEnv::with(&["straggler"]);
    let call = picture("a raven");
    let run = env.begin("create_asset", &call);
    wait_until("the start was answered", || {
        env.requests().iter().any(|it| it.path.ends_with("/inferences") && it.status == Some(200))
    });
    run.interrupt();
    let outcome = run.finish();
    assert_eq!(outcome.code, Some(130), "{outcome:#?}");
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("layer-mcp jobs --collect"), "{outcome:#?}");
    let _ = env.call("create_asset", &call).complete();
    assert_eq!(env.starts(), 1);
}

fn sandboxed<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--sandbox", "call"], more].concat()
}

#[test]
fn the_sandbox_inside_the_program_is_one_account_for_all_processes() {
    let mut env = TestEnv::new();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID").set("LAYER_SANDBOX_SPEED", "20");
    let call = picture("a lute").to_string();
    let begun: Vec<Running> =
        (0..4).map(|_| Running::start(env.command(&sandboxed(&["create_asset", &call])))).collect();
    let jobs: Vec<_> = begun.into_iter().map(|run| run.finish().complete()).collect();
    assert!(jobs.iter().all(|job| job.id() == jobs[0].id()), "{jobs:#?}");
    let account = env.run(&sandboxed(&["get_workspace_info"])).done();
    assert_eq!(account["balance_cu"], 500.0 - jobs[0].cost());

    let call = picture("a drum").to_string();
    let job = env.run(&sandboxed(&["create_asset", &call, "--no-wait"])).running();
    let look = json!({ "job_id": job.id() }).to_string();
    let _ = env.run(&sandboxed(&["get_job", &look])).complete();
    assert_eq!(env.requests().len(), 0, "the sandbox outside was not asked");
}

#[test]
fn a_job_of_the_sandbox_is_none_of_the_account() {
    let mut env = TestEnv::new();
    env.set("LAYER_SANDBOX_SPEED", "20");
    let call = picture("a harp");
    let played = env.run(&sandboxed(&["create_asset", &call.to_string()])).complete();
    let error = env.call("get_job", &json!({ "job_id": played.id() })).error("job_unknown");
    let _ = error.says("not_charged", false);
    let paid = env.call("create_asset", &call).complete();
    assert_ne!(paid.id(), played.id());
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_kill_before_the_answer_to_a_start_is_an_unknown_start() {
    let env = TestEnv::with(&["slow_answers"]);
    let call = picture("a comet");
    let run = env.begin("create_asset", &call);
    // The answer to the start takes two seconds, and so long the entry alone tells of it.
    wait_until("the entry is written", || env.newest_job().is_some());
    run.kill();
    env.faults(&[]);
    let error = env.call("create_asset", &call).error("start_unanswered");
    let _ = error.says("unknown", false);
    assert!(env.starts() <= 1);
}
