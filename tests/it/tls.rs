//! The connection itself: who is believed to be Layer, what a proxy sees, and who is never asked.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::support::{TestEnv, for_each, picture};

const TOKEN: &str = "pat_Kx7Qm2Rv9Tz4Wb8Yd3Nf6Hj1Lc5Gs0PaEuXo";

/// What somebody in the place of Layer got to see.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        let seen = self.0.lock().unwrap();
        seen.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// Serves each connection in a thread of its own, for as long as the test runs.
fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A certificate authority of a test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// An impostor or not: HTTPS that writes down what it is asked and refuses all of it.
    fn server(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> (u16, Seen) {
        self.answering(name, change, |_| {
            b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
                .to_vec()
        })
    }

    /// HTTPS that writes down what it is asked, and answers with what is made of it.
    pub(crate) fn answering(
        &self,
        name: &str,
        change: impl Fn(&mut CertificateParams),
        answer: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static,
    ) -> (u16, Seen) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let seen = Seen::default();
        let log = seen.clone();
        let port = listen(move |stream| {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(tls, stream);
            let mut bytes = [0; 8192];
            if let Ok(count @ 1..) = stream.read(&mut bytes) {
                log.add(&bytes[..count]);
                let _ = stream.write_all(&answer(&String::from_utf8_lossy(&bytes[..count])));
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        (port, seen)
    }
}

/// A world that talks to this port of this machine, and trusts this authority.
fn world(port: u16, pem: &str) -> TestEnv {
    let mut env = TestEnv::with_token(TOKEN);
    let bundle = env.path("authority.pem");
    std::fs::write(&bundle, pem).unwrap();
    env.set("LAYER_CA_BUNDLE", bundle)
        .set("LAYER_API_BASE_URL", format!("https://127.0.0.1:{port}"));
    env
}

#[test]
fn only_who_proves_to_be_the_host_gets_the_token() {
    let authority = Authority::new();
    let stranger = Authority::new();
    // With nothing wrong the token arrives, so that the others could see it.
    let (port, seen) = authority.server("127.0.0.1", |_| {});
    let _ = world(port, &authority.pem).call("list_models", &json!({})).error("unauthenticated");
    assert!(seen.contains(TOKEN));

    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    };
    let not_yet = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    };
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    for (what, (port, seen)) in [
        ("signed by an unknown authority", stranger.server("127.0.0.1", |_| {})),
        ("for another address", authority.server("127.0.0.2", |_| {})),
        ("for another name", authority.server("api.app.layer.ai", |_| {})),
        ("expired", authority.server("127.0.0.1", expired)),
        ("not valid yet", authority.server("127.0.0.1", not_yet)),
        ("for clients", authority.server("127.0.0.1", for_clients)),
    ] {
        let env = world(port, &authority.pem);
        let error = env.call("create_asset", &picture("a kite")).error("network");
        let error = error.says("not_charged", true);
        assert!(error.message().contains("certificate"), "{what}: {}", error.message());
        assert_eq!(seen.bytes(), b"", "{what}");
    }
}

/// The versions that a ClientHello offers (RFC 8446, section 4.2.1).
fn offered_versions(hello: &[u8]) -> Vec<u16> {
    let number = |at: usize| usize::from(hello[at]) << 8 | usize::from(hello[at + 1]);
    // Record header, handshake header, version and random, then three lists.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + number(at);
    at += 1 + usize::from(hello[at]);
    let end = at + 2 + number(at);
    at += 2;
    while at < end {
        let (kind, length) = (number(at), number(at + 2));
        if kind == 43 {
            let list = &hello[at + 5..at + 4 + length];
            return list.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        }
        at += 4 + length;
    }
    Vec::new()
}

#[test]
fn a_server_with_old_tls_is_refused() {
    for old in [0x0301_u16, 0x0302] {
        let seen = Seen::default();
        let log = seen.clone();
        let port = listen(move |mut stream| {
            let mut bytes = [0; 8192];
            let count = stream.read(&mut bytes).unwrap_or(0);
            log.add(&bytes[..count]);
            let [high, low] = old.to_be_bytes();
            // A ServerHello of that version with a cipher suite that it had.
            let mut hello = vec![22, high, low, 0, 42, 2, 0, 0, 38, high, low];
            hello.extend([7; 32]);
            hello.extend([0, 0xc0, 0x13, 0]);
            let _ = stream.write_all(&hello);
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                log.add(&bytes[..count]);
            }
        });
        let env = world(port, &Authority::new().pem);
        let error = env.call("create_asset", &picture("a kite")).error("network");
        let _ = error.says("not_charged", true);
        let bytes = seen.bytes();
        assert_eq!(offered_versions(&bytes), [0x0304, 0x0303], "{bytes:02x?}");
        assert!(!seen.contains(TOKEN));
    }
}

#[test]
fn plain_http_is_refused_before_anything_is_sent() {
    let seen = Seen::default();
    let log = seen.clone();
    let port = listen(move |mut stream| {
        let mut bytes = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            log.add(&bytes[..count]);
        }
    });
    let mut env = TestEnv::with_token(TOKEN);
    env.set("LAYER_API_BASE_URL", format!("http://127.0.0.1:{port}"));
    let _ = env.call("list_models", &json!({})).setup_error("configuration");
    assert_eq!(seen.bytes(), b"");
}

/// A forward proxy: does what `CONNECT` asks, and writes down what it is told and what passes.
struct ForwardProxy {
    port: u16,
    asked: Seen,
    passed: Seen,
}

impl ForwardProxy {
    fn start() -> Self {
        let (asked, passed) = (Seen::default(), Seen::default());
        let (heads, bodies) = (asked.clone(), passed.clone());
        let port = listen(move |mut client| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            heads.add(&head);
            let head = String::from_utf8(head).unwrap();
            let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
            let Some(mut server) = target.and_then(|target| TcpStream::connect(target).ok()) else {
                let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
                return;
            };
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            let (mut back, mut to_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            let mut bytes = [0; 8192];
            while let Ok(count @ 1..) = client.read(&mut bytes) {
                bodies.add(&bytes[..count]);
                if server.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            let _ = server.shutdown(Shutdown::Both);
        });
        Self { port, asked, passed }
    }

    /// How often each host was asked for.
    fn targets(&self) -> Vec<String> {
        let heads = String::from_utf8(self.asked.bytes()).unwrap();
        let lines = heads.lines().filter_map(|line| line.strip_prefix("CONNECT "));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }
}

/// Browsers and curl write the keys of their connections into the file of this variable.
#[test]
fn no_variable_makes_the_program_tell_the_keys_of_its_connections() {
    let mut env = TestEnv::with_token(TOKEN);
    let keys = env.path("keys.log");
    env.set("SSLKEYLOGFILE", keys.clone());
    let _ = env.call("list_models", &json!({})).done();
    assert!(!keys.exists());
}

#[test]
fn through_a_proxy_all_goes_to_the_listed_hosts_and_the_proxy_learns_nothing() {
    // By name, a proxy in the user's own network is looked up like any host.
    let proxies = [
        ("LAYER_PROXY", "127.0.0.1"),
        ("LAYER_PROXY", "localhost"),
        ("HTTPS_PROXY", "127.0.0.1"),
        ("HTTPS_PROXY", "localhost"),
    ];
    for_each(&proxies, |&(variable, host)| {
        let mut env = TestEnv::with_token(TOKEN);
        let proxy = ForwardProxy::start();
        env.set(variable, format!("http://{host}:{}", proxy.port));
        let job = env.call("create_asset", &picture("a kite")).complete();
        for (tool, arguments) in [
            ("list_models", json!({})),
            ("list_jobs", json!({})),
            ("get_job", json!({ "job_id": job.id() })),
            ("view_asset", json!({ "image": job.id() })),
            ("quote", picture("a kite")),
        ] {
            let _ = env.call(tool, &arguments).done();
        }
        let _ = env.call("create_asset", &json!({ "prompt": "x", "model": "none" }));
        assert_eq!(env.run(&["doctor", "--online"]).code, Some(0));
        let mut client = env.client();
        let _ = client.call("get_workspace_info", &json!({}));
        let _ = client.leave();

        let listed = env.sandbox().allowed_hosts().to_vec().into_iter();
        let api = env.sandbox().base_url().strip_prefix("https://").unwrap().to_owned();
        let may: BTreeSet<_> = listed.chain([api.clone()]).collect();
        let asked: BTreeSet<_> = proxy.targets().into_iter().collect();
        assert!(asked.contains(&api) && asked.len() > 1, "{asked:?}");
        assert!(asked.is_subset(&may), "{asked:?}");
        assert!(!proxy.asked.contains(TOKEN) && !proxy.passed.contains(TOKEN));
        assert!(!proxy.passed.contains("a kite") && proxy.passed.bytes().len() > 1000);

        // With the proxy gone nothing finds another way out.
        let before = env.requests().len();
        env.set(variable, "http://127.0.0.1:1");
        let _ = env.call("list_models", &json!({})).error("network");
        assert_eq!(env.requests().len(), before);
    });
}

#[test]
fn a_proxy_that_does_not_help_is_an_error_that_names_it() {
    let mut env = TestEnv::with_token(TOKEN);
    let refuses = listen(|mut client| {
        let _ = client.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = client.read(&mut [0; 8192]);
        let _ = client
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    });
    let no_proxy = listen(|mut client| {
        let _ = client.write_all(b"SSH-2.0-x\r\n");
    });
    for port in [1, refuses, no_proxy] {
        env.set("LAYER_PROXY", format!("http://zoe:hunter22@127.0.0.1:{port}"));
        let outcome = env.call("create_asset", &picture("a kite"));
        assert!(!format!("{outcome:?}").contains("hunter22"), "{outcome:#?}");
        let error = outcome.error("network").says("not_charged", true);
        assert!(error.next_step().contains("proxy"), "{}", error.next_step());
        let refused = port == refuses || port == no_proxy;
        assert_eq!(error.message().contains("proxy"), refused, "{}", error.message());
    }
    assert_eq!(env.requests().len(), 0);
    // The hosts of NO_PROXY are reached directly.
    env.set("NO_PROXY", "127.0.0.1");
    let _ = env.call("list_models", &json!({})).done();
}
