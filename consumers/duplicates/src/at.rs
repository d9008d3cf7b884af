//! A name in an open directory, and looks at it. Follows no symbolic link anywhere on the way. Reads no content.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use record::{Kind, Stat, Time};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Statx, StatxAttributes, StatxFlags, StatxTimestamp, fsync,
    linkat, makedev, openat, renameat_with, statx, unlinkat,
};
use rustix::io::Errno;

use crate::Why;
use crate::why::failed;

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What is no regular file by now is neither waited for nor becomes our terminal.
const READ: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A name in an open directory.
#[derive(Clone, Debug)]
pub(crate) struct At {
    dir: Arc<OwnedFd>,
    name: Vec<u8>,
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// As `makedev` makes it; good while the file system is mounted.
    pub(crate) device: u64,
    /// 0 where the kernel does not tell.
    pub(crate) mount: u64,
    pub(crate) mount_root: bool,
    pub(crate) inode: u64,
    pub(crate) flags: StatxAttributes,
    pub(crate) stat: Stat,
}

impl At {
    /// The name at the end of an absolute path, its directory opened component by component: paths may be of any length, and a
    /// symbolic link among them is refused.
    pub(crate) fn open(path: &[u8]) -> Result<At, Why> {
        let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
        let odd = |part: &&[u8]| matches!(*part, b"." | b"..");
        let Some((name, above)) = parts.split_last() else { return Err(Why::Path) };
        if !path.starts_with(b"/") || parts.iter().any(odd) {
            return Err(Why::Path);
        }
        let mut dir = openat(CWD, c"/", STEP, Mode::empty()).map_err(failed("open the root directory"))?;
        for part in above {
            dir = openat(&dir, *part, STEP, Mode::empty()).map_err(|error| match error {
                Errno::NOENT => Why::Gone,
                Errno::NOTDIR | Errno::LOOP => Why::Path,
                other => failed("open its directory")(other),
            })?;
        }
        Ok(At { dir: Arc::new(dir), name: name.to_vec() })
    }

    /// Another name in the same directory.
    pub(crate) fn beside(&self, name: &str) -> At {
        At { dir: Arc::clone(&self.dir), name: name.as_bytes().to_vec() }
    }

    /// What the name leads to; `None` for nothing.
    pub(crate) fn look(&self) -> Result<Option<Seen>, Why> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match statx(&self.dir, &self.name[..], flags, WANTED) {
            Ok(raw) => Seen::of(&raw).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("look at it")(error)),
        }
    }

    /// The regular file that the name leads to.
    pub(crate) fn look_at_file(&self) -> Result<Seen, Why> {
        let seen = self.look()?.ok_or(Why::Gone)?;
        if seen.stat.kind == Kind::File { Ok(seen) } else { Err(Why::NoFile) }
    }

    /// Opens the regular file for reading, and looks at what was opened. Its access time is left alone where that is allowed.
    pub(crate) fn read(&self) -> Result<(File, Seen), Why> {
        self.look_at_file()?;
        let open = |flags| openat(&self.dir, &self.name[..], flags, Mode::empty());
        let opened = match open(READ | OFlags::NOATIME) {
            Err(Errno::PERM) => open(READ),
            other => other,
        };
        let file = File::from(opened.map_err(|error| match error {
            Errno::NOENT => Why::Gone,
            Errno::LOOP => Why::NoFile,
            other => failed("open it")(other),
        })?);
        let seen = look_at_open(file.as_fd())?;
        if seen.stat.kind == Kind::File { Ok((file, seen)) } else { Err(Why::NoFile) }
    }

    /// Makes a file of that name, which must be free, for reading and writing by its owner.
    pub(crate) fn make(&self) -> Result<File, Why> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&self.dir, &self.name[..], flags, Mode::RUSR | Mode::WUSR);
        made.map(File::from).map_err(failed("make a file beside it"))
    }

    /// Makes `new` one more name of what this one leads to.
    pub(crate) fn link(&self, new: &At) -> Result<(), Why> {
        linkat(&self.dir, &self.name[..], &new.dir, &new.name[..], AtFlags::empty()).map_err(|error| {
            match error {
                Errno::XDEV => Why::Elsewhere,
                Errno::NOENT => Why::Gone,
                other => failed("make a hard link")(other),
            }
        })
    }

    /// Lets the two names change places, in one step.
    pub(crate) fn exchange(&self, other: &At) -> Result<(), Why> {
        let flags = RenameFlags::EXCHANGE;
        renameat_with(&self.dir, &self.name[..], &other.dir, &other.name[..], flags).map_err(|error| {
            match error {
                Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => Why::NoExchange,
                Errno::NOENT => Why::Gone,
                other => failed("exchange the names")(other),
            }
        })
    }

    /// Removes the name.
    pub(crate) fn remove(&self) -> Result<(), Why> {
        unlinkat(&self.dir, &self.name[..], AtFlags::empty()).map_err(failed("remove a name"))
    }

    /// Brings the directory to disk, where we may read it. After a loss of power any earlier state of it is a whole one too, so
    /// nothing hangs on it.
    pub(crate) fn sync(&self) {
        if let Ok(dir) = openat(&self.dir, c".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            let _ = fsync(dir);
        }
    }
}

impl Seen {
    fn of(raw: &Statx) -> Result<Seen, Why> {
        let odd = || Why::Failed { doing: "look at it", source: io::ErrorKind::InvalidData.into() };
        let time = |at: StatxTimestamp| Time::from_parts(at.tv_sec, at.tv_nsec);
        Ok(Seen {
            device: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            mount: if raw.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { raw.stx_mnt_id },
            mount_root: raw.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            inode: raw.stx_ino,
            flags: raw.stx_attributes,
            stat: Stat {
                kind: Kind::from_mode(raw.stx_mode).ok_or_else(odd)?,
                mode: raw.stx_mode & 0o7777,
                uid: raw.stx_uid,
                gid: raw.stx_gid,
                links: raw.stx_nlink,
                size: raw.stx_size,
                allocated: raw.stx_blocks.saturating_mul(512),
                modified: time(raw.stx_mtime),
                changed: time(raw.stx_ctime),
                accessed: time(raw.stx_atime),
                created: None,
            },
        })
    }

    pub(crate) fn same_inode(&self, other: &Seen) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// The same file, not written to, of the same owner and mode. Its change time may have moved: it does as names come and go.
    pub(crate) fn same_file(&self, other: &Seen) -> bool {
        let what = |seen: &Seen| {
            let stat = &seen.stat;
            (stat.size, stat.modified, stat.mode, stat.uid, stat.gid, seen.flags)
        };
        self.same_inode(other) && what(self) == what(other)
    }

    /// The same, and nothing at all was done to it in between.
    pub(crate) fn untouched(&self, other: &Seen) -> bool {
        self.same_file(other) && self.stat.changed == other.stat.changed
    }
}

/// A look at an open file.
pub(crate) fn look_at_open(file: BorrowedFd<'_>) -> Result<Seen, Why> {
    let raw = statx(file, c"", AtFlags::EMPTY_PATH, WANTED).map_err(failed("look at it"))?;
    Seen::of(&raw)
}
