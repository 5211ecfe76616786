//! What makes, changes and removes: styles, inferences, sessions.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::App;
use super::super::answers::ApiError;
use super::super::fields::Detail;
use super::super::inferences::{begin, choose, refuse_start, url, usable_file};
use super::super::request::{BodyForm, InferenceRequest};
use super::super::runs::{self, Column, Kind, Run, settle};
use super::super::state::{StoredFile, Workspace};
use super::super::styles::{InputFile, Style};
use super::assist::image_at;
use super::execute::Held;
use super::objects::{Session, inference, style};
use super::operations::Input;

/// The longest that `sync` keeps a request waiting.
const LONGEST_WAIT_MS: i64 = 60_000;

fn bad(detail: &[Detail]) -> ApiError {
    let lines: Vec<_> = detail.iter().map(Detail::line).collect();
    ApiError::bad_request(lines.join("; "))
}

pub(super) async fn create_style(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    let now = app.clock.now_ms();
    let text = |name: &str, usual: &str| input.text(name).unwrap_or(usual).to_owned();
    let mut new = Style {
        id: Style::new_id(),
        workspace: Some(workspace.id.clone()),
        name: text("name", "Untitled style"),
        description: input.text("description").map(str::to_owned),
        kind: text("type", "LAYER_TRAINED_CHECKPOINT"),
        content_type: text("contentType", "OTHER"),
        visibility: text("visibility", "PRIVATE"),
        modality: "IMAGE",
        created: now,
        updated: now,
        files: input_files(app, &workspace, input).await?,
        ..Style::default()
    };
    if input.flag("triggerTraining") {
        new.train(app, &workspace).await?;
    }
    new.keep(&app.store).await?;
    Ok(style(new))
}

async fn input_files(
    app: &App,
    workspace: &Workspace,
    input: &Input,
) -> Result<Vec<InputFile>, ApiError> {
    let mut files = Vec::new();
    for item in input.list("inputFiles") {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let id = text("fileId").unwrap_or_default();
        let file = usable_file(app, workspace, &id, "inputFiles").await?;
        if !file.content_type.starts_with("image/") {
            return Err(ApiError::bad_request(format!("inputFiles: file {id} is not an image")));
        }
        let (caption, caption_type) = (text("caption"), text("captionType"));
        files.push(InputFile { file: file.id, caption, caption_type });
    }
    Ok(files)
}

/// A style of a workspace; public ones and base models are nobody's to change.
async fn own_style(app: &App, input: &Input) -> Result<(Style, Workspace), ApiError> {
    let found = Style::find(app, input.id("styleId")).await?.filter(|found| !found.deleted);
    let found = found.ok_or_else(|| ApiError::not_found("Style"))?;
    let Some(id) = found.workspace.clone() else {
        let message = "This style does not belong to your workspace.";
        return Err(ApiError::new(axum::http::StatusCode::FORBIDDEN, "FORBIDDEN", message));
    };
    let workspace = super::super::api::workspace(app, &id).await?;
    Ok((found, workspace))
}

pub(super) async fn update_style(app: &App, input: &Input) -> Result<Held, ApiError> {
    let (mut known, workspace) = own_style(app, input).await?;
    if let Some(name) = input.text("name") {
        name.clone_into(&mut known.name);
    }
    if let Some(description) = input.text("description") {
        known.description = Some(description.to_owned());
    }
    if input.0.contains_key("inputFiles") {
        if known.run.is_some() {
            return Err(ApiError::bad_request("A style keeps the files it was trained from."));
        }
        known.files = input_files(app, &workspace, input).await?;
    }
    known.updated = app.clock.now_ms();
    known.keep(&app.store).await?;
    Ok(style(known))
}

pub(super) async fn delete_style(app: &App, input: &Input) -> Result<Held, ApiError> {
    let (mut known, _) = own_style(app, input).await?;
    if let Some(run) = &known.run {
        run.cancel(&app.store, app.clock.now_ms()).await?;
    }
    known.deleted = true;
    known.keep(&app.store).await?;
    Ok(Held::NULL)
}

/// Made while the request waits, and charged at once.
pub(super) async fn remove_background(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    let source = match (input.text("imageId"), input.text("imageUrl")) {
        (Some(id), _) => usable_file(app, &workspace, id, "imageId").await?,
        (None, Some(url)) => image_at(app, &workspace, url).await?,
        (None, None) => {
            return Err(ApiError::bad_request("imageUrl or imageId is needed."));
        }
    };
    refuse_start(app)?;
    let body = json!({
        "model_id": "birefnet-v2",
        "guidance_files": [{ "file_id": source.id, "type": "init_image" }],
    });
    let form = BodyForm { nested: false, estimate: false };
    let request = InferenceRequest::read(&body, form).map_err(|detail| bad(&detail))?;
    let chosen = choose(app, &workspace, &request.model_id).await?;
    let run = begin(app, &workspace, &chosen, &request, None).await?;
    let Some(run) = run.at_once(&app.store, app.clock.now_ms()).await? else {
        return Err(ApiError::internal());
    };
    let files = StoredFile::of_run(app.store.pool(), &run.id).await?;
    let file = files.first().ok_or_else(ApiError::internal)?;
    Ok(Held::plain(
        "RawImage",
        [("uri", url(app, file).into()), ("contentType", file.content_type.clone().into())],
    ))
}

pub(super) async fn create_inference(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    refuse_start(app)?;
    let empty = Map::new();
    let parameters = input.0.get("parameters").and_then(Value::as_object).unwrap_or(&empty);
    if !matches!(parameters.get("generationType").and_then(Value::as_str), None | Some("CREATE")) {
        return Err(ApiError::bad_request("Only the generation type CREATE can be run here."));
    }
    let styles = parameters.get("styles").and_then(Value::as_array);
    let first = styles.and_then(|styles| styles.first()).and_then(|style| style.get("id"));
    let Some(id) = first.and_then(Value::as_str) else {
        return Err(ApiError::bad_request("At least one style must be provided"));
    };
    let mut body = Map::from_iter([("model_id".to_owned(), id.into())]);
    for (from, to) in [
        ("prompt", "prompt"),
        ("seed", "seed"),
        ("width", "width"),
        ("height", "height"),
        ("batchSize", "batch_size"),
        ("numInferenceSteps", "num_inference_steps"),
        ("guidanceScale", "guidance_scale"),
        ("durationSeconds", "duration_seconds"),
        ("upscaleRatio", "upscale_ratio"),
        ("faceLimit", "face_limit"),
        ("speed", "speed"),
        ("transparency", "transparency"),
        ("tileability", "tileability"),
    ] {
        if let Some(value) = parameters.get(from) {
            body.insert(to.to_owned(), value.clone());
        }
    }
    if let Some(quality) = parameters.get("quality").and_then(Value::as_str) {
        body.insert("quality".to_owned(), quality.to_lowercase().into());
    }
    let mut files = Vec::new();
    for item in parameters.get("files").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let id = match text("fileId") {
            Some(id) => id.to_owned(),
            None => image_at(app, &workspace, text("url").unwrap_or_default()).await?.id,
        };
        let kind = text("type").unwrap_or_default().to_lowercase();
        files.push(json!({ "file_id": id, "type": kind, "weight": item.get("weight") }));
    }
    body.insert("guidance_files".to_owned(), files.into());
    let form = BodyForm { nested: false, estimate: false };
    let request = InferenceRequest::read(&body.into(), form).map_err(|detail| bad(&detail))?;
    let chosen = choose(app, &workspace, id).await?;
    let session = match input.text("sessionId") {
        Some(id) if runs::Session::exists(&app.store, &workspace.id, id).await? => {
            Some(runs::Session::Id(id.to_owned()))
        }
        Some(_) => return Err(ApiError::not_found("Session")),
        None => None,
    };
    let run = begin(app, &workspace, &chosen, &request, session).await?;
    if input.flag("sync") {
        let left = run.due.map_or(LONGEST_WAIT_MS, |due| due - app.clock.now_ms());
        let left = u64::try_from(left.min(LONGEST_WAIT_MS)).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(left)).await;
        settle(&app.store, app.clock.now_ms()).await?;
    }
    Ok(inference(run))
}

pub(super) async fn delete_inference(app: &App, input: &Input) -> Result<Held, ApiError> {
    let now = app.clock.now_ms();
    let runs = Run::all(&app.store, Column::Id, input.id("inferenceId"), now).await?;
    let run = runs.into_iter().find(|run| run.kind == Kind::Inference);
    let run = run.ok_or_else(|| ApiError::not_found("Inference"))?;
    run.cancel(&app.store, now).await?;
    run.delete(&app.store).await?;
    Ok(Held::NULL)
}

/// As over REST, a session of that name is found or made.
pub(super) async fn create_session(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    let now = app.clock.now_ms();
    let name = match input.text("name") {
        Some(name) => name.to_owned(),
        None => format!("Session {}", super::super::clock::date_time(now)),
    };
    let mut tx = app.store.write().await?;
    let id = runs::session(&mut tx, &workspace.id, &name, now).await?;
    tx.commit().await?;
    let session = Session::by(app, &id).await?;
    session.map(Session::held).ok_or_else(ApiError::internal)
}
