//! Rows into one Parquet file. Knows no name of a file: bytes go to whatever takes them.

mod group;
mod settings;

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use crate::columns::{Columns, Gather, Owners};
use crate::entry::{Entry, Moment};
use crate::text::path_text;
use group::Group;

/// Rows in a group.
const GROUP: usize = 1 << 18;
/// Bytes of columns in a group, before they are encoded: paths of unusual length end one early.
const GROUP_BYTES: usize = 256 << 20;
/// Rows that are encoded at a time.
const BATCH: usize = 1 << 13;

/// How a file is to be written.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its columns.
    pub columns: Columns,
    /// Threads that encode.
    pub threads: NonZeroUsize,
    /// Names of users and groups.
    pub owners: Arc<Owners>,
}

/// One Parquet file, being written.
pub(crate) struct Rows<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    form: Form,
    gather: Box<dyn Gather>,
    gathered: usize,
    batch: usize,
    group: Option<Group>,
    groups: usize,
    rows: u64,
}

impl<W: Write + Send> Rows<W> {
    /// Begins a file of `root` at `moment`.
    pub(crate) fn begin(out: W, form: &Form, moment: &Moment, root: &[u8]) -> Result<Rows<W>, ParquetError> {
        let properties = settings::properties(form.columns, moment, root);
        let options = ArrowWriterOptions::new().with_properties(properties);
        let writer = ArrowWriter::try_new_with_options(out, form.columns.schema(), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        let gather = form.columns.gather(&path_text(root), Arc::clone(&form.owners));
        let (form, batch) = (form.clone(), BATCH);
        Ok(Rows { file, factory, form, gather, gathered: 0, batch, group: None, groups: 0, rows: 0 })
    }

    /// Encodes so many rows at a time.
    pub(crate) fn set_batch(&mut self, rows: NonZeroUsize) {
        self.batch = rows.get();
    }

    /// Says something more in the footer.
    pub(crate) fn note(&mut self, key: &str, value: &str) {
        self.file.append_key_value_metadata(KeyValue::new(key.to_owned(), value.to_owned()));
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) -> Result<(), ParquetError> {
        self.gather.push(entry);
        self.gathered += 1;
        self.rows += 1;
        if self.gathered == self.batch { self.pass_on() } else { Ok(()) }
    }

    /// Writes what is left, and the footer. Answers what took the bytes, and how many rows there are.
    pub(crate) fn finish(mut self) -> Result<(W, u64), ParquetError> {
        self.pass_on()?;
        self.end_group()?;
        Ok((self.file.into_inner()?, self.rows))
    }

    fn pass_on(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.gathered);
        if rows == 0 {
            return Ok(());
        }
        let arrays = self.gather.take();
        let bytes = arrays.iter().map(ArrayRef::get_buffer_memory_size).sum();
        let mut group = match self.group.take() {
            Some(group) => group,
            None => {
                let writers = self.factory.create_column_writers(self.groups)?;
                self.groups += 1;
                Group::begin(writers, self.form.columns, self.form.threads)?
            }
        };
        let full = group.push(arrays, rows, bytes);
        self.group = Some(group);
        if full { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let chunks = group.end()?;
        let mut writer = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        Ok(())
    }
}
