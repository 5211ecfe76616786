//! What only Layer's GraphQL side has: styles, words about pictures, what was made before, what was
//! spent on what.
//!
//! The schema is that of a public introspection of August 2025. Words of enums are passed on as
//! they come, so that new ones survive.

mod documents;
mod usage;

pub use usage::Usage;

use serde_json::{Value, json};

use super::LayerClient;
use super::error::{ApiError, ApiErrorKind};
use super::graphql::{self, Document, Found, input};
use super::ids::{FileId, InferenceId, StyleId, WorkspaceId};
use super::model::Modality;
use crate::redact::{clean, clean_line};

/// One page of things from the newest to the oldest.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage<T> {
    /// The things.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// How many there are in all, where Layer says so.
    pub total: Option<u64>,
}

/// One style: a model that was trained on pictures of one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Style {
    /// Its id, which stands for a model's wherever one is named.
    pub id: StyleId,
    /// The name as the app shows it.
    pub name: String,
    /// What it is, in its author's words.
    pub description: String,
    /// How it stands, in Layer's word in lower case: `draft`, `building`, `complete` and so on.
    pub status: String,
    /// What it shows, in Layer's word in lower case, such as `icons_symbols`.
    pub content_type: Option<String>,
    /// What it makes; `None` for a kind that this version doesn't know.
    pub modality: Option<Modality>,
    /// What is still missing before it can be trained, one sentence each.
    pub missing: Vec<String>,
    /// Words that Layer puts before a prompt.
    pub prompt_prefix: Option<String>,
    /// Words that Layer puts after a prompt.
    pub prompt_suffix: Option<String>,
}

/// One page of styles.
pub type StylePage = HistoryPage<Style>;

/// Which styles to list.
#[derive(Clone, Debug, Default)]
pub struct StyleFilter {
    /// Layer's public library in the place of the workspace's own.
    pub public: bool,
    /// Only those of this status, in Layer's word.
    pub status: Option<String>,
    /// How many, 1 to 100.
    pub limit: u32,
    /// Where to begin: the `next` of an earlier page.
    pub after: Option<String>,
}

/// A style to be made.
#[derive(Clone, Debug)]
pub struct NewStyle {
    /// The name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// What it shows, in Layer's word.
    pub content_type: Option<&'static str>,
    /// The pictures that show the look.
    pub files: Vec<FileId>,
}

/// What a workspace's plan allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its tier, in Layer's word in lower case.
    pub tier: Option<String>,
    /// What can't be made on it, in Layer's words in lower case.
    pub disabled: Vec<String>,
}

/// A run that was made before, by whatever program.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRun {
    /// Its id.
    pub id: InferenceId,
    /// Layer's word in lower case.
    pub status: String,
    /// When, as Layer writes it.
    pub created_at: String,
    /// The prompt.
    pub prompt: String,
    /// What repeats it.
    pub seed: Option<u64>,
    /// The models or styles, by name where it has one.
    pub models: Vec<String>,
    /// Why it failed, in Layer's word.
    pub error: Option<String>,
    /// What came out.
    pub files: Vec<PastFile>,
}

/// A file that lies at Layer.
#[derive(Clone, Debug, PartialEq)]
pub struct PastFile {
    /// Its id, by which it can be a reference.
    pub id: FileId,
    /// Its name.
    pub name: String,
    /// Layer's word in lower case.
    pub status: String,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub bytes: Option<u64>,
    /// Pixels.
    pub width: Option<u64>,
    /// Pixels.
    pub height: Option<u64>,
    /// When, as Layer writes it.
    pub created_at: String,
    /// True for what Layer made, false for an upload.
    pub generated: Option<bool>,
    /// What Layer thinks that it shows.
    pub caption: Option<String>,
}

/// A session: outputs that the app shows together.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Layer's word in lower case.
    pub status: String,
    /// When, as Layer writes it.
    pub created_at: String,
    /// When something last happened in it.
    pub last_used_at: String,
}

impl LayerClient {
    /// The workspace's styles, or those of Layer's public library.
    pub async fn styles(
        &self,
        workspace: &WorkspaceId,
        filter: &StyleFilter,
    ) -> Result<StylePage, ApiError> {
        let status = filter.status.as_ref().map(|word| vec![word.to_ascii_uppercase()]);
        let mut fields = page_input(filter.limit, filter.after.as_deref());
        put(&mut fields, "status", json!(status));
        let list = if filter.public {
            self.graphql(documents::PUBLIC_STYLES, input(fields)).await?
        } else {
            self.of_workspace(workspace, documents::STYLES, "styles", fields).await?
        };
        page(&list, filter.limit, style)
    }

    /// One style; `None` where there is none of this id that the user may see.
    pub async fn style(&self, id: &StyleId) -> Result<Option<Style>, ApiError> {
        let found = self.graphql(documents::STYLE, input(json!({ "styleId": id.as_str() }))).await;
        match found {
            Ok(found) if found.is_null() => Ok(None),
            Ok(found) => style(&found).map(Some).ok_or_else(|| found.odd("the style")),
            Err(error) if error.kind == ApiErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a style as a draft. Sent once. Nothing is trained: for that Layer names no price.
    pub async fn create_style(
        &self,
        workspace: &WorkspaceId,
        new: &NewStyle,
    ) -> Result<Style, ApiError> {
        let files = new.files.iter();
        let files: Vec<Value> = files
            .map(|file| json!({ "fileId": file.as_str(), "captionType": "AUTO_CAPTION" }))
            .collect();
        let mut fields = json!({
            "workspaceId": workspace.as_str(),
            "type": "LAYER_TRAINED_CHECKPOINT",
            "name": new.name,
            "visibility": "PRIVATE",
            "inputFiles": files,
            "triggerTraining": false,
        });
        put(&mut fields, "description", json!(new.description));
        put(&mut fields, "contentType", json!(new.content_type));
        let made = self.graphql(documents::CREATE_STYLE, input(fields)).await?;
        style(&made).ok_or_else(|| made.odd("the new style"))
    }

    /// Says what a picture at Layer shows. Sent once.
    pub async fn describe(&self, workspace: &WorkspaceId, url: &str) -> Result<String, ApiError> {
        let fields = json!({ "workspaceId": workspace.as_str(), "imageUrl": url });
        words(&self.graphql(documents::DESCRIBE, input(fields)).await?)
    }

    /// Makes a prompt out of words, pictures at Layer and a hint; an idea where there is nothing
    /// to go by. Sent once.
    pub async fn write_prompt(
        &self,
        workspace: &WorkspaceId,
        base: Option<&str>,
        pictures: &[(FileId, String)],
        hint: Option<&str>,
    ) -> Result<String, ApiError> {
        let mut fields = json!({ "workspaceId": workspace.as_str() });
        if base.is_none() && pictures.is_empty() && hint.is_none() {
            return words(&self.graphql(documents::GENERATE_PROMPT, input(fields)).await?);
        }
        let picture = |(id, url): &(FileId, String)| json!({ "url": url, "type": "PROMPT", "fileId": id.as_str() });
        let pictures: Vec<Value> = pictures.iter().map(picture).collect();
        put(&mut fields, "prompt", json!(base));
        put(&mut fields, "guidance", json!(hint));
        if !pictures.is_empty() {
            put(&mut fields, "images", json!(pictures));
        }
        words(&self.graphql(documents::TRANSFORM_PROMPT, input(fields)).await?)
    }

    /// Where files lie, in the order of their ids; `None` for one that is not there.
    pub async fn file_addresses(&self, ids: &[FileId]) -> Result<Vec<Option<String>>, ApiError> {
        let texts: Vec<&str> = ids.iter().map(FileId::as_str).collect();
        let found = self.graphql(documents::FILES, input(json!({ "fileIds": texts }))).await?;
        let found: Vec<&Value> = found.as_array().into_iter().flatten().collect();
        let address = |id: &FileId| {
            let file = found.iter().find(|file| text(file, "id") == Some(id.as_str()))?;
            text(file, "url").filter(|url| !url.is_empty()).map(str::to_owned)
        };
        Ok(ids.iter().map(address).collect())
    }

    /// Runs of the workspace, by whatever program they were started.
    pub async fn past_runs(
        &self,
        workspace: &WorkspaceId,
        limit: u32,
        after: Option<&str>,
    ) -> Result<HistoryPage<PastRun>, ApiError> {
        let mut fields = page_input(limit, after);
        put(&mut fields, "includeAssets", json!(true));
        let list = self.of_workspace(workspace, documents::PAST_RUNS, "inferences", fields).await?;
        page(&list, limit, past_run)
    }

    /// Files of the workspace.
    pub async fn past_files(
        &self,
        workspace: &WorkspaceId,
        limit: u32,
        after: Option<&str>,
    ) -> Result<HistoryPage<PastFile>, ApiError> {
        let fields = page_input(limit, after);
        let list = self.of_workspace(workspace, documents::PAST_FILES, "files", fields).await?;
        page(&list, limit, past_file)
    }

    /// Sessions of the workspace.
    pub async fn sessions(
        &self,
        workspace: &WorkspaceId,
        limit: u32,
        after: Option<&str>,
    ) -> Result<HistoryPage<Session>, ApiError> {
        let fields = page_input(limit, after);
        let list = self.of_workspace(workspace, documents::SESSIONS, "sessions", fields).await?;
        page(&list, limit, session)
    }

    /// What the workspace's plan allows.
    pub async fn plan(&self, workspace: &WorkspaceId) -> Result<Plan, ApiError> {
        let name = self.graphql_name(workspace).await?;
        let found = self.graphql(documents::PLAN, json!({ "name": name })).await?;
        let disabled = found.get("disabledModalities").and_then(Value::as_array);
        let disabled = disabled.into_iter().flatten().filter_map(Value::as_str);
        Ok(Plan { tier: word(&found, "planTier"), disabled: disabled.map(lower).collect() })
    }

    /// What the workspace spent, by day and by model.
    pub async fn usage(&self, workspace: &WorkspaceId) -> Result<Usage, ApiError> {
        let fields = json!({
            "workspaceId": workspace.as_str(), "filtering": [], "groupBy": ["MODEL_ID"],
        });
        let found = self.graphql(documents::USAGE, input(fields)).await?;
        Ok(Usage::read(&found))
    }

    async fn graphql(&self, document: Document, variables: Value) -> Result<Found, ApiError> {
        graphql::ask(&self.http, &self.paths, document, variables).await
    }

    /// A list of the workspace.
    async fn of_workspace(
        &self,
        workspace: &WorkspaceId,
        document: Document,
        list: &str,
        fields: Value,
    ) -> Result<Found, ApiError> {
        let name = self.graphql_name(workspace).await?;
        let found = self.graphql(document, json!({ "name": name, "input": fields })).await?;
        let value = found.get(list).cloned().ok_or_else(|| found.odd("the list"))?;
        Ok(Found { value, ..found })
    }

    /// The name by which GraphQL knows a workspace that REST knows by its id.
    async fn graphql_name(&self, workspace: &WorkspaceId) -> Result<String, ApiError> {
        let mut known = self.names.lock().await;
        if let Some(name) = known.get(workspace) {
            return Ok(name.clone());
        }
        let user = self.graphql(documents::MEMBERSHIPS, json!({})).await?;
        let edges = user.get("memberships").and_then(|list| list.get("edges"));
        let edges = edges.and_then(Value::as_array).into_iter().flatten();
        let mut mine = edges.filter_map(|edge| edge.get("node")?.get("workspace"));
        let is_it = |id: &str| id.eq_ignore_ascii_case(workspace.as_str());
        let found = mine.find(|one| text(one, "id").is_some_and(is_it));
        let name = match found.and_then(|one| text(one, "name")) {
            Some(name) => name.to_owned(),
            // Its slug is the name in the app's addresses, which is likely the same.
            None => self.workspace(workspace).await?.slug,
        };
        known.insert(workspace.clone(), name.clone());
        Ok(name)
    }
}

/// A cursor is given to a model and back; a longer one would fill its memory.
const LONGEST_CURSOR: usize = 2_000;

fn page_input(limit: u32, after: Option<&str>) -> Value {
    let mut fields = json!({ "first": limit });
    put(&mut fields, "after", json!(after));
    fields
}

/// Adds a field unless it is null.
fn put(fields: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = fields
        && !value.is_null()
    {
        fields.insert(name.to_owned(), value);
    }
}

fn page<T>(
    list: &Found,
    limit: u32,
    read: fn(&Value) -> Option<T>,
) -> Result<HistoryPage<T>, ApiError> {
    if !list.is_object() {
        return Err(list.odd("the list"));
    }
    let info = list.get("pageInfo").unwrap_or(&Value::Null);
    let edges = list.get("edges").and_then(Value::as_array).into_iter().flatten();
    let more = info.get("hasNextPage").and_then(Value::as_bool).unwrap_or(false);
    Ok(HistoryPage {
        // One odd entry must not hide the others.
        items: edges.take(limit as usize).filter_map(|edge| read(edge.get("node")?)).collect(),
        next: text(info, "endCursor")
            .filter(|cursor| more && cursor.len() <= LONGEST_CURSOR)
            .map(str::to_owned),
        total: info.get("totalCount").and_then(Value::as_u64),
    })
}

fn style(item: &Value) -> Option<Style> {
    let missing = item.get("trainingReadinessErrors").and_then(Value::as_array);
    let missing = missing.into_iter().flatten().filter_map(Value::as_str);
    Some(Style {
        id: text(item, "id")?.parse().ok()?,
        name: line(item, "name", 120),
        description: line(item, "description", 300),
        status: word(item, "status").unwrap_or_default(),
        content_type: word(item, "contentType"),
        modality: text(item, "modality").and_then(Modality::from_word),
        missing: missing.map(|said| clean_line(said, 200)).collect(),
        prompt_prefix: some_line(item, "promptPrefix"),
        prompt_suffix: some_line(item, "promptSuffix"),
    })
}

/// A run makes at most 16.
const MOST_FILES: usize = 20;

fn past_run(item: &Value) -> Option<PastRun> {
    // A scalar that comes as an object, and was seen as the text of one.
    let parameters = match item.get("parameters") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(object) => object.clone(),
        None => Value::Null,
    };
    let styles = item.get("styles").and_then(Value::as_array).into_iter().flatten();
    let named = |style: &Value| some_line(style, "name").or_else(|| some_line(style, "id"));
    let files = item.get("files").and_then(Value::as_array).into_iter().flatten();
    let mut models: Vec<String> = styles.filter_map(named).collect();
    if models.is_empty() {
        let styles = parameters.get("styles").and_then(Value::as_array).into_iter().flatten();
        models = styles.filter_map(|style| some_line(style, "id")).collect();
    }
    Some(PastRun {
        id: text(item, "id")?.parse().ok()?,
        status: word(item, "status").unwrap_or_default(),
        created_at: line(item, "createdAt", 40),
        prompt: line(&parameters, "prompt", 300),
        seed: parameters.get("seed").and_then(Value::as_u64),
        models,
        error: word(item, "errorCode"),
        files: files.take(MOST_FILES).filter_map(past_file).collect(),
    })
}

fn past_file(item: &Value) -> Option<PastFile> {
    let number = |name: &str| match item.get(name)? {
        // A `Long` comes as a text where it might not fit a number.
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    Some(PastFile {
        id: text(item, "id")?.parse().ok()?,
        name: line(item, "name", 120),
        status: word(item, "status").unwrap_or_default(),
        media_type: line(item, "contentType", 80),
        bytes: number("sizeBytes"),
        width: number("width"),
        height: number("height"),
        created_at: line(item, "createdAt", 40),
        generated: item.get("isGenerated").and_then(Value::as_bool),
        caption: some_line(item, "autoCaption"),
    })
}

fn session(item: &Value) -> Option<Session> {
    Some(Session {
        id: line(item, "id", 80),
        name: line(item, "name", 120),
        status: word(item, "status").unwrap_or_default(),
        created_at: line(item, "createdAt", 40),
        last_used_at: line(item, "lastInteractedAt", 40),
    })
}

/// The value of a `StringWrapper`, as far as a model should read it.
fn words(found: &Found) -> Result<String, ApiError> {
    let said = text(found, "value").map(|said| clean(said, 20_000)).unwrap_or_default();
    if said.trim().is_empty() { Err(found.odd("the text")) } else { Ok(said.trim().to_owned()) }
}

fn text<'a>(item: &'a Value, name: &str) -> Option<&'a str> {
    item.get(name).and_then(Value::as_str)
}

fn line(item: &Value, name: &str, most: usize) -> String {
    text(item, name).map(|said| clean_line(said, most)).unwrap_or_default()
}

fn some_line(item: &Value, name: &str) -> Option<String> {
    Some(line(item, name, 300)).filter(|said| !said.is_empty())
}

/// A word of an enum, whichever it is.
fn word(item: &Value, name: &str) -> Option<String> {
    text(item, name).map(lower).filter(|word| !word.is_empty())
}

fn lower(word: &str) -> String {
    clean_line(word, 60).to_ascii_lowercase()
}
