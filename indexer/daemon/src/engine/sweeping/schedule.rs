//! When the next sweep of a root is due, and how fast it may go. Sees no clock but the times it is given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use record::RootId;
use rustc_hash::FxHashMap;

/// How often sweeps are due, and how fast they go. `None`: never, and without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Everything that is watched, each entry: finds what no event told of, as a store through a mapping that is never
    /// synced, a bug of a kernel, or one of ours.
    pub(crate) stat: Option<Duration>,
    /// The directories of what is watched.
    pub(crate) names: Option<Duration>,
    /// What has no watch, each entry.
    pub(crate) unwatched: Option<Duration>,
    /// Entries a second, for sweeps that nobody waits for.
    pub(crate) rate: Option<u64>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        // Once a day costs a bare walk and a half. The level `names` finds nothing that a watch does not, unless events
        // are lost unsaid: off.
        let unwatched = Some(Duration::from_secs(300));
        Schedule { stat: Some(Duration::from_secs(86_400)), names: None, unwatched, rate: None }
    }
}

/// What sweeps come by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// What has no watch, each entry.
    Unwatched,
    /// Everything, each entry.
    Stat,
    /// All directories.
    Names,
}

impl Turn {
    pub(crate) const ALL: [Turn; 3] = [Turn::Unwatched, Turn::Stat, Turn::Names];
}

/// When each root last had each turn.
pub(crate) struct Timetable {
    /// Of this index alone, so that two hosts that share a disk do not sweep it at the same moments for ever.
    seed: u64,
    last: FxHashMap<(RootId, Turn), (Instant, u64)>,
}

impl Timetable {
    pub(crate) fn new(seed: u64) -> Timetable {
        Timetable { seed, last: FxHashMap::default() }
    }

    /// A sweep begins, or one of more has answered for it.
    pub(crate) fn swept(&mut self, root: RootId, kind: Turn, now: Instant) {
        let (last, turn) = self.last.entry((root, kind)).or_insert((now, 0));
        *last = now;
        *turn += 1;
    }

    /// When the next is due that comes every so often, give or take a tenth; the first counts from `now`.
    pub(crate) fn due(&mut self, root: RootId, kind: Turn, every: Duration, now: Instant) -> Instant {
        let (last, turn) = *self.last.entry((root, kind)).or_insert((now, 0));
        let word = u64::from(root.0) << 2 | kind as u64;
        last + jittered(every, mixed(self.seed ^ mixed(word ^ mixed(turn))))
    }
}

/// Between nine and eleven tenths of `every`.
fn jittered(every: Duration, random: u64) -> Duration {
    every.mul_f64(0.9 + 0.2 * (random as f64 / u64::MAX as f64))
}

/// The mixing step of SplitMix64 (Steele, Lea and Flood 2014): every bit of the word moves half of all bits.
fn mixed(word: u64) -> u64 {
    let mut word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Holds a sweep to so many entries a second, all its threads together.
pub(crate) struct Pace {
    rate: Option<u64>,
    began: Instant,
    entries: AtomicU64,
}

/// Longest rest at once: a stop is not asked for meanwhile.
const MOST_REST: Duration = Duration::from_millis(50);

impl Pace {
    pub(crate) fn new(rate: Option<u64>) -> Pace {
        Pace { rate, began: Instant::now(), entries: AtomicU64::new(0) }
    }

    /// So many more were looked at. How long to rest now; ask again with 0 after it, until there is none.
    pub(crate) fn rest(&self, more: u64) -> Option<Duration> {
        let rate = self.rate?.max(1);
        let entries = self.entries.fetch_add(more, Ordering::Relaxed) + more;
        let due = Duration::from_secs_f64(entries as f64 / rate as f64);
        let ahead = due.saturating_sub(self.began.elapsed());
        Some(ahead.min(MOST_REST)).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_differ_by_a_tenth_and_hosts_by_their_seed() {
        let now = Instant::now();
        let every = Duration::from_secs(1000);
        let mut turns = Vec::new();
        for seed in 0..20 {
            let mut table = Timetable::new(seed);
            for _ in 0..20 {
                let due = table.due(RootId(1), Turn::Stat, every, now) - now;
                assert!(due >= every.mul_f64(0.899) && due <= every.mul_f64(1.101), "{due:?}");
                assert_eq!(table.due(RootId(1), Turn::Stat, every, now) - now, due, "asking changes nothing");
                turns.push(due);
                table.swept(RootId(1), Turn::Stat, now);
            }
        }
        turns.sort_unstable();
        turns.dedup();
        assert!(turns.len() > 390, "{} of 400 differ", turns.len());
        assert!(turns[turns.len() - 1] - turns[0] > Duration::from_secs(190), "the whole span is used");
    }

    #[test]
    fn a_pace_without_a_limit_never_rests_and_one_with_a_limit_does() {
        assert_eq!(Pace::new(None).rest(1_000_000), None);
        let pace = Pace::new(Some(1));
        assert_eq!(pace.rest(10), Some(MOST_REST));
        assert_eq!(pace.rest(0), Some(MOST_REST));
    }
}
