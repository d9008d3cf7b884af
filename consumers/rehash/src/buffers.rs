//! Buffers for reading, kept by each thread for its next file, so that small files cost no allocation of a mebibyte each.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// Bytes of a buffer. A thread keeps two at most.
pub(crate) const BUFFER: usize = 1 << 20;

/// What buffers, and reads past the page cache, begin on.
pub(crate) const PAGE: usize = 4 << 10;

/// A mebibyte that begins on a page: allocators put large ones 16 bytes behind, and there processors whose string copy is
/// fast otherwise take three times as long to copy a page of the cache.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    from: usize,
}

impl Buffer {
    /// Zeros, whose pages take no memory until they are written to.
    fn new() -> Buffer {
        let bytes = vec![0; BUFFER + PAGE].into_boxed_slice();
        let from = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Buffer { bytes, from }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.from..][..BUFFER]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..][..BUFFER]
    }
}

thread_local! {
    static KEPT: Cell<Vec<Buffer>> = const { Cell::new(Vec::new()) };
}

/// One of the thread's buffers, or a new one. What is in it is left from before.
pub(crate) fn take() -> Buffer {
    let mut kept = KEPT.take();
    let buffer = kept.pop();
    KEPT.set(kept);
    buffer.unwrap_or_else(Buffer::new)
}

/// Keeps `buffer` for the thread's next file.
pub(crate) fn keep(buffer: Buffer) {
    let mut kept = KEPT.take();
    if kept.len() < 2 {
        kept.push(buffer);
    }
    KEPT.set(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_on_pages_and_come_back() {
        let first = take();
        let second = take();
        for buffer in [&first, &second] {
            assert_eq!((buffer.as_ptr().align_offset(PAGE), buffer.len()), (0, BUFFER));
        }
        let place = first.as_ptr();
        keep(first);
        assert_eq!(take().as_ptr(), place);
    }
}
