//! A group's queue as the reader's thread drains it: events in, hints out. Marks nothing.

use super::inode::{InodeOf, decode};
use super::marks::Marks;
use super::parse::{FileId, METADATA, parse};
use super::sys;
use super::translate::{self, Scope};
use crate::reader::{Counts, Source, bump};
use crate::{Handle, Hint};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A group as the reader's thread has it.
pub(super) struct Fanotify {
    pub(super) queue: Arc<OwnedFd>,
    /// Shared with whoever binds volumes.
    pub(super) scope: Arc<Mutex<Scope>>,
    /// To open handles with, where they do not decode.
    pub(super) mount: Option<OwnedFd>,
    /// The directories marked one by one; `None` where the file system is.
    pub(super) marks: Option<Arc<Mutex<Marks>>>,
}

impl Source for Fanotify {
    fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// FIONREAD counts the fixed part of each event and none of its records.
    fn take_in(&mut self, bytes: &[u8], counts: &Counts, hints: &mut Vec<Hint>) -> u64 {
        let mut events = 0;
        let scope = lock(&self.scope);
        for event in parse(bytes) {
            events += 1;
            bump(&counts.events);
            match event {
                Ok(event) => {
                    if let Some(marks) = &self.marks {
                        lock(marks).note(&event);
                    }
                    let mut failed = None;
                    let inode_of = |id: FileId<'_>| inode_of(self.mount.as_ref(), id, &mut failed);
                    translate::translate(&event, &scope, inode_of, counts, hints);
                    if let Some(errno) = failed {
                        let why = format!("a changed file could not be told by its handle: {errno}");
                        translate::lost(&scope, &why, hints);
                    }
                }
                Err(malformed) => {
                    tracing::error!(%malformed, "unreadable fanotify event, its volume is lost");
                    bump(&counts.malformed);
                    translate::lost(&scope, &malformed.to_string(), hints);
                }
            }
        }
        events * METADATA as u64
    }

    fn lost(&self, why: &str, hints: &mut Vec<Hint>) {
        translate::lost(&lock(&self.scope), why, hints);
    }
}

/// The inode of `id`: read off the handle, or, where that did not hold at arming, asked of the kernel. `None`
/// when it is gone; other failures are told in `failed`.
fn inode_of(mount: Option<&OwnedFd>, id: FileId<'_>, failed: &mut Option<Errno>) -> Option<InodeOf> {
    let Some(mount) = mount else {
        let of = decode(id);
        // An empty handle means that there is no such object; any other must decode.
        if of.is_none() && !id.handle.is_empty() {
            *failed = Some(Errno::BADMSG);
        }
        return of;
    };
    let handle = Handle::new(id.kind, id.handle);
    let inode = sys::open_place(mount.as_fd(), &handle).and_then(rustix::fs::fstat);
    match inode {
        Ok(stat) => Some(InodeOf { inode: stat.st_ino, tree: 0 }),
        Err(Errno::STALE) => None,
        Err(errno) => {
            *failed = Some(errno);
            None
        }
    }
}

pub(super) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
