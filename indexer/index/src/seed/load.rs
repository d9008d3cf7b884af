//! From sorted runs to tables, in one transaction.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use reconcile::same_entry;
use record::{Body, EntryId, How, Place, Record, RootId, Row, Seeded, Seq, Time, Totals, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use rustc_hash::FxHashMap;

use super::keep::Keep;
use super::manifest::SUMS;
use super::sort::{Merge, Runs, Sorter};
use super::tangle::{Doubts, Rival, Untangled, untangle};
use super::{COUNTED, Kinds, RunResult, Seed, SeedWorker};
use crate::commit::{Edits, Message, apply};
use crate::error::IndexError;
use crate::file::{Index, META_TORN};
use crate::meter::Meter;
use crate::roots::RootRow;
use crate::row_code::{put_row, put_totals, row, totals};
use crate::tables::{ENTRIES, LINKS, META, NAMES, TOTALS, dir_prefix, key, link_key, split_name_key, target};

/// Sums held back before they are written up the tree: about 8 MB.
const MOST_SUMS: usize = 1 << 16;

/// Most levels of a tree whose sums are added up the way; more is a circle.
const MOST_LEVELS: usize = 1 << 17;

/// Bytes of the buffer that sorts what entries with several links add to directories.
const SUMS_BUFFER: usize = 4 << 20;

/// The same where it sorts what every entry adds.
const ALL_SUMS_BUFFER: usize = 16 << 20;

/// A root that a seed fills; its row is written, with the `seeded` record, in the seed's transaction.
pub struct SeedRoot {
    /// The row; `seeded` is filled in.
    pub row: RootRow,
    /// When its scan ended.
    pub seen: Time,
}

/// A seed in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Its `seeded` records.
    pub records: Vec<Record>,
    /// Names that were seen and left out, since the tree moved under the walk. They are to be looked at: what has them
    /// now may have no other name, and no hint that names them.
    pub left_out: Vec<Place>,
    /// Directories under whose number two were listed: what is stored in one may have been in the other. They are to be
    /// listed.
    pub mixed: Vec<EntryId>,
}

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
struct Outcome {
    rows: FxHashMap<RootId, u64>,
    sums: Runs,
    torn: bool,
    doubts: Doubts,
}

impl Index {
    /// Ends a seed: merges its runs into the tables, writes `edits` and one `seeded` record a root, all in
    /// one durable transaction.
    ///
    /// # Errors
    /// When a run cannot be read or the file not be written; nothing has changed then.
    pub fn load(&self, seed: Seed, roots: Vec<SeedRoot>, mut edits: Edits) -> Result<Loaded, IndexError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Kinds { entries, names, totals } = seed.take_runs();
        let keep = &seed.keep;
        let sum_all = seed.resumed.is_some();
        let begin = Instant::now();
        let transaction = self.begin_write()?;
        let meter = &self.meter;
        let (mut loaded, rivals) = std::thread::scope(|scope| {
            let transaction = &transaction;
            let names = scope.spawn(move || load_names(transaction, keep, meter, names));
            let buffer = if sum_all { ALL_SUMS_BUFFER } else { SUMS_BUFFER };
            let sums = Sorter::new(Arc::clone(keep), SUMS, buffer);
            let loaded = load_entries(transaction, keep, meter, entries, sums, sum_all)?;
            let rivals = names.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok::<_, IndexError>((loaded, rivals))
        })?;
        if !sum_all {
            load_totals(&transaction, keep, meter, totals)?;
        }
        // A circle of directories has no sum that the way up could give.
        let straight = add_sums(&transaction, keep, meter, std::mem::take(&mut loaded.sums))?;
        loaded.torn |= !straight;
        loaded.doubts.deep |= !straight;
        let Outcome { mut rows, mut torn, mut doubts, .. } = loaded;
        let mixed = std::mem::take(&mut doubts.mixed);
        let tops: Vec<(RootId, EntryId)> = roots.iter().map(|root| (root.row.id, root.row.top)).collect();
        let known = self.read()?.roots()?;
        let ends = known.iter().map(|root| root.top).chain(tops.iter().map(|(_, top)| *top));
        let Untangled { left_out, rows: counted } = untangle(&transaction, doubts, rivals, ends, &tops)?;
        if let Some(counted) = counted {
            (rows, torn) = (counted, true);
        }

        let before = self.read()?.seq()?.0 + edits.plan.records.len() as u64 + edits.messages.len() as u64;
        for (nth, SeedRoot { mut row, seen }) in roots.into_iter().enumerate() {
            let entries = rows.get(&row.id).copied().unwrap_or(0);
            row.seeded = Some(Seq(before + nth as u64 + 1));
            let body = Body::Seeded(Seeded { path: row.path.clone(), entries });
            edits.messages.push(Message { seen, how: How::Scan, root: row.id, body });
            edits.roots.push(row);
        }
        let records = apply(&transaction, edits)?;
        if torn {
            transaction.open_table(META)?.insert(META_TORN, 1)?;
        }
        transaction.commit()?;
        // Not before: until now it is all that is left of the scan.
        let _ = seed.keep.remove();
        self.meter.committed(begin.elapsed(), &records);
        drop(writer);
        self.mend_totals()?;
        Ok(Loaded { records, left_out, mixed })
    }
}

/// Answers names that more than one entry was seen by; the table has the first.
fn load_names(
    transaction: &WriteTransaction,
    keep: &Keep,
    meter: &Meter,
    runs: Runs,
) -> RunResult<Vec<Rival>> {
    let mut merge = Merge::new(keep, runs)?.telling(meter);
    let mut table = transaction.open_table(NAMES)?;
    let mut rivals = Vec::new();
    let mut rival = |key: &[u8], value, late| {
        if let Some((dir, name)) = split_name_key(key) {
            rivals.push(Rival { place: Place::new(dir, name), id: target(value).id, late });
        }
    };
    if table.is_empty()? {
        let mut cursor = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
        let mut last = (Vec::new(), (0, 0));
        while let Some((key, value)) = merge.next()? {
            let value = name_value(value);
            if key != last.0 {
                cursor.insert_before(key, value)?;
                last.0.clear();
                last.0.extend_from_slice(key);
                last.1 = value;
            } else if value != last.1 {
                rival(key, value, false);
            }
        }
        cursor.close()?;
    } else {
        let (mut last, mut late) = (Vec::new(), false);
        while let Some((key, value)) = merge.next()? {
            let value = name_value(value);
            let stored = table.get(key)?.map(|stored| stored.value());
            if key != last {
                // A directory of another root may have been moved into this one.
                late = stored.is_some();
                last.clear();
                last.extend_from_slice(key);
            }
            match stored {
                None => drop(table.insert(key, value)?),
                Some(stored) if stored != value => rival(key, value, late),
                Some(_) => {}
            }
        }
    }
    Ok(rivals)
}

fn name_value(value: &[u8]) -> (u32, u64) {
    let (mut volume, mut inode) = ([0; 4], [0; 8]);
    volume.copy_from_slice(&value[..4]);
    inode.copy_from_slice(&value[4..12]);
    (u32::from_be_bytes(volume), u64::from_be_bytes(inode))
}

fn load_entries(
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

/// A run record's root, whether the walk counted the entry, and its row.
pub(super) fn split_root(value: &[u8]) -> (RootId, bool, &[u8]) {
    match value.split_first_chunk::<4>() {
        Some((root, rest)) => {
            let root = u32::from_be_bytes(*root);
            (RootId(root & !COUNTED), root & COUNTED != 0, rest)
        }
        None => (RootId(0), false, &[]),
    }
}

fn load_totals(transaction: &WriteTransaction, keep: &Keep, meter: &Meter, runs: Runs) -> RunResult<()> {
    let mut merge = Merge::new(keep, runs)?.telling(meter);
    let mut table = transaction.open_table(TOTALS)?;
    while let Some((record, value)) = merge.next()? {
        if let Some((dir, _)) = split_name_key(record) {
            table.insert(key(dir), value)?;
        }
    }
    Ok(())
}

/// Adds sums to the totals of their directories and all above. False: some way up runs in a circle.
fn add_sums(transaction: &WriteTransaction, keep: &Keep, meter: &Meter, runs: Runs) -> RunResult<bool> {
    let mut merge = Merge::new(keep, runs)?.telling(meter);
    let mut ways = Ways {
        entries: transaction.open_table(ENTRIES)?,
        parents: FxHashMap::default(),
        all: FxHashMap::default(),
        straight: true,
    };
    let mut table = transaction.open_table(TOTALS)?;
    let mut held: Option<(EntryId, Totals)> = None;
    while let Some((record, value)) = merge.next()? {
        let Some((dir, _)) = split_name_key(record) else { continue };
        let sum = decode_totals(dir, value)?;
        match &mut held {
            Some((at, all)) if *at == dir => all.add(&sum),
            _ => {
                if let Some((dir, sum)) = held.replace((dir, sum)) {
                    ways.up(dir, &sum)?;
                }
            }
        }
        if ways.all.len() > MOST_SUMS {
            write_sums(&mut table, &mut ways.all)?;
            ways.parents.clear();
        }
    }
    if let Some((dir, sum)) = held {
        ways.up(dir, &sum)?;
    }
    write_sums(&mut table, &mut ways.all)?;
    Ok(ways.straight)
}

/// The ways up from directories, by the rows.
struct Ways<'t> {
    entries: Table<'t, (u32, u64), &'static [u8]>,
    parents: FxHashMap<EntryId, Option<EntryId>>,
    all: FxHashMap<EntryId, Totals>,
    straight: bool,
}

impl Ways<'_> {
    fn up(&mut self, dir: EntryId, sum: &Totals) -> RunResult<()> {
        let mut at = Some(dir);
        let mut levels = 0;
        while let Some(id) = at {
            self.all.entry(id).or_default().add(sum);
            levels += 1;
            if levels > MOST_LEVELS {
                self.straight = false;
                return Ok(());
            }
            at = match self.parents.get(&id) {
                Some(parent) => *parent,
                None => {
                    let value = self.entries.get(key(id))?;
                    let place = match &value {
                        Some(value) => decode_row(id, value.value())?.place,
                        None => None,
                    };
                    let parent = place.map(|place| place.dir);
                    self.parents.insert(id, parent);
                    parent
                }
            };
        }
        Ok(())
    }
}

fn write_sums(
    table: &mut Table<'_, (u32, u64), &'static [u8]>,
    all: &mut FxHashMap<EntryId, Totals>,
) -> RunResult<()> {
    for (id, sum) in all.drain() {
        let mut new = match table.get(key(id))? {
            Some(value) => decode_totals(id, value.value())?,
            None => Totals::default(),
        };
        new.add(&sum);
        let mut bytes = Vec::new();
        put_totals(&mut bytes, &new);
        table.insert(key(id), &bytes[..])?;
    }
    Ok(())
}

pub(super) fn decode_row(id: EntryId, bytes: &[u8]) -> RunResult<Row> {
    row(id, bytes).map_err(|error| IndexError::damaged(format!("row {id}"), error))
}

fn decode_totals(id: EntryId, bytes: &[u8]) -> RunResult<Totals> {
    totals(bytes).map_err(|error| IndexError::damaged(format!("totals {id}"), error))
}
