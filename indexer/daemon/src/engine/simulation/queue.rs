//! The simulated kernel queue: events as fanotify or inotify would tell them, merged, read late, reordered and
//! doubled, and lost with or without a word. The hints it makes follow the tables of the real translators.

use std::collections::{BTreeMap, VecDeque};

use record::{EntryId, How, VolumeId};
use watch::{Flags, Handle, Hint, What};

use super::model::Key;
use super::rng::Rng;

/// An object, and its number when the event was made.
pub(super) type Numbered = (Key, u64);

/// What a kernel tells of one change.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Of a name in a directory.
    Name {
        dir: Numbered,
        name: Vec<u8>,
        object: Numbered,
        flags: Flags,
        made: bool,
        gone: bool,
        /// Opened without a name: the name told is `#number`.
        unnamed: bool,
    },
    /// A rename, both halves.
    Rename { from: (Numbered, Vec<u8>), to: (Numbered, Vec<u8>), object: Numbered },
    /// Of an object by itself: its link count moved.
    Links(Numbered),
    /// A directory ended, and the watch on it.
    Ended(Numbered),
    /// A directory's own metadata, told to the watch on it.
    Itself(Numbered),
}

/// How the queue behaves, by the seed.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) how: How,
    /// Events of one object and name are merged with queued ones, as fanotify does.
    pub(super) merges: bool,
    /// The number of a directory is looked up when the event is read, and may be gone by then.
    pub(super) resolves: bool,
    /// Hints of one read come out in any order.
    pub(super) shuffles: bool,
    /// Percent of hints that come twice.
    pub(super) doubles: u64,
    /// Events that fit.
    pub(super) capacity: usize,
}

enum Item {
    Event(Event),
    Hints(Vec<Hint>),
}

pub(super) struct Queue {
    pub(super) manners: Manners,
    items: VecDeque<Item>,
    /// inotify: watched directories.
    watches: BTreeMap<Key, EntryId>,
    /// fanotify: the volume, once it is marked.
    volume: Option<VolumeId>,
    overflowed: bool,
    /// Something was lost, told or not: names may have come and gone that nobody knows of.
    pub(super) doubt: bool,
    /// Hints were lost without a word since the last sweep of everything.
    pub(super) lied: bool,
    pub(super) overflows: u64,
    /// How often events were lost, by an overflow or since nobody listened.
    pub(super) losses: u64,
    /// What comes after an overflow is lost too, until that is told.
    pub(super) strict: bool,
}

impl Queue {
    pub(super) fn new(manners: Manners) -> Queue {
        Queue {
            manners,
            items: VecDeque::new(),
            watches: BTreeMap::new(),
            volume: None,
            overflowed: false,
            doubt: false,
            lied: false,
            overflows: 0,
            losses: 0,
            strict: false,
        }
    }

    /// Nobody listens any more: the daemon ended.
    pub(super) fn close(&mut self) {
        let (losses, strict) = (self.losses + 1, self.strict);
        *self = Queue { losses, strict, ..Queue::new(self.manners.clone()) };
    }

    pub(super) fn arm(&mut self, key: Key, dir: EntryId) {
        self.volume = Some(dir.volume);
        self.watches.insert(key, dir);
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.volume.is_none() {
            return;
        }
        if self.items.len() >= self.manners.capacity || (self.strict && self.overflowed) {
            self.overflow();
            return;
        }
        if self.manners.how == How::Inotify {
            let hints = self.inotify(&event);
            if let Event::Ended((key, _)) = event {
                self.watches.remove(&key);
            }
            if !hints.is_empty() {
                self.items.push_back(Item::Hints(hints));
            }
        } else if !matches!(event, Event::Ended(_) | Event::Itself(_)) && !self.merge(&event) {
            self.items.push_back(Item::Event(event));
        }
    }

    pub(super) fn watches(&self, dir: EntryId) -> bool {
        !self.overflowed
            && match self.manners.how {
                How::Inotify => self.watches.values().any(|watched| *watched == dir),
                _ => self.volume == Some(dir.volume),
            }
    }

    /// Whether the word that somebody wrote to this inode, or had it open to write, has not been read.
    pub(super) fn tells_of_a_write(&self, number: u64) -> bool {
        self.items.iter().any(|item| match item {
            Item::Event(Event::Name { object: (_, inode), flags, .. }) => {
                *inode == number && flags.any(Flags::WRITTEN | Flags::CLOSED)
            }
            _ => false,
        })
    }

    /// What is queued is lost, and that is told.
    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
        self.doubt = true;
        self.overflows += 1;
        self.losses += 1;
    }

    /// What is queued is lost, and nobody is told.
    pub(super) fn lose(&mut self, rng: &mut Rng) {
        let before = self.items.len();
        self.items.retain(|_| rng.chance(50));
        self.lied |= self.items.len() < before;
        self.doubt |= self.lied;
    }

    /// Hints of the first `count` events. `alive` tells whether an object is there still.
    pub(super) fn read(&mut self, count: usize, rng: &mut Rng, alive: impl Fn(Key) -> bool) -> Vec<Hint> {
        let mut hints = Vec::new();
        for item in self.items.drain(..count.min(self.items.len())) {
            match item {
                Item::Hints(more) => hints.extend(more),
                Item::Event(event) => {
                    let volume = self.volume.unwrap_or(VolumeId(0));
                    fanotify(&event, volume, self.manners.resolves, &alive, &mut hints);
                }
            }
        }
        for at in 0..hints.len() {
            if rng.chance(self.manners.doubles) {
                hints.push(hints[at].clone());
            }
        }
        if self.manners.shuffles {
            for at in (1..hints.len()).rev() {
                hints.swap(at, rng.index(at + 1));
            }
        }
        if self.items.is_empty() && std::mem::take(&mut self.overflowed) {
            let volume = self.volume.unwrap_or(VolumeId(0));
            let what = What::Lost { why: "the simulated queue overflowed".to_owned() };
            hints.push(Hint { volume, what, flags: Flags::NONE, handle: None, how: self.manners.how });
        }
        hints
    }

    fn merge(&mut self, event: &Event) -> bool {
        let Event::Name { dir, name, object, flags, made, gone, unnamed, .. } = event else { return false };
        if !self.manners.merges {
            return false;
        }
        for item in self.items.iter_mut().rev().take(128) {
            let Item::Event(Event::Name {
                dir: dir_then,
                name: name_then,
                object: object_then,
                flags: flags_then,
                made: made_then,
                gone: gone_then,
                unnamed: unnamed_then,
                ..
            }) = item
            else {
                continue;
            };
            if (&*dir_then, &*name_then, &*object_then, *unnamed_then) == (dir, name, object, *unnamed) {
                *flags_then |= *flags;
                *made_then |= made;
                *gone_then |= gone;
                return true;
            }
        }
        false
    }

    fn inotify(&self, event: &Event) -> Vec<Hint> {
        let hint = |dir: EntryId, what, flags| Hint {
            volume: dir.volume,
            what,
            flags,
            handle: None,
            how: How::Inotify,
        };
        let entry = |dir: EntryId, name: &[u8], flags| {
            hint(dir, What::Entry { dir: dir.inode, name: name.into() }, flags)
        };
        let itself = |dir: EntryId| hint(dir, What::Inode(dir.inode), Flags::META);
        let watched = |key: &Key| self.watches.get(key).copied();
        let mut hints = Vec::new();
        match event {
            Event::Name { dir, name, flags, unnamed, object, .. } => {
                let name = if *unnamed { format!("#{}", object.1).into_bytes() } else { name.clone() };
                hints.extend(watched(&dir.0).map(|dir| entry(dir, &name, *flags)));
            }
            Event::Rename { from, to, object } => {
                let both = watched(&from.0.0).is_some() && watched(&to.0.0).is_some();
                let flags = if both { Flags::NAMED | Flags::MOVED } else { Flags::NAMED };
                hints.extend(watched(&from.0.0).map(|dir| entry(dir, &from.1, flags)));
                hints.extend(watched(&to.0.0).map(|dir| entry(dir, &to.1, flags)));
                hints.extend(watched(&object.0).map(itself));
            }
            Event::Links(_) => {}
            Event::Ended(object) | Event::Itself(object) => hints.extend(watched(&object.0).map(itself)),
        }
        hints
    }
}

/// As `watch::fanotify` translates.
fn fanotify(
    event: &Event,
    volume: VolumeId,
    resolves: bool,
    alive: &impl Fn(Key) -> bool,
    hints: &mut Vec<Hint>,
) {
    let known = |at: &Numbered| !resolves || alive(at.0);
    let entry = |dir: &Numbered, name: &[u8], flags| Hint {
        volume,
        what: What::Entry { dir: dir.1, name: name.into() },
        flags,
        handle: Some(Handle::new(1, &dir.0.to_ne_bytes())),
        how: How::Fanotify,
    };
    let inode = |object: &Numbered, flags| Hint {
        volume,
        what: What::Inode(object.1),
        flags,
        handle: None,
        how: How::Fanotify,
    };
    match event {
        Event::Name { dir, name, object, flags, made, gone, unnamed, .. } => {
            if !known(dir) {
                if known(object) {
                    hints.push(inode(object, flags.without(Flags::NAMED)));
                }
                return;
            }
            if name == b"." {
                hints.push(inode(dir, *flags));
                return;
            }
            if *made || *gone || !unnamed {
                hints.push(entry(dir, name, *flags));
            }
            let touched = flags.any(Flags::WRITTEN | Flags::CLOSED | Flags::META);
            if (*unnamed || (touched && (*gone || !made))) && known(object) {
                hints.push(inode(object, flags.without(Flags::NAMED)));
            }
        }
        Event::Rename { from, to, object } => {
            let flags = Flags::NAMED | Flags::MOVED;
            for (dir, name) in [from, to] {
                if known(dir) {
                    hints.push(entry(dir, name, flags));
                }
            }
            if known(object) {
                hints.push(inode(object, flags));
            }
        }
        Event::Links(object) if known(object) => hints.push(inode(object, Flags::META)),
        _ => {}
    }
}
