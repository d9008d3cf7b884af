//! Which watch descriptor is which directory, both ways. Makes no system call.
//!
//! The kernel removes a watch at once and tells so later, by IN_IGNORED behind the events still queued. So a
//! wd stays known until then, and when the numbers have wrapped it can be given out anew before.

use super::WatchId;
use super::heat::{Coldest, HYSTERESIS, Heat};
use record::{EntryId, VolumeId};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// Watches by directory, and directories by wd: those that are leaving are in the second only.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_dir: FxHashMap<EntryId, i32>,
    by_wd: FxHashMap<i32, Slot>,
    /// Those taken off by us whose IN_IGNORED has not come, oldest first. It may never: an overflow eats it.
    leaving: Vec<i32>,
    /// Directories whose wd went to another while events of theirs were queued.
    ousted: Vec<EntryId>,
    /// Overflows so far. Each may have eaten the IN_IGNORED of any watch.
    epoch: u32,
    coldest: Coldest,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    dir: EntryId,
    /// IN_IGNORED events still to come that mean earlier users of the number.
    earlier: u32,
    /// The table's epoch when the kernel last confirmed the watch.
    epoch: u32,
    /// When the directory was last active.
    heat: Heat,
    /// What is in it has been looked at since the watch stands.
    compared: bool,
}

impl Table {
    /// The kernel made a new watch.
    pub(super) fn bind_new(&mut self, wd: i32, dir: EntryId, heat: Heat) -> WatchId {
        // Known and new at once: the number was given out anew, and its earlier user's IN_IGNORED is queued.
        let earlier = match self.by_wd.remove(&wd) {
            Some(Slot { dir: before, earlier, .. }) => {
                self.forget(before, wd);
                // What is queued under this number is the earlier one's, and would be taken for the new one's.
                self.ousted.push(before);
                self.leaving.retain(|leaving| *leaving != wd);
                earlier + 1
            }
            None => 0,
        };
        self.coldest.added(heat);
        self.bind(wd, Slot { dir, earlier, epoch: self.epoch, heat, compared: false })
    }

    /// The inode had a watch already, and this is it.
    pub(super) fn bind_known(&mut self, wd: i32, dir: EntryId, heat: Heat) -> WatchId {
        let before = self.by_wd.remove(&wd);
        if let Some(slot) = before {
            self.forget(slot.dir, wd);
        }
        // A watch that stood all the time tells of all that changed since the look at what is in it.
        let stood = before.filter(|slot| slot.dir == dir && slot.epoch == self.epoch);
        let compared = stood.is_some_and(|slot| slot.compared);
        let heat = stood.map_or(heat, |slot| slot.heat.max(heat));
        let earlier = before.map_or(0, |slot| slot.earlier);
        self.coldest.added(heat);
        self.bind(wd, Slot { dir, earlier, epoch: self.epoch, heat, compared })
    }

    fn bind(&mut self, wd: i32, slot: Slot) -> WatchId {
        self.by_wd.insert(wd, slot);
        if let Some(other) = self.by_dir.insert(slot.dir, wd)
            && other != wd
        {
            // The inode number was reused: the old directory is gone, and its IN_IGNORED on the way or lost.
            self.leaving.push(other);
        }
        WatchId { wd, epoch: slot.epoch }
    }

    /// Takes the directory off; the wd to remove stays known until it is out of the queue.
    pub(super) fn unbind(&mut self, dir: EntryId) -> Option<i32> {
        let wd = self.by_dir.remove(&dir)?;
        self.leaving.push(wd);
        Some(wd)
    }

    /// The directory of an event that is read at `now`.
    pub(super) fn dir(&mut self, wd: i32, now: Heat) -> Option<EntryId> {
        let slot = self.by_wd.get_mut(&wd)?;
        slot.heat = slot.heat.max(now);
        Some(slot.dir)
    }

    /// What is in the directory has been looked at since `watch` stands, and what differed is known or pending.
    pub(super) fn compared(&mut self, dir: EntryId, watch: WatchId) {
        if self.by_dir.get(&dir) != Some(&watch.wd) {
            return;
        }
        if let Some(slot) = self.by_wd.get_mut(&watch.wd).filter(|slot| slot.epoch == watch.epoch) {
            slot.compared = true;
        }
    }

    /// The coldest watched directory, if it is colder than `heat` by more than the hysteresis.
    pub(super) fn coldest(&mut self, heat: Heat) -> Option<EntryId> {
        let Table { by_dir, by_wd, coldest, .. } = self;
        let heat_of = |dir| by_dir.get(&dir).and_then(|wd| by_wd.get(wd)).map(|slot: &Slot| slot.heat);
        let all = || by_dir.keys().filter_map(|dir| Some((heat_of(*dir)?, *dir))).collect();
        coldest.pop(heat.saturating_sub(HYSTERESIS), heat_of, all)
    }

    /// IN_IGNORED came. Returns the directory that is not watched any more.
    pub(super) fn ignored(&mut self, wd: i32) -> Option<EntryId> {
        let slot = self.by_wd.get_mut(&wd)?;
        if slot.earlier > 0 {
            slot.earlier -= 1;
            return None;
        }
        let dir = slot.dir;
        self.by_wd.remove(&wd);
        self.forget(dir, wd);
        Some(dir)
    }

    /// Events were lost: no watch is sure any more until it is added again.
    pub(super) fn overflowed(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Whether the directory surely has a watch.
    pub(super) fn sure(&self, dir: EntryId) -> bool {
        let slot = self.by_dir.get(&dir).and_then(|wd| self.by_wd.get(wd));
        slot.is_some_and(|slot| slot.epoch == self.epoch)
    }

    /// Whether its watch tells of every change since what is in it was looked at.
    pub(super) fn vouches(&self, dir: EntryId) -> bool {
        let slot = self.by_dir.get(&dir).and_then(|wd| self.by_wd.get(wd));
        slot.is_some_and(|slot| slot.epoch == self.epoch && slot.compared)
    }

    /// Whether the directory has a watch, maybe one that went unheard.
    pub(super) fn has(&self, dir: EntryId) -> bool {
        self.by_dir.contains_key(&dir)
    }

    /// Directories watched.
    pub(super) fn len(&self) -> usize {
        self.by_dir.len()
    }

    /// How many watches are leaving.
    pub(super) fn leaving(&self) -> usize {
        self.leaving.len()
    }

    /// The queue ran empty after a read that began when `count` watches were leaving: those are through, with or
    /// without an IN_IGNORED.
    pub(super) fn left(&mut self, count: usize) {
        for wd in self.leaving.drain(..count.min(self.leaving.len())) {
            if self.by_wd.get(&wd).is_some_and(|slot| self.by_dir.get(&slot.dir) != Some(&wd)) {
                self.by_wd.remove(&wd);
            }
        }
    }

    /// Directories whose queued events would be taken for another's, each once.
    pub(super) fn take_ousted(&mut self) -> Vec<EntryId> {
        std::mem::take(&mut self.ousted)
    }

    /// The volumes that have watches here.
    pub(super) fn volumes(&self) -> BTreeSet<VolumeId> {
        self.by_wd.values().map(|slot| slot.dir.volume).collect()
    }

    fn forget(&mut self, dir: EntryId, wd: i32) {
        if self.by_dir.get(&dir) == Some(&wd) {
            self.by_dir.remove(&dir);
        }
    }
}
