//! Jobs as tasks, for clients that declare the extension.

use serde_json::{Value, json};

use crate::client::{Client, Place, Revision, error, eventually};
use crate::support::TestEnv;

fn able() -> Value {
    json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })
}

fn follower(place: &Place) -> Client {
    let mut client = place.serve().able_to(able());
    client.shake_hands(Revision::V2026_07_28);
    client
}

fn begun(client: &mut Client, prompt: &str) -> Value {
    let arguments = json!({ "prompt": prompt, "width": 64, "height": 64 });
    let task = client.call("create_asset", arguments);
    assert_eq!(task["resultType"], "task", "{task}");
    assert_eq!(task["status"], "working", "{task}");
    task
}

fn ended(client: &mut Client, task: &Value) -> Value {
    eventually("the end of the task", || {
        let now = client.request("tasks/get", json!({ "taskId": task["taskId"] }));
        (now["status"] != "working").then_some(now)
    })
}

#[test]
fn a_job_is_a_task_and_its_result_is_the_jobs() {
    let place = Place::new();
    let mut client = follower(&place);
    let task = begun(&mut client, "a knight");
    assert_eq!(task["ttlMs"], Value::Null, "a job is kept for ever: {task}");
    assert!(task["pollIntervalMs"].as_u64().unwrap() >= 1_000, "{task}");
    let ended = ended(&mut client, &task);
    assert_eq!(ended["status"], "completed", "{ended}");
    let result = &ended["result"];
    let data = &result["structuredContent"];
    assert_eq!(data["job_id"], task["taskId"]);
    assert_eq!(data["status"], "complete");
    assert!(std::fs::exists(data["files"][0]["path"].as_str().unwrap()).unwrap());
    assert_eq!(result["content"][0]["text"], data.to_string());
    // The same again is the same job, and at its end already: a plain answer.
    let arguments = json!({ "prompt": "a knight", "width": 64, "height": 64 });
    let again = client.data("create_asset", arguments);
    assert_eq!(again["job_id"], task["taskId"]);
}

#[test]
fn a_task_outlives_the_process() {
    let place = Place::at_speed("2");
    let mut client = follower(&place);
    let task = begun(&mut client, "a knight");
    client.terminate();
    client.end();
    let mut next = follower(&place);
    let ended = ended(&mut next, &task);
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["createdAt"], task["createdAt"]);
    let jobs = next.data("list_jobs", json!({}));
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "one purchase: {jobs}");
}

#[test]
fn what_waits_for_its_turn_is_a_task_already() {
    let place = Place::new().with("LAYER_STARTS_PER_MINUTE", "1");
    let mut client = follower(&place);
    begun(&mut client, "a knight");
    let task = begun(&mut client, "a castle");
    let now = client.request("tasks/get", json!({ "taskId": task["taskId"] }));
    assert!(now["statusMessage"].as_str().unwrap().contains("place 1 in the queue"), "{now}");
}

#[test]
fn a_task_that_has_ended_stays_so_and_brings_nothing_back() {
    let place = Place::new();
    let mut client = place.serve().known_as("claude-code", "2.1.332").able_to(able());
    client.shake_hands(Revision::V2026_07_28);
    let task = begun(&mut client, "a knight");
    let result = ended(&mut client, &task)["result"].take();
    assert_eq!(result["content"][1]["type"], "image", "as a call would have it: {result}");
    let path = result["structuredContent"]["files"][0]["path"].as_str().unwrap().to_owned();
    std::fs::remove_file(&path).unwrap();
    let again = client.request("tasks/get", json!({ "taskId": task["taskId"] }));
    assert_eq!(again["status"], "completed", "{again}");
    assert!(!std::fs::exists(&path).unwrap());
}

#[test]
fn only_who_declares_tasks_gets_and_sees_them() {
    let place = Place::new();
    let mut client = follower(&place);
    let id = begun(&mut client, "a knight")["taskId"].clone();
    let mut other = place.serve();
    let hello = other.shake_hands(Revision::V2026_07_28);
    assert!(hello["capabilities"]["extensions"]["io.modelcontextprotocol/tasks"].is_object());
    let made = other.data("create_asset", json!({ "prompt": "a pea", "width": 64, "height": 64 }));
    assert_eq!(made["status"], "complete");
    for method in ["tasks/get", "tasks/cancel"] {
        assert_eq!(other.refused(method, json!({ "taskId": id }))["code"], -32021);
    }
    // A server that changes nothing starts and stops no job.
    let mut reader =
        Client::new(place.command(&["--sandbox", "--read-only", "serve"])).able_to(able());
    let hello = reader.shake_hands(Revision::V2026_07_28);
    assert!(hello["capabilities"].get("extensions").is_none(), "{hello}");
    assert_eq!(reader.refused("tasks/get", json!({ "taskId": id }))["code"], -32601);
}

#[test]
fn no_task_is_no_task() {
    let place = Place::new();
    let mut client = follower(&place);
    for id in ["", "x", "job_0123456789abcdef", "../../etc"] {
        for method in ["tasks/get", "tasks/cancel"] {
            let error = client.refused(method, json!({ "taskId": id }));
            assert_eq!(error["code"], -32602, "{method} {id}: {error}");
        }
    }
    assert_eq!(client.refused("tasks/get", json!({ "taskId": 3 }))["code"], -32602);
    let journals = place.written().into_iter().filter(|path| path.ends_with("journal.db"));
    assert_eq!(journals.count(), 0, "asking for a task makes no journal");
}

#[test]
fn an_error_comes_at_once_and_a_cancelled_task_says_so() {
    let env = TestEnv::with(&["run_never_ends", "cancel_supported"]);
    let mut client = Client::new(env.command(&["serve"])).able_to(able());
    client.shake_hands(Revision::V2026_07_28);
    let refused = json!({ "prompt": "a knight", "save_to": "../knight.png" });
    assert_eq!(client.error("create_asset", refused)["code"], "path_refused");
    let task = begun(&mut client, "a knight");
    let acknowledged = client.request("tasks/cancel", json!({ "taskId": task["taskId"] }));
    assert_eq!(acknowledged["resultType"], "complete", "{acknowledged}");
    assert_eq!(ended(&mut client, &task)["status"], "cancelled");
    client.request("tasks/update", json!({ "taskId": task["taskId"], "inputResponses": {} }));
}

#[test]
fn a_task_that_failed_ends_with_the_error_that_a_call_would_have() {
    let env = TestEnv::with(&["run_fails"]);
    let mut client = Client::new(env.command(&["serve"])).able_to(able());
    client.shake_hands(Revision::V2026_07_28);
    let task = begun(&mut client, "a knight");
    let ended = ended(&mut client, &task);
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(error(&ended["result"])["code"], "run_failed", "{ended}");
}
