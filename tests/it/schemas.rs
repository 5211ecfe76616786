//! What a client is told of the tools, and that their answers keep to it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::client::{Place, Revision};

/// What some client chokes on, or what only costs a model's attention.
const UNWANTED: [&str; 11] = [
    "$ref",
    "$defs",
    "$schema",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "prefixItems",
    "patternProperties",
    "format",
    "title",
];

/// A token (o200k) holds a little more than four bytes of this list, as measured with
/// `gpt-tokenizer`.
const BYTES_PER_TOKEN: usize = 4;

fn list(arguments: &[&str]) -> Vec<Value> {
    let place = Place::new();
    let mut client = crate::client::Client::new(place.command(arguments));
    client.shake_hands(Revision::V2025_11_25);
    let mut listed = client.request("tools/list", json!({}));
    match listed["tools"].take() {
        Value::Array(tools) => tools,
        other => panic!("{other}"),
    }
}

/// Every tool there is.
fn tools() -> Vec<Value> {
    list(&["--toolsets", "all", "serve"])
}

fn names(tools: &[Value]) -> Vec<&str> {
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[test]
fn every_tool_is_as_it_was_reviewed() {
    let tools = tools();
    for tool in &tools {
        let name = format!("tool_{}", tool["name"].as_str().unwrap());
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_json_snapshot!(name, tool);
        });
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let kept: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("tool_")?.strip_suffix(".snap")?.to_owned()))
        .collect();
    let listed: BTreeSet<String> = names(&tools).into_iter().map(str::to_owned).collect();
    assert_eq!(kept, listed, "a snapshot of a tool that is gone, or none of a new one");
}

#[test]
fn the_instructions_are_as_they_were_reviewed() {
    let place = Place::new();
    let introduction = place.serve().shake_hands(Revision::V2025_11_25);
    let instructions = introduction["instructions"].as_str().unwrap().to_owned();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("instructions", instructions);
    });
}

#[test]
fn every_schema_is_one_that_every_client_takes() {
    for tool in tools() {
        let name = tool["name"].as_str().unwrap();
        flat(&tool["inputSchema"], &format!("{name} in"));
        if let Some(output) = tool.get("outputSchema") {
            flat(output, &format!("{name} out"));
        }
    }
}

/// Looks at a schema and at all schemas in it.
#[track_caller]
fn flat(schema: &Value, place: &str) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{place}: {schema}"));
    for unwanted in UNWANTED {
        assert!(!fields.contains_key(unwanted), "{place} has `{unwanted}`: {schema}");
    }
    let kind = fields.get("type").and_then(Value::as_str);
    let kind = kind.unwrap_or_else(|| panic!("{place} has no single type: {schema}"));
    assert!(
        ["object", "array", "string", "integer", "number", "boolean"].contains(&kind),
        "{place}: {kind}"
    );
    assert!(fields.get("default").is_none_or(|default| !default.is_null()), "{place}: {schema}");
    if let Some(words) = fields.get("enum") {
        let words = words.as_array().unwrap();
        assert!(!words.is_empty() && words.iter().all(Value::is_string), "{place}: {schema}");
    }
    let known: Vec<&String> = fields
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    for required in fields.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(known.iter().any(|name| *name == required), "{place} lacks {required}");
    }
    match kind {
        "object" => {
            for (name, property) in fields["properties"].as_object().unwrap() {
                flat(property, &format!("{place}, {name}"));
            }
        }
        "array" => flat(&fields["items"], &format!("{place}, items")),
        _ => {}
    }
}

#[test]
fn every_argument_is_described_and_no_other_is_taken() {
    for tool in tools() {
        let name = tool["name"].as_str().unwrap();
        let input = &tool["inputSchema"];
        assert_eq!(input["type"], "object", "{name}");
        assert_eq!(input["additionalProperties"], false, "{name}");
        for (argument, schema) in input["properties"].as_object().unwrap() {
            let described = schema["description"].as_str().unwrap_or_default();
            assert!(described.len() > 5, "{name}: `{argument}` is not described");
            assert!(described.ends_with('.'), "{name}: `{argument}`: {described}");
            assert!(described.len() < 120, "{name}: `{argument}`: {described}");
        }
    }
}

#[test]
fn names_titles_and_hints_are_those_of_a_portable_tool() {
    for tool in tools() {
        let name = tool["name"].as_str().unwrap();
        assert!(name.chars().all(|it| matches!(it, 'a'..='z' | '0'..='9' | '_')), "{name}");
        assert!("mcp__layer__".len() + name.len() < 64, "{name}");
        assert!(!tool["title"].as_str().unwrap().is_empty(), "{name}");
        let description = tool["description"].as_str().unwrap();
        assert!(description.ends_with('.') && !description.contains('\n'), "{name}: {description}");
        let hints = &tool["annotations"];
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(hints[hint].is_boolean(), "{name}: `{hint}` is left to the client's guess");
        }
        // What only reads can't destroy.
        assert!(hints["readOnlyHint"] != true || hints["destructiveHint"] == false, "{name}");
    }
}

#[test]
fn a_tool_whose_answer_is_a_picture_has_no_output_schema_and_all_others_have() {
    for tool in tools() {
        let pictures = tool["name"] == "view_asset";
        assert_eq!(tool.get("outputSchema").is_none(), pictures, "{}", tool["name"]);
    }
}

#[test]
fn the_list_is_sorted_and_always_the_same() {
    let first = list(&["serve"]);
    let names = names(&first);
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);

    // In another process, in another era, a second time, and on the command line.
    let place = Place::new();
    let mut client = place.serve();
    client.shake_hands(Revision::V2026_07_28);
    for _ in 0..2 {
        let again = client.request("tools/list", json!({}));
        assert_eq!(again["tools"].to_string(), Value::from(first.clone()).to_string());
    }
    assert_eq!(place.run(&["tools", "--json"]).document(0), Value::from(first));
}

#[test]
fn read_only_shows_only_what_reads_and_takes_nothing_else() {
    let all = list(&["serve"]);
    let reading: Vec<&Value> =
        all.iter().filter(|tool| tool["annotations"]["readOnlyHint"] == true).collect();
    let shown = list(&["--read-only", "serve"]);
    assert_eq!(shown.iter().collect::<Vec<_>>(), reading);
    assert!(!names(&shown).contains(&"create_asset"));
    assert!(!names(&shown).contains(&"cancel_job"));

    let place = Place::new();
    let mut client = crate::client::Client::new(place.command(&["--sandbox", "--read-only"]));
    client.shake_hands(Revision::V2025_11_25);
    let id = client.begin_call("create_asset", json!({ "prompt": "a knight" }));
    assert_eq!(client.answer(id)["error"]["code"], -32602);
}

#[test]
fn toolsets_decide_what_is_offered() {
    let offered = |sets: &str| {
        let tools = list(&["--toolsets", sets, "serve"]);
        names(&tools).into_iter().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let all = offered("all");
    assert_eq!(offered("workflows"), ["list_workflows", "run_workflow"].map(str::to_owned).into());
    assert_eq!(offered("history"), ["list_history".to_owned()].into());
    assert_eq!(offered(" workflows, history,default"), all);
    let default: BTreeSet<String> =
        names(&list(&["serve"])).into_iter().map(str::to_owned).collect();
    assert_eq!(offered("default"), default);
    assert!(!default.contains("run_workflow") && default.contains("create_style"));
    let refused = Place::new().run(&["--toolsets", "everything", "tools"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[test]
fn the_list_is_small() {
    for tool in tools() {
        let whole = tool.to_string().len();
        assert!(whole <= 3 * 1024, "{} has {whole} bytes", tool["name"]);
    }
    let tools = list(&["serve"]);
    assert!(tools.len() <= 16, "{:?}", names(&tools));
    let mut seen_by_a_model = 0;
    for tool in &tools {
        let seen = json!({
            "name": tool["name"],
            "description": tool["description"],
            "inputSchema": tool["inputSchema"],
        });
        seen_by_a_model += seen.to_string().len();
    }
    assert!(seen_by_a_model <= 3_000 * BYTES_PER_TOKEN, "{seen_by_a_model} bytes");
    let all = Value::from(tools).to_string().len();
    assert!(all <= 6_000 * BYTES_PER_TOKEN, "{all} bytes");
}

// ---- Answers ----

/// Strict clients turn an answer that does not fit its schema into an error.
#[test]
fn every_answer_fits_its_schema() {
    let tools = tools();
    let place = Place::new();
    let mut client =
        crate::client::Client::new(place.command(&["--sandbox", "--toolsets", "all", "serve"]));
    client.shake_hands(Revision::V2025_11_25);
    let mut told = BTreeSet::new();
    let mut check = |tool: &str, arguments: Value| {
        let answer = client.data(tool, arguments);
        let spec = tools.iter().find(|spec| spec["name"] == tool).unwrap();
        fits(&answer, &spec["outputSchema"], tool);
        told.insert(tool.to_owned());
        answer
    };
    let knight = json!({ "prompt": "a knight", "width": 64, "height": 64, "wait_seconds": 0 });
    check("list_jobs", json!({}));
    check("get_workspace_info", json!({}));
    check("list_models", json!({}));
    check("list_models", json!({ "search": "nothing is called so" }));
    check("list_models", json!({ "modality": "audio", "max_cu": 100, "limit": 1 }));
    let quote = check("quote", knight.clone());
    let asked = json!({ "quote_id": quote["quote_id"] });
    check("confirm_spend", asked);
    let line = json!({ "tool": "create_asset", "arguments": knight }).to_string();
    let several = check("quote", json!({ "calls": [line, { "arguments": knight }] }));
    assert_eq!(several["calls"].as_array().unwrap().len(), 2, "{several}");
    check("confirm_spend", json!({ "quote_id": several["quote_id"] }));
    let mut bought = knight.clone();
    bought["quote_id"] = quote["quote_id"].clone();
    let running = check("create_asset", bought);
    assert_eq!(running["status"], "running");
    check("cancel_job", json!({ "job_id": running["job_id"] }));
    check("list_jobs", json!({ "status": "running" }));
    let done = check("get_job", json!({ "job_id": running["job_id"], "wait_seconds": 40 }));
    assert_eq!(done["status"], "complete", "{done}");
    check("cancel_job", json!({ "job_id": running["job_id"] }));
    check("create_asset", json!({ "prompt": "hello there", "use_case": "text_to_speech" }));
    check("list_jobs", json!({ "limit": 1 }));
    let image = done["files"][0]["path"].clone();
    check("upload_file", json!({ "path": image }));
    check("remove_background", json!({ "image": image }));
    check("refine_image", json!({ "image": image, "prompt": "in blue" }));
    check("describe_image", json!({ "image": image, "detail": "comprehensive" }));
    check("describe_image", json!({ "image": running["job_id"], "detail": "comprehensive" }));
    check("generate_prompt", json!({ "base_prompt": "a crate" }));
    check("create_style", json!({ "name": "Crates", "references": [image] }));
    check("list_styles", json!({}));
    check("get_workspace_info", json!({ "usage": true }));
    check("list_workflows", json!({}));
    let inputs = json!({ "subject": "swords", "count": 1 });
    check("run_workflow", json!({ "workflow": "Icon set", "inputs": inputs }));
    for kind in ["runs", "files", "sessions"] {
        check("list_history", json!({ "kind": kind }));
    }
    let schemas = tools.iter().filter(|tool| tool.get("outputSchema").is_some());
    let with_schema: BTreeSet<String> =
        schemas.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, with_schema, "a tool whose answer nobody looked at");
}

/// What a job looks like is fixed: scripts read it.
#[test]
fn the_names_that_scripts_read_are_there() {
    let tools = tools();
    let property = |tool: &str, side: &str| {
        let spec = tools.iter().find(|spec| spec["name"] == tool).unwrap();
        let properties = spec[side]["properties"].as_object().unwrap();
        properties.keys().cloned().collect::<BTreeSet<String>>()
    };
    for (tool, side, fixed) in [
        (
            "create_asset",
            "inputSchema",
            "prompt use_case model width height count seed quality negative_prompt transparent \
             tileable duration_seconds save_to wait_seconds variation quote_id",
        ),
        (
            "create_asset",
            "outputSchema",
            "job_id status message model estimated_cu cost_cu files adjusted next_step",
        ),
        ("get_job", "inputSchema", "job_id wait_seconds"),
        (
            "get_job",
            "outputSchema",
            "job_id status message model estimated_cu cost_cu files adjusted next_step",
        ),
        ("list_models", "inputSchema", "use_case modality capability search max_cu limit cursor"),
        (
            "quote",
            "outputSchema",
            "quote_id estimated_cu available_cu expires_at needs_confirmation",
        ),
        ("view_asset", "inputSchema", "image"),
    ] {
        let there = property(tool, side);
        for name in fixed.split_whitespace() {
            assert!(there.contains(name), "{tool} {side} lacks `{name}`: {there:?}");
        }
    }
    let spec = tools.iter().find(|spec| spec["name"] == "create_asset").unwrap();
    let file = &spec["outputSchema"]["properties"]["files"]["items"]["properties"];
    for name in "path media_type bytes width height duration_seconds sha256".split_whitespace() {
        assert!(file.get(name).is_some(), "a file lacks `{name}`: {file}");
    }
}

/// JSON Schema as far as `flat` lets it be used. A field that the schema does not know is an
/// error as well: nobody would find it.
#[track_caller]
fn fits(value: &Value, schema: &Value, place: &str) {
    let kind = schema["type"].as_str().unwrap();
    let right = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => false,
    };
    assert!(right, "{place} is no {kind}: {value}");
    if let Some(words) = schema.get("enum") {
        assert!(words.as_array().unwrap().contains(value), "{place}: {value}");
    }
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(
            value.get(required.as_str().unwrap()).is_some(),
            "{place} lacks {required}: {value}"
        );
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name);
        let known = known.unwrap_or_else(|| panic!("{place}: `{name}` is in no schema"));
        fits(field, known, &format!("{place}, {name}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], &format!("{place}, items"));
    }
}
