//! fanotify: a group marks one whole file system, or single directories, and reports names and file handles.
//! Knows the kernel's formats; knows no index and no path.

mod directories;
mod group;
mod inode;
mod limits;
mod marks;
pub mod parse;
mod refusal;
mod source;
mod sys;
#[cfg(test)]
mod tests;
mod translate;

pub use directories::FanotifyDirectories;
pub use group::{FanotifyGroup, FanotifyReader};
pub use limits::{FanotifyLimits, MarkShare};
pub use refusal::{ArmError, ArmStep};

use crate::Handle;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// Opens the directory behind a handle that a hint carried, for reading. `mount` is any open descriptor
/// (not O_PATH) on a mount of the same file system; the caller opens one for each batch and closes it when idle,
/// since a held descriptor makes the user's umount fail.
///
/// # Errors
/// ESTALE: the directory is gone (its parent's hint covers that). EPERM: CAP_DAC_READ_SEARCH is missing.
/// ENOTDIR: the handle is of something else.
pub fn open(mount: BorrowedFd<'_>, handle: &Handle) -> Result<OwnedFd, Errno> {
    sys::open_directory(mount, handle)
}
