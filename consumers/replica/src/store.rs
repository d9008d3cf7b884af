//! The file: its tables, its format, who may open it. Knows no message.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use record::wire::v1::EntryState;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::sources::Source;

/// Its name in the folder.
pub const FILE: &str = "replica.redb";
/// The format this version writes, and the only one it reads.
pub const FORMAT: u64 = 1;
/// Bytes of the page cache.
const CACHE: usize = 48 << 20;

pub(crate) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(crate) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
pub(crate) const SOURCES: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("sources");
pub(crate) const ENTRIES: Bytes = TableDefinition::new("entries");
pub(crate) const LINKS: Bytes = TableDefinition::new("links");
pub(crate) const TOPS: Bytes = TableDefinition::new("tops");
pub(crate) const DIGESTS: Bytes = TableDefinition::new("digests");
pub(crate) const SETS: TableDefinition<'static, &str, u64> = TableDefinition::new("sets");
pub(crate) const GRAVES: Bytes = TableDefinition::new("graves");

/// Why the replica cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Another process has it open.
    #[error("{} is in use by another process; stop that one, or name another folder by --state", .0.display())]
    InUse(PathBuf),
    /// There is none.
    #[error("there is no {}; `indexer consume snapshot` makes one", .0.display())]
    Missing(PathBuf),
    /// Another version made it.
    #[error(
        "{} is of format {found}, and this version reads {FORMAT}; use the version that made it, or remove the file and \
         replay (`indexer replay --as-reads`)", path.display()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u64,
    },
    /// The file system refused.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database.
    #[error("the replica cannot be read or written: {0}")]
    Store(#[from] redb::Error),
    /// A value in it is none of ours.
    #[error("the replica holds what is no value of ours ({0}): it is damaged; remove it and replay")]
    Damaged(String),
    /// What was to be told could not be.
    #[error(transparent)]
    Told(std::io::Error),
}

/// redb has an error a call; all of them are one here.
macro_rules! of_redb {
    ($($kind:ident)*) => { $(impl From<redb::$kind> for ReplicaError {
        fn from(error: redb::$kind) -> ReplicaError { ReplicaError::Store(error.into()) }
    })* };
}
of_redb! { TransactionError TableError StorageError CommitError }

/// What is held of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Of the record that says so.
    pub(crate) seq: u64,
    /// The root that it belongs to.
    pub(crate) root: u32,
    /// The last replay that told of it: root and as-of.
    pub(crate) read: Option<(u32, u64)>,
    /// What it is; none: it is gone.
    pub(crate) state: Option<EntryState>,
}

impl Held {
    pub(crate) fn read(bytes: &[u8]) -> Result<Held, ReplicaError> {
        serde_json::from_slice(bytes).map_err(|error| ReplicaError::Damaged(error.to_string()))
    }
}

/// Opens the file in `folder`, made if `make` says so and there is none.
pub(crate) fn open(folder: &Path, make: bool) -> Result<Database, ReplicaError> {
    let path = folder.join(FILE);
    let io = |source| ReplicaError::Io { path: path.clone(), source };
    if make {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    } else if !path.try_exists().map_err(io)? {
        return Err(ReplicaError::Missing(path));
    }
    let file = OpenOptions::new().read(true).write(true).create(make).truncate(false).mode(0o600).open(&path);
    let database =
        Builder::new().set_cache_size(CACHE).create_file(file.map_err(io)?).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => ReplicaError::InUse(path.clone()),
            other => ReplicaError::Store(other.into()),
        })?;
    let found = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta.get("format")?.map(|format| format.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match found {
        Some(FORMAT) => {}
        Some(found) => return Err(ReplicaError::Format { path, found }),
        None => {
            let write = database.begin_write()?;
            write.open_table(META)?.insert("format", FORMAT)?;
            write.open_table(SOURCES)?;
            for table in [ENTRIES, LINKS, TOPS, DIGESTS, GRAVES] {
                write.open_table(table)?;
            }
            write.open_table(SETS)?;
            write.commit()?;
        }
    }
    Ok(database)
}

/// All sources there are.
pub(crate) fn sources(database: &Database) -> Result<std::collections::BTreeMap<u32, Source>, ReplicaError> {
    let table = database.begin_read()?.open_table(SOURCES)?;
    let mut sources = std::collections::BTreeMap::new();
    for row in table.iter()? {
        let (number, source) = row?;
        let source = serde_json::from_slice(source.value())
            .map_err(|error| ReplicaError::Damaged(error.to_string()))?;
        sources.insert(number.value(), source);
    }
    Ok(sources)
}
