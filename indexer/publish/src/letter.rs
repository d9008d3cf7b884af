//! A message on its way to the broker: where it goes, what tells it apart, what it says. Knows no broker.

use record::wire::message::{Origin, key, verb};
use record::{Body, Record, Seq, Time};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its routing key.
    pub key: String,
    /// What tells it apart, the same each time that it is sent.
    pub id: String,
    /// Of which indexer.
    pub source: String,
    /// The verb of its type.
    pub verb: String,
    /// The entry that it is about, as `volume:inode`.
    pub subject: Option<String>,
    /// When what it says was seen.
    pub seen: Time,
    /// JSON, or columns of Arrow.
    pub body: Vec<u8>,
    /// Of which records it is a batch, which is of columns; none where it is one message of JSON.
    pub batch: Option<Batch>,
}

/// Consecutive records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
    /// How many there are.
    pub records: usize,
}

impl Letter {
    /// The message of a record.
    pub(crate) fn of(record: &Record, origin: &Origin, id: &str, body: Vec<u8>) -> Letter {
        let subject = match &record.body {
            Body::Change(change) => Some(change.entry.to_string()),
            _ => None,
        };
        Letter {
            key: key(record),
            id: id.to_owned(),
            source: origin.source.clone(),
            verb: verb(record).to_owned(),
            subject,
            seen: record.seen,
            body,
            batch: None,
        }
    }
}
