//! Rows straight from a walk, directory by directory and from many threads, into one file or into chunks. Knows neither the walk nor
//! an index.
//!
//! What is said of a directory is its own row and those of all in it but directories. It comes into a chunk as a whole, so a chunk and the
//! manifest after it say exactly which directories are done.

mod chunks;
mod frontier;
mod manifest;
mod names;
mod output;
#[cfg(test)]
mod tests;
mod unit;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::aside::Aside;
use crate::error::{Doing as _, SnapshotError};
use crate::random;
use crate::sort::{Arena, Run, Sorted};

pub use chunks::{Begin, Chunks};
pub use frontier::{Frontier, Way};
pub use manifest::Chunk;
pub use names::Names;
pub use output::Output;
pub use unit::Unit;

/// Bytes of rows in memory, before they go to disk.
const FULL: usize = if cfg!(test) { 1 << 10 } else { 16 << 20 };

/// When a chunk is full.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At so many rows; a directory more may stand in it.
    pub rows: u64,
    /// After so long.
    pub interval: Duration,
}

/// One file for all rows.
#[derive(Debug)]
pub struct OneFile {
    place: PathBuf,
    output: Output,
    aside: Aside,
    written: Option<Chunk>,
    /// Nobody wants it any more.
    stop: Arc<AtomicBool>,
}

impl OneFile {
    /// Begins a file of `names`; `over` what is there. What is being written when `stop` is set is given up.
    ///
    /// # Errors
    /// When something is in the place, or it cannot be written to.
    pub fn begin(
        names: &Names,
        output: Output,
        over: bool,
        stop: Arc<AtomicBool>,
    ) -> Result<OneFile, SnapshotError> {
        let place = names.file();
        let aside = Aside::file(&place, over)?;
        Ok(OneFile { place, output, aside, written: None, stop })
    }

    fn take(&mut self, rows: Sorted, shown: &AtomicU64) -> Result<(), SnapshotError> {
        let OneFile { place, output, aside, written, stop } = self;
        let file = output.write((aside, place), &random::hex(&random::id()), rows, (shown, stop))?;
        let file_path = chunks::shown(place);
        *written = Some(Chunk { file_path, rows: file.rows, bytes: file.bytes, blake3: file.blake3 });
        Ok(())
    }
}

/// Where rows go.
#[derive(Debug)]
enum Target {
    One(Box<OneFile>, u64),
    Chunks(Box<Chunks>),
}

/// What a scan wrote, this run and those before.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Each file.
    pub files: Vec<Chunk>,
    /// What could not be looked at.
    pub unreadable: u64,
}

/// Takes what is said of directories, from any thread.
pub struct Collector {
    open: Mutex<Open>,
    folder: PathBuf,
    pace: Option<Pace>,
    written: Arc<AtomicU64>,
    writer: Mutex<Option<Writer>>,
}

type Writer = JoinHandle<(Target, Result<(), SnapshotError>)>;

/// What is not yet with the writer. The queue is in it, so that all is queued in one order.
struct Open {
    /// None at the end.
    queue: Option<SyncSender<Job>>,
    rows: Arena,
    count: u64,
    ways: Frontier,
    missed: u64,
    since: Instant,
}

enum Job {
    Rows(Arena),
    Runs(Vec<Run>),
    Close(Frontier, u64),
}

impl Collector {
    /// Writes one file.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn one(file: OneFile, folder: &Path) -> Result<Collector, SnapshotError> {
        Collector::begin(Target::One(Box::new(file), 0), folder, None)
    }

    /// Writes chunks.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn chunks(chunks: Chunks, folder: &Path, pace: Pace) -> Result<Collector, SnapshotError> {
        Collector::begin(Target::Chunks(Box::new(chunks)), folder, Some(pace))
    }

    fn begin(target: Target, folder: &Path, pace: Option<Pace>) -> Result<Collector, SnapshotError> {
        // One waits while another is written; whoever has a third waits with the walk.
        let (queue, jobs) = sync_channel(1);
        let written = Arc::new(AtomicU64::new(0));
        let (counted, place) = (Arc::clone(&written), folder.to_owned());
        let writer = std::thread::Builder::new()
            .name("collect".to_owned())
            .spawn(move || write(target, &place, &jobs, &counted))
            .doing("start a thread to write to", folder)?;
        let open = Open {
            queue: Some(queue),
            rows: Arena::default(),
            count: 0,
            ways: Frontier::default(),
            missed: 0,
            since: Instant::now(),
        };
        let writer = Mutex::new(Some(writer));
        Ok(Collector { open: Mutex::new(open), folder: folder.to_owned(), pace, written, writer })
    }

    /// Room for what is said of one directory, and of the next ones.
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit::new(&self.folder)
    }

    /// Rows that are in files, this run.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// All was said of the directory at `path` from the root, and of more of what lies in it if it is whole; takes it from `unit`. False:
    /// it cannot be written, and [`Self::finish`] says why.
    #[must_use]
    pub fn listed(&self, path: &[u8], way: Way, unit: &mut Unit) -> bool {
        let mut open = self.open();
        open.count += unit.count();
        open.missed += unit.missed();
        let taken = unit.take(&mut open.rows);
        let mut going = taken.is_empty() || open.send(Job::Runs(taken));
        if self.pace.is_some() {
            open.ways.set(path, way);
        }
        if self.pace.is_some_and(|pace| open.count >= pace.rows) {
            going &= open.close();
        } else if open.rows.size() >= FULL {
            going &= open.pass_on();
        }
        going
    }

    /// All below the directory at `path` was said.
    pub fn whole(&self, path: &[u8]) {
        if self.pace.is_some() {
            self.open().ways.set(path, Way::Whole);
        }
    }

    /// To be called now and then: closes a chunk whose time is over. False as with [`Self::listed`].
    #[must_use]
    pub fn tick(&self) -> bool {
        let Some(pace) = self.pace else { return true };
        let mut open = self.open();
        open.count == 0 || open.since.elapsed() < pace.interval || open.close()
    }

    /// Writes what is left; `whole` if the walk went to its end. Where it did not, chunks tell how far it is, and one file is none.
    ///
    /// # Errors
    /// What could not be written, now or before.
    pub fn finish(&self, whole: bool) -> Result<Collected, SnapshotError> {
        {
            let mut open = self.open();
            if whole || self.pace.is_some() {
                // What went wrong the writer says.
                let _ = open.close();
            }
            open.queue = None;
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let joined = writer.and_then(|writer| writer.join().ok());
        let (target, ended) = joined.ok_or(SnapshotError::Ended)?;
        ended?;
        match target {
            Target::One(file, unreadable) => {
                let OneFile { aside, written, .. } = *file;
                if whole && written.is_some() {
                    aside.commit()?;
                }
                Ok(Collected { files: written.into_iter().collect(), unreadable })
            }
            Target::Chunks(mut chunks) => {
                if whole {
                    chunks.complete()?;
                }
                Ok(Collected { files: chunks.chunks().to_vec(), unreadable: chunks.unreadable() })
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn send(&self, job: Job) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.send(job).is_ok())
    }

    fn pass_on(&mut self) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let rows = std::mem::take(&mut self.rows);
        self.send(Job::Rows(rows))
    }

    fn close(&mut self) -> bool {
        let passed = self.pass_on();
        self.count = 0;
        self.since = Instant::now();
        let (ways, missed) = (std::mem::take(&mut self.ways), std::mem::take(&mut self.missed));
        passed && self.send(Job::Close(ways, missed))
    }
}

fn write(
    mut target: Target,
    folder: &Path,
    jobs: &Receiver<Job>,
    written: &AtomicU64,
) -> (Target, Result<(), SnapshotError>) {
    let mut rows = Sorted::new(folder);
    for job in jobs {
        let done = match job {
            Job::Rows(mut arena) => rows.add(&mut arena),
            Job::Runs(runs) => {
                rows.adopt(runs);
                Ok(())
            }
            Job::Close(ways, missed) => {
                let rows = std::mem::replace(&mut rows, Sorted::new(folder));
                match &mut target {
                    Target::One(file, unreadable) => {
                        *unreadable += missed;
                        file.take(rows, written)
                    }
                    Target::Chunks(chunks) => chunks.take(rows, ways, missed, written),
                }
            }
        };
        if done.is_err() {
            return (target, done);
        }
    }
    (target, Ok(()))
}
