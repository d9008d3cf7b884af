//! One fanotify mark a directory: for those without privileges, and for subvolumes that no other mark reaches.
//! Knows one volume, its tree of inode numbers and its directories' handles; no path.

#[cfg(test)]
mod tests;

use super::group::probe;
use super::inode::decode;
use super::limits::MarkShare;
use super::marks::Marks;
use super::parse::FileId;
use super::refusal::{ArmError, ArmStep};
use super::source::{Fanotify, lock};
use super::sys;
use super::translate::{self, Scope};
use crate::{AddError, DEFAULT_WINDOW, Pending, Reader, Shortage};
use record::{EntryId, VolumeId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The marks on the directories of one volume, with a queue and a thread of their own. Dropping it ends all of them.
///
/// Like an inotify watch, a mark pins an inode (1.2 kB of the kernel's memory) and tells of one directory. Unlike it,
/// events carry the file's handle, so that a write by a name that went, or one that never had a name, still tells
/// the inode. That takes handles that tell inodes, hence this is refused where they do not: on overlayfs, on FUSE.
#[derive(Debug)]
pub struct FanotifyDirectories {
    reader: Reader,
    queue: Arc<OwnedFd>,
    marks: Arc<Mutex<Marks>>,
    tree: u64,
    unlimited_queue: bool,
    lacking: AtomicU64,
}

impl FanotifyDirectories {
    /// Makes a queue and starts its reader, having tried out on `dir` (any directory of the volume, O_PATH will do)
    /// that it can be marked and told by its handle. Marks are taken of `share`.
    ///
    /// # Errors
    /// What the kernel refused, and why.
    pub fn new(
        volume: VolumeId,
        dir: BorrowedFd<'_>,
        share: Arc<MarkShare>,
        pending: Arc<Pending>,
    ) -> Result<FanotifyDirectories, ArmError> {
        let failed = |step| move |errno| ArmError::new(step, errno);
        let (queue, unlimited_queue) = match sys::init(true) {
            Err(Errno::PERM) => (sys::init(false).map_err(failed(ArmStep::Init))?, false),
            made => (made.map_err(failed(ArmStep::Init))?, true),
        };
        let fsid = rustix::fs::fstatvfs(dir).map_err(failed(ArmStep::Verify))?.f_fsid;
        if fsid == 0 {
            // Then a handle names no file: on FUSE, two names of one file have two of them.
            return Err(ArmError::new(ArmStep::Verify, Errno::NODEV));
        }
        let tree = probe(dir)?.ok_or(ArmError::new(ArmStep::Verify, Errno::BADMSG))?;
        mark(queue.as_fd(), libc::FAN_MARK_ADD, dir).map_err(failed(ArmStep::MarkDirectory))?;
        mark(queue.as_fd(), libc::FAN_MARK_REMOVE, dir).map_err(failed(ArmStep::MarkDirectory))?;
        let queue = Arc::new(queue);
        // Who may not have an unlimited queue may not open handles either.
        let scope = Scope {
            trees: vec![(tree, volume)],
            ignored: Vec::new(),
            openable: unlimited_queue,
            links_are_silent: true,
        };
        let marks = Arc::new(Mutex::new(Marks::new(share)));
        let source = Fanotify {
            queue: Arc::clone(&queue),
            scope: Arc::new(Mutex::new(scope)),
            mount: None,
            marks: Some(Arc::clone(&marks)),
        };
        let reader = Reader::start("fanotify-dirs", source, Arc::clone(&queue), pending, DEFAULT_WINDOW);
        let reader = reader.map_err(|error| {
            ArmError::new(ArmStep::Start, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        Ok(FanotifyDirectories { reader, queue, marks, tree, unlimited_queue, lacking: AtomicU64::new(0) })
    }

    /// Marks the directory `fd` (O_PATH will do) is open on. Arm first, then list: what changes after this is hinted
    /// at. A directory that has a mark keeps it. Any thread may call.
    ///
    /// # Errors
    /// The mark was refused; nothing is watched then that was not before.
    pub fn add(&self, dir: EntryId, fd: BorrowedFd<'_>) -> Result<(), AddError> {
        let added = self.try_add(dir, fd);
        if !matches!(added, Ok(()) | Err(AddError::Gone)) {
            self.lacking.fetch_add(1, Ordering::Relaxed);
        }
        added
    }

    fn try_add(&self, dir: EntryId, fd: BorrowedFd<'_>) -> Result<(), AddError> {
        let handle = sys::handle_of(fd).map_err(refused)?;
        let id = FileId { fsid: [0; 2], kind: handle.kind(), handle: handle.bytes() };
        if decode(id).is_none_or(|of| of.inode != dir.inode || of.tree != self.tree) {
            return Err(AddError::Failed(Errno::BADMSG));
        }
        // Held over the system call: the reader must not meet the directory's end before its beginning.
        let mut marks = lock(&self.marks);
        if !marks.reserve(dir.inode) {
            return Err(AddError::Limit(Shortage::Share));
        }
        match mark(self.queue.as_fd(), libc::FAN_MARK_ADD, fd) {
            Ok(()) => {
                marks.insert(dir.inode, handle);
                Ok(())
            }
            Err(errno) => {
                marks.release(dir.inode);
                Err(refused(errno))
            }
        }
    }

    /// Takes the mark off the directory `fd` is open on. What is queued of it is still hinted at.
    pub fn remove(&self, dir: EntryId, fd: BorrowedFd<'_>) {
        let mut marks = lock(&self.marks);
        // ENOENT: it had none.
        let _ = mark(self.queue.as_fd(), libc::FAN_MARK_REMOVE, fd);
        marks.remove(dir.inode);
    }

    /// Whether the directory has a mark, as far as the events read so far tell. After an overflow, which may have
    /// eaten the end of any directory, false until it is added again.
    #[must_use]
    pub fn watched(&self, dir: EntryId) -> bool {
        lock(&self.marks).sure(dir.inode)
    }

    /// How often a directory that is there was refused a mark. It only grows.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        self.lacking.load(Ordering::Relaxed)
    }

    /// Directories marked.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.marks).len()
    }

    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the queue has no bound: false without CAP_SYS_ADMIN, and then it can overflow.
    #[must_use]
    pub fn has_unlimited_queue(&self) -> bool {
        self.unlimited_queue
    }
}

impl Deref for FanotifyDirectories {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

fn mark(queue: BorrowedFd<'_>, action: libc::c_uint, dir: BorrowedFd<'_>) -> Result<(), Errno> {
    sys::mark(queue, action | libc::FAN_MARK_ONLYDIR, translate::DIRECTORY_MASK, dir, Some(c"."))
}

fn refused(errno: Errno) -> AddError {
    match errno {
        Errno::NOSPC => AddError::Limit(Shortage::System),
        Errno::NOENT | Errno::NOTDIR | Errno::STALE => AddError::Gone,
        errno => AddError::Failed(errno),
    }
}
