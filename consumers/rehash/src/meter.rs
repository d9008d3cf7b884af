//! How reading gets on: plain numbers for whoever shows them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record::EntryId;

/// Files that could not be read which are remembered; the oldest goes.
const MOST_REMEMBERED: usize = 100;

/// Bumped by readers, read by anybody.
#[derive(Debug, Default)]
pub struct Meter {
    files: AtomicU64,
    ends: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    left: Mutex<(u64, u64)>,
    last: Mutex<VecDeque<(EntryId, String)>>,
}

/// What was read since the start, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Files read in full, or sampled.
    pub files: u64,
    /// First or last 4 KiB read.
    pub ends: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Times that a file could not be read.
    pub refused: u64,
    /// Files that may have to be read, beside those that changed.
    pub files_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
}

impl Meter {
    pub(crate) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, bytes: u64) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.read(bytes);
    }

    pub(crate) fn refused(&self, id: EntryId, why: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut last = lock(&self.last);
        last.retain(|(known, _)| *known != id);
        if last.len() >= MOST_REMEMBERED {
            last.pop_front();
        }
        last.push_back((id, why));
    }

    pub(crate) fn set_left(&self, files: u64, bytes: u64) {
        *lock(&self.left) = (files, bytes);
    }

    /// Nothing is left.
    pub fn clear_left(&self) {
        self.set_left(0, 0);
    }

    pub(crate) fn done(&self, files: u64, bytes: u64) {
        let mut left = lock(&self.left);
        *left = (left.0.saturating_sub(files), left.1.saturating_sub(bytes));
    }

    /// The numbers now.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (files_left, bytes_left) = *lock(&self.left);
        Counted {
            files: get(&self.files),
            ends: get(&self.ends),
            bytes: get(&self.bytes),
            refused: get(&self.refused),
            files_left,
            bytes_left,
        }
    }

    /// The last files that could not be read, and why, oldest first.
    #[must_use]
    pub fn last_refused(&self) -> Vec<(EntryId, String)> {
        lock(&self.last).iter().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
