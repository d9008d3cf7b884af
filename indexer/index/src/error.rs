//! What can go wrong with the index file, by what the user can do about it.

use std::path::PathBuf;

use record::Seq;

/// Bytes that are not what the format says: a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub(crate) &'static str);

/// Why the index could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("no index at {0}; `indexer scan` or `indexer watch` makes one")]
    Missing(PathBuf),
    /// Written by a later version.
    #[error(
        "{path} has format {found}, this version reads up to {known}; install a newer indexer, or name another --state folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this version knows.
        known: u32,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process; try again when that has ended")]
    InUse(PathBuf),
    /// It cannot be read as an index.
    #[error(
        "{path} is damaged or not an index ({why}); move it away and the next start builds a new one from the disk"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file system refused.
    #[error("failed to open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Why an open index could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database failed, mostly because the disk did.
    #[error("the index failed: {0}")]
    Store(#[from] Box<redb::Error>),
    /// A row or record cannot be decoded.
    #[error("damaged {what}: {source}")]
    Damaged {
        /// Which one.
        what: String,
        /// How.
        source: Corrupt,
    },
    /// The journal begins later than was asked for.
    #[error("fresh_start_required: the journal begins at seq {oldest}; what came before is no longer kept")]
    FreshStartRequired {
        /// The oldest seq still there.
        oldest: Seq,
    },
    /// A file beside the index failed: a run of the seed, or the note of what was published.
    #[error("failed to {doing} {path}: {source}")]
    Run {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl IndexError {
    pub(crate) fn damaged(what: impl std::fmt::Display, source: Corrupt) -> IndexError {
        IndexError::Damaged { what: what.to_string(), source }
    }

    /// A directory that lies in itself: whoever walks finds no end.
    #[must_use]
    pub fn circle(at: record::EntryId) -> IndexError {
        IndexError::damaged(format!("way of {at}"), Corrupt("it runs in a circle"))
    }

    /// Whether the disk is full: worth waiting for, nothing is lost.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.io().is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
    }

    /// Whether the file system failed, and not the file.
    #[must_use]
    pub fn is_io(&self) -> bool {
        self.io().is_some()
            || matches!(self, IndexError::Store(error) if matches!(**error, redb::Error::PreviousIo))
    }

    fn io(&self) -> Option<&std::io::Error> {
        match self {
            IndexError::Store(error) => match &**error {
                redb::Error::Io(io) => Some(io),
                _ => None,
            },
            IndexError::Run { source, .. } => Some(source),
            _ => None,
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for IndexError {
            fn from(error: $error) -> IndexError {
                IndexError::Store(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::CompactionError,
    redb::CursorError
);
