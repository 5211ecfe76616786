//! Estimate, execute, poll and cancel an inference (Layer REST reference), and what runs of both
//! kinds share.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Json;
use serde_json::{Map, Value, json};

use super::answers::ApiError;
use super::api::{Answer, json_body, workspace};
use super::clock::date_time;
use super::faults::Fault;
use super::fields::Detail;
use super::media::text;
use super::models::{Modality, Model};
use super::money::CreativeUnits;
use super::plan::Plan;
use super::request::{BodyForm, InferenceRequest};
use super::runs::{Kind, NewRun, Outcome, Phase, Run, Session, Terms, settle};
use super::state::{StoredFile, Workspace};
use super::styles::Chosen;
use super::{App, styles};

pub(super) async fn estimate(
    State(app): State<Arc<App>>,
    Path(workspace_id): Path<String>,
    body: Bytes,
) -> Answer {
    let workspace = workspace(&app, &workspace_id).await?;
    refuse_request(&app)?;
    let (chosen, request) = read(&app, &workspace, &body, true).await?;
    let plan = Plan::estimate(chosen.model, &request)?;
    Ok(Json(Value::Object(priced(&app, plan.price, &workspace))))
}

/// The price with the three balance fields that stand beside it.
pub(super) fn priced(app: &App, price: CreativeUnits, workspace: &Workspace) -> Map<String, Value> {
    let rises = app.faults.strikes(Fault::EstimateRises);
    let price = if rises { price.with_half_more() } else { price };
    let left = workspace.available().minus(price);
    let mut answer = Map::from_iter([
        ("estimated_price_creative_units".to_owned(), price.json()),
        ("workspace_balance_creative_units".to_owned(), workspace.available().json()),
        ("estimated_remaining_balance_creative_units".to_owned(), left.json()),
        ("has_sufficient_creative_units".to_owned(), (left >= CreativeUnits::ZERO).into()),
    ]);
    if app.faults.strikes(Fault::StyleDegraded) {
        answer.insert("reference_sets_degraded".to_owned(), json!(["hero"]));
    }
    answer
}

pub(super) async fn execute(
    State(app): State<Arc<App>>,
    Path(workspace_id): Path<String>,
    body: Bytes,
) -> Answer {
    let workspace = workspace(&app, &workspace_id).await?;
    refuse_start(&app)?;
    let (chosen, request) = read(&app, &workspace, &body, false).await?;
    let session = request.session_name.clone().map(Session::Name);
    let run = begin(&app, &workspace, &chosen, &request, session).await?;
    Ok(Json(json!({
        "inference_id": run.id,
        "status": word(&app, &run, Phase::Running(0.0)),
        "poll_interval_seconds": poll_interval(&app, &run),
        "created_at": date_time(run.created),
        "estimated_price_creative_units": run.estimated.json(),
        "session_id": run.session,
        "normalized_parameters": run.normalized,
    })))
}

/// Plans what a request asks of a model, and starts it.
pub(super) async fn begin(
    app: &App,
    workspace: &Workspace,
    chosen: &Chosen,
    request: &InferenceRequest,
    session: Option<Session>,
) -> Result<Run, ApiError> {
    let model = chosen.model;
    let mut files = Vec::new();
    for guidance in &request.guidance_files {
        files.push(usable_file(app, workspace, &guidance.file_id, "guidance_files").await?);
    }
    if let Some(mask) = &request.mask {
        usable_file(app, workspace, mask, "mask").await?;
    }
    let plan = Plan::execute(model, request, &files)?;
    let slower = if request.guidance_files.is_empty() { 0 } else { 1_000 };
    let mut artifacts = plan.artifacts(model, request);
    for artifact in &mut artifacts {
        artifact.model.clone_from(&chosen.id);
    }
    let new = NewRun {
        workspace: workspace.id.clone(),
        kind: Kind::Inference,
        subject: chosen.id.clone(),
        video: model.modality == Modality::Video,
        artifacts,
        normalized: plan.normalized(),
        estimated: plan.price,
        price: plan.price,
        lasts_ms: Some(model.run_ms + slower),
        poll_ms: model.poll_ms,
        outcome: plan.outcome,
        session,
    };
    start(app, new).await
}

pub(super) async fn poll(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
) -> Answer {
    let run = find(&app, Kind::Inference, &workspace_id, &id, "Inference").await?;
    Ok(Json(described(&app, &run, "inference_id").await?.into()))
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path((workspace_id, id)): Path<(String, String)>,
) -> Answer {
    if !app.faults.strikes(Fault::CancelSupported) {
        return Err(ApiError::not_found("Path"));
    }
    let run = find(&app, Kind::Inference, &workspace_id, &id, "Inference").await?;
    run.cancel(&app.store, app.clock.now_ms()).await?;
    let run = find(&app, Kind::Inference, &workspace_id, &id, "Inference").await?;
    Ok(Json(described(&app, &run, "inference_id").await?.into()))
}

/// The run of a path, only in its own workspace.
pub(super) async fn find(
    app: &App,
    kind: Kind,
    workspace_id: &str,
    id: &str,
    what: &str,
) -> Result<Run, ApiError> {
    let workspace = workspace(app, workspace_id).await?;
    let now = app.clock.now_ms();
    let run = Run::find(&app.store, kind, &workspace.id, id, now).await?;
    run.ok_or_else(|| ApiError::not_found(what))
}

/// The fields that the status of a run has at each point of its life.
pub(super) async fn described(
    app: &App,
    run: &Run,
    id_field: &str,
) -> Result<Map<String, Value>, ApiError> {
    // It may have come due since it was looked up, and has its outputs from then on.
    let now = app.clock.now_ms();
    settle(&app.store, now).await?;
    let phase = run.phase(now);
    let mut body = Map::new();
    body.insert(id_field.to_owned(), run.id.clone().into());
    body.insert("status".to_owned(), word(app, run, phase).into());
    match phase {
        Phase::Running(_) => {
            body.insert("poll_interval_seconds".to_owned(), poll_interval(app, run));
        }
        Phase::Complete => {
            let (name, value) = outputs(app, run).await?;
            body.insert(name.to_owned(), value);
            body.insert("actual_price_creative_units".to_owned(), run.price.json());
            body.insert("completed_at".to_owned(), run.due.map(date_time).into());
        }
        Phase::Failed { code, message } => {
            body.insert("error".to_owned(), message.into());
            body.insert("error_code".to_owned(), code.into());
        }
        Phase::Cancelled => {}
    }
    Ok(body)
}

/// Starts a run as the faults in force will have it.
pub(super) async fn start(app: &App, mut new: NewRun) -> Result<Run, ApiError> {
    let strikes = |fault| app.faults.strikes(fault);
    let is_armed = |fault| app.faults.is_armed(fault);
    if strikes(Fault::RunFails) || is_armed(Fault::StatusFailure) || is_armed(Fault::StatusError) {
        new.outcome = Outcome::ContentPolicyViolation;
    }
    if strikes(Fault::RunCancelled)
        || is_armed(Fault::StatusCanceled)
        || is_armed(Fault::StatusDeleted)
    {
        new.outcome = Outcome::Cancelled;
    }
    if strikes(Fault::PriceAboveEstimate) {
        new.price = new.price.with_half_more();
    }
    if strikes(Fault::Straggler) {
        new.lasts_ms = new.lasts_ms.map(|ms| ms.saturating_mul(10));
    }
    if strikes(Fault::RunNeverEnds) {
        new.lasts_ms = None;
    }
    new.lasts_ms = new.lasts_ms.map(|ms| app.scaled_ms(ms));
    let terms = Terms {
        now_ms: app.clock.now_ms(),
        minute_ms: app.scaled_ms(60_000),
        may_overdraw: strikes(Fault::NegativeBalanceAllowed),
    };
    let run = Run::start(&app.store, new, terms).await?;
    if strikes(Fault::StartDroppedAfter) {
        return Err(ApiError::Dropped);
    }
    if strikes(Fault::ServerErrorAfterStart) {
        return Err(ApiError::internal());
    }
    Ok(run)
}

/// The faults that meet a start before anything happens.
pub(super) fn refuse_start(app: &App) -> Result<(), ApiError> {
    let strikes = |fault| app.faults.strikes(fault);
    if strikes(Fault::StartDropped) {
        return Err(ApiError::Dropped);
    }
    if strikes(Fault::RateLimited) {
        return Err(ApiError::rate_limited(Some(1)));
    }
    if strikes(Fault::RateLimitedNoHeader) {
        return Err(ApiError::rate_limited(None));
    }
    if strikes(Fault::ServerError) {
        return Err(ApiError::internal());
    }
    refuse_request(app)?;
    if strikes(Fault::FeatureDisabled) {
        return Err(ApiError::feature_disabled("image"));
    }
    if strikes(Fault::InsufficientBalance) {
        return Err(ApiError::insufficient_balance());
    }
    let after = [Fault::ServerErrorAfterStart, Fault::StartDroppedAfter];
    let shapes = [Fault::ErrorDetailString, Fault::ErrorGraphqlShape, Fault::ErrorHtml];
    if shapes.into_iter().any(|fault| app.faults.is_armed(fault))
        && !after.into_iter().any(|fault| app.faults.is_armed(fault))
    {
        return Err(ApiError::bad_gateway());
    }
    Ok(())
}

/// The faults that meet an estimate as well as a start.
pub(super) fn refuse_request(app: &App) -> Result<(), ApiError> {
    if app.faults.strikes(Fault::Validation) {
        let detail = Detail::new(
            &["body", "prompt"],
            "String should have at least 1 character",
            "string_too_short",
        );
        return Err(detail.into());
    }
    if app.faults.strikes(Fault::ModelNotFound) {
        return Err(ApiError::model_not_found("sandbox-fault"));
    }
    Ok(())
}

async fn read(
    app: &App,
    workspace: &Workspace,
    body: &Bytes,
    estimate: bool,
) -> Result<(Chosen, InferenceRequest), ApiError> {
    let form = BodyForm { nested: app.faults.strikes(Fault::NestedBody), estimate };
    let request = InferenceRequest::read(&json_body(body)?, form)?;
    let chosen = choose(app, workspace, &request.model_id).await?;
    Ok((chosen, request))
}

/// The model of an id, or the one behind the style of that id, when the workspace may use it.
pub(super) async fn choose(app: &App, workspace: &Workspace, id: &str) -> Result<Chosen, ApiError> {
    let chosen = match Model::find(id) {
        Some(model) => Chosen { model, id: model.id.to_owned() },
        None => styles::chosen(app, workspace, id).await?,
    };
    let model = chosen.model;
    if model.modality == Modality::ThreeD && !workspace.three_d {
        return Err(ApiError::feature_disabled(model.modality.word()));
    }
    Ok(chosen)
}

/// A file of this workspace whose bytes are there.
pub(super) async fn usable_file(
    app: &App,
    workspace: &Workspace,
    id: &str,
    field: &str,
) -> Result<StoredFile, ApiError> {
    let file = StoredFile::find(app.store.pool(), id).await?;
    let file = file.filter(|file| file.workspace == workspace.id);
    match file {
        Some(file) if file.ready => Ok(file),
        Some(_) => Err(Detail::value(field, format!("file {id} is not uploaded yet")).into()),
        None => Err(Detail::value(field, format!("file {id} was not found")).into()),
    }
}

/// How a status is spelled, by kind and by the faults in force.
fn word(app: &App, run: &Run, phase: Phase) -> String {
    let strikes = |fault| app.faults.strikes(fault);
    let plain = match (run.kind, phase) {
        (Kind::Inference, Phase::Running(_)) => "in_progress",
        (Kind::Inference, Phase::Complete) => "complete",
        (Kind::Inference, Phase::Failed { .. }) => "failed",
        (Kind::Workflow, Phase::Running(gone)) if gone < 0.2 => "pending",
        (Kind::Workflow, Phase::Running(_)) => "running",
        (Kind::Workflow, Phase::Complete) => "success",
        (Kind::Workflow, Phase::Failed { .. }) => "failure",
        (Kind::Training, Phase::Running(_)) => "building",
        (Kind::Training, Phase::Complete) => "complete",
        (Kind::Training, Phase::Failed { .. }) => "failed",
        (_, Phase::Cancelled) => "cancelled",
    };
    let other = match phase {
        Phase::Running(gone) if strikes(Fault::StatusOdd) => Some(match gone {
            0.0..0.34 => "queued",
            0.34..0.67 => "rendering",
            _ => "post_processing",
        }),
        Phase::Running(_) => app.faults.is_armed(Fault::StatusCompleted).then_some("IN_PROGRESS"),
        Phase::Complete if strikes(Fault::StatusCompleted) => Some("COMPLETED"),
        Phase::Complete if strikes(Fault::StatusSucceeded) => Some("succeeded"),
        Phase::Failed { .. } if strikes(Fault::StatusFailure) => Some("failure"),
        Phase::Failed { .. } if strikes(Fault::StatusError) => Some("error"),
        Phase::Cancelled if strikes(Fault::StatusCanceled) => Some("canceled"),
        Phase::Cancelled if strikes(Fault::StatusDeleted) => Some("deleted"),
        _ => None,
    };
    match other {
        Some(word) => word.to_owned(),
        None if strikes(Fault::StatusUpper) => plain.to_ascii_uppercase(),
        None => plain.to_owned(),
    }
}

/// The pause between polls: whole seconds where it is at least one, a fraction when the sandbox
/// runs faster than that.
fn poll_interval(app: &App, run: &Run) -> Value {
    let strikes = |fault| app.faults.strikes(fault);
    if strikes(Fault::NullPollInterval) {
        return Value::Null;
    }
    if strikes(Fault::ZeroPollInterval) {
        return 0.into();
    }
    if strikes(Fault::HugePollInterval) {
        return 86_400.into();
    }
    if strikes(Fault::NegativePollInterval) {
        return (-5).into();
    }
    let ms = app.scaled_ms(run.poll_ms).max(1);
    if ms >= 1_000 { ((ms + 500) / 1_000).into() } else { (ms as f64 / 1_000.0).into() }
}

/// The outputs of a completed run, and the field they come under.
async fn outputs(app: &App, run: &Run) -> Result<(&'static str, Value), ApiError> {
    let strikes = |fault| app.faults.strikes(fault);
    let files = StoredFile::of_run(app.store.pool(), &run.id).await?;
    if run.kind == Kind::Workflow {
        return Ok(("outputs", workflow_outputs(app, &files)));
    }
    let mut items: Vec<_> = files.iter().map(|file| output(app, file)).collect();
    let name = if strikes(Fault::OutputsUnderFiles) {
        "files"
    } else if strikes(Fault::OutputsUnderAssets) {
        "assets"
    } else if strikes(Fault::OutputsUnderResult) {
        "result"
    } else {
        "outputs"
    };
    if strikes(Fault::OutputSingleObject) && !items.is_empty() {
        return Ok((name, items.swap_remove(0)));
    }
    Ok((name, items.into()))
}

/// A list of named files or values, or by the name of the output.
fn workflow_outputs(app: &App, files: &[StoredFile]) -> Value {
    let words = |file: &StoredFile| match file.content_type.as_str() {
        "text/plain" => {
            let artifact = file.artifact.as_deref().and_then(|it| serde_json::from_str(it).ok());
            Some(artifact.as_ref().map(text).unwrap_or_default())
        }
        _ => None,
    };
    let by_name = |value: fn(&App, &StoredFile) -> Value| {
        let mut named = Map::new();
        for file in files {
            let name = file.label.clone().unwrap_or_default();
            match words(file) {
                Some(text) => named.insert(name, text.into()),
                None => {
                    let list = named.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        list.push(value(app, file));
                    }
                    None
                }
            };
        }
        Value::Object(named)
    };
    if app.faults.strikes(Fault::WorkflowOutputsObject) {
        return by_name(output);
    }
    if app.faults.strikes(Fault::WorkflowOutputsIds) {
        return by_name(|_, file| file.id.clone().into());
    }
    let item = |file: &StoredFile| match words(file) {
        Some(text) => json!({ "name": file.label, "value": text }),
        None => output(app, file),
    };
    files.iter().map(item).collect()
}

/// Where a file is fetched.
pub(super) fn url(app: &App, file: &StoredFile) -> String {
    let strikes = |fault| app.faults.strikes(fault);
    let path = format!("/workspaces/{}/files/{}/{}", file.workspace, file.id, file.name);
    if strikes(Fault::UrlFileScheme) {
        "file:///etc/passwd".to_owned()
    } else if strikes(Fault::UrlHttp) {
        format!("{}{path}", app.media_url.replacen("https:", "http:", 1))
    } else if strikes(Fault::UrlPrivateAddress) {
        format!("https://169.254.169.254{path}")
    } else if strikes(Fault::UrlForeignHost) {
        format!("https://media.app.layer.ai.example.com{path}")
    } else {
        format!("{}{path}", app.media_url)
    }
}

pub(super) fn output(app: &App, file: &StoredFile) -> Value {
    let url = url(app, file);
    let strikes = |fault| app.faults.strikes(fault);
    let field = if strikes(Fault::OutputDownloadUrl) { "download_url" } else { "url" };
    let mut item = Map::from_iter([
        ("file_id".to_owned(), file.id.clone().into()),
        (field.to_owned(), url.into()),
        ("content_type".to_owned(), file.content_type.clone().into()),
    ]);
    if let Some(label) = &file.label {
        item.insert("name".to_owned(), label.clone().into());
    }
    item.into()
}
