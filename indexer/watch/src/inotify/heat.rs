//! Which watches are worth keeping: the coldest of them, and how often one may go for a hotter directory. Knows
//! seconds and ids; no kernel, and not what made a directory hot.

use record::EntryId;

/// How much colder, in seconds, a watched directory must be than the one that takes its watch. Below that the
/// two would take it from each other for ever.
pub(super) const HYSTERESIS: u32 = 60;

/// Of how many watches one is made ready to go whenever all are looked through.
const ONE_OF: usize = 64;

/// Fewest exchanges a minute, however small the share.
const FEWEST: u64 = 64;

/// Seconds since 1970 at which a directory was last active. After 2106 all are equally hot.
pub(super) type Heat = u32;

/// The coldest watches, made ready a part at a time: going through all of them costs their number, and gives
/// one of 64.
#[derive(Debug, Default)]
pub(super) struct Coldest {
    /// Hottest first, as they were when looked through.
    ready: Vec<(Heat, EntryId)>,
    /// No watch is colder than this.
    floor: Heat,
}

impl Coldest {
    /// A watch was added with this heat.
    pub(super) fn added(&mut self, heat: Heat) {
        self.floor = self.floor.min(heat);
        if self.ready.last().is_some_and(|(coldest, _)| heat < *coldest) {
            self.ready.clear();
        }
    }

    /// The coldest directory that was last active before `below`, by `heat_of` (`None`: it is not watched any
    /// more) and `all` the watches there are. `all` is called when none is ready.
    pub(super) fn pop(
        &mut self,
        below: Heat,
        heat_of: impl Fn(EntryId) -> Option<Heat>,
        all: impl FnOnce() -> Vec<(Heat, EntryId)>,
    ) -> Option<EntryId> {
        if let Some(dir) = self.pop_ready(below, &heat_of) {
            return Some(dir);
        }
        // Either what is ready is too hot, or nothing is ready and nothing that cold can exist.
        if !self.ready.is_empty() || below <= self.floor {
            return None;
        }
        let mut all = all();
        let count = (all.len() / ONE_OF + 1).min(all.len());
        if count < all.len() {
            all.select_nth_unstable(count);
            all.truncate(count);
        }
        all.sort_unstable_by(|one, other| other.cmp(one));
        self.ready = all;
        self.floor = self.ready.last().map_or(Heat::MAX, |(heat, _)| *heat);
        self.pop_ready(below, &heat_of)
    }

    fn pop_ready(&mut self, below: Heat, heat_of: &impl Fn(EntryId) -> Option<Heat>) -> Option<EntryId> {
        while let Some((heat, dir)) = self.ready.last().copied() {
            let unmoved = heat_of(dir) == Some(heat);
            if unmoved && heat >= below {
                return None;
            }
            self.ready.pop();
            if unmoved {
                return Some(dir);
            }
        }
        None
    }
}

/// How many watches may still go to hotter directories: the share at once, an eighth of it a minute after.
#[derive(Debug)]
pub(super) struct Allowance {
    /// In sixtieths of an exchange.
    left: u64,
    at: Heat,
}

impl Allowance {
    pub(super) fn new(share: usize, now: Heat) -> Allowance {
        Allowance { left: most(share), at: now }
    }

    /// Whether one more may go.
    pub(super) fn some(&mut self, share: usize, now: Heat) -> bool {
        let seconds = u64::from(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        let more = seconds.saturating_mul((share as u64 / 8).max(FEWEST));
        self.left = self.left.saturating_add(more).min(most(share));
        self.left >= 60
    }

    /// One went.
    pub(super) fn take(&mut self) {
        self.left = self.left.saturating_sub(60);
    }
}

fn most(share: usize) -> u64 {
    (share as u64).max(FEWEST).saturating_mul(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::VolumeId;
    use std::collections::BTreeMap;

    fn id(inode: u64) -> EntryId {
        EntryId::new(VolumeId(1), inode)
    }

    /// Against a plain search for the least, with heats that rise and directories that go.
    #[test]
    fn the_coldest_goes_first() {
        let mut heats: BTreeMap<EntryId, Heat> =
            (0..1000).map(|n| (id(n), u32::try_from(n * 7919 % 1000).unwrap())).collect();
        let mut coldest = Coldest::default();
        let mut passes = 0;
        for turn in 0..900 {
            if turn % 10 == 0 {
                // The coldest of all becomes active.
                let dir = *heats.iter().min_by_key(|(_, heat)| **heat).unwrap().0;
                heats.insert(dir, 5000);
            }
            let least = *heats.values().min().unwrap();
            let all = || {
                passes += 1;
                heats.iter().map(|(dir, heat)| (*heat, *dir)).collect()
            };
            let dir = coldest.pop(4000, |dir| heats.get(&dir).copied(), all).unwrap();
            assert_eq!(heats.remove(&dir), Some(least));
        }
        assert!(passes < 900, "{passes} looks at everything for 900 that went");
    }

    #[test]
    fn what_is_hot_stays_and_is_not_searched_for_again() {
        let heats = BTreeMap::from([(id(1), 100), (id(2), 200)]);
        let mut coldest = Coldest::default();
        let all = || heats.iter().map(|(dir, heat)| (*heat, *dir)).collect();
        let heat_of = |dir| heats.get(&dir).copied();
        assert_eq!(coldest.pop(100, heat_of, all), None);
        assert_eq!(coldest.pop(100, heat_of, || panic!("looked through again")), None);
        assert_eq!(coldest.pop(101, heat_of, all), Some(id(1)));
    }

    #[test]
    fn exchanges_are_bounded() {
        let count = |allowance: &mut Allowance, share, now| {
            let may = |_: &u32| {
                let some = allowance.some(share, now);
                if some {
                    allowance.take();
                }
                some
            };
            (0..9000).filter(may).count()
        };
        let mut allowance = Allowance::new(8000, 0);
        assert_eq!(count(&mut allowance, 8000, 0), 8000);
        assert_eq!(count(&mut allowance, 8000, 60), 1000);
        // The clock stands or goes back: nothing is given twice.
        assert_eq!(count(&mut allowance, 8000, 30), 0);
        assert_eq!(count(&mut allowance, 8000, 60), 0);
        assert_eq!(count(&mut allowance, 8000, 1 << 30), 8000);
        assert_eq!(count(&mut Allowance::new(1, 0), 1, 0), 64);
    }
}
