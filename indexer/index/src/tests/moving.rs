//! A walk of a tree that changes between its steps: whatever it saw makes a lawful index, and the looks that are called
//! for make that exact.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use reconcile::{Batch, Found, Holds, Look, Root, Stored as _, same_entry};
use record::{EntryId, How, Kind, Place, RootId, Stat, Time, Totals};

use super::make::{id, plain, root_row};
use super::seed::{fresh, index};
use crate::{Edits, Index, IndexError, SeedRoot, SeedWorker};

/// One change of the disk, or a step of the walk. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create {
        dir: u8,
        name: u8,
        inode: u8,
        directory: bool,
    },
    Link {
        inode: u8,
        dir: u8,
        name: u8,
    },
    Remove {
        dir: u8,
        name: u8,
    },
    Rename {
        from: (u8, u8),
        to: (u8, u8),
    },
    /// The walk lists a directory.
    List(u8),
}

const TOP: u64 = 1;

#[derive(Clone, Debug)]
struct Inode {
    kind: Kind,
    birth: i128,
    children: BTreeMap<u8, u64>,
}

#[derive(Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    clock: i128,
    /// Directories that are watched, by number and birth.
    armed: BTreeSet<(u64, i128)>,
    hints: BTreeSet<Place>,
}

impl Disk {
    fn new() -> Disk {
        let top = Inode { kind: Kind::Directory, birth: 0, children: BTreeMap::new() };
        Disk { inodes: BTreeMap::from([(TOP, top)]), ..Disk::default() }
    }

    fn dir(&self, choice: u8) -> u64 {
        let dirs: Vec<u64> = self.inodes.keys().copied().filter(|inode| self.is_directory(*inode)).collect();
        dirs[usize::from(choice) % dirs.len()]
    }

    fn is_directory(&self, inode: u64) -> bool {
        self.inodes.get(&inode).is_some_and(|node| node.kind == Kind::Directory)
    }

    fn at(&self, dir: u64, name: u8) -> Option<u64> {
        self.inodes[&dir].children.get(&name).copied()
    }

    fn names_of(&self, of: u64) -> Vec<(u64, u8)> {
        let all = self
            .inodes
            .iter()
            .flat_map(|(dir, node)| node.children.iter().map(move |(name, inode)| (*dir, *name, *inode)));
        all.filter(|(_, _, inode)| *inode == of).map(|(dir, name, _)| (dir, name)).collect()
    }

    fn found(&self, inode: u64) -> Option<Found> {
        let node = self.inodes.get(&inode)?;
        let links = match node.kind {
            Kind::Directory => 2,
            _ => u32::try_from(self.names_of(inode).len()).unwrap(),
        };
        let size = if node.kind == Kind::Directory { 0 } else { 10 };
        let stat = Stat { created: Some(Time(node.birth)), ..plain(node.kind, links, size, node.birth) };
        Some(Found { id: id(inode), stat })
    }

    fn put(&mut self, dir: u64, name: u8, inode: Option<u64>) {
        let birth = self.inodes[&dir].birth;
        // A link count moves with no event that names the others: an indexer looks at all the names it knows.
        let before = self.at(dir, name);
        for inode in before.into_iter().chain(inode) {
            for (dir, name) in self.names_of(inode) {
                self.hints.insert(Place::new(id(dir), &[name]));
            }
        }
        let node = self.inodes.get_mut(&dir).unwrap();
        match inode {
            Some(inode) => drop(node.children.insert(name, inode)),
            None => drop(node.children.remove(&name)),
        }
        if self.armed.contains(&(dir, birth)) {
            self.hints.insert(Place::new(id(dir), &[name]));
        }
    }

    fn remove(&mut self, dir: u64, name: u8) {
        let Some(inode) = self.at(dir, name) else { return };
        for name in self.inodes[&inode].children.keys().copied().collect::<Vec<_>>() {
            self.remove(inode, name);
        }
        self.put(dir, name, None);
        if self.names_of(inode).is_empty() {
            self.inodes.remove(&inode);
        }
    }

    fn is_below(&self, dir: u64, inode: u64) -> bool {
        dir == inode || self.names_of(dir).first().is_some_and(|(up, _)| self.is_below(*up, inode))
    }

    fn apply(&mut self, step: Step) {
        self.clock += 5_000_000;
        match step {
            Step::Create { dir, name, inode, directory } => {
                let (dir, inode) = (self.dir(dir), u64::from(inode) + TOP + 1);
                if !self.inodes.contains_key(&inode) && self.at(dir, name).is_none() {
                    let kind = if directory { Kind::Directory } else { Kind::File };
                    let made = Inode { kind, birth: self.clock, children: BTreeMap::new() };
                    self.inodes.insert(inode, made);
                    self.put(dir, name, Some(inode));
                }
            }
            Step::Link { inode, dir, name } => {
                let (dir, inode) = (self.dir(dir), u64::from(inode) + TOP + 1);
                if self.inodes.get(&inode).is_some_and(|node| node.kind == Kind::File)
                    && self.at(dir, name).is_none()
                {
                    self.put(dir, name, Some(inode));
                }
            }
            Step::Remove { dir, name } => self.remove(self.dir(dir), name),
            Step::Rename { from, to } => {
                let (from, to) = ((self.dir(from.0), from.1), (self.dir(to.0), to.1));
                let Some(inode) = self.at(from.0, from.1) else { return };
                if self.is_below(to.0, inode) || self.at(to.0, to.1) == Some(inode) {
                    return;
                }
                if let Some(victim) = self.at(to.0, to.1) {
                    if self.is_directory(victim) != self.is_directory(inode)
                        || !self.inodes[&victim].children.is_empty()
                    {
                        return;
                    }
                    self.remove(to.0, to.1);
                }
                self.put(from.0, from.1, None);
                self.put(to.0, to.1, Some(inode));
            }
            Step::List(_) => {}
        }
    }
}

/// A directory that the walk is in, or will be.
struct Visit {
    inode: u64,
    above: Option<usize>,
    /// What it takes itself, as its parent's listing had it.
    own: Totals,
    below: Totals,
}

/// The walk, as the engine's visitor is shown it.
struct Walk {
    visits: Vec<Visit>,
    waiting: VecDeque<usize>,
    worker: SeedWorker,
}

const ROOT: RootId = RootId(1);

impl Walk {
    fn new(disk: &Disk, worker: SeedWorker) -> Walk {
        let top = Visit {
            inode: TOP,
            above: None,
            own: Totals::of(&disk.found(TOP).unwrap().stat),
            below: Totals::default(),
        };
        let mut walk = Walk { visits: vec![top], waiting: VecDeque::from([0]), worker };
        walk.worker.entry(ROOT, id(TOP), &disk.found(TOP).unwrap().stat, None, Time(0)).unwrap();
        walk
    }

    /// Lists one of the directories that wait.
    fn list(&mut self, disk: &mut Disk, choice: u8) {
        if self.waiting.is_empty() {
            return;
        }
        let at = self.waiting.remove(usize::from(choice) % self.waiting.len()).unwrap();
        let inode = self.visits[at].inode;
        if !disk.is_directory(inode) {
            return;
        }
        let node = disk.inodes[&inode].clone();
        disk.armed.insert((inode, node.birth));
        disk.clock += 5_000_000;
        for (name, child) in node.children {
            let found = disk.found(child).unwrap();
            let place = Some((id(inode), &[name][..]));
            self.worker.entry(ROOT, found.id, &found.stat, place, Time(disk.clock)).unwrap();
            let own = Totals::of(&found.stat);
            if found.stat.is_directory() {
                self.waiting.push_back(self.visits.len());
                self.visits.push(Visit { inode: child, above: Some(at), own, below: Totals::default() });
            } else if SeedWorker::counts(&found.stat) {
                self.visits[at].below.add(&own);
            }
        }
    }

    fn finish(mut self, disk: &mut Disk) -> SeedWorker {
        while !self.waiting.is_empty() {
            self.list(disk, 0);
        }
        for at in (0..self.visits.len()).rev() {
            let mut whole = self.visits[at].below;
            whole.add(&self.visits[at].own);
            if let Some(above) = self.visits[at].above {
                self.visits[above].below.add(&whole);
            }
            self.worker.totals(id(self.visits[at].inode), &whole).unwrap();
        }
        self.worker
    }
}

/// Looks at names, and in directories that are new by that.
fn look(disk: &Disk, index: &Index, roots: &[Root], places: &BTreeSet<Place>) {
    let reader = index.read().unwrap();
    let mut batch = Batch::new(&reader, roots);
    let look = Look::plain(Time(disk.clock), How::Sweep);
    let mut todo: Vec<Place> = places.iter().cloned().collect();
    loop {
        while let Some(place) = todo.pop() {
            let Some(row) = batch.row_of(place.dir).unwrap() else { continue };
            let Some(here) = disk.found(place.dir.inode).filter(|found| found.stat.is_directory()) else {
                continue;
            };
            if !same_entry(&row, &here.stat) {
                continue;
            }
            let found = disk.at(place.dir.inode, place.name[0]).and_then(|inode| disk.found(inode));
            let decision = batch.name(place.dir, &place.name, found, &look).unwrap();
            if let Some(found) = found.filter(|found| found.stat.is_directory())
                && matches!(
                    decision,
                    reconcile::Decision::Gain | reconcile::Decision::Relink | reconcile::Decision::Recycle
                )
            {
                todo.extend((b'a'..=b'd').map(|name| Place::new(found.id, &[name])));
            }
        }
        todo.extend(batch.take_stale().into_iter().map(|(place, _)| place));
        if todo.is_empty() {
            break;
        }
    }
    let plan = batch.finish(Holds::End, usize::MAX).unwrap().plan;
    index.commit(Edits { plan, ..Edits::default() }).unwrap();
}

/// Which names there are, and for what.
fn names(index: &Index) -> BTreeMap<Place, EntryId> {
    let mut names = BTreeMap::new();
    let reader = index.read().unwrap();
    reader
        .each_name::<IndexError>(|dir, name, target| {
            names.insert(Place::new(dir, name), target.id);
            Ok(true)
        })
        .unwrap();
    names
}

fn step() -> impl Strategy<Value = Step> {
    let dir = || 0..5u8;
    let name = || b'a'..=b'd';
    prop_oneof![
        6 => (dir(), name(), 0..6u8, prop::bool::weighted(0.7))
            .prop_map(|(dir, name, inode, directory)| Step::Create { dir, name, inode, directory }),
        1 => (0..6u8, dir(), name()).prop_map(|(inode, dir, name)| Step::Link { inode, dir, name }),
        3 => (dir(), name()).prop_map(|(dir, name)| Step::Remove { dir, name }),
        6 => ((dir(), name()), (dir(), name())).prop_map(|(from, to)| Step::Rename { from, to }),
        4 => any::<u8>().prop_map(Step::List),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_that_moves_under_the_walk_makes_a_lawful_index(
        before in prop::collection::vec(step(), 0..15),
        during in prop::collection::vec(step(), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let index = index(folder.path(), "index");
        let mut disk = Disk::new();
        for step in before {
            disk.apply(step);
        }
        disk.hints.clear();
        let seed = fresh(folder.path().join("runs"), 1 << 12);
        let mut walk = Walk::new(&disk, seed.worker());
        for step in during {
            match step {
                Step::List(choice) => walk.list(&mut disk, choice),
                step => disk.apply(step),
            }
        }
        seed.finish(walk.finish(&mut disk));
        let row = root_row(1, id(TOP));
        let roots = [Root { id: ROOT, top: id(TOP), path: row.path.clone() }];
        let loaded = index.load(seed, vec![SeedRoot { row, seen: Time(9) }], Edits::default()).unwrap();
        let check = index.read().unwrap().check().unwrap();
        prop_assert_eq!(&check.faults, &[]);
        prop_assert!(matches!(&loaded.records[0].body, record::Body::Seeded(seeded) if seeded.entries == check.entries));

        let mut hints = std::mem::take(&mut disk.hints);
        hints.extend(loaded.left_out);
        hints.extend(loaded.mixed.into_iter().flat_map(|dir| (b'a'..=b'd').map(move |name| Place::new(dir, &[name]))));
        // What cannot be opened yet is tried again when other looks made its place known.
        for _ in 0..6 {
            look(&disk, &index, &roots, &hints);
            prop_assert_eq!(index.read().unwrap().check().unwrap().faults, []);
        }
        let mut there = BTreeMap::new();
        for (dir, node) in &disk.inodes {
            there.extend(node.children.iter().map(|(name, inode)| (Place::new(id(*dir), &[*name]), id(*inode))));
        }
        prop_assert_eq!(names(&index), there);
        let reader = index.read().unwrap();
        for inode in disk.inodes.keys() {
            let row = reader.row(id(*inode)).unwrap().unwrap();
            prop_assert!(same_entry(&row, &disk.found(*inode).unwrap().stat), "{inode}");
        }
        let rows = reader.check().unwrap().entries;
        prop_assert_eq!(rows, disk.inodes.len() as u64);
    }
}
