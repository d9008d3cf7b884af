//! From sorted runs to tables, in one transaction.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use record::{Body, EntryId, How, Place, Record, RootId, Row, Seeded, Seq, Time};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::entries::{Outcome, load_entries};
use super::keep::Keep;
use super::manifest::SUMS;
use super::sort::{Merge, Runs, Sorter};
use super::tangle::{Rival, Untangled, untangle};
use super::ways::{add_sums, load_totals};
use super::{COUNTED, Kinds, RunResult, Seed};
use crate::commit::{Edits, Message, apply};
use crate::contents::fall_behind;
use crate::error::IndexError;
use crate::file::{Index, META_TORN};
use crate::meter::Meter;
use crate::roots::RootRow;
use crate::row_code::row;
use crate::tables::{META, NAMES, split_name_key, target};

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
        fall_behind(&transaction)?;
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

pub(super) fn decode_row(id: EntryId, bytes: &[u8]) -> RunResult<Row> {
    row(id, bytes).map_err(|error| IndexError::damaged(format!("row {id}"), error))
}
