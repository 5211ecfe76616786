//! `layer-mcp jobs` and `layer-mcp spend`: what was bought, and what for.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use layer_mcp::journal::{
    Fingerprint, JobFailure, JobId, JobState, Journal, NewJob, Reservation, Terms,
};
use layer_mcp::layer::{CreativeUnits, InferenceRequest, Modality};
use serde_json::{Value, json};

use crate::support::{Outcome, TestEnv, picture, wait_until, with};

const BY: [&str; 5] = ["day", "model", "asset", "project", "job"];

/// The result on standard output, of a command that worked and had nothing else to say.
fn told(outcome: &Outcome) -> String {
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?}");
    outcome.stdout.clone()
}

fn jobs(env: &TestEnv, more: &[&str]) -> Vec<Value> {
    let listed = env.run(&[&["jobs", "--json"], more].concat()).done();
    listed.as_array().unwrap().clone()
}

fn spend(env: &TestEnv, more: &[&str]) -> Value {
    env.run(&[&["spend", "--json", "--offline"], more].concat()).done()
}

/// Fields of some rows, one after the other.
fn column(rows: &Value, field: &str) -> Vec<Value> {
    rows.as_array().unwrap().iter().map(|row| row[field].clone()).collect()
}

/// A model of the sandbox that costs 0.891 a picture, and edits.
const ODD_MODEL: &str = "2f5f8f0e-9c3c-4f0e-8a53-52f1c1f1a511";

/// An edit that costs 0.891.
fn odd_price(env: &TestEnv, prompt: &str) -> Value {
    let knight = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/knight.png");
    fs::copy(knight, env.project().join("knight.png")).unwrap();
    json!({ "prompt": prompt, "model": ODD_MODEL, "references": ["knight.png"] })
}

/// An amount in millionths, as it is printed.
fn micros(number: &Value) -> i64 {
    number.to_string().parse::<CreativeUnits>().unwrap().micros()
}

/// Adds up the rows, and holds the total against them.
fn adds_up(answer: &Value) {
    for field in ["estimated_cu", "charged_cu", "reserved_cu"] {
        let sum: i64 = column(&answer["rows"], field).iter().map(micros).sum();
        assert_eq!(micros(&answer["total"][field]), sum, "{field} in {answer:#}");
    }
    let jobs: u64 = column(&answer["rows"], "jobs").iter().map(|jobs| jobs.as_u64().unwrap()).sum();
    assert_eq!(answer["total"]["jobs"], jobs, "{answer:#}");
}

/// An entry as an earlier process would have written it.
fn entry(env: &TestEnv, model: &str, prompt: &str, price: &str) -> NewJob {
    let workspace = env.sandbox().workspace_id().parse().unwrap();
    let order = InferenceRequest::plain(&model.parse().unwrap(), prompt).into();
    NewJob {
        id: JobId::random(),
        origin: "https://api.invalid".to_owned(),
        fingerprint: Fingerprint::of("https://api.invalid", &workspace, &order, &[]),
        workspace,
        order,
        model_name: model.to_owned(),
        modality: Modality::Image,
        estimated: price.parse().unwrap(),
        margin: CreativeUnits::ZERO,
        quote: None,
        save_to: None,
        output_dir: env.project(),
        project: fs::canonicalize(env.project()).unwrap(),
        session: "an earlier one".to_owned(),
    }
}

/// Writes entries that began at these times and came to these ends.
fn write(env: &TestEnv, entries: &[(NewJob, &str, JobState, Option<&str>)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(&env.home().join("journal.db")).await.unwrap();
        for (new, at, state, charged) in entries {
            let at: Timestamp = at.parse().unwrap();
            let reserved = journal.reserve(new, None, &Terms::default(), at).await.unwrap();
            assert!(matches!(reserved, Reservation::New), "{reserved:?}");
            let charged = charged.map(|charged| charged.parse().unwrap());
            if *state != JobState::Starting {
                let failure = JobFailure::default();
                let ended = journal.record_failure(&new.id, *state, &failure, charged, at);
                ended.await.unwrap();
            }
        }
        journal.close().await;
    });
}

#[test]
fn without_a_journal_nothing_was_bought_and_nothing_is_made() {
    let env = TestEnv::new();
    assert_eq!(told(&env.run(&["jobs"])), "Nothing was bought yet.\n");
    assert_eq!(told(&env.run(&["jobs", "--json"])), "[]\n");
    let collected = env.run(&["jobs", "--json", "--collect"]);
    assert_eq!((collected.code, collected.stdout.as_str()), (Some(0), "[]\n"), "{collected:#?}");
    let text = told(&env.run(&["spend", "--offline"]));
    assert!(text.starts_with("Nothing was bought yet.\n"), "{text}");
    let nothing = json!({ "jobs": 0, "estimated_cu": 0.0, "charged_cu": 0.0, "reserved_cu": 0.0 });
    let answer = spend(&env, &[]);
    assert_eq!((&answer["rows"], &answer["total"]), (&json!([]), &nothing));
    let csv = told(&env.run(&["spend", "--csv"]));
    assert_eq!(csv, "key,jobs,estimated_cu,charged_cu,reserved_cu,difference_cu\n");
    assert!(!env.home().join("journal.db").exists());
    assert_eq!(env.requests().len(), 0, "nobody was asked");
}

#[test]
fn jobs_are_listed_from_the_newest_with_their_files() {
    let env = TestEnv::new();
    let first = env.call("create_asset", &picture("a copper kettle")).complete();
    let second = env.call("create_asset", &odd_price(&env, "a silver spoon")).complete();

    let listed = jobs(&env, &[]);
    let fields: Vec<&str> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "job_id",
            "status",
            "created_at",
            "prompt",
            "model",
            "estimated_cu",
            "cost_cu",
            "reserved_cu",
            "project",
            "files"
        ]
    );
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&listed[0]["job_id"], &listed[1]["job_id"]),
        (&second.0["job_id"], &first.0["job_id"])
    );
    assert_eq!(listed[0]["status"], "complete");
    assert_eq!(listed[0]["prompt"], "a silver spoon");
    assert_eq!(listed[0]["model"], second.0["model"]);
    assert_eq!(listed[0]["cost_cu"], 0.891);
    assert_eq!(listed[0]["reserved_cu"], 0.0);
    assert_eq!(listed[0]["files"], json!([second.path()]));
    let project = fs::canonicalize(env.project()).unwrap();
    assert_eq!(listed[0]["project"], json!(project));
    let created = listed[0]["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.parse::<Timestamp>().is_ok(), "{created}");

    let text = told(&env.run(&["jobs"]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    for (line, job, prompt) in
        [(lines[0], &second, "a silver spoon"), (lines[2], &first, "a copper kettle")]
    {
        assert!(line.contains(job.id()) && line.ends_with(prompt), "{text}");
    }
    assert_eq!(lines[0].find("a silver"), lines[2].find("a copper"), "{text}");
    // People know a model by its name.
    assert!(lines[0].contains("  Qwen Image Edit 2511  "), "{text}");
    assert_eq!(lines[1], format!("    {}", second.path().display()));
    assert_eq!(lines[4], "2 jobs.");

    let ids = |more: &[&str]| -> Vec<String> {
        let listed = jobs(&env, more);
        listed.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--search", "kettle"]), [first.id()]);
    assert_eq!(ids(&["--search", "cop ket"]), [first.id()]);
    assert_eq!(ids(&["--search", "kettle spoon"]), [""; 0]);
    assert_eq!(ids(&["--status", "complete"]), [second.id(), first.id()]);
    assert_eq!(ids(&["--status", "failed"]), [""; 0]);
    assert_eq!(ids(&["--limit", "1"]), [second.id()]);
    let text = told(&env.run(&["jobs", "--limit", "1"]));
    assert!(text.ends_with("The newest 1; a higher `--limit` shows more.\n"), "{text}");
    assert_eq!(told(&env.run(&["jobs", "--search", "fork"])), "No job fits.\n");
    for wrong in [&["--status", "lost"][..], &["--limit", "0"], &["--limit", "-1"]] {
        let refused = env.run(&[&["jobs"], wrong].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:#?}");
    }
}

#[test]
fn what_others_wrote_is_shown_without_its_tricks() {
    let env = TestEnv::new();
    let prompt = "a \u{1b}[31mred\u{1b}[0m\nking\u{202e}dom";
    let at = "2026-01-31T12:00:00Z";
    let long = entry(&env, "flux", &"very ".repeat(100), "1");
    let new = entry(&env, "flux", prompt, "1");
    write(&env, &[(long, at, JobState::Starting, None), (new, at, JobState::Starting, None)]);
    let text = told(&env.run(&["jobs"]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].ends_with("a red kingdom"), "{text}");
    assert!(lines[0].contains("queued") && lines[0].contains("  ~1  "), "{text}");
    // In a pipe nothing is cut but what nobody reads.
    assert!(lines[1].trim_end().ends_with("very very"), "{text}");
    assert!(lines[2].contains("2 unfinished") && lines[2].contains("--collect"), "{text}");
    let listed = jobs(&env, &["--status", "running"]);
    assert_eq!(listed[0]["prompt"], "a red kingdom");
    assert_eq!(listed[0]["status"], "queued");
    assert_eq!((&listed[0]["cost_cu"], &listed[0]["reserved_cu"]), (&Value::Null, &json!(1.0)));
}

#[test]
fn what_a_killed_process_paid_for_is_collected() {
    let env = TestEnv::with(&["straggler"]);
    let run = env.begin("create_asset", &picture("a phoenix"));
    wait_until("the run was looked at", || {
        env.requests().iter().any(|it| it.method == "GET" && it.path.contains("/inferences/"))
    });
    run.kill();
    env.faults(&[]);
    let text = told(&env.run(&["jobs"]));
    assert!(text.contains("running") && text.contains("1 unfinished"), "{text}");
    // The dead process holds the job for up to 15 seconds.
    let began = Instant::now();
    let collected = loop {
        let outcome = env.run(&["jobs", "--collect", "--json"]);
        if outcome.stderr == "One job came to an end.\n" {
            break outcome;
        }
        assert_eq!(outcome.stderr, "No job came to an end.\n", "{outcome:#?}");
        assert!(began.elapsed() < Duration::from_secs(30), "{outcome:#?}");
        std::thread::sleep(Duration::from_millis(500));
    };
    let listed = collected.done();
    assert_eq!(listed[0]["status"], "complete", "{listed:#}");
    let path = listed[0]["files"][0].as_str().unwrap();
    assert!(fs::read(path).unwrap().starts_with(b"\x89PNG"), "{listed:#}");
    assert_eq!(env.starts(), 1);
    assert!(told(&env.run(&["jobs"])).ends_with("One job.\n"));
}

#[test]
fn to_collect_without_a_token_is_an_error_that_says_so() {
    let mut env = TestEnv::new();
    let at = "2026-01-31T12:00:00Z";
    write(&env, &[(entry(&env, "flux", "a moth", "1"), at, JobState::Unknown, None)]);
    env.unset("LAYER_API_TOKEN");
    let refused = env.run(&["jobs", "--collect", "--json"]);
    assert_eq!(refused.setup_error("credentials_missing").0["money"], "not_charged");
    assert!(refused.stderr.contains("layer-mcp setup"), "{refused:#?}");
    // To look needs none.
    assert_eq!(jobs(&env, &[]).len(), 1);
}

#[test]
fn an_unknown_start_keeps_its_price_set_aside_and_a_refused_one_gives_it_back() {
    let env = TestEnv::new();
    let of = |prompt: &str| entry(&env, "flux", prompt, "0.891");
    let at = "2026-01-31T12:00:00Z";
    write(
        &env,
        &[
            (of("lost"), at, JobState::Unknown, None),
            (of("refused"), at, JobState::Refused, None),
            (of("failed"), at, JobState::Failed, Some("0.3")),
        ],
    );
    let answer = spend(&env, &["--by", "model"]);
    assert_eq!(
        answer["rows"],
        json!([{ "key": "flux", "jobs": 3, "estimated_cu": 2.673, "charged_cu": 0.3,
                 "reserved_cu": 0.891 }])
    );
    let listed = jobs(&env, &["--status", "unknown"]);
    assert_eq!((listed.len(), &listed[0]["reserved_cu"]), (1, &json!(0.891)));
    let text = told(&env.run(&["jobs"]));
    assert!(text.contains("1 whose start got no answer"), "{text}");
    let refused = text.lines().find(|line| line.ends_with("refused")).unwrap();
    let fields: Vec<&str> = refused.split_whitespace().collect();
    assert_eq!(fields[2..4], ["failed", "-"], "{text}");
}

#[test]
fn every_grouping_adds_up_to_the_millionth() {
    let env = TestEnv::new();
    for prompt in ["a red fish", "a blue fish", "a green fish"] {
        let _ = env.call("create_asset", &odd_price(&env, prompt)).complete();
    }
    let pair = with(&picture("two cups"), json!({ "count": 2 }));
    let pair = env.call("create_asset", &pair).complete();
    let charged = 2.673 + pair.cost();
    for by in BY {
        let answer = spend(&env, &["--by", by]);
        assert_eq!(answer["by"], by);
        adds_up(&answer);
        assert_eq!(answer["total"]["charged_cu"], charged, "{answer:#}");
        assert_eq!(answer["total"]["reserved_cu"], 0.0, "{answer:#}");
        assert_eq!(answer["total"]["jobs"], 4, "{answer:#}");
        let rows = match by {
            "asset" => 5,
            "job" => 4,
            "model" => 2,
            _ => 1,
        };
        assert_eq!(answer["rows"].as_array().unwrap().len(), rows, "{answer:#}");
    }
    let by_model = spend(&env, &["--by", "model"]);
    let odd = by_model["rows"].as_array().unwrap().iter().find(|row| row["key"] == ODD_MODEL);
    assert_eq!(odd.unwrap()["charged_cu"], 2.673);
    let by_asset = spend(&env, &["--by", "asset"]);
    for path in pair.paths() {
        let row = by_asset["rows"].as_array().unwrap().iter().find(|row| row["key"] == json!(path));
        assert_eq!(row.unwrap()["charged_cu"], pair.cost() / 2.0, "{by_asset:#}");
    }

    let text = told(&env.run(&["spend", "--by", "model", "--offline"]));
    let lines: Vec<&str> = text.lines().collect();
    let total: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(total, ["total", "4", "6.673", "6.673", "0", "0"], "{text}");
    let width = lines[0].chars().count();
    assert!(lines[..4].iter().all(|line| line.chars().count() == width), "{text}");
    assert_eq!(lines.last(), Some(&"balance: not known (not asked for)"));
}

#[test]
fn days_bound_the_ledger_on_both_sides() {
    let mut env = TestEnv::new();
    env.set("TZ", "UTC-2");
    let of = |prompt: &str| entry(&env, "flux", prompt, "1");
    // Two hours before midnight in London it is midnight there.
    write(
        &env,
        &[
            (of("one"), "2026-01-01T12:00:00Z", JobState::Cancelled, Some("1")),
            (of("two"), "2026-01-01T21:59:59Z", JobState::Cancelled, Some("2")),
            (of("three"), "2026-01-01T22:00:00Z", JobState::Cancelled, Some("4")),
            (of("four"), "2026-01-03T00:00:00Z", JobState::Cancelled, Some("8")),
        ],
    );
    for (bounds, keys, charged) in [
        (&[][..], &["2026-01-01", "2026-01-02", "2026-01-03"][..], 15.0),
        (&["--since", "2026-01-02"], &["2026-01-02", "2026-01-03"], 12.0),
        (&["--until", "2026-01-02"], &["2026-01-01", "2026-01-02"], 7.0),
        (&["--since", "2026-01-02", "--until", "2026-01-02"], &["2026-01-02"], 4.0),
        (&["--since", "2027-01-01"], &[], 0.0),
    ] {
        let answer = spend(&env, bounds);
        assert_eq!(column(&answer["rows"], "key"), keys, "{answer:#}");
        assert_eq!(answer["total"]["charged_cu"], charged, "{answer:#}");
        adds_up(&answer);
    }
    let answer = spend(&env, &["--since", "2026-01-02"]);
    assert_eq!((&answer["since"], &answer["until"]), (&json!("2026-01-02"), &Value::Null));
    for wrong in [
        &["--since", "2026-01-03", "--until", "2026-01-02"][..],
        &["--since", "yesterday"],
        &["--by", "mood"],
        &["--json", "--csv"],
    ] {
        let refused = env.run(&[&["spend"], wrong].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:#?}");
    }
    assert!(told(&env.run(&["jobs", "--limit", "1"])).starts_with("2026-01-03 02:00  cancelled"));
}

#[test]
fn a_spreadsheet_gets_no_formula_from_the_ledger() {
    let env = TestEnv::new();
    let of = |model: &str| entry(&env, model, "a trap", "0.5");
    let at = "2026-01-31T12:00:00Z";
    write(
        &env,
        &[
            (of("=cmd|calc!A1"), at, JobState::Failed, Some("0.25")),
            (of("-2+3,4"), at, JobState::Unknown, None),
            (of("@sum(1)"), at, JobState::Failed, Some("-0.125")),
            (of("plain"), at, JobState::Refused, None),
        ],
    );
    let csv = told(&env.run(&["spend", "--csv", "--by", "model"]));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines,
        [
            "key,jobs,estimated_cu,charged_cu,reserved_cu,difference_cu",
            "\"'-2+3,4\",1,0.5,0,0.5,",
            "'=cmd|calc!A1,1,0.5,0.25,0,-0.25",
            "plain,1,0.5,0,0,",
            "'@sum(1),1,0.5,-0.125,0,-0.625",
        ]
    );
}

#[test]
fn budgets_are_told_as_purchases_find_them() {
    let mut env = TestEnv::new();
    let _ = env.call("create_asset", &odd_price(&env, "a bell")).complete();
    let answer = spend(&env, &[]);
    assert_eq!(answer["budgets"], json!({}));
    env.set("LAYER_BUDGET_SESSION_CU", "5")
        .set("LAYER_BUDGET_DAY_CU", "1.5")
        .set("LAYER_BUDGET_PROJECT_CU", "100");
    // Whatever part of the ledger is looked at.
    let answer = spend(&env, &["--since", "2999-01-01"]);
    assert_eq!(
        answer["budgets"],
        json!({
            "session": { "limit_cu": 5.0, "spent_cu": 0.0 },
            "day": { "limit_cu": 1.5, "spent_cu": 0.891 },
            "project": { "limit_cu": 100.0, "spent_cu": 0.891 },
        })
    );
    let text = told(&env.run(&["spend", "--offline"]));
    assert!(text.contains("budget of the day: 0.891 of 1.5 CU spent or set aside\n"), "{text}");
    assert!(text.contains("budget of the project: 0.891 of 100 CU"), "{text}");
    assert!(text.contains("budget of a session: 5 CU for each process\n"), "{text}");
    // Another project has a budget of its own.
    let elsewhere = env.path("another project");
    env.set("LAYER_OUTPUT_DIR", elsewhere);
    let answer = spend(&env, &[]);
    assert_eq!(answer["budgets"]["project"]["spent_cu"], 0.0);
    assert_eq!(answer["budgets"]["day"]["spent_cu"], 0.891);
}

#[test]
fn the_balance_is_layers_or_not_known() {
    let mut env = TestEnv::new();
    let job = env.call("create_asset", &picture("a drum")).complete();
    let answer = env.run(&["spend", "--json"]).done();
    let fields: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["by", "since", "until", "rows", "total", "budgets", "balance"]);
    let balance = &answer["balance"];
    assert_eq!(balance["balance_cu"], 500.0 - job.cost());
    assert_eq!(balance["available_cu"], 500.0 - job.cost());
    assert_eq!(balance["reserved_cu"], 0.0);
    assert!(!balance["workspace"].as_str().unwrap().is_empty());
    let text = told(&env.run(&["spend"]));
    assert!(text.contains("balance: 498 CU to spend in "), "{text}");

    let asked = env.requests().len();
    assert_eq!(spend(&env, &[])["balance"], Value::Null);
    let _ = told(&env.run(&["spend", "--csv"]));
    assert_eq!(env.requests().len(), asked, "nobody was asked");

    let token = env.sandbox().token().to_owned();
    env.unset("LAYER_API_TOKEN");
    let text = told(&env.run(&["spend"]));
    assert!(text.contains("\nbalance: not known (There is no Layer.ai token yet)\n"), "{text}");
    let outcome = env.run(&["spend", "--json"]);
    assert_eq!(outcome.done()["balance"], Value::Null);
    assert!(outcome.stderr.contains("balance: not known"), "{outcome:#?}");
    env.set("LAYER_API_TOKEN", token);
    // A Layer that takes its time is not waited for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    env.set("LAYER_API_BASE_URL", format!("https://{address}"));
    let outcome = env.run(&["spend"]);
    let text = told(&outcome);
    assert!(text.contains("not known (Layer did not answer within 5 seconds)"), "{text}");
    assert!(outcome.took < Duration::from_secs(20), "{outcome:#?}");
}

#[test]
fn a_damaged_journal_is_an_error_and_no_empty_list() {
    let env = TestEnv::new();
    fs::create_dir_all(env.home()).unwrap();
    fs::write(env.home().join("journal.db"), "no database at all, and long enough").unwrap();
    for command in [&["jobs", "--json"][..], &["jobs"], &["spend", "--json", "--offline"]] {
        let outcome = env.run(command);
        if command.contains(&"--json") {
            let _ = outcome.error("journal");
        } else {
            assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:#?}");
        }
        assert!(outcome.stderr.starts_with("error: "), "{outcome:#?}");
    }
}
