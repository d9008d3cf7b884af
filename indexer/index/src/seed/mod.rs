//! The first load of a tree: what the walk finds goes into sorted runs, and one merge makes tables of
//! them. Memory is bounded by the buffers, whatever the tree.

mod load;
mod sort;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use reconcile::Target;
use record::{EntryId, RootId, Stat, Time, Totals};

use crate::error::IndexError;
use crate::row_code::{put_seed_row, put_totals};
use crate::tables::{dir_prefix, target_value};
use sort::{Runs, Sorter};

pub use load::SeedRoot;

/// A seed under way. Dropping it removes its files.
pub struct Seed {
    dir: PathBuf,
    /// Bytes of each sort buffer; a worker has two.
    buffer: usize,
    runs: Mutex<Kinds<Runs>>,
}

/// Set in the root number of a run's record when the walk counted the entry in its directory's totals: the
/// merge then need not decode it.
const COUNTED: u32 = 1 << 31;

/// One for each table that is loaded.
#[derive(Default)]
struct Kinds<T> {
    entries: T,
    names: T,
    totals: T,
}

/// One thread's part of a seed.
pub struct SeedWorker {
    entries: Sorter,
    names: Sorter,
    totals: Sorter,
    value: Vec<u8>,
}

impl Seed {
    /// Begins a seed whose runs lie in `dir` (made if missing, emptied of an earlier seed's runs), with
    /// sort buffers of `buffer` bytes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn begin(dir: PathBuf, buffer: usize) -> Result<Seed, IndexError> {
        match std::fs::remove_dir_all(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(run_error("empty", &dir)(error)),
        }
        std::fs::create_dir_all(&dir).map_err(run_error("make", &dir))?;
        Ok(Seed { dir, buffer, runs: Mutex::default() })
    }

    /// A worker for one thread; give it back by [`Seed::finish`].
    #[must_use]
    pub fn worker(&self) -> SeedWorker {
        let sorter = |kind, bytes| Sorter::new(self.dir.clone(), kind, bytes);
        SeedWorker {
            entries: sorter("entries", self.buffer),
            names: sorter("names", self.buffer / 2),
            totals: sorter("totals", self.buffer / 8),
            value: Vec::new(),
        }
    }

    /// Takes a worker's results.
    pub fn finish(&self, worker: SeedWorker) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        worker.entries.finish(&mut runs.entries);
        worker.names.finish(&mut runs.names);
        worker.totals.finish(&mut runs.totals);
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // Left-over runs cost space and nothing else; the next seed empties the folder.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl SeedWorker {
    /// Adds an entry found as `name` in `dir`, or a root's top directory (no place).
    ///
    /// # Errors
    /// When a run cannot be written.
    pub fn entry(
        &mut self,
        root: RootId,
        id: EntryId,
        stat: &Stat,
        place: Option<(EntryId, &[u8])>,
        at: Time,
    ) -> Result<(), IndexError> {
        self.value.clear();
        let counted = if SeedWorker::counts(stat) { COUNTED } else { 0 };
        self.value.extend_from_slice(&(root.0 | counted).to_be_bytes());
        put_seed_row(&mut self.value, id, stat, place, at);
        self.entries.push(&dir_prefix(id), &[], &self.value)?;
        if let Some((dir, name)) = place {
            let (volume, inode) = target_value(Target { id, directory: stat.is_directory() });
            self.value.clear();
            self.value.extend_from_slice(&volume.to_be_bytes());
            self.value.extend_from_slice(&inode.to_be_bytes());
            self.names.push(&dir_prefix(dir), name, &self.value)?;
        }
        Ok(())
    }

    /// Adds the totals of a directory: all below it that has one name, and the directories themselves.
    /// Entries with several links are counted by the merge, which alone knows their least name.
    ///
    /// # Errors
    /// When a run cannot be written.
    pub fn totals(&mut self, dir: EntryId, totals: &Totals) -> Result<(), IndexError> {
        self.value.clear();
        put_totals(&mut self.value, totals);
        self.totals.push(&dir_prefix(dir), &[], &self.value)
    }

    /// Whether the walk counts an entry in its directory's totals itself.
    #[must_use]
    pub fn counts(stat: &Stat) -> bool {
        stat.is_directory() || stat.links <= 1
    }
}

type RunResult<T> = Result<T, IndexError>;

fn run_error(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> IndexError {
    let path = path.to_path_buf();
    move |source| IndexError::Run { doing, path, source }
}
