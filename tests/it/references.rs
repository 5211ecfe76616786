//! What a request goes by: files of the project, of earlier jobs, at Layer.

use std::fs;

use layer_mcp::sandbox::HostKind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{TestEnv, files_below, for_each, picture, with};
use crate::tls::Authority;

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
    // What a price leaves out is told with the price, and no more once the charge is known.
    let leaves_out =
        |answer: &Value| answer["message"].as_str().unwrap().contains("can't include references");
    let quote = env.call("quote", &json!({ "arguments": call.to_string() })).done();
    assert!(leaves_out(&quote), "{quote:#}");
    let first = env.call("create_asset", &call).complete();
    assert!(!leaves_out(&first.0), "{:#}", first.0);
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
        ("*.txt", "invalid_argument", "none of which can be uploaded"),
        ("**/[x", "invalid_argument", "can't be used"),
        ("../*.png", "path_refused", "not allowed"),
        ("https://evil.example/x.png?sig=s3cr3t", "invalid_argument", "LAYER_REFERENCE_HOSTS"),
        ("http://evil.example/x.png", "invalid_argument", "not fetched"),
        ("data:image/png;base64,AAAA", "invalid_argument", "not taken"),
        ("/mnt/user-data/uploads/x.png", "invalid_argument", "client's own sandbox"),
        ("/mnt/user-data/uploads/*.png", "invalid_argument", "client's own sandbox"),
        ("file:///mnt/user-data/uploads/x.png", "invalid_argument", "client's own sandbox"),
        ("/tmp/inputs/x.png", "invalid_argument", "client's own sandbox"),
        ("/workspace/no-such-place/x.png", "invalid_argument", "client's own sandbox"),
        ("attachment:x.png", "invalid_argument", "client's own sandbox"),
        ("blob:https://chat.example/1", "invalid_argument", "client's own sandbox"),
        ("file-abc123XYZ", "invalid_argument", "another service"),
        ("file:///etc/passwd", "path_refused", "not inside the output folder"),
        ("file:///etc/%2e%2e/x.png", "path_refused", "not allowed"),
        ("job_0000000000000000", "job_unknown", ""),
        ("", "invalid_argument", "empty"),
    ] {
        let call = with(&picture("a spear"), json!({ "references": [reference] }));
        let outcome = env.call("create_asset", &call);
        let error = outcome.error(code).says("not_charged", false);
        assert!(error.message().contains(said), "{reference}: {}", error.message());
        assert!(!outcome.stdout.contains("s3cr3t"), "{}", outcome.stdout);
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

/// What arrived at the storage host for a file.
fn arrived(env: &TestEnv, file: &Value) -> Vec<u8> {
    fs::read(env.path("service/uploads").join(file.as_str().unwrap())).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A picture as a phone takes it: with a place, a camera lying on its side, and a comment.
fn photo(remark: &str) -> Vec<u8> {
    let mut plain = std::io::Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_fn(40, 24, |x, y| image::Rgb([x as u8 * 6, y as u8, 90]));
    pixels.write_to(&mut plain, image::ImageFormat::Jpeg).unwrap();
    let plain = plain.into_inner();
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02".to_vec();
    exif.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");
    // The directory of the place, which follows.
    exif.extend(b"\x88\x25\0\x04\0\0\0\x01\0\0\0\x26\0\0\0\0");
    exif.extend(b"\0\x01\0\x01\0\x02\0\0\0\x02N\0\0\0\0\0\0\0GPSLatitude 52.52");
    exif.extend(remark.as_bytes());
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&plain[..2], b"\xff\xe1", &length, &exif, b"\xff\xfe\0\x09comment", &plain[2..]].concat()
}

#[test]
fn a_pattern_goes_through_folders_and_takes_what_can_be_sent() {
    let env = TestEnv::new();
    for (shade, name) in (1..).zip([
        "art/a.png",
        "art/heroes/hero-1.png",
        "art/heroes/deep/hero-2.png",
        "art/.hidden/no.png",
        "node_modules/no.png",
    ]) {
        art(&env, name, shade);
    }
    fs::write(env.project().join("art/heroes/note.txt"), "words").unwrap();
    for (pattern, count) in [
        ("art/**/*", 3),
        ("**/her*.png", 2),
        ("art/*/hero-?.*", 1),
        ("art/{a,heroes/hero-1}.png", 2),
    ] {
        let call = with(&picture("a shield"), json!({ "references": [pattern] }));
        let _ = env.call("create_asset", &call).complete();
        let start = asks(&env, "/inferences").pop().unwrap();
        assert_eq!(start["guidance_files"].as_array().unwrap().len(), count, "{pattern}");
    }
    assert_eq!(asks(&env, "/upload-url").len(), 3);
    for number in 0..21 {
        art(&env, &format!("many/{number}.png"), number);
    }
    let call = with(&picture("a shield"), json!({ "references": ["many/*"] }));
    let error = env.call("create_asset", &call).error("invalid_argument");
    assert!(error.message().contains("matches 21"), "{}", error.message());
}

#[test]
fn the_place_in_a_photo_stays_here() {
    let env = TestEnv::new();
    let bytes = photo("");
    fs::write(env.project().join("photo.jpg"), &bytes).unwrap();
    let sent = env.call("upload_file", &json!({ "path": "photo.jpg" })).done();
    assert_eq!((&sent["stripped"], &sent["reused"]), (&json!(true), &json!(false)), "{sent:#}");
    assert_eq!(sent["sha256"], sha256(&bytes));
    assert_eq!(sent["bytes"], bytes.len());
    assert!(sent["message"].as_str().unwrap().contains("metadata"), "{sent:#}");
    let there = arrived(&env, &sent["file_id"]);
    for secret in [b"GPS".as_slice(), b"52.52", b"comment", b"\x88\x25\0\x04"] {
        assert!(!there.windows(secret.len()).any(|part| part == secret));
    }
    let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
    assert_eq!(pixels(&there), pixels(&bytes));
    // How the camera was held is kept.
    assert!(there.windows(12).any(|part| part == b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"));
    // What differs in its metadata alone is the same picture.
    fs::write(env.project().join("again.jpg"), photo("another day")).unwrap();
    let again = env.call("upload_file", &json!({ "path": "again.jpg" })).done();
    assert_eq!((&again["file_id"], &again["reused"]), (&sent["file_id"], &json!(true)));
    // Nothing is said of a picture that had none, and a damaged one is not sent.
    art(&env, "plain.png", 3);
    let plain = env.call("upload_file", &json!({ "path": "plain.png" })).done();
    assert_eq!(plain["stripped"], false);
    assert!(!plain["message"].as_str().unwrap().contains("metadata"), "{plain:#}");
    fs::write(env.project().join("half.jpg"), &bytes[..150]).unwrap();
    let _ = env.call("upload_file", &json!({ "path": "half.jpg" })).error("image_unreadable");
}

#[test]
fn the_same_content_is_sent_once_and_an_address_of_a_file_is_its_path() {
    let env = TestEnv::new();
    art(&env, "art/my hero.png", 1);
    fs::copy(env.project().join("art/my hero.png"), env.project().join("copy.png")).unwrap();
    let uri = format!("file://{}/art/my%20hero.png", env.project().display());
    let all = json!({ "references": ["copy.png", uri, "art/my hero.png"] });
    let _ = env.call("create_asset", &with(&picture("a shield"), all)).complete();
    assert_eq!(asks(&env, "/upload-url").len(), 1);
    let start = asks(&env, "/inferences").pop().unwrap();
    let files = start["guidance_files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| file["file_id"] == files[0]["file_id"]));
}

#[test]
fn as_many_files_as_a_model_takes_go_at_once() {
    let env = TestEnv::new();
    for shade in 0..8 {
        art(&env, &format!("art/{shade}.png"), shade);
    }
    let call = with(&picture("a shield"), json!({ "references": ["art/*"] }));
    let _ = env.call("create_asset", &call).complete();
    let ids: std::collections::BTreeSet<String> = asks(&env, "/inferences")[0]["guidance_files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["file_id"].to_string())
        .collect();
    assert_eq!((ids.len(), asks(&env, "/upload-url").len()), (8, 8));
}

#[test]
fn what_a_job_saved_is_not_sent_back_by_its_path() {
    let env = TestEnv::new();
    let made = env.call("create_asset", &picture("a shield")).complete();
    let path = made.0["files"][0]["path"].as_str().unwrap();
    // Its content counts, not its name.
    fs::copy(path, env.project().join("mine.png")).unwrap();
    let sent = env.call("upload_file", &json!({ "path": "mine.png" })).done();
    assert_eq!((&sent["reused"], &sent["stripped"]), (&json!(true), &json!(false)), "{sent:#}");
    let by_path = json!({ "references": ["mine.png"] });
    let _ = env.call("create_asset", &with(&picture("a helmet"), by_path)).complete();
    let start = asks(&env, "/inferences").pop().unwrap();
    assert_eq!(start["guidance_files"][0]["file_id"], sent["file_id"]);
    assert_eq!(asks(&env, "/upload-url").len(), 0);
}

#[test]
fn what_is_gone_at_layer_is_sent_the_next_time() {
    let mut env = TestEnv::new();
    env.set("LAYER_SANDBOX_SPEED", "20");
    let call = |tool: &str, arguments: Value| {
        env.run(&["--sandbox", "call", tool, &arguments.to_string()])
    };
    let made = call("create_asset", picture("a shield")).complete();
    let path = made.0["files"][0]["path"].clone();
    let first = call("upload_file", json!({ "path": path })).done();
    assert_eq!(first["reused"], true);
    art(&env, "other.png", 1);
    let _ = call("upload_file", json!({ "path": "other.png" })).done();
    // Layer forgets everything; the journal does not.
    fs::remove_dir_all(env.home().join("sandbox/layer")).unwrap();
    let with_it = |reference: &Value| {
        let references = json!({ "references": [reference] });
        call("create_asset", with(&picture("a helmet"), references))
    };
    for reference in [path, json!("other.png")] {
        let refused = with_it(&reference);
        assert_eq!(refused.json()["money"], "not_charged", "{refused:#?}");
        let _ = with_it(&reference).complete();
    }
    // What was sent anew serves the job that made it, too.
    let _ = with_it(&json!(made.id())).complete();
}

#[test]
fn an_address_is_fetched_only_from_a_host_that_the_user_named() {
    const SECRET: &str = "0123456789abcdef0123";
    let bytes = photo("");
    let authority = Authority::new();
    let picture_there = bytes.clone();
    let (port, seen) = authority.answering(
        "127.0.0.1",
        |_| {},
        move |asked| {
            let path = asked.split(' ').nth(1).unwrap_or_default();
            let host = asked.split("host: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            let (head, body) = match path.split('?').next().unwrap_or_default() {
                "/a.jpg" => (String::new(), picture_there.clone()),
                "/to" => (format!("location: https://{host}/a.jpg?{path}\r\n"), Vec::new()),
                "/circle" => (format!("location: https://{host}/circle\r\n"), Vec::new()),
                "/away" => ("location: https://localhost:1/a.jpg\r\n".to_owned(), Vec::new()),
                "/down" => (format!("location: http://{host}/a.jpg\r\n"), Vec::new()),
                "/page" => (String::new(), b"<!doctype html><html></html>".to_vec()),
                _ => {
                    return b"HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\nx".to_vec();
                }
            };
            let status = if head.is_empty() { "200 OK" } else { "302 Found" };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n"
            );
            [head.into_bytes(), body].concat()
        },
    );
    let mut env = TestEnv::new();
    let bundle = env.path("both.pem");
    let own = fs::read_to_string(env.sandbox().ca_file()).unwrap();
    fs::write(&bundle, format!("{own}\n{}", authority.pem)).unwrap();
    env.set("LAYER_CA_BUNDLE", bundle).set("LAYER_LOG", "trace");
    let signed = |path: &str| format!("https://127.0.0.1:{port}{path}?X-Amz-Signature={SECRET}");
    let call = |env: &TestEnv, reference: &str| {
        let references = json!({ "references": [reference] });
        env.call("create_asset", &with(&picture("a spear"), references))
    };
    let mut said = Vec::new();
    // Nobody allowed it, and what is allowed for Layer's own files does not count.
    let listed = env.sandbox().allowed_hosts().join(",");
    env.set("LAYER_ALLOWED_HOSTS", format!("{listed},127.0.0.1:{port}"));
    let refused = call(&env, &signed("/a.jpg"));
    let error = refused.error("invalid_argument").says("not_charged", false);
    assert!(error.message().contains("LAYER_REFERENCE_HOSTS"), "{}", error.message());
    assert!(!seen.contains("GET"));
    said.push(refused);

    env.set("LAYER_ALLOWED_HOSTS", listed);
    env.set("LAYER_REFERENCE_HOSTS", format!("127.0.0.1:{port}"));
    for (path, code) in [
        ("/circle", "download_failed"),
        ("/away", "invalid_argument"),
        ("/down", "invalid_argument"),
        ("/page", "invalid_argument"),
        ("/large", "download_failed"),
    ] {
        let outcome = call(&env, &signed(path));
        let _ = outcome.error(code);
        said.push(outcome);
    }
    for address in
        [signed("/a.jpg").replace("https:", "http:"), signed("/a.jpg").replace("//", "//me:word@")]
    {
        let outcome = call(&env, &address);
        let _ = outcome.error("invalid_argument");
        said.push(outcome);
    }
    assert_eq!((env.starts(), asks(&env, "/upload-url").len()), (0, 0));
    let done = call(&env, &signed("/to"));
    let job = done.complete();
    let start = asks(&env, "/inferences").pop().unwrap();
    let there = arrived(&env, &start["guidance_files"][0]["file_id"]);
    assert!(!there.windows(3).any(|part| part == b"GPS"));
    // Its content counts, and not where it came from.
    fs::write(env.project().join("photo.jpg"), &bytes).unwrap();
    assert_eq!(call(&env, "photo.jpg").complete().id(), job.id());
    said.push(done);
    assert!(seen.contains(SECRET) && !seen.contains(env.sandbox().token()));
    assert!(!seen.contains("uthorization"));
    for outcome in &said {
        assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains(SECRET));
    }
    for file in files_below(&env.home()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(20).any(|part| part == SECRET.as_bytes()), "{}", file.display());
    }
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
