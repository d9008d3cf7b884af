//! Names that went while the file lived on. inotify names a write by the name the file was opened by, even
//! when that name is gone; this remembers whose it was.

use std::collections::VecDeque;

use record::{EntryId, Name};
use rustc_hash::{FxHashMap, FxHashSet};

/// Most names remembered.
const MOST: usize = 65_536;

/// Most files that are looked at on suspicion at every settle; beyond it the oldest suspicion is dropped,
/// and the next sweep has it.
const MOST_SUSPECTS: usize = 4096;

/// Names that went, and the files that may still be written by them.
#[derive(Default)]
pub(crate) struct Ghosts {
    names: FxHashMap<(EntryId, Name), EntryId>,
    order: VecDeque<(EntryId, Name)>,
    /// Files whose old name was forgotten here, or is in a directory that nobody watches any more.
    suspects: FxHashSet<EntryId>,
    suspect_order: VecDeque<EntryId>,
}

impl Ghosts {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The file called `name` in `dir` lost that name and lives on.
    pub(crate) fn add(&mut self, dir: EntryId, name: Name, file: EntryId) {
        if self.names.insert((dir, name.clone()), file).is_none() {
            self.order.push_back((dir, name));
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
            && let Some(file) = self.names.remove(&oldest)
        {
            self.suspect(file);
        }
    }

    /// Whose name that was.
    pub(crate) fn get(&self, dir: EntryId, name: &[u8]) -> Option<EntryId> {
        self.names.get(&(dir, Name::from(name))).copied()
    }

    /// The directory went, and its watch with it.
    pub(crate) fn directory_gone(&mut self, dir: EntryId) {
        if self.names.is_empty() {
            return;
        }
        let gone: Vec<(EntryId, Name)> = self.names.keys().filter(|(of, _)| *of == dir).cloned().collect();
        for key in gone {
            if let Some(file) = self.names.remove(&key) {
                self.suspect(file);
            }
        }
    }

    /// Files to look at for want of better knowledge.
    pub(crate) fn suspects(&self) -> Vec<EntryId> {
        self.suspect_order.iter().copied().collect()
    }

    /// The file may change without an event.
    pub(crate) fn suspect(&mut self, file: EntryId) {
        if self.suspects.insert(file) {
            self.suspect_order.push_back(file);
        }
        if self.suspect_order.len() > MOST_SUSPECTS
            && let Some(oldest) = self.suspect_order.pop_front()
        {
            self.suspects.remove(&oldest);
        }
    }
}
