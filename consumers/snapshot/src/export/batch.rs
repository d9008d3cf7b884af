//! Rows of a snapshot, so many at a time: what a stretch of them adds up to, and as Arrow for a table that knows the host, the root and the
//! day as well. The same file gives the same batches each time. Knows no engine.

use std::fs::File;
use std::io::{ErrorKind, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, Date32Array, DictionaryArray, Int8Array, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::error::ExportError;
use crate::columns::Columns;
use crate::error::SnapshotError;
use crate::manifest::Manifest;
use crate::place::{MANIFEST, date};
use crate::read::{Reader, opened};
use crate::shelf::digest;

/// Paths of a batch take no more bytes: an engine makes one block of it then, which is there as a whole or not at all.
const MOST_PATHS: usize = 32 << 20;
/// A day has so many microseconds.
const DAY: i64 = 86_400_000_000;
/// Of zstd: bodies go through a network once.
const LEVEL: i32 = 1;
/// What rows are told by.
const TOLD_BY: [&str; 6] = ["path", "size", "inode", "changed_time", "accessed_time", "digest_time"];

/// Which rows of a table are a snapshot's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its host.
    pub host: String,
    /// Its root as text.
    pub root: String,
    /// Its day in UTC, `2026-11-22`.
    pub date: String,
}

/// What rows add up to; sums wrap, times are microseconds since 1970, and null counts nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u64,
    /// Bytes of paths, sizes, inodes, and the times of change, access and digest.
    pub(super) sums: [i64; TOLD_BY.len()],
}

impl Sums {
    pub(super) fn add(&mut self, other: &Sums) {
        self.rows += other.rows;
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// Which columns are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// All.
    All,
    /// Those that rows are told by.
    Sums,
}

/// A snapshot, opened: it stays the same while another takes its place.
#[derive(Debug)]
pub(super) struct Snapshot {
    file: File,
    path: PathBuf,
    days: i32,
    pub(super) key: Key,
    pub(super) rows: u64,
    /// Of the file, hexadecimal; empty where nobody read it.
    pub(super) blake3: String,
}

impl Snapshot {
    /// Opens it, and reads what it says of itself.
    pub(super) fn look(path: &Path) -> Result<Snapshot, ExportError> {
        let file = opened(path)?;
        let reader = Reader::of(again(&file, path)?, path, 1, &|_| vec!["path"])?;
        let (head, rows) = (reader.head(), reader.rows());
        if head.columns != Columns::Native {
            return Err(ExportError::Columns(path.to_owned()));
        }
        let day = || ExportError::Day(path.to_owned());
        // What a Date of ClickHouse holds.
        let days = u16::try_from(head.taken_us.div_euclid(DAY)).map_err(|_| day())?.into();
        let date = date(head.taken_us).map_err(|_| day())?;
        let key = Key { host: head.host.clone(), root: head.root.clone(), date };
        Ok(Snapshot { file, path: path.to_owned(), days, key, rows, blake3: String::new() })
    }

    /// Opens it, and reads it through once.
    pub(super) fn open(path: &Path) -> Result<Snapshot, ExportError> {
        let mut snapshot = Snapshot::look(path)?;
        let digest = snapshot.file.seek(SeekFrom::Start(0)).and_then(|_| digest(&mut snapshot.file));
        let (_, blake3) = digest.map_err(|source| cannot_read(path, source))?;
        snapshot.blake3 = blake3.to_hex().to_string();
        if manifested(path)?.is_some_and(|written| written != snapshot.blake3) {
            return Err(ExportError::Manifest(path.to_owned()));
        }
        Ok(snapshot)
    }

    /// Its rows in order, at most so many at a time.
    pub(super) fn batches(&self, most: usize, want: Want) -> Result<Batches, ExportError> {
        let reader = Reader::of(again(&self.file, &self.path)?, &self.path, most, &|columns| match want {
            Want::All => columns.specs().iter().map(|spec| spec.name).collect(),
            Want::Sums => TOLD_BY.to_vec(),
        })?;
        Ok(Batches { reader, parts: Vec::new(), next: 0 })
    }

    /// Rows as an Arrow stream, compressed by zstd, with columns for the host, the root and the day before their own.
    pub(super) fn body(&self, batch: &Batch) -> Result<Vec<u8>, ExportError> {
        self.encoded(&batch.rows).map_err(|error| ExportError::Encode(error.to_string()))
    }

    fn encoded(&self, rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let word = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let mut fields = vec![
            Field::new("host", word.clone(), false),
            Field::new("root", word, false),
            Field::new("date", DataType::Date32, false),
        ];
        let one = |text: &str| -> Result<ArrayRef, ArrowError> {
            let values = Arc::new(StringArray::from(vec![text]));
            let keys = Int8Array::from(vec![0; rows.num_rows()]);
            Ok(Arc::new(DictionaryArray::<Int8Type>::try_new(keys, values)?))
        };
        let date = Date32Array::from(vec![self.days; rows.num_rows()]);
        let mut columns = vec![one(&self.key.host)?, one(&self.key.root)?, Arc::new(date)];
        for spec in Columns::Native.specs() {
            let column = rows.column_by_name(spec.name);
            columns.push(Arc::clone(column.ok_or_else(|| ArrowError::SchemaError(spec.name.to_owned()))?));
            fields.push(Field::new(spec.name, spec.sort.data(), spec.nullable));
        }
        let schema = Arc::new(Schema::new(fields));
        let whole = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let mut stream = StreamWriter::try_new(zstd::Encoder::new(Vec::new(), LEVEL)?, &schema)?;
        stream.write(&whole)?;
        Ok(stream.into_inner()?.finish()?)
    }
}

/// The file once more: each reader seeks before it reads.
fn again(file: &File, path: &Path) -> Result<File, ExportError> {
    file.try_clone().map_err(|source| cannot_read(path, source))
}

fn cannot_read(path: &Path, source: std::io::Error) -> ExportError {
    SnapshotError::File { doing: "read", path: path.to_owned(), source }.into()
}

/// What the manifest beside it says of its bytes, if there is one.
fn manifested(path: &Path) -> Result<Option<String>, ExportError> {
    let manifest = match Manifest::read(&path.with_file_name(MANIFEST)) {
        Err(SnapshotError::File { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        manifest => manifest?,
    };
    let ours =
        manifest.files.into_iter().find(|file| path.file_name().is_some_and(|name| name == &*file.name));
    Ok(ours.map(|file| file.blake3))
}

/// Rows that go out together.
#[derive(Debug)]
pub(super) struct Batch {
    rows: RecordBatch,
    /// The number of its first row in the file.
    pub(super) start: u64,
    /// What it adds up to.
    pub(super) sums: Sums,
    /// The paths of its first and its last row.
    pub(super) between: [String; 2],
}

/// All batches of a file, in order.
pub(super) struct Batches {
    reader: Reader,
    /// Those of the last read that are not out yet, the next one last.
    parts: Vec<RecordBatch>,
    next: u64,
}

impl Batches {
    /// The next; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, ExportError> {
        if self.parts.is_empty() {
            let Some(rows) = self.reader.next_batch()? else { return Ok(None) };
            part(rows, MOST_PATHS, &mut self.parts);
            self.parts.reverse();
        }
        let Some(rows) = self.parts.pop() else { return Ok(None) };
        let start = self.next;
        self.next += rows.num_rows() as u64;
        let paths = rows.column_by_name("path").and_then(|paths| paths.as_string_opt::<i32>());
        let end = |row: usize| paths.map(|paths| paths.value(row).to_owned()).unwrap_or_default();
        let between = [end(0), end(rows.num_rows() - 1)];
        Ok(Some(Batch { start, sums: sums(&rows), between, rows }))
    }
}

/// Halves, until the paths of each are short enough.
fn part(rows: RecordBatch, most: usize, parts: &mut Vec<RecordBatch>) {
    let paths = rows.column_by_name("path").and_then(|paths| paths.as_string_opt::<i32>());
    let bytes = paths.map_or(0, |paths| {
        let offsets = paths.value_offsets();
        offsets.last().zip(offsets.first()).map_or(0, |(end, begin)| (end - begin).unsigned_abs() as usize)
    });
    let count = rows.num_rows();
    if bytes <= most || count < 2 {
        parts.extend((count > 0).then_some(rows));
        return;
    }
    part(rows.slice(0, count / 2), most, parts);
    part(rows.slice(count / 2, count - count / 2), most, parts);
}

fn sums(rows: &RecordBatch) -> Sums {
    fn sum<T: ArrowPrimitiveType<Native = i64>>(array: &PrimitiveArray<T>) -> i64 {
        array.iter().flatten().fold(0, i64::wrapping_add)
    }
    let of = |name: &str| -> i64 {
        let Some(column) = rows.column_by_name(name) else { return 0 };
        if let Some(text) = column.as_string_opt::<i32>() {
            let offsets = text.value_offsets();
            return offsets.last().zip(offsets.first()).map_or(0, |(end, begin)| i64::from(end - begin));
        }
        match column.as_primitive_opt::<Int64Type>() {
            Some(numbers) => sum(numbers),
            None => column.as_primitive_opt::<TimestampMicrosecondType>().map_or(0, sum),
        }
    };
    Sums { rows: rows.num_rows() as u64, sums: TOLD_BY.map(of) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Parts are all rows in order, none too long but single ones, and add up to the whole.
        #[test]
        fn long_batches_are_parted(lengths in prop::collection::vec(0_usize..40, 0..40), most in 0_usize..100) {
            let paths: Vec<String> = lengths.iter().map(|&length| "x".repeat(length)).collect();
            let column: ArrayRef = Arc::new(StringArray::from(paths.clone()));
            let schema = Schema::new(vec![Field::new("path", DataType::Utf8, false)]);
            let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
            let (whole, mut parts, mut sum, mut seen) = (sums(&rows), Vec::new(), Sums::default(), Vec::new());
            part(rows, most, &mut parts);
            for rows in &parts {
                let paths = rows.column(0).as_string::<i32>();
                let own: Vec<String> = paths.iter().flatten().map(str::to_owned).collect();
                prop_assert!(!own.is_empty() && (own.len() == 1 || own.concat().len() <= most));
                seen.extend(own);
                sum.add(&sums(rows));
            }
            prop_assert_eq!((sum, seen), (whole, paths));
        }
    }
}
