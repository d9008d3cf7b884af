//! What is known of contents beside their digests: hashes of ends, proofs, places on the disk, and what rotted. Told from outside;
//! rows only end it.

use record::{Digest, EntryId, Time};
use redb::{ReadableTable, ReadableTableMetadata as _, WriteTransaction};

use crate::bytes::{Cursor, put, put_signed};
use crate::error::{Corrupt, IndexError};
use crate::reader::Reader;
use crate::row_code::{digest, put_digest, row};
use crate::sets::{Sets, current};
use crate::tables::{ENTRIES, NOTES, ROTTEN, id, key};
use crate::trees::Touched;

/// What is known of a content beside its digest. `head` and `tail` speak of the file while its stat is this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Size when it was read, in bytes.
    pub size: u64,
    /// Modification time then.
    pub modified: Time,
    /// Change time then.
    pub changed: Time,
    /// A hash of the first bytes.
    pub head: Option<[u8; 16]>,
    /// A hash of the last bytes.
    pub tail: Option<[u8; 16]>,
    /// When the whole content was last read and was what the row's digest says.
    pub proved: Option<Time>,
    /// A hash of where on the volume the content lies: files that share all of it have the same.
    pub extents: Option<u64>,
}

/// A content that changed while nothing else of its file did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// What the digest was.
    pub was: Digest,
    /// When that was found.
    pub found: Time,
}

const HAS_HEAD: u8 = 1;
const HAS_TAIL: u8 = 1 << 1;
const HAS_PROOF: u8 = 1 << 2;
const HAS_EXTENTS: u8 = 1 << 3;

fn put_note(out: &mut Vec<u8>, note: &Note) {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(
        flag(note.head.is_some(), HAS_HEAD)
            | flag(note.tail.is_some(), HAS_TAIL)
            | flag(note.proved.is_some(), HAS_PROOF)
            | flag(note.extents.is_some(), HAS_EXTENTS),
    );
    put(out, u128::from(note.size));
    put_signed(out, note.modified.0);
    put_signed(out, note.changed.0);
    for token in note.head.iter().chain(&note.tail) {
        out.extend_from_slice(token);
    }
    if let Some(proved) = note.proved {
        put_signed(out, proved.0);
    }
    if let Some(extents) = note.extents {
        out.extend_from_slice(&extents.to_be_bytes());
    }
}

fn note(bytes: &[u8]) -> Result<Note, Corrupt> {
    let mut from = Cursor::new(bytes);
    let flags = from.byte()?;
    let has = |bit| flags & bit != 0;
    let (size, modified, changed) = (from.uint()?, Time(from.signed()?), Time(from.signed()?));
    let head = if has(HAS_HEAD) { Some(array(&mut from)?) } else { None };
    let tail = if has(HAS_TAIL) { Some(array(&mut from)?) } else { None };
    let proved = if has(HAS_PROOF) { Some(Time(from.signed()?)) } else { None };
    let extents = if has(HAS_EXTENTS) { Some(u64::from_be_bytes(array(&mut from)?)) } else { None };
    from.end()?;
    Ok(Note { size, modified, changed, head, tail, proved, extents })
}

fn array<const N: usize>(from: &mut Cursor<'_>) -> Result<[u8; N], Corrupt> {
    from.take(N)?.try_into().map_err(|_| Corrupt("ends early"))
}

fn rot(bytes: &[u8]) -> Result<Rot, Corrupt> {
    let mut from = Cursor::new(bytes);
    let rot = Rot { was: digest(&mut from)?, found: Time(from.signed()?) };
    from.end()?;
    Ok(rot)
}

fn damaged_note(id: EntryId) -> impl FnOnce(Corrupt) -> IndexError {
    move |error| IndexError::damaged(format!("content {id}"), error)
}

/// Whether it is known where on the disk a file lies.
pub(crate) fn is_placed(
    notes: &impl ReadableTable<(u32, u64), &'static [u8]>,
    id: EntryId,
) -> Result<bool, IndexError> {
    let flags = notes.get(key(id))?.and_then(|note| note.value().first().copied());
    Ok(flags.is_some_and(|flags| flags & HAS_EXTENTS != 0))
}

pub(crate) fn put_notes(
    transaction: &WriteTransaction,
    notes: &[(EntryId, Option<Note>)],
    mut touched: Option<&mut Touched>,
) -> Result<(), IndexError> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(NOTES)?;
    let entries = transaction.open_table(ENTRIES)?;
    let mut sets = Sets::open(transaction)?;
    let mut bytes = Vec::with_capacity(96);
    for (id, note) in notes {
        let was = is_placed(&table, *id)?;
        let is = note.is_some_and(|note| note.extents.is_some());
        if let Some(note) = note {
            bytes.clear();
            put_note(&mut bytes, note);
            table.insert(key(*id), &bytes[..])?;
        } else {
            table.remove(key(*id))?;
        }
        if was == is {
            continue;
        }
        if let Some(touched) = touched.as_deref_mut() {
            touched.entry(*id);
            let row = entries.get(key(*id))?.map(|bytes| row(*id, bytes.value())).transpose();
            let row = row.map_err(|error| IndexError::damaged(format!("row {id}"), error))?;
            if let Some((digest, _)) = row.as_ref().and_then(current) {
                sets.place(&digest, is)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn put_rotten(
    transaction: &WriteTransaction,
    rotten: &[(EntryId, Option<Rot>)],
) -> Result<(), IndexError> {
    if rotten.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(ROTTEN)?;
    for (id, rot) in rotten {
        match rot {
            Some(rot) => {
                let mut bytes = Vec::with_capacity(48);
                put_digest(&mut bytes, &rot.was);
                put_signed(&mut bytes, rot.found.0);
                table.insert(key(*id), &bytes[..])?;
            }
            None => drop(table.remove(key(*id))?),
        }
    }
    Ok(())
}

impl Reader {
    /// What else is known of a content.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn note(&self, id: EntryId) -> Result<Option<Note>, IndexError> {
        let Some(value) = self.notes.get(key(id))? else { return Ok(None) };
        note(value.value()).map(Some).map_err(damaged_note(id))
    }

    /// Calls `each` with every note until it answers false.
    ///
    /// # Errors
    /// When the file cannot be read, or what `each` answers.
    pub fn each_note<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(EntryId, Note) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.notes.iter().map_err(IndexError::from)? {
            let (at, value) = item.map_err(IndexError::from)?;
            let id = id(at.value());
            if !each(id, note(value.value()).map_err(damaged_note(id))?)? {
                break;
            }
        }
        Ok(())
    }

    /// Files of which the content was last read as a whole before `time`, by number, from `from` on, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unproved(&self, time: Time, from: EntryId, most: usize) -> Result<Vec<EntryId>, IndexError> {
        let mut found = Vec::new();
        for item in self.notes.range(key(from)..)? {
            let (at, value) = item?;
            let id = id(at.value());
            let note = note(value.value()).map_err(damaged_note(id))?;
            if note.proved.is_some_and(|proved| proved < time) {
                found.push(id);
                if found.len() >= most {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Files whose contents rotted, by number, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rotten(&self, most: usize) -> Result<Vec<(EntryId, Rot)>, IndexError> {
        let mut found = Vec::new();
        for item in self.rotten.iter()?.take(most) {
            let (at, value) = item?;
            let id = id(at.value());
            found.push((id, rot(value.value()).map_err(damaged_note(id))?));
        }
        Ok(found)
    }

    /// How many they are.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_rotten(&self) -> Result<u64, IndexError> {
        Ok(self.rotten.len()?)
    }
}
