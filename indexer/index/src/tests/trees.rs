//! Digests of directories, kept change by change, against a model that is gone through anew each time. A digest of the past would
//! show what was changed since as a duplicate.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reconcile::{Plan, Target};
use record::{Digest, DigestKind, Hashing, Kind, Place, Reading, Row, StoredDigest, Time};

use super::make::{id, plain};
use crate::{Blind, Edits, Grown, Index, Settings, Tree};

const TOP: u64 = 1;
const DIRECTORIES: u64 = 6;
const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Empty,
    Unread,
    Sampled,
    Content(u8),
    /// Its digest is of another moment.
    Past(u8),
    Link,
}

#[derive(Clone, Debug)]
enum Step {
    /// Gives a file a name, and another to one that has one.
    Name(u64, u64, usize),
    /// Takes a name away, and what is below it.
    Remove(u64, usize),
    /// Makes a directory there, or moves it there.
    Place(u64, u64, usize),
    Write(u64, Held),
    Blind(u64, bool),
    /// Looks through what is due, and commits what came of the look before.
    Grow,
}

fn step() -> impl Strategy<Value = Step> {
    let dir = || TOP..=DIRECTORIES;
    let file = || 20u64..25;
    let held = prop_oneof![
        1 => Just(Held::Empty),
        1 => Just(Held::Unread),
        1 => Just(Held::Sampled),
        4 => (0u8..2).prop_map(Held::Content),
        1 => (0u8..2).prop_map(Held::Past),
        1 => Just(Held::Link),
    ];
    prop_oneof![
        4 => (dir(), file(), 0usize..3).prop_map(|(dir, file, name)| Step::Name(dir, file, name)),
        2 => (dir(), 0usize..3).prop_map(|(dir, name)| Step::Remove(dir, name)),
        3 => (2..=DIRECTORIES, dir(), 0usize..3).prop_map(|(moved, dir, name)| Step::Place(moved, dir, name)),
        4 => (file(), held).prop_map(|(file, held)| Step::Write(file, held)),
        1 => (dir(), any::<bool>()).prop_map(|(dir, blind)| Step::Blind(dir, blind)),
        3 => Just(Step::Grow),
    ]
}

/// What is there.
#[derive(Clone, Debug, Default)]
struct World {
    names: BTreeMap<(u64, &'static [u8]), u64>,
    held: BTreeMap<u64, Held>,
    blind: BTreeSet<u64>,
}

fn is_directory(inode: u64) -> bool {
    inode <= DIRECTORIES
}

impl World {
    fn there(&self, inode: u64) -> bool {
        inode == TOP || self.names.values().any(|at| *at == inode)
    }

    fn is_below(&self, inode: u64, dir: u64) -> bool {
        let parent = |of: u64| self.names.iter().find(|(_, at)| **at == of).map(|((dir, _), _)| *dir);
        std::iter::successors(Some(inode), |at| parent(*at)).any(|at| at == dir)
    }

    fn remove(&mut self, dir: u64, name: &'static [u8]) {
        if let Some(gone) = self.names.remove(&(dir, name)).filter(|gone| is_directory(*gone)) {
            self.blind.remove(&gone);
            for name in NAMES {
                self.remove(gone, name);
            }
        }
    }

    fn go(&mut self, step: &Step) {
        match *step {
            Step::Name(dir, file, name) if self.there(dir) => {
                self.remove(dir, NAMES[name]);
                self.names.insert((dir, NAMES[name]), file);
            }
            Step::Remove(dir, name) => self.remove(dir, NAMES[name]),
            Step::Place(moved, dir, name) if self.there(dir) && !self.is_below(dir, moved) => {
                if self.names.get(&(dir, NAMES[name])).is_some_and(|at| self.is_below(moved, *at)) {
                    return;
                }
                self.remove(dir, NAMES[name]);
                self.names.retain(|_, at| *at != moved);
                self.names.insert((dir, NAMES[name]), moved);
            }
            Step::Write(file, held) => drop(self.held.insert(file, held)),
            Step::Blind(dir, true) if self.there(dir) => drop(self.blind.insert(dir)),
            Step::Blind(dir, false) => drop(self.blind.remove(&dir)),
            _ => {}
        }
    }

    fn rows(&self) -> BTreeMap<u64, Row> {
        let mut rows = BTreeMap::from([(TOP, Row::new(plain(Kind::Directory, 2, 0, 5), Time(0)))]);
        for inode in self.names.values() {
            let mut places = self.names.iter().filter(|(_, at)| *at == inode);
            let count = places.clone().count();
            let place = places.next().map(|((dir, name), _)| Place::new(id(*dir), name));
            let held = self.held.get(inode).copied().unwrap_or(Held::Unread);
            let kind = match held {
                _ if is_directory(*inode) => Kind::Directory,
                Held::Link => Kind::Symlink,
                _ => Kind::File,
            };
            let size = if held == Held::Empty || kind == Kind::Directory { 0 } else { 7 };
            let stat = plain(kind, count as u32, size, 5);
            let digest = match held {
                Held::Content(number) | Held::Past(number) => Some((DigestKind::Blake3, number)),
                Held::Sampled => Some((DigestKind::Blake3Sampled, 0)),
                _ => None,
            };
            let past = matches!(held, Held::Past(_));
            let digest = digest.map(|(kind, number)| StoredDigest {
                digest: Digest { kind, bytes: [number; 32] },
                size,
                modified: stat.modified,
                changed: if past { Time(4) } else { stat.changed },
                carried: false,
            });
            rows.insert(*inode, Row { place, many_names: count > 1, digest, ..Row::new(stat, Time(0)) });
        }
        rows
    }

    fn links(&self) -> BTreeSet<(u64, u64, &'static [u8])> {
        let rows = self.rows();
        let links = self.names.iter().filter(|(_, at)| rows[*at].many_names);
        links.map(|((dir, name), at)| (*at, *dir, *name)).collect()
    }

    /// What makes of `before` this.
    fn since(&self, before: &World) -> Edits {
        let mut plan = Plan::default();
        let (were, are) = (before.rows(), self.rows());
        for inode in were.keys().chain(are.keys()).collect::<BTreeSet<_>>() {
            if were.get(inode) != are.get(inode) {
                plan.rows.push((id(*inode), are.get(inode).cloned()));
            }
        }
        for at in before.names.keys().chain(self.names.keys()).collect::<BTreeSet<_>>() {
            let is = self.names.get(at);
            if before.names.get(at) != is {
                let target = is.map(|inode| Target { id: id(*inode), directory: is_directory(*inode) });
                plan.names.push((Place::new(id(at.0), at.1), target));
            }
        }
        let (were, are) = (before.links(), self.links());
        for (inode, dir, name) in were.symmetric_difference(&are) {
            let added = are.contains(&(*inode, *dir, *name));
            plan.links.push((id(*inode), Place::new(id(*dir), name), added));
        }
        let blind = |dir: &u64| {
            let why = Blind { since: Time(0), why: String::new() };
            (id(*dir), self.blind.contains(dir).then_some(why))
        };
        let coverage = before.blind.symmetric_difference(&self.blind).map(blind).collect();
        Edits { plan, coverage, ..Edits::default() }
    }

    /// All that is below a directory, written out, with bytes and files; `None` where something is not known.
    fn written(&self, dir: u64) -> Option<(String, u64, u64)> {
        if self.blind.contains(&dir) {
            return None;
        }
        let (mut text, mut bytes, mut files) = (String::new(), 0, 0);
        for ((_, name), at) in self.names.range((dir, &b""[..])..(dir + 1, &b""[..])) {
            let name = String::from_utf8_lossy(name);
            if is_directory(*at) {
                let (below, more, names) = self.written(*at)?;
                text.push_str(&format!("{name}({below})"));
                (bytes, files) = (bytes + more, files + names);
                continue;
            }
            match self.held.get(at)? {
                Held::Empty => text.push_str(&format!("{name}:;")),
                Held::Content(number) => {
                    text.push_str(&format!("{name}:{number};"));
                    bytes += 7;
                }
                _ => return None,
            }
            files += 1;
        }
        Some((text, bytes, files))
    }
}

fn faults(index: &Index) -> Vec<String> {
    let mut faults = Vec::new();
    index.read().unwrap().check_contents(|id, what| faults.push(format!("{id} {what}"))).unwrap();
    faults
}

fn trees(index: &Index) -> BTreeMap<u64, Tree> {
    let reader = index.read().unwrap();
    (TOP..=DIRECTORIES).filter_map(|dir| Some((dir, reader.tree(id(dir)).unwrap()?))).collect()
}

fn grow(index: &Index) {
    loop {
        let grown = index.read().unwrap().grow().unwrap();
        if grown.is_empty() {
            return;
        }
        index.commit(Edits { grown, ..Edits::default() }).unwrap();
    }
}

fn made(reading: Reading) -> (tempfile::TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index"), Settings::default()).unwrap();
    index.keep_contents(Hashing { reading, ..Hashing::default() }).unwrap();
    (folder, index)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// R5 of directories: at no moment is a digest of the past there; looked through to the end, each directory of which all is
    /// known has one, as if it were made from nothing; equal ones are those that are written out alike.
    #[test]
    fn trees_follow_rows_and_names(steps in prop::collection::vec(step(), 1..40)) {
        let (_folder, index) = made(Reading::Full);
        let (_other, later) = made(Reading::None);
        let mut world = World::default();
        let first = Edits { plan: Plan { rows: vec![(id(TOP), world.rows().remove(&TOP))], ..Plan::default() }, ..Edits::default() };
        index.commit(first.clone()).unwrap();
        later.commit(first).unwrap();
        let mut digests: BTreeMap<String, [u8; 32]> = BTreeMap::new();
        let mut told: Vec<Grown> = Vec::new();
        for nth in 0..=steps.len() {
            if let Some(step) = steps.get(nth) {
                let before = world.clone();
                world.go(step);
                let mut edits = world.since(&before);
                later.commit(edits.clone()).unwrap();
                if matches!(step, Step::Grow) {
                    edits.grown = std::mem::replace(&mut told, index.read().unwrap().grow().unwrap());
                }
                index.commit(edits).unwrap();
            } else {
                grow(&index);
            }
            prop_assert_eq!(faults(&index), Vec::<String>::new());
            for (dir, tree) in trees(&index) {
                let written = world.there(dir).then(|| world.written(dir)).flatten();
                let (text, bytes, files) = written.expect("all of it is known");
                prop_assert_eq!((tree.bytes, tree.files), (bytes, files));
                prop_assert_eq!(*digests.entry(text).or_insert(tree.digest), tree.digest);
            }
        }
        let known = |dir: &u64| world.there(*dir) && world.written(*dir).is_some();
        let all: Vec<u64> = (TOP..=DIRECTORIES).filter(known).collect();
        prop_assert_eq!(trees(&index).into_keys().collect::<Vec<_>>(), all);
        let different: BTreeSet<[u8; 32]> = digests.values().copied().collect();
        prop_assert_eq!(different.len(), digests.len());
        later.keep_contents(Hashing { reading: Reading::Full, ..Hashing::default() }).unwrap();
        grow(&later);
        prop_assert_eq!(trees(&index), trees(&later));
    }
}

fn commit(index: &Index, world: &mut World, steps: &[Step]) {
    let before = world.clone();
    steps.iter().for_each(|step| world.go(step));
    index.commit(world.since(&before)).unwrap();
}

/// Found by [`trees_follow_rows_and_names`]: what was found of the directory above was of the past, and nobody told it of the one
/// in it.
#[test]
fn a_directory_hears_of_one_in_it_whose_digest_it_was_to_use() {
    let (_folder, index) = made(Reading::Full);
    let mut world = World::default();
    let first = world.rows().into_iter().map(|(n, row)| (id(n), Some(row))).collect();
    index.commit(Edits { plan: Plan { rows: first, ..Plan::default() }, ..Edits::default() }).unwrap();
    commit(&index, &mut world, &[Step::Place(5, 1, 0), Step::Name(5, 24, 0)]);
    let look = || index.read().unwrap().grow().unwrap();
    let take = |grown| index.commit(Edits { grown, ..Edits::default() }).unwrap();
    let before = look();
    commit(&index, &mut world, &[Step::Write(24, Held::Empty)]);
    let after = look();
    take(before);
    take(after);
    grow(&index);
    assert_eq!(trees(&index).into_keys().collect::<Vec<_>>(), [1, 5]);
}

#[test]
fn a_directory_is_looked_through_again_for_what_it_lacked_alone() {
    let (_folder, index) = made(Reading::Full);
    let mut world = World::default();
    index
        .commit(Edits {
            plan: Plan {
                rows: world.rows().into_iter().map(|(n, row)| (id(n), Some(row))).collect(),
                ..Plan::default()
            },
            ..Edits::default()
        })
        .unwrap();
    let due = || index.read().unwrap().count_due_trees().unwrap();
    let (first, second) = (Step::Write(20, Held::Content(1)), Step::Write(21, Held::Content(2)));
    commit(&index, &mut world, &[Step::Place(2, 1, 0), Step::Name(2, 20, 0), Step::Name(2, 21, 1)]);
    grow(&index);
    commit(&index, &mut world, &[second]);
    assert_eq!((due(), trees(&index).len()), (0, 0), "the first file is what it lacks");
    commit(&index, &mut world, &[first]);
    assert_eq!(due(), 1, "and not the directory above it");
    grow(&index);
    assert_eq!(trees(&index).into_keys().collect::<Vec<_>>(), [1, 2]);
    commit(&index, &mut world, &[Step::Write(20, Held::Unread)]);
    assert_eq!((due(), trees(&index).len()), (2, 0), "nothing of the past is left at once");
}
