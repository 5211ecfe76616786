#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap is a failed test"
)]

use super::*;
use crate::layer::{InferenceRequest, Modality};

fn request(prompt: &str) -> InferenceRequest {
    let model = "flux".parse().unwrap();
    let sized = InferenceRequest::plain(&model, prompt);
    InferenceRequest { width: Some(512), height: Some(512), seed: Some(7), ..sized }
}

fn new_job(prompt: &str, price: f64) -> NewJob {
    let workspace = "w1".parse().unwrap();
    NewJob {
        id: JobId::random(),
        origin: "https://api".to_owned(),
        fingerprint: Fingerprint::of("https://api", &workspace, &request(prompt).into(), &[]),
        workspace,
        order: request(prompt).into(),
        model_name: "FLUX".to_owned(),
        modality: Modality::Image,
        estimated: CreativeUnits::from_number(price).unwrap(),
        margin: CreativeUnits::ZERO,
        quote: None,
        save_to: None,
        output_dir: "/out".into(),
        project: "/project".into(),
        session: "s1".to_owned(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

async fn journal() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("home/journal.db")).await.unwrap();
    (folder, journal)
}

#[tokio::test]
async fn an_entry_keeps_everything_through_its_life() {
    let (folder, journal) = journal().await;
    let job = new_job("a knight", 0.6);
    let reserved = journal.reserve(&job, None, &Terms::default(), now()).await.unwrap();
    assert!(matches!(reserved, Reservation::New));
    let inference = "inf-1".parse().unwrap();
    let adjusted = vec!["width".to_owned()];
    journal.record_started(&job.id, &inference, None, &adjusted, now()).await.unwrap();
    let url = "https://h/a.png?signed".to_owned();
    let outputs = [Output { file_id: "f1".parse().ok(), url, ..Output::default() }];
    let charged = CreativeUnits::from_number(0.7);
    journal.record_finished(&job.id, &inference, &outputs, charged, None, now()).await.unwrap();
    let late = journal.record_started(&job.id, &inference, None, &[], now()).await;
    late.unwrap();
    journal.close().await;

    let again = Journal::open(&folder.path().join("home/journal.db")).await.unwrap();
    let kept = again.job(&job.id).await.unwrap().unwrap();
    assert_eq!(kept.state, JobState::Finished);
    assert_eq!(kept.inference, Some(inference));
    assert_eq!(kept.charged, charged);
    assert_eq!(kept.outputs[0].file_id, outputs[0].file_id);
    assert_eq!(kept.outputs[0].url, "", "addresses may be signed and are not kept");
    assert_eq!(kept.adjusted, adjusted);
    assert_eq!(kept.new.order, job.order);
    assert_eq!(kept.created_at, now());
}

#[tokio::test]
async fn the_same_request_finds_its_entry_and_another_does_not() {
    let (_folder, journal) = journal().await;
    let first = new_job("a knight", 1.0);
    journal.reserve(&first, None, &Terms::default(), now()).await.unwrap();
    let since = Some(now());
    let again = new_job("a knight", 1.0);
    match journal.reserve(&again, since, &Terms::default(), now()).await.unwrap() {
        Reservation::Existing(job) => assert_eq!(job.id(), &first.id),
        other => panic!("{other:?}"),
    }
    let other = new_job("a dragon", 1.0);
    let reserved = journal.reserve(&other, since, &Terms::default(), now()).await.unwrap();
    assert!(matches!(reserved, Reservation::New));
    let refused = JobFailure::default();
    journal.record_failure(&first.id, JobState::Refused, &refused, None, now()).await.unwrap();
    let reserved = journal.reserve(&again, since, &Terms::default(), now()).await.unwrap();
    assert!(matches!(reserved, Reservation::New), "a refused start is no result");
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_buyers_never_pass_the_budget() {
    let (folder, _journal) = journal().await;
    let path = folder.path().join("home/journal.db");
    let limit = CreativeUnits::from_number(10.0);
    let buyers = (0..30).map(|buyer| {
        let path = path.clone();
        tokio::spawn(async move {
            let journal = Journal::open(&path).await.unwrap();
            let budgets = Budgets { day: limit, day_began: now(), ..Budgets::default() };
            let terms = Terms { budgets, needs_approval: false };
            let job = new_job(&format!("knight {buyer}"), 1.0);
            let bought = journal.reserve(&job, Some(now()), &terms, now()).await.unwrap();
            u32::from(matches!(bought, Reservation::New))
        })
    });
    let bought = futures::future::join_all(buyers).await;
    assert_eq!(bought.into_iter().map(Result::unwrap).sum::<u32>(), 10);
}

#[tokio::test]
async fn a_lease_keeps_others_out_until_it_runs_out() {
    let (_folder, journal) = journal().await;
    let job = new_job("a knight", 1.0);
    journal.reserve(&job, None, &Terms::default(), now()).await.unwrap();
    let later = |seconds| now() + jiff::SignedDuration::from_secs(seconds);
    assert!(!journal.hold(&job.id, "s2", later(1)).await.unwrap());
    assert!(journal.hold(&job.id, "s1", later(10)).await.unwrap());
    assert!(!journal.hold(&job.id, "s2", later(20)).await.unwrap());
    assert!(journal.hold(&job.id, "s2", later(26)).await.unwrap());
    journal.release(&job.id, "s1").await.unwrap();
    assert!(!journal.hold(&job.id, "s1", later(27)).await.unwrap());
    journal.release(&job.id, "s2").await.unwrap();
    assert!(journal.hold(&job.id, "s1", later(28)).await.unwrap());
    assert!(journal.hold(&job.id, "s3", later(-3_600)).await.unwrap(), "clock set back");
}

#[tokio::test]
async fn what_a_job_saved_is_found_by_its_content_until_it_is_gone() {
    let (_folder, journal) = journal().await;
    let job = new_job("a knight", 1.0);
    journal.reserve(&job, None, &Terms::default(), now()).await.unwrap();
    let inference = "inf-1".parse().unwrap();
    let output = |id: &str| Output { file_id: id.parse().ok(), ..Output::default() };
    let outputs = [output("f1"), output("f2")];
    journal.record_finished(&job.id, &inference, &outputs, None, None, now()).await.unwrap();
    let saved = |sha256: &str| -> SavedFile {
        serde_json::from_value(serde_json::json!({
            "path": "/out/a.png", "media_type": "image/png", "bytes": 1, "width": null,
            "height": null, "duration_seconds": null, "sha256": sha256, "has_alpha": null,
            "readable": null,
        }))
        .unwrap()
    };
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let made = async |workspace: &str, sha256: &str| {
        let workspace = workspace.parse().unwrap();
        journal.made("https://api", &workspace, sha256).await.unwrap()
    };
    let complete = async |files: &[SavedFile]| {
        journal.record_complete(&job.id, &inference, None, files, &[], now()).await.unwrap();
    };
    // Which of the two was saved can't be told.
    complete(&[saved(&two)]).await;
    assert_eq!(made("w1", &two).await, None);
    complete(&[saved(&one), saved(&two)]).await;
    assert_eq!(made("w1", &two).await, "f2".parse().ok());
    assert_eq!(made("w2", &two).await, None);
    journal.forget_uploads(&[&"f2".parse().unwrap()]).await.unwrap();
    assert_eq!(made("w1", &two).await, None);
    assert_eq!(made("w1", &one).await, "f1".parse().ok());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, journal) = journal().await;
    journal.reserve(&new_job("x", 1.0), None, &Terms::default(), now()).await.unwrap();
    for entry in std::fs::read_dir(folder.path().join("home")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}
