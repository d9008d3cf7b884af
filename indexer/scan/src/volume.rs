//! Which file system is this, so that it is known again after a reboot? Reads identities, binds no numbers.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use record::Time;
use rustix::fs::{CWD, Mode, OFlags, fstatvfs, openat, stat};
use rustix::io::Errno;

use crate::ioctl;
use crate::look::{Seen, look_self};
use crate::mounts::{Mount, mounts};

/// What a file system or subvolume can be recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeIdentity {
    /// File-system type, as in the mount table.
    pub fs_type: String,
    /// Its UUID; a shorter serial number (vfat, ntfs) stands at the front, padded with zeros. `None` where there
    /// is none, and for file systems in memory, whose UUID is made anew at each mount.
    pub uuid: Option<[u8; 16]>,
    /// `f_fsid` of statfs; may change from one mount to the next.
    pub fsid: u64,
    /// Number of the btrfs subvolume; 0 elsewhere.
    pub subvolume: u64,
    /// Device or server, as in the mount table.
    pub source: Vec<u8>,
    /// Inode number of the directory that is mounted.
    pub root_inode: u64,
    /// Its birth time.
    pub root_created: Option<Time>,
}

impl VolumeIdentity {
    /// Whether both are the same volume: by UUID and subvolume where both have them, by type, source and the
    /// mounted directory otherwise. File systems in memory need an equal fsid too: they are made alike.
    #[must_use]
    pub fn same_volume(&self, other: &VolumeIdentity) -> bool {
        if let (Some(ours), Some(theirs)) = (self.uuid, other.uuid) {
            return ours == theirs && self.subvolume == other.subvolume;
        }
        self.fs_type == other.fs_type
            && self.subvolume == other.subvolume
            && self.source == other.source
            && self.root_inode == other.root_inode
            && self.root_created == other.root_created
            && (!in_memory(&self.fs_type) || self.fsid == other.fsid)
    }
}

/// The identity of the file system that holds the open directory `dir`, seen on mount `mount` (0: not known).
///
/// # Errors
/// When the mount table cannot be read, or the file system does not answer.
pub fn identify(dir: BorrowedFd<'_>, mount: u64) -> Result<VolumeIdentity, Errno> {
    let table = mounts().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    identify_in(dir, mount, &table)
}

pub(crate) fn identify_in(dir: BorrowedFd<'_>, mount: u64, table: &[Mount]) -> Result<VolumeIdentity, Errno> {
    let seen = look_self(dir)?;
    let mount = mount_of(mount, seen.device, table);
    let fs_type = mount.map(|mount| mount.fs_type.clone()).unwrap_or_default();
    let top = mount.and_then(|mount| mounted_directory(mount, &seen)).unwrap_or(seen);
    let is_btrfs = fs_type == "btrfs";
    let uuid = if in_memory(&fs_type) {
        None
    } else if let Ok(uuid) = ioctl::fs_uuid(dir) {
        Some(uuid)
    } else if is_btrfs && let Ok(uuid) = ioctl::btrfs_uuid(dir) {
        Some(uuid)
    } else {
        uuid_by_device(mount.map_or(seen.device, |mount| mount.device))
    };
    Ok(VolumeIdentity {
        uuid: uuid.filter(|uuid| *uuid != [0; 16]),
        fsid: fstatvfs(dir)?.f_fsid,
        subvolume: if is_btrfs { ioctl::btrfs_subvolume(dir)? } else { 0 },
        source: mount.map(|mount| mount.source.clone()).unwrap_or_default(),
        root_inode: top.inode,
        root_created: top.stat.created,
        fs_type,
    })
}

/// The mount with this id; where the kernel gives none, the last of that device.
pub(crate) fn mount_of(id: u64, device: u64, table: &[Mount]) -> Option<&Mount> {
    table
        .iter()
        .find(|mount| id != 0 && mount.id == id)
        .or_else(|| table.iter().rfind(|mount| mount.device == device))
}

/// The look at the mounted directory itself, if it is in sight and of the same device: two roots in one file
/// system without a UUID are then of one identity.
fn mounted_directory(mount: &Mount, below: &Seen) -> Option<Seen> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let top = openat(CWD, &*mount.point, flags, Mode::empty()).ok()?;
    let seen = look_self(top.as_fd()).ok()?;
    (seen.device == below.device && seen.mount == below.mount).then_some(seen)
}

fn in_memory(fs_type: &str) -> bool {
    matches!(fs_type, "tmpfs" | "ramfs" | "rootfs")
}

/// What udev noted of the block device.
fn uuid_by_device(device: u64) -> Option<[u8; 16]> {
    let links = std::fs::read_dir(Path::new("/dev/disk/by-uuid")).ok()?;
    let link = links.flatten().find(|link| stat(link.path()).is_ok_and(|block| block.st_rdev == device))?;
    packed(&link.file_name())
}

/// The hexadecimal digits of `text`, 32 at most, two a byte.
fn packed(text: &OsStr) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut digits = 0;
    for &byte in text.as_bytes().iter().filter(|&&byte| byte != b'-') {
        let digit = u8::try_from(char::from(byte).to_digit(16)?).ok()?;
        let slot = uuid.get_mut(digits / 2)?;
        *slot |= if digits % 2 == 0 { digit << 4 } else { digit };
        digits += 1;
    }
    (digits > 0).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udev_names_become_bytes() {
        let full = packed(OsStr::new("01234567-89ab-cdef-0123-456789ABCDEF")).unwrap();
        assert_eq!(full[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(full[15], 0xef);
        assert_eq!(packed(OsStr::new("ABCD-1234")).unwrap()[..5], [0xab, 0xcd, 0x12, 0x34, 0]);
        assert_eq!(packed(OsStr::new("not-a-uuid")), None);
    }

    #[test]
    fn a_uuid_decides_where_both_have_one() {
        let plain = VolumeIdentity {
            fs_type: "ext4".into(),
            uuid: Some([1; 16]),
            fsid: 7,
            subvolume: 0,
            source: b"/dev/sda1".to_vec(),
            root_inode: 2,
            root_created: None,
        };
        let moved = VolumeIdentity { source: b"/dev/sdb1".to_vec(), fsid: 8, ..plain.clone() };
        assert!(plain.same_volume(&moved));
        assert!(!plain.same_volume(&VolumeIdentity { uuid: Some([2; 16]), ..plain.clone() }));
        assert!(!plain.same_volume(&VolumeIdentity { subvolume: 256, ..plain.clone() }));
        let bare = VolumeIdentity { uuid: None, ..plain.clone() };
        assert!(bare.same_volume(&VolumeIdentity { fsid: 8, ..bare.clone() }));
        assert!(!bare.same_volume(&VolumeIdentity { root_inode: 3, ..bare.clone() }));
        let memory = VolumeIdentity { fs_type: "tmpfs".into(), ..bare.clone() };
        assert!(!memory.same_volume(&VolumeIdentity { fsid: 8, ..memory.clone() }));
    }

    #[test]
    fn the_same_directory_is_of_the_same_volume() {
        let temp = tempfile::tempdir().unwrap();
        let dir = crate::open_root(temp.path().as_os_str().as_bytes()).unwrap();
        let seen = look_self(dir.as_fd()).unwrap();
        let identity = identify(dir.as_fd(), seen.mount).unwrap();
        assert!(!identity.fs_type.is_empty());
        assert!(identity.same_volume(&identify(dir.as_fd(), seen.mount).unwrap()));
    }
}
