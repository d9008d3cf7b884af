//! Sorted runs: records are sorted in a buffer, written out when it is full, and merged in key order.
//! Knows keys as bytes and values not at all.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::keep::Keep;
use super::sum::Summed;
use super::{RunResult, run_error};
use crate::error::{Corrupt, IndexError};
use crate::meter::Meter;

/// Bytes read from or written to a run at a time.
const RUN_BUFFER: usize = 128 << 10;

/// Runs merged at once; more are first merged into fewer, so that descriptors and buffers are bounded.
const MOST_AT_ONCE: usize = 256;

/// Bytes before key and value in a run: their lengths.
pub(crate) const HEAD: usize = 6;

/// Longest value in a run: a row with its name is far below.
const LONGEST: usize = 1 << 20;

/// The sorted runs of one table.
pub(crate) type Runs = Vec<Run>;

/// A run in a file, and what it must read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunFile {
    /// Its place in [`super::manifest::KINDS`].
    pub(crate) kind: u8,
    /// What it is called by.
    pub(crate) number: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Of those bytes, see [`super::sum`].
    pub(crate) sum: u64,
}

/// One sorted run.
pub(crate) enum Run {
    /// In a file.
    File(PathBuf),
    /// What was left in a buffer at the end: too little to be worth a file.
    Memory(Sorted),
}

/// A record in the buffer: the first 12 bytes of its key as numbers, and where it is.
#[derive(Clone, Copy)]
struct Slot {
    inode: u64,
    volume: u32,
    offset: u32,
}

/// Sorts the records of one thread and one table.
pub(crate) struct Sorter {
    keep: Arc<Keep>,
    kind: u8,
    limit: usize,
    sorted: Sorted,
    /// Written, and not taken yet.
    files: Vec<RunFile>,
    /// Runs written so far.
    spills: u64,
}

/// How far a sorter is, to go back to.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    bytes: usize,
    slots: usize,
    spills: u64,
}

/// Records and their order.
#[derive(Default)]
pub(crate) struct Sorted {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Sorter {
    /// A sorter that writes a run whenever it holds `limit` bytes.
    pub(crate) fn new(keep: Arc<Keep>, kind: u8, limit: usize) -> Sorter {
        Sorter {
            keep,
            kind,
            limit: limit.clamp(1 << 12, 1 << 30),
            sorted: Sorted::default(),
            files: Vec::new(),
            spills: 0,
        }
    }

    /// Adds a record whose key is `prefix` and `rest`.
    pub(crate) fn push(&mut self, prefix: &[u8; 12], rest: &[u8], value: &[u8]) -> RunResult<()> {
        let length = HEAD + prefix.len() + rest.len() + value.len();
        if self.used() + length > self.limit {
            self.spill()?;
        }
        self.sorted.push(prefix, rest, value);
        Ok(())
    }

    fn used(&self) -> usize {
        self.sorted.bytes.len() + self.sorted.slots.len() * size_of::<Slot>()
    }

    /// Whether an eighth of the buffer is left at most.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.used() > self.limit / 8 * 7
    }

    pub(crate) fn position(&self) -> Position {
        Position { bytes: self.sorted.bytes.len(), slots: self.sorted.slots.len(), spills: self.spills }
    }

    /// Drops what came after `position`; false where some of that is in a run already.
    pub(crate) fn go_back(&mut self, position: Position) -> bool {
        if self.spills != position.spills {
            return false;
        }
        self.sorted.bytes.truncate(position.bytes);
        self.sorted.slots.truncate(position.slots);
        true
    }

    /// Hands over all runs.
    pub(crate) fn finish(mut self, runs: &mut Runs) {
        let files = self.take_files();
        runs.extend(files.iter().map(|file| Run::File(self.keep.path(file))));
        if !self.sorted.slots.is_empty() {
            self.sorted.sort();
            self.sorted.bytes.shrink_to_fit();
            runs.push(Run::Memory(self.sorted));
        }
    }

    /// The runs written since this was last asked.
    pub(crate) fn take_files(&mut self) -> Vec<RunFile> {
        std::mem::take(&mut self.files)
    }

    /// Writes what the buffer holds as a run.
    pub(crate) fn spill(&mut self) -> RunResult<()> {
        if self.sorted.slots.is_empty() {
            return Ok(());
        }
        self.sorted.sort();
        let mut out = RunWriter::new(&self.keep, self.kind)?;
        for slot in &self.sorted.slots {
            out.write(self.sorted.record(*slot))?;
        }
        self.files.push(out.finish()?);
        self.spills += 1;
        self.sorted.bytes.clear();
        self.sorted.slots.clear();
        Ok(())
    }
}

/// A run being written.
pub(crate) struct RunWriter {
    path: PathBuf,
    kind: u8,
    number: u64,
    out: BufWriter<Summed<File>>,
}

impl RunWriter {
    pub(crate) fn new(keep: &Keep, kind: u8) -> RunResult<RunWriter> {
        let number = keep.next_run();
        let path = keep.path_of(kind, number);
        let file = File::create_new(&path).map_err(run_error("make", &path))?;
        Ok(RunWriter { path, kind, number, out: BufWriter::with_capacity(RUN_BUFFER, Summed::new(file)) })
    }

    /// Adds a record as it stands in a run.
    pub(crate) fn write(&mut self, record: &[u8]) -> RunResult<()> {
        self.out.write_all(record).map_err(run_error("write", &self.path))
    }

    /// Adds a record; keys must come in order.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> RunResult<()> {
        self.write(&head(key, value))?;
        self.write(key)?;
        self.write(value)
    }

    pub(crate) fn finish(self) -> RunResult<RunFile> {
        let RunWriter { path, kind, number, out } = self;
        let summed = out.into_inner().map_err(|error| run_error("write", &path)(error.into_error()))?;
        let (length, sum) = summed.finish();
        Ok(RunFile { kind, number, length, sum })
    }
}

fn head(key: &[u8], value: &[u8]) -> [u8; HEAD] {
    let key = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
    let value = u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes();
    [key[0], key[1], value[0], value[1], value[2], value[3]]
}

impl Sorted {
    fn push(&mut self, prefix: &[u8; 12], rest: &[u8], value: &[u8]) {
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let key_length = u16::try_from(prefix.len() + rest.len()).unwrap_or(u16::MAX);
        let value_length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&key_length.to_le_bytes());
        self.bytes.extend_from_slice(&value_length.to_le_bytes());
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(value);
        let (mut volume, mut inode) = ([0; 4], [0; 8]);
        volume.copy_from_slice(&prefix[..4]);
        inode.copy_from_slice(&prefix[4..]);
        self.slots.push(Slot {
            inode: u64::from_be_bytes(inode),
            volume: u32::from_be_bytes(volume),
            offset,
        });
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.slots.sort_unstable_by(|a, b| {
            (a.volume, a.inode)
                .cmp(&(b.volume, b.inode))
                .then_with(|| split(bytes, *a).0[12..].cmp(&split(bytes, *b).0[12..]))
        });
    }

    fn record(&self, slot: Slot) -> &[u8] {
        let (key, value) = split(&self.bytes, slot);
        let start = slot.offset as usize;
        &self.bytes[start..start + HEAD + key.len() + value.len()]
    }
}

fn split(bytes: &[u8], slot: Slot) -> (&[u8], &[u8]) {
    let at = slot.offset as usize;
    let (key, value) = lengths(&bytes[at..at + HEAD]);
    let start = at + HEAD;
    (&bytes[start..start + key], &bytes[start + key..start + key + value])
}

pub(crate) fn lengths(head: &[u8]) -> (usize, usize) {
    let key = u16::from_le_bytes([head[0], head[1]]);
    let value = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
    (usize::from(key), value as usize)
}

/// A run being read.
enum Source {
    File { path: PathBuf, file: BufReader<File>, record: Vec<u8>, key: usize },
    Memory { sorted: Sorted, at: usize },
}

impl Source {
    fn current(&self) -> (&[u8], &[u8]) {
        match self {
            Source::File { record, key, .. } => record.split_at(*key),
            Source::Memory { sorted, at } => split(&sorted.bytes, sorted.slots[*at]),
        }
    }

    /// Moves on; false at the end.
    fn advance(&mut self) -> RunResult<bool> {
        match self {
            Source::Memory { sorted, at } => {
                *at += 1;
                Ok(*at < sorted.slots.len())
            }
            Source::File { path, file, record, key } => {
                let mut head = [0; HEAD];
                match file.read_exact(&mut head) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
                    Err(error) => return Err(run_error("read", path)(error)),
                }
                let (key_length, value_length) = lengths(&head);
                if value_length > LONGEST {
                    return Err(IndexError::damaged(path.display(), Corrupt("record too long")));
                }
                record.resize(key_length + value_length, 0);
                *key = key_length;
                file.read_exact(record).map_err(run_error("read", path))?;
                Ok(true)
            }
        }
    }
}

/// All runs of a table as one, in key order. Equal keys come in no particular order.
pub(crate) struct Merge<'m> {
    /// A binary heap by current key, least first.
    heap: Vec<Source>,
    started: bool,
    /// A load of many millions is one transaction, and must not look like a standstill.
    meter: Option<&'m Meter>,
    taken: u32,
}

impl<'m> Merge<'m> {
    /// Tells `meter` now and then that it gets on.
    pub(crate) fn telling(self, meter: &'m Meter) -> Merge<'m> {
        Merge { meter: Some(meter), ..self }
    }

    pub(crate) fn new(keep: &Keep, runs: Runs) -> RunResult<Merge<'m>> {
        let mut runs = runs;
        while runs.len() > MOST_AT_ONCE {
            let rest = runs.split_off(MOST_AT_ONCE);
            let mut merge = Merge::of(runs)?;
            let mut out = RunWriter::new(keep, super::manifest::MERGED)?;
            while let Some((key, value)) = merge.next()? {
                out.put(key, value)?;
            }
            // The oldest are merged first, and what was merged comes last: none is merged more often than another.
            runs = rest;
            runs.push(Run::File(keep.path(&out.finish()?)));
        }
        Merge::of(runs)
    }

    fn of(runs: Runs) -> RunResult<Merge<'m>> {
        let mut merge = Merge { heap: Vec::with_capacity(runs.len()), started: false, meter: None, taken: 0 };
        for run in runs {
            let mut source = match run {
                Run::Memory(sorted) => {
                    merge.heap.push(Source::Memory { sorted, at: 0 });
                    continue;
                }
                Run::File(path) => {
                    let file = File::open(&path).map_err(run_error("open", &path))?;
                    let file = BufReader::with_capacity(RUN_BUFFER, file);
                    Source::File { path, file, record: Vec::new(), key: 0 }
                }
            };
            if source.advance()? {
                merge.heap.push(source);
            }
        }
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        Ok(merge)
    }

    /// The next record: key and value.
    pub(crate) fn next(&mut self) -> RunResult<Option<(&[u8], &[u8])>> {
        self.taken = self.taken.wrapping_add(1);
        if let Some(meter) = self.meter
            && self.taken.is_multiple_of(1024)
        {
            meter.step();
        }
        if self.started
            && let Some(first) = self.heap.first_mut()
        {
            if !first.advance()? {
                self.heap.swap_remove(0);
            }
            self.sift_down(0);
        }
        self.started = true;
        Ok(self.heap.first().map(Source::current))
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.compare(child, least) == Ordering::Less {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        self.heap[a].current().0.cmp(self.heap[b].current().0)
    }
}
