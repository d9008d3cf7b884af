//! The simulated disk: inodes, names, links, times, one clock. Few inode numbers, used again at once, and few
//! names. Tells the queue what a kernel would tell. Knows no index and no engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use record::{Kind, Stat, Time};
use watch::Flags;

use super::contents::Contents;
use super::queue::{Event, Queue};
use super::rng::Rng;

/// Which object, of all that ever were: numbers are used again, keys are not.
pub(super) type Key = usize;

/// Lines that a life prints at most.
const MOST_LINES: usize = 200_000;

/// How a disk is made, by the seed.
#[derive(Clone, Debug)]
pub(super) struct Making {
    /// Tick of the clock that stamps inodes, in nanoseconds; 1: none.
    pub(super) tick: i128,
    /// Inodes have births.
    pub(super) births: bool,
    /// Numbers are 2 to this.
    pub(super) numbers: u64,
    /// A free number is taken at random instead of the least.
    pub(super) scattered: bool,
    /// Directories have a link for each directory in them.
    pub(super) counts_subdirectories: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) size: u64,
    /// Which content it has in it.
    pub(super) content: u64,
    pub(super) birth: i128,
    pub(super) modified: i128,
    pub(super) changed: i128,
    pub(super) children: BTreeMap<Vec<u8>, Key>,
    pub(super) names: u32,
    /// The directory it is in; for directories.
    pub(super) parent: Option<Key>,
}

/// A file that a writer has open, and the name it was opened by.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) object: Key,
    pub(super) dir: Key,
    pub(super) name: Vec<u8>,
    /// It was opened without a name.
    pub(super) unnamed: bool,
    /// The name went while it was open.
    pub(super) gone: bool,
    /// It is written by a map.
    pub(super) mapped: bool,
    /// It has written by it.
    pub(super) dirty: bool,
}

impl Open {
    pub(super) fn by_name(object: Key, dir: Key, name: Vec<u8>) -> Open {
        Open { object, dir, name, unnamed: false, gone: false, mapped: false, dirty: false }
    }
}

pub(super) struct Model {
    pub(super) making: Making,
    pub(super) objects: Vec<Option<Object>>,
    pub(super) top: Key,
    /// Directories whose names stay: roots.
    pub(super) fixed: BTreeSet<Key>,
    pub(super) opens: Vec<Open>,
    pub(super) now: i128,
    pub(super) queue: Queue,
    /// Objects that a descriptor of the engine holds: their numbers are not free.
    pub(super) held: BTreeSet<Key>,
    /// Directories that cannot be read for now.
    pub(super) bad: BTreeSet<Key>,
    /// Directories whose rights were taken, and what these were.
    pub(super) locked: BTreeMap<Key, u16>,
    /// So many calls may fail.
    pub(super) flaky: u64,
    /// Whether the next openings of roots fail; those after them do not.
    pub(super) failing: VecDeque<bool>,
    /// Names that were taken away since the index was last known to be exact.
    pub(super) taken: BTreeSet<(Key, Vec<u8>)>,
    /// What is in the files, where that counts.
    pub(super) contents: Option<Contents>,
    pub(super) log: Option<Vec<String>>,
}

impl Model {
    pub(super) fn new(making: Making, queue: Queue) -> Model {
        let mut model = Model {
            making,
            objects: Vec::new(),
            top: 0,
            fixed: BTreeSet::from([0]),
            opens: Vec::new(),
            now: 1_700_000_000_000_000_000,
            queue,
            held: BTreeSet::new(),
            bad: BTreeSet::new(),
            locked: BTreeMap::new(),
            flaky: 0,
            failing: VecDeque::new(),
            taken: BTreeSet::new(),
            contents: None,
            log: None,
        };
        model.top = model.object(Kind::Directory, 2);
        model.objects[0].as_mut().unwrap().names = 1;
        model
    }

    pub(super) fn get(&self, key: Key) -> &Object {
        self.objects[key].as_ref().unwrap()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> &mut Object {
        self.objects[key].as_mut().unwrap()
    }

    /// Whether it has a name, or is the top.
    pub(super) fn is_named(&self, key: Key) -> bool {
        self.objects[key].as_ref().is_some_and(|object| object.names > 0)
    }

    pub(super) fn is_directory(&self, key: Key) -> bool {
        self.get(key).kind == Kind::Directory
    }

    pub(super) fn child(&self, dir: Key, name: &[u8]) -> Option<Key> {
        if !self.is_named(dir) {
            return None;
        }
        self.get(dir).children.get(name).copied()
    }

    /// Directories that can be worked in, the top first.
    pub(super) fn directories(&self) -> Vec<Key> {
        (0..self.objects.len()).filter(|key| self.is_named(*key) && self.is_directory(*key)).collect()
    }

    /// Every name there is.
    pub(super) fn names(&self) -> Vec<(Key, Vec<u8>)> {
        let children = |dir: Key| self.get(dir).children.keys().map(move |name| (dir, name.clone()));
        self.directories().into_iter().flat_map(children).collect()
    }

    pub(super) fn stat(&self, key: Key) -> Stat {
        let object = self.get(key);
        let directory = object.kind == Kind::Directory;
        let links = if directory {
            let inside = object.children.values().filter(|child| self.is_directory(**child)).count();
            match (self.making.counts_subdirectories, object.names) {
                (_, 0) => 0,
                (true, _) => 2 + u32::try_from(inside).unwrap(),
                (false, _) => 1,
            }
        } else {
            object.names
        };
        Stat {
            kind: object.kind,
            mode: object.mode,
            uid: 0,
            gid: 0,
            links,
            size: object.size,
            allocated: object.size.div_ceil(4096) * 4096,
            modified: Time(object.modified),
            changed: Time(object.changed),
            accessed: Time(self.now),
            created: self.making.births.then_some(Time(object.birth)),
        }
    }

    /// The time that is stamped on inodes now.
    pub(super) fn stamp(&self) -> i128 {
        self.now - self.now.rem_euclid(self.making.tick)
    }

    /// Whether `dir` is `other` or lies below it.
    pub(super) fn is_below(&self, dir: Key, other: Key) -> bool {
        let mut at = Some(dir);
        while let Some(key) = at {
            if key == other {
                return true;
            }
            at = self.get(key).parent;
        }
        false
    }

    pub(super) fn note(&mut self, line: impl FnOnce(&Model) -> String) {
        if let Some(mut log) = self.log.take() {
            log.push(line(self));
            let length = log.len();
            self.log = Some(log);
            assert!(length != MOST_LINES, "a life that does not end");
        }
    }

    fn object(&mut self, kind: Kind, number: u64) -> Key {
        let stamp = self.stamp();
        let directory = kind == Kind::Directory;
        self.objects.push(Some(Object {
            number,
            kind,
            mode: if directory { 0o755 } else { 0o644 },
            size: if directory { 4096 } else { 0 },
            content: 0,
            birth: stamp,
            modified: stamp,
            changed: stamp,
            children: BTreeMap::new(),
            names: 0,
            parent: None,
        }));
        self.objects.len() - 1
    }

    /// A new object without a name, if there is a number for it.
    pub(super) fn make(&mut self, kind: Kind, rng: &mut Rng) -> Option<Key> {
        self.free();
        let used: BTreeSet<u64> = self.objects.iter().flatten().map(|object| object.number).collect();
        let free: Vec<u64> = (3..3 + self.making.numbers).filter(|number| !used.contains(number)).collect();
        let number =
            if self.making.scattered && !free.is_empty() { rng.pick(&free) } else { *free.first()? };
        Some(self.object(kind, number))
    }

    /// Gives back the numbers of what has no name and that nobody holds.
    fn free(&mut self) {
        for key in 0..self.objects.len() {
            let open = self.held.contains(&key)
                || self.opens.iter().any(|open| open.object == key || open.dir == key);
            if self.objects[key].as_ref().is_some_and(|object| object.names == 0) && !open {
                self.objects[key] = None;
            }
        }
    }

    /// The directory's names moved.
    pub(super) fn touch_directory(&mut self, dir: Key) {
        let stamp = self.stamp();
        let object = self.get_mut(dir);
        (object.modified, object.changed) = (stamp, stamp);
    }

    pub(super) fn change(&mut self, key: Key) {
        let stamp = self.stamp();
        self.get_mut(key).changed = stamp;
    }

    /// Gives an object a name.
    pub(super) fn name(&mut self, dir: Key, name: &[u8], key: Key) {
        self.get_mut(dir).children.insert(name.to_vec(), key);
        let object = self.get_mut(key);
        object.names += 1;
        if object.kind == Kind::Directory {
            object.parent = Some(dir);
        }
        self.touch_directory(dir);
    }

    /// Takes a name away; what is open by it stays known by it.
    pub(super) fn unname(&mut self, dir: Key, name: &[u8]) -> Key {
        let key = self.get_mut(dir).children.remove(name).unwrap();
        self.taken.insert((dir, name.to_vec()));
        self.get_mut(key).names -= 1;
        if self.is_directory(key) {
            self.get_mut(key).parent = None;
        }
        self.touch_directory(dir);
        key
    }

    /// What is told of a name: its directory and the object in it.
    pub(super) fn named(&mut self, dir: Key, name: &[u8], object: Key, flags: Flags, made: bool, gone: bool) {
        let event = Event::Name {
            dir: (dir, self.get(dir).number),
            name: name.to_vec(),
            object: (object, self.get(object).number),
            flags,
            made,
            gone,
            unnamed: false,
        };
        self.queue.push(event);
    }
}
