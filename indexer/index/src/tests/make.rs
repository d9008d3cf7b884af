//! Makes arbitrary values for the properties, and plans of the simple kind.

use proptest::prelude::*;
use reconcile::{Batch, Found, Holds, Look, Root, Stored};
use record::{
    Body, Category, Change, Digest, DigestKind, Duplicates, EntryId, Gap, How, Kind, Name, Op, Place, Record,
    RootId, Row, Seeded, Seq, Stat, State, StoredDigest, Time, Totals, VolumeId,
};

use crate::{Edits, Index, RootRow};

pub(super) fn id(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

pub(super) fn entry() -> impl Strategy<Value = EntryId> {
    let inode = prop_oneof![0..100u64, any::<u64>(), Just(u64::MAX)];
    (0..1u32 << 31, inode).prop_map(|(volume, inode)| EntryId::new(VolumeId(volume), inode))
}

pub(super) fn name() -> impl Strategy<Value = Name> {
    prop::collection::vec(any::<u8>(), 0..255).prop_map(Name::from)
}

pub(super) fn place() -> impl Strategy<Value = Place> {
    (entry(), name()).prop_map(|(dir, name)| Place { dir, name })
}

/// Times that file systems give, and any others.
pub(super) fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        any::<i64>().prop_map(|ns| Time(i128::from(ns))),
        (any::<i64>(), 0..1_000_000_000u32).prop_map(|(s, ns)| Time::from_parts(s, ns)),
        any::<i128>().prop_map(Time),
    ]
}

pub(super) fn stat() -> impl Strategy<Value = Stat> {
    let numbers = (any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>(), 0..u64::MAX / 512);
    let times = (time(), time(), time(), prop::option::of(time()));
    (prop::sample::select(&Kind::ALL[..]), numbers, times).prop_map(|(kind, numbers, times)| {
        let (mode, uid, gid, links, size, blocks) = numbers;
        let (modified, changed, accessed, created) = times;
        let allocated = blocks * 512;
        Stat { kind, mode, uid, gid, links, size, allocated, modified, changed, accessed, created }
    })
}

pub(super) fn digest() -> impl Strategy<Value = Digest> {
    let kinds = [DigestKind::Blake3, DigestKind::Blake2b256, DigestKind::Blake3Sampled];
    (prop::sample::select(kinds.to_vec()), any::<[u8; 32]>()).prop_map(|(kind, bytes)| Digest { kind, bytes })
}

fn category() -> impl Strategy<Value = Category> {
    prop::sample::select(&Category::ALL[..])
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    let stored = (digest(), any::<u64>(), time(), time(), any::<bool>()).prop_map(
        |(digest, size, modified, changed, carried)| StoredDigest {
            digest,
            size,
            modified,
            changed,
            carried,
        },
    );
    let flags = (any::<bool>(), any::<bool>());
    // Kept to the millisecond.
    let looked_at = any::<i64>().prop_map(|ms| Time(i128::from(ms) * 1_000_000));
    let content = (prop::option::of(stored), prop::option::of(category()));
    (stat(), prop::option::of(place()), flags, looked_at, content).prop_map(
        |(stat, place, (many_names, writing), looked_at, (digest, magic))| Row {
            stat,
            place,
            many_names,
            looked_at,
            writing,
            digest,
            magic,
        },
    )
}

pub(super) fn totals() -> impl Strategy<Value = Totals> {
    (any::<u64>(), any::<u64>(), any::<u64>(), 0..u64::MAX / 512, time()).prop_map(
        |(files, directories, bytes, blocks, newest)| Totals {
            files,
            directories,
            bytes,
            allocated: blocks * 512,
            newest,
        },
    )
}

fn state() -> impl Strategy<Value = State> {
    (stat(), prop::option::of(digest()), prop::option::of(category()))
        .prop_map(|(stat, digest, category)| State { stat, digest, category })
}

fn path() -> impl Strategy<Value = Box<[u8]>> {
    let part = prop::sample::select(vec!["a", "b", "long name", "\n", "\u{e9}"]);
    prop::collection::vec(part, 0..8).prop_map(|parts| format!("/{}", parts.join("/")).into_bytes().into())
}

fn change() -> impl Strategy<Value = Change> {
    let who = (entry(), prop::option::of(time()), prop::sample::select(&Op::ALL[..]), any::<bool>());
    let places = (prop::option::of(place()), prop::option::of(place()));
    let states = (prop::option::of(state()), prop::option::of(state()));
    let parents = prop::collection::vec((entry(), stat()), 0..3);
    let rest = (prop::option::of(any::<u64>().prop_map(Seq)), path(), prop::option::of(path()));
    (who, places, states, parents, rest).prop_map(|(who, places, states, parents, rest)| Change {
        entry: who.0,
        birth: who.1,
        op: who.2,
        complete: who.3,
        at: places.0,
        old: places.1,
        before: states.0,
        after: states.1,
        parents,
        pair: rest.0,
        path: rest.1,
        old_path: rest.2,
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        6 => change().prop_map(|change| Body::Change(Box::new(change))),
        1 => (time(), time(), path(), any::<String>())
            .prop_map(|(from, to, scope, why)| Body::Gap(Gap { from, to, scope, why })),
        1 => (path(), any::<String>()).prop_map(|(path, why)| Body::RootLost { path, why }),
        1 => path().prop_map(|path| Body::RootFound { path }),
        1 => (path(), any::<u64>()).prop_map(|(path, entries)| Body::Seeded(Seeded { path, entries })),
        1 => (digest(), any::<[u64; 4]>(), prop::collection::vec(path(), 0..4)).prop_map(
            |(digest, [size, copies, were, wasted], paths)| {
                Body::Duplicates(Box::new(Duplicates { digest, size, copies, were, wasted, paths }))
            }
        ),
    ]
}

/// Records of consecutive seqs.
pub(super) fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (time(), prop::sample::select(&How::ALL[..]), any::<u32>().prop_map(RootId), body());
    (0..u64::MAX / 2, prop::collection::vec(one, 1..6)).prop_map(|(first, parts)| {
        let number = |nth: usize| Seq(first + nth as u64);
        let record = |(nth, (seen, how, root, body))| Record { seq: number(nth), seen, how, root, body };
        parts.into_iter().enumerate().map(record).collect()
    })
}

/// A file, or a directory, as a walk finds it.
pub(super) fn plain(kind: Kind, links: u32, size: u64, at: i128) -> Stat {
    Stat {
        kind,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        links,
        size,
        allocated: size.div_ceil(512) * 512,
        modified: Time(at),
        changed: Time(at),
        accessed: Time(at),
        created: Some(Time(at)),
    }
}

pub(super) fn root_row(number: u32, top: EntryId) -> RootRow {
    RootRow {
        id: RootId(number),
        path: format!("/root{number}").into_bytes().into(),
        top,
        seeded: None,
        rules: "{}".to_owned(),
        verified: Time(0),
        lost: None,
    }
}

/// An index with one root, directory 1, whose row and totals are there.
pub(super) fn with_root(index: &Index) {
    let mut edits = Edits { roots: vec![root_row(1, id(1))], ..Edits::default() };
    let stat = plain(Kind::Directory, 2, 0, 0);
    edits.plan.rows.push((id(1), Some(Row::new(stat, Time(0)))));
    edits.plan.totals.push((id(1), Some(Totals { directories: 1, ..Totals::default() })));
    index.commit(edits).unwrap();
}

/// A name in directory 1 and what is found there: inode number and size, or nothing.
pub(super) type Seen<'a> = (&'a [u8], Option<(u64, u64)>);

/// Commits one batch of looks.
pub(super) fn look(index: &Index, at: i128, looks: &[Seen<'_>]) -> Vec<Record> {
    let reader = index.read().unwrap();
    let roots = [Root { id: RootId(1), top: id(1), path: (*b"/root1").into() }];
    let mut batch = Batch::new(&reader, &roots);
    for (name, found) in looks {
        let found = found.map(|(inode, size)| {
            let known = reader.row(id(inode)).unwrap();
            let born = known.map_or(at, |row| row.stat.created.unwrap().0);
            let stat = Stat { created: Some(Time(born)), ..plain(Kind::File, 1, size, at) };
            Found { id: id(inode), stat }
        });
        batch.name(id(1), name, found, &Look::plain(Time(at), How::Sweep)).unwrap();
    }
    let finished = batch.finish(Holds::End, usize::MAX).unwrap();
    index.commit(Edits { plan: finished.plan, ..Edits::default() }).unwrap()
}
