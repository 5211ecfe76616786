//! Services that stop at some stage of a call, and answers without end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Where the service stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It accepts the connection and says nothing.
    Tcp,
    /// It says nothing after the TLS handshake.
    Tls,
    /// It begins its answer and does not go on.
    Headers,
    /// It sends the head of an answer, and a part of its body.
    Body,
    /// It sends a byte now and then, for ever.
    Dripping,
    /// It sends white space for ever, as fast as it can.
    Endless,
}

struct Service {
    client: LayerClient,
    requests: Arc<AtomicUsize>,
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

impl Service {
    async fn that_stops_at(stage: Stage) -> Self {
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                tokio::spawn(async move { serve(stage, stream, acceptor, &counter).await });
            }
        });
        let short = Duration::from_millis(300);
        let settings = LayerSettings {
            base: format!("https://127.0.0.1:{port}").parse().unwrap(),
            connectivity: Connectivity {
                roots: TrustRoots::Only(certificate.pem().into_bytes()),
                proxy: ProxyChoice::Direct,
                time: TimeLimits {
                    connect: short / 2,
                    idle: short,
                    read_once: 3 * short,
                    read_in_all: 5 * short,
                    start: 3 * short,
                },
            },
            allowed_hosts: Vec::new(),
            reference_hosts: Vec::new(),
            audit: AuditTrail::nowhere(),
        };
        let token = ApiToken::parse("pat_StalledStalledStalledStalledStalled0").unwrap();
        Self { client: LayerClient::new(settings, token).unwrap(), requests }
    }
}

async fn serve(stage: Stage, mut stream: TcpStream, acceptor: TlsAcceptor, requests: &AtomicUsize) {
    if stage == Stage::Tcp {
        let _ = stream.read_to_end(&mut Vec::new()).await;
        return;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    // One request fits into one read; what matters is that one came.
    if stage != Stage::Tls && stream.read(&mut [0; 8192]).await.is_ok_and(|count| count > 0) {
        requests.fetch_add(1, Ordering::Relaxed);
    }
    let sent = match stage {
        Stage::Tcp | Stage::Tls => Ok(()),
        Stage::Headers => stream.write_all(HEAD).await,
        Stage::Body | Stage::Dripping => {
            let _ = stream.write_all(HEAD).await;
            stream.write_all(b"content-length: 100000\r\n\r\n{").await
        }
        Stage::Endless => {
            let _ = stream.write_all(HEAD).await;
            stream.write_all(b"\r\n").await
        }
    };
    let _ = stream.flush().await;
    match stage {
        _ if sent.is_err() => {}
        Stage::Dripping => {
            while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Stage::Endless => while stream.write_all(&[b' '; 65_536]).await.is_ok() {},
        _ => drop(stream.read_to_end(&mut Vec::new()).await),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_ends_wherever_the_service_stops() {
    for stage in [Stage::Tcp, Stage::Tls, Stage::Headers, Stage::Body, Stage::Dripping] {
        let service = Service::that_stops_at(stage).await;
        let began = Instant::now();
        let error = service.client.workspaces().await.unwrap_err();
        let kinds = [ApiErrorKind::Timeout, ApiErrorKind::Network];
        assert!(kinds.contains(&error.kind), "{stage:?}: {error:?}");
        // The limit of the whole read, and time for a slow machine.
        assert!(began.elapsed() < Duration::from_secs(20), "{stage:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_ends_too_is_sent_once_and_says_whether_it_may_have_happened() {
    for (stage, reached) in [
        (Stage::Tcp, Reached::NotSent),
        (Stage::Tls, Reached::Unknown),
        (Stage::Headers, Reached::Unknown),
        (Stage::Body, Reached::Unknown),
        (Stage::Dripping, Reached::Unknown),
        (Stage::Endless, Reached::Unknown),
    ] {
        let service = Service::that_stops_at(stage).await;
        let workspace = "w-1".parse().unwrap();
        let request = InferenceRequest::plain(&"model-1".parse().unwrap(), "a kite").into();
        let error = service.client.start(&workspace, &request).await.unwrap_err();
        assert_eq!(error.reached, reached, "{stage:?}: {error:?}");
        assert!(service.requests.load(Ordering::Relaxed) <= 1, "{stage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_is_not_kept() {
    let service = Service::that_stops_at(Stage::Endless).await;
    let error = service.client.workspaces().await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Service, "{error:?}");
    assert!(error.message.contains("8 MiB"), "{error:?}");
}
