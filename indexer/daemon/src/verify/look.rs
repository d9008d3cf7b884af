//! One look at one entry, and its fields as the wire has them. Also the way down to a path of any length.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use record::wire::v1;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, makedev, openat, statx};
use rustix::io::Errno;

use crate::verify::Side;
use crate::verify::scope::Scope;

/// What `statx` said, and where the entry is mounted.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// Fields to compare.
    pub(crate) side: Side,
    /// Device.
    pub(crate) device: u64,
    /// Mount id, 0 where the kernel gives none.
    pub(crate) mount: u64,
    /// For what a followed link leads to: where that is.
    pub(crate) through: Option<Vec<u8>>,
}

impl Looked {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.side.stat.kind == "directory"
    }

    /// Whether both looks were at the same inode.
    pub(crate) fn same_inode(&self, other: &Looked) -> bool {
        self.device == other.device && self.side.inode == other.side.inode
    }
}

/// Looks at `name` in `dir`, at links and not through them.
pub(crate) fn look(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Looked, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    looked(&statx(dir, name, flags, wanted)?)
}

/// Looks at what `fd` has open.
pub(crate) fn look_self(fd: BorrowedFd<'_>) -> Result<Looked, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    looked(&statx(fd, c"", AtFlags::EMPTY_PATH, wanted)?)
}

/// The fields of what `statx` said.
pub(crate) fn looked(x: &Statx) -> Result<Looked, Errno> {
    let kind = match x.stx_mode & 0o170_000 {
        0o100_000 => "file",
        0o040_000 => "directory",
        0o120_000 => "symlink",
        0o010_000 => "fifo",
        0o140_000 => "socket",
        0o060_000 => "block",
        0o020_000 => "char",
        _ => return Err(Errno::IO),
    };
    let told = StatxFlags::from_bits_retain(x.stx_mask);
    let stat = v1::Stat {
        kind: kind.to_owned(),
        size: x.stx_size,
        allocated: x.stx_blocks * 512,
        modified_ns: ns(x.stx_mtime),
        changed_ns: ns(x.stx_ctime),
        created_ns: told.contains(StatxFlags::BTIME).then(|| ns(x.stx_btime)),
        accessed_ns: ns(x.stx_atime),
        mode: x.stx_mode & 0o7777,
        uid: x.stx_uid,
        gid: x.stx_gid,
        links: x.stx_nlink,
    };
    let mount = if told.contains(StatxFlags::MNT_ID) { x.stx_mnt_id } else { 0 };
    let device = makedev(x.stx_dev_major, x.stx_dev_minor);
    Ok(Looked { side: Side { stat, inode: x.stx_ino }, device, mount, through: None })
}

fn ns(time: StatxTimestamp) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Opens the directory called `name` in `dir`, never through a link.
pub(crate) fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// Opens the directory at an absolute path, component by component, so that no length is too long. Links above
/// the last component are followed, as when the root was named.
pub(crate) fn open_path(path: &[u8]) -> Result<OwnedFd, Errno> {
    let way = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, c"/", way | OFlags::PATH, Mode::empty())?;
    let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
    let Some((last, above)) = components.split_last() else { return open(at.as_fd(), b".") };
    for name in above {
        at = openat(&at, *name, way | OFlags::PATH, Mode::empty())?;
    }
    open(at.as_fd(), last)
}

/// Opens the directory `found` called `name` in `dir`, or where a followed link leads.
pub(crate) fn open_found(dir: BorrowedFd<'_>, name: &[u8], found: &Looked) -> Result<OwnedFd, Errno> {
    match &found.through {
        Some(target) => open_path(target),
        None => open(dir, name),
    }
}

/// Looks at one path of the scope: what is there, or nothing where that is out of scope.
///
/// # Errors
/// What the kernel says, but for an entry or a directory on the way that is not there.
pub(crate) fn look_at(scope: &Scope, path: &[u8]) -> Result<Option<Side>, Errno> {
    let mut fd = match open_path(&scope.path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other?,
    };
    let mut here = look_self(fd.as_fd())?;
    let Some(relative) = scope.relative(path) else { return Ok(None) };
    let mut depth = 0;
    let mut end = 0;
    while end < relative.len() {
        let start = if end == 0 { 0 } else { end + 1 };
        end = relative[start..].iter().position(|&byte| byte == b'/').map_or(relative.len(), |at| start + at);
        let name = &relative[start..end];
        depth += 1;
        let found = match scope.look(fd.as_fd(), name, &relative[..end]) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other?,
        };
        if !scope.holds(&here, &found, &relative[..end], depth)? {
            return Ok(None);
        }
        if end < relative.len() {
            if !found.is_directory() {
                return Ok(None);
            }
            fd = match open_found(fd.as_fd(), name, &found) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                other => other?,
            };
        }
        here = found;
    }
    Ok(Some(here.side))
}
