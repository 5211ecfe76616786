//! Rules of the house that no compiler checks: who may name whom, and what the README promises.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::client::Place;

/// Longer files are hard to take in. These are longer, for a reason.
const LONG: [(&str, &str); 1] =
    [("src/sandbox/catalogue.rs", "a table: 38 models with their prices and limits")];
const LONGEST: usize = 700;

/// A source file: its path below the package, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// What is compiled into the program. Unit tests stand at the end of a file.
    fn program(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
    }

    /// The same without comments.
    fn code(&self) -> String {
        let lines = self.program().lines();
        lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    fn is_below(&self, module: &str) -> bool {
        self.path == format!("src/{module}.rs") || self.path.starts_with(&format!("src/{module}/"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            match entry.unwrap().path() {
                path if path.is_dir() => below(&path, found),
                path if path.extension() == Some("rs".as_ref()) => found.push(path),
                _ => {}
            }
        }
    }
    let mut paths = Vec::new();
    below(&root().join("src"), &mut paths);
    paths.sort();
    assert!(paths.len() > 50, "the sources are where they are expected");
    paths
        .into_iter()
        .map(|path| Source {
            text: std::fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"),
        })
        .collect()
}

/// Files outside of `home` that name a crate.
fn strangers(named: &str, home: &[&str], with_tests: bool) -> Vec<String> {
    let path = format!("{named}::");
    sources()
        .iter()
        .filter(|source| !home.iter().any(|module| source.is_below(module)))
        .filter(|source| with_tests || !source.is_test())
        .filter(|source| {
            let code = source.code();
            let mut pieces: Vec<&str> = code.split(&path).collect();
            pieces.pop();
            let heads = pieces.iter().filter_map(|piece| piece.chars().next_back());
            heads
                .into_iter()
                .any(|before| !before.is_alphanumeric() && before != '_' && before != ':')
        })
        .map(|source| source.path.clone())
        .collect()
}

/// Whether a line says a word, alone or as the head of a path; text in quotes does not count.
fn says(line: &str, word: &str) -> bool {
    let unquoted: String = line.split('"').step_by(2).collect();
    let letter = |it: char| it.is_alphanumeric() || it == '_';
    let pieces: Vec<&str> = unquoted.split(word).collect();
    pieces.windows(2).any(|around| {
        !around[0].chars().next_back().is_some_and(letter)
            && !around[1].chars().next().is_some_and(letter)
    })
}

#[test]
fn only_mcp_names_rmcp() {
    assert_eq!(strangers("rmcp", &["mcp"], true), Vec::<String>::new());
}

#[test]
fn only_layer_names_reqwest() {
    assert_eq!(strangers("reqwest", &["layer"], false), Vec::<String>::new());
}

#[test]
fn only_the_journal_and_the_sandbox_name_the_database() {
    assert_eq!(strangers("sqlx", &["journal", "sandbox"], true), Vec::<String>::new());
}

/// A mistake in the client must not be cancelled by the same mistake in the sandbox.
#[test]
fn the_sandbox_shares_nothing_with_the_client() {
    for source in sources().iter().filter(|source| source.is_below("sandbox")) {
        for ours in ["layer", "runs", "journal", "files", "credentials", "config", "mcp", "cli"] {
            let path = format!("crate::{ours}");
            let found = source.text.lines().find(|line| says(line, &path));
            assert_eq!(found, None, "{}", source.path);
        }
    }
}

#[test]
fn what_lies_below_knows_nothing_of_what_lies_above() {
    let above: [(&str, &[&str]); 11] = [
        (
            "audit",
            &[
                "mcp",
                "cli",
                "runs",
                "journal",
                "files",
                "layer",
                "credentials",
                "config",
                "sandbox",
            ],
        ),
        (
            "connect",
            &[
                "mcp",
                "cli",
                "runs",
                "journal",
                "files",
                "layer",
                "credentials",
                "config",
                "sandbox",
            ],
        ),
        ("layer", &["mcp", "cli", "runs", "journal", "files", "config", "sandbox"]),
        ("files", &["mcp", "cli", "runs", "journal", "layer", "credentials", "config", "sandbox"]),
        ("journal", &["mcp", "cli", "runs", "config", "credentials", "sandbox"]),
        ("credentials", &["mcp", "cli", "runs", "journal", "files", "config", "sandbox"]),
        ("redact", &["mcp", "cli", "runs", "journal", "files", "layer", "credentials", "sandbox"]),
        ("log", &["mcp", "cli", "runs", "journal", "files", "layer", "config", "sandbox"]),
        ("config", &["mcp", "cli", "sandbox"]),
        ("runs", &["mcp", "cli", "sandbox", "credentials", "config"]),
        ("mcp", &["cli", "sandbox", "credentials", "config"]),
    ];
    for source in sources() {
        for (module, strangers) in above {
            if !source.is_below(module) {
                continue;
            }
            let code = source.code();
            for stranger in strangers {
                let path = format!("crate::{stranger}");
                let found = code.lines().find(|line| says(line, &path));
                assert_eq!(found, None, "{}", source.path);
            }
        }
    }
}

/// The token leaves its wrapping where a header is made, where it is encrypted, and where the
/// redactor learns what to hide.
#[test]
fn the_token_is_exposed_in_few_places() {
    let places: Vec<String> = sources()
        .iter()
        .filter(|source| source.code().contains(".expose()"))
        .map(|source| source.path.clone())
        .filter(|path| !path.starts_with("src/credentials"))
        .collect();
    // `setup` shows a password that it made, which is the user's to write down, and no token.
    let (setup, others): (Vec<_>, Vec<_>) =
        places.into_iter().partition(|path| path == "src/cli/setup.rs");
    assert_eq!(others, ["src/layer/http.rs"]);
    for source in sources().iter().filter(|source| setup.contains(&source.path)) {
        let code = source.code();
        for line in code.lines().filter(|line| line.contains(".expose()")) {
            assert!(!line.contains("token"), "{}: {line}", source.path);
        }
    }
}

#[test]
fn nothing_is_printed_past_the_terminal() {
    for source in sources() {
        for word in ["println!", "eprintln!", "print!", "eprint!", "dbg!"] {
            let code = source.code();
            let found = code.lines().find(|line| line.contains(word));
            assert_eq!(found, None, "{}", source.path);
        }
    }
    let writers: Vec<String> = sources()
        .iter()
        .filter(|source| !source.is_test() && source.code().contains("stdout()"))
        .map(|source| source.path.clone())
        .collect();
    // The terminal, and the transport: where its end of the pipe is made, and where it is used.
    assert_eq!(writers, ["src/cli/terminal.rs", "src/mcp/stdio/ends.rs", "src/mcp/stdio.rs"]);
}

#[test]
fn nothing_below_the_command_line_reads_the_environment() {
    for word in ["std::env::var", "std::env::vars", "env::var_os", "env::vars_os"] {
        let places: Vec<String> = sources()
            .iter()
            .filter(|source| !source.is_test() && source.code().contains(word))
            .map(|source| source.path.clone())
            .filter(|path| path != "src/cli.rs")
            .collect();
        assert_eq!(places, Vec::<String>::new(), "`{word}`");
    }
}

#[test]
fn files_are_short_enough_to_be_taken_in() {
    for source in sources() {
        let lines = source.program().lines().count();
        match LONG.iter().find(|(path, _)| *path == source.path) {
            Some((path, reason)) => {
                assert!(!reason.is_empty());
                assert!(lines > LONGEST, "{path} need not be excused any more");
                assert!(lines <= LONGEST + 100, "{path} has {lines} lines");
            }
            None => assert!(lines <= LONGEST, "{} has {lines} lines", source.path),
        }
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut in_dependencies = false;
    // Since the last comment; a group shares one.
    let mut distance = usize::MAX;
    let mut seen = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
            distance = usize::MAX;
        } else if line.starts_with('#') {
            distance = 0;
        } else if in_dependencies && line.contains('=') {
            seen += 1;
            distance = distance.saturating_add(1);
            assert!(distance <= 12, "no reason stands near `{line}`");
        }
    }
    assert!(seen > 20, "{seen}");
}

// ---- The README ----

/// The lines of the README from a heading to the next of the same level.
#[track_caller]
fn chapter(heading: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let lines: Vec<String> = readme
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "README.md has no `{heading}`");
    lines
}

/// What stands in backticks on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_readme_lists_the_tools() {
    let listed = Place::new().run(&["--toolsets", "all", "tools", "--json"]).document(0);
    let tools: BTreeSet<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect();
    let told: BTreeSet<String> = chapter("## Tools")
        .iter()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    assert_eq!(told, tools);
}

#[test]
fn the_readmes_greeting_is_the_programs() {
    let place = Place::new();
    let ran = place.run(&["--sandbox", "status"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let shown = ran.stdout.replace(place.output().to_str().unwrap(), "/home/you/game");
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let told = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(told, Some(shown.as_str()));
}

#[test]
fn the_readmes_picture_is_the_sandboxes() {
    let place = Place::new();
    let request = serde_json::json!({
        "prompt": "a pixel-art knight with a red cape", "width": 512, "height": 512, "seed": 7,
    });
    let job = place.call("create_asset", &request).document(0);
    let made = std::fs::read(job["files"][0]["path"].as_str().unwrap()).unwrap();
    let shown = std::fs::read(root().join("examples/knight.png")).unwrap();
    assert!(made == shown, "examples/knight.png is another picture");
}

/// The last column of the table of tools says what each may cost, and the hints that clients are
/// given say the same.
#[test]
fn the_readme_says_which_tools_spend() {
    let listed = Place::new().run(&["--toolsets", "all", "tools", "--json"]).document(0);
    let spends = |name: &str| {
        let tool = listed.as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap();
        let hints = &tool["annotations"];
        let takes_a_quote = !tool["inputSchema"]["properties"]["quote_id"].is_null();
        (hints["readOnlyHint"] == true, takes_a_quote)
    };
    let rows: Vec<Vec<String>> = chapter("## Tools")
        .iter()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        let name = row[1].trim_matches('`');
        let (reads, takes_a_quote) = spends(name);
        let said = row[3].as_str();
        match said {
            // What can be bought can be bought with a quote, and changes something.
            "yes" => assert!(takes_a_quote && !reads, "{name}"),
            "lets one" => assert!(takes_a_quote && !reads && name == "confirm_spend", "{name}"),
            "no price known" => assert!(!reads, "{name}"),
            "no" => assert!(!takes_a_quote, "{name}"),
            _ => panic!("{name}: what does `{said}` mean?"),
        }
        assert!(!reads || said == "no", "{name} only reads");
    }
}

#[test]
fn the_readme_lists_the_error_codes() {
    let codes = error_codes();
    for known in ["credentials_missing", "start_unanswered", "store_locked", "path_refused"] {
        assert!(codes.contains(known), "{known} was not found in the code: {codes:?}");
    }
    // The first thing in backticks on each line of a table or list.
    let told: BTreeSet<String> = chapter("## Errors")
        .iter()
        .filter(|line| line.starts_with("| `") || line.starts_with("- `"))
        .filter_map(|line| quoted(line).next().map(str::to_owned))
        .collect();
    assert_eq!(told, codes);
}

/// Every code that an error can have, as the code has them.
fn error_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.is_below("sandbox")) {
        let code = source.code();
        // `code: "..."` in a literal.
        let after = code.split("code: \"").skip(1);
        codes.extend(after.filter_map(|text| text.split('"').next().map(str::to_owned)));
        // The arms of `fn code(&self) -> &'static str`.
        if let Some((_, body)) = code.split_once("fn code(&self) -> &'static str {") {
            let body = body.split("\n    }\n").next().unwrap();
            codes.extend(strings(body).map(str::to_owned));
        }
        // The heads of the tuples that `runs` judges errors with.
        if source.path.starts_with("src/runs/error") {
            let verdicts = code.lines().filter(|line| {
                let line = line.trim_start();
                line.starts_with('"') && line.ends_with("\",") || line.contains("(\"")
            });
            codes.extend(verdicts.filter_map(|line| strings(line).next().map(str::to_owned)));
        }
    }
    codes.retain(|code| code.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'));
    codes
}

/// What stands in double quotes.
fn strings(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}
