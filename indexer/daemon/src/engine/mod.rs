//! The engine: one thread that keeps the index true, and the handle that others ask it by.
//!
//! [`start`] boots it: new roots are scanned, known ones swept, then events are followed. Everything that
//! changes a row goes hint → look → batch → commit on that one thread.

mod arms;
mod astray;
mod audit;
mod boot;
mod config;
pub(crate) mod contents;
mod core;
mod error;
mod gaps;
mod ghosts;
mod ground;
mod health;
mod keeping;
mod live;
mod mount_watch;
mod open;
mod presence;
mod repair;
mod roots;
mod round;
mod seed;
mod seeding;
mod settle;
mod shared;
#[cfg(test)]
mod simulation;
pub(crate) mod status;
mod sweep;
mod sweeping;
mod tiering;
mod transitions;
mod view;
mod vitals;
mod volumes;
mod writing;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use index::{Counted, Index, Published, Settings};
use record::Seq;

pub(crate) use config::{
    Backend, EngineConfig, Level, ProgressHook, Require, RootConfig, Schedule, StoredRules,
};
pub(crate) use error::EngineError;

use self::arms::Arms;
pub(crate) use self::contents::{
    EngineShelf, Hashed, Scrub, ScrubLine, Sum, hash_files, scrub, wasted, wasted_by,
};
use self::core::Core;
use self::ground::Ground;
pub(crate) use self::keeping::{EngineKeeper, NobodyWatches};
pub(crate) use self::open::is_elsewhere;
use self::shared::{Request, Shared, View};
use self::status::{Progress, Settled, Status, SweepReport};
pub(crate) use self::view::of_index;
pub(crate) use self::vitals::Done;
use self::vitals::Vitals;
use self::volumes::Volumes;
use crate::state::{StateDir, StateLock, when_free};

/// A running engine. Dropping it stops it.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held for as long as the engine may write.
    _lock: StateLock,
}

/// What one pass did.
#[derive(Clone, Debug)]
pub(crate) struct ScanReport {
    /// What was read of contents, where that was asked for.
    pub(crate) hashed: Option<rehash::Counted>,
    /// Each root: its path, whether it was scanned for the first time, entries now.
    pub(crate) roots: Vec<(Vec<u8>, bool, u64)>,
    /// What the sweep of the others compared.
    pub(crate) report: SweepReport,
}

/// Starts an engine on a state folder. Answers at once; the engine boots on its own thread.
///
/// # Errors
/// When the index cannot be opened or made.
pub(crate) fn start(
    state: &StateDir,
    lock: StateLock,
    config: EngineConfig,
) -> Result<Arc<Engine>, EngineError> {
    let shared = open(state, &config, false)?;
    let core = Core::new(Arc::clone(&shared), config);
    let of_thread = Arc::clone(&shared);
    let run = move || {
        // A panic must not leave a daemon that answers and no longer follows.
        if let Err(said) = index::caught(|| core.run()) {
            let why = format!(
                "the engine's thread gave up: {said}; the index is as of its last commit. Stop the daemon and ask \
                 `indexer doctor` whether the file is damaged; with a whole file this is a bug of ours"
            );
            of_thread.set_view(|view| view.failed = Some(why));
        }
        of_thread.ended();
    };
    let thread = std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(run)
        .map_err(|error| EngineError::Failed(format!("cannot start a thread: {error}")))?;
    Ok(Arc::new(Engine { shared, thread: Mutex::new(Some(thread)), _lock: lock }))
}

/// One pass: scans new roots, sweeps known ones, and returns when all of it is durable. Watches nothing.
///
/// # Errors
/// When the index cannot be opened, or a root not be read.
pub(crate) fn scan(
    state: &StateDir,
    lock: StateLock,
    config: EngineConfig,
) -> Result<ScanReport, EngineError> {
    let shared = open(state, &config, true)?;
    let start = Instant::now();
    let before = shared.index.read()?.seq()?;
    let mut core = Core::new(Arc::clone(&shared), config);
    core.bind()?;
    let seeded: Vec<bool> = core.trees.iter().map(|tree| tree.row.seeded.is_none()).collect();
    core.boot()?;
    let asked = core.config.hashing.filter(|hashing| hashing.reading != record::Reading::None);
    let hashed = asked.map(|_| core.hash_all()).transpose()?;
    let reader = shared.index.read()?;
    let mut roots = Vec::new();
    for (tree, seeded) in core.trees.iter().zip(seeded) {
        use reconcile::Stored as _;
        if let Some(why) = tree.row.lost.as_deref().or(core.sweeps.trouble(tree.row.id)) {
            return Err(EngineError::Root { path: tree.display(), why: why.to_owned() });
        }
        let totals = reader.totals(tree.row.top)?.unwrap_or_default();
        roots.push((tree.row.path.to_vec(), seeded, totals.files + totals.directories));
    }
    let report = SweepReport {
        entries: reader.entries()?,
        records: reader.seq()?.0 - before.0,
        took_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..core.swept.clone()
    };
    end(&shared, lock);
    Ok(ScanReport { hashed, roots, report })
}

/// Brings what lies at `paths` up to date without a daemon and reads all of its contents. Answers what was read, and which files
/// could not be.
///
/// # Errors
/// When the index cannot be opened, or a path is in none of its roots.
pub(crate) fn hash_once(
    state: &StateDir,
    lock: StateLock,
    config: EngineConfig,
    paths: &[Vec<u8>],
    patience: Duration,
) -> Result<Hashed, EngineError> {
    let shared = open(state, &config, true)?;
    let mut core = Core::new(shared, config);
    core.take_up()?;
    for path in paths {
        core.look_once(path)?;
    }
    core.keep_contents()?;
    let hashed = core.hash_whole(paths, patience)?;
    end(&core.shared, lock);
    Ok(hashed)
}

/// Reads again what was read before, without a daemon, and tells `emit` of it; its false ends it.
///
/// # Errors
/// When the index cannot be opened, read or written.
pub(crate) fn scrub_once(
    state: &StateDir,
    lock: StateLock,
    config: EngineConfig,
    what: &Scrub,
    emit: &mut (dyn FnMut(ScrubLine) -> bool + Send),
) -> Result<(), EngineError> {
    let shared = open(state, &config, true)?;
    let mut core = Core::new(shared, config);
    core.take_up()?;
    core.keep_contents()?;
    let meter = rehash::Meter::default();
    core.serve(&meter, |shelf, stop| scrub(shelf, (stop, &meter), what, emit))?;
    end(&core.shared, lock);
    Ok(())
}

/// One sweep of known roots, or of what lies below `path`, without a daemon. Watches nothing, and returns when all that
/// it found is durable.
///
/// # Errors
/// When the index cannot be opened, or the path not be swept.
pub(crate) fn sweep_once(
    state: &StateDir,
    lock: StateLock,
    config: EngineConfig,
    path: Option<&[u8]>,
    level: Level,
) -> Result<SweepReport, EngineError> {
    let shared = open(state, &config, true)?;
    let mut core = Core::new(shared, config);
    core.take_up()?;
    let report = core.sweep_once(path, level)?;
    end(&core.shared, lock);
    Ok(report)
}

fn open(state: &StateDir, config: &EngineConfig, one_pass: bool) -> Result<Arc<Shared>, EngineError> {
    let settings = Settings { cache: config.cache_bytes, repair: config.repair };
    let index = when_free(|| Index::create(&state.index_path(), settings))?;
    scan::raise_descriptor_limit();
    let pending = Arc::new(watch::Pending::default());
    let mut shared = share(Ground::real(), index, pending, config, state.path.clone(), state.inodes())?;
    shared.one_pass = one_pass;
    // Before anybody reads a record or the epoch.
    shared.published = Some(Published::open(&shared.index)?);
    let shared = Arc::new(shared);
    shared.arms.set_shared(&shared);
    Ok(shared)
}

/// Leaves the folder to others.
fn end(shared: &Shared, lock: StateLock) {
    shared.note_published();
    drop(lock);
}

/// What an engine on `index` shares, before anything is watched or looked at.
fn share(
    ground: Ground,
    index: Index,
    pending: Arc<watch::Pending>,
    config: &EngineConfig,
    state_dir: PathBuf,
    left_out: Vec<(u64, u64)>,
) -> Result<Shared, EngineError> {
    let volumes = Volumes::new(Arc::clone(&ground.disk), index.read()?.volumes()?);
    let durable = tokio::sync::watch::Sender::new(index.read()?.seq()?.0);
    let file = Shared::index_file(index.path());
    let share = tiering::Share::new(config.watches);
    let mut arms = Arms::new(Arc::clone(&pending), config.backend, left_out.clone(), file, share);
    arms.watch.clone_from(&ground.watch);
    Ok(Shared {
        ground,
        index,
        pending,
        arms,
        volumes,
        state_dir,
        left_out,
        one_pass: false,
        published: None,
        started: Instant::now(),
        vitals: Vitals::new(Instant::now()),
        durable,
        stop: AtomicBool::new(false),
        busy: AtomicBool::new(true),
        known: AtomicI64::new(0),
        window: Mutex::default(),
        unsure: Mutex::new(None),
        view: Mutex::new(View { state: "starting", ..View::default() }),
        changed: Condvar::new(),
        requests: Mutex::new(VecDeque::new()),
        room: Condvar::new(),
    })
}

impl Engine {
    /// The index, for reading.
    pub(crate) fn index(&self) -> &Index {
        &self.shared.index
    }

    /// How things stand.
    pub(crate) fn status(&self) -> Status {
        self.shared.status()
    }

    /// How directories are kept true, now.
    pub(crate) fn keeper(&self) -> EngineKeeper<'_> {
        self.shared.keeper()
    }

    /// Blocks until the engine is live.
    pub(crate) fn wait_live(&self) -> Result<(), EngineError> {
        let mut view = self.shared.view();
        loop {
            match (view.state, &view.failed) {
                (_, Some(why)) => return Err(EngineError::Failed(why.clone())),
                ("live", None) => return Ok(()),
                ("stopped", None) => return Err(EngineError::Stopped),
                _ => view = self.shared.changed.wait(view).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Blocks until every change made before the call is in the index and the journal.
    pub(crate) fn settle(&self, timeout: Duration) -> Result<Settled, EngineError> {
        let deadline = Instant::now() + timeout;
        let answer = self.ask(|reply| Request::Settle(deadline, reply))?;
        match answer.recv_timeout(timeout) {
            Ok(Err(EngineError::TimedOut(_))) | Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                Err(EngineError::TimedOut(timeout))
            }
            Ok(result) => result,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(EngineError::Stopped),
        }
    }

    /// Sweeps everything, or what lies below `path`, and returns when what it found is durable.
    pub(crate) fn sweep(&self, path: Option<Vec<u8>>, level: Level) -> Result<SweepReport, EngineError> {
        receive(&self.ask(|reply| Request::Sweep(path, level, reply))?)
    }

    /// Believes what is at a lost root's path now.
    pub(crate) fn accept(&self, path: &[u8]) -> Result<(), EngineError> {
        receive(&self.ask(|reply| Request::Accept(path.to_vec(), reply))?)
    }

    /// The index and the disk for readers of contents.
    pub(crate) fn shelf(&self) -> EngineShelf {
        EngineShelf::new(&self.shared)
    }

    /// Moves a consumer's cursor forward.
    pub(crate) fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), EngineError> {
        receive(&self.ask(|reply| Request::Confirm(consumer.to_owned(), seq, reply))?)
    }

    /// Forgets a consumer.
    pub(crate) fn forget(&self, consumer: &str) -> Result<(), EngineError> {
        receive(&self.ask(|reply| Request::Forget(consumer.to_owned(), reply))?)
    }

    /// Forgets a consumer when there is time for it.
    pub(crate) fn forget_soon(&self, consumer: &str) -> Result<(), EngineError> {
        self.ask(|reply| Request::Forget(consumer.to_owned(), reply)).map(drop)
    }

    /// Makes sure that no journal ever gives the numbers up to `seq` to other records under this epoch, and answers up to which
    /// that is so: to be asked before they are shown to others.
    pub(crate) fn cover(&self, seq: Seq) -> Result<Seq, EngineError> {
        self.shared.cover(seq)
    }

    /// How long the oldest hint that nobody has looked at has waited; zero while nothing is followed yet.
    pub(crate) fn lag(&self) -> Duration {
        let live = self.shared.view().state == "live";
        self.shared.pending.oldest().filter(|_| live).map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// The last durable seq, and word of each new one.
    pub(crate) fn follow(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.durable.subscribe()
    }

    /// Takes over a new configuration; blocks until it is followed.
    pub(crate) fn reload(&self, config: EngineConfig) -> Result<(), EngineError> {
        receive(&self.ask(|reply| Request::Reload(Box::new(config), reply))?)
    }

    /// Finishes the transaction under way and leaves.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.send(Request::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
            self.shared.note_published();
        }
    }

    /// What the engine and its index have done since the start.
    pub(crate) fn done(&self) -> (Done, Counted) {
        (self.shared.vitals.done(), self.shared.index.counted())
    }

    /// How long the engine has stood still with work to do.
    pub(crate) fn stalled_for(&self) -> Duration {
        self.shared.stalled_for()
    }

    /// Its state, and how far the seed or sweep under way is. Cheaper than a status.
    pub(crate) fn brief(&self) -> (&'static str, Option<Progress>) {
        let view = self.shared.view();
        (view.state, view.progress.clone())
    }

    /// Why the engine ended by itself.
    pub(crate) fn failed(&self) -> Option<String> {
        self.shared.view().failed.clone()
    }

    fn ask<T>(
        &self,
        request: impl FnOnce(SyncSender<Result<T, EngineError>>) -> Request,
    ) -> Result<Receiver<Result<T, EngineError>>, EngineError> {
        if let Some(why) = self.failed() {
            return Err(EngineError::Failed(why));
        }
        if self.shared.view().state == "stopped" {
            return Err(EngineError::Stopped);
        }
        let (reply, answer) = sync_channel(1);
        self.shared.send(request(reply));
        if self.shared.view().state == "stopped" {
            // It ended between the two looks; what nobody will read any more is dropped.
            self.shared.ended();
        }
        Ok(answer)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn receive<T>(answer: &Receiver<Result<T, EngineError>>) -> Result<T, EngineError> {
    answer.recv().unwrap_or(Err(EngineError::Stopped))
}
