//! Whether the index is what the disk is, and what its own journal says. Knows the disk's inside.

use std::collections::{BTreeMap, BTreeSet};

use consumer::{Known, Replica};
use index::{Index, IndexError, Reader};
use reconcile::Stored as _;
use record::{EntryId, Place, Record, Row, Seq, Stat, Totals};

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
    let known = |row: &Row| Known { birth: row.stat.created, stat: row.stat, digest: row.current_digest() };
    Replica { entries: rows.iter().map(|(id, row)| (*id, known(row))).collect(), names, seq }
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
        let same = |a: &Known, b: &Known| a.birth == b.birth && a.stat.same(&b.stat) && a.digest == b.digest;
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
