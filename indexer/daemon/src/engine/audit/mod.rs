//! The self-audit: now and then a directory picked at random is compared with the disk, to see whether anything happened
//! that no event told of. Measures also how long a change takes to be in the journal. Repairs what it finds, and says so.

mod window;

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use index::{IndexError, Reader};
use reconcile::Stored as _;
use record::{Body, Change, EntryId, How, Op, Record, RootId, Seq, Stat, Time};
use tracing::warn;

use super::config::Level;
use super::core::Core;
use super::error::EngineError;
use super::round::Todo;
use super::shared::Shared;
use super::sweeping::background::Why;
pub(crate) use window::Window;

/// Larger directories are left out: listing one must not keep the engine from its work.
const MOST_ENTRIES: u64 = 10_000;

/// Rounds that may pass until nothing is pending; a tree busier than that is audited when it is calmer.
const MOST_ROUNDS: u32 = 16;

/// How long the readers may take to say that their queues are read.
const BARRIER: Duration = Duration::from_secs(2);

/// How long a call may go on after what it does can be seen: its event comes at its end.
const CALL: Duration = Duration::from_secs(2);

/// Between two looks for the event of such a call.
const LOOK: Duration = Duration::from_millis(50);

/// After a miss the whole tree is swept, this much later: one sweep for all that is found meanwhile.
const HURRY: Duration = Duration::from_secs(60);

/// For so long after a miss its tree is suspected of more.
const SUSPECT: Duration = Duration::from_secs(86_400);

/// And swept at least this often.
const RAISED: Duration = Duration::from_secs(3_600);

/// Records of one audit that are judged.
const MOST_RECORDS: usize = 1_000;

/// State of the audit.
pub(crate) struct Audit {
    last: Instant,
    random: u64,
    /// Trees to sweep before their time, and when.
    hurried: Vec<(RootId, Instant)>,
    /// When something was last missed in a tree.
    missed: Vec<(RootId, Instant)>,
}

impl Audit {
    /// The first audit comes one period after `now`; `seed` makes each daemon pick others.
    pub(crate) fn new(now: Instant, seed: u64) -> Audit {
        Audit { last: now, random: seed, hurried: Vec::new(), missed: Vec::new() }
    }

    /// When the next one is due; `None` for never.
    fn next(&self, every: Duration) -> Option<Instant> {
        if every.is_zero() { None } else { Some(self.last + every) }
    }

    /// Has a root swept at `due`, unless it is to be before.
    pub(crate) fn hurry(&mut self, root: RootId, due: Instant) {
        if !self.hurried.iter().any(|(hurried, _)| *hurried == root) {
            self.hurried.push((root, due));
        }
    }

    /// How often all of a root is swept that would be swept `every` so often: more often for a day after a miss.
    pub(crate) fn raised(&self, root: RootId, every: Duration, now: Instant) -> Duration {
        if self.is_suspect(root, now) { every.min(RAISED) } else { every }
    }

    /// Whether something was missed in a root during the last day.
    fn is_suspect(&self, root: RootId, now: Instant) -> bool {
        self.missed.iter().any(|(of, at)| *of == root && now.duration_since(*at) < SUSPECT)
    }

    fn note_miss(&mut self, root: RootId, now: Instant) {
        self.missed.retain(|(of, _)| *of != root);
        self.missed.push((root, now));
    }

    /// When there is something to do.
    pub(crate) fn due(&self, every: Duration) -> Option<Instant> {
        let hurried = self.hurried.iter().map(|(_, due)| *due);
        self.next(every).into_iter().chain(hurried).min()
    }

    /// A number below `bound`, by splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

impl Core {
    /// Compares one directory, if it is time.
    pub(crate) fn audit_if_due(&mut self, now: Instant) -> Result<(), EngineError> {
        if self.audit.next(self.config.audit).is_none_or(|due| due > now) {
            return Ok(());
        }
        self.audit.last = now;
        self.audit_one()
    }

    fn audit_one(&mut self) -> Result<(), EngineError> {
        let Some((at, dir)) = self.pick()? else { return Ok(()) };
        if !self.come_to_rest()? {
            return Ok(());
        }
        let reader = self.shared.index.read()?;
        let mut entries = 0;
        reader.each_child::<IndexError>(dir, |_, _| {
            entries += 1;
            Ok(entries <= MOST_ENTRIES)
        })?;
        if entries > MOST_ENTRIES {
            return Ok(());
        }
        let (before, known) = (reader.seq()?, self.drained);
        drop(reader);
        self.todo.push_back(Todo::List(dir, false, How::Sweep));
        self.round(watch::Batch::default())?;
        // What was changed in the meantime has its events now.
        if self.shared.arms.barrier(Instant::now() + BARRIER).is_err() {
            return Ok(());
        }
        let reader = self.shared.index.read()?;
        let mut missed = self.misses(&reader, dir, before)?;
        let until = Instant::now() + CALL;
        while missed > 0 && !self.audit.is_suspect(self.trees[at].row.id, until) && Instant::now() < until {
            std::thread::sleep(LOOK);
            if self.shared.arms.barrier(Instant::now() + BARRIER).is_err() {
                return Ok(());
            }
            missed = self.misses(&reader, dir, before)?;
        }
        let path = reader.path(&reader.roots()?, dir)?;
        drop(reader);
        if missed > 0 {
            let path = path.unwrap_or_else(|| self.trees[at].row.path.to_vec());
            warn!(directory = %String::from_utf8_lossy(&path), missed, "an audit found changes that no event told of");
            self.tell_gap(at, &path, known, "an audit found changes that no event told of")?;
            self.audit.note_miss(self.trees[at].row.id, Instant::now());
            self.hurry(at);
        }
        // Last, so that what is counted can be read in the journal.
        self.shared.audited(entries, missed);
        Ok(())
    }

    /// How many of the records after `before`, which an audit of `dir` wrote, would not have come without it.
    fn misses(&self, reader: &Reader, dir: EntryId, before: Seq) -> Result<u64, IndexError> {
        let (mut missed, mut judged) = (0, 0);
        reader.each_record::<IndexError>(before, |record| {
            judged += 1;
            missed += u64::from(self.is_miss(dir, &record));
            Ok(judged < MOST_RECORDS)
        })?;
        Ok(missed)
    }

    /// Has a tree swept before its time: what is missed in one place may be missed in others.
    fn hurry(&mut self, at: usize) {
        self.audit.hurry(self.trees[at].row.id, Instant::now() + HURRY);
    }

    /// Sweeps the trees in which an audit found something.
    pub(crate) fn sweep_hurried(&mut self, now: Instant) -> Result<(), EngineError> {
        let due = self.audit.hurried.iter().position(|(_, due)| *due <= now);
        let Some((root, _)) = due.map(|at| self.audit.hurried.swap_remove(at)) else { return Ok(()) };
        let at = self.trees.iter().position(|tree| tree.row.id == root && tree.present);
        at.map_or(Ok(()), |at| self.order(at, None, Level::Stat, How::Sweep, Why::Due).map(drop))
    }

    /// Whether the change would have stayed unknown: found by the audit, and no hint is on its way.
    fn is_miss(&self, dir: EntryId, record: &Record) -> bool {
        let Body::Change(change) = &record.body else { return false };
        record.how == How::Sweep
            && !only_settled(change)
            && !self.shared.pending.mentions(dir)
            && !self.shared.pending.mentions(change.entry)
            && !self.writing.follows(change.entry)
    }

    /// A directory that events are to tell of, each with the same chance.
    fn pick(&mut self) -> Result<Option<(usize, EntryId)>, EngineError> {
        let reader = self.shared.index.read()?;
        let mut tops = Vec::new();
        let mut all = 0;
        for (at, tree) in self.trees.iter().enumerate().filter(|(_, tree)| tree.present) {
            let directories = reader.totals(tree.row.top)?.map_or(0, |totals| totals.directories);
            tops.push((at, tree.row.top, directories));
            all += directories;
        }
        let mut number = self.audit.below(all);
        for (at, top, directories) in tops {
            if number < directories {
                let dir = nth_directory(&reader, top, number)?;
                let fit = self.shared.arms.is_watched(dir) && !reader.is_blind(dir)?;
                return Ok(fit.then_some((at, dir)));
            }
            number -= directories;
        }
        Ok(None)
    }

    /// Works off all that is pending; false if that takes too long.
    fn come_to_rest(&mut self) -> Result<bool, EngineError> {
        if self.shared.arms.barrier(Instant::now() + BARRIER).is_err() {
            return Ok(false);
        }
        for _ in 0..MOST_ROUNDS {
            if !self.has_work() {
                return Ok(true);
            }
            self.step()?;
        }
        Ok(!self.has_work())
    }
}

impl Shared {
    /// Hours since the start.
    fn hour(&self) -> u64 {
        self.started.elapsed().as_secs() / 3600
    }

    fn audited(&self, entries: u64, missed: u64) {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).audited(self.hour(), entries, missed);
    }

    /// Notes how long the changes that events told of took to be in the journal.
    pub(crate) fn note_latencies(&self, records: &[Record]) {
        let now = Time::now();
        let mut window = None;
        for record in records {
            let Body::Change(change) = &record.body else { continue };
            if !matches!(record.how, How::Fanotify | How::Inotify | How::Notify) {
                continue;
            }
            let Some(made) = made_at(change) else { continue };
            let micros = u64::try_from((now.0 - made.0) / 1_000).unwrap_or(0);
            let window =
                window.get_or_insert_with(|| self.window.lock().unwrap_or_else(PoisonError::into_inner));
            window.detected(self.hour(), micros);
        }
    }

    /// What audits and detections of the last 24 hours came to.
    pub(crate) fn day(&self) -> window::Day {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).day(self.hour())
    }
}

/// Whether nothing but the space on disk differs: delayed allocation settles long after the write, and no event tells.
fn only_settled(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return false };
    before.stat.same(&Stat { allocated: before.stat.allocated, ..after.stat })
}

/// When a change was made, where its own times say so. Writes are left out: their records are put off on purpose.
fn made_at(change: &Change) -> Option<Time> {
    match change.op {
        Op::Modified => None,
        Op::Deleted | Op::Unlinked => change.parents.iter().map(|parent| parent.1.changed).max(),
        _ => change.after.as_ref().map(|after| after.stat.changed),
    }
}

/// The directory with this number among all at and below `top`, themselves numbered in the order of a walk.
fn nth_directory(reader: &Reader, top: EntryId, number: u64) -> Result<EntryId, IndexError> {
    let (mut at, mut left) = (top, number);
    while left > 0 {
        left -= 1;
        let mut next = None;
        reader.each_child::<IndexError>(at, |_, target| {
            if target.directory {
                let below = reader.totals(target.id)?.map_or(1, |totals| totals.directories.max(1));
                if left < below {
                    next = Some(target.id);
                    return Ok(false);
                }
                left -= below;
            }
            Ok(true)
        })?;
        let Some(below) = next else { break };
        at = below;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::testing::made;
    use record::{Kind, VolumeId};
    use std::collections::BTreeSet;

    #[test]
    fn a_miss_raises_the_rate_of_sweeps_of_its_tree_for_a_day() {
        let now = Instant::now();
        let (missed, other, daily) = (RootId(1), RootId(2), Duration::from_secs(86_400));
        let mut audit = Audit::new(now, 0);
        assert_eq!(audit.raised(missed, daily, now), daily);
        audit.note_miss(missed, now);
        assert_eq!(audit.raised(missed, daily, now), RAISED);
        assert_eq!(audit.raised(other, daily, now), daily);
        // Never more seldom than is configured.
        assert_eq!(audit.raised(missed, RAISED / 2, now), RAISED / 2);
        assert_eq!(audit.raised(missed, daily, now + SUSPECT), daily);
    }

    #[test]
    fn every_directory_has_its_number() {
        let made = made(
            b"/r",
            &[
                (b"a", 3, Kind::Directory, 0),
                (b"a/b", 4, Kind::Directory, 0),
                (b"a/b/file", 9, Kind::File, 1),
                (b"a/c", 5, Kind::Directory, 0),
                (b"d", 6, Kind::Directory, 0),
                (b"file", 10, Kind::File, 1),
            ],
        );
        let reader = made.index.read().unwrap();
        let top = EntryId::new(VolumeId(1), 2);
        let all: BTreeSet<u64> =
            (0..5).map(|number| nth_directory(&reader, top, number).unwrap().inode).collect();
        assert_eq!(all, BTreeSet::from([2, 3, 4, 5, 6]));
        // Beyond the last, since sums may be behind for a moment: some directory all the same.
        assert!(all.contains(&nth_directory(&reader, top, 99).unwrap().inode));
    }
}
