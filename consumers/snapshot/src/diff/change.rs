//! One difference, and sums of them. Knows not how it was found.

use record::{Digest, Kind};

use crate::read::{Line, NodeId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A name is new.
    Created,
    /// A name is gone.
    Deleted,
    /// An entry is another than it was, or another entry has its name.
    Modified,
    /// An entry has another name.
    Renamed,
}

impl Op {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Op::Created => "created",
            Op::Deleted => "deleted",
            Op::Modified => "modified",
            Op::Renamed => "renamed",
        }
    }
}

/// Which fields of an entry differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u8);

impl Fields {
    /// Another entry has the name.
    pub const ENTRY: Fields = Fields(1);
    /// File, directory, …
    pub const KIND: Fields = Fields(1 << 1);
    /// Bytes.
    pub const SIZE: Fields = Fields(1 << 2);
    /// When its content was last written.
    pub const MODIFIED: Fields = Fields(1 << 3);
    /// Of the content, where both sides know it.
    pub const DIGEST: Fields = Fields(1 << 4);
    /// The lower 12 bits of the mode.
    pub const PERMISSIONS: Fields = Fields(1 << 5);
    /// The user.
    pub const OWNER: Fields = Fields(1 << 6);
    /// The group.
    pub const GROUP: Fields = Fields(1 << 7);

    pub(super) fn put(&mut self, field: Fields, on: bool) {
        if on {
            self.0 |= field.0;
        }
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `field` does.
    #[must_use]
    pub fn has(self, field: Fields) -> bool {
        self.0 & field.0 != 0
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let all = [
            (Fields::ENTRY, "entry"),
            (Fields::KIND, "kind"),
            (Fields::SIZE, "size"),
            (Fields::MODIFIED, "modified"),
            (Fields::DIGEST, "digest"),
            (Fields::PERMISSIONS, "permissions"),
            (Fields::OWNER, "owner"),
            (Fields::GROUP, "group"),
        ];
        all.into_iter().filter(|(field, _)| self.has(*field)).map(|(_, word)| word).collect()
    }
}

/// An entry as one side has it. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as the columns are, in docs/snapshots.md")]
pub struct State {
    pub kind: Kind,
    pub size: u64,
    pub allocated: Option<u64>,
    pub modified: Option<i64>,
    pub created: Option<i64>,
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub links: Option<u32>,
    pub id: Option<NodeId>,
    pub digest: Option<Digest>,
}

impl State {
    pub(super) fn of(line: &Line<'_>) -> State {
        State {
            kind: line.kind,
            size: line.size,
            allocated: line.allocated,
            modified: line.modified,
            created: line.created,
            mode: line.mode,
            uid: line.uid,
            gid: line.gid,
            links: line.links,
            id: line.id,
            digest: line.digest,
        }
    }

    /// Whether it is one.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// What it adds to sums: those of a directory follow from what is in it.
    fn weight(&self) -> (i64, i64) {
        if self.is_directory() {
            return (0, 0);
        }
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        (signed(self.size), signed(self.allocated.unwrap_or(0)))
    }
}

/// One difference.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What happened.
    pub op: Op,
    /// Where it is; where it was, if it is gone.
    pub path: &'a str,
    /// The bytes of that, where they are not UTF-8.
    pub raw: Option<&'a [u8]>,
    /// Where it was, if that is another place.
    pub old_path: Option<&'a str>,
    /// The bytes of that, where they are not UTF-8.
    pub old_raw: Option<&'a [u8]>,
    /// What it was.
    pub before: Option<&'a State>,
    /// What it is.
    pub after: Option<&'a State>,
    /// What of it differs.
    pub fields: Fields,
    /// The name is one of several: the file was there before, or is still there.
    pub link: bool,
    /// Its place follows from that of a directory above it, which is told as renamed.
    pub along: bool,
    /// So many names came along with it.
    pub below: u64,
    /// Whether its bytes before and after count here, and not at another of its names.
    pub counts: [bool; 2],
}

impl<'a> Change<'a> {
    pub(super) fn at(
        line: &Line<'a>,
        op: Op,
        before: Option<&'a State>,
        after: Option<&'a State>,
        fields: Fields,
    ) -> Change<'a> {
        Change {
            op,
            path: line.path,
            raw: line.raw,
            old_path: None,
            old_raw: None,
            before,
            after,
            fields,
            link: false,
            along: false,
            below: 0,
            counts: [true; 2],
        }
    }

    /// Whether it says nothing but that a directory above was renamed.
    #[must_use]
    pub fn is_implied(&self) -> bool {
        self.along && self.fields.is_empty()
    }

    /// Bytes that it took from where it was: of size, and of disk.
    #[must_use]
    pub fn taken(&self) -> (i64, i64) {
        self.before.filter(|_| self.counts[0]).map_or((0, 0), State::weight)
    }

    /// Bytes that it brought to where it is.
    #[must_use]
    pub fn brought(&self) -> (i64, i64) {
        self.after.filter(|_| self.counts[1]).map_or((0, 0), State::weight)
    }
}

/// Differences of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub entries: u64,
    /// By how many bytes the tree grew by them.
    pub bytes: i64,
    /// By how many bytes of disk.
    pub allocated: i64,
}

/// All of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// New names.
    pub created: Sum,
    /// Names that are gone.
    pub deleted: Sum,
    /// Entries that are another.
    pub modified: Sum,
    /// Entries with another name.
    pub renamed: Sum,
    /// Names that came along with a directory, and did not change otherwise.
    pub along: u64,
    /// Names that are as they were.
    pub unchanged: u64,
    /// Rows of the one.
    pub rows_before: u64,
    /// Rows of the other.
    pub rows_after: u64,
    /// Whether all renames were looked for.
    pub complete: bool,
}

impl Summary {
    /// How many differences there are.
    #[must_use]
    pub fn differences(&self) -> u64 {
        [self.created, self.deleted, self.modified, self.renamed].iter().map(|sum| sum.entries).sum()
    }

    pub(super) fn add(&mut self, change: &Change<'_>) {
        if change.is_implied() {
            self.along += 1;
            return;
        }
        let sum = match change.op {
            Op::Created => &mut self.created,
            Op::Deleted => &mut self.deleted,
            Op::Modified => &mut self.modified,
            Op::Renamed => &mut self.renamed,
        };
        let (taken, brought) = (change.taken(), change.brought());
        sum.entries += 1;
        sum.bytes = sum.bytes.saturating_add(brought.0.saturating_sub(taken.0));
        sum.allocated = sum.allocated.saturating_add(brought.1.saturating_sub(taken.1));
    }
}
