//! Stored rows in maps: applies plans as the index does and checks itself. Knows no disk.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use record::{Body, EntryId, Name, Place, Record, Row, Time, Totals};

use crate::{Detached, Plan, Root, Stored, Target};

/// The tables, as the index has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) rows: BTreeMap<EntryId, Row>,
    pub(super) names: BTreeMap<Place, Target>,
    pub(super) links: BTreeMap<EntryId, BTreeSet<Place>>,
    pub(super) totals: BTreeMap<EntryId, Totals>,
    pub(super) detached: BTreeMap<EntryId, Detached>,
    pub(super) seq: u64,
}

impl Memory {
    /// Applies a plan and numbers its records, which must be gapless and their pairs mutual.
    pub(super) fn apply(&mut self, plan: Plan) -> Vec<Record> {
        for (id, row) in plan.rows {
            put(&mut self.rows, id, row);
        }
        for (place, target) in plan.names {
            put(&mut self.names, place, target);
        }
        for (id, place, add) in plan.links {
            let places = self.links.entry(id).or_default();
            if add {
                places.insert(place);
            } else {
                assert!(places.remove(&place), "a link is removed that is not there: {id} {place:?}");
            }
            if places.is_empty() {
                self.links.remove(&id);
            }
        }
        for (id, totals) in plan.totals {
            put(&mut self.totals, id, totals);
        }
        for (id, detached) in plan.detached {
            put(&mut self.detached, id, detached);
        }
        let mut records = plan.records;
        let base = self.seq;
        for (nth, record) in records.iter_mut().enumerate() {
            assert_eq!(record.seq.0, nth as u64 + 1, "seqs count from 1 in a plan");
            record.seq.0 += base;
            if let Body::Change(change) = &record.body {
                assert!(record.root.0 != 0 && change.path.starts_with(b"/"), "nowhere: {record:?}");
            }
            if let Body::Change(change) = &mut record.body
                && let Some(pair) = &mut change.pair
            {
                pair.0 += base;
            }
        }
        self.seq += records.len() as u64;
        check_pairs(&records);
        records
    }

    /// Every name of an entry.
    pub(super) fn names_of(&self, id: EntryId) -> BTreeSet<Place> {
        self.names.iter().filter(|(_, target)| target.id == id).map(|(place, _)| place.clone()).collect()
    }

    /// Rows, names, links and totals agree with each other.
    pub(super) fn check(&self, roots: &[Root]) {
        for (place, target) in &self.names {
            let row = self.rows.get(&target.id).unwrap_or_else(|| panic!("{place:?} names no row"));
            assert_eq!(row.stat.is_directory(), target.directory, "{place:?} knows what it names");
            let dir = self.rows.get(&place.dir).unwrap_or_else(|| panic!("{place:?} lies nowhere"));
            assert!(dir.stat.is_directory(), "{place:?} lies in what is no directory");
        }
        for (id, row) in &self.rows {
            let names = self.names_of(*id);
            assert_eq!(row.place.as_ref(), names.first(), "the first name of {id} is its least");
            assert_eq!(row.many_names, names.len() > 1, "{id} says whether it has several names");
            let links = self.links.get(id).cloned().unwrap_or_default();
            assert_eq!(links, if names.len() > 1 { names.clone() } else { BTreeSet::new() }, "links of {id}");
            let top = roots.iter().any(|root| root.top == *id);
            let nameless = names.is_empty() && !top;
            assert_eq!(self.detached.contains_key(id), nameless, "{id} is detached when it has no name");
            assert_eq!(self.totals.contains_key(id), row.stat.is_directory(), "totals of {id}");
            self.top(*id);
        }
        assert!(self.links.keys().all(|id| self.rows.contains_key(id)));
        assert!(self.totals.keys().all(|id| self.rows.contains_key(id)));
        assert!(self.detached.keys().all(|id| self.rows.contains_key(id)));
        for (id, sum) in self.sums() {
            let stored = self.totals[&id];
            assert!(stored.newest >= sum.newest, "the newest change in {id} is not older than its rows");
            assert_eq!(
                Totals { newest: sum.newest, ..stored },
                sum,
                "totals of {id} are what its rows add up to"
            );
        }
    }

    /// Totals as they follow from the rows.
    pub(super) fn sums(&self) -> BTreeMap<EntryId, Totals> {
        let mut sums: BTreeMap<EntryId, Totals> = BTreeMap::new();
        for (id, row) in &self.rows {
            let directory = row.stat.is_directory();
            let mut starts: Vec<EntryId> = Vec::new();
            if directory {
                starts.push(*id);
            } else {
                let mut tops = BTreeSet::new();
                for place in self.names_of(*id) {
                    if tops.insert(self.top(place.dir)) {
                        starts.push(place.dir);
                    }
                }
            }
            for start in starts {
                let mut at = Some(start);
                while let Some(dir) = at {
                    let sum = sums.entry(dir).or_default();
                    sum.files += u64::from(!directory);
                    sum.directories += u64::from(directory);
                    sum.bytes += row.stat.size;
                    sum.allocated += row.stat.allocated;
                    sum.newest = sum.newest.max(row.stat.changed);
                    at = self.rows[&dir].place.as_ref().map(|place| place.dir);
                }
            }
        }
        sums
    }

    /// The directory at the end of the way up.
    fn top(&self, id: EntryId) -> EntryId {
        let mut at = id;
        for _ in 0..=self.rows.len() {
            match self.rows.get(&at).and_then(|row| row.place.as_ref()) {
                Some(place) => at = place.dir,
                None => return at,
            }
        }
        panic!("the way up from {id} runs in a circle");
    }

    /// The tables without what two lawful histories may differ in: when looked at, the newest change.
    pub(super) fn timeless(&self) -> Memory {
        let mut same = self.clone();
        for row in same.rows.values_mut() {
            row.looked_at = Time(0);
            row.stat.accessed = Time(0);
        }
        for totals in same.totals.values_mut() {
            totals.newest = Time(0);
        }
        same.seq = 0;
        same
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Two records that name each other stand side by side.
fn check_pairs(records: &[Record]) {
    for record in records {
        let Body::Change(change) = &record.body else { continue };
        let Some(pair) = change.pair else { continue };
        assert_eq!(pair.0.abs_diff(record.seq.0), 1, "a pair is consecutive");
        let other = records.iter().find(|other| other.seq == pair).expect("the other is in the plan");
        let Body::Change(other) = &other.body else { panic!("a pair is of changes") };
        assert_eq!((other.pair, other.entry), (Some(record.seq), change.entry), "a pair is mutual");
    }
}

impl Stored for Memory {
    type Error = Infallible;

    fn row(&self, id: EntryId) -> Result<Option<Row>, Infallible> {
        Ok(self.rows.get(&id).cloned())
    }

    fn name(&self, dir: EntryId, name: &[u8]) -> Result<Option<EntryId>, Infallible> {
        Ok(self.names.get(&Place::new(dir, name)).map(|target| target.id))
    }

    fn links(&self, id: EntryId) -> Result<Vec<Place>, Infallible> {
        Ok(self.links.get(&id).into_iter().flatten().cloned().collect())
    }

    fn detached(&self, id: EntryId) -> Result<Option<Detached>, Infallible> {
        Ok(self.detached.get(&id).cloned())
    }

    fn totals(&self, dir: EntryId) -> Result<Option<Totals>, Infallible> {
        Ok(self.totals.get(&dir).copied())
    }

    fn children(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Name, EntryId)>, Infallible> {
        let here = self.names.iter().filter(|(place, _)| place.dir == dir);
        let later = here.filter(|(place, _)| after.is_none_or(|after| &place.name[..] > after));
        Ok(later.take(limit).map(|(place, target)| (place.name.clone(), target.id)).collect())
    }
}
