//! What a consumer in the process of the index needs beside a source of records. The daemon fills it in.

use std::time::Duration;

use record::{RootId, Seq};

use crate::source::{Source, SourceError};

/// Where a record was made, for a source that has those of several indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The host.
    pub host: String,
    /// What tells it apart from all other records of all indexes.
    pub id: String,
}

/// A source of records that also says where they end, whose they are, and how far behind it is.
pub trait Feed: Source + Send + Sync {
    /// The epoch of the journal, as `status` shows it: seqs compare only within one.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn epoch(&self) -> Result<String, SourceError>;

    /// The last durable record.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn last(&self) -> Result<Seq, SourceError>;

    /// Makes sure, durably, that the ids of records up to `seq` are never given to others, and answers up to which seq that is
    /// so. To be asked before anything of them goes out: a journal that is put back from a backup then has another epoch. A
    /// source that cannot be put back has nothing to do.
    ///
    /// # Errors
    /// When that cannot be noted; nothing may go out then.
    fn cover(&self, seq: Seq) -> Result<Seq, SourceError> {
        let _ = seq;
        Ok(Seq(u64::MAX))
    }

    /// The oldest record that is kept.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn oldest(&self) -> Result<Seq, SourceError>;

    /// Every consumer there is and its cursor.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn cursors(&self) -> Result<Vec<(String, Seq)>, SourceError>;

    /// Removes a consumer and its cursor, soon.
    ///
    /// # Errors
    /// When the source cannot be written.
    fn forget(&self, consumer: &str) -> Result<(), SourceError>;

    /// The path that a root is configured at; empty for one that is not there any more.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn root(&self, root: RootId) -> Result<Vec<u8>, SourceError>;

    /// Which of several indexes a root is of: an entry is told apart from others only within one.
    fn whose(&self, _root: RootId) -> u32 {
        0
    }

    /// Where a record was made, if that is elsewhere.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn origin(&self, _seq: Seq) -> Result<Option<Origin>, SourceError> {
        Ok(None)
    }

    /// The roots there are.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn roots(&self) -> Result<Vec<RootId>, SourceError>;

    /// How long the oldest change that is not in the journal yet has been known of. Zero while nothing is followed.
    fn lag(&self) -> Duration;
}
