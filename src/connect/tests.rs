//! Texts of all shapes, changed and changed back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a failed test"
)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn site(client: Client) -> Site {
    let places = Places::bare(Os::Linux, "/home/ada");
    places.site(client, Scope::User).unwrap()
}

fn entry(client: Client, arguments: &[&str]) -> Entry {
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    Entry::new(client, "/usr/bin/layer-mcp", &arguments)
}

#[track_caller]
fn connected(client: Client, text: &str) -> String {
    let wish = Wish::Connect(entry(client, &["serve"]));
    let plan = plan(&site(client), Some(text), &[], "layer", &wish).unwrap();
    plan.after.unwrap()
}

#[track_caller]
fn removed(client: Client, text: &str, earlier: &[&str]) -> Option<String> {
    let earlier: Vec<String> = earlier.iter().map(|it| (*it).to_owned()).collect();
    plan(&site(client), Some(text), &earlier, "layer", &Wish::Remove).unwrap().after
}

#[test]
fn what_is_written_follows_what_is_there() {
    let cases = [
        // Nothing, and next to nothing.
        ("", "{\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}\n"),
        ("  \n", "{\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}\n"),
        ("// mine", "// mine\n{\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}\n"),
        ("{}", "{\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}"),
        ("{ }\n", "{\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}\n"),
        ("{ // a\n}", "{ // a\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}"),
        ("{ /* a */ }", "{ /* a */\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n }"),
        // On one line.
        ("{\"a\":1}", "{\"a\":1,\"mcpServers\":{\"layer\":TIGHT}}"),
        ("{\"mcpServers\":{}}", "{\"mcpServers\":{\"layer\":TIGHT}}"),
        ("{ \"a\": 1, }", "{ \"a\": 1, \"mcpServers\": {\"layer\": LOOSE}, }"),
        ("{ \"a\": 1 // b\n}", "{ \"a\": 1, \"mcpServers\": {\"layer\": LOOSE} // b\n}"),
        // On lines of their own.
        (
            "{\n  \"a\": 1 // b\n  // c\n}",
            "{\n  \"a\": 1, // b\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n  // c\n}",
        ),
        (
            "{\n  \"a\": 1, // b\n}",
            "{\n  \"a\": 1, // b\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  },\n}",
        ),
        (
            "{\n  \"mcpServers\": {\n  }\n}\n",
            "{\n  \"mcpServers\": {\n    \"layer\": ENTRY4\n  }\n}\n",
        ),
    ];
    let pretty =
        "{\n      \"command\": \"/usr/bin/layer-mcp\",\n      \"args\": [\"serve\"]\n    }";
    let loose = "{\"command\": \"/usr/bin/layer-mcp\", \"args\": [\"serve\"]}";
    let tight = "{\"command\":\"/usr/bin/layer-mcp\",\"args\":[\"serve\"]}";
    for (before, after) in cases {
        let after = after.replace("ENTRY4", pretty).replace("LOOSE", loose);
        let after = after.replace("TIGHT", tight);
        assert_eq!(connected(Client::Cursor, before), after, "{before:?}");
        assert_eq!(connected(Client::Cursor, &after), after, "again: {before:?}");
        assert_eq!(removed(Client::Cursor, &after, &[before]).as_deref(), Some(before));
    }
}

#[test]
fn an_entry_goes_without_its_neighbours() {
    let layer = "{\"command\": \"layer-mcp\"}";
    for (before, after) in [
        ("{\"mcpServers\": {\"layer\": L, \"b\": 1}}", "{\"mcpServers\": {\"b\": 1}}"),
        ("{\"mcpServers\": {\"a\": 1, \"layer\": L}}", "{\"mcpServers\": {\"a\": 1}}"),
        ("{\"mcpServers\": {\"a\": 1, \"layer\": L,}}", "{\"mcpServers\": {\"a\": 1,}}"),
        (
            "{\"mcpServers\": {\"a\": 1, /* x */ \"layer\": L}}",
            "{\"mcpServers\": {\"a\": 1 /* x */ }}",
        ),
        ("{\"mcpServers\": {\"layer\": L}}", "{\"mcpServers\": {}}"),
        ("{\"mcpServers\": {\n\"a\": 1\n, \"layer\": L\n}}", "{\"mcpServers\": {\n\"a\": 1\n\n}}"),
        (
            "{\"mcpServers\": {\n  // a\n  \"layer\": L, // mine\n  // b\n  \"b\": 1\n}}",
            "{\"mcpServers\": {\n  // a\n  // b\n  \"b\": 1\n}}",
        ),
        (
            "{\"mcpServers\": {\n  \"a\": 1, // one\n  \"layer\": L\n  // z\n}}",
            "{\"mcpServers\": {\n  \"a\": 1 // one\n  // z\n}}",
        ),
        (
            "{\"mcpServers\": {\r\n  \"layer\": L\r\n  // z\r\n}}",
            "{\"mcpServers\": {\r\n  // z\r\n}}",
        ),
    ] {
        let before = before.replace('L', layer);
        assert_eq!(removed(Client::Cursor, &before, &[]).unwrap(), after, "{before}");
    }
}

#[test]
fn an_entry_of_ours_is_brought_up_to_date_and_keeps_what_the_user_added() {
    let before = "{\n  \"mcpServers\": {\n    \"layer\": {\n      // mine\n      \"args\": [\n        \
                  \"serve\"\n      ],\n      \"env\": {\"LAYER_LOG\": \"debug\"},\n      \"command\": \
                  \"/old/layer-mcp\", // there\n      \"disabled\": true\n    }\n  }\n}";
    assert_eq!(
        connected(Client::Cursor, before),
        before.replace("/old/layer-mcp", "/usr/bin/layer-mcp"),
    );
    let before = "{\"mcpServers\": {\"layer\": {\"command\": \"/old/layer-mcp\"}}}";
    assert_eq!(
        connected(Client::Cursor, before),
        "{\"mcpServers\": {\"layer\": {\"command\": \"/usr/bin/layer-mcp\", \"args\": [\"serve\"]}}}"
    );
    // Zed's own former shape.
    let before = "{\"context_servers\": {\"layer\": {\"command\": {\"path\": \"layer-mcp\", \"args\": []}, \"settings\": {}}}}";
    let after: Value = serde_json::from_str(&connected(Client::Zed, before)).unwrap();
    let layer = &after["context_servers"]["layer"];
    assert_eq!(
        (&layer["command"], &layer["args"], &layer["settings"]),
        (&json!("/usr/bin/layer-mcp"), &json!(["serve"]), &json!({}))
    );
}

#[test]
fn toml_is_changed_where_it_stands() {
    let fresh = "[mcp_servers.layer]\ncommand = \"/usr/bin/layer-mcp\"\nargs = [\"serve\"]\n\
                 startup_timeout_sec = 30\ntool_timeout_sec = 180\n";
    for (before, after) in [
        ("", fresh.to_owned()),
        ("a = 1", format!("a = 1\n\n{fresh}")),
        ("a = 1\n", format!("a = 1\n\n{fresh}")),
        ("a = 1\n\n", format!("a = 1\n\n{fresh}")),
        ("a = 1\r\n", format!("a = 1\n\n{fresh}").replace('\n', "\r\n")),
        ("mcp_servers.a.command = \"x\"\n", format!("mcp_servers.a.command = \"x\"\n\n{fresh}")),
    ] {
        assert_eq!(connected(Client::Codex, before), after, "{before:?}");
        assert_eq!(connected(Client::Codex, &after), after, "again: {before:?}");
        assert_eq!(removed(Client::Codex, &after, &[before]).unwrap_or_default(), before);
    }
    // In the middle, with tables within and comments around.
    let before = "[mcp_servers.a]\ncommand = \"x\"\n\n# layer\n[mcp_servers.layer] # it\n\
                  args = [\n  \"--sandbox\", # for now\n  \"serve\",\n]\ncommand = '/old/layer-mcp'\n\
                  [mcp_servers.layer.env]\nLAYER_LOG = \"debug\" # much\n\n# b\n[b]\nc = 1";
    assert_eq!(
        connected(Client::Codex, before),
        before
            .replace("[\n  \"--sandbox\", # for now\n  \"serve\",\n]", "[\"serve\"]")
            .replace("'/old/layer-mcp'", "\"/usr/bin/layer-mcp\"")
    );
    assert_eq!(
        removed(Client::Codex, before, &[]).unwrap(),
        "[mcp_servers.a]\ncommand = \"x\"\n\n# layer\n\n# b\n[b]\nc = 1"
    );
    let inline =
        "[mcp_servers]\nlayer = { command = \"/old/layer-mcp\" } # it\na = { command = \"x\" }\n";
    assert_eq!(
        connected(Client::Codex, inline),
        inline.replace(
            "{ command = \"/old/layer-mcp\" }",
            "{ args = [\"serve\"], command = \"/usr/bin/layer-mcp\" }"
        )
    );
    assert_eq!(
        removed(Client::Codex, inline, &[]).unwrap(),
        "[mcp_servers]\na = { command = \"x\" }\n"
    );
}

#[test]
fn what_is_not_understood_is_left_alone() {
    let wish = Wish::Connect(entry(Client::Cursor, &["serve"]));
    let refused = |client, text: &str| plan(&site(client), Some(text), &[], "layer", &wish);
    for (text, line, column) in [
        ("{", 1, 1),
        ("{\n  \"a\": 1\n  \"b\": 2\n}", 2, 9),
        ("{'a': 1}", 1, 2),
        ("{\"a\": 1} {}", 1, 10),
        ("{\"a\": /* 1}", 1, 7),
    ] {
        match refused(Client::Cursor, text) {
            Err(EditError::Unreadable { line: l, column: c, .. }) => {
                assert_eq!((l, c), (line, column), "{text:?}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    for (text, error) in [
        ("[]", EditError::NotAnObject("the document".to_owned())),
        ("7", EditError::NotAnObject("the document".to_owned())),
        ("{\"mcpServers\": []}", EditError::NotAnObject("mcpServers".to_owned())),
        ("{\"mcpServers\": null}", EditError::NotAnObject("mcpServers".to_owned())),
        ("{\"mcpServers\": {}, \"mcpServers\": {}}", EditError::Twice("mcpServers".to_owned())),
        ("{\"mcpServers\": {\"layer\": {}, \"layer\": {}}}", EditError::Twice("layer".to_owned())),
        (
            "{\"mcpServers\": {\"layer\": {\"command\": \"layer-mcp\", \"command\": \"x/layer-mcp\"}}}",
            EditError::Twice("command".to_owned()),
        ),
    ] {
        assert_eq!(refused(Client::Cursor, text), Err(error), "{text}");
    }
    for text in ["a = ", "[a", "a = 1\na = 2", "[mcp_servers.layer]\n[mcp_servers.layer]"] {
        let error = refused(Client::Codex, text).unwrap_err();
        assert!(matches!(error, EditError::Unreadable { .. }), "{text}: {error:?}");
    }
    for text in [
        "mcp_servers = { a = { command = \"x\" } }",
        "mcp_servers = 1",
        "mcp_servers.layer.command = \"x\"",
    ] {
        refused(Client::Codex, text).unwrap_err();
    }
    // Deep nesting is an error and no overflow of the stack.
    let deep = format!("{}{}", "{\"a\":".repeat(20_000), "}".repeat(20_000));
    refused(Client::Cursor, &deep).unwrap_err();
}

#[test]
fn a_difference_shows_no_secret_of_others() {
    let secret = "hunter2-of-somebody";
    let before = format!(
        "{{\n  \"mcpServers\": {{\n    \"b\": {{\n      \"env\": {{ \"KEY\": \"{secret}\" }}, // don't\n      \
         \"args\": [\"--key\", \"{secret}\"]\n    }}\n  }}\n}}\n"
    );
    let minified: String = before.replace(" // don't", "").split_whitespace().collect();
    let spaced = minified.replace(':', ": ").replace("{\"env", "{ /* 5\" of it */ \"env");
    let long = minified.replace("\"env\"", &format!("\"x\":\"{}\",\"env\"", secret.repeat(40)));
    for before in [&before, &minified, &spaced, &long] {
        let entry = entry(Client::Cursor, &["serve"]).to_json();
        let after = connected(Client::Cursor, before);
        for shown in [
            shown::difference(Format::Json, before, &after, &[&entry]),
            shown::difference(Format::Json, &after, before, &[&entry]),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("/usr/bin/layer-mcp") && shown.contains("serve"), "{shown}");
            assert!(shown.lines().all(|line| line.chars().count() < 700), "{shown}");
        }
    }
    let toml = format!(
        "[mcp_servers.a.env]\n# it's {secret}\nKEY = '{secret}'\nC = \"\"\"\n{secret}\n\"\"\" # \"\nB = \"{secret}\"\n"
    );
    let shown = shown::difference(Format::Toml, &toml, &connected(Client::Codex, &toml), &[]);
    assert!(!shown.contains("hunter2"), "{shown}");
}

// ---- Texts that nobody thought of ----

/// How a document is written.
#[derive(Clone, Debug)]
struct Hand {
    indent: Option<&'static str>,
    newline: &'static str,
    trailing: bool,
    comments: bool,
    mark: bool,
    last_line: bool,
}

impl Hand {
    fn write(&self, value: &Value, depth: usize, out: &mut String) {
        let (open, close, fields): (_, _, Vec<(Option<&String>, &Value)>) = match value {
            Value::Object(fields) => {
                ('{', '}', fields.iter().map(|(key, value)| (Some(key), value)).collect())
            }
            Value::Array(values) => ('[', ']', values.iter().map(|value| (None, value)).collect()),
            other => return out.push_str(&other.to_string()),
        };
        out.push(open);
        let count = fields.len();
        for (index, (key, value)) in fields.into_iter().enumerate() {
            let last = index + 1 == count;
            if let Some(indent) = self.indent {
                out.extend([self.newline, &indent.repeat(depth + 1)]);
                if self.comments && index % 2 == 0 {
                    out.push_str("// \"above\": {");
                    out.extend([self.newline, &indent.repeat(depth + 1)]);
                }
            }
            if let Some(key) = key {
                out.push_str(&json!(key).to_string());
                out.push_str(if self.indent.is_some() { ": " } else { ":" });
            }
            self.write(value, depth + 1, out);
            if !last || self.trailing {
                out.push(',');
            }
            if self.comments {
                out.push_str(if self.indent.is_some() { " // beside }" } else { " /* , */ " });
            }
            if last && let Some(indent) = self.indent {
                out.extend([self.newline, &indent.repeat(depth)]);
            }
        }
        out.push(close);
    }

    fn text(&self, value: &Value) -> String {
        let mut out = String::from(if self.mark { "\u{feff}" } else { "" });
        self.write(value, 0, &mut out);
        out.push_str(if self.last_line { self.newline } else { "" });
        out
    }
}

fn hands() -> impl Strategy<Value = Hand> {
    let indent = prop_oneof![Just(None), Just(Some("  ")), Just(Some("    ")), Just(Some("\t"))];
    let newline = prop_oneof![Just("\n"), Just("\r\n")];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (indent, newline, flags).prop_map(|(indent, newline, (trailing, comments, mark, last_line))| {
        Hand { indent, newline, trailing, comments, mark, last_line }
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~é„\\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            objects(inner).prop_map(Value::Object),
        ]
    })
}

fn objects(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let fields = prop::collection::vec(("[a-z\"\\\\é/]{1,6}", values), 0..4);
    fields.prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn what_is_connected_is_disconnected_to_the_byte(
        mut document in objects(values()),
        servers in prop::option::of(objects(objects(values()).prop_map(Value::Object))),
        first in any::<bool>(),
        hand in hands(),
    ) {
        let some = servers.as_ref().is_some_and(|servers| !servers.is_empty());
        if let Some(servers) = servers {
            let at = if first { 0 } else { document.len() };
            document.shift_insert(at, "mcpServers".to_owned(), Value::Object(servers));
        }
        let before = hand.text(&Value::Object(document));
        let after = connected(Client::Cursor, &before);
        // Nothing is lost: what was there stands there in its order.
        let mut rest = after.chars();
        let gap = |it: &char| it.is_whitespace();
        prop_assert!(before.chars().filter(|it| !gap(it)).all(|it| rest.any(|found| found == it)));
        prop_assert_eq!(&connected(Client::Cursor, &after), &after);
        prop_assert!(!after.replace("\r\n", "").contains('\n') || hand.newline == "\n" || !before.contains('\n'));
        let undone = removed(Client::Cursor, &after, &[&before]);
        prop_assert_eq!(undone.as_deref(), Some(before.as_str()));
        // Without a backup too, where the list was there.
        let undone = removed(Client::Cursor, &after, &[]);
        if some {
            prop_assert_eq!(undone.as_deref(), Some(before.as_str()));
        }
    }
}
