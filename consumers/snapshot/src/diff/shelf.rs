//! Names that wait for the end, packed: directories once each, and of a row what is told of it. Knows not what for.

use std::collections::HashMap;

use record::{Digest, Kind};

use super::{Key, State};
use crate::read::{Line, NodeId};

/// No other row.
pub(super) const NOBODY: u32 = u32::MAX;
/// Bytes of names that may wait: offsets have 32 bits.
const NAMES: usize = 1 << 30;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Of the directories of its shelf.
    pub(super) parent: u32,
    name: (u32, u32),
    /// The row of the other shelf at the same path.
    pub(super) twin: u32,
    /// The volume that both sides know the entry by; it may have none.
    known_volume: Option<u32>,
    volume: u32,
    inode: u64,
    size: u64,
    allocated: u64,
    modified: i64,
    created: i64,
    uid: u32,
    gid: u32,
    links: u32,
    mode: u16,
    pub(super) kind: Kind,
}

impl Held {
    /// The entry, if both sides can know it.
    pub(super) fn key(&self) -> Option<Key> {
        self.known_volume.map(|volume| (volume, self.inode))
    }
}

/// Names that one side has alone, in the order of their paths.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) rows: Vec<Held>,
    names: String,
    dirs: Vec<Box<str>>,
    by_path: HashMap<Box<str>, u32>,
    raws: HashMap<usize, Box<[u8]>>,
    digests: HashMap<usize, Digest>,
}

impl Shelf {
    pub(super) fn is_full(&self) -> bool {
        self.names.len() >= NAMES
    }

    pub(super) fn put(&mut self, line: &Line<'_>, key: Option<Key>) -> usize {
        let (parent, name) = split(line.path);
        let parent = match self.rows.last().map(|row| row.parent) {
            // Most rows follow on one of the same directory.
            Some(last) if *self.dirs[last as usize] == *parent => last,
            _ => self.dir(parent),
        };
        let at = self.rows.len();
        let begin = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push_str(name);
        if let Some(raw) = line.raw {
            self.raws.insert(at, raw.into());
        } else {
            self.raws.remove(&at);
        }
        match line.digest {
            Some(digest) => self.digests.insert(at, digest),
            None => self.digests.remove(&at),
        };
        self.rows.push(Held {
            parent,
            name: (begin, u32::try_from(name.len()).unwrap_or(u32::MAX)),
            twin: NOBODY,
            known_volume: key.map(|(volume, _)| volume),
            volume: line.id.and_then(|id| id.volume).unwrap_or(u32::MAX),
            inode: line.id.map_or(0, |id| id.inode),
            size: line.size,
            allocated: line.allocated.unwrap_or(u64::MAX),
            modified: line.modified.unwrap_or(i64::MIN),
            created: line.created.unwrap_or(i64::MIN),
            uid: line.uid.unwrap_or(u32::MAX),
            gid: line.gid.unwrap_or(u32::MAX),
            links: line.links.unwrap_or(0),
            mode: line.mode.unwrap_or(u16::MAX),
            kind: line.kind,
        });
        at
    }

    fn dir(&mut self, path: &str) -> u32 {
        if let Some(known) = self.by_path.get(path) {
            return *known;
        }
        let number = u32::try_from(self.dirs.len()).unwrap_or(u32::MAX);
        self.dirs.push(path.into());
        self.by_path.insert(path.into(), number);
        number
    }

    /// The number of a directory in which something waits.
    pub(super) fn known_dir(&self, path: &str) -> Option<u32> {
        self.by_path.get(path).copied()
    }

    pub(super) fn name(&self, at: usize) -> &str {
        let (begin, length) = self.rows[at].name;
        &self.names[begin as usize..begin as usize + length as usize]
    }

    pub(super) fn path(&self, at: usize) -> String {
        let (parent, name) = (&*self.dirs[self.rows[at].parent as usize], self.name(at));
        match parent {
            "" => name.to_owned(),
            "/" => format!("/{name}"),
            parent => format!("{parent}/{name}"),
        }
    }

    pub(super) fn raw(&self, at: usize) -> Option<&[u8]> {
        self.raws.get(&at).map(AsRef::as_ref)
    }

    pub(super) fn created(&self, at: usize) -> Option<i64> {
        let created = self.rows[at].created;
        (created != i64::MIN).then_some(created)
    }

    pub(super) fn state(&self, at: usize) -> State {
        let row = &self.rows[at];
        let number = |number: u32| (number != u32::MAX).then_some(number);
        State {
            kind: row.kind,
            size: row.size,
            allocated: (row.allocated != u64::MAX).then_some(row.allocated),
            modified: (row.modified != i64::MIN).then_some(row.modified),
            created: self.created(at),
            mode: (row.mode != u16::MAX).then_some(row.mode),
            uid: number(row.uid),
            gid: number(row.gid),
            links: (row.links > 0).then_some(row.links),
            id: (row.inode != 0 || row.known_volume.is_some())
                .then_some(NodeId { volume: number(row.volume), inode: row.inode }),
            digest: self.digests.get(&at).copied(),
        }
    }
}

/// Rows on a shelf are fewer than 32 bits can count.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NOBODY)
}

/// The directory and the name of a path.
fn split(path: &str) -> (&str, &str) {
    match path.rfind('/') {
        None => ("", path),
        Some(0) if path.len() == 1 => ("", path),
        Some(0) => ("/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
    }
}
