//! How columns are encoded, and what stands in the footer.

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use record::wire::v1::text_and_raw;

use super::GROUP;
use crate::columns::{Columns, Sort};
use crate::entry::Moment;
use crate::text::path_text;

/// Bytes of a least or greatest value in the index of pages: longer than the usual longest path, so that a search for one is told the
/// right pages also below a long common beginning.
const INDEXED: usize = 4096;
/// Different words in a group may take so many bytes before they stand as they are: some ten thousand parent paths.
const WORDS: usize = 4 << 20;

pub(super) fn properties(columns: Columns, moment: &Moment, root: &[u8]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(moment.tool.clone())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .set_dictionary_page_size_limit(WORDS)
        .set_statistics_truncate_length(None)
        .set_column_index_truncate_length(Some(INDEXED))
        // The path is the first column.
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]))
        .set_key_value_metadata(Some(footer(columns, moment, root)));
    for spec in columns.specs() {
        let path = || ColumnPath::from(spec.name);
        let encoding = match spec.sort {
            Sort::Word => continue,
            Sort::Text | Sort::Bytes => Encoding::DELTA_BYTE_ARRAY,
            Sort::Digest => {
                // It is folded to what a group needs.
                properties = properties.set_column_bloom_filter_max_ndv(path(), GROUP as u64);
                Encoding::PLAIN
            }
            Sort::Int32 | Sort::Int64 | Sort::UInt32 | Sort::UInt64 | Sort::Time => {
                Encoding::DELTA_BINARY_PACKED
            }
        };
        properties =
            properties.set_column_dictionary_enabled(path(), false).set_column_encoding(path(), encoding);
    }
    properties.build()
}

fn footer(columns: Columns, moment: &Moment, root: &[u8]) -> Vec<KeyValue> {
    let mut pairs = vec![
        ("indexer.root", path_text(root)),
        ("indexer.host", moment.host.clone()),
        ("indexer.taken_us", moment.taken_us.to_string()),
        ("indexer.schema", columns.version().to_owned()),
        ("indexer.tool", moment.tool.clone()),
    ];
    // Rows straight from a walk are of no journal.
    if !moment.epoch.is_empty() {
        pairs.push(("indexer.epoch", moment.epoch.clone()));
        pairs.push(("indexer.watermark", moment.watermark.to_string()));
    }
    // In base64, as everywhere where text is asked for.
    pairs.extend(text_and_raw(root).1.map(|raw| ("indexer.root_raw", raw)));
    pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}
