//! What of a seed under way outlives it: sets of runs that hang together, made durable and then named by a manifest.
//!
//! A set is what one worker wrote between two moments at which it was in no directory. So a directory's records and the
//! mark that says it was listed are in one set. A set needs those in which the directories above its own are listed; it
//! is named when they are. What is named is therefore a tree cut off at some directories, and never a piece without
//! its stem.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record::Time;
use rustc_hash::{FxHashMap, FxHashSet};

use super::manifest::{KINDS, Manifest};
use super::sort::RunFile;
use super::{RunResult, run_error};
use crate::error::IndexError;

const MANIFEST: &str = "manifest";

/// Where a directory is listed: a worker and the number of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listing {
    pub(crate) worker: u32,
    pub(crate) set: u32,
}

/// Runs that count together or not at all.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) of: Listing,
    /// Others that must count too: for each worker the last of its sets.
    pub(crate) needs: FxHashMap<u32, u32>,
    pub(crate) runs: Vec<RunFile>,
    pub(crate) directories: u64,
}

/// The folder of a seed, its numbers, and what is to be made durable.
#[derive(Debug)]
pub(crate) struct Keep {
    dir: PathBuf,
    runs: AtomicU64,
    workers: AtomicU32,
    /// Counts the times that workers were asked to close their sets.
    asked: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Closed and not named.
    closed: Vec<Set>,
    /// How many sets of each worker are named.
    named: FxHashMap<u32, u32>,
    manifest: Manifest,
    /// The manifest is on the disk.
    stored: bool,
}

impl Keep {
    /// Takes the folder `dir` over with what `manifest` names in it; everything else in it goes.
    pub(crate) fn new(dir: PathBuf, manifest: Manifest, stored: bool) -> RunResult<Keep> {
        let next = manifest.runs.iter().map(|run| run.number.saturating_add(1)).max().unwrap_or(0);
        let keep = Keep {
            dir,
            runs: AtomicU64::new(next),
            workers: AtomicU32::new(0),
            asked: AtomicU64::new(0),
            state: Mutex::new(State { manifest, stored, ..State::default() }),
        };
        std::fs::create_dir_all(&keep.dir).map_err(run_error("make", &keep.dir))?;
        keep.clear()?;
        Ok(keep)
    }

    pub(crate) fn path_of(&self, kind: u8, number: u64) -> PathBuf {
        self.dir.join(format!("{}-{number}.run", KINDS[usize::from(kind)]))
    }

    pub(crate) fn path(&self, run: &RunFile) -> PathBuf {
        self.path_of(run.kind, run.number)
    }

    pub(crate) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_worker(&self) -> u32 {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks all workers to close their sets when they next can.
    pub(crate) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self, set: Set) {
        self.state().closed.push(set);
    }

    /// Names what is closed and has all it needs: its runs are made durable, then `before` is called, then the manifest
    /// is replaced. Answers whether anything was named.
    pub(crate) fn store(&self, at: Time, before: impl FnOnce() -> Result<(), IndexError>) -> RunResult<bool> {
        let mut state = self.state();
        let ready = take_ready(&mut state);
        if ready.is_empty() {
            return Ok(false);
        }
        // Workers close sets while the disk is at it.
        drop(state);
        for run in ready.iter().flat_map(|set| &set.runs) {
            let path = self.path(run);
            sync(&path).map_err(run_error("sync", &path))?;
        }
        before()?;
        let mut state = self.state();
        state.manifest.written = at;
        for set in ready {
            state.named.insert(set.of.worker, set.of.set + 1);
            state.manifest.directories += set.directories;
            state.manifest.runs.extend(set.runs);
        }
        let bytes = state.manifest.bytes();
        drop(state);
        self.replace(&bytes)?;
        self.state().stored = true;
        Ok(true)
    }

    fn replace(&self, bytes: &[u8]) -> RunResult<()> {
        let (path, new) = (self.manifest_path(), self.dir.join("manifest.new"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(run_error("write", &new))?;
        // The runs' own names must be there before one that names them.
        sync(&self.dir).map_err(run_error("sync", &self.dir))?;
        std::fs::rename(&new, &path).map_err(run_error("rename", &new))?;
        sync(&self.dir).map_err(run_error("sync", &self.dir))
    }

    /// Takes all runs: those that are named and those that are not.
    pub(crate) fn take_runs(&self) -> Vec<RunFile> {
        let mut state = self.state();
        let mut runs = state.manifest.runs.clone();
        runs.extend(state.closed.drain(..).flat_map(|set| set.runs));
        runs
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.state().stored
    }

    /// Removes what no manifest names; all of it where there is none.
    pub(crate) fn clear(&self) -> RunResult<()> {
        let state = self.state();
        let named: FxHashSet<PathBuf> = state.manifest.runs.iter().map(|run| self.path(run)).collect();
        let failed = run_error("empty", &self.dir);
        let clear = || {
            for entry in std::fs::read_dir(&self.dir)? {
                let path = entry?.path();
                let counts = state.stored && (path == self.manifest_path() || named.contains(&path));
                if !counts {
                    std::fs::remove_file(&path)?;
                }
            }
            Ok(())
        };
        clear().map_err(failed)
    }

    /// Removes the folder with all in it: the manifest first, so that no crash leaves one that names what is gone.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.manifest_path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::remove_dir_all(&self.dir)
    }

    fn manifest_path(&self) -> PathBuf {
        self.dir.join(MANIFEST)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manifest in `dir`, `None` where there is none; not longer than a gigabyte of runs' names could make it.
pub(crate) fn read_manifest(dir: &Path) -> std::io::Result<Option<Vec<u8>>> {
    const LONGEST: u64 = 64 << 20;
    let path = dir.join(MANIFEST);
    match std::fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() <= LONGEST => std::fs::read(&path).map(Some),
        Ok(_) => Ok(Some(Vec::new())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes the sets out that need none but each other and what is named.
fn take_ready(state: &mut State) -> Vec<Set> {
    let mut ready: FxHashSet<Listing> = state.closed.iter().map(|set| set.of).collect();
    loop {
        let counts = |of: Listing| {
            state.named.get(&of.worker).is_some_and(|next| of.set < *next) || ready.contains(&of)
        };
        let lacking: Vec<Listing> = state
            .closed
            .iter()
            .filter(|set| ready.contains(&set.of))
            .filter(|set| {
                let before = set.of.set.checked_sub(1).map(|before| Listing { set: before, ..set.of });
                let mut needs = set.needs.iter().map(|(worker, set)| Listing { worker: *worker, set: *set });
                before.is_some_and(|before| !counts(before)) || needs.any(|need| !counts(need))
            })
            .map(|set| set.of)
            .collect();
        if lacking.is_empty() {
            break;
        }
        for set in lacking {
            ready.remove(&set);
        }
    }
    let (mut taken, left): (Vec<Set>, Vec<Set>) =
        std::mem::take(&mut state.closed).into_iter().partition(|set| ready.contains(&set.of));
    state.closed = left;
    // In each worker's order, as they are counted.
    taken.sort_by_key(|set| (set.of.worker, set.of.set));
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(worker: u32, set: u32, needs: &[(u32, u32)]) -> Set {
        Set {
            of: Listing { worker, set },
            needs: needs.iter().copied().collect(),
            runs: Vec::new(),
            directories: 1,
        }
    }

    /// What is named has all above it named: a set waits for what it needs, and so do those that need it.
    #[test]
    fn sets_wait_for_what_they_need() {
        let mut state = State::default();
        let mut ready = |more: Vec<Set>| -> Vec<(u32, u32)> {
            state.closed.extend(more);
            let taken = take_ready(&mut state);
            for set in &taken {
                state.named.insert(set.of.worker, set.of.set + 1);
            }
            taken.iter().map(|set| (set.of.worker, set.of.set)).collect()
        };
        // Each needs the other's; a third needs what is not closed.
        assert_eq!(
            ready(vec![set(0, 0, &[(1, 0)]), set(1, 0, &[(0, 0)]), set(2, 0, &[(0, 1)])]),
            [(0, 0), (1, 0)]
        );
        // One after a set that is missing, and one that needs that one.
        assert_eq!(ready(vec![set(1, 2, &[]), set(0, 1, &[(1, 2)])]), []);
        assert_eq!(ready(vec![set(1, 1, &[])]), [(0, 1), (1, 1), (1, 2), (2, 0)]);
    }
}
