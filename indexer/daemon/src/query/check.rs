//! The index's agreement with itself and the sizes of its parts, for `doctor`.

use index::{Index, IndexError};
use serde::{Deserialize, Serialize};

/// What a check of the index found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckReport {
    /// Rows looked at.
    pub(crate) entries: u64,
    /// Names looked at.
    pub(crate) names: u64,
    /// Disagreements, listed or not.
    pub(crate) faults: u64,
    /// The first of them, as `volume:inode: what`.
    pub(crate) first: Vec<String>,
    /// Bytes by table.
    pub(crate) tables: Vec<TableSize>,
    /// Length of the file.
    pub(crate) file_bytes: u64,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableSize {
    /// Its name.
    pub(crate) table: String,
    /// Bytes of keys and values in it.
    pub(crate) bytes: u64,
}

/// Checks rows, names, links and totals against each other.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn check(index: &Index) -> Result<CheckReport, IndexError> {
    let check = index.read()?.check()?;
    let sizes = index.sizes()?;
    Ok(CheckReport {
        entries: check.entries,
        names: check.names,
        faults: check.count,
        first: check.faults.iter().map(|fault| format!("{}: {}", fault.entry, fault.what)).collect(),
        tables: sizes.tables.into_iter().map(|(table, bytes)| TableSize { table, bytes }).collect(),
        file_bytes: sizes.file,
    })
}
