//! Arms a file system and feeds its events to a reader. Knows marks and handles, no paths.

use super::inode::decode;
use super::parse::FileId;
use super::refusal::{ArmError, ArmStep};
use super::source::{Fanotify, lock};
use super::sys;
use super::translate::{self, Scope};
use crate::{DEFAULT_WINDOW, Handle, Pending, Reader};
use record::VolumeId;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A mark on one whole file system, with a queue of its own: an overflow does not say whose events went.
///
/// The mark holds no descriptor of the file system, so umount succeeds, and then the mark dies **without a word**:
/// whoever arms it watches the mounts too. One exception: where inodes cannot be read off the handles
/// ([`FanotifyGroup::holds_mount`]), the mount point is kept open.
#[derive(Debug)]
pub struct FanotifyGroup {
    queue: Arc<OwnedFd>,
    scope: Arc<Mutex<Scope>>,
    /// Only where handles do not decode.
    mount: Option<OwnedFd>,
    window: Duration,
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
        let mut group = FanotifyGroup::mark(mount_point)?;
        let tree = match probe(mount_point)? {
            Some(tree) => tree,
            None => {
                group.mount = Some(reopen(mount_point)?);
                0
            }
        };
        bind(&group.scope, tree, volume, ignored_directories);
        Ok(group)
    }

    /// Marks the whole file system of `mount_point` likewise, and drops all its events: until volumes of it are bound.
    /// For btrfs, whose mark takes the top level, which may be none of ours.
    ///
    /// # Errors
    /// What the kernel refused, and why.
    pub fn mark(mount_point: BorrowedFd<'_>) -> Result<FanotifyGroup, ArmError> {
        let at = |step| move |errno| ArmError::new(step, errno);
        let queue = sys::init(true).map_err(at(ArmStep::Init))?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM | libc::FAN_MARK_ONLYDIR;
        sys::mark(queue.as_fd(), flags, translate::MASK, mount_point, Some(c"."))
            .map_err(at(ArmStep::Mark))?;
        let scope = Arc::new(Mutex::new(Scope { openable: true, ..Scope::default() }));
        Ok(FanotifyGroup { queue: Arc::new(queue), scope, mount: None, window: DEFAULT_WINDOW })
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
        let source = Fanotify { queue: Arc::clone(&queue), scope: Arc::clone(&scope), mount, marks: None };
        let reader = Reader::start("fanotify", source, queue, pending, window).map_err(|error| {
            ArmError::new(ArmStep::Start, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        Ok(FanotifyReader { reader, scope })
    }
}

/// The running [`Reader`] of a group.
#[derive(Debug)]
pub struct FanotifyReader {
    reader: Reader,
    scope: Arc<Mutex<Scope>>,
}

impl FanotifyReader {
    /// Binds the btrfs subvolume that `dir` lies in to a volume of its own: the mark sees all subvolumes of the
    /// file system, each of which numbers its inodes from 256. Events of those that are not bound are counted
    /// as foreign and dropped. Returns whether it made a difference: false where there are no subvolumes. Any thread
    /// may call, before it lists `dir`.
    ///
    /// # Errors
    /// The handle of `dir` cannot be taken.
    pub fn bind_subvolume(
        &self,
        volume: VolumeId,
        dir: BorrowedFd<'_>,
        ignored_directories: Vec<u64>,
    ) -> Result<bool, ArmError> {
        let Some(tree) = probe(dir)?.filter(|tree| *tree != 0) else { return Ok(false) };
        bind(&self.scope, tree, volume, ignored_directories);
        Ok(true)
    }

    /// Makes events of `volume` nobody's again.
    pub fn unbind(&self, volume: VolumeId) {
        let mut scope = lock(&self.scope);
        scope.trees.retain(|(_, bound)| *bound != volume);
        scope.ignored.retain(|(bound, _)| *bound != volume);
    }

    /// The volumes whose events become hints, in no order; an overflow loses them all.
    #[must_use]
    pub fn volumes(&self) -> Vec<VolumeId> {
        lock(&self.scope).trees.iter().map(|(_, volume)| *volume).collect()
    }

    /// See [`FanotifyGroup::ignore_inode`].
    ///
    /// # Errors
    /// EINVAL on kernels before 6.0.
    pub fn ignore_inode(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        ignore_inode(self.reader.queue(), file)
    }

    /// Whether the kernel still has the mark: it ends with the file system's last mount, without a word. True where
    /// /proc does not tell.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        let path = format!("/proc/self/fdinfo/{}", self.reader.queue().as_raw_fd());
        let marks = std::fs::read_to_string(path);
        marks.map_or(true, |text| text.lines().any(|line| line.starts_with("fanotify sdev:")))
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

fn bind(scope: &Mutex<Scope>, tree: u64, volume: VolumeId, ignored_directories: Vec<u64>) {
    let mut scope = lock(scope);
    match scope.trees.iter_mut().find(|(known, _)| *known == tree) {
        Some((_, known)) => *known = volume,
        None => scope.trees.push((tree, volume)),
    }
    scope.ignored.retain(|(bound, _)| *bound != volume);
    scope.ignored.extend(ignored_directories.into_iter().map(|inode| (volume, inode)));
}

/// The tree of inode numbers `dir` lies in, if its handle decodes to the inode that stat tells.
pub(super) fn probe(dir: BorrowedFd<'_>) -> Result<Option<u64>, ArmError> {
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
