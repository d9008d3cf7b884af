//! What is committed is read back, also by the next process.

use reconcile::{Plan, Stored, Target};
use record::{Body, How, Place, RootId, Row, Seq, Time};

use super::make::{id, look, with_root};
use crate::{Blind, Edits, Index, IndexError, Message, Settings};

#[test]
fn rows_names_and_totals_come_back_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.redb");
    let index = Index::create(&path, Settings::default()).unwrap();
    with_root(&index);
    let first = look(&index, 10, &[(b"a", Some((10, 5))), (b"b", Some((11, 7)))]);
    assert_eq!(first.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [1, 2]);
    let epoch = index.epoch().unwrap();
    drop(index);

    let index = Index::create(&path, Settings::default()).unwrap();
    assert_eq!(index.epoch().unwrap(), epoch, "the journal is the same one");
    let second = look(&index, 20, &[(b"a", None), (b"c", Some((12, 1)))]);
    assert_eq!(second.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [3, 4], "seqs go on");
    let reader = index.read().unwrap();
    assert_eq!(reader.seq().unwrap(), Seq(4));
    assert_eq!(reader.name(id(1), b"a").unwrap(), None);
    assert_eq!(reader.name(id(1), b"b").unwrap(), Some(id(11)));
    assert_eq!(reader.row(id(10)).unwrap(), None);
    let totals = reader.totals(id(1)).unwrap().unwrap();
    assert_eq!((totals.files, totals.directories, totals.bytes), (2, 1, 8));
    let (root, found) = reader.resolve(b"/root1/c").unwrap().unwrap();
    assert_eq!((root.id, found), (RootId(1), id(12)));
    assert_eq!(reader.path(&[root], id(12)).unwrap().as_deref(), Some(&b"/root1/c"[..]));
    assert_eq!(reader.children(id(1), Some(b"b"), 9).unwrap(), [((*b"c").into(), id(12))]);
    assert_eq!(reader.check().unwrap().faults, []);
    let mut all = Vec::new();
    reader
        .each_record::<IndexError>(Seq(0), |record| {
            all.push(record);
            Ok(true)
        })
        .unwrap();
    assert_eq!(all, [first, second].concat());
}

/// In any order, near and far from each other, twice, and between others where none is.
#[test]
fn rows_are_found_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    with_root(&index);
    let numbers: Vec<u64> = (10..100).step_by(3).chain([115, 132, 1000, 5000]).collect();
    let names: Vec<String> = numbers.iter().map(|number| number.to_string()).collect();
    let files: Vec<_> = names
        .iter()
        .zip(&numbers)
        .map(|(name, number)| (name.as_bytes(), Some((*number, *number))))
        .collect();
    look(&index, 10, &files);
    let reader = index.read().unwrap();
    let mut rows = reader.rows();
    let mut check = |number: u64| {
        let expected = reader.row(id(number)).unwrap();
        assert_eq!(expected.is_some(), number == 1 || numbers.contains(&number), "{number}");
        assert_eq!(rows.find(id(number)).unwrap(), expected, "{number}");
    };
    (0..140).chain(numbers.iter().copied()).for_each(&mut check);
    numbers.iter().rev().copied().for_each(&mut check);
    [5001, 10, 10, 11, 13, 9999, 4999, 5000, 1, 0].into_iter().for_each(&mut check);
}

/// Rows, names and links that do not lead to each other are told, from either side.
#[test]
fn a_check_goes_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    with_root(&index);
    look(&index, 10, &[(b"a", Some((10, 5))), (b"b", Some((11, 7)))]);
    let [a, b, in_file, none] = [(1, "a"), (1, "b"), (10, "in a file"), (1, "none")]
        .map(|(dir, name)| Place::new(id(dir), name.as_bytes()));
    let row = |place: &Place, entry| Row {
        place: Some(place.clone()),
        ..index.read().unwrap().row(id(entry)).unwrap().unwrap()
    };
    let file = |entry| Some(Target { id: id(entry), directory: false });
    let mut plan = Plan {
        // Both claim one name, one lies in a file, one has a name that is not there.
        rows: vec![
            (id(11), Some(row(&a, 11))),
            (id(12), Some(row(&in_file, 11))),
            (id(13), Some(row(&none, 11))),
        ],
        names: vec![(b, None), (in_file.clone(), file(12)), (Place::new(id(1), b"stray"), file(13))],
        links: vec![(id(10), a, true)],
        ..Plan::default()
    };
    plan.names.sort();
    index.commit(Edits { plan, ..Edits::default() }).unwrap();
    let faults = index.read().unwrap().check().unwrap().faults;
    for (entry, what) in [
        (10, "there are names in it and it is no directory"),
        (10, "it has links and does not know of several names"),
        (11, "its name in 1:1 is not there"),
        (13, "it does not know its name in 1:1"),
        (13, "its name in 1:1 is not there"),
    ] {
        assert!(
            faults.iter().any(|fault| fault.entry == id(entry) && fault.what == what),
            "{what}: {faults:?}"
        );
    }
}

#[test]
fn cursors_never_go_back_but_by_their_own_command() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    let cursor = |index: &Index| index.read().unwrap().cursors().unwrap();
    let to = |seq| Edits { cursors: vec![("rehash".to_owned(), Seq(seq))], ..Edits::default() };
    index.commit(to(5)).unwrap();
    index.commit(to(3)).unwrap();
    assert_eq!(cursor(&index), [("rehash".to_owned(), Seq(5))]);
    index.set_cursor("rehash", Seq(2)).unwrap();
    assert_eq!(cursor(&index), [("rehash".to_owned(), Seq(2))]);
    index.commit(Edits { forget_cursors: vec!["rehash".to_owned()], ..Edits::default() }).unwrap();
    assert_eq!(cursor(&index), []);
}

#[test]
fn messages_are_numbered_after_the_changes() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    with_root(&index);
    look(&index, 1, &[(b"a", Some((10, 5)))]);
    let body = Body::RootLost { path: (*b"/root1").into(), why: "not mounted".to_owned() };
    let message = Message { seen: Time(2), how: How::Sweep, root: RootId(1), body };
    let edits = Edits { messages: vec![message.clone(), message], ..Edits::default() };
    let records = index.commit(edits).unwrap();
    assert_eq!(records.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn blind_directories_are_kept_until_they_see_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    let blind = Blind { since: Time(5), why: "permission denied".to_owned() };
    index.commit(Edits { coverage: vec![(id(9), Some(blind.clone()))], ..Edits::default() }).unwrap();
    assert_eq!(index.read().unwrap().blind().unwrap(), [(id(9), blind)]);
    assert!(index.read().unwrap().is_blind(id(9)).unwrap());
    index.commit(Edits { coverage: vec![(id(9), None)], ..Edits::default() }).unwrap();
    assert!(!index.read().unwrap().is_blind(id(9)).unwrap());
}

/// Names of one directory end where the next directory's begin, at every border of the number.
#[test]
fn a_directory_ends_where_the_next_begins() {
    use reconcile::Target;
    use record::{EntryId, Place, VolumeId};
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    let dirs = [(0, 0), (0, u64::MAX), (1, 0), (1, 255), (1, 256), (u32::MAX, u64::MAX)]
        .map(|(volume, inode)| EntryId::new(VolumeId(volume), inode));
    let mut edits = Edits::default();
    for (nth, dir) in dirs.iter().enumerate() {
        let target = Target { id: id(nth as u64), directory: nth % 2 == 0 };
        for name in [&b""[..], b"\0", b"\xff\xff"] {
            edits.plan.names.push((Place::new(*dir, name), Some(target)));
        }
    }
    index.commit(edits).unwrap();
    let reader = index.read().unwrap();
    for (nth, dir) in dirs.iter().enumerate() {
        let mut seen = 0;
        reader
            .each_child::<IndexError>(*dir, |_, target| {
                assert_eq!(target, Target { id: id(nth as u64), directory: nth % 2 == 0 });
                seen += 1;
                Ok(true)
            })
            .unwrap();
        assert_eq!(seen, 3, "the names in {dir}");
    }
}
