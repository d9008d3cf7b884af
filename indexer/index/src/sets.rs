//! Digests, and the sets of files that have one together: how many they are is kept, so that nobody has to count them.

use record::{Digest, DigestKind, EntryId, Row, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};

use crate::error::{Corrupt, IndexError};
use crate::notes::is_placed;
use crate::reader::Reader;
use crate::tables::{DIGESTS, SETS};

/// Files with one digest: two or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Set {
    /// What they have together; never a sampled one, which does not tell that they are equal.
    pub digest: Digest,
    /// Bytes in each.
    pub size: u64,
    /// How many they are.
    pub copies: u64,
    /// Of how many it is known where on the disk they lie: these may share it.
    pub placed: u64,
}

type DigestKey = (u8, [u8; 32], u32, u64);
/// Size, copies, and those that are placed.
type Counts = (u64, u64, u64);

/// A digest of a row that is current, and the row's size.
pub(crate) fn current(row: &Row) -> Option<(Digest, u64)> {
    let digest = row.current_digest().filter(|_| row.stat.size > 0)?;
    Some((digest, row.stat.size))
}

fn digest_key(digest: &Digest, id: EntryId) -> DigestKey {
    (digest.kind as u8, digest.bytes, id.volume.0, id.inode)
}

fn of_key((kind, bytes, volume, inode): DigestKey) -> Result<(Digest, EntryId), IndexError> {
    Ok((digest(kind, bytes)?, EntryId::new(VolumeId(volume), inode)))
}

fn digest(kind: u8, bytes: [u8; 32]) -> Result<Digest, IndexError> {
    [DigestKind::Blake3, DigestKind::Blake2b256, DigestKind::Blake3Sampled]
        .into_iter()
        .find(|known| *known as u8 == kind)
        .map(|kind| Digest { kind, bytes })
        .ok_or_else(|| IndexError::damaged("digests".to_owned(), Corrupt("unknown digest kind")))
}

fn others(
    digests: &impl ReadableTable<DigestKey, u64>,
    digest: &Digest,
    most: usize,
) -> Result<Vec<EntryId>, IndexError> {
    let (kind, bytes) = (digest.kind as u8, digest.bytes);
    let mut found = Vec::new();
    for item in digests.range((kind, bytes, 0, 0)..=(kind, bytes, u32::MAX, u64::MAX))?.take(most) {
        found.push(of_key(item?.0.value())?.1);
    }
    Ok(found)
}

/// The tables, while digests change.
pub(crate) struct Sets<'t> {
    digests: Table<'t, DigestKey, u64>,
    sets: Table<'t, (u8, [u8; 32]), Counts>,
}

impl<'t> Sets<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Sets<'t>, IndexError> {
        Ok(Sets { digests: transaction.open_table(DIGESTS)?, sets: transaction.open_table(SETS)? })
    }

    /// A file came to have this digest, and is placed or not; `placed_of` tells that of another file.
    pub(crate) fn put(
        &mut self,
        id: EntryId,
        (digest, size): (Digest, u64),
        placed: bool,
        placed_of: impl FnOnce(EntryId) -> Result<bool, IndexError>,
    ) -> Result<(), IndexError> {
        if digest.kind != DigestKind::Blake3Sampled {
            let known = self.sets.get((digest.kind as u8, digest.bytes))?.map(|counts| counts.value());
            let before = match (known, others(&self.digests, &digest, 1)?.first()) {
                (Some((_, copies, placed)), _) => Some((copies, placed)),
                (None, Some(other)) => Some((1, u64::from(placed_of(*other)?))),
                (None, None) => None,
            };
            if let Some((copies, known)) = before {
                let counts = (size, copies + 1, known + u64::from(placed));
                self.sets.insert((digest.kind as u8, digest.bytes), counts)?;
            }
        }
        self.digests.insert(digest_key(&digest, id), size)?;
        Ok(())
    }

    /// A file, that was placed or not, has it no more.
    pub(crate) fn remove(&mut self, id: EntryId, digest: &Digest, placed: bool) -> Result<(), IndexError> {
        self.digests.remove(digest_key(digest, id))?;
        self.count(digest, |(size, copies, known)| {
            (size, copies.saturating_sub(1), known.saturating_sub(u64::from(placed)))
        })
    }

    /// It became known where a file with this digest lies, or is not known any more.
    pub(crate) fn place(&mut self, digest: &Digest, placed: bool) -> Result<(), IndexError> {
        self.count(digest, |(size, copies, known)| {
            (size, copies, if placed { known + 1 } else { known.saturating_sub(1) })
        })
    }

    fn count(&mut self, digest: &Digest, to: impl FnOnce(Counts) -> Counts) -> Result<(), IndexError> {
        let key = (digest.kind as u8, digest.bytes);
        let Some(counts) = self.sets.get(key)?.map(|counts| counts.value()) else { return Ok(()) };
        let counts = to(counts);
        if counts.1 > 1 {
            self.sets.insert(key, counts)?
        } else {
            self.sets.remove(key)?
        };
        Ok(())
    }
}

impl Reader {
    /// The set of files with this digest, if there are several.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn set(&self, digest: &Digest) -> Result<Option<Set>, IndexError> {
        let counts = self.sets.get((digest.kind as u8, digest.bytes))?;
        Ok(counts.map(|counts| set(*digest, counts.value())))
    }

    /// Calls `each` with every set, by digest, until it answers false.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or what `each` answers.
    pub fn each_set<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(Set) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.sets.iter().map_err(IndexError::from)? {
            let (at, counts) = item.map_err(IndexError::from)?;
            let (kind, bytes) = at.value();
            if !each(set(digest(kind, bytes)?, counts.value()))? {
                break;
            }
        }
        Ok(())
    }

    /// Files whose current digest is this one, by number, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn with_digest(&self, digest: &Digest, most: usize) -> Result<Vec<EntryId>, IndexError> {
        others(&self.digests, digest, most)
    }

    /// Calls `each` with every current digest, its size and its file, by digest and number, until it answers false.
    pub(crate) fn each_digest<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(Digest, u64, EntryId) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.digests.iter().map_err(IndexError::from)? {
            let (at, size) = item.map_err(IndexError::from)?;
            let (digest, id) = of_key(at.value())?;
            if !each(digest, size.value(), id)? {
                break;
            }
        }
        Ok(())
    }

    /// The size by which a file stands where its digest is looked for.
    pub(crate) fn size_at(&self, digest: &Digest, id: EntryId) -> Result<Option<u64>, IndexError> {
        Ok(self.digests.get(digest_key(digest, id))?.map(|size| size.value()))
    }

    /// Whether the sets are those of the digests.
    pub(crate) fn sets_follow_digests(&self) -> Result<bool, IndexError> {
        let (mut equal, mut counted) = (true, 0);
        let mut last: Option<Set> = None;
        let mut end = |set: Option<Set>| -> Result<bool, IndexError> {
            let Some(set) = set.filter(|set| set.copies > 1) else { return Ok(true) };
            counted += 1;
            Ok(self.set(&set.digest)? == Some(set))
        };
        self.each_digest::<IndexError>(|digest, size, id| {
            if digest.kind == DigestKind::Blake3Sampled {
                return Ok(true);
            }
            let placed = u64::from(is_placed(&self.notes, id)?);
            match &mut last {
                Some(set) if set.digest == digest => {
                    (set.copies, set.placed) = (set.copies + 1, set.placed + placed);
                }
                _ => equal &= end(last.replace(Set { digest, size, copies: 1, placed }))?,
            }
            Ok(equal)
        })?;
        Ok(equal && end(last)? && counted == self.sets.len()?)
    }
}

fn set(digest: Digest, (size, copies, placed): Counts) -> Set {
    Set { digest, size, copies, placed }
}
