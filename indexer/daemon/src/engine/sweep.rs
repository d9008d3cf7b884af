//! A sweep as the walk's visitor: what differs from the index becomes hints. It changes nothing itself, so
//! what it saw a moment ago is looked at again before anything is believed.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use index::{Blind, Index, IndexError, Reader, Sighting};
use reconcile::{Stored, same_entry};
use record::{EntryId, How, Kind, Name, Row, Stat, Time, VolumeId};
use rustix::io::Errno;
use scan::{Directory, Seen, Visitor};
use watch::{Active, Flags, Hint, Pending, WatchId, What};

use super::arms::Arms;
use super::ground::Clock;
use super::open::is_elsewhere;
use super::shared::Shared;
use super::sweeping::background::checked;
use super::sweeping::schedule::Pace;

/// How old a write must be before a sweep calls a file complete that no close was seen of.
const QUIET_NS: i128 = 2_000_000_000;

/// Which directories a sweep goes past, to those below them, without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// None: events may have been lost.
    Nothing,
    /// Those of file systems that are marked as a whole.
    Marked,
    /// Those that events tell of, by whatever means.
    Watched,
    /// Those of every other volume: on this one events were lost.
    Others(VolumeId),
}

impl Pass {
    /// Whether one that goes past these looks at all that one which goes past those would.
    pub(crate) fn covers(self, other: Pass) -> bool {
        self == Pass::Nothing || self == other || (self, other) == (Pass::Marked, Pass::Watched)
    }
}

/// How long a thread reads one view of the index: an older one keeps the pages that commits free, and the file
/// grows.
const VIEW: Duration = Duration::from_secs(1);

/// Hints of names that went which wait for the end of the sweep; one more is pending at once.
const MOST_LATER: usize = watch::DEFAULT_CAPACITY / 2;

/// Entries of a directory that are compared at once: enough for their rows to lie together, and some 300 KiB.
const MOST_SEEN: usize = 1024;

/// Entries between two questions whether to rest: a tenth of a second at the lowest rate worth having.
const BEAT: u64 = 64;

/// Where a sweep's hints go. Names that are there are pending at once. Names that an entry lost wait for the end:
/// the sweep may yet find where it is now, and then that is a rename and not an end and a beginning.
pub(crate) struct Hints<'a> {
    pending: &'a Pending,
    clock: &'a dyn Clock,
    stop: &'a AtomicBool,
    pace: &'a Pace,
    how: How,
    differences: AtomicU64,
    later: Mutex<Vec<Hint>>,
}

impl<'a> Hints<'a> {
    pub(crate) fn new(shared: &'a Shared, stop: &'a AtomicBool, pace: &'a Pace, how: How) -> Hints<'a> {
        let (pending, clock) = (&*shared.pending, &*shared.ground.clock);
        let (differences, later) = (AtomicU64::new(0), Mutex::default());
        Hints { pending, clock, stop, pace, how, differences, later }
    }

    /// So many more were looked at: rests where the sweep is held to a rate.
    pub(crate) fn looked(&self, entries: u64) {
        let mut more = entries;
        while let Some(rest) = self.pace.rest(more)
            && !self.stop.load(Ordering::Relaxed)
        {
            self.clock.rest(rest);
            more = 0;
        }
    }

    pub(crate) fn hint(&self, dir: EntryId, what: What, flags: Flags) -> Hint {
        Hint { volume: dir.volume, what, flags: flags | Flags::SWEPT, handle: None, how: self.how }
    }

    /// One more difference was found.
    pub(crate) fn found(&self) {
        self.differences.fetch_add(1, Ordering::Relaxed);
    }

    /// Differences found.
    pub(crate) fn count(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    /// Makes hints pending. Waits while the set is more than half full: a full one would forget them, and a whole
    /// volume with them, and that would be swept in turn.
    pub(crate) fn add(&self, hints: &mut Vec<Hint>) {
        if hints.is_empty() {
            return;
        }
        self.wait();
        self.pending.add_all(hints.drain(..));
    }

    /// A name that an entry lost: pending at the end.
    pub(crate) fn later(&self, hint: Hint) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later.len() < MOST_LATER {
            later.push(hint);
            return;
        }
        drop(later);
        self.add(&mut vec![hint]);
    }

    /// Everything else has been found: what waited is pending now, all at once, so that no hold ends in between.
    pub(crate) fn hand_over(&self) {
        let later = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        if !later.is_empty() {
            self.wait();
            self.pending.add_all(later);
        }
    }

    fn wait(&self) {
        while !self.stop.load(Ordering::Relaxed) && !self.pending.wait_for_room(Duration::from_millis(100)) {}
    }
}

/// Compares the tree with the index.
pub(crate) struct SweepVisitor<'a> {
    index: &'a Index,
    arms: Option<&'a Arms>,
    hints: &'a Hints<'a>,
    stop: &'a AtomicBool,
    clock: &'a dyn Clock,
    pass: Pass,
    /// Directories whose watch stood before they were compared, for when all that differed is pending.
    pub(crate) compared: Mutex<Vec<(EntryId, WatchId)>>,
    pub(crate) partial: AtomicU64,
    pub(crate) blind: Mutex<Vec<(EntryId, Option<Name>, Blind)>>,
    /// Directories that were listed wholly and had been blind before.
    pub(crate) seen_again: Mutex<Vec<EntryId>>,
    pub(crate) failed: Mutex<Option<IndexError>>,
}

/// One thread's part.
pub(crate) struct Worker {
    reader: Option<Reader>,
    /// When that view was opened.
    opened: Instant,
    at: Time,
    /// The directory in work has a row. One that is new is listed when its name is looked at; it is walked all the
    /// same, since directories that are known may have moved into it, and only a sweep sees what changed in those.
    known: bool,
    /// The row of the directory in work.
    row: Option<Row>,
    /// Names of the directory in work that the index has too.
    matched: u64,
    /// Something in the directory in work was not as stored.
    differs: bool,
    /// The watch of the directory in work, if it has one.
    watch: Option<WatchId>,
    /// What was seen in it and is not compared yet: entry, where its name ends in `names`, fields.
    seen: Vec<(EntryId, usize, Stat)>,
    names: Vec<u8>,
    /// Some directory cannot be vouched for.
    any_blind: bool,
    /// Entries looked at since the rate was last asked.
    looked: u64,
    hints: Vec<Hint>,
}

impl<'a> SweepVisitor<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        arms: Option<&'a Arms>,
        hints: &'a Hints<'a>,
        stop: &'a AtomicBool,
        pass: Pass,
    ) -> Self {
        SweepVisitor {
            index: &shared.index,
            arms,
            hints,
            stop,
            clock: &*shared.ground.clock,
            pass,
            compared: Mutex::default(),
            partial: AtomicU64::new(0),
            blind: Mutex::default(),
            seen_again: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn check<T>(&self, result: Result<T, IndexError>) -> Option<T> {
        checked(result, &self.failed, self.stop)
    }

    /// Opens the view anew, if it is old. Only between directories: what is compared in one is of one moment.
    fn refresh(&self, worker: &mut Worker) {
        if worker.reader.is_none() || worker.opened.elapsed() >= VIEW {
            worker.reader = self.check(self.index.read());
            worker.opened = Instant::now();
            let blind = worker.reader.as_ref().map(Reader::has_blind);
            worker.any_blind = blind.and_then(|blind| self.check(blind)).unwrap_or(true);
        }
    }

    /// Compares what was seen in the directory in work with its rows.
    fn compare(&self, worker: &mut Worker, dir: EntryId) {
        let Some(reader) = &worker.reader else { return };
        let mut start = 0;
        let mut sightings: Vec<Sighting<'_>> = Vec::with_capacity(worker.seen.len());
        for (id, end, stat) in &worker.seen {
            sightings.push(Sighting { id: *id, name: &worker.names[start..*end], stat });
            start = *end;
        }
        let mut others = Vec::new();
        let equal = reader.each_other(dir, &mut sightings, |other| others.push(*other));
        worker.matched += self.check(equal).unwrap_or(0);
        for other in others {
            let differs = self.other(reader, worker.at, dir, &other, &mut worker.matched, &mut worker.hints);
            worker.differs |= differs;
        }
        worker.seen.clear();
        worker.names.clear();
    }

    /// One that is not plainly as stored: by its name, and then by its row. Whether it differs.
    fn other(
        &self,
        reader: &Reader,
        at: Time,
        dir: EntryId,
        seen: &Sighting<'_>,
        matched: &mut u64,
        hints: &mut Vec<Hint>,
    ) -> bool {
        let Some(target) = self.check(reader.lookup(dir, seen.name)) else { return false };
        let row = match target {
            Some(target) if target.id == seen.id => {
                let Some(row) = self.check(reader.row(seen.id)) else { return false };
                row
            }
            _ => None,
        };
        *matched += u64::from(target.is_some());
        let what = || What::Entry { dir: dir.inode, name: seen.name.into() };
        if let Some(row) = &row
            && row.writing
            && !completes(row, at)
            && same_entry(row, seen.stat)
            && row.stat.same(seen.stat)
        {
            // Its writer may have closed it while nobody watched. No difference; but a look has it followed, and completed when
            // it stays quiet.
            hints.push(self.hints.hint(dir, what(), Flags::NONE));
            return false;
        }
        let flags = match &row {
            Some(row) if completes(row, at) => Flags::CLOSED,
            Some(row) if same_entry(row, seen.stat) && row.stat.same(seen.stat) => return false,
            // A directory's own times are looked at once more after its listing.
            Some(row) if seen.stat.kind == Kind::Directory && same_entry(row, seen.stat) => return false,
            _ => Flags::NONE,
        };
        self.hints.found();
        let hint = self.hints.hint(dir, what(), flags);
        if target.is_some() && row.is_none() {
            // It stood for another entry, which may be found under another name.
            self.hints.later(hint);
        } else {
            hints.push(hint);
        }
        true
    }
}

/// Whether a row whose last record was not complete can be completed: nobody wrote it lately.
fn completes(row: &Row, at: Time) -> bool {
    row.writing && row.stat.modified < at.minus_ns(QUIET_NS)
}

impl Visitor for SweepVisitor<'_> {
    type Worker = Worker;
    type Data = ();

    fn worker(&self) -> Worker {
        Worker {
            reader: None,
            opened: Instant::now(),
            at: self.clock.now(),
            known: false,
            row: None,
            matched: 0,
            differs: false,
            watch: None,
            seen: Vec::new(),
            names: Vec::new(),
            any_blind: true,
            looked: 0,
            hints: Vec::new(),
        }
    }

    fn finish(&self, mut worker: Worker) {
        self.hints.looked(worker.looked);
        self.hints.add(&mut worker.hints);
    }

    fn pass(&self, worker: &mut Worker, dir: EntryId) -> Option<Vec<(Name, u64)>> {
        let arms = self.arms?;
        let passed = match self.pass {
            Pass::Nothing => false,
            Pass::Marked => arms.is_marked(dir),
            Pass::Watched => arms.is_watched(dir),
            Pass::Others(volume) => dir.volume != volume,
        };
        if !passed {
            return None;
        }
        self.refresh(worker);
        let mut children = Vec::new();
        let mut crosses = false;
        self.check(worker.reader.as_ref()?.each_child::<IndexError>(dir, |name, target| {
            if target.directory {
                // Where another volume begins, the device that it has now must be seen.
                crosses |= target.id.volume != dir.volume;
                children.push((name.into(), target.id.inode));
            }
            Ok(!crosses)
        }))?;
        (!crosses).then_some(children)
    }

    fn enter(&self, worker: &mut Worker, dir: &Directory<()>, fd: BorrowedFd<'_>, seen: &Seen) -> bool {
        self.refresh(worker);
        let Some(reader) = &worker.reader else { return false };
        let Some(row) = self.check(reader.row(dir.id)) else { return false };
        worker.known = row.as_ref().is_some_and(|row| same_entry(row, &seen.stat));
        worker.row = row;
        worker.seen.clear();
        worker.names.clear();
        worker.differs = false;
        worker.watch = None;
        if worker.known
            && let Some(arms) = self.arms
        {
            let active = Active::Since(seen.stat.modified);
            worker.watch = arms.arm(dir.id, seen.device, fd, active, &|| dir.path()).watch;
        }
        worker.at = self.clock.now();
        worker.matched = 0;
        true
    }

    fn entry(&self, worker: &mut Worker, dir: &Directory<()>, name: &[u8], id: EntryId, seen: &Seen) {
        worker.looked += 1;
        if worker.looked >= BEAT {
            self.hints.looked(std::mem::take(&mut worker.looked));
        }
        if !worker.known {
            return;
        }
        worker.names.extend_from_slice(name);
        worker.seen.push((id, worker.names.len(), seen.stat));
        if worker.seen.len() >= MOST_SEEN {
            self.compare(worker, dir.id);
        }
    }

    fn failed(
        &self,
        worker: &mut Worker,
        dir: &Directory<()>,
        name: Option<&[u8]>,
        error: Errno,
        doing: &'static str,
    ) {
        if is_elsewhere(error) {
            // It, or a directory above it that was gone past, moved or went under the sweep. What changed in it before has no event any more.
            let target = match (&worker.reader, name) {
                (Some(reader), Some(name)) => self.check(reader.lookup(dir.id, name)).flatten(),
                _ => None,
            };
            if let Some(target) = target.filter(|target| target.directory) {
                worker.hints.push(self.hints.hint(target.id, What::Subtree(target.id.inode), Flags::NONE));
            }
            return;
        }
        self.partial.fetch_add(1, Ordering::Relaxed);
        if let Some(name) = name {
            // What cannot be entered can still be looked at from outside.
            worker.hints.push(self.hints.hint(
                dir.id,
                What::Entry { dir: dir.id.inode, name: name.into() },
                Flags::NONE,
            ));
        }
        let blind = Blind { since: worker.at, why: format!("{doing}: {error}") };
        self.blind.lock().unwrap_or_else(PoisonError::into_inner).push((dir.id, name.map(Name::from), blind));
    }

    fn listed(&self, worker: &mut Worker, dir: &Directory<()>, seen: &Seen, complete: bool) {
        if !worker.known {
            return;
        }
        self.compare(worker, dir.id);
        let Some(reader) = &worker.reader else { return };
        let Some(stored) = self.check(reader.count_children(dir.id)) else { return };
        let listing = complete && stored != worker.matched;
        let own = worker.row.as_ref().is_some_and(|row| !row.stat.same(&seen.stat));
        let wants_watch = worker.watch.is_none() && self.arms.is_some_and(|arms| arms.is_rationed(dir.id));
        if listing {
            self.hints.found();
            self.hints.later(self.hints.hint(dir.id, What::Listing(dir.id.inode), Flags::NONE));
        } else if wants_watch && (worker.differs || own) {
            // Listed again, it gets a watch: it is active.
            self.hints.found();
            worker.hints.push(self.hints.hint(dir.id, What::Listing(dir.id.inode), Flags::NONE));
        } else if own {
            self.hints.found();
            worker.hints.push(self.hints.hint(dir.id, What::Inode(dir.id.inode), Flags::NONE));
        }
        if complete && worker.any_blind && self.check(reader.is_blind(dir.id)).unwrap_or(false) {
            self.seen_again.lock().unwrap_or_else(PoisonError::into_inner).push(dir.id);
        }
        if let (Some(watch), true) = (worker.watch, complete)
            && self.arms.is_some_and(|arms| !arms.is_watched(dir.id))
        {
            self.compared.lock().unwrap_or_else(PoisonError::into_inner).push((dir.id, watch));
        }
        if worker.hints.len() >= 1024 {
            self.hints.add(&mut worker.hints);
        }
    }

    fn done(&self, _: &mut Worker, _: &Directory<()>) {}
}
