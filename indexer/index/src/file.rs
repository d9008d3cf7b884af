//! The index file: opening, its format, and its settings. Refuses what it does not know.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase};

use crate::error::{IndexError, OpenError};
use crate::meter::{Counted, Meter};
use crate::reader::Reader;
use crate::tables::{
    COVERAGE, CURSORS, DETACHED, DIGESTS, ENTRIES, JOURNAL, LINKS, META, NAMES, NOTES, PENDING, ROOTS,
    ROTTEN, SETS, SIZES, TOTALS, TREE_DIGESTS, TREES, TREES_DUE, VOLUMES,
};

/// The format this version writes, and the newest it reads.
pub const FORMAT: u32 = 1;

pub(crate) const META_FORMAT: &str = "format";
pub(crate) const META_SEQ: &str = "seq";
pub(crate) const META_JOURNAL_BYTES: &str = "journal_bytes";
/// 1 while totals are not what the rows add up to.
pub(crate) const META_TORN: &str = "torn";
pub(crate) const META_EPOCH_HIGH: &str = "epoch_high";
pub(crate) const META_EPOCH_LOW: &str = "epoch_low";

/// How the file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the page cache. Memory use stays near it whatever the size of the tree.
    pub cache: usize,
    /// What a crash costs at the next start, against what each commit costs.
    pub repair: Repair,
}

/// What happens at the first open after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Every commit also saves the allocator's state: the next open is instant.
    Quick,
    /// Commits are leaner; the next open reads the whole file once.
    Walk,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { cache: 48 << 20, repair: Repair::Quick }
    }
}

enum Store {
    Write(Box<Database>),
    Read(Box<ReadOnlyDatabase>),
}

/// A store whose closing may panic on a damaged file: what it would have saved is found again at the next open.
struct Held(Option<Store>);

impl Drop for Held {
    fn drop(&mut self) {
        let store = self.0.take();
        if let Err(said) = crate::guard::caught(|| drop(store)) {
            tracing::error!(
                said,
                "the index could not be closed; `indexer doctor` tells whether it is damaged"
            );
        }
    }
}

/// An open index.
pub struct Index {
    store: Held,
    path: PathBuf,
    pub(crate) settings: Settings,
    /// One writer: `begin_write` would wait, this says who waits for whom.
    pub(crate) writer: Mutex<()>,
    pub(crate) meter: Meter,
}

impl Index {
    /// Opens the index at `path` for writing, making it if there is none.
    ///
    /// # Errors
    /// When it is in use, damaged, of a newer format, or the file system refuses.
    pub fn create(path: &Path, settings: Settings) -> Result<Index, OpenError> {
        let new = !path.try_exists().map_err(|source| OpenError::Io { path: path.into(), source })?;
        if !new {
            return Index::open(path, settings);
        }
        // Made under another name, so that a crash half-way leaves no file that looks like a damaged index.
        let io = |source| OpenError::Io { path: path.into(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let making = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&making)
            .map_err(io)?;
        let store = Builder::new()
            .set_cache_size(settings.cache)
            .create_file(file)
            .map_err(|error| open_error(path, error))?;
        let index = Index {
            store: Held(Some(Store::Write(Box::new(store)))),
            path: path.into(),
            settings,
            writer: Mutex::new(()),
            meter: Meter::default(),
        };
        index.init().map_err(|error| damaged(path, error))?;
        rename_new(&making, path).map_err(io)?;
        Ok(index)
    }

    /// An index over a store of the tests' own making.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn over(store: Database, settings: Settings) -> Index {
        Index {
            store: Held(Some(Store::Write(Box::new(store)))),
            path: PathBuf::new(),
            settings,
            writer: Mutex::new(()),
            meter: Meter::default(),
        }
    }

    /// Opens the index at `path` for writing. After a crash this repairs it first.
    ///
    /// # Errors
    /// When there is none, it is in use, damaged, of a newer format, or the file system refuses.
    pub fn open(path: &Path, settings: Settings) -> Result<Index, OpenError> {
        check_file(path)?;
        let store = guarded(path, || Builder::new().set_cache_size(settings.cache).open(path))?
            .map_err(|error| open_error(path, error))?;
        let index = Index {
            store: Held(Some(Store::Write(Box::new(store)))),
            path: path.into(),
            settings,
            writer: Mutex::new(()),
            meter: Meter::default(),
        };
        index.check_format()?;
        if index.lacks_content_tables()? {
            index.add_content_tables().map_err(|error| damaged(path, error))?;
        }
        Ok(index)
    }

    /// Opens the index at `path` for reading alone, so that several may. After a crash it must be repaired,
    /// and is opened for writing for that once.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn open_read_only(path: &Path, settings: Settings) -> Result<Index, OpenError> {
        check_file(path)?;
        let read_only = || Builder::new().set_cache_size(settings.cache).open_read_only(path);
        let store = match guarded(path, read_only)? {
            Ok(store) => store,
            Err(DatabaseError::RepairAborted) => {
                drop(Index::open(path, settings)?);
                guarded(path, read_only)?.map_err(|error| open_error(path, error))?
            }
            Err(error) => return Err(open_error(path, error)),
        };
        let index = Index {
            store: Held(Some(Store::Read(Box::new(store)))),
            path: path.into(),
            settings,
            writer: Mutex::new(()),
            meter: Meter::default(),
        };
        index.check_format()?;
        if index.lacks_content_tables()? {
            drop(index);
            drop(Index::open(path, settings)?);
            return Index::open_read_only(path, settings);
        }
        Ok(index)
    }

    /// Whether the file was made before there were contents in it, or all that is kept of them.
    fn lacks_content_tables(&self) -> Result<bool, OpenError> {
        let read = || -> Result<bool, IndexError> {
            let read = self.begin_read()?;
            Ok(matches!(read.open_table(SETS), Err(redb::TableError::TableDoesNotExist(_))))
        };
        guarded(&self.path, read)?.map_err(|error| damaged(&self.path, error))
    }

    fn add_content_tables(&self) -> Result<(), IndexError> {
        let transaction = self.begin_write()?;
        open_content_tables(&transaction)?;
        crate::contents::fall_behind(&transaction)?;
        transaction.commit()?;
        Ok(())
    }

    /// What this handle has done since it was opened.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.meter.read()
    }

    /// The index file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A view of everything as of the last commit. Keep it short: while one lives, freed pages stay in the
    /// file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Reader, IndexError> {
        Reader::new(&self.begin_read()?)
    }

    /// The random number minted with the journal: seqs are comparable only within one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn epoch(&self) -> Result<u128, IndexError> {
        let meta = self.begin_read()?.open_table(META)?;
        let word = |key| -> Result<u128, IndexError> {
            Ok(meta.get(key)?.map_or(0, |value| u128::from(value.value())))
        };
        Ok((word(META_EPOCH_HIGH)? << 64) | word(META_EPOCH_LOW)?)
    }

    /// Mints another epoch, durably, and answers it: the same numbers may be given to other records from now on.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn renew_epoch(&self) -> Result<u128, IndexError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.begin_write()?;
        let (high, low) = random_epoch();
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(META_EPOCH_HIGH, high)?;
            meta.insert(META_EPOCH_LOW, low)?;
        }
        transaction.commit()?;
        Ok((u128::from(high) << 64) | u128::from(low))
    }

    /// Gives space inside the file back to the file system. Answers whether anything was gained.
    ///
    /// # Errors
    /// When the file cannot be written, or readers are still open.
    pub fn compact(&mut self) -> Result<bool, IndexError> {
        match &mut self.store.0 {
            Some(Store::Write(store)) => Ok(store.compact()?),
            Some(Store::Read(_)) | None => Ok(false),
        }
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, IndexError> {
        Ok(match &self.store.0 {
            Some(Store::Write(store)) => store.begin_read()?,
            Some(Store::Read(store)) => store.begin_read()?,
            None => return Err(redb::StorageError::DatabaseClosed.into()),
        })
    }

    pub(crate) fn begin_write(&self) -> Result<redb::WriteTransaction, IndexError> {
        let Some(Store::Write(store)) = &self.store.0 else {
            let error = std::io::Error::new(ErrorKind::PermissionDenied, "opened for reading alone");
            return Err(redb::StorageError::Io(error).into());
        };
        let mut transaction = store.begin_write()?;
        transaction.set_quick_repair(self.settings.repair == Repair::Quick);
        Ok(transaction)
    }

    pub(crate) fn init(&self) -> Result<(), IndexError> {
        let transaction = self.begin_write()?;
        {
            transaction.open_table(ENTRIES)?;
            transaction.open_table(NAMES)?;
            transaction.open_table(LINKS)?;
            transaction.open_table(TOTALS)?;
            transaction.open_table(DETACHED)?;
            transaction.open_table(JOURNAL)?;
            transaction.open_table(CURSORS)?;
            transaction.open_table(VOLUMES)?;
            transaction.open_table(ROOTS)?;
            transaction.open_table(COVERAGE)?;
            open_content_tables(&transaction)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert(META_FORMAT, u64::from(FORMAT))?;
            meta.insert(META_SEQ, 0)?;
            meta.insert(META_JOURNAL_BYTES, 0)?;
            let (high, low) = random_epoch();
            meta.insert(META_EPOCH_HIGH, high)?;
            meta.insert(META_EPOCH_LOW, low)?;
        }
        transaction.commit()?;
        Ok(())
    }

    pub(crate) fn check_format(&self) -> Result<(), OpenError> {
        let read = || -> Result<Option<u64>, IndexError> {
            let meta = self.begin_read()?.open_table(META)?;
            Ok(meta.get(META_FORMAT)?.map(|value| value.value()))
        };
        let found = guarded(&self.path, read)?.map_err(|error| damaged(&self.path, error))?;
        match found.and_then(|found| u32::try_from(found).ok()) {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => {
                Err(OpenError::Newer { path: self.path.clone(), found, known: FORMAT })
            }
            _ => Err(OpenError::Damaged { path: self.path.clone(), why: "it has no format number".into() }),
        }
    }
}

fn open_content_tables(transaction: &redb::WriteTransaction) -> Result<(), IndexError> {
    transaction.open_table(SIZES)?;
    transaction.open_table(DIGESTS)?;
    transaction.open_table(SETS)?;
    transaction.open_table(PENDING)?;
    transaction.open_table(NOTES)?;
    transaction.open_table(ROTTEN)?;
    transaction.open_table(TREES)?;
    transaction.open_table(TREE_DIGESTS)?;
    transaction.open_table(TREES_DUE)?;
    Ok(())
}

/// Gives a finished file its name, durably, unless another process was first.
fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(from)?;
            return Err(error);
        }
        // Not every file system has hard links.
        Err(_) => std::fs::rename(from, to)?,
    }
    match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => std::fs::File::open(".")?.sync_all(),
    }
}

/// 128 random bits. The standard library's hasher keys are the operating system's randomness.
fn random_epoch() -> (u64, u64) {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let word = || RandomState::new().build_hasher().finish();
    (word(), word())
}

fn check_file(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.into(), source };
    if !path.try_exists().map_err(io)? {
        return Err(OpenError::Missing(path.into()));
    }
    // redb takes an empty file for a new database; here it is what a full disk left behind.
    let length = path.symlink_metadata().map_err(io)?.len();
    if length == 0 {
        return Err(OpenError::Damaged { path: path.into(), why: "it is empty".into() });
    }
    Ok(())
}

/// Runs a part of opening in which the store may panic: it trusts some numbers in the header and in pages
/// before it has checked their sums, and a damaged file must be an error here, which names the file.
pub(crate) fn guarded<T>(path: &Path, open: impl FnOnce() -> T) -> Result<T, OpenError> {
    crate::guard::caught(open)
        .map_err(|said| OpenError::Damaged { path: path.into(), why: format!("the store gave up: {said}") })
}

pub(crate) fn damaged(path: &Path, error: IndexError) -> OpenError {
    OpenError::Damaged { path: path.into(), why: error.to_string() }
}

pub(crate) fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path),
        DatabaseError::Storage(redb::StorageError::Io(source))
            if !matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, why: other.to_string() },
    }
}
