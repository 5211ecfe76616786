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
    let buyers = (0..100).map(|buyer| {
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
async fn a_clock_that_is_set_back_gives_nothing_back() {
    let (_folder, journal) = journal().await;
    let limit = CreativeUnits::from_number(3.0);
    let day = jiff::SignedDuration::from_hours(24);
    let mut number = 0;
    let mut buys = async |at: Timestamp| {
        let budgets = Budgets { day: limit, day_began: at, ..Budgets::default() };
        let terms = Terms { budgets, needs_approval: false };
        number += 1;
        let job = new_job(&format!("gem {number}"), 1.0);
        let reserved = journal.reserve(&job, None, &terms, at).await.unwrap();
        matches!(reserved, Reservation::New)
    };
    let (today, yesterday, tomorrow) = (now(), now() - day, now() + day);
    assert!(buys(today).await && buys(today).await);
    // What is bought while the clock is wrong counts then, and afterwards.
    assert!(buys(yesterday).await && !buys(yesterday).await && !buys(yesterday - day).await);
    assert!(!buys(today).await);
    assert!(buys(tomorrow).await);
}

#[tokio::test]
async fn an_unknown_start_keeps_its_reservation_and_a_failed_one_gives_it_back() {
    let (_folder, journal) = journal().await;
    let limit = CreativeUnits::from_number(3.0);
    let terms = |limit| Terms {
        budgets: Budgets { project: limit, ..Budgets::default() },
        needs_approval: false,
    };
    let margin = CreativeUnits::from_number(0.5).unwrap();
    let job = NewJob { margin, ..new_job("a gem", 2.0) };
    journal.reserve(&job, None, &terms(limit), now()).await.unwrap();
    let fits = async |price: f64| {
        let job = new_job(&format!("worth {price}"), price);
        journal.objection(&job, &terms(limit), now()).await.unwrap().is_none()
    };
    assert!(fits(0.5).await && !fits(0.500_001).await, "what is expected on top is set aside too");
    let failure = JobFailure::default();
    journal.record_failure(&job.id, JobState::Unknown, &failure, None, now()).await.unwrap();
    assert!(fits(0.5).await && !fits(0.500_001).await);
    let charged = CreativeUnits::from_number(1.0);
    journal.record_failure(&job.id, JobState::Failed, &failure, charged, now()).await.unwrap();
    assert!(fits(2.0).await && !fits(2.000_001).await, "what was charged all the same counts");
    let free = new_job("another gem", 2.0);
    journal.reserve(&free, None, &terms(limit), now()).await.unwrap();
    assert!(!fits(0.1).await);
    journal.record_failure(&free.id, JobState::Failed, &failure, None, now()).await.unwrap();
    assert!(fits(2.0).await);
}

#[tokio::test]
async fn a_journal_of_an_earlier_version_keeps_its_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    schema::tests::write_version_3(&path).await;
    let journal = Journal::open(&path).await.unwrap();
    let jobs = journal.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((job.state, job.new.estimated.micros()), (JobState::Running, 600_000));
    assert_eq!(job.new.order, request("a knight").into());
    assert!(!job.is_queued(), "it was sent");
    let found = JobFilter { search: Some("kni"), limit: 10, ..JobFilter::default() };
    assert_eq!(journal.jobs(&found).await.unwrap().len(), 1);
}

#[tokio::test]
async fn jobs_are_found_by_their_words() {
    let (_folder, journal) = journal().await;
    for prompt in ["a red knight on a horse", "a blue dragon", "ein Ritter, größer als je"] {
        journal.reserve(&new_job(prompt, 1.0), None, &Terms::default(), now()).await.unwrap();
    }
    for (search, count) in [
        ("knight", 1),
        ("KNI hor", 1),
        ("a", 3),
        ("größer", 1),
        ("dragon knight", 0),
        ("\"", 3),
        ("red OR blue", 0),
        ("prompt:red", 0),
        ("knight*", 1),
        ("", 3),
        ("NEAR(", 0),
    ] {
        let filter = JobFilter { search: Some(search), limit: 10, ..JobFilter::default() };
        assert_eq!(journal.jobs(&filter).await.unwrap().len(), count, "{search}");
    }
}

#[tokio::test]
async fn only_who_holds_a_start_may_send_it() {
    let (_folder, journal) = journal().await;
    let new = new_job("a knight", 1.0);
    journal.reserve(&new, None, &Terms::default(), now()).await.unwrap();
    let job = journal.job(&new.id).await.unwrap().unwrap();
    // Its process slept, and another took the entry over.
    let later = now() + jiff::SignedDuration::from_secs(60);
    assert!(journal.hold(&new.id, "s2", later).await.unwrap());
    assert_eq!(journal.turn(&job, Pace::default(), later).await.unwrap(), Turn::Gone);
    assert!(journal.job(&new.id).await.unwrap().unwrap().is_queued());
    journal.release(&new.id, "s2").await.unwrap();
    assert!(journal.hold(&new.id, "s1", later).await.unwrap());
    assert_eq!(journal.turn(&job, Pace::default(), later).await.unwrap(), Turn::Now);
    assert_eq!(journal.turn(&job, Pace::default(), later).await.unwrap(), Turn::Gone, "once");
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
