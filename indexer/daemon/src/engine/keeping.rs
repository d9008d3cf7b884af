//! How directories are kept true, as the watches and the state of the roots tell. Looks at no file.

use std::sync::atomic::Ordering;

use index::{IndexError, Reader, RootRow};
use record::{EntryId, Time, VolumeId};

use super::shared::{RootView, Shared};
use super::status::{CoverageStatus, RootStatus};
use crate::query::{Keeper, Kept};

/// What the engine knows, at one moment.
pub(crate) struct EngineKeeper<'a> {
    shared: &'a Shared,
    roots: Vec<RootView>,
    known: i128,
}

impl Shared {
    /// Who keeps what, now.
    pub(crate) fn keeper(&self) -> EngineKeeper<'_> {
        EngineKeeper { shared: self, roots: self.view().roots.clone(), known: self.known_ns() }
    }

    /// Until when all that events tell of was known, in nanoseconds since 1970: now, when there is nothing to do.
    pub(crate) fn known_ns(&self) -> i128 {
        if self.busy.load(Ordering::Acquire) || !self.pending.is_empty() {
            i128::from(self.known.load(Ordering::Acquire))
        } else {
            Time::now().0
        }
    }

    /// The engine has nothing to do, or has something again; `known` is until when all was known.
    pub(crate) fn note_busy(&self, busy: bool, known: Time) {
        self.known.store(i64::try_from(known.0).unwrap_or(0), Ordering::Release);
        self.busy.store(busy, Ordering::Release);
    }

    /// Counts for `status`, from sums and without a walk: directories without a watch are counted by the watches,
    /// those of swept file systems by the sums of their topmost directory here.
    pub(crate) fn count_coverage(
        &self,
        reader: &Reader,
        shown: &RootView,
        root: &mut RootStatus,
    ) -> Result<(), IndexError> {
        use reconcile::Stored as _;
        let directories_below = |path: &[u8]| -> Result<u64, IndexError> {
            let Some((_, id)) = reader.resolve(path)? else { return Ok(0) };
            Ok(reader.totals(id)?.map_or(0, |totals| totals.directories))
        };
        let all = directories_below(&shown.path)?;
        let blind = root.blind.min(all);
        let seeing = all - blind;
        let mut coverage = CoverageStatus { blind, ..CoverageStatus::default() };
        if shown.state != "live" {
            coverage.unverified = seeing;
        } else {
            for (at, (volume, path)) in shown.parts.iter().enumerate() {
                let arm = self.arms.get(*volume);
                if let Some(arm) = arm.as_ref().filter(|arm| arm.watches()) {
                    coverage.swept += arm.unwatched();
                    continue;
                }
                let mut part = directories_below(path)?;
                // What is mounted further down is counted by itself.
                for (_, inner) in shown.parts.iter().skip(at + 1).filter(|(_, inner)| is_inside(inner, path))
                {
                    part = part.saturating_sub(directories_below(inner)?);
                }
                match arm {
                    Some(_) => coverage.swept += part,
                    // Nobody has met it yet, or not again.
                    None => coverage.unverified += part,
                }
            }
            coverage.unverified = coverage.unverified.min(seeing);
            coverage.swept = coverage.swept.min(seeing - coverage.unverified);
            coverage.watched = seeing - coverage.unverified - coverage.swept;
        }
        root.coverage = coverage;
        Ok(())
    }
}

/// Whether `path` lies below `above`, with nothing in between that `above` does not hold.
fn is_inside(path: &[u8], above: &[u8]) -> bool {
    path.len() > above.len() && crate::paths::is_below(path, above)
}

impl EngineKeeper<'_> {
    fn root(&self, path: &[u8]) -> Option<&RootView> {
        self.roots.iter().find(|root| root.path == path)
    }
}

impl Keeper for EngineKeeper<'_> {
    fn kept(&self, root: &[u8], dir: EntryId) -> Kept {
        if self.root(root).is_none_or(|root| root.state != "live") {
            Kept::Unverified
        } else if self.shared.arms.is_watched(dir) {
            Kept::Watched
        } else {
            Kept::Swept
        }
    }

    fn verified(&self, root: &[u8], kept: Kept) -> Option<i128> {
        let root = self.root(root)?;
        let swept = Some(root.verified.0).filter(|ns| *ns > 0);
        match kept {
            Kept::Watched => Some(self.known),
            Kept::Swept | Kept::Unverified => swept,
        }
    }

    fn tier(&self, volume: VolumeId) -> Option<(String, String)> {
        let arm = self.shared.arms.get(volume)?;
        Some((arm.word().to_owned(), arm.reason.clone()))
    }
}

/// Without a daemon nothing is kept true; the index says until when it was.
pub(crate) struct NobodyWatches {
    roots: Vec<RootRow>,
}

impl NobodyWatches {
    /// As of this reader.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) fn new(reader: &Reader) -> Result<NobodyWatches, IndexError> {
        Ok(NobodyWatches { roots: reader.roots()? })
    }
}

impl Keeper for NobodyWatches {
    fn kept(&self, _: &[u8], _: EntryId) -> Kept {
        Kept::Unverified
    }

    fn verified(&self, root: &[u8], _: Kept) -> Option<i128> {
        let root = self.roots.iter().find(|row| row.path[..] == *root)?;
        Some(root.verified.0).filter(|ns| *ns > 0)
    }

    fn tier(&self, _: VolumeId) -> Option<(String, String)> {
        Some(("none".to_owned(), "no daemon runs".to_owned()))
    }
}
