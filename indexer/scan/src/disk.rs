//! What is asked of a disk, and the kernel's answer. Everything above goes through [`Disk`], so that another
//! disk can stand in for the kernel's. Decides nothing.

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use record::Kind;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, makedev, openat, readlinkat, statx};
use rustix::io::Errno;

use crate::lease;
use crate::listing::{ListBuffer, list_while};
use crate::look::{Look, Seen, look, look_at, look_self};
use crate::mounts::{Mount, mounts};
use crate::open::{open_below, open_dir, open_file, open_root};
use crate::volume::{VolumeIdentity, identify_in};

/// Takes one name of a listing, and its kind where the listing tells it; breaks to end the listing.
pub type EachName<'a> = dyn FnMut(&CStr, Option<Kind>) -> ControlFlow<()> + 'a;

/// The system calls of this crate, as far as a root without followed links needs them. A descriptor is only
/// ever given back to the disk that it came from.
pub trait Disk: Send + Sync {
    /// Opens the directory at an absolute path; its last component must be no symbolic link.
    ///
    /// # Errors
    /// What `openat` says.
    fn open_root(&self, path: &[u8]) -> Result<OwnedFd, Errno>;

    /// Opens the directory called `name` in `parent`, not through a symbolic link.
    ///
    /// # Errors
    /// What `openat` says.
    fn open_dir(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno>;

    /// Opens the directory `components` below `root`, never through a symbolic link; none: `root` itself, anew.
    ///
    /// # Errors
    /// What `openat2` says.
    fn open_below(&self, root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno>;

    /// Opens what is called `name` in `parent` for looks at itself alone, which needs no right to read it.
    ///
    /// # Errors
    /// What `openat` says.
    fn open_path(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno>;

    /// Opens the regular file called `name` in `dir` for reading, not through a symbolic link.
    ///
    /// # Errors
    /// What `openat` says; `EINVAL` where it is no regular file.
    fn open_file(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno>;

    /// Whether `file`, open for reading, is open for writing elsewhere; `None` where that cannot be known.
    fn has_writer(&self, file: BorrowedFd<'_>) -> Option<bool>;

    /// Looks at `name` in `dir`, not through a symbolic link.
    fn look(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Look;

    /// `look` at a name as a listing gave it.
    fn look_listed(&self, dir: BorrowedFd<'_>, name: &CStr) -> Look {
        self.look(dir, name.to_bytes())
    }

    /// Looks at what `fd` has open.
    ///
    /// # Errors
    /// What `statx` says.
    fn look_self(&self, fd: BorrowedFd<'_>) -> Result<Seen, Errno>;

    /// The device of what is at an absolute path, `None` where nothing can be seen there.
    fn device_at(&self, path: &[u8]) -> Option<u64>;

    /// Gives every name in `dir` but `.` and `..` to `each`, until it breaks. True if it went to the end.
    ///
    /// # Errors
    /// What `getdents64` says; names given before the error are true, but others may be missing.
    fn list(
        &self,
        dir: BorrowedFd<'_>,
        buffer: &mut ListBuffer,
        each: &mut EachName<'_>,
    ) -> Result<bool, Errno>;

    /// The absolute path of what `fd` has open, without any link.
    ///
    /// # Errors
    /// `ENOENT` when it is out of this process's sight.
    fn path_of(&self, fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno>;

    /// The mount table now.
    ///
    /// # Errors
    /// When it cannot be read.
    fn mounts(&self) -> io::Result<Vec<Mount>>;

    /// The identity of the file system that holds the open directory `dir`, seen on mount `mount` of `table`.
    ///
    /// # Errors
    /// When the file system does not answer.
    fn identify(&self, dir: BorrowedFd<'_>, mount: u64, table: &[Mount]) -> Result<VolumeIdentity, Errno>;
}

/// The disks of this machine, asked by system calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Disk for Kernel {
    fn open_root(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        open_root(path)
    }

    fn open_dir(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        open_dir(parent, name)
    }

    fn open_below(&self, root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
        open_below(root, components)
    }

    fn open_path(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    fn open_file(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        open_file(dir, name)
    }

    fn has_writer(&self, file: BorrowedFd<'_>) -> Option<bool> {
        lease::has_writer(file)
    }

    fn look(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Look {
        look(dir, name)
    }

    fn look_listed(&self, dir: BorrowedFd<'_>, name: &CStr) -> Look {
        look_at(dir, name)
    }

    fn look_self(&self, fd: BorrowedFd<'_>) -> Result<Seen, Errno> {
        look_self(fd)
    }

    fn device_at(&self, path: &[u8]) -> Option<u64> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let seen = statx(CWD, path, flags, StatxFlags::empty()).ok()?;
        Some(makedev(seen.stx_dev_major, seen.stx_dev_minor))
    }

    fn list(
        &self,
        dir: BorrowedFd<'_>,
        buffer: &mut ListBuffer,
        each: &mut EachName<'_>,
    ) -> Result<bool, Errno> {
        list_while(dir, buffer, each)
    }

    fn path_of(&self, fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
        path_of(fd)
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        mounts()
    }

    fn identify(&self, dir: BorrowedFd<'_>, mount: u64, table: &[Mount]) -> Result<VolumeIdentity, Errno> {
        identify_in(dir, mount, table)
    }
}

/// The path of what `fd` has open.
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let path = readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?.into_bytes();
    // What is out of this process's sight has no path.
    if path.starts_with(b"/") { Ok(path) } else { Err(Errno::NOENT) }
}
