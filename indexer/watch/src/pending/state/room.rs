//! What gives way when there is no room: names become listings, listings a lost volume. Forgets nothing.

use super::{Item, Kind, State};
use crate::Flags;
use record::{EntryId, VolumeId};
use rustc_hash::FxHashMap;
use std::time::Instant;

impl State {
    /// Turns a directory's names into one listing.
    pub(super) fn coarsen(&mut self, id: EntryId, now: Instant) {
        if let Some(dir) = self.directories.remove(&id) {
            self.names -= dir.names.len();
            let number = self.arrive(Kind::Listing, id, now);
            let item = Item { number, told: dir.told, flags: Flags::NONE, how: dir.how };
            self.listings.insert(id, item);
        }
    }

    /// Remembers more coarsely until one more item fits. False when `volume` itself was lost over it.
    pub(super) fn make_room(&mut self, volume: VolumeId, now: Instant) -> bool {
        self.stats.overflows += 1;
        let several: Vec<EntryId> =
            self.directories.iter().filter(|(_, dir)| dir.names.len() > 1).map(|(id, _)| *id).collect();
        for id in several {
            self.coarsen(id, now);
        }
        // Below this the pass above would run again too soon to be worth its cost.
        let enough = self.capacity - (self.capacity / 8).max(1);
        while self.items() > enough {
            let Some(largest) = self.largest_volume() else { break };
            self.lose(largest, "too many changes are waiting to be looked at".to_owned(), now);
        }
        !self.lost.contains_key(&volume)
    }

    fn largest_volume(&self) -> Option<VolumeId> {
        let mut counts: FxHashMap<VolumeId, usize> = FxHashMap::default();
        for (id, dir) in &self.directories {
            *counts.entry(id.volume).or_default() += dir.names.len();
        }
        for id in self.inodes.keys().chain(self.listings.keys()).chain(self.subtrees.keys()) {
            *counts.entry(id.volume).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(volume, count)| (*count, *volume)).map(|(volume, _)| volume)
    }

    /// The whole volume is to be looked at, so that nothing else about it needs remembering.
    pub(super) fn lose(&mut self, volume: VolumeId, why: String, now: Instant) {
        self.lost.entry(volume).or_insert((why, now));
        self.directories.retain(|id, dir| {
            let keep = id.volume != volume;
            if !keep {
                self.names -= dir.names.len();
            }
            keep
        });
        for items in [&mut self.inodes, &mut self.listings, &mut self.subtrees] {
            items.retain(|id, _| id.volume != volume);
        }
    }
}
