//! The media host: outputs made again on demand, uploads as they came, and the ways in which a
//! download goes wrong.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::Semaphore;

use super::App;
use super::answers::ApiError;
use super::api::redirect;
use super::faults::Fault;
use super::media::{self, Artifact};
use super::state::StoredFile;

/// How many bytes of finished outputs are kept at hand.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// An edit of an edit of an edit: how far back its sources are made again.
const MAX_DEPTH: usize = 6;

/// Makes outputs, a few at a time, and keeps the latest.
#[derive(Debug)]
pub(super) struct Workshop {
    places: Semaphore,
    kept: Mutex<VecDeque<(String, Bytes)>>,
}

impl Default for Workshop {
    fn default() -> Self {
        Self { places: Semaphore::new(2), kept: Mutex::default() }
    }
}

impl Workshop {
    fn kept(&self, id: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, _)| of == id).map(|(_, bytes)| bytes.clone())
    }

    fn keep(&self, id: &str, bytes: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((id.to_owned(), bytes.clone()));
        while kept.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > KEPT_BYTES {
            kept.pop_front();
        }
    }
}

/// Everything that arrives at the media host. No token is asked for.
pub(super) async fn answer(app: &App, parts: &Parts) -> Response {
    let strikes = |fault| app.faults.strikes(fault);
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if strikes(Fault::DownloadRedirect) {
        return redirect(&format!("{}{}", app.storage_url, parts.uri.path()));
    }
    if strikes(Fault::Download404) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let file = match file_of(app, parts.uri.path()).await {
        Ok(Some(file)) => file,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return ApiError::from(error).into_response(),
    };
    if strikes(Fault::DownloadWrongType) {
        let page = "<!doctype html><html><body><h1>Sign in</h1></body></html>";
        return ([(header::CONTENT_TYPE, "image/png")], page).into_response();
    }
    let Some(bytes) = bytes_of(app, &file, MAX_DEPTH).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = if strikes(Fault::DownloadTruncated) {
        truncated(&bytes)
    } else if strikes(Fault::DownloadOversized) {
        endless(bytes)
    } else if strikes(Fault::DownloadSlow) {
        trickling(bytes)
    } else {
        ranged(&parts.headers, bytes)
    };
    if let Ok(content_type) = HeaderValue::try_from(&file.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if parts.method == Method::HEAD {
        // hyper keeps the length and sends no body.
        let length = response.headers().get(header::CONTENT_LENGTH).cloned();
        *response.body_mut() = Body::empty();
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
    }
    response
}

/// The file of a path, when workspace and name fit too.
pub(super) async fn file_of(app: &App, path: &str) -> Result<Option<StoredFile>, sqlx::Error> {
    let parts: Vec<_> = path.split('/').collect();
    let ["", "workspaces", workspace, "files", id, name] = parts.as_slice() else {
        return Ok(None);
    };
    let file = StoredFile::find(app.store.pool(), id).await?;
    Ok(file.filter(|file| file.ready && file.workspace == *workspace && file.name == *name))
}

/// The bytes of a file: those that were uploaded, or the output made again.
async fn bytes_of(app: &App, file: &StoredFile, depth: usize) -> Option<Bytes> {
    if let Some(bytes) = app.workshop.kept(&file.id) {
        return Some(bytes);
    }
    let Some(artifact) = &file.artifact else {
        let path = app.store.upload_path(&file.id);
        return tokio::fs::read(path).await.ok().map(Bytes::from);
    };
    let artifact: Artifact = serde_json::from_str(artifact).ok()?;
    let mut sources = Vec::new();
    for id in artifact.sources.iter().take(usize::from(depth > 0)) {
        sources.extend(source(app, &file.workspace, id, depth).await);
    }
    let mask = match &artifact.mask {
        Some(id) if depth > 0 => source(app, &file.workspace, id, depth).await,
        _ => None,
    };
    let place = app.workshop.places.acquire().await.ok()?;
    let made =
        tokio::task::spawn_blocking(move || media::render(&artifact, &sources, mask.as_deref()))
            .await
            .ok()?;
    drop(place);
    match made {
        Ok(bytes) => {
            let bytes = Bytes::from(bytes);
            app.workshop.keep(&file.id, &bytes);
            Some(bytes)
        }
        Err(error) => {
            tracing::error!(%error, file = file.id, "the sandbox cannot make an output");
            None
        }
    }
}

async fn source(app: &App, workspace: &str, id: &str, depth: usize) -> Option<Bytes> {
    let file = StoredFile::find(app.store.pool(), id).await.ok()??;
    if file.workspace != workspace {
        return None;
    }
    Box::pin(bytes_of(app, &file, depth - 1)).await
}

/// The whole, or the one range that was asked for.
fn ranged(headers: &HeaderMap, bytes: Bytes) -> Response {
    let total = bytes.len();
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some((first, last)) = asked.and_then(|range| byte_range(range, total)) else {
        return with_length(total, Body::from(bytes));
    };
    if first >= total {
        let unsatisfied = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response();
    }
    let mut response = with_length(last - first + 1, Body::from(bytes.slice(first..=last)));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    if let Ok(range) = HeaderValue::try_from(format!("bytes {first}-{last}/{total}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

/// The first and last byte of `bytes=A-B` or `bytes=A-`.
fn byte_range(range: &str, total: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let end = total.saturating_sub(1);
    let last = if last.is_empty() { end } else { last.parse::<usize>().ok()?.min(end) };
    (first <= last || first >= total).then_some((first, last))
}

fn with_length(length: usize, body: Body) -> Response {
    ([(header::CONTENT_LENGTH, HeaderValue::from(length))], body).into_response()
}

/// Announces all, sends half and breaks off, once the half has had time to leave.
fn truncated(bytes: &Bytes) -> Response {
    let half = Some(bytes.slice(..bytes.len() / 2));
    let chunks = stream::unfold(half, async |half: Option<Bytes>| {
        if half.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let cut = || std::io::Error::other("the download is cut on purpose");
        Some((half.ok_or_else(cut), None))
    });
    with_length(bytes.len(), Body::from_stream(chunks))
}

/// Never stops.
fn endless(bytes: Bytes) -> Response {
    let filler = Bytes::from(vec![0_u8; 1024 * 1024]);
    let chunks = std::iter::once(bytes).chain(std::iter::repeat(filler));
    Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>))).into_response()
}

/// 1 KiB each half second.
fn trickling(bytes: Bytes) -> Response {
    let length = bytes.len();
    let chunks = stream::unfold(bytes, async |mut rest: Bytes| {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let chunk = rest.split_to(rest.len().min(1024));
        Some((Ok::<_, Infallible>(chunk), rest))
    });
    with_length(length, Body::from_stream(chunks))
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn ranges_are_read() {
        assert_eq!(byte_range("bytes=0-9", 100), Some((0, 9)));
        assert_eq!(byte_range("bytes=90-", 100), Some((90, 99)));
        assert_eq!(byte_range("bytes=90-900", 100), Some((90, 99)));
        assert_eq!(byte_range("bytes=9-3", 100), None);
        assert_eq!(byte_range("bytes=-5", 100), None);
    }
}
