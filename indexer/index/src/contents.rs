//! What follows from rows about contents: which sizes and which digests several files have, and what waits to be read. Kept
//! in the transaction of the rows, from the first time that contents are asked for.

use std::sync::PoisonError;

use record::{DigestKind, EntryId, Hashing, Kind, Reading, Row, Time, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};

use crate::error::IndexError;
use crate::file::Index;
use crate::notes::is_placed;
use crate::reader::Reader;
use crate::row_code::row;
use crate::sets::{Sets, current};
use crate::tables::{DIGESTS, ENTRIES, META, NOTES, PENDING, ROTTEN, SETS, SIZES, id, key};
use crate::trees::{Touched, begin_anew};

/// Whether the tables of this module are what the rows say: [`KEPT`], or [`BEHIND`].
pub(crate) const META_CONTENTS: &str = "contents";
/// What is read, and the digest made of it.
const META_HASHING: &str = "hashing";
const KEPT: u64 = 1;
/// Rows came in past this module: they are to be gone through.
const BEHIND: u64 = 2;

/// Files that are sorted in memory at once while the tables are made: some 24 MB.
const MOST_SORTED: usize = 1 << 20;

/// Nanoseconds in the unit that waiting is kept in.
const MILLI: i128 = 1_000_000;

/// A file that waits to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The file.
    pub id: EntryId,
    /// Since when.
    pub since: Time,
}

type SizeKey = (u64, u32, u64);

/// Where a row stands in `sizes`.
fn size_key(id: EntryId, row: &Row) -> Option<SizeKey> {
    let file = row.stat.kind == Kind::File && row.stat.size > 0;
    file.then_some((row.stat.size, id.volume.0, id.inode))
}

/// The tables, while rows change.
pub(crate) struct Contents<'t> {
    hashing: Hashing,
    sizes: Table<'t, SizeKey, ()>,
    sets: Sets<'t>,
    pending: Table<'t, (u32, u64), i64>,
    notes: Table<'t, (u32, u64), &'static [u8]>,
    rotten: Table<'t, (u32, u64), &'static [u8]>,
}

/// Whether what follows from rows about contents is kept with them.
pub(crate) fn is_kept(meta: &impl ReadableTable<&'static str, u64>) -> Result<bool, IndexError> {
    Ok(meta.get(META_CONTENTS)?.is_some_and(|word| word.value() == KEPT))
}

impl<'t> Contents<'t> {
    /// `None` where contents were never asked for, or are to be gone through anyway.
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Option<Contents<'t>>, IndexError> {
        let meta = transaction.open_table(META)?;
        if !is_kept(&meta)? {
            return Ok(None);
        }
        let hashing = meta.get(META_HASHING)?.map_or(0, |word| word.value());
        Ok(Some(Contents {
            hashing: hashing_of(hashing),
            sizes: transaction.open_table(SIZES)?,
            sets: Sets::open(transaction)?,
            pending: transaction.open_table(PENDING)?,
            notes: transaction.open_table(NOTES)?,
            rotten: transaction.open_table(ROTTEN)?,
        }))
    }

    /// A row was written or removed; `old`: its bytes before.
    pub(crate) fn changed(
        &mut self,
        id: EntryId,
        old: Option<&[u8]>,
        new: Option<&Row>,
        touched: &mut Touched,
    ) -> Result<(), IndexError> {
        let old = old.map(|bytes| row(id, bytes)).transpose();
        let old = old.map_err(|error| IndexError::damaged(format!("row {id}"), error))?;
        touched.row(id, old.as_ref(), new);
        let (was, is) =
            (old.as_ref().and_then(|row| size_key(id, row)), new.and_then(|row| size_key(id, row)));
        if was != is {
            if let Some(was) = was {
                self.sizes.remove(was)?;
            }
            if let Some(is) = is {
                self.sizes.insert(is, ())?;
            }
        }
        let same = |new: &Row| old.as_ref().is_some_and(|old| old.stat.created == new.stat.created);
        let noted = old.is_none() || new.is_some_and(same);
        let (was, is) = (old.as_ref().and_then(current), new.and_then(current));
        if was != is || (is.is_some() && !noted) {
            let placed = is_placed(&self.notes, id)?;
            if let Some((was, _)) = was {
                self.sets.remove(id, &was, placed)?;
            }
            if let Some(is) = is {
                self.sets.put(id, is, placed && noted, |other| is_placed(&self.notes, other))?;
            }
        }
        if !noted {
            self.notes.remove(key(id))?;
        }
        if let Some(old) = &old
            && !new.is_some_and(|new| same(new) && new.stat.same_content(&old.stat))
        {
            // Whatever it held before, somebody wrote it, or it is gone.
            self.rotten.remove(key(id))?;
        }
        match new {
            Some(new) if self.is_due(id, new)? => {
                if self.pending.get(key(id))?.is_none() {
                    self.pending.insert(key(id), milliseconds(new.looked_at))?;
                }
            }
            // In doubt already, and carried on under another name: still in doubt.
            Some(new)
                if new.current_digest().is_some() && new.digest.is_some_and(|digest| digest.carried) => {}
            _ => drop(self.pending.remove(key(id))?),
        }
        Ok(())
    }

    fn is_due(&self, id: EntryId, row: &Row) -> Result<bool, IndexError> {
        let wanted = !row.writing && self.hashing.wants(&row.stat, row.current_digest());
        if !wanted || self.hashing.reading != Reading::Candidates {
            return Ok(wanted);
        }
        // The other one, if it was alone until now, is found by its size.
        let size = row.stat.size;
        let mut same = self.sizes.range((size, 0, 0)..=(size, u32::MAX, u64::MAX))?.take(2);
        same.try_fold(false, |other, item| {
            let (_, volume, inode) = item?.0.value();
            Ok(other || EntryId::new(VolumeId(volume), inode) != id)
        })
    }
}

fn milliseconds(time: Time) -> i64 {
    i64::try_from(time.0.div_euclid(MILLI)).unwrap_or(0)
}

fn hashing_of(word: u64) -> Hashing {
    let reading = Reading::ALL.get((word & 0xff) as usize).copied().unwrap_or_default();
    let kind =
        if word >> 8 == DigestKind::Blake2b256 as u64 { DigestKind::Blake2b256 } else { DigestKind::Blake3 };
    Hashing { reading, kind }
}

fn hashing_word(hashing: Hashing) -> u64 {
    hashing.reading as u64 | (hashing.kind as u64) << 8
}

/// Rows come in past this module.
pub(crate) fn fall_behind(transaction: &WriteTransaction) -> Result<(), IndexError> {
    let mut meta = transaction.open_table(META)?;
    if is_kept(&meta)? {
        meta.insert(META_CONTENTS, BEHIND)?;
    }
    Ok(())
}

pub(crate) fn put_waiting(
    transaction: &WriteTransaction,
    waiting: &[(EntryId, Option<Time>)],
) -> Result<(), IndexError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(PENDING)?;
    for (id, since) in waiting {
        match since {
            Some(since) => table.insert(key(*id), milliseconds(*since))?,
            None => table.remove(key(*id))?,
        };
    }
    Ok(())
}

impl Index {
    /// Keeps what follows from rows about contents from now on, and notes what is read. Goes through all rows where that was
    /// not so before: about a second for a million.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn keep_contents(&self, hashing: Hashing) -> Result<(), IndexError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let word = |word: &str| -> Result<Option<u64>, IndexError> {
            Ok(self.begin_read()?.open_table(META)?.get(word)?.map(|value| value.value()))
        };
        let state = word(META_CONTENTS)?;
        let never = state.is_none() && hashing.reading == Reading::None;
        if never || (state == Some(KEPT) && word(META_HASHING)? == Some(hashing_word(hashing))) {
            return Ok(());
        }
        let transaction = self.begin_write()?;
        if state != Some(KEPT) {
            transaction.delete_table(SIZES)?;
            transaction.delete_table(DIGESTS)?;
            transaction.delete_table(SETS)?;
            self.gather(&transaction)?;
        }
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(META_CONTENTS, KEPT)?;
            meta.insert(META_HASHING, hashing_word(hashing))?;
        }
        transaction.commit()?;
        self.meter.step();
        Ok(())
    }

    fn gather(&self, transaction: &WriteTransaction) -> Result<(), IndexError> {
        let entries = transaction.open_table(ENTRIES)?;
        let mut sizes = transaction.open_table(SIZES)?;
        let notes = transaction.open_table(NOTES)?;
        let mut sets = Sets::open(transaction)?;
        let mut directories = Vec::new();
        let mut sorted: Vec<SizeKey> = Vec::new();
        let mut spill = |sorted: &mut Vec<SizeKey>| -> Result<(), IndexError> {
            sorted.sort_unstable();
            for key in sorted.drain(..) {
                sizes.insert(key, ())?;
            }
            self.meter.step();
            Ok(())
        };
        for item in entries.iter()? {
            let (at, value) = item?;
            let id = id(at.value());
            let row =
                row(id, value.value()).map_err(|error| IndexError::damaged(format!("row {id}"), error))?;
            if row.stat.is_directory() {
                directories.push(id);
            }
            sorted.extend(size_key(id, &row));
            if let Some(digest) = current(&row) {
                sets.put(id, digest, is_placed(&notes, id)?, |other| is_placed(&notes, other))?;
            }
            if sorted.len() >= MOST_SORTED {
                spill(&mut sorted)?;
            }
        }
        spill(&mut sorted)?;
        begin_anew(transaction, directories.into_iter())
    }
}

impl Reader {
    /// What is read; nothing where that was never asked for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn hashing(&self) -> Result<Hashing, IndexError> {
        Ok(hashing_of(self.meta.get(META_HASHING)?.map_or(0, |word| word.value())))
    }

    /// Whether what follows from rows about contents is kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn keeps_contents(&self) -> Result<bool, IndexError> {
        is_kept(&self.meta)
    }

    /// Files that wait to be read, by number from `from` on, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pending_contents(&self, from: EntryId, most: usize) -> Result<Vec<Pending>, IndexError> {
        let mut found = Vec::new();
        for item in self.pending.range(key(from)..)?.take(most) {
            let (at, since) = item?;
            found.push(Pending { id: id(at.value()), since: Time(i128::from(since.value()) * MILLI) });
        }
        Ok(found)
    }

    /// Whether a file waits to be read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_pending(&self, id: EntryId) -> Result<bool, IndexError> {
        Ok(self.pending.get(key(id))?.is_some())
    }

    /// How many files wait to be read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_pending(&self) -> Result<u64, IndexError> {
        Ok(self.pending.len()?)
    }

    /// Regular files that are not empty with their sizes, by size and number, after `after`, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn by_size(&self, after: (u64, EntryId), most: usize) -> Result<Vec<(u64, EntryId)>, IndexError> {
        let (size, last) = after;
        let start = std::ops::Bound::Excluded((size, last.volume.0, last.inode));
        let mut found = Vec::new();
        for item in self.sizes.range::<SizeKey>((start, std::ops::Bound::Unbounded))?.take(most) {
            let (size, volume, inode) = item?.0.value();
            found.push((size, EntryId::new(VolumeId(volume), inode)));
        }
        Ok(found)
    }

    /// Files of this size, by number, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_size(&self, size: u64, most: usize) -> Result<Vec<EntryId>, IndexError> {
        let mut found = Vec::new();
        for item in self.sizes.range((size, 0, 0)..=(size, u32::MAX, u64::MAX))?.take(most) {
            let (_, volume, inode) = item?.0.value();
            found.push(EntryId::new(VolumeId(volume), inode));
        }
        Ok(found)
    }

    /// How many files have a current digest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_digests(&self) -> Result<u64, IndexError> {
        Ok(self.digests.len()?)
    }

    /// How many regular files there are that are not empty.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_sizes(&self) -> Result<u64, IndexError> {
        Ok(self.sizes.len()?)
    }

    /// Calls `fault` where the tables are not what the rows say.
    pub(crate) fn check_contents(&self, mut fault: impl FnMut(EntryId, &str)) -> Result<(), IndexError> {
        if !self.keeps_contents()? {
            return Ok(());
        }
        let (mut sizes, mut digests) = (0, 0);
        self.each_row::<IndexError>(|id, row| {
            if let Some(key) = size_key(id, &row) {
                sizes += 1;
                if self.sizes.get(key)?.is_none() {
                    fault(id, "its size is not where it is looked for");
                }
            }
            if let Some((digest, size)) = current(&row) {
                digests += 1;
                if self.size_at(&digest, id)? != Some(size) {
                    fault(id, "its digest is not where it is looked for");
                }
            }
            Ok(true)
        })?;
        let nowhere = EntryId::new(VolumeId(0), 0);
        if sizes != self.count_sizes()? {
            fault(nowhere, "there are sizes of files that have others");
        }
        if digests != self.count_digests()? {
            fault(nowhere, "there are digests of files that have others");
        }
        if !self.sets_follow_digests()? {
            fault(nowhere, "sets of files with equal contents are not those of the digests");
        }
        for item in self.pending.iter()? {
            let id = id(item?.0.value());
            if reconcile::Stored::row(self, id)?.is_none_or(|row| row.stat.kind != Kind::File) {
                fault(id, "it waits to be read and is no file");
            }
        }
        self.check_trees(fault)
    }
}
