//! Sending a local file to Layer: a signed address, a resumable session at the storage host, the
//! bytes in chunks (Layer REST reference, "Request signed upload URL"; Google Cloud Storage,
//! "Resumable uploads").
//!
//! Nothing here costs Creative Units, so every step may be repeated: a broken chunk goes on where
//! the storage host stopped, and a session or address that is gone is asked for anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use url::Url;

use super::error::{ApiError, ApiErrorKind, Reached, outcome};
use super::hosts::{HostPolicy, PublicOnly};
use super::http::{Connectivity, pause_before, transport, unusable};
use super::ids::FileId;
use crate::audit::{AuditTrail, Event};
use crate::redact::clean_line;

/// The largest file that Layer takes, 64 MB (help centre, "Uploading files").
pub const LARGEST_UPLOAD: u64 = 64 * 1024 * 1024;
/// What can be uploaded (Layer REST reference, `content_type`).
pub const UPLOAD_TYPES: [&str; 6] =
    ["audio/mpeg", "audio/wav", "image/jpeg", "image/png", "image/webp", "video/mp4"];

/// Chunks before the last are multiples of 256 KiB.
const CHUNK: u64 = 8 * 1024 * 1024;
/// So many failures in a row end an upload.
const TRIES: u32 = 4;
/// A chunk that comes at fewer bytes a second is given up.
const SLOWEST: u64 = 32 * 1024;
/// The headers that we know how to send where a signature covers them.
const KNOWN_HEADERS: [&str; 5] =
    ["content-length", "content-type", "host", "x-goog-content-length-range", "x-goog-resumable"];

/// A file to be uploaded.
#[derive(Clone)]
pub struct Upload {
    /// A name for people, without its folder.
    pub name: String,
    /// One of [`UPLOAD_TYPES`].
    pub media_type: &'static str,
    /// The whole file: 1 byte to [`LARGEST_UPLOAD`].
    pub bytes: Arc<[u8]>,
}

impl Upload {
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Where to send a file, as Layer answers.
pub(super) struct Ticket {
    pub(super) file: FileId,
    pub(super) address: String,
    pub(super) media_type: String,
}

/// The client for uploads. It cannot name a token.
pub(super) struct Uploads {
    client: Client,
    hosts: HostPolicy,
    audit: AuditTrail,
    idle: Duration,
}

/// What a failed step means for the next one.
enum Setback {
    /// The same step may work a moment later.
    Passing(ApiError),
    /// The address or the session is gone: ask for a new one.
    Gone(ApiError),
    /// It will never work.
    Final(ApiError),
}

/// Why a file is not at the storage host.
pub(super) struct NotSent {
    pub(super) error: ApiError,
    /// The address or the session is gone, and a new ticket may help.
    pub(super) gone: bool,
}

impl Uploads {
    pub(super) fn new(
        connectivity: &Connectivity,
        hosts: HostPolicy,
        audit: AuditTrail,
    ) -> Result<Self, ApiError> {
        let idle = connectivity.time.idle;
        let client = connectivity
            .client()?
            // The answer comes only after the whole chunk went.
            .read_timeout(chunk_time(idle, CHUNK))
            .dns_resolver(Arc::new(PublicOnly::by_system(hosts.clone())))
            .build()
            .map_err(unusable("the TLS settings"))?;
        Ok(Self { client, hosts, audit, idle })
    }

    /// Sends the bytes to the address of a ticket.
    pub(super) async fn send(&self, ticket: &Ticket, file: &Upload) -> Result<(), NotSent> {
        let began = Instant::now();
        let sent = self.send_all(ticket, file).await;
        let event = Event::new("file.upload")
            .with("file", ticket.file.as_str())
            .with("bytes", file.size())
            .with("ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let sent = sent.map_err(|setback| match setback {
            Setback::Gone(error) => NotSent { error, gone: true },
            Setback::Passing(error) | Setback::Final(error) => NotSent { error, gone: false },
        });
        let what = outcome(&sent.as_ref().map_err(|not_sent| not_sent.error.clone()));
        self.audit.note(event.with("outcome", what));
        sent
    }

    async fn send_all(&self, ticket: &Ticket, file: &Upload) -> Result<(), Setback> {
        let session = self.begin(ticket, file.size()).await?;
        let size = file.size();
        let mut arrived = 0;
        let mut failed = 0;
        // After a failure only the storage host knows how much of the chunk it has.
        let mut known = true;
        loop {
            let step = if known {
                self.chunk(ticket, &session, file, arrived).await
            } else {
                let request = self
                    .client
                    .put(session.clone())
                    .header(header::CONTENT_LENGTH, "0")
                    .header(header::CONTENT_RANGE, format!("bytes */{size}"));
                self.progress(request, 0).await
            };
            match step {
                // Only with the last chunk, or asked, may the host call it whole.
                Ok(None) if !known || size - arrived <= CHUNK => return Ok(()),
                Ok(None) => {
                    return Err(Setback::Final(refused("the storage host took a part for all")));
                }
                Ok(Some(now)) if now <= size => {
                    failed = if now > arrived { 0 } else { failed + u32::from(known) };
                    (arrived, known) = (now, true);
                    if failed < TRIES {
                        continue;
                    }
                    return Err(Setback::Final(refused("the storage host takes no bytes")));
                }
                Ok(Some(_)) => {
                    return Err(Setback::Final(refused("the storage host counts wrong")));
                }
                Err(Setback::Passing(error)) if failed + 1 < TRIES => {
                    failed += 1;
                    known = false;
                    tokio::time::sleep(pause_before(failed, error.retry_after)).await;
                }
                Err(Setback::Passing(error)) => return Err(Setback::Final(error)),
                Err(setback) => return Err(setback),
            }
        }
    }

    /// Starts the session, whose address comes in the answer.
    async fn begin(&self, ticket: &Ticket, size: u64) -> Result<Url, Setback> {
        let address = self.checked(&ticket.address).map_err(Setback::Final)?;
        known_headers(&address).map_err(Setback::Final)?;
        let mut failed = 0;
        loop {
            // Undocumented, and part of the signature: without it the host answers
            // `MalformedSecurityHeader`, with another number `SignatureDoesNotMatch`.
            let request = self
                .client
                .post(address.clone())
                .header(header::CONTENT_TYPE, &ticket.media_type)
                .header(header::CONTENT_LENGTH, "0")
                .header("x-goog-resumable", "start")
                .header("x-goog-content-length-range", format!("0,{size}"));
            match self.ask(request, 0).await {
                Ok(response) => {
                    let to = response.headers().get(header::LOCATION);
                    let to = to.and_then(|to| to.to_str().ok());
                    let to = to.and_then(|to| address.join(to).ok());
                    let session = to.ok_or_else(|| refused("the storage host named no session"));
                    return session
                        .and_then(|session| self.checked(session.as_str()))
                        .map_err(Setback::Final);
                }
                Err(Setback::Passing(error)) if failed + 1 < TRIES => {
                    failed += 1;
                    tokio::time::sleep(pause_before(failed, error.retry_after)).await;
                }
                Err(setback) => return Err(setback),
            }
        }
    }

    /// Sends the chunk that begins at `from`.
    async fn chunk(
        &self,
        ticket: &Ticket,
        session: &Url,
        file: &Upload,
        from: u64,
    ) -> Result<Option<u64>, Setback> {
        let size = file.size();
        let length = CHUNK.min(size - from);
        let [first, end] =
            [from, from + length].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        let bytes = file.bytes.get(first..end).unwrap_or_default().to_vec();
        let request = self
            .client
            .put(session.clone())
            .header(header::CONTENT_TYPE, &ticket.media_type)
            .header(header::CONTENT_LENGTH, length);
        let request = if length == size {
            request
        } else {
            let range = format!("bytes {from}-{}/{size}", from + length - 1);
            request.header(header::CONTENT_RANGE, range)
        };
        self.progress(request.body(bytes), length).await
    }

    /// How much has arrived after this request; `None` when that is all.
    async fn progress(&self, request: RequestBuilder, length: u64) -> Result<Option<u64>, Setback> {
        let response = self.ask(request, length).await?;
        if response.status() != StatusCode::PERMANENT_REDIRECT {
            return Ok(None);
        }
        let range = response.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
        let last = range.map(|range| range.strip_prefix("bytes=0-").and_then(|it| it.parse().ok()));
        match last {
            None => Ok(Some(0)),
            Some(Some(last)) => Ok(Some(u64::saturating_add(last, 1))),
            Some(None) => {
                Err(Setback::Final(refused("the storage host counts in a way that is unknown")))
            }
        }
    }

    /// Sends a request of so many bytes; answers of 2xx and 308 are good ones.
    async fn ask(&self, request: RequestBuilder, length: u64) -> Result<Response, Setback> {
        let sent = request.timeout(chunk_time(self.idle, length)).send().await;
        let response = sent.map_err(|error| Setback::Passing(transport(error)))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::PERMANENT_REDIRECT {
            return Ok(response);
        }
        let retry_after = super::http::retry_after(response.headers());
        let code = error_code(response).await;
        let what = code.as_deref().map_or_else(String::new, |code| format!(" ({code})"));
        let kind = match status.as_u16() {
            429 => ApiErrorKind::RateLimited,
            408 | 500.. => ApiErrorKind::Service,
            _ => ApiErrorKind::InvalidRequest,
        };
        let gone = matches!(status.as_u16(), 404 | 410)
            || matches!(code.as_deref(), Some("ExpiredToken" | "NoSuchUpload"));
        let error = ApiError {
            status: Some(status.as_u16()),
            upstream_code: code,
            retry_after,
            ..refused(format!("the storage host answered {}{what}", status.as_u16()))
        };
        let error = ApiError { kind, ..error };
        Err(match kind {
            ApiErrorKind::InvalidRequest if gone => Setback::Gone(error),
            ApiErrorKind::InvalidRequest => Setback::Final(error),
            _ => Setback::Passing(error),
        })
    }

    fn checked(&self, address: &str) -> Result<Url, ApiError> {
        let url = Url::parse(address)
            .map_err(|_| refused("the service gave an address for the upload that is not a URL"))?;
        self.hosts.check(&url).inspect_err(|_| {
            let host = url.host_str().unwrap_or_default().to_owned();
            self.audit.note(Event::new("security.blocked_host").with("host", host));
        })?;
        Ok(url)
    }
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(ApiErrorKind::Service, Reached::Refused, message)
}

fn chunk_time(idle: Duration, length: u64) -> Duration {
    idle + Duration::from_secs(length / SLOWEST)
}

/// A signature that covers a header which we would not send can't be met.
fn known_headers(address: &Url) -> Result<(), ApiError> {
    let signed =
        address.query_pairs().find(|(name, _)| name.eq_ignore_ascii_case("X-Goog-SignedHeaders"));
    let Some((_, signed)) = signed else { return Ok(()) };
    match signed.split(';').find(|name| !KNOWN_HEADERS.contains(name)) {
        None => Ok(()),
        Some(name) => Err(refused(format!(
            "the storage host wants a header that this version doesn't know (`{}`)",
            clean_line(name, 60)
        ))),
    }
}

/// The `<Code>` of the storage host's XML.
async fn error_code(mut response: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > 16 * 1024 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (plain && !code.is_empty() && code.len() <= 60).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_signature_over_a_header_that_is_not_known_is_named() {
        for (signed, fits) in [
            ("content-type;host;x-goog-content-length-range;x-goog-resumable", true),
            ("host;x-goog-meta-owner", false),
            ("", false),
        ] {
            let address = format!("https://storage.googleapis.com/b?X-Goog-SignedHeaders={signed}");
            let checked = known_headers(&Url::parse(&address).unwrap());
            assert_eq!(checked.is_ok(), fits, "{signed}: {checked:?}");
        }
        assert!(known_headers(&Url::parse("https://storage.googleapis.com/b").unwrap()).is_ok());
    }

    #[test]
    fn a_slow_line_has_time_for_a_whole_chunk() {
        let time = chunk_time(Duration::from_secs(30), CHUNK);
        assert!(time >= Duration::from_secs(280), "{time:?}");
        assert_eq!(CHUNK % (256 * 1024), 0);
    }
}
