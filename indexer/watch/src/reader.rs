//! The thread that keeps a kernel queue drained into [`Pending`], and the barrier behind `settle`.
//! Knows no event format (a [`Source`] does) and never looks at a file: while it did, the queue would fill.

mod shared;
#[cfg(test)]
mod tests;

use crate::{Hint, Pending};
use rustix::event::{PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use shared::Shared;
pub use shared::{BarrierError, Health};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a reader lets events gather after the first wake: the wake-up costs more than the event, and what
/// repeats meanwhile merges in the kernel.
pub const DEFAULT_WINDOW: Duration = Duration::from_millis(2);

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// A kernel queue and how to understand it.
pub(crate) trait Source: Send + 'static {
    /// The queue: non-blocking, readable when there are events; FIONREAD tells how much is queued.
    fn queue(&self) -> BorrowedFd<'_>;
    /// About to read. What other threads did before this is done in the queue.
    fn reading(&mut self) {}
    /// Turns one read into hints; returns how much of what FIONREAD counts was consumed.
    fn take_in(&mut self, bytes: &[u8], counters: &Counts, hints: &mut Vec<Hint>) -> u64;
    /// The queue was found empty.
    fn drained(&mut self) {}
    /// Nothing can be told any more: the hints that say so.
    fn lost(&self, why: &str, hints: &mut Vec<Hint>);
}

/// Counts of one reader since it started, bumped by its thread alone.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) events: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) overflows: AtomicU64,
}

/// Counts of one reader since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events read.
    pub events: u64,
    /// Events, or rests of a read, that could not be understood. Each lost the volume.
    pub malformed: u64,
    /// Events of directories nobody asked for: an unknown watch descriptor, another subvolume.
    pub foreign: u64,
    /// Events in directories that are ignored on purpose.
    pub ignored: u64,
    /// Overflows of the kernel's queue.
    pub overflows: u64,
}

pub(crate) fn bump(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// A running reader. Dropping it stops the thread and closes the kernel's queue.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    queue: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread `name` (Linux keeps 15 bytes of it).
    pub(crate) fn start(
        name: &str,
        source: impl Source,
        queue: Arc<OwnedFd>,
        pending: Arc<Pending>,
        window: Duration,
    ) -> io::Result<Reader> {
        let alarm = eventfd(0, shared::ALARM)?;
        let shared = Arc::new(Shared::new(alarm));
        let counts = Arc::new(Counts::default());
        let drain = Drain {
            source,
            pending,
            shared: Arc::clone(&shared),
            counts: Arc::clone(&counts),
            window,
            hints: Vec::new(),
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || drain.run())?;
        Ok(Reader { shared, counts, queue, thread: Some(thread) })
    }

    /// Returns when every event that the kernel had queued at the call is in [`Pending`]. The kernel queues an
    /// event before the call that caused it returns, so whatever was changed before is known then. Others'
    /// load cannot hold this up: only what was queued at the request is waited for.
    ///
    /// # Errors
    /// The deadline is over, or the reader stopped or failed; then its volumes are lost in [`Pending`].
    pub fn barrier(&self, deadline: Instant) -> Result<(), BarrierError> {
        self.shared.barrier(deadline)
    }

    /// Whether the thread still reads, and if not, why.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            events: get(&self.counts.events),
            malformed: get(&self.counts.malformed),
            foreign: get(&self.counts.foreign),
            ignored: get(&self.counts.ignored),
            overflows: get(&self.counts.overflows),
        }
    }

    /// Stops the thread and waits for it. Events that are still queued are dropped with the queue.
    pub fn stop(mut self) {
        self.end();
    }

    /// The kernel's queue, for marks.
    pub(crate) fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn end(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by then: as health and as lost volumes.
            let _ = thread.join();
        }
    }

    /// Returns when the thread reads no more, until [`Reader::resume`]: the queue fills.
    #[cfg(test)]
    pub(crate) fn pause(&self) {
        self.shared.pause();
    }

    #[cfg(test)]
    pub(crate) fn resume(&self) {
        self.shared.resume();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread owns.
struct Drain<S: Source> {
    source: S,
    pending: Arc<Pending>,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    window: Duration,
    hints: Vec<Hint>,
}

impl<S: Source> Drain<S> {
    fn run(mut self) {
        match self.follow() {
            Ok(()) => self.shared.ended(Health::Stopped),
            Err(why) => self.fail(&why),
        }
    }

    fn fail(&mut self, why: &str) {
        tracing::error!(why, "reader ended, its volumes are lost");
        let mut hints = Vec::new();
        self.source.lost(why, &mut hints);
        self.pending.add_all(hints);
        self.shared.ended(Health::Failed(why.to_owned()));
        self.pending.wake();
    }

    /// Until told to stop.
    fn follow(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; BUFFER].into_boxed_slice();
        while !self.shared.stopping() {
            self.rest(true, None)?;
            if !self.shared.asked() {
                // The alarm alone: whoever asks for a barrier or a stop cuts the window short.
                self.rest(false, Some(self.window))?;
            }
            if self.shared.hold() {
                continue;
            }
            self.drain(&mut buffer)?;
        }
        Ok(())
    }

    /// Sleeps until the alarm rings, or (when `queue`) there are events, or `timeout` is over.
    fn rest(&self, queue: bool, timeout: Option<Duration>) -> Result<(), String> {
        let timeout = match timeout {
            Some(Duration::ZERO) => return Ok(()),
            Some(timeout) => Timespec::try_from(timeout).ok(),
            None => None,
        };
        let alarm = PollFd::new(self.shared.alarm(), PollFlags::IN);
        let source = self.source.queue();
        let polled = if queue && !self.shared.held() {
            poll(&mut [alarm, PollFd::from_borrowed_fd(source, PollFlags::IN)], timeout.as_ref())
        } else {
            poll(&mut [alarm], timeout.as_ref())
        };
        match polled {
            Ok(_) | Err(Errno::INTR) => {
                self.shared.silence();
                Ok(())
            }
            Err(errno) => Err(format!("waiting for events failed: {errno}")),
        }
    }

    /// Reads until the queue is empty, answering barriers as soon as what was queued for them is through.
    fn drain(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        let mut barrier: Option<(u64, u64)> = None;
        loop {
            if barrier.is_none()
                && let Some(request) = self.shared.request()
            {
                let left = rustix::io::ioctl_fionread(self.source.queue())
                    .map_err(|errno| format!("asking how much is queued failed: {errno}"))?;
                barrier = Some((request, left));
            }
            if let Some((request, 0)) = barrier {
                self.shared.answer(request);
                barrier = None;
                continue;
            }
            if self.shared.stopping() || self.shared.hold() {
                return Ok(());
            }
            self.source.reading();
            match rustix::io::read(self.source.queue(), &mut *buffer) {
                Ok(0) => return Err("the kernel ended the queue".to_owned()),
                Ok(read) => {
                    let consumed = self.source.take_in(&buffer[..read], &self.counts, &mut self.hints);
                    self.pending.add_all(self.hints.drain(..));
                    if let Some((_, left)) = &mut barrier {
                        *left = left.saturating_sub(consumed);
                    }
                }
                Err(Errno::AGAIN) => {
                    self.source.drained();
                    if let Some((request, _)) = barrier {
                        self.shared.answer(request);
                    }
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(format!("reading events failed: {errno}")),
            }
        }
    }
}

impl<S: Source> Drop for Drain<S> {
    fn drop(&mut self) {
        // Whatever else ends the thread is a panic: it must not look like silence.
        if std::thread::panicking() {
            self.fail("the reader panicked");
        }
    }
}
