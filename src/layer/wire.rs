//! JSON exactly as Layer's REST API has it, and the way from there to our nouns.
//!
//! Reading is forgiving where Layer's documents disagree with each other or with what its users
//! saw: names of fields, case of words, objects where lists were expected. Nothing outside this
//! file knows about that.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::ids::{FileId, ModelId, WorkflowId, WorkspaceId};
use super::inference::{
    Completed, Failure, Inference, InferenceRequest, Normalized, Output, Price, Quality, RunStatus,
    Started, StatusWord, Task, fold_status, poll_interval,
};
use super::model::{Capabilities, Modality, Model, ModelDetails};
use super::units::CreativeUnits;
use super::upload::{Ticket, Upload};
use super::workflow::{Steps, Workflow, WorkflowInput, WorkflowRequest};
use super::workspace::Workspace;
use crate::redact::{clean, clean_line};

/// The answer has not the form that the interface gives it; names the field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the field `{0}` is missing or has an unexpected form")]
pub(super) struct Malformed(&'static str);

type Parsed<T> = Result<T, Malformed>;

/// The flat body of execute and, without the seed, of estimate (Layer REST reference). The nested
/// form of Layer's quickstart is never sent.
#[derive(Serialize)]
pub(super) struct InferenceBody<'a> {
    model_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    // Always sent: the service's own default is 4.
    batch_size: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Quality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    transparency: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tileability: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    remove_background: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reframe: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vectorize: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    upscale_ratio: Option<f64>,
    #[serde(flatten)]
    options: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Mask<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guidance_files: Vec<GuidanceFile<'a>>,
}

#[derive(Serialize)]
struct Mask<'a> {
    file_id: &'a str,
}

#[derive(Serialize)]
struct GuidanceFile<'a> {
    file_id: &'a str,
    #[serde(rename = "type")]
    role: &'a str,
}

impl<'a> InferenceBody<'a> {
    pub(super) fn execute(request: &'a InferenceRequest) -> Self {
        Self {
            model_id: request.model.as_str(),
            prompt: (!request.unprompted).then_some(request.prompt.as_str()),
            negative_prompt: request.negative_prompt.as_deref(),
            width: request.width,
            height: request.height,
            batch_size: request.count,
            quality: request.quality,
            duration_seconds: request.duration_seconds,
            transparency: request.transparency,
            tileability: request.tileability,
            seed: request.seed,
            remove_background: request.task == Some(Task::RemoveBackground),
            reframe: request.task == Some(Task::Reframe),
            vectorize: request.task == Some(Task::Vectorize),
            upscale_ratio: request.upscale_ratio,
            options: request.options.fields(),
            mask: request.mask.as_ref().map(|mask| Mask { file_id: mask.as_str() }),
            guidance_files: request
                .references
                .iter()
                .map(|one| GuidanceFile { file_id: one.file.as_str(), role: &one.role })
                .collect(),
        }
    }

    /// Estimate's documented fields: it knows neither a seed nor files nor a mask.
    pub(super) fn estimate(request: &'a InferenceRequest) -> Self {
        Self {
            seed: None,
            options: request.options.priced_fields(),
            mask: None,
            guidance_files: Vec::new(),
            ..Self::execute(request)
        }
    }
}

/// The question for a signed address (Layer REST reference, "Request signed upload URL").
#[derive(Serialize)]
pub(super) struct UploadBody<'a> {
    content_type: &'static str,
    file_size_bytes: u64,
    file_name: &'a str,
}

impl<'a> UploadBody<'a> {
    pub(super) fn of(file: &'a Upload) -> Self {
        Self { content_type: file.media_type, file_size_bytes: file.size(), file_name: &file.name }
    }
}

pub(super) fn ticket(body: &Value) -> Parsed<Ticket> {
    let text = |name: &'static str| string(body, &[name]).ok_or(Malformed(name));
    let media_type = text("content_type")?;
    let plain = |byte: u8| byte.is_ascii_graphic();
    if !media_type.bytes().all(plain) {
        return Err(Malformed("content_type"));
    }
    Ok(Ticket {
        file: FileId::try_from(text("file_id")?.to_owned()).map_err(|_| Malformed("file_id"))?,
        address: text("upload_url")?.to_owned(),
        media_type: media_type.to_owned(),
    })
}

/// One page of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

pub(super) fn workspaces(body: &Value) -> Parsed<Page<Workspace>> {
    page(body, "workspaces", workspace)
}

pub(super) fn workspace(item: &Value) -> Parsed<Workspace> {
    let text = |name: &'static str| {
        item.get(name).and_then(Value::as_str).map(|text| clean_line(text, 200)).unwrap_or_default()
    };
    let amount = |name: &'static str| units(item.get(name)).ok_or(Malformed(name));
    let id = string(item, &["workspace_id", "id"]).ok_or(Malformed("workspace_id"))?;
    let balance = amount("balance_creative_units")?;
    let reserved = units(item.get("reserved_creative_units")).unwrap_or_default();
    Ok(Workspace {
        id: WorkspaceId::try_from(id.to_owned()).map_err(|_| Malformed("workspace_id"))?,
        name: text("name"),
        slug: text("slug"),
        balance,
        reserved,
        available: units(item.get("available_creative_units"))
            .unwrap_or_else(|| balance.minus(reserved)),
        allow_negative_balance: item.get("allow_negative_balance").and_then(Value::as_bool),
    })
}

pub(super) fn models(body: &Value) -> Parsed<Page<Model>> {
    page(body, "models", model)
}

fn model(item: &Value) -> Parsed<Model> {
    let id = string(item, &["model_id", "base_model_id", "id"]).ok_or(Malformed("model_id"))?;
    let id = ModelId::try_from(id.to_owned()).map_err(|_| Malformed("model_id"))?;
    let name = string(item, &["name"]).map(|name| clean_line(name, 200)).unwrap_or_default();
    Ok(Model {
        name: if name.is_empty() { id.to_string() } else { name },
        id,
        modality: string(item, &["modality"]).and_then(Modality::from_word),
        reference_types: reference_types(item),
        capabilities: match item.get("capabilities") {
            Some(Value::Array(names)) => {
                Capabilities::from_names(names.iter().filter_map(Value::as_str))
            }
            Some(Value::Object(flags)) => Capabilities::from_names(
                flags
                    .iter()
                    .filter(|(_, on)| on.as_bool() == Some(true))
                    .map(|(name, _)| name.as_str()),
            ),
            _ => Capabilities::default(),
        },
    })
}

/// One model's own page. The names of its fields were seen on the hosted MCP server only.
pub(super) fn model_details(body: &Value) -> ModelDetails {
    let item = body.get("model").unwrap_or(body);
    ModelDetails {
        reference_types: reference_types(item),
        most_references: item.get("max_guidance_files").and_then(Value::as_u64),
    }
}

fn reference_types(item: &Value) -> Vec<String> {
    let types = item.get("guidance_file_types").and_then(Value::as_array);
    let word = |word: &Value| word.as_str().map(|word| clean_line(word, 60));
    types.into_iter().flatten().filter_map(word).collect()
}

fn page<T>(body: &Value, name: &'static str, parse: fn(&Value) -> Parsed<T>) -> Parsed<Page<T>> {
    let items = body.get(name).and_then(Value::as_array).ok_or(Malformed(name))?;
    let pagination = body.get("pagination");
    let cursor = pagination.and_then(|at| string(at, &["next_cursor"])).map(str::to_owned);
    let more = pagination.and_then(|at| at.get("has_more_results")).and_then(Value::as_bool);
    Ok(Page {
        // One odd entry must not hide the others.
        items: items.iter().filter_map(|item| parse(item).ok()).collect(),
        next_cursor: cursor.filter(|cursor| !cursor.is_empty() && more != Some(false)),
    })
}

pub(super) fn price(body: &Value) -> Parsed<Price> {
    let amount = |name: &'static str| units(body.get(name)).ok_or(Malformed(name));
    let estimated = amount("estimated_price_creative_units")?;
    if estimated < CreativeUnits::ZERO {
        return Err(Malformed("estimated_price_creative_units"));
    }
    let available = amount("workspace_balance_creative_units")?;
    Ok(Price {
        estimated,
        available,
        sufficient: body
            .get("has_sufficient_creative_units")
            .and_then(truth)
            .unwrap_or(available >= estimated),
        degraded: match body.get("reference_sets_degraded") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(sets)) => !sets.is_empty(),
            Some(Value::String(sets)) => !sets.is_empty(),
            Some(_) => true,
        },
    })
}

pub(super) fn started(body: &Value) -> Parsed<Started> {
    let id = id_text(body, &["inference_id", "run_id", "id"])
        .and_then(|id| id.parse().ok())
        .ok_or(Malformed("inference_id` or `run_id"))?;
    let normalized = body.get("normalized_parameters");
    let used = |name| normalized.and_then(|all| number(all.get(name)));
    Ok(Started {
        id,
        estimated: units(body.get("estimated_price_creative_units"))
            .filter(|named| *named >= CreativeUnits::ZERO),
        poll_after: poll_interval(number(body.get("poll_interval_seconds"))),
        normalized: Normalized {
            width: used("width"),
            height: used("height"),
            batch_size: used("batch_size"),
            duration_seconds: used("duration_seconds"),
            fps: used("fps"),
            num_inference_steps: used("num_inference_steps"),
            guidance_scale: used("guidance_scale"),
        },
    })
}

/// One look at a run; `of_workflow` where its outputs may be words.
pub(super) fn run(body: &Value, of_workflow: bool) -> Parsed<Inference> {
    let word = string(body, &["status"]).ok_or(Malformed("status"))?;
    let charged = ["actual_price_creative_units", "price_creative_units"]
        .into_iter()
        .find_map(|name| units(body.get(name)))
        // No run pays its user; a negative number would only widen a budget.
        .filter(|charged| *charged >= CreativeUnits::ZERO);
    let status = match fold_status(word) {
        StatusWord::Running => RunStatus::Running,
        StatusWord::Cancelled => RunStatus::Cancelled(charged),
        StatusWord::Complete => {
            let mut outputs = outputs(body);
            outputs.retain(|output| of_workflow || output.text.is_none());
            RunStatus::Complete(Completed { outputs, charged })
        }
        StatusWord::Failed => {
            let (code, message) = failure(body);
            RunStatus::Failed(Failure { code, message, charged })
        }
    };
    Ok(Inference {
        status,
        poll_after: poll_interval(number(body.get("poll_interval_seconds"))),
        completed_at: string(body, &["completed_at"]).and_then(|at| at.parse::<Timestamp>().ok()),
        steps: body.get("steps").and_then(steps),
    })
}

fn steps(listed: &Value) -> Option<Steps> {
    let steps = listed.as_array().filter(|steps| !steps.is_empty())?;
    let word = |step: &Value| fold_status(string(step, &["status"]).unwrap_or_default());
    let under_way = |step: &&Value| {
        let status = string(step, &["status"]).unwrap_or_default().to_ascii_lowercase();
        word(step) == StatusWord::Running && !matches!(status.as_str(), "pending" | "queued" | "")
    };
    let named = |step: &Value| string(step, &["name", "display_name"]).map(|it| clean_line(it, 80));
    Some(Steps {
        done: steps.iter().filter(|step| word(step) == StatusWord::Complete).count(),
        total: steps.len(),
        current: steps.iter().find(under_way).and_then(named),
    })
}

/// The body of estimate and execute of a workflow.
pub(super) fn workflow_body(request: &WorkflowRequest) -> Value {
    serde_json::json!({ "inputs": request.inputs })
}

pub(super) fn workflows(body: &Value) -> Parsed<Page<Workflow>> {
    page(body, "workflows", workflow)
}

pub(super) fn workflow(item: &Value) -> Parsed<Workflow> {
    let item = item.get("workflow").filter(|inner| inner.is_object()).unwrap_or(item);
    let id = string(item, &["workflow_id", "id"]).ok_or(Malformed("workflow_id"))?;
    let text = |item: &Value, name: &str, most| {
        string(item, &[name]).map(|text| clean_line(text, most)).unwrap_or_default()
    };
    let list = |name: &str| item.get(name).and_then(Value::as_array).into_iter().flatten();
    // A list, or an object by name.
    let named: Vec<(Option<&String>, &Value)> = match item.get("inputs") {
        Some(Value::Object(inputs)) => inputs.iter().map(|(key, it)| (Some(key), it)).collect(),
        _ => list("inputs").map(|it| (None, it)).collect(),
    };
    let schema = |item: &Value| match item.get("value_schema") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        other => other.cloned().unwrap_or_default(),
    };
    let input = |(key, item): (Option<&String>, &Value)| {
        let name = string(item, &["name", "key"]).or(key.map(String::as_str))?.to_owned();
        Some(WorkflowInput {
            display_name: text(item, "display_name", 80),
            description: text(item, "description", 300),
            kind: text(item, "type", 60),
            required: item.get("required").and_then(truth).unwrap_or(false),
            default: item.get("default").filter(|value| !value.is_null()).cloned(),
            schema: schema(item),
            name,
        })
    };
    Ok(Workflow {
        id: WorkflowId::try_from(id.to_owned()).map_err(|_| Malformed("workflow_id"))?,
        name: text(item, "name", 120),
        description: text(item, "description", 500),
        inputs: named.into_iter().filter_map(input).collect(),
        outputs: list("outputs")
            .map(|item| (text(item, "name", 80), text(item, "description", 200)))
            .collect(),
        modality: string(item, &["modality"]).and_then(Modality::from_word),
    })
}

fn failure(body: &Value) -> (Option<String>, Option<String>) {
    let nested = body.get("error").filter(|error| error.is_object());
    let code = string(body, &["error_code"])
        .or_else(|| nested.and_then(|error| string(error, &["code", "type"])));
    let message = string(body, &["error_message", "error", "message"])
        .or_else(|| nested.and_then(|error| string(error, &["message", "title"])));
    let message = message.map(|said| {
        let meaning = if is_a_joke(said) { JOKE } else { "" };
        format!("{}{meaning}", clean_line(said, 300))
    });
    (code.map(|code| clean_line(code, 80)), message)
}

const OUTPUT_LISTS: [&str; 4] = ["outputs", "files", "assets", "result"];
/// Outputs lie in lists in objects in lists; nothing seen lies nearly as deep.
const DEEPEST: usize = 32;

fn outputs(body: &Value) -> Vec<Output> {
    let mut found = OUTPUT_LISTS
        .into_iter()
        .filter_map(|name| body.get(name))
        .map(|listed| {
            let mut found = Vec::new();
            collect(listed, None, DEEPEST, &mut found);
            found
        })
        .find(|found: &Vec<Output>| !found.is_empty())
        .unwrap_or_default();
    found.sort_by_key(|output| output.text.is_some());
    found
}

/// Outputs as a list, as a single one, by the name of a workflow's output, or as a list of names
/// and values.
fn collect(value: &Value, name: Option<&str>, depth: usize, found: &mut Vec<Output>) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, deeper, found)),
        Value::Object(fields) => {
            if let Some(output) = file_output(value, name) {
                found.push(output);
            } else if let Some(inner) = fields.get("value") {
                collect(inner, string(value, &["name", "key"]).or(name), deeper, found);
            } else if let Some(text) = fields.get("text").and_then(Value::as_str) {
                found.extend(text_output(text, string(value, &["name", "key"]).or(name)));
            } else {
                fields.iter().for_each(|(key, inner)| {
                    let key =
                        if OUTPUT_LISTS.contains(&key.as_str()) { name } else { Some(&**key) };
                    collect(inner, key, deeper, found);
                });
            }
        }
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => {
                collect(&inner, name, deeper, found)
            }
            _ => found.extend(text_output(text, name)),
        },
        Value::Number(_) | Value::Bool(_) => found.extend(text_output(&value.to_string(), name)),
        _ => {}
    }
}

fn file_output(item: &Value, name: Option<&str>) -> Option<Output> {
    let id = string(item, &["file_id", "id"]).and_then(|id| FileId::try_from(id.to_owned()).ok());
    let url = string(item, &["url", "download_url", "signed_url"]);
    let named = string(item, &["name"]).or(name).map(|name| clean_line(name, 80));
    let is_one = url.is_some() || (id.is_some() && item.get("file_id").is_some());
    is_one.then(|| Output {
        file_id: id,
        name: named,
        text: None,
        url: url.unwrap_or_default().to_owned(),
    })
}

/// A text that is an address or the id of a file stands for that file.
fn text_output(text: &str, name: Option<&str>) -> Option<Output> {
    let name = name.map(|name| clean_line(name, 80));
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some(Output { name, url: text.to_owned(), ..Output::default() });
    }
    if uuid::Uuid::try_parse(text).is_ok() {
        let file_id = FileId::try_from(text.to_owned()).ok();
        return Some(Output { file_id, name, ..Output::default() });
    }
    let text = clean(text, LONGEST_TEXT);
    (!text.trim().is_empty()).then(|| Output { name, text: Some(text), ..Output::default() })
}

/// Words beyond this would fill a model's memory.
const LONGEST_TEXT: usize = 18_000;

/// The service's code and message in an error's body, in any of the forms seen or suspected:
/// `{"error": {...}}`, `{"error": "..."}`, `{"detail": "..."}`, FastAPI's list of details, and the
/// flat object of its GraphQL side. Text that is none of these is returned as the message.
pub(super) fn error_details(body: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body.get(..2_000).unwrap_or(body));
        let text = clean_line(&without_tags(&text), 200);
        return (None, Some(text).filter(|text| !text.trim().is_empty()));
    };
    let inner = ["error", "detail"]
        .into_iter()
        .filter_map(|name| value.get(name))
        .find(|inner| inner.is_object())
        .unwrap_or(&value);
    let code = string(inner, &["code", "error_code", "type"]).map(|code| clean_line(code, 80));
    let message = match value.get("detail") {
        Some(Value::Array(details)) => Some(validation(details)),
        _ => string(inner, &["message", "detail", "error", "title"]).map(str::to_owned),
    };
    let message = message.or_else(|| code.is_none().then(|| value.to_string()));
    (code, message.map(|message| clean_line(&message, 300)).filter(|text| !text.is_empty()))
}

/// The service's words in quotes, and what they mean where they mean nothing by themselves.
pub(super) fn in_plain_words(said: &str) -> String {
    if said.trim().is_empty() {
        return "without a word".to_owned();
    }
    format!("\"{said}\"{}", if is_a_joke(said) { JOKE } else { "" })
}

/// The one sentence that the service has for every failure that it does not explain.
fn is_a_joke(said: &str) -> bool {
    said.to_ascii_lowercase().contains("pixel wizard")
}

const JOKE: &str = " (its word for any failure: trouble of its own, too many runs at once, or a \
                    request that it does not allow)";

/// Whether a body tells the id of a run, which whatever started it must have.
pub(super) fn names_a_run(body: &[u8]) -> bool {
    let value = serde_json::from_slice::<Value>(body).unwrap_or_default();
    string(&value, &["inference_id", "run_id"]).is_some()
}

/// The words of a page, which gateways answer with in the service's place. Other text stays as it
/// is.
fn without_tags(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let words = text.split('<').map(|part| part.split_once('>').map_or("", |(_, words)| words));
    words.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// FastAPI's details as `width: must be greater than 0; prompt: field required`.
fn validation(details: &[Value]) -> String {
    let sentences = details.iter().take(5).map(|detail| {
        let message = string(detail, &["msg", "message"]).unwrap_or("not valid");
        let place: Vec<String> = detail
            .get("loc")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|part| part.as_str() != Some("body"))
            .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
            .collect();
        if place.is_empty() {
            message.to_owned()
        } else {
            format!("{}: {message}", place.join("."))
        }
    });
    sentences.collect::<Vec<_>>().join("; ")
}

fn string<'a>(value: &'a Value, names: &[&str]) -> Option<&'a str> {
    let fields: &Map<String, Value> = value.as_object()?;
    let text = |name: &&str| fields.get(*name).and_then(Value::as_str);
    names.iter().find_map(text).filter(|text| !text.is_empty()).or_else(|| {
        // An empty field is no answer while another may hold one.
        names.iter().filter_map(text).find(|text| !text.is_empty())
    })
}

fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) => word.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// An id, which may come as a number.
fn id_text(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn units(value: Option<&Value>) -> Option<CreativeUnits> {
    number(value).and_then(CreativeUnits::from_number)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "a failed unwrap is a failed test"
    )]

    use serde_json::json;

    use super::*;

    fn done(body: Value) -> Completed {
        match run(&body, false).unwrap().status {
            RunStatus::Complete(completed) => completed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn outputs_are_found_under_every_name_and_form() {
        let item = json!({"file_id": "f1", "url": "https://h/a.png"});
        for body in [
            json!({"outputs": [item]}),
            json!({"files": [{"file_id": "f1", "download_url": "https://h/a.png"}]}),
            json!({"assets": [{"id": "f1", "signed_url": "https://h/a.png"}]}),
            json!({"result": item}),
            json!({"result": {"files": [item]}}),
            json!({"outputs": [], "files": [item]}),
            json!({"outputs": item}),
        ] {
            let mut whole = body.clone();
            whole["status"] = json!("COMPLETED");
            let found = done(whole).outputs;
            assert_eq!(found.len(), 1, "{body}");
            assert_eq!(found[0].url, "https://h/a.png", "{body}");
            assert_eq!(found[0].file_id.as_ref().unwrap().as_str(), "f1", "{body}");
        }
        assert!(done(json!({"status": "complete"})).outputs.is_empty());
    }

    #[test]
    fn odd_prices_ids_and_addresses_do_not_mislead() {
        let paid = |body: Value| done(body).charged;
        assert_eq!(paid(json!({"status": "done", "actual_price_creative_units": -100})), None);
        let exact = paid(json!({"status": "done", "actual_price_creative_units": "1.5"}));
        assert_eq!(exact, CreativeUnits::from_number(1.5));
        let number = started(&json!({"inference_id": 12345})).unwrap();
        assert_eq!(number.id.as_str(), "12345");
        let item = json!({"status": "done", "files": [{"url": "", "download_url": "https://h/a"}]});
        assert_eq!(done(item).outputs[0].url, "https://h/a");
        let price = json!({"estimated_price_creative_units": 1,
            "workspace_balance_creative_units": 100, "has_sufficient_creative_units": "false"});
        assert!(!super::price(&price).unwrap().sufficient);
    }

    #[test]
    fn an_error_is_read_in_all_its_shapes() {
        for (body, code, message) in [
            (
                r#"{"error":{"code":"MODEL_NOT_FOUND","message":"no"}}"#,
                Some("MODEL_NOT_FOUND"),
                "no",
            ),
            (r#"{"error":"no"}"#, None, "no"),
            (r#"{"detail":"no"}"#, None, "no"),
            (
                r#"{"detail":[{"loc":["body","width"],"msg":"too big","type":"x"}]}"#,
                None,
                "width: too big",
            ),
            (
                r#"{"type":"NOT_FOUND_ERROR","code":"X","title":"T","message":"no","data":null}"#,
                Some("X"),
                "no",
            ),
            ("<html>no</html>", None, "no"),
            (r#"{"oops":1}"#, None, r#"{"oops":1}"#),
        ] {
            let (found_code, found_message) = error_details(body.as_bytes());
            assert_eq!(found_code.as_deref(), code, "{body}");
            assert_eq!(found_message.as_deref(), Some(message), "{body}");
        }
        assert_eq!(error_details(b""), (None, None));
    }

    #[test]
    fn models_are_read_whatever_their_ids_and_capabilities_are_called() {
        let body = json!({"models": [
            {"model_id": "flux", "name": "FLUX", "modality": "image",
             "capabilities": {"text_to_image": true, "negative_prompt": false}},
            {"base_model_id": "b", "modality": "THREE_D", "capabilities": ["textTo3D"]},
            {"id": "c", "name": "C", "modality": "hologram"},
            {"name": "no id"}
        ], "pagination": {"has_more_results": true, "next_cursor": "n", "total_count": null}});
        let page = models(&body).unwrap();
        assert_eq!(page.items.len(), 3);
        assert!(page.items[0].capabilities.has("text_to_image"));
        assert!(!page.items[0].capabilities.has("negative_prompt"));
        assert_eq!(page.items[1].modality, Some(Modality::ThreeD));
        assert!(page.items[1].capabilities.has("text_to_3d"));
        assert_eq!(page.items[2].modality, None);
        assert_eq!(page.next_cursor.as_deref(), Some("n"));
    }
}
