//! A replica of the rows, kept by applying records: identity, names, own stat, digest and category of every entry.
//! Knows no totals and no paths; both follow from these.

use std::collections::BTreeMap;

use record::{Body, Category, Change, Digest, EntryId, Op, Place, Record, Seq, Stat, State, Time};

/// What a replica knows of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Birth: with the id, the identity.
    pub birth: Option<Time>,
    /// Its stat.
    pub stat: Stat,
    /// Its digest, where known for that stat.
    pub digest: Option<Digest>,
    /// What sort of thing it is; `None` for what is no regular file.
    pub category: Option<Category>,
}

/// Rows and names as of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// The entries.
    pub entries: BTreeMap<EntryId, Known>,
    /// Which entry has a name.
    pub names: BTreeMap<Place, EntryId>,
    /// The last record applied.
    pub seq: Seq,
}

impl Replica {
    /// Applies a record. One that was applied before changes nothing.
    ///
    /// A name goes to whom a record gives it; an old name is removed only while the entry still holds it,
    /// so an exchange comes out right record by record.
    pub fn apply(&mut self, record: &Record) {
        if record.seq <= self.seq {
            return;
        }
        self.seq = record.seq;
        if let Body::Change(change) = &record.body {
            self.change(change);
        }
    }

    fn change(&mut self, change: &Change) {
        let id = change.entry;
        match change.op {
            Op::Created | Op::Linked => self.name(change.at.as_ref(), id),
            Op::Renamed => {
                self.unname(change.old.as_ref(), id);
                self.name(change.at.as_ref(), id);
            }
            Op::Unlinked => self.unname(change.at.as_ref(), id),
            Op::Deleted => {
                self.unname(change.at.as_ref(), id);
                self.entries.remove(&id);
            }
            Op::Modified | Op::Attrib | Op::Hashed | Op::Corrupt => {}
        }
        if let Some(after) = &change.after {
            let State { stat, digest, category } = *after;
            let known = Known { birth: change.birth, stat, digest, category };
            self.entries.insert(id, known);
        }
        for (parent, stat) in &change.parents {
            if let Some(known) = self.entries.get_mut(parent) {
                known.stat = *stat;
            }
        }
    }

    fn name(&mut self, place: Option<&Place>, id: EntryId) {
        if let Some(place) = place {
            self.names.insert(place.clone(), id);
        }
    }

    fn unname(&mut self, place: Option<&Place>, id: EntryId) {
        if let Some(place) = place
            && self.names.get(place) == Some(&id)
        {
            self.names.remove(place);
        }
    }
}
