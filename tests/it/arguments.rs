//! Arguments that can't be used: an answer that a model can act on, and nothing bought.

use serde_json::{Value, json};

use crate::client::{Client, Place};

/// A tool, arguments, the code of the answer, and words that its message has.
type Wrong = (&'static str, Value, &'static str, &'static [&'static str]);

const INVALID: &str = "invalid_argument";

fn asset(more: Value) -> Value {
    let mut arguments = json!({ "prompt": "a knight" });
    for (name, value) in more.as_object().unwrap() {
        arguments[name] = value.clone();
    }
    arguments
}

/// Calls each, and then looks whether anything was started, reserved or paid.
fn are_refused(cases: &[Wrong]) {
    let place = Place::new();
    let mut client = place.connect();
    let before = client.data("get_workspace_info", json!({}));
    for (tool, arguments, code, words) in cases {
        is_refused(&mut client, tool, arguments, code, words);
    }
    nothing_was_started(&mut client, &before, &place);
}

fn is_refused(client: &mut Client, tool: &str, arguments: &Value, code: &str, words: &[&str]) {
    let report = client.error(tool, arguments.clone());
    let shown: String = arguments.to_string().chars().take(200).collect();
    assert_eq!(report["code"], code, "{tool} {shown}: {report}");
    assert_eq!(report["money"], "not_charged", "{tool} {shown}: {report}");
    assert_eq!(report["retryable"], false, "{tool} {shown}: {report}");
    let message = report["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{tool} {shown}: `{word}` is missing: {message}");
    }
    assert!(message.len() < 700, "{tool} {shown}: {message}");
    for rust in ["u8", "u32", "f64", "struct", "Args", "Option"] {
        assert!(!message.contains(rust), "{tool} {shown}: {message}");
    }
}

fn nothing_was_started(client: &mut Client, before: &Value, place: &Place) {
    let after = client.data("get_workspace_info", json!({}));
    for name in ["balance_cu", "reserved_cu", "available_cu"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(client.data("list_jobs", json!({}))["jobs"], json!([]));
    let written = std::fs::read_dir(place.output()).unwrap().count();
    assert_eq!(written, 0, "nothing is written for a call that was refused");
    assert_eq!(client.unclaimed(), Vec::<Value>::new());
}

#[test]
fn a_prompt_is_a_text_with_something_in_it() {
    let cases: Vec<Wrong> = ["create_asset", "quote"]
        .into_iter()
        .flat_map(|tool| -> Vec<Wrong> {
            vec![
                (tool, json!({}), INVALID, &["`prompt`", "Missing"]),
                (tool, json!({ "prompt": null }), INVALID, &["`prompt`", "string"]),
                (tool, json!({ "prompt": 42 }), INVALID, &["`prompt`", "string"]),
                (tool, json!({ "prompt": ["a", "b"] }), INVALID, &["`prompt`", "string"]),
                (tool, json!({ "prompt": "" }), INVALID, &["`prompt`", "empty"]),
                (tool, json!({ "prompt": " \n\t " }), INVALID, &["`prompt`", "empty"]),
                (tool, json!({ "prompt": "a\0b" }), INVALID, &["`prompt`", "NUL"]),
                (
                    tool,
                    json!({ "prompt": "x".repeat(100_001) }),
                    INVALID,
                    &["`prompt`", "100,000", "100001"],
                ),
                (
                    tool,
                    json!({ "prompt": "é".repeat(200_000) }),
                    INVALID,
                    &["`prompt`", "100,000", "200000"],
                ),
            ]
        })
        .collect();
    are_refused(&cases);
}

#[test]
fn a_size_is_a_whole_number_that_the_model_can_make() {
    let range: &[&str] = &["whole number", "1 to 16384"];
    let mut cases: Vec<Wrong> = Vec::new();
    for bad in [json!(0), json!(-1), json!(1.5), json!(99_999), json!(1e300)] {
        cases.push(("create_asset", asset(json!({ "width": bad })), INVALID, range));
        cases.push(("quote", asset(json!({ "height": bad })), INVALID, range));
    }
    for bad in [json!("512"), json!([512]), json!({}), json!(true)] {
        cases.push((
            "create_asset",
            asset(json!({ "width": bad })),
            INVALID,
            &["`width`", "number"],
        ));
    }
    cases.push(("create_asset", asset(json!({ "width": -1 })), INVALID, &["`width`"]));
    cases.push(("create_asset", asset(json!({ "height": 1.5 })), INVALID, &["`height`"]));
    // Within what the tool takes, beyond what the model makes: the service says so.
    cases.push((
        "create_asset",
        asset(json!({ "model": "flux", "width": 16_384, "height": 16_384 })),
        INVALID,
        &["width"],
    ));
    are_refused(&cases);
}

#[test]
fn numbers_and_words_have_their_ranges() {
    are_refused(&[
        ("create_asset", asset(json!({ "count": 0 })), INVALID, &["`count`", "1 to 16"]),
        ("create_asset", asset(json!({ "count": 17 })), INVALID, &["`count`", "1 to 16"]),
        ("create_asset", asset(json!({ "count": 1.5 })), INVALID, &["`count`", "1 to 16"]),
        ("create_asset", asset(json!({ "count": "2" })), INVALID, &["`count`", "number"]),
        ("create_asset", asset(json!({ "seed": -1 })), INVALID, &["`seed`", "0 to 2147483647"]),
        ("create_asset", asset(json!({ "seed": 2_147_483_648_u32 })), INVALID, &["2147483647"]),
        (
            "create_asset",
            asset(json!({ "wait_seconds": -1 })),
            INVALID,
            &["`wait_seconds`", "3600"],
        ),
        ("create_asset", asset(json!({ "wait_seconds": 3_601 })), INVALID, &["0 to 3600"]),
        ("create_asset", asset(json!({ "wait_seconds": "soon" })), INVALID, &["`wait_seconds`"]),
        (
            "create_asset",
            asset(json!({ "use_case": "text_to_dream" })),
            INVALID,
            &["text_to_dream", "text_to_image", "text_to_video", "text_to_3d", "music"],
        ),
        ("create_asset", asset(json!({ "use_case": "text_to_dream" })), INVALID, &["`use_case`"]),
        (
            "create_asset",
            asset(json!({ "quality": "ultra" })),
            INVALID,
            &["`quality`", "ultra", "low", "medium", "high"],
        ),
        ("create_asset", asset(json!({ "quality": 3 })), INVALID, &["`quality`"]),
        (
            "create_asset",
            asset(json!({ "transparent": "yes" })),
            INVALID,
            &["`transparent`", "boolean"],
        ),
        ("create_asset", asset(json!({ "tileable": 1 })), INVALID, &["`tileable`", "boolean"]),
        (
            "create_asset",
            asset(json!({ "use_case": "text_to_video", "duration_seconds": 0 })),
            INVALID,
            &["`duration_seconds`", "600"],
        ),
        (
            "create_asset",
            asset(json!({ "use_case": "text_to_video", "duration_seconds": -3 })),
            INVALID,
            &["`duration_seconds`", "600"],
        ),
        (
            "create_asset",
            asset(json!({ "use_case": "text_to_video", "duration_seconds": 601 })),
            INVALID,
            &["`duration_seconds`", "600"],
        ),
        // Within what the tool takes, beyond what the model makes.
        (
            "create_asset",
            asset(json!({ "use_case": "text_to_video", "duration_seconds": 599 })),
            INVALID,
            &["duration_seconds"],
        ),
    ]);
}

#[test]
fn arguments_that_do_not_apply_are_named() {
    are_refused(&[
        (
            "create_asset",
            asset(json!({ "duration_seconds": 3 })),
            INVALID,
            &["`duration_seconds`", "videos and sounds", "makes image"],
        ),
        (
            "create_asset",
            asset(json!({ "use_case": "music", "width": 512 })),
            INVALID,
            &["`width`", "images and videos", "makes audio"],
        ),
        (
            "create_asset",
            asset(json!({ "use_case": "text_to_3d", "height": 512 })),
            INVALID,
            &["`height`", "images and videos"],
        ),
        (
            "create_asset",
            asset(json!({ "model": "flux", "transparent": true })),
            INVALID,
            &["FLUX.1 dev", "`transparent`", "`gpt-image-1.5`"],
        ),
        (
            "create_asset",
            asset(json!({ "model": "flux", "tileable": true })),
            INVALID,
            &["`tileable`", "`pixel-forge`"],
        ),
        (
            "create_asset",
            asset(json!({ "model": "flux", "negative_prompt": "red" })),
            INVALID,
            &["`negative_prompt`", "`qwen-image`"],
        ),
        (
            "create_asset",
            asset(json!({ "use_case": "music", "transparent": true })),
            INVALID,
            &["transparent", "music"],
        ),
        (
            "create_asset",
            asset(json!({ "model": "flux", "use_case": "music" })),
            INVALID,
            &["FLUX.1 dev", "`music`", "`model`", "`use_case`"],
        ),
        (
            "create_asset",
            asset(json!({ "model": "no-such-model" })),
            "model_not_found",
            &["no-such-model"],
        ),
        ("create_asset", asset(json!({ "model": "" })), "model_not_found", &[]),
        ("create_asset", asset(json!({ "model": "flux\0" })), "model_not_found", &["flux"]),
        (
            "create_asset",
            asset(json!({ "quote_id": "quote_nobody_gave" })),
            "quote_void",
            &["quote"],
        ),
        ("create_asset", asset(json!({ "save_to": "../knight.png" })), "path_refused", &[]),
        ("create_asset", asset(json!({ "save_to": "/etc/knight.png" })), "path_refused", &[]),
        ("create_asset", asset(json!({ "save_to": "a\0b.png" })), "path_refused", &[]),
        (
            "create_asset",
            asset(json!({ "model": "qwen-image", "negative_prompt": "red\0" })),
            INVALID,
            &["`negative_prompt`", "NUL"],
        ),
    ]);
}

#[test]
fn an_argument_that_does_not_exist_is_answered_with_those_that_do() {
    let known: &[&str] = &[
        "`colour`",
        "`prompt`",
        "`use_case`",
        "`negative_prompt`",
        "`wait_seconds`",
        "`quote_id`",
    ];
    are_refused(&[
        ("create_asset", asset(json!({ "colour": "red" })), INVALID, known),
        ("quote", asset(json!({ "colour": "red" })), INVALID, known),
        (
            "get_job",
            json!({ "job_id": "job_0", "colour": "red" }),
            INVALID,
            &["`colour`", "`job_id`", "`wait_seconds`"],
        ),
        ("cancel_job", json!({ "job_id": "job_0", "all": true }), INVALID, &["`all`", "`job_id`"]),
        (
            "list_jobs",
            json!({ "colour": "red" }),
            INVALID,
            &["`colour`", "`status`", "`limit`", "`cursor`"],
        ),
        ("list_models", json!({ "colour": "red" }), INVALID, &["`colour`", "`search`", "`max_cu`"]),
        ("view_asset", json!({ "image": "x", "colour": "red" }), INVALID, &["`colour`", "`image`"]),
        ("get_workspace_info", json!({ "colour": "red" }), INVALID, &["`colour`", "no"]),
    ]);
}

#[test]
fn what_names_a_job_a_page_or_a_file_has_to_be_one() {
    are_refused(&[
        ("get_job", json!({}), INVALID, &["`job_id`", "Missing"]),
        ("get_job", json!({ "job_id": 42 }), INVALID, &["`job_id`", "string"]),
        ("get_job", json!({ "job_id": "" }), "job_unknown", &[]),
        ("get_job", json!({ "job_id": "nonsense" }), "job_unknown", &["nonsense"]),
        ("get_job", json!({ "job_id": "job_0000000000000000" }), "job_unknown", &["job_0000"]),
        ("get_job", json!({ "job_id": "job_\0" }), "job_unknown", &[]),
        ("get_job", json!({ "job_id": "x".repeat(10_000) }), "job_unknown", &[]),
        ("get_job", json!({ "job_id": "job_0", "wait_seconds": -5 }), INVALID, &["0 to 3600"]),
        ("cancel_job", json!({ "job_id": "../../x" }), "job_unknown", &[]),
        ("list_jobs", json!({ "cursor": "x" }), INVALID, &["`cursor`", "next_cursor"]),
        ("list_jobs", json!({ "cursor": "-1" }), INVALID, &["`cursor`", "next_cursor"]),
        ("list_jobs", json!({ "cursor": 20 }), INVALID, &["`cursor`", "string"]),
        ("list_jobs", json!({ "limit": 0 }), INVALID, &["`limit`", "1 to 100"]),
        ("list_jobs", json!({ "limit": 101 }), INVALID, &["`limit`", "1 to 100"]),
        (
            "list_jobs",
            json!({ "status": "lost" }),
            INVALID,
            &["`status`", "lost", "running", "complete", "failed", "cancelled", "unknown"],
        ),
        ("list_models", json!({ "cursor": "\0" }), INVALID, &["`cursor`", "next_cursor"]),
        ("list_models", json!({ "cursor": "99999999999999999999" }), INVALID, &["`cursor`"]),
        ("list_models", json!({ "max_cu": -1 }), INVALID, &["`max_cu`"]),
        ("list_models", json!({ "max_cu": "cheap" }), INVALID, &["`max_cu`", "number"]),
        (
            "list_models",
            json!({ "modality": "smell" }),
            INVALID,
            &["`modality`", "smell", "image", "video", "three_d", "audio"],
        ),
        ("view_asset", json!({}), INVALID, &["`image`", "Missing"]),
        ("view_asset", json!({ "image": "../../etc/passwd" }), "path_refused", &[]),
        ("view_asset", json!({ "image": "/etc/passwd" }), "path_refused", &[]),
        ("view_asset", json!({ "image": "a\0b.png" }), "path_refused", &[]),
        ("view_asset", json!({ "image": "nothing.png" }), "file_not_found", &["nothing.png"]),
    ]);
}

#[test]
fn a_long_argument_is_not_quoted_at_length() {
    let place = Place::new();
    let mut client = place.connect();
    let long = "y".repeat(50_000);
    for arguments in [
        asset(json!({ "use_case": long })),
        asset(json!({ "model": long })),
        asset(json!({ long.as_str(): 1 })),
        asset(json!({ "width": long })),
        asset(json!({ "save_to": long })),
        asset(json!({ "quote_id": long })),
    ] {
        let report = client.error("create_asset", arguments);
        assert!(report.to_string().len() < 1_500, "{report}");
        assert_eq!(report["money"], "not_charged", "{report}");
    }
    assert_eq!(client.data("list_jobs", json!({}))["jobs"], json!([]));
}

#[test]
fn no_arguments_at_all_are_as_good_as_empty_ones() {
    let place = Place::new();
    let mut client = place.connect();
    let result = client.request("tools/call", json!({ "name": "list_jobs" }));
    assert_eq!(crate::client::data(result)["jobs"], json!([]));
}
