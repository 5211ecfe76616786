//! `doctor --client NAME`: how a client is served, why, and whether it is so, tried with a picture
//! of the sandbox in a session of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cli::Process;
use crate::cli::terminal::Terminal;
use crate::config::{Config, Flags, Surroundings};
use crate::mcp::clients::{ClientProfile, Dialect, PROFILES, Reason};
use crate::mcp::rehearsal::{Rehearsal, RehearsedCall, rehearse};
use crate::mcp::{Server, ServerSettings, Tools};
use crate::redact::clean_line;

/// The longest name that Gemini and OpenAI take for a tool.
const LONGEST_NAME: usize = 64;
/// All pictures of an answer together, as text.
const MOST_PICTURES: usize = 400_000;
/// How much faster than usual the sandbox of the trial works.
const SPEED: f64 = 200.0;

/// Something that was looked at.
struct Finding {
    what: &'static str,
    passed: bool,
    seen: String,
}

/// Shows a client's row and tries it. `name` may have a version behind an `@`.
pub(super) async fn run(
    process: &Process,
    name: &str,
    json: bool,
    terminal: &mut Terminal,
) -> ExitCode {
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (name, None),
    };
    let profile = ClientProfile::by_name(name, version);
    let findings = match tried(process, profile, name, version).await {
        Ok(session) => judge(profile, process.config.pictures, &session),
        Err(error) => vec![Finding { what: "session", passed: false, seen: error }],
    };
    let passed = findings.iter().all(|finding| finding.passed);
    let wait = process.config.max_wait.unwrap_or(profile.wait);
    let choices = choices(profile, wait.as_secs_f64(), process.config.pictures);
    let shown = if json {
        let choices: Vec<Value> = choices
            .iter()
            .map(|(name, value, reason)| {
                json!({
                    "choice": name,
                    "value": value,
                    "why": reason.map(|reason| reason.why),
                    "evidence": reason.map(|reason| reason.evidence.as_str()),
                })
            })
            .collect();
        let tried: Vec<Value> = findings
            .iter()
            .map(|it| json!({ "check": it.what, "passed": it.passed, "seen": it.seen }))
            .collect();
        terminal.print(json!({
            "client": profile.client,
            "slug": profile.slug,
            "choices": choices,
            "tried": tried,
            "passed": passed,
        }))
    } else {
        terminal.print(in_lines(profile, &choices, &findings).join("\n"))
    };
    if passed && shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is chosen for the client, in words, each with its reason.
fn choices(
    profile: &ClientProfile,
    wait: f64,
    pictures: bool,
) -> Vec<(&'static str, String, Option<&'static Reason>)> {
    let yes = |so: bool| if so { "yes" } else { "no" }.to_owned();
    let picture = match (profile.picture, pictures) {
        (_, false) => "none: switched off".to_owned(),
        (None, _) => "none".to_owned(),
        (Some(most), _) => format!("up to {} px and {} bytes", most.max_px, most.max_bytes),
    };
    let forms = if profile.forms { "as declared" } else { "never" }.to_owned();
    [
        ("picture", picture),
        ("picture_beside_data", yes(profile.picture_beside_data && pictures)),
        ("structured", yes(profile.structured)),
        ("repeats", yes(profile.repeats)),
        ("instructions", if profile.instructions { "all" } else { "one paragraph" }.to_owned()),
        ("links", yes(profile.links)),
        ("forms", forms),
        ("wait", format!("{wait} seconds")),
        ("dialect", profile.dialect.as_str().to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| {
        let reason = profile.reasons.iter().find(|reason| reason.choice == name);
        (name, value, reason.or_else(|| usual(name)))
    })
    .collect()
}

/// The reason of the careful choice.
fn usual(choice: &str) -> Option<&'static Reason> {
    let careful = PROFILES.last()?;
    careful.reasons.iter().find(|reason| reason.choice == choice)
}

fn in_lines(
    profile: &ClientProfile,
    choices: &[(&'static str, String, Option<&'static Reason>)],
    findings: &[Finding],
) -> Vec<String> {
    let mut lines = vec![format!("How {} is served:", profile.client)];
    for (name, value, reason) in choices {
        let why = reason.map_or_else(String::new, |reason| {
            format!("{} ({})", reason.why, reason.evidence.as_str())
        });
        lines.push(format!("  {name:<20} {value:<30} {why}").trim_end().to_owned());
    }
    lines.push("Tried in the sandbox, with a picture of 640 x 480 pixels:".to_owned());
    for Finding { what, passed, seen } in findings {
        let word = if *passed { "ok" } else { "failed" };
        lines.push(format!("  {word:<8} {what:<20} {}", clean_line(seen, 400)));
    }
    lines
}

/// A folder for the trial, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let name = format!("layer-mcp-doctor-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        std::fs::create_dir(path.join("project"))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a picture and looks at it, as this client.
async fn tried(
    process: &Process,
    profile: &ClientProfile,
    name: &str,
    version: Option<&str>,
) -> Result<Rehearsal, String> {
    let scratch = Scratch::new().map_err(|error| format!("no folder for the trial: {error}"))?;
    let trial = trial(process, &scratch.0);
    let runs = crate::cli::runs(&trial);
    let tools =
        Tools::new(runs.clone(), &crate::cli::tools::offered(&trial), trial.redactor.clone());
    let settings =
        ServerSettings { max_wait: process.config.max_wait, pictures: process.config.pictures };
    let server = Server::new(Arc::new(tools), settings);
    let calls: [RehearsedCall<'_>; 2] = [
        (
            "create_asset",
            |_| json!({ "prompt": "a test picture", "width": 640, "height": 480, "save_to": "test.png" }),
        ),
        ("view_asset", |_| json!({ "image": "test.png" })),
    ];
    let calls_itself = profile.calls_itself(name);
    let version = version.map_or_else(|| profile.first_version(), str::to_owned);
    let session = rehearse(server, (&calls_itself, &version), &calls).await;
    runs.shut_down(std::time::Duration::from_secs(2)).await;
    session.map_err(|error| error.to_string())
}

/// The process as it would be in the scratch folder, with the sandbox and none of the user's
/// limits.
fn trial(process: &Process, scratch: &Path) -> Process {
    let flags = Flags {
        sandbox: true,
        home: Some(scratch.join("home")),
        output_dir: Some(scratch.join("project")),
        ..Flags::default()
    };
    let nothing = |_: &str| None;
    let around = Surroundings { env: &nothing, all_env: Vec::new(), user_home: None, cwd: None };
    let mut config = Config::load(&flags, &around);
    config.sandbox_speed = SPEED;
    let audit = crate::audit::AuditTrail::new(
        config.audit_dir(),
        config.audit_days,
        process.redactor.clone(),
        jiff::Timestamp::now,
    );
    Process { config: Arc::new(config), audit, ..process.clone() }
}

fn judge(profile: &ClientProfile, pictures: bool, session: &Rehearsal) -> Vec<Finding> {
    let mut findings = vec![names(profile, &session.tools), schemas(profile, &session.tools)];
    let (Some(made), Some(shown)) = (session.answers.first(), session.answers.get(1)) else {
        findings.push(Finding { what: "session", passed: false, seen: "no answers".to_owned() });
        return findings;
    };
    let data = made.get("structuredContent");
    findings.push(Finding {
        what: "data",
        passed: data.is_some() == profile.structured
            && made.get("isError") != Some(&Value::Bool(true)),
        seen: format!("create_asset: {}", in_words(made)),
    });
    let beside = profile.picture_beside_data && pictures && profile.picture.is_some();
    findings.push(Finding {
        what: "picture_beside_data",
        passed: images(made).len() == usize::from(beside) && fit(profile, made),
        seen: format!("create_asset: {} picture(s) beside the data", images(made).len()),
    });
    let wanted = usize::from(pictures && profile.picture.is_some());
    findings.push(Finding {
        what: "picture",
        passed: images(shown).len() == wanted && fit(profile, shown),
        seen: format!("view_asset: {}", in_words(shown)),
    });
    let links = blocks(shown, "resource_link").len();
    findings.push(Finding {
        what: "links",
        passed: links == usize::from(profile.links),
        seen: format!("view_asset: {links} link(s)"),
    });
    findings
}

fn names(profile: &ClientProfile, tools: &[Value]) -> Finding {
    let name = |tool: &Value| {
        let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
        format!("{}{name}", profile.prefix)
    };
    let longest = tools.iter().map(name).max_by_key(String::len).unwrap_or_default();
    Finding {
        what: "names",
        passed: !longest.is_empty() && longest.len() <= LONGEST_NAME,
        seen: format!("{} tools; the longest name is {longest}", tools.len()),
    }
}

fn schemas(profile: &ClientProfile, tools: &[Value]) -> Finding {
    let sides = ["inputSchema", "outputSchema"];
    let schemas = tools.iter().flat_map(|tool| sides.iter().filter_map(|side| tool.get(side)));
    let refused: Vec<&str> = schemas.flat_map(|schema| keywords(schema, profile.dialect)).collect();
    let bytes: usize = tools.iter().map(|tool| tool.to_string().len()).sum();
    let largest = tools.iter().map(|tool| tool.to_string().len()).max().unwrap_or(0);
    Finding {
        what: "dialect",
        passed: refused.is_empty(),
        seen: match refused.as_slice() {
            [] => format!("{bytes} bytes of tools, {largest} at most; all of its dialect"),
            some => format!("schemas have what it refuses: {}", some.join(", ")),
        },
    }
}

/// The keywords of a schema that the dialect refuses.
fn keywords(schema: &Value, dialect: Dialect) -> Vec<&'static str> {
    let Some(fields) = schema.as_object() else { return Vec::new() };
    let mut found: Vec<&'static str> =
        dialect.refused().iter().copied().filter(|word| fields.contains_key(*word)).collect();
    let properties = fields.get("properties").and_then(Value::as_object);
    let below = properties.into_iter().flat_map(|it| it.values()).chain(fields.get("items"));
    found.extend(below.flat_map(|schema| keywords(schema, dialect)));
    found
}

fn blocks<'a>(answer: &'a Value, kind: &str) -> Vec<&'a Value> {
    let content = answer.get("content").and_then(Value::as_array);
    content.into_iter().flatten().filter(|it| it.get("type") == Some(&kind.into())).collect()
}

/// The pictures of an answer, as bytes and as they are written.
fn images(answer: &Value) -> Vec<(Vec<u8>, usize)> {
    blocks(answer, "image")
        .into_iter()
        .filter_map(|block| {
            let text = block.get("data").and_then(Value::as_str)?;
            Some((STANDARD.decode(text).ok()?, text.len()))
        })
        .collect()
}

/// Whether the pictures of an answer are as small as they must be, and are pictures.
fn fit(profile: &ClientProfile, answer: &Value) -> bool {
    let Some(most) = profile.picture else { return images(answer).is_empty() };
    let images = images(answer);
    let together: usize = images.iter().map(|(_, written)| written).sum();
    together <= MOST_PICTURES
        && images.iter().all(|(bytes, _)| {
            let size = image::ImageReader::new(std::io::Cursor::new(bytes))
                .with_guessed_format()
                .ok()
                .and_then(|reader| reader.into_dimensions().ok());
            bytes.len() <= most.max_bytes
                && size.is_some_and(|(width, height)| width.max(height) <= most.max_px)
        })
}

/// "structured content of 612 bytes, text of 612 bytes, image/png of 43582 bytes".
fn in_words(answer: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(data) = answer.get("structuredContent") {
        parts.push(format!("structured content of {} bytes", data.to_string().len()));
    }
    for block in answer.get("content").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        parts.push(match text("type") {
            "text" => format!("text of {} bytes", text("text").len()),
            "image" => format!("{} of {} bytes", text("mimeType"), text("data").len() / 4 * 3),
            "resource_link" => format!("link to {}", text("name")),
            other => other.to_owned(),
        });
    }
    parts.join(", ")
}
