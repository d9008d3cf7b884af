//! A batch of messages in one transaction: what each says is written into the registers that are older than it. Knows no broker;
//! when this returns, the effect is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use record::wire::message::Unusable;
use record::wire::v1::EntryState;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction,
};

use crate::keys::{Who, digest, eight, end_of, four, grave, link};
use crate::message::{Change, Fact, Name, Says, read};
use crate::sets::{self, SetChange};
use crate::sources::{Root, Source};
use crate::store::{
    Bytes, DIGESTS, ENTRIES, GRAVES, Held, LINKS, ReplicaError, SETS, SOURCES, TOPS, open, sources,
};

/// Sources that are kept; whoever may publish could make up any number.
const MOST_SOURCES: usize = 1_024;
/// Roots of one.
const MOST_ROOTS: usize = 4_096;
/// Registers that say that something is gone; of more, the oldest half is forgotten.
const MOST_GRAVES: u64 = 200_000;
/// Tags of graves.
pub(crate) const OF_ENTRY: u8 = 0;
pub(crate) const OF_LINK: u8 = 1;

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

/// A replica in a file of its own, which nobody else has open.
pub struct Replica {
    pub(crate) database: Database,
    sources: BTreeMap<u32, Source>,
    most_graves: u64,
}

impl Replica {
    /// Opens that of a folder, or makes it.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn open(folder: &Path) -> Result<Replica, ReplicaError> {
        Replica::over(open(folder, true)?)
    }

    /// Opens that of a folder, which has to be there.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn existing(folder: &Path) -> Result<Replica, ReplicaError> {
        Replica::over(open(folder, false)?)
    }

    fn over(database: Database) -> Result<Replica, ReplicaError> {
        let sources = sources(&database)?;
        Ok(Replica { database, sources, most_graves: MOST_GRAVES })
    }

    /// Sources by number, as of the last transaction.
    #[must_use]
    pub fn sources(&self) -> &BTreeMap<u32, Source> {
        &self.sources
    }

    /// Applies messages, durably; answers of each why it could not be used, if so. What sets of equal files came, changed or
    /// dissolved is told to `tell` before the transaction ends: after a crash it may be told again.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing has changed then.
    pub fn apply(
        &mut self,
        messages: &[Incoming<'_>],
        tell: &mut dyn FnMut(&SetChange) -> io::Result<()>,
    ) -> Result<Vec<Option<Unusable>>, ReplicaError> {
        let write = self.database.begin_write()?;
        let mut answers = Vec::with_capacity(messages.len());
        let mut work = Work::new(&write, self.sources.clone())?;
        for message in messages {
            let fact = read(message.id, message.key, message.body).and_then(|fact| {
                let number = work.source(&fact)?;
                Ok((fact, number))
            });
            answers.push(match fact {
                Ok((fact, number)) => {
                    work.fact(number, fact)?;
                    None
                }
                Err(unusable) => Some(unusable),
            });
        }
        work.forget(self.most_graves)?;
        let changes = work.sets()?;
        let sources = work.close()?;
        for change in &changes {
            tell(change).map_err(ReplicaError::Told)?;
        }
        write.commit()?;
        self.sources = sources;
        Ok(answers)
    }

    /// For tests: few graves.
    #[cfg(test)]
    pub(crate) fn remember(&mut self, most: u64) {
        self.most_graves = most;
    }

    pub(crate) fn reader(&self) -> Result<redb::ReadTransaction, ReplicaError> {
        Ok(self.database.begin_read()?)
    }
}

pub(crate) type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// A transaction under way.
pub(crate) struct Work<'t> {
    pub(crate) sources: BTreeMap<u32, Source>,
    before: BTreeMap<u32, Source>,
    table: Table<'t, u32, &'static [u8]>,
    pub(crate) entries: Rows<'t>,
    pub(crate) links: Rows<'t>,
    pub(crate) tops: Rows<'t>,
    pub(crate) digests: Rows<'t>,
    pub(crate) graves: Rows<'t>,
    told: Table<'t, &'static str, u64>,
    /// Digests whose set may be another.
    touched: BTreeSet<String>,
}

impl<'t> Work<'t> {
    fn new(write: &'t WriteTransaction, sources: BTreeMap<u32, Source>) -> Result<Work<'t>, ReplicaError> {
        let rows = |table: Bytes| write.open_table(table);
        Ok(Work {
            before: sources.clone(),
            sources,
            table: write.open_table(SOURCES)?,
            entries: rows(ENTRIES)?,
            links: rows(LINKS)?,
            tops: rows(TOPS)?,
            digests: rows(DIGESTS)?,
            graves: rows(GRAVES)?,
            told: write.open_table(SETS)?,
            touched: BTreeSet::new(),
        })
    }

    /// The number of the source that a message is of. One that has a root of another epoch of the same indexer makes that one stale;
    /// two indexers of one host have other roots.
    fn source(&mut self, fact: &Fact) -> Result<u32, Unusable> {
        let known =
            self.sources.iter().find(|(_, source)| source.epoch == fact.epoch && source.name == fact.name);
        let number = match known {
            Some((number, source)) => {
                if source.roots.len() >= MOST_ROOTS && !source.roots.contains_key(&fact.root) {
                    return Err(Unusable(format!("one root too many: {MOST_ROOTS} are kept")));
                }
                *number
            }
            None if self.sources.len() >= MOST_SOURCES => {
                return Err(Unusable(format!("one source too many: {MOST_SOURCES} are kept")));
            }
            None => {
                let number = self.sources.last_key_value().map_or(1, |(last, _)| last + 1);
                let (name, host, epoch) = (fact.name.clone(), fact.host.clone(), fact.epoch.clone());
                self.sources.insert(number, Source { name, host, epoch, ..Source::default() });
                number
            }
        };
        let Some(source) = self.sources.get_mut(&number) else { return Ok(number) };
        if fact.root_path.is_empty() {
            return Ok(number);
        }
        let root = source.roots.entry(fact.root).or_insert_with(Root::default);
        if root.path != fact.root_path {
            root.path.clone_from(&fact.root_path);
            for (_, older) in self.sources.range_mut(..number) {
                let same = older.roots.values().any(|root| root.path == fact.root_path);
                older.stale |= same && older.name == fact.name;
            }
        }
        Ok(number)
    }

    fn fact(&mut self, number: u32, fact: Fact) -> Result<(), ReplicaError> {
        let Fact { seq, root, says, .. } = fact;
        match says {
            Says::Begun => self.begun(number, root, seq),
            Says::Read(change) => self.read(number, root, seq, *change),
            Says::Ended(entries) => self.ended(number, root, seq, entries),
            Says::Lost => {
                self.needs(number, root, seq);
                Ok(())
            }
            Says::Change(change) => {
                // What was seen is done, and what a replay told of as a whole is known.
                if self.saw(number, seq) && self.whole(number, root).is_none_or(|whole| seq > whole) {
                    self.change(number, root, seq, *change)?;
                }
                Ok(())
            }
            Says::Seeded => {
                if self.saw(number, seq) {
                    self.needs(number, root, seq);
                }
                Ok(())
            }
            Says::Word => {
                self.saw(number, seq);
                Ok(())
            }
        }
    }

    pub(crate) fn root(&mut self, number: u32, root: u32) -> Option<&mut Root> {
        self.sources.get_mut(&number)?.roots.get_mut(&root)
    }

    pub(crate) fn whole(&self, number: u32, root: u32) -> Option<u64> {
        self.sources.get(&number)?.roots.get(&root)?.whole
    }

    fn saw(&mut self, number: u32, seq: u64) -> bool {
        self.sources.get_mut(&number).is_some_and(|source| source.saw(seq))
    }

    fn needs(&mut self, number: u32, root: u32, seq: u64) {
        if let Some(root) = self.root(number, root) {
            root.needs = root.needs.max(seq);
        }
    }

    fn change(&mut self, number: u32, root: u32, seq: u64, change: Change) -> Result<(), ReplicaError> {
        let who = Who { source: number, id: change.id };
        if let Some((dir, path)) = &change.top {
            self.top(Who { source: number, id: *dir }, path)?;
        }
        for (dir, state) in change.parents {
            self.write(Who { source: number, id: dir }, root, seq, Some(state))?;
        }
        for name in &change.lost {
            self.link(who, root, seq, name, false)?;
        }
        for name in &change.has {
            self.link(who, root, seq, name, true)?;
        }
        let gone = change.state.is_none();
        self.write(who, root, seq, change.state)?;
        if gone {
            for name in self.names(who)? {
                self.link(who, root, seq, &name, false)?;
            }
        }
        Ok(())
    }

    /// Where a directory is that no name leads to.
    pub(crate) fn top(&mut self, who: Who, path: &[u8]) -> Result<(), ReplicaError> {
        let known = self.tops.get(who.key().as_slice())?.is_some_and(|known| known.value() == path);
        if !known && self.names(who)?.is_empty() {
            self.tops.insert(who.key().as_slice(), path)?;
        }
        Ok(())
    }

    pub(crate) fn held(&self, who: Who) -> Result<Option<Held>, ReplicaError> {
        self.entries.get(who.key().as_slice())?.map(|row| Held::read(row.value())).transpose()
    }

    /// Writes what an entry is as of `seq`, unless more is known.
    pub(crate) fn write(
        &mut self,
        who: Who,
        root: u32,
        seq: u64,
        state: Option<EntryState>,
    ) -> Result<(), ReplicaError> {
        let before = self.held(who)?;
        if before.as_ref().is_some_and(|before| before.seq > seq) {
            return Ok(());
        }
        let read = before.as_ref().and_then(|before| before.read);
        self.put(who, before.and_then(|before| before.state).as_ref(), Some(&Held { seq, root, read, state }))
    }

    /// Puts a register in place of one that held `before`, and keeps what follows from it.
    pub(crate) fn put(
        &mut self,
        who: Who,
        before: Option<&EntryState>,
        held: Option<&Held>,
    ) -> Result<(), ReplicaError> {
        let after = held.and_then(|held| held.state.as_ref());
        let (was, is) = (before.and_then(sets::whole), after.and_then(sets::whole));
        if was != is {
            if let Some(was) = was {
                self.digests.remove(digest(was, who).as_slice())?;
                self.touched.insert(was.to_owned());
            }
            if let Some(is) = is {
                self.digests.insert(digest(is, who).as_slice(), [].as_slice())?;
                self.touched.insert(is.to_owned());
            }
        }
        if let Some(source) = self.sources.get_mut(&who.source) {
            let (less, more) = (u64::from(before.is_some()), u64::from(after.is_some()));
            source.entries = (source.entries + more).saturating_sub(less);
        }
        let key = who.key();
        match held {
            None => drop(self.entries.remove(key.as_slice())?),
            Some(held) => {
                let value =
                    serde_json::to_vec(held).map_err(|error| ReplicaError::Damaged(error.to_string()))?;
                self.entries.insert(key.as_slice(), value.as_slice())?;
                if held.state.is_none() {
                    let grave = grave(who.source, held.seq, OF_ENTRY, &key);
                    self.graves.insert(grave.as_slice(), [].as_slice())?;
                    self.tops.remove(key.as_slice())?;
                }
            }
        }
        Ok(())
    }

    /// Names that an entry has.
    pub(crate) fn names(&self, who: Who) -> Result<Vec<Name>, ReplicaError> {
        let key = who.key();
        let mut names = Vec::new();
        for row in self.links.range(key.as_slice()..end_of(&key).as_slice())? {
            let (key, value) = row?;
            if let Some((_, dir, name)) = crate::keys::of_link(key.value())
                && is_there(value.value())
            {
                names.push(Name { dir, name: name.to_vec() });
            }
        }
        Ok(names)
    }

    /// Writes whether an entry has a name as of `seq`, unless more is known.
    pub(crate) fn link(
        &mut self,
        who: Who,
        root: u32,
        seq: u64,
        name: &Name,
        there: bool,
    ) -> Result<(), ReplicaError> {
        let key = link(who, name.dir, &name.name);
        if self.links.get(key.as_slice())?.is_some_and(|known| seq_of(known.value()) > seq) {
            return Ok(());
        }
        self.links.insert(key.as_slice(), value(seq, root, there).as_slice())?;
        if !there {
            self.graves.insert(grave(who.source, seq, OF_LINK, &key).as_slice(), [].as_slice())?;
        }
        Ok(())
    }

    /// Forgets the oldest graves when there are too many.
    fn forget(&mut self, most: u64) -> Result<(), ReplicaError> {
        if self.graves.len()? <= most {
            return Ok(());
        }
        let mut left = self.graves.len()? - most / 2;
        let numbers: Vec<u32> = self.sources.keys().copied().collect();
        for number in numbers {
            while left > 0 {
                let first = number.to_be_bytes();
                let mut range = self.graves.range(first.as_slice()..end_of(&first).as_slice())?;
                let Some(row) = range.next() else { break };
                let key = row?.0.value().to_vec();
                drop(range);
                let seq = self.bury(&key, None)?;
                if let Some(source) = self.sources.get_mut(&number) {
                    source.forgotten = source.forgotten.max(seq);
                }
                left -= 1;
            }
        }
        Ok(())
    }

    /// Removes a grave, and the register that it stands for if that still says so and is of `root`; answers of which seq.
    pub(crate) fn bury(&mut self, key: &[u8], root: Option<u32>) -> Result<u64, ReplicaError> {
        let (seq, tag, of) = (eight(&key[4..12]), key[12], &key[13..]);
        let register = if tag == OF_LINK {
            let row = self.links.get(of)?;
            row.map(|row| (seq_of(row.value()), root_of(row.value()), is_there(row.value())))
        } else {
            let row = self.entries.get(of)?.map(|row| Held::read(row.value())).transpose()?;
            row.map(|held| (held.seq, held.root, held.state.is_some()))
        };
        if let Some((at, of_root, there)) = register
            && at == seq
            && !there
        {
            if root.is_some_and(|root| root != of_root) {
                return Ok(seq);
            }
            if tag == OF_LINK {
                self.links.remove(of)?
            } else {
                self.entries.remove(of)?
            };
        }
        self.graves.remove(key)?;
        Ok(seq)
    }

    /// What became of the sets that were touched.
    fn sets(&mut self) -> Result<Vec<SetChange>, ReplicaError> {
        let touched = std::mem::take(&mut self.touched);
        let mut changes = Vec::new();
        for digest in touched {
            let copies = sets::copies(&self.digests, &self.sources, &digest)?;
            let told = self.told.get(digest.as_str())?.map_or(0, |told| told.value());
            if copies == told || (copies < 2 && told < 2) {
                continue;
            }
            if copies < 2 {
                self.told.remove(digest.as_str())?;
            } else {
                self.told.insert(digest.as_str(), copies)?;
            }
            let set =
                sets::set((&self.digests, &self.entries, &self.links, &self.tops), &self.sources, &digest)?;
            changes.push(SetChange::new(set, told));
        }
        Ok(changes)
    }

    fn close(mut self) -> Result<BTreeMap<u32, Source>, ReplicaError> {
        for (number, source) in &self.sources {
            if self.before.get(number) != Some(source) {
                let text =
                    serde_json::to_vec(source).map_err(|error| ReplicaError::Damaged(error.to_string()))?;
                self.table.insert(number, text.as_slice())?;
            }
        }
        for number in self.before.keys().filter(|number| !self.sources.contains_key(number)) {
            self.table.remove(number)?;
        }
        Ok(self.sources)
    }
}

/// The value of a name's register.
fn value(seq: u64, root: u32, there: bool) -> [u8; 13] {
    let mut value = [0; 13];
    value[..8].copy_from_slice(&seq.to_be_bytes());
    value[8..12].copy_from_slice(&root.to_be_bytes());
    value[12] = u8::from(there);
    value
}

pub(crate) fn seq_of(value: &[u8]) -> u64 {
    value.get(..8).map_or(0, eight)
}

pub(crate) fn root_of(value: &[u8]) -> u32 {
    value.get(8..12).map_or(0, four)
}

pub(crate) fn is_there(value: &[u8]) -> bool {
    value.get(12) == Some(&1)
}

/// All of a source, for who drops it.
pub(crate) fn all_of(number: u32) -> ([u8; 4], Vec<u8>) {
    let first = number.to_be_bytes();
    (first, end_of(&first))
}
