//! The routes: workspaces, models, inferences, workflows and upload URLs (Layer REST reference),
//! and beside them GraphQL. Paths that the reference does not have answer 404.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Map, Value, json};

use super::answers::{ApiError, Shape};
use super::catalogue::CATALOGUE;
use super::clock::date_time;
use super::faults::Fault;
use super::fields::{Detail, Fields};
use super::models::{Model, ModelForm};
use super::runs::settle;
use super::state::Workspace;
use super::{App, graphql, inferences, server, uploads, workflows};

/// The answer of a handler.
pub(super) type Answer = Result<Json<Value>, ApiError>;

/// The routes below `/api/v1`, and the GraphQL endpoint at its two addresses.
pub(super) fn router(app: Arc<App>) -> Router {
    let workspace = Router::new()
        .route("/", get(one_workspace))
        .route("/models", get(models))
        .route("/models/{model_id}", get(one_model))
        .route("/inferences/estimate", post(inferences::estimate))
        .route("/inferences", post(inferences::execute))
        .route("/inferences/{inference_id}", get(inferences::poll))
        .route("/inferences/{inference_id}/cancel", post(inferences::cancel))
        .route("/workflows", get(workflows::list))
        .route("/workflows/{workflow_id}", get(workflows::one))
        .route("/workflows/{workflow_id}/estimate", post(workflows::estimate))
        .route("/workflows/{workflow_id}/runs", post(workflows::execute))
        .route("/workflows/{workflow_id}/runs/estimate", post(workflows::estimate_elsewhere))
        .route("/workflows/{workflow_id}/execute", post(workflows::execute_elsewhere))
        .route("/workflows/{workflow_id}/runs/{run_id}", get(workflows::poll))
        .route("/workflows/{workflow_id}/runs/{run_id}/cancel", post(workflows::cancel))
        .route("/files/upload-url", post(uploads::url));
    Router::new()
        .route("/api/v1/workspaces", get(workspaces))
        .nest("/api/v1/workspaces/{workspace_id}", workspace)
        .route("/graphql", post(graphql::answer))
        .route("/", post(graphql::answer))
        .fallback(async || ApiError::not_found("Path"))
        .method_not_allowed_fallback(async || {
            let message = "Method Not Allowed";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .with_state(app)
}

/// Everything that holds for all routes: the faults that strike anywhere, and the token.
pub(super) async fn answer(app: &Arc<App>, router: &Router, parts: Parts, body: Bytes) -> Response {
    let reads = parts.method == Method::GET;
    if app.faults.strikes(Fault::SlowAnswers) {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    if app.faults.strikes(Fault::ApiRedirect) {
        let location = format!("{}{}", app.media_url, parts.uri.path());
        return redirect(&location);
    }
    let authorized = bearer(&parts) == Some(app.token.as_str());
    let response = match refusal(app, reads, authorized) {
        Some(error) => error.into_response(),
        None => {
            let router = TowerToHyperService::new(router.clone());
            server::infallible(router.call(Request::from_parts(parts, Body::from(body))).await)
        }
    };
    let response = match (response.extensions().get::<ApiError>(), error_shape(app, &response)) {
        (Some(error), Some(shape)) => error.shaped(shape),
        _ => response,
    };
    if reads && response.status().is_success() && app.faults.strikes(Fault::HugeJson) {
        return huge();
    }
    response
}

/// Why the request does not even reach its route.
fn refusal(app: &App, reads: bool, authorized: bool) -> Option<ApiError> {
    let strikes = |fault| app.faults.strikes(fault);
    if reads && strikes(Fault::ReadDropped) {
        return Some(ApiError::Dropped);
    }
    if strikes(Fault::Unauthorized) || !authorized {
        return Some(ApiError::unauthenticated());
    }
    if reads && strikes(Fault::ReadServerError) {
        return Some(ApiError::internal());
    }
    if reads && strikes(Fault::ReadRateLimited) {
        return Some(ApiError::rate_limited(Some(1)));
    }
    None
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn error_shape(app: &App, response: &Response) -> Option<Shape> {
    response.extensions().get::<ApiError>()?;
    [
        (Fault::ErrorDetailString, Shape::DetailString),
        (Fault::ErrorGraphqlShape, Shape::Graphql),
        (Fault::ErrorHtml, Shape::Html),
    ]
    .into_iter()
    .find_map(|(fault, shape)| app.faults.strikes(fault).then_some(shape))
}

/// A 302; also for downloads.
pub(super) fn redirect(location: &str) -> Response {
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

/// 64 MiB of one JSON object.
fn huge() -> Response {
    let filler = Bytes::from(vec![b'a'; 1024 * 1024]);
    let chunks = std::iter::once(Bytes::from_static(b"{\"padding\":\""))
        .chain(std::iter::repeat_n(filler, 64))
        .chain(std::iter::once(Bytes::from_static(b"\"}")))
        .map(Ok::<_, std::convert::Infallible>);
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, Body::from_stream(stream::iter(chunks))).into_response()
}

/// Reads a JSON body.
pub(super) fn json_body(body: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let msg = format!("JSON decode error: {error}");
        Detail::new(&["body"], msg, "json_invalid").into()
    })
}

/// The workspace of a path, with its money as of now. An unknown one answers 404.
pub(super) async fn workspace(app: &App, id: &str) -> Result<Workspace, ApiError> {
    settle(&app.store, app.clock.now_ms()).await?;
    let mut connection = app.store.pool().acquire().await?;
    let found = Workspace::find(&mut connection, id).await?;
    found.ok_or_else(|| ApiError::not_found("Workspace"))
}

/// The page of a list that a query asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    pub(super) fn read(query: &HashMap<String, String>) -> Result<Self, ApiError> {
        let mut numbers = Map::new();
        if let Some(limit) = query.get("limit") {
            let limit = limit.parse::<i64>().map_or_else(|_| json!(limit), Value::from);
            numbers.insert("limit".to_owned(), limit);
        }
        let mut fields = Fields::new(&numbers, &["query"]);
        let limit = fields.whole("limit", 1, 100);
        if !fields.complaints.is_empty() {
            return Err(fields.complaints.into());
        }
        let offset = match query.get("cursor").filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => read_cursor(cursor).ok_or_else(|| {
                Detail::new(&["query", "cursor"], "Invalid cursor", "value_error")
            })?,
            None => 0,
        };
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(20);
        Ok(Self { offset, limit })
    }

    /// The items of the page under `name`, beside the pagination. The total is told on the
    /// first page only: it may be null.
    pub(super) fn of(self, app: &App, name: &str, items: Vec<Value>) -> Json<Value> {
        let total = items.len();
        let end = self.offset.saturating_add(self.limit);
        let more = end < total;
        let tell = self.offset == 0 && !app.faults.strikes(Fault::TotalCountNull);
        let items: Vec<_> = items.into_iter().skip(self.offset).take(self.limit).collect();
        Json(json!({
            name: items,
            "pagination": {
                "has_more_results": more,
                "next_cursor": more.then(|| URL_SAFE_NO_PAD.encode(format!("offset:{end}"))),
                "total_count": tell.then_some(total),
            },
        }))
    }
}

fn read_cursor(cursor: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("offset:")?.parse().ok()
}

async fn workspaces(
    State(app): State<Arc<App>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let page = Page::read(&query)?;
    settle(&app.store, app.clock.now_ms()).await?;
    let mut connection = app.store.pool().acquire().await?;
    let all = Workspace::all(&mut connection).await?;
    let overdraw = app.faults.strikes(Fault::NegativeBalanceAllowed);
    let items = all.iter().map(|workspace| workspace_info(workspace, overdraw)).collect();
    Ok(page.of(&app, "workspaces", items))
}

async fn one_workspace(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let workspace = workspace(&app, &id).await?;
    let overdraw = app.faults.strikes(Fault::NegativeBalanceAllowed);
    Ok(Json(workspace_info(&workspace, overdraw)))
}

/// WorkspaceInfo.
fn workspace_info(workspace: &Workspace, may_overdraw: bool) -> Value {
    json!({
        "workspace_id": workspace.id,
        "slug": workspace.slug,
        "name": workspace.name,
        "balance_creative_units": workspace.balance.json(),
        "reserved_creative_units": workspace.reserved.json(),
        "available_creative_units": workspace.available().json(),
        "last_active_at": workspace.last_active.map(date_time),
        "allow_negative_balance": may_overdraw,
    })
}

/// The list can be filtered, it is said, but not by which names of parameters; so none filters.
async fn models(
    State(app): State<Arc<App>>,
    Path(workspace_id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let page = Page::read(&query)?;
    workspace(&app, &workspace_id).await?;
    let form = model_form(&app);
    let items = CATALOGUE.iter().map(|model| model.listed(form).into()).collect();
    Ok(page.of(&app, "models", items))
}

async fn one_model(
    State(app): State<Arc<App>>,
    Path((workspace_id, model_id)): Path<(String, String)>,
) -> Answer {
    workspace(&app, &workspace_id).await?;
    let model = Model::find(&model_id).ok_or_else(|| ApiError::model_not_found(&model_id))?;
    Ok(Json(model.detailed(model_form(&app)).into()))
}

fn model_form(app: &App) -> ModelForm {
    ModelForm {
        camel_case: app.faults.strikes(Fault::ModelsCamelCase),
        plain_id: app.faults.strikes(Fault::ModelsIdField),
    }
}
