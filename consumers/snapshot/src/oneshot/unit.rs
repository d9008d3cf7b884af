//! What is said of one directory, until all of it is. Knows no path but those of its rows.

use std::path::{Path, PathBuf};

use crate::entry::Entry;
use crate::error::SnapshotError;
use crate::sort::{Arena, Run, Sorted};

/// Bytes of rows in memory, before they go to disk: as many names as few directories have.
const FULL: usize = if cfg!(test) { 512 } else { 4 << 20 };

/// Rows of one directory.
#[derive(Debug)]
pub struct Unit {
    folder: PathBuf,
    rows: Arena,
    /// Those of a large directory.
    spilled: Option<Sorted>,
    count: u64,
    missed: u64,
}

impl Unit {
    pub(super) fn new(folder: &Path) -> Unit {
        Unit { folder: folder.to_owned(), rows: Arena::default(), spilled: None, count: 0, missed: 0 }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When it is a large directory, and there is no room for it on disk.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), SnapshotError> {
        self.rows.push(entry);
        self.count += 1;
        if self.rows.size() < FULL {
            return Ok(());
        }
        let Unit { folder, rows, spilled, .. } = self;
        spilled.get_or_insert_with(|| Sorted::new(folder)).add(rows)
    }

    /// Something in it could not be looked at.
    pub fn miss(&mut self) {
        self.missed += 1;
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.spilled = None;
        (self.count, self.missed) = (0, 0);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Gives its rows to `rows`, but for those that are on disk.
    pub(super) fn take(&mut self, rows: &mut Arena) -> Vec<Run> {
        rows.append(&mut self.rows);
        (self.count, self.missed) = (0, 0);
        self.spilled.take().map(Sorted::into_runs).unwrap_or_default()
    }
}
