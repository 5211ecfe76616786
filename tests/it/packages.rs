//! What packages rely on: completions, manual pages, and settings as a desktop client fills them
//! in.

use std::collections::BTreeSet;
use std::path::Path;

use layer_mcp::config::names;
use serde_json::{Value, json};

use crate::client::{Place, is_report};

/// The commands that `--help` lists.
fn commands(place: &Place) -> BTreeSet<String> {
    let help = place.run(&["--help"]).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let words = listed.take_while(|line| !line.is_empty()).map(str::split_whitespace);
    let commands: BTreeSet<String> =
        words.filter_map(|mut words| words.next().map(str::to_owned)).collect();
    assert!(commands.contains("serve") && commands.contains("help"), "{help}");
    commands
}

#[test]
fn every_shell_is_told_what_it_can_complete() {
    let place = Place::new();
    let tools = place.run(&["--toolsets", "all", "tools", "--json"]).document(0);
    let tools = tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap());
    let faults = place.run(&["sandbox", "--list-faults"]).stdout;
    let faults = faults.lines().filter_map(|line| line.split_whitespace().next());
    let values: Vec<&str> = tools.chain(faults).collect();
    assert!(values.len() > 60, "{values:?}");
    let commands = commands(&place);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        let mut words: Vec<&str> = commands.iter().map(String::as_str).collect();
        // fish has flags without their dashes.
        words.extend(["sandbox", "output-dir", "no-wait"]);
        if ["bash", "zsh", "fish"].contains(&shell) {
            words.extend(&values);
        }
        let untold: Vec<_> = words.iter().filter(|word| !ran.stdout.contains(**word)).collect();
        assert!(untold.is_empty(), "{shell} is not told {untold:?}");
    }
    assert_eq!(place.run(&["completions", "tcsh"]).code, Some(2));
    assert_eq!(place.written(), Vec::<std::path::PathBuf>::new(), "nothing is left behind");
}

/// The script is sourced, and asked what a person would be offered.
#[cfg(target_os = "linux")]
#[test]
fn bash_completes_commands_flags_and_tools() {
    const ASK: &str = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
        eval \"$(complete -p layer-mcp | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p')\" layer-mcp \
        '\"${COMP_WORDS[COMP_CWORD]}\"' '\"${COMP_WORDS[COMP_CWORD - 1]}\"'; \
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let place = Place::new();
    let script = place.output().join("layer-mcp.bash");
    std::fs::write(&script, place.run(&["completions", "bash"]).stdout).unwrap();
    let offered = |words: &[&str]| {
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", ASK, "-", script.to_str().unwrap(), "layer-mcp"])
            .args(words)
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered(&["comp"]), ["completions"]);
    assert_eq!(offered(&["--sandbox", "--out"]), ["--output-dir"]);
    assert_eq!(offered(&["call", "create_a"]), ["create_asset"]);
    assert_eq!(offered(&["--sandbox", "call", "--no"]), ["--no-wait"]);
    assert_eq!(offered(&["credentials", "rot"]), ["rotate"]);
}

#[test]
fn a_wrong_tool_is_still_answered_in_json() {
    let report = Place::new().run(&["call", "no_such_tool"]).document(2);
    is_report(&report);
    assert!(report["message"].as_str().unwrap().contains("create_asset"), "{report}");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let place = Place::new();
    let ran = place.run(&["man"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("\n.TH LAYER-MCP 1 \"\" \"layer-mcp 0.1.0\" layer-mcp\n"));

    let folder = place.output().join("share/man1");
    let written = place.run(&["man", "--out", folder.to_str().unwrap()]);
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), ""), "{written:?}");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("layer-mcp.1").trim_end(), ran.stdout.trim_end());
    for command in commands(&place).iter().filter(|command| *command != "help") {
        let page = read(&format!("layer-mcp-{command}.1"));
        let title = format!("\n.TH LAYER-MCP-{} 1 ", command.to_uppercase());
        assert!(page.contains(&title), "{command}: {page}");
        assert!(ran.stdout.contains(&format!("layer\\-mcp\\-{command}(1)")), "{command}");
    }
    assert!(read("layer-mcp-credentials-rotate.1").contains("rotate"));

    let pages = || {
        let list = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut pages: Vec<_> =
            list.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        pages.sort();
        pages
    };
    let first = pages();
    assert_eq!(place.run(&["man", "--out", folder.to_str().unwrap()]).code, Some(0));
    assert_eq!(pages(), first, "the same again");
}

#[test]
fn pages_that_cannot_be_written_are_an_error() {
    let place = Place::new();
    let file = place.output().join("file");
    std::fs::write(&file, "").unwrap();
    let ran = place.run(&["man", "--out", file.join("man1").to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.starts_with("error: no pages can be written to "), "{ran:?}");
}

// ---- Settings, as clients fill them in ----

/// The answer to a call in this place, in whatever the settings say is there.
fn account(place: &Place, flags: &[&str]) -> Value {
    let ran = place.run(&[flags, &["call", "get_workspace_info"]].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn the_sandbox_is_switched_on_by_a_check_box_too() {
    for on in ["true", "1", "True"] {
        let answer = account(&Place::new().with(names::SANDBOX, on), &[]);
        assert_eq!(answer["balance_cu"], json!(500.0), "{on}: {answer}");
    }
    for off in ["false", "0", "", "${user_config.sandbox}"] {
        let place = Place::new().with(names::SANDBOX, off);
        assert_eq!(account(&place, &[])["code"], "credentials_missing", "{off}");
        assert_eq!(account(&place, &["--sandbox"])["balance_cu"], json!(500.0), "{off}");
    }
    // Neither may be guessed: the one spends, the other only seems to.
    let answer = account(&Place::new().with(names::SANDBOX, "maybe"), &[]);
    is_report(&answer);
    assert_eq!(answer["code"], "configuration", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("`LAYER_SANDBOX`"), "{answer}");
}

#[test]
fn a_field_that_was_left_empty_is_no_setting() {
    let settings = [
        names::TOKEN,
        names::WORKSPACE,
        names::BASE_URL,
        names::CA_BUNDLE,
        names::PROXY,
        names::ALLOWED_HOSTS,
        names::REFERENCE_HOSTS,
        names::HOME,
        names::DEVICE_KEY,
        names::CREDENTIALS,
        names::PASSWORD,
        names::PASSWORD_FILE,
        names::PASSWORD_COMMAND,
        names::OUTPUT_DIR,
        names::BUDGET_RUN,
        names::BUDGET_SESSION,
        names::BUDGET_DAY,
        names::BUDGET_PROJECT,
        names::CONFIRM_ABOVE,
        names::SAME_REQUEST,
        names::STARTS,
        names::RUNS_AT_ONCE,
        names::MAX_WAIT,
        names::PROFILE,
        names::AUDIT_DAYS,
        names::LOG,
        names::SANDBOX_SPEED,
    ];
    for left in ["", "  ", "${user_config.anything}"] {
        let place = settings.iter().fold(Place::new(), |place, name| place.with(name, left));
        let answer = account(&place, &["--sandbox"]);
        assert_eq!(answer["balance_cu"], json!(500.0), "`{left}`: {answer}");
        let written = answer["output_dir"].as_str().unwrap();
        assert!(Path::new(written).ends_with("user/Pictures/Layer"), "`{left}`: {answer}");
    }
}

/// Such as a default of `${HOME}/Pictures` in a client that fills in whole values alone.
#[test]
fn a_path_that_begins_with_a_placeholder_is_no_folder_of_that_name() {
    let place = Place::new().with(names::OUTPUT_DIR, "${HOME}/Pictures/Layer");
    let answer = account(&place, &["--sandbox"]);
    assert_eq!(answer["code"], "configuration", "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("`LAYER_OUTPUT_DIR`") && message.contains("placeholder"), "{message}");
}
