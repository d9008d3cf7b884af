//! A tiny file system: few inode numbers, few names and a coarse clock, so that reuse, moves and equal
//! births are common. Tells which names and entries an operation touched, as a kernel would.

use std::collections::{BTreeMap, BTreeSet};

use record::{EntryId, Kind, Place, Stat, Time, VolumeId};

use crate::{Found, GRAIN_NS};

/// The two configured trees, in one volume.
pub(super) const TOPS: [u64; 2] = [1, 2];
const FIRST_FREE: u64 = 3;
const INODES: u64 = 6;

/// One change of the disk. Numbers choose among what there is; what cannot be done does nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Create {
        dir: u8,
        name: u8,
        inode: u8,
        directory: bool,
    },
    Write {
        inode: u8,
    },
    Chmod {
        inode: u8,
    },
    Link {
        inode: u8,
        dir: u8,
        name: u8,
    },
    Remove {
        dir: u8,
        name: u8,
    },
    Rename {
        from: (u8, u8),
        to: (u8, u8),
    },
    Exchange {
        one: (u8, u8),
        other: (u8, u8),
    },
    /// The clock moves on by more than its grain.
    Tick,
}

#[derive(Clone, Debug)]
struct Inode {
    kind: Kind,
    mode: u16,
    size: u64,
    birth: i128,
    modified: i128,
    changed: i128,
    children: BTreeMap<u8, u64>,
}

/// What an operation touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) dirs: BTreeSet<EntryId>,
    pub(super) places: BTreeSet<Place>,
    /// Entries themselves: link counts and change times move with no name to look at.
    pub(super) inodes: BTreeSet<EntryId>,
    /// Directories that were made: whatever is stored in one of that number is to be looked at.
    pub(super) made: BTreeSet<EntryId>,
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    clock: i128,
}

pub(super) fn id(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

/// The name that begins by `name`. Extensions differ, so that a name makes a category.
pub(super) fn place(dir: u64, name: u8) -> Place {
    let whole: &[u8] = match name {
        b'b' => b"b.jpg",
        b'c' => b"c.txt",
        _ => &[name],
    };
    Place::new(id(dir), whole)
}

impl Disk {
    pub(super) fn new() -> Disk {
        let mut disk = Disk { inodes: BTreeMap::new(), clock: 100 * GRAIN_NS };
        for top in TOPS {
            let made = disk.make(true);
            disk.inodes.insert(top, made);
        }
        disk
    }

    pub(super) fn now(&self) -> Time {
        Time(self.clock)
    }

    pub(super) fn live(&self) -> impl Iterator<Item = EntryId> {
        self.inodes.keys().map(|inode| id(*inode))
    }

    pub(super) fn children(&self, dir: EntryId) -> Vec<Place> {
        let node = self.inodes.get(&dir.inode);
        node.into_iter().flat_map(|node| node.children.keys()).map(|name| place(dir.inode, *name)).collect()
    }

    pub(super) fn names_of(&self, of: EntryId) -> BTreeSet<Place> {
        let mut places = BTreeSet::new();
        for (dir, node) in &self.inodes {
            for (name, inode) in &node.children {
                if *inode == of.inode {
                    places.insert(place(*dir, *name));
                }
            }
        }
        places
    }

    pub(super) fn found(&self, of: EntryId) -> Option<Found> {
        let node = self.inodes.get(&of.inode)?;
        let links = match node.kind {
            Kind::Directory => 2 + node.children.values().filter(|child| self.is_directory(**child)).count(),
            _ => self.names_of(of).len(),
        };
        let stat = Stat {
            kind: node.kind,
            mode: node.mode,
            uid: 0,
            gid: 0,
            links: u32::try_from(links).unwrap(),
            size: node.size,
            allocated: node.size.div_ceil(512) * 512,
            modified: Time(node.modified),
            changed: Time(node.changed),
            accessed: Time(self.clock),
            created: Some(Time(node.birth)),
        };
        Some(Found { id: of, stat })
    }

    /// `None` when there is no such directory to look in.
    pub(super) fn look(&self, place: &Place) -> Option<Option<Found>> {
        let node = self.inodes.get(&place.dir.inode).filter(|node| node.kind == Kind::Directory)?;
        Some(node.children.get(&place.name[0]).and_then(|inode| self.found(id(*inode))))
    }

    pub(super) fn is_directory(&self, inode: u64) -> bool {
        self.inodes.get(&inode).is_some_and(|node| node.kind == Kind::Directory)
    }

    pub(super) fn apply(&mut self, op: Op) -> Touched {
        let mut touched = Touched::default();
        match op {
            Op::Create { dir, name, inode, directory } => {
                let (dir, inode) = (self.dir(dir), number(inode));
                if self.inodes.contains_key(&inode) || self.at(dir, name).is_some() {
                    return touched;
                }
                let made = self.make(directory);
                self.inodes.insert(inode, made);
                self.put(dir, name, Some(inode), &mut touched);
                touched.made.extend(directory.then_some(id(inode)));
            }
            Op::Write { inode } => {
                let (inode, clock) = (number(inode), self.clock);
                if let Some(node) = self.inodes.get_mut(&inode).filter(|node| node.kind == Kind::File) {
                    (node.size, node.modified, node.changed) = (node.size + 100, clock, clock);
                    touched.places.extend(self.names_of(id(inode)).pop_last());
                }
            }
            Op::Chmod { inode } => {
                let (inode, clock) = (number(inode), self.clock);
                if let Some(node) = self.inodes.get_mut(&inode) {
                    (node.mode, node.changed) = (node.mode ^ 0o100, clock);
                    touched.places.extend(self.names_of(id(inode)).pop_last());
                }
            }
            Op::Link { inode, dir, name } => {
                let (inode, dir) = (number(inode), self.dir(dir));
                if self.inodes.contains_key(&inode)
                    && !self.is_directory(inode)
                    && self.at(dir, name).is_none()
                {
                    self.put(dir, name, Some(inode), &mut touched);
                    self.change(inode);
                }
            }
            Op::Remove { dir, name } => {
                let dir = self.dir(dir);
                self.remove(dir, name, &mut touched);
            }
            Op::Rename { from, to } => self.rename(from, to, &mut touched),
            Op::Exchange { one, other } => {
                let (one, other) = ((self.dir(one.0), one.1), (self.dir(other.0), other.1));
                let (Some(here), Some(there)) = (self.at(one.0, one.1), self.at(other.0, other.1)) else {
                    return touched;
                };
                if here == there || self.is_below(other.0, here) || self.is_below(one.0, there) {
                    return touched;
                }
                self.put(one.0, one.1, Some(there), &mut touched);
                self.put(other.0, other.1, Some(here), &mut touched);
                self.change(here);
                self.change(there);
            }
            Op::Tick => self.clock += 3 * GRAIN_NS,
        }
        touched
    }

    fn rename(&mut self, from: (u8, u8), to: (u8, u8), touched: &mut Touched) {
        let (from, to) = ((self.dir(from.0), from.1), (self.dir(to.0), to.1));
        let Some(inode) = self.at(from.0, from.1) else { return };
        if self.is_below(to.0, inode) {
            return;
        }
        if let Some(victim) = self.at(to.0, to.1) {
            let empty = self.inodes[&victim].children.is_empty();
            if victim == inode || self.is_directory(victim) != self.is_directory(inode) || !empty {
                return;
            }
            self.remove(to.0, to.1, touched);
        }
        self.put(from.0, from.1, None, touched);
        self.put(to.0, to.1, Some(inode), touched);
        self.change(inode);
    }

    fn remove(&mut self, dir: u64, name: u8, touched: &mut Touched) {
        let Some(inode) = self.at(dir, name) else { return };
        for name in self.inodes[&inode].children.keys().copied().collect::<Vec<_>>() {
            self.remove(inode, name, touched);
        }
        self.put(dir, name, None, touched);
        if self.names_of(id(inode)).is_empty() {
            self.inodes.remove(&inode);
        } else {
            self.change(inode);
        }
    }

    fn put(&mut self, dir: u64, name: u8, inode: Option<u64>, touched: &mut Touched) {
        let clock = self.clock;
        let node = self.inodes.get_mut(&dir).unwrap();
        let before = match inode {
            Some(inode) => node.children.insert(name, inode),
            None => node.children.remove(&name),
        };
        (node.modified, node.changed) = (clock, clock);
        touched.inodes.extend(before.into_iter().chain(inode).map(id));
        touched.dirs.insert(id(dir));
        touched.places.insert(place(dir, name));
    }

    fn change(&mut self, inode: u64) {
        let clock = self.clock;
        self.inodes.get_mut(&inode).unwrap().changed = clock;
    }

    fn make(&mut self, directory: bool) -> Inode {
        Inode {
            kind: if directory { Kind::Directory } else { Kind::File },
            mode: 0o644,
            size: if directory { 4096 } else { 10 },
            birth: self.clock,
            modified: self.clock,
            changed: self.clock,
            children: BTreeMap::new(),
        }
    }

    /// A live directory.
    fn dir(&self, choice: u8) -> u64 {
        let dirs: Vec<u64> = self.inodes.keys().copied().filter(|inode| self.is_directory(*inode)).collect();
        dirs[usize::from(choice) % dirs.len()]
    }

    fn at(&self, dir: u64, name: u8) -> Option<u64> {
        self.inodes[&dir].children.get(&name).copied()
    }

    fn is_below(&self, dir: u64, inode: u64) -> bool {
        let mut at = dir;
        loop {
            if at == inode {
                return true;
            }
            match self.names_of(id(at)).first() {
                Some(place) => at = place.dir.inode,
                None => return false,
            }
        }
    }
}

fn number(inode: u8) -> u64 {
    FIRST_FREE + u64::from(inode) % INODES
}
