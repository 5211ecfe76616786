//! `connect`: real configuration files of each client, changed and changed back by the program.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::{Place, Ran};

const TOKEN: &str = "pat_Kx7Qm2Rv9Tz4Wb8Yd3Nf6Hj1Lc5Gs0PaEuXo";

/// A client, whether the file is the project's, and the file's name below `tests/data/clients`.
const FILES: [(&str, bool, &str); 20] = [
    ("claude-desktop", false, "claude-desktop.json"),
    ("claude-desktop", false, "claude-desktop-notepad.json"),
    ("claude-code", false, "claude-code.json"),
    ("claude-code", false, "claude-code-with-server.json"),
    ("claude-code", true, "claude-code-project.mcp.json"),
    ("cursor", false, "cursor.json"),
    ("cursor", true, "cursor-empty.json"),
    ("cursor", false, "cursor-new.json"),
    ("cursor", false, "cursor-emptied.json"),
    ("vscode", false, "vscode.json"),
    ("vscode", true, "vscode-inputs.json"),
    ("windsurf", false, "windsurf.json"),
    ("windsurf", false, "windsurf-one-line.json"),
    ("zed", false, "zed.json"),
    ("zed", true, "zed-servers.json"),
    ("codex", false, "codex.toml"),
    ("codex", true, "codex-windows.toml"),
    ("codex", false, "codex-one-table.toml"),
    ("gemini-cli", false, "gemini.json"),
    ("gemini-cli", true, "gemini-servers.json"),
];

/// What other servers' entries in those files keep to themselves.
const SECRETS: [&str; 4] = ["hunter2", "swordfish", "of another server", "NOT-TO-BE-SHOWN"];

fn data(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clients");
    fs::read(folder.join(name)).unwrap()
}

/// The home folder of the place's user, which is also the working directory.
fn user(place: &Place) -> PathBuf {
    place.home().parent().unwrap().join("user")
}

/// A place with a project to work in.
fn place() -> Place {
    let place = Place::new().with("XDG_CONFIG_HOME", "").with("PATH", "/usr/bin:/bin");
    fs::create_dir_all(user(&place).join("game/.git")).unwrap();
    place
}

/// Runs `connect` in the project.
#[track_caller]
fn connect(place: &Place, arguments: &[&str]) -> Ran {
    let line: Vec<&str> = ["connect"].iter().chain(arguments).copied().collect();
    let mut command = place.command(&line);
    let output = command.current_dir(user(place).join("game")).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn in_json(place: &Place, arguments: &[&str], code: i32) -> Value {
    let line: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
    connect(place, &line).document(code)
}

/// The file that a client's entry goes into.
#[track_caller]
fn file_of(place: &Place, arguments: &[&str]) -> PathBuf {
    let line: Vec<&str> = arguments.iter().chain(&["--print"]).copied().collect();
    PathBuf::from(in_json(place, &line, 0)["file"].as_str().unwrap())
}

/// Puts a file of a client where the client has it.
#[track_caller]
fn put(place: &Place, arguments: &[&str], content: &[u8]) -> PathBuf {
    let file = file_of(place, arguments);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    file
}

/// Names in a file's folder that begin like its own, without it.
fn beside(file: &Path) -> Vec<String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|it| it.contains(name) && it != name).collect()
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_layer-mcp")
}

#[test]
fn real_files_are_changed_in_one_place_and_changed_back_to_the_byte() {
    let mut reviewed = String::new();
    for (client, project, name) in FILES {
        let place = place();
        let scope = if project { "--project" } else { "--user" };
        let line = [client, scope];
        let before = data(name);
        let file = put(&place, &line, &before);

        let shown = connect(&place, &[client, scope, "--print"]);
        assert_eq!(shown.code, Some(0), "{name}: {shown:?}");
        assert_eq!((fs::read(&file).unwrap(), beside(&file).len()), (before.clone(), 0), "{name}");

        let said = in_json(&place, &line, 0);
        assert_eq!((&said["status"], &said["changed"]), (&json!("connected"), &json!(true)));
        let after = fs::read(&file).unwrap();
        let difference = said["difference"].as_str().unwrap().replace(program(), "/bin/layer-mcp");
        let carriage = after.windows(2).filter(|pair| pair == b"\r\n").count();
        let lines = after.iter().filter(|byte| **byte == b'\n').count();
        assert!(carriage == 0 || carriage == lines, "{name}: line ends are mixed");
        reviewed.push_str(&format!("== {client} {scope} {name}\n{difference}\n\n"));
        for secret in SECRETS {
            assert!(!shown.stdout.contains(secret) && !said.to_string().contains(secret), "{name}");
        }
        // Nothing of what was there is gone or has moved.
        let mut rest = after.iter();
        let ink = before.iter().filter(|byte| !byte.is_ascii_whitespace());
        assert!(ink.clone().all(|byte| rest.any(|found| found == byte)), "{name}");
        let [backup] = beside(&file).try_into().unwrap();
        assert_eq!(fs::read(file.with_file_name(&backup)).unwrap(), before, "{name}");
        assert_eq!(said["backup"], json!(file.with_file_name(&backup)));

        let again = in_json(&place, &line, 0);
        assert_eq!(again["status"], "already_connected", "{name}");
        assert_eq!((fs::read(&file).unwrap(), beside(&file).len()), (after, 1), "{name}");

        let gone = in_json(&place, &[client, scope, "--remove"], 0);
        assert_eq!(gone["status"], "removed", "{name}");
        assert_eq!(fs::read(&file).unwrap(), before, "{name}");
        let gone = in_json(&place, &[client, scope, "--remove"], 0);
        assert_eq!(gone["status"], "not_connected", "{name}");
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("connect", reviewed);
    });
}

#[test]
fn a_file_that_connect_made_goes_again() {
    for client in
        ["claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "zed", "codex", "gemini"]
    {
        let place = place();
        let file = file_of(&place, &[client]);
        assert!(!file.exists(), "{client}");
        assert_eq!(in_json(&place, &[client], 0)["status"], "connected");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(program()) && text.ends_with('\n'), "{client}: {text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{client}");
        }
        let ran = connect(&place, &[client, "--remove"]);
        assert!(ran.stdout.contains("is gone") && !file.exists(), "{client}: {ran:?}");
    }
}

#[test]
fn a_path_that_is_put_right_keeps_the_limits_that_stand_there() {
    let place = place();
    let old = json!({ "mcpServers": { "layer": {
        "command": "/gone/layer-mcp",
        "args": ["--read-only", "--budget-day", "5", "--sandbox", "serve"],
    } } });
    put(&place, &["cursor"], old.to_string().as_bytes());
    let said = in_json(&place, &["cursor"], 0);
    assert_eq!(said["status"], "updated", "{said}");
    assert_eq!(said["entry"]["args"], old["mcpServers"]["layer"]["args"], "{said}");
    assert_eq!(said["entry"]["command"], program());
    assert_eq!(in_json(&place, &["cursor"], 0)["status"], "already_connected");
    // Options that are given are those that count.
    let said = in_json(&place, &["cursor", "--confirm-above", "2"], 0);
    assert_eq!(said["entry"]["args"], json!(["--confirm-above", "2", "serve"]), "{said}");
}

#[test]
fn two_at_the_same_moment_lose_nothing() {
    let place = place();
    let file = put(&place, &["cursor"], br#"{"mcpServers":{}}"#);
    let names: Vec<String> = (0..8).map(|number| format!("n{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let place = &place;
            scope.spawn(move || {
                let ran = connect(place, &["cursor", "--yes", "--name", name]);
                assert_eq!(ran.code, Some(0), "{ran:?}");
            });
        }
    });
    let now: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(now["mcpServers"].as_object().unwrap().len(), names.len(), "{now}");
}

#[test]
fn options_for_the_server_stand_in_the_entry() {
    let place = place();
    let entry = |arguments: &[&str]| in_json(&place, arguments, 0)["entry"]["args"].clone();
    assert_eq!(entry(&["cursor", "--print"]), json!(["serve"]));
    let game = user(&place).join("game");
    let all = entry(&[
        "cursor",
        "--sandbox",
        "--output-dir",
        "art/../art",
        "--read-only",
        "--toolsets",
        "default,history",
        "--profile",
        "staging",
        "--budget-day",
        "50",
        "--confirm-above",
        "5.5",
    ]);
    let art = game.join("art/../art");
    assert_eq!(
        all,
        json!([
            "--sandbox",
            "--output-dir",
            art,
            "--read-only",
            "--toolsets",
            "default,history",
            "--profile",
            "staging",
            "--budget-day",
            "50",
            "--confirm-above",
            "5.5",
            "serve",
        ])
    );
    // What the client would start is a server.
    let listed = place.run(
        &all.as_array()
            .unwrap()
            .iter()
            .take(6)
            .map(|it| it.as_str().unwrap())
            .chain(["tools", "--json"])
            .collect::<Vec<_>>(),
    );
    assert!(listed.document(0).to_string().contains("list_history"));
    // Another command line, another entry; what the user put into it stays.
    let file = file_of(&place, &["cursor"]);
    let mut document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    document["mcpServers"]["layer"]["env"] = json!({ "LAYER_LOG": "debug" });
    fs::write(&file, document.to_string()).unwrap();
    assert_eq!(in_json(&place, &["cursor", "--home", "~/h"], 0)["status"], "updated");
    let document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let home = user(&place).join("h");
    assert_eq!(
        document["mcpServers"]["layer"],
        json!({
            "command": program(),
            "args": ["--home", home, "serve"],
            "env": { "LAYER_LOG": "debug" },
        })
    );
    for wrong in [
        &["cursor", "--budget-day", "lots"][..],
        &["cursor", "--profile", "../x"],
        &["cursor", "--name", "a.b"],
        &["cursor", "--name", ""],
        &["emacs"],
        &["claude"],
        &["windsurf", "--project"],
        &["claude-desktop", "--project"],
        &["cursor", "--user", "--project"],
    ] {
        let before = fs::read(&file).unwrap();
        let ran = connect(&place, wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{wrong:?}: {ran:?}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn another_programs_entry_is_replaced_only_on_request() {
    let place = place();
    let theirs = "{\n  \"mcpServers\": {\n    \"layer\": {\n      \"command\": \"node\",\n      \
                  \"env\": {\"KEY\": \"NOT-TO-BE-SHOWN\"}\n    }\n  }\n}\n";
    let file = put(&place, &["cursor"], theirs.as_bytes());
    let ran = connect(&place, &["cursor"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("`node`") && ran.stderr.contains("--yes"), "{ran:?}");
    assert_eq!(connect(&place, &["cursor", "--remove"]).code, Some(1));
    assert_eq!((fs::read_to_string(&file).unwrap(), beside(&file).len()), (theirs.to_owned(), 0));
    assert_eq!(in_json(&place, &["cursor", "--name", "layer-2"], 0)["status"], "connected");
    assert_eq!(
        in_json(&place, &["cursor", "--name", "layer-2", "--remove"], 0)["status"],
        "removed"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
    let ran = connect(&place, &["cursor", "--yes"]);
    assert!(ran.stdout.starts_with("Replaced"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("NOT-TO-BE-SHOWN"), "{ran:?}");
    let document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(document["mcpServers"]["layer"], json!({ "command": program(), "args": ["serve"] }));
}

#[test]
fn no_secret_is_written_or_shown() {
    let place =
        place().with("LAYER_API_TOKEN", TOKEN).with("LAYER_MCP_PASSWORD", "correct horse battery");
    for client in ["cursor", "codex", "claude-code"] {
        let file = file_of(&place, &[client]);
        let ran = connect(&place, &[client]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let text = fs::read_to_string(&file).unwrap();
        for secret in [TOKEN, "correct horse", "LAYER_API_TOKEN"] {
            assert!(!text.contains(secret) && !format!("{ran:?}").contains(secret), "{ran:?}");
        }
    }
    let open = json!({ "mcpServers": { "layer": {
        "command": "/old/layer-mcp", "args": ["serve"], "env": { "LAYER_API_TOKEN": TOKEN },
    } } });
    let file = put(&place, &["windsurf"], serde_json::to_string_pretty(&open).unwrap().as_bytes());
    for arguments in
        [&["windsurf", "--print"][..], &["windsurf"], &["windsurf"], &["windsurf", "--remove"]]
    {
        let ran = connect(&place, arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains("LIES OPEN") && ran.stderr.contains("setup"), "{ran:?}");
        assert!(!format!("{ran:?}").contains(&TOKEN[8..]), "{ran:?}");
    }
    assert!(!fs::read_to_string(file).unwrap().contains(TOKEN));
}

#[test]
fn what_can_not_be_changed_is_left_alone_and_told() {
    let place = place();
    let entry = ["\"command\"", "serve"];
    for (content, words) in [
        (&b"{\n  \"mcpServers\": {\n    oops\n  }\n}"[..], &["line 3, column 5", "by hand"][..]),
        (b"[1]", &["not an object"]),
        (b"{\"mcpServers\": 1}", &["`mcpServers` is not an object"]),
        (b"{\"mcpServers\": {}, \"mcpServers\": {}}", &["twice"]),
    ] {
        let file = put(&place, &["cursor"], content);
        let ran = connect(&place, &["cursor"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for word in words.iter().chain(&entry) {
            assert!(ran.stderr.contains(word), "`{word}`: {ran:?}");
        }
        assert_eq!((fs::read(&file).unwrap(), beside(&file).len()), (content.to_owned(), 0));
        assert_eq!(connect(&place, &["cursor", "--remove"]).code, Some(1));
        assert_eq!(in_json(&place, &["cursor"], 1)["status"], "error");
        fs::remove_file(file).unwrap();
    }
    let file = put(&place, &["cursor"], b"{\"a\": \"\xff\xfe\"}");
    assert!(connect(&place, &["cursor"]).stderr.contains("UTF-8"));
    assert_eq!(fs::read(&file).unwrap(), b"{\"a\": \"\xff\xfe\"}");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(connect(&place, &["cursor"]).stderr.contains("is no file"));
    // The folder can't be made: something else has its name.
    fs::write(user(&place).join(".codex"), "").unwrap();
    let ran = connect(&place, &["codex"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("nothing was changed"), "{ran:?}");
    assert_eq!(fs::read(user(&place).join(".codex")).unwrap(), b"");
}

#[cfg(unix)]
#[test]
fn links_and_modes_stay_and_pipes_are_no_files() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = place();
    let dotfiles = user(&place).join("dotfiles");
    fs::create_dir_all(&dotfiles).unwrap();
    let file = file_of(&place, &["zed"]);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let real = dotfiles.join("zed.json");
    fs::write(&real, data("zed.json")).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&real, &file).unwrap();
    assert_eq!(connect(&place, &["zed"]).code, Some(0));
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains(program()));
    for name in beside(&real).iter().map(String::as_str).chain(["zed.json"]) {
        let mode = fs::metadata(dotfiles.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    assert_eq!(connect(&place, &["zed", "--remove"]).code, Some(0));
    assert_eq!(fs::read(&real).unwrap(), data("zed.json"));

    // A link stays also where nothing but the entry was.
    let cursor = file_of(&place, &["cursor"]);
    fs::create_dir_all(cursor.parent().unwrap()).unwrap();
    symlink(dotfiles.join("cursor.json"), &cursor).unwrap();
    assert!(connect(&place, &["cursor"]).stderr.contains("link to something that does not exist"));
    fs::remove_file(&cursor).unwrap();
    assert_eq!(connect(&place, &["cursor"]).code, Some(0));
    fs::rename(&cursor, dotfiles.join("cursor.json")).unwrap();
    symlink(dotfiles.join("cursor.json"), &cursor).unwrap();
    assert_eq!(connect(&place, &["cursor", "--remove"]).code, Some(0));
    assert_eq!(fs::read_to_string(&cursor).unwrap(), "{}\n");

    let gemini = file_of(&place, &["gemini"]);
    fs::create_dir_all(gemini.parent().unwrap()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&gemini).status().unwrap();
    assert!(made.success());
    assert!(connect(&place, &["gemini"]).stderr.contains("is no file"));
    fs::remove_file(&gemini).unwrap();
    fs::write(&gemini, "{}").unwrap();
    fs::set_permissions(&gemini, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(connect(&place, &["gemini"]).stderr.contains("write-protected"));
    assert_eq!(fs::read(&gemini).unwrap(), b"{}");
}

#[test]
fn what_claude_mcp_add_wrote_is_known_and_goes() {
    let place = place();
    let game = user(&place).join("game");
    let layer = json!({
        "type": "stdio", "command": program(), "args": ["serve"], "env": {},
    });
    let mut state: Value = serde_json::from_slice(&data("claude-code.json")).unwrap();
    let key = game.to_str().unwrap();
    state["projects"][key] = json!({ "allowedTools": [], "mcpServers": { "layer": layer } });
    let text = serde_json::to_string_pretty(&state).unwrap();
    let file = put(&place, &["claude-code", "--user"], text.as_bytes());
    let said = in_json(&place, &["claude-code"], 0);
    assert_eq!((&said["status"], &said["scope"]), (&json!("already_connected"), &json!("local")));
    assert_eq!(in_json(&place, &["claude-code", "--sandbox"], 0)["status"], "updated");
    assert_eq!(in_json(&place, &["claude-code", "--remove"], 0)["status"], "removed");
    state["projects"][key]["mcpServers"] = json!({});
    let now: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(now, state);
    // The next one is for all projects.
    assert_eq!(in_json(&place, &["claude-code"], 0)["scope"], "user");
}

#[test]
fn all_clients_are_listed_with_what_comes_next() {
    let place = place();
    let shown = connect(&place, &[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("layer-mcp connect CLIENT"), "{shown:?}");
    put(&place, &["cursor"], b"{}");
    put(
        &place,
        &["windsurf"],
        b"{\"mcpServers\": {\"layer\": {\"command\": \"/gone/layer-mcp\"}}}",
    );
    put(&place, &["zed"], b"{\"context_servers\": {\"layer\": {\"command\": \"npx\"}}}");
    put(&place, &["vscode", "--project"], b"{oops");
    assert_eq!(connect(&place, &["codex"]).code, Some(0));
    let listed = in_json(&place, &[], 0);
    let status = |client: &str, scope: &str| {
        let mut lines = listed["clients"].as_array().unwrap().iter();
        let line = lines.find(|line| line["client"] == client && line["scope"] == scope).unwrap();
        (line["status"].as_str().unwrap().to_owned(), line["installed"].as_bool().unwrap())
    };
    for (client, scope, expected) in [
        ("claude-desktop", "user", ("not_connected", false)),
        ("cursor", "user", ("not_connected", true)),
        ("windsurf", "user", ("broken", true)),
        ("zed", "user", ("other", true)),
        ("codex", "user", ("connected", true)),
        ("vscode", "project", ("unreadable", false)),
    ] {
        let (status, installed) = status(client, scope);
        assert_eq!((status.as_str(), installed), expected, "{client}");
    }
    assert_eq!(listed["next_step"], "`layer-mcp connect cursor`");
    let shown = connect(&place, &[]).stdout;
    for words in ["not found here", "`npx`", "is gone", "VS Code, project", "next: "] {
        assert!(shown.contains(words), "`{words}`: {shown}");
    }
}
