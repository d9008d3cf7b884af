//! Makes a lawful tree of what a walk saw while the tree moved under it: one entry a name, one name a directory, a way
//! up for everything. What it leaves out is said, to be looked at again. Adds nothing up.

use record::{EntryId, Place, RootId, Row};
use redb::{ReadableTable, Table, WriteTransaction};
use rustc_hash::{FxHashMap, FxHashSet};

use super::RunResult;
use super::load::decode_row;
use crate::row_code::put_row;
use crate::tables::{
    DETACHED, ENTRIES, LINKS, NAMES, dir_prefix, id, key, link_key, name_key, split_name_key, target,
    target_value,
};

/// A name that the runs give to another entry than the one that has it in the table.
pub(super) struct Rival {
    pub(super) place: Place,
    pub(super) id: EntryId,
    /// The one in the table was there before this seed: its records tell what becomes of it.
    pub(super) late: bool,
}

/// What was seen of a tree that moved under the walk, and cannot all be so.
#[derive(Default)]
pub(super) struct Doubts {
    /// Names that turned out to be another entry's, which had the same number before or after, or of a directory that
    /// was seen elsewhere later.
    pub(super) strange: Vec<(Place, EntryId)>,
    /// Directories under whose number two were listed.
    pub(super) mixed: Vec<EntryId>,
    /// A directory was seen twice, or its number was another's: some ways up may lead nowhere.
    pub(super) deep: bool,
}

/// What became of it.
#[derive(Default)]
pub(super) struct Untangled {
    /// Names that were left out.
    pub(super) left_out: Vec<Place>,
    /// Rows by root, where any lost a name.
    pub(super) rows: Option<FxHashMap<RootId, u64>>,
}

/// Resolves what is doubtful. `ends`: the directories of all roots; `tops`: those of the roots that are loaded.
pub(super) fn untangle(
    transaction: &WriteTransaction,
    doubts: Doubts,
    rivals: Vec<Rival>,
    ends: impl Iterator<Item = EntryId>,
    tops: &[(RootId, EntryId)],
) -> RunResult<Untangled> {
    if !doubts.deep && doubts.strange.is_empty() && rivals.is_empty() {
        return Ok(Untangled::default());
    }
    let mut tangle = Tangle::open(transaction, ends)?;
    for (place, id) in doubts.strange {
        tangle.leave(place, id)?;
    }
    for rival in rivals {
        tangle.decide(rival)?;
    }
    if doubts.deep || tangle.deep {
        tangle.cut()?;
    }
    let rows = if tangle.changed { Some(tangle.count(tops)?) } else { None };
    Ok(Untangled { left_out: tangle.left_out, rows })
}

/// The tables of a tree, while it is made lawful.
struct Tangle<'t> {
    entries: Table<'t, (u32, u64), &'static [u8]>,
    names: Table<'t, &'static [u8], (u32, u64)>,
    links: Table<'t, &'static [u8], ()>,
    /// Directories that end a way up: those of roots, and those without a name.
    ends: FxHashSet<EntryId>,
    /// Names that were left out.
    left_out: Vec<Place>,
    /// Whether a row lost a name.
    changed: bool,
    /// Whether one of those was a directory's.
    deep: bool,
}

impl<'t> Tangle<'t> {
    fn open(transaction: &'t WriteTransaction, tops: impl Iterator<Item = EntryId>) -> RunResult<Tangle<'t>> {
        let mut ends: FxHashSet<EntryId> = tops.collect();
        for item in transaction.open_table(DETACHED)?.iter()? {
            ends.insert(id(item?.0.value()));
        }
        Ok(Tangle {
            entries: transaction.open_table(ENTRIES)?,
            names: transaction.open_table(NAMES)?,
            links: transaction.open_table(LINKS)?,
            ends,
            left_out: Vec::new(),
            changed: false,
            deep: false,
        })
    }

    /// Takes away a name that `id` was seen by and does not have. What is there is for the next look to find.
    fn leave(&mut self, place: Place, id: EntryId) -> RunResult<()> {
        if self.owner(&place)? == Some(id) {
            self.names.remove(&name_key(place.dir, &place.name)[..])?;
        }
        self.left_out.push(place);
        Ok(())
    }

    /// Gives a name to one of the two that were seen by it: to the one that was looked at last.
    fn decide(&mut self, rival: Rival) -> RunResult<()> {
        let Rival { place, id, late } = rival;
        let Some(other) = self.row(id)? else { return Ok(()) };
        if !self.names_of(id, &other)?.contains(&place) {
            return Ok(());
        }
        let owner = self.owner(&place)?;
        let row = match owner {
            Some(owner) => self.row(owner)?.map(|row| (owner, row)),
            None => None,
        };
        if let Some((owner, row)) = row
            && owner != id
            && self.names_of(owner, &row)?.contains(&place)
        {
            if late || row.looked_at >= other.looked_at {
                return self.lose(id, place);
            }
            self.lose(owner, place.clone())?;
        }
        let target = reconcile::Target { id, directory: other.stat.is_directory() };
        self.names.insert(&name_key(place.dir, &place.name)[..], target_value(target))?;
        Ok(())
    }

    /// Leaves out what has no way up: what lies in a directory that was left out, in what is none, or in a circle. All
    /// rows are read; memory grows with the number of directories, about 150 bytes each.
    fn cut(&mut self) -> RunResult<()> {
        let mut above: FxHashMap<EntryId, Option<EntryId>> = FxHashMap::default();
        let mut filled: FxHashSet<EntryId> = FxHashSet::default();
        for item in self.entries.iter()? {
            let (at, value) = item?;
            let entry = id(at.value());
            let row = decode_row(entry, value.value())?;
            let dir = row.place.map(|place| place.dir);
            if row.stat.is_directory() {
                above.insert(entry, dir);
            }
            filled.extend(dir);
        }
        for item in self.links.iter()? {
            let (at, _) = item?;
            filled.extend(at.value().get(12..).and_then(split_name_key).map(|(dir, _)| dir));
        }
        let mut known: FxHashMap<EntryId, bool> = FxHashMap::default();
        let mut lost: Vec<EntryId> = Vec::new();
        for dir in above.keys().chain(&filled) {
            if !self.has_end(*dir, &above, &mut known) {
                lost.push(*dir);
            }
        }
        lost.sort_unstable();
        lost.dedup();
        for dir in lost {
            for (place, child) in self.children(dir)? {
                self.names.remove(&name_key(dir, &place.name)[..])?;
                self.lose(child, place)?;
            }
            if self.row(dir)?.is_some_and(|row| row.stat.is_directory() && row.place.is_none()) {
                self.end(dir)?;
            }
        }
        Ok(())
    }

    /// Rows by root: the least of `tops`, where an entry has names in several. All rows are read.
    fn count(&self, tops: &[(RootId, EntryId)]) -> RunResult<FxHashMap<RootId, u64>> {
        let mut above: FxHashMap<EntryId, EntryId> = FxHashMap::default();
        for item in self.entries.iter()? {
            let (at, value) = item?;
            let row = decode_row(id(at.value()), value.value())?;
            if let Some(place) = row.place.filter(|_| row.stat.is_directory()) {
                above.insert(id(at.value()), place.dir);
            }
        }
        let mut known: FxHashMap<EntryId, Option<RootId>> =
            tops.iter().map(|(root, top)| (*top, Some(*root))).collect();
        let mut root_of = |dir: EntryId| {
            let mut way = Vec::new();
            let mut at = dir;
            let root = loop {
                match (known.get(&at), above.get(&at)) {
                    (Some(root), _) => break *root,
                    (None, Some(up)) => {
                        way.push(at);
                        at = *up;
                    }
                    (None, None) => break None,
                }
            };
            known.extend(way.into_iter().map(|at| (at, root)));
            root
        };
        let mut rows: FxHashMap<RootId, u64> = FxHashMap::default();
        for item in self.entries.iter()? {
            let (at, value) = item?;
            let entry = id(at.value());
            let row = decode_row(entry, value.value())?;
            let names = self.names_of(entry, &row)?;
            let dirs = names.iter().map(|place| place.dir).chain(names.is_empty().then_some(entry));
            if let Some(root) = dirs.filter_map(&mut root_of).min() {
                *rows.entry(root).or_default() += 1;
            }
        }
        Ok(rows)
    }

    /// Whether the way up from `dir` ends where one should. `known`: what was found so far.
    fn has_end(
        &self,
        dir: EntryId,
        above: &FxHashMap<EntryId, Option<EntryId>>,
        known: &mut FxHashMap<EntryId, bool>,
    ) -> bool {
        let mut way = Vec::new();
        let mut at = dir;
        let ends = loop {
            if let Some(known) = known.get(&at) {
                break *known;
            }
            // Until it is known better: whoever comes by again has gone in a circle.
            known.insert(at, false);
            way.push(at);
            match above.get(&at) {
                Some(_) if self.ends.contains(&at) => break true,
                Some(Some(up)) => at = *up,
                Some(None) | None => break false,
            }
        };
        for at in way {
            known.insert(at, ends);
        }
        ends
    }

    /// Takes a name from a row, and the row away when that was its last.
    fn lose(&mut self, id: EntryId, place: Place) -> RunResult<()> {
        let Some(mut row) = self.row(id)? else { return Ok(()) };
        self.changed = true;
        self.deep |= row.stat.is_directory();
        let mut names = self.names_of(id, &row)?;
        let had = names.len();
        names.retain(|name| *name != place);
        if names.len() < had {
            if row.many_names {
                self.links.remove(&link_key(id, &place)[..])?;
            }
            self.left_out.push(place);
        }
        if let [only] = &names[..]
            && row.many_names
        {
            self.links.remove(&link_key(id, only)[..])?;
        }
        row.many_names = names.len() > 1;
        row.place = names.into_iter().next();
        if row.place.is_none() && !self.ends.contains(&id) {
            return self.end(id);
        }
        let mut bytes = Vec::new();
        put_row(&mut bytes, id, &row);
        self.entries.insert(key(id), &bytes[..])?;
        Ok(())
    }

    fn end(&mut self, id: EntryId) -> RunResult<()> {
        self.changed = true;
        self.entries.remove(key(id))?;
        Ok(())
    }

    fn owner(&self, place: &Place) -> RunResult<Option<EntryId>> {
        let value = self.names.get(&name_key(place.dir, &place.name)[..])?;
        Ok(value.map(|value| target(value.value()).id))
    }

    fn row(&self, id: EntryId) -> RunResult<Option<Row>> {
        let value = self.entries.get(key(id))?;
        value.map(|value| decode_row(id, value.value())).transpose()
    }

    /// Sorted.
    fn names_of(&self, id: EntryId, row: &Row) -> RunResult<Vec<Place>> {
        if !row.many_names {
            return Ok(row.place.iter().cloned().collect());
        }
        let prefix = dir_prefix(id);
        let mut names = Vec::new();
        for item in self.links.range::<&[u8]>(&prefix[..]..)? {
            let (at, _) = item?;
            if !at.value().starts_with(&prefix) {
                break;
            }
            names.extend(
                at.value().get(12..).and_then(split_name_key).map(|(dir, name)| Place::new(dir, name)),
            );
        }
        names.sort();
        Ok(names)
    }

    fn children(&self, dir: EntryId) -> RunResult<Vec<(Place, EntryId)>> {
        let prefix = dir_prefix(dir);
        let mut children = Vec::new();
        for item in self.names.range::<&[u8]>(&prefix[..]..)? {
            let (at, value) = item?;
            if !at.value().starts_with(&prefix) {
                break;
            }
            let Some((dir, name)) = split_name_key(at.value()) else { continue };
            children.push((Place::new(dir, name), target(value.value()).id));
        }
        Ok(children)
    }
}
