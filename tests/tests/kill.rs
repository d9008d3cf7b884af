//! Killed at any instant, the index is whole, its journal has lost and doubled nothing that was seen, and the next start
//! makes it equal to the disk. It could break at every durable write, and between what is shown and what is stored.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use indexer_tests::{Daemon, Place, Rng, Workload, find_json, indexer_binary, skipped, wait_for};
use serde_json::Value;

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
            news.iter().partition(|record| completes(record, &seen));
        // Where something was not known when the daemon ended, a gap says so.
        let news: Vec<&Value> =
            other.into_iter().filter(|record| record["op"] != "gap" || completing.is_empty()).collect();
        assert!(news.is_empty(), "nothing changed, and a start after kill {kill} says {news:#?}");
    }
}

#[test]
fn r7_killed_live_on_ext4_by_fanotify() {
    killed_live(Place::Ext4, &[], 9, 1);
}

#[test]
fn r7_killed_live_on_tmpfs_by_inotify() {
    killed_live(Place::Tmpfs, &["--backend", "inotify"], 8, 2);
}

#[test]
fn r7_killed_live_without_rights() {
    killed_live(Place::Here, &["--backend", "inotify"], 3, 3);
}

fn large_tree(root: &Path) {
    for folder in 0..400 {
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
    let (root, state) = (ground.root(), ground.state());
    large_tree(root);
    let mut rng = Rng::new(4);
    for _ in 0..8 {
        let mut daemon = Daemon::spawn(indexer_binary(), &state, &[root], &[]);
        // From before it has made its folder to somewhere in the load.
        if daemon.is_live_within(Duration::from_millis(rng.below(250))) {
            break;
        }
        daemon.kill9();
    }
    let daemon = Daemon::start(&state, &[root], &[]);
    daemon.settle();
    daemon.assert_exact(root);
    let records = daemon.changes(0);
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["op"], "seeded");
    assert_eq!(records[0]["entries"], find_json(&daemon, root).len());
    // What a seed sorts by is not left lying about.
    assert!(
        !state.join("seed").try_exists().unwrap()
            || std::fs::read_dir(state.join("seed")).unwrap().count() == 0
    );
}

/// SIGTERM in the middle of work, and in the middle of a seed.
#[test]
fn sigterm_leaves_cleanly_at_any_time() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    large_tree(root);
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
