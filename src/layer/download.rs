//! Fetching finished files: from listed hosts only, without the token, counted while they stream.

use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode, header};
use url::Url;

use crate::audit::{AuditTrail, Event};

use super::error::{ApiError, ApiErrorKind, Reached, outcome};
use super::hosts::{HostPolicy, PublicOnly};
use super::http::{Connectivity, transport, unusable};

/// The largest file that is fetched, 512 MiB.
pub const LARGEST_FILE: u64 = 512 * 1024 * 1024;
const REDIRECTS: u8 = 3;
/// Below this many bytes a second, over a minute, a download is given up.
const SLOWEST: u64 = 1_024;

/// The client for files. It cannot name a token.
pub(super) struct Downloads {
    client: Client,
    hosts: HostPolicy,
    audit: AuditTrail,
    /// In bytes.
    largest: u64,
}

impl Downloads {
    pub(super) fn new(
        connectivity: &Connectivity,
        hosts: HostPolicy,
        audit: AuditTrail,
        largest: u64,
    ) -> Result<Self, ApiError> {
        let client = connectivity
            .client()?
            .dns_resolver(std::sync::Arc::new(PublicOnly::by_system(hosts.clone())))
            .build()
            .map_err(unusable("the TLS settings"))?;
        Ok(Self { client, hosts, audit, largest })
    }

    /// Opens a file. Redirects are followed by hand, at most three, each under the same rules.
    pub(super) async fn open(&self, address: &str) -> Result<Download, ApiError> {
        let mut url =
            Url::parse(address).map_err(|_| blocked("the address of the file is not a URL"))?;
        for _ in 0..=REDIRECTS {
            let host = url.host_str().unwrap_or_default().to_owned();
            if let Err(error) = self.hosts.check(&url) {
                self.audit.note(Event::new("security.blocked_host").with("host", host));
                return Err(error);
            }
            let began = Instant::now();
            let answer = self.client.get(url.clone()).send().await.map_err(transport);
            let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let event = Event::new("file.fetch")
                .with("host", host)
                .with_some("status", answer.as_ref().ok().map(|answer| answer.status().as_u16()))
                .with("outcome", outcome(&answer))
                .with("ms", ms);
            self.audit.note(event);
            let response = answer?;
            if !response.status().is_redirection() {
                return Download::new(response, self.largest);
            }
            url = response
                .headers()
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(|to| url.join(to).ok())
                .ok_or_else(|| bad("the file's host redirects to nowhere"))?;
        }
        Err(bad("the file's host redirects in circles"))
    }
}

fn blocked(message: &str) -> ApiError {
    ApiError::new(ApiErrorKind::BadAddress, Reached::NotSent, message)
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(ApiErrorKind::BadDownload, Reached::Refused, message)
}

/// A file on its way.
pub struct Download {
    response: Response,
    expected: Option<u64>,
    received: u64,
    largest: u64,
    began: Instant,
}

impl Download {
    fn new(response: Response, largest: u64) -> Result<Self, ApiError> {
        let status = response.status();
        if status != StatusCode::OK {
            let kind = match status.as_u16() {
                429 => ApiErrorKind::RateLimited,
                500.. => ApiErrorKind::Service,
                _ => ApiErrorKind::BadDownload,
            };
            return Err(ApiError {
                status: Some(status.as_u16()),
                ..ApiError::new(
                    kind,
                    Reached::Refused,
                    format!("the file's host answered {}", status.as_u16()),
                )
            });
        }
        let expected = response.content_length();
        if expected.is_some_and(|expected| expected > largest) {
            return Err(too_large(largest));
        }
        Ok(Self { response, expected, received: 0, largest, began: Instant::now() })
    }

    /// Size that the host announced, in bytes.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// The next bytes, or `None` at the end of a whole file.
    ///
    /// # Errors
    /// A broken connection, a file cut short, one beyond the largest size whatever size was
    /// announced, or one that drips.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let Some(chunk) = self.response.chunk().await.map_err(transport)? else {
            return match self.expected {
                Some(expected) if expected != self.received => Err(ApiError::new(
                    ApiErrorKind::Network,
                    Reached::Unknown,
                    format!("{} of {expected} bytes came", self.received),
                )),
                _ => Ok(None),
            };
        };
        self.received += chunk.len() as u64;
        if self.received > self.largest {
            return Err(too_large(self.largest));
        }
        let seconds = self.began.elapsed().as_secs();
        if seconds > Duration::from_secs(60).as_secs() && self.received / seconds < SLOWEST {
            return Err(ApiError::new(
                ApiErrorKind::Timeout,
                Reached::Refused,
                "the file came at less than 1 KiB a second",
            ));
        }
        Ok(Some(chunk.to_vec()))
    }
}

fn too_large(largest: u64) -> ApiError {
    bad(format!("the file is larger than {} MiB", largest / (1024 * 1024)))
}
