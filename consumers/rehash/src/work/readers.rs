//! Threads that read: several where that is of use, each file by one. What they find comes out one by one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use record::{DigestKind, EntryId, Hashing, Reading};

use super::hand::GATHER;
use super::later::Why;
use crate::algorithm::Algorithm;
use crate::cache::Ahead;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    pub(super) id: EntryId,
    pub(super) need: Need,
    /// Which group, and which file of it.
    pub(super) place: (usize, usize),
}

/// Jobs that no thread has taken. They go out as a lift goes: in the order of numbers, which is about that on the disk, from
/// the last one on, and from the least again.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: BTreeSet<Job>,
    last: Option<Job>,
    /// None will come any more, and those that are there are left.
    closed: bool,
}

impl Waiting {
    fn pop(&mut self) -> Option<Job> {
        if self.closed {
            return None;
        }
        let ahead = self.last.and_then(|last| self.jobs.range(last..).next().copied());
        let job = ahead.or_else(|| self.jobs.first().copied())?;
        self.jobs.remove(&job);
        self.last = Some(job);
        Some(job)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            self.lock().jobs.extend(jobs);
            self.changed.notify_all();
        }
    }

    /// The next one that is there.
    fn pop(&self) -> Option<Job> {
        self.lock().pop()
    }

    /// The next one that comes; `None` when it is closed.
    fn wait(&self) -> Option<Job> {
        let empty = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        self.changed.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Closes the queue when a thread ends, however it does: the others must not wait for what it had.
struct Closing<'q>(&'q Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
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
    /// One at a time on a disk that has to move its heads, but for what the page cache has.
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

    /// Reads all of it. `take` has outcomes as they come, none now and then, and answers what is to be read besides; with its
    /// break, the rest is left.
    pub(super) fn run(
        &self,
        jobs: Vec<Job>,
        mut take: impl FnMut(Vec<Outcome>) -> ControlFlow<(), Vec<Job>>,
    ) {
        let threads = self.threads.min(jobs.len());
        let alone = threads == 1;
        let mut open = jobs.len();
        let queue = Queue::default();
        queue.push(jobs);
        std::thread::scope(|scope| {
            let _closing = Closing(&queue);
            let (send, outcomes) = channel();
            for _ in 0..threads {
                let (send, queue) = (send.clone(), &queue);
                scope.spawn(move || {
                    let _closing = Closing(queue);
                    if self.quiet {
                        crate::manners::be_nice();
                        self.shelf.stand_back();
                    }
                    let mut opener = self.shelf.opener();
                    let mut gathered = Vec::new();
                    let mut since = Instant::now();
                    while !self.stop.load(Ordering::Relaxed) {
                        let next = queue.pop();
                        if gathered.len() >= TOGETHER || since.elapsed() >= SOON || next.is_none() {
                            since = Instant::now();
                            if send.send(std::mem::take(&mut gathered)).is_err() {
                                break;
                            }
                        }
                        let Some(job) = next.or_else(|| queue.wait()) else { break };
                        let result = self.read(&mut *opener, &job, alone);
                        gathered.push(Outcome { job, result });
                    }
                    let _ = send.send(gathered);
                });
            }
            drop(send);
            while open > 0 {
                let some = match outcomes.recv_timeout(GATHER) {
                    Ok(some) => some,
                    Err(RecvTimeoutError::Timeout) => Vec::new(),
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                open -= some.len();
                let ControlFlow::Continue(more) = take(some) else { break };
                open += more.len();
                queue.push(more);
            }
        });
    }

    fn read(&self, opener: &mut dyn Opener, job: &Job, alone: bool) -> Result<Read, Why> {
        let opened = opener.open(job.id).map_err(|closed| match closed {
            Closed::Gone => Why::Gone,
            Closed::Refused(error) => self.refused(job.id, error.to_string()),
        })?;
        let mut turn = None;
        let mut ask = |ahead: Ahead| {
            if ahead.from_disk && !opened.solid && turn.is_none() {
                turn = Some(self.heads.lock().unwrap_or_else(PoisonError::into_inner));
            }
            wait(self.pace, self.stop, ahead.bytes)
        };
        let file = &opened.file;
        let eye: &dyn Eye = self.shelf;
        let read = match job.need {
            Need::Head => head(file, eye, &mut ask).map(Read::Probe),
            Need::Tail => tail(file, eye, &mut ask).map(Read::Probe),
            Need::Full => {
                // Where other threads have files of their own, one each is best.
                let how = How { parallel: opened.solid && alone, ..self.how };
                read(file, how, eye, &mut ask).map(|content| Read::Content(content, opened.extents))
            }
        };
        match &read {
            Ok(Read::Probe(probe)) => self.meter.end(probe.read),
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
            Refused::Written => Why::Written,
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

#[cfg(test)]
mod tests {
    use record::VolumeId;

    use super::*;

    fn job(inode: u64) -> Job {
        Job { id: EntryId::new(VolumeId(1), inode), need: Need::Full, place: (0, inode as usize) }
    }

    #[test]
    fn jobs_go_out_as_a_lift_goes() {
        let queue = Queue::default();
        queue.push(vec![job(5), job(1), job(9)]);
        assert_eq!([queue.pop(), queue.pop()], [Some(job(1)), Some(job(5))]);
        queue.push(vec![job(3), job(7)]);
        let rest = std::iter::from_fn(|| queue.pop());
        assert_eq!(rest.collect::<Vec<_>>(), [job(7), job(9), job(3)]);
    }

    #[test]
    fn who_waits_gets_what_comes_and_ends_with_the_others() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| [queue.wait(), queue.wait()]);
            queue.push(vec![job(1)]);
            let dies = scope.spawn(|| {
                let _closing = Closing(&queue);
                while !queue.lock().jobs.is_empty() {
                    std::thread::yield_now();
                }
                panic!("as a reader might");
            });
            assert!(dies.join().is_err());
            assert_eq!(waiting.join().expect("both answers"), [Some(job(1)), None]);
        });
        queue.push(vec![job(2)]);
        assert_eq!(queue.pop(), None, "what is left is left");
    }
}
