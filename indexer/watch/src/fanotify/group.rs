//! Arms a file system and feeds its events to a reader. Knows marks and handles, no paths.

use super::inode::{InodeOf, decode};
use super::parse::{FileId, METADATA, parse};
use super::sys;
use super::translate::{self, Scope};
use crate::reader::{Counts, Source, bump};
use crate::{DEFAULT_WINDOW, Handle, Hint, Pending, Reader};
use record::VolumeId;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A mark on one whole file system, with a queue of its own: an overflow does not say whose events went.
///
/// The mark holds no descriptor of the file system, so umount succeeds, and then the mark dies **without a word**:
/// whoever arms it watches the mounts too. One exception: where inodes cannot be read off the handles
/// ([`FanotifyGroup::holds_mount`]), the mount point is kept open.
#[derive(Debug)]
pub struct FanotifyGroup {
    queue: Arc<OwnedFd>,
    scope: Scope,
    /// Only where handles do not decode.
    mount: Option<OwnedFd>,
    window: Duration,
}

/// What a group was doing when it failed to arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmStep {
    /// Making the group.
    Init,
    /// Marking the file system.
    Mark,
    /// Taking the handle of the mount point.
    Handle,
    /// Comparing what the handle says with what stat says.
    Verify,
    /// Starting the thread.
    Start,
}

/// Why a file system cannot be watched by fanotify; another tier may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step} failed: {why} ({errno})")]
pub struct ArmError {
    /// At which step.
    pub step: ArmStep,
    /// The kernel's error.
    pub errno: Errno,
    /// What it means, in plain words.
    pub why: &'static str,
}

impl fmt::Display for ArmStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArmStep::Init => "making a fanotify group",
            ArmStep::Mark => "marking the file system",
            ArmStep::Handle => "taking the mount point's file handle",
            ArmStep::Verify => "checking the mount point's file handle",
            ArmStep::Start => "starting the reader",
        })
    }
}

impl ArmError {
    fn new(step: ArmStep, errno: Errno) -> ArmError {
        let why = match (step, errno) {
            (_, Errno::PERM) => "this needs CAP_SYS_ADMIN",
            (ArmStep::Init, Errno::INVAL) => {
                "the kernel is older than 5.17 and reports no names with handles"
            }
            (ArmStep::Init, Errno::NOSYS) => "the kernel has no fanotify",
            (ArmStep::Init, Errno::MFILE) => "this user's limit of fanotify groups is reached",
            (ArmStep::Mark, Errno::XDEV) => "a btrfs subvolume cannot be marked, only the top level",
            (ArmStep::Mark, Errno::NODEV) => "the file system has no id (fsid), as on FUSE",
            (_, Errno::OPNOTSUPP) => "the file system has no file handles, as on overlayfs",
            (ArmStep::Mark, Errno::INVAL) => "the kernel does not know all events that are needed",
            (ArmStep::Mark, Errno::NOSPC) => "this user's limit of fanotify marks is reached",
            (_, Errno::NOMEM) => "the kernel is out of memory",
            (_, Errno::STALE) => "the mount point's handle cannot be opened again",
            _ => "the kernel refused",
        };
        ArmError { step, errno, why }
    }
}

impl FanotifyGroup {
    /// Marks the file system that `mount_point` (any directory of it, O_PATH will do) lies on. From here on
    /// the kernel queues events, without limit, until the reader is started. Events *in* the directories of inodes
    /// `ignored_directories` (our own state) are dropped; a rename out of them still hints at where it went.
    ///
    /// # Errors
    /// What the kernel refused, and why.
    pub fn arm(
        volume: VolumeId,
        mount_point: BorrowedFd<'_>,
        ignored_directories: Vec<u64>,
    ) -> Result<FanotifyGroup, ArmError> {
        let at = |step| move |errno| ArmError::new(step, errno);
        let queue = sys::init().map_err(at(ArmStep::Init))?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM | libc::FAN_MARK_ONLYDIR;
        sys::mark(queue.as_fd(), flags, translate::MASK, mount_point, Some(c"."))
            .map_err(at(ArmStep::Mark))?;
        let (tree, mount) = match probe(mount_point)? {
            Some(tree) => (tree, None),
            None => (0, Some(reopen(mount_point)?)),
        };
        let ignored = ignored_directories.into_iter().map(|inode| (volume, inode)).collect();
        let scope = Scope { trees: vec![(tree, volume)], ignored };
        Ok(FanotifyGroup { queue: Arc::new(queue), scope, mount, window: DEFAULT_WINDOW })
    }

    /// Binds the btrfs subvolume that `dir` lies in to a volume of its own: the mark sees all subvolumes of the
    /// file system, each of which numbers its inodes from 256. Events of those that are not bound are counted
    /// as foreign and dropped. Returns whether it made a difference: false where there are no subvolumes.
    ///
    /// # Errors
    /// The handle of `dir` cannot be taken.
    pub fn bind_subvolume(
        &mut self,
        volume: VolumeId,
        dir: BorrowedFd<'_>,
        ignored_directories: Vec<u64>,
    ) -> Result<bool, ArmError> {
        let Some(tree) = probe(dir)?.filter(|tree| *tree != 0) else { return Ok(false) };
        match self.scope.trees.iter_mut().find(|(known, _)| *known == tree) {
            Some((_, known)) => *known = volume,
            None => self.scope.trees.push((tree, volume)),
        }
        self.scope.ignored.extend(ignored_directories.into_iter().map(|inode| (volume, inode)));
        Ok(true)
    }

    /// How long the reader lets events gather after the first; zero reads at once (about 5 µs of its time
    /// an event instead of 1).
    #[must_use]
    pub fn batch_window(mut self, window: Duration) -> FanotifyGroup {
        self.window = window;
        self
    }

    /// Whether the mount point is kept open, so that umount says it is busy.
    #[must_use]
    pub fn holds_mount(&self) -> bool {
        self.mount.is_some()
    }

    /// Asks the kernel for no more writes and closes of the file `file` is open on (not O_PATH): our own
    /// database. Other events of it still come.
    ///
    /// # Errors
    /// EINVAL on kernels before 6.0.
    pub fn ignore_inode(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        ignore_inode(self.queue.as_fd(), file)
    }

    /// Opens the directory behind a handle; see [`super::open`].
    ///
    /// # Errors
    /// See [`super::open`].
    pub fn open(mount: BorrowedFd<'_>, handle: &Handle) -> Result<OwnedFd, Errno> {
        super::open(mount, handle)
    }

    /// Starts the thread that drains the queue into `pending`.
    ///
    /// # Errors
    /// No thread or descriptor is to be had.
    pub fn start(self, pending: Arc<Pending>) -> Result<FanotifyReader, ArmError> {
        let FanotifyGroup { queue, scope, mount, window } = self;
        let source = Fanotify { queue: Arc::clone(&queue), scope, mount };
        let reader = Reader::start("fanotify", source, queue, pending, window).map_err(|error| {
            ArmError::new(ArmStep::Start, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        Ok(FanotifyReader { reader })
    }
}

/// The running [`Reader`] of a group.
#[derive(Debug)]
pub struct FanotifyReader {
    reader: Reader,
}

impl FanotifyReader {
    /// See [`FanotifyGroup::ignore_inode`].
    ///
    /// # Errors
    /// EINVAL on kernels before 6.0.
    pub fn ignore_inode(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        ignore_inode(self.reader.queue(), file)
    }

    /// See [`Reader::stop`].
    pub fn stop(self) {
        self.reader.stop();
    }
}

impl Deref for FanotifyReader {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

fn ignore_inode(queue: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_IGNORE_SURV;
    sys::mark(queue, flags, libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE, file, None)
}

/// The tree of inode numbers `dir` lies in, if its handle decodes to the inode that stat tells.
fn probe(dir: BorrowedFd<'_>) -> Result<Option<u64>, ArmError> {
    let handle = sys::handle_of(dir).map_err(|errno| ArmError::new(ArmStep::Handle, errno))?;
    let stat = rustix::fs::fstat(dir).map_err(|errno| ArmError::new(ArmStep::Verify, errno))?;
    let id = FileId { fsid: [0; 2], kind: handle.kind(), handle: handle.bytes() };
    Ok(decode(id).filter(|of| of.inode == stat.st_ino).map(|of| of.tree))
}

/// A descriptor that handles can be opened with, tried out on the mount point's own handle.
fn reopen(mount_point: BorrowedFd<'_>) -> Result<OwnedFd, ArmError> {
    use rustix::fs::{Mode, OFlags};
    let failed = |errno| ArmError::new(ArmStep::Verify, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = rustix::fs::openat(mount_point, ".", flags, Mode::empty()).map_err(failed)?;
    let handle = sys::handle_of(&mount).map_err(failed)?;
    sys::open_place(mount.as_fd(), &handle).map_err(failed)?;
    Ok(mount)
}

/// The group as the reader's thread has it.
struct Fanotify {
    queue: Arc<OwnedFd>,
    scope: Scope,
    mount: Option<OwnedFd>,
}

impl Source for Fanotify {
    fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// FIONREAD counts the fixed part of each event and none of its records.
    fn take_in(&mut self, bytes: &[u8], counts: &Counts, hints: &mut Vec<Hint>) -> u64 {
        let mut events = 0;
        for event in parse(bytes) {
            events += 1;
            bump(&counts.events);
            match event {
                Ok(event) => {
                    let mut failed = None;
                    let inode_of = |id: FileId<'_>| inode_of(self.mount.as_ref(), id, &mut failed);
                    translate::translate(&event, &self.scope, inode_of, counts, hints);
                    if let Some(errno) = failed {
                        let why = format!("a changed file could not be told by its handle: {errno}");
                        translate::lost(&self.scope, &why, hints);
                    }
                }
                Err(malformed) => {
                    tracing::error!(%malformed, "unreadable fanotify event, its volume is lost");
                    bump(&counts.malformed);
                    translate::lost(&self.scope, &malformed.to_string(), hints);
                }
            }
        }
        events * METADATA as u64
    }

    fn lost(&self, why: &str, hints: &mut Vec<Hint>) {
        translate::lost(&self.scope, why, hints);
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
