//! Head, middle and tail of a large file, hashed with its size. Tells nothing of what lies between.

use std::fs::File;

use crate::buffers::{self, BUFFER};
use crate::cache::Cache;
use crate::ends::Ends;
use crate::look::Refused;
use crate::whole::{Ask, Read, fill};

/// Files of more bytes than this can be sampled.
pub const SAMPLED_OVER: u64 = 10 << 20;

/// Bytes of each of the three samples.
pub const WINDOW: u64 = BUFFER as u64;

/// Where the samples of a file of `size` bytes begin. The middle lies on a page.
pub(crate) fn places(size: u64) -> [u64; 3] {
    [0, (size - WINDOW) / 2 / 4_096 * 4_096, size - WINDOW]
}

/// BLAKE3 of the size as 8 bytes, least first, then head, middle and tail. `None`: the file ended early.
pub(crate) fn sample(file: &File, size: u64, ask: Ask) -> Result<Option<Read>, Refused> {
    let cache = Cache::at(file, &places(size));
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    let mut ends = Ends::default();
    let mut buffer = buffers::take();
    for at in places(size) {
        if ask(cache.ahead(WINDOW)).is_break() {
            return Err(Refused::Stopped);
        }
        if fill(file, at, &mut buffer)? != BUFFER {
            return Ok(None);
        }
        hasher.update(&buffer);
        ends.push(&buffer);
        cache.done(at, WINDOW);
    }
    buffers::keep(buffer);
    Ok(Some(Read { hash: *hasher.finalize().as_bytes(), ends, read: 3 * WINDOW }))
}
