//! What follows from rows about contents, against what the rows say.

use proptest::prelude::*;
use reconcile::Plan;
use record::{Digest, DigestKind, EntryId, Hashing, Kind, Reading, Row, StoredDigest, Time};

use super::make::{id, look, plain, with_root};
use crate::{Edits, Index, IndexError, Note, Rot, Set, Settings};

fn digest(number: u8) -> Digest {
    Digest { kind: DigestKind::Blake3, bytes: [number; 32] }
}

/// A row of few sizes and digests: `content` is one of the digests of its size and whether it speaks of the row.
fn row(size: u64, content: Option<(u8, bool)>, writing: bool, birth: i128) -> Row {
    let mut stat = plain(Kind::File, 1, size, 5);
    stat.created = Some(Time(birth));
    let (modified, changed) = (stat.modified, stat.changed);
    let stored = |(number, current): (u8, bool)| StoredDigest {
        digest: digest(number + 10 * size as u8),
        size,
        modified,
        changed: if current { changed } else { Time(changed.0 - 1) },
        carried: false,
    };
    Row {
        stat,
        place: None,
        many_names: false,
        looked_at: Time(7_000_000),
        writing,
        digest: content.map(stored),
        magic: None,
    }
}

fn commit(index: &Index, inode: u64, row: Option<Row>) {
    let plan = Plan { rows: vec![(id(inode), row)], ..Plan::default() };
    index.commit(Edits { plan, ..Edits::default() }).unwrap();
}

/// Everything that the tables say, in a form that a test can make from rows.
type Told = (Vec<(u64, EntryId)>, Vec<(Digest, u64, EntryId)>, Vec<EntryId>, Vec<Set>);

fn told(index: &Index) -> Told {
    let reader = index.read().unwrap();
    let mut digests = Vec::new();
    let each = |digest, size, id| {
        digests.push((digest, size, id));
        Ok::<_, IndexError>(true)
    };
    reader.each_digest(each).unwrap();
    let waiting = reader.pending_contents(id(0), 100).unwrap();
    let waiting = waiting.iter().map(|one| one.id).collect();
    let mut sets = Vec::new();
    let each = |set| {
        sets.push(set);
        Ok::<_, IndexError>(true)
    };
    reader.each_set(each).unwrap();
    (reader.by_size((0, id(0)), 100).unwrap(), digests, waiting, sets)
}

/// What is known of a content: no more than where it lies, or that it lies somewhere.
fn placed(extents: Option<u64>) -> Note {
    Note { extents, ..Note::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// R5 of contents: kept change by change, or gathered from the rows, the tables say the same.
    #[test]
    fn tables_follow_rows(
        steps in prop::collection::vec(
            (
                2u64..7,
                prop::option::weighted(0.8, (0u64..3, prop::option::of((0u8..2, any::<bool>())), any::<bool>(), 1i128..3)),
                prop::option::of(prop::option::of(prop::option::of(0u64..2))),
            ),
            1..30,
        ),
        reading in prop::sample::select(vec![Reading::None, Reading::Candidates, Reading::Full]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::create(&folder.path().join("kept"), Settings::default()).unwrap();
        let later = Index::create(&folder.path().join("gathered"), Settings::default()).unwrap();
        let hashing = Hashing { reading, ..Hashing::default() };
        index.keep_contents(Hashing { reading: Reading::Full, ..hashing }).unwrap();
        index.keep_contents(hashing).unwrap();
        for (inode, step, note) in &steps {
            let row = step.map(|(size, content, writing, birth)| row(size, content, writing, birth));
            let notes = note.filter(|_| row.is_some()).map(|note| (id(*inode), note.map(placed)));
            let plan = Plan { rows: vec![(id(*inode), row)], ..Plan::default() };
            let edits = Edits { plan, notes: notes.into_iter().collect(), ..Edits::default() };
            index.commit(edits.clone()).unwrap();
            later.commit(edits).unwrap();
        }
        for inode in 2..7 {
            // Notes end with what they speak of only where contents are kept.
            let note = index.read().unwrap().note(id(inode)).unwrap();
            later.commit(Edits { notes: vec![(id(inode), note)], ..Edits::default() }).unwrap();
        }
        let reader = index.read().unwrap();
        let mut faults = Vec::new();
        reader.check_contents(|id, what| faults.push(format!("{id} {what}"))).unwrap();
        prop_assert_eq!(faults, Vec::<String>::new());
        later.keep_contents(Hashing { reading: Reading::Full, ..hashing }).unwrap();
        let (sizes, digests, waiting, sets) = told(&index);
        let gathered = told(&later);
        prop_assert_eq!((&sizes, &digests, &sets), (&gathered.0, &gathered.1, &gathered.3));
        for (id, row) in steps.iter().map(|(inode, ..)| id(*inode)).map(|id| (id, reconcile::Stored::row(&reader, id).unwrap())) {
            let wanted = row.is_some_and(|row| !row.writing && hashing.wants(&row.stat, row.current_digest()));
            // A candidate waits when it came as the second of its size; the first is found by that.
            if reading == Reading::Candidates {
                prop_assert!(wanted || !waiting.contains(&id));
            } else {
                prop_assert_eq!(wanted, waiting.contains(&id), "{}", id);
            }
        }
    }

    #[test]
    fn notes_come_back(
        (size, modified, changed, proved) in (any::<u64>(), any::<i64>(), any::<i64>(), prop::option::of(any::<i64>())),
        (head, tail, extents) in (
            prop::option::of(any::<[u8; 16]>()), prop::option::of(any::<[u8; 16]>()), prop::option::of(any::<u64>()),
        ),
        rot in (super::make::digest(), any::<i64>()),
    ) {
        let time = |ns: i64| Time(i128::from(ns));
        let (modified, changed, proved) = (time(modified), time(changed), proved.map(time));
        let note = Note { size, modified, changed, head, tail, proved, extents };
        let folder = tempfile::tempdir().unwrap();
        let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
        index.commit(Edits { notes: vec![(id(5), Some(note))], ..Edits::default() }).unwrap();
        prop_assert_eq!(index.read().unwrap().note(id(5)).unwrap(), Some(note));
        index.commit(Edits { notes: vec![(id(5), None)], ..Edits::default() }).unwrap();
        prop_assert_eq!(index.read().unwrap().note(id(5)).unwrap(), None);
        let rot = Rot { was: rot.0, found: time(rot.1) };
        index.commit(Edits { rotten: vec![(id(5), Some(rot))], ..Edits::default() }).unwrap();
        prop_assert_eq!(index.read().unwrap().rotten(9).unwrap(), vec![(id(5), rot)]);
        index.commit(Edits { rotten: vec![(id(5), None)], ..Edits::default() }).unwrap();
        prop_assert_eq!(index.read().unwrap().count_rotten().unwrap(), 0);
    }
}

#[test]
fn the_second_file_of_a_size_waits_and_what_is_known_of_it_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
    with_root(&index);
    index.keep_contents(Hashing { reading: Reading::Candidates, ..Hashing::default() }).unwrap();
    look(&index, 10, &[(b"a", Some((10, 5))), (b"b", Some((11, 7))), (b"empty", Some((12, 0)))]);
    assert_eq!(told(&index).2, [], "each is alone with its size");
    look(&index, 20, &[(b"c", Some((13, 5)))]);
    assert_eq!(told(&index).2, [id(13)]);
    let reader = index.read().unwrap();
    assert_eq!(reader.of_size(5, 9).unwrap(), [id(10), id(13)]);
    let note = Note { size: 5, head: Some([1; 16]), ..Note::default() };
    index.commit(Edits { notes: vec![(id(13), Some(note))], ..Edits::default() }).unwrap();

    look(&index, 30, &[(b"c", None)]);
    let reader = index.read().unwrap();
    assert_eq!((reader.note(id(13)).unwrap(), told(&index).2), (None, Vec::new()));
    assert_eq!(reader.check().unwrap().faults, []);
}

/// Found by [`tables_follow_rows`]: the size beside the digest stayed the old one.
#[test]
fn a_digest_at_another_size_is_found_with_that_size() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
    index.keep_contents(Hashing { reading: Reading::Full, ..Hashing::default() }).unwrap();
    for size in [2, 1] {
        let mut row = row(size, Some((1, true)), false, 1);
        row.digest = row.digest.map(|stored| StoredDigest { digest: digest(1), ..stored });
        commit(&index, 3, Some(row));
        assert_eq!(told(&index).1, [(digest(1), size, id(3))]);
    }
}

#[test]
fn a_word_from_outside_makes_a_file_wait_and_not() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
    with_root(&index);
    look(&index, 10, &[(b"a", Some((10, 5)))]);
    index.commit(Edits { waiting: vec![(id(10), Some(Time(3_000_000)))], ..Edits::default() }).unwrap();
    let waiting = index.read().unwrap().pending_contents(id(0), 9).unwrap();
    assert_eq!(
        waiting.iter().map(|one| (one.id, one.since)).collect::<Vec<_>>(),
        [(id(10), Time(3_000_000))]
    );
    index.commit(Edits { waiting: vec![(id(10), None)], ..Edits::default() }).unwrap();
    assert_eq!(told(&index).2, []);
}

#[test]
fn rot_is_known_until_somebody_writes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
    index.keep_contents(Hashing { reading: Reading::Full, ..Hashing::default() }).unwrap();
    let rot = Rot { was: digest(1), found: Time(5) };
    let rotten = || index.read().unwrap().count_rotten().unwrap();
    for end in [Some(row(6, None, false, 1)), Some(row(5, None, false, 2)), None] {
        commit(&index, 9, Some(row(5, Some((2, true)), false, 1)));
        index.commit(Edits { rotten: vec![(id(9), Some(rot))], ..Edits::default() }).unwrap();
        let mut renamed = row(5, Some((2, true)), false, 1);
        renamed.stat.mode = 0o600;
        commit(&index, 9, Some(renamed));
        assert_eq!(rotten(), 1);
        commit(&index, 9, end);
        assert_eq!(rotten(), 0);
    }
}

#[test]
fn a_set_is_two_or_more_with_one_digest_and_counts_those_that_are_placed() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
    index.keep_contents(Hashing { reading: Reading::Full, ..Hashing::default() }).unwrap();
    let sets = || told(&index).3.iter().map(|set| (set.size, set.copies, set.placed)).collect::<Vec<_>>();
    let note = |inode, note| {
        index.commit(Edits { notes: vec![(id(inode), note)], ..Edits::default() }).unwrap();
    };
    commit(&index, 1, Some(row(5, Some((1, true)), false, 1)));
    note(1, Some(placed(Some(7))));
    assert_eq!(sets(), []);
    commit(&index, 2, Some(row(5, Some((1, true)), false, 1)));
    assert_eq!(sets(), [(5, 2, 1)], "the first was placed before it was in a set");
    commit(&index, 3, Some(row(5, Some((1, true)), false, 1)));
    note(3, Some(placed(Some(7))));
    assert_eq!(sets(), [(5, 3, 2)]);
    note(1, None);
    assert_eq!(sets(), [(5, 3, 1)]);
    // Another file by that number: what was known of the old one went.
    commit(&index, 3, Some(row(5, Some((1, true)), false, 2)));
    assert_eq!(sets(), [(5, 3, 0)]);
    commit(&index, 3, Some(row(5, Some((1, false)), false, 2)));
    commit(&index, 2, None);
    assert_eq!(sets(), []);
    let mut faults = 0;
    index.read().unwrap().check_contents(|_, _| faults += 1).unwrap();
    assert_eq!(faults, 0);
}
