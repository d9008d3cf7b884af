//! The file: its tables, its format, who may open it. Knows no message.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs::{DirBuilder, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable, TableDefinition};

use crate::source::Source;

/// Its name in the folder.
pub const FILE: &str = "inbox.redb";
/// The format this version writes, and the only one it reads.
pub const FORMAT: u64 = 1;
/// Bytes of the page cache.
const CACHE: usize = 16 << 20;
/// How long a process that was killed may seem to be there: a program that it was starting has its files open, and with
/// them the lock, until that program runs.
const STARTING: Duration = Duration::from_secs(2);

pub(crate) const META: TableDefinition<'static, &str, u128> = TableDefinition::new("meta");
/// Sources by number, as JSON.
pub(crate) const SOURCES: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("sources");
/// By our seq: the number of the root, 4 bytes, and the body as it came.
pub(crate) const MESSAGES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("messages");
pub(crate) const CURSORS: TableDefinition<'static, &str, u64> = TableDefinition::new("cursors");

/// Rows of `meta`.
const META_FORMAT: &str = "format";
pub(crate) const META_EPOCH: &str = "epoch";
/// The last seq that was given.
pub(crate) const META_LAST: &str = "last";
/// Bytes of all values in `messages`.
pub(crate) const META_BYTES: &str = "bytes";
/// The last number that a source was given.
pub(crate) const META_SOURCE: &str = "source";

/// Why the inbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// Another process has it open.
    #[error("{} is in use by another process; stop that one, or name another folder by --state", .0.display())]
    InUse(PathBuf),
    /// Another version made it.
    #[error(
        "{} is of format {found}, and this version reads {FORMAT}; let the version that made it tell what is left, then remove the \
         file", path.display()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u128,
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
    #[error("the inbox cannot be read or written: {0}")]
    Store(#[from] redb::Error),
    /// A value in it is none of ours.
    #[error(
        "the inbox holds what is no value of ours ({0}): it is damaged; remove it, and what was in it is not told"
    )]
    Damaged(String),
}

/// redb has an error a call; all of them are one here.
macro_rules! of_redb {
    ($($kind:ident)*) => { $(impl From<redb::$kind> for InboxError {
        fn from(error: redb::$kind) -> InboxError { InboxError::Store(error.into()) }
    })* };
}
of_redb! { TransactionError TableError StorageError CommitError }

/// Opens the file in `folder`, or makes it with an epoch of its own.
pub(crate) fn open(folder: &Path) -> Result<Database, InboxError> {
    let path = folder.join(FILE);
    let io = |source| InboxError::Io { path: path.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let database = when_free(|| {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        Builder::new().set_cache_size(CACHE).create_file(file.map_err(io)?).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => InboxError::InUse(path.clone()),
            other => InboxError::Store(other.into()),
        })
    })?;
    let found = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta.get(META_FORMAT)?.map(|format| format.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match found {
        Some(found) if found == u128::from(FORMAT) => {}
        Some(found) => return Err(InboxError::Format { path, found }),
        None => {
            let write = database.begin_write()?;
            {
                let mut meta = write.open_table(META)?;
                meta.insert(META_FORMAT, u128::from(FORMAT))?;
                meta.insert(META_EPOCH, random_epoch())?;
            }
            write.open_table(SOURCES)?;
            write.open_table(MESSAGES)?;
            write.open_table(CURSORS)?;
            write.commit()?;
        }
    }
    Ok(database)
}

/// Opens again while it is in use, for [`STARTING`] at most.
fn when_free<T>(mut open: impl FnMut() -> Result<T, InboxError>) -> Result<T, InboxError> {
    let until = Instant::now() + STARTING;
    loop {
        match open() {
            Err(InboxError::InUse(_)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// A number in `meta`; 0 where there is none yet.
pub(crate) fn number(
    meta: &impl ReadableTable<&'static str, u128>,
    name: &'static str,
) -> Result<u64, InboxError> {
    let number = meta.get(name)?.map_or(0, |number| number.value());
    u64::try_from(number).map_err(|_| InboxError::Damaged(format!("{name} is {number}")))
}

/// All sources there are.
pub(crate) fn sources(database: &Database) -> Result<BTreeMap<u32, Source>, InboxError> {
    let table = database.begin_read()?.open_table(SOURCES)?;
    let mut sources = BTreeMap::new();
    for row in table.iter()? {
        let (number, source) = row?;
        let source =
            serde_json::from_slice(source.value()).map_err(|error| InboxError::Damaged(error.to_string()))?;
        sources.insert(number.value(), source);
    }
    Ok(sources)
}

/// 128 random bits. The standard library's hasher keys are the operating system's randomness.
fn random_epoch() -> u128 {
    let word = || u128::from(RandomState::new().build_hasher().finish());
    (word() << 64) | word()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Killed and started again at once: the lock is let go a moment later.
    #[test]
    fn what_is_in_use_for_a_moment_is_waited_for() {
        let mut locked = 3;
        let opened = when_free(|| {
            locked -= 1;
            if locked > 0 { Err(InboxError::InUse(FILE.into())) } else { Ok(()) }
        });
        assert!(opened.is_ok());
        let mut tries = 0;
        let damaged: Result<(), _> = when_free(|| {
            tries += 1;
            Err(InboxError::Damaged("odd".into()))
        });
        assert!(damaged.is_err() && tries == 1, "another error comes at once");
    }
}
