//! First scans: the walk of new roots into one load, made safe as it goes, and gone on with where it was cut off.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use index::{Begun, Blind, Edits, IndexError, Seed, SeedKey, SeedKeyRoot, SeedRoot};
use record::{Body, EntryId, How, Name, RootId, Time};
use tracing::{info, warn};
use watch::Flags;

use super::config::{Level, StoredRules};
use super::core::{Core, READING_NS};
use super::error::EngineError;
use super::roots::Tree;
use super::round::Todo;
use super::seed::SeedVisitor;
use super::shared::Shared;
use super::sweeping::background::{Ticket, Why};

/// Between two looks at what could be made safe.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// The time between two checkpoints is at least this part of the time the scan has taken: runs stay few.
const PART: u32 = 10;

/// Why there is a gap after a scan that was gone on with.
const INTERRUPTED: &str =
    "the first scan was interrupted, and what was listed by then is compared with the disk";

/// A root whose first scan was gone on with, until it was swept.
pub(crate) struct Unverified {
    pub(crate) root: RootId,
    /// When that scan began.
    pub(crate) began: Time,
    /// The sweep, and since when all is known when it is done.
    pub(crate) sweep: Option<(Ticket, Time)>,
}

/// What a walk could not look at, and what it could not enter.
#[derive(Default)]
struct Unseen {
    blind: Vec<(EntryId, Option<Name>, Blind)>,
    unlisted: Vec<EntryId>,
    linked: bool,
}

impl Core {
    /// Scans trees for the first time, all into one load.
    pub(crate) fn seed(&mut self, trees: &[usize]) -> Result<(), EngineError> {
        let now = self.shared.ground.clock.now();
        let key = self.seed_key(trees)?;
        let (seed, begun) = Seed::begin(self.seed_folder(), self.config.seed_buffer, key, now)?;
        let walked = scan::Progress::default();
        let mut began = now;
        match &begun {
            Begun::Anew => {}
            Begun::GoesOn { directories, between } => {
                began = between.0;
                walked.directories_before.store(*directories, Ordering::Relaxed);
                info!(directories, "going on with the first scan: so many directories were listed already");
            }
            Begun::Refused(why) => warn!(why, "a first scan was interrupted; it begins anew"),
        }
        for at in trees {
            self.trees[*at].row.verified = began;
        }
        let goes_on = matches!(begun, Begun::GoesOn { .. });
        let start = Instant::now();
        let result = self.kept(&seed, &walked, goes_on, trees);
        let late = seed.is_stored() || start.elapsed() >= self.config.checkpoint;
        let unseen = match result {
            Ok(mut unseen) => {
                unseen.blind.extend(seed.blind().iter().map(|(id, why)| (*id, None, why.clone())));
                if late {
                    // The load of a large tree takes a while; it need not be walked again if that is cut off.
                    seed.store_all(self.shared.ground.clock.now(), || store_volumes(&self.shared))?;
                }
                unseen
            }
            Err(error @ EngineError::Stopped) => {
                seed.store_all(self.shared.ground.clock.now(), || store_volumes(&self.shared))?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let seen = self.shared.ground.clock.now();
        let roots = trees.iter().map(|at| SeedRoot { row: self.trees[*at].row.clone(), seen }).collect();
        let edits = Edits { volumes: self.shared.volumes.take_unsaved(), ..Edits::default() };
        info!(
            directories = walked.directories.load(Ordering::Relaxed),
            before = walked.directories_before.load(Ordering::Relaxed),
            "all directories are listed"
        );
        let loaded = self.with_progress("loading", &walked, || self.shared.index.load(seed, roots, edits))?;
        for record in &loaded.records {
            if let Body::Seeded(seeded) = &record.body
                && let Some(tree) = self.trees.iter_mut().find(|tree| tree.row.id == record.root)
            {
                tree.row.seeded = Some(record.seq);
                info!(root = %tree.display(), entries = seeded.entries, seq = record.seq.0, "first scan is stored");
                if goes_on {
                    self.unverified.push(Unverified { root: record.root, began, sweep: None });
                }
            }
            self.shared.durable.send_replace(record.seq.0);
        }
        self.unseen += u64::from(unseen.linked);
        // They moved under the scan; where something watches, its events say where to.
        let how = |id: EntryId| self.shared.arms.get(id.volume).map_or(How::Scan, |arm| arm.how());
        for id in unseen.unlisted.into_iter().chain(loaded.mixed) {
            self.todo.push_back(Todo::List(id, false, how(id)));
        }
        for place in loaded.left_out {
            let how = how(place.dir);
            self.todo.push_back(Todo::Name(place, Flags::NONE, how));
        }
        self.note_blind(unseen.blind, &[])
    }

    /// Removes what is left of an interrupted first scan that no root needs.
    pub(crate) fn forget_seed(&self) -> Result<(), EngineError> {
        let known = self.shared.index.read()?.roots()?;
        let seeded =
            |root: &SeedKeyRoot| known.iter().any(|row| row.path == root.path && row.seeded.is_some());
        Ok(Seed::forget(&self.seed_folder(), |root| !seeded(root))?)
    }

    /// Has roots compared with the disk whose first scan was gone on with: what was listed before the interruption may
    /// have changed since. They are followed already, but for what only a sweep arms. Notes those that are done.
    pub(crate) fn verify_resumed(&mut self) -> Result<(), EngineError> {
        for mut resumed in std::mem::take(&mut self.unverified) {
            let Some(at) = self.trees.iter().position(|tree| tree.row.id == resumed.root) else { continue };
            match resumed.sweep {
                // A lost root is swept when it is back, and once more for this.
                None if !self.trees[at].present => {}
                None => {
                    let mut order = self.order_of(at, None, Level::Stat, How::Sweep, Why::Resumed)?;
                    order.gaps.push((resumed.began, INTERRUPTED.to_owned()));
                    let now = self.shared.ground.clock.now().minus_ns(READING_NS);
                    resumed.sweep = Some((self.submit(order)?, now));
                }
                // One that could not be made has no ticket any more, and is still owed.
                Some((ticket, from))
                    if !self.sweeps.any_of(&[ticket]) && self.sweeps.trouble(resumed.root).is_none() =>
                {
                    self.trees[at].row.verified = from;
                    self.followed.push(resumed.root);
                    self.store_roots()?;
                    continue;
                }
                Some(_) => {}
            }
            self.unverified.push(resumed);
        }
        Ok(())
    }

    /// Works off hints until none of them is under way.
    pub(crate) fn wait_for_resumed(&mut self, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.verify_resumed()?;
        let tickets: Vec<Ticket> =
            self.unverified.iter().filter_map(|resumed| resumed.sweep).map(|(ticket, _)| ticket).collect();
        if tickets.is_empty() {
            return Ok(());
        }
        self.wait_for_sweeps(&tickets, deadline)?;
        self.verify_resumed()
    }

    /// Walks `trees`, while what they give is made safe now and then.
    fn kept(
        &self,
        seed: &Seed,
        walked: &scan::Progress,
        goes_on: bool,
        trees: &[usize],
    ) -> Result<Unseen, EngineError> {
        let done = (Mutex::new(false), Condvar::new());
        let failed = Mutex::new(None);
        let (shared, every) = (&self.shared, self.config.checkpoint);
        let result = std::thread::scope(|threads| {
            threads.spawn(|| {
                if let Err(error) = keep(shared, every, seed, &done) {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    shared.stop.store(true, Ordering::Relaxed);
                }
            });
            let result = trees.iter().try_fold(Unseen::default(), |unseen, at| {
                self.show_root(*at, "seeding");
                self.walk_new(&self.trees[*at], seed, walked, goes_on, unseen)
            });
            *done.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            done.1.notify_all();
            result
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.into()),
            None => result,
        }
    }

    /// Walks one tree, or what is left of it.
    fn walk_new(
        &self,
        tree: &Tree,
        seed: &Seed,
        walked: &scan::Progress,
        goes_on: bool,
        mut unseen: Unseen,
    ) -> Result<Unseen, EngineError> {
        info!(root = %tree.display(), "first scan begins");
        let visitor = SeedVisitor {
            root: tree.row.id,
            seed,
            goes_on,
            arms: self.config.arms(&self.shared),
            blind: Mutex::default(),
            linked: AtomicBool::new(false),
            unlisted: Mutex::default(),
            failed: Mutex::default(),
            stop: &self.shared.stop,
            clock: &*self.shared.ground.clock,
        };
        let (scope, threads, stop) = (&tree.scope, self.config.threads, &self.shared.stop);
        let result = match seed.waiting(tree.row.id)? {
            None => {
                let start = scan::Start::root(scope).map_err(|error| walk_error(tree, &error))?;
                self.with_progress("scanning", walked, || {
                    scan::walk(scope, start, threads, &visitor, stop, walked)
                })
            }
            Some(waiting) => {
                let rests = waiting.map(|index::Unlisted { dir, components, children }| scan::Rest {
                    id: dir,
                    components,
                    children,
                });
                self.with_progress("scanning", walked, || {
                    scan::walk_rest(scope, rests, threads, &visitor, stop, walked)
                })
            }
        };
        let failed = visitor.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed.or_else(|| seed.failed()) {
            return Err(error.into());
        }
        match result {
            Ok(()) => {}
            Err(scan::WalkError::Stopped) => return Err(EngineError::Stopped),
            Err(error) => return Err(walk_error(tree, &error)),
        }
        unseen.unlisted.append(&mut visitor.unlisted.into_inner().unwrap_or_else(PoisonError::into_inner));
        unseen.linked |= visitor.linked.into_inner();
        unseen.blind.append(&mut visitor.blind.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(unseen)
    }

    fn seed_folder(&self) -> PathBuf {
        self.shared.state_dir.join("seed")
    }

    /// What the scan is of, so that no other goes on with it.
    fn seed_key(&self, trees: &[usize]) -> Result<SeedKey, EngineError> {
        let mut key = SeedKey { epoch: self.shared.index.epoch()?, roots: Vec::new() };
        for at in trees {
            let tree = &self.trees[*at];
            let (_, seen) = tree
                .scope
                .open()
                .map_err(|error| EngineError::Root { path: tree.display(), why: error.to_string() })?;
            key.roots.push(SeedKeyRoot {
                id: tree.row.id,
                path: tree.row.path.clone(),
                top: tree.row.top,
                created: seen.stat.created,
                rules: rules_of(tree),
            });
        }
        Ok(key)
    }
}

/// Makes the seed safe every few seconds, until `done`.
fn keep(
    shared: &Shared,
    every: Duration,
    seed: &Seed,
    done: &(Mutex<bool>, Condvar),
) -> Result<(), IndexError> {
    let (start, mut last) = (Instant::now(), Instant::now());
    let mut over = done.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let wait = every.clamp(Duration::from_millis(5), STORE_EVERY);
        over = done.1.wait_timeout(over, wait).unwrap_or_else(PoisonError::into_inner).0;
        if *over {
            return Ok(());
        }
        drop(over);
        if last.elapsed() >= every.max(start.elapsed() / PART) {
            last = Instant::now();
            seed.ask();
        }
        if start.elapsed() >= every {
            seed.store(shared.ground.clock.now(), || store_volumes(shared))?;
        }
        over = done.0.lock().unwrap_or_else(PoisonError::into_inner);
    }
}

/// Stores the volumes met: runs have their numbers.
fn store_volumes(shared: &Shared) -> Result<(), IndexError> {
    let volumes = shared.volumes.take_unsaved();
    if !volumes.is_empty() {
        shared.index.commit(Edits { volumes, ..Edits::default() })?;
    }
    Ok(())
}

/// The rules of a tree with the patterns in its files, which may change under the same name.
fn rules_of(tree: &Tree) -> String {
    let own = Path::new(std::ffi::OsStr::from_bytes(&tree.row.path)).join(scan::IGNORE_FILE);
    let mut text = tree.row.rules.clone();
    for file in [Some(own), StoredRules::parse(&tree.row.rules).ignore_file].into_iter().flatten() {
        let patterns = std::fs::read(file).unwrap_or_default();
        text.push_str(&format!(" {} {:016x}", patterns.len(), index::sum_of(&patterns)));
    }
    text
}

fn walk_error(tree: &Tree, error: &scan::WalkError) -> EngineError {
    EngineError::Root { path: tree.display(), why: error.to_string() }
}
