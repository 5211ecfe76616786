//! The operations that read; those that do something are in `assist` and `making`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::App;
use super::super::answers::ApiError;
use super::super::api::workspace;
use super::super::clock::date_time;
use super::super::models::Model;
use super::super::money::CreativeUnits;
use super::super::runs::{Column, Kind, Outcome, Phase, Run, settle};
use super::super::state::{StoredFile, WORKSPACE_ID, Workspace};
use super::super::styles::Style;
use super::execute::Held;
use super::objects::{Entity, Session, USER_ID, allows, connection, file, inference, style};
use super::{assist, making};

/// The input of an operation. The schema has seen to it that what is required is there.
pub(super) struct Input(pub(super) Map<String, Value>);

impl Input {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(super) fn id(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    pub(super) fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    pub(super) async fn workspace(&self, app: &App) -> Result<Workspace, ApiError> {
        workspace(app, self.id("workspaceId")).await
    }
}

pub(super) async fn carry_out(
    app: &App,
    name: &str,
    mut arguments: Map<String, Value>,
) -> Result<Held, ApiError> {
    settle(&app.store, app.clock.now_ms()).await?;
    let input = match arguments.remove("input") {
        Some(Value::Object(input)) => Input(input),
        _ => Input(arguments),
    };
    match name {
        "getMyUser" => Ok(Held::Object("User", Entity::User)),
        "getWorkspaceByName" => {
            let mut connection = app.store.pool().acquire().await?;
            let all = Workspace::all(&mut connection).await?;
            let found = all.into_iter().find(|one| one.slug == input.id("name"));
            let found = found.ok_or_else(|| ApiError::not_found("Workspace"))?;
            Ok(Held::Object("Workspace", Entity::Workspace(found)))
        }
        "getWorkspaceUsage" => usage(app, &input).await,
        "listStyles" => {
            let mut all = Style::public();
            let is_private = !allows(&input.0, "visibility", "PUBLIC");
            if is_private || input.0.get("isFeatured") == Some(&Value::Bool(false)) {
                all.clear();
            }
            all.retain(|_| allows(&input.0, "status", "COMPLETE"));
            let all = all.into_iter().map(|one| (one.id.clone(), style(one))).collect();
            connection(["StylesConnection", "StyleEdge"], all, &input.0)
        }
        "getStyleById" => {
            let found = Style::find(app, input.id("styleId")).await?.filter(|one| !one.deleted);
            found.map(style).ok_or_else(|| ApiError::not_found("Style"))
        }
        "getInferencesById" => {
            let mut found = Vec::new();
            for id in input.list("inferenceIds").iter().filter_map(Value::as_str) {
                let runs = Run::all(&app.store, Column::Id, id, app.clock.now_ms()).await?;
                found.extend(runs.into_iter().filter(|run| run.kind == Kind::Inference));
            }
            let found = Held::List(found.into_iter().map(inference).collect());
            Ok(Held::plain("InferencesResult", [("inferences", found)]))
        }
        "getFileById" => {
            let found = StoredFile::find(app.store.pool(), input.id("fileId")).await?;
            found.map(file).ok_or_else(|| ApiError::not_found("File"))
        }
        "getFilesById" => {
            let mut list = Vec::new();
            for id in input.list("fileIds").iter().filter_map(Value::as_str) {
                let found = StoredFile::find(app.store.pool(), id).await?;
                list.push(found.map_or_else(|| Held::refusal(&ApiError::not_found("File")), file));
            }
            Ok(Held::List(list))
        }
        "getSessionById" => {
            let found = Session::by(app, input.id("sessionId")).await?;
            found.map(Session::held).ok_or_else(|| ApiError::not_found("Session"))
        }
        "describeImage" => assist::describe(app, &input).await,
        "generatePrompt" => assist::generate(app, &input).await,
        "transformPrompt" => assist::transform(app, &input).await,
        "createStyle" => making::create_style(app, &input).await,
        "updateStyle" => making::update_style(app, &input).await,
        "deleteStyle" => making::delete_style(app, &input).await,
        "removeBackground" => making::remove_background(app, &input).await,
        "createInference" => making::create_inference(app, &input).await,
        "deleteInference" => making::delete_inference(app, &input).await,
        "createSession" => making::create_session(app, &input).await,
        _ => Err(ApiError::not_found("Operation")),
    }
}

/// What was charged: complete runs of every kind. Filters and orders are not heeded: their
/// fields and operators are not publicly known.
async fn usage(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    let now = app.clock.now_ms();
    let runs = Run::all(&app.store, Column::Workspace, &workspace.id, now).await?;
    let group = input.list("groupBy").first().and_then(Value::as_str).unwrap_or("MODEL_ID");
    let mut total = CreativeUnits::ZERO;
    let mut by_date = BTreeMap::<String, CreativeUnits>::new();
    let mut by_key = BTreeMap::<String, CreativeUnits>::new();
    for run in &runs {
        if run.outcome != Outcome::Complete || run.phase(now) != Phase::Complete {
            continue;
        }
        total = total.plus(run.price);
        let day: String = date_time(run.due.unwrap_or(run.created)).chars().take(10).collect();
        let sum = by_date.entry(day).or_default();
        *sum = sum.plus(run.price);
        let sum = by_key.entry(key(run, group)).or_default();
        *sum = sum.plus(run.price);
    }
    let mut top: Vec<_> = by_key.into_iter().collect();
    top.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    let line =
        |name: &str, (key, sum): (String, CreativeUnits)| json!({ name: key, "usage": sum.json() });
    let top: Value = top.into_iter().map(|one| line("key", one)).collect();
    let by_date: Value = by_date.into_iter().map(|one| line("date", one)).collect();
    let overage = CreativeUnits::ZERO.minus(workspace.balance).max(CreativeUnits::ZERO);
    let entitlement = Held::plain(
        "WorkspaceUsageEntitlement",
        [
            ("balance", workspace.balance.json().into()),
            ("hasAccess", (workspace.available() > CreativeUnits::ZERO).into()),
            ("overage", overage.json().into()),
            ("usage", total.json().into()),
        ],
    );
    let grant = Held::plain(
        "WorkspaceUsageGrant",
        [
            ("id", format!("grant-{}", workspace.id).into()),
            ("entitlementId", format!("entitlement-{}", workspace.id).into()),
            ("amount", 500.into()),
            ("priority", 1.into()),
        ],
    );
    let grants = if workspace.id == WORKSPACE_ID { vec![grant] } else { Vec::new() };
    let chart = [("byDate", by_date.into()), ("top", top.into())];
    Ok(Held::plain(
        "WorkspaceUsage",
        [
            ("entitlement", entitlement),
            ("grants", Held::List(grants)),
            ("usage", Held::plain("WorkspaceUsageForChart", chart)),
            ("workspaceId", workspace.id.into()),
        ],
    ))
}

/// What a run is counted under.
fn key(run: &Run, group: &str) -> String {
    match group {
        "MODALITY" => {
            Model::find(&run.subject).map_or("image", |model| model.modality.word()).to_owned()
        }
        "MODE" => match run.kind {
            Kind::Inference => "CREATE",
            Kind::Workflow => "WORKFLOW",
            Kind::Training => "TRAINING",
        }
        .to_owned(),
        "USER_ID" => USER_ID.to_owned(),
        "PRICE_CREATIVE_UNITS" => run.price.json().to_string(),
        "MEASUREMENT_UNIT" => "CREATIVE_UNIT".to_owned(),
        _ => run.subject.clone(),
    }
}
