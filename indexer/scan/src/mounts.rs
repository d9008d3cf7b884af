//! The mount table of this process. Knows what kinds of file systems there are; decides nothing about roots.

use std::io;

use rustix::fs::makedev;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its id, the one `statx` gives.
    pub id: u64,
    /// The id of the mount it is on.
    pub parent: u64,
    /// Device of the superblock. On btrfs `st_dev` is another: that of the subvolume.
    pub device: u64,
    /// The directory of the file system that is mounted here; `/` but for bind mounts and subvolumes.
    pub root: Vec<u8>,
    /// Where, as an absolute path.
    pub point: Vec<u8>,
    /// File-system type.
    pub fs_type: String,
    /// Device or server, as given to `mount`.
    pub source: Vec<u8>,
}

/// The mount table now, in the kernel's order.
///
/// # Errors
/// When `/proc` is not there or not readable.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// Reads the text of a mountinfo file. Lines that do not follow proc(5) are left out.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut next = || fields.next();
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let device = next()?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let major = u32::try_from(number(&device[..colon])?).ok()?;
    let minor = u32::try_from(number(&device[colon + 1..])?).ok()?;
    let root = unescape(next()?);
    let point = unescape(next()?);
    let _options = next()?;
    // Any number of optional fields, then a lone hyphen.
    while next()? != b"-" {}
    let fs_type = String::from_utf8_lossy(&unescape(next()?)).into_owned();
    let source = unescape(next().unwrap_or_default());
    Some(Mount { id, parent, device: makedev(major, minor), root, point, fs_type, source })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The kernel writes space, tab, newline, backslash and `#` as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// Whether a file system of this type holds the kernel's own state and no files of anyone.
#[must_use]
pub fn is_pseudo(fs_type: &str) -> bool {
    matches!(
        fs_type,
        "proc"
            | "sysfs"
            | "devtmpfs"
            | "devpts"
            | "cgroup"
            | "cgroup2"
            | "cpuset"
            | "securityfs"
            | "debugfs"
            | "tracefs"
            | "configfs"
            | "fusectl"
            | "mqueue"
            | "hugetlbfs"
            | "pstore"
            | "bpf"
            | "binfmt_misc"
            | "binder"
            | "autofs"
            | "efivarfs"
            | "nsfs"
            | "rpc_pipefs"
            | "selinuxfs"
            | "smackfs"
            | "resctrl"
            | "nfsd"
            | "fuse.gvfsd-fuse"
            | "fuse.portal"
            | "fuse.lxcfs"
    )
}

/// Whether others may change a file system of this type without this kernel's knowing.
#[must_use]
pub fn is_remote(fs_type: &str) -> bool {
    matches!(
        fs_type,
        "nfs"
            | "nfs4"
            | "cifs"
            | "smb3"
            | "smbfs"
            | "9p"
            | "ceph"
            | "afs"
            | "coda"
            | "lustre"
            | "gpfs"
            | "beegfs"
            | "ocfs2"
            | "gfs2"
            | "orangefs"
            | "virtiofs"
            | "vboxsf"
            | "fuse.sshfs"
            | "fuse.rclone"
            | "fuse.s3fs"
            | "fuse.glusterfs"
            | "fuse.juicefs"
            | "fuse.ceph"
            | "fuse.davfs"
            | "davfs"
            | "fuse.gcsfuse"
            | "fuse.mount-s3"
            | "fuse.vmhgfs-fuse"
    )
}

/// Whether `mount` is out of sight: another covers it, or a directory above it, or the mount it is on.
#[must_use]
pub fn is_hidden(mount: &Mount, all: &[Mount]) -> bool {
    let mut at = mount;
    // A mount is not hidden by what lies on it and leads to the mount in question.
    let mut below = mount.id;
    // A mount table is a tree; the bound guards against one read while it changed.
    for _ in 0..=all.len() {
        let covered = all.iter().any(|other| {
            let stacked = other.id != below && other.parent == at.id && other.point == at.point;
            let above = other.parent == at.parent
                && other.id != at.id
                && other.point != at.point
                && is_below(&at.point, &other.point);
            stacked || above
        });
        if covered {
            return true;
        }
        match all.iter().find(|other| other.id == at.parent && other.id != at.id) {
            Some(parent) => (below, at) = (at.id, parent),
            None => return false,
        }
    }
    true
}

/// Whether `path` is `top` or lies below it.
#[must_use]
pub fn is_below(path: &[u8], top: &[u8]) -> bool {
    let top = top.strip_suffix(b"/").unwrap_or(top);
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
