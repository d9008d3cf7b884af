//! btrfs: where the top level of a file system is mounted, whose mark sees every subvolume. Marks nothing itself.

use std::os::fd::{AsFd, OwnedFd};

use scan::Mount;

/// What the kernel calls the tree of the top level, and the inode of every subvolume's root.
const TOP_LEVEL: u64 = 5;
const ROOT_INODE: u64 = 256;

/// The top level of the file system `superblock` (a device of the mount table), if some mount in `mounts` shows it.
pub(super) fn open(superblock: u64, mounts: &[Mount]) -> Option<OwnedFd> {
    let whole = |mount: &&Mount| mount.device == superblock && mount.fs_type == "btrfs" && mount.root == b"/";
    mounts.iter().filter(whole).find_map(|mount| {
        let fd = scan::open_root(&mount.point).ok()?;
        let seen = scan::look_self(fd.as_fd()).ok()?;
        // Another mount may cover this one, and `/` is what was mounted, whatever that is.
        let is_it = (seen.mount == 0 || seen.mount == mount.id)
            && seen.inode == ROOT_INODE
            && scan::identify(fd.as_fd(), seen.mount).is_ok_and(|identity| identity.subvolume == TOP_LEVEL);
        is_it.then_some(fd)
    })
}
