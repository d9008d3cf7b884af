//! Why there is no snapshot: what, which, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use crate::stream::Garbled;

/// Why there is none. Nothing under a final name has changed then, but for roots that were told to be done before.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something is in the place.
    #[error("{} is there already; name another place, or write over it with --force", .0.display())]
    Exists(PathBuf),
    /// Something is in the place, and not all of it is ours.
    #[error("{} holds files that are no snapshot's, and is not written over; move them away or name another place", .0.display())]
    Foreign(PathBuf),
    /// A folder where a file is to be.
    #[error("{} is a folder and its name ends as a file's would; name a file in it, or a folder of another name", .0.display())]
    IsFolder(PathBuf),
    /// A place without a name.
    #[error("{} names no file; give one that ends in .parquet, or a folder", .0.display())]
    NoName(PathBuf),
    /// Another run is at it.
    #[error("another run is writing {}; wait for it, or end it", .0.display())]
    Busy(PathBuf),
    /// A Delta log that another program began.
    #[error("{} is the log of another table; name a folder of its own for snapshots, or leave out --table", .0.display())]
    OtherTable(PathBuf),
    /// A scan was begun there.
    #[error("a scan was begun there already, as {} says; go on with it by --resume, begin anew with --force, or name another place", .0.display())]
    Begun(PathBuf),
    /// A scan that is gone on with is another one.
    #[error("{} is of another scan: {why}; scan as then, begin anew with --force, or name another place", .path.display())]
    Other {
        /// What says so.
        path: PathBuf,
        /// What is not the same.
        why: String,
    },
    /// What a scan is to go on from is not as it was left.
    #[error("no scan can go on from {}: {why}; put it back, begin anew with --force, or name another place", .path.display())]
    Damaged {
        /// What.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// A folder where rows straight from a walk would go.
    #[error("{} names no file for the rows; give a name that ends in .parquet", .0.display())]
    NoFile(PathBuf),
    /// A place that is reached by a scheme that we do not speak.
    #[error(
        "{0}: snapshots go to files, folders, and stores as s3://, gs:// and az:// alone; write to a folder, and copy that"
    )]
    Scheme(String),
    /// What is no place in a store.
    #[error("{url}: {why}; write s3://BUCKET/PREFIX, or s3://BUCKET/NAME.parquet")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A place in a store, for what needs files.
    #[error(
        "{0} is in an object store, and this is done with files alone; only `indexer snapshot` and `indexer snapshots roll` write to stores"
    )]
    FilesOnly(String),
    /// Built without them.
    #[error(
        "{0}: this program was built without the feature `object-store`; write to a folder and copy that, or build with it"
    )]
    NoStores(String),
    /// The settings of a store are not as they should be.
    #[error("{url}: {why}")]
    Settings {
        /// Where to.
        url: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A store did not do it.
    #[error("failed to {doing} {url}: {why}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// To what.
        url: String,
        /// Why it failed, and what may help.
        why: String,
    },
    /// Several roots, and one file.
    #[error("there are {0} roots, and a file holds one: name it with --root, or give a folder as --output")]
    OneRoot(u64),
    /// Somebody ended it.
    #[error("it was stopped; nothing is left of it")]
    Stopped,
    /// It ended too early.
    #[error("the answer ended before all was told; nothing was kept of the root that it ended in")]
    Ended,
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
    /// Making Parquet.
    #[error("failed to write {}: {source}", .path.display())]
    Parquet {
        /// Of which file.
        path: PathBuf,
        /// Why it failed.
        source: ParquetError,
    },
    /// What came is none.
    #[error(transparent)]
    Garbled(#[from] Garbled),
    /// Whoever tells says why it ends.
    #[error("{}", String::from_utf8_lossy(.0))]
    Told(Vec<u8>),
}

/// What was being done when it failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, SnapshotError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, SnapshotError> {
        self.map_err(|source| {
            let file = |source| SnapshotError::File { doing, path: path.to_owned(), source };
            // What went through a writer of bytes comes out as it was.
            source.downcast().unwrap_or_else(file)
        })
    }
}

impl<T> Doing<T> for Result<T, ParquetError> {
    fn doing(self, _: &'static str, path: &Path) -> Result<T, SnapshotError> {
        self.map_err(|source| {
            let parquet = |source| SnapshotError::Parquet { path: path.to_owned(), source };
            let ParquetError::External(source) = source else { return parquet(source) };
            match source.downcast::<io::Error>() {
                Ok(error) => error.downcast().unwrap_or_else(|error| parquet(error.into())),
                Err(source) => parquet(ParquetError::External(source)),
            }
        })
    }
}
