//! HTTPS to Layer's API: address, token, time limits, size limits, and retries where they are safe.

use std::sync::Once;
use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, Proxy, redirect, retry, tls};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::error::{ApiError, ApiErrorKind, Reached, outcome};
use super::wire;
use crate::audit::{AuditTrail, Event};
use crate::credentials::token::ApiToken;
use crate::redact::clean_line;

/// Where the API lies: https, a host, perhaps a path; nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiBase(Url);

/// The text is not the address of an API.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the API's base URL must look like `https://api.app.layer.ai`: https, without user name, \
     query or fragment"
)]
pub struct NotAnApiBase;

impl std::str::FromStr for ApiBase {
    type Err = NotAnApiBase;

    fn from_str(text: &str) -> Result<Self, NotAnApiBase> {
        let mut url = Url::parse(text.trim()).map_err(|_| NotAnApiBase)?;
        let plain = url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(NotAnApiBase);
        }
        // Layer's documents print the address with and without the prefix of the REST paths.
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path);
        let path = path.strip_suffix("/api").unwrap_or(path).trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl ApiBase {
    /// Layer's own address.
    pub const DEFAULT: &'static str = "https://api.app.layer.ai";

    /// Scheme, host and port: what a token is bound to.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    fn endpoint(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let prefix: &[&str] = if is_graphql(path) { &[] } else { &["api", "v1"] };
        let mut url = self.0.clone();
        // An https URL always has a path to extend.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// Which certificate authorities are believed.
#[derive(Clone, Debug, Default)]
pub enum TrustRoots {
    /// Those of the operating system.
    #[default]
    Platform,
    /// Those of the operating system and these, in PEM form.
    PlatformAnd(Vec<u8>),
    /// Only these, in PEM form: the sandbox's own.
    Only(Vec<u8>),
}

/// How connections leave the machine.
#[derive(Clone, Debug, Default)]
pub enum ProxyChoice {
    /// As the environment or the operating system says (`HTTPS_PROXY`, `NO_PROXY`).
    #[default]
    System,
    /// Directly.
    Direct,
    /// Through this proxy, except for the hosts of the comma list.
    Through(Url, Option<String>),
}

/// The trust and routing that the API client and the transfer client share.
#[derive(Clone, Debug, Default)]
pub struct Connectivity {
    /// Certificate authorities.
    pub roots: TrustRoots,
    /// Proxy.
    pub proxy: ProxyChoice,
    /// How long each stage may take.
    pub time: TimeLimits,
}

/// How long each stage of a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until a connection stands: name, TCP and TLS. 10 seconds.
    pub connect: Duration,
    /// Between two parts of an answer or a file. 30 seconds.
    pub idle: Duration,
    /// One try of a read. 30 seconds.
    pub read_once: Duration,
    /// A read, over all its tries. 45 seconds.
    pub read_in_all: Duration,
    /// A start: it may work for a while before it answers, and giving up early costs an unknown
    /// outcome. 60 seconds.
    pub start: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            read_once: Duration::from_secs(30),
            read_in_all: Duration::from_secs(45),
            start: Duration::from_secs(60),
        }
    }
}

const LARGEST_BODY: usize = 8 * 1024 * 1024;
const READ_TRIES: u32 = 4;

impl Connectivity {
    /// A client without the token, without redirects and without hidden retries. Both of ours are
    /// made here.
    pub(super) fn client(&self) -> Result<ClientBuilder, ApiError> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails only when somebody installed one before, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let builder = Client::builder()
            .user_agent(concat!("layer-mcp/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .tls_version_min(tls::Version::TLS_1_2)
            .tls_sslkeylogfile(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(self.time.connect)
            .read_timeout(self.time.idle)
            .pool_idle_timeout(Duration::from_secs(20));
        let builder = match &self.roots {
            TrustRoots::Platform => builder,
            TrustRoots::PlatformAnd(pem) => builder.tls_certs_merge(certificates(pem)?),
            TrustRoots::Only(pem) => builder.tls_certs_only(certificates(pem)?),
        };
        Ok(match &self.proxy {
            ProxyChoice::System => builder,
            ProxyChoice::Direct => builder.no_proxy(),
            ProxyChoice::Through(url, except) => {
                let proxy = Proxy::https(url.clone()).map_err(unusable("the proxy's address"))?;
                let except = except.as_deref().and_then(reqwest::NoProxy::from_string);
                builder.no_proxy().proxy(proxy.no_proxy(except))
            }
        })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, ApiError> {
    let found = Certificate::from_pem_bundle(pem).map_err(unusable("the certificate bundle"))?;
    if found.is_empty() {
        return Err(ApiError::new(
            ApiErrorKind::Configuration,
            Reached::NotSent,
            "the certificate bundle holds no certificate in PEM form",
        ));
    }
    Ok(found)
}

pub(super) fn unusable(what: &'static str) -> impl Fn(reqwest::Error) -> ApiError {
    move |error| {
        let why = cause(&error.without_url());
        ApiError::new(
            ApiErrorKind::Configuration,
            Reached::NotSent,
            format!("{what} can't be used: {why}"),
        )
    }
}

/// A success, with what the service's support finds it by.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) body: Value,
    pub(super) request_id: Option<String>,
}

impl Answer {
    /// The answer as what it should be.
    pub(super) fn read<T>(
        &self,
        parse: impl FnOnce(&Value) -> Result<T, wire::Malformed>,
    ) -> Result<T, ApiError> {
        parse(&self.body).map_err(|malformed| ApiError {
            request_id: self.request_id.clone(),
            ..ApiError::new(
                ApiErrorKind::Service,
                Reached::Unknown,
                format!("the service's answer could not be understood: {malformed}"),
            )
        })
    }
}

/// The API with the token of one user.
pub(super) struct Http {
    client: Client,
    base: ApiBase,
    token: ApiToken,
    audit: AuditTrail,
    time: TimeLimits,
}

impl Http {
    pub(super) fn new(
        connectivity: &Connectivity,
        base: ApiBase,
        token: ApiToken,
        audit: AuditTrail,
    ) -> Result<Self, ApiError> {
        let client = connectivity.client()?.build().map_err(unusable("the TLS settings"))?;
        Ok(Self { client, base, token, audit, time: connectivity.time })
    }

    /// Reads a resource; repeats itself on passing failures.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        self.read(Method::GET, path, query, None).await
    }

    /// Asks a question that needs a body, such as a price; repeats itself like [`Http::get`].
    pub(super) async fn ask(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Answer, ApiError> {
        self.read(Method::POST, path, &[], Some(to_json(body)?)).await
    }

    /// Sends something that changes the world. Exactly once: no retry of any kind.
    pub(super) async fn send_once(
        &self,
        path: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<Answer, ApiError> {
        let body = body.map(to_json).transpose()?;
        self.exchange(Method::POST, path, &[], body.as_deref(), self.time.start).await
    }

    async fn read(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ApiError> {
        let began = Instant::now();
        let TimeLimits { read_once, read_in_all, .. } = self.time;
        let mut tried = 0;
        loop {
            tried += 1;
            let left = read_in_all.saturating_sub(began.elapsed());
            let answer = self
                .exchange(method.clone(), path, query, body.as_deref(), read_once.min(left))
                .await;
            let error = match answer {
                Err(error) if error.is_passing() && tried < READ_TRIES => error,
                answer => return answer,
            };
            let pause = pause_before(tried, error.retry_after);
            if began.elapsed() + pause >= read_in_all {
                return Err(error);
            }
            tracing::debug!(tried, ?pause, kind = ?error.kind, "a read failed and is repeated");
            tokio::time::sleep(pause).await;
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&[u8]>,
        limit: Duration,
    ) -> Result<Answer, ApiError> {
        let began = Instant::now();
        let mut request = self
            .client
            .request(method.clone(), self.base.endpoint(path, query))
            .timeout(limit)
            .header(header::AUTHORIZATION, self.authorization()?)
            .header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_vec());
        } else if method == Method::POST {
            request = request.header(header::CONTENT_LENGTH, "0");
        }
        let answer = match request.send().await {
            Ok(response) => self.read_answer(response).await,
            Err(error) => Err(transport(error)),
        };
        let (status, request_id) = match &answer {
            Ok((status, request_id, _)) => (Some(*status), request_id.clone()),
            Err(error) => (error.status, error.request_id.clone()),
        };
        let (route, ms) = (route(path), began.elapsed().as_millis());
        tracing::debug!(%method, route, status, request_id, ms, "api call");
        let outcome = outcome(&answer);
        let event = Event::new("api.request")
            .with("method", method.as_str())
            .with("route", route)
            .with_some("status", status)
            .with("outcome", outcome.clone())
            .with_some("request_id", request_id)
            .with("bytes_out", body.map_or(0, <[u8]>::len))
            .with("ms", u64::try_from(ms).unwrap_or(u64::MAX));
        self.audit.note(event);
        match status {
            Some(401) => self.audit.note(Event::new("auth.fail").with("code", outcome)),
            Some(300..=399) => self.audit.note(Event::new("security.redirect")),
            _ => {}
        }
        answer.map(|(_, request_id, body)| Answer { body, request_id })
    }

    async fn read_answer(
        &self,
        response: reqwest::Response,
    ) -> Result<(u16, Option<String>, Value), ApiError> {
        let status = response.status().as_u16();
        let request_id = request_id(response.headers());
        let retry_after = retry_after(response.headers());
        let body = read_capped(response).await.map(|body| without_token(self.token.expose(), body));
        let succeeded = (200..300).contains(&status);
        let with_answer = |error: ApiError| ApiError {
            status: Some(status),
            request_id: request_id.clone(),
            retry_after,
            ..error
        };
        if !succeeded {
            let body = body.unwrap_or_default();
            return Err(with_answer(refusal(status, &body)));
        }
        let value = serde_json::from_slice(&body.map_err(with_answer)?).map_err(|_| {
            with_answer(ApiError::new(
                ApiErrorKind::Service,
                Reached::Unknown,
                format!("the service answered {status} with something that is not JSON"),
            ))
        })?;
        Ok((status, request_id, value))
    }

    fn authorization(&self) -> Result<HeaderValue, ApiError> {
        let text = zeroize::Zeroizing::new(format!("Bearer {}", self.token.expose()));
        let mut value = HeaderValue::try_from(text.as_str()).map_err(|_| {
            ApiError::new(
                ApiErrorKind::Configuration,
                Reached::NotSent,
                "the token has characters that no header can carry",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// GraphQL lies beside the REST paths: at `/graphql`, and at the bare root.
fn is_graphql(path: &[&str]) -> bool {
    matches!(path, [] | ["graphql"])
}

/// The address of a call with its ids left out.
fn route(path: &[&str]) -> String {
    const WORDS: [&str; 10] = [
        "workspaces",
        "models",
        "inferences",
        "estimate",
        "cancel",
        "files",
        "upload-url",
        "workflows",
        "runs",
        "execute",
    ];
    if is_graphql(path) {
        return format!("/{}", path.concat());
    }
    let named = |part: &&str| match WORDS.contains(part) {
        true => (*part).to_owned(),
        false => "{id}".to_owned(),
    };
    format!("/api/v1/{}", path.iter().map(named).collect::<Vec<_>>().join("/"))
}

fn to_json(body: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(body).map_err(|_| {
        ApiError::new(
            ApiErrorKind::InvalidRequest,
            Reached::NotSent,
            "the request has a number that JSON can't carry",
        )
    })
}

/// How long to wait before the next try: what the service asked for, held between 1 and 60
/// seconds, else a random part of a growing interval, so that many clients don't come back at once.
pub(super) fn pause_before(tried: u32, asked: Option<Duration>) -> Duration {
    match asked {
        Some(asked) => asked.clamp(Duration::from_secs(1), Duration::from_secs(60)),
        None => {
            let longest = (250_u64 << tried.min(6)).min(8_000);
            Duration::from_millis(rand::random_range(longest / 4..=longest))
        }
    }
}

/// A service that echoes the token must not get it into errors, the journal or file names: what
/// follows `pat_` is the secret, and is taken out before the body is looked at.
fn without_token(token: &str, mut body: Vec<u8>) -> Vec<u8> {
    let secret = token.strip_prefix("pat_").unwrap_or(token).as_bytes();
    let mut from = 0;
    while let Some(rest) = body.get(from..)
        && let Some(at) = rest.windows(secret.len().max(1)).position(|part| part == secret)
    {
        let end = from + at + secret.len();
        if let Some(echo) = body.get_mut(from + at..end) {
            echo.fill(b'*');
        }
        from = end.max(from + 1);
    }
    body
}

async fn read_capped(mut response: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(ApiError::new(
                ApiErrorKind::Service,
                Reached::Unknown,
                "the service's answer is larger than 8 MiB",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What an answer that is not a success means.
fn refusal(status: u16, body: &[u8]) -> ApiError {
    let (code, said) = wire::error_details(body);
    let upper = code.as_deref().unwrap_or_default().to_ascii_uppercase();
    let kind = match (status, upper.as_str()) {
        (500.., _) => ApiErrorKind::Service,
        (408, _) => ApiErrorKind::Timeout,
        (300..=399, _) => ApiErrorKind::Service,
        (401, _) | (_, "UNAUTHENTICATED" | "UNAUTHORIZED_ERROR") => ApiErrorKind::Unauthenticated,
        (402, _) | (_, "INSUFFICIENT_BALANCE" | "PAYMENT_REQUIRED_ERROR") => {
            ApiErrorKind::InsufficientBalance
        }
        (429, _) | (_, "RATE_LIMITED" | "RATE_LIMITED_ERROR") => ApiErrorKind::RateLimited,
        (_, "MODEL_NOT_FOUND") => ApiErrorKind::ModelNotFound,
        (403, _) | (_, "FEATURE_DISABLED" | "FORBIDDEN_ERROR") => ApiErrorKind::FeatureDisabled,
        (404 | 410, _) => ApiErrorKind::NotFound,
        _ => ApiErrorKind::InvalidRequest,
    };
    // A redirect may say "it is done, look there", and a conflict "it is under way already".
    let reached = match status {
        500.. | 300..=399 | 408 | 409 => Reached::Unknown,
        _ if wire::names_a_run(body) => Reached::Unknown,
        _ => Reached::Refused,
    };
    let message = match (status, said) {
        (300..=399, _) => format!(
            "the service answered {status}, a redirect, which is never followed with a token"
        ),
        (_, Some(said)) => {
            format!("the service answered {status}: {}", wire::in_plain_words(&said))
        }
        (_, None) => format!("the service answered {status}"),
    };
    ApiError { upstream_code: code, ..ApiError::new(kind, reached, message) }
}

/// What a failure of the connection means.
pub(super) fn transport(error: reqwest::Error) -> ApiError {
    let error = error.without_url();
    let why = cause(&error);
    if error.is_builder() || error.is_connect() {
        let (kind, what) = if error.is_timeout() {
            (ApiErrorKind::Timeout, "no connection was made in time")
        } else {
            (ApiErrorKind::Network, "the service can't be reached")
        };
        return ApiError::new(kind, Reached::NotSent, format!("{what} ({why})"));
    }
    if error.is_timeout() {
        return ApiError::new(
            ApiErrorKind::Timeout,
            Reached::Unknown,
            "the service did not answer in time",
        );
    }
    ApiError::new(
        ApiErrorKind::Network,
        Reached::Unknown,
        format!("the connection broke before the whole answer was here ({why})"),
    )
}

/// The innermost cause, which is the one that says something: "certificate has expired", "no such
/// host".
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = clean_line(&innermost.to_string(), 160);
    // How the connector speaks of a proxy that opens no way to the service, and the TLS library of
    // a connection that ends.
    match text.strip_prefix("tunnel error: ") {
        Some(why) => format!("the proxy opened no way to it: {why}"),
        None if text.contains("close_notify") => "the other side closed it".to_owned(),
        None => text,
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    ["x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid", "cf-ray"]
        .into_iter()
        .find_map(|name| headers.get(name))
        .and_then(|value| value.to_str().ok())
        .map(|id| clean_line(id, 128))
        .filter(|id| !id.is_empty())
}

/// `Retry-After` in either form (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(std::time::SystemTime::now())
            .unwrap_or_default(),
    };
    Some(wait.min(Duration::from_secs(3_600)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn the_base_url_is_https_and_nothing_else() {
        for text in [
            "https://api.app.layer.ai",
            "https://api.app.layer.ai/",
            "https://api.app.layer.ai/api",
            "https://api.app.layer.ai/api/v1/",
        ] {
            let base: ApiBase = text.parse().unwrap();
            assert_eq!(
                base.endpoint(&["workspaces", "a/b c?"], &[("limit", "100")]).as_str(),
                "https://api.app.layer.ai/api/v1/workspaces/a%2Fb%20c%3F?limit=100",
                "{text}"
            );
        }
        let behind: ApiBase = "https://gateway.example/layer/".parse().unwrap();
        assert_eq!(
            behind.endpoint(&["workspaces"], &[]).as_str(),
            "https://gateway.example/layer/api/v1/workspaces"
        );
        for text in [
            "http://api.app.layer.ai",
            "api.app.layer.ai",
            "https://user:pw@api.app.layer.ai",
            "https://api.app.layer.ai?x",
            "https://api.app.layer.ai#x",
            "file:///etc",
            "",
        ] {
            assert_eq!(text.parse::<ApiBase>(), Err(NotAnApiBase), "{text}");
        }
    }

    #[test]
    fn every_status_has_its_meaning_for_the_money() {
        for status in 300..600 {
            let error = refusal(status, b"");
            let unknown = !(400..500).contains(&status) || matches!(status, 408 | 409);
            assert_eq!(error.may_have_happened(), unknown, "{status}");
            let repeated = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
            let error = ApiError { status: Some(status), ..error };
            assert_eq!(error.is_passing(), repeated, "{status}");
        }
    }

    #[test]
    fn a_refusal_that_names_a_run_may_have_started_it() {
        assert!(refusal(404, br#"{"run_id": "r-1", "status": "pending"}"#).may_have_happened());
        assert!(refusal(422, br#"{"inference_id": "i-1"}"#).may_have_happened());
        assert!(!refusal(404, br#"{"detail": "run_id"}"#).may_have_happened());
    }

    #[test]
    fn a_token_that_a_service_echoes_is_taken_out_of_the_body() {
        let body = b"bad pat_abc123abc123, really abc123abc123!".to_vec();
        let clean = without_token("pat_abc123abc123", body);
        assert_eq!(clean, b"bad pat_************, really ************!");
        assert_eq!(without_token("pat_abc", b"nothing".to_vec()), b"nothing");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("999999"), Some(Duration::from_secs(3_600)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(pause_before(1, Some(Duration::ZERO)), Duration::from_secs(1));
        assert!(pause_before(1, None) <= Duration::from_millis(500));
        assert!(pause_before(60, None) <= Duration::from_secs(8));
    }
}
