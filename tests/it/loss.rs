//! What a server does when its journal or its home is taken away: it says so, buys nothing, and keeps
//! reading.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{TestEnv, for_each, picture, with};

/// The journal and what SQLite keeps beside it, from one folder into another.
fn carry_journal(from: &Path, to: &Path) {
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        fs::rename(from.join(name), to.join(name)).unwrap();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Moved,
    FileRemoved,
    Folder,
    Garbage,
    HomeMoved,
    HomeRemoved,
}

#[test]
fn a_server_that_loses_its_journal_says_so_and_keeps_reading() {
    let all = [
        Loss::Moved,
        Loss::FileRemoved,
        Loss::Folder,
        Loss::Garbage,
        Loss::HomeMoved,
        Loss::HomeRemoved,
    ];
    for_each(&all, |loss| {
        let mut env = TestEnv::new();
        env.set("LAYER_BUDGET_SESSION_CU", "3");
        let aside = env.path("aside");
        fs::create_dir(&aside).unwrap();
        let (home, journal) = (env.home(), env.home().join("journal.db"));
        let mut client = env.client();
        let first =
            client.call("create_asset", &with(&picture("one"), json!({ "save_to": "one.png" })));
        let spent = first["cost_cu"].as_f64().unwrap();
        assert!((0.5..=3.0).contains(&spent), "{first:#}");
        match loss {
            Loss::Moved => carry_journal(&home, &aside),
            Loss::FileRemoved => fs::remove_file(&journal).unwrap(),
            Loss::Folder => {
                carry_journal(&home, &aside);
                fs::create_dir(&journal).unwrap();
            }
            Loss::Garbage => {
                carry_journal(&home, &aside);
                fs::write(&journal, [7; 8192]).unwrap();
            }
            Loss::HomeMoved => fs::rename(&home, aside.join("home")).unwrap(),
            Loss::HomeRemoved => fs::remove_dir_all(&home).unwrap(),
        }

        // Nothing is bought, and it is said why and what to do.
        let two = picture("two");
        for code in ["journal", "journal"] {
            let problem = client.error("create_asset", &two, code).says("not_charged", true);
            assert!(problem.message().contains("gone"), "{problem:#?}");
            assert!(problem.next_step().contains("restart"), "{problem:#?}");
        }
        let _ = client.error("list_jobs", &json!({}), "journal").says("not_charged", true);
        let _ = client.error("quote", &json!({ "calls": [two] }), "journal");
        // What needs no journal goes on.
        client.call("list_models", &json!({ "limit": 1 }));
        client.call("list_styles", &json!({}));
        client.call("get_workspace_info", &json!({}));
        let seen = client.ask("view_asset", &json!({ "image": "one.png" }));
        let seen = client.answer(seen);
        assert!(seen["result"].is_object() && seen["result"]["isError"] != true, "{seen:#}");
        // What was paid for is still found, with the same word of warning.
        let job = client.call("get_job", &json!({ "job_id": first["job_id"] }));
        assert_eq!(job["status"], "complete", "{job:#}");
        assert!(job["message"].as_str().unwrap().contains("gone"), "{job:#}");
        assert_eq!(env.starts(), 1);

        match loss {
            Loss::Moved => carry_journal(&aside, &home),
            Loss::Folder => {
                fs::remove_dir(&journal).unwrap();
                carry_journal(&aside, &home);
            }
            Loss::HomeMoved => {
                assert!(!home.exists(), "it was made anew");
                fs::rename(aside.join("home"), &home).unwrap();
            }
            Loss::FileRemoved | Loss::Garbage | Loss::HomeRemoved => {
                assert!(*loss != Loss::HomeRemoved || !home.exists(), "it was made anew");
                let _ = client.leave();
                return;
            }
        }
        // It is back: the server goes on, and remembers what was spent.
        let jobs = client.call("list_jobs", &json!({}));
        assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs:#}");
        let mut bought = 1;
        loop {
            let call = with(&picture(&format!("more {bought}")), json!({ "wait_seconds": 20 }));
            let asked = client.ask("create_asset", &call);
            let (answer, is_error) = client.result(asked);
            if is_error {
                assert_eq!(answer["code"], "budget", "{answer:#}");
                break;
            }
            bought += 1;
        }
        assert!((bought as f64) * spent <= 3.0, "{bought} were bought");
        let _ = client.leave();
        let verified = env.run(&["audit", "--verify"]);
        assert_eq!(verified.code, Some(0), "{verified:#?}");
    });
}

#[test]
fn a_new_server_begins_a_new_journal_beside_one_that_lost_its_own() {
    let env = TestEnv::new();
    let mut old = env.client();
    old.call("create_asset", &picture("one"));
    // Only the file: what SQLite keeps beside it is still in use by the old server.
    fs::remove_file(env.home().join("journal.db")).unwrap();
    let mut new = env.client();
    let two = new.call("create_asset", &picture("two"));
    assert_eq!(two["status"], "complete", "{two:#}");
    let _ = old.error("create_asset", &picture("three"), "journal").says("not_charged", true);
    let _ = old.leave();
    let jobs = new.call("list_jobs", &json!({}));
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs:#}");
    let _ = new.leave();
    let job = env.call("get_job", &json!({ "job_id": two["job_id"] })).complete();
    assert_eq!(job.id(), two["job_id"]);
}

#[test]
fn a_server_without_a_usable_home_starts_and_reads() {
    type Prepare = fn(&TestEnv);
    let prepare: [(&str, Prepare); 3] = [
        ("a file is in the home's place", |env| fs::write(env.home(), "no folder").unwrap()),
        ("the journal is garbage", |env| {
            fs::create_dir(env.home()).unwrap();
            fs::write(env.home().join("journal.db"), [7; 8192]).unwrap();
        }),
        ("a folder is in the journal's place", |env| {
            fs::create_dir_all(env.home().join("journal.db")).unwrap();
        }),
    ];
    for_each(&[0, 1, 2], |number| {
        let (what, prepare) = prepare[*number];
        let mut env = TestEnv::new();
        prepare(&env);
        if *number == 0 {
            // Where a store could be and can't be looked for, the environment's token is taken only
            // when the user says so.
            let mut client = env.client();
            let _ = client.error("list_models", &json!({}), "store_permissions");
            let _ = client.leave();
            env.set("LAYER_MCP_CREDENTIALS", "env");
        }
        let mut client = env.client();
        client.call("list_models", &json!({ "limit": 1 }));
        client.call("list_styles", &json!({}));
        client.call("get_workspace_info", &json!({}));
        let asked = client.ask("create_asset", &picture("one"));
        let (problem, is_error) = client.result(asked);
        assert!(is_error, "{what}: {problem:#}");
        assert!(["journal", "audit"].contains(&problem["code"].as_str().unwrap()), "{problem:#}");
        assert_eq!(problem["money"], "not_charged", "{what}");
        let _ = client.error("list_jobs", &json!({}), "journal");
        assert_eq!(env.starts(), 0, "{what}");
        let _ = client.leave();
    });
}
