//! The first load of a tree: what the walk finds goes into sorted runs, and one merge makes tables of
//! them. Memory is bounded by the buffers, whatever the tree. A seed that is cut off can be gone on with.

mod entries;
mod keep;
mod load;
mod manifest;
mod resume;
mod sort;
mod sum;
mod tangle;
mod ways;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use record::{EntryId, RootId, Time};

use crate::error::IndexError;
use keep::Keep;
use manifest::{ENTRIES_RUN, LISTED, Manifest, NAMES_RUN};
use resume::Resumed;
use sort::{Run, Runs};

pub use keep::Listing;
pub use load::{Loaded, SeedRoot};
pub use manifest::{SeedKey, SeedKeyRoot};
pub use resume::{Unlisted, Waiting};
pub use worker::SeedWorker;

/// A seed under way. Dropping it removes its files, but for those that the next one can go on with.
pub struct Seed {
    keep: Arc<Keep>,
    /// Bytes of each sort buffer; a worker has two.
    buffer: usize,
    workers: Mutex<Vec<SeedWorker>>,
    resumed: Option<Resumed>,
}

/// Whether a seed goes on with what an earlier one left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There was nothing.
    Anew,
    /// It does.
    GoesOn {
        /// Directories that were listed.
        directories: u64,
        /// When the first scan began, and when what is left of it was written.
        between: (Time, Time),
    },
    /// There was something, and it is of no use: why.
    Refused(String),
}

/// Set in the root number of a run's record when the walk counted the entry in its directory's totals: the
/// merge then need not decode it.
const COUNTED: u32 = 1 << 31;

impl Seed {
    /// Begins a seed of `key` whose runs lie in `dir` (made if missing), with sort buffers of `buffer` bytes. Where
    /// `dir` holds what is left of a seed of the same, it goes on with that; what is of another, or damaged, is
    /// removed.
    ///
    /// # Errors
    /// When the folder cannot be made, read or emptied.
    pub fn begin(dir: PathBuf, buffer: usize, key: SeedKey, at: Time) -> Result<(Seed, Begun), IndexError> {
        let found = keep::read_manifest(&dir).map_err(run_error("read the manifest in", &dir))?;
        let (keep, resumed, begun) = match found.map(|bytes| resume::go_on(&dir, &bytes, &key)) {
            Some(Ok((keep, resumed))) => {
                let begun = Begun::GoesOn { directories: resumed.directories, between: resumed.between };
                (keep, Some(resumed), begun)
            }
            other => {
                let why = other.and_then(Result::err);
                let anew = Manifest { key, began: at, ..Manifest::default() };
                let old = dir.join("manifest");
                // First, so that no crash leaves it beside runs that are not those it names.
                if old.try_exists().unwrap_or(true) {
                    std::fs::remove_file(&old).map_err(run_error("remove", &old))?;
                }
                (Arc::new(Keep::new(dir, anew, false)?), None, why.map_or(Begun::Anew, Begun::Refused))
            }
        };
        let seed = Seed { keep, buffer, workers: Mutex::default(), resumed };
        Ok((seed, begun))
    }

    /// Removes what is left in `dir` of a seed that no root in `wanted` would go on with.
    ///
    /// # Errors
    /// When the folder cannot be read or removed.
    pub fn forget(dir: &std::path::Path, wanted: impl Fn(&SeedKeyRoot) -> bool) -> Result<(), IndexError> {
        if !dir.try_exists().map_err(run_error("look at", dir))? {
            return Ok(());
        }
        let found = keep::read_manifest(dir).map_err(run_error("read the manifest in", dir))?;
        let manifest = found.and_then(|bytes| Manifest::parse(&bytes).ok());
        if manifest.is_some_and(|manifest| manifest.key.roots.iter().any(wanted)) {
            return Ok(());
        }
        let keep = Keep::new(dir.to_path_buf(), Manifest::default(), false)?;
        keep.remove().map_err(run_error("remove", dir))
    }

    /// A worker for one thread; give it back by [`Seed::finish`].
    #[must_use]
    pub fn worker(&self) -> SeedWorker {
        SeedWorker::new(Arc::clone(&self.keep), self.buffer)
    }

    /// Takes a worker back, in the middle of a directory or not.
    pub fn finish(&self, worker: SeedWorker) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    /// Asks the workers to hand over what they have; they do when they next begin or end a directory.
    pub fn ask(&self) {
        self.keep.ask();
    }

    /// Makes durable what was handed over since: the next seed can go on with it. `before` is called when the runs are
    /// durable and nothing names them yet: what they refer to must be durable when it returns. Answers whether there
    /// was anything. To be called by one thread at a time.
    ///
    /// # Errors
    /// When the disk refuses; the seed is then to be given up.
    pub fn store(
        &self,
        at: Time,
        before: impl FnOnce() -> Result<(), IndexError>,
    ) -> Result<bool, IndexError> {
        self.keep.store(at, before)
    }

    /// `store`, with all that workers had who were given back.
    ///
    /// # Errors
    /// As [`Seed::store`].
    pub fn store_all(
        &self,
        at: Time,
        before: impl FnOnce() -> Result<(), IndexError>,
    ) -> Result<bool, IndexError> {
        for worker in &mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.close_at_last()?;
        }
        self.keep.store(at, before)
    }

    /// Whether anything of this seed is durable.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.keep.is_stored()
    }

    /// What an earlier seed knew of `root` and had not listed; `None` if it had not listed the root itself.
    ///
    /// # Errors
    /// When a run cannot be read.
    pub fn waiting(&self, root: RootId) -> Result<Option<Waiting<'_>>, IndexError> {
        self.resumed.as_ref().map_or(Ok(None), |resumed| resumed.waiting(&self.keep, root))
    }

    /// What ended a [`Waiting`] before its end, if anything did.
    #[must_use]
    pub fn failed(&self) -> Option<IndexError> {
        self.resumed.as_ref().and_then(Resumed::failed)
    }

    /// Whether an earlier seed listed this directory: its listing is in the runs, and must not be there twice.
    ///
    /// # Errors
    /// When a run cannot be read.
    pub fn is_listed(&self, dir: EntryId) -> Result<bool, IndexError> {
        self.resumed.as_ref().map_or(Ok(false), |resumed| resumed.is_listed(dir))
    }

    /// Directories that an earlier seed could not list wholly: since when, and why.
    #[must_use]
    pub fn blind(&self) -> &[(EntryId, crate::Blind)] {
        self.resumed.as_ref().map_or(&[], |resumed| &resumed.blind)
    }

    /// All runs, by table, when all workers were given back.
    fn take_runs(&self) -> Kinds {
        let mut kinds = Kinds::default();
        for file in self.keep.take_runs() {
            let run = Run::File(self.keep.path(&file));
            match file.kind {
                ENTRIES_RUN => kinds.entries.push(run),
                NAMES_RUN => kinds.names.push(run),
                kind => debug_assert_eq!(kind, LISTED, "no other kind is in a set"),
            }
        }
        for worker in std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner)) {
            worker.finish(&mut kinds);
        }
        kinds
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // Left-over runs cost space and nothing else; the next seed empties the folder.
        let _ = if self.is_stored() {
            self.keep.clear()
        } else {
            self.keep.remove().map_err(run_error("remove", std::path::Path::new("")))
        };
    }
}

/// The runs of each table that is loaded.
#[derive(Default)]
struct Kinds {
    entries: Runs,
    names: Runs,
    totals: Runs,
}

/// The sum by which runs are checked, of any bytes.
#[must_use]
pub fn sum_of(bytes: &[u8]) -> u64 {
    sum::Sum::of(bytes)
}

type RunResult<T> = Result<T, IndexError>;

fn run_error(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> IndexError {
    let path = path.to_path_buf();
    move |source| IndexError::Run { doing, path, source }
}
