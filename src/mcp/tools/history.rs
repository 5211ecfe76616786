//! What lies at Layer, whoever made it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, data, parse, spec};
use crate::layer::{HistoryPage, PastFile, PastRun, Session};
use crate::redact::clean_line;
use crate::runs::{ErrorReport, Limit};

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Kind {
    #[default]
    Runs,
    Files,
    Sessions,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListHistoryArgs {
    /// What to list.
    #[serde(default)]
    #[schemars(extend("default" = "runs"))]
    kind: Kind,
    /// Default 20.
    limit: Option<Limit>,
    /// next_cursor of the last answer.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ListHistoryAnswer {
    entries: Vec<HistoryLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    message: String,
}

#[derive(Default, Serialize, JsonSchema)]
#[schemars(inline)]
struct HistoryLine {
    id: String,
    status: String,
    created_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    prompt: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    file_ids: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
}

impl From<PastRun> for HistoryLine {
    fn from(run: PastRun) -> Self {
        Self {
            id: run.id.to_string(),
            status: run.status,
            created_at: run.created_at,
            prompt: clean_line(&run.prompt, 200),
            models: run.models,
            seed: run.seed,
            error: run.error,
            file_ids: run.files.iter().map(|file| file.id.to_string()).collect(),
            ..Self::default()
        }
    }
}

impl From<PastFile> for HistoryLine {
    fn from(file: PastFile) -> Self {
        Self {
            id: file.id.to_string(),
            status: file.status,
            created_at: file.created_at,
            name: file.name,
            media_type: file.media_type,
            bytes: file.bytes,
            width: file.width,
            height: file.height,
            caption: file.caption,
            ..Self::default()
        }
    }
}

impl From<Session> for HistoryLine {
    fn from(session: Session) -> Self {
        Self {
            id: session.id,
            status: session.status,
            created_at: session.created_at,
            name: session.name,
            ..Self::default()
        }
    }
}

pub(super) fn list_history() -> Entry {
    Entry {
        spec: spec::<ListHistoryArgs, ListHistoryAnswer>(
            "list_history",
            "List history at Layer",
            "Lists runs, files or sessions of the workspace at Layer, also those made in the app or \
             by others. A file's id works in `references`. For jobs of this server use list_jobs.",
            Hints::READS_LAYER,
        ),
        toolset: Toolset::History,
        handle: |call, arguments| Box::pin(list(call, arguments)) as Handled<'_>,
    }
}

async fn list(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ListHistoryArgs>(arguments)?;
    let limit = args.limit.map_or(20, Limit::get);
    let after = args.cursor.as_deref();
    let report = |error: crate::runs::RunError| error.report();
    match args.kind {
        Kind::Runs => answer(call.runs.past_runs(limit, after).await.map_err(report)?, "runs"),
        Kind::Files => answer(call.runs.past_files(limit, after).await.map_err(report)?, "files"),
        Kind::Sessions => {
            answer(call.runs.sessions(limit, after).await.map_err(report)?, "sessions")
        }
    }
}

fn answer<T: Into<HistoryLine>>(page: HistoryPage<T>, what: &str) -> Result<Answer, ErrorReport> {
    let more =
        if page.next.is_some() { " There are more: call again with next_cursor." } else { "" };
    let entries: Vec<HistoryLine> = page.items.into_iter().map(Into::into).collect();
    data(&ListHistoryAnswer {
        message: format!("{} {what}.{more}", entries.len()),
        entries,
        total: page.total,
        next_cursor: page.next,
    })
}
