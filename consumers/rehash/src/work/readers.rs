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
use crate::shelf::{Closed, Opener, Shelf};
use crate::token::{Probe, head, tail};

/// Outcomes that a thread hands over at once, or after how long: each wakes another thread.
const TOGETHER: usize = 64;
const SOON: Duration = Duration::from_millis(20);

/// One thing to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// Which group, and which file of it.
    pub(super) place: (usize, usize),
    pub(super) id: EntryId,
    pub(super) need: Need,
}

pub(super) enum Read {
    /// With where it lies.
    Content(Content, Option<u64>),
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
        let how = How { depth, algorithm, parallel: false, direct: false };
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
                        self.shelf.stand_back();
                    }
                    let mut opener = self.shelf.opener();
                    let mut gathered = Vec::new();
                    let mut since = Instant::now();
                    while !enough.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
                        let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
                        else {
                            break;
                        };
                        let result = self.read(&mut *opener, &job, alone);
                        gathered.push(Outcome { job, result });
                        if gathered.len() >= TOGETHER || since.elapsed() >= SOON {
                            since = Instant::now();
                            if send.send(std::mem::take(&mut gathered)).is_err() {
                                break;
                            }
                        }
                    }
                    let _ = send.send(gathered);
                });
            }
            drop(send);
            loop {
                let some = match outcomes.recv_timeout(GATHER) {
                    Ok(some) => some,
                    Err(RecvTimeoutError::Timeout) => Vec::new(),
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if !some.into_iter().map(Some).chain([None]).all(&mut take) {
                    enough.store(true, Ordering::Relaxed);
                    break;
                }
            }
        });
    }

    fn read(&self, opener: &mut dyn Opener, job: &Job, alone: bool) -> Result<Read, Why> {
        let opened = opener.open(job.id).map_err(|closed| match closed {
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
                read(file, how, eye, &mut |bytes| wait(self.pace, self.stop, bytes))
                    .map(|content| Read::Content(content, opened.extents))
            }
        };
        match &read {
            Ok(Read::Probe(probe)) => {
                let _ = wait(self.pace, self.stop, probe.read);
                self.meter.end(probe.read);
            }
            Ok(Read::Content(content, _)) => {
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
            Refused::Unsized | Refused::Failed { .. } => self.refused(job.id, why(&refused)),
        })
    }

    fn refused(&self, id: EntryId, why: String) -> Why {
        tracing::debug!(%id, why, "cannot be read");
        self.meter.refused(id, why);
        Why::Refused
    }
}

/// Keeps to the pace. Breaks to stop.
pub(super) fn wait(pace: &Pace, stop: &AtomicBool, bytes: u64) -> ControlFlow<()> {
    let until = Instant::now() + pace.take(bytes, Instant::now());
    loop {
        if stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return ControlFlow::Continue(());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// What a refusal says, with what the system said.
pub(super) fn why(refused: &Refused) -> String {
    let source = std::error::Error::source(refused).map(|source| format!(": {source}"));
    format!("{refused}{}", source.unwrap_or_default())
}
