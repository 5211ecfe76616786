//! Resources: finished assets, jobs and the ledger, as clients list and read them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Client, Place, Revision};

fn listed(client: &mut Client) -> Vec<Value> {
    match client.request("resources/list", json!({}))["resources"].take() {
        Value::Array(resources) => resources,
        other => panic!("{other}"),
    }
}

fn read(client: &mut Client, uri: &str) -> Value {
    client.request("resources/read", json!({ "uri": uri }))["contents"].take()
}

/// The JSON that a resource is.
fn json_of(client: &mut Client, uri: &str) -> Value {
    let contents = read(client, uri);
    assert_eq!(contents[0]["uri"], uri);
    assert_eq!(contents[0]["mimeType"], "application/json");
    serde_json::from_str(contents[0]["text"].as_str().unwrap()).unwrap()
}

#[test]
fn listing_and_reading_buys_nothing_and_makes_no_journal() {
    let place = Place::new();
    let mut client = place.connect();
    let uris: Vec<Value> = listed(&mut client).iter().map(|it| it["uri"].clone()).collect();
    assert_eq!(uris, ["layer://jobs", "layer://ledger", "layer://workspace"]);
    assert_eq!(json_of(&mut client, "layer://ledger")["total"]["jobs"], 0);
    assert_eq!(json_of(&mut client, "layer://workspace")["balance_cu"], 500.0);
    let journals = place.written().into_iter().filter(|path| path.ends_with("journal.db"));
    assert_eq!(journals.count(), 0);
}

#[test]
fn a_finished_asset_is_listed_and_is_its_own_file() {
    let place = Place::new();
    let mut client = place.connect();
    let made = client.data(
        "create_asset",
        json!({ "prompt": "a knight", "width": 64, "height": 64, "save_to": "art/knight.png" }),
    );
    let uri = format!("layer://assets/{}/1", made["job_id"].as_str().unwrap());
    let resources = listed(&mut client);
    let asset = resources.iter().find(|it| it["uri"] == uri).unwrap();
    assert_eq!(asset["name"], "knight.png");
    assert_eq!(asset["description"], "a knight");
    assert_eq!(asset["mimeType"], "image/png");
    assert_eq!(asset["size"], made["files"][0]["bytes"]);
    let contents = read(&mut client, &uri);
    let bytes = STANDARD.decode(contents[0]["blob"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, std::fs::read(place.output().join("art/knight.png")).unwrap());
    let facts: Value = serde_json::from_str(contents[1]["text"].as_str().unwrap()).unwrap();
    assert_eq!(facts, made["files"][0]);
    // The job, and the ledger.
    let job = json_of(&mut client, &format!("layer://jobs/{}", made["job_id"].as_str().unwrap()));
    assert_eq!(job["prompt"], "a knight");
    for same in ["status", "files", "cost_cu", "model"] {
        assert_eq!(job[same], made[same], "{same}");
    }
    assert_eq!(json_of(&mut client, "layer://jobs")["jobs"][0]["job_id"], made["job_id"]);
    let ledger = json_of(&mut client, "layer://ledger");
    assert_eq!(ledger["total"]["charged_cu"], made["cost_cu"]);
    assert_eq!(ledger["by_model"][0]["name"], made["model"]);
}

#[test]
fn a_large_picture_comes_as_a_small_copy_and_a_large_file_as_its_facts() {
    let place = Place::new();
    let mut client = place.connect();
    let big =
        client.data("create_asset", json!({ "prompt": "a map", "width": 3072, "height": 3072 }));
    assert!(big["files"][0]["bytes"].as_u64().unwrap() > 500_000, "{big}");
    let contents =
        read(&mut client, &format!("layer://assets/{}/1", big["job_id"].as_str().unwrap()));
    let bytes = STANDARD.decode(contents[0]["blob"].as_str().unwrap()).unwrap();
    assert!(bytes.len() <= 100_000, "{}", bytes.len());
    assert!(contents[1]["text"].as_str().unwrap().contains("\"width\":3072"));

    let song = json!({ "prompt": "a march", "use_case": "music", "duration_seconds": 30 });
    let song = client.data("create_asset", song);
    assert!(song["files"][0]["bytes"].as_u64().unwrap() > 500_000, "{song}");
    let contents =
        read(&mut client, &format!("layer://assets/{}/1", song["job_id"].as_str().unwrap()));
    assert_eq!(contents.as_array().unwrap().len(), 1);
    assert!(contents[0]["text"].as_str().unwrap().contains("duration_seconds"));
}

#[test]
fn what_is_not_there_is_not_found() {
    for (revision, code) in [(Revision::V2025_11_25, -32002), (Revision::V2026_07_28, -32602)] {
        let place = Place::new();
        let mut client = place.serve();
        client.shake_hands(revision);
        let made =
            client.data("create_asset", json!({ "prompt": "a pea", "width": 64, "height": 64 }));
        let job = made["job_id"].as_str().unwrap();
        for uri in [
            "",
            "layer://",
            "layer://nothing",
            "layer://jobs/job_0123456789abcdef",
            "layer://jobs/../../etc/passwd",
            "layer://jobs/%2e%2e%2f%2e%2e",
            "layer://assets/job_0123456789abcdef/1",
            "layer://models/nothing",
            "layer://styles/nothing",
            "layer://workspaces/nothing",
            "file:///etc/passwd",
            &format!("layer://assets/{job}/2"),
            &format!("layer://assets/{job}/0"),
            &format!("layer://assets/{job}/one"),
            &format!("layer://assets/{job}"),
        ] {
            let error = client.refused("resources/read", json!({ "uri": uri }));
            assert_eq!(error["code"], code, "{uri}: {error}");
        }
        assert_eq!(client.refused("resources/list", json!({ "cursor": "x" }))["code"], -32602);
    }
}

#[test]
fn every_template_is_completed_and_read() {
    let place = Place::new();
    let mut client = place.connect();
    client.data(
        "create_asset",
        json!({ "prompt": "a crate", "width": 64, "height": 64, "save_to": "crate.png" }),
    );
    client.data("create_style", json!({ "name": "Crates", "references": ["crate.png"] }));
    let templates = client.request("resources/templates/list", json!({}));
    let templates = templates["resourceTemplates"].as_array().unwrap();
    assert_eq!(templates.len(), 5);
    for template in templates {
        let template = template["uriTemplate"].as_str().unwrap();
        let mut uri = template.to_owned();
        let mut chosen = serde_json::Map::new();
        while let Some((before, rest)) = uri.clone().split_once('{') {
            let (variable, after) = rest.split_once('}').unwrap();
            let answer = client.request(
                "completion/complete",
                json!({
                    "ref": { "type": "ref/resource", "uri": template },
                    "argument": { "name": variable, "value": "" },
                    "context": { "arguments": chosen },
                }),
            );
            let value = answer["completion"]["values"][0].as_str().unwrap().to_owned();
            uri = format!("{before}{value}{after}");
            chosen.insert(variable.to_owned(), value.into());
        }
        let contents = read(&mut client, &uri);
        assert!(!contents.as_array().unwrap().is_empty(), "{uri}");
    }
}

#[test]
fn the_list_goes_on_over_pages() {
    let place = Place::at_speed("4800").with("LAYER_STARTS_PER_MINUTE", "100000");
    let mut client = place.connect();
    let count = 53;
    let ids: Vec<i64> = (0..count)
        .map(|number| {
            let prompt = format!("icon {number}");
            client
                .begin_call("create_asset", json!({ "prompt": prompt, "width": 64, "height": 64 }))
        })
        .collect();
    for id in ids {
        let answer = client.answer(id);
        let job = answer["result"]["structuredContent"]["job_id"].clone();
        assert!(job.is_string(), "{answer}");
        client.data("get_job", json!({ "job_id": job, "wait_seconds": 40 }));
    }
    let first = client.request("resources/list", json!({}));
    let rest = client.request("resources/list", json!({ "cursor": first["nextCursor"] }));
    assert!(rest.get("nextCursor").is_none(), "{rest}");
    let uris = |page: &Value| -> Vec<Value> {
        page["resources"].as_array().unwrap().iter().map(|it| it["uri"].clone()).collect()
    };
    let mut all = [uris(&first), uris(&rest)].concat();
    assert_eq!(all.len(), 3 + count);
    all.sort_by_key(Value::to_string);
    all.dedup();
    assert_eq!(all.len(), 3 + count);
}
