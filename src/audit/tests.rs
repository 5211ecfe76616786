#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs::File;
use std::path::Path;

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
    for (now, before) in [(noon as fn() -> Timestamp, 1), (next_day, 0)] {
        let trail = trail(folder.path(), now);
        if before == 1 {
            trail.seal_with_new(&KEY);
        } else {
            trail.seal_with(&KEY);
        }
        for number in before..3 {
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
    assert_eq!((report.findings, report.notes), (vec![], vec![]));
    assert_eq!((report.files, report.lines), (2, 6));
    assert_eq!(report.seals, Sealing { checked: 6, ..Sealing::default() });
    let line: Map<String, Value> =
        serde_json::from_str(&lines(&file(folder.path(), "2026-03-02"))[0]).unwrap();
    assert_eq!((&line["v"], &line["seq"], &line["status"]), (&1.into(), &4.into(), &0.into()));
    // Without a key the chain can be checked and not the seals.
    let report = verify(&folder.path().join("audit"), None).unwrap();
    assert_eq!((report.findings, report.seals.unchecked, report.seals.after), (vec![], 6, 6));
    // A key that has sealed nothing here shows that the trail is not its own.
    let report = verify(&folder.path().join("audit"), Some(&SealKey::new(&[8; 32]))).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:#?}");
}

#[test]
fn several_keys_and_lines_without_one_make_one_whole_trail() {
    let folder = two_days();
    let path = folder.path();
    let other = trail(path, next_day);
    other.seal_with_new(&[8; 32]);
    let first = trail(path, next_day);
    first.seal_with(&KEY);
    let none = trail(path, next_day);
    for trail in [&none, &first, &other, &none, &first, &first, &other, &other, &none] {
        trail.record(Event::new("api.request")).unwrap();
    }
    for (key, checked, after) in [(KEY, 9, 3), ([8; 32], 4, 1)] {
        let report = verify(&path.join("audit"), Some(&SealKey::new(&key))).unwrap();
        assert_eq!((report.findings, report.notes), (vec![], vec![]));
        assert_eq!((report.lines, report.seals.unsealed), (16, 3));
        assert_eq!((report.seals.checked, report.seals.after), (checked, after));
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

/// Somebody without the key writes all lines anew, from the number `from` on, with good links and
/// numbers, and `head` to fit: without seals, or under a key of their own.
fn forge(folder: &Path, from: u64, key: Option<&SealKey>, keep_marks: bool) {
    let mut newest = (0, "0".repeat(64));
    for day in ["2026-03-01", "2026-03-02"] {
        let path = file(folder, day);
        let mut forged = lines(&path);
        for line in &mut forged {
            let mut fields = line::parse(line).unwrap().fields;
            let number = fields["seq"].as_u64().unwrap();
            if number >= from {
                fields.retain(|name, _| !["key", "mac", "after"].contains(&name.as_str()));
                fields.insert("status".to_owned(), 599.into());
                fields.insert("prev".to_owned(), newest.1.into());
                if let Some(key) = key {
                    fields.insert("key".to_owned(), key.id().into());
                }
                let object = Value::Object(fields).to_string();
                let covered = object.strip_suffix('}').unwrap();
                let seal = key
                    .map_or_else(|| "null".to_owned(), |key| format!("\"{}\"", key.seal(covered)));
                *line = format!("{covered},\"mac\":{seal}}}");
            }
            newest = (number, line::hash(line));
        }
        put(&path, &forged);
    }
    let path = folder.join("audit/head");
    let head = fs::read_to_string(&path).unwrap();
    let (_, marks) = head.split_once('\n').unwrap();
    let marks = if keep_marks { marks } else { "" };
    fs::write(&path, format!("{} {}\n{marks}", newest.0, newest.1)).unwrap();
}

#[test]
fn a_trail_that_was_written_anew_is_found() {
    let foreign = SealKey::new(&[9; 32]);
    for from in [1, 3, 6] {
        for key in [None, Some(&foreign)] {
            for keep_marks in [false, true] {
                let folder = two_days();
                forge(folder.path(), from, key, keep_marks);
                let which = format!("from {from}, sealed {}, marks {keep_marks}", key.is_some());
                assert_ne!(verified(folder.path()).findings, [], "{which}");
                // What the store seals later covers nothing up.
                let trail = trail(folder.path(), next_day);
                trail.record(Event::new("error")).unwrap();
                trail.seal_with(&KEY);
                trail.record(Event::new("error")).unwrap();
                trail.record(Event::new("error")).unwrap();
                assert_ne!(verified(folder.path()).findings, [], "{which}, later");
            }
        }
    }
}

/// The newest line alone, with the seal kept or taken off, and `head` to fit.
#[test]
fn a_rewritten_chain_is_found_by_its_seals() {
    for seal in ["keep", "null"] {
        let folder = two_days();
        let path = file(folder.path(), "2026-03-02");
        let mut changed = lines(&path);
        let last = changed.last_mut().unwrap();
        *last = last.replace("\"status\":2", "\"status\":9");
        if seal == "null" {
            let (covered, _) = last.rsplit_once(",\"mac\":").unwrap();
            *last = format!("{covered},\"mac\":null}}");
        }
        let head = folder.path().join("audit/head");
        let (_, marks) = fs::read_to_string(&head)
            .unwrap()
            .split_once('\n')
            .map(|(newest, marks)| (newest.to_owned(), marks.to_owned()))
            .unwrap();
        let marks: Vec<String> = marks
            .lines()
            .map(|mark| {
                let words: Vec<&str> = mark.split(' ').collect();
                format!("{} {} {} {}\n", words[0], words[1], line::hash(last), words[3])
            })
            .collect();
        fs::write(&head, format!("6 {}\n{}", line::hash(last), marks.concat())).unwrap();
        put(&path, &changed);
        assert_ne!(verified(folder.path()).findings, [], "{seal}");
    }
}

/// Nothing vouches for a line without a seal at the end; but it is counted.
#[test]
fn what_comes_after_the_newest_seal_is_counted() {
    let folder = two_days();
    assert_eq!(verified(folder.path()).seals.after, 0);
    trail(folder.path(), next_day).record(Event::new("error")).unwrap();
    let report = verified(folder.path());
    assert_eq!((report.findings, report.seals.after), (vec![], 1));
}

/// A writer that is killed between its line and `head` leaves a mark that is behind; whoever
/// writes next, that is no tampering.
#[test]
fn a_writer_that_is_killed_before_the_head_spoils_nothing() {
    for (kills, next) in [(1, Some([8; 32])), (1, None), (1, Some(KEY)), (3, None)] {
        let folder = two_days();
        let path = folder.path();
        trail(path, next_day).seal_with_new(&[8; 32]);
        let head = path.join("audit/head");
        for _ in 0..kills {
            let before = fs::read(&head).unwrap();
            let killed = trail(path, next_day);
            killed.seal_with(&KEY);
            killed.record(Event::new("error")).unwrap();
            fs::write(&head, before).unwrap();
            assert_eq!(verified(path).findings, [], "{kills} {next:?}");
            let trail = trail(path, next_day);
            if let Some(key) = next {
                trail.seal_with(&key);
            }
            trail.record(Event::new("error")).unwrap();
            assert_eq!(verified(path).findings, [], "{kills} {next:?}");
        }
        let trail = trail(path, next_day);
        trail.seal_with(&KEY);
        trail.record(Event::new("error")).unwrap();
        assert_eq!(verified(path).findings, [], "{kills} {next:?}");
    }
}

/// Without the marks a shorter trail would look whole, as long as its last line is sealed.
#[test]
fn a_trail_that_was_cut_with_its_marks_is_found() {
    for kept in 1..6 {
        let folder = two_days();
        let days = ["2026-03-01", "2026-03-02"].map(|day| file(folder.path(), day));
        let mut left = kept;
        let mut last = String::new();
        for day in &days {
            let mut all = lines(day);
            all.truncate(left);
            left -= all.len();
            last = all.last().cloned().unwrap_or(last);
            put(day, &all);
        }
        let head = format!("{kept} {}\n", line::hash(&last));
        fs::write(folder.path().join("audit/head"), head).unwrap();
        assert_ne!(verified(folder.path()).findings, [], "{kept}");
    }
}

#[test]
fn a_key_that_is_erased_leaves_no_mark() {
    let folder = two_days();
    let trail = trail(folder.path(), next_day);
    trail.seal_with(&KEY);
    trail.end_key(Event::new("auth.removed"));
    trail.seal_with_new(&[8; 32]);
    let head = fs::read_to_string(folder.path().join("audit/head")).unwrap();
    assert_eq!(head.lines().count(), 2, "{head}");
    let key = SealKey::new(&[8; 32]);
    let report = verify(&folder.path().join("audit"), Some(&key)).unwrap();
    assert_eq!((report.findings, report.seals.unchecked), (vec![], 7));
}

#[test]
fn other_line_ends_are_a_change() {
    let folder = two_days();
    for day in ["2026-03-01", "2026-03-02"] {
        let path = file(folder.path(), day);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    }
    assert_ne!(verified(folder.path()).findings, []);
    assert_ne!(verify(&folder.path().join("audit"), None).unwrap().findings, []);
}

#[test]
fn a_trail_that_was_emptied_is_told() {
    let folder = two_days();
    let audit = folder.path().join("audit");
    fs::remove_dir_all(&audit).unwrap();
    assert_eq!(verified(folder.path()).notes.len(), 1);
    // It begins anew with a key that is older.
    let trail = trail(folder.path(), next_day);
    trail.seal_with(&KEY);
    trail.record(Event::new("error")).unwrap();
    let report = verified(folder.path());
    assert_eq!((report.findings.len(), report.notes.len()), (0, 1));
    // Without `head` alone, the next line says that it was missing.
    fs::remove_file(audit.join("head")).unwrap();
    trail.record(Event::new("error")).unwrap();
    trail.record(Event::new("error")).unwrap();
    assert_ne!(verified(folder.path()).findings, []);
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
    let days = ["2026-03-02", "2026-03-01"];
    let old = days.map(|day| fs::read(file(folder.path(), day)).unwrap());
    let trail = trail(folder.path(), later);
    trail.seal_with(&KEY);
    trail.record(Event::new("error")).unwrap();
    let report = verified(folder.path());
    assert_eq!((report.files, report.lines), (1, 2));
    assert_eq!(report.findings, []);
    let kept = lines(&file(folder.path(), "2026-04-15"));
    assert!(kept[1].contains("\"audit.retention\"") && kept[1].contains("\"kept_from\":7"));
    // Who was killed before it deleted all that it said left more than was said.
    for (day, bytes) in days.iter().zip(old) {
        fs::write(file(folder.path(), day), bytes).unwrap();
        assert_eq!(verified(folder.path()).findings, []);
    }
    for day in days {
        fs::remove_file(file(folder.path(), day)).unwrap();
    }
    // Without that line, files that are gone were taken away.
    put(&file(folder.path(), "2026-04-15"), &kept[..1]);
    assert_ne!(verified(folder.path()).findings, []);
}

/// Retention would take the evidence away, and a sealed line would vouch for it.
#[test]
fn nothing_is_deleted_from_a_trail_in_which_something_is_wrong() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("renamed to an old day", |folder| {
            fs::rename(file(folder, "2026-03-02"), file(folder, "2020-01-01")).unwrap();
        }),
        ("the older renamed to a later day", |folder| {
            fs::rename(file(folder, "2026-03-01"), file(folder, "2026-03-03")).unwrap();
        }),
        ("an edited line", |folder| {
            let path = file(folder, "2026-03-01");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replace("\"status\":1", "\"status\":7")).unwrap();
        }),
        ("a huge file", |folder| {
            File::create(file(folder, "2026-03-03")).unwrap().set_len(200 << 20).unwrap();
        }),
        ("a file of no lines", |folder| {
            fs::write(file(folder, "2026-02-01"), "nothing\nat\nall\n").unwrap();
        }),
    ];
    for (what, change) in changes {
        let folder = two_days();
        change(folder.path());
        let before = fs::read_dir(folder.path().join("audit")).unwrap().count();
        let trail = trail(folder.path(), later);
        trail.seal_with(&KEY);
        trail.record(Event::new("error")).unwrap();
        trail.record(Event::new("error")).unwrap();
        let after = fs::read_dir(folder.path().join("audit")).unwrap().count();
        assert_eq!(after, before + 1, "{what}");
        assert_ne!(verified(folder.path()).findings, [], "{what}");
    }
    // Files that are none of ours are no days, and an empty one is not written to.
    let folder = two_days();
    for name in ["20260101", "2099-01-01", "x"] {
        File::create(file(folder.path(), name)).unwrap();
    }
    trail(folder.path(), next_day).record(Event::new("error")).unwrap();
    assert_eq!(verified(folder.path()).findings, []);
    assert_eq!(lines(&file(folder.path(), "2026-03-02")).len(), 4);
}

/// Files that went under another process's seal, or under none, are told.
#[test]
fn old_files_that_the_key_did_not_see_go_are_told() {
    let folder = two_days();
    let trail = trail(folder.path(), later);
    trail.record(Event::new("error")).unwrap();
    trail.seal_with(&KEY);
    trail.record(Event::new("error")).unwrap();
    let report = verified(folder.path());
    assert_eq!((report.findings.len(), report.notes.len()), (0, 1));
}

/// Only whole files go: a word about deleted files does not cover a part of one.
#[test]
fn a_file_without_its_beginning_is_found_whatever_a_line_says() {
    let folder = two_days();
    let path = file(folder.path(), "2026-03-02");
    fs::remove_file(file(folder.path(), "2026-03-01")).unwrap();
    let last = lines(&path).pop().unwrap();
    let (number, hash) = (line::number(&last).unwrap(), line::hash(&last));
    let forged = format!(
        "{{\"v\":1,\"ts\":\"2026-03-02T12:00:00Z\",\"seq\":{},\"session\":\"f\",\"pid\":1,\
         \"event\":\"audit.retention\",\"files\":1,\"kept_from\":{number},\"prev\":\"{hash}\",\
         \"mac\":null}}",
        number + 1
    );
    let head = folder.path().join("audit/head");
    let text = fs::read_to_string(&head).unwrap();
    let (_, marks) = text.split_once('\n').unwrap();
    fs::write(&head, format!("{} {}\n{marks}", number + 1, line::hash(&forged))).unwrap();
    put(&path, &[last, forged]);
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
    trail(path, noon).seal_with_new(&KEY);
    std::thread::scope(|scope| {
        for sealed in [true, true, false, false] {
            scope.spawn(move || {
                let trail = trail(path, noon);
                if sealed {
                    trail.seal_with(&KEY);
                }
                for _ in 0..25 {
                    trail.record(Event::new("api.request")).unwrap();
                }
            });
        }
    });
    let report = verified(path);
    assert_eq!((report.lines, report.findings), (101, vec![]));
    assert_eq!((report.seals.checked, report.seals.unsealed), (51, 50));
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
    // A second name for the file.
    fs::remove_file(&path).unwrap();
    fs::hard_link(&elsewhere, &path).unwrap();
    let error = trail(folder.path(), next_day).record(Event::new("error")).unwrap_err();
    assert!(error.to_string().contains("second name"), "{error}");
    fs::remove_file(&elsewhere).unwrap();
    // A folder and a file that are open to others are closed.
    let audit = folder.path().join("audit");
    for path in [&audit, &path, &audit.join("head")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    trail(folder.path(), next_day).record(Event::new("error")).unwrap();
    for path in [&audit, &path, &audit.join("head")] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{path:?}");
    }
    assert_eq!(verified(folder.path()).findings, []);
    // A link in the place of the folder.
    let moved = folder.path().join("moved");
    fs::rename(&audit, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &audit).unwrap();
    let error = trail(folder.path(), next_day).record(Event::new("error")).unwrap_err();
    assert!(error.to_string().contains("it is a link"), "{error}");
    assert!(verify(&audit, None).is_err());
}

/// A process that holds the lock and hangs delays a purchase, and nothing else for long.
#[test]
fn who_waited_in_vain_once_does_not_wait_again() {
    let folder = two_days();
    let held = File::open(folder.path().join("audit/.lock")).unwrap();
    held.lock().unwrap();
    let trail = trail(folder.path(), next_day);
    trail.note(Event::new("error"));
    let began = Instant::now();
    for _ in 0..20 {
        trail.note(Event::new("error"));
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(trail.record(Event::new("purchase.request")).is_err());
    drop(held);
    trail.record(Event::new("purchase.request")).unwrap();
    assert_eq!(verified(folder.path()).lines, 7);
}
