//! A seeded simulator of disk, clock, kernel queue and power, below the real engine. Real: `Core` with its boots,
//! first scans, sweeps, rounds, holds and settles; `scan`'s walk, scope and crossings; `watch::Pending`;
//! `reconcile`; `index` over a store in memory; the journal. Fake: every system call on a tree, the wall clock, the
//! events (made as the translators make hints; parsing them is not covered), the disk under the store. Not here: the
//! thread loop with its timers, requests, the socket, followed links.
//!
//! `SIM_SEED=n` lives one life again and prints what the disk did; `SIM_SECONDS=n` looks for new ones that long, from
//! `SIM_FROM=n` on. Lives take turns: programs rest during the first scan, or work then too (`SIM_SCAN=1`: always, or
//! never with 0), the disk fails now and then, or not (`SIM_FAULTS`, likewise), and with `SIM_CONTENTS=1` files
//! have contents that are read. One seed alone does none of that unless told.

mod carried;
mod contents;
mod faults;
mod model;
mod ops;
mod oracle;
mod owed;
mod queue;
mod reading;
mod rng;
mod run;
mod world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::run::{Simulation, Way};

/// Lives the first seeds for this long where nothing else is said: what they say is of the change at hand.
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
    fn new(seed: u64, way: Way) -> Watchdog {
        let (ended, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if wait.recv_timeout(LONGEST) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("seed {seed} does not end; again:\n  {}", again(seed, way));
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
fn live(seed: u64, way: Way) -> run::Report {
    let alone = number("SIM_SEED").is_some();
    let _watchdog = Watchdog::new(seed, way);
    match std::panic::catch_unwind(|| run::live(seed, way, alone)) {
        Ok(report) => report,
        Err(panic) => {
            let file = std::env::temp_dir().join("indexer-failed-seeds.txt");
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            std::fs::write(&file, format!("{kept}{}\n", line_of(seed, way))).unwrap();
            eprintln!(
                "seed {seed} breaks a promise (kept in {}); again, with all that happened:\n  {}",
                file.display(),
                again(seed, way)
            );
            std::panic::resume_unwind(panic)
        }
    }
}

/// How the life is lived again.
fn again(seed: u64, way: Way) -> String {
    let scan = if way.busy_scan { "SIM_SCAN=1 " } else { "" };
    let faults = if way.faults { "SIM_FAULTS=1 " } else { "" };
    let contents = if way.contents { "SIM_CONTENTS=1 " } else { "" };
    format!("{scan}{faults}{contents}SIM_SEED={seed} cargo test -p indexer simulation")
}

/// A life as `seeds.txt` has it.
fn line_of(seed: u64, way: Way) -> String {
    let rested = if way.busy_scan { "" } else { " rested:" };
    let faults = if way.faults { " faults:" } else { "" };
    let contents = if way.contents { " contents:" } else { "" };
    format!("{seed}{rested}{faults}{contents}")
}

/// Seeds that once found something, and what.
#[test]
fn saved_seeds() {
    for line in include_str!("seeds.txt").lines() {
        let seed = line.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(seed) = seed {
            let has = |word: &str| line.contains(word);
            let (busy_scan, faults) = (!has(" rested: "), has(" faults: "));
            live(seed, Way { busy_scan, faults, contents: has(" contents: ") });
        }
    }
}

/// Whatever a disk, its queue and a power cut do, what the ten promises say of a quiet moment holds.
#[test]
fn fresh_seeds() {
    let told = |variable| number(variable).map(|value| value != 0);
    let (scan, faults, contents) = (told("SIM_SCAN"), told("SIM_FAULTS"), told("SIM_CONTENTS"));
    if let Some(seed) = number("SIM_SEED") {
        let is = |told: Option<bool>| told == Some(true);
        let way = Way { busy_scan: is(scan), faults: is(faults), contents: is(contents) };
        eprintln!("{:?}", live(seed, way));
        return;
    }
    let start = Instant::now();
    let (seconds, usual, most) = match number("SIM_SECONDS") {
        Some(seconds) => (seconds, now(), u64::MAX),
        None => (SECONDS, 1, FIRST),
    };
    let first = number("SIM_FROM").unwrap_or(usual);
    eprintln!("seeds from {first}");
    let mut sum = run::Report::default();
    let mut lives = 0;
    while start.elapsed() < Duration::from_secs(seconds) && lives < most {
        let way = Way {
            busy_scan: scan.unwrap_or(lives % 2 == 1),
            faults: faults.unwrap_or(lives % 3 == 2),
            contents: contents == Some(true),
        };
        let report = live(first + lives, way);
        sum.checks += report.checks;
        sum.records += report.records;
        sum.power_losses += report.power_losses;
        sum.overflows += report.overflows;
        sum.starts += report.starts;
        sum.digests += report.digests;
        sum.unknowable += report.unknowable;
        lives += 1;
    }
    eprintln!("{lives} lives: {sum:?}");
    assert!(sum.checks > 0, "no life was lived");
}

/// A small tree is walked before the thread that counts what is met has begun.
#[test]
fn what_a_walk_met_is_counted_however_short_it_was() {
    let way = Way { busy_scan: false, faults: false, contents: false };
    let mut life = Simulation::new(1, way, false);
    life.restart();
    let counted = life.call("walk", |core| {
        let before = core.shared.vitals.done().walked;
        for _ in 0..500 {
            let walked = scan::Progress::default();
            core.with_progress("scanning", &walked, || walked.entries.store(3, Ordering::Relaxed));
        }
        Ok(core.shared.vitals.done().walked - before)
    });
    assert_eq!(counted.unwrap(), 1500);
}
