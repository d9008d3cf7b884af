//! The tables, while what they follow from changes: a transaction tells which names did, and the way up from each is walked.

use record::{EntryId, Place, Row};
use redb::{ReadableTable, Table, WriteTransaction};
use rustc_hash::FxHashSet;

use super::{Grown, Share, What, Word, damaged, put_what, share, what};
use crate::commit::meta_word;
use crate::contents::is_kept;
use crate::error::IndexError;
use crate::row_code::row;
use crate::tables::{
    ENTRIES, LINKS, META, TREE_DIGESTS, TREES, TREES_DUE, dir_prefix, dir_prefix_end, key, split_name_key,
};

/// The number of the last transaction that made directories due.
const META_TURN: &str = "trees";

/// What a transaction changes that digests of directories follow.
#[derive(Default)]
pub(crate) struct Touched {
    /// Directories that came, and that went.
    came: Vec<EntryId>,
    went: Vec<EntryId>,
    /// Entries that add something else than before, by whatever names they have.
    entries: Vec<EntryId>,
    /// Names that came, went or changed; one without bytes is the directory itself.
    names: Vec<Place>,
}

impl Touched {
    /// Where contents are kept.
    pub(crate) fn new(transaction: &WriteTransaction) -> Result<Option<Touched>, IndexError> {
        Ok(is_kept(&transaction.open_table(META)?)?.then(Touched::default))
    }

    pub(crate) fn row(&mut self, id: EntryId, old: Option<&Row>, new: Option<&Row>) {
        let (was, is) = (old.and_then(share), new.and_then(share));
        if was == is {
            return;
        }
        let directory = |share: Option<Share>| share.is_some_and(|share| share.word == Word::Directory);
        match (directory(was), directory(is)) {
            (true, false) => self.went.push(id),
            (false, true) => self.came.push(id),
            _ => {}
        }
        self.entries.push(id);
    }

    pub(crate) fn name(&mut self, place: &Place) {
        self.names.push(place.clone());
    }

    pub(crate) fn entry(&mut self, id: EntryId) {
        self.entries.push(id);
    }

    pub(crate) fn sight(&mut self, dir: EntryId) {
        self.names.push(Place::new(dir, b""));
    }

    fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty() && self.entries.is_empty() && self.names.is_empty()
    }

    /// Takes away what does not hold any more, after all else of the transaction, and puts in what was found. What was found
    /// before a change of this or an earlier transaction is left out.
    pub(crate) fn settle(self, transaction: &WriteTransaction, grown: Vec<Grown>) -> Result<(), IndexError> {
        if self.is_empty() && grown.is_empty() {
            return Ok(());
        }
        let turn = {
            let mut meta = transaction.open_table(META)?;
            let turn = meta_word(&meta, META_TURN)? + 1;
            meta.insert(META_TURN, turn)?;
            turn
        };
        let mut trees = Trees {
            trees: transaction.open_table(TREES)?,
            digests: transaction.open_table(TREE_DIGESTS)?,
            due: transaction.open_table(TREES_DUE)?,
            entries: transaction.open_table(ENTRIES)?,
            links: transaction.open_table(LINKS)?,
            turn,
        };
        for dir in &self.came {
            trees.due.insert(key(*dir), turn)?;
        }
        let mut names = self.names;
        for id in self.entries {
            names.extend(trees.places(id)?);
        }
        names.sort_unstable();
        names.dedup();
        trees.touch(names)?;
        for dir in &self.went {
            trees.forget(*dir)?;
            trees.due.remove(key(*dir))?;
        }
        trees.take(grown)
    }
}

/// The tables, while they change.
struct Trees<'t> {
    trees: Table<'t, (u32, u64), &'static [u8]>,
    digests: Table<'t, ([u8; 32], u32, u64), u64>,
    due: Table<'t, (u32, u64), u64>,
    entries: Table<'t, (u32, u64), &'static [u8]>,
    links: Table<'t, &'static [u8], ()>,
    turn: u64,
}

impl Trees<'_> {
    fn what(&self, dir: EntryId) -> Result<Option<What>, IndexError> {
        let Some(value) = self.trees.get(key(dir))? else { return Ok(None) };
        what(value.value()).map(Some).map_err(damaged(dir))
    }

    /// All names of an entry.
    fn places(&self, id: EntryId) -> Result<Vec<Place>, IndexError> {
        let Some(value) = self.entries.get(key(id))? else { return Ok(Vec::new()) };
        let row = row(id, value.value()).map_err(|error| IndexError::damaged(format!("row {id}"), error))?;
        if !row.many_names {
            return Ok(row.place.into_iter().collect());
        }
        let prefix = dir_prefix(id);
        let mut places = Vec::new();
        let end = dir_prefix_end(id);
        let upper =
            end.as_ref().map_or(std::ops::Bound::Unbounded, |end| std::ops::Bound::Excluded(&end[..]));
        for item in self.links.range::<&[u8]>((std::ops::Bound::Included(&prefix[..]), upper))? {
            let (key, _) = item?;
            if let Some((dir, name)) = key.value().get(12..).and_then(split_name_key) {
                places.push(Place::new(dir, name));
            }
        }
        Ok(places)
    }

    /// What is at these names changed. A directory that has no digest ends the way up: none above it has one.
    fn touch(&mut self, mut names: Vec<Place>) -> Result<(), IndexError> {
        while let Some(Place { dir, name }) = names.pop() {
            let again = if self.due.get(key(dir))?.is_some() {
                true
            } else {
                match self.what(dir)? {
                    None | Some(What::Gone) => true,
                    // Whatever else changes, it lacks that one.
                    Some(What::Lacks(lacks)) => *lacks == *name,
                    Some(What::Tree(_)) => {
                        self.forget(dir)?;
                        names.extend(self.places(dir)?);
                        true
                    }
                }
            };
            if again {
                self.due.insert(key(dir), self.turn)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, dir: EntryId) -> Result<(), IndexError> {
        if let Some(What::Tree(tree)) = self.what(dir)? {
            self.digests.remove((tree.digest, dir.volume.0, dir.inode))?;
        }
        self.trees.remove(key(dir))?;
        Ok(())
    }

    fn take(&mut self, grown: Vec<Grown>) -> Result<(), IndexError> {
        let beside: FxHashSet<(EntryId, EntryId)> =
            grown.iter().flat_map(|one| one.uses.iter().map(|used| (one.dir, *used))).collect();
        let mut refused: FxHashSet<EntryId> = FxHashSet::default();
        let mut bytes = Vec::with_capacity(64);
        for Grown { dir, turn, what, uses } in grown {
            let due = self.due.get(key(dir))?.map(|turn| turn.value());
            if due != Some(turn) || uses.iter().any(|used| refused.contains(used)) {
                refused.insert(dir);
                // What was to go with this is news to it after all.
                for used in uses.iter().filter(|used| !refused.contains(used)) {
                    let mut names = self.places(*used)?;
                    names.retain(|place| place.dir == dir);
                    self.touch(names)?;
                }
                continue;
            }
            self.due.remove(key(dir))?;
            self.forget(dir)?;
            if what == What::Gone {
                continue;
            }
            bytes.clear();
            put_what(&mut bytes, &what);
            self.trees.insert(key(dir), &bytes[..])?;
            if let What::Tree(tree) = what {
                self.digests.insert((tree.digest, dir.volume.0, dir.inode), tree.bytes)?;
                let mut names = self.places(dir)?;
                names.retain(|place| !beside.contains(&(place.dir, dir)));
                self.touch(names)?;
            }
        }
        Ok(())
    }
}

/// All directories are to be looked through: the rows came in past this module.
pub(crate) fn begin_anew(
    transaction: &WriteTransaction,
    directories: impl Iterator<Item = EntryId>,
) -> Result<(), IndexError> {
    transaction.delete_table(TREES)?;
    transaction.delete_table(TREE_DIGESTS)?;
    transaction.delete_table(TREES_DUE)?;
    transaction.open_table(TREES)?;
    transaction.open_table(TREE_DIGESTS)?;
    let mut due = transaction.open_table(TREES_DUE)?;
    let mut meta = transaction.open_table(META)?;
    let turn = meta_word(&meta, META_TURN)? + 1;
    meta.insert(META_TURN, turn)?;
    for dir in directories {
        due.insert(key(dir), turn)?;
    }
    Ok(())
}
