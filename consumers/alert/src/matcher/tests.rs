//! Rules as tables: which record is told of, and by which word.

use record::{Digest, DigestKind, Duplicates, Gap, How, Place, RootId, Seeded, Seq, Stat, State, VolumeId};

use super::*;
use crate::paths::Paths;

const ANY: Conditions = Conditions {
    ops: Vec::new(),
    paths: None,
    at_least: None,
    at_most: None,
    categories: Vec::new(),
    unfinished: false,
};

fn of(ops: &[&'static str]) -> Conditions {
    Conditions { ops: ops.to_vec(), ..ANY }
}

fn record(body: Body) -> Record {
    Record { seq: Seq(1), seen: Time(0), how: How::Fanotify, root: RootId(1), body }
}

fn change(op: Op, path: &str, kind: Kind, size: u64) -> Change {
    let stat = Stat {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        size,
        allocated: 0,
        modified: Time(0),
        changed: Time(0),
        accessed: Time(0),
        created: Some(Time(7)),
    };
    let state = Some(State { stat, digest: None, category: None });
    let id = |inode| EntryId::new(VolumeId(1), inode);
    Change {
        entry: id(9),
        birth: Some(Time(7)),
        op,
        at: path.rsplit('/').next().map(|name| Place::new(id(2), name.as_bytes())),
        old: None,
        before: state.filter(|_| op != Op::Created),
        after: state.filter(|_| op != Op::Deleted),
        parents: Vec::new(),
        complete: true,
        pair: None,
        path: path.as_bytes().into(),
        old_path: (op == Op::Renamed).then(|| b"/old/name.txt".as_slice().into()),
    }
}

fn file(op: Op, path: &str, size: u64) -> Record {
    record(Body::Change(Box::new(change(op, path, Kind::File, size))))
}

fn look(conditions: Conditions, record: &Record) -> Option<&'static str> {
    Matcher::new(conditions).look(0, record)
}

#[test]
fn every_word_finds_its_record_and_no_other() {
    let records: Vec<(&str, Record)> = Op::ALL
        .into_iter()
        .map(|op| (op.word(), file(op, "/a", 1)))
        .chain([
            (
                "gap",
                record(Body::Gap(Gap {
                    from: Time(0),
                    to: Time(1),
                    scope: b"/a".as_slice().into(),
                    why: String::new(),
                })),
            ),
            ("root_lost", record(Body::RootLost { path: b"/a".as_slice().into(), why: "gone".into() })),
            ("root_found", record(Body::RootFound { path: b"/a".as_slice().into() })),
            ("seeded", record(Body::Seeded(Seeded { path: b"/a".as_slice().into(), entries: 3 }))),
            ("duplicate", record(Body::Duplicates(Box::new(set(2, 1))))),
        ])
        .collect();
    assert_eq!(records.iter().map(|(word, _)| *word).collect::<Vec<_>>(), ops().collect::<Vec<_>>());
    for asked in ops() {
        for (word, record) in &records {
            let expected = (asked == *word).then_some(*word);
            assert_eq!(look(of(&[asked]), record), expected, "{asked} of {word}");
            assert_eq!(op(word), Some(*word));
        }
    }
    assert_eq!(op("exploded"), None);
}

fn set(copies: u64, were: u64) -> Duplicates {
    let digest = Digest { kind: DigestKind::Blake3, bytes: [7; 32] };
    let paths = [b"/a".as_slice().into(), b"/films/b.mkv".as_slice().into()].to_vec();
    Duplicates { digest, size: 100, copies, were, wasted: 100 * copies.saturating_sub(1), paths }
}

#[test]
fn a_set_is_told_of_when_it_grows_and_by_any_of_its_paths() {
    let duplicate = |copies, were| record(Body::Duplicates(Box::new(set(copies, were))));
    let films = || {
        let paths = Some(Paths::new(&["/films/**".to_owned()], None).unwrap());
        Conditions { paths, at_least: Some(100), ..of(&["duplicate"]) }
    };
    for (copies, were, told) in
        [(2, 0, true), (2, 1, true), (3, 2, true), (2, 3, false), (1, 2, false), (0, 2, false)]
    {
        assert_eq!(look(films(), &duplicate(copies, were)).is_some(), told, "{were} to {copies}");
    }
    let elsewhere = Some(Paths::new(&["/music/**".to_owned()], None).unwrap());
    assert_eq!(look(Conditions { paths: elsewhere, ..films() }, &duplicate(2, 1)), None);
    assert_eq!(look(Conditions { at_least: Some(101), ..films() }, &duplicate(2, 1)), None);
}

#[test]
fn every_condition_has_to_hold() {
    let paths = |pattern: &str| Some(Paths::new(&[pattern.to_owned()], None).unwrap());
    let created = || of(&["created", "renamed", "deleted", "root_lost"]);
    let mkv = file(Op::Created, "/srv/films/a.MKV", 100);
    let gone = file(Op::Deleted, "/srv/films/a.mkv", 100);
    let directory = record(Body::Change(Box::new(change(Op::Created, "/srv/a.mkv", Kind::Directory, 4096))));
    let renamed = file(Op::Renamed, "/new/name.txt", 100);
    let lost = record(Body::RootLost { path: b"/srv".as_slice().into(), why: "gone".into() });
    let video = || vec![Category::Video, Category::Music];
    for (name, conditions, record, expected) in [
        ("least", Conditions { at_least: Some(100), ..created() }, &mkv, true),
        ("more than it has", Conditions { at_least: Some(101), ..created() }, &mkv, false),
        ("most", Conditions { at_most: Some(100), ..created() }, &mkv, true),
        ("less than it has", Conditions { at_most: Some(99), ..created() }, &mkv, false),
        ("size of what is gone", Conditions { at_least: Some(100), ..created() }, &gone, true),
        ("a directory has no size", Conditions { at_least: Some(1), ..created() }, &directory, false),
        ("a directory is no video", Conditions { categories: video(), ..created() }, &directory, false),
        ("category", Conditions { categories: video(), ..created() }, &mkv, true),
        ("another", Conditions { categories: vec![Category::Code], ..created() }, &mkv, false),
        ("path", Conditions { paths: paths("/srv/films/**"), ..created() }, &mkv, true),
        ("another path", Conditions { paths: paths("/srv/music/**"), ..created() }, &mkv, false),
        ("path it had", Conditions { paths: paths("/old/*"), ..created() }, &renamed, true),
        ("path it has", Conditions { paths: paths("/new/*"), ..created() }, &renamed, true),
        ("path of a root", Conditions { paths: paths("/srv"), ..created() }, &lost, true),
        ("a root has no size", Conditions { at_most: Some(9), ..created() }, &lost, false),
        (
            "all but one",
            Conditions {
                paths: paths("*.MKV"),
                at_least: Some(1),
                at_most: Some(99),
                categories: video(),
                ..created()
            },
            &mkv,
            false,
        ),
    ] {
        assert_eq!(look(conditions, record).is_some(), expected, "{name}");
    }
}

/// A history of one file, as op, complete, birth, size; what a rule for these ops says of each record.
#[test]
fn a_file_is_told_of_once_and_when_it_is_whole() {
    type Step = (Op, bool, i128, u64);
    let writing: &[Step] =
        &[(Op::Created, false, 7, 0), (Op::Modified, false, 7, 5), (Op::Modified, true, 7, 9)];
    let recycled: &[Step] =
        &[(Op::Created, false, 7, 0), (Op::Deleted, true, 7, 0), (Op::Modified, true, 8, 9)];
    let reborn: &[Step] = &[(Op::Created, false, 7, 0), (Op::Modified, true, 8, 9)];
    let moved: &[Step] =
        &[(Op::Created, false, 7, 0), (Op::Renamed, false, 7, 3), (Op::Modified, true, 7, 9)];
    let whole: &[Step] = &[(Op::Created, true, 7, 9), (Op::Modified, true, 7, 10)];
    type Said = &'static [Option<&'static str>];
    let cases: [(&[&'static str], bool, &[Step], Said); 9] = [
        (&["created"], false, writing, &[None, None, Some("created")]),
        (&["modified"], false, writing, &[None, None, Some("modified")]),
        (&["created", "modified"], false, writing, &[None, None, Some("created")]),
        (&["created", "modified"], true, writing, &[Some("created"), Some("modified"), Some("modified")]),
        (&["created"], false, recycled, &[None, None, None]),
        (&["created"], false, reborn, &[None, None]),
        (&["created", "renamed"], false, moved, &[None, Some("renamed"), Some("created")]),
        (&["created"], false, whole, &[Some("created"), None]),
        (&["created", "modified"], false, whole, &[Some("created"), Some("modified")]),
    ];
    for (ops, unfinished, steps, expected) in cases {
        let mut matcher = Matcher::new(Conditions { unfinished, ..of(ops) });
        let said: Vec<_> = steps
            .iter()
            .map(|&(op, complete, birth, size)| {
                let change =
                    Change { complete, birth: Some(Time(birth)), ..change(op, "/a", Kind::File, size) };
                matcher.look(0, &record(Body::Change(Box::new(change))))
            })
            .collect();
        assert_eq!(said, expected, "{ops:?} {steps:?}");
    }
}

#[test]
fn the_size_of_a_new_file_is_that_of_the_whole() {
    let mut matcher = Matcher::new(Conditions { at_least: Some(9), ..of(&["created"]) });
    let mut begun = change(Op::Created, "/a", Kind::File, 0);
    begun.complete = false;
    assert_eq!(matcher.look(0, &record(Body::Change(Box::new(begun)))), None);
    assert_eq!(matcher.look(0, &file(Op::Modified, "/a", 9)), Some("created"));
}

#[test]
fn what_cannot_be_remembered_is_told_at_once() {
    let mut matcher = Matcher::new(of(&["created"]));
    let begun = |inode: u64| {
        let mut begun = change(Op::Created, "/a", Kind::File, 0);
        begun.complete = false;
        begun.entry.inode = inode;
        record(Body::Change(Box::new(begun)))
    };
    for inode in 0..MOST_UNFINISHED as u64 {
        assert_eq!(matcher.look(0, &begun(inode)), None);
    }
    assert_eq!(matcher.look(0, &begun(u64::MAX)), Some("created"));
}

/// Two hosts have files of the same numbers, and each is its own.
#[test]
fn an_unfinished_file_of_another_index_is_another_file() {
    let mut matcher = Matcher::new(of(&["created"]));
    let mut begun = change(Op::Created, "/a", Kind::File, 0);
    begun.complete = false;
    assert_eq!(matcher.look(1, &record(Body::Change(Box::new(begun)))), None);
    let end = file(Op::Modified, "/a", 9);
    assert_eq!((matcher.look(2, &end), matcher.look(1, &end)), (None, Some("created")));
}
