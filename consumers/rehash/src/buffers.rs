//! Buffers for reading, kept by each thread for its next file, so that small files cost no allocation of a mebibyte each.

use std::cell::Cell;

/// Bytes of a buffer. A thread keeps two at most.
pub(crate) const BUFFER: usize = 1 << 20;

pub(crate) type Buffer = Box<[u8]>;

thread_local! {
    static KEPT: Cell<Vec<Buffer>> = const { Cell::new(Vec::new()) };
}

/// One of the thread's buffers, or a new one of zeros, whose pages take no memory until they are written to.
pub(crate) fn take() -> Buffer {
    let mut kept = KEPT.take();
    let buffer = kept.pop();
    KEPT.set(kept);
    buffer.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
}

/// Keeps `buffer` for the thread's next file.
pub(crate) fn keep(buffer: Buffer) {
    let mut kept = KEPT.take();
    if kept.len() < 2 {
        kept.push(buffer);
    }
    KEPT.set(kept);
}
