//! Reading the journal back, and letting go of its oldest part.

use std::sync::PoisonError;
use std::time::Duration;

use record::{Record, Seq, Time};
use redb::ReadableTable;

use crate::commit::meta_word;
use crate::error::IndexError;
use crate::file::{Index, META_JOURNAL_BYTES};
use crate::journal_code::{header, records};
use crate::reader::Reader;
use crate::tables::{CURSORS, JOURNAL, META};

/// Where a reader of the journal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this record.
    Seq(Seq),
    /// With the first record seen at or after this time.
    Time(Time),
}

/// How much of the journal is kept. The stricter bound wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this may go.
    pub age: Duration,
    /// Bytes of records that are kept at most.
    pub bytes: u64,
}

/// Blocks a retention run removes in one transaction: removing is the store's slow operation, and the
/// writer waits for it.
const TRIM_BLOCKS: usize = 512;

impl Reader {
    /// The seq of the oldest record still kept; one past the last when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn oldest(&self) -> Result<Seq, IndexError> {
        match self.journal.first()? {
            Some((key, _)) => Ok(Seq(key.value())),
            None => Ok(self.seq()?.next()),
        }
    }

    /// When the oldest kept record was seen.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn oldest_time(&self) -> Result<Option<Time>, IndexError> {
        match self.journal.first()? {
            Some((key, value)) => Ok(Some(head(key.value(), value.value())?.1)),
            None => Ok(None),
        }
    }

    /// The last record before where `since` begins.
    ///
    /// # Errors
    /// [`IndexError::FreshStartRequired`] when records after it are no longer kept.
    pub fn position(&self, since: Since) -> Result<Seq, IndexError> {
        let oldest = self.oldest()?;
        match since {
            Since::Seq(seq) if seq.0 < u64::MAX && seq.next() < oldest => {
                Err(IndexError::FreshStartRequired { oldest })
            }
            Since::Seq(seq) => Ok(seq),
            Since::Time(time) => {
                let before = self.before(time)?;
                // Nothing kept is older than that time, but something older was dropped: whether records
                // between the two are among the dropped is not known.
                if before.next() <= oldest && oldest > Seq(1) {
                    return Err(IndexError::FreshStartRequired { oldest });
                }
                Ok(before)
            }
        }
    }

    /// Calls `each` with the records after `seq` in order until it answers false. Answers the last seq
    /// passed.
    ///
    /// # Errors
    /// [`IndexError::FreshStartRequired`] when some of them are no longer kept; a damaged block; what
    /// `each` answers.
    pub fn each_record<E: From<IndexError>>(
        &self,
        after: Seq,
        mut each: impl FnMut(Record) -> Result<bool, E>,
    ) -> Result<Seq, E> {
        self.position(Since::Seq(after))?;
        let mut last = after;
        if after >= self.seq()? {
            return Ok(last);
        }
        let start = self.block_of(after.next())?;
        for item in self.journal.range(start.0..).map_err(IndexError::from)? {
            let (key, value) = item.map_err(IndexError::from)?;
            for record in block(key.value(), value.value())? {
                if record.seq <= after {
                    continue;
                }
                last = record.seq;
                if !each(record)? {
                    return Ok(last);
                }
            }
        }
        Ok(last)
    }

    /// The first seq of the block that holds `seq`.
    fn block_of(&self, seq: Seq) -> Result<Seq, IndexError> {
        Ok(self.journal.range(..=seq.0)?.next_back().transpose()?.map_or(seq, |(key, _)| Seq(key.value())))
    }

    /// The last record seen before `time`: by bisection over blocks, then along one of them.
    fn before(&self, time: Time) -> Result<Seq, IndexError> {
        let (mut low, mut high) = (self.oldest()?.0, self.seq()?.0.saturating_add(1));
        // Invariant: blocks that begin before `low` were seen before `time`, those from `high` on were not.
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((key, value)) = self.journal.range(..=middle)?.next_back().transpose()? else { break };
            let first = key.value();
            let (count, seen) = head(first, value.value())?;
            if seen < time {
                // Past the middle in any case: a damaged block may say that it holds fewer records than lie before the next.
                low = first.saturating_add(count).max(middle.saturating_add(1));
            } else {
                high = first;
            }
        }
        let block_before = self.journal.range(..low)?.next_back().transpose()?;
        let Some((key, value)) = block_before else { return Ok(Seq(low.saturating_sub(1))) };
        let records = block(key.value(), value.value())?;
        let earlier = records.iter().rev().find(|record| record.seen < time);
        Ok(earlier.map_or(Seq(key.value().saturating_sub(1)), |record| record.seq))
    }
}

impl Index {
    /// Lets go of records beyond `retention`, oldest first. Answers how many blocks went; call again while
    /// that is not 0.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn trim(&self, retention: Retention, now: Time) -> Result<usize, IndexError> {
        let limit =
            Time(now.0 - i128::try_from(retention.age.as_nanos()).unwrap_or(i128::MAX).min(now.0.abs()));
        if !self.read()?.exceeds(retention, limit)? {
            return Ok(0);
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.begin_write()?;
        let mut removed = 0;
        {
            let mut meta = transaction.open_table(META)?;
            let mut bytes = meta_word(&meta, META_JOURNAL_BYTES)?;
            let mut table = transaction.open_table(JOURNAL)?;
            while removed < TRIM_BLOCKS {
                let Some((key, length, seen)) = table
                    .first()?
                    .map(|(key, value)| {
                        let seen = head(key.value(), value.value())?.1;
                        Ok::<_, IndexError>((key.value(), value.value().len() as u64, seen))
                    })
                    .transpose()?
                else {
                    break;
                };
                if seen >= limit && bytes <= retention.bytes {
                    break;
                }
                table.remove(key)?;
                bytes = bytes.saturating_sub(length);
                removed += 1;
            }
            meta.insert(META_JOURNAL_BYTES, bytes)?;
        }
        transaction.commit()?;
        self.meter.step();
        Ok(removed)
    }

    /// Moves a consumer's cursor to `seq`, back or forth: for consumers that begin anew.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_cursor(&self, consumer: &str, seq: Seq) -> Result<(), IndexError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.begin_write()?;
        transaction.open_table(CURSORS)?.insert(consumer, seq.0)?;
        transaction.commit()?;
        Ok(())
    }

    /// Sets cursors that stand behind the last record to it: their consumers would skip what comes next. Answers which those
    /// were, and where they stood.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn recall_cursors(&self) -> Result<Vec<(String, Seq)>, IndexError> {
        let reader = self.read()?;
        let last = reader.seq()?;
        let ahead: Vec<(String, Seq)> =
            reader.cursors()?.into_iter().filter(|(_, seq)| *seq > last).collect();
        for (consumer, _) in &ahead {
            self.set_cursor(consumer, last)?;
        }
        Ok(ahead)
    }
}

impl Reader {
    fn exceeds(&self, retention: Retention, limit: Time) -> Result<bool, IndexError> {
        let bytes = self.journal_bytes()?;
        Ok(bytes > retention.bytes || self.oldest_time()?.is_some_and(|seen| seen < limit))
    }

    /// Bytes of records kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn journal_bytes(&self) -> Result<u64, IndexError> {
        Ok(self.meta.get(META_JOURNAL_BYTES)?.map_or(0, |value| value.value()))
    }
}

fn head(first: u64, bytes: &[u8]) -> Result<(u64, Time), IndexError> {
    header(bytes).map_err(|error| IndexError::damaged(format!("journal block {first}"), error))
}

fn block(first: u64, bytes: &[u8]) -> Result<Vec<Record>, IndexError> {
    records(Seq(first), bytes).map_err(|error| IndexError::damaged(format!("journal block {first}"), error))
}
