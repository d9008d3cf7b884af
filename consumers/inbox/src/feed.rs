//! The inbox as a source of records: each with our seq and the number of its root here, else as it was made. Its lag is nothing, as it
//! follows no tree.

use std::error::Error;
use std::time::Duration;

use consumer::{Feed, Origin, Source, SourceError};
use record::wire::message::Message;
use record::{Body, Record, RootId, Seq};
use redb::{ReadTransaction, ReadableDatabase as _, ReadableTable as _};

use crate::inbox::Inbox;
use crate::source::{Source as Index, parts_of, root_of};
use crate::store::{CURSORS, InboxError, MESSAGES, META, META_EPOCH, META_LAST, number};

/// Bytes of messages that one read gives, when there are so many.
const MOST_READ: usize = 8 << 20;

impl From<InboxError> for SourceError {
    fn from(error: InboxError) -> SourceError {
        SourceError::Failed(Box::new(error))
    }
}

fn damaged(why: impl Into<Box<dyn Error + Send + Sync>>) -> InboxError {
    InboxError::Damaged(why.into().to_string())
}

/// A kept message: its root here, and what it says.
fn kept(value: &[u8]) -> Result<(RootId, Message), InboxError> {
    let (root, body) = value.split_first_chunk::<4>().ok_or_else(|| damaged("a message without a root"))?;
    let message = serde_json::from_slice(body).map_err(damaged)?;
    Ok((RootId(u32::from_be_bytes(*root)), message))
}

/// The first seq that is kept, and the last that was given.
fn ends(read: &ReadTransaction) -> Result<(Seq, Seq), InboxError> {
    let last = number(&read.open_table(META)?, META_LAST)?;
    let first = read.open_table(MESSAGES)?.first()?.map_or(last + 1, |(seq, _)| seq.value());
    Ok((Seq(first), Seq(last)))
}

impl Inbox {
    fn ends(&self) -> Result<(Seq, Seq), InboxError> {
        ends(&self.database.begin_read()?)
    }

    fn after(&self, after: Seq, most: usize) -> Result<Result<Vec<Record>, Seq>, InboxError> {
        let read = self.database.begin_read()?;
        let (first, from) = (ends(&read)?.0, after.next());
        if from < first {
            return Ok(Err(first));
        }
        let messages = read.open_table(MESSAGES)?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        for row in messages.range(from.0..)?.take(most) {
            let (seq, value) = row?;
            bytes += value.value().len();
            let (root, message) = kept(value.value())?;
            let record = message.record().map_err(damaged)?;
            let mut record = record.ok_or_else(|| damaged("a message of no record"))?;
            (record.seq, record.root) = (Seq(seq.value()), root);
            if let Body::Change(change) = &mut record.body {
                // A seq of another journal.
                change.pair = None;
            }
            records.push(record);
            if bytes > MOST_READ {
                break;
            }
        }
        Ok(Ok(records))
    }

    fn cursor_rows(&self) -> Result<Vec<(String, Seq)>, InboxError> {
        let cursors = self.database.begin_read()?.open_table(CURSORS)?;
        let mut rows = Vec::new();
        for row in cursors.iter()? {
            let (name, seq) = row?;
            rows.push((name.value().to_owned(), Seq(seq.value())));
        }
        Ok(rows)
    }

    fn own_epoch(&self) -> Result<String, InboxError> {
        let meta = self.database.begin_read()?.open_table(META)?;
        let epoch = meta.get(META_EPOCH)?.ok_or_else(|| damaged("it has no epoch"))?;
        Ok(format!("{:032x}", epoch.value()))
    }

    fn whence(&self, seq: Seq) -> Result<Option<Origin>, InboxError> {
        let messages = self.database.begin_read()?.open_table(MESSAGES)?;
        let Some(value) = messages.get(seq.0)? else { return Ok(None) };
        let (_, Message { source, .. }) = kept(value.value())?;
        let id = format!("{}/{}/{}", source.name, source.epoch, source.seq);
        Ok(Some(Origin { host: source.host, id }))
    }
}

impl Source for Inbox {
    fn cursor(&self, consumer: &str) -> Result<Seq, SourceError> {
        let found = self.cursor_rows()?.into_iter().find(|(name, _)| name == consumer);
        Ok(found.map_or(Seq(0), |(_, seq)| seq))
    }

    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
        self.after(after, most)?.map_err(|oldest| SourceError::FreshStartRequired { oldest })
    }

    fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), SourceError> {
        Ok(self.move_cursor(consumer, Some(seq))?)
    }
}

impl Feed for Inbox {
    fn epoch(&self) -> Result<String, SourceError> {
        Ok(self.own_epoch()?)
    }

    fn last(&self) -> Result<Seq, SourceError> {
        Ok(self.ends()?.1)
    }

    fn oldest(&self) -> Result<Seq, SourceError> {
        Ok(self.ends()?.0)
    }

    fn cursors(&self) -> Result<Vec<(String, Seq)>, SourceError> {
        Ok(self.cursor_rows()?)
    }

    fn forget(&self, consumer: &str) -> Result<(), SourceError> {
        Ok(self.move_cursor(consumer, None)?)
    }

    fn root(&self, root: RootId) -> Result<Vec<u8>, SourceError> {
        let (source, nth) = parts_of(root);
        let known = self.known();
        let path = known.get(&source).and_then(|source| source.path(nth));
        Ok(path.unwrap_or_default().as_bytes().to_vec())
    }

    fn whose(&self, root: RootId) -> u32 {
        parts_of(root).0
    }

    fn origin(&self, seq: Seq) -> Result<Option<Origin>, SourceError> {
        Ok(self.whence(seq)?)
    }

    fn roots(&self) -> Result<Vec<RootId>, SourceError> {
        let known = self.known();
        let of = |(number, source): (&u32, &Index)| {
            let nths: Vec<u32> = source.roots.values().map(|root| root.nth).collect();
            let number = *number;
            nths.into_iter().map(move |nth| root_of(number, nth))
        };
        Ok(known.iter().flat_map(of).collect())
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }
}
