//! The page cache, left as it was found. Knows pages, not what is in them.
//!
//! What was cached before is asked by reads of a byte that must not wait. Where a file system does not know such reads, the
//! file counts as cached, and its pages stay: nobody's are taken away. So it does when the disk, which the question sets to
//! work, answers before the question ends. The answer is for the whole file, by a few of its bytes, and has to come before
//! reading, since reading ahead fills what lies before us.

use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::buffers::BUFFER;

/// What is about to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// How much, at most 1 MiB; 0 where a hole is hashed.
    pub bytes: u64,
    /// The page cache does not have all of the file: the disk may have to read.
    pub from_disk: bool,
}

/// A file that is about to be read. When it was not cached, what was read of it leaves the cache with this.
pub(crate) struct Cache<'a> {
    file: &'a File,
    cold: bool,
    /// Some of it has to come from the disk.
    partly: bool,
}

impl<'a> Cache<'a> {
    /// For a reading of all `size` bytes. Small files are read at once, and cached or not as a whole.
    pub(crate) fn of(file: &'a File, size: u64) -> Cache<'a> {
        if size > BUFFER as u64 { Cache::at(file, &[0, size / 2]) } else { Cache::at(file, &[0]) }
    }

    /// Asks at these bytes; the file is cold when none of them is cached.
    pub(crate) fn at(file: &'a File, at: &[u64]) -> Cache<'a> {
        let absent = at.iter().filter(|at| is_absent(file, **at)).count();
        Cache { file, cold: absent == at.len(), partly: absent > 0 }
    }

    /// So many bytes are about to be read.
    pub(crate) fn ahead(&self, bytes: u64) -> Ahead {
        Ahead { bytes, from_disk: self.partly && bytes > 0 }
    }

    /// The file will be read from its begin to its end.
    pub(crate) fn sequential(&self) {
        // Advice: when it is not taken, nothing is lost but time.
        let _ = fadvise(self.file, 0, None, Advice::Sequential);
    }

    /// These bytes were read, and are not needed again.
    pub(crate) fn done(&self, from: u64, bytes: u64) {
        if let Some(bytes) = NonZeroU64::new(bytes).filter(|_| self.cold) {
            let _ = fadvise(self.file, from, Some(bytes), Advice::DontNeed);
        }
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        if self.cold {
            // Also what was read ahead and not used. Dirty and mapped pages stay.
            let _ = fadvise(self.file, 0, None, Advice::DontNeed);
        }
    }
}

fn is_absent(file: &File, at: u64) -> bool {
    let read = preadv2(file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT);
    read == Err(Errno::AGAIN)
}
