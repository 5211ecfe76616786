//! The command line, for people and scripts.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{Place, Ran, Standalone, is_report};

/// The first bytes of what should be a PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The only file of a job, after every claim about it was compared with the disk.
#[track_caller]
fn only_file(place: &Place, job: &Value) -> (PathBuf, Vec<u8>, Value) {
    assert_eq!(job["status"], "complete", "{job}");
    let [file] = job["files"].as_array().unwrap().as_slice() else { panic!("{job}") };
    let path = PathBuf::from(file["path"].as_str().unwrap());
    assert!(path.is_absolute() && path.starts_with(place.output()), "{job}");
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(file["bytes"], bytes.len(), "{job}");
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(file["sha256"], digest, "{job}");
    assert!(job["cost_cu"].as_f64().unwrap() > 0.0, "{job}");
    assert!(job["message"].as_str().unwrap().contains(file["path"].as_str().unwrap()), "{job}");
    (path, bytes, file.clone())
}

#[track_caller]
fn usage_error(ran: &Ran, words: &[&str]) {
    let report = ran.document(2);
    is_report(&report);
    assert_eq!(report["code"], "invalid_argument", "{report}");
    assert_eq!(report["money"], "not_charged", "{report}");
    let message = report["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "`{word}` is missing: {message}");
    }
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
}

// ---- All kinds of assets ----

#[test]
fn a_prompt_becomes_a_picture_of_exactly_the_asked_size() {
    let place = Place::new();
    let request = json!({
        "prompt": "a pixel-art knight with a red cape", "width": 512, "height": 320,
        "save_to": "assets/knight.png",
    });
    let ran = place.call("create_asset", &request);
    assert_eq!(ran.stderr, "", "a script's log stays empty");
    let (path, bytes, file) = only_file(&place, &ran.document(0));
    assert_eq!(path, place.output().join("assets/knight.png"));
    assert!(bytes.starts_with(PNG));
    let picture = image::load_from_memory(&bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (512, 320));
    assert_eq!(file["media_type"], "image/png");
    assert_eq!((&file["width"], &file["height"]), (&json!(512), &json!(320)));
}

#[test]
fn transparent_is_real_alpha() {
    let place = Place::new();
    let request = json!({ "prompt": "a coin", "width": 128, "height": 128, "transparent": true });
    let (_, bytes, file) = only_file(&place, &place.call("create_asset", &request).document(0));
    let picture = image::load_from_memory(&bytes).unwrap().into_rgba8();
    let clear = picture.pixels().filter(|pixel| pixel.0[3] == 0).count();
    let solid = picture.pixels().filter(|pixel| pixel.0[3] == 255).count();
    assert!(clear > 500 && solid > 500, "{clear} clear, {solid} solid");
    assert_eq!(file["has_alpha"], true);
}

#[test]
fn a_video_is_a_video() {
    let place = Place::new();
    let request = json!({ "prompt": "waves", "use_case": "text_to_video" });
    let (path, bytes, file) = only_file(&place, &place.call("create_asset", &request).document(0));
    assert_eq!(&bytes[4..8], b"ftyp");
    assert_eq!(file["media_type"], "video/mp4");
    assert_eq!(path.extension().unwrap(), "mp4");
    assert!(file["duration_seconds"].as_f64().unwrap() > 0.5, "{file}");
}

#[test]
fn a_mesh_is_a_mesh() {
    let place = Place::new();
    let request = json!({ "prompt": "a crate", "use_case": "text_to_3d" });
    let (path, bytes, file) = only_file(&place, &place.call("create_asset", &request).document(0));
    assert_eq!(&bytes[..8], b"glTF\x02\0\0\0");
    let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    assert_eq!(length as usize, bytes.len());
    assert_eq!(file["media_type"], "model/gltf-binary");
    assert_eq!(path.extension().unwrap(), "glb");
}

#[track_caller]
fn is_a_sound(use_case: &str) {
    let place = Place::new();
    let request = json!({ "prompt": "hello, traveller", "use_case": use_case });
    let (path, bytes, file) = only_file(&place, &place.call("create_asset", &request).document(0));
    assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    assert_eq!(length as usize + 8, bytes.len());
    assert!(file["media_type"].as_str().unwrap().starts_with("audio/"), "{file}");
    assert_eq!(path.extension().unwrap(), "wav");
    assert!(file["duration_seconds"].as_f64().unwrap() > 0.1, "{file}");
}

#[test]
fn speech_is_a_sound() {
    is_a_sound("text_to_speech");
}

#[test]
fn an_effect_is_a_sound() {
    is_a_sound("sound_effects");
}

#[test]
fn music_is_a_sound() {
    is_a_sound("music");
}

#[test]
fn several_variations_are_several_files() {
    let place = Place::new();
    let request =
        json!({ "prompt": "a tree", "width": 64, "height": 64, "count": 3, "save_to": "trees/" });
    let job = place.call("create_asset", &request).document(0);
    let files = job["files"].as_array().unwrap();
    assert_eq!(files.len(), 3, "{job}");
    let mut sums: Vec<&str> = files.iter().map(|file| file["sha256"].as_str().unwrap()).collect();
    sums.sort_unstable();
    sums.dedup();
    assert_eq!(sums.len(), 3, "they differ: {job}");
    for file in files {
        let path = Path::new(file["path"].as_str().unwrap());
        assert_eq!(path.parent().unwrap(), place.output().join("trees"));
        assert!(std::fs::read(path).unwrap().starts_with(PNG));
    }
}

// ---- Calls ----

#[test]
fn arguments_come_from_the_line_a_file_or_standard_input() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arguments.json");
    std::fs::write(&file, "\u{feff}{ \"limit\": 1 }\n").unwrap();
    let at_file = format!("@{}", file.display());
    for (argument, input) in [("{\"limit\":1}", ""), (at_file.as_str(), ""), ("-", "{\"limit\":1}")]
    {
        let ran =
            place.run_with_input(&["--sandbox", "call", "list_jobs", argument], input.as_bytes());
        assert_eq!(ran.document(0)["jobs"], json!([]), "{argument}");
    }
    assert_eq!(place.run(&["--sandbox", "call", "list_jobs"]).document(0)["jobs"], json!([]));
}

#[test]
fn a_call_that_is_none_is_a_usage_error_in_json() {
    let place = Place::new();
    let call = |arguments: &[&str]| {
        let line: Vec<&str> = ["--sandbox", "call"].iter().chain(arguments).copied().collect();
        place.run_with_input(&line, b"nothing of use")
    };
    usage_error(&call(&["make_me_rich"]), &["make_me_rich", "create_asset", "view_asset"]);
    usage_error(&call(&["list_jobs", "{"]), &["not JSON"]);
    usage_error(&call(&["list_jobs", ""]), &["not JSON"]);
    usage_error(&call(&["list_jobs", "[1]"]), &["JSON object"]);
    usage_error(&call(&["list_jobs", "null"]), &["JSON object"]);
    usage_error(&call(&["list_jobs", "-"]), &["not JSON"]);
    usage_error(&call(&["list_jobs", "@/no/such/file"]), &["/no/such/file", "can't be read"]);
    usage_error(&call(&["list_jobs", "@"]), &["can't be read"]);
}

#[test]
fn a_tool_that_reports_an_error_exits_with_one() {
    let place = Place::new();
    let ran = place.call("create_asset", &json!({ "prompt": "" }));
    let report = ran.document(1);
    is_report(&report);
    assert_eq!(report["code"], "invalid_argument");
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    let ran = place.call("create_asset", &json!({ "prompt": "a knight", "widht": 3 }));
    assert_eq!(ran.document(1)["code"], "invalid_argument");
}

#[test]
fn missing_credentials_and_wrong_settings_exit_with_three() {
    let place = Place::new();
    let ran = place.run(&["call", "get_workspace_info"]);
    let report = ran.document(3);
    is_report(&report);
    assert_eq!(report["code"], "credentials_missing");

    let place = Place::new().with("LAYER_API_BASE_URL", "http://127.0.0.1:1");
    let report = place.run(&["call", "get_workspace_info"]).document(3);
    assert_eq!(report["code"], "configuration");
    assert!(report["message"].as_str().unwrap().contains("LAYER_API_BASE_URL"), "{report}");
}

#[test]
fn a_call_that_does_not_wait_is_collected_later() {
    let place = Place::new();
    let request = json!({ "prompt": "a knight", "width": 64, "height": 64 }).to_string();
    let ran = place.run(&["--sandbox", "call", "create_asset", &request, "--no-wait"]);
    let job = ran.document(0);
    assert_eq!(job["status"], "running", "{job}");
    assert_eq!(job["files"], json!([]));
    assert!(job["next_step"].as_str().unwrap().contains(job["job_id"].as_str().unwrap()), "{job}");

    let later = place.call("get_job", &json!({ "job_id": job["job_id"] })).document(0);
    assert_eq!(later["job_id"], job["job_id"]);
    only_file(&place, &later);
    // The same request again is the same job, not a second purchase.
    let again = place.run(&["--sandbox", "call", "create_asset", &request]).document(0);
    assert_eq!(again["job_id"], job["job_id"]);
    let jobs = place.call("list_jobs", &json!({})).document(0);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
}

#[test]
fn a_picture_is_told_in_facts() {
    let place = Place::new();
    let request = json!({ "prompt": "a knight", "width": 64, "height": 64, "save_to": "k.png" });
    let job = place.call("create_asset", &request).document(0);
    let facts = place.call("view_asset", &json!({ "image": "k.png" })).document(0);
    for name in ["path", "media_type", "bytes", "width", "height", "sha256"] {
        assert_eq!(facts[name], job["files"][0][name], "{facts}");
    }
    assert!(facts["message"].is_string(), "{facts}");
}

#[test]
fn the_flags_for_the_folders_outrank_the_environment() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let (home, output) = (folder.path().join("h"), folder.path().join("o"));
    std::fs::create_dir(&output).unwrap();
    let ran = place.run(&[
        "call",
        "get_workspace_info",
        "--sandbox",
        "--home",
        home.to_str().unwrap(),
        "--output-dir",
        output.to_str().unwrap(),
    ]);
    assert_eq!(ran.document(0)["output_dir"], output.to_str().unwrap());
    assert!(home.join("sandbox").is_dir());
    assert_eq!(place.written(), Vec::<PathBuf>::new());
}

// ---- Help ----

#[test]
fn the_help_is_as_it_was_reviewed() {
    let place = Place::new();
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("help_call", &["call", "--help"]),
        ("help_tools", &["tools", "--help"]),
        ("help_jobs", &["jobs", "--help"]),
        ("help_assets", &["assets", "--help"]),
        ("help_status", &["status", "--help"]),
        ("help_spend", &["spend", "--help"]),
        ("help_connect", &["connect", "--help"]),
        ("help_setup", &["setup", "--help"]),
        ("help_credentials", &["credentials", "--help"]),
        ("help_doctor", &["doctor", "--help"]),
        ("help_audit", &["audit", "--help"]),
        ("help_sandbox", &["sandbox", "--help"]),
        ("help_serve", &["serve", "--help"]),
    ] {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, ran.stdout);
        });
    }
    assert_eq!(place.written(), Vec::<PathBuf>::new(), "help leaves nothing behind");
}

#[test]
fn the_version_is_the_packages() {
    let ran = Place::new().run(&["--version"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout, concat!("layer-mcp ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn tools_lists_every_tool_on_a_line() {
    let place = Place::new();
    let listed = place.run(&["tools", "--json"]).document(0);
    let ran = place.run(&["tools"]);
    assert_eq!(ran.code, Some(0));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let listed = listed.as_array().unwrap();
    assert_eq!(lines.len(), listed.len());
    for (line, tool) in lines.iter().zip(listed) {
        assert!(line.starts_with(tool["name"].as_str().unwrap()), "{line}");
    }
    let reading = place.run(&["tools", "--json", "--read-only"]).document(0);
    assert!(reading.as_array().unwrap().len() < listed.len());
}

#[test]
fn what_is_no_command_is_wrong_usage() {
    let place = Place::new();
    for arguments in [
        &["frobnicate"][..],
        &["--frobnicate"],
        &["call"],
        &["tools", "extra"],
        &["setup", "--unlock", "magic"],
        &["sandbox", "--port", "many"],
        &["sandbox", "--fault", "no_such_fault"],
        &["sandbox", "--fault", "rate_limited:0"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {ran:?}");
    }
    assert_eq!(place.written(), Vec::<PathBuf>::new());
}

/// What others can read on a command line is at least not repeated into a log.
#[test]
fn keys_at_the_wrong_place_are_not_repeated() {
    let place = Place::new();
    for key in [
        "lp_live_a1B2c3D4e5F6a1B2c3D4",
        "sk-ant-a1B2c3D4e5F6a1B2c3D4",
        "ghp_a1B2c3D4e5F6a1B2c3D4",
        "AIzaa1B2c3D4e5F6a1B2c3D4",
        "pat_a1B2c3D4e5F6a1B2c3D4a1B2c3D4",
    ] {
        let flag = format!("--{key}");
        for arguments in [
            &[key][..],
            &["setup", key],
            &["setup", "--token", key],
            &["setup", "--unlock", key],
            &["setup", "--workspace", key],
            &["setup", "--token-file", key],
            &["credentials", "rotate", "--token", key],
            &["credentials", "rotate", key],
            &["credentials", "password", "--password", key],
            &["credentials", "password", key],
            &["call", key],
            &["call", "get_job", key],
            &["tools", &flag],
            &["--profile", key, "credentials"],
            &["--home", key, "credentials"],
        ] {
            let ran = place.run(arguments);
            assert_ne!(ran.code, Some(0), "{arguments:?}: {ran:?}");
            for text in [&ran.stdout, &ran.stderr] {
                assert!(!text.contains("5F6a1B2c3D4"), "{arguments:?}: {ran:?}");
            }
        }
    }
}

/// A token in a workspace's place would go into addresses.
#[test]
fn a_token_is_no_workspace() {
    let token = "pat_a1B2c3D4e5F6a1B2c3D4a1B2c3D4";
    let place = Place::new();
    let ran = place.run(&["setup", "--offline", "--workspace", token]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("revoke it"), "{ran:?}");
    let mut env = crate::support::TestEnv::new();
    env.set("LAYER_WORKSPACE_ID", token);
    let before = env.requests().len();
    let error = env.call("get_workspace_info", &serde_json::json!({})).setup_error("configuration");
    assert!(error.message().contains("LAYER_WORKSPACE_ID"), "{}", error.message());
    assert_eq!(env.requests().len(), before);
}

// ---- The sandbox ----

#[test]
fn the_sandbox_prints_one_line_and_serves() {
    let place = Place::new();
    let sandbox = Standalone::start(&place, &[]);
    let text = |name: &str| sandbox.line[name].as_str().unwrap_or_else(|| panic!("{name}"));
    assert!(text("base_url").starts_with("https://127.0.0.1:"));
    assert!(std::fs::read_to_string(text("ca_file")).unwrap().contains("BEGIN CERTIFICATE"));
    assert!(text("token").starts_with("pat_"));
    assert!(text("allowed_hosts").split(',').all(|host| host.starts_with("127.0.0.1:")));

    // What a script does with the line.
    let user = sandbox.client(Place::new());
    let info = user.run(&["call", "get_workspace_info"]).document(0);
    assert_eq!(info["workspace_id"], text("workspace_id"));
    assert_eq!(info["api"], text("base_url"));
    let request = json!({ "prompt": "a knight", "width": 64, "height": 64 }).to_string();
    only_file(&user, &user.run(&["call", "create_asset", &request]).document(0));
    assert!(sandbox.stop().success());
}

#[test]
fn a_fault_of_the_sandbox_is_felt() {
    let place = Place::new();
    let sandbox = Standalone::start(&place, &["--fault", "insufficient_balance"]);
    let user = sandbox.client(Place::new());
    let report = user.run(&["call", "create_asset", "{\"prompt\":\"a knight\"}"]).document(1);
    assert_eq!(report["code"], "insufficient_balance");
    assert_eq!(report["money"], "not_charged");
}

#[test]
fn every_fault_of_the_list_can_be_ordered() {
    let place = Place::new();
    let ran = place.run(&["sandbox", "--list-faults"]);
    assert_eq!(ran.code, Some(0));
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("faults", ran.stdout);
    });
    let mut arguments = Vec::new();
    for line in ran.stdout.lines() {
        let (name, what) = line.split_once(' ').unwrap();
        assert!(!what.trim().is_empty(), "{line}");
        arguments.extend(["--fault", name]);
    }
    assert!(arguments.len() > 20);
    Standalone::start(&place, &arguments).stop();
}

#[test]
fn the_sandbox_takes_a_port_and_a_folder() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // A port that was free a moment ago. Where another process took it, the sandbox says so.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = port.to_string();
    let arguments = ["--port", &port, "--state-dir", state.to_str().unwrap()];
    let sandbox = Standalone::start(&place, &arguments);
    assert_eq!(sandbox.line["base_url"], format!("https://127.0.0.1:{port}"));
    assert!(sandbox.line["ca_file"].as_str().unwrap().starts_with(state.to_str().unwrap()));
    let second = place.run(&["sandbox", "--port", &port]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.starts_with("error: "), "{second:?}");
    assert_eq!(second.stdout, "");
}
