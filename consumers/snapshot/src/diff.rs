//! What differs between two snapshots of one root: two streams of rows in the order of paths, merged. Names that are in one of them alone
//! wait for each other until the end, since a rename is told by the entry and not by the path. Knows neither files nor words for people.

mod change;
mod cursor;
mod matched;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::columns::Columns;
use crate::read::{Column, Head, Line};

pub use change::{Change, Fields, Op, State, Sum, Summary};
use cursor::Cursor;
pub use cursor::Next;
use shelf::Shelf;

/// The columns that comparing takes.
pub const COMPARED: [Column; 10] = [
    Column::PathRaw,
    Column::Kind,
    Column::Size,
    Column::Allocated,
    Column::Modified,
    Column::Created,
    Column::Permissions,
    Column::Owners,
    Column::Entry,
    Column::Digest,
];
/// Names on one side alone that wait for the other half of a rename: some 110 bytes each, and the name, and the directory's path once. What comes
/// after so many is told as created or deleted.
pub const MOST_WAITING: usize = 2 << 20;

/// Called with each change.
pub type Each<'a, E> = &'a mut dyn FnMut(&Change<'_>) -> Result<(), E>;

/// An entry as both sides know it: its volume, and its inode.
type Key = (u32, u64);

/// By what entries of two snapshots are known to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// One index numbered both: by volume and inode.
    Exactly,
    /// Volumes may have other numbers: by inode, on the volume of the root.
    OnRoot,
    /// Other hosts see other inodes: by path alone.
    ByPath,
}

/// What is fixed while two are compared.
#[derive(Clone, Copy, Debug)]
struct Terms {
    known: Known,
    /// Whether one of them has times in seconds.
    coarse: bool,
    /// The volumes of both roots.
    volumes: [Option<u32>; 2],
}

impl Terms {
    fn new(heads: [&Head; 2]) -> Terms {
        let [a, b] = heads;
        let coarse = [a, b].iter().any(|head| head.columns == Columns::Unix);
        let known = match (a.host == b.host, a.epoch == b.epoch && !coarse) {
            (false, _) => Known::ByPath,
            (true, true) => Known::Exactly,
            (true, false) => Known::OnRoot,
        };
        Terms { known, coarse, volumes: [None; 2] }
    }

    /// The entry of a row of a side.
    fn key(&self, side: usize, line: &Line<'_>) -> Option<Key> {
        let id = line.id?;
        match self.known {
            Known::Exactly => Some((id.volume?, id.inode)),
            Known::OnRoot => {
                (id.volume.is_none() || id.volume == self.volumes[side]).then_some((0, id.inode))
            }
            Known::ByPath => None,
        }
    }

    /// Whether the same path is the same entry.
    fn is_same(&self, a: &Line<'_>, b: &Line<'_>) -> bool {
        let numbers = match (self.known, a.id, b.id) {
            (Known::ByPath, ..) | (_, None, _) | (_, _, None) => true,
            (Known::Exactly, a, b) => a == b,
            (Known::OnRoot, Some(a), Some(b)) => a.inode == b.inode,
        };
        numbers && self.may_be((a.kind, a.created), (b.kind, b.created))
    }

    /// Whether kind and birth allow that two are one entry.
    fn may_be(&self, a: (record::Kind, Option<i64>), b: (record::Kind, Option<i64>)) -> bool {
        let born = match (a.1, b.1) {
            (Some(a), Some(b)) => self.time(a) == self.time(b),
            _ => true,
        };
        self.known == Known::ByPath || (a.0 == b.0 && born)
    }

    fn time(&self, us: i64) -> i64 {
        if self.coarse { us.div_euclid(1_000_000) } else { us }
    }

    /// What counts as modified. Times and sizes of directories follow from what is in them; access, metadata and link changes
    /// follow from looking, and from what is told otherwise.
    fn fields(&self, a: &State, b: &State) -> Fields {
        let mut fields = Fields::default();
        let differs = |one: Option<u32>, other: Option<u32>| one.is_some() && other.is_some() && one != other;
        fields.put(Fields::PERMISSIONS, differs(a.mode.map(u32::from), b.mode.map(u32::from)));
        fields.put(Fields::OWNER, differs(a.uid, b.uid));
        fields.put(Fields::GROUP, differs(a.gid, b.gid));
        fields.put(Fields::KIND, a.kind != b.kind);
        if a.is_directory() && b.is_directory() {
            return fields;
        }
        fields.put(Fields::SIZE, a.size != b.size);
        fields
            .put(Fields::MODIFIED, a.modified.map(|us| self.time(us)) != b.modified.map(|us| self.time(us)));
        fields.put(
            Fields::DIGEST,
            matches!((a.digest, b.digest), (Some(a), Some(b)) if a.kind == b.kind && a.bytes != b.bytes),
        );
        fields
    }
}

/// Compares two snapshots of one root, from their heads and rows; `most` names may wait on each side. Modified ones are told first, by
/// path, as they are met; then deleted, then created and renamed ones, by path.
///
/// # Errors
/// What the streams or `each` answer.
pub fn diff<E>(
    heads: [&Head; 2],
    rows: [Next<'_, E>; 2],
    most: usize,
    each: Each<'_, E>,
) -> Result<Summary, E> {
    let [a, b] = rows;
    let mut work = Work {
        terms: Terms::new(heads),
        shelves: [Shelf::default(), Shelf::default()],
        relinked: HashSet::new(),
        counted: HashSet::new(),
        most,
        summary: Summary { complete: true, ..Summary::default() },
        each,
    };
    let (mut a, mut b) = (Cursor::new(a)?, Cursor::new(b)?);
    // The root comes first.
    work.terms.volumes =
        [&a, &b].map(|cursor| cursor.line().and_then(|line| line.id).and_then(|id| id.volume));
    loop {
        match (a.path(), b.path()) {
            (None, None) => break,
            (Some(one), Some(other)) if one == other => {
                work.both(&a, &b)?;
                a.go_on()?;
                b.go_on()?;
            }
            (Some(one), other) if other.is_none_or(|other| one < other) => {
                if let Some(line) = a.line() {
                    work.alone(0, &line)?;
                }
                a.go_on()?;
            }
            _ => {
                if let Some(line) = b.line() {
                    work.alone(1, &line)?;
                }
                b.go_on()?;
            }
        }
    }
    (work.summary.rows_before, work.summary.rows_after) = (a.rows(), b.rows());
    matched::tell(&mut work)?;
    Ok(work.summary)
}

/// What is held while two are compared.
struct Work<'a, E> {
    terms: Terms,
    /// Names that one side has alone, and those of a path whose entry is another.
    shelves: [Shelf; 2],
    /// Entries at the same path whose number of names differs: a name that came or went is one of several.
    relinked: HashSet<Key>,
    /// Entries with several names whose bytes have been told.
    counted: HashSet<Key>,
    most: usize,
    summary: Summary,
    each: Each<'a, E>,
}

impl<E> Work<'_, E> {
    fn both(&mut self, a: &Cursor<'_, E>, b: &Cursor<'_, E>) -> Result<(), E> {
        let (Some(one), Some(other)) = (a.line(), b.line()) else { return Ok(()) };
        let (before, after) = (State::of(&one), State::of(&other));
        if !self.terms.is_same(&one, &other) {
            let (d, c) = (self.hold(0, &one), self.hold(1, &other));
            if let (Some(d), Some(c)) = (d, c) {
                self.shelves[0].rows[d].twin = shelf::number(c);
                self.shelves[1].rows[c].twin = shelf::number(d);
                return Ok(());
            }
            // There is no room to find out where they went.
            for (side, held) in [d, c].into_iter().enumerate() {
                if held.is_some() {
                    self.shelves[side].rows.pop();
                }
            }
            let mut fields = self.terms.fields(&before, &after);
            fields.put(Fields::ENTRY, true);
            return self.say(&Change::at(&other, Op::Modified, Some(&before), Some(&after), fields));
        }
        if one.links != other.links && !before.is_directory() {
            self.relinked.extend(self.terms.key(1, &other));
        }
        let fields = self.terms.fields(&before, &after);
        if fields.is_empty() {
            self.summary.unchanged += 1;
            return Ok(());
        }
        let mut change = Change::at(&other, Op::Modified, Some(&before), Some(&after), fields);
        change.counts = [self.counts(1, &other); 2];
        self.say(&change)
    }

    /// Whether the bytes of an entry were not told by another of its names.
    fn counts(&mut self, side: usize, line: &Line<'_>) -> bool {
        if line.links.is_none_or(|links| links < 2) || line.kind == record::Kind::Directory {
            return true;
        }
        self.terms.key(side, line).is_none_or(|key| self.counted.insert(key))
    }

    /// A name that one side has alone.
    fn alone(&mut self, side: usize, line: &Line<'_>) -> Result<(), E> {
        if self.terms.key(side, line).is_some() && self.hold(side, line).is_some() {
            return Ok(());
        }
        let state = State::of(line);
        self.say(&match side {
            0 => Change::at(line, Op::Deleted, Some(&state), None, Fields::default()),
            _ => Change::at(line, Op::Created, None, Some(&state), Fields::default()),
        })
    }

    /// Where it waits now; none when too much does.
    fn hold(&mut self, side: usize, line: &Line<'_>) -> Option<usize> {
        if self.shelves[side].rows.len() >= self.most || self.shelves[side].is_full() {
            self.summary.complete = false;
            return None;
        }
        let key = self.terms.key(side, line);
        Some(self.shelves[side].put(line, key))
    }

    fn say(&mut self, change: &Change<'_>) -> Result<(), E> {
        self.summary.add(change);
        (self.each)(change)
    }
}
