//! Finished files on their way from Layer to the disk: whole, from the right host, without the
//! token, or not at all.

use std::time::Duration;

use layer_mcp::sandbox::HostKind;
use serde_json::json;

use crate::support::{TestEnv, for_each, picture, wait_until, with};

/// A download that goes wrong: fault, error code, whether anything may be fetched at all.
const BAD: &[(&str, &str, bool)] = &[
    ("download_truncated", "download_failed", true),
    ("download_redirect", "download_failed", true),
    ("download_wrong_type", "download_failed", true),
    ("download_404", "download_failed", true),
    ("url_file_scheme", "blocked_host", false),
    ("url_http", "blocked_host", false),
    ("url_private_address", "blocked_host", false),
    ("url_foreign_host", "blocked_host", false),
];

#[test]
fn a_bad_download_leaves_nothing_behind_and_is_fetched_again_for_free() {
    for_each(BAD, |&(fault, code, fetched)| {
        let env = TestEnv::with(&[fault]);
        let call = with(&picture("a dragon"), json!({ "save_to": "art/dragon.png" }));
        let error = env.call("create_asset", &call).error(code).says("charged", true);
        assert!(error.next_step().contains("get_job"), "{error:#?}");
        assert_eq!(env.project_files(), [""; 0], "not even a temporary file");
        assert_eq!(env.arrived_at(HostKind::Media) > 0, fetched);

        // As long as it lasts, it is the same error, and no second charge.
        let again = env.call("create_asset", &call).error(code).says("charged", true);
        assert_eq!(again.job_id(), error.job_id());

        env.faults(&[]);
        let job = env.call("get_job", &json!({ "job_id": error.job_id() })).complete();
        assert_eq!(job.path(), env.project().join("art/dragon.png"));
        assert_eq!(env.project_files(), ["art/dragon.png"]);
        assert_eq!(env.starts(), 1);
        assert_eq!(env.balance(), 500.0 - job.cost());
    });
}

#[test]
fn a_passing_trouble_is_outlived_without_a_word() {
    for_each(&["download_truncated:2", "download_404:2", "download_redirect:1"], |fault| {
        let env = TestEnv::with(&[fault]);
        let job = env.call("create_asset", &picture("a wolf")).complete();
        assert_eq!(env.project_files().len(), 1, "{job:#?}");
        assert_eq!(env.starts(), 1);
    });
}

#[test]
fn an_endless_download_ends() {
    let env = TestEnv::with(&["download_oversized"]);
    let outcome = env.call("create_asset", &picture("a giant"));
    let error = outcome.error("download_failed").says("charged", true);
    assert!(error.message().contains("MiB"), "{error:#?}");
    assert!(outcome.took < Duration::from_secs(60), "{:?}", outcome.took);
    assert_eq!(env.project_files(), [""; 0]);
    env.faults(&[]);
    let _ = env.call("get_job", &json!({ "job_id": error.job_id() })).complete();
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_slow_download_is_waited_for_in_the_background() {
    let env = TestEnv::with(&["download_slow"]);
    let mut client = env.client();
    let call = with(&picture("a tortoise"), json!({ "wait_seconds": 1 }));
    let job = client.call("create_asset", &call);
    assert_eq!(job["status"], "running", "{job:#}");
    let look = json!({ "job_id": job["job_id"], "wait_seconds": 40 });
    let job = client.call("get_job", &look);
    assert_eq!(job["status"], "complete", "{job:#}");
    assert_eq!(env.project_files().len(), 1);
    assert_eq!(env.starts(), 1);
}

#[test]
fn a_client_that_leaves_during_a_download_leaves_no_part_of_a_file() {
    let env = TestEnv::with(&["download_slow"]);
    let mut client = env.client();
    let large = json!({ "prompt": "a whale", "width": 1024, "height": 1024, "wait_seconds": 0 });
    let job = client.call("create_asset", &large);
    wait_until("the file is being fetched", || env.arrived_at(HostKind::Media) > 0);
    assert!(client.disappear() <= Duration::from_secs(1));
    assert_eq!(env.project_files(), [""; 0]);
    env.faults(&[]);
    let _ = env.call("get_job", &json!({ "job_id": job["job_id"] })).complete();
    assert_eq!(env.project_files().len(), 1);
    assert_eq!(env.starts(), 1);
}

#[test]
fn the_token_goes_to_the_api_and_nowhere_else() {
    let env = TestEnv::with(&["download_redirect:1"]);
    let _ = env.call("create_asset", &picture("a fox")).complete();
    let requests = env.requests();
    for request in &requests {
        let is_api = request.host == HostKind::Api;
        assert_eq!(request.had_authorization, is_api, "{request:#?}");
    }
    for host in [HostKind::Api, HostKind::Media, HostKind::Storage] {
        assert!(requests.iter().any(|request| request.host == host), "{host:?} was asked");
    }
}

#[test]
fn files_of_every_kind_arrive_whole() {
    let cases = [
        (json!({ "prompt": "a knight", "width": 512, "height": 512 }), "image/png"),
        (json!({ "prompt": "footsteps in snow", "use_case": "sound_effects" }), "audio/wav"),
        (json!({ "prompt": "a barrel", "use_case": "text_to_3d" }), "model/gltf-binary"),
        (json!({ "prompt": "waves", "model": "ltx-2", "duration_seconds": 2 }), "video/mp4"),
    ];
    for_each(&cases, |(call, media_type)| {
        let env = TestEnv::new();
        let job = env.call("create_asset", call).complete();
        assert_eq!(job.0["files"][0]["media_type"], *media_type, "{job:#?}");
        if let Some(width) = call["width"].as_u64() {
            assert_eq!(job.0["files"][0]["width"], width);
        }
    });
}

#[test]
fn several_files_of_one_job_all_arrive() {
    let env = TestEnv::new();
    let call = with(&picture("a coin"), json!({ "count": 3, "save_to": "coins/" }));
    let job = env.call("create_asset", &call).complete();
    assert_eq!(job.paths().len(), 3);
    assert_eq!(env.project_files().len(), 3);
    assert_eq!(env.starts(), 1);
}
