//! The server over its real pipes.

use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Client, Place, Revision, Standalone, data, error, eventually};

/// How long the end of a process may take.
const A_SECOND: Duration = Duration::from_secs(1);

/// A knight small enough to be cheap to draw. Different prompts are different purchases.
fn knight(prompt: &str) -> Value {
    json!({ "prompt": prompt, "width": 64, "height": 64 })
}

fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

#[track_caller]
fn is_on_disk(job: &Value) {
    assert_eq!(job["status"], "complete", "{job}");
    let files = job["files"].as_array().unwrap();
    assert!(!files.is_empty(), "{job}");
    for file in files {
        // `list_jobs` has paths alone.
        let path = file["path"].as_str().or(file.as_str()).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{path}");
        if let Some(size) = file["bytes"].as_u64() {
            assert_eq!(size, bytes.len() as u64, "{path}");
        }
    }
}

// ---- Every revision of the protocol ----

/// Lists the tools and makes an asset as a client of this revision does.
fn serves_a_client_of(revision: Revision) {
    let place = Place::new();
    let mut client = place.serve();
    let introduction = client.shake_hands(revision);
    let about = match revision.is_modern() {
        true => &introduction["_meta"]["io.modelcontextprotocol/serverInfo"],
        false => &introduction["serverInfo"],
    };
    assert_eq!(about["name"], "layer-mcp", "{introduction}");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert!(introduction["capabilities"]["tools"].is_object(), "{introduction}");
    let instructions = introduction["instructions"].as_str().unwrap();
    assert!(instructions.len() < 1_500, "clients cut long ones: {}", instructions.len());

    let listed = client.request("tools/list", json!({}));
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"create_asset"), "{names:?}");
    assert!(listed.get("nextCursor").is_none());

    let result = client.call("create_asset", knight("a knight"));
    let job = data(result.clone());
    is_on_disk(&job);

    if revision.is_modern() {
        let supported = introduction["supportedVersions"].as_array().unwrap();
        assert!(supported.contains(&json!(revision.date())), "{introduction}");
        for (what, result) in [("discover", &introduction), ("list", &listed), ("call", &result)] {
            assert_eq!(result["resultType"], "complete", "{what}: {result}");
        }
        assert_eq!(listed["ttlMs"], 3_600_000);
        assert_eq!(listed["cacheScope"], "public");
        assert_eq!(
            result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "layer-mcp",
            "{result}"
        );
    } else {
        for (what, result) in [("list", &listed), ("call", &result)] {
            assert!(result.get("resultType").is_none(), "{what}: {result}");
        }
    }

    let view = client.call("view_asset", json!({ "image": job["job_id"] }));
    shows_a_picture(&view, &job["files"][0]["path"], revision);
    let report = client.error("get_job", json!({ "job_id": "job_0000000000000000" }));
    assert_eq!(report["code"], "job_unknown");
    assert_eq!(client.unclaimed(), Vec::<Value>::new());
}

/// Text, a picture of bounded size, and a link for clients that know links.
#[track_caller]
fn shows_a_picture(result: &Value, path: &Value, revision: Revision) {
    assert_ne!(result["isError"], true, "{result}");
    assert!(result.get("structuredContent").is_none(), "it would hide the picture");
    let blocks = result["content"].as_array().unwrap();
    let kinds: Vec<&str> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
    if revision >= Revision::V2025_06_18 {
        assert_eq!(kinds, ["text", "image", "resource_link"]);
        let path = path.as_str().unwrap();
        assert_eq!(blocks[2]["uri"], format!("file://{path}"));
        assert_eq!(blocks[2]["mimeType"], "image/png");
        assert_eq!(path.rsplit('/').next(), blocks[2]["name"].as_str());
    } else {
        assert_eq!(kinds, ["text", "image"]);
    }
    let line = blocks[0]["text"].as_str().unwrap();
    assert!(!line.contains('\n') && line.contains(path.as_str().unwrap()), "{line}");
    let bytes = STANDARD.decode(blocks[1]["data"].as_str().unwrap()).unwrap();
    assert!(bytes.len() <= 100 * 1024, "{}", bytes.len());
    let picture = image::load_from_memory(&bytes).unwrap();
    assert!(picture.width() <= 512 && picture.height() <= 512);
}

#[test]
fn a_client_of_november_2024_is_served() {
    serves_a_client_of(Revision::V2024_11_05);
}

#[test]
fn a_client_of_march_2025_is_served() {
    serves_a_client_of(Revision::V2025_03_26);
}

#[test]
fn a_client_of_june_2025_is_served() {
    serves_a_client_of(Revision::V2025_06_18);
}

#[test]
fn a_client_of_november_2025_is_served() {
    serves_a_client_of(Revision::V2025_11_25);
}

#[test]
fn a_client_of_july_2026_is_served_without_a_session() {
    serves_a_client_of(Revision::V2026_07_28);
}

#[test]
fn an_unknown_revision_gets_the_newest_that_has_sessions() {
    let place = Place::new();
    let mut client = place.serve();
    let introduction = client.request(
        "initialize",
        json!({
            "protocolVersion": "2099-01-01",
            "capabilities": {},
            "clientInfo": { "name": "tests", "version": "1" },
        }),
    );
    assert_eq!(introduction["protocolVersion"], "2025-11-25");
}

#[test]
fn a_revision_per_request_that_is_not_known_is_refused_with_those_that_are() {
    let place = Place::new();
    let mut client = place.serve();
    client.send(&json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2099-01-01",
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    }));
    let answer = client.answer(1);
    assert_eq!(answer["error"]["code"], -32022, "{answer}");
    let supported = answer["error"]["data"]["supported"].as_array().unwrap();
    assert!(supported.contains(&json!("2026-07-28")), "{answer}");
}

#[test]
fn both_eras_are_served_on_one_connection() {
    let place = Place::new();
    let mut client = place.serve();
    client.shake_hands(Revision::V2026_07_28);
    client.shake_hands(Revision::V2025_06_18);
    assert_eq!(client.data("list_jobs", json!({}))["jobs"], json!([]));
}

#[test]
fn a_large_picture_is_shown_small() {
    let place = Place::new();
    let mut client = place.connect();
    let request = json!({ "prompt": "a wide hall", "width": 1536, "height": 640 });
    let job = client.data("create_asset", request);
    let file = &job["files"][0];
    assert_eq!((&file["width"], &file["height"]), (&json!(1536), &json!(640)));
    let view = client.call("view_asset", json!({ "image": file["path"] }));
    shows_a_picture(&view, &file["path"], Revision::V2025_11_25);
    assert!(view["content"][0]["text"].as_str().unwrap().contains("1536x640"), "{view}");
}

// ---- What is no message, or not for us ----

/// A line, the id of its answer, and the answer's code.
type Nonsense = (&'static str, Vec<u8>, Option<Value>, i64);

fn nonsense() -> Vec<Nonsense> {
    let text = |text: &str| text.as_bytes().to_vec();
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":6,"method":"ping","params":{}{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{}"}}}}"#,
        "x".repeat(4 * 1024 * 1024)
    );
    vec![
        ("not JSON", text("hello"), None, -32700),
        // Its id is not guessed: it may have been cut as well.
        ("cut JSON", text(r#"{"jsonrpc":"2.0","id":1,"method":"#), None, -32700),
        (
            "not UTF-8",
            b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"\xff\xfe\"}".to_vec(),
            Some(json!(2)),
            -32700,
        ),
        ("not UTF-8 at all", b"\x80\x81\x82".to_vec(), None, -32700),
        (
            "a lone surrogate",
            text(r#"{"jsonrpc":"2.0","id":3,"method":"\ud800"}"#),
            Some(json!(3)),
            -32700,
        ),
        (
            "a number beyond all bounds",
            text(r#"{"jsonrpc":"2.0","id":4,"method":"ping","params":{"x":1e999}}"#),
            Some(json!(4)),
            -32700,
        ),
        ("a batch", text(r#"[{"jsonrpc":"2.0","id":5,"method":"ping"}]"#), None, -32600),
        ("an empty batch", text("[]"), None, -32600),
        ("a number", text("42"), None, -32600),
        ("a string", text(r#""ping""#), None, -32600),
        ("null", text("null"), None, -32600),
        ("deep nesting", text(&deep), Some(json!(6)), -32700),
        ("a long line", text(&long), Some(json!(7)), -32600),
        (
            "another version",
            text(r#"{"jsonrpc":"1.0","id":8,"method":"ping"}"#),
            Some(json!(8)),
            -32600,
        ),
        ("no method", text(r#"{"jsonrpc":"2.0","id":9}"#), Some(json!(9)), -32600),
        ("an id of null", text(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), None, -32600),
        (
            "an unknown method",
            text(r#"{"jsonrpc":"2.0","id":"a","method":"tools/sell","params":[1]}"#),
            Some(json!("a")),
            -32601,
        ),
        (
            "a method that this server does not offer",
            text(
                r#"{"jsonrpc":"2.0","id":"b","method":"logging/setLevel","params":{"level":"info"}}"#,
            ),
            Some(json!("b")),
            -32601,
        ),
        (
            "params that are a list",
            text(r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":["x"]}"#),
            Some(json!("c")),
            -32602,
        ),
        (
            "params without a name",
            text(r#"{"jsonrpc":"2.0","id":"d","method":"tools/call","params":{"arguments":{}}}"#),
            Some(json!("d")),
            -32602,
        ),
        (
            "arguments that are a string",
            text(
                r#"{"jsonrpc":"2.0","id":"e","method":"tools/call","params":{"name":"quote","arguments":"{}"}}"#,
            ),
            Some(json!("e")),
            -32602,
        ),
        (
            "a cursor that nobody gave",
            text(r#"{"jsonrpc":"2.0","id":"f","method":"tools/list","params":{"cursor":"2"}}"#),
            Some(json!("f")),
            -32602,
        ),
    ]
}

#[test]
fn what_is_no_message_is_answered_and_the_connection_stays() {
    let place = Place::new();
    let mut client = place.connect();
    for (what, line, id, code) in nonsense() {
        client.send_bytes(&line);
        let answer = client.next().unwrap();
        assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
        assert_eq!(answer.get("id").cloned(), id, "{what}: {answer}");
        assert!(answer.to_string().len() < 2_000, "{what} is quoted at length");
    }
    for harmless in ["", "   ", "\r", r#"{"jsonrpc":"2.0","method":"notifications/of_mine"}"#] {
        client.send_bytes(harmless.as_bytes());
    }
    client.request("ping", json!({}));
    assert_eq!(client.unclaimed(), Vec::<Value>::new());
}

#[test]
fn nonsense_before_the_first_request_does_not_end_the_process() {
    let place = Place::new();
    let mut client = place.serve();
    for early in [
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": { "requestId": 1, "reason": "probe timed out" } }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
    ] {
        client.send(&early);
    }
    client.send_bytes(b"{");
    assert_eq!(client.next().unwrap()["error"]["code"], -32700);
    client.shake_hands(Revision::V2025_11_25);
    client.request("ping", json!({}));
}

#[test]
fn a_tool_that_does_not_exist_is_a_protocol_error_that_names_those_that_do() {
    let place = Place::new();
    let mut client = place.connect();
    let id = client.begin_call("make_me_rich", json!({}));
    let answer = client.answer(id);
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    for name in ["make_me_rich", "create_asset", "get_job", "view_asset"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn an_id_in_flight_is_not_given_twice() {
    let place = Place::new();
    let mut client = place.connect();
    let call = |prompt: &str| {
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                "params": { "name": "create_asset", "arguments": knight(prompt) } })
    };
    client.send(&call("the first"));
    client.send(&call("the second"));
    let refusal = client.answer(7);
    assert_eq!(refusal["error"]["code"], -32600, "{refusal}");
    is_on_disk(&data(client.answer(7)["result"].take()));
    let jobs = client.data("list_jobs", json!({}));
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    // Free again after its answer.
    client.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }));
    assert!(client.answer(7)["result"].is_object());
}

// ---- While a call goes on ----

#[test]
fn progress_rises_and_stops_at_the_answer() {
    let place = Place::at_speed("4");
    let mut client = place.connect();
    let params = json!({
        "name": "create_asset", "arguments": knight("a slow knight"),
        "_meta": { "progressToken": "mine" },
    });
    let id = client.begin("tools/call", params);
    let mut notes = Vec::new();
    let answer = loop {
        let message = client.next().unwrap();
        if message.get("method").is_none() {
            break message;
        }
        notes.push(message);
    };
    assert_eq!(answer["id"], id);
    is_on_disk(&data(answer["result"].clone()));
    assert!(!notes.is_empty());
    let mut before = 0.0;
    for note in &notes {
        assert_eq!(note["method"], "notifications/progress");
        assert_eq!(note["params"]["progressToken"], "mine");
        assert_eq!(note["params"]["total"], 100.0);
        assert!(note["params"]["message"].is_string(), "{note}");
        let progress = note["params"]["progress"].as_f64().unwrap();
        assert!(progress > before && progress <= 100.0, "{notes:?}");
        before = progress;
    }
    client.request("ping", json!({}));
    client.close_input();
    assert_eq!(client.end().messages, Vec::<Value>::new(), "nothing after the answer");
}

#[test]
fn nobody_who_did_not_ask_is_told_of_progress() {
    let place = Place::new();
    let mut client = place.connect();
    client.data("create_asset", knight("a knight"));
    assert_eq!(client.unclaimed(), Vec::<Value>::new());
}

#[test]
fn a_cancelled_call_is_never_heard_of_again_and_its_job_goes_on() {
    let place = Place::at_speed("4");
    let mut client = place.connect();
    let params = json!({
        "name": "create_asset", "arguments": knight("a patient knight"),
        "_meta": { "progressToken": 5 },
    });
    let id = client.begin("tools/call", params);
    let job = client.job_that_is("running")["job_id"].clone();
    client.unclaimed();
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                         "params": { "requestId": id, "reason": "Esc" } }));
    client.request("ping", json!({}));
    // What was under way when the cancellation came has been read by now.
    assert!(client.unclaimed().iter().all(|message| message.get("id") != Some(&json!(id))));

    let done = client.job_that_is("complete");
    assert_eq!(done["job_id"], job);
    is_on_disk(&done);
    let jobs = client.data("list_jobs", json!({}));
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "bought once: {jobs}");
    is_on_disk(&client.data("get_job", json!({ "job_id": job })));
    assert_eq!(client.unclaimed(), Vec::<Value>::new());
}

#[test]
fn calls_are_served_side_by_side() {
    let place = Place::new();
    let mut client = place.connect();
    let slow: Vec<i64> = (0..4)
        .map(|number| client.begin_call("create_asset", knight(&format!("knight {number}"))))
        .collect();
    let quick: Vec<i64> = (0..40).map(|_| client.begin("tools/list", json!({}))).collect();
    let mut order = Vec::new();
    for _ in 0..slow.len() + quick.len() {
        let message = client.next().unwrap();
        order.push(message["id"].as_i64().unwrap());
        if slow.contains(order.last().unwrap()) {
            is_on_disk(&data(message["result"].clone()));
        }
    }
    assert!(quick.iter().all(|id| order[..quick.len()].contains(id)), "{order:?}");
    let jobs = client.data("list_jobs", json!({}));
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 4);
}

#[test]
fn a_job_is_not_held_up_by_a_client_that_does_not_read() {
    let place = Place::new();
    let mut client = Client::deaf(place.command(&["--sandbox", "serve"]));
    let mut session = Vec::new();
    for message in [
        client.message(
            json!(1),
            "initialize",
            json!({
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": { "name": "tests", "version": "1" },
            }),
        ),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        client.message(
            json!(2),
            "tools/call",
            json!({
                "name": "create_asset", "arguments": knight("an unheard knight"),
                "_meta": { "progressToken": 2 },
            }),
        ),
    ] {
        session.push(message.to_string());
    }
    // Far more answers than any pipe holds.
    for id in 3..3_000 {
        session.push(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" }).to_string());
    }
    let session = session.join("\n") + "\n";
    let mut input = client.take_input();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(session.as_bytes());
        input
    });
    let file = eventually("the file of the job", || {
        place.written().into_iter().find(|path| path.extension() == Some("png".as_ref()))
    });
    assert!(std::fs::read(file).unwrap().starts_with(b"\x89PNG"));
    // Whoever begins to read after all finds every answer.
    client.listen();
    let mut answered: Vec<i64> =
        (1..3_000).map(|_| client.next().unwrap()).filter_map(|it| it["id"].as_i64()).collect();
    while answered.len() < 2_999 {
        answered.extend(client.next().unwrap()["id"].as_i64());
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..3_000).collect::<Vec<_>>());
    drop(writer.join().unwrap());
}

// ---- The beginning and the end ----

#[test]
fn nothing_is_written_before_the_first_call() {
    let place = Place::new();
    let mut client = place.serve();
    client.shake_hands(Revision::V2025_11_25);
    client.request("tools/list", json!({}));
    client.request("ping", json!({}));
    let unknown = client.begin_call("nothing", json!({}));
    client.answer(unknown);
    let written = place.written();
    assert!(written.iter().all(|path| path.extension() == Some("log".as_ref())), "{written:?}");
    assert!(!place.home().join("sandbox").exists());
}

#[test]
fn a_missing_token_does_not_keep_the_server_from_starting() {
    let place = Place::new();
    let mut client = Client::new(place.command(&[]));
    client.shake_hands(Revision::V2025_11_25);
    client.request("tools/list", json!({}));
    let report = client.error("create_asset", knight("a knight"));
    assert_eq!(report["code"], "credentials_missing");
    assert_eq!(report["money"], "not_charged");
    assert!(report["next_step"].as_str().unwrap().contains("layer-mcp setup"), "{report}");
    // What is on the disk can be looked at all the same.
    assert_eq!(client.data("list_jobs", json!({}))["jobs"], json!([]));
}

#[test]
fn the_end_of_the_input_ends_the_process_and_the_next_one_collects_the_job() {
    let place = Place::at_speed("4");
    let mut client = place.connect();
    let request = with(knight("an abandoned knight"), "wait_seconds", 0);
    let job = client.data("create_asset", request);
    assert_eq!(job["status"], "running", "{job}");
    assert!(job["next_step"].as_str().unwrap().contains("get_job"), "{job}");
    client.begin_call("get_job", json!({ "job_id": job["job_id"], "wait_seconds": 40 }));
    client.request("ping", json!({}));
    client.close_input();
    let end = client.end();
    assert!(end.took < A_SECOND, "{end:?}");
    assert!(end.status.success(), "{end:?}");

    let ran = place.call("get_job", &json!({ "job_id": job["job_id"] }));
    is_on_disk(&ran.document(0));
    let jobs = place.call("list_jobs", &json!({})).document(0);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
}

#[test]
fn an_end_while_a_start_is_unanswered_waits_for_the_answer() {
    let server = Place::new();
    let slow = Standalone::start(&server, &["--fault", "slow_answers"]);
    let place = slow.client(Place::new());
    let mut client = Client::new(place.command(&["serve"]));
    client.shake_hands(Revision::V2025_11_25);
    client.begin_call("create_asset", knight("a knight in a slow country"));
    // The entry is written before the start leaves; its answer takes two seconds.
    client.job_that_is("running");
    client.close_input();
    let end = client.end();
    assert!(end.status.success(), "{end:?}");
    let mut jobs = Client::new(place.command(&["serve"]));
    jobs.shake_hands(Revision::V2025_11_25);
    let jobs = jobs.data("list_jobs", json!({}));
    assert_eq!(jobs["jobs"][0]["status"], "running", "{jobs}");
    let mut client = Client::new(place.command(&["serve"]));
    client.shake_hands(Revision::V2025_11_25);
    let job = json!({ "job_id": jobs["jobs"][0]["job_id"], "wait_seconds": 40 });
    is_on_disk(&client.data("get_job", job));
}

#[test]
fn requests_before_the_end_of_the_input_are_answered() {
    let place = Place::new();
    let mut client = place.connect();
    let id = client.begin("tools/list", json!({}));
    client.close_input();
    let end = client.end();
    assert!(end.messages.iter().any(|message| message["id"] == id), "{end:?}");
    assert!(end.took < A_SECOND && end.status.success(), "{end:?}");
}

#[test]
fn a_signal_ends_the_process_at_once_and_without_a_fault() {
    let place = Place::at_speed("1");
    let mut client = place.connect();
    client.begin_call("create_asset", knight("an interrupted knight"));
    client.job_that_is("running");
    client.terminate();
    let end = client.end();
    assert!(end.took < A_SECOND, "{end:?}");
    assert_eq!(end.status.code(), Some(0), "{end:?}");
    let jobs = place.call("list_jobs", &json!({})).document(0);
    assert_eq!(jobs["jobs"][0]["status"], "running", "{jobs}");
}

#[test]
fn stdout_carries_the_protocol_alone_with_all_logs_on_faults_and_a_signal() {
    let place = Place::new();
    let faulty = Standalone::start(
        &place,
        &[
            "--fault",
            "read_server_error:2",
            "--fault",
            "download_404:1",
            "--fault",
            "rate_limited:1",
        ],
    );
    let place = faulty.client(Place::new().with("LAYER_LOG", "trace").with("RUST_BACKTRACE", "1"));
    let mut client = Client::new(place.command(&["serve"]));
    client.shake_hands(Revision::V2025_11_25);
    let models = client.data("list_models", json!({ "limit": 3 }));
    assert_eq!(models["models"].as_array().unwrap().len(), 3);
    client.send_bytes(b"\xff nonsense");
    let limited = client.call("create_asset", knight("a limited knight"));
    assert_eq!(error(&limited)["code"], "rate_limited", "{limited}");
    let id = client.begin_call("create_asset", knight("a logged knight"));
    client.job_that_is("running");
    client.terminate();
    // Every line was read as JSON-RPC; see `client`.
    let end = client.end();
    assert_eq!(end.status.code(), Some(0), "{end:?}");
    assert!(end.messages.iter().all(|message| message.get("id") != Some(&json!(id + 1))));
    assert!(end.log.contains("DEBUG"), "the log was on: {}", end.log);
    assert!(!end.log.contains("pat_sandbox_0000"), "the token is never logged");
}

#[test]
fn an_answer_takes_no_longer_than_a_person_notices() {
    let place = Place::new();
    let began = Instant::now();
    let mut client = place.serve();
    client.shake_hands(Revision::V2025_11_25);
    // Milliseconds in truth; the bound only catches a network or a key derivation.
    assert!(began.elapsed() < A_SECOND, "{:?}", began.elapsed());
}
