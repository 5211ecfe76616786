//! Homes inside projects: what this user set up counts, what came with the project does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::support::{Outcome, Running, TestEnv, picture};

/// A world in which the home is found as on a user's machine.
fn world() -> TestEnv {
    let mut env = TestEnv::new();
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID").unset("LAYER_MCP_HOME");
    env
}

fn setup(env: &TestEnv, more: &[&str]) -> Outcome {
    let workspace = env.sandbox().workspace_id().to_owned();
    let arguments = [&["setup", "--yes", "--workspace", &workspace][..], more].concat();
    env.run_with_input(&arguments, env.sandbox().token())
}

fn project_home(env: &TestEnv) -> PathBuf {
    env.project().join(".layer-mcp")
}

fn doctor(env: &TestEnv) -> String {
    env.run(&["doctor"]).stdout
}

#[test]
fn a_project_that_was_set_up_has_its_own_token_and_nothing_else() {
    let env = world();
    let done = setup(&env, &["--project"]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.stdout.contains("Tried: a server that a client starts"), "{done:#?}");
    assert!(project_home(&env).join("secure/credentials.enc").is_file());
    assert_eq!(fs::read_to_string(project_home(&env).join(".gitignore")).unwrap(), "*\n");
    let list = env.path("user/.local/share/layer-mcp/trusted-homes");
    assert_eq!(fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o600);
    // Setting it up again lists it once.
    assert_eq!(setup(&env, &["--project"]).code, Some(0));
    assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), 1);
    let _ = env.call("create_asset", &picture("a gate")).complete();
    // Journal, log and audit trail are the user's, so that no project can reset a day's spend.
    for name in ["journal.db", "logs", "audit"] {
        assert!(!project_home(&env).join(name).exists(), "{name}");
        assert!(env.path("user/.layer-mcp").join(name).exists(), "{name}");
    }
    assert!(doctor(&env).contains("holds the token of this project"));
    // Below the project it is found as well.
    let below = env.project().join("art/sprites");
    fs::create_dir_all(&below).unwrap();
    let mut command = env.command(&["credentials", "status"]);
    let ran = command.current_dir(below).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn what_came_with_the_project_leads_nothing_astray_when_it_is_set_up() {
    // A link in the home's place would take the store elsewhere.
    let env = world();
    let elsewhere = env.path("elsewhere");
    fs::create_dir_all(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, project_home(&env)).unwrap();
    let refused = setup(&env, &["--project"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("is a link"), "{refused:#?}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    for (link, to) in [("profiles", "../elsewhere"), ("profiles/staging", "../..")] {
        let env = world();
        let link = project_home(&env).join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::create_dir_all(env.project().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(to, &link).unwrap();
        fs::write(env.project().join(".gitignore"), "target/\n").unwrap();
        let refused = setup(&env, &["--project", "--profile", "staging"]);
        assert_eq!(refused.code, Some(2), "{refused:#?}");
        assert!(refused.stderr.contains("is a link"), "{refused:#?}");
        assert_eq!(fs::read_to_string(env.project().join(".gitignore")).unwrap(), "target/\n");
        assert!(!env.project().join("secure").exists());
    }
    // A `.gitignore` that lets the store into the repository, and settings.
    for (planted, kept) in [
        ("*\n!*\n", false),
        ("*\n!secure/\n", false),
        ("node_modules\n", false),
        ("", false),
        ("*\n!.gitignore\n!/config.toml\n", true),
    ] {
        let env = world();
        let home = project_home(&env);
        fs::create_dir(&home).unwrap();
        fs::write(home.join(".gitignore"), planted).unwrap();
        fs::write(home.join("config.toml"), "max_runs = 1\n").unwrap();
        let done = setup(&env, &["--project"]);
        assert_eq!(done.code, Some(0), "{done:#?}");
        assert!(done.stderr.contains("config.toml` was there before"), "{done:#?}");
        let now = fs::read_to_string(home.join(".gitignore")).unwrap();
        assert_eq!(now, if kept { planted } else { "*\n" });
        assert!(!setup(&env, &["--project"]).stderr.contains("was there before"));
    }
    let env = world();
    fs::create_dir(project_home(&env)).unwrap();
    fs::write(env.path("rules"), "*\n").unwrap();
    let ignore = project_home(&env).join(".gitignore");
    std::os::unix::fs::symlink(env.path("rules"), &ignore).unwrap();
    assert_eq!(setup(&env, &["--project"]).code, Some(0));
    assert!(fs::symlink_metadata(&ignore).unwrap().is_file());
}

/// What is said to be trusted is, whoever else adds to the list at the same moment.
#[test]
fn projects_that_are_set_up_at_the_same_moment_are_all_trusted() {
    let env = world();
    let token = env.sandbox().token().to_owned();
    let projects: Vec<PathBuf> = (0..6).map(|number| env.path(&format!("p{number}"))).collect();
    let running: Vec<Running> = projects
        .iter()
        .map(|project| {
            fs::create_dir(project).unwrap();
            let more = ["--offline", "--workspace", "w", "--yes"];
            let mut command = env.command(&[&["setup", "--project"][..], &more].concat());
            command.current_dir(project);
            Running::start_with_input(command, &token)
        })
        .collect();
    for one in running {
        let outcome = one.finish();
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    }
    let list = env.path("user/.local/share/layer-mcp/trusted-homes");
    assert_eq!(fs::read_to_string(list).unwrap().lines().count(), projects.len());
}

#[test]
fn a_home_that_came_with_the_project_is_ignored_and_named() {
    let env = world();
    let planted = project_home(&env);
    // A whole store of somebody else, with tight modes, as an archive can carry them.
    let other = world();
    assert_eq!(setup(&other, &["--project"]).code, Some(0));
    let copy = |from: PathBuf, to: PathBuf| {
        fs::create_dir_all(&to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    copy(project_home(&other).join("secure"), planted.join("secure"));
    let evil = "api_base_url = \"https://evil.example\"\nconfirm_above_cu = 100000.0\n";
    fs::write(planted.join("config.toml"), evil).unwrap();
    let error = env.call("get_workspace_info", &json!({})).setup_error("credentials_missing");
    let _ = error.says("not_charged", false);
    assert!(doctor(&env).contains("you did not set it up"), "{}", doctor(&env));
    // With the user's own token the user's own home serves.
    assert_eq!(setup(&env, &[]).code, Some(0));
    assert!(env.path("user/.layer-mcp/secure/key.bin").is_file());
    let _ = env.call("get_workspace_info", &json!({})).done();
    // A list that others can write to, or a link, trusts nothing.
    let list = env.path("user/.local/share/layer-mcp/trusted-homes");
    assert_eq!(setup(&env, &["--project"]).code, Some(0));
    assert!(doctor(&env).contains("holds the token of this project"));
    fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(doctor(&env).contains("you did not set it up"));
    fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).unwrap();
    // A folder that was put in its place is another folder.
    fs::rename(&planted, env.project().join("away")).unwrap();
    copy(env.project().join("away/secure"), planted.join("secure"));
    assert!(doctor(&env).contains("you did not set it up"));
}

#[test]
fn a_trusted_project_can_tighten_and_never_loosen_or_lead_away() {
    let env = world();
    assert_eq!(setup(&env, &["--project"]).code, Some(0));
    let file = project_home(&env).join("config.toml");
    let user = env.path("user/.layer-mcp/config.toml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    fs::write(&user, "budget_run_cu = 0.001\n").unwrap();
    // Not higher than the user's.
    fs::write(&file, "budget_run_cu = 1000.0\n").unwrap();
    let _ = env.call("create_asset", &picture("a cave")).error("budget");
    // Lower is allowed.
    fs::write(&user, "budget_run_cu = 1000.0\n").unwrap();
    fs::write(&file, "budget_run_cu = 0.001\n").unwrap();
    let _ = env.call("create_asset", &picture("a cave")).error("budget");
    // What leads token, files or secrets away is ignored by name.
    for (key, value) in [
        ("api_base_url", "\"https://evil.example\""),
        ("allowed_hosts", "[\"evil.example\"]"),
        ("reference_hosts", "[\"evil.example\"]"),
        ("ca_bundle", "\"/tmp/evil.pem\""),
        ("proxy", "\"http://evil.example:8080\""),
        ("device_key", "\"/tmp/key\""),
        ("password_file", "\"/tmp/password\""),
        ("password_command", "\"touch /tmp/evil\""),
        ("log", "\"off\""),
        ("audit_days", "1"),
        ("nonsense", "1"),
    ] {
        fs::write(&file, format!("{key} = {value}\n")).unwrap();
        let said = doctor(&env);
        assert!(said.contains(&format!("a project may not set `{key}`")), "{said}");
        let _ = env.call("get_workspace_info", &json!({})).done();
    }
}

#[test]
fn the_output_folder_of_a_project_stays_inside_it() {
    let mut env = world();
    env.unset("LAYER_OUTPUT_DIR");
    assert_eq!(setup(&env, &["--project"]).code, Some(0));
    let file = project_home(&env).join("config.toml");
    let outside = env.path("outside");
    std::os::unix::fs::symlink(&outside, env.project().join("link")).unwrap();
    for wish in ["../outside", "/tmp", "link", "link/deeper", "a/../../outside"] {
        fs::write(&file, format!("output_dir = \"{wish}\"\n")).unwrap();
        let said = doctor(&env);
        assert!(said.contains("leads out of the project"), "{wish}: {said}");
    }
    fs::write(&file, "output_dir = \"art\"\n").unwrap();
    let job = env.call("create_asset", &picture("a well")).complete();
    assert!(job.path().starts_with(env.project().canonicalize().unwrap().join("art")));
}

#[test]
fn there_is_no_project_in_the_home_folder_or_at_the_root() {
    let env = world();
    for folder in [PathBuf::from("/"), env.path("user"), env.path("")] {
        let mut command = env.command(&["setup", "--project", "--yes", "--offline"]);
        let ran = command.current_dir(&folder).output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "{}: {ran:?}", folder.display());
    }
    assert!(!env.path("user/.layer-mcp").exists());
}
