//! Reading contents in a process that does nothing else: the readers on threads of their own, and this one, the only writer,
//! works for them until they are done.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rehash::{Counted, Meter, Pace, ShelfError, Turn, Work};

use super::{EngineShelf, Hashed, hash_files};
use crate::engine::Level;
use crate::engine::core::Core;
use crate::engine::error::EngineError;
use crate::engine::status::Progress;

/// How often progress is told, and the work looked after.
const TICK: Duration = Duration::from_millis(200);

/// How long files are waited for that are written without end.
const PATIENCE: Duration = Duration::from_secs(60);

impl Core {
    /// Runs `work` on another thread and does what it asks for.
    ///
    /// # Errors
    /// Those of the engine, and of `work`.
    pub(crate) fn serve<T: Send>(
        &mut self,
        meter: &Meter,
        work: impl FnOnce(&EngineShelf, &AtomicBool) -> Result<T, ShelfError> + Send,
    ) -> Result<T, EngineError> {
        let shelf = EngineShelf::new(&self.shared);
        let stop = AtomicBool::new(false);
        let shared = Arc::clone(&self.shared);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let done = work(&shelf, &stop);
                shared.pending.wake();
                done
            });
            let served = self.serve_until(|| worker.is_finished(), meter);
            if served.is_err() {
                stop.store(true, Ordering::Relaxed);
                // It may be waiting for an answer that will not come.
                while !worker.is_finished() {
                    while self.shared.receive().is_some() {}
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            served?;
            done.map_err(|error| EngineError::Failed(error.to_string()))
        })
    }

    /// Brings what lies at `path` up to date: a directory with all below it, or the one name.
    pub(crate) fn look_once(&mut self, path: &[u8]) -> Result<(), EngineError> {
        // What this says only tells the cheaper way: names are looked at in their directories either way.
        let path_there = Path::new(OsStr::from_bytes(path));
        let is_directory = path_there.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        match self.name_at(path)?.filter(|_| !is_directory) {
            Some(name) => {
                self.todo.push_back(name);
                self.work_off(None)
            }
            None => self.sweep_once(Some(path), Level::Stat).map(drop),
        }
    }

    /// Reads all that is to be known and is not, and returns when nothing waits but what cannot be read.
    pub(crate) fn hash_all(&mut self) -> Result<Counted, EngineError> {
        let meter = Meter::default();
        let (pace, threads) = (Pace::new(self.config.hash_rate), self.config.threads);
        self.serve(&meter, |shelf, stop| {
            let work = || Work::new(shelf, &pace, stop, &meter, threads);
            // What there is to do is counted beside it: only progress wants to know.
            let mut work = std::thread::scope(|scope| {
                let counting = scope.spawn(|| work().count_backlog());
                let mut work = work();
                while work.backlog()? == Turn::More {}
                counting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                Ok::<_, ShelfError>(work)
            })?;
            // Counted late, some of it may have been done before.
            meter.clear_left();
            let until = Instant::now() + PATIENCE;
            loop {
                match work.fresh()? {
                    Turn::More => {}
                    Turn::Wait(Some(time)) if time < until => work.sleep_until(time),
                    Turn::Wait(_) => break,
                }
            }
            while shelf.grow()? {}
            Ok(())
        })?;
        Ok(meter.counted())
    }

    /// Reads all files at and below `paths` in full.
    pub(crate) fn hash_whole(
        &mut self,
        paths: &[Vec<u8>],
        patience: Duration,
    ) -> Result<Hashed, EngineError> {
        let meter = Meter::default();
        let (pace, threads) = (Pace::new(self.config.hash_rate), self.config.threads);
        self.serve(&meter, |shelf, stop| hash_files(shelf, (&pace, stop, &meter), threads, paths, patience))
    }

    fn serve_until(&mut self, done: impl Fn() -> bool, meter: &Meter) -> Result<(), EngineError> {
        let most = meter.counted();
        let mut total = (most.files_left, most.bytes_left);
        while !done() {
            self.requests()?;
            // A file that a killed daemon left unfinished is complete when it stays quiet.
            self.due_writing(self.shared.ground.clock.instant(), false);
            if self.has_work() {
                self.work_off(None)?;
            } else {
                self.shared.pending.wait(Some(TICK));
            }
            let counted = meter.counted();
            total = (total.0.max(counted.files_left), total.1.max(counted.bytes_left));
            let part = 1.0 - counted.bytes_left as f64 / total.1.max(1) as f64;
            let progress = Progress {
                percent: (part * 100.0).clamp(0.0, 99.0),
                files_found: total.0,
                files_processed: counted.files,
                bytes_processed: counted.bytes,
                ..Progress::default()
            };
            (self.config.progress)(&progress, "hashing");
        }
        Ok(())
    }
}
