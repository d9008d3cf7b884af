//! Directories that are not where they should be: tried again as others' places become known. Gives up none in silence.

use std::time::{Duration, Instant};

use reconcile::{Holds, Stored as _};
use record::{EntryId, VolumeId};
use rustc_hash::FxHashSet;

use super::core::Core;
use super::error::EngineError;
use super::live::BARRIER;
use super::round::{Fate, Round, Todo};

/// For so long a hint is waited for that says where a directory went.
const LATE: Duration = Duration::from_secs(10);

impl Core {
    /// Has directories tried again that no hint said the place of.
    pub(crate) fn try_late_again(&mut self) {
        self.astray.append(&mut self.late);
    }

    /// When such a one has been waited for long enough.
    pub(crate) fn late_due(&self) -> Option<Instant> {
        let since = self.late_since.values().min().filter(|_| !self.late.is_empty())?;
        Some(*since + LATE)
    }

    /// Tries directories again that were not where they should be. What is still not there, with no hint
    /// left that could say where, cannot be looked at.
    pub(super) fn find_astray(&mut self) -> Result<(), EngineError> {
        if self.astray.is_empty() {
            return Ok(());
        }
        let again = std::mem::take(&mut self.astray);
        let count = again.len();
        let mut round =
            Round::new(&self.shared, &self.trees, &self.tops, &mut self.writing, &mut self.ghosts)?;
        let mut still = Vec::new();
        for item in again {
            if round.work(&item)? == Fate::Astray {
                still.push(item);
            }
        }
        round.settle()?;
        round.flush(Holds::Keep)?;
        let left = round.leave();
        let _ = self.shared.arms.barrier(Instant::now() + BARRIER);
        self.take_over(left, Instant::now())?;
        let sought: FxHashSet<EntryId> = still.iter().map(Todo::about).collect();
        self.late_since.retain(|id, _| sought.contains(id));
        if self.sweeps.is_running() && still.len() == count && self.shared.pending.is_empty() {
            self.put_aside.extend(still);
        } else if still.len() < count || !self.shared.pending.is_empty() || !self.held.is_empty() {
            self.astray.extend(still);
        } else if !still.is_empty() {
            // Everything that could say where it went has been looked at: it cannot be reached, or whoever moves it is
            // between the move and the word of it.
            let now = Instant::now();
            let mut given_up: FxHashSet<EntryId> = FxHashSet::default();
            for item in still {
                let since = self.late_since.entry(item.about()).or_insert(now);
                match now.duration_since(*since) < LATE {
                    true => self.late.push(item),
                    false => _ = given_up.insert(item.about()),
                }
            }
            self.look_for_lost()?;
            for id in given_up {
                self.late_since.remove(&id);
                if self.should_be_there(id)? {
                    let why = "a directory is not where it was, and nothing said where it went";
                    self.owe_repair(id.volume, why.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Whether the way to a directory leads from a root that is there past nothing that is known to be out of reach.
    pub(super) fn should_be_there(&self, id: EntryId) -> Result<bool, EngineError> {
        let reader = self.shared.index.read()?;
        let mut way = FxHashSet::default();
        let mut at = id;
        loop {
            if reader.is_blind(at)? || !way.insert(at) {
                return Ok(false);
            }
            if let Some(tree) = self.trees.iter().find(|tree| tree.row.top == at) {
                return Ok(tree.present);
            }
            let Some(place) = reader.row(at)?.and_then(|row| row.place) else { return Ok(false) };
            at = place.dir;
        }
    }

    /// Volumes with directories that should be there and are not, now that everything queued has been looked at.
    pub(super) fn missed(&self) -> Result<Vec<VolumeId>, EngineError> {
        let mut volumes = Vec::new();
        for id in self.late.iter().map(Todo::about) {
            if !volumes.contains(&id.volume) && self.should_be_there(id)? {
                volumes.push(id.volume);
            }
        }
        Ok(volumes)
    }
}
