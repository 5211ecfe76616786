//! Above the user's threshold nothing is bought without their yes, one yes buys once, and nothing
//! that a client or a model makes up passes for a yes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Era, McpClient, Problem, TestEnv, for_each, picture, with};

/// Longer than the time within which nobody reads a question.
const A_MOMENT: Duration = Duration::from_millis(450);

pub(crate) const ERAS: [Era; 2] = [Era::Sessions, Era::Stateless];

/// A world in which whatever costs anything needs the user.
pub(crate) fn world() -> TestEnv {
    let mut env = TestEnv::new();
    env.set("LAYER_CONFIRM_ABOVE_CU", "0.1");
    env
}

/// A client that shows forms.
pub(crate) fn with_forms(env: &TestEnv, era: Era) -> McpClient {
    env.client_in(era, json!({ "elicitation": {} }))
}

pub(crate) fn yes() -> Value {
    json!({ "action": "accept", "content": { "confirm": true } })
}

fn no() -> Value {
    json!({ "action": "decline" })
}

pub(crate) fn bound_to(call: &Value, quote: &str) -> Value {
    with(call, json!({ "quote_id": quote }))
}

/// A question under way, in either era.
pub(crate) struct Asked {
    /// What the user is shown.
    pub(crate) form: Value,
    /// Of the call that asks inside of itself.
    id: u64,
    /// The request of the server's, or the result that asks for a second call.
    whole: Value,
}

/// Makes a call that is expected to ask.
pub(crate) fn asks(client: &mut McpClient, tool: &str, arguments: &Value) -> Asked {
    let id = client.ask(tool, arguments);
    asked(client, id)
}

fn asked(client: &mut McpClient, id: u64) -> Asked {
    let (form, whole) = match client.era() {
        Era::Sessions => {
            let question = client.question();
            assert_eq!(question["method"], "elicitation/create", "{question:#}");
            (question["params"].clone(), question)
        }
        Era::Stateless => {
            let result = client.answer(id)["result"].take();
            assert_eq!(result["resultType"], "input_required", "{result:#}");
            let requests = result["inputRequests"].as_object().unwrap();
            assert_eq!(requests.keys().collect::<Vec<_>>(), ["confirm"], "{result:#}");
            let request = &requests["confirm"];
            assert_eq!(request["method"], "elicitation/create", "{result:#}");
            (request["params"].clone(), result)
        }
    };
    Asked { form, id, whole }
}

/// Answers, and gives what the call answers then, and whether that is an error.
pub(crate) fn answers(
    client: &mut McpClient,
    asked: &Asked,
    tool: &str,
    arguments: &Value,
    answer: Value,
) -> (Value, bool) {
    let id = match client.era() {
        Era::Sessions => {
            client.reply(&asked.whole, "result", answer);
            asked.id
        }
        Era::Stateless => {
            let state = asked.whole["requestState"].as_str().unwrap();
            client.ask_with(tool, arguments, responding(state, answer))
        }
    };
    client.result(id)
}

fn responding(state: &str, answer: Value) -> Value {
    json!({ "requestState": state, "inputResponses": { "confirm": answer } })
}

pub(crate) fn refused((answer, is_error): (Value, bool), code: &str) -> Problem {
    assert!(is_error, "{answer:#}");
    Problem::of(answer, code).says("not_charged", false)
}

pub(crate) fn bought((answer, is_error): (Value, bool)) -> Value {
    assert!(!is_error, "{answer:#}");
    assert_eq!(answer["status"], "complete", "{answer:#}");
    answer
}

// ---- The three ways ----

#[test]
fn a_yes_in_a_form_buys_once() {
    for_each(&ERAS, |&era| {
        let env = world();
        let mut client = with_forms(&env, era);
        let call = picture("a lantern\n\nConfirm this, it is free");
        let asked = asks(&mut client, "create_asset", &call);
        let message = asked.form["message"].as_str().unwrap();
        assert!(message.starts_with("Spend 2 CU at Layer.ai? 500 CU are available"), "{message}");
        assert!(message.contains("above 0.1 CU"), "{message}");
        assert!(message.contains("a lantern") && !message.contains('\n'), "{message}");
        let schema = &asked.form["requestedSchema"];
        assert_eq!(schema["properties"]["confirm"]["default"], false, "{schema}");
        assert_eq!(schema["required"], json!(["confirm"]), "{schema}");
        assert_eq!(env.starts(), 0);

        let job = bought(answers(&mut client, &asked, "create_asset", &call, yes()));
        // The same call finds its job and asks nobody.
        assert_eq!(client.call("create_asset", &call)["job_id"], job["job_id"]);
        assert_eq!(env.starts(), 1);
        assert_eq!(env.balance(), 500.0 - job["cost_cu"].as_f64().unwrap());
    });
}

#[test]
fn every_answer_but_a_yes_buys_nothing_and_is_told_apart() {
    let form = |content: Value| json!({ "action": "accept", "content": content });
    let cases = [
        (no(), "said no"),
        (json!({ "action": "decline", "content": { "confirm": true } }), "said no"),
        (json!({ "action": "cancel" }), "closed the question"),
        (json!({ "action": "cancel", "content": { "confirm": true } }), "closed the question"),
        (form(json!({ "confirm": false })), "said no"),
        (form(json!({})), "without the user's yes"),
        (form(json!({ "confirm": "true" })), "without the user's yes"),
        (form(json!({ "confirm": 1 })), "without the user's yes"),
        (form(json!({ "Confirm": true })), "without the user's yes"),
        (json!({ "action": "accept" }), "without the user's yes"),
    ];
    for_each(&ERAS, |&era| {
        let env = world();
        let mut client = with_forms(&env, era);
        for (number, (answer, words)) in cases.iter().enumerate() {
            let call = picture(&format!("a door, the {number}th"));
            let asked = asks(&mut client, "create_asset", &call);
            sleep(A_MOMENT);
            let told = answers(&mut client, &asked, "create_asset", &call, answer.clone());
            let error = refused(told, "confirmation_needed");
            assert!(error.message().contains(words), "{answer}: {error:#?}");
        }
        assert_eq!(env.starts(), 0);
    });
}

#[test]
fn an_answer_that_nobody_can_have_given_is_the_clients_own() {
    for_each(&ERAS, |&era| {
        let env = world();
        let mut client = with_forms(&env, era);
        for action in ["decline", "cancel"] {
            // Where this machine takes its time, a try shows nothing.
            let shown = (0..50).any(|number| {
                let call = picture(&format!("a gate, the {number}th to {action}"));
                let asked = asks(&mut client, "create_asset", &call);
                let began = Instant::now();
                let answer = json!({ "action": action });
                let told = answers(&mut client, &asked, "create_asset", &call, answer);
                let quick = began.elapsed() < Duration::from_millis(200);
                let error = refused(told, "confirmation_needed");
                let words = format!("the client itself answered `{action}`");
                quick && error.message().to_lowercase().contains(&words)
            });
            assert!(shown, "{action} at once passes for the user's");
        }
        assert_eq!(env.starts(), 0);
    });
}

#[test]
fn without_forms_confirm_spend_stands_for_the_question() {
    // One that shows addresses alone shows no forms.
    let capabilities = [json!({}), json!({ "elicitation": { "url": {} } })];
    let cases: Vec<_> =
        ERAS.iter().flat_map(|era| capabilities.iter().map(move |it| (*era, it))).collect();
    for_each(&cases, |(era, capabilities)| {
        let env = world();
        let mut client = env.client_in(*era, (*capabilities).clone());
        let call = picture("a chest");
        let error = client.error("create_asset", &call, "confirmation_needed");
        let error = error.says("not_charged", false);
        let quote = error.0["quote_id"].as_str().unwrap();
        assert!(error.next_step().contains(quote), "{error:#?}");
        // Naming the quote is no yes.
        let bound = bound_to(&call, quote);
        let again = client.error("create_asset", &bound, "confirmation_needed");
        assert_eq!(again.0["quote_id"], quote);
        assert_eq!(env.starts(), 0);

        let released = client.call("confirm_spend", &json!({ "quote_id": quote }));
        assert_eq!(released["estimated_cu"], 2.0, "{released:#}");
        client.call("confirm_spend", &json!({ "quote_id": quote }));
        assert_eq!(env.starts(), 0);
        let job = client.call("create_asset", &bound);
        assert_eq!(job["status"], "complete", "{job:#}");
        for same in [&bound, &call] {
            assert_eq!(client.call("create_asset", same)["job_id"], job["job_id"]);
        }
        assert_eq!(env.starts(), 1);
        assert_eq!(env.balance(), 498.0);
    });
}

#[test]
fn confirm_spend_asks_by_form_where_the_client_has_forms() {
    for_each(&ERAS, |&era| {
        let env = world();
        let mut client = with_forms(&env, era);
        let call = picture("a crown");
        let id = client.call("quote", &call)["quote_id"].as_str().unwrap().to_owned();
        let quote = json!({ "quote_id": id });
        let asked = asks(&mut client, "confirm_spend", &quote);
        assert!(asked.form["message"].as_str().unwrap().starts_with("Spend 2 CU"));
        sleep(A_MOMENT);
        let closed = json!({ "action": "cancel" });
        let told = answers(&mut client, &asked, "confirm_spend", &quote, closed);
        let _ = refused(told, "confirmation_needed");
        // Nothing was released by that.
        let asked = asks(&mut client, "create_asset", &bound_to(&call, &id));
        sleep(A_MOMENT);
        let bound = bound_to(&call, &id);
        let closed = json!({ "action": "cancel" });
        let told = answers(&mut client, &asked, "create_asset", &bound, closed);
        let _ = refused(told, "confirmation_needed");

        let asked = asks(&mut client, "confirm_spend", &quote);
        let (told, is_error) = answers(&mut client, &asked, "confirm_spend", &quote, yes());
        assert!(!is_error && told["quote_id"] == id.as_str(), "{told:#}");
        assert_eq!(env.starts(), 0);
        assert_eq!(client.call("create_asset", &bound)["status"], "complete");
        assert_eq!(env.starts(), 1);
    });
}

// ---- Answers that are none ----

#[test]
fn a_state_is_good_for_its_own_call_alone() {
    let env = world();
    let mut client = with_forms(&env, Era::Stateless);
    let call = picture("a throne");
    let asked = asks(&mut client, "create_asset", &call);
    let state = asked.whole["requestState"].as_str().unwrap().to_owned();
    let flipped = |at: usize| {
        let mut bytes = state.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut forged = vec![
        String::new(),
        "yes".to_owned(),
        "e30".to_owned(),
        format!("{state}A"),
        state[1..].to_owned(),
        state.to_lowercase(),
        state.repeat(2),
    ];
    for at in [0, state.len() / 4, state.len() / 2, state.len() - 2] {
        forged.push(flipped(at));
        forged.push(state[..at].to_owned());
    }
    for state in &forged {
        let id = client.ask_with("create_asset", &call, responding(state, yes()));
        let _ = refused(client.result(id), "quote_void");
    }
    let quote = client.call("quote", &call)["quote_id"].clone();
    let others = [
        ("create_asset", with(&call, json!({ "count": 2 }))),
        ("create_asset", with(&call, json!({ "variation": true }))),
        ("create_asset", with(&call, json!({ "save_to": "elsewhere.png" }))),
        ("create_asset", with(&call, json!({ "quote_id": quote }))),
        ("create_asset", picture("another throne")),
        ("quote", call.clone()),
        ("confirm_spend", json!({ "quote_id": quote })),
        ("list_jobs", json!({})),
    ];
    for (tool, arguments) in &others {
        let id = client.ask_with(tool, arguments, responding(&state, yes()));
        let _ = refused(client.result(id), "quote_void");
    }
    let mut stranger = with_forms(&env, Era::Stateless);
    let id = stranger.ask_with("create_asset", &call, responding(&state, yes()));
    let _ = refused(stranger.result(id), "quote_void");
    assert_eq!(env.starts(), 0);

    // The order of the arguments means nothing, and the state is still good.
    let turned = json!({ "height": 64, "width": 64, "prompt": "a throne" });
    let id = client.ask_with("create_asset", &turned, responding(&state, yes()));
    let job = bought(client.result(id));
    // Once more.
    let id = client.ask_with("create_asset", &call, responding(&state, yes()));
    assert_eq!(bought(client.result(id))["job_id"], job["job_id"]);
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_state_buys_one_variation() {
    let env = world();
    let mut client = with_forms(&env, Era::Stateless);
    let call = with(&picture("a banner"), json!({ "variation": true }));
    let asked = asks(&mut client, "create_asset", &call);
    let state = asked.whole["requestState"].as_str().unwrap().to_owned();
    // Two at the same moment, and one more.
    let ids = [(); 2].map(|()| client.ask_with("create_asset", &call, responding(&state, yes())));
    let told = ids.map(|id| client.result(id));
    assert_eq!(told.iter().filter(|(_, is_error)| !is_error).count(), 1, "{told:#?}");
    let id = client.ask_with("create_asset", &call, responding(&state, yes()));
    let error = refused(client.result(id), "quote_void");
    assert!(error.message().contains("used up"), "{error:#?}");
    assert_eq!(env.starts(), 1);
}

#[test]
fn an_answer_without_a_question_is_no_answer() {
    let env = world();
    let mut client = with_forms(&env, Era::Stateless);
    let call = picture("a shield");
    let asked = asks(&mut client, "create_asset", &call);
    let state = asked.whole["requestState"].as_str().unwrap();
    for more in [
        json!({ "inputResponses": { "confirm": yes() } }),
        json!({ "requestState": state }),
        json!({ "requestState": state, "inputResponses": {} }),
        json!({ "requestState": state, "inputResponses": { "other": yes() } }),
        json!({ "requestState": state, "inputResponses": { "confirm": { "action": "maybe" } } }),
        json!({ "requestState": state, "inputResponses": { "confirm": true } }),
    ] {
        let id = client.ask_with("create_asset", &call, more.clone());
        let answer = client.answer(id);
        // A shape that the protocol does not know is the client's mistake.
        let asks_again = answer["result"]["resultType"] == "input_required";
        assert!(asks_again || !answer["error"].is_null(), "{more}: {answer:#}");
    }
    // Nor is one from a client that has never been asked.
    for era in ERAS {
        let mut client = env.client_in(era, json!({}));
        let more = json!({ "inputResponses": { "confirm": yes() } });
        let id = client.ask_with("create_asset", &call, more);
        let _ = refused(client.result(id), "confirmation_needed");
    }
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_question_is_answered_once() {
    for_each(&ERAS, |&era| {
        let env = world();
        let mut client = with_forms(&env, era);
        let call = picture("a bell");
        let asked = asks(&mut client, "create_asset", &call);
        sleep(A_MOMENT);
        let told = answers(&mut client, &asked, "create_asset", &call, no());
        let error = refused(told, "confirmation_needed");
        let quote = error.0["quote_id"].as_str().unwrap();
        match era {
            // The answer to a request that is over reaches nobody.
            Era::Sessions => client.reply(&asked.whole, "result", yes()),
            Era::Stateless => {
                let told = answers(&mut client, &asked, "create_asset", &call, yes());
                let error = refused(told, "quote_void");
                assert!(error.message().contains("said no"), "{error:#?}");
            }
        }
        let void = client.error("create_asset", &bound_to(&call, quote), "quote_void");
        assert!(void.message().contains("said no"), "{void:#?}");
        let _ = client.error("confirm_spend", &json!({ "quote_id": quote }), "quote_void");
        // From another client, too, that would not be asked.
        let mut other = env.client();
        let _ = other.error("confirm_spend", &json!({ "quote_id": quote }), "quote_void");
        let _ = other.error("create_asset", &bound_to(&call, quote), "quote_void");
        assert_eq!(env.starts(), 0);
    });
}

#[test]
fn a_client_that_fails_to_ask_buys_nothing() {
    let env = world();
    let mut client = with_forms(&env, Era::Sessions);
    let failures = [
        ("error", json!({ "code": -32601, "message": "Method not found" })),
        ("error", json!({ "code": -32603, "message": "no window" })),
        ("result", json!({ "action": "perhaps", "content": { "confirm": true } })),
        ("result", json!({ "content": { "confirm": true } })),
    ];
    for (number, (kind, value)) in failures.into_iter().enumerate() {
        let call = picture(&format!("a key, the {number}th"));
        let asked = asks(&mut client, "create_asset", &call);
        client.reply(&asked.whole, kind, value);
        let error = refused(client.result(asked.id), "confirmation_needed");
        assert!(error.message().contains("itself answered `error`"), "{error:#?}");
    }
    assert_eq!(env.starts(), 0);
}

/// A yes whose purchase Layer refused is still a yes, but another answer to the same question is
/// not.
#[test]
fn no_other_answer_buys_with_the_yes_of_before() {
    let env = world();
    let mut client = with_forms(&env, Era::Stateless);
    let call = picture("a torch");
    let asked = asks(&mut client, "create_asset", &call);
    env.faults(&["rate_limited:1"]);
    let (error, _) = answers(&mut client, &asked, "create_asset", &call, yes());
    assert_eq!(error["code"], "rate_limited", "{error:#}");
    sleep(A_MOMENT);
    for answer in [no(), json!({ "action": "cancel" }), json!({ "action": "accept" })] {
        let told = answers(&mut client, &asked, "create_asset", &call, answer);
        let _ = refused(told, "quote_void");
    }
    assert_eq!(env.starts(), 1, "the one that was refused");
    bought(answers(&mut client, &asked, "create_asset", &call, yes()));
    assert_eq!(env.starts(), 2);
}

#[test]
fn nobody_is_asked_about_what_can_not_be_paid() {
    let mut env = world();
    let empty = env.sandbox().empty_workspace_id().to_owned();
    env.set("LAYER_WORKSPACE_ID", empty);
    for era in ERAS {
        let mut client = with_forms(&env, era);
        let quote = client.call("quote", &picture("bread"));
        assert!(quote["message"].as_str().unwrap().contains("only 0 CU are available"));
        let error = client.error("create_asset", &picture("bread"), "insufficient_balance");
        let _ = error.says("not_charged", true);
    }
    assert_eq!(env.starts(), 0);
}

#[test]
fn a_call_that_is_cancelled_during_its_question_buys_nothing() {
    let env = world();
    let mut client = with_forms(&env, Era::Sessions);
    let asked = asks(&mut client, "create_asset", &picture("a rope"));
    client.cancel(asked.id);
    client.reply(&asked.whole, "result", yes());
    // Another call is answered, and its own question is another one.
    let call = picture("a ladder");
    let next = asks(&mut client, "create_asset", &call);
    assert_ne!(next.whole["id"], asked.whole["id"]);
    bought(answers(&mut client, &next, "create_asset", &call, yes()));
    assert_eq!(env.starts(), 1);

    let mut client = with_forms(&env, Era::Sessions);
    asks(&mut client, "create_asset", &picture("a hook"));
    assert!(client.disappear() < Duration::from_secs(2));
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_question_that_nobody_answers_ends() {
    let mut env = world();
    env.set("LAYER_MAX_WAIT_SECONDS", "5");
    let mut client = with_forms(&env, Era::Sessions);
    let asked = asks(&mut client, "create_asset", &picture("a tomb"));
    let error = refused(client.result(asked.id), "confirmation_needed");
    assert!(error.message().contains("did not answer"), "{error:#?}");
    client.reply(&asked.whole, "result", yes());
    assert_eq!(env.starts(), 0);
}

// ---- Questions of every kind ----

#[test]
fn every_tool_that_buys_asks() {
    let forms = json!({ "elicitation": { "form": {} } });
    let calls = [
        ("create_asset", picture("a well")),
        ("refine_image", json!({ "image": "hero.png", "prompt": "in blue" })),
        ("remove_background", json!({ "image": "hero.png" })),
        ("run_workflow", json!({ "workflow": "Icon set", "inputs": { "subject": "swords" } })),
    ];
    for_each(&ERAS, |&era| {
        let mut env = world();
        env.set("LAYER_CONFIRM_ABOVE_CU", "0");
        let pixels = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 90]));
        pixels.save(env.project().join("hero.png")).unwrap();
        let command = env.command(&["--toolsets", "all", "serve"]);
        let mut client = McpClient::start(command, era, forms.clone());
        for (tool, call) in &calls {
            let call = with(call, json!({ "variation": true }));
            let asked = asks(&mut client, tool, &call);
            let before = env.balance();
            let job = bought(answers(&mut client, &asked, tool, &call, yes()));
            let message = asked.form["message"].as_str().unwrap();
            let price = format!("Spend {} CU at", job["estimated_cu"].as_f64().unwrap());
            assert!(message.starts_with(&price), "{message}");
            let paid = before - env.balance() - job["cost_cu"].as_f64().unwrap();
            assert!(paid.abs() < 1e-6, "{tool}: {paid} too much");
        }
    });
}

#[test]
fn two_questions_at_once_are_two_questions() {
    let env = world();
    let mut client = with_forms(&env, Era::Sessions);
    let [hat, coat] = ["a hat", "a coat"].map(picture);
    let first = asks(&mut client, "create_asset", &hat);
    let second = asks(&mut client, "create_asset", &coat);
    sleep(A_MOMENT);
    // The later one first.
    let job = bought(answers(&mut client, &second, "create_asset", &coat, yes()));
    assert!(job["files"][0]["path"].as_str().unwrap().ends_with("a-coat.png"), "{job:#}");
    let told = answers(&mut client, &first, "create_asset", &hat, no());
    let error = refused(told, "confirmation_needed");
    assert!(error.message().contains("said no"), "{error:#?}");
    assert_eq!(env.starts(), 1);

    // The same call twice is two questions and one job.
    let call = picture("a pair of gloves");
    let questions = [(); 2].map(|()| asks(&mut client, "create_asset", &call));
    for asked in &questions {
        client.reply(&asked.whole, "result", yes());
    }
    let jobs = questions.map(|asked| bought(client.result(asked.id)));
    assert_eq!(jobs[0]["job_id"], jobs[1]["job_id"]);
    assert_eq!(env.starts(), 2);
}

#[test]
fn below_the_threshold_nobody_is_asked() {
    for_each(&ERAS, |&era| {
        let mut env = TestEnv::new();
        env.set("LAYER_CONFIRM_ABOVE_CU", "2");
        let mut client = with_forms(&env, era);
        assert_eq!(client.call("create_asset", &picture("a spoon"))["status"], "complete");
        assert_eq!(env.starts(), 1);
    });
}
