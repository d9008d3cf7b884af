//! Whether the engine's thread gets on, and what it has done: counters that it bumps with its work, and a judgement
//! over them. No timer bumps anything, so a thread that stands still looks like it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the engine may stand still with work before it is called stalled. A commit syncs a disk, and a busy one
/// takes seconds.
pub(crate) const STALLED: Duration = Duration::from_secs(60);

/// Bumped by the engine's thread and those that walk for it; read by anybody. None of it takes a lock.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// Turns of the engine's loops, and pieces of work in them.
    turns: AtomicU64,
    looks: AtomicU64,
    walked: AtomicU64,
    rounds: AtomicU64,
    /// It waits for hints or requests.
    resting: AtomicBool,
    /// Volumes that wait for a repair.
    owed: AtomicU64,
    /// The work done at the last look at it, and since when it is no more than that.
    seen: Mutex<(u64, Instant)>,
}

/// The counters as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Looks at names and directories for hints.
    pub(crate) looks: u64,
    /// Entries met by first scans and sweeps.
    pub(crate) walked: u64,
    /// Rounds of hints.
    pub(crate) rounds: u64,
    /// Volumes that wait for a repair.
    pub(crate) owed: u64,
}

impl Vitals {
    pub(crate) fn new(now: Instant) -> Vitals {
        Vitals {
            turns: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            walked: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            owed: AtomicU64::new(0),
            seen: Mutex::new((0, now)),
        }
    }

    /// The engine's thread has done a piece of work, or begins one.
    pub(crate) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.resting.store(false, Ordering::Relaxed);
    }

    /// It has nothing to do.
    pub(crate) fn rest(&self) {
        self.resting.store(true, Ordering::Relaxed);
    }

    pub(crate) fn looked(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// A walk has met `entries` more, or none and yet got on.
    pub(crate) fn walked(&self, entries: u64) {
        self.walked.fetch_add(entries, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn owe(&self, volumes: usize) {
        self.owed.store(volumes as u64, Ordering::Relaxed);
    }

    pub(crate) fn done(&self) -> Done {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Done {
            looks: get(&self.looks),
            walked: get(&self.walked),
            rounds: get(&self.rounds),
            owed: get(&self.owed),
        }
    }

    /// How long the engine has stood still with work to do. `steps` is work that is counted elsewhere (within a
    /// transaction), `waiting` the age of the oldest work that it would have to take up from its rest.
    pub(crate) fn stalled_for(&self, now: Instant, steps: u64, waiting: Option<Duration>) -> Duration {
        let done = self.turns.load(Ordering::Relaxed)
            + self.looks.load(Ordering::Relaxed)
            + self.walked.load(Ordering::Relaxed)
            + steps;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != done {
            *seen = (done, now);
        }
        let still = now.saturating_duration_since(seen.1);
        match (self.resting.load(Ordering::Relaxed), waiting) {
            (true, None) => Duration::ZERO,
            (true, Some(age)) => age.min(still),
            (false, _) => still,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn at_rest_without_work_is_not_stalled_however_long() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        vitals.turn();
        vitals.rest();
        assert_eq!(vitals.stalled_for(start, 0, None), Duration::ZERO);
        assert_eq!(vitals.stalled_for(start + 1000 * SECOND, 0, None), Duration::ZERO);
    }

    #[test]
    fn at_rest_with_work_it_is_stalled_as_long_as_the_work_waits() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        vitals.rest();
        assert_eq!(vitals.stalled_for(start + 100 * SECOND, 0, Some(3 * SECOND)), 3 * SECOND);
    }

    #[test]
    fn at_work_only_work_counts() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        vitals.turn();
        assert_eq!(vitals.stalled_for(start, 0, None), Duration::ZERO);
        assert_eq!(vitals.stalled_for(start + 70 * SECOND, 0, None), 70 * SECOND);
        type Work = fn(&Vitals);
        let works: [Work; 3] = [Vitals::turn, Vitals::looked, |vitals| vitals.walked(1)];
        for (nth, work) in works.into_iter().enumerate() {
            work(&vitals);
            let now = start + (nth as u32 + 2) * 100 * SECOND;
            assert_eq!(vitals.stalled_for(now, 0, None), Duration::ZERO, "work {nth}");
            assert_eq!(vitals.stalled_for(now + 5 * SECOND, 0, None), 5 * SECOND, "work {nth}");
        }
    }

    /// A load of many millions is one transaction, in which the engine's own loops stand still.
    #[test]
    fn a_long_transaction_is_work_as_long_as_it_gets_on() {
        let start = Instant::now();
        let vitals = Vitals::new(start);
        for step in 1..100u32 {
            assert_eq!(vitals.stalled_for(start + step * 50 * SECOND, u64::from(step), None), Duration::ZERO);
        }
        assert_eq!(vitals.stalled_for(start + 5100 * SECOND, 99, None), 150 * SECOND);
    }
}
