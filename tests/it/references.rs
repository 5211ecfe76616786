//! What a request goes by: files of the project, of earlier jobs, at Layer.

use std::fs;

use layer_mcp::sandbox::HostKind;
use serde_json::{Value, json};

use crate::support::{TestEnv, for_each, picture, with};

/// A small picture of one colour, different for each number.
fn art(env: &TestEnv, name: &str, shade: u8) {
    let path = env.project().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels = image::RgbImage::from_pixel(32, 32, image::Rgb([shade, 80, 200]));
    pixels.save(path).unwrap();
}

fn asks(env: &TestEnv, end: &str) -> Vec<Value> {
    let requests = env.requests();
    let of = requests.iter().filter(|it| it.method == "POST" && it.path.ends_with(end));
    of.map(|it| it.body.clone().unwrap_or_default()).collect()
}

#[test]
fn a_picture_of_the_project_goes_to_layer_once_and_into_the_run() {
    let env = TestEnv::new();
    art(&env, "art/hero.png", 1);
    let call = with(&picture("the hero, running"), json!({ "references": ["art/hero.png"] }));
    let first = env.call("create_asset", &call).complete();
    assert!(first.0["message"].as_str().unwrap().contains("can't include references"));
    let start = asks(&env, "/inferences").pop().unwrap();
    let file = &start["guidance_files"][0];
    assert_eq!(file["type"], "reference_image");
    assert_eq!(asks(&env, "/upload-url").len(), 1);
    let requests = env.requests();
    let mut stored = requests.iter().filter(|request| request.host == HostKind::Storage);
    assert!(stored.clone().count() >= 2 && stored.all(|request| !request.had_authorization));
    // The same content under another name is the same request.
    fs::rename(env.project().join("art/hero.png"), env.project().join("art/knight.png")).unwrap();
    let call = with(&picture("the hero, running"), json!({ "references": ["art/knight.png"] }));
    assert_eq!(env.call("create_asset", &call).complete().id(), first.id());
    // Another content is another request, and only that content is sent.
    art(&env, "art/hero.png", 2);
    let both = json!({ "references": ["art/hero.png", "art/knight.png"] });
    let second = env.call("create_asset", &with(&picture("the hero, running"), both)).complete();
    assert_ne!(second.id(), first.id());
    let starts = asks(&env, "/inferences");
    assert_eq!(starts.len(), 2);
    assert_eq!(starts[1]["guidance_files"][1]["file_id"], file["file_id"]);
    assert_eq!(asks(&env, "/upload-url").len(), 2);
}

#[test]
fn a_pattern_a_job_and_an_id_are_references_too() {
    let env = TestEnv::new();
    for (name, shade) in [("a.png", 1), ("b.png", 2), ("c.txt", 0)] {
        match name {
            "c.txt" => fs::write(env.project().join(name), "words").unwrap(),
            name => art(&env, name, shade),
        }
    }
    let base = picture("a shield");
    let made = env.call("create_asset", &base).complete();
    let uploaded = env.call("upload_file", &json!({ "path": "a.png" })).done();
    assert_eq!(uploaded["reused"], false);
    assert_eq!(env.call("upload_file", &json!({ "path": "a.png" })).done()["reused"], true);
    let all = json!({ "references": ["?.png", made.id(), uploaded["file_id"]] });
    let _ = env.call("create_asset", &with(&base, all)).complete();
    let start = asks(&env, "/inferences").pop().unwrap();
    assert_eq!(start["guidance_files"].as_array().unwrap().len(), 4);
    // What Layer made is not sent back to it.
    assert_eq!(asks(&env, "/upload-url").len(), 2);
}

#[test]
fn what_can_not_be_a_reference_costs_nothing_and_says_what_to_do() {
    let env = TestEnv::new();
    fs::write(env.project().join("key.png"), "-----BEGIN PRIVATE KEY-----").unwrap();
    fs::write(env.project().join("words.txt"), "words").unwrap();
    art(&env, ".hidden/x.png", 1);
    for (reference, code, said) in [
        ("../secret.png", "path_refused", "not allowed"),
        ("/etc/passwd", "path_refused", "not inside the output folder"),
        (".hidden/x.png", "path_refused", "hidden"),
        ("key.png", "unsupported_file", "no asset"),
        ("none.png", "file_not_found", ""),
        ("*.gif", "invalid_argument", "matches"),
        ("https://evil.example/x.png", "invalid_argument", "not fetched"),
        ("data:image/png;base64,AAAA", "invalid_argument", "not fetched"),
        ("/mnt/user-data/uploads/x.png", "invalid_argument", "client's own sandbox"),
        ("job_0000000000000000", "job_unknown", ""),
        ("", "invalid_argument", "empty"),
    ] {
        let call = with(&picture("a spear"), json!({ "references": [reference] }));
        let outcome = env.call("create_asset", &call);
        let error = outcome.error(code).says("not_charged", false);
        assert!(error.message().contains(said), "{reference}: {}", error.message());
    }
    let many: Vec<String> = (0..21).map(|number| format!("{number}.png")).collect();
    let call = with(&picture("a spear"), json!({ "references": many }));
    let _ = env.call("create_asset", &call).error("invalid_argument");
    assert_eq!(env.starts(), 0);
    assert_eq!(asks(&env, "/upload-url").len(), 0);
}

#[test]
fn a_model_that_takes_no_references_is_not_chosen_and_refused_by_name() {
    let env = TestEnv::new();
    art(&env, "a.png", 1);
    let more = json!({ "references": ["a.png"], "model": "Gemini 3 Pro Image" });
    let error = env.call("create_asset", &with(&picture("a bow"), more));
    let error = error.error("invalid_argument");
    assert!(error.message().contains("models that do"), "{}", error.message());
    // An edit without a file is refused too.
    let edit = json!({ "prompt": "a red bow", "use_case": "image_editing" });
    let error = env.call("create_asset", &edit).error("invalid_argument");
    assert!(error.message().contains("references"), "{}", error.message());
    assert_eq!(env.starts(), 0);
    let film =
        json!({ "prompt": "it turns", "use_case": "image_to_video", "references": ["a.png"] });
    let _ = env.call("create_asset", &film).complete();
    assert_eq!(asks(&env, "/inferences")[0]["guidance_files"][0]["type"], "first_frame");
}

#[test]
fn an_upload_survives_a_stumbling_storage_host() {
    for_each(
        &["upload_unavailable:2", "upload_dropped:1", "upload_dropped:2", "expired_upload_url:1"],
        |fault| {
            let env = TestEnv::with(&[fault]);
            // Three chunks.
            let noise = (0..17 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8);
            let wav = wav(noise.collect());
            fs::write(env.project().join("long.wav"), &wav).unwrap();
            let sent = env.call("upload_file", &json!({ "path": "long.wav" })).done();
            assert_eq!(sent["reused"], false, "{fault}");
            assert_eq!(sent["bytes"], wav.len(), "{fault}");
        },
    );
    // One that never recovers is an error that says so, and nothing is kept as sent.
    let env = TestEnv::with(&["upload_unavailable"]);
    art(&env, "a.png", 1);
    let call = with(&picture("a helmet"), json!({ "references": ["a.png"] }));
    let error = env.call("create_asset", &call).error("service_error");
    let error = error.says("not_charged", true);
    assert!(error.message().contains("ServiceUnavailable"), "{}", error.message());
    assert_eq!(env.starts(), 0);
    env.faults(&[]);
    let _ = env.call("create_asset", &call).complete();
}

/// Sound as 16-bit samples in a WAV file.
fn wav(samples: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(samples.len()).unwrap();
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend(b"RIFF");
    file.extend((length + 36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(44_100_u32.to_le_bytes());
    file.extend(88_200_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}
