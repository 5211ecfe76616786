//! A certificate authority that lives for one start of the sandbox. Its key never leaves memory.

use std::sync::Arc;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::SandboxError;

/// What the listeners need, and what a client must trust.
pub(super) struct Tls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

/// Long enough for any session, short enough for platforms that refuse long-lived certificates.
const VALID_DAYS: i64 = 90;

impl Tls {
    /// Makes a fresh authority and one certificate for `127.0.0.1` and `localhost`.
    pub(super) fn generate() -> Result<Self, SandboxError> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.distinguished_name.push(DnType::CommonName, "layer-mcp sandbox CA");
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_now(&mut ca);
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, "layer-mcp sandbox");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        valid_now(&mut leaf);
        let leaf_key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&leaf_key, &issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), ca_pem })
    }
}

fn valid_now(params: &mut CertificateParams) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |span: Span| {
        let date = today.saturating_add(span);
        let month = u8::try_from(date.month()).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), month, u8::try_from(date.day()).unwrap_or(1))
    };
    params.not_before = day(Span::new().days(-1));
    params.not_after = day(Span::new().days(VALID_DAYS));
}
