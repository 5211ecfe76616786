//! Resources: what a client lets its user pick without a tool call. All of it is read, and none
//! of it costs anything.
//!
//! The data are those of the tools that list them; a file is the file itself when it is small, and
//! a small copy of a larger picture.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{
    ErrorData, ListResourcesResult, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::completion::Completes;
use super::tools::{Answer, Tools, model_line};
use crate::files::PreviewLimits;
use crate::journal::{Job, JobId};
use crate::redact::{clean, clean_line};
use crate::runs::{
    AssetContent, ErrorReport, FileReport, Grouping, JobReport, JobStatus, RunError, Sums,
};

/// A resource whose address has variables.
pub(super) struct Template {
    pub(super) uri: &'static str,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    media_type: Option<&'static str>,
    pub(super) variables: &'static [(&'static str, Completes)],
}

const JSON: &str = "application/json";
/// A file of at most so many bytes is read whole: half of what Claude Desktop takes.
const WHOLE: u64 = 500_000;
/// Jobs whose files make one page of the list.
const PAGE: u32 = 50;
/// Days and models in the ledger.
const MOST_ROWS: usize = 31;
/// What was made a moment ago should be in the list.
pub(super) const FRESH_MS: u64 = 2_000;

const TEMPLATES: [Template; 5] = [
    Template {
        uri: "layer://assets/{job_id}/{number}",
        name: "asset",
        title: "Asset",
        description: "A saved file of a job; a large picture as a small copy",
        media_type: None,
        variables: &[("job_id", Completes::Job), ("number", Completes::Number)],
    },
    Template {
        uri: "layer://jobs/{job_id}",
        name: "job",
        title: "Job",
        description: "One purchase: its prompt, state, files and cost",
        media_type: Some(JSON),
        variables: &[("job_id", Completes::Job)],
    },
    Template {
        uri: "layer://models/{model_id}",
        name: "model",
        title: "Model",
        description: "A model of the workspace: what it makes and can do",
        media_type: Some(JSON),
        variables: &[("model_id", Completes::Model)],
    },
    Template {
        uri: "layer://styles/{style_id}",
        name: "style",
        title: "Style",
        description: "A trained style: how it stands, and its words",
        media_type: Some(JSON),
        variables: &[("style_id", Completes::Style)],
    },
    Template {
        uri: "layer://workspaces/{workspace_id}",
        name: "workspace",
        title: "Workspace",
        description: "A workspace that the token reaches, with its Creative Units",
        media_type: Some(JSON),
        variables: &[("workspace_id", Completes::Workspace)],
    },
];

/// The template of this address.
pub(super) fn template(uri: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.uri == uri)
}

/// What `resources/templates/list` tells.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    TEMPLATES
        .iter()
        .map(|template| {
            let mut listed = ResourceTemplate::new(template.uri, template.name)
                .with_title(template.title)
                .with_description(template.description);
            listed.mime_type = template.media_type.map(str::to_owned);
            listed
        })
        .collect()
}

fn fixed() -> [Resource; 3] {
    let json = |uri: &str, name: &str, title: &str, description: &str| {
        Resource::new(uri, name)
            .with_title(title)
            .with_description(description)
            .with_mime_type(JSON)
    };
    [
        json("layer://jobs", "jobs", "Jobs", "What was bought, the newest first"),
        json("layer://ledger", "ledger", "Ledger", "What was spent by day and model; the budgets"),
        json("layer://workspace", "workspace", "Workspace", "Who pays, and what there is to spend"),
    ]
}

/// What `resources/list` tells: the fixed ones, then the files of finished jobs, the newest first.
///
/// # Errors
/// Invalid params for a cursor that is none of ours.
pub(super) async fn list(
    tools: &Tools,
    cursor: Option<&str>,
) -> Result<ListResourcesResult, ErrorData> {
    let skip: u32 = match cursor {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| {
            ErrorData::invalid_params("`cursor` is the `nextCursor` of an earlier answer", None)
        })?,
    };
    let runs = tools.runs();
    let mut listed = if skip == 0 { fixed().to_vec() } else { Vec::new() };
    let mut next = None;
    if runs.has_journal() {
        match runs.jobs(Some(JobStatus::Complete), None, PAGE + 1, skip).await {
            Ok(mut jobs) => {
                if jobs.len() > PAGE as usize {
                    jobs.truncate(PAGE as usize);
                    next = Some(skip.saturating_add(PAGE).to_string());
                }
                listed.extend(jobs.iter().flat_map(files_of));
            }
            // Whoever reads the jobs is told; a client's start is not the place.
            Err(error) => tracing::warn!(%error, "the journal can't be read for the resources"),
        }
    }
    let mut result = ListResourcesResult::with_all_items(listed);
    result.next_cursor = next;
    Ok(result)
}

fn files_of(job: &Job) -> impl Iterator<Item = Resource> {
    job.files.iter().zip(1..).map(|(file, number)| {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        Resource::new(format!("layer://assets/{}/{number}", job.id()), clean_line(&name, 120))
            .with_description(clean_line(job.new.order.title(), 120))
            .with_mime_type(file.media_type.to_string())
            .with_size(file.bytes)
    })
}

/// What `resources/read` answers.
///
/// # Errors
/// Resource not found; otherwise what went wrong, in words.
pub(super) async fn read(
    tools: &Tools,
    uri: &str,
    picture: Option<PreviewLimits>,
) -> Result<ReadResourceResult, ErrorData> {
    let missing = || {
        let uri = tools.safe_line(uri, 200);
        let what = format!("there is no resource `{uri}`");
        ErrorData::resource_not_found(what, Some(json!({ "uri": uri })))
    };
    let rest = uri.strip_prefix("layer://").ok_or_else(missing)?;
    let parts: Vec<String> = rest
        .split('/')
        .map(|part| percent_encoding::percent_decode_str(part).decode_utf8().map(String::from))
        .collect::<Result<_, _>>()
        .map_err(|_| missing())?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let found = match parts.as_slice() {
        ["assets", job, number] => return asset(tools, uri, job, number, picture, missing).await,
        ["jobs"] => tool(tools, "list_jobs", json!({ "limit": PAGE })).await,
        ["jobs", job] => {
            let id: JobId = job.parse().map_err(|_| missing())?;
            one_job(tools, &id).await
        }
        ["ledger"] => ledger(tools).await,
        ["workspace"] => tool(tools, "get_workspace_info", json!({})).await,
        ["workspaces", id] => workspace(tools, id).await,
        ["models", id @ ..] if !id.is_empty() => model(tools, &id.join("/")).await,
        ["styles", id] => tool(tools, "list_styles", json!({ "style_id": id })).await,
        _ => return Err(missing()),
    };
    let value = found.map_err(|error| match error.code {
        // The only arguments are the ids in the address.
        "job_unknown" | "not_found" | "model_not_found" | "invalid_argument" => missing(),
        _ => said(tools, error),
    })?;
    let text = ResourceContents::text(value.to_string(), uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![text]))
}

fn said(tools: &Tools, error: ErrorReport) -> ErrorData {
    let error = tools.redacted(error);
    let what = clean(&format!("{} {}", error.message, error.next_step), 1_000);
    ErrorData::internal_error(what, serde_json::to_value(error).ok())
}

fn value(data: &impl Serialize) -> Result<Value, ErrorReport> {
    serde_json::to_value(data)
        .map_err(|error| RunError::Argument { field: "", message: error.to_string() }.report())
}

/// The answer of a tool that only reads.
async fn tool(tools: &Tools, name: &str, arguments: Value) -> Result<Value, ErrorReport> {
    let arguments = match arguments {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    match tools.read(name, arguments).await {
        Some(Answer::Data(object)) => Ok(Value::Object(object)),
        Some(Answer::Error(report)) => Err(*report),
        _ => Err(RunError::NotThere { what: "the resource", asked: name.to_owned() }.report()),
    }
}

async fn asset(
    tools: &Tools,
    uri: &str,
    job: &str,
    number: &str,
    picture: Option<PreviewLimits>,
    missing: impl Fn() -> ErrorData,
) -> Result<ReadResourceResult, ErrorData> {
    let id: JobId = job.parse().map_err(|_| missing())?;
    let number: usize = number.parse().map_err(|_| missing())?;
    let runs = tools.runs();
    if !runs.has_journal() {
        return Err(missing());
    }
    let (file, content) =
        runs.asset(&id, number, WHOLE, picture).await.map_err(|error| match error {
            RunError::JobUnknown { .. } | RunError::Argument { .. } => missing(),
            error => said(tools, error.report()),
        })?;
    let facts = value(&FileReport::from(&file)).map_err(|error| said(tools, error))?;
    let mut contents = Vec::new();
    match content {
        AssetContent::Whole(bytes) => contents.push(
            ResourceContents::blob(STANDARD.encode(bytes), uri)
                .with_mime_type(file.media_type.to_string()),
        ),
        AssetContent::Small(preview) => contents.push(
            ResourceContents::blob(STANDARD.encode(&preview.bytes), uri)
                .with_mime_type(preview.media_type.to_string()),
        ),
        AssetContent::TooLarge => {}
    }
    let of_job = format!("layer://jobs/{id}");
    contents.push(ResourceContents::text(facts.to_string(), of_job).with_mime_type(JSON));
    Ok(ReadResourceResult::new(contents))
}

async fn one_job(tools: &Tools, id: &JobId) -> Result<Value, ErrorReport> {
    let runs = tools.runs();
    let unknown = RunError::JobUnknown { asked: id.to_string() };
    if !runs.has_journal() {
        return Err(unknown.report());
    }
    let job = runs.known_job(id).await.map_err(|error| error.report())?;
    let mut report = value(&JobReport::kept(&job))?;
    if let Some(fields) = report.as_object_mut() {
        let created = job.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        fields.insert("created_at".to_owned(), created.into());
        fields.insert("prompt".to_owned(), clean(job.new.order.title(), 2_000).into());
    }
    Ok(report)
}

async fn model(tools: &Tools, id: &str) -> Result<Value, ErrorReport> {
    let models = tools.runs().models().await.map_err(|error| error.report())?;
    let model = models.iter().find(|model| model.id.as_str() == id);
    let model = model.ok_or_else(|| {
        RunError::NotThere { what: "the model", asked: clean_line(id, 80) }.report()
    })?;
    value(&model_line(model))
}

async fn workspace(tools: &Tools, id: &str) -> Result<Value, ErrorReport> {
    let account = tools.runs().account().await.map_err(|error| error.report())?;
    let found = account.all.iter().find(|workspace| workspace.id.as_str() == id);
    let found = found.ok_or_else(|| {
        RunError::NotThere { what: "the workspace", asked: clean_line(id, 80) }.report()
    })?;
    Ok(json!({
        "workspace_id": found.id,
        "name": found.name,
        "balance_cu": found.balance,
        "reserved_cu": found.reserved,
        "available_cu": found.available,
        "pays": found.id == account.workspace.id,
    }))
}

async fn ledger(tools: &Tools) -> Result<Value, ErrorReport> {
    let runs = tools.runs();
    let report = |error: RunError| error.report();
    let days = runs.ledger(Grouping::Day, None, None).await.map_err(report)?;
    let models = runs.ledger(Grouping::Model, None, None).await.map_err(report)?;
    let budgets = runs.budget_stands().await.map_err(report)?;
    let sums = |sums: &Sums| {
        json!({
            "jobs": sums.jobs,
            "estimated_cu": sums.estimated,
            "charged_cu": sums.charged,
            "reserved_cu": sums.reserved,
        })
    };
    let row = |key: &str, of: &Sums| {
        let mut row = sums(of);
        if let Some(fields) = row.as_object_mut() {
            fields.insert("name".to_owned(), clean_line(key, 200).into());
        }
        row
    };
    let stand = |stand: Option<crate::runs::BudgetStand>| {
        stand.map(|stand| json!({ "limit_cu": stand.limit, "spent_cu": stand.spent }))
    };
    let newest = days.rows.iter().rev().take(MOST_ROWS);
    let dearest = models.rows.iter().take(MOST_ROWS);
    Ok(json!({
        "total": sums(&days.total),
        "by_day": newest.map(|it| row(&it.key, &it.sums)).collect::<Vec<Value>>(),
        "by_model": dearest.map(|it| row(&it.key, &it.sums)).collect::<Vec<Value>>(),
        "budgets": {
            "session": stand(budgets.session),
            "day": stand(budgets.day),
            "project": stand(budgets.project),
        },
    }))
}
