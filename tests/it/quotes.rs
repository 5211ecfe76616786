//! A quote binds us to a price once, for the request that it was made for, and a yes to it is a yes
//! to nothing else.

use layer_mcp::journal::{Journal, Quote};
use serde_json::{Value, json};

use crate::consent::{ERAS, answers, asks, bought, bound_to, refused, with_forms, world, yes};
use crate::support::{Era, McpClient, TestEnv, picture, with};

/// A client without forms, and the id of a quote that is released.
fn released(env: &TestEnv, quoted: &Value) -> (McpClient, String) {
    let mut client = env.client();
    let quote = client.call("quote", quoted)["quote_id"].as_str().unwrap().to_owned();
    client.call("confirm_spend", &json!({ "quote_id": quote }));
    (client, quote)
}

#[test]
fn a_released_quote_buys_one_variation() {
    let env = world();
    let call = with(&picture("a drum"), json!({ "variation": true }));
    let (mut client, quote) = released(&env, &call);
    let bound = bound_to(&call, &quote);
    let ids = [(); 2].map(|()| client.ask("create_asset", &bound));
    let told = ids.map(|id| client.result(id));
    let (refusals, jobs): (Vec<_>, Vec<_>) = told.into_iter().partition(|(_, is_error)| *is_error);
    assert_eq!(jobs.len(), 1, "{refusals:#?}");
    for refusal in refusals {
        let _ = refused(refusal, "quote_void");
    }
    let error = client.error("create_asset", &bound, "quote_void");
    assert!(error.message().contains("used up"), "{error:#?}");
    // Released once is used once.
    let error = client.error("confirm_spend", &json!({ "quote_id": quote }), "quote_void");
    assert!(error.message().contains("used up"), "{error:#?}");
    let _ = client.error("create_asset", &bound, "quote_void");
    assert_eq!(env.starts(), 1);
    assert_eq!(env.balance(), 498.0);
}

#[test]
fn a_quote_is_used_once_by_two_processes_at_the_same_moment() {
    let env = world();
    let call = with(&picture("a horn"), json!({ "variation": true }));
    let (mut client, quote) = released(&env, &call);
    let mut others = [(); 3].map(|()| env.client());
    let bound = bound_to(&call, &quote);
    let mine = client.ask("create_asset", &bound);
    let theirs = others.each_mut().map(|other| other.ask("create_asset", &bound));
    let mut told = vec![client.result(mine)];
    told.extend(others.iter_mut().zip(theirs).map(|(other, id)| other.result(id)));
    assert_eq!(told.iter().filter(|(_, is_error)| !is_error).count(), 1, "{told:#?}");
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_released_quote_is_for_its_own_request() {
    let env = world();
    let call = picture("a harp");
    let (mut client, quote) = released(&env, &call);
    for other in [
        picture("another harp"),
        with(&call, json!({ "count": 2 })),
        with(&call, json!({ "width": 128 })),
        with(&call, json!({ "quality": "high" })),
    ] {
        let _ = client.error("create_asset", &bound_to(&other, &quote), "quote_void");
    }
    for unknown in ["", "quote_0000000000000000", "' OR 1=1 --"] {
        let _ = client.error("create_asset", &bound_to(&call, unknown), "quote_void");
        let _ = client.error("confirm_spend", &json!({ "quote_id": unknown }), "quote_void");
    }
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_price_that_rose_is_asked_about_anew() {
    let env = world();
    let call = picture("a lute");
    let (mut client, quote) = released(&env, &call);
    env.faults(&["estimate_rises"]);
    let error = client.error("create_asset", &bound_to(&call, &quote), "quote_void");
    assert!(error.message().contains("rose from 2 CU to 3 CU"), "{error:#?}");
    // It is over, although the price falls again.
    env.faults(&[]);
    let _ = client.error("create_asset", &bound_to(&call, &quote), "quote_void");
    assert_eq!(env.starts(), 0);

    // Between the question and its answer.
    for era in ERAS {
        env.faults(&[]);
        let mut client = with_forms(&env, era);
        let asked = asks(&mut client, "create_asset", &call);
        env.faults(&["estimate_rises"]);
        let told = answers(&mut client, &asked, "create_asset", &call, yes());
        let error = refused(told, "quote_void");
        assert!(error.message().contains("rose"), "{error:#?}");
    }
    assert_eq!(env.starts(), 0);

    // A price that fell holds.
    env.faults(&["estimate_rises"]);
    let (mut client, quote) = released(&env, &call);
    env.faults(&[]);
    client.call("create_asset", &bound_to(&call, &quote));
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_quote_is_void_when_its_style_would_be_weakened() {
    let env = TestEnv::new();
    let call = picture("a hero");
    let quote = env.call("quote", &call).done();
    env.faults(&["style_degraded"]);
    let bound = bound_to(&call, quote["quote_id"].as_str().unwrap());
    let error = env.call("create_asset", &bound).error("quote_void").says("not_charged", false);
    assert!(error.message().contains("style"), "{error:#?}");
    assert_eq!(env.starts(), 0);
    let again = env.call("quote", &call).done();
    assert!(again["message"].as_str().unwrap().contains("style"), "{again:#}");
}

#[test]
fn one_quote_and_one_yes_for_a_list_of_calls() {
    let env = world();
    let [sword, bow] = ["a sword", "a bow"].map(picture);
    let calls = json!({ "calls": [
        { "arguments": sword },
        { "tool": "create_asset", "arguments": bow },
        { "arguments": with(&sword, json!({ "variation": true })) },
    ] });
    let mut client = env.client();
    let quote = client.call("quote", &calls);
    assert_eq!(quote["estimated_cu"], 6.0, "{quote:#}");
    assert_eq!(quote["needs_confirmation"], true);
    assert_eq!(quote["calls"].as_array().unwrap().len(), 3);
    let id = quote["quote_id"].as_str().unwrap();
    let _ = client.error("create_asset", &bound_to(&bow, id), "confirmation_needed");
    let told = client.call("confirm_spend", &json!({ "quote_id": id }));
    assert_eq!(told["estimated_cu"], 6.0, "{told:#}");

    let anew = |call: &Value| with(&bound_to(call, id), json!({ "variation": true }));
    let _ = client.error("create_asset", &bound_to(&picture("a spear"), id), "quote_void");
    let jobs = [
        client.call("create_asset", &bound_to(&bow, id)),
        client.call("create_asset", &bound_to(&sword, id)),
        // It was quoted twice, and is bought twice.
        client.call("create_asset", &anew(&sword)),
    ];
    assert!(jobs.iter().all(|job| job["status"] == "complete"), "{jobs:#?}");
    assert_ne!(jobs[1]["job_id"], jobs[2]["job_id"]);
    for call in [&sword, &bow] {
        let _ = client.error("create_asset", &anew(call), "quote_void");
    }
    assert_eq!(env.starts(), 3);
    assert_eq!(env.balance(), 494.0);
}

#[test]
fn a_form_for_a_list_of_calls_names_the_total() {
    let env = world();
    let mut client = with_forms(&env, Era::Stateless);
    let [pot, pan] = ["a pot", "a pan"].map(picture);
    let calls = json!({ "calls": [{ "arguments": pot }, { "arguments": pan }] });
    let id = client.call("quote", &calls)["quote_id"].as_str().unwrap().to_owned();
    let bound = bound_to(&pot, &id);
    let asked = asks(&mut client, "create_asset", &bound);
    let message = asked.form["message"].as_str().unwrap();
    assert!(message.starts_with("Spend 4 CU") && message.contains("2 calls"), "{message}");
    bought(answers(&mut client, &asked, "create_asset", &bound, yes()));
    // The other one is paid by the same yes.
    client.call("create_asset", &bound_to(&pan, &id));
    assert_eq!(env.starts(), 2);
}

#[test]
fn a_quote_that_ran_out_is_void() {
    let env = world();
    let call = picture("an hourglass");
    let (mut client, quote) = released(&env, &call);
    let [open, approved] = ["quote_00000000000000a1", "quote_00000000000000a2"];
    // A quarter of an hour ago, as the journal would have it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(&env.home().join("journal.db")).await.unwrap();
        let kept = journal.quote(&quote).await.unwrap().unwrap();
        let now = kept.expires_at;
        let verdict = kept.verdict.unwrap();
        for id in [open, approved] {
            let quote = Quote {
                id: id.to_owned(),
                expires_at: "2026-01-01T00:00:00Z".parse().unwrap(),
                ..kept.clone()
            };
            journal.keep_quote(&quote).await.unwrap();
        }
        let before = "2025-12-31T00:00:00Z".parse().unwrap();
        assert!(before < now);
        assert!(journal.judge_quote(approved, verdict, before).await.unwrap());
    });
    for id in [open, approved] {
        let error = client.error("create_asset", &bound_to(&call, id), "quote_void");
        assert!(error.message().contains("run out"), "{error:#?}");
        let error = client.error("confirm_spend", &json!({ "quote_id": id }), "quote_void");
        assert!(error.message().contains("run out"), "{error:#?}");
    }
    assert_eq!(env.starts(), 0);
}

#[test]
fn read_only_releases_nothing() {
    let env = world();
    let quote = env.call("quote", &picture("a cup")).done();
    let mut reader = McpClient::start(env.command(&["--read-only"]), Era::Sessions, json!({}));
    let id = reader.request("tools/list", json!({}));
    let listed = reader.answer(id);
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert!(!tools.is_empty() && tools.iter().all(|tool| tool["name"] != "confirm_spend"));
    let id = reader.ask("confirm_spend", &json!({ "quote_id": quote["quote_id"] }));
    assert_eq!(reader.answer(id)["error"]["code"], -32602);
}
