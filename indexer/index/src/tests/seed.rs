//! A seed makes the tables that ordinary commits make, in whatever pieces it comes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reconcile::{Batch, Found, Holds, Look, Root, Stored};
use record::{Body, EntryId, How, Kind, Place, RootId, Row, Seq, Stat, Time, Totals};

use super::make::{id, plain, root_row};
use crate::{Begun, Edits, Index, IndexError, Loaded, Seed, SeedKey, SeedRoot, SeedWorker, Settings};

/// One thing to make: a directory or a file somewhere, or another name for a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Make {
    Directory { dir: u8 },
    File { dir: u8, size: u16 },
    Link { file: u8, dir: u8 },
}

/// A tree in two roots, directories 1 and 2.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) stats: BTreeMap<EntryId, Stat>,
    pub(super) places: Vec<(Place, EntryId)>,
}

pub(super) const TOPS: [u64; 2] = [1, 2];

pub(super) fn tree(made: &[Make]) -> Tree {
    let mut tree = Tree::default();
    for top in TOPS {
        tree.stats.insert(id(top), plain(Kind::Directory, 2, 0, 5));
    }
    let mut dirs: Vec<EntryId> = TOPS.into_iter().map(id).collect();
    let mut files: Vec<EntryId> = Vec::new();
    for (nth, make) in made.iter().enumerate() {
        // Numbers in no order, so that runs and keys differ in theirs.
        let new = id(3 + (nth as u64 * 7919) % 10_007);
        let name = format!("name {nth}").into_bytes();
        let at = |dir: u8| Place::new(dirs[usize::from(dir) % dirs.len()], &name);
        match *make {
            Make::Directory { dir } => {
                tree.places.push((at(dir), new));
                tree.stats.insert(new, plain(Kind::Directory, 2, 100, nth as i128));
                dirs.push(new);
            }
            Make::File { dir, size } => {
                tree.places.push((at(dir), new));
                tree.stats.insert(new, plain(Kind::File, 1, size.into(), nth as i128));
                files.push(new);
            }
            Make::Link { file, dir } => {
                let Some(file) = files.get(usize::from(file) % files.len().max(1)) else { continue };
                tree.places.push((at(dir), *file));
                tree.stats.get_mut(file).unwrap().links += 1;
            }
        }
    }
    tree
}

impl Tree {
    /// Which root a directory lies in.
    pub(super) fn root(&self, dir: EntryId) -> u64 {
        let mut at = dir;
        while !TOPS.contains(&at.inode) {
            at = self.places.iter().find(|(_, found)| *found == at).unwrap().0.dir;
        }
        at.inode
    }

    /// What the walk adds up: all but entries with several links.
    pub(super) fn totals(&self) -> BTreeMap<EntryId, Totals> {
        let mut all: BTreeMap<EntryId, Totals> = BTreeMap::new();
        let mut add = |start: EntryId, stat: &Stat| {
            let mut at = Some(start);
            while let Some(dir) = at {
                let totals = all.entry(dir).or_default();
                totals.files += u64::from(!stat.is_directory());
                totals.directories += u64::from(stat.is_directory());
                totals.bytes += stat.size;
                totals.allocated += stat.allocated;
                totals.newest = totals.newest.max(stat.changed);
                at = self.places.iter().find(|(_, found)| *found == dir).map(|(place, _)| place.dir);
            }
        };
        for (entry, stat) in &self.stats {
            if stat.is_directory() {
                add(*entry, stat);
            }
        }
        for (place, entry) in &self.places {
            let stat = &self.stats[entry];
            if !stat.is_directory() && SeedWorker::counts(stat) {
                add(place.dir, stat);
            }
        }
        all
    }

    /// Loads the given roots as one seed, with `workers` of small buffers.
    fn seed(&self, index: &Index, folder: &std::path::Path, roots: &[u64], workers: usize) {
        let seed = fresh(folder.join("runs"), 1);
        let mut crew: Vec<SeedWorker> = (0..workers).map(|_| seed.worker()).collect();
        let number = |root: u64| RootId(u32::try_from(root).unwrap());
        for root in roots {
            crew[0].entry(number(*root), id(*root), &self.stats[&id(*root)], None, Time(0)).unwrap();
        }
        for (nth, (place, entry)) in self.places.iter().enumerate() {
            let root = self.root(place.dir);
            if roots.contains(&root) {
                let at = Some((place.dir, &place.name[..]));
                crew[nth % workers].entry(number(root), *entry, &self.stats[entry], at, Time(0)).unwrap();
            }
        }
        for (nth, (dir, totals)) in self.totals().into_iter().enumerate() {
            if roots.contains(&self.root(dir)) {
                crew[nth % workers].totals(dir, &totals).unwrap();
            }
        }
        for worker in crew {
            seed.finish(worker);
        }
        let roots =
            roots.iter().map(|root| SeedRoot { row: root_row(number(*root).0, id(*root)), seen: Time(9) });
        let loaded = index.load(seed, roots.collect(), Edits::default()).unwrap();
        assert_eq!((loaded.left_out, loaded.mixed), (vec![], vec![]), "nothing moved");
        for record in &loaded.records {
            assert!(matches!(&record.body, Body::Seeded(_)), "a seed tells of no single entry");
            let row = index.read().unwrap().roots().unwrap();
            let row = row.iter().find(|row| row.id == record.root).unwrap();
            assert_eq!(row.seeded, Some(record.seq), "the root knows its record");
        }
        assert!(!folder.join("runs").try_exists().unwrap(), "nothing is left of the runs");
    }

    /// The same by looks and plans.
    pub(super) fn commit(&self, index: &Index) {
        let mut edits = Edits {
            roots: TOPS.map(|top| root_row(u32::try_from(top).unwrap(), id(top))).into(),
            ..Edits::default()
        };
        let roots: Vec<Root> =
            edits.roots.iter().map(|row| Root { id: row.id, top: row.top, path: row.path.clone() }).collect();
        for top in TOPS {
            let stat = self.stats[&id(top)];
            edits.plan.rows.push((id(top), Some(Row::new(stat, Time(0)))));
            let own = Totals { directories: 1, newest: stat.changed, ..Totals::default() };
            edits.plan.totals.push((id(top), Some(own)));
        }
        index.commit(edits).unwrap();
        for some in self.places.chunks(3) {
            let reader = index.read().unwrap();
            let mut batch = Batch::new(&reader, &roots);
            for (place, entry) in some {
                let found = Some(Found { id: *entry, stat: self.stats[entry] });
                batch.name(place.dir, &place.name, found, &Look::plain(Time(0), How::Scan)).unwrap();
            }
            let plan = batch.finish(Holds::End, usize::MAX).unwrap().plan;
            index.commit(Edits { plan, ..Edits::default() }).unwrap();
        }
    }
}

/// A row, its additional names and its totals.
type Whole = (EntryId, Row, Vec<Place>, Option<Totals>);

/// A name and what it stands for.
type Named = (Place, EntryId, bool);

/// Everything but the journal.
pub(super) fn content(index: &Index) -> (Vec<Whole>, Vec<Named>) {
    let reader = index.read().unwrap();
    let mut rows = Vec::new();
    reader
        .each_row::<IndexError>(|id, row| {
            // The newest change never goes back: what a directory counted for a while stays in it.
            let totals = reader.totals(id)?.map(|totals| Totals { newest: Time(0), ..totals });
            rows.push((id, row, reader.links(id)?, totals));
            Ok(true)
        })
        .unwrap();
    let mut names = Vec::new();
    reader
        .each_name::<IndexError>(|dir, name, target| {
            names.push((Place::new(dir, name), target.id, target.directory));
            Ok(true)
        })
        .unwrap();
    (rows, names)
}

pub(super) fn same(one: &Index, other: &Index) {
    let ((rows, names), (other_rows, other_names)) = (content(one), content(other));
    assert_eq!(names, other_names);
    for (row, other) in rows.iter().zip(&other_rows) {
        assert_eq!(row, other);
    }
    assert_eq!(rows.len(), other_rows.len());
}

pub(super) fn make() -> impl Strategy<Value = Make> {
    prop_oneof![
        2 => any::<u8>().prop_map(|dir| Make::Directory { dir }),
        5 => (any::<u8>(), any::<u16>()).prop_map(|(dir, size)| Make::File { dir, size }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(file, dir)| Make::Link { file, dir }),
    ]
}

/// A seed with nothing to go on with.
pub(super) fn fresh(dir: std::path::PathBuf, buffer: usize) -> Seed {
    let (seed, begun) = Seed::begin(dir, buffer, SeedKey::default(), Time(1)).unwrap();
    assert_eq!(begun, Begun::Anew);
    seed
}

pub(super) fn index(folder: &std::path::Path, name: &str) -> Index {
    Index::create(&folder.join(name), Settings::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_seed_equals_ordinary_commits(
        made in prop::collection::vec(make(), 0..250),
        workers in 1..4usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&made);
        let (committed, one, two) =
            (index(folder.path(), "committed"), index(folder.path(), "one"), index(folder.path(), "two"));
        tree.commit(&committed);
        tree.seed(&one, folder.path(), &TOPS, workers);
        tree.seed(&two, folder.path(), &[1], workers);
        tree.seed(&two, folder.path(), &[2], workers);
        for index in [&committed, &one, &two] {
            prop_assert_eq!(index.read().unwrap().check().unwrap().faults, []);
        }
        same(&committed, &one);
        same(&committed, &two);
        prop_assert_eq!(one.read().unwrap().seq().unwrap(), Seq(2));
    }
}

/// A file that changed its link count, and one that moved, while the walk was under way: found twice, and
/// what the walk added up is not what the rows say.
#[test]
fn totals_hold_when_the_tree_changed_under_the_walk() {
    let folder = tempfile::tempdir().unwrap();
    let index = index(folder.path(), "index");
    let seed = fresh(folder.path().join("runs"), 1 << 20);
    let mut worker = seed.worker();
    let root = RootId(1);
    let dir = plain(Kind::Directory, 2, 0, 1);
    worker.entry(root, id(1), &dir, None, Time(0)).unwrap();
    worker.entry(root, id(2), &dir, Some((id(1), b"d")), Time(0)).unwrap();
    let two = plain(Kind::File, 2, 10, 1);
    let one = plain(Kind::File, 1, 10, 1);
    // Linked under the walk: counted by the first look, not by the second.
    worker.entry(root, id(10), &one, Some((id(2), b"a")), Time(0)).unwrap();
    worker.entry(root, id(10), &two, Some((id(1), b"b")), Time(5_000_000)).unwrap();
    // Moved under the walk: counted by both.
    worker.entry(root, id(11), &one, Some((id(1), b"c")), Time(0)).unwrap();
    worker.entry(root, id(11), &one, Some((id(2), b"c")), Time(5_000_000)).unwrap();
    // A directory moved under the walk.
    worker.entry(root, id(3), &dir, Some((id(1), b"m")), Time(0)).unwrap();
    worker.entry(root, id(3), &dir, Some((id(2), b"m")), Time(5_000_000)).unwrap();
    let sum = |files, directories, bytes| Totals {
        files,
        directories,
        bytes,
        allocated: files * 512,
        newest: Time(1),
    };
    worker.totals(id(1), &sum(3, 4, 30)).unwrap();
    worker.totals(id(2), &sum(2, 2, 20)).unwrap();
    worker.totals(id(3), &sum(0, 1, 0)).unwrap();
    worker.totals(id(3), &sum(0, 1, 0)).unwrap();
    seed.finish(worker);
    let roots = vec![SeedRoot { row: root_row(1, id(1)), seen: Time(9) }];
    index.load(seed, roots, Edits::default()).unwrap();
    assert_eq!(index.read().unwrap().check().unwrap().faults, []);
    let totals = index.read().unwrap().totals(id(1)).unwrap().unwrap();
    assert_eq!((totals.files, totals.directories, totals.bytes), (2, 3, 20));
}

/// A directory ended under the walk and a file got its number. Which of both is there now is for a look to find; but sums
/// of what is no directory must not stay, or the next directory of that number would begin with another's.
#[test]
fn sums_are_of_what_is_stored_as_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let index = index(folder.path(), "index");
    let seed = fresh(folder.path().join("runs"), 1 << 20);
    let mut worker = seed.worker();
    let root = RootId(1);
    let dir = plain(Kind::Directory, 2, 0, 1);
    worker.entry(root, id(1), &dir, None, Time(0)).unwrap();
    worker.entry(root, id(9), &dir, Some((id(1), b"was")), Time(0)).unwrap();
    worker.entry(root, id(9), &plain(Kind::File, 1, 10, 2), Some((id(1), b"is")), Time(5_000_000)).unwrap();
    worker.totals(id(9), &Totals { directories: 1, newest: Time(1), ..Totals::default() }).unwrap();
    worker.totals(id(1), &Totals { directories: 2, newest: Time(1), ..Totals::default() }).unwrap();
    seed.finish(worker);
    let roots = vec![SeedRoot { row: root_row(1, id(1)), seen: Time(9) }];
    index.load(seed, roots, Edits::default()).unwrap();
    let reader = index.read().unwrap();
    let is_directory = reader.row(id(9)).unwrap().is_some_and(|row| row.stat.is_directory());
    assert_eq!(reader.totals(id(9)).unwrap().is_some(), is_directory);
    assert_eq!(reader.check().unwrap().faults, []);
}

/// What a walk saw: an entry, its birth (below zero for a file), the place, and when.
type Saw<'n> = (u64, i128, (u64, &'n [u8]), i128);

/// Loads what a walk saw of root 1, which has directories 2 and 3.
fn load_seen(seen: &[Saw<'_>]) -> (tempfile::TempDir, Index, Loaded) {
    let folder = tempfile::tempdir().unwrap();
    let index = index(folder.path(), "index");
    let seed = fresh(folder.path().join("runs"), 1 << 20);
    let mut worker = seed.worker();
    let dir = plain(Kind::Directory, 2, 0, 1);
    worker.entry(RootId(1), id(1), &dir, None, Time(0)).unwrap();
    worker.entry(RootId(1), id(2), &dir, Some((id(1), b"2")), Time(0)).unwrap();
    worker.entry(RootId(1), id(3), &dir, Some((id(1), b"3")), Time(0)).unwrap();
    for (entry, birth, (above, name), at) in seen {
        let kind = if *birth < 0 { Kind::File } else { Kind::Directory };
        let stat = Stat { created: Some(Time(*birth)), ..plain(kind, 1, 10, 1) };
        worker.entry(RootId(1), id(*entry), &stat, Some((id(*above), name)), Time(at * 1_000_000)).unwrap();
    }
    // What the walk added up is of no tree there ever was.
    for dir in [1, 2, 3].into_iter().chain(seen.iter().filter(|seen| seen.1 >= 0).map(|seen| seen.0)) {
        worker.totals(id(dir), &Totals { files: 99, ..Totals::default() }).unwrap();
    }
    seed.finish(worker);
    let roots = vec![SeedRoot { row: root_row(1, id(1)), seen: Time(9) }];
    let loaded = index.load(seed, roots, Edits::default()).unwrap();
    let check = index.read().unwrap().check().unwrap();
    assert_eq!(check.faults, []);
    let Body::Seeded(seeded) = &loaded.records[0].body else { panic!("a seeded record") };
    assert_eq!(seeded.entries, check.entries, "what was left out is not told of");
    (folder, index, loaded)
}

/// A directory was moved under the walk and listed twice, and between that one file replaced another in it: the name is
/// the later one's, and the other, which has no name, is not in the index. It is looked for where it was.
#[test]
fn a_name_seen_for_two_entries_is_the_later_ones() {
    let place = (2, &b"two"[..]);
    for (earlier, later) in [(10, 11), (11, 10)] {
        let (_folder, index, loaded) = load_seen(&[(earlier, -5, place, 1), (later, -6, place, 2)]);
        let reader = index.read().unwrap();
        assert_eq!(reader.lookup(id(2), b"two").unwrap().map(|target| target.id), Some(id(later)));
        assert_eq!(reader.row(id(earlier)).unwrap(), None);
        assert_eq!(loaded.left_out, [Place::new(id(2), b"two")]);
        assert_eq!(reader.totals(id(1)).unwrap().unwrap().files, 1);
    }
    // Where the earlier one was seen elsewhere too, that is its name.
    let (_folder, index, _) =
        load_seen(&[(10, -5, place, 1), (10, -5, (3, b"x"), 3), (11, -6, place, 2), (11, -6, (3, b"y"), 4)]);
    let reader = index.read().unwrap();
    assert_eq!(reader.row(id(10)).unwrap().unwrap().place, Some(Place::new(id(3), b"x")));
    assert_eq!(reader.totals(id(1)).unwrap().unwrap().files, 2);
}

/// The one that lost its name is a directory, and was listed: what is in it goes with it.
#[test]
fn a_directory_without_a_name_is_left_out_with_all_below() {
    let place = (2, &b"two"[..]);
    let (_folder, index, _) = load_seen(&[
        (10, 5, place, 1),
        (11, -5, (10, b"in it"), 1),
        (12, 5, (10, b"d"), 1),
        (13, -5, (12, b"deep"), 1),
        (14, -5, (12, b"elsewhere"), 1),
        (14, -5, (3, b"elsewhere"), 2),
        (20, 6, place, 3),
    ]);
    let reader = index.read().unwrap();
    for gone in [10, 11, 12, 13] {
        assert_eq!(reader.row(id(gone)).unwrap(), None, "{gone}");
    }
    assert_eq!(reader.row(id(14)).unwrap().unwrap().place, Some(Place::new(id(3), b"elsewhere")));
    let totals = reader.totals(id(1)).unwrap().unwrap();
    assert_eq!((totals.files, totals.directories), (1, 4));
}

/// A number that was a directory's and then a file's, and the other way round: what was listed under it stays a
/// directory's, and sums stand by no file.
#[test]
fn a_number_recycled_under_the_walk_is_one_entrys() {
    let file = (10, -5, (3, &b"file"[..]), 2);
    for at in [1, 3] {
        let (_folder, index, loaded) =
            load_seen(&[(10, 5, (2, b"dir"), at), (11, -5, (10, b"in it"), at), file]);
        let reader = index.read().unwrap();
        assert!(reader.row(id(10)).unwrap().unwrap().stat.is_directory());
        assert_eq!(reader.lookup(id(3), b"file").unwrap(), None);
        assert_eq!(loaded.left_out, [Place::new(id(3), b"file")]);
    }
    // Two directories: rows below may be of either, and all names in it are to be looked at.
    let (_folder, index, loaded) =
        load_seen(&[(10, 5, (2, b"one"), 1), (11, -5, (10, b"in it"), 1), (10, 6, (3, b"other"), 2)]);
    assert_eq!(loaded.mixed, [id(10)]);
    assert_eq!(loaded.left_out, [Place::new(id(2), b"one")]);
    assert_eq!(index.read().unwrap().row(id(10)).unwrap().unwrap().stat.created, Some(Time(6)));
}

/// Two directories, each seen in the other: that has no way up, and neither has what is in it.
#[test]
fn a_circle_of_directories_is_left_out() {
    let (_folder, index, loaded) = load_seen(&[
        (10, 5, (2, b"a"), 1),
        (11, 5, (10, b"b"), 4),
        (11, 5, (2, b"b"), 2),
        (10, 5, (11, b"a"), 5),
        (12, -5, (10, b"file"), 1),
    ]);
    let reader = index.read().unwrap();
    assert_eq!(reader.check().unwrap().entries, 3);
    assert!(loaded.left_out.contains(&Place::new(id(10), b"file")));
}

/// A file in the first root, changed since its row was written, is found again by the seed of the second:
/// the row stays as it is, for the look that will tell of the change.
#[test]
fn a_second_seed_leaves_known_rows_to_their_own_looks() {
    // Linked from both roots when the first was seeded, or only since then.
    for links in [2, 1] {
        second_seed(plain(Kind::File, links, 1000, 1));
    }
}

fn second_seed(file: Stat) {
    let folder = tempfile::tempdir().unwrap();
    let index = index(folder.path(), "index");
    let changed = Stat { size: 9000, allocated: 9216, modified: Time(7), changed: Time(7), links: 2, ..file };
    for (top, stat) in [(1, file), (2, changed)] {
        let seed = fresh(folder.path().join("runs"), 1 << 20);
        let mut worker = seed.worker();
        let root = RootId(u32::try_from(top).unwrap());
        worker.entry(root, id(top), &plain(Kind::Directory, 2, 0, 1), None, Time(0)).unwrap();
        let at = Time(i128::from(top) * 1_000_000);
        worker.entry(root, id(10), &stat, Some((id(top), b"same")), at).unwrap();
        let mut totals = Totals { directories: 1, newest: Time(1), ..Totals::default() };
        if SeedWorker::counts(&stat) {
            (totals.files, totals.bytes, totals.allocated) = (1, stat.size, stat.allocated);
        }
        worker.totals(id(top), &totals).unwrap();
        seed.finish(worker);
        let roots = vec![SeedRoot { row: root_row(root.0, id(top)), seen: Time(9) }];
        index.load(seed, roots, Edits::default()).unwrap();
    }
    let reader = index.read().unwrap();
    assert_eq!(reader.check().unwrap().faults, []);
    let row = reader.row(id(10)).unwrap().unwrap();
    assert_eq!((row.stat, row.many_names), (file, true));
    assert_eq!(reader.totals(id(1)).unwrap().unwrap().bytes, 1000);
    assert_eq!(reader.totals(id(2)).unwrap().unwrap().bytes, 1000);
}

#[test]
fn an_abandoned_seed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let seed = fresh(runs.clone(), 1);
    let mut worker = seed.worker();
    for inode in 0..1000 {
        worker
            .entry(RootId(1), id(inode), &plain(Kind::File, 1, 1, 1), Some((id(1), b"name")), Time(0))
            .unwrap();
    }
    assert!(runs.read_dir().unwrap().count() > 1, "small buffers were spilled");
    drop(worker);
    drop(seed);
    assert!(!runs.try_exists().unwrap());
}
