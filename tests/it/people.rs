//! What a person in front of a terminal sees: the greeting, progress, colours, and lines that fit.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::{TestEnv, picture};
use crate::wizard::Person;

/// What is left of a screen without the codes that move and colour.
fn plain(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen.chars();
    while let Some(letter) = rest.next() {
        if letter != '\u{1b}' {
            text.push(letter);
            continue;
        }
        if rest.next() == Some('[') {
            let _ = rest.by_ref().find(|letter| letter.is_ascii_alphabetic());
        }
    }
    text
}

fn seen(env: &TestEnv, arguments: &[&str], columns: u16) -> (Option<i32>, String) {
    Person::runs_in(env, arguments, columns).sees_the_end()
}

fn on_a_terminal() -> TestEnv {
    let mut env = TestEnv::with_store();
    env.set("TERM", "xterm");
    env
}

// ---- The greeting ----

#[test]
fn a_newcomer_is_greeted_with_one_next_step() {
    let mut env = TestEnv::new();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID").set("TERM", "xterm");
    let (code, screen) = seen(&env, &[], 80);
    let text = plain(&screen);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with(concat!("layer-mcp ", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.contains("none yet") && text.contains("next: `layer-mcp setup`"), "{text}");
    assert_eq!(text.matches("next:").count(), 1, "{text}");
    assert!(!env.home().exists(), "looking leaves nothing behind");
    assert_eq!(env.requests().len(), 0, "nobody was asked");
}

#[test]
fn the_next_step_fits_the_state() {
    let mut env = TestEnv::new();
    let status = |env: &TestEnv, more: &[&str]| -> Value {
        let outcome = env.run(&[more, &["status", "--json"]].concat());
        assert_eq!(outcome.stderr, "", "{outcome:#?}");
        outcome.done()
    };
    let next = |state: &Value, words: &str| {
        assert!(state["next_step"].as_str().unwrap().contains(words), "{state:#}");
    };
    let state = status(&env, &[]);
    assert_eq!(state["token"], "environment", "{state:#}");
    assert_eq!(state["workspace_id"], env.sandbox().workspace_id());
    assert_eq!(state["limits"]["confirm_above_cu"], 20.0, "{state:#}");
    assert_eq!((&state["jobs_running"], &state["jobs_unknown"]), (&json!(0), &json!(0)));
    next(&state, "layer-mcp connect");
    assert_eq!(env.run(&["--json"]).done(), state, "without a command it is the same");

    let of_sandbox = status(&env, &["--sandbox"]);
    assert_eq!(of_sandbox["token"], "sandbox", "{of_sandbox:#}");

    // A client is connected: there is something to ask.
    let file = env.path("user/.cursor/mcp.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, r#"{"mcpServers": {"layer": {"command": "/bin/layer-mcp"}}}"#).unwrap();
    let state = status(&env, &[]);
    assert_eq!(state["clients"], json!(["Cursor"]), "{state:#}");
    next(&state, "ask your client");

    // A job is left at no end.
    let begun = env.run(&["call", "create_asset", &picture("a bat").to_string(), "--no-wait"]);
    assert_eq!(begun.running().0["status"], "running");
    let state = status(&env, &[]);
    assert_eq!(state["jobs_running"], 1, "{state:#}");
    next(&state, "jobs --collect");

    env.set("LAYER_BUDGET_DAY_CU", "much");
    let state = status(&env, &[]);
    assert_eq!(state["problems"][0]["setting"], "LAYER_BUDGET_DAY_CU", "{state:#}");
    next(&state, "correct the setting");

    let env = TestEnv::with_store();
    let state = status(&env, &[]);
    assert_eq!((&state["token"], &state["unlock"]), (&json!("stored"), &json!("device")));
    let text = env.run(&["status"]);
    assert!(text.stdout.contains("stored, unlocked by"), "{text:#?}");
    assert!(!text.stdout.contains(&env.sandbox().token()[..12]), "{text:#?}");
}

#[test]
fn json_before_a_command_is_told_where_it_belongs() {
    let outcome = TestEnv::new().run(&["--json", "jobs"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:#?}");
    assert!(outcome.stderr.contains("behind the command"), "{outcome:#?}");
}

// ---- Lines that fit ----

#[test]
fn every_list_fits_the_window() {
    let env = on_a_terminal();
    for prompt in
        ["a knight with a very long red cape, in the style of old games", "騎士と赤いマント"]
    {
        let _ = env.call("create_asset", &picture(prompt)).complete();
    }
    for columns in [40_u16, 80, 200] {
        for command in [
            &["status"][..],
            &["jobs"],
            &["assets"],
            &["spend", "--offline"],
            &["spend", "--offline", "--by", "asset"],
            &["tools"],
            &["doctor"],
            &["audit"],
            &["audit", "--verify"],
            &["credentials", "status"],
            &["sandbox", "--list-faults"],
            &["call", "create_asset", "{\"prompt\": \"\"}"],
            &["--help"],
            &["jobs", "--help"],
        ] {
            let (_, screen) = seen(&env, command, columns);
            let text = plain(&screen);
            assert!(text.trim().len() > 20, "{command:?}: {text}");
            for line in text.lines() {
                let line = line.trim_end_matches('\r');
                // Paths are to be copied whole.
                let path = line.trim_start().starts_with('/');
                let json = line.trim_start().starts_with('"');
                let wide = line.chars().filter(|letter| *letter >= '\u{2e80}').count();
                let width = line.chars().count() + wide;
                let fits = width <= usize::from(columns) || path || json;
                assert!(fits, "{command:?} in {columns}: {line}");
            }
        }
    }
    // In a pipe nothing is cut.
    let jobs = env.run(&["jobs"]);
    assert!(jobs.stdout.contains("red cape, in the style of old games\n"), "{jobs:#?}");
    let tools = env.run(&["tools"]);
    assert!(tools.stdout.lines().any(|line| line.chars().count() > 200), "{tools:#?}");
}

// ---- Colours ----

#[test]
fn colours_are_for_terminals_and_for_whoever_wants_them() {
    let mut env = on_a_terminal();
    let coloured = |env: &TestEnv, arguments: &[&str]| {
        let (_, screen) = seen(env, arguments, 80);
        screen.contains("\u{1b}[3") || screen.contains("\u{1b}[1m")
    };
    assert!(coloured(&env, &["doctor"]));
    assert!(coloured(&env, &["--help"]));
    assert!(coloured(&env, &["call", "nothing"]));
    assert!(!coloured(&env, &["--color", "never", "doctor"]));
    assert!(!coloured(&env, &["--color=never", "--help"]));
    assert!(!coloured(&env, &["doctor", "--json"]), "never in JSON");
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        env.set(name, value);
        for command in [&["doctor"][..], &["--help"], &["call", "nothing"], &["frobnicate"]] {
            assert!(!coloured(&env, command), "{name}={value}: {command:?}");
        }
        assert!(coloured(&env, &["--color", "always", "doctor"]), "the flag beats {name}");
        env.unset(name).set("TERM", "xterm");
    }

    // The words are the same with and without.
    let words = |outcome: &str| plain(outcome);
    let piped = env.run(&["doctor"]);
    assert!(!piped.stdout.contains('\u{1b}'), "{piped:#?}");
    let forced = env.run(&["--color", "always", "doctor"]);
    assert!(forced.stdout.contains("\u{1b}["), "{forced:#?}");
    assert_eq!(words(&forced.stdout), piped.stdout);
    let json = env.run(&["--color", "always", "doctor", "--json"]);
    assert!(!json.stdout.contains('\u{1b}'), "{json:#?}");
    env.set("FORCE_COLOR", "1");
    assert!(env.run(&["doctor"]).stdout.contains("\u{1b}["));
    assert!(env.run(&["--help"]).stdout.contains("\u{1b}["));
}

// ---- Progress ----

#[test]
fn a_call_shows_step_time_and_price_in_one_line() {
    let mut env = on_a_terminal();
    // What a model needs is learnt from its first job.
    let _ = env.call("create_asset", &picture("a first one")).complete();
    env.faults(&["straggler"]);
    for columns in [24_u16, 40, 100] {
        let arguments = picture(&format!("a dragon of {columns}")).to_string();
        let mut person = Person::runs_in(&env, &["call", "create_asset", &arguments], columns);
        person.waits_for("rendering");
        env.faults(&[]);
        let (code, screen) = person.sees_the_end();
        env.faults(&["straggler"]);
        assert_eq!(code, Some(0), "{screen}");
        let told = screen.split(['\r', '\n']).map(plain);
        let told: Vec<String> =
            told.filter(|line| line.contains("rendering") && !line.contains('"')).collect();
        assert!(!told.is_empty(), "{screen:?}");
        for line in &told {
            assert!(line.trim_end().chars().count() < usize::from(columns), "{columns}: {line:?}");
        }
        if columns == 100 {
            assert!(told.iter().any(|line| line.contains('█') || line.contains('░')), "{told:?}");
            assert!(told.iter().any(|line| line.contains("~2 CU")), "{told:?}");
        }
        // The document, and below it the line for people.
        let text = plain(&screen);
        let done = text.find("done: ").unwrap_or_else(|| panic!("{text}"));
        let path = env.project().canonicalize().unwrap().join("assets");
        let after: String = text[done..].split_whitespace().collect();
        assert!(after.contains(path.to_str().unwrap()), "{text}");
        assert!(after.contains("(2CUcharged)"), "{text}");
    }
    // A terminal that can't go back in a line gets none of it.
    env.set("TERM", "dumb");
    env.faults(&[]);
    let arguments = picture("a quiet one").to_string();
    let (code, screen) = seen(&env, &["call", "create_asset", &arguments], 100);
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("rendering") && !screen.contains('\u{1b}'), "{screen}");
}

// ---- Errors and JSON ----

#[test]
fn an_error_says_what_happened_what_became_of_the_money_and_what_to_do() {
    let env = TestEnv::new();
    let outcome = env.call("create_asset", &json!({ "prompt": "" }));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{outcome:#?}");
    assert!(lines[0].starts_with("error: "), "{outcome:#?}");
    assert_eq!(lines[1], "money: nothing was charged");
    assert!(lines[2].starts_with("next: "), "{outcome:#?}");
    let report = outcome.json();
    assert_eq!(lines[0], format!("error: {}", report["message"].as_str().unwrap()));
    assert_eq!(lines[2], format!("next: {}", report["next_step"].as_str().unwrap()));
    assert_eq!(report["money"], "not_charged");

    let env = TestEnv::with(&["start_dropped"]);
    let outcome = env.call("create_asset", &picture("a lost one"));
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("\nmoney: nobody here can say"), "{outcome:#?}");
}

#[test]
fn each_command_tells_an_error_as_json_where_that_is_wanted() {
    let broken = |env: &TestEnv| {
        fs::create_dir_all(env.home()).unwrap();
        fs::write(env.home().join("journal.db"), "no database at all, and long enough").unwrap();
    };
    let mut env = TestEnv::new();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
    broken(&env);
    let expected: BTreeMap<&str, (&str, i32)> = [
        ("jobs --json", ("journal", 1)),
        ("spend --json --offline", ("journal", 1)),
        ("assets --json", ("journal", 1)),
        ("spend --json --since 2026-01-03 --until 2026-01-02", ("invalid_argument", 2)),
        ("credentials status --json", ("store_absent", 3)),
        ("credentials rotate --json", ("store_absent", 3)),
        ("credentials password --json", ("store_absent", 3)),
        ("credentials remove --json", ("unanswered", 3)),
        ("setup --json", ("credentials_missing", 3)),
        ("setup --json --offline --token-file /no/such/file", ("credentials_missing", 3)),
        ("call get_workspace_info", ("credentials_missing", 3)),
    ]
    .into();
    for (line, (code, exit)) in expected {
        let outcome = env.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.code, Some(exit), "{outcome:#?}");
        let report = outcome.json();
        assert_eq!(report["code"], code, "{outcome:#?}");
        for field in ["message", "next_step"] {
            let text = report[field].as_str().unwrap_or_default();
            assert!(text.ends_with(['.', '?', '!']), "{line}: `{field}`: {report:#}");
        }
        assert!(outcome.stderr.starts_with("error: "), "{outcome:#?}");
        assert!(outcome.stderr.contains("\nnext: "), "{outcome:#?}");
    }
}

#[test]
fn what_is_stored_replaced_and_erased_is_told_as_json() {
    let mut env = TestEnv::new();
    let token = env.sandbox().token().to_owned();
    let workspace = env.sandbox().workspace_id().to_owned();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID");
    let setup = ["setup", "--yes", "--json", "--workspace", &workspace];
    let stored = env.run_with_input(&setup, &token);
    let told = stored.done();
    assert_eq!(told["workspace_id"], workspace.as_str(), "{told:#}");
    assert_eq!((&told["unlock"], &told["checked"]), (&json!("device"), &json!(true)));
    assert_eq!(told["opens_for_clients"], true, "{told:#}");
    assert!(!stored.stdout.contains(&token), "{stored:#?}");

    let new = ["credentials", "rotate", "--offline", "--json"];
    let told = env.run_with_input(&new, crate::support::WRONG_TOKEN).done();
    assert_eq!(told["token"], "pat_Wron…", "{told:#}");
    let password = ["credentials", "password", "--json"];
    let told = env.run_with_input(&password, "correct horse battery").done();
    assert_eq!(told, json!({ "unlock": "password" }));
    let told = env.run(&["credentials", "remove", "--yes", "--json"]).done();
    assert_eq!(told, json!({ "erased": true, "device_key_erased": false }));
    let told = env.run(&["credentials", "remove", "--yes", "--json"]).done();
    assert_eq!(told["erased"], false);

    let faults = env.run(&["sandbox", "--list-faults", "--json"]).done();
    assert!(faults.as_array().unwrap().len() > 50, "{faults:#}");
    assert!(faults[0]["fault"].is_string() && faults[0]["does"].is_string(), "{faults:#}");
}
