//! inotify: one watch a directory, names and no handles. The tier for those without privileges.
//! Knows wds, entry ids and names; no path, and not that a name can be a lie (whoever looks does).

mod heat;
mod parse;
mod room;
mod table;
#[cfg(test)]
mod tests;
mod translate;

use crate::reader::{Counts, Source};
use crate::{BarrierError, Counters, DEFAULT_WINDOW, Health, Hint, Pending, Reader};
use heat::Heat;
use record::{EntryId, Time, VolumeId};
use room::Room;
pub use room::Shortage;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
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
/// A watch costs about 80 bytes here, and in the kernel about 104 bytes and a pinned inode (1.2 kB). Each watch
/// counts against `max_user_watches`, which all programs of the user share. When no more are to be had, a
/// directory that is hotter than the coldest watched one takes its watch: see [`InotifyTier::add`].
#[derive(Debug)]
pub struct InotifyTier {
    queue: Arc<OwnedFd>,
    state: Arc<Mutex<State>>,
    clock: Clock,
    reader: Reader,
}

/// What the reader's thread and those who add share.
#[derive(Debug)]
struct State {
    table: Table,
    room: Room,
}

/// When a directory was last active, as far as whoever adds it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// It is new, or a difference was just found in it.
    Now,
    /// Then: its modification time. Times to come are now.
    Since(Time),
}

/// One watch: what [`InotifyTier::compared`] takes. A directory that lost its watch and got another has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchId {
    wd: i32,
    epoch: u32,
}

/// Why a directory is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// No more watches are to be had, and those there are are with directories no colder than this one.
    #[error("no more watches are to be had: {0}")]
    Limit(Shortage),
    /// The directory went meanwhile, or is none.
    #[error("the directory is gone")]
    Gone,
    /// Anything else: EACCES without read permission, ENOENT when /proc is not mounted.
    #[error("failed to watch the directory: {0}")]
    Failed(Errno),
}

/// Seconds since 1970 that never go back: the wall clock at the start, and from there the monotonic one.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
    wall: u64,
}

impl Clock {
    fn new() -> Clock {
        let wall =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Clock { start: Instant::now(), wall }
    }

    fn now(self) -> Heat {
        Heat::try_from(self.wall + self.start.elapsed().as_secs()).unwrap_or(Heat::MAX)
    }

    fn heat(self, active: Active) -> Heat {
        match active {
            Active::Now => self.now(),
            Active::Since(time) => {
                let seconds = (time.0 / 1_000_000_000).clamp(0, i128::from(Heat::MAX));
                Heat::try_from(seconds).unwrap_or(Heat::MAX).min(self.now())
            }
        }
    }
}

impl InotifyTier {
    /// Makes a queue and starts its reader with the default batch window. At most `share` directories are
    /// watched; see [`crate::InotifyLimits::share`].
    ///
    /// # Errors
    /// EMFILE: the user's `max_user_instances` is reached. ENFILE, ENOMEM. No thread is to be had.
    pub fn new(pending: Arc<Pending>, share: usize) -> io::Result<InotifyTier> {
        let clock = Clock::new();
        let queue = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        let room = Room::new(share, clock.now());
        let state = Arc::new(Mutex::new(State { table: Table::default(), room }));
        let source = Inotify {
            queue: Arc::clone(&queue),
            state: Arc::clone(&state),
            clock,
            halves: Halves::default(),
            leaving: 0,
        };
        let reader = Reader::start("inotify", source, Arc::clone(&queue), pending, DEFAULT_WINDOW)?;
        Ok(InotifyTier { queue, state, clock, reader })
    }

    /// Watches the directory `fd` (O_PATH will do) is open on. Arm first, then list: what changes after this is
    /// hinted at; and when what was listed is known or pending, say so by [`InotifyTier::compared`]. A directory
    /// that has a watch already keeps it, under the id `dir` from now on. Any thread may call.
    ///
    /// When the share is used up, the coldest watched directory gives its watch up, if it was last active a
    /// minute or more before this one, and if not too many did so lately (an eighth of the share a minute). What
    /// is queued of it is still hinted at, and [`InotifyTier::vouches`] is false for it from then on.
    ///
    /// # Errors
    /// The watch was refused; nothing is watched then that was not before.
    pub fn add(&self, dir: EntryId, fd: BorrowedFd<'_>, active: Active) -> Result<WatchId, AddError> {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let now = self.clock.now();
        let heat = self.clock.heat(active);
        // Held over the system calls: the reader must not meet the new wd before the table has it.
        let mut state = self.lock();
        let mut result = Err(AddError::Limit(Shortage::Share));
        if state.table.has(dir) || self.make_room(&mut state, heat, now) {
            result = self.watch(&mut state, dir, &path, heat);
            if let Err(AddError::Limit(shortage @ (Shortage::System | Shortage::Memory))) = result {
                let watched = state.table.len();
                state.room.refused(watched, shortage);
                if self.make_room(&mut state, heat, now) {
                    result = self.watch(&mut state, dir, &path, heat);
                }
            }
        }
        if let Err(AddError::Limit(_)) = result {
            result = Err(AddError::Limit(state.room.shortage().unwrap_or(Shortage::Share)));
        }
        if !matches!(result, Ok(_) | Err(AddError::Gone)) {
            state.room.lacks(dir.volume, matches!(result, Err(AddError::Limit(_))));
        }
        result
    }

    /// Whether one more can be watched, after the coldest has given its watch up if need be.
    fn make_room(&self, state: &mut State, heat: Heat, now: Heat) -> bool {
        if state.table.len() < state.room.allowed() {
            return true;
        }
        if state.table.len() > state.room.allowed() || !state.room.may_exchange(now) {
            return false;
        }
        let Some(coldest) = state.table.coldest(heat) else { return false };
        state.room.exchanged();
        self.drop_watch(state, coldest);
        true
    }

    fn watch(&self, state: &mut State, dir: EntryId, path: &str, heat: Heat) -> Result<WatchId, AddError> {
        // Fails when the inode has a watch, so that a wd that comes back is new: maybe one used before.
        match inotify::add_watch(&self.queue, path, MASK | WatchFlags::MASK_CREATE) {
            Ok(wd) => Ok(state.table.bind_new(wd, dir, heat)),
            Err(Errno::EXIST) => match inotify::add_watch(&self.queue, path, MASK) {
                Ok(wd) => Ok(state.table.bind_known(wd, dir, heat)),
                Err(errno) => Err(refused(errno)),
            },
            Err(errno) => Err(refused(errno)),
        }
    }

    fn drop_watch(&self, state: &mut State, dir: EntryId) {
        if let Some(wd) = state.table.unbind(dir) {
            // EINVAL: the kernel removed it already, with the directory.
            let _ = inotify::remove_watch(&self.queue, wd);
        }
        state.room.lacks(dir.volume, true);
    }

    /// Stops watching a directory. What is queued of it is still hinted at.
    pub fn remove(&self, dir: EntryId) {
        self.drop_watch(&mut self.lock(), dir);
    }

    /// What is in the directory has been looked at since this watch of it stands, and all that differed is in the
    /// index or pending: from now on the watch vouches for it.
    pub fn compared(&self, dir: EntryId, watch: WatchId) {
        self.lock().table.compared(dir, watch);
    }

    /// Whether events tell of every change in the directory, as far as those read so far know: it has a watch,
    /// and what is in it was looked at since ([`InotifyTier::compared`]). False from an overflow, which may have
    /// eaten the end of any watch, until it is added and compared again.
    #[must_use]
    pub fn vouches(&self, dir: EntryId) -> bool {
        self.lock().table.vouches(dir)
    }

    /// Whether the directory has a watch, as far as the events read so far tell. After an overflow, which may
    /// have eaten the end of any watch, false until it is added again.
    #[must_use]
    pub fn watched(&self, dir: EntryId) -> bool {
        self.lock().table.sure(dir)
    }

    /// Takes over a new share, drops the coldest watches that are beyond it, and allows what the system refused
    /// to be tried again; `some_lack`: there are directories without a watch. To be called about once a minute,
    /// since others give watches back without a word. Answers how many were dropped.
    pub fn refit(&self, share: usize, some_lack: bool) -> usize {
        let mut state = self.lock();
        let watched = state.table.len();
        state.room.refit(share, some_lack, watched);
        let mut dropped = 0;
        while state.table.len() > share.max(1) {
            let Some(coldest) = state.table.coldest(Heat::MAX) else { break };
            self.drop_watch(&mut state, coldest);
            dropped += 1;
        }
        dropped
    }

    /// Why not every directory that was added is watched; `None` while all are.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        self.lock().room.shortage()
    }

    /// How often so far a directory of the volume was refused a watch or lost it. While it does not rise, what
    /// was watched stays so.
    #[must_use]
    pub fn lacking(&self, volume: VolumeId) -> u64 {
        self.lock().room.lacking(volume)
    }

    /// How many watches have gone to hotter directories so far.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        self.lock().room.exchanges()
    }

    /// Directories watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().table.len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most directories that will be watched.
    #[must_use]
    pub fn share(&self) -> usize {
        self.lock().room.share()
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

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn refused(errno: Errno) -> AddError {
    match errno {
        Errno::NOSPC => AddError::Limit(Shortage::System),
        Errno::NOMEM => AddError::Limit(Shortage::Memory),
        Errno::NOTDIR | Errno::STALE => AddError::Gone,
        errno => AddError::Failed(errno),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queue as the reader's thread has it.
struct Inotify {
    queue: Arc<OwnedFd>,
    state: Arc<Mutex<State>>,
    clock: Clock,
    halves: Halves,
    /// Watches that were leaving when the present read began.
    leaving: usize,
}

impl Source for Inotify {
    fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn reading(&mut self) {
        self.leaving = lock(&self.state).table.leaving();
    }

    fn take_in(&mut self, bytes: &[u8], counts: &Counts, hints: &mut Vec<Hint>) -> u64 {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        translate::translate(bytes, now, &mut state.table, &mut self.halves, counts, hints);
        bytes.len() as u64
    }

    fn drained(&mut self) {
        if self.leaving > 0 {
            lock(&self.state).table.left(self.leaving);
        }
    }

    fn lost(&self, why: &str, hints: &mut Vec<Hint>) {
        translate::lost(&lock(&self.state).table, why, hints);
    }
}
