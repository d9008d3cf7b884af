//! A seed that is cut off anywhere, any number of times, ends in the tables that one in a single go makes; and what is
//! damaged meanwhile is begun anew, never believed.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use record::{EntryId, Kind, RootId, Stat, Time, Totals};

use super::make::{id, plain, root_row};
use super::seed::{TOPS, Tree, index, make, same, tree};
use crate::seed::Listing;
use crate::{Begun, Blind, Edits, Index, Seed, SeedKey, SeedKeyRoot, SeedRoot, SeedWorker};

/// Numbers that look random and are not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

fn number(root: u64) -> RootId {
    RootId(u32::try_from(root).unwrap())
}

fn key() -> SeedKey {
    let root = |top: u64| SeedKeyRoot {
        id: number(top),
        path: format!("/{top}").into_bytes().into(),
        top: id(top),
        created: Some(Time(1)),
        rules: "all".into(),
    };
    SeedKey { epoch: 7, roots: TOPS.map(root).into() }
}

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// As far as it goes.
    Whole,
    /// It is told to stop after so many directories.
    Stopped(usize),
    /// It is killed after so many.
    Killed(usize),
}

/// Walks what is not listed yet, on three workers in any order; answers how many directories it listed.
fn walk(tree: &Tree, seed: &Seed, end: End, dice: &mut Dice) -> usize {
    let most = match end {
        End::Whole => usize::MAX,
        End::Stopped(most) | End::Killed(most) => most,
    };
    let mut waiting: Vec<(EntryId, Option<Listing>)> = Vec::new();
    for top in TOPS {
        match seed.waiting(number(top)).unwrap() {
            None => waiting.push((id(top), None)),
            Some(rests) => {
                for rest in rests {
                    assert_eq!(tree.path(rest.dir), rest.components, "the way to what waits");
                    waiting.extend(rest.children.into_iter().map(|(_, child)| (child, None)));
                }
            }
        }
    }
    assert!(seed.failed().is_none());
    let mut crew: Vec<SeedWorker> = (0..3).map(|_| seed.worker()).collect();
    let mut listed = 0;
    while !waiting.is_empty() {
        if listed == most {
            // In the middle of one.
            let (dir, above) = waiting[dice.below(waiting.len())];
            let worker = &mut crew[dice.below(3)];
            worker.begin(above).unwrap();
            list(tree, worker, dir, dice.below(5));
            break;
        }
        let (dir, above) = waiting.swap_remove(dice.below(waiting.len()));
        assert!(!seed.is_listed(dir).unwrap(), "what is listed does not wait");
        let worker = &mut crew[dice.below(3)];
        let listing = worker.begin(above).unwrap();
        let children = list(tree, worker, dir, usize::MAX);
        worker.listed(dir, None).unwrap();
        waiting.extend(children.into_iter().map(|child| (child, Some(listing))));
        listed += 1;
        match dice.below(8) {
            0 => seed.ask(),
            1 => drop(seed.store(Time(5), || Ok(())).unwrap()),
            _ => {}
        }
    }
    if !matches!(end, End::Killed(_)) {
        crew.into_iter().for_each(|worker| seed.finish(worker));
        seed.store_all(Time(6), || Ok(())).unwrap();
    }
    listed
}

/// Gives the first `most` names in `dir`; answers the directories among them.
fn list(tree: &Tree, worker: &mut SeedWorker, dir: EntryId, most: usize) -> Vec<EntryId> {
    let root = number(tree.root(dir));
    if TOPS.contains(&dir.inode) {
        worker.entry(root, dir, &tree.stats[&dir], None, Time(0)).unwrap();
    }
    let mut children = Vec::new();
    for (place, entry) in tree.places.iter().filter(|(place, _)| place.dir == dir).take(most) {
        let stat = &tree.stats[entry];
        worker.entry(root, *entry, stat, Some((dir, &place.name)), Time(0)).unwrap();
        if stat.is_directory() {
            children.push(*entry);
        }
    }
    children
}

impl Tree {
    fn path(&self, dir: EntryId) -> Vec<record::Name> {
        let mut names = Vec::new();
        let mut at = dir;
        while let Some((place, _)) = self.places.iter().find(|(_, found)| *found == at) {
            names.push(place.name.clone());
            at = place.dir;
        }
        names.reverse();
        names
    }

    fn directories(&self) -> usize {
        self.stats.values().filter(|stat| stat.is_directory()).count()
    }

    fn load(&self, seed: Seed, index: &Index) {
        let roots = TOPS.map(|top| SeedRoot { row: root_row(number(top).0, id(top)), seen: Time(9) });
        index.load(seed, roots.into(), Edits::default()).unwrap();
        assert_eq!(index.read().unwrap().check().unwrap().faults, []);
    }
}

fn begin(folder: &Path) -> (Seed, Begun) {
    Seed::begin(folder.join("runs"), 1, key(), Time(1)).unwrap()
}

/// A session from begin to end; what it said, and how many directories it listed.
fn session(tree: &Tree, folder: &Path, end: End, dice: &mut Dice) -> (Begun, usize) {
    let (seed, begun) = begin(folder);
    let listed = walk(tree, &seed, end, dice);
    if matches!(end, End::Killed(_)) {
        // As a kill does: nothing is tidied up.
        std::mem::forget(seed);
    }
    (begun, listed)
}

/// Ends what was begun in `folder`, and compares with ordinary commits of the same tree.
fn finish(tree: &Tree, folder: &Path, dice: &mut Dice) -> (Begun, usize) {
    let (seed, begun) = begin(folder);
    let listed = walk(tree, &seed, End::Whole, dice);
    if !matches!(begun, Begun::GoesOn { .. }) {
        // One that goes on adds up for itself.
        let mut worker = seed.worker();
        for (dir, totals) in tree.totals() {
            worker.totals(dir, &totals).unwrap();
        }
        seed.finish(worker);
    }
    let (one, committed) = (index(folder, "one"), index(folder, "committed"));
    tree.load(seed, &one);
    assert!(!folder.join("runs").try_exists().unwrap(), "nothing is left of the runs");
    tree.commit(&committed);
    same(&committed, &one);
    (begun, listed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn cut_off_anywhere_it_ends_the_same(
        made in prop::collection::vec(make(), 0..250),
        ends in prop::collection::vec((any::<bool>(), 0..40usize), 0..5),
        dice in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&made);
        let mut dice = Dice(dice);
        for (killed, after) in ends {
            let end = if killed { End::Killed(after) } else { End::Stopped(after) };
            let (begun, _) = session(&tree, folder.path(), end, &mut dice);
            prop_assert!(!matches!(begun, Begun::Refused(_)), "{begun:?}");
        }
        let (begun, listed) = finish(&tree, folder.path(), &mut dice);
        let before = match begun {
            Begun::GoesOn { directories, .. } => usize::try_from(directories).unwrap(),
            _ => 0,
        };
        prop_assert_eq!(before + listed, tree.directories(), "none is listed twice, and none is missed");
    }

    #[test]
    fn what_is_damaged_is_begun_anew(
        made in prop::collection::vec(make(), 20..120),
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        cut in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&made);
        let mut dice = Dice(1);
        session(&tree, folder.path(), End::Stopped(tree.directories() / 2), &mut dice);
        let mut files: Vec<PathBuf> =
            folder.path().join("runs").read_dir().map(|all| all.map(|file| file.unwrap().path()).collect()).unwrap_or_default();
        files.sort();
        if !files.is_empty() {
            let file = file.get(&files);
            let mut bytes = std::fs::read(file).unwrap();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << bit;
            }
            std::fs::write(file, bytes).unwrap();
        }
        let (begun, listed) = finish(&tree, folder.path(), &mut dice);
        prop_assert!(files.is_empty() || matches!(begun, Begun::Refused(_)), "{begun:?}");
        prop_assert_eq!(listed, tree.directories());
    }
}

/// A seed of anything else does not go on with it, and says why.
#[test]
fn another_tree_is_begun_anew() {
    type Change = fn(&mut SeedKey);
    let changes: [(&str, Change); 6] = [
        ("another index", |key| key.epoch = 8),
        ("rules", |key| key.roots[0].rules = "none".into()),
        ("another directory", |key| key.roots[1].created = Some(Time(2))),
        ("another directory", |key| key.roots[1].top = id(9)),
        ("not to be scanned", |key| key.roots.truncate(1)),
        ("another number", |key| key.roots[0].id = RootId(9)),
    ];
    for (word, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        session(&tree(&[]), folder.path(), End::Stopped(1), &mut Dice(1));
        let mut other = key();
        change(&mut other);
        let (seed, begun) = Seed::begin(folder.path().join("runs"), 1, other, Time(1)).unwrap();
        assert!(matches!(&begun, Begun::Refused(why) if why.contains(word)), "{begun:?}");
        drop(seed);
        assert!(!folder.path().join("runs").try_exists().unwrap());
    }
    // One root more is no other tree.
    let folder = tempfile::tempdir().unwrap();
    session(&tree(&[]), folder.path(), End::Stopped(1), &mut Dice(1));
    let mut more = key();
    more.roots.push(SeedKeyRoot {
        id: RootId(3),
        path: b"/3"[..].into(),
        top: id(3),
        ..more.roots[0].clone()
    });
    let (_, begun) = Seed::begin(folder.path().join("runs"), 1, more, Time(1)).unwrap();
    assert!(matches!(begun, Begun::GoesOn { directories: 1, .. }), "{begun:?}");
}

/// What could not be listed wholly is known as such by the one that goes on.
#[test]
fn what_is_blind_stays_blind() {
    let folder = tempfile::tempdir().unwrap();
    let (seed, _) = begin(folder.path());
    let mut worker = seed.worker();
    worker.begin(None).unwrap();
    worker.entry(RootId(1), id(1), &plain(Kind::Directory, 2, 0, 1), None, Time(0)).unwrap();
    let why = Blind { since: Time(3), why: "permission denied".into() };
    worker.listed(id(1), Some(&why)).unwrap();
    seed.finish(worker);
    assert!(seed.store_all(Time(2), || Ok(())).unwrap());
    drop(seed);
    let (seed, begun) = begin(folder.path());
    assert_eq!(begun, Begun::GoesOn { directories: 1, between: (Time(1), Time(2)) });
    assert_eq!(seed.blind(), [(id(1), why)]);
}

/// A set whose volumes could not be stored is not named: nothing would know what its numbers mean.
#[test]
fn what_runs_refer_to_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let (seed, _) = begin(folder.path());
    let mut worker = seed.worker();
    worker.begin(None).unwrap();
    worker.entry(RootId(1), id(1), &plain(Kind::Directory, 2, 0, 1), None, Time(0)).unwrap();
    worker.listed(id(1), None).unwrap();
    seed.finish(worker);
    let refused = || Err(crate::error::IndexError::FreshStartRequired { oldest: record::Seq(1) });
    assert!(seed.store_all(Time(2), refused).is_err());
    drop(seed);
    assert!(!folder.path().join("runs").try_exists().unwrap());
}

/// While nothing ran, a file went, and its number was given to another in a directory that was still waiting; a
/// directory went and its number is a file's; and one moved from where it was listed to where it was not.
#[test]
fn numbers_that_changed_hands_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let dir = plain(Kind::Directory, 2, 0, 1);
    let file = |created: i128| Stat { created: Some(Time(created)), ..plain(Kind::File, 1, 10, 1) };
    let root = RootId(1);
    let top = Some((id(1), &b"gone"[..]));
    let (seed, _) = begin(folder.path());
    let mut worker = seed.worker();
    worker.begin(None).unwrap();
    worker.entry(root, id(1), &dir, None, Time(0)).unwrap();
    worker.entry(root, id(2), &dir, Some((id(1), b"waits")), Time(0)).unwrap();
    worker.entry(root, id(3), &dir, Some((id(1), b"listed")), Time(0)).unwrap();
    worker.entry(root, id(4), &dir, Some((id(1), b"moves")), Time(0)).unwrap();
    worker.entry(root, id(10), &file(1), top, Time(0)).unwrap();
    worker.listed(id(1), None).unwrap();
    for (at, child) in [(3, 11), (4, 12)] {
        worker.begin(None).unwrap();
        worker.entry(root, id(child), &file(1), Some((id(at), b"in it")), Time(0)).unwrap();
        worker.listed(id(at), None).unwrap();
    }
    seed.finish(worker);
    seed.store_all(Time(2), || Ok(())).unwrap();
    drop(seed);

    let (seed, begun) = begin(folder.path());
    assert!(matches!(begun, Begun::GoesOn { directories: 3, .. }), "{begun:?}");
    let rests: Vec<_> = seed.waiting(root).unwrap().unwrap().flat_map(|rest| rest.children).collect();
    assert_eq!(rests, [(b"waits"[..].into(), id(2))]);
    assert!(seed.is_listed(id(4)).unwrap() && !seed.is_listed(id(2)).unwrap());
    let mut worker = seed.worker();
    let later = Time(5_000_000);
    worker.begin(None).unwrap();
    worker.entry(root, id(10), &file(7), Some((id(2), b"new")), later).unwrap();
    worker.entry(root, id(3), &file(7), Some((id(2), b"no directory")), later).unwrap();
    worker.entry(root, id(4), &dir, Some((id(2), b"moved")), later).unwrap();
    worker.listed(id(2), None).unwrap();
    seed.finish(worker);
    let index = index(folder.path(), "index");
    let roots = vec![SeedRoot { row: root_row(1, id(1)), seen: Time(9) }];
    index.load(seed, roots, Edits::default()).unwrap();
    let reader = index.read().unwrap();
    assert_eq!(reader.check().unwrap().faults, []);
    use reconcile::Stored as _;
    assert_eq!(reader.lookup(id(1), b"gone").unwrap(), None, "it is another's number now");
    assert_eq!(reader.lookup(id(2), b"no directory").unwrap(), None, "rows below it are a directory's");
    assert_eq!(reader.row(id(10)).unwrap().unwrap().stat.created, Some(Time(7)));
    assert!(reader.row(id(3)).unwrap().unwrap().stat.is_directory());
    let totals: Totals = reader.totals(id(1)).unwrap().unwrap();
    assert_eq!((totals.files, totals.directories, totals.bytes), (3, 4, 30));
}
