#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]
use std::sync::Arc;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

mod faults;
mod graphql;

/// A sandbox on a driven clock, with a client that trusts only it.
struct Bench {
    sandbox: Sandbox,
    clock: Clock,
    client: Client,
    _folder: Option<TempDir>,
}

const NOW: i64 = 1_790_000_000_000;

impl Bench {
    async fn new(faults: &[Fault]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut bench = Self::over(folder.path(), Clock::driven(NOW)).await;
        bench.sandbox.set_faults(faults.iter().copied().map(FaultSpec::from).collect());
        bench._folder = Some(folder);
        bench
    }

    async fn over(folder: &Path, clock: Clock) -> Self {
        let sandbox = Sandbox::start_at(SandboxOptions::new(folder), clock.clone()).await.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in pem_certificates(sandbox.ca_pem()) {
            roots.add(certificate).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { sandbox, clock, client, _folder: None }
    }

    fn faults(&self, faults: &[&str]) {
        self.sandbox.set_faults(faults.iter().map(|fault| fault.parse().unwrap()).collect());
    }

    fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/api/v1/workspaces{path}", self.sandbox.base_url());
        self.client.request(method, url).bearer_auth(self.sandbox.token())
    }

    fn own(&self, path: &str) -> String {
        format!("/{}{path}", self.sandbox.workspace_id())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.ask(Method::POST, path).json(&body)).await
    }

    async fn start(&self, body: Value) -> Value {
        let (status, run) = self.post(&self.own("/inferences"), body).await;
        assert_eq!(status, 200, "{run}");
        run
    }

    async fn poll(&self, run: &Value) -> Value {
        let id = run["inference_id"].as_str().unwrap();
        let (status, run) = self.get(&self.own(&format!("/inferences/{id}"))).await;
        assert_eq!(status, 200, "{run}");
        run
    }

    /// Starts, waits and answers the outputs.
    async fn outputs(&self, body: Value) -> Vec<Value> {
        let run = self.start(body).await;
        self.clock.advance_ms(60_000);
        self.poll(&run).await["outputs"].as_array().unwrap().clone()
    }

    async fn bytes(&self, output: &Value) -> Vec<u8> {
        let response = self.client.get(output["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], output["content_type"].as_str().unwrap());
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let bytes = response.bytes().await.unwrap().to_vec();
        assert_eq!(bytes.len(), length);
        bytes
    }

    async fn money(&self) -> (f64, f64, f64) {
        let (_, workspace) = self.get(&self.own("")).await;
        let field = |name: &str| workspace[format!("{name}_creative_units")].as_f64().unwrap();
        (field("balance"), field("reserved"), field("available"))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

fn pem_certificates(pem: &str) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

fn fox() -> Value {
    json!({ "model_id": "flux", "prompt": "a fox", "batch_size": 2, "width": 64 * 5, "height": 256 })
}

#[tokio::test]
async fn a_run_is_reserved_settled_and_downloaded() {
    let bench = Bench::new(&[]).await;
    let run = bench.start(fox()).await;
    assert_eq!(
        (run["status"].as_str(), run["poll_interval_seconds"].as_i64()),
        (Some("in_progress"), Some(1))
    );
    assert_eq!(run["estimated_price_creative_units"], 1.2);
    assert_eq!(run["normalized_parameters"]["width"], 320);
    assert_eq!(run["normalized_parameters"]["num_inference_steps"], 28);
    assert_eq!(bench.money().await, (500.0, 1.2, 498.8));

    let waiting = bench.poll(&run).await;
    assert_eq!(waiting["status"], "in_progress");
    assert!(
        waiting.get("outputs").is_none() && waiting.get("actual_price_creative_units").is_none()
    );
    bench.clock.advance_ms(10_000);
    let done = bench.poll(&run).await;
    assert_eq!(
        (&done["status"], &done["actual_price_creative_units"]),
        (&json!("complete"), &json!(1.2))
    );
    assert!(done.get("poll_interval_seconds").is_none());
    assert_eq!(bench.money().await, (498.8, 0.0, 498.8));

    let outputs = done["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 2);
    let mut seen = Vec::new();
    for output in outputs {
        let bytes = bench.bytes(output).await;
        let image = image::load_from_memory(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (320, 256));
        seen.push(bytes);
    }
    assert_ne!(seen[0], seen[1]);
    let url = outputs[0]["url"].as_str().unwrap();
    assert!(url.contains("/a-fox-2026-09-21-"), "{url}");
    assert!(bench.sandbox.allowed_hosts().iter().any(|host| url.contains(host)));
    let downloads: Vec<_> =
        bench.sandbox.requests().into_iter().filter(|r| r.host == HostKind::Media).collect();
    assert!(downloads.len() == 2 && downloads.iter().all(|r| !r.had_authorization));
}

#[tokio::test]
async fn two_sandboxes_over_one_state_share_a_run() {
    let folder = TempDir::new().unwrap();
    let clock = Clock::driven(NOW);
    let (first, second) = tokio::join!(
        Bench::over(folder.path(), clock.clone()),
        Bench::over(folder.path(), clock.clone())
    );
    let run = first.start(fox()).await;
    let output = {
        clock.advance_ms(20_000);
        first.poll(&run).await["outputs"][0].clone()
    };
    let bytes = first.bytes(&output).await;
    let ca_file = first.sandbox.ca_file().to_owned();
    assert!(ca_file.exists());
    first.sandbox.shutdown().await;
    assert!(!ca_file.exists());

    let again = second.poll(&run).await;
    assert_eq!(again["outputs"][0]["file_id"], output["file_id"]);
    assert_ne!(again["outputs"][0]["url"], output["url"]);
    assert_eq!(second.bytes(&again["outputs"][0]).await, bytes);
    assert_eq!(second.money().await, (498.8, 0.0, 498.8));
}

#[tokio::test]
async fn starts_of_many_processes_never_overdraw() {
    let folder = TempDir::new().unwrap();
    let clock = Clock::driven(NOW);
    let a = Bench::over(folder.path(), clock.clone()).await;
    let b = Bench::over(folder.path(), clock.clone()).await;
    // 16 outputs of 4 units are 64: seven fit into 500.
    let body = json!({
        "model_id": "7b0f3c52-4d1e-4a86-9a35-0c61f0a2de11", "prompt": "a fox", "batch_size": 16
    });
    let path = a.own("/inferences");
    let starts = (0..10).flat_map(|_| [&a, &b]).map(|bench| bench.post(&path, body.clone()));
    let answers = futures::future::join_all(starts).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 7);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 402).count(), 13);
    assert_eq!(a.money().await, (500.0, 448.0, 52.0));
    clock.advance_ms(60_000);
    assert_eq!(b.money().await, (52.0, 0.0, 52.0));
}

#[tokio::test]
async fn tokens_hosts_and_workspaces_are_kept_apart() {
    let bench = Bench::new(&[]).await;
    let url = format!("{}/api/v1/workspaces", bench.sandbox.base_url());
    let (status, body) = answer(bench.client.get(&url)).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("UNAUTHENTICATED")));
    assert_eq!(answer(bench.client.get(&url).bearer_auth("pat_other")).await.0, 401);
    let rebound = bench.ask(Method::GET, "").header("host", "evil.example:443");
    assert_eq!(answer(rebound).await.0, 403);
    assert_eq!(bench.get("/00000000-0000-4000-8000-000000000000").await.0, 404);

    let run = bench.start(fox()).await;
    let id = run["inference_id"].as_str().unwrap();
    let other = format!("/{}/inferences/{id}", bench.sandbox.empty_workspace_id());
    assert_eq!(bench.get(&other).await.0, 404);
    assert_eq!(bench.get(&bench.own("/sprites")).await.0, 404);
    let cancel = bench.own(&format!("/inferences/{id}/cancel"));
    assert_eq!(bench.post(&cancel, json!({})).await.0, 404);

    let (_, list) = bench.get("").await;
    assert_eq!(list["workspaces"].as_array().unwrap().len(), 2);
    assert_eq!(list["workspaces"][0]["workspace_id"], bench.sandbox.workspace_id());
    assert!(list["workspaces"][0]["last_active_at"].is_string());
    assert_eq!(list["pagination"]["total_count"], 2);
}

#[tokio::test]
async fn the_empty_workspace_cannot_buy() {
    let bench = Bench::new(&[]).await;
    let path = format!("/{}/inferences", bench.sandbox.empty_workspace_id());
    let (status, body) = bench.post(&path, fox()).await;
    assert_eq!((status, &body["error"]["code"]), (402, &json!("INSUFFICIENT_BALANCE")));
    let mesh = json!({ "model_id": "meshy-6", "prompt": "a fox" });
    let (status, body) = bench.post(&path, mesh).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("FEATURE_DISABLED")));
    let (_, price) = bench.post(&format!("{path}/estimate"), fox()).await;
    assert_eq!(price["has_sufficient_creative_units"], false);
    assert_eq!(price["estimated_remaining_balance_creative_units"], -1.2);
    bench.faults(&["negative_balance_allowed"]);
    assert_eq!(bench.post(&path, fox()).await.0, 200);
}

#[tokio::test]
async fn models_come_in_pages() {
    let bench = Bench::new(&[]).await;
    let (mut cursor, mut models, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let (status, page) =
            bench.get(&bench.own(&format!("/models?limit=20&cursor={cursor}"))).await;
        assert_eq!(status, 200);
        models.extend(page["models"].as_array().unwrap().clone());
        assert_eq!(page["pagination"]["total_count"].is_null(), pages > 0);
        pages += 1;
        match page["pagination"]["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!((pages, models.len()), (2, catalogue::CATALOGUE.len()));
    assert!(models[..20].iter().all(|model| model["modality"] != "three_d"));
    for bad in ["limit=0", "limit=101", "limit=x", "cursor=nonsense"] {
        let (status, body) = bench.get(&bench.own(&format!("/models?{bad}"))).await;
        assert_eq!((status, &body["detail"][0]["loc"][0]), (422, &json!("query")), "{bad}");
    }
    let (_, model) = bench.get(&bench.own("/models/flux")).await;
    assert_eq!(
        (&model["max_width"], &model["capabilities"]["text_to_image"]),
        (&json!(2048), &json!(true))
    );
    assert_eq!(bench.get(&bench.own("/models/nope")).await.0, 404);
    bench.faults(&["models_camel_case", "models_id_field", "total_count_null"]);
    let (_, page) = bench.get(&bench.own("/models")).await;
    assert!(page["models"][0]["capabilities"].is_array() && page["models"][0]["id"].is_string());
    assert!(page["pagination"]["total_count"].is_null());
}

#[tokio::test]
async fn requests_are_validated() {
    let bench = Bench::new(&[]).await;
    let path = bench.own("/inferences");
    for (body, field) in [
        (json!({ "prompt": "x" }), "model_id"),
        (json!({ "model_id": "flux" }), "prompt"),
        (json!({ "model_id": "flux", "prompt": "x", "width": 9000 }), "width"),
        (json!({ "model_id": "flux", "parameters": { "prompt": "x" } }), "parameters"),
        (json!({ "model_id": "birefnet-v2" }), "guidance_files"),
        (
            json!({ "model_id": "flux", "prompt": "x", "guidance_files": [
                { "file_id": bench.sandbox.workspace_id(), "type": "init_image" }
            ] }),
            "guidance_files",
        ),
    ] {
        let (status, answer) = bench.post(&path, body).await;
        assert_eq!((status, &answer["detail"][0]["loc"][1]), (422, &json!(field)), "{answer}");
    }
    let (status, answer) = bench.post(&path, json!({ "model_id": "nope", "prompt": "x" })).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("MODEL_NOT_FOUND")));
    assert_eq!(bench.money().await, (500.0, 0.0, 500.0));
    bench.faults(&["nested_body"]);
    let nested = json!({ "model_id": "flux", "parameters": { "prompt": "a fox" } });
    assert_eq!(bench.post(&path, nested).await.0, 200);
}

#[tokio::test]
async fn uploads_follow_the_signed_contract() {
    let bench = Bench::new(&[]).await;
    let source = media::render::<Vec<u8>>(
        &media::Artifact { prompt: "a gem".into(), width: 700, height: 600, ..Default::default() },
        &[],
        None,
    )
    .unwrap();
    // Large enough for two chunks: PNG readers stop at the end of the picture.
    let mut bytes = source;
    bytes.resize(300_000, 0);
    let ask = json!({ "content_type": "image/png", "file_size_bytes": bytes.len(), "file_name": "gem.png" });
    let (status, file) = bench.post(&bench.own("/files/upload-url"), ask).await;
    assert_eq!(status, 200, "{file}");
    let url = file["upload_url"].as_str().unwrap();
    let id = file["file_id"].as_str().unwrap();
    let range = format!("0,{}", bytes.len());
    let begin = |headers: &[(&'static str, &str)]| {
        let mut request = bench.client.post(url).header("content-length", "0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send()
    };
    let code = async |response: reqwest::Response| {
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let code = text.split("<Code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        (status, code)
    };
    let start = ("x-goog-resumable", "start");
    let kind = ("content-type", "image/png");
    let missing = begin(&[start, kind]).await.unwrap();
    assert_eq!(code(missing).await, (400, "MalformedSecurityHeader".into()));
    let other = [start, kind, ("x-goog-content-length-range", "0,67108864")];
    let other = begin(&other).await.unwrap();
    assert_eq!(code(other).await, (403, "SignatureDoesNotMatch".into()));
    let right = [start, kind, ("x-goog-content-length-range", range.as_str())];
    bench.faults(&["expired_upload_url:1"]);
    assert_eq!(code(begin(&right).await.unwrap()).await, (400, "ExpiredToken".into()));

    let cut = json!({
        "model_id": "birefnet-v2", "guidance_files": [{ "file_id": id, "type": "init_image" }]
    });
    assert_eq!(bench.post(&bench.own("/inferences"), cut.clone()).await.0, 422);
    let session = begin(&right).await.unwrap();
    assert_eq!(session.status(), 201);
    let session = session.headers()["location"].to_str().unwrap().to_owned();
    let put = |range: Option<String>, body: Vec<u8>| {
        let mut request = bench.client.put(&session).header("content-type", "image/png");
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        request.header("content-length", body.len()).body(body).send()
    };
    let total = bytes.len();
    let asked = put(Some(format!("bytes */{total}")), Vec::new()).await.unwrap();
    assert_eq!((asked.status().as_u16(), asked.headers().get("range")), (308, None));
    let chunk =
        put(Some(format!("bytes 0-262143/{total}")), bytes[..262_144].to_vec()).await.unwrap();
    assert_eq!(
        (chunk.status().as_u16(), &chunk.headers()["range"]),
        (308, &"bytes=0-262143".parse().unwrap())
    );
    let rest = put(Some(format!("bytes 262144-{}/{total}", total - 1)), bytes[262_144..].to_vec());
    assert_eq!(rest.await.unwrap().status(), 200);
    assert!(
        bench
            .sandbox
            .requests()
            .iter()
            .all(|r| r.host != HostKind::Storage || !r.had_authorization)
    );

    let outputs = bench.outputs(cut).await;
    let image = image::load_from_memory(&bench.bytes(&outputs[0]).await).unwrap().to_rgba8();
    assert_eq!((image.dimensions(), image.get_pixel(0, 0).0[3]), ((700, 600), 0));

    // A new URL dies after fifteen minutes.
    let ask = json!({ "content_type": "image/png", "file_size_bytes": 10 });
    let (_, late) = bench.post(&bench.own("/files/upload-url"), ask).await;
    bench.clock.advance_ms(15 * 60 * 1_000);
    let late = bench
        .client
        .post(late["upload_url"].as_str().unwrap())
        .header("content-length", "0")
        .header("x-goog-resumable", "start")
        .header("content-type", "image/png")
        .header("x-goog-content-length-range", "0,10")
        .send();
    assert_eq!(code(late.await.unwrap()).await, (400, "ExpiredToken".into()));
}

#[tokio::test]
async fn an_output_is_a_reference_and_costs_more_than_estimated() {
    let bench = Bench::new(&[]).await;
    let outputs = bench.outputs(fox()).await;
    let mut body = fox();
    body["batch_size"] = 1.into();
    body["guidance_files"] =
        json!([{ "file_id": outputs[0]["file_id"], "type": "ip_adapter", "weight": 0.5 }]);
    let (_, price) = bench.post(&bench.own("/inferences/estimate"), body.clone()).await;
    assert_eq!(price["estimated_price_creative_units"], 0.6);
    let run = bench.start(body.clone()).await;
    bench.clock.advance_ms(60_000);
    assert_eq!(bench.poll(&run).await["actual_price_creative_units"], 1.4);
    body["model_id"] = "7b0f3c52-4d1e-4a86-9a35-0c61f0a2de11".into();
    let (status, refused) = bench.post(&bench.own("/inferences"), body).await;
    assert_eq!(status, 422);
    assert!(refused.to_string().contains("does not take guidance files"), "{refused}");
}

#[tokio::test]
async fn every_modality_hands_out_its_kind_of_file() {
    let bench = Bench::new(&[]).await;
    for (model, content_type, magic) in [
        ("pixel-forge", "image/png", b"\x89PNG".as_slice()),
        ("seedream-4.5", "image/webp", b"RIFF"),
        ("imagen-4-fast", "image/jpeg", b"\xff\xd8\xff"),
        ("ltx-2", "video/mp4", b"\0\0\0"),
        ("meshy-6", "model/gltf-binary", b"glTF"),
        ("eleven-multilingual-v2", "audio/wav", b"RIFF"),
        ("lyria-2", "audio/wav", b"RIFF"),
        ("gemini-3-flash", "text/plain", b"The sandbox"),
    ] {
        let body = json!({ "model_id": model, "prompt": "a small fox", "batch_size": 1 });
        let outputs = bench.outputs(body).await;
        assert_eq!((outputs.len(), &outputs[0]["content_type"]), (1, &json!(content_type)));
        assert!(bench.bytes(&outputs[0]).await.starts_with(magic), "{model}");
    }
}

#[tokio::test]
async fn the_rate_is_limited() {
    let bench = Bench::new(&[]).await;
    let path = bench.own("/inferences");
    let video =
        json!({ "model_id": "ltx-2", "prompt": "x", "batch_size": 1, "duration_seconds": 1 });
    let image = json!({ "model_id": "pixel-forge", "prompt": "x", "batch_size": 1 });
    for _ in 0..30 {
        assert_eq!(bench.post(&path, video.clone()).await.0, 200);
    }
    let (status, body) = bench.post(&path, video.clone()).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("RATE_LIMITED")));
    for _ in 0..30 {
        assert_eq!(bench.post(&path, image.clone()).await.0, 200);
    }
    assert_eq!(bench.post(&path, image.clone()).await.0, 429);
    bench.clock.advance_ms(60_001);
    assert_eq!(bench.post(&path, video).await.0, 200);
}

#[tokio::test]
async fn workflows_are_listed_priced_and_run() {
    let bench = Bench::new(&[]).await;
    let (_, list) = bench.get(&bench.own("/workflows?search=icon")).await;
    assert_eq!(list["workflows"].as_array().unwrap().len(), 1);
    let id = list["workflows"][0]["workflow_id"].as_str().unwrap();
    let path = bench.own(&format!("/workflows/{id}"));
    let inputs = json!({ "inputs": { "subject": "potions", "count": 3 } });
    let (_, price) = bench.post(&format!("{path}/estimate"), inputs.clone()).await;
    assert_eq!(price["estimated_price_creative_units"], 0.9);
    assert_eq!(price["expected_output_counts"]["icons"], 3);
    assert_eq!(bench.post(&format!("{path}/runs"), json!({ "inputs": {} })).await.0, 422);
    let (status, run) = bench.post(&format!("{path}/runs"), inputs).await;
    assert_eq!((status, &run["status"]), (200, &json!("pending")), "{run}");
    let poll = format!("{path}/runs/{}", run["run_id"].as_str().unwrap());
    bench.clock.advance_ms(3_000);
    let (_, running) = bench.get(&poll).await;
    assert_eq!(
        (&running["status"], &running["steps"][0]["status"]),
        (&json!("running"), &json!("success"))
    );
    bench.clock.advance_ms(10_000);
    let (_, done) = bench.get(&poll).await;
    assert_eq!(
        (&done["status"], &done["actual_price_creative_units"]),
        (&json!("success"), &json!(0.9))
    );
    assert_eq!(done["outputs"].as_array().unwrap().len(), 3);
    image::load_from_memory(&bench.bytes(&done["outputs"][0]).await).unwrap();
}

#[tokio::test]
async fn sessions_are_found_or_made_by_name() {
    let bench = Bench::new(&[]).await;
    let mut body = fox();
    assert!(bench.start(body.clone()).await["session_id"].is_null());
    body["session_name"] = "icons".into();
    let (first, second) = (bench.start(body.clone()).await, bench.start(body).await);
    assert!(first["session_id"].is_string());
    assert_eq!(first["session_id"], second["session_id"]);

    let runs = bench.own("/workflows/77f10a00-0000-4000-8000-000000000001/runs");
    let inputs = json!({ "subject": "gems" });
    let known = json!({ "inputs": inputs, "session_id": first["session_id"] });
    let (_, run) = bench.post(&runs, known).await;
    assert_eq!(run["session_id"], first["session_id"]);
    let unknown = json!({ "inputs": inputs, "session_id": bench.sandbox.workspace_id() });
    assert_eq!(bench.post(&runs, unknown).await.0, 404);
}

#[tokio::test]
async fn the_start_is_quick_and_the_stop_is_complete() {
    let folder = TempDir::new().unwrap();
    Sandbox::start(SandboxOptions::new(folder.path())).await.unwrap().shutdown().await;
    let began = std::time::Instant::now();
    let sandbox = Sandbox::start(SandboxOptions::new(folder.path())).await.unwrap();
    // Some milliseconds; the rest is room for a busy machine.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(sandbox.token().len() >= 32);
    let address = sandbox.base_url().strip_prefix("https://").unwrap().to_owned();
    sandbox.shutdown().await;
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());

    let dropped = Sandbox::start(SandboxOptions::new(folder.path())).await.unwrap();
    let address = dropped.base_url().strip_prefix("https://").unwrap().to_owned();
    let ca_file = dropped.ca_file().to_owned();
    drop(dropped);
    assert!(!ca_file.exists());
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(&address).await.is_err() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());

    let slow = SandboxOptions { speed: 0.0, ..SandboxOptions::new(folder.path()) };
    assert!(matches!(Sandbox::start(slow).await, Err(SandboxError::Speed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_starts_at_once_make_one_state() {
    let folder = TempDir::new().unwrap();
    let starts = (0..8).map(|_| {
        let options = SandboxOptions::new(folder.path());
        tokio::spawn(async move { Sandbox::start(options).await })
    });
    for started in futures::future::join_all(starts).await {
        started.unwrap().unwrap().shutdown().await;
    }
}

#[test]
fn a_sandbox_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Sandbox>();
}
