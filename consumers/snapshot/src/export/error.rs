//! Why a snapshot is not in the table: what, which, and what to do. No secret is in it.

use std::path::PathBuf;

use super::Key;
use crate::error::SnapshotError;
use crate::read::ReadError;

/// Why it is not. What was sent before is in the table, and the next run goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file, or its manifest.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It lacks columns.
    #[error("{} has the eleven columns of an older scanner, and the table has all; write the snapshot without --compat unix", .0.display())]
    Columns(PathBuf),
    /// It is not as it was written.
    #[error("{} is not what its manifest says; `indexer snapshots verify` tells which are not", .0.display())]
    Manifest(PathBuf),
    /// Before 1970, or after 2149.
    #[error("{} is of a day that a Date of ClickHouse does not hold", .0.display())]
    Day(PathBuf),
    /// It cannot be made into Arrow.
    #[error("failed to encode rows: {0}")]
    Encode(String),
    /// Where to send, and as whom.
    #[error("{0}")]
    Address(String),
    /// No table.
    #[error("there is no table {0}; make it with --create, or by what `indexer schema clickhouse` prints")]
    NoTable(String),
    /// A table of other columns.
    #[error(
        "the table {table} has no column {column}; `indexer schema clickhouse` prints what it should have"
    )]
    NoColumn {
        /// Which table.
        table: String,
        /// The first that is missing.
        column: String,
    },
    /// Likewise.
    #[error(
        "the column {column} of the table {table} is {is}, and should be {should}, as `indexer schema clickhouse` prints it"
    )]
    Type {
        /// Which table.
        table: String,
        /// Which column.
        column: String,
        /// Its type.
        is: String,
        /// What it should be.
        should: String,
    },
    /// Other rows are in its place.
    #[error(
        "{table} holds {there} rows of {root} on {host} of {date} that are not those of the snapshot ({rows} rows): another of that day, \
         or other batches; put this one in its place with --replace",
        host = key.host, root = key.root, date = key.date
    )]
    Other {
        /// Which table.
        table: String,
        /// Which rows.
        key: Key,
        /// How many there are.
        there: u64,
        /// How many there should be.
        rows: u64,
    },
    /// All was taken, and not all is there.
    #[error(
        "{table} took all of {root} on {host} of {date}, and has {there} of {rows} rows: a replica may be behind, or rows were removed \
         since they were first sent; run it again later, or with --replace",
        host = key.host, root = key.root, date = key.date
    )]
    Fewer {
        /// Which table.
        table: String,
        /// Which rows.
        key: Key,
        /// How many there are.
        there: u64,
        /// How many there should be.
        rows: u64,
    },
    /// Rows cannot be removed through this table.
    #[error(
        "{0} is over tables of other servers, and rows are removed from those: `ALTER TABLE … DELETE` on each, then without --replace"
    )]
    Distributed(String),
    /// What the server says, or that it says nothing.
    #[error("failed to {doing}: {why}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        why: String,
    },
    /// Somebody ended it.
    #[error("it was stopped; what was sent is in the table, and the next run goes on behind it")]
    Stopped,
}

impl ExportError {
    /// Whether another command line would do: nothing failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            ExportError::Read(error) => error.is_usage(),
            ExportError::Columns(_)
            | ExportError::Address(_)
            | ExportError::NoTable(_)
            | ExportError::NoColumn { .. }
            | ExportError::Type { .. }
            | ExportError::Distributed(_)
            | ExportError::Other { .. } => true,
            _ => false,
        }
    }
}
