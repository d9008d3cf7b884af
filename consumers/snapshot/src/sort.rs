//! Rows in any order, made into rows in the order of their paths, in a bounded part of memory: what is full is sorted and goes to
//! disk as a run, and runs are merged. Knows no directory and no Parquet.

mod arena;
mod merge;
mod run;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::error::SnapshotError;

pub(crate) use arena::Arena;
pub(crate) use merge::Merge;
#[cfg(test)]
pub(crate) use run::NOTHING;
pub(crate) use run::{Run, Scratch};

/// Runs that are merged at once. Each takes some 100 KiB of memory.
const MOST: usize = if cfg!(test) { 3 } else { 256 };

/// Rows that wait on disk.
#[derive(Debug)]
pub(crate) struct Sorted {
    folder: PathBuf,
    scratch: Scratch,
    runs: Vec<Run>,
}

impl Sorted {
    /// None yet. What comes goes to nameless files in `folder`.
    pub(crate) fn new(folder: &Path) -> Sorted {
        Sorted { folder: folder.to_owned(), scratch: Scratch::new(folder), runs: Vec::new() }
    }

    /// Takes all rows of an arena, and leaves it empty.
    pub(crate) fn add(&mut self, arena: &mut Arena) -> Result<(), SnapshotError> {
        if !arena.is_empty() {
            self.runs.push(arena.spill(&mut self.scratch)?);
        }
        Ok(())
    }

    /// Takes rows that are on disk already.
    pub(crate) fn adopt(&mut self, runs: Vec<Run>) {
        self.runs.extend(runs);
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What was added, as it is.
    pub(crate) fn into_runs(self) -> Vec<Run> {
        self.runs
    }

    /// All rows in order.
    pub(crate) fn merge(mut self) -> Result<Merge, SnapshotError> {
        // By rounds, so that each row is written once a round.
        while self.runs.len() > MOST {
            let mut scratch = Scratch::new(&self.folder);
            let mut merged = Vec::new();
            let mut rest = std::mem::take(&mut self.runs).into_iter();
            loop {
                let some: Vec<Run> = rest.by_ref().take(MOST).collect();
                if some.is_empty() {
                    break;
                }
                merged.push(scratch.write(|writer| Merge::new(some)?.each(&mut |row| writer.push(row)))?);
            }
            self.runs = merged;
        }
        Merge::new(self.runs)
    }
}
