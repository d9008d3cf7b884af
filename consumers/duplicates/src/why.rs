//! Why nothing was done with a file. Decides nothing.

use std::io;

use rustix::io::Errno;

/// Why a file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// Its name is gone.
    #[error("there is no such file any more")]
    Gone,
    /// It is a directory, a link, a device.
    #[error("not a regular file")]
    NoFile,
    /// The path leads through a symbolic link or a file.
    #[error("a part of its path is a symbolic link, or no directory")]
    Path,
    /// The name leads to another inode than was looked at.
    #[error("another file has its name by now")]
    Swapped,
    /// It grew or shrank since the index had it.
    #[error("its size is {now} bytes now, not {then}")]
    Size {
        /// By the look, in bytes.
        now: u64,
        /// By the set, in bytes.
        then: u64,
    },
    /// It was written to, or its times, owner or mode were changed.
    #[error("it changed meanwhile")]
    Changed,
    /// The bytes are others.
    #[error("its content differs from that of the kept file")]
    Differs,
    /// Somebody may write to it without opening it.
    #[error("it is open for writing")]
    Writer,
    /// The file system has no leases, or the file is another user's.
    #[error("whether it is open for writing cannot be known")]
    Unknown,
    /// Hard links share the owner.
    #[error("its owner or group is another than the kept file's, and hard links share them")]
    Owner,
    /// Hard links share the mode.
    #[error("its mode is another than the kept file's, and hard links share it")]
    Mode,
    /// Hard links share them: ACLs, labels, tags.
    #[error("its extended attributes are others than the kept file's, and hard links share them")]
    Xattrs,
    /// Hard links share them: compressed, encrypted, verity.
    #[error("its inode flags are others than the kept file's, and hard links share them")]
    Flags,
    /// `chattr +i` or `+a`.
    #[error("it is immutable or append-only")]
    Protected,
    /// Whoever replaces a program that runs with another's rights should know it.
    #[error("it is set-user-ID or set-group-ID")]
    Privileged,
    /// Something is mounted on it.
    #[error("it is a mount point")]
    MountPoint,
    /// The kept file is on another file system.
    #[error("it is on another file system than the kept file, or another mount of it")]
    Elsewhere,
    /// Not all names are in the set.
    #[error("it has {0} names that are not in the set, so nothing would be freed")]
    Names(u32),
    /// ext4, tmpfs and others.
    #[error("the file system cannot share blocks between files")]
    NoSharing,
    /// Small files on btrfs.
    #[error("its content stands in its inode, and cannot be shared")]
    Inline,
    /// NFS, some of FUSE.
    #[error("the file system cannot exchange two names in one step")]
    NoExchange,
    /// A file that stands by the name that we need.
    #[error("a file was left beside it by this name, since it holds what stands nowhere else: {0}")]
    Left(String),
    /// It is not the link that was made any more.
    #[error("it is no longer the link that was made")]
    NoLink,
    /// It is about the kept file.
    #[error("of the kept file: {0}")]
    Kept(#[source] Box<Why>),
    /// The system refused.
    #[error("cannot {doing}: {source}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Why {
    /// Whether something stands on disk now that its owner should look at.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Why::Left(_))
    }

    pub(crate) fn of_kept(self) -> Why {
        match self {
            Why::Kept(_) => self,
            other => Why::Kept(Box::new(other)),
        }
    }
}

/// For `map_err`: what `doing` failed with.
pub(crate) fn failed(doing: &'static str) -> impl Fn(Errno) -> Why {
    move |error| Why::Failed { doing, source: error.into() }
}
