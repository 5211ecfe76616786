//! What the sandbox does wrong on request.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::Fault;
use super::{Bench, fox};

#[tokio::test]
async fn refusals_by_fault_start_nothing() {
    let bench = Bench::new(&[]).await;
    let path = bench.own("/inferences");
    for (fault, status, code) in [
        ("unauthorized:1", 401, "UNAUTHENTICATED"),
        ("insufficient_balance", 402, "INSUFFICIENT_BALANCE"),
        ("feature_disabled", 403, "FEATURE_DISABLED"),
        ("model_not_found", 404, "MODEL_NOT_FOUND"),
        ("rate_limited", 429, "RATE_LIMITED"),
        ("rate_limited_no_header", 429, "RATE_LIMITED"),
        ("server_error", 500, "INTERNAL_SERVER_ERROR"),
    ] {
        bench.faults(&[fault]);
        let response = bench.ask(Method::POST, &path).json(&fox()).send().await.unwrap();
        let header = response.headers().contains_key("retry-after");
        assert_eq!((response.status().as_u16(), header), (status, fault == "rate_limited"));
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], code);
    }
    bench.faults(&["validation"]);
    assert_eq!(bench.post(&path, fox()).await.0, 422);
    bench.faults(&["start_dropped"]);
    assert!(bench.ask(Method::POST, &path).json(&fox()).send().await.is_err());
    for (fault, field) in [("error_detail_string", "detail"), ("error_graphql_shape", "type")] {
        bench.faults(&[fault]);
        let (status, body) = bench.post(&path, fox()).await;
        assert!(status == 502 && body[field].is_string(), "{fault} {body}");
    }
    bench.faults(&["error_html", "insufficient_balance"]);
    let response = bench.ask(Method::POST, &path).json(&fox()).send().await.unwrap();
    assert_eq!(response.status(), 402);
    assert!(response.text().await.unwrap().starts_with("<!doctype html>"));
    assert_eq!(bench.money().await, (500.0, 0.0, 500.0));
}

#[tokio::test]
async fn some_starts_go_on_without_an_answer() {
    let bench = Bench::new(&[]).await;
    let path = bench.own("/inferences");
    bench.faults(&["start_dropped_after:1"]);
    assert!(bench.ask(Method::POST, &path).json(&fox()).send().await.is_err());
    assert_eq!(bench.sandbox.requests().last().unwrap().status, None);
    assert_eq!(bench.money().await.1, 1.2);
    bench.faults(&["server_error_after_start:1"]);
    assert_eq!(bench.post(&path, fox()).await.0, 500);
    bench.clock.advance_ms(60_000);
    assert_eq!(bench.money().await, (497.6, 0.0, 497.6));
}

#[tokio::test]
async fn runs_end_as_the_faults_have_it() {
    let bench = Bench::new(&[]).await;
    for (fault, word, seconds) in [
        ("run_fails", "failed", 60),
        ("status_failure", "failure", 60),
        ("status_error", "error", 60),
        ("run_cancelled", "cancelled", 60),
        ("status_canceled", "canceled", 60),
        ("status_deleted", "deleted", 60),
        ("run_never_ends", "in_progress", 100_000),
        ("straggler", "in_progress", 30),
        ("status_odd", "queued", 0),
        ("status_upper", "IN_PROGRESS", 0),
        ("status_upper", "COMPLETE", 60),
        ("status_completed", "COMPLETED", 60),
        ("status_succeeded", "succeeded", 60),
    ] {
        bench.faults(&[fault]);
        let run = bench.start(fox()).await;
        bench.clock.advance_ms(seconds * 1_000);
        let run = bench.poll(&run).await;
        assert_eq!(run["status"], word, "{fault}");
        if word == "failed" {
            assert_eq!(run["error_code"], "CONTENT_POLICY_VIOLATION");
            assert!(run["error"].is_string());
        }
        bench.clock.advance_ms(100_000);
    }
    // The endless one stays reserved; six were charged.
    bench.faults(&[]);
    assert_eq!(bench.money().await, (492.8, 1.2, 491.6));
    bench.faults(&["price_above_estimate"]);
    let run = bench.start(fox()).await;
    bench.clock.advance_ms(60_000);
    assert_eq!(bench.poll(&run).await["actual_price_creative_units"], 1.8);
}

#[tokio::test]
async fn a_cancelled_run_costs_nothing() {
    let bench = Bench::new(&[Fault::CancelSupported]).await;
    let run = bench.start(fox()).await;
    let path = bench.own(&format!("/inferences/{}/cancel", run["inference_id"].as_str().unwrap()));
    let (status, cancelled) = bench.post(&path, json!({})).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    bench.clock.advance_ms(60_000);
    assert_eq!(bench.poll(&run).await["status"], "cancelled");
    assert_eq!(bench.money().await, (500.0, 0.0, 500.0));
}

#[tokio::test]
async fn answers_take_other_shapes() {
    let bench = Bench::new(&[]).await;
    let run = bench.start(fox()).await;
    for (fault, value) in [
        ("null_poll_interval", Value::Null),
        ("zero_poll_interval", 0.into()),
        ("huge_poll_interval", 86_400.into()),
        ("negative_poll_interval", (-5).into()),
    ] {
        bench.faults(&[fault]);
        assert_eq!(bench.poll(&run).await["poll_interval_seconds"], value);
    }
    bench.clock.advance_ms(60_000);
    for (fault, name) in [
        ("outputs_under_files", "files"),
        ("outputs_under_assets", "assets"),
        ("outputs_under_result", "result"),
    ] {
        bench.faults(&[fault]);
        let done = bench.poll(&run).await;
        assert!(done[name].is_array() && done.get("outputs").is_none(), "{fault}");
    }
    bench.faults(&["output_single_object", "output_download_url"]);
    assert!(bench.poll(&run).await["outputs"]["download_url"].is_string());
    for (fault, start) in [
        ("url_file_scheme", "file:///"),
        ("url_http", "http://127.0.0.1:"),
        ("url_private_address", "https://169.254.169.254/"),
        ("url_foreign_host", "https://media.app.layer.ai.example.com/"),
    ] {
        bench.faults(&[fault]);
        let done = bench.poll(&run).await;
        assert!(done["outputs"][0]["url"].as_str().unwrap().starts_with(start), "{fault}");
    }
    bench.faults(&["api_redirect"]);
    let redirect = bench.ask(Method::GET, "").send().await.unwrap();
    assert_eq!(redirect.status(), StatusCode::FOUND);
    bench.faults(&["read_dropped:1", "read_server_error:1", "read_rate_limited:1"]);
    assert!(bench.ask(Method::GET, "").send().await.is_err());
    assert_eq!(bench.get("").await.0, 500);
    assert_eq!(bench.get("").await.0, 429);
    assert_eq!(bench.get("").await.0, 200);
    bench.faults(&["huge_json"]);
    let huge = bench.ask(Method::GET, "").send().await.unwrap().bytes().await.unwrap();
    assert!(huge.len() > 60_000_000);
}

#[tokio::test]
async fn downloads_go_wrong_as_ordered() {
    let bench = Bench::new(&[]).await;
    let outputs = bench.outputs(fox()).await;
    let url = outputs[0]["url"].as_str().unwrap();
    let fetch = || bench.client.get(url).send();
    bench.faults(&["download_truncated"]);
    assert!(fetch().await.unwrap().bytes().await.is_err());
    bench.faults(&["download_redirect"]);
    assert_eq!(fetch().await.unwrap().status(), StatusCode::FOUND);
    bench.faults(&["download_404"]);
    assert_eq!(fetch().await.unwrap().status(), StatusCode::NOT_FOUND);
    bench.faults(&["download_wrong_type"]);
    let page = fetch().await.unwrap();
    assert_eq!(page.headers()["content-type"], "image/png");
    assert!(page.text().await.unwrap().starts_with("<!doctype"));
    bench.faults(&["download_oversized"]);
    let mut endless = fetch().await.unwrap();
    let mut received = 0;
    while received < 3_000_000 {
        received += endless.chunk().await.unwrap().unwrap().len();
    }
    drop(endless);
    bench.faults(&["download_slow"]);
    assert_eq!(fetch().await.unwrap().chunk().await.unwrap().unwrap().len(), 1024);

    bench.faults(&[]);
    let head = bench.client.head(url).send().await.unwrap();
    let length: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(length, bench.bytes(&outputs[0]).await.len());
    let part = bench.client.get(url).header("range", "bytes=0-3").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), b"\x89PNG"[..]);
    let wrong = url.replace("a-fox", "a-wolf");
    assert_eq!(bench.client.get(wrong).send().await.unwrap().status(), 404);
}
