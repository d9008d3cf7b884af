//! Records as columns: a batch of them is an Arrow IPC stream of one schema and one record batch, for readers who take many at once. Has the
//! facts of the JSON bodies of `record::wire::message`, no more and no fewer. Knows no broker and no file.

mod describe;
mod read;
mod table;
#[cfg(test)]
mod tests;

use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::ArrowError;
use record::wire::message::{self, ALL_PARTITIONS, Message, Origin};
use record::{Body, Record, RootId};

pub use describe::schema;
pub use read::read;

/// What a batch is, as a media type.
pub const CONTENT_TYPE: &str = "application/vnd.apache.arrow.stream";
/// The identity of its schema.
pub const DATA_SCHEMA: &str = "urn:indexer:fs:v1:arrow";
/// Rows of a batch, at most.
pub const MOST_ROWS: usize = 1_024;
/// The kind in the routing key of a batch, which has entries of any.
pub const ANY_KIND: &str = "any";
/// Its verb.
pub const BATCH: &str = "batch";

/// Buffers begin at multiples of this: as little as the format allows, since many batches are small.
const ALIGNMENT: usize = 8;
/// Bytes of a digest.
const DIGEST: i32 = 32;

/// The routing key of a batch of records of one root: all its partitions' readers are to have it.
#[must_use]
pub fn key(root: RootId) -> String {
    format!("fs.v1.r{}.{ANY_KIND}.{BATCH}.{ALL_PARTITIONS}", root.0)
}

/// A record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What its JSON body would be.
    pub message: Message,
    /// The kind of its routing key.
    pub kind: String,
    /// The partition of its routing key.
    pub partition: String,
    /// It is no record of the journal, but the word that all up to its seq are lost.
    pub lost: bool,
}

impl Row {
    /// The row of `record`, whose root is configured at `root`.
    #[must_use]
    pub fn new(record: &Record, root: &[u8], origin: &Origin, lost: bool) -> Row {
        let key = message::key(record);
        let word = |nth| key.split('.').nth(nth).unwrap_or_default().to_owned();
        Row { kind: word(3), partition: word(5), message: Message::new(record, root, origin), lost }
    }

    /// The routing key that it would have by itself.
    #[must_use]
    pub fn key(&self) -> String {
        let Message { source, change, .. } = &self.message;
        format!("fs.v1.r{}.{}.{}.{}", source.root_id, self.kind, change.verb, self.partition)
    }

    /// The identity that it would have by itself.
    #[must_use]
    pub fn id(&self) -> String {
        let source = &self.message.source;
        let id = format!("{}/{}/{}", source.name, source.epoch, source.seq);
        if self.lost { format!("{id}/r{}", source.root_id) } else { id }
    }
}

/// Bytes that a record adds to a batch, about.
#[must_use]
pub fn weight(record: &Record) -> usize {
    // What each row has of numbers, words and offsets.
    const ROW: usize = 448;
    let more = match &record.body {
        Body::Change(change) => {
            let names = [&change.at, &change.old].into_iter().flatten().map(|place| place.name.len());
            let old = change.old_path.as_ref().map_or(0, |path| path.len());
            change.path.len() + old + names.sum::<usize>() + 96 * change.parents.len()
        }
        Body::Gap(gap) => gap.scope.len() + gap.why.len(),
        Body::RootLost { path, why } => path.len() + why.len(),
        Body::RootFound { path } => path.len(),
        Body::Seeded(seeded) => seeded.path.len(),
        Body::Duplicates(set) => set.paths.iter().map(|path| path.len() + 8).sum(),
    };
    ROW + more
}

/// Why rows are not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Arrow refuses them.
    #[error("records cannot be written as Arrow: {0}")]
    Arrow(#[from] ArrowError),
    /// A body is not as [`Message::new`] makes them.
    #[error("a record cannot be written as Arrow: its {0}")]
    Malformed(String),
}

/// The body of a batch.
///
/// # Errors
/// [`WriteError`].
pub fn write(rows: &[Row]) -> Result<Vec<u8>, WriteError> {
    let batch = table::table(rows)?.batch()?;
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, arrow_ipc::MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}
