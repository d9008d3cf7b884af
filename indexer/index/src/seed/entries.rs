//! The merged runs of the entries, as rows: what the walk saw of one entry by several names is one row, its names, and
//! one place where it counts.

use std::ops::Bound;

use reconcile::same_entry;
use record::{EntryId, Place, RootId, Row, Totals, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use rustc_hash::FxHashMap;

use super::keep::Keep;
use super::load::{decode_row, split_root};
use super::sort::{Merge, Runs, Sorter};
use super::tangle::Doubts;
use super::{RunResult, SeedWorker};
use crate::meter::Meter;
use crate::row_code::{put_row, put_totals};
use crate::tables::{ENTRIES, LINKS, dir_prefix, key, link_key, split_name_key};

/// What the merge of the entries leaves to do.
struct Loading<'t> {
    /// Rows, by root.
    rows: FxHashMap<RootId, u64>,
    /// Where entries with several links count, and with what.
    sums: Sorter,
    /// Takes the names of entries that have several.
    links: Table<'t, &'static [u8], ()>,
    /// The tree moved under the walk: something was seen twice, and what the walk added up counts it twice.
    torn: bool,
    /// Nothing was added up by the walk: it was one of several.
    sum_all: bool,
    doubts: Doubts,
}

/// What the load of the entries gave.
pub(super) struct Outcome {
    pub(super) rows: FxHashMap<RootId, u64>,
    pub(super) sums: Runs,
    pub(super) torn: bool,
    pub(super) doubts: Doubts,
}

pub(super) fn load_entries(
    transaction: &WriteTransaction,
    keep: &Keep,
    meter: &Meter,
    runs: Runs,
    sums: Sorter,
    sum_all: bool,
) -> RunResult<Outcome> {
    let mut merge = Merge::new(keep, runs)?.telling(meter);
    let mut table = transaction.open_table(ENTRIES)?;
    let mut loaded = Loading {
        rows: FxHashMap::default(),
        sums,
        links: transaction.open_table(LINKS)?,
        torn: false,
        sum_all,
        doubts: Doubts::default(),
    };
    let mut group = Group::default();
    if table.is_empty()? {
        let mut cursor = table.upper_bound_mut(Bound::<(u32, u64)>::Unbounded)?;
        while let Some((record, value)) = merge.next()? {
            if group.takes(record, value) {
                continue;
            }
            if let Some((id, bytes)) = group.close(&mut loaded)? {
                cursor.insert_before(key(id), &bytes[..])?;
            }
            group.open(record, value);
        }
        if let Some((id, bytes)) = group.close(&mut loaded)? {
            cursor.insert_before(key(id), &bytes[..])?;
        }
        cursor.close()?;
    } else {
        // Another root was here first; an entry may be hard-linked from both.
        loop {
            let next = merge.next()?.map(|(record, value)| (record.to_vec(), value.to_vec()));
            if let Some((record, value)) = &next
                && group.takes(record, value)
            {
                continue;
            }
            if let Some(id) = group.id() {
                group.join(&table, &loaded.links, id)?;
            }
            if let Some((id, bytes)) = group.close(&mut loaded)? {
                table.insert(key(id), &bytes[..])?;
            }
            let Some((record, value)) = next else { break };
            group.open(&record, &value);
        }
    }
    let mut sums = Runs::new();
    loaded.sums.finish(&mut sums);
    Ok(Outcome { rows: loaded.rows, sums, torn: loaded.torn, doubts: loaded.doubts })
}

/// The records of one entry: one for each name the walk found it by.
#[derive(Default)]
struct Group {
    key: Vec<u8>,
    first: Vec<u8>,
    more: Vec<Vec<u8>>,
    /// Names that another root's seed already stored.
    stored: Vec<Place>,
    /// The row that it stored.
    old: Option<Row>,
}

impl Group {
    fn open(&mut self, key: &[u8], value: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.first.clear();
        self.first.extend_from_slice(value);
        self.more.clear();
        self.stored.clear();
        self.old = None;
    }

    /// Takes the record if it is of the same entry.
    fn takes(&mut self, key: &[u8], value: &[u8]) -> bool {
        let same = !self.key.is_empty() && key == self.key;
        if same {
            self.more.push(value.to_vec());
        }
        same
    }

    fn id(&self) -> Option<EntryId> {
        let (volume, inode) = self.key.split_first_chunk::<4>()?;
        let inode = inode.first_chunk::<8>()?;
        Some(EntryId::new(VolumeId(u32::from_be_bytes(*volume)), u64::from_be_bytes(*inode)))
    }

    /// Adds the names that the row already stored for the entry has.
    fn join(
        &mut self,
        table: &impl ReadableTable<(u32, u64), &'static [u8]>,
        links: &impl ReadableTable<&'static [u8], ()>,
        id: EntryId,
    ) -> RunResult<()> {
        let Some(value) = table.get(key(id))? else { return Ok(()) };
        let old = decode_row(id, value.value())?;
        self.stored.extend(old.place.clone());
        let many_names = old.many_names;
        self.old = Some(old);
        if many_names {
            let start = dir_prefix(id);
            for item in links.range::<&[u8]>(&start[..]..)? {
                let key = item?.0;
                if !key.value().starts_with(&start) {
                    break;
                }
                if let Some((dir, name)) = key.value().get(12..).and_then(split_name_key) {
                    self.stored.push(Place::new(dir, name));
                }
            }
        }
        Ok(())
    }

    /// The entry's row, ready to write.
    fn close(&mut self, loaded: &mut Loading<'_>) -> RunResult<Option<(EntryId, Vec<u8>)>> {
        let Some(id) = self.id() else { return Ok(None) };
        let (root, counted, bytes) = split_root(&self.first);
        *loaded.rows.entry(root).or_default() += 1;
        if self.more.is_empty() && self.old.is_none() {
            let bytes = bytes.to_vec();
            if !counted || loaded.sum_all {
                // One name of several links: the others lie outside, and it counts here.
                let found = decode_row(id, &bytes)?;
                if found.stat.is_directory() {
                    add(&mut loaded.sums, id, &found)?;
                } else if let Some(place) = &found.place {
                    add(&mut loaded.sums, place.dir, &found)?;
                }
            }
            self.key.clear();
            return Ok(Some((id, bytes)));
        }
        let mut found: Vec<(RootId, Row)> = vec![(root, decode_row(id, bytes)?)];
        for value in &self.more {
            let (root, _, bytes) = split_root(value);
            found.push((root, decode_row(id, bytes)?));
        }
        // The newest look has the say; looks at the same entry differ when it changed between them.
        // But a directory has it over what is none: there are rows below it.
        let mut newest = found
            .iter()
            .max_by_key(|(_, row)| (row.stat.is_directory(), row.looked_at))
            .map(|(_, row)| row.clone())
            .unwrap_or_else(|| found[0].1.clone());
        let old = self.old.take();
        let known = old.as_ref().is_none_or(|old| same_entry(old, &newest.stat));
        let directory = newest.stat.is_directory();
        let doubts = &mut loaded.doubts;
        doubts.deep |= found.iter().map(|(_, row)| row).chain(&old).any(|row| row.stat.is_directory());
        let under_number = |row: &Row| row.stat.is_directory() && !same_entry(row, &newest.stat);
        if directory && found.iter().map(|(_, row)| row).chain(&old).any(under_number) {
            doubts.mixed.push(id);
        }
        // A directory has one name, the one by which it was seen last; but what another root's seed stored stays, and its
        // own looks tell what became of it.
        let mut strange = Vec::new();
        found.retain(|(_, row)| {
            let stays = known
                && same_entry(row, &newest.stat)
                && (!directory || old.is_none() && row.place == newest.place);
            if !stays {
                strange.extend(row.place.clone().map(|place| (place, id)));
            }
            stays
        });
        let mut least: FxHashMap<RootId, Place> = FxHashMap::default();
        let mut names: Vec<Place> = self.stored.clone();
        for (root, row) in &found {
            let Some(place) = &row.place else { continue };
            names.push(place.clone());
            let slot = least.entry(*root).or_insert_with(|| place.clone());
            if place < slot {
                *slot = place.clone();
            }
        }
        names.sort();
        names.dedup();
        strange.retain(|(place, _)| names.binary_search(place).is_err());
        doubts.strange.append(&mut strange);
        // Only hard links of one file are found under several names of a tree that stands still.
        // Sums that are added up from the rows as they are stored are right whatever moved.
        let strangers = found.len() < self.more.len() + 1;
        loaded.torn |= !known
            || !loaded.sum_all
                && (strangers
                    || found.iter().any(|(_, row)| {
                        SeedWorker::counts(&row.stat) || row.stat.links != newest.stat.links
                    }));
        let uncounted = !SeedWorker::counts(&newest.stat);
        if let Some(old) = old {
            // What changed since that row was written is for a look to find, which makes a record of it.
            loaded.torn |= old.stat.is_directory();
            newest = old;
        }
        newest.many_names = names.len() > 1;
        newest.place = names.first().cloned();
        if loaded.sum_all && newest.stat.is_directory() {
            add(&mut loaded.sums, id, &newest)?;
        } else if uncounted || loaded.sum_all {
            for place in least.into_values() {
                add(&mut loaded.sums, place.dir, &newest)?;
            }
        }
        if newest.many_names {
            for place in &names {
                loaded.links.insert(&link_key(id, place)[..], ())?;
            }
        }
        let mut bytes = Vec::new();
        put_row(&mut bytes, id, &newest);
        self.key.clear();
        Ok(Some((id, bytes)))
    }
}

/// Notes that an entry with several links counts in `dir`.
fn add(sums: &mut Sorter, dir: EntryId, row: &Row) -> RunResult<()> {
    let one = Totals::of(&row.stat);
    let mut bytes = Vec::new();
    put_totals(&mut bytes, &one);
    sums.push(&dir_prefix(dir), &[], &bytes)
}
