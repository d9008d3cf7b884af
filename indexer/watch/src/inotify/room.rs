//! How many watches may be used, what stands against more, and what went without. Counts; knows no directory.

use super::heat::{Allowance, Heat};
use record::VolumeId;
use std::collections::BTreeMap;
use std::fmt;

/// Why no more watches are to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Our share of the user's limit, or what the configuration allows, is used up.
    Share,
    /// ENOSPC below our share: other programs of the user have the rest.
    System,
    /// ENOMEM: the kernel has no memory for them.
    Memory,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shortage::Share => "the share of this program is used up",
            Shortage::System => "other programs use up fs.inotify.max_user_watches",
            Shortage::Memory => "the kernel has no memory for more",
        })
    }
}

/// The room for watches.
#[derive(Debug)]
pub(super) struct Room {
    share: usize,
    /// How many may be watched now: the share, or what the system last allowed.
    allowed: usize,
    shortage: Option<Shortage>,
    /// How many were watched when the system last refused one, and whether that was since the last refit.
    refused_at: usize,
    refused: bool,
    allowance: Allowance,
    exchanges: u64,
    lacking: BTreeMap<VolumeId, u64>,
}

impl Room {
    pub(super) fn new(share: usize, now: Heat) -> Room {
        let share = share.max(1);
        Room {
            share,
            allowed: share,
            shortage: None,
            refused_at: 0,
            refused: false,
            allowance: Allowance::new(share, now),
            exchanges: 0,
            lacking: BTreeMap::new(),
        }
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }

    pub(super) fn allowed(&self) -> usize {
        self.allowed
    }

    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.shortage
    }

    /// The system refused one more while `watched` were.
    pub(super) fn refused(&mut self, watched: usize, shortage: Shortage) {
        self.allowed = watched.min(self.share);
        self.shortage = Some(shortage);
        (self.refused_at, self.refused) = (watched, true);
    }

    /// A directory of the volume goes without, for want of any watch or (not `short`) by itself.
    pub(super) fn lacks(&mut self, volume: VolumeId, short: bool) {
        *self.lacking.entry(volume).or_default() += 1;
        if short {
            self.shortage.get_or_insert(Shortage::Share);
        }
    }

    pub(super) fn lacking(&self, volume: VolumeId) -> u64 {
        self.lacking.get(&volume).copied().unwrap_or(0)
    }

    /// Whether one may go for a hotter one.
    pub(super) fn may_exchange(&mut self, now: Heat) -> bool {
        self.allowance.some(self.share, now)
    }

    pub(super) fn exchanged(&mut self) {
        self.allowance.take();
        self.exchanges += 1;
    }

    pub(super) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// A new share, and whether any directory goes without; `watched` have a watch.
    pub(super) fn refit(&mut self, share: usize, some_lack: bool, watched: usize) {
        let share = share.max(1);
        let over = match self.shortage {
            None => false,
            Some(_) if !some_lack => true,
            // Watches that go with their directories make no room worth a word.
            Some(Shortage::Share) => share > self.share && share > watched,
            // Allowed again, and more were had than when it refused.
            Some(Shortage::System | Shortage::Memory) => !self.refused && watched > self.refused_at,
        };
        if over {
            self.shortage = None;
        }
        (self.share, self.allowed, self.refused) = (share, share, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_lasts_until_more_is_had() {
        let mut room = Room::new(100, 0);
        assert_eq!((room.allowed(), room.shortage()), (100, None));
        room.refused(40, Shortage::System);
        assert_eq!((room.allowed(), room.shortage()), (40, Some(Shortage::System)));
        room.refit(100, true, 40);
        assert_eq!((room.allowed(), room.shortage()), (100, Some(Shortage::System)), "tried again");
        room.refused(40, Shortage::System);
        room.refit(100, true, 41);
        assert_eq!(room.shortage(), Some(Shortage::System), "one was had and the next refused");
        room.refit(100, true, 60);
        assert_eq!(room.shortage(), None);
    }

    #[test]
    fn a_full_share_is_a_shortage_until_it_grows_or_all_are_watched() {
        let mut room = Room::new(100, 0);
        room.lacks(VolumeId(1), true);
        assert_eq!((room.lacking(VolumeId(1)), room.lacking(VolumeId(2))), (1, 0));
        room.refit(100, true, 90);
        assert_eq!(room.shortage(), Some(Shortage::Share));
        room.refit(200, true, 90);
        assert_eq!((room.share(), room.shortage()), (200, None));
        room.lacks(VolumeId(1), true);
        room.refit(200, false, 90);
        assert_eq!(room.shortage(), None);
    }
}
