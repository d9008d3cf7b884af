//! One look at one name: a single `statx`. Knows nothing of paths longer than a name, of what is stored,
//! and of what ought to be there.

use std::os::fd::BorrowedFd;

use record::{Kind, Stat, Time};
use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags, makedev, statx};
use rustix::io::Errno;
use rustix::path::Arg;

/// What one look saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its inode number.
    pub inode: u64,
    /// Its stat fields.
    pub stat: Stat,
    /// The device it is on, as `makedev(major, minor)`. Good only while the file system stays mounted.
    pub device: u64,
    /// Mount id as in `/proc/self/mountinfo`; 0 where the kernel does not tell (before 5.8).
    pub mount: u64,
    /// Whether it is the root of a mount.
    pub mount_root: bool,
    /// Whether it was seen through a symbolic link, which happens under `--follow-symlinks` only.
    pub through: bool,
}

/// The answer of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No such name (`ENOENT`), or what should hold it is no directory (`ENOTDIR`).
    Absent,
    /// It is there.
    Present(Seen),
    /// The look failed: nothing is known, and nothing may be concluded.
    Failed(Errno),
}

/// Looks at `name` in `dir`, not through a symbolic link, and without setting off an automount.
#[must_use]
pub fn look(dir: BorrowedFd<'_>, name: &[u8]) -> Look {
    look_at(dir, name)
}

/// Looks at `name` in `dir` through symbolic links, for `--follow-symlinks` only. A link to nowhere is absent.
#[must_use]
pub fn look_through(dir: BorrowedFd<'_>, name: &[u8]) -> Look {
    let look = answer(statx(dir, name, AtFlags::NO_AUTOMOUNT, WANTED));
    match look {
        Look::Present(seen) => Look::Present(Seen { through: true, ..seen }),
        other => other,
    }
}

/// Looks at what `fd` has open.
///
/// # Errors
/// What `statx` says; `EIO` for a file type that no Linux file system has.
pub fn look_self(fd: BorrowedFd<'_>) -> Result<Seen, Errno> {
    statx(fd, c"", AtFlags::EMPTY_PATH, WANTED).and_then(|raw| Seen::of(&raw))
}

/// `look` for a name in any form; the one from a listing needs no copy for its NUL.
pub(crate) fn look_at(dir: BorrowedFd<'_>, name: impl Arg) -> Look {
    answer(statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, WANTED))
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);

fn answer(result: Result<Statx, Errno>) -> Look {
    match result.and_then(|raw| Seen::of(&raw)) {
        Ok(seen) => Look::Present(seen),
        Err(Errno::NOENT | Errno::NOTDIR) => Look::Absent,
        Err(error) => Look::Failed(error),
    }
}

impl Seen {
    /// Whether both are the same inode of the same mounted file system.
    #[must_use]
    pub fn same_inode(&self, other: &Seen) -> bool {
        self.inode == other.inode && self.device == other.device
    }

    fn of(raw: &Statx) -> Result<Seen, Errno> {
        let Some(kind) = Kind::from_mode(raw.stx_mode) else { return Err(Errno::IO) };
        let given = StatxFlags::from_bits_retain(raw.stx_mask);
        let time = |at: rustix::fs::StatxTimestamp| Time::from_parts(at.tv_sec, at.tv_nsec);
        Ok(Seen {
            inode: raw.stx_ino,
            stat: Stat {
                kind,
                mode: raw.stx_mode & 0o7777,
                uid: raw.stx_uid,
                gid: raw.stx_gid,
                links: raw.stx_nlink,
                size: raw.stx_size,
                allocated: raw.stx_blocks.saturating_mul(512),
                modified: time(raw.stx_mtime),
                changed: time(raw.stx_ctime),
                accessed: time(raw.stx_atime),
                created: given.contains(StatxFlags::BTIME).then(|| time(raw.stx_btime)),
            },
            device: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            mount: if given.contains(StatxFlags::MNT_ID) { raw.stx_mnt_id } else { 0 },
            mount_root: raw.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            through: false,
        })
    }
}
