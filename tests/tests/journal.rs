//! What consumers rest on: records since a point, followed as they come, cursors that stay, an honest word when what is
//! asked for is gone, and one change told as one record.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use indexer_tests::{Daemon, Ground, Place, indexer, json_lines, stderr, wait_for};
use serde_json::{Value, json};

const BACKENDS: [&[&str]; 2] = [&[], &["--backend", "inotify"]];
const PATIENCE: Duration = Duration::from_secs(60);

fn start(flags: &[&str]) -> (Ground, Daemon) {
    let ground = Place::Here.open().unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], flags);
    (ground, daemon)
}

#[test]
fn since_a_seq_a_time_and_an_age() {
    let (ground, daemon) = start(&[]);
    let root = ground.root();
    fs::write(root.join("first"), b"x").unwrap();
    daemon.settle();
    let records = daemon.changes(0);
    assert_eq!(records[0]["op"], "seeded");
    let seen = records.last().unwrap()["seen_ns"].as_i64().unwrap();
    wait_for("the clock", || (clock_ns() > seen + 2_000_000_000).then_some(()));
    fs::write(root.join("second"), b"x").unwrap();
    daemon.settle();
    let seconds = seen / 1_000_000_000 + 1;
    let later = daemon.ask(&[&"changes", &"--since", &format!("@{seconds}")]);
    assert!(
        !later.is_empty() && later.iter().all(|record| record["path"].as_str().unwrap().ends_with("second"))
    );
    assert_eq!(daemon.ask(&[&"changes", &"--since", &"1h"]), daemon.changes(0));
    assert_eq!(daemon.ask(&[&"changes"]), daemon.changes(0));
    assert_eq!(daemon.ask(&[&"changes", &"--limit", &"2"]), daemon.changes(0)[..2]);
    assert_eq!(daemon.ask(&[&"changes", &"--root", &root]), daemon.changes(0));
    // The end of the journal is no failure, and nothing is found.
    let said = daemon.run(&[&"changes", &"--since", &daemon.seq().to_string(), &"--json"]);
    assert_eq!((said.status.code(), said.stdout.len()), (Some(1), 0), "{}", stderr(&said));
    let said = daemon.run(&[&"changes", &"--since", &"yesterweek"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    // The same without a daemon.
    let all = daemon.changes(0);
    drop(daemon);
    assert_eq!(json_lines(&indexer(&ground.state(), &[&"changes", &"--json"])), all);
    let said = indexer(&ground.state(), &[&"changes", &"--follow"]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
}

fn clock_ns() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

#[test]
fn followers_get_each_record_as_it_comes() {
    for flags in BACKENDS {
        let (ground, daemon) = start(flags);
        let follower =
            daemon.follow(&[&"changes", &"--follow", &"--json", &"--since", &daemon.seq().to_string()]);
        let mut took = Vec::new();
        let mut next = daemon.seq() + 1;
        for file in 0..50 {
            let name = format!("file {file}");
            fs::write(ground.root().join(&name), b"x").unwrap();
            let written = Instant::now();
            loop {
                let (came, line) = follower.next_line(PATIENCE).expect("a record comes");
                let record: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(record["seq"], next);
                next += 1;
                if record["path"].as_str().unwrap().ends_with(&name) && record["complete"] == true {
                    took.push(came.saturating_duration_since(written));
                    break;
                }
            }
        }
        // What is promised is measured in the benches; this is to see that nobody waits for a tick of a slow clock, though
        // the disk may keep some of them waiting.
        took.sort_unstable();
        assert!(took[took.len() / 2] < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn cursors_move_when_confirmed_and_stay() {
    let (ground, daemon) = start(&[]);
    for file in 0..5 {
        fs::write(ground.root().join(format!("{file}")), b"x").unwrap();
        daemon.settle();
    }
    let all = daemon.changes(0);
    let take = |more: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"changes", &"--consumer", &"backup"];
        for word in more {
            arguments.push(word);
        }
        daemon.ask(&arguments)
    };
    let unread = take(&["--limit", "3"]);
    assert_eq!(take(&["--limit", "3"]), unread, "nothing was confirmed");
    assert_eq!(take(&["--limit", "3", "--ack"]), unread);
    let rest = take(&["--ack"]);
    assert_eq!([unread, rest].concat(), all);
    assert!(take(&["--ack"]).is_empty());
    let status = daemon.status();
    assert_eq!(status["consumers"], json!([{"name": "backup", "seq": daemon.seq(), "lag": 0}]));
    fs::write(ground.root().join("late"), b"x").unwrap();
    daemon.settle();
    assert!(daemon.status()["consumers"][0]["lag"].as_u64().unwrap() >= 1);
    let mut daemon = daemon;
    daemon.kill9();
    let daemon = Daemon::start(&ground.state(), &[], &[]);
    let late = daemon.ask(&[&"changes", &"--consumer", &"backup", &"--ack"]);
    assert!(late.iter().all(|record| record["path"].as_str().unwrap().ends_with("late")) && !late.is_empty());
    let said = daemon.run(&[&"changes", &"--consumer", &"backup", &"--forget"]);
    assert!(said.status.success());
    assert_eq!(daemon.status()["consumers"], json!([]));
}

/// Who asks for more than is kept is told so, and from where to begin; never an empty answer.
#[test]
fn retention_ends_in_a_fresh_start_and_not_in_silence() {
    let ground = Place::Here.open().unwrap();
    let mut daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    let said = daemon.run(&[&"changes", &"--consumer", &"slow", &"--ack", &"--limit", &"1"]);
    assert!(said.status.success());
    for file in 0..1_000 {
        fs::write(ground.root().join(format!("{file}")), b"x").unwrap();
        if file % 20 == 0 {
            daemon.settle();
        }
    }
    daemon.settle();
    assert!(daemon.terminate().success());
    let config = ground.beside("indexer.toml");
    fs::write(&config, "retention = { bytes = \"20KiB\" }\n").unwrap();
    let daemon = Daemon::start(&ground.state(), &[], &["--config", config.to_str().unwrap()]);
    let status = wait_for("the head of the journal to go", || {
        Some(daemon.status()).filter(|status| status["journal_bytes"].as_u64().unwrap() <= 20 << 10)
    });
    let oldest = status["oldest_seq"].as_u64().unwrap();
    assert!(oldest > 1 && status["seq"].as_u64().unwrap() > oldest, "{status}");
    for arguments in [&["--since", "0"][..], &["--since", "1"], &["--consumer", "slow"]] {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"changes", &"--json"];
        for word in arguments {
            all.push(word);
        }
        let said = daemon.run(&all);
        assert_eq!(said.status.code(), Some(3), "{arguments:?}: {}", stderr(&said));
        let answer = json_lines(&said);
        assert_eq!(answer.len(), 1, "{arguments:?}: {answer:#?}");
        assert_eq!(answer[0]["error"], "fresh_start_required");
        assert_eq!(answer[0]["oldest"], oldest);
        assert!(stderr(&said).contains("fresh_start_required"));
    }
    let kept = daemon.changes(oldest - 1);
    assert_eq!(kept[0]["seq"], oldest);
    daemon.assert_exact(ground.root());
}

/// What nobody closes is not completed, however long nothing is written.
fn start_patient(flags: &[&str]) -> (Ground, Daemon) {
    let ground = Place::Here.open().unwrap();
    let config = ground.beside("indexer.toml");
    fs::write(&config, "quiet = \"1h\"\n").unwrap();
    let flags = [flags, &["--config", config.to_str().unwrap()]].concat();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], &flags);
    (ground, daemon)
}

fn one_record_each(flags: &[&str]) {
    // To set a time is to write, as the kernel tells it, and nobody closes. That would be completed by a record of its own.
    let (ground, daemon) = start_patient(flags);
    let root = ground.root();
    // Stopped, so that no round begins between two events of one call: then a new file would rightly be told by two
    // records, one of its creation and one of its completion.
    let told = |work: &dyn Fn()| {
        let seq = daemon.seq();
        daemon.while_stopped(work);
        daemon.settle();
        daemon.told(seq)
    };
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    for file in 0..50 {
        fs::write(root.join(format!("dir/sub/{file}")), b"x").unwrap();
    }
    fs::create_dir(root.join("else")).unwrap();
    fs::write(root.join("file"), b"x").unwrap();
    daemon.settle();
    let root = &root;
    assert_eq!(
        told(&|| fs::rename(root.join("dir"), root.join("else/moved")).unwrap()),
        ["renamed dir moved"]
    );
    assert_eq!(told(&|| drop(File::create(root.join("new")).unwrap())), ["created new"]);
    assert_eq!(told(&|| fs::write(root.join("file"), b"longer").unwrap()), ["modified file"]);
    let touch = |name: &str| {
        let times = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        File::open(root.join(name)).unwrap().set_times(times).unwrap();
    };
    assert_eq!(told(&|| touch("file")), ["modified file"]);
    assert_eq!(told(&|| chmod(&root.join("file"))), ["attrib file"]);
    assert_eq!(told(&|| fs::hard_link(root.join("file"), root.join("else/link")).unwrap()), ["linked link"]);
    assert_eq!(told(&|| fs::remove_file(root.join("file")).unwrap()), ["unlinked file"]);
    assert_eq!(told(&|| fs::remove_file(root.join("else/link")).unwrap()), ["deleted link"]);
    assert_eq!(told(&|| fs::create_dir(root.join("folder")).unwrap()), ["created folder"]);
    assert_eq!(told(&|| fs::remove_dir(root.join("folder")).unwrap()), ["deleted folder"]);
    // As an editor saves: the new one takes the name, the old one ends.
    fs::write(root.join("document"), b"old").unwrap();
    daemon.settle();
    let mut saved = told(&|| {
        fs::write(root.join(".document.tmp"), b"new").unwrap();
        fs::rename(root.join(".document.tmp"), root.join("document")).unwrap();
    });
    saved.sort();
    assert_eq!(saved, ["created document", "deleted document"]);
    // What ends as it began may be told or not, but adds up to nothing.
    daemon.assert_exact(root);
}

fn chmod(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn one_change_is_one_record() {
    one_record_each(&[]);
}

#[test]
fn one_change_is_one_record_by_inotify() {
    one_record_each(&["--backend", "inotify"]);
}

/// A download that goes on: a record a second at most, each saying that it is not all, and one in the end that is.
fn written_slowly(flags: &[&str]) {
    let (ground, daemon) = start_patient(flags);
    let path = ground.root().join("download");
    let seq = daemon.seq();
    let follower = daemon.follow(&[&"changes", &"--follow", &"--json", &"--since", &seq.to_string()]);
    let began = Instant::now();
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    let mut told: Vec<Value> = Vec::new();
    // The follower's patience paces the writer: some hundred writes over three seconds, or as long as it takes.
    while began.elapsed() < Duration::from_secs(3) || told.len() < 2 {
        file.write_all(&[7; 4096]).unwrap();
        if let Some((_, line)) = follower.next_line(Duration::from_millis(10)) {
            told.push(serde_json::from_str(&line).unwrap());
        }
    }
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"header").unwrap();
    drop(file);
    let took = began.elapsed();
    while told.last().is_none_or(|record| record["complete"] != true) {
        let (_, line) = follower.next_line(PATIENCE).expect("a record that is complete");
        told.push(serde_json::from_str(&line).unwrap());
    }
    daemon.settle();
    let size = fs::symlink_metadata(&path).unwrap().len();
    let (last, before) = told.split_last().unwrap();
    assert_eq!(last["after"]["size"], size);
    assert!(before.iter().all(|record| record["complete"] == false), "{before:#?}");
    assert!(told.len() >= 3, "{} records in {took:?}", told.len());
    let most = usize::try_from(took.as_secs()).unwrap() + 3;
    assert!(told.len() <= most, "{} records in {took:?}", told.len());
    assert_eq!(daemon.changes(seq).len(), told.len(), "and no more after the complete one");
    daemon.assert_exact(ground.root());
}

#[test]
fn a_file_being_written_is_told_about_once_a_second() {
    written_slowly(&[]);
}

#[test]
fn a_file_being_written_is_told_about_once_a_second_by_inotify() {
    written_slowly(&["--backend", "inotify"]);
}

/// `settle` does not wait for a pace: what is written and not yet closed is in the index when it returns.
#[test]
fn settle_flushes_what_is_being_written() {
    for flags in BACKENDS {
        let (ground, daemon) = start(flags);
        let path = ground.root().join("open");
        let mut file = File::create(&path).unwrap();
        for part in 1..20u64 {
            file.write_all(&[1; 1000]).unwrap();
            daemon.settle();
            let found = daemon.ask(&[&"ls", &path]);
            assert_eq!(found[0]["size"], part * 1000);
        }
        daemon.assert_exact(ground.root());
    }
}

/// No daemon, no barrier: nothing is opened and nothing promised.
#[test]
fn settle_needs_a_daemon() {
    let ground = Place::Here.open().unwrap();
    let said = indexer(&ground.state(), &[&"settle"]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(!ground.state().join("index.redb").try_exists().unwrap());
    assert!(stderr(&said).contains("indexer watch"), "it does not say what to type: {}", stderr(&said));
}
