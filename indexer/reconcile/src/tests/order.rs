//! The order of records in one plan, judged from the records alone.

use std::collections::{BTreeMap, BTreeSet};

use super::replica::Replica;
use record::{Body, EntryId, Op, Place, Record};

/// Asserts what a reader relies on, wherever it can hold at all: who leaves a name comes before who takes
/// it, a directory comes before what is named in it, and goes after what it held. Cycles (an exchange)
/// are exempt.
pub(super) fn check(records: &[Record], before: &Replica) {
    let changes: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Change(change) => Some(change),
            _ => None,
        })
        .collect();
    let mut at: BTreeMap<EntryId, (usize, usize)> = BTreeMap::new();
    let (mut takers, mut holders) = (BTreeMap::<&Place, EntryId>::new(), BTreeMap::<&Place, EntryId>::new());
    // An entry whose name was taken in an earlier plan tells of it, but does not hold it any more.
    let mut holds = |place, entry| {
        if before.holds(place, entry) {
            holders.insert(place, entry);
        }
    };
    let mut begun = BTreeSet::new();
    let mut ended = BTreeSet::new();
    let mut recycled = BTreeSet::new();
    for (nth, change) in changes.iter().enumerate() {
        let names = matches!(change.op, Op::Created | Op::Linked | Op::Renamed | Op::Unlinked | Op::Deleted);
        if !names {
            continue;
        }
        let span = at.entry(change.entry).or_insert((nth, nth));
        span.1 = nth;
        match change.op {
            Op::Created | Op::Linked => drop(takers.insert(change.at.as_ref().unwrap(), change.entry)),
            Op::Renamed => {
                takers.insert(change.at.as_ref().unwrap(), change.entry);
                holds(change.old.as_ref().unwrap(), change.entry);
            }
            _ => holds(change.at.as_ref().unwrap(), change.entry),
        }
        match change.op {
            Op::Created | Op::Renamed => drop(begun.insert(change.entry)),
            Op::Deleted if change.pair.is_none() => drop(ended.insert(change.entry)),
            Op::Deleted => drop(recycled.insert(change.entry)),
            _ => {}
        }
    }
    let mut edges: BTreeSet<(EntryId, EntryId)> = BTreeSet::new();
    for (place, taker) in &takers {
        edges.extend(holders.get(place).map(|holder| (*holder, *taker)));
        // Two entries of one number, one after the other under one name, are one pair of records.
        if holders.get(place) != Some(taker) {
            edges.extend(begun.get(&place.dir).map(|dir| (*dir, *taker)));
        }
    }
    for (place, holder) in &holders {
        edges.extend(ended.get(&place.dir).map(|dir| (*holder, *dir)));
    }
    // What comes after what, at any distance: a pair that comes after each other is a cycle.
    let mut reach = edges.clone();
    for (place, holder) in &holders {
        reach.extend(recycled.get(&place.dir).map(|dir| (*holder, *dir)));
    }
    for middle in at.keys() {
        for from in at.keys() {
            for to in at.keys() {
                if reach.contains(&(*from, *middle)) && reach.contains(&(*middle, *to)) {
                    reach.insert((*from, *to));
                }
            }
        }
    }
    for (first, second) in edges {
        if first != second && !reach.contains(&(second, first)) {
            let told = tell(records);
            assert!(
                at[&first].1 < at[&second].0,
                "records of {first} come before those of {second}: {told:#?}"
            );
        }
    }
}

/// Records as short lines.
pub(super) fn tell(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| match &record.body {
        Body::Change(change) => {
            let path = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
            let mut line = format!("{} {} {}", change.entry.inode, change.op.word(), path(&change.path));
            if let Some(old) = &change.old_path {
                line += &format!(" from {}", path(old));
            }
            for (id, _) in &change.parents {
                line += &format!(" parent {}", id.inode);
            }
            if let Some(pair) = change.pair {
                line += if pair < record.seq { " pair before" } else { " pair after" };
            }
            if !change.complete {
                line += " writing";
            }
            line
        }
        other => format!("{other:?}"),
    };
    records.iter().map(line).collect()
}
