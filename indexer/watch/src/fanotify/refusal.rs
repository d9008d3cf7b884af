//! Why the kernel does not let us watch by fanotify, in plain words. Tries nothing.

use rustix::io::Errno;
use std::fmt;

/// What a group was doing when it failed to arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmStep {
    /// Making the group.
    Init,
    /// Marking the file system.
    Mark,
    /// Marking one directory.
    MarkDirectory,
    /// Taking the handle of the mount point or directory.
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
            ArmStep::MarkDirectory => "marking a directory",
            ArmStep::Handle => "taking a file handle",
            ArmStep::Verify => "checking a file handle",
            ArmStep::Start => "starting the reader",
        })
    }
}

impl ArmError {
    pub(super) fn new(step: ArmStep, errno: Errno) -> ArmError {
        let why = match (step, errno) {
            (_, Errno::PERM) => "this needs CAP_SYS_ADMIN",
            (ArmStep::Init, Errno::INVAL) => {
                "the kernel is older than 5.17 and reports no names with handles"
            }
            (ArmStep::Init, Errno::NOSYS) => "the kernel has no fanotify",
            (ArmStep::Init, Errno::MFILE) => "this user's limit of fanotify groups is reached",
            (ArmStep::Mark, Errno::XDEV) => "a btrfs subvolume cannot be marked, only the top level",
            (_, Errno::NODEV) => "the file system has no id (fsid), as on FUSE",
            (_, Errno::OPNOTSUPP) => "the file system has no file handles, as on overlayfs",
            (ArmStep::Mark | ArmStep::MarkDirectory, Errno::INVAL) => {
                "the kernel does not know all events that are needed"
            }
            (ArmStep::Mark | ArmStep::MarkDirectory, Errno::NOSPC) => {
                "this user's limit of fanotify marks is reached"
            }
            (ArmStep::MarkDirectory, Errno::XDEV) => {
                "the kernel is older than 6.8 and has no ids for its files"
            }
            (ArmStep::Verify, Errno::BADMSG) => "file handles here do not tell the inode",
            (_, Errno::NOMEM) => "the kernel is out of memory",
            (_, Errno::STALE) => "the mount point's handle cannot be opened again",
            _ => "the kernel refused",
        };
        ArmError { step, errno, why }
    }
}
