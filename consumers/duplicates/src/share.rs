//! The two ioctls about blocks of files: sharing them, and telling where they lie. Nothing else here is unsafe.
#![expect(unsafe_code, reason = "ioctl is untyped; each call names the kernel's own structure")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use crate::Why;
use crate::why::failed;

/// `struct file_dedupe_range` of `linux/fs.h` with one destination.
#[repr(C)]
struct Dedupe {
    head: DedupeHead,
    dest_fd: i64,
    dest_offset: u64,
    bytes_deduped: u64,
    status: i32,
    reserved: u32,
}

/// Its head, of which the opcode encodes the size.
#[repr(C)]
struct DedupeHead {
    src_offset: u64,
    src_length: u64,
    dest_count: u16,
    reserved1: u16,
    reserved2: u32,
}

/// Extents asked for at once.
const EXTENTS: usize = 64;

/// `struct fiemap` of `linux/fiemap.h` with room for some extents.
#[repr(C)]
struct Fiemap {
    head: FiemapHead,
    extents: [Extent; EXTENTS],
}

/// Its head, of which the opcode encodes the size.
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
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

const FIDEDUPERANGE: Opcode = opcode::read_write::<DedupeHead>(0x94, 54);
const FS_IOC_FIEMAP: Opcode = opcode::read_write::<FiemapHead>(b'f', 11);
/// `FILE_DEDUPE_RANGE_DIFFERS`.
const DIFFERS: i32 = 1;
/// `FIEMAP_EXTENT_LAST`.
const LAST: u32 = 0x1;
/// `FIEMAP_EXTENT_UNKNOWN | DELALLOC | NOT_ALIGNED | DATA_INLINE | DATA_TAIL`: where it lies says nothing.
const NOWHERE: u32 = 0x2 | 0x4 | 0x100 | 0x200 | 0x400;
/// `FIEMAP_EXTENT_DATA_INLINE`.
const INLINE: u32 = 0x200;

/// `FIDEDUPERANGE`: has the kernel compare `length` bytes of both files at `at`, with both locked, and let the second share the
/// first's blocks if they are equal. How many it did. No length at all only asks whether it could.
fn dedupe(kept: &File, copy: &File, at: u64, length: u64) -> Result<u64, Why> {
    let mut range = Dedupe {
        head: DedupeHead { src_offset: at, src_length: length, dest_count: 1, reserved1: 0, reserved2: 0 },
        dest_fd: i64::from(copy.as_raw_fd()),
        dest_offset: at,
        bytes_deduped: 0,
        status: 0,
        reserved: 0,
    };
    // SAFETY: the opcode encodes the size of the head, which says that one destination follows it, as one does in Dedupe; the
    // kernel reads all of it and writes `bytes_deduped` and `status`, for which every pattern is valid.
    let said = unsafe { ioctl(kept, Updater::<FIDEDUPERANGE, Dedupe>::new(&mut range)) };
    let status = match said {
        Ok(()) => range.status,
        Err(error) => -error.raw_os_error(),
    };
    if status == DIFFERS {
        return Err(Why::Differs);
    }
    if status >= 0 {
        return Ok(range.bytes_deduped);
    }
    match Errno::from_raw_os_error(-status) {
        Errno::XDEV => Err(Why::Elsewhere),
        Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS => Err(Why::NoSharing),
        error => Err(failed("share blocks with it")(error)),
    }
}

/// Whether the file system would share blocks of the two files. Changes nothing.
pub(crate) fn could_share(kept: &File, copy: &File) -> Result<(), Why> {
    dedupe(kept, copy, 0, 0).map(drop)
}

/// Shares `length` bytes at `at`; how many it did, at least one.
pub(crate) fn share(kept: &File, copy: &File, at: u64, length: u64) -> Result<u64, Why> {
    match dedupe(kept, copy, at, length)? {
        // It says "equal" and does nothing: blocks that cannot be shared.
        0 => Err(Why::NoSharing),
        done => Ok(done),
    }
}

/// What lies where, of a file.
pub(crate) struct Map {
    /// Start in the file, start on the device, length; bytes.
    extents: Vec<(u64, u64, u64)>,
    /// Places of some of it are not known.
    vague: bool,
    /// It stands in the inode.
    pub(crate) inline: bool,
}

impl Map {
    /// Asks the file system, without having it write anything back. `None` where it does not tell.
    pub(crate) fn of(file: &File) -> Option<Map> {
        let mut map = Map { extents: Vec::new(), vague: false, inline: false };
        let mut start = 0;
        loop {
            let length = u64::MAX - start;
            let count = EXTENTS as u32;
            let mut said = Fiemap {
                head: FiemapHead { start, length, flags: 0, mapped: 0, count, reserved: 0 },
                extents: [Extent::default(); EXTENTS],
            };
            // SAFETY: the opcode encodes the size of the head, whose `count` says how many extents there is room for behind it;
            // the kernel fills at most those.
            unsafe { ioctl(file, Updater::<FS_IOC_FIEMAP, Fiemap>::new(&mut said)) }.ok()?;
            let found = &said.extents[..(said.head.mapped as usize).min(EXTENTS)];
            for extent in found {
                map.vague |= extent.flags & NOWHERE != 0;
                map.inline |= extent.flags & INLINE != 0;
                map.extents.push((extent.logical, extent.physical, extent.length));
            }
            match found.last() {
                Some(last) if last.flags & LAST == 0 => start = last.logical.saturating_add(last.length),
                _ => return Some(map),
            }
        }
    }

    /// Whether both lie in the same blocks.
    pub(crate) fn is_same(&self, other: &Map) -> bool {
        !self.vague && !other.vague && !self.extents.is_empty() && self.extents == other.extents
    }
}
