#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use super::*;

const KEY: [u8; 32] = [7; 32];

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn next_day() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn later() -> Timestamp {
    "2026-04-15T12:00:00Z".parse().unwrap()
}

fn trail(folder: &Path, now: fn() -> Timestamp) -> AuditTrail {
    AuditTrail::new(folder.join("audit"), 30, Redactor::new(), now)
}

/// A folder with a trail of two days and six sealed lines.
fn two_days() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for now in [noon as fn() -> Timestamp, next_day] {
        let trail = trail(folder.path(), now);
        trail.seal_with(&KEY);
        for number in 0..3 {
            trail.record(Event::new("api.request").with("status", number)).unwrap();
        }
    }
    folder
}

fn verified(folder: &Path) -> Report {
    verify(&folder.join("audit"), Some(&SealKey::new(&KEY))).unwrap()
}

fn file(folder: &Path, day: &str) -> PathBuf {
    folder.join("audit").join(format!("{day}.jsonl"))
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn put(path: &Path, lines: &[String]) {
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_trail_of_several_processes_and_days_is_whole() {
    let folder = two_days();
    let report = verified(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!((report.files, report.lines), (2, 6));
    assert_eq!(report.seals, Sealing { checked: 6, ..Sealing::default() });
    let line: Map<String, Value> =
        serde_json::from_str(&lines(&file(folder.path(), "2026-03-02"))[0]).unwrap();
    assert_eq!((&line["v"], &line["seq"], &line["status"]), (&1.into(), &4.into(), &0.into()));
    // Another key, or none, can check the chain and not the seals.
    for key in [None, Some(SealKey::new(&[8; 32]))] {
        let report = verify(&folder.path().join("audit"), key.as_ref()).unwrap();
        assert_eq!((report.findings.len(), report.seals.unchecked), (0, 6));
    }
}

#[test]
fn what_is_edited_removed_or_reordered_is_found() {
    type Change = fn(&mut Vec<String>);
    let changes: [(&str, Change); 8] = [
        ("an edited line", |lines| lines[1] = lines[1].replace("\"status\":1", "\"status\":7")),
        ("an edited last line", |lines| {
            lines[2] = lines[2].replace("\"status\":2", "\"status\":7")
        }),
        ("a removed line", |lines| drop(lines.remove(1))),
        ("a removed first line", |lines| drop(lines.remove(0))),
        ("a removed last line", |lines| drop(lines.pop())),
        ("two lines that changed places", |lines| lines.swap(0, 1)),
        ("a line twice", |lines| lines.push(lines[2].clone())),
        ("a line from elsewhere", |lines| lines.insert(1, "{}".to_owned())),
    ];
    for day in ["2026-03-01", "2026-03-02"] {
        for (what, change) in changes {
            let folder = two_days();
            let path = file(folder.path(), day);
            let mut changed = lines(&path);
            change(&mut changed);
            put(&path, &changed);
            assert_ne!(verified(folder.path()).findings, [], "{day}: {what}");
            // A later line covers nothing up.
            trail(folder.path(), next_day).record(Event::new("error")).unwrap();
            assert_ne!(verified(folder.path()).findings, [], "{day}: {what}, later");
        }
    }
    for name in ["2026-03-01.jsonl", "2026-03-02.jsonl", "head"] {
        let folder = two_days();
        fs::remove_file(folder.path().join("audit").join(name)).unwrap();
        assert_ne!(verified(folder.path()).findings, [], "{name} removed");
    }
}

/// Somebody without the key may rewrite line, links and head, and is found by the seals.
#[test]
fn a_rewritten_chain_is_found_by_its_seals() {
    let folder = two_days();
    let path = file(folder.path(), "2026-03-02");
    for seal in ["keep", "null"] {
        let mut changed = lines(&path);
        let last = changed.last_mut().unwrap();
        *last = last.replace("\"status\":2", "\"status\":9");
        if seal == "null" {
            let (covered, _) = last.rsplit_once(",\"mac\":").unwrap();
            *last = format!("{covered},\"mac\":null}}");
        }
        let forged = Head { number: 6, hash: line::hash(last), seal: None };
        put(&path, &changed);
        let text = format!("{} {}\n", forged.sealed_text(), "-".repeat(64));
        fs::write(folder.path().join("audit/head"), text).unwrap();
        assert_ne!(verified(folder.path()).findings, [], "{seal}");
    }
}

#[test]
fn a_line_that_was_cut_short_is_told_from_tampering_once_work_goes_on() {
    let folder = two_days();
    let path = file(folder.path(), "2026-03-02");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{{\"v\":1,\"ts\":\"2026")).unwrap();
    assert_eq!(verified(folder.path()).findings.len(), 1);
    trail(folder.path(), next_day).record(Event::new("error")).unwrap();
    assert_eq!(verified(folder.path()).findings, []);
    // A head that is one line behind is a writer that was killed between the two.
    let folder = two_days();
    let head = folder.path().join("audit/head");
    let before = fs::read(&head).unwrap();
    trail(folder.path(), next_day).record(Event::new("error")).unwrap();
    fs::write(&head, before).unwrap();
    assert_eq!(verified(folder.path()).findings, []);
    trail(folder.path(), next_day).record(Event::new("error")).unwrap();
    assert_eq!(verified(folder.path()).findings, []);
}

#[test]
fn old_files_go_whole_and_the_trail_says_so() {
    let folder = two_days();
    let trail = trail(folder.path(), later);
    trail.seal_with(&KEY);
    trail.record(Event::new("error")).unwrap();
    let report = verified(folder.path());
    assert_eq!((report.files, report.lines), (1, 2));
    assert_eq!(report.findings, []);
    let kept = lines(&file(folder.path(), "2026-04-15"));
    assert!(kept[1].contains("\"audit.retention\"") && kept[1].contains("\"kept_from\":7"));
    // Without that line, files that are gone were taken away.
    put(&file(folder.path(), "2026-04-15"), &kept[..1]);
    assert_ne!(verified(folder.path()).findings, []);
}

#[test]
fn a_clock_that_was_set_back_keeps_the_order() {
    let folder = two_days();
    trail(folder.path(), noon).record(Event::new("error")).unwrap();
    assert_eq!(verified(folder.path()).findings, []);
    assert_eq!(lines(&file(folder.path(), "2026-03-02")).len(), 4);
}

#[test]
fn parallel_writers_leave_one_whole_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let trail = trail(path, noon);
                for _ in 0..25 {
                    trail.record(Event::new("api.request")).unwrap();
                }
            });
        }
    });
    let report = verified(path);
    assert_eq!((report.lines, report.findings), (100, vec![]));
}

#[test]
fn values_are_redacted_cleaned_and_stay_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let token = format!("pat_{}", "a1B2".repeat(8));
    let trail = trail(folder.path(), noon);
    let value = format!("{token}\n\u{1b}[31m\u{2028}{}", "x".repeat(5_000));
    trail.record(Event::new("error").with("message", value)).unwrap();
    let text = fs::read_to_string(file(folder.path(), "2026-03-01")).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(!text.contains(&token) && !text.contains("\\u001b") && text.len() < 1_000, "{text}");
}

#[test]
#[cfg(unix)]
fn the_trail_is_private_and_a_link_in_its_place_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = two_days();
    for entry in fs::read_dir(folder.path().join("audit")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let path = file(folder.path(), "2026-03-02");
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let error = trail(folder.path(), next_day).record(Event::new("error")).unwrap_err();
    assert!(error.to_string().contains("can't be written"), "{error}");
}
