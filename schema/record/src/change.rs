//! Change records: what the journal holds and consumers read.

use crate::{Category, Digest, EntryId, Place, RootId, Seq, Stat, Time};

/// One numbered record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: Seq,
    /// When it was seen (the wall clock at the look).
    pub seen: Time,
    /// By what means it was found.
    pub how: How,
    /// The root it belongs to.
    pub root: RootId,
    /// What happened.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An entry changed.
    Change(Box<Change>),
    /// The stream cannot vouch for a stretch.
    Gap(Gap),
    /// The root, or the volume named by the path, can no longer be looked at; its rows are kept.
    RootLost {
        /// Path of the root or mount point.
        path: Box<[u8]>,
        /// What was found instead.
        why: String,
    },
    /// It is back.
    RootFound {
        /// Path of the root or mount point.
        path: Box<[u8]>,
    },
    /// A root's first scan is complete; per-entry records begin after this one.
    Seeded(Seeded),
    /// A set of files with equal contents grew, shrank or dissolved.
    Duplicates(Box<Duplicates>),
}

impl Body {
    /// The words for what is about no one entry: gap, root lost, root found, seeded, duplicates.
    pub const WORDS: [&'static str; 5] = ["gap", "root_lost", "root_found", "seeded", "duplicate"];

    /// The word used in JSON: that of its op, or one of [`Body::WORDS`].
    #[must_use]
    pub fn word(&self) -> &'static str {
        let [gap, root_lost, root_found, seeded, duplicate] = Body::WORDS;
        match self {
            Body::Change(change) => change.op.word(),
            Body::Gap(_) => gap,
            Body::RootLost { .. } => root_lost,
            Body::RootFound { .. } => root_found,
            Body::Seeded(_) => seeded,
            Body::Duplicates(_) => duplicate,
        }
    }
}

/// How an entry changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Op {
    /// It is new.
    Created = 0,
    /// Its content changed (size or modification time).
    Modified = 1,
    /// Only its metadata changed: mode, owner, link count, extended attributes.
    Attrib = 2,
    /// One of its names became another.
    Renamed = 3,
    /// It has another name.
    Linked = 4,
    /// One of several names went; it lives on.
    Unlinked = 5,
    /// Its last name went.
    Deleted = 6,
    /// Its content was hashed.
    Hashed = 7,
    /// Its content changed while its stat did not.
    Corrupt = 8,
}

impl Op {
    /// All ops, in the order of their numbers.
    pub const ALL: [Op; 9] = [
        Op::Created,
        Op::Modified,
        Op::Attrib,
        Op::Renamed,
        Op::Linked,
        Op::Unlinked,
        Op::Deleted,
        Op::Hashed,
        Op::Corrupt,
    ];

    /// The word used in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Op::Created => "created",
            Op::Modified => "modified",
            Op::Attrib => "attrib",
            Op::Renamed => "renamed",
            Op::Linked => "linked",
            Op::Unlinked => "unlinked",
            Op::Deleted => "deleted",
            Op::Hashed => "hashed",
            Op::Corrupt => "corrupt",
        }
    }
}

/// By what means a change was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum How {
    /// A fanotify event.
    Fanotify = 0,
    /// An inotify event.
    Inotify = 1,
    /// The portable watcher.
    Notify = 2,
    /// A sweep: found by difference.
    Sweep = 3,
    /// The first scan.
    Scan = 4,
    /// A digest of its content.
    Digest = 5,
    /// An imported inventory.
    Import = 6,
}

impl How {
    /// All of them, in the order of their numbers.
    pub const ALL: [How; 7] =
        [How::Fanotify, How::Inotify, How::Notify, How::Sweep, How::Scan, How::Digest, How::Import];

    /// The word used in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            How::Fanotify => "fanotify",
            How::Inotify => "inotify",
            How::Notify => "notify",
            How::Sweep => "sweep",
            How::Scan => "scan",
            How::Digest => "digest",
            How::Import => "import",
        }
    }
}

/// An entry before or after a change: its own stat, digest and category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Its stat.
    pub stat: Stat,
    /// Its digest, where one is known for that stat.
    pub digest: Option<Digest>,
    /// What sort of thing it is, by all its names; `None` for what is no regular file.
    pub category: Option<Category>,
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which entry.
    pub entry: EntryId,
    /// Its birth time: with the entry, its identity.
    pub birth: Option<Time>,
    /// What happened to it.
    pub op: Op,
    /// The name it happened to: the new one for created, linked and renamed, the one that went for unlinked
    /// and deleted, the first one otherwise. `None` for a root's own directory.
    pub at: Option<Place>,
    /// The name it had, for renamed.
    pub old: Option<Place>,
    /// The entry before; absent for created.
    pub before: Option<State>,
    /// The entry after; absent for deleted.
    pub after: Option<State>,
    /// The new stat of the directories (one or two) whose own times this change moved.
    pub parents: Vec<(EntryId, Stat)>,
    /// False while a writer is still at it.
    pub complete: bool,
    /// For the two records of a recycled inode number: the seq of the other.
    pub pair: Option<Seq>,
    /// `at` as an absolute path when the record was made: a rendering, for people and filters.
    pub path: Box<[u8]>,
    /// `old` likewise.
    pub old_path: Option<Box<[u8]>>,
}

/// A stretch of time and tree that the stream cannot vouch for. What changed in it was found by
/// difference and follows as ordinary records, but changes that undid each other are not in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From when.
    pub from: Time,
    /// Until when.
    pub to: Time,
    /// The directory at the top of it, as an absolute path.
    pub scope: Box<[u8]>,
    /// What was lost: `queue overflow`, `watch limit`, `daemon was down`.
    pub why: String,
}

/// A set of files with equal contents, as the records before this one left it. Files are told apart by inode: hard links
/// of one are one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// The digest of the whole content, which all of them share.
    pub digest: Digest,
    /// Size of each, in bytes.
    pub size: u64,
    /// How many there are; fewer than two: the set is dissolved.
    pub copies: u64,
    /// How many there were before.
    pub were: u64,
    /// Bytes that would be free if one copy were kept.
    pub wasted: u64,
    /// Paths of some of them, one a copy, at most [`Duplicates::SHOWN`]; first those that came to the set.
    pub paths: Vec<Box<[u8]>>,
}

impl Duplicates {
    /// Paths that a record holds at most.
    pub const SHOWN: usize = 8;
}

/// The end of a root's first scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// The root, as an absolute path.
    pub path: Box<[u8]>,
    /// Entries in the index for it.
    pub entries: u64,
}
