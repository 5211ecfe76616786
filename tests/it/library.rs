//! What only Layer's GraphQL side has: words about pictures, prompts, styles, history, usage.

use serde_json::{Value, json};

use crate::support::{TestEnv, for_each, picture, with};

fn asked(env: &TestEnv, operation: &str) -> usize {
    let requests = env.requests();
    let bodies =
        requests.iter().filter(|it| it.path == "/graphql").filter_map(|it| it.body.as_ref());
    bodies.filter(|body| body["operationName"] == operation).count()
}

fn art(env: &TestEnv, name: &str, shade: u8) {
    let pixels = image::RgbImage::from_pixel(48, 32, image::Rgb([shade, 80, 200]));
    pixels.save(env.project().join(name)).unwrap();
}

#[test]
fn a_picture_is_described_in_three_depths() {
    let env = TestEnv::new();
    let made = env.call("create_asset", &picture("a brass lamp. On a shelf")).complete();
    let describe = |detail: &str| {
        env.call("describe_image", &json!({ "image": made.id(), "detail": detail })).done()
    };
    let whole = describe("detailed");
    let words = whole["description"].as_str().unwrap();
    assert!(words.contains("brass lamp"), "{whole}");
    assert!(whole.get("made").is_none(), "{whole}");
    let basic = describe("basic");
    let first = basic["description"].as_str().unwrap();
    assert!(words.starts_with(first) && first.len() <= words.len(), "{first} / {words}");
    let all = describe("comprehensive");
    let how = all["made"].as_str().unwrap();
    assert!(how.contains(made.0["model"].as_str().unwrap()) && how.contains("seed"), "{how}");
    // What a job made lies at Layer already, and looking at it buys nothing.
    assert_eq!((asked(&env, "DescribeImage"), env.starts()), (3, 1));
    assert!(!env.requests().iter().any(|it| it.path.ends_with("/upload-url")));
}

#[test]
fn a_local_picture_is_uploaded_once_for_its_description() {
    let env = TestEnv::new();
    art(&env, "hero.png", 9);
    let first = env.call("describe_image", &json!({ "image": "hero.png" })).done();
    assert!(first["description"].as_str().unwrap().len() > 5, "{first}");
    let again = env.call("describe_image", &json!({ "image": "hero.png" })).done();
    assert_eq!(first["file_id"], again["file_id"]);
    let uploads = env.requests().iter().filter(|it| it.path.ends_with("/upload-url")).count();
    assert_eq!(uploads, 1);
    std::fs::write(env.project().join("notes.txt"), "words").unwrap();
    let _ = env.call("describe_image", &json!({ "image": "notes.txt" })).error("unsupported_file");
}

#[test]
fn a_prompt_is_written_and_nothing_is_made() {
    let env = TestEnv::new();
    art(&env, "look.png", 20);
    let written = env.call(
        "generate_prompt",
        &json!({ "base_prompt": "a rusty robot", "asset_type": "icon", "references": ["look.png"] }),
    );
    let written = written.done();
    let prompt = written["prompt"].as_str().unwrap();
    assert!(prompt.contains("a rusty robot") && prompt.len() > "a rusty robot".len(), "{prompt}");
    let idea = env.call("generate_prompt", &json!({})).done();
    assert!(idea["message"].as_str().unwrap().contains("idea"), "{idea}");
    assert_eq!((asked(&env, "TransformPrompt"), asked(&env, "GeneratePrompt")), (1, 1));
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_style_is_made_as_a_draft_and_its_training_is_the_user_s() {
    let env = TestEnv::new();
    for shade in 1..=4 {
        art(&env, &format!("look-{shade}.png"), shade * 40);
    }
    let call = json!({ "name": "Rusty", "references": ["look-*.png"], "kind": "items_in_game" });
    let problem = env.call("create_style", &with(&call, json!({ "train": true })));
    let problem = problem.error("confirmation_needed").says("not_charged", false);
    assert!(problem.next_step().contains("draft"), "{}", problem.next_step());
    assert_eq!(asked(&env, "CreateStyle"), 0);
    let made = env.call("create_style", &call).done();
    assert_eq!((&made["status"], &made["missing"]), (&json!("draft"), &json!([])), "{made}");
    let listed = env.call("list_styles", &json!({ "search": "rusty" })).done();
    assert_eq!(listed["styles"][0]["style_id"], made["style_id"], "{listed}");
    assert_eq!(listed["styles"][0]["kind"], "items_in_game");
    let one = env.call("list_styles", &json!({ "style_id": made["style_id"] })).done();
    assert_eq!(one["styles"][0]["name"], "Rusty");
    // A draft makes no pictures, and that is found out before anything is paid.
    let early = with(&picture("a crate"), json!({ "model": made["style_id"] }));
    let problem = env.call("create_asset", &early).error("invalid_argument");
    assert!(problem.says("not_charged", false).message().contains("draft"));
    assert_eq!(env.starts(), 0);
    let few = json!({ "name": "Few", "references": ["look-1.png"] });
    let few = env.call("create_style", &few).done();
    assert!(few["next_step"].as_str().unwrap().contains("Before it can be trained"), "{few}");
    let public = env.call("list_styles", &json!({ "public": true, "status": "complete" })).done();
    assert!(!public["styles"].as_array().unwrap().is_empty(), "{public}");
}

#[test]
fn a_trained_style_stands_for_a_model() {
    let env = TestEnv::new();
    let public = env.call("list_styles", &json!({ "public": true, "status": "complete" })).done();
    let style = &public["styles"][0]["style_id"];
    let call = json!({ "prompt": "a crate", "width": 256, "height": 256, "model": style });
    let job = env.call("create_asset", &call).complete();
    assert_eq!(&job.0["model"], style);
    assert!(
        job.0["message"].as_str().unwrap().contains("a style, named in the call"),
        "{:#}",
        job.0
    );
}

#[test]
fn the_history_of_the_workspace_is_listed() {
    let env = TestEnv::new();
    art(&env, "mine.png", 7);
    let uploaded = env.call("upload_file", &json!({ "path": "mine.png" })).done();
    let first = env.call("create_asset", &picture("a first crate")).complete();
    let _ = env.call("create_asset", &picture("a second crate")).complete();
    let runs = env.call("list_history", &json!({})).done();
    let entries = runs["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{runs}");
    let old = entries.iter().find(|entry| entry["prompt"] == "a first crate").unwrap();
    assert_eq!(old["status"], "complete");
    assert_eq!(old["seed"], first.0["seed"]);
    let file = old["file_ids"][0].clone();
    let files = env.call("list_history", &json!({ "kind": "files" })).done();
    let ids: Vec<&Value> =
        files["entries"].as_array().unwrap().iter().map(|entry| &entry["id"]).collect();
    assert!(ids.contains(&&file) && ids.contains(&&uploaded["file_id"]), "{files}");
    // A file of the history is a reference.
    let call = with(&picture("a third crate"), json!({ "references": [file] }));
    let _ = env.call("create_asset", &call).complete();
    let page = env.call("list_history", &json!({ "limit": 1 })).done();
    let next =
        env.call("list_history", &json!({ "limit": 1, "cursor": page["next_cursor"] })).done();
    assert_ne!(page["entries"][0]["id"], next["entries"][0]["id"]);
    let named =
        with(&picture("a grouped crate"), json!({ "options": { "session_name": "crates" } }));
    let _ = env.call("create_asset", &named).complete();
    let sessions = env.call("list_history", &json!({ "kind": "sessions" })).done();
    assert_eq!(sessions["entries"][0]["name"], "crates", "{sessions}");
}

#[test]
fn plan_and_usage_are_told_on_request() {
    let env = TestEnv::new();
    let job = env.call("create_asset", &picture("a crate")).complete();
    let plain = env.call("get_workspace_info", &json!({})).done();
    assert!(plain.get("plan").is_none() && plain.get("used_by_day").is_none(), "{plain}");
    assert_eq!(asked(&env, "WorkspaceUsage"), 0);
    let told = env.call("get_workspace_info", &json!({ "usage": true })).done();
    assert_eq!((&told["plan"], &told["disabled"]), (&json!("studio"), &json!([])), "{told}");
    assert_eq!(told["used_by_model"][0]["name"], job.0["model"], "{told}");
    assert_eq!(told["used_by_model"][0]["cu"], job.0["cost_cu"], "{told}");
    assert_eq!(told["used_by_day"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn a_call_that_the_plan_forbids_says_so() {
    let mut env = TestEnv::new();
    let empty = env.sandbox().empty_workspace_id().to_owned();
    env.set("LAYER_WORKSPACE_ID", empty);
    let call = json!({ "prompt": "a crate", "use_case": "text_to_3d" });
    let problem = env.call("create_asset", &call).error("feature_disabled");
    let problem = problem.says("not_charged", false);
    assert!(problem.message().contains("plan is `free`"), "{}", problem.message());
    assert!(problem.message().contains("three_d"), "{}", problem.message());
    let quoted = env.call("quote", &json!({ "arguments": call })).error("feature_disabled");
    assert!(quoted.message().contains("plan is `free`"), "{}", quoted.message());
    // A workspace may be named as people know it.
    env.set("LAYER_WORKSPACE_ID", "sandbox-studio");
    let told = env.call("get_workspace_info", &json!({})).done();
    assert_eq!(told["workspace_id"], env.sandbox().workspace_id());
}

#[test]
fn errors_of_both_channels_are_told_with_their_meaning() {
    let env = TestEnv::new();
    let cases = [
        ("graphql_error", "service_error", "its word for any failure"),
        ("graphql_domain_error", "service_error", "its word for any failure"),
        ("graphql_forbidden", "feature_disabled", "permission"),
    ];
    for (fault, code, words) in cases {
        env.faults(&[fault]);
        let problem = env.call("generate_prompt", &json!({ "base_prompt": "a crate" })).error(code);
        let problem = problem.says("not_charged", code == "service_error");
        assert!(problem.message().contains(words), "{fault}: {}", problem.message());
        assert!(problem.0["request_id"].is_string(), "{fault}: {:#}", problem.0);
    }
    // What may have been done is not done again by itself.
    assert_eq!(asked(&env, "TransformPrompt"), cases.len());
}

#[test]
fn a_schema_that_moved_is_no_obstacle() {
    let faults = ["graphql_field_gone", "graphql_unknown_enum", "graphql_parameters_string"];
    let calls = [
        ("list_styles", json!({ "public": true })),
        ("list_history", json!({})),
        ("list_history", json!({ "kind": "files" })),
        ("get_workspace_info", json!({ "usage": true })),
    ];
    let env = TestEnv::new();
    let _ = env.call("create_asset", &picture("an old crate")).complete();
    for fault in faults {
        env.faults(&[fault]);
        for_each(&calls, |(tool, arguments)| {
            let answer = env.call(tool, arguments).done();
            assert!(answer["message"].is_string(), "{fault}, {tool}: {answer}");
        });
    }
    env.faults(&["graphql_parameters_string"]);
    let runs = env.call("list_history", &json!({})).done();
    assert_eq!(runs["entries"][0]["prompt"], "an old crate");
    env.faults(&["graphql_unknown_enum"]);
    let info = env.call("get_workspace_info", &json!({ "usage": true })).done();
    assert_eq!(info["plan"], "hibernating");
}

/// The schema that the sandbox holds every document against.
const SCHEMA: &str = include_str!("../../src/sandbox/graphql/schema.graphql");

#[test]
fn every_document_fits_the_schema() {
    let env = TestEnv::new();
    art(&env, "look.png", 60);
    let _ = env.call("create_asset", &picture("a crate")).complete();
    let style = json!({ "name": "Look", "references": ["look.png"] });
    let style = env.call("create_style", &style).done()["style_id"].clone();
    for (tool, arguments) in [
        ("describe_image", json!({ "image": "look.png" })),
        ("generate_prompt", json!({})),
        ("generate_prompt", json!({ "references": ["look.png"] })),
        ("list_styles", json!({})),
        ("list_styles", json!({ "public": true })),
        ("list_styles", json!({ "style_id": style })),
        ("list_history", json!({})),
        ("list_history", json!({ "kind": "files" })),
        ("list_history", json!({ "kind": "sessions" })),
        ("get_workspace_info", json!({ "usage": true })),
    ] {
        let _ = env.call(tool, &arguments).done();
    }
    // Whatever is sent to GraphQL is a document of this list, and the sandbox took each.
    let documents = include_str!("../../src/layer/library/documents.rs");
    let written =
        documents.matches("\"query\", \"").count() + documents.matches("\"mutation\", \"").count();
    let requests = env.requests();
    let sent: std::collections::BTreeSet<String> = requests
        .iter()
        .filter(|it| it.path == "/graphql")
        .filter_map(|it| it.body.as_ref()?["operationName"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(sent.len(), written, "{sent:?}");
}

/// Kind and name, then each member with its type.
type Definition = (String, String, Vec<(String, String)>);

/// The definitions of a schema.
fn definitions(schema: &str) -> Vec<Definition> {
    let mut found = Vec::new();
    let mut open: Option<Definition> = None;
    for line in
        schema.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &mut open) {
            (["}"], open) => found.extend(open.take()),
            ([kind @ ("type" | "input" | "enum"), name, .., "{"], open @ None) => {
                *open = Some(((*kind).to_owned(), (*name).to_owned(), Vec::new()));
            }
            (_, Some((_, _, members))) => {
                // What stands in brackets is arguments, which have types of their own.
                let Some((name, kind)) = line.rsplit_once(": ") else {
                    members.extend(words.iter().map(|word| ((*word).to_owned(), String::new())));
                    continue;
                };
                let name = name.split('(').next().unwrap();
                let kind = kind.split(" = ").next().unwrap().trim();
                members.push((name.trim().to_owned(), kind.to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// Where the data of the published schema lies beside the project, the copy is held against it.
#[test]
fn the_copy_of_the_schema_is_true() {
    let copy = definitions(SCHEMA);
    assert!(copy.len() > 40, "{} definitions were read", copy.len());
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/contract/layer-graphql.json");
    let Ok(published) = std::fs::read_to_string(published) else { return };
    let published: Value = serde_json::from_str(&published).unwrap();
    let type_of = |member: &Value| {
        let kind = member.as_str().or(member["type"].as_str()).or(member["returns"].as_str());
        kind.unwrap_or_default().split(" = ").next().unwrap().trim().to_owned()
    };
    let mut wrong = Vec::new();
    for (kind, name, members) in copy {
        let place = match (kind.as_str(), name.as_str()) {
            ("type", "Query" | "Mutation") => &published["roots"][&name],
            ("type", _) => &published["objects"][&name],
            ("input", _) => &published["inputs"][&name],
            _ => &published["enums"][&name],
        };
        for (member, kind) in members {
            let there = match place {
                Value::Array(words) => words.iter().any(|word| *word == member).then(String::new),
                object => object.get(&member).map(type_of),
            };
            if there.as_deref() != Some(kind.as_str()) {
                wrong.push(format!("{name}.{member}: {kind} here, {there:?} there"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}
