//! Sorted rows on disk, in files without a name: what a killed program leaves of them is nothing. Knows no order: rows come sorted.
//!
//! A run is frames; a frame is its length (four bytes, little-endian) and rows, of which the first stands by itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use record::{EntryId, Kind, Stat, Time, VolumeId};
use rustix::fs::OFlags;

use super::MOST;
use crate::entry::{Entry, Facts};
use crate::error::{Doing as _, SnapshotError};
use crate::stream::{Garbled, Rows, put_row};

/// Files that bore a name for a moment.
static MADE: AtomicU64 = AtomicU64::new(0);
/// Bytes of a frame, about.
const FULL: usize = if cfg!(test) { 256 } else { 64 << 10 };

/// Sorted rows: a part of a file.
#[derive(Debug)]
pub(crate) struct Run {
    file: Arc<Nameless>,
    start: u64,
    end: u64,
}

/// A file, and the folder to name when it fails.
#[derive(Debug)]
struct Nameless {
    file: File,
    folder: PathBuf,
}

/// Where runs are written to. A file holds as many as are merged at once, so that it goes when they are.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    now: Option<(Arc<Nameless>, u64, usize)>,
}

impl Scratch {
    pub(crate) fn new(folder: &Path) -> Scratch {
        Scratch { folder: folder.to_owned(), now: None }
    }

    /// Writes a run of what `all` pushes.
    pub(crate) fn write(
        &mut self,
        all: impl FnOnce(&mut Writer<'_>) -> Result<(), SnapshotError>,
    ) -> Result<Run, SnapshotError> {
        let (file, start, runs) = match self.now.take() {
            Some(now) if now.2 < MOST => now,
            _ => (Arc::new(Nameless::new(&self.folder)?), 0, 0),
        };
        let mut writer = Writer { file: &file, at: start, rows: Vec::new(), before: Vec::new() };
        all(&mut writer)?;
        let end = writer.end()?;
        self.now = Some((Arc::clone(&file), end, runs + 1));
        Ok(Run { file, start, end })
    }
}

impl Nameless {
    fn new(folder: &Path) -> Result<Nameless, SnapshotError> {
        let flags = OFlags::TMPFILE.bits().cast_signed();
        let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(folder) {
            // Not every file system knows of that.
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
                let name = folder.join(format!(".indexer-{process}-{number}.run"));
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(&name);
                file.and_then(|file| std::fs::remove_file(&name).map(|()| file))
            }
            opened => opened,
        };
        Ok(Nameless { file: file.doing("make a file to sort in, in", folder)?, folder: folder.to_owned() })
    }
}

/// Writes one run.
pub(crate) struct Writer<'a> {
    file: &'a Nameless,
    at: u64,
    rows: Vec<u8>,
    before: Vec<u8>,
}

impl Writer<'_> {
    /// Adds a row, which must not sort before the last one.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) -> Result<(), SnapshotError> {
        put_row(&mut self.rows, &self.before, entry);
        self.before.clear();
        self.before.extend_from_slice(entry.text.as_bytes());
        if self.rows.len() >= FULL { self.flush() } else { Ok(()) }
    }

    fn end(mut self) -> Result<u64, SnapshotError> {
        self.flush()?;
        Ok(self.at)
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.rows.len()).map_err(|_| Garbled::Bytes("a path is too long"))?;
        let Nameless { file, folder } = self.file;
        let written = file
            .write_all_at(&length.to_le_bytes(), self.at)
            .and_then(|()| file.write_all_at(&self.rows, self.at + 4));
        written.doing("sort what was found, in", folder)?;
        self.at += 4 + u64::from(length);
        self.rows.clear();
        self.before.clear();
        Ok(())
    }
}

/// Of a run that is not begun.
pub(crate) const NOTHING: Facts = Facts {
    id: EntryId { volume: VolumeId(0), inode: 0 },
    stat: Stat {
        kind: Kind::File,
        mode: 0,
        uid: 0,
        gid: 0,
        links: 0,
        size: 0,
        allocated: 0,
        modified: Time(0),
        changed: Time(0),
        accessed: Time(0),
        created: None,
    },
    category: None,
    digest: None,
    digest_time: None,
};

/// A run being read, and the row that it is at.
pub(super) struct Reader {
    run: Run,
    frame: Vec<u8>,
    at: usize,
    text: String,
    raw: Option<Vec<u8>>,
    depth: u32,
    facts: Facts,
}

impl Reader {
    /// At the first row; none where there is none.
    pub(super) fn begin(run: Run) -> Result<Option<Reader>, SnapshotError> {
        let (frame, text) = (Vec::new(), String::new());
        let mut reader = Reader { run, frame, at: 0, text, raw: None, depth: 0, facts: NOTHING };
        Ok(if reader.advance()? { Some(reader) } else { None })
    }

    /// Where it is in the order.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The row.
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry { text: &self.text, raw: self.raw.as_deref(), depth: self.depth, facts: self.facts }
    }

    /// Goes to the next row; false when there is none.
    pub(super) fn advance(&mut self) -> Result<bool, SnapshotError> {
        let mut text = std::mem::take(&mut self.text).into_bytes();
        if self.at == self.frame.len() {
            if self.run.start == self.run.end {
                return Ok(false);
            }
            self.turn()?;
            text.clear();
        }
        let mut rows = Rows::after(text, &self.frame[self.at..]);
        match rows.next_row()? {
            Some(entry) => {
                self.raw = entry.raw.map(<[u8]>::to_vec);
                (self.depth, self.facts) = (entry.depth, entry.facts);
            }
            None => return Err(Garbled::Bytes("a run is cut off").into()),
        }
        let (text, left) = rows.into_last();
        self.at = self.frame.len() - left;
        self.text = String::from_utf8(text).map_err(|_| Garbled::Bytes("a path is no text"))?;
        Ok(true)
    }

    fn turn(&mut self) -> Result<(), SnapshotError> {
        let Nameless { file, folder } = &*self.run.file;
        let mut length = [0; 4];
        file.read_exact_at(&mut length, self.run.start).doing("read what was sorted, in", folder)?;
        let length = u32::from_le_bytes(length);
        self.frame.resize(length as usize, 0);
        let read = file.read_exact_at(&mut self.frame, self.run.start + 4);
        read.doing("read what was sorted, in", folder)?;
        self.run.start += 4 + u64::from(length);
        self.at = 0;
        Ok(())
    }
}
