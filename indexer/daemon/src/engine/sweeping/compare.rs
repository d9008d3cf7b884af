//! One sweep: a walk, or a look at stored directories, compared with the index. Knows no queue of sweeps.
//!
//! **Why old views hide nothing.** The walk compares with views of the index that may be a second old, while the
//! engine commits. A sweep is begun on the engine's thread between two rounds, so no look of an earlier moment is
//! still to be committed, and each of its views is opened after that. Take a name that the index and the disk
//! disagreed about then, and that does not change any more. Every look since, a round's or the sweep's, finds the
//! disk's state. So a view shows the old row, which differs from what the walk sees, and there is a hint; or a
//! round has looked and committed, and the row is right. A name that does change meanwhile differs because of
//! that change, which has its own event, or, where nothing watches, the next sweep.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use record::{EntryId, How, Name};
use scan::{Scope, Start, WalkError};
use tracing::warn;
use watch::WatchId;

use super::background::{Unseen, taken};
use super::schedule::Pace;
use super::{names, outside};
use crate::engine::config::Level;
use crate::engine::error::EngineError;
use crate::engine::shared::Shared;
use crate::engine::status::SweepReport;
use crate::engine::sweep::{Hints, Pass, SweepVisitor};

/// On FUSE and network file systems so many entries may be gone at once, and a fifth of all, before a second look has to
/// confirm it: servers and caches answer with empty directories when they fail.
const MOST_BELIEVED: u64 = 1_000;

/// What a thread needs to sweep.
pub(crate) struct Work {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scope: Arc<Scope>,
    /// Where to begin; at the root without.
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) level: Level,
    pub(crate) how: How,
    pub(crate) pass: Pass,
    /// Entries there should be, where finding far fewer is not believed at once.
    pub(crate) guard: Option<u64>,
    pub(crate) threads: usize,
    pub(crate) pace: Pace,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) walked: Arc<scan::Progress>,
}

/// What came of a sweep; its hints are pending already.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) report: SweepReport,
    pub(crate) blind: Vec<Unseen>,
    /// Directories that were listed wholly and had been blind before.
    pub(crate) seen_again: Vec<EntryId>,
    /// Directories whose watch stood before they were compared.
    pub(crate) compared: Vec<(EntryId, WatchId)>,
    /// So many entries were not found, and that was not believed: nothing was concluded of them.
    pub(crate) doubted: Option<u64>,
    /// It was told to stop.
    pub(crate) stopped: bool,
    /// Why it could not begin, or not go on.
    pub(crate) trouble: Option<String>,
}

/// Sweeps, and returns when every difference is a hint.
pub(crate) fn sweep(work: &Work) -> Result<Outcome, EngineError> {
    let shared = &*work.shared;
    let hints = Hints::new(shared, &work.stop, &work.pace, work.how);
    let mut outcome = match work.level {
        Level::Stat => walk(work, &hints)?,
        Level::Names => names::look(work, &hints)?,
    };
    outcome.doubted = work.guard.and_then(|expected| doubted(expected, &work.walked));
    if !outcome.stopped && outcome.doubted.is_none() {
        hints.hand_over();
        for (dir, watch) in std::mem::take(&mut outcome.compared) {
            shared.arms.compared(dir, watch);
        }
    }
    outcome.report.entries = work.walked.entries.load(Ordering::Relaxed);
    outcome.report.directories = work.walked.directories.load(Ordering::Relaxed);
    outcome.report.differences = hints.count();
    Ok(outcome)
}

/// How many of `expected` entries a walk did not meet, if they are a great part.
fn doubted(expected: u64, walked: &scan::Progress) -> Option<u64> {
    // The walk does not count the directory it began at.
    let missing = expected.saturating_sub(walked.entries.load(Ordering::Relaxed) + 1);
    (missing > MOST_BELIEVED && missing.saturating_mul(5) > expected).then_some(missing)
}

fn walk(work: &Work, hints: &Hints<'_>) -> Result<Outcome, EngineError> {
    let shared = &*work.shared;
    let start = match begin(shared, &work.scope, work.path.as_deref())? {
        Ok(start) => start,
        Err(why) => return Ok(Outcome { trouble: Some(why), ..Outcome::default() }),
    };
    let arms = (!shared.one_pass).then_some(&shared.arms);
    let visitor = SweepVisitor::new(shared, arms, hints, &work.stop, work.pass);
    let result = scan::walk(&work.scope, start, work.threads, &visitor, &work.stop, &work.walked);
    let SweepVisitor { partial, blind, seen_again, failed, compared, .. } = visitor;
    if let Some(error) = taken(failed) {
        return Err(error.into());
    }
    let mut outcome = Outcome {
        report: SweepReport { partial: partial.into_inner(), ..SweepReport::default() },
        blind: taken(blind),
        seen_again: taken(seen_again),
        compared: taken(compared),
        ..Outcome::default()
    };
    match result {
        Ok(()) => {}
        Err(WalkError::Stopped) => outcome.stopped = true,
        Err(error) => {
            warn!(%error, "the sweep ended early");
            outcome.trouble = Some(error.to_string());
        }
    }
    Ok(outcome)
}

/// Opens where a sweep begins. An error of the index is one; anything else is said in words.
pub(crate) fn begin(
    shared: &Shared,
    scope: &Scope,
    path: Option<&[u8]>,
) -> Result<Result<Start, String>, EngineError> {
    let Some(path) = path.filter(|path| **path != *scope.path) else {
        return Ok(Start::root(scope).map_err(|error| error.to_string()));
    };
    let Some((_, id)) = shared.index.read()?.resolve(path)? else {
        return Ok(Err(outside(path).to_string()));
    };
    let below = &path[scope.path.len()..];
    let names: Vec<&[u8]> = below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let opened = scope.open().and_then(|(root, _)| scope.open_below(root.as_fd(), &names));
    Ok(match opened {
        Ok(fd) => Ok(Start::below(scope, fd, id, names.into_iter().map(Name::from).collect())),
        Err(error) => Err(format!("cannot be opened: {error}")),
    })
}
