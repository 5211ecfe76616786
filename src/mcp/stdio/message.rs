//! One line of input, judged: a message for rmcp, a refusal for the client, or nothing.

use rmcp::{
    ErrorData,
    model::{
        CallToolRequestParams, CancelTaskParams, ClientJsonRpcMessage, ClientNotification,
        ClientRequest, ClientResult, CompleteRequestParams, CustomRequest, GetPromptRequestParams,
        GetTaskParams, InitializeRequestParams, PaginatedRequestParams, ReadResourceRequestParams,
        RequestId, UpdateTaskParams,
    },
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value};

use super::framing::{IdScanner, is_id};

/// What a line was.
#[derive(Debug)]
pub(super) enum Message {
    Request(RequestId, Box<ClientRequest>),
    Notification(ClientNotification),
    /// The client's answer to a request of ours.
    Answer(Box<ClientJsonRpcMessage>),
    Refused(Refusal),
    /// Neither of use nor to be answered: a blank line, or a notification or an answer that
    /// cannot be read. Nobody waits for these, and answering an answer could go on for ever.
    Nothing,
}

/// An error for the client about a message that did not get as far as rmcp.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    jsonrpc: &'static str,
    /// Left out where it could not be read: MCP's schema has an optional id here, and no null.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    error: ErrorData,
}

impl Refusal {
    fn new(id: Option<Value>, error: ErrorData) -> Self {
        Self { jsonrpc: "2.0", id: id.filter(is_id), error }
    }

    pub(super) fn duplicate(id: RequestId) -> Self {
        let error = ErrorData::invalid_request("a request with this `id` is still running", None);
        Self::new(Some(id.into_json_value()), error)
    }

    pub(super) fn too_long(id: Option<Value>, limit: usize) -> Self {
        let error = format!("the message is longer than {} MiB", limit / (1024 * 1024));
        Self::new(id, ErrorData::invalid_request(error, None))
    }

    fn invalid(id: Option<Value>, what: &'static str) -> Message {
        Message::Refused(Self::new(id, ErrorData::invalid_request(what, None)))
    }

    fn unreadable(line: &[u8], error: &serde_json::Error) -> Message {
        let mut scanner = IdScanner::default();
        scanner.feed(line);
        let what = format!("the line is not JSON that can be read: {error}");
        Message::Refused(Self::new(scanner.finish(), ErrorData::parse_error(what, None)))
    }

    fn params(id: RequestId, method: &str, why: &str) -> Message {
        let mut what = format!("the params of `{method}` cannot be read: {why}");
        // serde quotes the value it does not like, which may be megabytes of it.
        if let Some((cut, _)) = what.char_indices().nth(300) {
            what.truncate(cut);
            what.push('…');
        }
        let error = ErrorData::invalid_params(what, None);
        Message::Refused(Self::new(Some(id.into_json_value()), error))
    }
}

/// Judges a line.
pub(super) fn read(line: &[u8]) -> Message {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Message::Nothing;
    }
    if !line.starts_with(b"{") {
        return match serde_json::from_slice::<IgnoredAny>(line) {
            Ok(_) if line.starts_with(b"[") => {
                Refusal::invalid(None, "batches are not supported: send one message per line")
            }
            Ok(_) => Refusal::invalid(None, "a message is a JSON object"),
            Err(error) => Refusal::unreadable(line, &error),
        };
    }
    let mut fields: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(fields) => fields,
        Err(error) => return Refusal::unreadable(line, &error),
    };

    let answers = fields.contains_key("result") || fields.contains_key("error");
    if answers && !fields.contains_key("method") {
        return answer(fields).map_or(Message::Nothing, |answer| Message::Answer(Box::new(answer)));
    }
    let id = fields.remove("id");
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Refusal::invalid(id, "`jsonrpc` must be \"2.0\"");
    }
    if answers {
        return Refusal::invalid(id, "a message has a `method` or a `result`, not both");
    }
    let Some(Value::String(method)) = fields.remove("method") else {
        return Refusal::invalid(id, "`method` must be a string");
    };
    let params = fields.remove("params").filter(|params| !params.is_null());
    match id.map(|id| (RequestId::deserialize(&id), id)) {
        None => notification(method, params),
        Some((Ok(id), _)) => request(id, method, params),
        Some((Err(_), id)) => {
            Refusal::invalid(Some(id), "`id` must be a string or a 64-bit integer")
        }
    }
}

fn request(id: RequestId, method: String, params: Option<Value>) -> Message {
    let known = is_known(&method);
    let params = match params {
        Some(params) if !params.is_object() => {
            if known {
                return Refusal::params(id, &method, "they must be an object");
            }
            // rmcp will say that it has no such method; what it was asked is of no interest.
            None
        }
        params => params,
    };

    // Where all params are optional, rmcp takes what it cannot read for no params at all.
    let lists = method.ends_with("/list");
    if let Some(why) =
        params.as_ref().filter(|_| known && lists).and_then(|p| complaint(&method, p))
    {
        return Refusal::params(id, &method, &why);
    }
    let body = body(&method, params);
    match ClientRequest::deserialize(&body) {
        // rmcp takes what it cannot read for a method of somebody else's.
        Ok(ClientRequest::CustomRequest(_)) | Err(_) if known => {
            let why = complaint(&method, body.get("params").unwrap_or(&Value::Null));
            let why = why.unwrap_or_else(|| "they are not what the method takes".to_owned());
            Refusal::params(id, &method, &why)
        }
        Ok(request) => Message::Request(id, Box::new(request)),
        Err(_) => Message::Request(id, Box::new(CustomRequest::new(method, None).into())),
    }
}

fn notification(method: String, params: Option<Value>) -> Message {
    ClientNotification::deserialize(&body(&method, params))
        .map_or(Message::Nothing, Message::Notification)
}

fn answer(mut fields: Map<String, Value>) -> Option<ClientJsonRpcMessage> {
    let id = RequestId::deserialize(fields.remove("id")?).ok()?;
    match (fields.remove("result"), fields.remove("error")) {
        (Some(result), None) => {
            Some(ClientJsonRpcMessage::response(ClientResult::deserialize(result).ok()?, id))
        }
        (None, Some(error)) => {
            Some(ClientJsonRpcMessage::error(ErrorData::deserialize(error).ok()?, Some(id)))
        }
        _ => None,
    }
}

/// The part of a message that rmcp's requests and notifications are read from.
fn body(method: &str, params: Option<Value>) -> Value {
    let mut body = Map::new();
    body.insert("method".to_owned(), Value::from(method));
    if let Some(params) = params {
        body.insert("params".to_owned(), params);
    }
    Value::Object(body)
}

/// The methods whose unreadable params are answered with "invalid params". For all others rmcp
/// answers "method not found", which for optional parts of MCP that this server does not offer
/// (subscriptions, log levels) is true whatever the params are.
fn is_known(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "server/discover"
            | "ping"
            | "tools/list"
            | "tools/call"
            | "prompts/list"
            | "prompts/get"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "completion/complete"
            | "tasks/get"
            | "tasks/update"
            | "tasks/cancel"
    )
}

/// What is wrong with the params of a known method.
fn complaint(method: &str, params: &Value) -> Option<String> {
    fn of<P: DeserializeOwned>(params: &Value) -> Option<String> {
        P::deserialize(params).err().map(|error| error.to_string())
    }
    if params.get("_meta").is_some_and(|meta| !meta.is_object() && !meta.is_null()) {
        return Some("`_meta` must be an object".to_owned());
    }
    match method {
        "initialize" => of::<InitializeRequestParams>(params),
        "tools/call" => of::<CallToolRequestParams>(params),
        "prompts/get" => of::<GetPromptRequestParams>(params),
        "resources/read" => of::<ReadResourceRequestParams>(params),
        "completion/complete" => of::<CompleteRequestParams>(params),
        "tasks/get" => of::<GetTaskParams>(params),
        "tasks/update" => of::<UpdateTaskParams>(params),
        "tasks/cancel" => of::<CancelTaskParams>(params),
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
            of::<PaginatedRequestParams>(params)
        }
        _ => None,
    }
}

/// Some editors and shells put it in front of text; RFC 8259 lets a parser ignore it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
