//! Prompts, and what their arguments are completed with.

use serde_json::{Value, json};

use crate::client::{Client, Place, Revision};

fn prompts(client: &mut Client) -> Vec<Value> {
    match client.request("prompts/list", json!({}))["prompts"].take() {
        Value::Array(prompts) => prompts,
        other => panic!("{other}"),
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

fn plan(client: &mut Client, name: &str, arguments: Value) -> String {
    let prompt = client.request("prompts/get", json!({ "name": name, "arguments": arguments }));
    let message = &prompt["messages"][0];
    assert_eq!(message["role"], "user", "{prompt}");
    message["content"]["text"].as_str().unwrap().to_owned()
}

/// What an argument of a prompt may be.
fn completed(client: &mut Client, prompt: &str, argument: &str, typed: &str) -> Vec<String> {
    let answer = client.request(
        "completion/complete",
        json!({
            "ref": { "type": "ref/prompt", "name": prompt },
            "argument": { "name": argument, "value": typed },
        }),
    );
    serde_json::from_value(answer["completion"]["values"].clone()).unwrap()
}

#[test]
fn every_prompt_is_as_it_was_reviewed() {
    let place = Place::new();
    let mut client = place.connect();
    let listed = Value::from(prompts(&mut client));
    assert_eq!(names(&listed), ["character_turnaround", "icon_set", "sound_pack", "tile_set"]);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_json_snapshot!("prompts", listed);
        for (name, subject) in [
            ("character_turnaround", "character"),
            ("icon_set", "subject"),
            ("sound_pack", "theme"),
            ("tile_set", "theme"),
        ] {
            let plan = plan(&mut client, name, json!({ subject: "a mossy dungeon" }));
            insta::assert_snapshot!(format!("prompt_{name}"), plan);
        }
    });
    // Nothing is bought by a prompt.
    assert_eq!(client.data("list_jobs", json!({}))["jobs"], json!([]));
}

#[test]
fn a_plan_has_what_the_user_gave_each_on_one_line() {
    let mut client = Place::new().connect();
    for prompt in prompts(&mut client) {
        let name = prompt["name"].as_str().unwrap();
        let arguments = prompt["arguments"].as_array().unwrap();
        let given: Value = arguments
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .map(|argument| (argument.to_owned(), json!(format!("own words\nof {argument}"))))
            .collect::<serde_json::Map<String, Value>>()
            .into();
        let plan = plan(&mut client, name, given);
        for argument in arguments {
            let argument = argument["name"].as_str().unwrap();
            assert!(plan.contains(&format!("own words of {argument}")), "{name}: {plan}");
        }
    }
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let mut client = Place::new().connect();
    for (params, said) in [
        (json!({ "name": "nothing" }), "icon_set"),
        (json!({ "name": "icon_set" }), "`subject` is missing"),
        (json!({ "name": "icon_set", "arguments": { "subject": "  " } }), "`subject` is missing"),
        (json!({ "name": "icon_set", "arguments": { "subject": 3 } }), "must be text"),
        (json!({ "name": "icon_set", "arguments": { "subject": "a", "colour": "b" } }), "colour"),
        (json!({ "name": "icon_set", "arguments": { "subject": "a".repeat(3_000) } }), "2000"),
    ] {
        let error = client.refused("prompts/get", params.clone());
        assert_eq!(error["code"], -32602, "{params}");
        assert!(error["message"].as_str().unwrap().contains(said), "{params}: {error}");
    }
    for params in [
        json!({ "ref": { "type": "ref/prompt", "name": "no" }, "argument": { "name": "a", "value": "" } }),
        json!({ "ref": { "type": "ref/prompt", "name": "icon_set" }, "argument": { "name": "a", "value": "" } }),
        json!({ "ref": { "type": "ref/resource", "uri": "layer://no/{x}" }, "argument": { "name": "x", "value": "" } }),
    ] {
        assert_eq!(client.refused("completion/complete", params)["code"], -32602);
    }
}

#[test]
fn arguments_are_completed_with_what_there_is() {
    let place = Place::new();
    std::fs::create_dir_all(place.output().join("art/heroes")).unwrap();
    std::fs::write(place.output().join("art/knight.png"), "x").unwrap();
    let mut client = place.connect();
    assert!(completed(&mut client, "icon_set", "subject", "a").is_empty());
    assert_eq!(completed(&mut client, "icon_set", "count", "1"), ["12", "16", "6", "8"][..2]);
    let models = completed(&mut client, "icon_set", "model", "flux");
    assert_eq!(models[0], "flux", "{models:?}");
    // By its name too.
    let listed = client.data("list_models", json!({ "limit": 1 }));
    let (id, name) = (&listed["models"][0]["model_id"], listed["models"][0]["name"].as_str());
    let found = completed(&mut client, "icon_set", "model", &name.unwrap().to_uppercase());
    assert_eq!(json!(found[0]), *id);

    let style = json!({ "name": "Crates", "references": ["art/crate.png"] });
    client.data("create_asset", json!({ "prompt": "a crate", "save_to": "art/crate.png" }));
    let made = client.data("create_style", style);
    assert_eq!(
        json!(completed(&mut client, "tile_set", "style", "crat")),
        json!([made["style_id"]])
    );

    let file =
        |client: &mut Client, typed| completed(client, "character_turnaround", "reference", typed);
    assert_eq!(file(&mut client, ""), ["art/"]);
    assert_eq!(file(&mut client, "art/k"), ["art/knight.png"]);
    assert_eq!(completed(&mut client, "icon_set", "save_to", "art/"), ["art/heroes/"]);
    for outside in ["/etc/", "../", "~/"] {
        assert!(file(&mut client, outside).is_empty(), "{outside}");
    }
}

#[test]
fn prompts_and_completions_work_in_every_revision_and_without_a_token() {
    for revision in [Revision::V2024_11_05, Revision::V2025_06_18, Revision::V2026_07_28] {
        let place = Place::new();
        let mut client = Client::new(place.command(&["serve"]));
        client.shake_hands(revision);
        assert_eq!(prompts(&mut client).len(), 4);
        assert!(plan(&mut client, "tile_set", json!({ "theme": "sand" })).contains("sand"));
        // Without a token there are no models to tell of, and that is no error.
        assert!(completed(&mut client, "tile_set", "model", "").is_empty());
        assert!(!completed(&mut client, "tile_set", "size", "").is_empty());
    }
}
