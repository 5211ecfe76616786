//! `layer-mcp assets`: the files that jobs made, and what became of them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{TestEnv, picture, with};

fn listed(env: &TestEnv, more: &[&str]) -> Vec<Value> {
    let outcome = env.run(&[&["assets", "--json"], more].concat());
    let listed = outcome.json();
    listed.as_array().unwrap_or_else(|| panic!("{outcome:#?}")).clone()
}

fn states(env: &TestEnv, more: &[&str]) -> Vec<String> {
    let states = listed(env, more).into_iter();
    states.map(|asset| asset["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_journal_there_are_no_assets_and_nothing_is_made() {
    let env = TestEnv::new();
    assert_eq!(listed(&env, &[]), Vec::<Value>::new());
    let told = env.run(&["assets"]);
    assert!(told.code == Some(0) && told.stdout.starts_with("No job made a file"), "{told:#?}");
    assert!(!env.home().join("journal.db").exists());
    assert_eq!(env.requests().len(), 0, "nobody was asked");
}

#[test]
fn assets_are_listed_with_their_job_and_what_became_of_them() {
    let env = TestEnv::new();
    let at = |prompt: &str, place: &str| with(&picture(prompt), json!({ "save_to": place }));
    let knight = env.call("create_asset", &at("a knight", "art/knight.png")).complete();
    let cup = env.call("create_asset", &at("a cup", "art/cup.png")).complete();
    let coin = env.call("create_asset", &at("a coin", "art/coin.png")).complete();
    let asked = env.requests().len();

    let all = listed(&env, &[]);
    assert_eq!(all.len(), 3, "{all:#?}");
    let newest = &all[0];
    assert_eq!(newest["path"], json!(coin.path()));
    assert_eq!(newest["job_id"], coin.id());
    assert_eq!(newest["prompt"], "a coin");
    assert_eq!(newest["job_cost_cu"], coin.cost());
    assert_eq!(newest["bytes"], fs::metadata(coin.path()).unwrap().len());
    assert_eq!(newest["sha256"], coin.0["files"][0]["sha256"]);
    assert_eq!(states(&env, &[]), ["there"; 3]);
    assert_eq!(states(&env, &["--verify"]), ["same"; 3]);
    assert_eq!(env.run(&["assets", "--verify"]).code, Some(0));

    // One is edited without a change of its size, one is cut, one is deleted.
    let mut bytes = fs::read(knight.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(knight.path(), &bytes).unwrap();
    fs::write(cup.path(), "gone bad").unwrap();
    fs::remove_file(coin.path()).unwrap();
    assert_eq!(states(&env, &[]), ["gone", "changed", "there"]);
    assert_eq!(states(&env, &["--verify"]), ["gone", "changed", "changed"]);
    let text = env.run(&["assets", "--verify"]);
    assert_eq!(text.code, Some(1), "{text:#?}");
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert!(lines[0].starts_with("art/coin.png") && lines[0].contains("  gone  "), "{text:#?}");
    assert!(lines[2].contains(knight.id()) && lines[2].ends_with("a knight"), "{text:#?}");
    assert!(lines[3].starts_with("3 files in ") && lines[3].contains("2 changed"), "{text:#?}");

    assert_eq!(states(&env, &["--search", "knight"]), ["there"]);
    assert_eq!(states(&env, &["--limit", "1"]), ["gone"]);
    assert_eq!(env.requests().len(), asked, "nobody was asked");
}

#[test]
fn another_folders_files_are_left_out_unless_all_are_wanted() {
    let mut env = TestEnv::new();
    let _ = env.call("create_asset", &picture("a moth")).complete();
    let elsewhere = env.path("another project");
    fs::create_dir(&elsewhere).unwrap();
    env.set("LAYER_OUTPUT_DIR", elsewhere);
    assert_eq!(states(&env, &[]), [""; 0]);
    assert_eq!(states(&env, &["--all"]), ["there"]);
}
