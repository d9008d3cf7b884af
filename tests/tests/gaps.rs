//! What the stream cannot vouch for is said in it: stretches without a daemon, and only those in which something happened.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use indexer_tests::{Daemon, Place};
use serde_json::Value;

fn now_ns() -> i128 {
    i128::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn gaps(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["op"] == "gap").collect()
}

/// Starts, writes a file, ends by `end`, does `meanwhile`, starts again; the records since, a time when none ran, and the root.
fn restarted(end: fn(&mut Daemon), meanwhile: fn(&std::path::Path)) -> (Vec<Value>, i128, String) {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("file"), b"x").unwrap();
    daemon.settle();
    let seq = daemon.seq();
    end(&mut daemon);
    let down = now_ns();
    meanwhile(root);
    let daemon = Daemon::start(&ground.state(), &[], &[]);
    daemon.settle();
    daemon.assert_exact(root);
    (daemon.changes(seq), down, root.to_str().unwrap().to_owned())
}

fn leave(daemon: &mut Daemon) {
    assert!(daemon.terminate().success());
}

#[test]
fn r2_a_restart_after_an_idle_night_writes_nothing() {
    for end in [leave, Daemon::kill9] {
        let (records, _, _) = restarted(end, |_| ());
        assert_eq!(records, Vec::<Value>::new());
    }
}

#[test]
fn a_stretch_without_a_daemon_is_told_where_something_happened_in_it() {
    for end in [leave, Daemon::kill9] {
        // Nothing is left of it but the times of the directory.
        let (records, down, root) = restarted(end, |root| {
            fs::write(root.join("dir/short"), b"x").unwrap();
            fs::remove_file(root.join("dir/short")).unwrap();
        });
        let gaps = gaps(&records);
        assert_eq!(gaps.len(), 1, "{records:#?}");
        let (from, to) = (gaps[0]["from_ns"].as_i64().unwrap(), gaps[0]["to_ns"].as_i64().unwrap());
        assert!(i128::from(from) <= down && down < i128::from(to), "{down}: {}", gaps[0]);
        // Not from the beginning of the world: what was known before is vouched for still.
        assert!(down - i128::from(from) < 120_000_000_000, "{down}: {}", gaps[0]);
        assert_eq!(gaps[0]["path"], root);
        assert_eq!(gaps[0]["why"], "the daemon did not run");
        assert!(
            records.iter().all(|record| record["op"] == "gap" || record["op"] == "modified"),
            "{records:#?}"
        );
    }
}
