//! The index on disk: redb tables, one writer, one transaction for rows and their records. redb lives only
//! here. Knows nothing of file systems: rows come in, rows go out.

mod bytes;
mod check;
mod commit;
mod compare;
mod contents;
mod error;
mod file;
mod guard;
mod journal;
mod journal_code;
mod meter;
mod notes;
mod pages;
mod paths;
mod published;
mod reader;
mod roots;
mod row_code;
mod rows;
mod seed;
mod sets;
mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trees;

pub use check::{Check, Fault, Sizes};
pub use commit::{Edits, Message};
pub use compare::Sighting;
pub use contents::Pending;
pub use error::{Corrupt, IndexError, OpenError};
pub use file::{FORMAT, Index, Repair, Settings};
pub use guard::caught;
pub use journal::{Retention, Since};
pub use meter::{COMMIT_BUCKETS_MS, Counted, RECORD_WORDS};
pub use notes::{Note, Rot};
pub use paths::{Paths, Way, Ways};
pub use published::Published;
pub use reader::{Child, Reader};
pub use roots::{Blind, RootRow, VolumeRow};
pub use rows::Rows;
pub use seed::{
    Begun, Listing, Loaded, Seed, SeedKey, SeedKeyRoot, SeedRoot, SeedWorker, Unlisted, Waiting, sum_of,
};
pub use sets::Set;
pub use trees::{Grown, Tree};

/// Decoders on bytes from outside, for fuzzing.
#[doc(hidden)]
pub mod fuzz {
    use record::{EntryId, Record, Row, Seq};

    use crate::Corrupt;

    /// Decodes a row.
    ///
    /// # Errors
    /// On any bytes that are not one.
    pub fn row(id: EntryId, bytes: &[u8]) -> Result<Row, Corrupt> {
        crate::row_code::row(id, bytes)
    }

    /// Encodes a row.
    #[must_use]
    pub fn put_row(id: EntryId, row: &Row) -> Vec<u8> {
        let mut out = Vec::new();
        crate::row_code::put_row(&mut out, id, row);
        out
    }

    /// Decodes a journal block.
    ///
    /// # Errors
    /// On any bytes that are not one.
    pub fn records(first: Seq, bytes: &[u8]) -> Result<Vec<Record>, Corrupt> {
        crate::journal_code::records(first, bytes)
    }

    /// Encodes a journal block.
    #[must_use]
    pub fn put_records(records: &[Record]) -> Vec<u8> {
        crate::journal_code::block(records)
    }
}

#[cfg(test)]
mod tests;
