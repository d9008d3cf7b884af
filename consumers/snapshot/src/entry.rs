//! One row of a snapshot before it has columns: a name of an entry, on its path. Knows no column and no file.

use record::{Category, Digest, EntryId, Stat, Time};

/// What a row says of the entry, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The entry.
    pub id: EntryId,
    /// Its last look.
    pub stat: Stat,
    /// What sort of file it is; none for what is no regular file.
    pub category: Option<Category>,
    /// Its digest, if that speaks of the content as it is.
    pub digest: Option<Digest>,
    /// When the whole content was last read and was what the digest says.
    pub digest_time: Option<Time>,
}

/// One name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path as text: exact, or escaped where `raw` is there.
    pub text: &'a str,
    /// The bytes of its path, where they are not UTF-8.
    pub raw: Option<&'a [u8]>,
    /// How many levels below the root.
    pub depth: u32,
    /// The entry behind the name.
    pub facts: Facts,
}

/// Of which moment a snapshot is, and of what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Moment {
    /// The journal's epoch: seqs are comparable within one.
    pub epoch: String,
    /// The last record before that moment.
    pub watermark: u64,
    /// When it was read, microseconds since 1970.
    pub taken_us: i64,
    /// The host that keeps the index.
    pub host: String,
    /// The program that tells, and its version.
    pub tool: String,
    /// Roots that are told.
    pub roots: u64,
    /// About so many rows, of all roots.
    pub expected: u64,
}

/// One root.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RootHead {
    /// The bytes of its path.
    pub path: Vec<u8>,
    /// About so many rows.
    pub expected: u64,
}
