//! Parquet files as rows of JSON, for judgement. Knows no column.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value};

/// Every row, column by column: numbers and times (as microseconds) as numbers, bytes in hex, and null.
///
/// # Panics
/// When it cannot be read to its end, or holds a type that no snapshot has.
#[must_use]
pub fn parquet_rows(file: &Path) -> Vec<Map<String, Value>> {
    let opened = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).and_then(|builder| builder.build());
    let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        rows.extend((0..batch.num_rows()).map(|at| row(&batch, at)));
    }
    rows
}

fn row(batch: &RecordBatch, at: usize) -> Map<String, Value> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.map(|(field, column)| (field.name().clone(), value(column, at))).collect()
}

fn value(column: &dyn Array, at: usize) -> Value {
    if column.is_null(at) {
        return Value::Null;
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match column.data_type().to_string().as_str() {
        "Utf8" => column.as_string::<i32>().value(at).into(),
        "Boolean" => column.as_boolean().value(at).into(),
        "Binary" => hex(column.as_binary::<i32>().value(at)).into(),
        "Int32" => column.as_primitive::<Int32Type>().value(at).into(),
        "Int64" => column.as_primitive::<Int64Type>().value(at).into(),
        "UInt32" => column.as_primitive::<UInt32Type>().value(at).into(),
        "UInt64" => column.as_primitive::<UInt64Type>().value(at).into(),
        "FixedSizeBinary(32)" => hex(column.as_fixed_size_binary().value(at)).into(),
        word if word.starts_with("Timestamp(µs") => {
            column.as_primitive::<TimestampMicrosecondType>().value(at).into()
        }
        other => panic!("no snapshot holds {other}"),
    }
}

/// What stands in the footer.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn parquet_footer(file: &Path) -> (ParquetMetaData, BTreeMap<String, String>) {
    let opened = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let metadata = builder.metadata();
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let pairs = pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()));
    (metadata.as_ref().clone(), pairs.collect())
}
