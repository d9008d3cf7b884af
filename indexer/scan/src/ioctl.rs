//! The ioctls that tell a file system's identity, and where a file lies on it. Nothing else here is unsafe, and nothing
//! else is here.
#![expect(unsafe_code, reason = "ioctl is untyped; each call names the kernel's own structure")]

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

/// `struct fsuuid2` of `linux/fs.h`.
#[repr(C)]
struct FsUuid {
    length: u8,
    uuid: [u8; 16],
}

/// `struct btrfs_ioctl_fs_info_args` of `linux/btrfs.h`: 1,024 bytes.
#[repr(C)]
struct BtrfsInfo {
    max_id: u64,
    devices: u64,
    fsid: [u8; 16],
    rest: [u64; 124],
}

/// `struct btrfs_ioctl_ino_lookup_args` of `linux/btrfs.h`: 4,096 bytes.
#[repr(C)]
struct BtrfsLookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// Extents asked for at once.
const EXTENTS: usize = 64;

/// `struct fiemap` of `linux/fiemap.h`, without its extents: what the opcode encodes the size of.
#[repr(C)]
struct FiemapHead {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    more: [u32; 3],
}

/// `struct fiemap` with room for extents.
#[repr(C)]
struct Fiemap {
    head: FiemapHead,
    extents: [FiemapExtent; EXTENTS],
}

/// A piece of a file on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    /// Where in the file it begins, in bytes.
    pub(crate) logical: u64,
    /// Where on the volume.
    pub(crate) physical: u64,
    /// How long it is.
    pub(crate) length: u64,
    /// `FIEMAP_EXTENT_…`.
    pub(crate) flags: u32,
}

const FIEMAP: Opcode = opcode::read_write::<FiemapHead>(b'f', 11);
const GET_FS_UUID: Opcode = opcode::read::<FsUuid>(0x15, 0);
const BTRFS_FS_INFO: Opcode = opcode::read::<BtrfsInfo>(0x94, 31);
const BTRFS_INO_LOOKUP: Opcode = opcode::read_write::<BtrfsLookup>(0x94, 18);
/// `BTRFS_FIRST_FREE_OBJECTID`: the inode number of every subvolume's top directory.
const BTRFS_TOP: u64 = 256;

/// `FS_IOC_GETFSUUID`, Linux 6.9. `ENOTTY` where the kernel or the file system has none.
pub(crate) fn fs_uuid(dir: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    // SAFETY: the opcode encodes the size of FsUuid, which has the layout of `struct fsuuid2`; the kernel fills
    // all of it, and every byte pattern is valid.
    let found = unsafe { ioctl(dir, Getter::<GET_FS_UUID, FsUuid>::new()) }?;
    // Some file systems keep shorter identifiers; the rest is zero then.
    if found.length == 0 { Err(Errno::NOTTY) } else { Ok(found.uuid) }
}

/// `BTRFS_IOC_FS_INFO`.
pub(crate) fn btrfs_uuid(dir: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    let mut info = BtrfsInfo { max_id: 0, devices: 0, fsid: [0; 16], rest: [0; 124] };
    // SAFETY: as above, with `struct btrfs_ioctl_fs_info_args`. The kernel reads its flags, so it is zeroed
    // and passed in, under an opcode that says read only.
    unsafe { ioctl(dir, Updater::<BTRFS_FS_INFO, BtrfsInfo>::new(&mut info)) }?;
    Ok(info.fsid)
}

/// `BTRFS_IOC_INO_LOOKUP` of tree 0 ("mine"): the number of the subvolume that holds `dir`. Needs no privilege.
pub(crate) fn btrfs_subvolume(dir: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut lookup = BtrfsLookup { tree: 0, object: BTRFS_TOP, name: [0; 4080] };
    // SAFETY: as above, with `struct btrfs_ioctl_ino_lookup_args`, which is both read and written.
    unsafe { ioctl(dir, Updater::<BTRFS_INO_LOOKUP, BtrfsLookup>::new(&mut lookup)) }?;
    Ok(lookup.tree)
}

/// `FS_IOC_FIEMAP`: the extents of `file` from byte `start` on, at most 64.
pub(crate) fn extents(file: BorrowedFd<'_>, start: u64) -> Result<Vec<Extent>, Errno> {
    let none = FiemapExtent { logical: 0, physical: 0, length: 0, reserved: [0; 2], flags: 0, more: [0; 3] };
    let head = FiemapHead {
        start,
        length: u64::MAX - start,
        flags: 0,
        mapped: 0,
        count: EXTENTS as u32,
        reserved: 0,
    };
    let mut map = Fiemap { head, extents: [none; EXTENTS] };
    // SAFETY: as above, with `struct fiemap`, which is read and written; behind it lies room for as many extents as `count`
    // says, and the kernel writes no more than that.
    unsafe { ioctl(file, Updater::<FIEMAP, Fiemap>::new(&mut map)) }?;
    let mapped = (map.head.mapped as usize).min(EXTENTS);
    let extent = |extent: &FiemapExtent| {
        let FiemapExtent { logical, physical, length, flags, .. } = *extent;
        Extent { logical, physical, length, flags }
    };
    Ok(map.extents[..mapped].iter().map(extent).collect())
}
