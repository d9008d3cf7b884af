//! inotify: one watch a directory, names and no handles. The tier for those without privileges.
//! Knows wds, entry ids and names; no path, and not that a name can be a lie (whoever looks does).

mod parse;
mod table;
#[cfg(test)]
mod tests;
mod translate;

use crate::reader::{Counts, Source};
use crate::{BarrierError, Counters, DEFAULT_WINDOW, Health, Hint, Pending, Reader};
use record::EntryId;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use table::Table;
use translate::Halves;

/// What every watch asks for. *_SELF for roots, whose parents are not watched.
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// One inotify queue with its watches and the thread that drains it.
///
/// A watch costs about 70 bytes here, and in the kernel about 104 bytes and a pinned inode (1.2 kB). Each watch
/// counts against `max_user_watches`, which all programs of the user share.
#[derive(Debug)]
pub struct InotifyTier {
    queue: Arc<OwnedFd>,
    table: Arc<Mutex<Table>>,
    share: usize,
    reader: Reader,
}

/// Why a directory is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// No more watches are to be had: our share is used up (`system` false) or the system's limit
    /// `fs.inotify.max_user_watches` is reached (true). Other directories will fare no better.
    #[error("no more inotify watches are to be had")]
    Limit {
        /// Whether it was the system's limit rather than our share.
        system: bool,
    },
    /// The directory went meanwhile, or is none.
    #[error("the directory is gone")]
    Gone,
    /// Anything else: EACCES without read permission, ENOMEM, ENOENT when /proc is not mounted.
    #[error("failed to watch the directory: {0}")]
    Failed(Errno),
}

impl InotifyTier {
    /// Makes a queue and starts its reader with the default batch window. At most `share` directories are
    /// watched; see [`crate::InotifyLimits::share`].
    ///
    /// # Errors
    /// EMFILE: the user's `max_user_instances` is reached. No thread is to be had.
    pub fn new(pending: Arc<Pending>, share: usize) -> io::Result<InotifyTier> {
        InotifyTier::with_window(pending, share, DEFAULT_WINDOW)
    }

    /// Likewise; the reader lets events gather for `window` after the first.
    ///
    /// # Errors
    /// As [`InotifyTier::new`].
    pub fn with_window(pending: Arc<Pending>, share: usize, window: Duration) -> io::Result<InotifyTier> {
        let queue = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        let table = Arc::new(Mutex::new(Table::default()));
        let source = Inotify {
            queue: Arc::clone(&queue),
            table: Arc::clone(&table),
            halves: Halves::default(),
            leaving: 0,
        };
        let reader = Reader::start("inotify", source, Arc::clone(&queue), pending, window)?;
        Ok(InotifyTier { queue, table, share, reader })
    }

    /// Watches the directory `fd` (O_PATH will do) is open on. Arm first, then list: what changes after this is
    /// hinted at. A directory that has a watch already keeps it, under the id `dir` from now on. Any thread may call.
    ///
    /// # Errors
    /// The watch was refused; nothing is watched then that was not before.
    pub fn add(&self, dir: EntryId, fd: BorrowedFd<'_>) -> Result<(), AddError> {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        // Held over the system call: the reader must not meet the new wd before the table has it.
        let mut table = self.lock();
        if table.len() >= self.share && !table.has(dir) {
            return Err(AddError::Limit { system: false });
        }
        // Fails when the inode has a watch, so that a wd that comes back is new: maybe one used before.
        match inotify::add_watch(&self.queue, &path, MASK | WatchFlags::MASK_CREATE) {
            Ok(wd) => table.bind_new(wd, dir),
            Err(Errno::EXIST) => match inotify::add_watch(&self.queue, &path, MASK) {
                Ok(wd) => table.bind_known(wd, dir),
                Err(errno) => return Err(refused(errno)),
            },
            Err(errno) => return Err(refused(errno)),
        }
        Ok(())
    }

    /// Stops watching a directory. What is queued of it may still be hinted at.
    pub fn remove(&self, dir: EntryId) {
        let mut table = self.lock();
        if let Some(wd) = table.unbind(dir) {
            // EINVAL: the kernel removed it already, with the directory.
            let _ = inotify::remove_watch(&self.queue, wd);
        }
    }

    /// Whether the directory has a watch, as far as the events read so far tell. After an overflow, which may
    /// have eaten the end of any watch, false until it is added again.
    #[must_use]
    pub fn watched(&self, dir: EntryId) -> bool {
        self.lock().sure(dir)
    }

    /// Directories watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most directories that will be watched.
    #[must_use]
    pub fn share(&self) -> usize {
        self.share
    }

    /// See [`Reader::barrier`].
    ///
    /// # Errors
    /// See [`Reader::barrier`].
    pub fn barrier(&self, deadline: Instant) -> Result<(), BarrierError> {
        self.reader.barrier(deadline)
    }

    /// See [`Reader::health`].
    #[must_use]
    pub fn health(&self) -> Health {
        self.reader.health()
    }

    /// See [`Reader::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.reader.counters()
    }

    /// Stops the thread and drops every watch.
    pub fn stop(self) {
        self.reader.stop();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

fn refused(errno: Errno) -> AddError {
    match errno {
        Errno::NOSPC => AddError::Limit { system: true },
        Errno::NOTDIR | Errno::STALE => AddError::Gone,
        errno => AddError::Failed(errno),
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queue as the reader's thread has it.
struct Inotify {
    queue: Arc<OwnedFd>,
    table: Arc<Mutex<Table>>,
    halves: Halves,
    /// Watches that were leaving when the present read began.
    leaving: usize,
}

impl Source for Inotify {
    fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn reading(&mut self) {
        self.leaving = lock(&self.table).leaving();
    }

    fn take_in(&mut self, bytes: &[u8], counts: &Counts, hints: &mut Vec<Hint>) -> u64 {
        let mut table = lock(&self.table);
        translate::translate(bytes, &mut table, &mut self.halves, counts, hints);
        bytes.len() as u64
    }

    fn drained(&mut self) {
        if self.leaving > 0 {
            lock(&self.table).left(self.leaving);
        }
    }

    fn lost(&self, why: &str, hints: &mut Vec<Hint>) {
        translate::lost(&lock(&self.table), why, hints);
    }
}
