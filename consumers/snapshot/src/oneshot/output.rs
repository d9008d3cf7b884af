//! Rows in order into one Parquet file that is aside. Knows not where it is to be.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::aside::Aside;
use crate::entry::Moment;
use crate::error::{Doing as _, SnapshotError};
use crate::receive::{Out, Summed};
use crate::sort::Sorted;
use crate::write::{Form, Rows};

/// Where the footer says of which scan a file is.
pub(super) const SCAN: &str = "indexer.scan";

/// How rows are written, and of what they are.
#[derive(Clone, Debug)]
pub struct Output {
    /// Columns and threads.
    pub form: Form,
    /// When, where and by whom; of no journal.
    pub moment: Moment,
    /// The bytes of the root's path.
    pub root: Vec<u8>,
    /// Rows that are encoded at a time.
    pub batch: NonZeroUsize,
}

/// A file that was written.
pub(super) struct File {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

impl Output {
    /// Writes all `rows` of the scan `scan` to what is to be `place`, counts them in `shown`, and gives up at `stop`.
    pub(super) fn write(
        &self,
        (aside, place): (&Aside, &Path),
        scan: &str,
        rows: Sorted,
        (shown, stop): (&AtomicU64, &AtomicBool),
    ) -> Result<File, SnapshotError> {
        let begun = Rows::begin(Summed::new(Out::file(aside.open()?)), &self.form, &self.moment, &self.root);
        let mut file = begun.doing("", place)?;
        file.set_batch(self.batch);
        file.note(SCAN, scan);
        rows.merge()?.each(&mut |row| {
            shown.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return Err(SnapshotError::Stopped);
            }
            file.push(row).doing("", place)
        })?;
        let (summed, rows) = file.finish().doing("", place)?;
        let (_, bytes, blake3) = summed.finish().doing("write", place)?;
        Ok(File { rows, bytes, blake3 })
    }
}
