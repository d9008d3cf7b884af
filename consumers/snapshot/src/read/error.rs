//! Why a snapshot is not read: what, which, and what to do.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why it is not.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file.
    #[error("failed to {doing} {}: {source}", .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It does not begin as Parquet.
    #[error("{} is no Parquet file", .0.display())]
    NotParquet(PathBuf),
    /// It does not end as Parquet.
    #[error("{} is cut off: it begins as Parquet and does not end so; copy or write it again", .0.display())]
    CutOff(PathBuf),
    /// Parquet, and not ours.
    #[error(
        "{} is Parquet and no snapshot of indexer: its footer has no `indexer.schema` (a copy that another program wrote has lost it)",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Of another version.
    #[error(
        "{} has columns of version {schema:?} and this program reads \"1\" and \"unix-1\": read it with the version that wrote it",
        .path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        schema: String,
    },
    /// Something in it is wrong.
    #[error("{} is damaged: {why}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its rows are not by path.
    #[error("the rows of {} are not in the order of their paths, at {row:?}: it was not written by indexer", .path.display())]
    Order {
        /// Which file.
        path: PathBuf,
        /// The row that comes too late.
        row: String,
    },
    /// There is none.
    #[error("there is no snapshot {what} in {}; `indexer snapshot --output` writes there", .folder.display())]
    None {
        /// Which was looked for.
        what: String,
        /// Where.
        folder: PathBuf,
    },
    /// There are several.
    #[error("{} holds several of that: {these}; name one with --root and --host", .folder.display())]
    Several {
        /// Where.
        folder: PathBuf,
        /// Their hosts and roots.
        these: String,
    },
}

impl ReadError {
    pub(super) fn damaged(path: &Path, why: impl Display) -> ReadError {
        ReadError::Damaged { path: path.to_owned(), why: why.to_string() }
    }

    pub(super) fn not_ours(path: &Path) -> ReadError {
        ReadError::damaged(path, "its columns are not those of a snapshot")
    }

    /// Whether another question would be answered: nothing failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, ReadError::None { .. } | ReadError::Several { .. })
    }
}
