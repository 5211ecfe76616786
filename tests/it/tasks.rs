//! What people want of the tools, and the calls that give it to them: each expected plan is one
//! that the published schemas allow, and one that works. What a fresh reader of the tool list plans
//! for the same tasks is held against the same expectations by `.ci/plan.py`.

mod carried_out;
mod matching;
mod published;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use carried_out::Scene;
use matching::{fields, matches};

use crate::support::TestEnv;

/// A task of `tests/tasks`; its README explains the format.
struct Task {
    name: String,
    whole: Value,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Task {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tasks");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut tasks: Vec<Self> = paths
            .filter(|path| path.extension() == Some("json".as_ref()))
            .map(|path| Self {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                whole: serde_json::from_str(&std::fs::read_to_string(&path).unwrap())
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            })
            .collect();
        tasks.sort_by(|one, other| one.name.cmp(&other.name));
        tasks
    }

    /// The calls that earlier turns of the conversation made.
    fn earlier(&self) -> impl Iterator<Item = &Value> {
        list(&self.whole["talk"]).filter(|turn| turn["tool"].is_string())
    }

    fn plans(&self) -> impl Iterator<Item = &Value> {
        list(&self.whole["plans"])
    }

    /// The calls of all plans that are right.
    fn expected(&self) -> impl Iterator<Item = &Value> {
        self.plans().flat_map(|plan| list(&plan["steps"])).filter(|step| step["tool"].is_string())
    }

    fn toolsets(&self) -> &str {
        self.whole["world"]["toolsets"].as_str().unwrap_or("default")
    }
}

/// The tools by name, as a client with these toolsets is told of them.
fn tools(toolsets: &str) -> BTreeMap<String, Value> {
    let listed = TestEnv::new().run(&["--toolsets", toolsets, "tools", "--json"]).done();
    let named = list(&listed).map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone()));
    named.collect()
}

/// What costs more, or is guessed, unless a task expects it: a call that has one of these is wrong.
const SUSPECT: [&str; 4] = ["count", "variation", "quote_id", "model"];

/// Whether the arguments that are written down are among those that are taken.
fn fits(step: &Value) -> Result<(), String> {
    let arguments = step["arguments"].as_object().unwrap();
    let wanted = step.get("fits").unwrap_or(&step["arguments"]).as_object().unwrap();
    fields(arguments, wanted)?;
    let may = |name: &str| list(&step["may"]).any(|it| it == name);
    let unwanted = list(&step["without"]).map(|name| name.as_str().unwrap());
    for name in unwanted.chain(SUSPECT.into_iter().filter(|name| !may(name))) {
        if arguments.contains_key(name) && !wanted.contains_key(name) {
            return Err(format!("`{name}` is not expected"));
        }
    }
    Ok(())
}

#[test]
fn the_tasks_cover_all_tools_and_what_can_go_wrong() {
    let tasks = Task::all();
    assert!(tasks.len() >= 24, "{tasks:?}");
    let called: BTreeSet<&str> =
        tasks.iter().flat_map(Task::expected).map(|step| step["tool"].as_str().unwrap()).collect();
    for tool in tools("all").keys() {
        assert!(called.contains(tool.as_str()), "no task needs {tool}");
    }
    let met: BTreeSet<&str> = tasks
        .iter()
        .flat_map(|task| task.earlier().chain(task.expected()))
        .filter_map(|call| call["error"].as_str())
        .collect();
    for code in [
        "budget",
        "confirmation_needed",
        "credentials_missing",
        "download_failed",
        "file_exists",
        "file_not_found",
        "insufficient_balance",
        "invalid_argument",
        "model_not_found",
        "path_refused",
        "quote_void",
        "rate_limited",
        "run_failed",
        "start_unanswered",
        "unauthenticated",
        "unsupported_file",
    ] {
        assert!(met.contains(code), "no task meets `{code}`");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tasks/answers");
    let kept = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let kept: BTreeSet<String> =
        kept.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let recorded = tasks.iter().filter(|task| task.earlier().any(|turn| turn["hidden"] != true));
    let recorded: BTreeSet<String> = recorded.map(|task| task.name.clone()).collect();
    assert_eq!(kept, recorded, "answers of no task, or a task whose answers are not recorded");
    let known = ["about", "situation", "world", "talk", "plans", "wrong"];
    for task in &tasks {
        for name in task.whole.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{task:?}: `{name}`");
        }
        let turns: Vec<&Value> = list(&task.whole["talk"]).collect();
        assert!(turns.iter().any(|turn| turn["user"].is_string()), "{task:?}: nobody wants it");
        assert!(task.plans().count() > 0, "{task:?}");
        for wrong in list(&task.whole["wrong"]) {
            assert!(wrong["why"].as_str().unwrap().ends_with('.'), "{task:?}: {wrong}");
            assert!(wrong["steps"].is_array(), "{task:?}: {wrong}");
        }
    }
}

#[test]
fn every_expected_call_is_allowed_by_the_published_schemas() {
    let mut offered: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for task in &Task::all() {
        let tools = offered.entry(task.toolsets()).or_insert_with(|| tools(task.toolsets()));
        for step in task.expected() {
            let name = step["tool"].as_str().unwrap();
            let tool = tools.get(name).unwrap_or_else(|| panic!("{task:?}: {name} is not offered"));
            let allowed = published::allows(&tool["inputSchema"], &step["arguments"]);
            assert_eq!(allowed, Ok(()), "{task:?}, {name}");
            assert_eq!(fits(step), Ok(()), "{task:?}, {name}: what is written fits not itself");
            for wanted in step["fits"].as_object().into_iter().flat_map(Map::keys) {
                let argument = tool["inputSchema"]["properties"].get(wanted);
                assert!(argument.is_some(), "{task:?}: {name} has no `{wanted}`");
            }
        }
        // A call of a tool that is not there would be refused for another reason than it says.
        for step in list(&task.whole["wrong"]).flat_map(|wrong| list(&wrong["steps"])) {
            if let Some(name) = step["tool"].as_str() {
                assert!(tools.contains_key(name), "{task:?}: {name} is not offered");
            }
        }
    }
}

/// A plan that is expected of a reader, and that can't be carried out, would teach nothing.
#[test]
fn every_expected_plan_works_in_its_situation() {
    let tasks = Task::all();
    let (next, failed) = (Mutex::new(tasks.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // Enough at once to hide the waiting, and not so many that they wait for each other.
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some(task) = { next.lock().unwrap().next() } {
                    if scope.spawn(|| carry_out(task)).join().is_err() {
                        failed.lock().unwrap().push(&task.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} tasks failed: {failed:?}", failed.len(), tasks.len());
}

fn carry_out(task: &Task) {
    for (number, plan) in task.plans().enumerate() {
        let mut scene = Scene::set(&task.whole["world"]);
        let shown = scene.talk(&task.whole["talk"]);
        if number == 0 {
            shown_to_readers(&task.name, &shown);
            an_error_leads_on(task, plan, &shown);
        }
        scene.carry_out(plan);
    }
}

/// What earlier calls answered is part of what a reader is given.
fn shown_to_readers(name: &str, answers: &[Value]) {
    if answers.is_empty() {
        return;
    }
    insta::with_settings!({
        prepend_module_to_snapshot => false,
        omit_expression => true,
        snapshot_path => "../tasks/answers",
    }, {
        insta::assert_json_snapshot!(name, answers);
    });
}

/// An error has to name what comes next: the tool, the argument, or the person.
fn an_error_leads_on(task: &Task, plan: &Value, answers: &[Value]) {
    let Some(error) = answers.last().filter(|answer| answer["code"].is_string()) else {
        return;
    };
    let said = format!("{} {}", error["message"], error["next_step"]).to_lowercase();
    let failed = task.earlier().last().unwrap();
    let step = &plan["steps"][0];
    for words in list(&step["mentions"]) {
        assert_eq!(matches(&json!(said), &json!({ "$words": [words] })), Ok(()), "{task:?}");
    }
    let Some(tool) = step["tool"].as_str() else { return };
    if said.contains(&format!("`{tool}`")) {
        return;
    }
    let (next, before) = (&step["arguments"], &failed["arguments"]);
    // The value that has to change, in the error's own words.
    let quoted = |name: &str| {
        let value = &before[name];
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().filter_map(Value::as_str).any(|text| said.contains(&text.to_lowercase()))
    };
    let changed: Vec<&String> = [next, before]
        .iter()
        .flat_map(|arguments| arguments.as_object().unwrap().keys())
        .filter(|name| next.get(name.as_str()) != before.get(name.as_str()))
        .collect();
    let named = match changed.as_slice() {
        [] => said.contains("call again") || said.contains("call it again"),
        changed => {
            changed.iter().any(|name| said.contains(&format!("`{name}`")) || quoted(name))
                || (changed.iter().any(|name| *name == "prompt") && said.contains("the prompt"))
        }
    };
    assert!(named, "{task:?}: {said} does not lead to {step:#}");
}

#[test]
fn a_matcher_tells_right_from_wrong() {
    let right = |value: Value, wanted: Value| assert_eq!(matches(&value, &wanted), Ok(()));
    let wrong = |value: Value, wanted: Value| assert!(matches(&value, &wanted).is_err(), "{value}");
    for (value, fit, misfit) in [
        (json!(64.0), json!(64), json!(65)),
        (
            json!("a Mossy wall"),
            json!({ "$words": ["moss", "wall|floor"] }),
            json!({ "$words": ["floor"] }),
        ),
        (json!(5), json!({ "$between": [4, 5] }), json!({ "$between": [6, 9] })),
        (json!("x"), json!({ "$not": "y" }), json!({ "$not": "x" })),
        (json!("/x"), json!({ "$starts": "/" }), json!({ "$starts": "x" })),
        (json!("x"), json!({ "$one_of": ["y", "x"] }), json!({ "$one_of": ["y"] })),
        (json!("{\"a\": 1}"), json!({ "$json": { "a": 1 } }), json!({ "$json": { "b": 1 } })),
        (json!({ "a": 1 }), json!({ "$json": { "a": 1 } }), json!({ "$json": { "a": 2 } })),
        (json!(["a", "a"]), json!({ "$each": "a" }), json!({ "$each": "b" })),
        (json!(["a", "b"]), json!({ "$count": 2 }), json!({ "$count": 3 })),
        (json!(["a"]), json!(["a"]), json!(["a", "b"])),
        (
            json!("$2.job_id"),
            json!({ "$of_answer": [2, "job_id"] }),
            json!({ "$of_answer": [1, "job_id"] }),
        ),
        (
            json!(["a"]),
            json!({ "$all": [{ "$count": 1 }, ["a"]] }),
            json!({ "$all": [{ "$count": 1 }, ["b"]] }),
        ),
        (json!({ "a": 1, "b": 2 }), json!({ "b": 2 }), json!({ "c": { "$any": true } })),
    ] {
        right(value.clone(), fit);
        wrong(value, misfit);
    }
    let schema = json!({
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": { "type": "string" },
            "count": { "type": "integer", "minimum": 1, "maximum": 16 },
            "scale": { "type": "number", "exclusiveMinimum": 1 },
            "use_case": { "type": "string", "enum": ["music"] },
            "references": { "type": "array", "items": { "type": "string" }, "maxItems": 1 },
        },
    });
    let all = json!({ "prompt": "x", "count": 2, "scale": 1.5, "use_case": "music", "references": ["a"] });
    assert_eq!(published::allows(&schema, &all), Ok(()));
    for (name, value) in [
        ("count", json!(0)),
        ("count", json!(1.5)),
        ("count", json!("1")),
        ("scale", json!(1)),
        ("use_case", json!("musics")),
        ("references", json!(["a", "b"])),
        ("references", json!([1])),
        ("other", json!(1)),
        ("prompt", Value::Null),
    ] {
        let mut call = all.clone();
        call[name] = value;
        assert!(published::allows(&schema, &call).is_err(), "{call}");
    }
    assert!(published::allows(&schema, &json!({})).is_err());
}
