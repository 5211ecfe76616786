//! The three listeners: TLS, one connection at a time, every request logged. A connection can be
//! closed without an answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::answers::{ApiError, Dropped};
use super::{App, api, downloads, uploads};

/// The most that a request may carry: one upload, and a little.
const MAX_UPLOAD: usize = 64 * 1024 * 1024 + 1024;
const MAX_JSON: usize = 2 * 1024 * 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);
const LOGGED_REQUESTS: usize = 10_000;

/// Which of the sandbox's hosts a request reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// `api.app.layer.ai`.
    Api,
    /// `media.app.layer.ai`, where outputs are fetched.
    Media,
    /// `storage.googleapis.com`, where uploads go.
    Storage,
}

/// One request as it arrived, and what was answered.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The host it reached.
    pub host: HostKind,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, if there was one.
    pub query: Option<String>,
    /// The status of the answer; `None` when the connection was closed without one.
    pub status: Option<u16>,
    /// Whether the request carried an `Authorization` header.
    pub had_authorization: bool,
    /// The body, when it was JSON.
    pub body: Option<Value>,
    /// When it arrived.
    pub at: Instant,
}

/// The latest requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct RequestLog(Mutex<VecDeque<RequestRecord>>);

impl RequestLog {
    pub(super) fn all(&self) -> Vec<RequestRecord> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().cloned().collect()
    }

    fn push(&self, record: RequestRecord) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= LOGGED_REQUESTS {
            records.pop_front();
        }
        records.push_back(record);
    }
}

/// One listener with what it serves.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) kind: HostKind,
    /// `127.0.0.1:PORT` and `localhost:PORT`; any other name is a sign of DNS rebinding.
    pub(super) names: Arc<[String; 2]>,
    pub(super) app: Arc<App>,
    pub(super) router: Router,
}

/// Accepts connections until told to stop.
pub(super) async fn listen(
    listener: TcpListener,
    tls: TlsAcceptor,
    host: Host,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file handles, most likely; some connection will end.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (tls, host, stop) = (tls.clone(), host.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {},
                () = connection(stream, tls, host) => {},
            }
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, host: Host) {
    // Small answers should leave at once; without it they still leave.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else {
        return;
    };
    let service = service_fn(|request| exchange(&host, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client may leave a connection open between two calls, however far apart.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, host = ?host.kind, "a sandbox connection ended early");
    }
}

/// The error that makes hyper close a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed on purpose")]
struct ClosedOnPurpose;

async fn exchange(host: &Host, request: Request<Incoming>) -> Result<Response, ClosedOnPurpose> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let limit = if host.kind == HostKind::Storage { MAX_UPLOAD } else { MAX_JSON };
    let body = axum::body::to_bytes(Body::new(body), limit).await;
    let json = body.as_ref().ok().and_then(|body| serde_json::from_slice(body).ok());
    let mut record = RequestRecord {
        host: host.kind,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        status: None,
        had_authorization: parts.headers.contains_key(header::AUTHORIZATION),
        body: json,
        at,
    };
    let mut response = match body {
        _ if !is_expected(host, &parts) => {
            ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", "unknown host").into_response()
        }
        Ok(body) => answer(host, parts, body).await,
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    if response.extensions().get::<Dropped>().is_some() {
        host.app.log.push(record);
        return Err(ClosedOnPurpose);
    }
    record.status = Some(response.status().as_u16());
    host.app.log.push(record);
    let id = format!("req_{}", Uuid::new_v4().simple());
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", id);
    }
    Ok(response)
}

async fn answer(host: &Host, parts: Parts, body: Bytes) -> Response {
    match host.kind {
        HostKind::Api => api::answer(&host.app, &host.router, parts, body).await,
        HostKind::Media => downloads::answer(&host.app, &parts).await,
        HostKind::Storage => uploads::answer(&host.app, &parts, body).await,
    }
}

/// A page on the internet whose name was made to resolve to this computer sends its own name.
fn is_expected(host: &Host, parts: &Parts) -> bool {
    let name = parts.headers.get(header::HOST).and_then(|name| name.to_str().ok());
    name.is_some_and(|name| host.names.iter().any(|own| own == name))
}

/// The result of a router is never an error.
pub(super) fn infallible(result: Result<Response, Infallible>) -> Response {
    match result {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
