//! What of an answer depends on the client, and what does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Client, Place, Revision};

fn client(place: &Place, name: &str, version: &str) -> Client {
    let mut client = place.serve().known_as(name, version);
    client.shake_hands(Revision::V2025_11_25);
    client
}

fn kinds(result: &Value) -> Vec<&str> {
    let content = result["content"].as_array().unwrap();
    content.iter().map(|block| block["type"].as_str().unwrap()).collect()
}

fn big() -> Value {
    json!({ "prompt": "a castle", "width": 1024, "height": 512, "save_to": "castle.png" })
}

#[test]
fn a_new_picture_comes_with_its_data_where_the_client_keeps_both() {
    for (name, version, blocks) in [
        ("claude-code", "2.1.332", &["text", "image"][..]),
        ("gemini-cli-mcp-client", "0.61.0", &["text", "image"]),
        ("claude-code", "2.1.197", &["text"]),
        ("codex-mcp-client", "0.171.0", &["text"]),
        ("claude-ai", "0.1.0", &["text"]),
        ("somebody", "1", &["text"]),
    ] {
        let place = Place::new();
        let mut client = client(&place, name, version);
        let made = client.call("create_asset", big());
        assert_eq!(kinds(&made), blocks, "{name} {version}");
        assert_eq!(made["structuredContent"]["status"], "complete", "{made}");
        // What is no picture has none, and neither has a list.
        let sound = json!({ "prompt": "a click", "use_case": "sound_effects" });
        assert_eq!(kinds(&client.call("create_asset", sound)), ["text"], "{name}");
        assert_eq!(kinds(&client.call("list_jobs", json!({}))), ["text"], "{name}");
    }
}

#[test]
fn a_picture_is_as_large_as_the_client_takes_it() {
    for (name, side, blocks) in [
        ("claude-code", 512, &["text", "image", "resource_link"][..]),
        ("codex-mcp-client", 512, &["text", "image", "resource_link"]),
        ("Zed", 384, &["text", "image"]),
        ("somebody", 384, &["text", "image", "resource_link"]),
    ] {
        let place = Place::new();
        let mut client = client(&place, name, "99.0.0");
        client.call("create_asset", big());
        let shown = client.call("view_asset", json!({ "image": "castle.png" }));
        assert_eq!(kinds(&shown), blocks, "{name}");
        let bytes = STANDARD.decode(shown["content"][1]["data"].as_str().unwrap()).unwrap();
        let size = image::load_from_memory(&bytes).unwrap();
        assert_eq!((size.width(), size.height()), (side, side / 2), "{name}");
        let line = shown["content"][0]["text"].as_str().unwrap();
        assert!(line.ends_with(&format!("shown at {side}x{}", side / 2)), "{line}");
    }
}

#[test]
fn codex_reads_nothing_twice() {
    let place = Place::new();
    let mut codex = place.serve().known_as("codex-mcp-client", "0.171.0");
    let short = codex.shake_hands(Revision::V2025_06_18)["instructions"].clone();
    let long = place.serve().shake_hands(Revision::V2025_06_18)["instructions"].clone();
    assert!(long.as_str().unwrap().starts_with(short.as_str().unwrap()), "{long}");
    assert!(short.as_str().unwrap().len() < 300, "{short}");
    let made = codex.call("create_asset", big());
    assert_eq!(made["content"][0]["text"], made["structuredContent"]["message"]);
    // Of an error the text is all that there is.
    let refused = codex.error("get_job", json!({ "job_id": "job_0123456789abcdef" }));
    assert_eq!(refused["code"], "job_unknown");
}

#[test]
fn pictures_can_be_switched_off() {
    let place = Place::new().with("LAYER_PREVIEWS", "off");
    let mut client = client(&place, "claude-code", "2.1.332");
    assert_eq!(kinds(&client.call("create_asset", big())), ["text"]);
    let shown = client.call("view_asset", json!({ "image": "castle.png" }));
    assert_eq!(kinds(&shown), ["text", "resource_link"]);
}

#[test]
fn many_pictures_stay_small_together() {
    let place = Place::new();
    let mut client = client(&place, "claude-code", "2.1.332");
    let many = json!({ "prompt": "a castle", "width": 512, "height": 512, "count": 6 });
    let made = client.call("create_asset", many);
    assert_eq!(made["structuredContent"]["files"].as_array().unwrap().len(), 6, "{made}");
    let pictures: Vec<&Value> =
        made["content"].as_array().unwrap().iter().filter(|it| it["type"] == "image").collect();
    assert!((1..=4).contains(&pictures.len()), "{}", pictures.len());
    let bytes: usize = pictures.iter().map(|it| it["data"].as_str().unwrap().len()).sum();
    assert!(bytes <= 400_000, "{bytes}");
}

#[test]
fn the_list_is_the_same_for_every_client() {
    let place = Place::new();
    let list = |name: &str| client(&place, name, "99.0.0").request("tools/list", json!({}));
    let careful = list("somebody");
    for name in ["claude-code", "codex-mcp-client", "Zed", "gemini-cli-mcp-client"] {
        assert_eq!(list(name), careful, "{name}");
    }
}

#[test]
fn doctor_shows_and_tries_every_client() {
    let place = Place::new();
    for name in [
        "claude-code",
        "claude-code-old",
        "codex",
        "gemini-cli",
        "claude-desktop",
        "cursor",
        "vscode",
        "windsurf",
        "zed",
        "opencode",
        "inspector",
        "other",
        "codex-mcp-client@0.171.0",
        "nobody knows me",
    ] {
        let told = place.run(&["doctor", "--client", name, "--json"]).document(0);
        assert_eq!(told["passed"], true, "{told:#}");
        assert_eq!(told["choices"].as_array().unwrap().len(), 9, "{told:#}");
        for choice in told["choices"].as_array().unwrap() {
            assert!(choice["why"].is_string() && choice["evidence"].is_string(), "{choice}");
        }
        assert_eq!(told["tried"].as_array().unwrap().len(), 6, "{told:#}");
    }
    // The trial leaves nothing in the user's own folders.
    assert!(place.written().iter().all(|path| !path.ends_with("journal.db")));
    let shown = place.run(&["doctor", "--client", "codex"]);
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.starts_with("How Codex is served:"), "{}", shown.stdout);
    // Pictures that are off are off there too.
    let place = Place::new().with("LAYER_PREVIEWS", "off");
    let told = place.run(&["doctor", "--client", "claude-code", "--json"]).document(0);
    assert_eq!(told["passed"], true, "{told:#}");
}
