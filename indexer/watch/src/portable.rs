//! The portable tier: the crate `notify`, whatever it rests on here. Knows paths and no handles, and asks its caller
//! which directory a path is; calls nothing that only one system has, and vouches for nothing.
//!
//! On Linux `notify` loses what happens in a new directory before it watches it, and says little of overflows. So
//! its events only make things known sooner: whoever wants them all must sweep.

#[cfg(test)]
mod tests;

use crate::reader::{Counts, bump};
use crate::{Counters, Flags, Hint, Pending, What};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher, WatcherKind};
use record::{EntryId, How, Name};
use rustc_hash::FxHashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells which directory or file a path is, by what is known of the tree; `None`: nothing is.
pub type Resolve = Box<dyn Fn(&Path) -> Option<EntryId> + Send>;

/// The watcher and what it watches.
pub struct PortableTier {
    watcher: Mutex<RecommendedWatcher>,
    watched: Arc<Mutex<FxHashSet<PathBuf>>>,
    counts: Arc<Counts>,
    /// Each directory takes a watch of the user's; elsewhere one covers a tree.
    one_by_one: bool,
    share: usize,
}

/// Why a directory is not watched.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// Our share, or the system's limit, is used up.
    #[error("no more watches are to be had")]
    Limit,
    /// What the system says.
    #[error(transparent)]
    Failed(#[from] notify::Error),
}

impl PortableTier {
    /// Starts the watcher; its events become hints in `pending`, found by asking `resolve`. Where every directory takes
    /// a watch, at most `share` are watched.
    ///
    /// # Errors
    /// When the system has no watcher to give.
    pub fn new(pending: Arc<Pending>, resolve: Resolve, share: usize) -> Result<PortableTier, PortableError> {
        let one_by_one = RecommendedWatcher::kind() == WatcherKind::Inotify;
        let watched = Arc::new(Mutex::new(FxHashSet::default()));
        let counts = Arc::new(Counts::default());
        let handler =
            Handler { pending, resolve, watched: Arc::clone(&watched), counts: Arc::clone(&counts) };
        let config = Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(move |result| handler.take(result), config)?;
        Ok(PortableTier { watcher: Mutex::new(watcher), watched, counts, one_by_one, share: share.max(1) })
    }

    /// Watches a directory, if nothing that is watched covers it.
    ///
    /// # Errors
    /// The watch was refused.
    pub fn add(&self, dir: &Path) -> Result<(), PortableError> {
        {
            let watched = lock(&self.watched);
            let covered = |dir: &Path| watched.contains(dir);
            if covered(dir) || !self.one_by_one && dir.ancestors().any(covered) {
                return Ok(());
            }
            if self.one_by_one && watched.len() >= self.share {
                return Err(PortableError::Limit);
            }
        }
        let mode = if self.one_by_one { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
        // Without the other lock, which the watcher's thread takes.
        let result = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).watch(dir, mode);
        match result {
            Ok(()) => {
                lock(&self.watched).insert(dir.to_owned());
                Ok(())
            }
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => Err(PortableError::Limit),
            Err(error) => Err(error.into()),
        }
    }

    /// Directories watched, or trees where one watch covers a tree.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.watched).len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts since the start; `malformed` are errors of the watcher.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            events: self.counts.events.load(Ordering::Relaxed),
            malformed: self.counts.malformed.load(Ordering::Relaxed),
            foreign: self.counts.foreign.load(Ordering::Relaxed),
            ignored: self.counts.ignored.load(Ordering::Relaxed),
            overflows: self.counts.overflows.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for PortableTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortableTier").field("watched", &self.len()).finish_non_exhaustive()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the watcher's thread calls.
struct Handler {
    pending: Arc<Pending>,
    resolve: Resolve,
    watched: Arc<Mutex<FxHashSet<PathBuf>>>,
    counts: Arc<Counts>,
}

impl Handler {
    fn take(&self, result: notify::Result<Event>) {
        match result {
            Ok(event) => self.event(&event),
            Err(error) => {
                bump(&self.counts.malformed);
                tracing::warn!(%error, "the portable watcher failed; what it missed is found by sweeps");
            }
        }
    }

    fn event(&self, event: &Event) {
        bump(&self.counts.events);
        if event.need_rescan() {
            // Not a lost volume: a sweep opens directories, `notify` reports that, and the queue would overflow anew.
            bump(&self.counts.overflows);
            tracing::warn!("the portable watcher lost events; what they were of is found by sweeps");
        }
        let Some(flags) = flags(&event.kind) else {
            bump(&self.counts.ignored);
            return;
        };
        if event.kind.is_remove() {
            let mut watched = lock(&self.watched);
            for path in &event.paths {
                watched.remove(path);
            }
        }
        self.pending
            .add_all(event.paths.iter().filter_map(|path| self.hint(path, flags)).collect::<Vec<_>>());
    }

    /// The name in its directory; of an unknown one, the nearest directory above that is known, as a whole.
    fn hint(&self, path: &Path, flags: Flags) -> Option<Hint> {
        let hint = |dir: EntryId, what, flags| Hint {
            volume: dir.volume,
            what,
            flags,
            handle: None,
            how: How::Notify,
        };
        let above = path.parent().and_then(|above| (self.resolve)(above));
        if let (Some(dir), Some(name)) = (above, path.file_name()) {
            let name: Name = name.as_encoded_bytes().into();
            return Some(hint(dir, What::Entry { dir: dir.inode, name }, flags));
        }
        // A root: what is above it is not in the index.
        if let Some(id) = (self.resolve)(path) {
            return Some(hint(id, What::Inode(id.inode), flags));
        }
        let known = path.ancestors().skip(2).find_map(|above| (self.resolve)(above));
        if known.is_none() {
            bump(&self.counts.foreign);
        }
        known.map(|dir| hint(dir, What::Listing(dir.inode), Flags::NONE))
    }
}

/// What an event says; `None`: that something was read.
fn flags(kind: &EventKind) -> Option<Flags> {
    Some(match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Flags::CLOSED,
        EventKind::Access(_) => return None,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => Flags::NAMED,
        EventKind::Modify(ModifyKind::Data(_)) => Flags::WRITTEN,
        EventKind::Modify(ModifyKind::Metadata(_)) => Flags::META,
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Flags::NONE,
    })
}
