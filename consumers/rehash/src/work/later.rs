//! Files that could not be read, and when each is tried again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use record::EntryId;

/// Files remembered at most; one more is tried again at once, as after a restart.
const MOST: usize = 65_536;

/// Times that a file is tried of which the index says something else than the disk.
const MOST_BEHIND: u32 = 8;

/// Why a file was not read, or what was read of it not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is too young, for so long.
    Young(Duration),
    /// It changed while it was read.
    Changed,
    /// Somebody has it open for writing.
    Written,
    /// The index has another moment of it.
    Behind,
    /// It is not where the index has it.
    Gone,
    /// It cannot be read: only a change of it or of its rights makes that otherwise.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    tries: u32,
    /// The index says something else than the disk, and was told.
    astray: bool,
}

#[derive(Debug, Default)]
pub(super) struct Later(HashMap<EntryId, Wait>);

impl Later {
    pub(super) fn is_due(&self, id: EntryId, now: Instant) -> bool {
        self.0.get(&id).is_none_or(|wait| wait.until <= now)
    }

    /// Whether it is to be tried again.
    pub(super) fn holds(&self, id: EntryId) -> bool {
        self.0.contains_key(&id)
    }

    /// Whether it was put off because the index says something else than the disk.
    pub(super) fn is_astray(&self, id: EntryId) -> bool {
        self.0.get(&id).is_some_and(|wait| wait.astray)
    }

    pub(super) fn done(&mut self, id: EntryId) {
        self.0.remove(&id);
    }

    /// Forgets all others.
    pub(super) fn keep(&mut self, these: &HashSet<EntryId>) {
        self.0.retain(|id, _| these.contains(id));
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|wait| wait.until).min()
    }

    /// Has it wait, unless it is not worth another try as long as nothing says that it changed.
    pub(super) fn put_off(&mut self, id: EntryId, why: Why) {
        let tries = self.0.get(&id).map_or(0, |wait| wait.tries) + 1;
        let step = |first: u64, most: u64| Duration::from_millis((first << tries.min(20)).min(most));
        let pause = match why {
            Why::Young(pause) => pause,
            Why::Changed => step(250, 60_000),
            Why::Written => step(250, 5_000),
            Why::Behind if tries <= MOST_BEHIND => step(10, 2_000),
            // Where it is by now, or that it is no more, is looked up meanwhile: until then another try finds as little.
            Why::Gone if tries <= MOST_BEHIND => step(250, 5_000),
            Why::Behind | Why::Gone | Why::Refused => {
                self.0.remove(&id);
                return;
            }
        };
        if self.0.len() < MOST || self.0.contains_key(&id) {
            let astray = matches!(why, Why::Gone | Why::Behind);
            self.0.insert(id, Wait { until: Instant::now() + pause, tries, astray });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::VolumeId;

    #[test]
    fn pauses_grow_and_some_waits_end() {
        let mut later = Later::default();
        let id = EntryId::new(VolumeId(1), 2);
        assert!(later.is_due(id, Instant::now()) && !later.holds(id) && later.next().is_none());
        let mut last = Instant::now();
        for _ in 0..4 {
            later.put_off(id, Why::Changed);
            let next = later.next().unwrap();
            assert!(next > last && !later.is_due(id, last));
            last = next;
        }
        assert!(later.is_due(id, last) && later.holds(id));
        later.done(id);
        let mut put_off = |why| {
            later.put_off(id, why);
            later.holds(id)
        };
        assert_eq!((0..100).take_while(|_| put_off(Why::Gone)).count(), MOST_BEHIND as usize);
        assert!(!put_off(Why::Refused));

        let other = EntryId::new(VolumeId(1), 3);
        later.put_off(id, Why::Written);
        later.put_off(other, Why::Written);
        later.keep(&HashSet::from([other]));
        assert!(later.holds(other) && !later.holds(id));
        later.keep(&HashSet::new());
        assert!(later.next().is_none());
    }
}
