//! One thread's part of a seed: its sort buffers, and which directory it is in.

use std::sync::Arc;

use reconcile::Target;
use record::{EntryId, RootId, Stat, Time, Totals};
use rustc_hash::FxHashMap;

use super::keep::{Keep, Listing, Set};
use super::manifest::{ENTRIES_RUN, LISTED, NAMES_RUN, TOTALS_RUN};
use super::sort::{Position, Sorter};
use super::{COUNTED, Kinds, RunResult};
use crate::error::IndexError;
use crate::roots::{Blind, put_blind};
use crate::row_code::{put_seed_row, put_totals};
use crate::tables::{dir_prefix, target_value};

/// One thread's part of a seed.
pub struct SeedWorker {
    keep: Arc<Keep>,
    /// Where what it writes now will count.
    at: Listing,
    /// The times it had been asked to close its set when it began this one.
    asked: u64,
    entries: Sorter,
    names: Sorter,
    listed: Sorter,
    totals: Sorter,
    /// Sets of others that this one needs.
    needs: FxHashMap<u32, u32>,
    directories: u64,
    /// Where the buffers were when the directory in work was begun.
    open: Option<[Position; 2]>,
    value: Vec<u8>,
}

impl SeedWorker {
    pub(crate) fn new(keep: Arc<Keep>, buffer: usize) -> SeedWorker {
        let sorter = |kind, bytes| Sorter::new(Arc::clone(&keep), kind, bytes);
        SeedWorker {
            at: Listing { worker: keep.next_worker(), set: 0 },
            asked: keep.asked(),
            entries: sorter(ENTRIES_RUN, buffer),
            names: sorter(NAMES_RUN, buffer / 2),
            listed: sorter(LISTED, buffer / 8),
            totals: sorter(TOTALS_RUN, buffer / 8),
            needs: FxHashMap::default(),
            directories: 0,
            open: None,
            value: Vec::new(),
            keep,
        }
    }

    /// Begins a directory; `above` is where the one that it is in is listed, if that is in this seed. Answers where
    /// this one is. Every entry between here and [`SeedWorker::listed`] must be of its listing.
    ///
    /// # Errors
    /// When a run cannot be written.
    pub fn begin(&mut self, above: Option<Listing>) -> Result<Listing, IndexError> {
        if self.keep.asked() != self.asked {
            self.close()?;
        }
        if let Some(above) = above
            && above.worker != self.at.worker
        {
            let set = self.needs.entry(above.worker).or_insert(above.set);
            *set = above.set.max(*set);
        }
        self.open = Some([self.entries.position(), self.names.position()]);
        Ok(self.at)
    }

    /// Ends the directory that was begun: what of it there is to list was listed, but for what `blind` says.
    ///
    /// # Errors
    /// When a run cannot be written.
    pub fn listed(&mut self, dir: EntryId, blind: Option<&Blind>) -> Result<(), IndexError> {
        let value = blind.map(put_blind).unwrap_or_default();
        self.listed.push(&dir_prefix(dir), &[], &value)?;
        self.directories += 1;
        self.open = None;
        let full = [&self.entries, &self.names, &self.listed].into_iter().any(Sorter::is_nearly_full);
        if full || self.keep.asked() != self.asked { self.close() } else { Ok(()) }
    }

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
    /// Entries with several links are counted by the merge, which alone knows their least name. A seed that goes on with
    /// another does without: its totals are added up from the rows.
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

    /// Hands over what it wrote since the last time. In no directory, so that none is cut in two.
    fn close(&mut self) -> RunResult<()> {
        self.asked = self.keep.asked();
        let mut runs = Vec::new();
        for sorter in [&mut self.entries, &mut self.names, &mut self.listed] {
            sorter.spill()?;
            runs.append(&mut sorter.take_files());
        }
        if runs.is_empty() {
            return Ok(());
        }
        let (needs, directories) = (std::mem::take(&mut self.needs), std::mem::take(&mut self.directories));
        self.keep.close(Set { of: self.at, needs, runs, directories });
        self.at.set += 1;
        Ok(())
    }

    /// Hands over what it has when the walk is over. If that was cut off in the middle of a directory, what is of that
    /// one is dropped, and all that cannot be told from it.
    pub(crate) fn close_at_last(&mut self) -> RunResult<()> {
        if let Some([entries, names]) = self.open
            && !(self.entries.go_back(entries) && self.names.go_back(names))
        {
            return Ok(());
        }
        self.open = None;
        self.close()
    }

    pub(super) fn finish(self, kinds: &mut Kinds) {
        self.entries.finish(&mut kinds.entries);
        self.names.finish(&mut kinds.names);
        self.totals.finish(&mut kinds.totals);
    }
}
