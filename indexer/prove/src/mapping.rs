//! Stores through a shared mapping of a file, the one way to change content without a system call that says so.
#![expect(unsafe_code, reason = "mmap, munmap, msync and a read into mapped memory")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr::{self, NonNull};

/// Bytes mapped of each file.
const LENGTH: usize = 4096;

/// The first page of a file, mapped shared and writable until dropped. It outlives the descriptor it was made from.
#[derive(Debug)]
pub(crate) struct Mapping(NonNull<libc::c_void>);

// SAFETY: the address is used by system calls alone, which any thread may make.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first page of `file`, which is open for reading and writing.
    pub(crate) fn new(file: &File) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing; the descriptor is open.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), LENGTH, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address).map(Mapping).ok_or_else(|| io::Error::other("mapped at address 0"))
    }

    /// Stores `length` bytes (at most a page) read from `source` at the start of the mapping.
    ///
    /// # Errors
    /// `EFAULT` where another thread has cut the file below the mapping: the kernel does the store, so that ends in an error
    /// and not in SIGBUS.
    pub(crate) fn store(&self, source: &File, length: usize) -> io::Result<()> {
        let length = length.min(LENGTH);
        // SAFETY: the mapping is LENGTH bytes and alive, and no Rust reference to it exists anywhere.
        let stored = unsafe { libc::read(source.as_raw_fd(), self.0.as_ptr(), length) };
        if stored < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Writes what was stored back to the file, and waits for it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // SAFETY: the mapping is LENGTH bytes at a page's start, and alive.
        let synced = unsafe { libc::msync(self.0.as_ptr(), LENGTH, libc::MS_SYNC) };
        if synced < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new` with this length and is unmapped once.
        unsafe { libc::munmap(self.0.as_ptr(), LENGTH) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_store_shows_in_the_file_and_one_beyond_its_end_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 100]).unwrap();
        let source = File::open("/dev/zero").unwrap();
        let mapping = Mapping::new(&file).unwrap();
        mapping.store(&source, 10).unwrap();
        file.set_len(0).unwrap();
        assert_eq!(mapping.store(&source, 10).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }
}
