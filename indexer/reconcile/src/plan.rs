//! The result of a batch: edits for one transaction.

use record::{EntryId, Place, Record, Row, Totals};

/// An entry that lost its last name to another entry before it found a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// The name it had.
    pub place: Place,
    /// That name as an absolute path, for the record to come.
    pub path: Box<[u8]>,
}

/// What a name stands for. Whether that is a directory is kept beside it, so that walking the index down
/// reads no row of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The entry.
    pub id: EntryId,
    /// Whether it is a directory.
    pub directory: bool,
}

/// Row edits and change records that belong together: all of it is committed, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows to write (`Some`) or remove (`None`), by entry.
    pub rows: Vec<(EntryId, Option<Row>)>,
    /// Names to write or remove.
    pub names: Vec<(Place, Option<Target>)>,
    /// Additional names of entries with several: written (`true`) or removed.
    pub links: Vec<(EntryId, Place, bool)>,
    /// Totals to write or remove.
    pub totals: Vec<(EntryId, Option<Totals>)>,
    /// Nameless entries to keep note of, or to forget.
    pub detached: Vec<(EntryId, Option<Detached>)>,
    /// The records. Their seqs (and those in `pair`) count from 1 in this plan; the commit adds the seq
    /// of the last record before it.
    pub records: Vec<Record>,
}

impl Plan {
    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.names.is_empty()
            && self.links.is_empty()
            && self.totals.is_empty()
            && self.detached.is_empty()
            && self.records.is_empty()
    }
}

/// An entry that lost its last name and waits for its new one. Nothing is written of the loss yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The entry.
    pub id: EntryId,
    /// The name it lost, to be looked at again when the wait ends, and the directory's own stat with it
    /// (the batch left that as stored); `None` where another entry has taken that name and `detached`
    /// remembers it.
    pub place: Option<Place>,
}

/// A finished batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// What to commit.
    pub plan: Plan,
    /// Entries that wait for a name.
    pub held: Vec<Held>,
    /// Entries that were set aside: kept without a name, and nothing is waited for.
    pub aside: Vec<EntryId>,
    /// Names to look at again, because more had to be removed than one batch may hold.
    pub unfinished: Vec<Place>,
    /// Regular files whose last record is not complete.
    pub writing: Vec<EntryId>,
    /// Regular files whose content has to be read again although nothing says that it changed.
    pub doubted: Vec<EntryId>,
}
