//! Snapshots read back: rows in the order of paths, a batch at a time, with the columns that were asked for and no others. A file may come from
//! anybody: what is no snapshot is refused with a reason. Knows not what rows are read for.

mod columns;
mod error;
mod find;
mod frames;
mod lines;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use rustix::fs::OFlags;

use crate::columns::Columns;

pub use columns::Column;
pub use error::ReadError;
pub use find::{Day, Found, find};
pub use frames::Unframed;
pub use lines::{Line, Lines, NodeId};

/// Rows in a batch.
pub(crate) const BATCH: usize = 1 << 13;
/// The longest footer that is read: ours takes some kilobytes a group of rows.
const FOOTER: u64 = 64 << 20;
/// What a Parquet file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Of what a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its root as text.
    pub root: String,
    /// The bytes of that path in base64, where it is no text.
    pub root_raw: Option<String>,
    /// The host that keeps the index.
    pub host: String,
    /// The journal's epoch; `None` for rows straight from a walk, which have no journal.
    pub epoch: Option<String>,
    /// The last record before it.
    pub watermark: Option<u64>,
    /// When, in microseconds since 1970.
    pub taken_us: i64,
    /// Which columns it has.
    pub columns: Columns,
}

/// What comes out of a snapshot or of an index.
#[derive(Debug)]
pub enum Part {
    /// A root begins.
    Begin(Box<Head>),
    /// Rows of it.
    Rows(Box<Lines>),
}

/// One file, being read.
pub struct Reader {
    head: Head,
    path: PathBuf,
    rows: u64,
    batches: Option<ParquetRecordBatchReader>,
    /// The path of the last row before.
    last: String,
}

impl Reader {
    /// Opens a file that holds a snapshot, to read `wanted` of it. The path is always read.
    ///
    /// # Errors
    /// For what is no snapshot that this version reads.
    pub fn open(path: &Path, wanted: &[Column]) -> Result<Reader, ReadError> {
        Reader::of(opened(path)?, path, BATCH, &|columns| columns::names(columns, wanted))
    }

    /// Reads `file`, which was opened by that path: so many rows at a time, and of its columns those that `names` says for its version.
    pub(crate) fn of(
        mut file: File,
        path: &Path,
        batch: usize,
        names: &dyn Fn(Columns) -> Vec<&'static str>,
    ) -> Result<Reader, ReadError> {
        has_ends(&mut file, path)?;
        // Fields as the file's own schema says, and not as what else claims to be it.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = tamed(path, || ArrowReaderMetadata::load(&file, options))?;
        let head = head(path, &metadata)?;
        let rows = metadata.metadata().file_metadata().num_rows();
        let rows = u64::try_from(rows).map_err(|_| ReadError::damaged(path, "it has less than no rows"))?;
        let names = columns::checked(path, head.columns, metadata.schema(), names(head.columns))?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), names.iter().copied());
        let batches = tamed(path, || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
            builder.with_projection(mask).with_batch_size(batch).build()
        })?;
        Ok(Reader { head, path: path.to_owned(), rows, batches: Some(batches), last: String::new() })
    }

    /// Of what it is.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How many rows it says to have.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// For what is damaged, and for rows that are not in order. Nothing comes after an error.
    pub fn next_lines(&mut self) -> Result<Option<Lines>, ReadError> {
        let Some(batch) = self.next_batch()? else { return Ok(None) };
        let lines = Lines::new(&batch, self.head.columns);
        lines.map(Some).ok_or_else(|| ReadError::not_ours(&self.path))
    }

    /// The next rows as they are; none at the end.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let Some(mut batches) = self.batches.take() else { return Ok(None) };
        let batch = tamed(&self.path, || match batches.next() {
            None => Ok(None),
            Some(batch) => batch.map(Some).map_err(ParquetError::from),
        })?;
        let Some(batch) = batch else { return Ok(None) };
        self.check(&batch)?;
        self.batches = Some(batches);
        Ok(Some(batch))
    }

    /// Comparing two files takes that each is in the order that it is said to be in.
    fn check(&mut self, batch: &RecordBatch) -> Result<(), ReadError> {
        let paths = batch.column_by_name("path").and_then(|paths| paths.as_string_opt::<i32>());
        let paths = paths.ok_or_else(|| ReadError::not_ours(&self.path))?;
        let mut before = self.last.as_str();
        for path in paths.iter().map(Option::unwrap_or_default) {
            if before >= path && !before.is_empty() {
                return Err(ReadError::Order { path: self.path.clone(), row: path.to_owned() });
            }
            before = path;
        }
        self.last = before.to_owned();
        Ok(())
    }
}

/// A file to read from.
pub(crate) fn opened(path: &Path) -> Result<File, ReadError> {
    let mut options = File::options();
    // A pipe of that name would block.
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = options.read(true).custom_flags(flags.bits().cast_signed()).open(path);
    opened.map_err(|source| ReadError::File { doing: "open", path: path.to_owned(), source })
}

/// Does what the library may do wrongly with hostile bytes.
fn tamed<T>(path: &Path, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ReadError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| ReadError::damaged(path, error)),
        Err(_) => Err(ReadError::damaged(path, "its bytes are not what they are said to be")),
    }
}

/// Whether it begins and ends as Parquet does, with a footer of a size that may be read.
fn has_ends(file: &mut File, path: &Path) -> Result<(), ReadError> {
    let mut look = || -> std::io::Result<Result<(), ReadError>> {
        file.seek(SeekFrom::Start(0))?;
        let metadata = file.metadata()?;
        let length = metadata.len();
        let mut ends = [[0; 4]; 3];
        if !metadata.is_file() || length < 12 {
            return Ok(Err(ReadError::NotParquet(path.to_owned())));
        }
        file.read_exact(&mut ends[0])?;
        file.seek(SeekFrom::End(-8))?;
        file.read_exact(&mut ends[1])?;
        file.read_exact(&mut ends[2])?;
        let footer = u64::from(u32::from_le_bytes(ends[1]));
        Ok(match (&ends[0] == MAGIC, &ends[2] == MAGIC) {
            (false, _) => Err(ReadError::NotParquet(path.to_owned())),
            (true, false) => Err(ReadError::CutOff(path.to_owned())),
            (true, true) if footer > FOOTER.min(length - 12) => {
                Err(ReadError::damaged(path, format!("its footer is said to have {footer} bytes")))
            }
            (true, true) => Ok(()),
        })
    };
    look().map_err(|source| ReadError::File { doing: "read", path: path.to_owned(), source })?
}

fn head(path: &Path, metadata: &ArrowReaderMetadata) -> Result<Head, ReadError> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    let find = |key: &str| {
        let pair = pairs.into_iter().flatten().find(|pair| pair.key.strip_prefix("indexer.") == Some(key))?;
        pair.value.clone()
    };
    let schema = find("schema").ok_or_else(|| ReadError::Foreign(path.to_owned()))?;
    let columns = [Columns::Native, Columns::Unix].into_iter().find(|columns| columns.version() == schema);
    let Some(columns) = columns else { return Err(ReadError::Version { path: path.to_owned(), schema }) };
    let must = |key: &str| {
        find(key).ok_or_else(|| ReadError::damaged(path, format!("its footer lacks indexer.{key}")))
    };
    let number = |key: &str| -> Result<i64, ReadError> {
        let text = must(key)?;
        text.parse().map_err(|_| ReadError::damaged(path, format!("indexer.{key} is no number")))
    };
    let epoch = find("epoch");
    Ok(Head {
        root: must("root")?,
        root_raw: find("root_raw"),
        host: must("host")?,
        watermark: epoch.is_some().then(|| number("watermark")).transpose()?.map(i64::unsigned_abs),
        epoch,
        taken_us: number("taken_us")?,
        columns,
    })
}
