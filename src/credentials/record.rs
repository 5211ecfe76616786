//! The credentials themselves, and the JSON object that is encrypted in `credentials.enc`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::cipher::{self, Key, NoRandomness};
use super::envelope::FormatError;
use super::token::ApiToken;

/// Longest plaintext in bytes: 60 KiB.
const MAX_PLAINTEXT: usize = 60 * 1024;
const MAX_WORKSPACE_ID: usize = 128;
const MAX_LABEL: usize = 200;
const MAX_ORIGIN: usize = 300;
const CONTENT_VERSION: u64 = 1;

/// What the store keeps: the token and what belongs to it.
#[derive(Debug)]
pub struct Credentials {
    token: ApiToken,
    workspace_id: String,
    api_origin: String,
    created_at: Timestamp,
    audit_key: AuditKey,
    label: Option<String>,
    expires_at: Option<Timestamp>,
}

impl Credentials {
    /// Puts credentials together; everything is checked here, at entry, and again when they are
    /// read back.
    ///
    /// `api_origin` is the origin that the token was set up with, as an address such as
    /// `https://api.app.layer.ai`; a path is not kept. `created_at` is the present time.
    ///
    /// # Errors
    ///
    /// [`InvalidCredentials`] names the part that is not acceptable.
    pub fn new(
        token: ApiToken,
        workspace_id: &str,
        api_origin: &Url,
        created_at: Timestamp,
        audit_key: AuditKey,
    ) -> Result<Self, InvalidCredentials> {
        if !is_workspace_id(workspace_id) {
            return Err(InvalidCredentials::WorkspaceId);
        }
        let api_origin = origin(api_origin).ok_or(InvalidCredentials::ApiOrigin)?;
        Ok(Self {
            token,
            workspace_id: workspace_id.to_owned(),
            api_origin,
            created_at,
            audit_key,
            label: None,
            expires_at: None,
        })
    }

    /// The same credentials with a name that tells them apart from others.
    ///
    /// # Errors
    ///
    /// [`InvalidCredentials::Label`] when it is empty, longer than 200 characters or has control
    /// characters.
    pub fn with_label(mut self, label: &str) -> Result<Self, InvalidCredentials> {
        if !is_label(label) {
            return Err(InvalidCredentials::Label);
        }
        self.label = Some(label.to_owned());
        Ok(self)
    }

    /// The same credentials with the time at which Layer.ai says the token ends.
    #[must_use]
    pub fn with_expiry(mut self, expires_at: Option<Timestamp>) -> Self {
        self.expires_at = expires_at;
        self
    }

    /// The same credentials with another token: its age starts anew and its expiry is unknown,
    /// while the audit key stays, so that the audit trail can still be verified.
    #[must_use]
    pub fn with_token(mut self, token: ApiToken, created_at: Timestamp) -> Self {
        self.token = token;
        self.created_at = created_at;
        self.expires_at = None;
        self
    }

    /// The token.
    pub fn token(&self) -> &ApiToken {
        &self.token
    }

    /// The key of the audit trail, taken out; what remains is erased.
    pub fn into_audit_key(self) -> AuditKey {
        self.audit_key
    }

    /// Whether this is the token.
    pub fn has_token(&self, text: &str) -> bool {
        self.token.expose() == text
    }

    /// The token, taken out; what remains is erased.
    pub fn into_token(self) -> ApiToken {
        self.token
    }

    /// The workspace that generations are made in.
    pub fn workspace_id(&self) -> &str {
        &self.workspace_id
    }

    /// The only origin that the token may be sent to, for example `https://api.app.layer.ai`.
    pub fn api_origin(&self) -> &str {
        &self.api_origin
    }

    /// Whether the token may be sent to `address`: same scheme, host and port.
    pub fn is_for(&self, address: &Url) -> bool {
        origin(address).is_some_and(|origin| origin == self.api_origin)
    }

    /// When this token was stored.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The key of the audit trail.
    pub fn audit_key(&self) -> &AuditKey {
        &self.audit_key
    }

    /// The name that was given to these credentials, if any.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// When the token ends, if Layer.ai said so.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The plaintext of `credentials.enc`. The buffer is as large as it can get from the start,
    /// because growing would leave copies behind.
    pub(super) fn to_plaintext(&self) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        let mut audit_key = Zeroizing::new(String::with_capacity(64));
        URL_SAFE_NO_PAD.encode_string(self.audit_key.as_bytes(), &mut audit_key);
        let record = Written {
            v: CONTENT_VERSION,
            api_token: self.token.expose(),
            workspace_id: &self.workspace_id,
            api_origin: &self.api_origin,
            created_at: self.created_at,
            audit_key: &audit_key,
            label: self.label.as_deref(),
            expires_at: self.expires_at,
        };
        let mut plaintext = Zeroizing::new(Vec::with_capacity(MAX_PLAINTEXT));
        serde_json::to_writer(&mut *plaintext, &record)
            .map_err(|_| FormatError::Content("a part that JSON cannot hold"))?;
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(FormatError::TooLong { most: MAX_PLAINTEXT });
        }
        Ok(plaintext)
    }

    /// Reads the plaintext of `credentials.enc`, with the checks of entry. Errors name a part
    /// and never its value; the JSON library's own messages would quote it.
    pub(super) fn from_plaintext(plaintext: &[u8]) -> Result<Self, FormatError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(FormatError::TooLong { most: MAX_PLAINTEXT });
        }
        let version: Version = serde_json::from_slice(plaintext)
            .map_err(|_| FormatError::Content("no JSON object with a version"))?;
        match version.v {
            CONTENT_VERSION => {}
            0 => return Err(FormatError::Content("version 0")),
            _ => return Err(FormatError::NewerContent),
        }
        let read: Read<'_> = serde_json::from_slice(plaintext)
            .map_err(|_| FormatError::Content("missing, unknown or malformed fields"))?;
        let token = ApiToken::parse_allowing_hyphen(read.api_token)
            .map_err(|_| FormatError::Content("a malformed `api_token`"))?;
        let address = Url::parse(&read.api_origin)
            .map_err(|_| FormatError::Content("a malformed `api_origin`"))?;
        let mut audit_key: Key = Zeroizing::new([0; 32]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(read.audit_key, audit_key.as_mut())
            .map_err(|_| FormatError::Content("a malformed `audit_key`"))?;
        if length != audit_key.len() {
            return Err(FormatError::Content("a malformed `audit_key`"));
        }
        let credentials =
            Self::new(token, &read.workspace_id, &address, read.created_at, AuditKey(audit_key))
                .map_err(InvalidCredentials::in_a_file)?;
        if credentials.api_origin != read.api_origin {
            return Err(FormatError::Content("a malformed `api_origin`"));
        }
        let credentials = match read.label {
            Some(label) => credentials.with_label(&label).map_err(InvalidCredentials::in_a_file)?,
            None => credentials,
        };
        Ok(credentials.with_expiry(read.expires_at))
    }
}

/// The key under which the audit trail is authenticated: 32 random bytes, wiped when dropped,
/// never printed.
pub struct AuditKey(Key);

impl AuditKey {
    /// Draws a new key from the operating system.
    ///
    /// # Errors
    ///
    /// [`InvalidCredentials::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, InvalidCredentials> {
        cipher::random_key().map(Self).map_err(|NoRandomness| InvalidCredentials::NoRandomness)
    }

    /// The 32 bytes of the key, for the MAC of the audit trail.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AuditKey(...)")
    }
}

/// Which part of new credentials is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// The workspace id has other characters than ids have.
    #[error("a workspace id has 1 to {MAX_WORKSPACE_ID} letters, digits, hyphens and underscores")]
    WorkspaceId,
    /// The API address is not one that a token may be sent to.
    #[error("the API address has to be an `https` address with a host and without credentials")]
    ApiOrigin,
    /// The label is empty, too long or has control characters.
    #[error("a label has 1 to {MAX_LABEL} characters and no control characters")]
    Label,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

impl InvalidCredentials {
    fn in_a_file(self) -> FormatError {
        FormatError::Content(match self {
            Self::WorkspaceId => "a malformed `workspace_id`",
            Self::ApiOrigin => "a malformed `api_origin`",
            Self::Label => "a malformed `label`",
            Self::NoRandomness => "no audit key",
        })
    }
}

#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    api_token: &'a str,
    workspace_id: &'a str,
    api_origin: &'a str,
    created_at: Timestamp,
    audit_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// The secrets are borrowed from the plaintext, so that no second copy of them is made. A text
/// with JSON escapes cannot be borrowed and is refused; neither value ever needs one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    #[serde(rename = "v")]
    _version: u64,
    api_token: &'a str,
    workspace_id: String,
    api_origin: String,
    created_at: Timestamp,
    audit_key: &'a str,
    label: Option<String>,
    expires_at: Option<Timestamp>,
}

fn is_workspace_id(text: &str) -> bool {
    (1..=MAX_WORKSPACE_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn origin(address: &Url) -> Option<String> {
    let usable = address.scheme() == "https"
        && address.host().is_some()
        && address.username().is_empty()
        && address.password().is_none();
    usable
        .then(|| address.origin().ascii_serialization())
        .filter(|origin| origin.len() <= MAX_ORIGIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    const TOKEN: &str = "pat_REC0000000000000000000000000000000000";

    fn sample() -> Credentials {
        Credentials::new(
            ApiToken::parse(TOKEN).unwrap(),
            "00000000-0000-4000-8000-000000000000",
            &Url::parse("https://api.app.layer.ai/v1/").unwrap(),
            "2026-11-22T00:00:00Z".parse().unwrap(),
            AuditKey(Zeroizing::new([7; 32])),
        )
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let written = sample()
            .with_label("Zoë's laptop")
            .unwrap()
            .with_expiry(Some("2027-01-01T00:00:00Z".parse().unwrap()));
        let read = Credentials::from_plaintext(&written.to_plaintext().unwrap()).unwrap();
        assert_eq!(read.token().expose(), TOKEN);
        assert_eq!(read.workspace_id(), written.workspace_id());
        assert_eq!(read.api_origin(), "https://api.app.layer.ai");
        assert_eq!(read.created_at(), written.created_at());
        assert_eq!(read.audit_key().as_bytes(), &[7; 32]);
        assert_eq!(read.label(), Some("Zoë's laptop"));
        assert_eq!(read.expires_at(), written.expires_at());
    }

    #[test]
    fn the_json_is_the_one_that_the_format_describes() {
        let expected = concat!(
            r#"{"v":1,"api_token":"pat_REC0000000000000000000000000000000000","#,
            r#""workspace_id":"00000000-0000-4000-8000-000000000000","#,
            r#""api_origin":"https://api.app.layer.ai","created_at":"2026-11-22T00:00:00Z","#,
            r#""audit_key":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}"#,
        );
        assert_eq!(sample().to_plaintext().unwrap().as_slice(), expected.as_bytes());
    }

    #[test]
    fn other_content_is_refused_without_being_quoted() {
        let good = String::from_utf8(sample().to_plaintext().unwrap().to_vec()).unwrap();
        let newer = good.replace(r#""v":1"#, r#""v":2"#);
        assert_eq!(
            Credentials::from_plaintext(newer.as_bytes()).unwrap_err(),
            FormatError::NewerContent
        );
        for bad in [
            String::new(),
            "[]".to_owned(),
            good.replace("pat_", "tap_"),
            good.replace("\"pat_REC0", "[\"pat_REC0"),
            good.replace("00000000-0000", "00000000 0000"),
            good.replace("https://api", "http://api"),
            good.replace("layer.ai\"", "layer.ai/path\""),
            good.replace("2026-11-22T00", "yesterday"),
            good.replace("BwcHBwcH", "!wcHBwcH"),
            good.replace("BwcHBwcH", ""),
            good.replace('}', r#","api_token_2":"pat_REC0"}"#),
            good.replace('}', r#","label":""}"#),
            good.replace('}', r#","v":1}"#),
        ] {
            let error = Credentials::from_plaintext(bad.as_bytes()).unwrap_err();
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains("REC0"), "{printed}");
        }
    }

    #[test]
    fn a_token_is_only_for_the_origin_it_was_set_up_with() {
        let credentials = sample();
        let is_for = |text: &str| credentials.is_for(&Url::parse(text).unwrap());
        assert!(is_for("https://api.app.layer.ai/v1/anything?x=y"));
        assert!(is_for("https://API.app.layer.ai:443/"));
        for other in [
            "http://api.app.layer.ai/",
            "https://api.app.layer.ai:8443/",
            "https://api.app.layer.ai.evil.example/",
            "https://user@api.app.layer.ai/",
            "https://evil.example/api.app.layer.ai",
        ] {
            assert!(!is_for(other), "{other}");
        }
    }

    #[test]
    fn ids_labels_and_addresses_are_checked_at_entry() {
        let make = |id: &str, address: &str| {
            Credentials::new(
                ApiToken::parse(TOKEN).unwrap(),
                id,
                &Url::parse(address).unwrap(),
                Timestamp::UNIX_EPOCH,
                AuditKey::generate().unwrap(),
            )
            .err()
        };
        let good = "https://api.app.layer.ai";
        for id in ["", "a b", "a/b", "../x", "\u{e9}", &"a".repeat(129)] {
            assert_eq!(make(id, good), Some(InvalidCredentials::WorkspaceId), "{id}");
        }
        for address in ["http://api.app.layer.ai", "https://me:pw@api.app.layer.ai", "file:///x"] {
            assert_eq!(make("w_1-a", address), Some(InvalidCredentials::ApiOrigin), "{address}");
        }
        assert_eq!(make(&"a".repeat(128), good), None);
        assert_eq!(sample().with_label("a\u{1b}b").unwrap_err(), InvalidCredentials::Label);
    }

    #[test]
    fn a_new_token_keeps_the_audit_key_and_starts_a_new_age() {
        let later: Timestamp = "2027-02-01T00:00:00Z".parse().unwrap();
        let token = ApiToken::parse("pat_NEW0000000000000000000000000000000000").unwrap();
        let rotated = sample().with_expiry(Some(later)).with_token(token, later);
        assert_eq!(rotated.token().hint(), "pat_NEW0");
        assert_eq!(rotated.created_at(), later);
        assert_eq!(rotated.expires_at(), None);
        assert_eq!(rotated.audit_key().as_bytes(), &[7; 32]);
    }

    #[test]
    fn debug_shows_neither_token_nor_audit_key() {
        let printed = format!("{:?}", sample());
        assert!(!printed.contains("REC0") && !printed.contains("7, 7"), "{printed}");
    }
}
