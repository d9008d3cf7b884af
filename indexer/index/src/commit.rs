//! The one way rows change: edits go in as one transaction, records come out numbered.

use std::sync::PoisonError;
use std::time::Instant;

use reconcile::Plan;
use record::{Body, EntryId, How, Record, RootId, Seq, Time, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};

use crate::contents::{Contents, put_waiting};
use crate::error::IndexError;
use crate::file::{Index, META_JOURNAL_BYTES, META_SEQ};
use crate::journal_code::{BLOCK_RECORDS, block};
use crate::notes::{Note, Rot, put_notes, put_rotten};
use crate::roots::{Blind, RootRow, VolumeRow, put_blind, put_detached, put_root, put_volume};
use crate::row_code::{put_row, put_totals};
use crate::tables::{
    COVERAGE, CURSORS, DETACHED, ENTRIES, JOURNAL, LINKS, META, NAMES, ROOTS, TOTALS, VOLUMES, key, link_key,
    name_key, target_value,
};
use crate::trees::{Grown, Touched};

/// A record that no row change made: gap, root_lost, root_found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When.
    pub seen: Time,
    /// By what means.
    pub how: How,
    /// Whose.
    pub root: RootId,
    /// What.
    pub body: Body,
}

/// Everything one transaction changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Rows and their records.
    pub plan: Plan,
    /// Records about the stream; numbered after the plan's.
    pub messages: Vec<Message>,
    /// Consumers and how far they are; a cursor never goes back.
    pub cursors: Vec<(String, Seq)>,
    /// Consumers to forget.
    pub forget_cursors: Vec<String>,
    /// Roots to write.
    pub roots: Vec<RootRow>,
    /// Volumes to write.
    pub volumes: Vec<(VolumeId, VolumeRow)>,
    /// Directories that became blind (`Some`) or see again.
    pub coverage: Vec<(EntryId, Option<Blind>)>,
    /// Files that are to be read, and since when, or no more. Rows say most of it; this is for what they cannot say.
    pub waiting: Vec<(EntryId, Option<Time>)>,
    /// What else is known of contents; `None`: nothing.
    pub notes: Vec<(EntryId, Option<Note>)>,
    /// Contents that rotted, or did not.
    pub rotten: Vec<(EntryId, Option<Rot>)>,
    /// What came of looking through directories.
    pub grown: Vec<Grown>,
}

impl Edits {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Edits::default()
    }
}

impl Index {
    /// Commits durably: all of `edits` or nothing. Answers the records with their final numbers.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn commit(&self, edits: Edits) -> Result<Vec<Record>, IndexError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let transaction = self.begin_write()?;
        let records = apply(&transaction, edits)?;
        transaction.commit()?;
        self.meter.committed(begin.elapsed(), &records);
        Ok(records)
    }
}

/// Writes `edits` into an open transaction.
pub(crate) fn apply(transaction: &WriteTransaction, edits: Edits) -> Result<Vec<Record>, IndexError> {
    let Edits {
        plan,
        messages,
        cursors,
        forget_cursors,
        roots,
        volumes,
        coverage,
        waiting,
        notes,
        rotten,
        grown,
    } = edits;
    let mut touched = Touched::new(transaction)?;
    apply_rows(transaction, &plan, touched.as_mut())?;
    put_waiting(transaction, &waiting)?;
    put_notes(transaction, &notes, touched.as_mut())?;
    put_rotten(transaction, &rotten)?;
    if !cursors.is_empty() || !forget_cursors.is_empty() {
        let mut table = transaction.open_table(CURSORS)?;
        for name in &forget_cursors {
            table.remove(name.as_str())?;
        }
        for (name, seq) in &cursors {
            let old = table.get(name.as_str())?.map_or(0, |value| value.value());
            table.insert(name.as_str(), old.max(seq.0))?;
        }
    }
    if !roots.is_empty() {
        let mut table = transaction.open_table(ROOTS)?;
        for root in &roots {
            table.insert(root.id.0, &put_root(root)[..])?;
        }
    }
    if !volumes.is_empty() {
        let mut table = transaction.open_table(VOLUMES)?;
        for (id, volume) in &volumes {
            table.insert(id.0, &put_volume(volume)[..])?;
        }
    }
    if !coverage.is_empty() {
        let mut table = transaction.open_table(COVERAGE)?;
        for (id, blind) in &coverage {
            match blind {
                Some(blind) => table.insert(key(*id), &put_blind(blind)[..])?,
                None => table.remove(key(*id))?,
            };
        }
    }
    end_blindness(transaction, &plan)?;
    if let Some(mut touched) = touched {
        coverage.iter().for_each(|(id, _)| touched.sight(*id));
        touched.settle(transaction, grown)?;
    }
    let mut records = plan.records;
    for message in messages {
        let Message { seen, how, root, body } = message;
        records.push(Record { seq: Seq(records.len() as u64 + 1), seen, how, root, body });
    }
    append(transaction, &mut records)?;
    Ok(records)
}

/// What ended is not blind any more.
fn end_blindness(transaction: &WriteTransaction, plan: &Plan) -> Result<(), IndexError> {
    let mut ended = plan.rows.iter().filter(|(_, row)| row.is_none()).peekable();
    if ended.peek().is_none() {
        return Ok(());
    }
    let mut table = transaction.open_table(COVERAGE)?;
    if !table.is_empty()? {
        for (id, _) in ended {
            table.remove(key(*id))?;
        }
    }
    Ok(())
}

fn apply_rows(
    transaction: &WriteTransaction,
    plan: &Plan,
    mut touched: Option<&mut Touched>,
) -> Result<(), IndexError> {
    let mut bytes = Vec::with_capacity(256);
    if !plan.rows.is_empty() {
        let mut table = transaction.open_table(ENTRIES)?;
        let mut contents = Contents::open(transaction)?;
        for (id, row) in &plan.rows {
            let old = match row {
                Some(row) => {
                    bytes.clear();
                    put_row(&mut bytes, *id, row);
                    table.insert(key(*id), &bytes[..])?
                }
                None => table.remove(key(*id))?,
            };
            if let (Some(contents), Some(touched)) = (&mut contents, touched.as_deref_mut()) {
                contents.changed(*id, old.as_ref().map(|old| old.value()), row.as_ref(), touched)?;
            }
        }
    }
    if !plan.names.is_empty() {
        let mut table = transaction.open_table(NAMES)?;
        for (place, target) in &plan.names {
            if let Some(touched) = touched.as_deref_mut() {
                touched.name(place);
            }
            let key = name_key(place.dir, &place.name);
            match target {
                Some(target) => drop(table.insert(&key[..], target_value(*target))?),
                None => drop(table.remove(&key[..])?),
            }
        }
    }
    if !plan.links.is_empty() {
        let mut table = transaction.open_table(LINKS)?;
        for (id, place, add) in &plan.links {
            let key = link_key(*id, place);
            if *add {
                table.insert(&key[..], ())?;
            } else {
                table.remove(&key[..])?;
            }
        }
    }
    if !plan.totals.is_empty() {
        let mut table = transaction.open_table(TOTALS)?;
        for (id, totals) in &plan.totals {
            match totals {
                Some(totals) => {
                    bytes.clear();
                    put_totals(&mut bytes, totals);
                    table.insert(key(*id), &bytes[..])?;
                }
                None => drop(table.remove(key(*id))?),
            }
        }
    }
    if !plan.detached.is_empty() {
        let mut table = transaction.open_table(DETACHED)?;
        for (id, detached) in &plan.detached {
            match detached {
                Some(detached) => table.insert(key(*id), &put_detached(detached)[..])?,
                None => table.remove(key(*id))?,
            };
        }
    }
    Ok(())
}

/// Numbers `records` after the last one and appends them in blocks.
fn append(transaction: &WriteTransaction, records: &mut [Record]) -> Result<(), IndexError> {
    if records.is_empty() {
        return Ok(());
    }
    let mut meta = transaction.open_table(META)?;
    let base = meta_word(&meta, META_SEQ)?;
    for record in &mut *records {
        record.seq.0 += base;
        if let Body::Change(change) = &mut record.body
            && let Some(pair) = &mut change.pair
        {
            pair.0 += base;
        }
    }
    let mut table = transaction.open_table(JOURNAL)?;
    debug_assert!(records[0].seq.0 == base + 1, "seqs are gapless");
    let mut written = 0;
    for chunk in records.chunks(BLOCK_RECORDS) {
        let bytes = block(chunk);
        written += bytes.len() as u64;
        table.insert(chunk[0].seq.0, &bytes[..])?;
    }
    let journal_bytes = meta_word(&meta, META_JOURNAL_BYTES)?;
    meta.insert(META_SEQ, base + records.len() as u64)?;
    meta.insert(META_JOURNAL_BYTES, journal_bytes + written)?;
    Ok(())
}

pub(crate) fn meta_word(meta: &Table<'_, &str, u64>, word: &str) -> Result<u64, IndexError> {
    Ok(meta.get(word)?.map_or(0, |value| value.value()))
}
