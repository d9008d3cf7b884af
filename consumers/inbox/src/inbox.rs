//! A batch of messages in one transaction: those that are new and can be used are numbered and kept. What all consumers are done with
//! goes. Knows no broker; when [`Inbox::take`] returns, what it took is durable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record::Seq;
use record::wire::message::{Message, Unusable};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, WriteTransaction};

use crate::source::{MOST_NUMBERS, Source, root_of};
use crate::store::{
    CURSORS, InboxError, MESSAGES, META, META_BYTES, META_LAST, META_SOURCE, SOURCES, number, open, sources,
};

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// What tells it apart.
    pub id: &'a str,
    /// Its routing key.
    pub key: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of messages from which on there is no room, until there are half as many.
    pub bytes: u64,
    /// Messages that all consumers are done with and that are kept all the same: a consumer that starts may look back.
    pub behind: u64,
    /// They go earlier when all there is has more bytes than this; less than half of `bytes`.
    pub behind_bytes: u64,
    /// Epochs of indexes; the one that brought nothing for longest goes.
    pub sources: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 256 << 20, behind: 65_536, behind_bytes: 64 << 20, sources: 1_024 }
    }
}

/// The messages of a subscription, in a file that nobody else has open.
pub struct Inbox {
    pub(crate) database: Database,
    /// As of the last transaction.
    sources: Mutex<BTreeMap<u32, Source>>,
    /// One batch after the other.
    taking: Mutex<()>,
    full: AtomicBool,
    limits: Limits,
}

impl Inbox {
    /// Opens that of a folder, or makes it.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn open(folder: &Path, limits: Limits) -> Result<Inbox, InboxError> {
        let database = open(folder)?;
        let sources = Mutex::new(sources(&database)?);
        Ok(Inbox { database, sources, taking: Mutex::default(), full: AtomicBool::default(), limits })
    }

    /// Has each of `consumers` that has no cursor begin with what comes from now on. To be called before the first message is
    /// taken, or what comes before they ask is not theirs.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn begin(&self, consumers: &[String]) -> Result<(), InboxError> {
        let write = self.database.begin_write()?;
        {
            let last = number(&write.open_table(META)?, META_LAST)?;
            let mut cursors = write.open_table(CURSORS)?;
            for consumer in consumers {
                if cursors.get(consumer.as_str())?.is_none() {
                    cursors.insert(consumer.as_str(), last)?;
                }
            }
        }
        Ok(write.commit()?)
    }

    /// Takes messages, durably; answers of each why it cannot be used, if so. What came before and what is of no record is left out.
    ///
    /// # Errors
    /// [`InboxError`]; nothing has changed then.
    pub fn take(&self, messages: &[Incoming<'_>]) -> Result<Vec<Option<Unusable>>, InboxError> {
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let write = self.database.begin_write()?;
        let known = self.known().clone();
        let mut work = Work { before: known.clone(), known, given: 0, most: self.limits.sources };
        let mut answers = Vec::with_capacity(messages.len());
        {
            let mut meta = write.open_table(META)?;
            let mut table = write.open_table(MESSAGES)?;
            let (mut last, mut bytes) = (number(&meta, META_LAST)?, number(&meta, META_BYTES)?);
            let oldest = table.first()?.map_or(last + 1, |(seq, _)| seq.value());
            work.given = u32::try_from(number(&meta, META_SOURCE)?).unwrap_or(MOST_NUMBERS);
            for message in messages {
                let next = last + 1;
                answers.push(match work.message(message, (next, oldest)) {
                    Ok(None) => None,
                    Ok(Some(value)) => {
                        table.insert(next, value.as_slice())?;
                        (last, bytes) = (next, bytes + value.len() as u64);
                        None
                    }
                    Err(unusable) => Some(unusable),
                });
            }
            meta.insert(META_LAST, u128::from(last))?;
            meta.insert(META_BYTES, u128::from(bytes))?;
            meta.insert(META_SOURCE, u128::from(work.given))?;
            work.store(&write)?;
        }
        // Who reads one of these and asks where it comes from waits until that is known.
        let mut known = self.known();
        write.commit()?;
        *known = work.known;
        Ok(answers)
    }

    /// Whether more is to be taken: not when consumers are so far behind that there is no room, and then not before half of it is free.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn has_room(&self) -> Result<bool, InboxError> {
        let bytes = number(&self.database.begin_read()?.open_table(META)?, META_BYTES)?;
        let full = match self.full.load(Ordering::Relaxed) {
            true => bytes > self.limits.bytes / 2,
            false => bytes > self.limits.bytes,
        };
        self.full.store(full, Ordering::Relaxed);
        Ok(!full)
    }

    /// The consumer that is furthest behind, and how many messages it has yet to be done with.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn furthest_behind(&self) -> Result<Option<(String, u64)>, InboxError> {
        let read = self.database.begin_read()?;
        let last = number(&read.open_table(META)?, META_LAST)?;
        let mut found: Option<(String, u64)> = None;
        for row in read.open_table(CURSORS)?.iter()? {
            let (name, cursor) = row?;
            let behind = last.saturating_sub(cursor.value());
            if found.as_ref().is_none_or(|(_, most)| behind > *most) {
                found = Some((name.value().to_owned(), behind));
            }
        }
        Ok(found)
    }

    /// Moves a cursor on, or with `None` removes it; then what nobody needs any more goes.
    pub(crate) fn move_cursor(&self, consumer: &str, to: Option<Seq>) -> Result<(), InboxError> {
        let write = self.database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let mut cursors = write.open_table(CURSORS)?;
            let last = number(&meta, META_LAST)?;
            match to {
                Some(seq) => {
                    let before = cursors.get(consumer)?.map_or(0, |cursor| cursor.value());
                    cursors.insert(consumer, seq.0.min(last).max(before))?;
                }
                None => drop(cursors.remove(consumer)?),
            }
            let mut least = last;
            for row in cursors.iter()? {
                least = least.min(row?.1.value());
            }
            let bytes = number(&meta, META_BYTES)?;
            let left = self.trim(&mut write.open_table(MESSAGES)?, least, bytes)?;
            meta.insert(META_BYTES, u128::from(left))?;
        }
        Ok(write.commit()?)
    }

    /// Removes what all are done with, up to `least`, but for some that may be looked at again; answers the bytes that are left.
    fn trim(
        &self,
        messages: &mut Table<'_, u64, &'static [u8]>,
        least: u64,
        mut bytes: u64,
    ) -> Result<u64, InboxError> {
        let Limits { behind, behind_bytes, .. } = self.limits;
        loop {
            let Some((seq, size)) = messages.first()?.map(|(seq, value)| (seq.value(), value.value().len()))
            else {
                return Ok(bytes);
            };
            let far = seq.saturating_add(behind) <= least || bytes > behind_bytes;
            if seq > least || !far {
                return Ok(bytes);
            }
            messages.remove(seq)?;
            bytes = bytes.saturating_sub(size as u64);
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, BTreeMap<u32, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch under way: what is known of sources, and what was before it.
struct Work {
    known: BTreeMap<u32, Source>,
    before: BTreeMap<u32, Source>,
    /// The last number that a source was given.
    given: u32,
    most: usize,
}

impl Work {
    /// What is to be kept of a message under the seq `next`, if anything; `oldest` is the first that is kept.
    fn message(
        &mut self,
        incoming: &Incoming<'_>,
        (next, oldest): (u64, u64),
    ) -> Result<Option<Vec<u8>>, Unusable> {
        let message = Message::read(incoming.key, incoming.body)?;
        // What a replay says is of no record.
        if message.record()?.is_none() {
            return Ok(None);
        }
        let known = self.known.iter().find(|(_, source)| source.is_of(&message)).map(|(number, _)| *number);
        let number = match known {
            Some(number) => number,
            None => self.number(oldest)?,
        };
        let source = self.known.entry(number).or_insert_with(|| Source::of(&message));
        let Some(nth) = source.saw(&message, incoming.id) else { return Ok(None) };
        let root = root_of(number, nth.map_err(Unusable)?);
        source.last = next;
        let mut value = Vec::with_capacity(4 + incoming.body.len());
        value.extend(root.0.to_be_bytes());
        value.extend(incoming.body);
        Ok(Some(value))
    }

    /// A number for a source that is new.
    fn number(&mut self, oldest: u64) -> Result<u32, Unusable> {
        if self.known.len() >= self.most {
            // One that nothing is kept of.
            let idle = self.known.iter().min_by_key(|(_, source)| source.last);
            match idle.filter(|(_, source)| source.last < oldest).map(|(number, _)| *number) {
                Some(number) => drop(self.known.remove(&number)),
                None => return Err(Unusable(format!("one indexer too many: {} are kept", self.most))),
            }
        }
        if self.given >= MOST_NUMBERS {
            return Err(Unusable("one indexer too many: no number is left".to_owned()));
        }
        self.given += 1;
        Ok(self.given)
    }

    /// Writes what is another than before.
    fn store(&self, write: &WriteTransaction) -> Result<(), InboxError> {
        let mut table = write.open_table(SOURCES)?;
        for number in self.before.keys().filter(|number| !self.known.contains_key(number)) {
            table.remove(number)?;
        }
        for (number, source) in &self.known {
            if self.before.get(number) != Some(source) {
                let json =
                    serde_json::to_vec(source).map_err(|error| InboxError::Damaged(error.to_string()))?;
                table.insert(number, json.as_slice())?;
            }
        }
        Ok(())
    }
}
