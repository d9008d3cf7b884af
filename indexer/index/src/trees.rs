//! Digests of directories: one number over the names in a directory and the contents behind them, all the way down. Kept with the
//! rows, where contents are; a directory has one only while everything below it is known.

mod follow;
mod grow;

use record::{Digest, DigestKind, EntryId, Kind, Row, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata as _};

use crate::bytes::{Cursor, put};
use crate::error::{Corrupt, IndexError};
use crate::reader::Reader;
use crate::tables::key;

pub(crate) use self::follow::{Touched, begin_anew};

/// A directory of which everything below is known. `digest`, `bytes` and `files` are equal where names and contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Over the names in it, in byte order, and the digests behind them.
    pub digest: [u8; 32],
    /// Bytes of the files below, one that has two names there twice.
    pub bytes: u64,
    /// Names of files below.
    pub files: u64,
    /// Some file below has several names.
    pub linked: bool,
    /// Some file below shares its place on the disk, as far as that was known.
    pub shared: bool,
}

/// What came of looking through a directory that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    dir: EntryId,
    /// When it became due. If that moved on meanwhile, this is of the past.
    turn: u64,
    what: What,
    /// Directories in it whose digests were made beside this one.
    uses: Vec<EntryId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Tree(Tree),
    /// What lies at this name in it is not known; no name: it cannot be looked into itself.
    Lacks(Box<[u8]>),
    /// It is no directory.
    Gone,
}

const LACKS: u8 = 0;
const KNOWN: u8 = 1;
const LINKED: u8 = 1 << 1;
const SHARED: u8 = 1 << 2;

fn put_what(out: &mut Vec<u8>, what: &What) {
    match what {
        What::Tree(tree) => {
            let flag = |on: bool, bit: u8| if on { bit } else { 0 };
            out.push(KNOWN | flag(tree.linked, LINKED) | flag(tree.shared, SHARED));
            out.extend_from_slice(&tree.digest);
            put(out, u128::from(tree.bytes));
            put(out, u128::from(tree.files));
        }
        What::Lacks(name) => {
            out.push(LACKS);
            out.extend_from_slice(name);
        }
        What::Gone => {}
    }
}

fn what(bytes: &[u8]) -> Result<What, Corrupt> {
    let mut from = Cursor::new(bytes);
    let flags = from.byte()?;
    if flags & KNOWN == 0 {
        return Ok(What::Lacks(bytes[1..].into()));
    }
    let digest = from.take(32)?.try_into().map_err(|_| Corrupt("ends early"))?;
    let (bytes, files) = (from.uint()?, from.uint()?);
    from.end()?;
    let (linked, shared) = (flags & LINKED != 0, flags & SHARED != 0);
    Ok(What::Tree(Tree { digest, bytes, files, linked, shared }))
}

fn damaged(dir: EntryId) -> impl FnOnce(Corrupt) -> IndexError {
    move |error| IndexError::damaged(format!("tree {dir}"), error)
}

/// What an entry adds to the digest of a directory by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    word: Word,
    linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Directory,
    Empty,
    Content(Digest, u64),
}

/// `None` where that is not known: a file that was not read in full, or what has no content.
fn share(row: &Row) -> Option<Share> {
    let word = match row.stat.kind {
        Kind::Directory => Word::Directory,
        Kind::File if row.stat.size == 0 => Word::Empty,
        Kind::File => {
            let digest = row.current_digest().filter(|digest| digest.kind != DigestKind::Blake3Sampled)?;
            Word::Content(digest, row.stat.size)
        }
        _ => return None,
    };
    Some(Share { word, linked: row.many_names })
}

impl Reader {
    /// What is known of a directory, if everything below it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tree(&self, dir: EntryId) -> Result<Option<Tree>, IndexError> {
        match self.what_of(dir)? {
            Some(What::Tree(tree)) => Ok(Some(tree)),
            _ => Ok(None),
        }
    }

    fn what_of(&self, dir: EntryId) -> Result<Option<What>, IndexError> {
        let Some(value) = self.trees.get(key(dir))? else { return Ok(None) };
        what(value.value()).map(Some).map_err(damaged(dir))
    }

    /// Directories with this digest, by number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn with_tree(&self, digest: &[u8; 32]) -> Result<Vec<EntryId>, IndexError> {
        let mut found = Vec::new();
        for item in self.tree_digests.range((*digest, 0, 0)..=(*digest, u32::MAX, u64::MAX))? {
            let (_, volume, inode) = item?.0.value();
            found.push(EntryId::new(VolumeId(volume), inode));
        }
        Ok(found)
    }

    /// Calls `each` with every digest of a directory, the bytes below it and its number, by digest and number, until it answers
    /// false.
    ///
    /// # Errors
    /// When the file cannot be read, or what `each` answers.
    pub fn each_tree<E: From<IndexError>>(
        &self,
        mut each: impl FnMut([u8; 32], u64, EntryId) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.tree_digests.iter().map_err(IndexError::from)? {
            let (at, bytes) = item.map_err(IndexError::from)?;
            let (digest, volume, inode) = at.value();
            if !each(digest, bytes.value(), EntryId::new(VolumeId(volume), inode))? {
                break;
            }
        }
        Ok(())
    }

    /// How many directories are to be looked through.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_due_trees(&self) -> Result<u64, IndexError> {
        Ok(self.trees_due.len()?)
    }

    fn due_since(&self, dir: EntryId) -> Result<Option<u64>, IndexError> {
        Ok(self.trees_due.get(key(dir))?.map(|turn| turn.value()))
    }
}
