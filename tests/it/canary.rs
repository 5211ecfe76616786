//! A known token and a known password, a life of the program with everything going wrong in it,
//! and then a search for every trace of the two in all that it wrote, printed and sent.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use layer_mcp::sandbox::HostKind;
use serde_json::json;

use crate::support::{Outcome, TestEnv, all_faults, files_below, for_each, picture};

const TOKEN: &str = "pat_Kx7Qm2Rv9Tz4Wb8Yd3Nf6Hj1Lc5Gs0PaEuXo";
const NEXT_TOKEN: &str = "pat_vB3nM8kJ5hG2fD7sA4qW9eR6tY1uI0oPzXcL";
const PASSWORD: &str = "vexing Quartz, seven jackdaws: 4718";
const NEXT_PASSWORD: &str = "mighty Sphinx of black basalt? 90210";

/// Short enough that a part of a secret is found, long enough that chance does not make one.
const SHORT: usize = 8;
/// The same for spellings that need two or three characters for each of the secret.
const LONG: usize = 16;

/// All windows of all spellings of some secrets.
struct Traces {
    short: HashSet<[u8; SHORT]>,
    long: HashSet<[u8; LONG]>,
}

impl Traces {
    /// `secrets` without what may be shown of them.
    fn of(secrets: &[&str]) -> Self {
        let mut traces = Self { short: HashSet::new(), long: HashSet::new() };
        for secret in secrets {
            for (_, text) in spellings(secret) {
                traces
                    .short
                    .extend(text.windows(SHORT).map(|w| <[u8; SHORT]>::try_from(w).unwrap()));
            }
            for (_, text) in wide_spellings(secret) {
                traces.long.extend(text.windows(LONG).map(|w| <[u8; LONG]>::try_from(w).unwrap()));
            }
        }
        traces
    }

    /// Where the first trace begins.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let short = bytes
            .windows(SHORT)
            .position(|w| <[u8; SHORT]>::try_from(w).is_ok_and(|w| self.short.contains(&w)));
        short.or_else(|| {
            bytes
                .windows(LONG)
                .position(|w| <[u8; LONG]>::try_from(w).is_ok_and(|w| self.long.contains(&w)))
        })
    }

    /// What stands around the first trace.
    fn around(&self, what: &str, bytes: &[u8]) -> Option<String> {
        self.find(bytes).map(|at| {
            let around = &bytes[at.saturating_sub(200)..(at + 60).min(bytes.len())];
            format!("{what}: {}", String::from_utf8_lossy(around))
        })
    }

    #[track_caller]
    fn are_not_in(&self, what: &str, bytes: &[u8]) {
        assert_eq!(self.around(what, bytes), None);
    }
}

/// Texts in which a character of the secret takes about one.
fn spellings(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let base64 = |shift: usize, url: bool| {
        let shifted = [&vec![0; shift][..], secret.as_bytes()].concat();
        let engine = if url { &URL_SAFE } else { &STANDARD };
        let text = engine.encode(shifted);
        // Both ends depend on what stands before and after the secret.
        text.as_bytes()[4..text.len() - 4].to_vec()
    };
    vec![
        ("as it is", secret.as_bytes().to_vec()),
        ("reversed", secret.bytes().rev().collect()),
        ("upper case", secret.to_ascii_uppercase().into_bytes()),
        ("base64", base64(0, false)),
        ("base64, one later", base64(1, false)),
        ("base64, two later", base64(2, false)),
        ("base64 for URLs", base64(0, true)),
        ("base64 for URLs, one later", base64(1, true)),
        ("base64 for URLs, two later", base64(2, true)),
    ]
}

/// Texts in which a character of the secret takes two or three.
fn wide_spellings(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let each = |spell: fn(u8) -> String| secret.bytes().map(spell).collect::<String>().into_bytes();
    vec![
        ("hexadecimal", each(|byte| format!("{byte:02x}"))),
        ("HEXADECIMAL", each(|byte| format!("{byte:02X}"))),
        ("percent-encoded", each(|byte| format!("%{byte:02X}"))),
        ("UTF-16", secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ]
}

/// The part of a token that is shown nowhere.
fn hidden(token: &str) -> &str {
    &token[8..]
}

fn all_traces() -> Traces {
    Traces::of(&[hidden(TOKEN), hidden(NEXT_TOKEN), PASSWORD, NEXT_PASSWORD])
}

#[test]
fn the_search_finds_every_spelling() {
    let traces = all_traces();
    for secret in [hidden(TOKEN), PASSWORD] {
        for (name, text) in spellings(secret).into_iter().chain(wide_spellings(secret)) {
            // Half of it, in the middle of something else.
            let half = &text[text.len() / 4..text.len() * 3 / 4];
            let hay = [&[b'.'; 1000][..], half, &[b'.'; 1000]].concat();
            assert!(traces.find(&hay).is_some(), "{name}");
        }
    }
    assert_eq!(traces.find(&TOKEN.as_bytes()[..8]), None);
    assert_eq!(traces.find(&vec![b'x'; 10_000]), None);
}

#[test]
fn a_whole_life_leaves_no_trace_of_its_secrets() {
    let mut env = TestEnv::with_token(TOKEN);
    let temporary = env.path("tmp");
    fs::create_dir(&temporary).unwrap();
    env.unset("LAYER_API_TOKEN")
        .unset("LAYER_WORKSPACE_ID")
        .set("LAYER_LOG", "trace")
        .set("RUST_BACKTRACE", "1")
        .set("TMPDIR", temporary.into_os_string())
        .set("LAYER_MCP_PASSWORD", PASSWORD);
    let workspace = env.sandbox().workspace_id().to_owned();
    let mut printed: Vec<(String, String)> = Vec::new();
    let mut note_text = |what: &str, stdout: String, stderr: String| {
        printed.push((format!("standard output of {what}"), stdout));
        printed.push((format!("standard error of {what}"), stderr));
    };
    let mut note = |what: &str, outcome: Outcome| note_text(what, outcome.stdout, outcome.stderr);

    let setup = ["setup", "--yes", "--unlock", "password", "--workspace", &workspace];
    for wrong in [&format!("\"{TOKEN}\""), &format!("Bearer {TOKEN}"), PASSWORD, hidden(TOKEN)] {
        let refused = env.run_with_input(&setup, wrong);
        assert_ne!(refused.code, Some(0), "{refused:#?}");
        note("a wrong setup", refused);
    }
    note("setup with a token that does not open", env.run_with_input(&setup, NEXT_TOKEN));
    let stored = env.run_with_input(&setup, TOKEN);
    assert_eq!(stored.code, Some(0), "{stored:#?}");
    note("setup", stored);

    let commands: [&[&str]; 12] = [
        &["credentials", "status"],
        &["credentials", "status", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["doctor", "--online"],
        &["audit", "--json"],
        &["audit", "--verify"],
        &["tools"],
        &["call", TOKEN, PASSWORD],
        &["setup", TOKEN],
        &["--home", TOKEN, "credentials", "status"],
        &["--profile", TOKEN, "credentials", "status"],
    ];
    for command in commands {
        note("a command", env.run(command));
    }
    let _ = env.call("create_asset", &picture("a red kite")).complete();

    // A server, asked for everything, also with the secrets in places where they don't belong.
    let mut client = env.client();
    for tool in ["create_asset", "get_job", "view_asset", "list_models", "list_jobs", "quote"] {
        for secret in [TOKEN, PASSWORD, hidden(TOKEN)] {
            let arguments = json!({
                "prompt": secret, "model": secret, "job_id": secret, "image": secret,
                "query": secret, secret: secret,
            });
            let id = client.ask(tool, &arguments);
            let _ = client.answer(id);
        }
    }
    for method in [TOKEN, "resources/read", "prompts/get", "logging/setLevel"] {
        let id = client.request(method, json!({ "name": TOKEN, "uri": TOKEN, "level": TOKEN }));
        let _ = client.answer(id);
    }
    let id = client.ask(TOKEN, &json!({}));
    let _ = client.answer(id);
    let _ = client.call("get_workspace_info", &json!({}));
    let _ = client.call("create_asset", &picture("a blue kite"));
    for secret in [TOKEN, PASSWORD] {
        client.send_line(&format!("{{\"jsonrpc\": \"2.0\", \"{secret}"));
        client.send_line(secret);
    }
    #[cfg(target_os = "linux")]
    for file in ["cmdline", "comm", "status"] {
        let bytes = fs::read(format!("/proc/{}/{file}", client.pid())).unwrap();
        all_traces().are_not_in(file, &bytes);
    }
    let _ = client.call("list_models", &json!({}));
    let (stdout, stderr) = client.leave();
    note_text("the server", stdout, stderr);
    let mut note = |what: &str, outcome: Outcome| note_text(what, outcome.stdout, outcome.stderr);

    // Another token, another password, the wrong ones, and the end.
    note("a rotation to a token that does not open", {
        env.run_with_input(&["credentials", "rotate"], NEXT_TOKEN)
    });
    note("a rotation", env.run_with_input(&["credentials", "rotate", "--offline"], NEXT_TOKEN));
    note("a refused token", env.call("get_workspace_info", &json!({})));
    env.set("LAYER_MCP_PASSWORD", NEXT_PASSWORD);
    note("a wrong password", env.call("get_workspace_info", &json!({})));
    note("a wrong password", env.run(&["credentials", "status"]));
    let secret = env.home().join("secure/credentials.enc");
    let mut bytes = fs::read(&secret).unwrap();
    bytes[100] ^= 1;
    fs::write(&secret, bytes).unwrap();
    env.set("LAYER_MCP_PASSWORD", PASSWORD);
    note("a damaged store", env.run(&["credentials", "status"]));
    note("a damaged store", env.run(&["doctor"]));

    let traces = all_traces();
    let found: Vec<_> =
        printed.iter().filter_map(|(what, text)| traces.around(what, text.as_bytes())).collect();
    assert!(found.is_empty(), "{found:#?}");
    let mut kinds = HashSet::new();
    for folder in ["home", "project", "user", "outside", "tmp"] {
        for file in files_below(&env.path(folder)) {
            traces.are_not_in(&file.display().to_string(), &fs::read(&file).unwrap());
            traces.are_not_in("the name of a file", file.as_os_str().as_encoded_bytes());
            kinds.insert(kind(&file));
        }
    }
    for kind in ["enc", "db", "log", "jsonl", "png"] {
        assert!(kinds.contains(kind), "nothing was written as {kind}: {kinds:?}");
    }
    nothing_was_sent_astray(&env);
}

/// The secrets went nowhere but into the header that is made for them.
fn nothing_was_sent_astray(env: &TestEnv) {
    let traces = all_traces();
    let requests = env.requests();
    assert!(requests.iter().any(|request| request.had_authorization));
    assert!(requests.iter().any(|request| request.host != HostKind::Api));
    for request in &requests {
        let carried = [
            request.path.clone(),
            request.query.clone().unwrap_or_default(),
            request.body.as_ref().map(ToString::to_string).unwrap_or_default(),
        ];
        traces.are_not_in("a request", carried.join("\n").as_bytes());
        assert!(request.host == HostKind::Api || !request.had_authorization, "{request:?}");
    }
}

/// Everything that can go wrong on the other side.
#[test]
fn no_fault_of_the_service_brings_a_secret_out() {
    let mut faults: Vec<_> = all_faults().filter(|fault| !fault.contains("endless")).collect();
    faults.sort_unstable();
    let groups: Vec<_> = faults.chunks(faults.len().div_ceil(8)).collect();
    for_each(&groups, |faults| {
        let mut env = TestEnv::with_token(TOKEN);
        env.set("LAYER_LOG", "trace").set("RUST_BACKTRACE", "1");
        let traces = all_traces();
        for fault in *faults {
            env.faults(&[&format!("{fault}:1")]);
            let arguments =
                json!({ "prompt": fault, "width": 64, "height": 64, "wait_seconds": 5 });
            let outcome = env.call("create_asset", &arguments);
            traces.are_not_in(fault, outcome.stdout.as_bytes());
            traces.are_not_in(fault, outcome.stderr.as_bytes());
        }
        for file in ["home", "project", "user"].iter().flat_map(|name| files_below(&env.path(name)))
        {
            traces.are_not_in(&file.display().to_string(), &fs::read(&file).unwrap());
        }
        nothing_was_sent_astray(&env);
    });
}

fn kind(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_started_with_a_store_has_no_secret_in_its_environment() {
    let mut env = TestEnv::with_token(TOKEN);
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
    // The password's command sees what a child of the server sees.
    let seen = env.path("seen.txt");
    let script = env.path("password.sh");
    fs::write(&script, format!("env >> '{}'\necho '{PASSWORD}'\n", seen.display())).unwrap();
    env.set("LAYER_MCP_PASSWORD_COMMAND", format!("sh {}", script.display()));
    let workspace = env.sandbox().workspace_id().to_owned();
    let setup = ["setup", "--yes", "--unlock", "password", "--workspace", &workspace];
    let stored = env.run_with_input(&setup, TOKEN);
    assert_eq!(stored.code, Some(0), "{stored:#?}");
    env.set("LAYER_API_TOKEN", NEXT_TOKEN);
    let mut client = env.client();
    let _ = client.call("get_workspace_info", &json!({}));
    let _ = client.leave();
    env.unset("LAYER_API_TOKEN");
    let mut client = env.client();
    let _ = client.call("get_workspace_info", &json!({}));
    let own = fs::read(format!("/proc/{}/environ", client.pid())).unwrap();
    let _ = client.leave();
    let traces = all_traces();
    traces.are_not_in("the server's environment", &own);
    let seen = fs::read_to_string(&seen).unwrap();
    assert!(seen.contains("PATH="), "{seen}");
    traces.are_not_in("the environment of the password's command", seen.as_bytes());
    assert!(!seen.contains("LAYER_"), "{seen}");
}

#[test]
fn a_secret_in_an_argument_goes_nowhere() {
    let env = TestEnv::with_token(TOKEN);
    let traces = Traces::of(&[&TOKEN[8..]]);
    let cases = [
        ("create_asset", json!({ "prompt": format!("a lamp, my token is {TOKEN}") })),
        ("create_asset", json!({ "prompt": "x", "options": { "session_name": TOKEN } })),
        ("create_asset", json!({ "prompt": "x", "save_to": format!("{TOKEN}.png") })),
        ("quote", json!({ "arguments": json!({ "prompt": TOKEN }).to_string() })),
        ("run_workflow", json!({ "workflow": "Icon set", "inputs": { "subject": TOKEN } })),
        ("generate_prompt", json!({ "base_prompt": format!("like {NEXT_TOKEN}") })),
    ];
    for_each(&cases, |(tool, arguments)| {
        let ran = env.call(tool, arguments);
        let problem = ran.error("invalid_argument").says("not_charged", false);
        assert!(problem.message().contains("holds a token"), "{}", problem.message());
        traces.are_not_in(tool, ran.stdout.as_bytes());
        traces.are_not_in(tool, ran.stderr.as_bytes());
    });
    assert!(env.requests().iter().all(|it| it.method != "POST"));
    for path in files_below(&env.home()) {
        traces.are_not_in(&path.display().to_string(), &fs::read(&path).unwrap());
    }
    // What only begins like one is a name.
    let named =
        json!({ "prompt": "x", "width": 64, "height": 64, "save_to": "pat_idle_animation_01.png" });
    let job = env.call("create_asset", &named).complete();
    assert!(job.path().ends_with("pat_idle_animation_01.png"), "{:?}", job.path());
}
