//! An older client's roots say where assets go, where nothing else does.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Era, McpClient, TestEnv, picture, with};

/// A world in which nothing says where assets go, and a server that was started elsewhere.
fn world() -> TestEnv {
    let mut env = TestEnv::new();
    env.unset("LAYER_OUTPUT_DIR");
    env
}

fn client(env: &TestEnv, era: Era, capabilities: Value) -> McpClient {
    let mut command = env.command(&["serve"]);
    command.current_dir(env.path("outside"));
    McpClient::start(command, era, capabilities)
}

fn uri(folder: &Path) -> String {
    url::Url::from_file_path(folder).unwrap().to_string()
}

#[test]
fn the_first_root_that_can_be_one_is_the_output_folder() {
    let env = world();
    let mut client = client(&env, Era::Sessions, json!({ "roots": {} }));
    let id = client.ask("create_asset", &with(&picture("a knight"), json!({ "save_to": "k.png" })));
    let question = client.question();
    assert_eq!(question["method"], "roots/list");
    let roots = ["file:///", "https://example.com/", &uri(&env.path("user")), &uri(&env.project())];
    let roots: Vec<Value> = roots.iter().map(|uri| json!({ "uri": uri })).collect();
    client.reply(&question, "result", json!({ "roots": roots }));
    let answer = client.answer(id);
    let path = answer["result"]["structuredContent"]["files"][0]["path"].clone();
    assert_eq!(path, json!(env.project().join("k.png")), "{answer:#}");
    // It is asked once.
    let id = client.ask("get_workspace_info", &json!({}));
    let answer = client.answer(id);
    let folder = &answer["result"]["structuredContent"]["output_dir"];
    assert_eq!(*folder, json!(env.project()));
}

#[test]
fn nobody_is_asked_who_can_not_answer_or_where_it_is_settled() {
    let env = world();
    let folder = |mut client: McpClient| {
        let id = client.ask("get_workspace_info", &json!({}));
        client.answer(id)["result"]["structuredContent"]["output_dir"].clone()
    };
    let usual = json!(env.path("user").join("Pictures/Layer"));
    assert_eq!(folder(client(&env, Era::Sessions, json!({}))), usual);
    // The newest revision has no such question.
    assert_eq!(folder(client(&env, Era::Stateless, json!({ "roots": {} }))), usual);
    let mut settled = world();
    settled.set("LAYER_OUTPUT_DIR", env.path("outside"));
    let chosen = folder(client(&settled, Era::Sessions, json!({ "roots": {} })));
    assert_eq!(chosen, json!(env.path("outside")));
}

#[test]
fn an_error_for_an_answer_leaves_the_usual_folder() {
    let env = world();
    let mut client = client(&env, Era::Sessions, json!({ "roots": {} }));
    let id = client.ask("get_workspace_info", &json!({}));
    let question = client.question();
    client.reply(&question, "error", json!({ "code": -32603, "message": "no" }));
    let answer = client.answer(id);
    let folder = &answer["result"]["structuredContent"]["output_dir"];
    assert_eq!(*folder, json!(env.path("user").join("Pictures/Layer")));
}
