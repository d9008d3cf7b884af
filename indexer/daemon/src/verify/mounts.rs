//! Which mounts inside a root are part of it: the first in sight of each other file system, no pseudo file
//! system, and the root's own only as itself. Asks the kernel where a mount is in sight instead of working it out.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use rustix::io::Errno;

use crate::verify::look::Looked;
use crate::verify::scope::Scope;

/// A line of `/proc/self/mountinfo`.
struct Mount {
    id: u64,
    device: u64,
    point: Vec<u8>,
    fs_type: String,
}

/// Types of file systems that hold the kernel's state and nobody's files.
const PSEUDO: &[&str] = &[
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "cpuset",
    "securityfs",
    "debugfs",
    "tracefs",
    "configfs",
    "fusectl",
    "mqueue",
    "hugetlbfs",
    "pstore",
    "bpf",
    "binfmt_misc",
    "binder",
    "autofs",
    "efivarfs",
    "nsfs",
    "rpc_pipefs",
    "selinuxfs",
    "smackfs",
    "resctrl",
    "nfsd",
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "fuse.lxcfs",
];

/// Whether the directory `found`, on another device or mount than the one it is in, belongs to the root.
pub(crate) fn crosses(scope: &Scope, found: &Looked) -> Result<bool, Errno> {
    let table = read()?;
    let Some(own) = own(&table, found) else { return Ok(true) };
    if PSEUDO.contains(&&*own.fs_type) || found.device == scope.device {
        return Ok(false);
    }
    let first = table.iter().find(|mount| {
        mount.device == own.device
            && mount.point != scope.path
            && scope.relative(&mount.point).is_some_and(|relative| scope.admits(relative))
            && in_sight(mount, found)
    });
    Ok(first.is_none_or(|first| first.id == found.mount))
}

/// Whether it is on a file system that holds nobody's files.
pub(crate) fn is_pseudo(found: &Looked) -> Result<bool, Errno> {
    let table = read()?;
    Ok(own(&table, found).is_some_and(|mount| PSEUDO.contains(&&*mount.fs_type)))
}

/// The mount that `found` is on.
fn own<'t>(table: &'t [Mount], found: &Looked) -> Option<&'t Mount> {
    table
        .iter()
        .find(|mount| found.mount != 0 && mount.id == found.mount)
        .or_else(|| table.iter().rfind(|mount| mount.device == found.device))
}

/// Whether whoever goes to the mount point arrives on that mount. On btrfs the table has one device for all
/// subvolumes, so the device seen there must be that of `found` too.
fn in_sight(mount: &Mount, found: &Looked) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let Ok(seen) = statx(CWD, &*mount.point, flags, StatxFlags::MNT_ID) else { return false };
    let told = StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::MNT_ID);
    let here = !told || seen.stx_mnt_id == mount.id;
    here && (mount.device == found.device || makedev(seen.stx_dev_major, seen.stx_dev_minor) == found.device)
}

fn read() -> Result<Vec<Mount>, Errno> {
    let text = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(line).collect())
}

fn line(line: &[u8]) -> Option<Mount> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let hyphen = fields.iter().position(|field| *field == b"-")?;
    let device = text(fields.get(2)?);
    let (major, minor) = device.split_once(':')?;
    Some(Mount {
        id: text(fields.first()?).parse().ok()?,
        device: makedev(major.parse().ok()?, minor.parse().ok()?),
        point: unescape(fields.get(4)?),
        fs_type: text(fields.get(hyphen + 1)?),
    })
}

/// `\040` is a space: three octal digits after a backslash are a byte.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let octal = field.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if field[at] == b'\\' => {
                bytes.push(byte);
                at += 4;
            }
            _ => {
                bytes.push(field[at]);
                at += 1;
            }
        }
    }
    bytes
}

/// The device of an open directory.
pub(crate) fn device_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(crate::verify::look::look_self(fd.as_fd())?.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_proc_5_says() {
        let mount =
            line(br"36 35 98:1 /mnt1 /mnt\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw").unwrap();
        assert_eq!((mount.id, mount.device, &*mount.fs_type), (36, makedev(98, 1), "ext3"));
        assert_eq!(mount.point, b"/mnt 2");
        assert!(line(b"").is_none());
        assert!(!read().unwrap().is_empty(), "this process has mounts");
    }
}
