//! What a reader of the journal knows: rows made of records alone, and who is still written to. Sees no plan's row edits.

use std::collections::{BTreeMap, BTreeSet};

use record::{Body, EntryId, Op, Place, Record, State};

use super::memory::Memory;

/// Entries and names, folded from records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replica {
    states: BTreeMap<EntryId, State>,
    /// Entries whose last record was not complete.
    writing: BTreeSet<EntryId>,
    names: BTreeMap<Place, EntryId>,
    /// The names of each entry, as one knows them who does not ask who else has a name.
    owned: BTreeMap<EntryId, BTreeSet<Place>>,
}

impl Replica {
    /// What a snapshot of `memory` would tell a reader.
    pub(super) fn of(memory: &Memory) -> Replica {
        let state = |id: &EntryId, row: &record::Row| {
            let place = row.place.as_ref().or(memory.detached.get(id).map(|detached| &detached.place));
            State { stat: row.stat, digest: row.current_digest(), category: row.category_at(place) }
        };
        let mut owned = BTreeMap::<_, BTreeSet<Place>>::new();
        for (place, target) in &memory.names {
            owned.entry(target.id).or_default().insert(place.clone());
        }
        Replica {
            owned,
            states: memory.rows.iter().map(|(id, row)| (*id, state(id, row))).collect(),
            writing: memory.rows.iter().filter(|(_, row)| row.writing).map(|(id, _)| *id).collect(),
            names: memory.names.iter().map(|(place, target)| (place.clone(), target.id)).collect(),
        }
    }

    pub(super) fn holds(&self, place: &Place, entry: EntryId) -> bool {
        self.names.get(place) == Some(&entry)
    }

    /// Applies a record. An old name goes only while the entry still holds it: another may have taken it.
    pub(super) fn apply(&mut self, record: &Record) {
        let Body::Change(change) = &record.body else { return };
        let gone = match change.op {
            Op::Renamed => change.old.as_ref(),
            Op::Unlinked | Op::Deleted => change.at.as_ref(),
            _ => None,
        };
        if let Some(owned) = gone.zip(self.owned.get_mut(&change.entry)) {
            owned.1.remove(owned.0);
        }
        if let Some(place) = gone
            && self.names.get(place) == Some(&change.entry)
        {
            self.names.remove(place);
        }
        if let (Op::Created | Op::Linked | Op::Renamed, Some(at)) = (change.op, &change.at) {
            self.names.insert(at.clone(), change.entry);
            self.owned.entry(change.entry).or_default().insert(at.clone());
        }
        match change.after {
            Some(state) => drop(self.states.insert(change.entry, state)),
            None => drop(self.states.remove(&change.entry)),
        }
        if change.complete {
            self.writing.remove(&change.entry);
        } else {
            self.writing.insert(change.entry);
        }
        for (id, stat) in &change.parents {
            let state = self.states.get_mut(id).expect("a parent is known");
            state.stat = *stat;
        }
    }

    /// Asserts that it knows what is stored in `memory`.
    pub(super) fn check(&self, memory: &Memory, told: &dyn Fn() -> String) {
        let mut known = self.clone();
        // What another took the last name of may still be known by that, until it is told what became of it.
        for (id, detached) in &memory.detached {
            known.owned.get_mut(id).map(|owned| owned.remove(&detached.place));
        }
        known.owned.retain(|_, owned| !owned.is_empty());
        assert_eq!(known, Replica::of(memory), "R5: the records make these rows: {}", told());
    }
}
