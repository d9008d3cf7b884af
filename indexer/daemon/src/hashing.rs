//! Reading contents while the daemon runs: what changed at once, and the rest of what is to be known behind all other work.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use record::Reading;
use rehash::{Counted, Meter, Pace, ShelfError, Turn, Work};
use tracing::warn;

use crate::asking::Asking;
use crate::engine::status::{HashingStatus, Status};
use crate::engine::{Engine, EngineError, EngineShelf, Hashed, Scrub, ScrubLine, hash_files, scrub};
use crate::failure::Failure;
use crate::paths;

/// Between two times that everything is gone through again: for what could not be read, and may be now.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Between two looks at how fast it goes.
const SAMPLE: Duration = Duration::from_secs(2);

/// Files of this size in bytes and more are read beside smaller ones that changed, which do not wait for them: some seconds from
/// a slow disk.
const LARGE: u64 = 64 << 20;

/// Looking for something to do takes at most one part in so many of the time.
const PART: u32 = 4;
/// Directories are looked through at most so often: each turn is a commit.
const GROW_EVERY: Duration = Duration::from_millis(200);
/// The same while all is read that is to be known, which makes them due again and again.
const GROW_RARELY: Duration = Duration::from_secs(10);

/// Before a broker is asked again that refused.
const REFUSED: Duration = Duration::from_secs(60);

/// What one of the threads does until it is told to stop.
type Run = fn(&Inner) -> Result<(), ShelfError>;

/// Threads that read, and how they fare.
pub(crate) struct Hasher {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Inner {
    shelf: EngineShelf,
    meter: Meter,
    /// For what is read behind all other work.
    pace: Pace,
    rate: Option<u64>,
    readers: usize,
    stop: AtomicBool,
    bell: Bell,
    speed: Mutex<Speed>,
    /// All is read that is to be known.
    going_through: AtomicBool,
    /// Where others read.
    asking: Option<Asking>,
}

/// Counts what may be news: of changed files, and of what is to be known at all.
#[derive(Default)]
struct Bell {
    rung: Mutex<(u64, u64)>,
    word: Condvar,
}

impl Bell {
    fn ring(&self, all: bool) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        rung.0 += 1;
        rung.1 += u64::from(all);
        self.word.notify_all();
    }

    /// Waits until `heard` says that there is news, or `until`, or for the end.
    fn wait(
        &self,
        stop: &AtomicBool,
        until: Option<Instant>,
        heard: impl Fn((u64, u64)) -> bool,
    ) -> (u64, u64) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever sets it rings afterwards, and needs this lock for that.
        while !heard(*rung) && !stop.load(Ordering::Relaxed) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let left = left.unwrap_or(AGAIN);
            rung = self.word.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung
    }
}

/// How fast it goes, between two looks.
struct Speed {
    at: Instant,
    bytes: u64,
    rate: u64,
}

/// Reads what the index wants known, from the moment that it is live; or has it read by others, where `asking` says by whom.
///
/// # Errors
/// When a thread cannot be started.
pub(crate) fn start(
    engine: &Arc<Engine>,
    (rate, readers): (Option<u64>, usize),
    asking: Option<Asking>,
) -> Result<Arc<Hasher>, Failure> {
    scan::outlive_leases();
    let inner = Arc::new(Inner {
        shelf: engine.shelf(),
        meter: Meter::default(),
        pace: Pace::new(rate),
        rate,
        readers,
        stop: AtomicBool::new(false),
        bell: Bell::default(),
        going_through: AtomicBool::new(true),
        speed: Mutex::new(Speed { at: Instant::now(), bytes: 0, rate: 0 }),
        asking,
    });
    let mut threads = Vec::new();
    let work: [(&str, Run); 4] = [
        ("rehash", |inner| inner.fresh(0..=LARGE - 1)),
        ("rehash-large", |inner| inner.fresh(LARGE..=u64::MAX)),
        ("rehash-all", Inner::backlog),
        ("rehash-remote", Inner::ask),
    ];
    let asks = inner.asking.is_some();
    for (name, run) in work.into_iter().filter(|(name, _)| asks || *name != "rehash-remote") {
        let (inner, engine) = (Arc::clone(&inner), Arc::clone(engine));
        let run = move || {
            // Before that, what is to be known is not.
            let live = engine.wait_live();
            drop(engine);
            if live.is_err() {
                return;
            }
            match run(&inner) {
                Err(error) if !inner.stop.load(Ordering::Relaxed) => {
                    warn!(%error, "contents are read no more");
                }
                _ => {}
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        threads.push(thread.map_err(|error| Failure::doing("start a thread", error))?);
    }
    Ok(Arc::new(Hasher { inner, threads: Mutex::new(threads) }))
}

impl Inner {
    fn fresh(&self, sizes: RangeInclusive<u64>) -> Result<(), ShelfError> {
        // What just changed is wanted now: no pace but the disk's.
        let pace = Pace::new(None);
        // One of the threads is enough for directories.
        let mut growth = (*sizes.start() == 0).then_some(Growth { rest: None });
        let mut work = Work::new(&self.shelf, &pace, &self.stop, &self.meter, self.readers).only(sizes);
        let mut heard = self.bell.wait(&self.stop, Some(Instant::now()), |_| true);
        while !self.stop.load(Ordering::Relaxed) {
            let begin = Instant::now();
            if let Turn::Wait(mut until) = work.fresh()? {
                // Where much waits that is not ours, or not yet, looking for it must not become the work.
                self.bell.wait(&self.stop, Some(Instant::now() + begin.elapsed() * (PART - 1)), |_| false);
                if let Some(growth) = &mut growth {
                    until = until.into_iter().chain(growth.go_on(self)?).min();
                }
                heard = self.bell.wait(&self.stop, until, |rung| rung.0 != heard.0);
            }
        }
        Ok(())
    }

    fn backlog(&self) -> Result<(), ShelfError> {
        let mut work = Work::new(&self.shelf, &self.pace, &self.stop, &self.meter, self.readers).quietly();
        while !self.stop.load(Ordering::Relaxed) {
            let heard = self.bell.wait(&self.stop, Some(Instant::now()), |_| true);
            self.going_through.store(true, Ordering::Relaxed);
            work.count_backlog()?;
            let mut turn = Turn::More;
            while turn == Turn::More && !self.stop.load(Ordering::Relaxed) {
                turn = work.backlog()?;
            }
            self.going_through.store(false, Ordering::Relaxed);
            self.bell.ring(false);
            self.bell.wait(&self.stop, Some(Instant::now() + AGAIN), |rung| rung.1 != heard.1);
        }
        Ok(())
    }
}

impl Inner {
    /// Has others read.
    fn ask(&self) -> Result<(), ShelfError> {
        let Some(asking) = &self.asking else { return Ok(()) };
        while let Err(why) = asking.run(&self.shelf, &self.meter, AGAIN)
            && !self.stop.load(Ordering::Relaxed)
        {
            warn!(why, "workers cannot be asked; it is tried again");
            self.bell.wait(&self.stop, Some(Instant::now() + REFUSED), |_| false);
        }
        Ok(())
    }
}

/// Digests of directories, made as what is below them becomes known.
struct Growth {
    /// How long the last turn took, and when it ended.
    rest: Option<(Duration, Instant)>,
}

impl Growth {
    /// Answers when there may be more to do though nothing changes.
    fn go_on(&mut self, inner: &Inner) -> Result<Option<Instant>, ShelfError> {
        if let Some(next) = self.next(inner)
            && Instant::now() < next
        {
            return Ok(Some(next));
        }
        let begin = Instant::now();
        self.rest = inner.shelf.grow()?.then(|| (begin.elapsed(), Instant::now()));
        Ok(self.next(inner))
    }

    fn next(&self, inner: &Inner) -> Option<Instant> {
        let (took, end) = self.rest?;
        let going_through = inner.going_through.load(Ordering::Relaxed);
        let least = if going_through { GROW_RARELY } else { GROW_EVERY };
        Some(end + least.max(took * (PART - 1)))
    }
}

impl Hasher {
    /// Something changed.
    pub(crate) fn tell(&self) {
        self.inner.bell.ring(false);
        self.inner.asking.iter().for_each(|asking| asking.stop.wake());
    }

    /// Whether others can be asked.
    pub(crate) fn asks(&self) -> bool {
        self.inner.asking.is_some()
    }

    /// What is to be known changed.
    pub(crate) fn tell_all(&self) {
        self.inner.bell.ring(true);
    }

    /// Ends the reading; the engine must have stopped, or a thread may wait for it.
    pub(crate) fn stop(&self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        self.inner.asking.iter().for_each(|asking| asking.stop.stop());
        self.tell();
    }

    /// Waits for the end of the threads.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// Reads all files at and below `paths` in full.
    pub(crate) fn hash(&self, paths: &[Vec<u8>], patience: Duration) -> Result<Hashed, EngineError> {
        let (inner, meter) = (&self.inner, Meter::default());
        let pace = Pace::new(None);
        hash_files(&inner.shelf, (&pace, &inner.stop, &meter), inner.readers, paths, patience)
            .map_err(|error| EngineError::Failed(error.to_string()))
    }

    /// Reads again what was read before.
    pub(crate) fn scrub(
        &self,
        what: &Scrub,
        emit: &mut dyn FnMut(ScrubLine) -> bool,
    ) -> Result<(), EngineError> {
        let what = Scrub { rate: what.rate.or(self.inner.rate), ..what.clone() };
        scrub(&self.inner.shelf, (&self.inner.stop, &Meter::default()), &what, emit)
            .map_err(|error| EngineError::Failed(error.to_string()))
    }

    /// Adds how the reading fares to a status.
    pub(crate) fn show(&self, status: &mut Status) {
        let Ok((hashing, hashed, waiting, rotten)) = self.inner.shelf.read(|reader| {
            Ok((reader.hashing()?, reader.count_digests()?, reader.count_pending()?, reader.count_rotten()?))
        }) else {
            return;
        };
        if rotten > 0 {
            status.warnings.push(format!(
                "{} files hold something else than they did, and nobody wrote them: `indexer scrub --list` names them; \
                 restore them from a copy",
                crate::render::count(rotten)
            ));
        }
        let Counted { files, ends, bytes, refused, files_left, bytes_left } = self.inner.meter.counted();
        let rate = self.rate(bytes);
        let eta_s = (bytes_left > 0 && rate > 0).then(|| bytes_left / rate);
        if hashing.reading != Reading::None && refused > 0 {
            let last = self.inner.meter.last_refused().pop();
            let which = last.and_then(|(id, why)| Some((self.inner.shelf.path(id).ok()??, why)));
            let which = which.map_or_else(String::new, |(path, why)| {
                format!(", the last of them {} ({why})", paths::shown_bytes(&path))
            });
            status.warnings.push(format!(
                "files could not be read {} times since the start{which}; whether they have duplicates is not known",
                crate::render::count(refused)
            ));
        }
        let asked = self.inner.asking.as_ref().is_some_and(|asking| asking.at_rest.load(Ordering::Relaxed));
        let asking = self.inner.asking.as_ref();
        if let Some(why) = asking.and_then(|asking| asking.trouble().clone()) {
            status.warnings.push(format!("contents are read by nobody: {why}"));
        }
        status.hashing = Some(HashingStatus {
            reading: hashing.reading.word().to_owned(),
            algorithm: hashing.kind.word().to_owned(),
            hashed,
            waiting,
            files_left,
            bytes_left,
            at_rest: hashing.reading == Reading::None
                || (waiting == 0
                    && !self.inner.going_through.load(Ordering::Relaxed)
                    && (hashing.reading != Reading::Remote || asked)),
            eta_s,
            bytes_per_second: rate,
            files_read: files,
            ends_read: ends,
            bytes_read: bytes,
            refused,
            rotten,
        });
    }

    fn rate(&self, bytes: u64) -> u64 {
        let mut speed = self.inner.speed.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = speed.at.elapsed();
        if passed >= SAMPLE {
            speed.rate = ((bytes - speed.bytes) as f64 / passed.as_secs_f64()) as u64;
            (speed.at, speed.bytes) = (Instant::now(), bytes);
        }
        speed.rate
    }
}
