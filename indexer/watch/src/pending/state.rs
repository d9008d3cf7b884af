//! How pending hints coalesce and grow coarse when there is no room. Sees no lock and no clock.

mod room;

use super::Stats;
use super::names::Names;
use super::told::Told;
use crate::{Batch, DirHints, Flags, Handle, Hint, ListingHint, What};
use record::{EntryId, How, Name, VolumeId};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// The maps of what is pending, and the order in which it came.
///
/// Every item is in one map and has a live place in `order`: the one with its number. Places whose item is gone
/// stay until they are reached or outnumber the live ones.
#[derive(Debug)]
pub(super) struct State {
    capacity: usize,
    directories: FxHashMap<EntryId, Directory>,
    inodes: FxHashMap<EntryId, Item>,
    listings: FxHashMap<EntryId, Item>,
    subtrees: FxHashMap<EntryId, Item>,
    lost: BTreeMap<VolumeId, (String, Instant)>,
    order: VecDeque<Arrival>,
    next: u64,
    /// Names in all of `directories`.
    names: usize,
    pub(super) called: bool,
    /// Somebody waits for room.
    pub(super) crowded: bool,
    pub(super) stats: Stats,
}

#[derive(Debug)]
struct Directory {
    number: u64,
    told: Told,
    how: How,
    names: Names,
}

#[derive(Debug)]
struct Item {
    number: u64,
    told: Told,
    flags: Flags,
    how: How,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    number: u64,
    at: Instant,
    kind: Kind,
    id: EntryId,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Directory,
    Inode,
    Listing,
    Subtree,
}

impl State {
    pub(super) fn new(capacity: usize) -> State {
        State {
            capacity,
            directories: FxHashMap::default(),
            inodes: FxHashMap::default(),
            listings: FxHashMap::default(),
            subtrees: FxHashMap::default(),
            lost: BTreeMap::new(),
            order: VecDeque::new(),
            next: 0,
            names: 0,
            called: false,
            crowded: false,
            stats: Stats::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items() == 0 && self.lost.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items() + self.lost.len()
    }

    /// Whether it is at most half full.
    pub(super) fn has_room(&self) -> bool {
        self.items() <= self.capacity / 2
    }

    /// What the capacity bounds. Lost volumes are as many as there are volumes.
    fn items(&self) -> usize {
        self.names + self.inodes.len() + self.listings.len() + self.subtrees.len()
    }

    pub(super) fn mentions(&self, id: EntryId) -> bool {
        self.lost.contains_key(&id.volume)
            || self.directories.contains_key(&id)
            || self.inodes.contains_key(&id)
            || self.listings.contains_key(&id)
            || !self.subtrees.is_empty()
    }

    pub(super) fn add(&mut self, hint: Hint, now: Instant) {
        self.stats.received += 1;
        if !self.insert(hint, now) {
            self.stats.coalesced += 1;
        }
    }

    pub(super) fn put_back(&mut self, batch: Batch, now: Instant) {
        for (volume, why) in batch.lost {
            self.lose(volume, why, now);
        }
        let mut put = |volume, what, flags, handle, how| {
            self.insert(Hint { volume, what, flags, handle, how }, now);
        };
        for (id, how) in batch.subtrees {
            put(id.volume, What::Subtree(id.inode), Flags::NONE, None, how);
        }
        for listing in batch.listings {
            put(listing.volume, What::Listing(listing.inode), Flags::NONE, listing.handle, listing.how);
        }
        for dir in batch.directories {
            for (name, flags) in dir.names {
                let what = What::Entry { dir: dir.inode, name };
                put(dir.volume, what, flags, dir.handle.clone(), dir.how);
            }
        }
        for (id, flags, how) in batch.inodes {
            put(id.volume, What::Inode(id.inode), flags, None, how);
        }
    }

    /// Whether the hint told something new.
    fn insert(&mut self, hint: Hint, now: Instant) -> bool {
        let Hint { volume, what, flags, handle, how } = hint;
        if self.lost.contains_key(&volume) {
            return false;
        }
        match what {
            What::Entry { dir, name } => self.name(EntryId::new(volume, dir), name, flags, handle, how, now),
            What::Inode(inode) => self.item(Kind::Inode, EntryId::new(volume, inode), flags, None, how, now),
            What::Listing(dir) => {
                self.item(Kind::Listing, EntryId::new(volume, dir), flags, handle, how, now)
            }
            What::Subtree(dir) => self.item(Kind::Subtree, EntryId::new(volume, dir), flags, None, how, now),
            What::Lost { why } => {
                self.lose(volume, why, now);
                true
            }
        }
    }

    fn name(
        &mut self,
        id: EntryId,
        name: Name,
        flags: Flags,
        handle: Option<Handle>,
        how: How,
        now: Instant,
    ) -> bool {
        if self.subtrees.contains_key(&id) {
            return false;
        }
        if let Some(listing) = self.listings.get_mut(&id) {
            listing.how = how;
            listing.told.add(handle);
            return false;
        }
        let full = self.items() >= self.capacity;
        if let Some(dir) = self.directories.get_mut(&id) {
            dir.how = how;
            dir.told.add(handle);
            if let Some(known) = dir.names.get_mut(&name) {
                *known |= flags;
                return false;
            }
            if full {
                self.stats.overflows += 1;
                self.coarsen(id, now);
                return true;
            }
            dir.names.insert(name, flags);
            self.names += 1;
            return true;
        }
        if full && !self.make_room(id.volume, now) {
            return true;
        }
        let number = self.arrive(Kind::Directory, id, now);
        let names = Names::One(name, flags);
        self.directories.insert(id, Directory { number, told: handle.into(), how, names });
        self.names += 1;
        true
    }

    fn item(
        &mut self,
        kind: Kind,
        id: EntryId,
        flags: Flags,
        handle: Option<Handle>,
        how: How,
        now: Instant,
    ) -> bool {
        if matches!(kind, Kind::Listing) && self.subtrees.contains_key(&id) {
            return false;
        }
        if let Some(known) = self.items_of(kind).and_then(|items| items.get_mut(&id)) {
            known.flags |= flags;
            known.how = how;
            known.told.add(handle);
            return false;
        }
        // What a listing or subtree covers goes first: it makes the room.
        let mut told = Told::from(handle);
        if matches!(kind, Kind::Listing | Kind::Subtree)
            && let Some(dir) = self.directories.remove(&id)
        {
            self.names -= dir.names.len();
            told.join(dir.told);
        }
        if matches!(kind, Kind::Subtree) {
            self.listings.remove(&id);
        }
        if self.items() >= self.capacity && !self.make_room(id.volume, now) {
            return true;
        }
        let number = self.arrive(kind, id, now);
        if let Some(items) = self.items_of(kind) {
            items.insert(id, Item { number, told, flags, how });
        }
        true
    }

    fn items_of(&mut self, kind: Kind) -> Option<&mut FxHashMap<EntryId, Item>> {
        match kind {
            Kind::Directory => None,
            Kind::Inode => Some(&mut self.inodes),
            Kind::Listing => Some(&mut self.listings),
            Kind::Subtree => Some(&mut self.subtrees),
        }
    }

    /// A number for what came now, and its place in the order.
    fn arrive(&mut self, kind: Kind, id: EntryId, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        let live = self.directories.len() + self.inodes.len() + self.listings.len() + self.subtrees.len();
        if self.order.len() > 64 + 2 * live {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|arrival| self.is_live(arrival));
            self.order = order;
        }
        self.order.push_back(Arrival { number, at: now, kind, id });
        number
    }

    fn is_live(&self, arrival: &Arrival) -> bool {
        let number = match arrival.kind {
            Kind::Directory => self.directories.get(&arrival.id).map(|dir| dir.number),
            Kind::Inode => self.inodes.get(&arrival.id).map(|item| item.number),
            Kind::Listing => self.listings.get(&arrival.id).map(|item| item.number),
            Kind::Subtree => self.subtrees.get(&arrival.id).map(|item| item.number),
        };
        number == Some(arrival.number)
    }

    pub(super) fn take(&mut self, max: usize) -> Batch {
        let mut batch = Batch::default();
        batch.lost.extend(std::mem::take(&mut self.lost).into_iter().map(|(volume, (why, _))| (volume, why)));
        let mut out = 0;
        while out < max
            && let Some(arrival) = self.order.pop_front()
        {
            if !self.is_live(&arrival) {
                continue;
            }
            let EntryId { volume, inode } = arrival.id;
            out += 1;
            match arrival.kind {
                Kind::Directory => {
                    if let Some(dir) = self.directories.remove(&arrival.id) {
                        let Directory { told, how, names, .. } = dir;
                        self.names -= names.len();
                        out += names.len() - 1;
                        let names = names.into_sorted();
                        let handle = told.handle();
                        batch.directories.push(DirHints { volume, inode, handle, names, how });
                    }
                }
                Kind::Inode => {
                    if let Some(item) = self.inodes.remove(&arrival.id) {
                        batch.inodes.push((arrival.id, item.flags, item.how));
                    }
                }
                Kind::Listing => {
                    if let Some(Item { told, how, .. }) = self.listings.remove(&arrival.id) {
                        let handle = told.handle();
                        batch.listings.push(ListingHint { volume, inode, handle, how });
                    }
                }
                Kind::Subtree => {
                    if let Some(item) = self.subtrees.remove(&arrival.id) {
                        batch.subtrees.push((arrival.id, item.how));
                    }
                }
            }
        }
        batch
    }

    pub(super) fn oldest(&mut self) -> Option<Instant> {
        while let Some(front) = self.order.front()
            && !self.is_live(front)
        {
            self.order.pop_front();
        }
        let front = self.order.front().map(|arrival| arrival.at);
        let lost = self.lost.values().map(|(_, at)| *at).min();
        front.into_iter().chain(lost).min()
    }
}
