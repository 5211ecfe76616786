//! A situation of `tests/tasks`, made real with the offline Layer, and calls made in it.

use std::collections::BTreeMap;
use std::fs;

use layer_mcp::sandbox::HostKind;
use serde_json::{Map, Value, json};

use super::list;
use super::matching::{fields, matches};
use crate::support::{Era, McpClient, TestEnv};

/// Settings that a situation may have; the list is closed because the environment takes static
/// names.
const SETTINGS: [&str; 6] = [
    "LAYER_BUDGET_RUN_CU",
    "LAYER_BUDGET_DAY_CU",
    "LAYER_BUDGET_PROJECT_CU",
    "LAYER_CONFIRM_ABOVE_CU",
    "LAYER_MAX_WAIT_SECONDS",
    "LAYER_SAME_REQUEST_HOURS",
];

/// Where the project lies, as far as readers know.
const SHOWN_PROJECT: &str = "/home/ana/game";

/// As often as a reader would look at a job that takes its time.
const LOOKS: usize = 40;

/// A situation.
pub(crate) struct Scene {
    env: TestEnv,
    /// The server runs as long as the conversation, unless it says otherwise.
    client: Option<McpClient>,
    toolsets: String,
    at_home: bool,
    /// Words that readers are shown, and what they stand for here.
    real: BTreeMap<String, String>,
}

/// A call's answer.
struct Answer {
    value: Value,
    is_error: bool,
}

impl Scene {
    /// Sets it up as `world` says.
    pub(crate) fn set(world: &Value) -> Self {
        let mut env = TestEnv::new();
        for (name, value) in world["settings"].as_object().into_iter().flatten() {
            let known = SETTINGS.iter().find(|known| *known == name);
            let known = known.unwrap_or_else(|| panic!("{name} is no setting of a situation"));
            env.set(known, value.as_str().unwrap());
        }
        match world["account"].as_str() {
            None => {}
            Some("none") => drop(env.unset("LAYER_API_TOKEN")),
            Some("expired") => drop(env.set("LAYER_API_TOKEN", crate::support::WRONG_TOKEN)),
            Some("empty") => {
                let empty = env.sandbox().empty_workspace_id().to_owned();
                env.set("LAYER_WORKSPACE_ID", empty);
            }
            Some(other) => panic!("{other} is no account"),
        }
        let at_home = world["project"] == false;
        if at_home {
            env.unset("LAYER_OUTPUT_DIR");
        }
        let toolsets = world["toolsets"].as_str().unwrap_or("default").to_owned();
        let scene = Self { env, client: None, toolsets, at_home, real: BTreeMap::new() };
        for (name, what) in world["files"].as_object().into_iter().flatten() {
            scene.write(name, what.as_str().unwrap());
        }
        scene.faults(&world["faults"]);
        scene
    }

    /// Puts a small file of a kind into the project.
    fn write(&self, name: &str, what: &str) {
        let path = self.env.project().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Files of different names differ: the same content is the same to Layer.
        let shade = name.bytes().fold(7_u8, |shade, byte| shade.wrapping_mul(31) ^ byte);
        match what {
            "picture" => image::RgbImage::from_fn(96, 64, |x, y| match x > 24 && y > 16 {
                true => image::Rgb([shade, 60, 40]),
                false => image::Rgb([255; 3]),
            })
            .save(path)
            .unwrap(),
            "mask" => image::GrayImage::from_fn(96, 64, |x, _| image::Luma([(x / 48 * 255) as u8]))
                .save(path)
                .unwrap(),
            "photoshop" => fs::write(path, b"8BPS\0\x01\0\0\0\0\0\0\0\x03").unwrap(),
            "unknown" => fs::write(path, [shade | 0x80; 64]).unwrap(),
            other => panic!("{other} is no kind of file"),
        }
    }

    fn faults(&self, faults: &Value) {
        if faults.is_array() {
            let names: Vec<&str> = list(faults).map(|name| name.as_str().unwrap()).collect();
            self.env.faults(&names);
        }
    }

    fn client(&mut self) -> &mut McpClient {
        let (env, toolsets, at_home) = (&self.env, &self.toolsets, self.at_home);
        self.client.get_or_insert_with(|| {
            let mut command = env.command(&["--toolsets", toolsets, "serve"]);
            if at_home {
                command.current_dir(env.path("user"));
            }
            McpClient::start(command, Era::Sessions, json!({}))
        })
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Answer {
        let client = self.client();
        let id = client.ask(tool, arguments);
        let result = client.answer(id)["result"].take();
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("{tool}: {result:#}"));
        let value = serde_json::from_str(text).unwrap_or_else(|_| {
            let kinds = list(&result["content"]).map(|block| block["type"].clone());
            json!({ "text": text, "kinds": kinds.collect::<Vec<Value>>() })
        });
        Answer { value, is_error: result["isError"] == true }
    }

    /// What was said and done before, with the answers as readers are shown them.
    pub(crate) fn talk(&mut self, turns: &Value) -> Vec<Value> {
        let mut shown = Vec::new();
        for turn in list(turns) {
            self.faults(&turn["faults"]);
            if turn["restart"] == true {
                self.client.take().map(McpClient::disappear);
            }
            for name in list(&turn["delete"]) {
                fs::remove_file(self.env.project().join(name.as_str().unwrap())).unwrap();
            }
            let Some(tool) = turn["tool"].as_str() else { continue };
            let arguments = self.meant(&turn["arguments"]);
            let answer = self.call(tool, &arguments);
            self.check(turn, &answer);
            if turn["hidden"] != true {
                let answer = self.as_shown(&answer.value);
                shown.push(answer);
            }
        }
        self.faults(&json!([]));
        shown
    }

    /// Makes the calls of a plan, and looks at what came of them.
    pub(crate) fn carry_out(&mut self, plan: &Value) {
        let (files, starts) = (self.files(), self.starts());
        self.faults(&plan["faults"]);
        let mut answers: Vec<Value> = Vec::new();
        for step in list(&plan["steps"]) {
            let Some(tool) = step["tool"].as_str() else {
                answers.push(Value::Null);
                continue;
            };
            let arguments = self.meant(&answered(&step["arguments"], &answers));
            let mut answer = self.call(tool, &arguments);
            for _ in 0..LOOKS {
                if step["answers"]["status"] != "complete" || answer.value["status"] != "running" {
                    break;
                }
                let job = json!({ "job_id": answer.value["job_id"], "wait_seconds": 45 });
                answer = self.call("get_job", &job);
            }
            self.check(step, &answer);
            answers.push(answer.value);
        }
        assert_eq!(self.starts() - starts, plan["starts"], "paid starts of {plan:#}");
        // Nothing that lay there before was replaced.
        let now = self.files();
        for (path, bytes) in files {
            assert!(now.get(&path) == Some(&bytes), "{path} was changed by {plan:#}");
        }
    }

    fn check(&self, step: &Value, answer: &Answer) {
        let Answer { value, is_error } = answer;
        match step["error"].as_str() {
            Some(code) => assert_eq!(value["code"], code, "{value:#} to {step:#}"),
            None => assert!(!is_error, "{value:#} to {step:#}"),
        }
        let nothing = Map::new();
        let wanted = step["answers"].as_object().unwrap_or(&nothing);
        let came = fields(value.as_object().unwrap(), wanted);
        assert_eq!(came, Ok(()), "{value:#} to {step:#}");
        let home = self.env.path("user").to_str().unwrap().to_owned();
        for file in list(&value["files"]).filter(|_| self.at_home) {
            let below = json!({ "$words": [format!("{home}/Pictures/Layer/").to_lowercase()] });
            assert_eq!(matches(&file["path"], &below), Ok(()), "{value:#}");
        }
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |name: String| {
            let bytes = fs::read(self.env.project().join(&name)).unwrap();
            (name, bytes)
        };
        self.env.project_files().into_iter().map(read).collect()
    }

    /// How many paid starts arrived at Layer.
    fn starts(&self) -> usize {
        let is_start = |path: &str| path.ends_with("/inferences") || path.ends_with("/runs");
        let requests = self.env.requests();
        let api = requests.iter().filter(|it| it.host == HostKind::Api && it.method == "POST");
        api.filter(|it| is_start(&it.path)).count()
    }

    /// Arguments with the names of this world in the place of those that readers are shown.
    fn meant(&self, arguments: &Value) -> Value {
        let mut text = arguments.to_string();
        for (shown, real) in &self.real {
            text = text.replace(shown, real);
        }
        text = text.replace(SHOWN_PROJECT, self.env.project().to_str().unwrap());
        serde_json::from_str(&text).unwrap()
    }

    /// An answer with names that are the same each time.
    fn as_shown(&mut self, answer: &Value) -> Value {
        let mut text = answer.to_string();
        for (folder, shown) in [("project", SHOWN_PROJECT), ("user", "/home/ana")] {
            text = text.replace(self.env.path(folder).to_str().unwrap(), shown);
        }
        text = text.replace(self.env.sandbox().base_url(), "https://api.app.layer.ai");
        for prefix in ["job_", "quote_"] {
            text = self.numbered(&text, prefix);
        }
        let mut shown = serde_json::from_str(&text).unwrap();
        steady(&mut shown);
        shown
    }

    /// `job_0000000000000001` for the first id that is met, and so on.
    fn numbered(&mut self, text: &str, prefix: &str) -> String {
        const LENGTH: usize = 16;
        let mut shown = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(prefix) {
            shown.push_str(before);
            let id: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
            rest = &after[id.len()..];
            if id.len() != LENGTH {
                shown.extend([prefix, &id]);
                continue;
            }
            let real = format!("{prefix}{id}");
            let known = self.real.iter().find(|(_, it)| **it == real).map(|(name, _)| name.clone());
            let of_kind = self.real.keys().filter(|name| name.starts_with(prefix)).count();
            let name = known.unwrap_or_else(|| format!("{prefix}{:016}", of_kind + 1));
            shown.push_str(&name);
            self.real.insert(name, real);
        }
        shown + rest
    }
}

/// Arguments with earlier answers in the place of `$1.job_id`.
fn answered(arguments: &Value, answers: &[Value]) -> Value {
    match arguments {
        Value::String(text) => match text.strip_prefix('$').and_then(|from| from.split_once('.')) {
            Some((number, path)) => {
                let number: usize = number.parse().unwrap();
                let pointer = format!("/{}", path.replace('.', "/"));
                let found = answers[number - 1].pointer(&pointer);
                found.unwrap_or_else(|| panic!("no {text} in {:#}", answers[number - 1])).clone()
            }
            None => arguments.clone(),
        },
        Value::Array(items) => items.iter().map(|item| answered(item, answers)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, it)| (name.clone(), answered(it, answers)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// What is another each time, made the same.
fn steady(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), &value) {
                    ("created_at" | "expires_at", _) => *value = json!("2026-05-04T10:15:00Z"),
                    ("bytes", _) => *value = json!(12_345),
                    ("seed", _) => *value = json!(1_234),
                    ("sha256", _) => *value = json!("0f1e…"),
                    ("request_id", _) => *value = json!("req_1"),
                    ("workspace_id" | "file_id", _) => {
                        *value = json!("3f0c6a52-0000-4000-8000-000000000001");
                    }
                    _ => steady(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(steady),
        Value::String(text) => {
            // How long it took is another thing each time.
            if let Some((before, after)) = text.split_once(" s so far") {
                let before = before.trim_end_matches(|letter: char| letter.is_ascii_digit());
                *text = format!("{before}3 s so far{after}");
            }
        }
        _ => {}
    }
}
