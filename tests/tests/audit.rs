//! The daemon checks itself: what no event told of is found, told and counted; what events do tell of is never counted. It could
//! break by crying wolf under load, or by seeing nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;

use indexer_tests::{Daemon, Ground, Place, Workload, wait_for};
use serde_json::Value;

fn start(place: Place, flags: &[&str]) -> Option<(Ground, Daemon)> {
    let ground = place.open().map_err(indexer_tests::skipped).ok()?;
    let often: (&str, &OsStr) = ("INDEXER_AUDIT", "10ms".as_ref());
    let mut daemon = Daemon::spawn_in(&[often], &ground.state(), &[ground.root()], flags);
    daemon.wait_live();
    Some((ground, daemon))
}

fn audited(daemon: &Daemon) -> (u64, u64) {
    let audit = &daemon.status()["audit"];
    (audit["entries"].as_u64().unwrap(), audit["missed"].as_u64().unwrap())
}

#[test]
fn what_no_event_told_of_is_found_and_told() {
    let (ground, daemon) = start(Place::Here, &["--backend", "inotify"]).unwrap();
    let (dir, outside) = (ground.root().join("dir"), ground.beside("outside"));
    fs::create_dir(&dir).unwrap();
    fs::write(&outside, b"before").unwrap();
    fs::hard_link(&outside, dir.join("file")).unwrap();
    daemon.settle();
    let seq = daemon.seq();
    // By a name in a directory that nobody watches: inotify tells nothing.
    // At once, as an audit may come in between.
    fs::File::options().write(true).open(&outside).unwrap().write_all(b"longer than before").unwrap();
    wait_for("the audit to find it", || (audited(&daemon).1 > 0).then_some(()));
    let records = daemon.changes(seq);
    let one = |op: &str| -> Value { records.iter().find(|record| record["op"] == op).unwrap().clone() };
    assert_eq!((&one("modified")["how"], &one("modified")["after"]["size"]), (&"sweep".into(), &18.into()));
    assert_eq!(one("gap")["path"].as_str(), dir.to_str());
    assert!(one("gap")["why"].as_str().unwrap().contains("audit"), "{}", one("gap"));
    daemon.assert_exact(ground.root());
}

fn no_wolf_is_cried(place: Place, flags: &[&str]) {
    let Some((ground, daemon)) = start(place, flags) else { return };
    for round in 0..8 {
        Workload { seed: round, threads: 2 }.run_operations(ground.root(), 1_500);
        wait_for("an audit in between", || (audited(&daemon).0 > 20 * round).then_some(()));
    }
    daemon.settle();
    let status = daemon.status();
    assert_eq!(status["audit"]["missed"], 0, "{}:\n{}", status["audit"], daemon.log());
    assert!(status["audit"]["detections"].as_u64().unwrap() > 100, "{}", status["audit"]);
    let (p50, p99) = (&status["audit"]["detection_p50_ms"], &status["audit"]["detection_p99_ms"]);
    assert!(p50.as_f64().unwrap() > 0.0 && p50.as_f64() <= p99.as_f64(), "{}", status["audit"]);
    daemon.assert_exact(ground.root());
}

#[test]
fn what_events_tell_of_is_never_counted_on_ext4() {
    no_wolf_is_cried(Place::Ext4, &[]);
}

#[test]
fn what_events_tell_of_is_never_counted_on_tmpfs() {
    no_wolf_is_cried(Place::Tmpfs, &[]);
}
