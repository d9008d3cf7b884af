//! A file from its begin to its end, holes skipped, into a hash. Judges nothing: the looks before and after are others'.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::algorithm::{Algorithm, Hasher};
use crate::buffers::{BUFFER, PAGE};
use crate::cache::{Ahead, Cache};
use crate::ends::Ends;
use crate::look::Refused;
use crate::sink::{Alone, Piece, Sink, with_helper};

/// Zeros that are hashed between two questions whether to stop: some milliseconds.
const ZEROS_AT_ONCE: u64 = 16 << 20;

/// Files of this size in bytes and more are hashed by a second thread while this one reads: 2.8 GiB/s instead of 2.4 of a cached
/// file on two cores, 1.9 instead of 1.7 of one that is not. Below, to start it costs more than it gives.
const LARGE: u64 = 4 << 20;

/// Files of fewer bytes are hashed on one core.
const PARALLEL_FROM: u64 = 8 << 20;

/// What one reading gave.
pub(crate) struct Read {
    pub(crate) hash: [u8; 32],
    pub(crate) ends: Ends,
    pub(crate) read: u64,
}

/// What is to be read.
pub(crate) struct Job<'a> {
    pub(crate) file: &'a File,
    pub(crate) size: u64,
    /// It takes less of the disk than its size: it may have holes.
    pub(crate) sparse: bool,
    pub(crate) algorithm: Algorithm,
    /// Large ones may be hashed by all cores.
    pub(crate) parallel: bool,
    /// It is open past the page cache.
    pub(crate) direct: bool,
}

/// Asked before bytes are read: whether to go on, when that may be.
pub type Ask<'a> = &'a mut dyn FnMut(Ahead) -> ControlFlow<()>;

/// Reads and hashes the file. `None`: it ended early.
pub(crate) fn whole(job: &Job, ask: Ask) -> Result<Option<Read>, Refused> {
    let hasher = || Hasher::new(job.algorithm, job.parallel && job.size >= PARALLEL_FROM);
    if job.size >= LARGE
        && let Some((passed, hash)) = with_helper(hasher(), |sink| pass(job, ask, sink))
    {
        return finished(passed?, hash);
    }
    let mut sink = Alone::new(hasher());
    let passed = pass(job, ask, &mut sink)?;
    finished(passed, sink.finish())
}

fn finished(passed: Option<(Ends, u64)>, hash: [u8; 32]) -> Result<Option<Read>, Refused> {
    Ok(passed.map(|(ends, read)| Read { hash, ends, read }))
}

/// Passes all of the file to `sink`; its ends, and how many bytes were read. `None`: it ended early.
fn pass(job: &Job, ask: Ask, sink: &mut dyn Sink) -> Result<Option<(Ends, u64)>, Refused> {
    let cache = Cache::of(job.file, job.size);
    if job.size >= LARGE {
        cache.sequential();
    }
    let (mut ends, mut at, mut read) = (Ends::default(), 0, 0);
    while at < job.size {
        let zeros = if job.sparse { hole(job.file, at, job.size).min(ZEROS_AT_ONCE) } else { 0 };
        let wanted = if zeros > 0 { 0 } else { (job.size - at).min(BUFFER as u64) };
        if ask(cache.ahead(wanted)).is_break() {
            return Err(Refused::Stopped);
        }
        if zeros > 0 {
            ends.push_zeros(zeros);
            sink.take(Piece::Zeros(zeros));
            at += zeros;
            continue;
        }
        let mut buffer = sink.buffer();
        let filled = match job.direct {
            true => fill_direct(job.file, at, &mut buffer, wanted as usize)?,
            false => fill(job.file, at, &mut buffer[..wanted as usize])?,
        };
        if filled < wanted as usize {
            return Ok(None);
        }
        ends.push(&buffer[..wanted as usize]);
        sink.take(Piece::Bytes(buffer, wanted as usize));
        at += wanted;
        if at < job.size {
            cache.done(at - wanted, wanted);
        }
        read += wanted;
    }
    Ok(Some((ends, read)))
}

/// Bytes from `at` to the next data or the end: a hole, 0 where there is none or the file system does not tell. What remains of
/// a hole that begins within a buffer is seen at the next.
fn hole(file: &File, at: u64, size: u64) -> u64 {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(size).saturating_sub(at),
        Err(Errno::NXIO) => size - at,
        Err(_) => 0,
    }
}

/// Reads at least `wanted` bytes at `at`, if the file does not end before, from a file that is open past the page cache: places,
/// lengths and the buffer are whole pages, but for what the end of the file cuts off (open(2), `O_DIRECT`).
fn fill_direct(file: &File, at: u64, buffer: &mut [u8], wanted: usize) -> Result<usize, Refused> {
    let whole = wanted.next_multiple_of(PAGE).min(buffer.len());
    let mut done = 0;
    while done < wanted {
        let here = at + done as u64;
        match file.read_at(&mut buffer[done..whole], here) {
            Ok(bytes) => {
                done += bytes;
                if bytes == 0 || !bytes.is_multiple_of(PAGE) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Refused::Failed { at: Some(here), source }),
        }
    }
    Ok(done)
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
