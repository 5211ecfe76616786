//! Uploads: the signed URL, and the storage host that it leads to (Layer REST reference, request
//! signed upload URL; the storage host behaves like Google Cloud Storage's XML API).

use std::collections::HashMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::Row;
use url::form_urlencoded;
use uuid::Uuid;

use super::App;

use super::answers::Dropped;
use super::api::{Answer, json_body, workspace};
use super::clock::signing_stamp;
use super::faults::Fault;
use super::fields::Fields;

/// The media types that can be uploaded.
const CONTENT_TYPES: &[&str] =
    &["audio/mpeg", "audio/wav", "image/jpeg", "image/png", "image/webp", "video/mp4"];
const MAX_BYTES: i64 = 64 * 1024 * 1024;
/// A signed URL says how long it lives, so it lives that long whatever the sandbox's speed is.
const EXPIRES_SECONDS: i64 = 15 * 60;
/// Chunks before the last are multiples of this.
const CHUNK_UNIT: i64 = 256 * 1024;
const SIGNED_HEADERS: &str = "content-type;host;x-goog-content-length-range;x-goog-resumable";
const BUCKET: &str = "layer-sandbox-uploads";

/// `POST .../files/upload-url`.
pub(super) async fn url(
    State(app): State<Arc<App>>,
    Path(workspace_id): Path<String>,
    body: Bytes,
) -> Answer {
    let workspace = workspace(&app, &workspace_id).await?;
    let body = json_body(&body)?;
    let empty = serde_json::Map::new();
    let mut fields = Fields::new(body.as_object().unwrap_or(&empty), &["body"]);
    let content_type = fields.choice("content_type", CONTENT_TYPES);
    let content_type = fields.required("content_type", content_type);
    let size = fields.whole("file_size_bytes", 1, MAX_BYTES);
    let size = fields.required("file_size_bytes", size);
    let name = fields.text("file_name", 1_024);
    let Some((content_type, size)) =
        content_type.zip(size).filter(|_| fields.complaints.is_empty())
    else {
        return Err(fields.complaints.into());
    };

    let now = app.clock.now_ms();
    let file_id = Uuid::new_v4().to_string();
    let signature = hex(&Sha256::digest(format!("{file_id}{}", Uuid::new_v4())));
    let mut tx = app.store.write().await?;
    sqlx::query("INSERT INTO files VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL, 0, NULL, NULL, NULL)")
        .bind(&file_id)
        .bind(&workspace.id)
        .bind(&content_type)
        .bind(file_name(name.as_deref(), &content_type))
        .bind(now)
        .execute(&mut *tx)
        .await?;
    sqlx::query("INSERT INTO uploads VALUES (?, ?, ?, ?, NULL, 0)")
        .bind(&file_id)
        .bind(size)
        .bind(&signature)
        .bind(now + EXPIRES_SECONDS * 1_000)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;

    let date = signing_stamp(now);
    let day = date.split('T').next().unwrap_or_default();
    let credential = format!("sandbox@layer-mcp.invalid/{day}/auto/storage/goog4_request");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("X-Goog-Algorithm", "GOOG4-RSA-SHA256")
        .append_pair("X-Goog-Credential", &credential)
        .append_pair("X-Goog-Date", &date)
        .append_pair("X-Goog-Expires", &EXPIRES_SECONDS.to_string())
        .append_pair("X-Goog-SignedHeaders", SIGNED_HEADERS)
        .append_pair("X-Goog-Signature", &signature)
        .finish();
    let path = format!("/{BUCKET}/workspaces/{}/files/{file_id}", workspace.id);
    Ok(Json(json!({
        "file_id": file_id,
        "upload_url": format!("{}{path}?{query}", app.storage_url),
        "content_type": content_type,
    })))
}

/// The name that the file will have among the outputs.
fn file_name(asked: Option<&str>, content_type: &str) -> String {
    let extension = content_type.split('/').next_back().unwrap_or("bin");
    let name: String = asked
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .take(80)
        .collect();
    if name.trim_matches('.').is_empty() { format!("upload.{extension}") } else { name }
}

/// One upload as stored.
#[derive(Debug)]
struct Upload {
    file_id: String,
    content_type: String,
    size: i64,
    signature: String,
    expires: i64,
    session: Option<String>,
    received: i64,
}

/// An error of the storage host: a status and an XML code.
#[derive(Debug)]
struct StorageError(StatusCode, &'static str, &'static str);

impl IntoResponse for StorageError {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let body = format!(
            "<?xml version='1.0' encoding='UTF-8'?>\
             <Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        (status, [(header::CONTENT_TYPE, "application/xml; charset=UTF-8")], body).into_response()
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the sandbox's state cannot be read or written");
        Self::internal()
    }
}

impl From<std::io::Error> for StorageError {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "the sandbox cannot keep an upload");
        Self::internal()
    }
}

impl StorageError {
    const fn internal() -> Self {
        let message = "We encountered an internal error. Please try again.";
        Self(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    const fn malformed_header() -> Self {
        let message = "Your request has a malformed header. Header was included in signedheaders, \
                       but not in the request.";
        Self(StatusCode::BAD_REQUEST, "MalformedSecurityHeader", message)
    }

    const fn signature() -> Self {
        let message = "Access denied. The request signature we calculated does not match the \
                       signature you provided.";
        Self(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message)
    }

    const fn invalid(message: &'static str) -> Self {
        Self(StatusCode::BAD_REQUEST, "InvalidArgument", message)
    }
}

/// Everything that arrives at the storage host.
pub(super) async fn answer(app: &App, parts: &Parts, body: Bytes) -> Response {
    let query: HashMap<String, String> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let result = match upload_of(app, parts.uri.path()).await {
        Ok(Some(upload)) if parts.method == Method::POST => {
            begin(app, &upload, &query, parts, &body).await
        }
        Ok(Some(upload)) if parts.method == Method::PUT => {
            receive(app, upload, &query, &parts.headers, body).await
        }
        Ok(_) => Err(StorageError(StatusCode::NOT_FOUND, "NoSuchKey", "The key does not exist.")),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

async fn upload_of(app: &App, path: &str) -> Result<Option<Upload>, sqlx::Error> {
    let parts: Vec<_> = path.split('/').collect();
    let ["", BUCKET, "workspaces", workspace, "files", file] = parts.as_slice() else {
        return Ok(None);
    };
    let row = sqlx::query(
        "SELECT u.*, f.content_type FROM uploads u JOIN files f ON f.id = u.file
         WHERE f.id = ? AND f.workspace = ?",
    )
    .bind(file)
    .bind(workspace)
    .fetch_optional(app.store.pool())
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(Upload {
        file_id: row.try_get("file")?,
        content_type: row.try_get("content_type")?,
        size: row.try_get("size")?,
        signature: row.try_get("signature")?,
        expires: row.try_get("expires")?,
        session: row.try_get("session")?,
        received: row.try_get("received")?,
    }))
}

/// Starts a resumable session. Three headers are part of the signature.
async fn begin(
    app: &App,
    upload: &Upload,
    query: &HashMap<String, String>,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, StorageError> {
    let headers = &parts.headers;
    if query.get("X-Goog-Signature") != Some(&upload.signature)
        || query.get("X-Goog-SignedHeaders").map(String::as_str) != Some(SIGNED_HEADERS)
    {
        return Err(StorageError::signature());
    }
    if app.clock.now_ms() >= upload.expires || app.faults.strikes(Fault::ExpiredUploadUrl) {
        let message = "The provided token has expired. Request signature expired.";
        return Err(StorageError(StatusCode::BAD_REQUEST, "ExpiredToken", message));
    }
    let range = format!("0,{}", upload.size);
    let signed = [
        ("x-goog-resumable", "start"),
        ("x-goog-content-length-range", range.as_str()),
        ("content-type", upload.content_type.as_str()),
    ];
    if signed.iter().any(|(name, _)| !headers.contains_key(*name)) {
        return Err(StorageError::malformed_header());
    }
    if signed.iter().any(|(name, value)| text(headers, name) != Some(value)) {
        return Err(StorageError::signature());
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        let message = "You must provide the Content-Length HTTP header.";
        return Err(StorageError(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message));
    }
    if !body.is_empty() {
        return Err(StorageError::invalid("The start of a resumable upload has no body."));
    }
    let session = Uuid::new_v4().simple().to_string();
    sqlx::query("UPDATE uploads SET session = ?, received = 0 WHERE file = ?")
        .bind(&session)
        .bind(&upload.file_id)
        .execute(app.store.pool())
        .await?;
    let location = format!("{}{}?upload_id={session}", app.storage_url, parts.uri.path());
    let location = HeaderValue::try_from(location).map_err(|_| StorageError::internal())?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Takes the bytes, all at once or in chunks, or tells how many have arrived.
async fn receive(
    app: &App,
    mut upload: Upload,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, StorageError> {
    if upload.session.is_none() || query.get("upload_id") != upload.session.as_ref() {
        let message = "The upload session does not exist.";
        return Err(StorageError(StatusCode::NOT_FOUND, "NoSuchUpload", message));
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        let message = "You must provide the Content-Length HTTP header.";
        return Err(StorageError(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message));
    }
    if upload.received == upload.size {
        return Ok(StatusCode::OK.into_response());
    }
    if !body.is_empty() && app.faults.strikes(Fault::UploadUnavailable) {
        let message = "Please try again later.";
        return Err(StorageError(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message));
    }
    let length = i64::try_from(body.len()).map_err(|_| StorageError::internal())?;
    let end = match text(headers, "content-range").map(ContentRange::parse) {
        Some(None) => return Err(StorageError::invalid("The Content-Range is malformed.")),
        Some(Some(ContentRange::Query)) => return Ok(resume_incomplete(upload.received)),
        Some(Some(ContentRange::Chunk { first, last, total })) => {
            if last - first + 1 != length || total.is_some_and(|total| total != upload.size) {
                return Err(StorageError::invalid("The Content-Range does not fit the body."));
            }
            if first != upload.received {
                return Ok(resume_incomplete(upload.received));
            }
            let is_last = total == Some(last + 1);
            if !is_last && length % CHUNK_UNIT != 0 {
                return Err(StorageError::invalid("Chunks are multiples of 256 KiB."));
            }
            last + 1
        }
        None => {
            upload.received = 0;
            if length < upload.size {
                let message = "Your proposed upload is smaller than the declared size.";
                return Err(StorageError(StatusCode::BAD_REQUEST, "EntityTooSmall", message));
            }
            length
        }
    };
    if end > upload.size {
        let message = "Your proposed upload exceeds the maximum allowed size.";
        return Err(StorageError(StatusCode::BAD_REQUEST, "EntityTooLarge", message));
    }
    let path = app.store.upload_path(&upload.file_id);
    let (offset, whole) = (upload.received, end == upload.size);
    let size = tokio::task::spawn_blocking(move || write_at(path, offset, &body, whole))
        .await
        .map_err(|_| StorageError::internal())??;
    let mut tx = app.store.write().await?;
    sqlx::query("UPDATE uploads SET received = ? WHERE file = ?")
        .bind(end)
        .bind(&upload.file_id)
        .execute(&mut *tx)
        .await?;
    if whole {
        sqlx::query("UPDATE files SET ready = 1, width = ?, height = ? WHERE id = ?")
            .bind(size.map(|(width, _)| width))
            .bind(size.map(|(_, height)| height))
            .bind(&upload.file_id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    let mut answer = if whole { StatusCode::OK.into_response() } else { resume_incomplete(end) };
    if app.faults.strikes(Fault::UploadDropped) {
        answer.extensions_mut().insert(Dropped);
    }
    Ok(answer)
}

/// Keeps one chunk. Of a whole image it tells the size.
fn write_at(
    path: PathBuf,
    offset: i64,
    body: &Bytes,
    whole: bool,
) -> std::io::Result<Option<(u32, u32)>> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    let offset = u64::try_from(offset).unwrap_or(0);
    file.set_len(offset)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(body)?;
    file.sync_data()?;
    if !whole {
        return Ok(None);
    }
    let reader = image::ImageReader::open(&path)?.with_guessed_format()?;
    Ok(reader.into_dimensions().ok())
}

/// The header of a chunk.
#[derive(Debug, PartialEq)]
enum ContentRange {
    /// `bytes */N`: how much has arrived?
    Query,
    /// `bytes A-B/N`, or `bytes A-B/*` when the total is not known yet.
    Chunk { first: i64, last: i64, total: Option<i64> },
}

impl ContentRange {
    fn parse(header: &str) -> Option<Self> {
        let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
        if range == "*" {
            return Some(Self::Query);
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        (first <= last).then_some(Self::Chunk { first, last, total })
    }
}

/// 308, with the bytes that have arrived.
fn resume_incomplete(received: i64) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    if received > 0
        && let Ok(range) = HeaderValue::try_from(format!("bytes=0-{}", received - 1))
    {
        response.headers_mut().insert(header::RANGE, range);
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{ContentRange, file_name};

    #[test]
    fn content_ranges_are_read() {
        let chunk = ContentRange::Chunk { first: 0, last: 9, total: Some(20) };
        assert_eq!(ContentRange::parse("bytes 0-9/20"), Some(chunk));
        assert_eq!(ContentRange::parse("bytes */20"), Some(ContentRange::Query));
        for bad in ["0-9/20", "bytes 9-0/20", "bytes 0-9", "bytes a-b/c", ""] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_keep_nothing_strange() {
        assert_eq!(file_name(Some("../../a b.png"), "image/png"), "....ab.png");
        assert_eq!(file_name(Some(".."), "image/png"), "upload.png");
        assert_eq!(file_name(None, "audio/wav"), "upload.wav");
    }
}
