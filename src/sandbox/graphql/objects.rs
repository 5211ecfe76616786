//! The objects that operations answer, field by field. A field is looked up only when it was
//! asked for.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sqlx::Row;

use super::super::App;
use super::super::answers::ApiError;
use super::super::api::workspace;
use super::super::clock::date_time;
use super::super::faults::Fault;
use super::super::inferences::url;
use super::super::runs::{Column, Kind, Phase, Run};
use super::super::state::{EMPTY_WORKSPACE_ID, StoredFile, WORKSPACE_ID, Workspace};
use super::super::styles::Style;
use super::assist::described;
use super::execute::Held;

pub(super) const USER_ID: &str = "5a4db0c5-0000-4000-8000-00000000000a";
const JOINED_MS: i64 = 1_760_000_000_000;

/// What an object is about.
#[derive(Clone, Debug)]
pub(super) enum Entity {
    /// The operations themselves.
    Root,
    /// An object whose fields are all known.
    Plain(HashMap<&'static str, Held>),
    User,
    Workspace(Workspace),
    File(StoredFile),
    Inference(Box<Run>),
    Style(Box<Style>),
    Session(Session),
}

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: String,
    workspace: String,
    name: String,
    created: i64,
}

impl Session {
    pub(super) async fn by(app: &App, id: &str) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query("SELECT * FROM sessions WHERE id = ?")
            .bind(id)
            .fetch_optional(app.store.pool())
            .await?;
        row.as_ref().map(Self::from_row).transpose()
    }

    async fn of(app: &App, workspace: &str) -> Result<Vec<Self>, sqlx::Error> {
        let rows =
            sqlx::query("SELECT * FROM sessions WHERE workspace = ? ORDER BY created DESC, id")
                .bind(workspace)
                .fetch_all(app.store.pool())
                .await?;
        rows.iter().map(Self::from_row).collect()
    }

    fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            workspace: row.try_get("workspace")?,
            name: row.try_get("name")?,
            created: row.try_get("created")?,
        })
    }

    pub(super) fn held(self) -> Held {
        Held::Object("Session", Entity::Session(self))
    }
}

pub(super) fn file(file: StoredFile) -> Held {
    Held::Object("File", Entity::File(file))
}

pub(super) fn inference(run: Run) -> Held {
    Held::Object("Inference", Entity::Inference(Box::new(run)))
}

pub(super) fn style(style: Style) -> Held {
    Held::Object("Style", Entity::Style(Box::new(style)))
}

fn of_workspace(workspace: Workspace) -> Held {
    Held::Object("Workspace", Entity::Workspace(workspace))
}

const USER: Held = Held::Object("User", Entity::User);

/// The value of a field. What is not known of an object is null or empty.
pub(super) async fn field(
    app: &App,
    entity: &Entity,
    name: &str,
    mut arguments: Map<String, Value>,
) -> Result<Held, ApiError> {
    let input = match arguments.remove("input") {
        Some(Value::Object(input)) => input,
        _ => arguments,
    };
    match entity {
        Entity::Root => Ok(Held::NULL),
        Entity::Plain(fields) => Ok(fields.get(name).cloned().unwrap_or(Held::NULL)),
        Entity::User => user(app, name, &input).await,
        Entity::Workspace(workspace) => workspace_field(app, workspace, name, &input).await,
        Entity::File(file) => file_field(app, file, name).await,
        Entity::Inference(run) => inference_field(app, run, name).await,
        Entity::Style(style) => style_field(app, style, name).await,
        Entity::Session(session) => session_field(app, session, name, &input).await,
    }
}

async fn user(app: &App, name: &str, input: &Map<String, Value>) -> Result<Held, ApiError> {
    Ok(match name {
        "id" => USER_ID.into(),
        "name" => "Sandbox Artist".into(),
        "email" => "artist@sandbox.invalid".into(),
        "acceptedTos" => true.into(),
        "consentMarketing" => "NOT_SET".into(),
        "featureFlags" => Held::List(Vec::new()),
        "personalWorkspace" => of_workspace(workspace(app, EMPTY_WORKSPACE_ID).await?),
        "memberships" => {
            let mut members = Vec::new();
            for id in [WORKSPACE_ID, EMPTY_WORKSPACE_ID] {
                let member = Held::plain(
                    "WorkspaceMembership",
                    [
                        ("id", format!("member-{id}").into()),
                        ("user", USER),
                        ("workspace", of_workspace(workspace(app, id).await?)),
                        ("role", "ADMIN".into()),
                        ("status", "ACTIVE".into()),
                        ("createdAt", date_time(JOINED_MS).into()),
                        ("groupRoles", Held::List(Vec::new())),
                        ("freeSeat", false.into()),
                    ],
                );
                members.push((id.to_owned(), member));
            }
            if input.get("role").and_then(Value::as_str).is_some_and(|role| role != "ADMIN") {
                members.clear();
            }
            connection(
                ["WorkspaceMembershipsConnection", "WorkspaceMembershipEdge"],
                members,
                input,
            )?
        }
        _ => Held::NULL,
    })
}

async fn workspace_field(
    app: &App,
    of: &Workspace,
    name: &str,
    input: &Map<String, Value>,
) -> Result<Held, ApiError> {
    let now = app.clock.now_ms();
    let is_main = of.id == WORKSPACE_ID;
    let only = |status: &str| allows(input, "status", status);
    Ok(match name {
        "id" => of.id.clone().into(),
        "name" => of.slug.clone().into(),
        "displayName" => of.name.clone().into(),
        "planTier" => word(app, if is_main { "STUDIO" } else { "FREE" }),
        "planSeats" => if is_main { 5 } else { 1 }.into(),
        "usedSeats" => 1.into(),
        "freeSeats" => 0.into(),
        "maxWorkspaceStyles" => if is_main { 100 } else { 0 }.into(),
        "featureFlags" => leaves(if is_main { &["workflows", "style_training"] } else { &[] }),
        "disabledModalities" => leaves(if of.three_d { &[] } else { &["THREE_D"] }),
        "availableInferenceModes" => {
            let modes = ["CREATE", "UPSCALE", "PROMPT_EDIT_IMAGE", "CREATE_VIDEO", "CREATE_SPEECH"];
            let three_d = of.three_d.then_some("CREATE_3_D");
            Held::List(modes.into_iter().chain(three_d).map(Held::from).collect())
        }
        "allowStyleImport" | "allowStyleExport" => is_main.into(),
        "allowNsfwGenerations" | "isShared" | "disableInvites" | "disableSuspends" => false.into(),
        "isMyPersonalWorkspace" => (!is_main).into(),
        "owner" => USER,
        "myRole" => "ADMIN".into(),
        "myGroupRoles" => Held::List(Vec::new()),
        "styles" => {
            let flag = |name: &str| input.get(name) == Some(&Value::Bool(true));
            let mut all = Vec::new();
            if !flag("featuredOnly") {
                all.extend(Style::own(app, &of.id).await?);
            }
            if flag("featuredOnly") || (flag("includeFeatured") && !flag("ownWorkspaceOnly")) {
                all.extend(Style::public());
            }
            all.retain(|s| only(s.status(now)) && allows(input, "modalities", s.modality));
            let all = all.into_iter().map(|s| (s.id.clone(), style(s))).collect();
            connection(["WorkspaceStylesConnection", "WorkspaceStyleEdge"], all, input)?
        }
        "style" => {
            let id = input.get("id").and_then(Value::as_str).unwrap_or_default();
            let by_slug = input.get("idType").and_then(Value::as_str) == Some("SLUG");
            let known = Style::own(app, &of.id).await?.into_iter().chain(Style::public());
            let found = { known }.find(|s| if by_slug { s.slug() == id } else { s.id == id });
            found.map_or_else(|| Held::refusal(&ApiError::not_found("Style")), style)
        }
        "inferences" => {
            let all = Run::all(&app.store, Column::Workspace, &of.id, now).await?;
            inferences(all, input, now)?
        }
        "files" => {
            super::super::runs::settle(&app.store, now).await?;
            let all = StoredFile::all(app.store.pool(), &of.id).await?;
            let all = all.into_iter().map(|one| (one.id.clone(), file(one))).collect();
            connection(["WorkspaceFilesConnection", "WorkspaceFileEdge"], all, input)?
        }
        "sessions" => {
            let mut all = Vec::new();
            for session in Session::of(app, &of.id).await? {
                let hides_empty = input.get("filterEmpty") == Some(&Value::Bool(true));
                let is_empty = hides_empty
                    && Run::all(&app.store, Column::Session, &session.id, now).await?.is_empty();
                if only("ACTIVE") && !is_empty {
                    all.push((session.id.clone(), session.held()));
                }
            }
            connection(["SessionsConnection", "SessionEdge"], all, input)?
        }
        _ => Held::NULL,
    })
}

async fn file_field(app: &App, of: &StoredFile, name: &str) -> Result<Held, ApiError> {
    let run = async || -> Result<Option<Run>, ApiError> {
        let Some(run) = &of.run else { return Ok(None) };
        Ok(Run::all(&app.store, Column::Id, run, app.clock.now_ms()).await?.into_iter().next())
    };
    Ok(match name {
        "id" => of.id.clone().into(),
        "name" => of.name.clone().into(),
        "workspace" => of_workspace(workspace(app, &of.workspace).await?),
        "createdBy" => USER,
        "createdAt" | "updatedAt" => date_time(of.created).into(),
        "status" => word(
            app,
            match (of.ready, &of.run) {
                (false, _) => "PENDING",
                (true, None) => "UPLOADED",
                (true, Some(_)) => "PROCESSED",
            },
        ),
        "contentType" => of.content_type.clone().into(),
        "url" => of.ready.then(|| url(app, of)).into(),
        "previewUrl" => {
            (of.ready && of.content_type.starts_with("image/")).then(|| url(app, of)).into()
        }
        "sizeBytes" if of.run.is_none() => upload_size(app, &of.id).await?.into(),
        "width" => of.size.map(|(width, _)| width).into(),
        "height" => of.size.map(|(_, height)| height).into(),
        "bucketPath" => format!("workspaces/{}/files/{}", of.workspace, of.id).into(),
        "autoCaption" if of.ready => described(app, of).await?.into(),
        "isGenerated" => of.run.is_some().into(),
        "isPosted" | "isLiked" => false.into(),
        "inference" => run().await?.map_or(Held::NULL, inference),
        "inferenceParameters" => {
            run().await?.map_or(Held::NULL, |run| parameters(app, &run).into())
        }
        "session" | "sessionId" => match run().await?.and_then(|run| run.session) {
            Some(id) if name == "sessionId" => id.into(),
            Some(id) => Session::by(app, &id).await?.map_or(Held::NULL, Session::held),
            None => Held::NULL,
        },
        "styles" => match run().await? {
            Some(run) => styles_of(app, &run).await?,
            None => Held::List(Vec::new()),
        },
        _ => Held::NULL,
    })
}

pub(super) async fn upload_size(app: &App, id: &str) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query("SELECT size FROM uploads WHERE file = ?")
        .bind(id)
        .fetch_optional(app.store.pool())
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

async fn inference_field(app: &App, of: &Run, name: &str) -> Result<Held, ApiError> {
    let now = app.clock.now_ms();
    Ok(match name {
        "id" => of.id.clone().into(),
        "workspace" => of_workspace(workspace(app, &of.workspace).await?),
        "session" => match &of.session {
            Some(id) => Session::by(app, id).await?.map_or(Held::NULL, Session::held),
            None => Held::NULL,
        },
        "createdBy" => USER,
        "createdAt" => date_time(of.created).into(),
        "etaAt" => of.due.map(date_time).into(),
        "parameters" => parameters(app, of).into(),
        "status" => word(app, status(of, now)),
        "errorCode" => match of.phase(now) {
            Phase::Failed { code, .. } => code.into(),
            _ => Held::NULL,
        },
        "files" => {
            let files = StoredFile::of_run(app.store.pool(), &of.id).await?;
            Held::List(files.into_iter().map(file).collect())
        }
        "styles" => styles_of(app, of).await?,
        _ => Held::NULL,
    })
}

async fn style_field(app: &App, of: &Style, name: &str) -> Result<Held, ApiError> {
    let status = of.status(app.clock.now_ms());
    Ok(match name {
        "id" => of.id.clone().into(),
        "name" => of.name.clone().into(),
        "slug" => of.slug().into(),
        "path" => format!("/{}", of.slug()).into(),
        "description" => of.description.clone().into(),
        "type" => of.kind.clone().into(),
        "contentType" => of.content_type.clone().into(),
        "modality" => of.modality.into(),
        "visibility" => of.visibility.clone().into(),
        "status" => word(app, status),
        "statusUpdatedAt" | "updatedAt" => date_time(of.updated).into(),
        "createdAt" => date_time(of.created).into(),
        "createdBy" => of.workspace.as_ref().map_or(Held::NULL, |_| USER),
        "workspace" | "workspaces" => match &of.workspace {
            Some(id) => {
                let own = of_workspace(workspace(app, id).await?);
                if name == "workspace" { own } else { Held::List(vec![own]) }
            }
            None if name == "workspace" => Held::NULL,
            None => Held::List(Vec::new()),
        },
        "canForgeFrom" => "YES".into(),
        "isFeatured" => (of.workspace.is_none() && of.kind != "MODEL_URL").into(),
        "isPinned" | "isLiked" | "isShared" => false.into(),
        "numPins" | "numLikes" => 0.into(),
        "numWorkspaces" => i64::from(of.workspace.is_some()).into(),
        "trainingConfig" => Held::plain("TrainingConfig", [("adapterType", "LORA".into())]),
        "inferenceDefaults" => Held::plain("InferenceDefaults", []),
        "capabilities" => json!({ "textToImage": of.modality == "IMAGE" }).into(),
        "labels" => Held::List(Vec::new()),
        "trainingReadinessErrors" => {
            Held::List(of.readiness_errors().into_iter().map(Held::from).collect())
        }
        "inputFiles" => {
            let mut list = Vec::new();
            for (position, input) in of.files.iter().enumerate() {
                let stored = StoredFile::find(app.store.pool(), &input.file).await?;
                list.push(Held::plain(
                    "StyleInputFile",
                    [
                        ("id", format!("{}-{position}", of.id).into()),
                        ("style", style(of.clone())),
                        ("file", stored.map_or(Held::NULL, file)),
                        ("caption", input.caption.clone().into()),
                        ("captionType", input.caption_type.clone().into()),
                    ],
                ));
            }
            Held::List(list)
        }
        "activeFinetune" | "finetunes" => {
            let finetune = of.run.as_ref().map(|run| {
                let ended = run.due.filter(|_| status == "COMPLETE");
                Held::plain(
                    "StyleFinetune",
                    [
                        ("id", run.id.clone().into()),
                        ("style", style(of.clone())),
                        ("status", word(app, status)),
                        ("createdAt", date_time(run.created).into()),
                        ("trainingTriggeredAt", date_time(run.created).into()),
                        ("trainingEtaAt", run.due.map(date_time).into()),
                        ("trainingCompletedAt", ended.map(date_time).into()),
                    ],
                )
            });
            if name == "activeFinetune" {
                finetune.unwrap_or(Held::NULL)
            } else {
                Held::List(finetune.into_iter().collect())
            }
        }
        _ => Held::NULL,
    })
}

async fn session_field(
    app: &App,
    of: &Session,
    name: &str,
    input: &Map<String, Value>,
) -> Result<Held, ApiError> {
    let now = app.clock.now_ms();
    Ok(match name {
        "id" => of.id.clone().into(),
        "name" => of.name.clone().into(),
        "createdAt" => date_time(of.created).into(),
        "lastInteractedAt" => {
            let runs = Run::all(&app.store, Column::Session, &of.id, now).await?;
            date_time(runs.first().map_or(of.created, |run| run.created)).into()
        }
        "createdBy" | "lastInteractedBy" => USER,
        "status" => word(app, "ACTIVE"),
        "workspace" => of_workspace(workspace(app, &of.workspace).await?),
        "inferences" => {
            inferences(Run::all(&app.store, Column::Session, &of.id, now).await?, input, now)?
        }
        "previewUrls" => Held::List(Vec::new()),
        _ => Held::NULL,
    })
}

fn inferences(all: Vec<Run>, input: &Map<String, Value>, now: i64) -> Result<Held, ApiError> {
    let is_listed = |run: &Run| {
        run.kind == Kind::Inference && !run.deleted && allows(input, "status", status(run, now))
    };
    let all = all.into_iter().filter(is_listed).map(|run| (run.id.clone(), inference(run)));
    connection(["InferencesConnection", "InferenceEdge"], all.collect(), input)
}

async fn styles_of(app: &App, run: &Run) -> Result<Held, ApiError> {
    let found = Style::find(app, &run.subject).await?;
    Ok(Held::List(found.map(style).into_iter().collect()))
}

fn status(run: &Run, now: i64) -> &'static str {
    match run.phase(now) {
        _ if run.deleted => "DELETED",
        Phase::Running(_) => "IN_PROGRESS",
        Phase::Complete => "COMPLETE",
        Phase::Failed { .. } => "FAILED",
        Phase::Cancelled => "CANCELLED",
    }
}

/// What a run was started with, by the names of InferenceParametersInput.
fn parameters(app: &App, run: &Run) -> Value {
    let first = run.artifacts.first();
    let normalized = |name: &str| run.normalized.get(name).cloned().unwrap_or_default();
    let parameters = json!({
        "generationType": "CREATE",
        "prompt": first.map(|artifact| &artifact.prompt),
        "seed": first.map(|artifact| artifact.seed),
        "width": first.and_then(|artifact| artifact.size()).map(|(width, _)| width),
        "height": first.and_then(|artifact| artifact.size()).map(|(_, height)| height),
        "batchSize": run.artifacts.len(),
        "styles": [{ "id": run.subject }],
        "numInferenceSteps": normalized("num_inference_steps"),
        "guidanceScale": normalized("guidance_scale"),
        "durationSeconds": normalized("duration_seconds"),
    });
    if app.faults.strikes(Fault::GraphqlParametersString) {
        return parameters.to_string().into();
    }
    parameters
}

/// A word of an enum, or one that the schema does not have.
fn word(app: &App, word: &'static str) -> Held {
    let unknown = app.faults.strikes(Fault::GraphqlUnknownEnum);
    if unknown { "HIBERNATING" } else { word }.into()
}

fn leaves(words: &[&'static str]) -> Held {
    Held::List(words.iter().map(|word| (*word).into()).collect())
}

/// Whether a filter lets the word through: a list that names it, or no list.
pub(super) fn allows(input: &Map<String, Value>, filter: &str, word: &str) -> bool {
    let list = input.get(filter).and_then(Value::as_array);
    list.is_none_or(|list| list.iter().any(|one| one == word))
}

/// The page of a list that `first`, `after`, `last` and `before` choose. A cursor holds the id
/// of the node that it stands on.
pub(super) fn connection(
    [of, edge]: [&'static str; 2],
    nodes: Vec<(String, Held)>,
    input: &Map<String, Value>,
) -> Result<Held, ApiError> {
    let total = nodes.len();
    let place = |name: &str| -> Result<Option<usize>, ApiError> {
        let Some(cursor) = input.get(name).and_then(Value::as_str) else { return Ok(None) };
        let id = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let place = nodes.iter().position(|(node, _)| node.as_bytes() == id);
        place.map(Some).ok_or_else(|| ApiError::bad_request(format!("Invalid cursor: {cursor}")))
    };
    let count = |name: &str| -> Result<Option<usize>, ApiError> {
        let Some(count) = input.get(name).and_then(Value::as_i64) else { return Ok(None) };
        let count = usize::try_from(count).ok().filter(|count| *count <= 100);
        count.map(Some).ok_or_else(|| {
            ApiError::bad_request(format!("Argument '{name}' must lie between 0 and 100."))
        })
    };
    let mut start = place("after")?.map_or(0, |place| place + 1);
    let mut end = place("before")?.unwrap_or(total).max(start);
    match (count("first")?, count("last")?) {
        (None, Some(last)) => start = start.max(end.saturating_sub(last)),
        (first, _) => end = end.min(start.saturating_add(first.unwrap_or(20))),
    }
    let cursor = |id: &str| URL_SAFE_NO_PAD.encode(id);
    let page: Vec<_> = nodes.into_iter().skip(start).take(end - start).collect();
    let info = Held::plain(
        "PageInfo",
        [
            ("hasNextPage", (end < total).into()),
            ("hasPreviousPage", (start > 0).into()),
            ("startCursor", page.first().map(|(id, _)| cursor(id)).into()),
            ("endCursor", page.last().map(|(id, _)| cursor(id)).into()),
            ("totalCount", total.into()),
        ],
    );
    let edges = page.into_iter().map(|(id, node)| {
        Held::plain(
            edge,
            [("cursor", cursor(&id).into()), ("path", format!("/{id}").into()), ("node", node)],
        )
    });
    let edges = Held::List(edges.collect());
    Ok(Held::plain(of, [("pageInfo", info), ("edges", edges)]))
}
