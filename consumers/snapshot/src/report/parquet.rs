//! A report as a Parquet file of its own. Knows no place for it.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Page, Shape, Value};

/// The rows of `page`, as the bytes of a file. Bytes and counts are signed numbers of 64 bits.
///
/// # Errors
/// When they do not fit, which the library says.
pub fn page_to_parquet(page: &Page) -> Result<Vec<u8>, ParquetError> {
    let column = |at: usize, shape: Shape| -> ArrayRef {
        let cells = page.rows.iter().map(|row| &row[at]);
        match shape {
            Shape::Text => Arc::new(StringArray::from_iter(cells.map(|cell| match cell {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            }))),
            Shape::Time => {
                Arc::new(TimestampMicrosecondArray::from_iter(cells.map(Value::number)).with_timezone("UTC"))
            }
            _ => Arc::new(Int64Array::from_iter(cells.map(Value::number))),
        }
    };
    let columns = page.columns.iter().enumerate();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(at, (name, shape))| (*name, column(at, *shape), true)),
    )?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.into_inner()
}
