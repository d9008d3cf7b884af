//! What the engine stands on: a disk, a clock, and the kernel's watches or others. The daemon has the real ones;
//! the simulator brings its own of all three. Decides nothing.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use record::{EntryId, How, Time};
use scan::{Disk, Errno, Kernel};
use watch::Handle;

/// Time, as far as what is written depends on it.
pub(crate) trait Clock: Send + Sync {
    /// The wall clock, which may step.
    fn now(&self) -> Time;

    /// The clock by which writers are paced; it never goes back.
    fn instant(&self) -> Instant;

    /// Lets time pass.
    fn rest(&self, time: Duration);
}

/// The machine's clocks.
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Time {
        Time::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn rest(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A source of hints other than the kernel's. It puts them into the engine's pending set by itself.
pub(crate) trait Watch: Send + Sync {
    /// What records found by it say.
    fn how(&self) -> How;

    /// Watches a directory that is about to be listed.
    fn arm(&self, dir: EntryId, fd: BorrowedFd<'_>);

    /// Whether events tell of every change in this directory.
    fn watches(&self, dir: EntryId) -> bool;

    /// Makes hints of every event that is queued now.
    fn barrier(&self);

    /// Opens a directory by the handle of one of its hints.
    fn open(&self, handle: &Handle) -> Result<OwnedFd, Errno>;
}

/// All of it.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None`: the kernel's.
    pub(crate) watch: Option<Arc<dyn Watch>>,
    /// Sweeps are made at once where they are ordered, and not on threads of their own: what happens then
    /// follows from a seed alone.
    pub(crate) in_step: bool,
}

impl Ground {
    /// This machine.
    pub(crate) fn real() -> Ground {
        Ground { disk: Arc::new(Kernel), clock: Arc::new(RealClock), watch: None, in_step: false }
    }

    /// Opens a directory by its handle, `mount` being any directory of its file system.
    pub(crate) fn open_handle(&self, mount: BorrowedFd<'_>, handle: &Handle) -> Result<OwnedFd, Errno> {
        match &self.watch {
            None => watch::fanotify::open(mount, handle),
            Some(watch) => watch.open(handle),
        }
    }
}
