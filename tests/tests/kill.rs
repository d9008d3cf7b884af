//! Killed at any instant, the index is whole, its journal has lost and doubled nothing that was seen, and the next start
//! makes it equal to the disk: two hundred moments in all, in the first scan, in starts and in following. It could break at
//! every durable write, and between what is shown and what is stored.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use indexer_tests::{Daemon, Place, Rng, Workload, find_json, indexer_binary, skipped, wait_for};
use serde_json::Value;

/// Operations beside each start of a row.
const OPERATIONS: u64 = 60;

/// A record is the same record for ever.
fn assert_same(seen: &BTreeMap<u64, Value>, records: &[Value]) {
    let kept: BTreeMap<u64, &Value> =
        records.iter().map(|record| (record["seq"].as_u64().unwrap(), record)).collect();
    for (seq, record) in seen {
        assert_eq!(
            kept.get(seq),
            Some(&record),
            "record {seq} was seen, and the journal has another or none"
        );
    }
}

/// Whether a record does no more than complete one that was told as still being written: its writer went while nobody looked.
fn completes(record: &Value, before: &BTreeMap<u64, Value>) -> bool {
    let last = before
        .values()
        .rev()
        .find(|old| ["volume", "inode", "birth_ns"].iter().all(|field| old[field] == record[field]));
    record["complete"] == true
        && record["before"] == record["after"]
        && last.is_some_and(|last| last["complete"] == false)
}

/// Whether a record tells of blocks alone: the disk gives them when data are written back, and no event tells of that.
fn settles(record: &Value) -> bool {
    let rest = |state: &Value| {
        let mut state = state.clone();
        if let Some(fields) = state.as_object_mut() {
            fields.retain(|field, _| field != "allocated" && field != "accessed_ns");
        }
        state
    };
    record["op"] == "attrib" && rest(&record["before"]) == rest(&record["after"])
}

/// Work goes on all the time; the daemon is killed `kills` times at moments that `seed` chooses, and in the end judged.
fn killed_live(place: Place, flags: &[&str], kills: u64, seed: u64) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let (root, state) = (ground.root(), ground.state());
    let mut rng = Rng::new(seed);
    let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
    for kill in 0..kills {
        let work = Workload { seed: rng.bits(), threads: 2 };
        let (mut daemon, _) = work.around(root, || {
            let mut daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
            // One in three dies in its boot sweep.
            let boot =
                if rng.chance(33) { Duration::from_millis(rng.below(60)) } else { Duration::from_secs(60) };
            if daemon.is_live_within(boot) {
                let last = seen.keys().next_back().copied().unwrap_or(0);
                let follower =
                    daemon.follow(&[&"changes", &"--follow", &"--json", &"--since", &last.to_string()]);
                for _ in 0..rng.below(800) {
                    let Some((_, line)) = follower.next_line(Duration::from_secs(20)) else { break };
                    let record: Value = serde_json::from_str(&line).unwrap();
                    seen.insert(record["seq"].as_u64().unwrap(), record);
                }
            }
            daemon.kill9();
            // The tree goes on changing while nobody looks, and while the next one starts.
            Daemon::spawn(indexer_binary(), &state, &[root], &[flags, &["--verbose"]].concat())
        });
        daemon.wait_live();
        daemon.settle();
        daemon.assert_exact(root);
        let records = daemon.changes(0);
        assert_same(&seen, &records);
        seen = records.into_iter().map(|record| (record["seq"].as_u64().unwrap(), record)).collect();
        // Half of them leave as they should, the others by another kill at rest.
        if kill % 2 == 0 {
            assert!(daemon.terminate().success(), "SIGTERM is no failure:\n{}", daemon.log());
        } else {
            daemon.kill9();
        }
        let again = Daemon::start(&state, &[], flags);
        again.settle();
        let last = seen.keys().next_back().copied().unwrap_or(0);
        let news = again.changes(last);
        let (completing, other): (Vec<&Value>, Vec<&Value>) =
            news.iter().partition(|record| completes(record, &seen) || settles(record));
        // Where something was not known when the daemon ended, a gap says so.
        let news: Vec<&Value> =
            other.into_iter().filter(|record| record["op"] != "gap" || completing.is_empty()).collect();
        assert!(news.is_empty(), "nothing changed, and a start after kill {kill} says {news:#?}");
    }
}

#[test]
fn r7_killed_live_on_ext4_by_fanotify() {
    killed_live(Place::Ext4, &[], 4, 1);
}

#[test]
fn r7_killed_live_on_tmpfs_by_inotify() {
    killed_live(Place::Tmpfs, &["--backend", "inotify"], 3, 2);
}

#[test]
fn r7_killed_live_without_rights() {
    killed_live(Place::Here, &["--backend", "inotify"], 3, 3);
}

/// The daemon is killed `kills` times in a row, in its start or while it follows, with work going on beside it each time, and is
/// judged after each row: the starts that were killed have left nothing that the last one trips over.
fn killed_in_rows(place: Place, flags: &[&str], rows: u64, kills: u64, seed: u64) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let (root, state) = (ground.root(), ground.state());
    let mut rng = Rng::new(seed);
    let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
    for _ in 0..rows {
        for _ in 0..kills {
            let work = Workload { seed: rng.bits(), threads: 1 };
            let mut daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
            std::thread::scope(|scope| {
                // So much and no more, or a slow machine would have more and more to look at.
                let worker = scope.spawn(|| work.run_operations(root, OPERATIONS));
                // Most of them from before the index is open to somewhere in the first sweep.
                let boot = if rng.chance(60) {
                    Duration::from_millis(rng.below(60))
                } else {
                    Duration::from_secs(60)
                };
                if daemon.is_live_within(boot) {
                    let last = seen.keys().next_back().copied().unwrap_or(0);
                    let follower =
                        daemon.follow(&[&"changes", &"--follow", &"--json", &"--since", &last.to_string()]);
                    for _ in 0..rng.below(40) {
                        // The work may be done before there are so many.
                        let Some((_, line)) = follower.next_line(Duration::from_millis(100)) else { break };
                        let record: Value = serde_json::from_str(&line).unwrap();
                        seen.insert(record["seq"].as_u64().unwrap(), record);
                    }
                }
                daemon.kill9();
                worker.join().unwrap();
            });
        }
        // Blocks of disk settle when data are written back, with no event to tell of it.
        rustix::fs::syncfs(std::fs::File::open(root).unwrap()).unwrap();
        let mut daemon = Daemon::start(&state, &[root], flags);
        daemon.settle();
        daemon.assert_exact(root);
        let records = daemon.changes(0);
        assert_same(&seen, &records);
        seen = records.into_iter().map(|record| (record["seq"].as_u64().unwrap(), record)).collect();
        daemon.kill9();
    }
}

#[test]
fn r7_killed_in_rows_on_ext4_by_fanotify() {
    killed_in_rows(Place::Ext4, &[], 4, 20, 5);
}

#[test]
fn r7_killed_in_rows_on_tmpfs_by_inotify() {
    killed_in_rows(Place::Tmpfs, &["--backend", "inotify"], 3, 20, 6);
}

fn tree(root: &Path, folders: u64) {
    for folder in 0..folders {
        let folder = root.join(format!("{}/{folder}", folder % 13));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..50 {
            std::fs::write(folder.join(format!("{file}")), b"some").unwrap();
        }
    }
}

/// A seed that dies is begun anew or gone on with; either way there is one `seeded` record and nothing twice.
#[test]
fn r7_killed_in_the_seed() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    tree(root, 120);
    // In every other round it is made safe all the time, and gone on with.
    let config = ground.beside("often.toml");
    std::fs::write(&config, "checkpoint = \"5ms\"\n").unwrap();
    let often = ["--config", config.to_str().unwrap()];
    let mut rng = Rng::new(4);
    let start = Instant::now();
    drop(Daemon::start(&ground.beside("whole"), &[root], &[]));
    let whole_ms = u64::try_from(start.elapsed().as_millis()).unwrap();
    for round in 0..6 {
        let state = ground.beside(&format!("state {round}"));
        let flags: &[&str] = if round % 2 == 0 { &often } else { &[] };
        for _ in 0..9 {
            let mut daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
            // From before it has made its folder to the end of the load.
            daemon.is_live_within(Duration::from_millis(rng.below(whole_ms)));
            daemon.kill9();
        }
        let daemon = Daemon::start(&state, &[root], flags);
        daemon.settle();
        daemon.assert_exact(root);
        let records = daemon.changes(0);
        assert_eq!(records[0]["op"], "seeded", "{records:#?}");
        assert_eq!(records[0]["entries"], find_json(&daemon, root).len());
        // Time in which nobody looked is told where a scan was gone on with, and nothing else is.
        assert!(records[1..].iter().all(|record| record["op"] == "gap"), "{records:#?}");
        // What a seed sorts by is not left lying about.
        assert!(
            !state.join("seed").try_exists().unwrap()
                || std::fs::read_dir(state.join("seed")).unwrap().count() == 0
        );
    }
}

/// SIGTERM in the middle of work, and in the middle of a seed.
#[test]
fn sigterm_leaves_cleanly_at_any_time() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    tree(root, 400);
    let mut daemon = Daemon::spawn(indexer_binary(), &state, &[root], &[]);
    wait_for("the state folder", || state.join("index.redb").try_exists().unwrap().then_some(()));
    let status = daemon.terminate();
    // Before it has its signals in hand, the default of the system ends it, which is as clean as an empty state can be.
    let by_default = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
    assert!(status.success() || by_default, "{status}:\n{}", daemon.log());

    let mut daemon = Daemon::start(&state, &[root], &[]);
    Workload { seed: 8, threads: 2 }.around(root, || {
        wait_for("records", || (daemon.seq() > 300).then_some(()));
        let status = daemon.terminate();
        assert!(status.success(), "{status}:\n{}", daemon.log());
    });
    let daemon = Daemon::start(&state, &[], &[]);
    daemon.settle();
    daemon.assert_exact(root);
}
