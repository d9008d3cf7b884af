//! The first scan of a root as the walk's visitor: rows into sorted runs, sums up the tree.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use index::{Blind, IndexError, Listing, Seed, SeedWorker};
use record::{EntryId, Name, RootId, Stat, Time, Totals};
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use scan::{Directory, Seen, Visitor};

use super::arms::Arms;
use super::ground::Clock;
use super::open::is_elsewhere;
use super::sweeping::background::checked;

/// Feeds a [`Seed`].
pub(crate) struct SeedVisitor<'a> {
    pub(crate) root: RootId,
    pub(crate) seed: &'a Seed,
    /// It goes on with an earlier scan: what that one listed is not listed again, and sums are left to the load.
    pub(crate) goes_on: bool,
    pub(crate) arms: Option<&'a Arms>,
    /// What could not be looked at: a directory, and the name in it unless it is the directory itself.
    pub(crate) blind: Mutex<Vec<(EntryId, Option<Name>, Blind)>>,
    /// Directories that were seen and then could not be entered (moved, gone, or refused), or had changed by then.
    pub(crate) unlisted: Mutex<Vec<EntryId>>,
    /// A file with several names was met where directories are watched one by one: a name that went before its
    /// directory was had no event.
    pub(crate) linked: AtomicBool,
    pub(crate) failed: Mutex<Option<IndexError>>,
    pub(crate) stop: &'a std::sync::atomic::AtomicBool,
    pub(crate) clock: &'a dyn Clock,
}

/// Sums of a directory while the walk is in it.
#[derive(Default)]
pub(crate) struct Sums {
    /// What the directories in it take themselves, as looked at from here: their rows have that very look,
    /// and totals must add up to the rows.
    own: Mutex<FxHashMap<EntryId, Stat>>,
    files: AtomicU64,
    directories: AtomicU64,
    bytes: AtomicU64,
    allocated: AtomicU64,
    /// Nanoseconds, saturated: what lies outside 1677 to 2262 says so by the bound.
    newest: AtomicI64,
    /// Where in the seed it is listed.
    listing: OnceLock<Listing>,
}

impl Sums {
    fn add(&self, totals: &Totals) {
        self.files.fetch_add(totals.files, Ordering::Relaxed);
        self.directories.fetch_add(totals.directories, Ordering::Relaxed);
        self.bytes.fetch_add(totals.bytes, Ordering::Relaxed);
        self.allocated.fetch_add(totals.allocated, Ordering::Relaxed);
        self.newest.fetch_max(narrow(totals.newest), Ordering::Relaxed);
    }

    fn own(&self) -> MutexGuard<'_, FxHashMap<EntryId, Stat>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Totals {
        Totals {
            files: self.files.load(Ordering::Relaxed),
            directories: self.directories.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            allocated: self.allocated.load(Ordering::Relaxed),
            newest: Time(i128::from(self.newest.load(Ordering::Relaxed))),
        }
    }
}

fn narrow(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(if time.0 < 0 { i64::MIN } else { i64::MAX })
}

/// One thread's part.
pub(crate) struct Worker {
    seed: SeedWorker,
    at: Time,
    sums: Totals,
    /// The watch of the directory in work.
    watch: Option<watch::WatchId>,
    /// What keeps the directory in work from being listed wholly.
    blind: Option<Blind>,
}

impl SeedVisitor<'_> {
    /// Ends the walk on the first error of a run file: it would be the disk's.
    fn check<T>(&self, result: Result<T, IndexError>) -> Option<T> {
        checked(result, &self.failed, self.stop)
    }
}

impl Visitor for SeedVisitor<'_> {
    type Worker = Worker;
    type Data = Sums;

    fn worker(&self) -> Worker {
        Worker {
            seed: self.seed.worker(),
            at: self.clock.now(),
            sums: Totals::default(),
            watch: None,
            blind: None,
        }
    }

    fn finish(&self, worker: Worker) {
        self.seed.finish(worker.seed);
    }

    fn enter(&self, worker: &mut Worker, dir: &Directory<Sums>, fd: BorrowedFd<'_>, seen: &Seen) -> bool {
        worker.watch = self.arms.and_then(|arms| {
            let active = watch::Active::Since(seen.stat.modified);
            arms.arm(dir.id, seen.device, fd, active, &|| dir.path()).watch
        });
        // It moved since it was listed; the sweep after the scan looks at what is in it.
        if self.goes_on && self.check(self.seed.is_listed(dir.id)) != Some(false) {
            return false;
        }
        let above = dir.parent().and_then(|parent| parent.data.listing.get().copied());
        if let Some(listing) = self.check(worker.seed.begin(above)) {
            let _ = dir.data.listing.set(listing);
        }
        worker.at = self.clock.now();
        worker.sums = Totals::default();
        worker.blind = None;
        if dir.parent().is_none() {
            self.check(worker.seed.entry(self.root, dir.id, &seen.stat, None, worker.at));
            dir.data.add(&Totals::of(&seen.stat));
        }
        true
    }

    fn entry(&self, worker: &mut Worker, dir: &Directory<Sums>, name: &[u8], id: EntryId, seen: &Seen) {
        self.check(worker.seed.entry(self.root, id, &seen.stat, Some((dir.id, name)), worker.at));
        if seen.stat.links > 1
            && !seen.stat.is_directory()
            && !self.linked.load(Ordering::Relaxed)
            && self.arms.is_some_and(|arms| arms.is_one_by_one(id))
        {
            self.linked.store(true, Ordering::Relaxed);
        }
        if SeedWorker::counts(&seen.stat) && !self.goes_on {
            let one = Totals::of(&seen.stat);
            worker.sums.add(&one);
            if one.directories > 0 {
                // Jobs for it may begin before this listing ends.
                dir.data.own().insert(id, seen.stat);
            }
        }
    }

    fn failed(
        &self,
        worker: &mut Worker,
        dir: &Directory<Sums>,
        name: Option<&[u8]>,
        error: Errno,
        doing: &'static str,
    ) {
        if is_elsewhere(error) {
            // Gone since it was listed, or something else is there: the watch has that, or the next sweep.
            return;
        }
        let path = match name {
            Some(name) => [&dir.path()[..], b"/", name].concat(),
            None => dir.path(),
        };
        tracing::warn!(path = %String::from_utf8_lossy(&path), error = %error, doing, "cannot look here");
        let blind = Blind { since: worker.at, why: format!("{doing}: {error}") };
        if doing != "open" {
            worker.blind.get_or_insert_with(|| blind.clone());
        }
        self.blind.lock().unwrap_or_else(PoisonError::into_inner).push((dir.id, name.map(Name::from), blind));
    }

    fn listed(&self, worker: &mut Worker, dir: &Directory<Sums>, seen: &Seen, complete: bool) {
        if let (Some(arms), Some(watch), true) = (self.arms, worker.watch.take(), complete) {
            arms.compared(dir.id, watch);
        }
        // Its row has the look from the directory above, before its own watch: what changed in between has no event.
        let looked = dir.parent().and_then(|parent| parent.data.own().get(&dir.id).copied());
        if looked.is_some_and(|stat| !stat.same(&seen.stat)) {
            self.unlisted.lock().unwrap_or_else(PoisonError::into_inner).push(dir.id);
        }
        dir.data.add(&worker.sums);
        worker.sums = Totals::default();
        self.check(worker.seed.listed(dir.id, worker.blind.take().as_ref()));
    }

    fn done(&self, worker: &mut Worker, dir: &Directory<Sums>) {
        if self.goes_on {
            return;
        }
        let sums = dir.data.get();
        if let Some(parent) = dir.parent() {
            let mut whole = sums;
            if let Some(own) = parent.data.own().remove(&dir.id) {
                whole.add(&Totals::of(&own));
            }
            // The parent has this directory's own part from its listing.
            parent.data.add(&sums);
            self.check(worker.seed.totals(dir.id, &whole));
        } else {
            self.check(worker.seed.totals(dir.id, &sums));
        }
        // Directories that could not be entered hold nothing but themselves.
        for (id, own) in dir.data.own().drain() {
            self.check(worker.seed.totals(id, &Totals::of(&own)));
            self.unlisted.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
    }
}
