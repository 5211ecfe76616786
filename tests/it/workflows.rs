//! Workflows: listed in plain words, judged before they are paid, run once, all outputs collected.

use serde_json::{Value, json};

use crate::support::{TestEnv, for_each, wait_until};

fn runs(env: &TestEnv) -> usize {
    let requests = env.requests();
    requests.iter().filter(|it| it.method == "POST" && it.path.ends_with("/runs")).count()
}

fn icons(more: Value) -> Value {
    let mut call = json!({ "workflow": "Icon set", "inputs": { "subject": "swords", "count": 2 } });
    for (name, value) in more.as_object().unwrap() {
        call[name] = value.clone();
    }
    call
}

#[test]
fn workflows_are_listed_with_what_they_take_and_make() {
    let env = TestEnv::new();
    let answer = env.call("list_workflows", &json!({})).done();
    let icons = &answer["workflows"][0];
    assert_eq!(icons["name"], "Icon set");
    let inputs = icons["inputs"].as_array().unwrap();
    assert_eq!(
        inputs[2],
        "count (optional, default 4): a whole number from 1 to 12. How many icons the set has."
    );
    assert_eq!(inputs[0], "subject (needed): text. What the icons show.");
    assert!(icons["outputs"][0].as_str().unwrap().starts_with("icons: "), "{icons}");
    let found = env.call("list_workflows", &json!({ "search": "cut-out" })).done();
    assert_eq!(
        (&found["total"], &found["workflows"][0]["name"]),
        (&json!(1), &json!("Clean cut-out"))
    );
    let page = env.call("list_workflows", &json!({ "limit": 1 })).done();
    let next = env.call("list_workflows", &json!({ "limit": 1, "cursor": page["next_cursor"] }));
    assert_ne!(next.done()["workflows"], page["workflows"]);
}

#[test]
fn a_workflow_is_priced_run_once_and_all_its_files_are_saved() {
    let env = TestEnv::new();
    let quoted = json!({ "tool": "run_workflow", "arguments": icons(json!({})) });
    let quote = env.call("quote", &quoted).done();
    assert_eq!(quote["estimated_cu"], 0.6);
    let call = icons(json!({ "quote_id": quote["quote_id"], "save_to": "icons/" }));
    let job = env.call("run_workflow", &call).complete();
    assert_eq!((job.cost(), job.paths().len()), (0.6, 2), "{:#}", job.0);
    assert!(job.paths()[0].ends_with("icons/icon-set-1.png"), "{:?}", job.paths());
    // The same again, by another spelling of the same, is the same job.
    let again = json!({
        "workflow": job.0["model"], "inputs": "{\"subject\": \"swords\", \"count\": \"2\"}",
        "save_to": "icons/",
    });
    assert_eq!(env.call("run_workflow", &again).complete().id(), job.id());
    assert_eq!(runs(&env), 1);
    let other = env.call("run_workflow", &icons(json!({ "variation": true, "save_to": "more/" })));
    assert_ne!(other.complete().id(), job.id());
    assert!((env.balance() - 498.8).abs() < 1e-6, "{}", env.balance());
    let listed = env.call("list_jobs", &json!({ "limit": 1 })).done();
    assert_eq!(listed["jobs"][0]["prompt"], "Icon set");
}

#[test]
fn inputs_are_judged_before_anything_is_paid() {
    let env = TestEnv::new();
    let cases = [
        (json!({ "workflow": "Icon set" }), "`subject` is missing"),
        (json!({ "workflow": "Icon set", "inputs": { "subject": 3 } }), "takes text"),
        (
            json!({ "workflow": "Icon set", "inputs": { "subject": "s", "style": "baroque" } }),
            "one of pixel, painted, flat",
        ),
        (
            json!({ "workflow": "Icon set", "inputs": { "subject": "s", "count": 13 } }),
            "from 1 to 12",
        ),
        (
            json!({ "workflow": "Icon set", "inputs": { "subject": "s", "colour": "red" } }),
            "no input `colour`",
        ),
        (json!({ "workflow": "Icon set", "inputs": 3 }), "a JSON object"),
        (json!({ "workflow": "Ikon set", "inputs": {} }), "there are `Icon set`"),
    ];
    for_each(&cases, |(call, words)| {
        let problem = env.call("run_workflow", call).error("invalid_argument");
        let problem = problem.says("not_charged", false);
        assert!(problem.message().contains(words), "{call}: {}", problem.message());
    });
    let nothing = json!({ "workflow": "Clean cut-out", "inputs": { "image": "nowhere.png" } });
    let _ = env.call("run_workflow", &nothing).error("file_not_found");
    assert_eq!(runs(&env), 0);
}

#[test]
fn a_file_of_the_project_is_taken_where_a_file_id_is_wanted() {
    let env = TestEnv::new();
    image::RgbImage::from_pixel(40, 30, image::Rgb([9, 80, 200]))
        .save(env.project().join("photo.png"))
        .unwrap();
    let call = json!({ "workflow": "clean cut-out", "inputs": { "image": "photo.png" } });
    let job = env.call("run_workflow", &call).complete();
    assert_eq!(
        (&job.0["files"][0]["width"], &job.0["files"][0]["has_alpha"]),
        (&json!(40), &json!(true))
    );
    let requests = env.requests();
    let start = requests.iter().rfind(|it| it.path.ends_with("/runs")).unwrap();
    let sent = start.body.as_ref().unwrap()["inputs"]["image"].as_str().unwrap().to_owned();
    assert_eq!(sent.len(), 36, "{sent}");
    // Another picture under the same name is another request.
    image::RgbImage::from_pixel(40, 30, image::Rgb([200, 80, 9]))
        .save(env.project().join("photo.png"))
        .unwrap();
    assert_ne!(env.call("run_workflow", &call).complete().id(), job.id());
}

#[test]
fn an_unanswered_start_of_a_workflow_is_not_sent_again() {
    let env = TestEnv::with(&["start_dropped_after:1"]);
    let problem = env.call("run_workflow", &icons(json!({}))).error("start_unanswered");
    let _ = problem.says("unknown", false);
    let _ = env.call("run_workflow", &icons(json!({}))).error("start_unanswered");
    assert_eq!(runs(&env), 1);
}

#[test]
fn a_workflow_s_run_is_collected_by_another_process_after_a_kill() {
    let mut env = TestEnv::new();
    env.set("LAYER_SANDBOX_SPEED", "5");
    let run = env.begin("run_workflow", &icons(json!({})));
    wait_until("it runs", || {
        env.newest_job().is_some_and(|job| job["status"] == "running") && runs(&env) == 1
    });
    let id = env.newest_job().unwrap()["job_id"].clone();
    wait_until("its id is written", || {
        let look = env.call("get_job", &json!({ "job_id": id, "wait_seconds": 0 }));
        look.code == Some(0)
    });
    run.kill();
    let done = env.call("get_job", &json!({ "job_id": id })).complete();
    assert_eq!(done.paths().len(), 2);
    assert_eq!(runs(&env), 1);
}

#[test]
fn a_waiting_client_hears_of_the_steps() {
    let env = TestEnv::new();
    let waiting = env.call("run_workflow", &icons(json!({ "wait_seconds": 0 }))).running();
    let looked = env.call("get_job", &json!({ "job_id": waiting.id(), "wait_seconds": 1 })).done();
    let said = looked["message"].as_str().unwrap();
    assert!(said.contains("of 3 steps done"), "{said}");
    let _ = env.call("get_job", &json!({ "job_id": waiting.id() })).complete();
}

#[test]
fn a_stop_says_whether_it_is_possible() {
    let env = TestEnv::new();
    let running = env.call("run_workflow", &icons(json!({ "wait_seconds": 0 }))).running();
    let answer = env.call("cancel_job", &json!({ "job_id": running.id() })).done();
    assert_ne!(answer["status"], "cancelled", "{answer}");
    env.faults(&["cancel_supported"]);
    let call = icons(json!({ "wait_seconds": 0, "variation": true }));
    let running = env.call("run_workflow", &call).running();
    let _ = env.call("cancel_job", &json!({ "job_id": running.id() })).done();
    let ended = env.call("get_job", &json!({ "job_id": running.id() }));
    let _ = ended.error("run_cancelled");
}

#[test]
fn words_videos_and_lists_of_files_are_inputs_and_outputs_too() {
    let env = TestEnv::new();
    for (name, shade) in [("a.png", 10), ("b.png", 99)] {
        let pixels = image::RgbImage::from_pixel(40, 30, image::Rgb([shade, 80, 200]));
        pixels.save(env.project().join(name)).unwrap();
    }
    let call = json!({ "workflow": "lore writer",
                       "inputs": { "images": ["a.png", "b.png"], "tone": "epic" } });
    let told = env.call("run_workflow", &call).done();
    assert_eq!((&told["status"], &told["files"]), (&json!("complete"), &json!([])), "{told}");
    let text = &told["texts"][0];
    assert_eq!(text["name"], "lore");
    assert!(text["text"].as_str().unwrap().contains("epic"), "{told}");
    // The words are kept: nobody pays for them twice.
    let again = env.call("run_workflow", &call).done();
    assert_eq!((&again["job_id"], &again["texts"]), (&told["job_id"], &told["texts"]));
    assert_eq!(runs(&env), 1);
    // One picture where a list is wanted is a list of one.
    let one = json!({ "workflow": "lore writer", "inputs": { "images": "a.png" } });
    assert_eq!(env.call("run_workflow", &one).done()["status"], "complete");
    let clip = json!({ "workflow": "idle loop", "inputs": { "image": "a.png", "loop": "true" } });
    let clip = env.call("run_workflow", &clip).complete();
    assert_eq!(clip.0["files"][0]["media_type"], "video/mp4");
}

#[test]
fn outputs_are_collected_in_whatever_form_they_come() {
    let cases = ["workflow_outputs_object", "workflow_outputs_ids"];
    for_each(&cases, |fault| {
        let env = TestEnv::with(&[fault]);
        let job = env.call("run_workflow", &icons(json!({ "save_to": "icons/" }))).complete();
        assert_eq!(job.paths().len(), 2, "{fault}: {:#}", job.0);
    });
}

#[test]
fn other_paths_are_tried_only_where_the_likelier_do_not_exist() {
    let env = TestEnv::with(&["workflow_paths_other"]);
    let job = env.call("run_workflow", &icons(json!({}))).complete();
    assert_eq!(job.cost(), 0.6);
    let requests = env.requests();
    let posts: Vec<&str> = requests
        .iter()
        .filter(|it| it.method == "POST" && it.path.contains("/workflows/"))
        .filter_map(|it| it.path.split("/workflows/").nth(1)?.split_once('/').map(|(_, end)| end))
        .collect();
    assert_eq!(posts, ["estimate", "runs/estimate", "runs", "execute"]);
    let (_, shown) = {
        let ran = env.run(&["doctor", "--online"]);
        (ran.code, ran.stdout)
    };
    assert!(
        shown.contains("price of a workflow: /workflows/{id}/runs/estimate (second)"),
        "{shown}"
    );
    assert!(shown.contains("GraphQL: /graphql") && shown.contains("plan studio"), "{shown}");
    // Any other failure of a start is the end of it.
    for fault in ["server_error:1", "validation:1", "insufficient_balance:1"] {
        let env = TestEnv::with(&[fault]);
        let ran = env.call("run_workflow", &icons(json!({})));
        assert_eq!(ran.code, Some(1), "{fault}");
        let starts = env.requests().iter().filter(|it| it.path.ends_with("/execute")).count();
        assert_eq!(starts, 0, "{fault}");
    }
}
