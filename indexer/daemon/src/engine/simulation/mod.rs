//! A seeded simulator of disk, clock, kernel queue and power, below the real engine. Real: `Core` with its boots,
//! first scans, sweeps, rounds, holds and settles; `scan`'s walk, scope and crossings; `watch::Pending`;
//! `reconcile`; `index` over a store in memory; the journal. Fake: every system call on a tree, the wall clock, the
//! events (made as the translators make hints; parsing them is not covered), the disk under the store. Not here: the
//! thread loop with its timers, requests, the socket, followed links.
//!
//! `SIM_SEED=n` lives one life again and prints what the disk did; `SIM_SECONDS=n` looks for new ones that long, from `SIM_FROM=n` on;
//! with `SIM_SCAN=1` the disk is at work during the first scan too.

mod faults;
mod model;
mod ops;
mod oracle;
mod queue;
mod rng;
mod run;
mod world;

use std::time::{Duration, Instant};

/// Lives the first seeds for this long where nothing else is said.
const SECONDS: u64 = 10;

/// How many lives those are at most.
const FIRST: u64 = 1500;

/// A seed that was not lived before.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How long a life may take: some take a second.
const LONGEST: Duration = Duration::from_secs(120);

/// Ends the process, with the seed, when a life does not end.
struct Watchdog(std::sync::mpsc::Sender<()>);

impl Watchdog {
    fn new(seed: u64) -> Watchdog {
        let (ended, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if wait.recv_timeout(LONGEST) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("seed {seed} does not end");
                std::process::abort();
            }
        });
        Watchdog(ended)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A life; a broken promise names its seed, and the seed is kept in a file.
fn live(seed: u64, busy_scan: bool, faults: bool) -> run::Report {
    let alone = number("SIM_SEED").is_some();
    let _watchdog = Watchdog::new(seed);
    match std::panic::catch_unwind(|| run::live(seed, run::Way { busy_scan, faults }, alone)) {
        Ok(report) => report,
        Err(panic) => {
            let file = std::env::temp_dir().join("indexer-failed-seeds.txt");
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            std::fs::write(&file, format!("{kept}{seed}\n")).unwrap();
            eprintln!(
                "seed {seed} breaks a promise (kept in {}); again, with all that happened:\n  \
                 SIM_SEED={seed} cargo test -p indexer simulation",
                file.display()
            );
            std::panic::resume_unwind(panic)
        }
    }
}

/// Seeds that once found something, and what.
#[test]
fn saved_seeds() {
    for line in include_str!("seeds.txt").lines() {
        let seed = line.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(seed) = seed {
            live(seed, !line.contains(" rested: "), line.contains(" faults: "));
        }
    }
}

/// Whatever a disk, its queue and a power cut do, what the ten promises say of a quiet moment holds.
#[test]
fn fresh_seeds() {
    // Without it the tree rests during a first scan: what that still finds is in decision 20.
    let (busy_scan, faults) = (number("SIM_SCAN").is_some(), number("SIM_FAULTS").is_some());
    if let Some(seed) = number("SIM_SEED") {
        let report = live(seed, busy_scan, faults);
        eprintln!("{report:?}");
        return;
    }
    let start = Instant::now();
    // Told how long to look, new seeds are lived; otherwise the first ones, so that a run says something of the change
    // it is made for and not of the hour.
    let (time, mut seed, most) = match number("SIM_SECONDS") {
        Some(seconds) => (Duration::from_secs(seconds), number("SIM_FROM").unwrap_or_else(now), u64::MAX),
        None => (Duration::from_secs(SECONDS), 1, FIRST),
    };
    eprintln!("seeds from {seed}");
    let mut sum = run::Report::default();
    let mut lives = 0;
    while start.elapsed() < time && lives < most {
        let report = live(seed, busy_scan, faults);
        sum.checks += report.checks;
        sum.records += report.records;
        sum.power_losses += report.power_losses;
        sum.overflows += report.overflows;
        seed += 1;
        lives += 1;
    }
    eprintln!("{lives} lives: {sum:?}");
    assert!(sum.checks > 0, "no life was lived");
}
