//! A file from its begin to its end, holes skipped, into a hasher. Judges nothing: the looks before and after are others'.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::algorithm::Hasher;
use crate::buffers::{self, BUFFER};
use crate::cache::Cache;
use crate::ends::Ends;
use crate::look::Refused;

/// What one reading gave.
pub(crate) struct Read {
    pub(crate) hash: [u8; 32],
    pub(crate) ends: Ends,
    pub(crate) read: u64,
}

/// Zeros that are hashed between two questions whether to stop.
const ZEROS_AT_ONCE: u64 = 16 << 20;

/// Reads `size` bytes. `None`: the file ended early.
pub(crate) fn whole(
    file: &File,
    size: u64,
    sparse: bool,
    mut hasher: Hasher,
    pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Option<Read>, Refused> {
    let cache = Cache::of(file, &[0]);
    let (mut ends, mut at, mut read) = (Ends::default(), 0, 0);
    let mut buffer = buffers::take();
    while at < size {
        let hole = if sparse { hole(file, at, size) } else { 0 };
        if hole > 0 {
            let zeros = hole.min(ZEROS_AT_ONCE);
            if pace(0).is_break() {
                return Err(Refused::Stopped);
            }
            hasher.update_zeros(zeros);
            ends.push_zeros(zeros);
            at += zeros;
            continue;
        }
        let wanted = BUFFER.min(usize::try_from(size - at).unwrap_or(BUFFER));
        if pace(wanted as u64).is_break() {
            return Err(Refused::Stopped);
        }
        let bytes = &mut buffer[..wanted];
        if fill(file, at, bytes)? != wanted {
            return Ok(None);
        }
        hasher.update(bytes);
        ends.push(bytes);
        cache.done(at, wanted);
        at += wanted as u64;
        read += wanted as u64;
    }
    buffers::keep(buffer);
    Ok(Some(Read { hash: hasher.finish(), ends, read }))
}

/// Bytes from `at` to the next data or the end: a hole, 0 where there is none or the file system does not tell.
fn hole(file: &File, at: u64, size: u64) -> u64 {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(size).saturating_sub(at),
        Err(Errno::NXIO) => size - at,
        Err(_) => 0,
    }
}

/// Reads at `at` until `buffer` is full or the file ends; how many bytes.
pub(crate) fn fill(file: &File, at: u64, buffer: &mut [u8]) -> Result<usize, Refused> {
    let mut done = 0;
    while done < buffer.len() {
        let here = at + done as u64;
        match file.read_at(&mut buffer[done..], here) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Refused::Failed { at: Some(here), source }),
        }
    }
    Ok(done)
}
