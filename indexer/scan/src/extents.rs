//! Where a file lies on its volume, as one number: files that share all their blocks have the same. Moves nothing.

use std::hash::{Hash as _, Hasher as _};
use std::os::fd::BorrowedFd;

use rustc_hash::FxHasher;

use crate::ioctl::extents;

/// Extents looked at; a file of more is taken to lie by itself.
const MOST: usize = 4096;

/// `FIEMAP_EXTENT_LAST`.
const LAST: u32 = 0x1;
/// Places that say nothing: unknown, not yet given, within another structure (`FIEMAP_EXTENT_UNKNOWN`, `DELALLOC`,
/// `NOT_ALIGNED`, `DATA_INLINE`, `DATA_TAIL`).
const NOWHERE: u32 = 0x2 | 0x4 | 0x100 | 0x200 | 0x400;

/// A hash of where the content of `file` lies; `None` where the file system does not tell, or it is not written to the disk yet.
#[must_use]
pub fn lies_at(file: BorrowedFd<'_>) -> Option<u64> {
    let mut hasher = FxHasher::default();
    let (mut start, mut count) = (0, 0);
    loop {
        let some = extents(file, start).ok()?;
        let last = *some.last()?;
        for extent in &some {
            if extent.flags & NOWHERE != 0 {
                return None;
            }
            (extent.logical, extent.physical, extent.length).hash(&mut hasher);
        }
        count += some.len();
        if last.flags & LAST != 0 {
            return Some(hasher.finish());
        }
        start = last.logical.checked_add(last.length).filter(|_| count < MOST)?;
    }
}
