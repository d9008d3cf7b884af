//! All of it for as long as asked: work, kills, stops and starts in an order that a seed chooses, judged again and again.
//! `INDEXER_SOAK_SECONDS=600 [INDEXER_SOAK_SEED=1] cargo test -p indexer-tests --test soak`; skipped without.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use indexer_tests::{Daemon, Place, Rng, Rows, Workload, find_json, indexer_binary, is_root, skipped};
use rustix::process::Signal;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn soak(flags: &[&str], seed: u64) {
    let Some(seconds) = number("INDEXER_SOAK_SECONDS") else {
        return skipped("a soak takes INDEXER_SOAK_SECONDS, the seconds it may last");
    };
    let seed = number("INDEXER_SOAK_SEED").unwrap_or(seed);
    let ground = match if is_root() { Place::Ext4 } else { Place::Here }.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let (root, state) = (ground.root(), ground.state());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rng = Rng::new(seed);
    let mut daemon = Daemon::start(&state, &[root], flags);
    let (mut seq, mut rows) = (daemon.seq(), Rows::of_find(&find_json(&daemon, root)));
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        let what = rng.below(6);
        eprintln!("soak {flags:?}, seed {seed}, round {round}: {what}, seq {seq}");
        let work = Workload { seed: rng.bits(), threads: 1 + rng.index(3) };
        let patience = Duration::from_millis(rng.below(400));
        let mut operations = 200 + rng.below(1500);
        let ((), _) = work.around(root, || match what {
            // Killed amid work; the next one starts amid work.
            0 | 1 => {
                Workload { seed: rng.bits(), threads: 1 }.run_operations(root, operations);
                daemon.kill9();
                Workload { seed: rng.bits(), threads: 1 }.run_operations(root, rng.below(500));
                daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
            }
            // Killed while it starts.
            2 => {
                daemon.kill9();
                daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
                let _ = daemon.is_live_within(patience / 4);
                daemon.kill9();
                daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
            }
            3 => {
                assert!(daemon.terminate().success(), "{}", daemon.log());
                daemon = Daemon::spawn(indexer_binary(), &state, &[root], flags);
            }
            // Too slow for what happens: inotify's queue may run over.
            4 => {
                daemon.signal(Signal::STOP);
                operations *= 5;
                Workload { seed: rng.bits(), threads: 2 }.run_operations(root, operations);
                daemon.signal(Signal::CONT);
            }
            _ => drop(Workload { seed: rng.bits(), threads: 1 }.run_operations(root, operations)),
        });
        if what < 4 {
            daemon.wait_live();
        }
        daemon.settle();
        daemon.assert_exact(root);
        for change in daemon.changes(seq) {
            rows.apply(&change);
            seq = change["seq"].as_u64().unwrap();
        }
        let now = Rows::of_find(&find_json(&daemon, root));
        let differences = rows.differences(&now);
        assert!(differences.is_empty(), "the journal leads elsewhere:\n{}", differences.join("\n"));
    }
    eprintln!("soak {flags:?}, seed {seed}: {round} rounds, seq {seq}");
}

#[test]
fn soak_by_the_best_means() {
    soak(&[], 1);
}

#[test]
fn soak_by_inotify() {
    soak(&["--backend", "inotify"], 2);
}
