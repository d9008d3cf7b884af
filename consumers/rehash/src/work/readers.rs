//! Threads that read: several where that is of use, each file by one. What they find comes out one by one.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use record::{DigestKind, EntryId, Hashing, Reading};

use super::GATHER;
use super::later::Why;
use crate::algorithm::Algorithm;
use crate::look::{Eye, Refused};
use crate::meter::Meter;
use crate::pace::Pace;
use crate::read::{Content, Depth, How, read};
use crate::refine::Need;
use crate::shelf::{Closed, Shelf};
use crate::token::{Probe, head, tail};

/// One thing to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) group: usize,
    pub(super) id: EntryId,
    pub(super) need: Need,
}

pub(super) enum Read {
    Content(Content),
    Probe(Probe),
}

pub(super) struct Outcome {
    pub(super) job: Job,
    pub(super) result: Result<Read, Why>,
}

pub(super) struct Readers<'a> {
    shelf: &'a dyn Shelf,
    pace: &'a Pace,
    stop: &'a AtomicBool,
    meter: &'a Meter,
    how: How,
    threads: usize,
    /// Stands back behind all other work.
    quiet: bool,
    /// One at a time on a disk that has to move its heads.
    heads: Mutex<()>,
}

impl<'a> Readers<'a> {
    pub(super) fn new(
        shelf: &'a dyn Shelf,
        pace: &'a Pace,
        stop: &'a AtomicBool,
        meter: &'a Meter,
        hashing: Hashing,
        (threads, quiet): (usize, bool),
    ) -> Readers<'a> {
        let depth = if hashing.reading == Reading::Sampled { Depth::Sampled } else { Depth::Full };
        let algorithm = match hashing.kind {
            DigestKind::Blake2b256 => Algorithm::Blake2b256,
            DigestKind::Blake3 | DigestKind::Blake3Sampled => Algorithm::Blake3,
        };
        let how = How { depth, algorithm, parallel: false };
        Readers { shelf, pace, stop, meter, how, threads, quiet, heads: Mutex::new(()) }
    }

    /// Reads all of it. `take` has each outcome, and `None` now and then; with its false, the rest is left.
    pub(super) fn run(&self, jobs: Vec<Job>, mut take: impl FnMut(Option<Outcome>) -> bool) {
        let threads = self.threads.min(jobs.len());
        let alone = threads == 1;
        let jobs = Mutex::new(VecDeque::from(jobs));
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (send, outcomes) = channel();
            for _ in 0..threads {
                let (send, jobs, enough) = (send.clone(), &jobs, &enough);
                scope.spawn(move || {
                    if self.quiet {
                        crate::manners::be_nice();
                    }
                    while !enough.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
                        let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
                        else {
                            break;
                        };
                        let result = self.read(&job, alone);
                        if send.send(Outcome { job, result }).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            loop {
                let outcome = match outcomes.recv_timeout(GATHER) {
                    Ok(outcome) => Some(outcome),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if !take(outcome) {
                    enough.store(true, Ordering::Relaxed);
                    break;
                }
            }
        });
    }

    fn read(&self, job: &Job, alone: bool) -> Result<Read, Why> {
        let opened = self.shelf.open(job.id).map_err(|closed| match closed {
            Closed::Gone => Why::Gone,
            Closed::Written => Why::Written,
            Closed::Refused(error) => self.refused(job.id, error.to_string()),
        })?;
        let _turn = (!opened.solid).then(|| self.heads.lock().unwrap_or_else(PoisonError::into_inner));
        let file = &opened.file;
        let eye: &dyn Eye = self.shelf;
        let read = match job.need {
            Need::Head => head(file, eye).map(Read::Probe),
            Need::Tail => tail(file, eye).map(Read::Probe),
            Need::Full => {
                // Where other threads have files of their own, one each is best.
                let how = How { parallel: opened.solid && alone, ..self.how };
                read(file, how, eye, &mut |bytes| self.wait(bytes)).map(Read::Content)
            }
        };
        match &read {
            Ok(Read::Probe(probe)) => {
                let _ = self.wait(probe.read);
                self.meter.end(probe.read);
            }
            Ok(Read::Content(content)) => {
                self.meter.file();
                self.meter.read(content.read);
            }
            Err(_) => {}
        }
        read.map_err(|refused| match refused {
            Refused::Changed | Refused::Stopped => Why::Changed,
            Refused::Young { ready } => {
                let wait = (ready.0 - eye.now().0).clamp(0, 3_000_000_000);
                Why::Young(Duration::from_nanos(wait as u64))
            }
            Refused::NoFile => Why::Gone,
            Refused::Unsized | Refused::Failed { .. } => {
                let source = std::error::Error::source(&refused).map(|source| format!(": {source}"));
                self.refused(job.id, format!("{refused}{}", source.unwrap_or_default()))
            }
        })
    }

    fn refused(&self, id: EntryId, why: String) -> Why {
        tracing::debug!(%id, why, "cannot be read");
        self.meter.refused(id, why);
        Why::Refused
    }

    /// Keeps to the pace. Breaks to stop.
    fn wait(&self, bytes: u64) -> ControlFlow<()> {
        let until = Instant::now() + self.pace.take(bytes, Instant::now());
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}
