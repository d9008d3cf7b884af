//! Whether the index is what the disk is, and what its own journal says. Knows the disk's inside.

use std::collections::{BTreeMap, BTreeSet};

use consumer::{Known, Replica};
use index::{Index, IndexError, Reader};
use reconcile::Stored as _;
use record::{EntryId, Kind, Place, Record, Row, Seq, Stat, Totals};

use super::model::{Key, Model};

/// All of an index that follows from the tree: rows, names, totals, and the last seq.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Whole {
    pub(super) rows: BTreeMap<EntryId, Row>,
    pub(super) names: BTreeMap<Place, EntryId>,
    totals: Vec<(EntryId, Option<Totals>)>,
    pub(super) seq: Seq,
}

pub(super) fn whole(reader: &Reader) -> Whole {
    let mut rows = BTreeMap::new();
    let mut names = BTreeMap::new();
    reader
        .each_row::<IndexError>(|id, row| {
            rows.insert(id, row);
            Ok(true)
        })
        .unwrap();
    reader
        .each_name::<IndexError>(|dir, name, target| {
            names.insert(Place::new(dir, name), target.id);
            Ok(true)
        })
        .unwrap();
    let totals = rows.keys().map(|id| (*id, reader.totals(*id).unwrap())).collect();
    Whole { rows, names, totals, seq: reader.seq().unwrap() }
}

/// What a reader of the journal would know that began now.
pub(super) fn replica(reader: &Reader) -> Replica {
    let Whole { rows, names, seq, .. } = whole(reader);
    let known = |id: &EntryId, row: &Row| {
        let detached = reader.detached(*id).unwrap();
        let place = row.place.as_ref().or(detached.as_ref().map(|detached| &detached.place));
        let (digest, category) = (row.current_digest(), row.category_at(place));
        Known { birth: row.stat.created, stat: row.stat, digest, category }
    };
    Replica { entries: rows.iter().map(|(id, row)| (*id, known(id, row))).collect(), names, seq }
}

pub(super) fn records(index: &Index, since: Seq) -> Vec<Record> {
    let mut records = Vec::new();
    index
        .read()
        .unwrap()
        .each_record::<IndexError>(since, |record| {
            records.push(record);
            Ok(true)
        })
        .unwrap();
    records
}

/// What the disk has below `tops`: the stat of every entry, and every name.
fn expected(model: &Model, tops: &[(Key, EntryId)]) -> (BTreeMap<EntryId, Stat>, BTreeMap<Place, EntryId>) {
    let mut stats = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut stack: Vec<(Key, EntryId)> = tops.to_vec();
    while let Some((key, id)) = stack.pop() {
        stats.insert(id, model.stat(key));
        for (name, child) in &model.get(key).children {
            let child_id = EntryId::new(id.volume, model.get(*child).number);
            names.insert(Place::new(id, name), child_id);
            stats.insert(child_id, model.stat(*child));
            if model.is_directory(*child) {
                stack.push((*child, child_id));
            }
        }
    }
    (stats, names)
}

/// All regular files below `tops` that are not empty.
pub(super) fn files(model: &Model, tops: &[(Key, EntryId)]) -> Vec<(EntryId, Key)> {
    let Some(volume) = tops.first().map(|(_, top)| top.volume) else { return Vec::new() };
    let files: BTreeSet<Key> = names(model, tops)
        .into_iter()
        .map(|(_, _, key)| key)
        .filter(|key| model.get(*key).kind == Kind::File && model.get(*key).size > 0)
        .collect();
    files.into_iter().map(|key| (EntryId::new(volume, model.get(key).number), key)).collect()
}

/// Every name on the disk below `tops`: its directory, and what it stands for.
pub(super) fn names(model: &Model, tops: &[(Key, EntryId)]) -> Vec<(Key, Vec<u8>, Key)> {
    let mut names = Vec::new();
    let mut stack: Vec<Key> = tops.iter().map(|(key, _)| *key).collect();
    while let Some(dir) = stack.pop() {
        for (name, child) in &model.get(dir).children {
            names.push((dir, name.clone(), *child));
            if model.is_directory(*child) {
                stack.push(*child);
            }
        }
    }
    names
}

/// R4: names that were in the index when it was `exact`, that nothing took away since, and that are not in it now; and
/// directories that refuse to be looked into, in roots of which the top is in `tops`, without a word of that.
pub(super) fn lost(
    model: &Model,
    exact: &[(Key, Vec<u8>, Key)],
    tops: &[EntryId],
    reader: &Reader,
) -> Vec<String> {
    let mut found = Vec::new();
    let Some(volume) = tops.first().map(|top| top.volume) else { return found };
    let stays: BTreeSet<(Key, Vec<u8>)> = exact
        .iter()
        .map(|(dir, name, _)| (*dir, name.clone()))
        .filter(|at| !model.taken.contains(at))
        .collect();
    for (dir, name, key) in exact {
        if !stays.contains(&(*dir, name.clone()))
            || !model.is_named(*dir)
            || !model
                .way_up(*dir)
                .iter()
                .all(|at| model.fixed.contains(&model.get(at.0).children[&at.1]) || stays.contains(at))
        {
            continue;
        }
        let place = Place::new(EntryId::new(volume, model.get(*dir).number), name);
        let id = EntryId::new(volume, model.get(*key).number);
        let kept = reader.lookup(place.dir, &place.name).unwrap().is_some_and(|target| target.id == id);
        if !kept || reader.row(id).unwrap().is_none() {
            let hidden = model.is_hidden(*dir) || model.refuses(*dir);
            found.push(format!("{} is not kept (hidden: {hidden})", model.show_name(*dir, name)));
        }
        if model.is_directory(*key)
            && model.refuses(*key)
            && !(model.get(*key).children.is_empty() && model.can_be_listed(*key))
            && !model.is_hidden(*key)
            && !reader.is_blind(id).unwrap()
            && tops.len() == model.fixed.len().max(2) - 1
        {
            found.push(format!("{} refuses, and that is not told", model.show(*key)));
        }
    }
    found
}

/// How a difference begins that is of a file's change time alone.
pub(super) const CHANGED_ALONE: &str = "changed alone: ";

/// R1: what differs between the disk and the index, one line each.
pub(super) fn differences(model: &Model, tops: &[(Key, EntryId)], reader: &Reader) -> Vec<String> {
    let (stats, names) = expected(model, tops);
    let Whole { rows, names: stored, .. } = whole(reader);
    let mut found = Vec::new();
    for id in stats.keys().chain(rows.keys()).collect::<BTreeSet<_>>() {
        match (stats.get(id), rows.get(id)) {
            (Some(_), None) => found.push(format!("{id} has no row")),
            (None, Some(row)) => found.push(format!("{id} is not there: {row:?}")),
            (Some(seen), Some(row)) if !row.stat.same(seen) => {
                let alone =
                    row.stat.same(&Stat { changed: row.stat.changed, ..*seen }) && !seen.is_directory();
                let what = if alone { CHANGED_ALONE } else { "" };
                found.push(format!("{what}{id} is {seen:?}, stored {:?}", row.stat));
            }
            _ => {}
        }
    }
    for place in names.keys().chain(stored.keys()).collect::<BTreeSet<_>>() {
        let (here, there) = (names.get(place), stored.get(place));
        if here != there {
            let name = String::from_utf8_lossy(&place.name);
            found.push(format!("{}/{name} is {here:?}, stored {there:?}", place.dir));
        }
    }
    let check = reader.check().unwrap();
    found.extend(check.faults.iter().map(|fault| format!("check: {} {}", fault.entry, fault.what)));
    found
}

/// Faults inside the index, and detached entries.
pub(super) fn faults(reader: &Reader) -> Vec<String> {
    let check = reader.check().unwrap();
    check.faults.iter().map(|fault| format!("check: {} {}", fault.entry, fault.what)).collect()
}

/// R5: what differs between a replica of the journal and the rows.
pub(super) fn replica_differences(replica: &Replica, reader: &Reader) -> Vec<String> {
    let now = self::replica(reader);
    let mut found = Vec::new();
    if replica.seq != now.seq {
        found.push(format!("the journal ends at {}, the index says {}", replica.seq, now.seq));
    }
    for id in replica.entries.keys().chain(now.entries.keys()).collect::<BTreeSet<_>>() {
        let rest = |known: &Known| (known.birth, known.digest, known.category);
        let same = |a: &Known, b: &Known| a.stat.same(&b.stat) && rest(a) == rest(b);
        match (replica.entries.get(id), now.entries.get(id)) {
            (Some(one), Some(other)) if same(one, other) => {}
            (one, other) => found.push(format!("replay: {id} is {other:?}, the journal says {one:?}")),
        }
    }
    for place in replica.names.keys().chain(now.names.keys()).collect::<BTreeSet<_>>() {
        let (one, other) = (replica.names.get(place), now.names.get(place));
        if one != other {
            let name = String::from_utf8_lossy(&place.name);
            found.push(format!("replay: {}/{name} is {other:?}, the journal says {one:?}", place.dir));
        }
    }
    found
}
