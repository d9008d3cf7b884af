//! Sorted runs: records are sorted in a buffer, written out when it is full, and merged in key order.
//! Knows keys as bytes and values not at all.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use super::{RunResult, run_error};

/// Bytes read from or written to a run at a time.
const RUN_BUFFER: usize = 128 << 10;

/// Bytes before key and value in a run: their lengths.
const HEAD: usize = 6;

/// The sorted runs of one table.
pub(crate) type Runs = Vec<Run>;

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
    dir: PathBuf,
    kind: &'static str,
    limit: usize,
    sorted: Sorted,
    files: Vec<PathBuf>,
}

/// Records and their order.
#[derive(Default)]
pub(crate) struct Sorted {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

/// Distinguishes the run files of one process.
static RUN_NUMBER: AtomicU64 = AtomicU64::new(0);

impl Sorter {
    /// A sorter that writes a run to `dir` whenever it holds `limit` bytes.
    pub(crate) fn new(dir: PathBuf, kind: &'static str, limit: usize) -> Sorter {
        Sorter {
            dir,
            kind,
            limit: limit.clamp(1 << 12, 1 << 30),
            sorted: Sorted::default(),
            files: Vec::new(),
        }
    }

    /// Adds a record whose key is `prefix` and `rest`.
    pub(crate) fn push(&mut self, prefix: &[u8; 12], rest: &[u8], value: &[u8]) -> RunResult<()> {
        let length = HEAD + prefix.len() + rest.len() + value.len();
        let used = self.sorted.bytes.len() + self.sorted.slots.len() * size_of::<Slot>();
        if used + length > self.limit && !self.sorted.slots.is_empty() {
            self.spill()?;
        }
        self.sorted.push(prefix, rest, value);
        Ok(())
    }

    /// Hands over all runs.
    pub(crate) fn finish(mut self, runs: &mut Runs) {
        runs.extend(self.files.drain(..).map(Run::File));
        if !self.sorted.slots.is_empty() {
            self.sorted.sort();
            self.sorted.bytes.shrink_to_fit();
            runs.push(Run::Memory(self.sorted));
        }
    }

    fn spill(&mut self) -> RunResult<()> {
        self.sorted.sort();
        let number = RUN_NUMBER.fetch_add(1, Atomic::Relaxed);
        let path = self.dir.join(format!("{}-{number}.run", self.kind));
        let file = File::create_new(&path).map_err(run_error("make", &path))?;
        let mut out = BufWriter::with_capacity(RUN_BUFFER, file);
        for slot in &self.sorted.slots {
            out.write_all(self.sorted.record(*slot)).map_err(run_error("write", &path))?;
        }
        out.flush().map_err(run_error("write", &path))?;
        self.sorted.bytes.clear();
        self.sorted.slots.clear();
        self.files.push(path);
        Ok(())
    }
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

fn lengths(head: &[u8]) -> (usize, usize) {
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
                record.resize(key_length + value_length, 0);
                *key = key_length;
                file.read_exact(record).map_err(run_error("read", path))?;
                Ok(true)
            }
        }
    }
}

/// All runs of a table as one, in key order. Equal keys come in no particular order.
pub(crate) struct Merge {
    /// A binary heap by current key, least first.
    heap: Vec<Source>,
    started: bool,
}

impl Merge {
    pub(crate) fn new(runs: Runs) -> RunResult<Merge> {
        let mut merge = Merge { heap: Vec::with_capacity(runs.len()), started: false };
        for run in runs {
            let mut source = match run {
                Run::Memory(sorted) => {
                    merge.heap.push(Source::Memory { sorted, at: 0 });
                    continue;
                }
                Run::File(path) => {
                    let file = File::open(&path).map_err(run_error("open", &path))?;
                    // The file lives on as long as it is open, and is gone with it.
                    std::fs::remove_file(&path).map_err(run_error("remove", &path))?;
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
