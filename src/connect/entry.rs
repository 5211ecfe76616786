//! The entry of this server: what each client wants to stand in it, and whose one is that is there.

use serde_json::{Map, Value, json};

use super::client::Client;

/// The name of the program's file, without `.exe`.
const PROGRAM: &str = "layer-mcp";
/// Variables whose values open something.
const SECRETS: [&str; 2] = ["LAYER_API_TOKEN", "LAYER_MCP_PASSWORD"];

/// One line of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its key.
    pub key: String,
    /// Its value: text, a number or a list of texts.
    pub value: Value,
    /// Written with a new entry, and left to the user from then on.
    pub once: bool,
}

/// How this server stands in a client's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// In order.
    pub fields: Vec<Field>,
}

/// How an entry that is there compares with one that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is this one; whatever else the user put into it.
    Same,
    /// It starts this program, from another place or with other arguments.
    Ours,
    /// It is something else.
    Foreign,
}

impl Entry {
    /// The entry for a client that starts `program` with `arguments`.
    pub fn new(client: Client, program: &str, arguments: &[String]) -> Self {
        let mut entry = Self { fields: Vec::new() };
        if let Some((key, value)) = client.kind_field() {
            entry.add(key, json!(value), true);
        }
        entry.add("command", json!(program), false);
        entry.add("args", json!(arguments), false);
        for (key, seconds) in client.timeouts() {
            entry.add(key, json!(seconds), true);
        }
        entry
    }

    /// An entry that was found, as it is.
    pub(super) fn of(found: &Value) -> Option<Self> {
        let fields = found.as_object()?.iter().map(|(key, value)| Field {
            key: key.clone(),
            value: value.clone(),
            once: false,
        });
        Some(Self { fields: fields.collect() })
    }

    fn add(&mut self, key: &str, value: Value, once: bool) {
        self.fields.push(Field { key: key.to_owned(), value, once });
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let fields = self.fields.iter().map(|field| (field.key.clone(), field.value.clone()));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// How one that is there compares with this one.
    pub fn standing(&self, found: &Value) -> Standing {
        let mut kept = self.fields.iter().filter(|field| !field.once);
        if kept.all(|field| found.get(&field.key) == Some(&field.value)) {
            Standing::Same
        } else if is_ours(found) {
            Standing::Ours
        } else {
            Standing::Foreign
        }
    }
}

/// Whether an entry starts this program, wherever that lies.
pub fn is_ours(found: &Value) -> bool {
    let command = program_of(found).unwrap_or_default();
    let name = command.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    name.strip_suffix(".exe").unwrap_or(&name) == PROGRAM
}

/// What an entry starts.
pub fn program_of(found: &Value) -> Option<&str> {
    let command = found.get("command")?;
    // Zed had the program below `path` once.
    command.as_str().or_else(|| command.get("path")?.as_str())
}

/// What an entry is, in a few words that give nothing of it away but the program's path.
pub fn in_words(found: &Value) -> String {
    match program_of(found) {
        // Some write a whole line here, and a secret may stand in the rest of it.
        Some(program) => {
            let first = program.split_whitespace().next().unwrap_or_default();
            let whole = program.starts_with(['/', '"']) || program.get(1..2) == Some(":");
            format!("`{}`", crate::redact::clean_line(if whole { program } else { first }, 200))
        }
        None if found.get("url").is_some() || found.get("httpUrl").is_some() => {
            "a server on the network".to_owned()
        }
        None => "something else".to_owned(),
    }
}

/// Whether a token or a password lies open in an entry.
pub fn holds_secret(found: &Value) -> bool {
    let named = found.get("env").and_then(Value::as_object).is_some_and(|env| {
        SECRETS.into_iter().filter_map(|name| env.get(name)?.as_str()).any(|value| {
            let value = value.trim();
            !value.is_empty() && !value.contains("${")
        })
    });
    named || texts(found).any(|text| crate::redact::Redactor::new().holds_secret(text))
}

/// All texts in a value.
pub(super) fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(values) => Box::new(values.iter().flat_map(texts)),
        Value::Object(fields) => Box::new(fields.values().flat_map(texts)),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

    use super::*;

    #[test]
    fn whose_an_entry_is_says_the_name_of_its_program() {
        for command in [
            json!("/usr/local/bin/layer-mcp"),
            json!("layer-mcp"),
            json!("C:\\Users\\Ada\\.cargo\\bin\\layer-mcp.exe"),
            json!("C:/Tools/Layer-MCP.EXE"),
            json!({ "path": "/opt/layer-mcp", "args": ["serve"] }),
        ] {
            assert!(is_ours(&json!({ "command": command })), "{command}");
        }
        for entry in [
            json!({ "command": "npx", "args": ["-y", "layer-mcp"] }),
            json!({ "command": "/opt/layer-mcp/run.sh" }),
            json!({ "command": "/opt/not-layer-mcp" }),
            json!({ "url": "https://mcp.app.layer.ai/layer-mcp" }),
            json!({ "command": 7 }),
            json!("layer-mcp"),
            json!(null),
        ] {
            assert!(!is_ours(&entry), "{entry}");
        }
    }

    #[test]
    fn what_the_user_added_makes_no_other_entry_of_it() {
        let entry = Entry::new(Client::Codex, "/bin/layer-mcp", &["serve".to_owned()]);
        let mut found = entry.to_json();
        assert_eq!(entry.standing(&found), Standing::Same);
        found["env"] = json!({ "LAYER_LOG": "debug" });
        found["tool_timeout_sec"] = json!(600);
        assert_eq!(entry.standing(&found), Standing::Same);
        found["args"] = json!(["--sandbox", "serve"]);
        assert_eq!(entry.standing(&found), Standing::Ours);
        found["command"] = json!("node");
        assert_eq!(entry.standing(&found), Standing::Foreign);
    }

    #[test]
    fn tokens_and_passwords_are_seen_and_placeholders_are_not() {
        let token = format!("pat_{}", "a1B2".repeat(8));
        assert!(holds_secret(&json!({ "env": { "LAYER_API_TOKEN": "anything" } })));
        assert!(holds_secret(&json!({ "env": { "LAYER_MCP_PASSWORD": "horse" } })));
        assert!(holds_secret(&json!({ "args": ["--token", token] })));
        assert!(holds_secret(&json!({ "env": { "TOKEN": token } })));
        for harmless in ["", " ", "${LAYER_API_TOKEN}", "${input:token}"] {
            assert!(!holds_secret(&json!({ "env": { "LAYER_API_TOKEN": harmless } })));
        }
        assert!(!holds_secret(&json!({ "command": "layer-mcp", "args": ["serve"] })));
    }
}
