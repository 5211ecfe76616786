//! A small catalogue of workflows, and their runs (Layer REST reference, list workflows, execute
//! workflow, get workflow run).

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Json;
use serde_json::{Map, Value, json};

use super::App;
use super::answers::ApiError;
use super::api::{Answer, Page, json_body, workspace};
use super::clock::date_time;
use super::faults::Fault;
use super::fields::{Detail, Fields};
use super::inferences::{
    described, find, priced, refuse_request, refuse_start, start, usable_file,
};
use super::media::{Artifact, Make};
use super::money::CreativeUnits;
use super::runs::{Kind, NewRun, Outcome, Phase, Run, Session};
use super::state::Workspace;

/// When the workflows were made and published.
const PUBLISHED_MS: i64 = 1_780_000_000_000;
const RUN_MS: i64 = 6_000;
const POLL_MS: i64 = 2_000;

/// One workflow.
#[derive(Debug)]
struct Workflow {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    inputs: &'static [Input],
    output: &'static str,
    output_description: &'static str,
    steps: &'static [&'static str],
    makes: Make,
    unit: CreativeUnits,
}

/// One input of a workflow.
#[derive(Debug)]
struct Input {
    name: &'static str,
    display_name: &'static str,
    description: &'static str,
    takes: Takes,
    required: bool,
}

/// What an input takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Text,
    Choice(&'static [&'static str]),
    Count {
        max: i64,
        default: i64,
    },
    ImageFile,
    /// From one to so many.
    ImageFiles(usize),
    Flag,
}

const WORKFLOWS: &[Workflow] = &[
    Workflow {
        id: "77f10a00-0000-4000-8000-000000000001",
        name: "Icon set",
        description: "A set of item icons of one subject in one style, on transparent ground.",
        inputs: &[
            Input {
                name: "subject",
                display_name: "Subject",
                description: "What the icons show.",
                takes: Takes::Text,
                required: true,
            },
            Input {
                name: "style",
                display_name: "Style",
                description: "How they look.",
                takes: Takes::Choice(&["pixel", "painted", "flat"]),
                required: false,
            },
            Input {
                name: "count",
                display_name: "Number of icons",
                description: "How many icons the set has.",
                takes: Takes::Count { max: 12, default: 4 },
                required: false,
            },
        ],
        output: "icons",
        output_description: "The icons, 256 pixels square.",
        steps: &["Write prompts", "Generate icons", "Remove background"],
        makes: Make::Picture,
        unit: CreativeUnits::from_micros(300_000),
    },
    Workflow {
        id: "77f10a00-0000-4000-8000-000000000002",
        name: "Clean cut-out",
        description: "Takes the subject out of one image and leaves the rest transparent.",
        inputs: &[
            Input {
                name: "image",
                display_name: "Image",
                description: "The image to cut from.",
                takes: Takes::ImageFile,
                required: true,
            },
            Input {
                name: "note",
                display_name: "Note",
                description: "What to keep.",
                takes: Takes::Text,
                required: false,
            },
        ],
        output: "cutout",
        output_description: "The subject on transparent ground.",
        steps: &["Find subject", "Remove background"],
        makes: Make::CutOut,
        unit: CreativeUnits::from_micros(200_000),
    },
    Workflow {
        id: "77f10a00-0000-4000-8000-000000000003",
        name: "Lore writer",
        description: "Writes a few lines of lore for what some images show.",
        inputs: &[
            Input {
                name: "images",
                display_name: "Images",
                description: "What the lore is about.",
                takes: Takes::ImageFiles(4),
                required: true,
            },
            Input {
                name: "tone",
                display_name: "Tone",
                description: "How it is told.",
                takes: Takes::Choice(&["plain", "epic", "funny"]),
                required: false,
            },
        ],
        output: "lore",
        output_description: "The lines.",
        steps: &["Look at the images", "Write"],
        makes: Make::Words,
        unit: CreativeUnits::from_micros(50_000),
    },
    Workflow {
        id: "77f10a00-0000-4000-8000-000000000004",
        name: "Idle loop",
        description: "Brings one image to life for two seconds.",
        inputs: &[
            Input {
                name: "image",
                display_name: "Image",
                description: "The first frame.",
                takes: Takes::ImageFile,
                required: true,
            },
            Input {
                name: "loop",
                display_name: "Loop",
                description: "Whether it ends as it began.",
                takes: Takes::Flag,
                required: false,
            },
        ],
        output: "clip",
        output_description: "The clip.",
        steps: &["Animate"],
        makes: Make::Video,
        unit: CreativeUnits::from_micros(1_500_000),
    },
];

impl Workflow {
    fn find(id: &str) -> Result<&'static Self, ApiError> {
        WORKFLOWS
            .iter()
            .find(|workflow| workflow.id.eq_ignore_ascii_case(id))
            .ok_or_else(|| ApiError::not_found("Workflow"))
    }

    /// WorkflowSummary.
    fn summary(&self) -> Value {
        json!({
            "workflow_id": self.id,
            "name": self.name,
            "description": self.description,
            "created_at": date_time(PUBLISHED_MS),
            "inputs": self.inputs.iter().map(Input::json).collect::<Vec<_>>(),
            "outputs": [{
                "name": self.output,
                "type": self.kind(),
                "description": self.output_description,
                "value_schema": match self.makes {
                    Make::Words => json!({ "type": "string" }),
                    _ => json!({ "type": "array", "items": { "type": "string", "format": "uuid" } }),
                },
                "display_name": self.output,
            }],
            "modality": self.kind(),
            "published_at": date_time(PUBLISHED_MS),
        })
    }

    /// What comes out.
    const fn kind(&self) -> &'static str {
        match self.makes {
            Make::Words => "text",
            Make::Video => "video",
            _ => "image",
        }
    }

    /// What is made of the inputs, after they have been looked at.
    fn read(&self, inputs: &Map<String, Value>) -> Result<Order, ApiError> {
        let mut fields = Fields::new(inputs, &["body", "inputs"]);
        let mut order = Order { prompt: String::new(), count: 1, images: Vec::new() };
        for input in self.inputs {
            if input.required {
                fields.required(input.name, fields.raw(input.name));
            }
            match input.takes {
                Takes::Text => {
                    order.add(fields.text(input.name, 100_000));
                }
                Takes::Choice(choices) => order.add(fields.choice(input.name, choices)),
                Takes::Count { max, default } => {
                    let count = fields.whole(input.name, 1, max).unwrap_or(default);
                    order.count = u32::try_from(count).unwrap_or(1);
                }
                Takes::ImageFile => order.images.extend(fields.text(input.name, 64)),
                Takes::ImageFiles(most) => order.images = fields.texts(input.name, most),
                Takes::Flag => {
                    fields.flag(input.name);
                }
            }
        }
        for name in inputs.keys() {
            if !self.inputs.iter().any(|input| input.name == name) {
                fields.complain(name, "Extra inputs are not permitted", "extra_forbidden");
            }
        }
        if fields.complaints.is_empty() { Ok(order) } else { Err(fields.complaints.into()) }
    }

    fn artifacts(&self, order: &Order, size: (u32, u32)) -> Vec<Artifact> {
        let seed = i64::from(rand::random::<u32>());
        (0..order.count)
            .map(|index| Artifact {
                makes: self.makes,
                model: self.id.to_owned(),
                prompt: order.prompt.clone(),
                seed,
                index,
                content_type: match self.makes {
                    Make::Words => "text/plain",
                    Make::Video => "video/mp4",
                    _ => "image/png",
                }
                .to_owned(),
                width: size.0,
                height: size.1,
                seconds: 2.0,
                fps: 8,
                transparent: true,
                sources: order.images.clone(),
                label: Some(self.output.to_owned()),
                ..Artifact::default()
            })
            .collect()
    }

    fn steps(&self, run: &Run, phase: Phase) -> Value {
        let whole = self.steps.len() as f64;
        let lasts = run.due.map_or(RUN_MS, |due| due - run.created) as f64;
        let steps = (0_u32..).zip(self.steps).map(|(position, name)| {
            let position = f64::from(position);
            let at = |position: f64| {
                date_time(run.created.saturating_add((lasts * position / whole) as i64))
            };
            let status = match phase {
                Phase::Running(gone) if gone * whole >= position + 1.0 => "success",
                Phase::Running(gone) if gone * whole >= position => "running",
                Phase::Running(_) => "pending",
                Phase::Complete => "success",
                Phase::Failed { .. } if position == 0.0 => "failure",
                Phase::Failed { .. } | Phase::Cancelled => "cancelled",
            };
            let begun = matches!(status, "success" | "running" | "failure");
            json!({
                "name": name,
                "status": status,
                "started_at": begun.then(|| at(position)),
                "completed_at": (status == "success").then(|| at(position + 1.0)),
            })
        });
        steps.collect()
    }
}

impl Input {
    fn json(&self) -> Value {
        let (kind, schema, default) = match self.takes {
            Takes::Text => ("text", json!({ "type": "string" }), Value::Null),
            Takes::Choice(choices) => {
                ("text", json!({ "type": "string", "enum": choices }), json!(choices.first()))
            }
            Takes::Count { max, default } => {
                let schema = json!({ "type": "integer", "minimum": 1, "maximum": max });
                ("number", schema, default.into())
            }
            Takes::ImageFile => {
                ("image", json!({ "type": "string", "format": "uuid" }), Value::Null)
            }
            Takes::ImageFiles(most) => {
                let each = json!({ "type": "string", "format": "uuid" });
                let schema =
                    json!({ "type": "array", "items": each, "minItems": 1, "maxItems": most });
                ("image", schema, Value::Null)
            }
            Takes::Flag => ("boolean", json!({ "type": "boolean" }), false.into()),
        };
        json!({
            "name": self.name,
            "type": kind,
            "required": self.required,
            "description": self.description,
            "value_schema": schema,
            "display_name": self.display_name,
            "default": default,
        })
    }
}

/// What a run of a workflow shall make.
#[derive(Debug)]
struct Order {
    prompt: String,
    count: u32,
    images: Vec<String>,
}

impl Order {
    fn add(&mut self, text: Option<String>) {
        if let Some(text) = text {
            if !self.prompt.is_empty() {
                self.prompt.push_str(", ");
            }
            self.prompt.push_str(&text);
        }
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(workspace_id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let page = Page::read(&query)?;
    workspace(&app, &workspace_id).await?;
    let search = query.get("search").map(|text| text.to_lowercase()).unwrap_or_default();
    let found = |workflow: &&Workflow| {
        let text = format!("{} {}", workflow.name, workflow.description).to_lowercase();
        search.split_whitespace().all(|word| text.contains(word))
    };
    let items = WORKFLOWS.iter().filter(found).map(Workflow::summary).collect();
    Ok(page.of(&app, "workflows", items))
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
) -> Answer {
    workspace(&app, &workspace_id).await?;
    Ok(Json(Workflow::find(&id)?.summary()))
}

pub(super) async fn estimate(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    if app.faults.strikes(Fault::WorkflowPathsOther) {
        return Err(ApiError::not_found("Path"));
    }
    priced_order(app, workspace_id, id, body).await
}

/// The price, at the path of the fault `workflow_paths_other`.
pub(super) async fn estimate_elsewhere(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    if !app.faults.strikes(Fault::WorkflowPathsOther) {
        return Err(ApiError::not_found("Path"));
    }
    priced_order(app, workspace_id, id, body).await
}

async fn priced_order(app: Arc<App>, workspace_id: String, id: String, body: Bytes) -> Answer {
    let workspace = workspace(&app, &workspace_id).await?;
    refuse_request(&app)?;
    let workflow = Workflow::find(&id)?;
    let order = workflow.read(&inputs(&json_body(&body)?)?)?;
    let mut answer = priced(&app, workflow.unit.times(order.count), &workspace);
    let counts = json!({ workflow.output: order.count });
    answer.insert("expected_output_counts".to_owned(), counts);
    Ok(Json(answer.into()))
}

pub(super) async fn execute(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    if app.faults.strikes(Fault::WorkflowPathsOther) {
        return Err(ApiError::not_found("Path"));
    }
    started(app, workspace_id, id, body).await
}

/// The start, at the path of the fault `workflow_paths_other`.
pub(super) async fn execute_elsewhere(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    if !app.faults.strikes(Fault::WorkflowPathsOther) {
        return Err(ApiError::not_found("Path"));
    }
    started(app, workspace_id, id, body).await
}

async fn started(app: Arc<App>, workspace_id: String, id: String, body: Bytes) -> Answer {
    let workspace = workspace(&app, &workspace_id).await?;
    refuse_start(&app)?;
    let workflow = Workflow::find(&id)?;
    let body = json_body(&body)?;
    let order = workflow.read(&inputs(&body)?)?;
    let session = session(&app, &workspace, &body).await?;
    let size = image_size(&app, &workspace, &order).await?;
    let price = workflow.unit.times(order.count);
    let new = NewRun {
        workspace: workspace.id,
        kind: Kind::Workflow,
        subject: workflow.id.to_owned(),
        video: workflow.makes == Make::Video,
        artifacts: workflow.artifacts(&order, size),
        normalized: Value::Null,
        estimated: price,
        price,
        lasts_ms: Some(RUN_MS),
        poll_ms: POLL_MS,
        outcome: Outcome::Complete,
        session,
    };
    let run = start(&app, new).await?;
    let mut answer = described(&app, &run, "run_id").await?;
    answer.insert("estimated_price_creative_units".to_owned(), run.estimated.json());
    answer.insert("created_at".to_owned(), date_time(run.created).into());
    answer.insert("session_id".to_owned(), run.session.into());
    Ok(Json(answer.into()))
}

pub(super) async fn poll(
    State(app): State<Arc<App>>,
    Path((workspace_id, workflow_id, id)): Path<(String, String, String)>,
) -> Answer {
    let run = run_of(&app, &workspace_id, &workflow_id, &id).await?;
    told(&app, &run).await
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path((workspace_id, workflow_id, id)): Path<(String, String, String)>,
) -> Answer {
    if !app.faults.strikes(Fault::CancelSupported) {
        return Err(ApiError::not_found("Path"));
    }
    let run = run_of(&app, &workspace_id, &workflow_id, &id).await?;
    run.cancel(&app.store, app.clock.now_ms()).await?;
    let run = run_of(&app, &workspace_id, &workflow_id, &id).await?;
    told(&app, &run).await
}

async fn told(app: &App, run: &Run) -> Answer {
    let mut answer = described(app, run, "run_id").await?;
    let steps = Workflow::find(&run.subject)?.steps(run, run.phase(app.clock.now_ms()));
    answer.insert("steps".to_owned(), steps);
    answer.insert("estimated_price_creative_units".to_owned(), run.estimated.json());
    Ok(Json(answer.into()))
}

async fn run_of(
    app: &App,
    workspace_id: &str,
    workflow_id: &str,
    id: &str,
) -> Result<Run, ApiError> {
    let workflow = Workflow::find(workflow_id)?;
    let run = find(app, Kind::Workflow, workspace_id, id, "Workflow run").await?;
    if run.subject == workflow.id { Ok(run) } else { Err(ApiError::not_found("Workflow run")) }
}

fn inputs(body: &Value) -> Result<Map<String, Value>, ApiError> {
    match body.get("inputs") {
        Some(Value::Object(inputs)) => Ok(inputs.clone()),
        Some(_) => {
            let msg = "Input should be a valid dictionary";
            Err(Detail::new(&["body", "inputs"], msg, "dict_type").into())
        }
        None => Err(Detail::new(&["body", "inputs"], "Field required", "missing").into()),
    }
}

/// The session that a body names: an id, of a session that exists, wins over a name.
async fn session(
    app: &App,
    workspace: &Workspace,
    body: &Value,
) -> Result<Option<Session>, ApiError> {
    let empty = Map::new();
    let mut fields = Fields::new(body.as_object().unwrap_or(&empty), &["body"]);
    let id = fields.text("session_id", 64);
    let name = fields.text("session_name", 255);
    if !fields.complaints.is_empty() {
        return Err(fields.complaints.into());
    }
    let Some(id) = id else {
        return Ok(name.map(Session::Name));
    };
    if Session::exists(&app.store, &workspace.id, &id).await? {
        Ok(Some(Session::Id(id)))
    } else {
        Err(ApiError::not_found("Session"))
    }
}

/// The size of what comes out: the input's, or that of an icon.
async fn image_size(
    app: &App,
    workspace: &Workspace,
    order: &Order,
) -> Result<(u32, u32), ApiError> {
    let mut size = None;
    for id in &order.images {
        let file = usable_file(app, workspace, id, "inputs").await?;
        if !file.content_type.starts_with("image/") {
            return Err(Detail::value("inputs", format!("file {id} is not an image")).into());
        }
        size = size.or(file.size);
    }
    Ok(size.unwrap_or((256, 256)))
}
