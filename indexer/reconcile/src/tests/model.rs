//! Properties: whatever happens on a small disk, looking at what was touched makes the rows equal to it,
//! and the records tell a reader the same.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;
use record::{EntryId, How, Place, RootId, Row};

use super::disk::{Disk, Op, TOPS, Touched, id, place};
use super::memory::Memory;
use super::order;
use super::replica::Replica;
use crate::{Batch, Decision, Finished, Found, Holds, Look, Root, Target};

/// One step of a history: the disk changes, what was touched is looked at, or a transaction ends.
#[derive(Clone, Copy, Debug)]
enum Step {
    Disk(Op),
    /// A single name is looked at, for no reason, for a write (`writer` 1) or for a close (2).
    Glance {
        dir: u8,
        name: u8,
        writer: u8,
    },
    /// All that was touched so far is looked at, in this batch.
    Look,
    /// The batch is committed; entries without a name wait.
    Commit,
    /// The queue has drained: waits end.
    End,
}

const NAMES: [u8; 4] = *b"abcd";

/// A look made: what was found where.
type Made = (Place, Option<Found>, Look);

/// Disk, index, and a reader of the journal.
struct World {
    disk: Disk,
    memory: Memory,
    replica: Replica,
    roots: Vec<Root>,
    touched: Touched,
    held: Vec<(EntryId, Option<Place>)>,
    unfinished: Vec<Place>,
    limit: usize,
    ticks: i128,
}

impl World {
    fn new() -> World {
        let disk = Disk::new();
        let mut memory = Memory::default();
        let mut roots = Vec::new();
        for top in TOPS {
            let found = disk.found(id(top)).unwrap();
            memory.rows.insert(found.id, Row::new(found.stat, disk.now()));
            let path = format!("/{top}").into_bytes().into();
            roots.push(Root { id: RootId(u32::try_from(top).unwrap()), top: found.id, path });
        }
        memory.totals = memory.sums();
        let replica = Replica::of(&memory);
        let held = Vec::new();
        let unfinished = Vec::new();
        World {
            disk,
            memory,
            replica,
            roots,
            touched: Touched::default(),
            held,
            unfinished,
            limit: usize::MAX,
            ticks: 0,
        }
    }

    fn plain(&self) -> Look {
        Look::plain(self.disk.now(), How::Sweep)
    }

    fn touch(&mut self, op: Op) {
        let Touched { dirs, places, inodes, made } = self.disk.apply(op);
        self.touched.inodes.extend(inodes);
        self.touched.made.extend(made);
        self.touched.dirs.extend(dirs);
        self.touched.places.extend(places);
    }

    fn commit(&mut self, finished: Finished) {
        let Finished { plan, held, aside: _, unfinished, writing: _, doubted: _ } = finished;
        self.held = held.into_iter().map(|held| (held.id, held.place)).collect();
        self.unfinished.extend(unfinished);
        let records = self.memory.apply(plan);
        order::check(&records, &self.replica);
        for record in &records {
            self.replica.apply(record);
        }
        self.memory.check(&self.roots);
        self.replica.check(&self.memory, &|| format!("{:?}", order::tell(&records)));
    }

    /// Runs `looks` as one batch, with the re-looks it asks for.
    fn batch(&mut self, holds: Holds, looks: impl FnOnce(&Disk, &mut Batch<'_, &Memory>, &Look)) {
        self.ticks += 1;
        let look = self.plain();
        let mut batch = Batch::new(&self.memory, &self.roots);
        let waiting = std::mem::take(&mut self.held);
        let unfinished = std::mem::take(&mut self.unfinished);
        for place in unfinished {
            look_at(&self.disk, &mut batch, &place, &look);
        }
        looks(&self.disk, &mut batch, &look);
        for (entry, place) in waiting {
            match place {
                Some(place) => {
                    look_at(&self.disk, &mut batch, &place, &look);
                    look_in(&self.disk, &mut batch, place.dir, &look);
                }
                None if holds == Holds::End => batch.release(entry, &look).unwrap(),
                None => batch.witness(entry, &look).unwrap(),
            }
        }
        stale(&self.disk, &mut batch, &look);
        let waits: Vec<EntryId> = self.memory.detached.keys().copied().collect();
        let finished = batch.finish(holds, self.limit).unwrap();
        self.commit(finished);
        for entry in waits {
            let known = self.held.iter().any(|(held, _)| *held == entry);
            if !known && self.memory.detached.contains_key(&entry) {
                self.held.push((entry, None));
            }
        }
    }

    fn look_at_touched(&mut self, holds: Holds) {
        let Touched { dirs, places, inodes, made } = std::mem::take(&mut self.touched);
        self.batch(holds, |disk, batch, look| {
            for dir in &dirs {
                look_in(disk, batch, *dir, look);
            }
            for place in &places {
                look_at(disk, batch, place, look);
            }
            for entry in &inodes {
                // Through a name of it that is still there, whichever the index has.
                for place in batch.names_of(*entry).unwrap() {
                    look_at(disk, batch, &place, look);
                }
            }
            for dir in &made {
                for place in all_in(disk, batch, *dir) {
                    look_at(disk, batch, &place, look);
                }
            }
        });
    }

    /// Goes on until nothing waits and nothing is unfinished.
    fn drain(&mut self) {
        for turn in 0.. {
            self.look_at_touched(Holds::End);
            if self.held.is_empty() && self.unfinished.is_empty() {
                return;
            }
            assert!(turn < 100, "looking again ends: {:?} {:?}", self.held, self.unfinished);
        }
    }

    /// Looks at every name there is or is stored, from the tops down.
    fn sweep(&mut self, holds: Holds) {
        let memory = self.memory.clone();
        self.batch(holds, |disk, batch, look| {
            let mut queue: VecDeque<EntryId> = TOPS.into_iter().map(id).collect();
            while let Some(dir) = queue.pop_front() {
                look_in(disk, batch, dir, look);
                for place in everything_in(disk, &memory, dir) {
                    look_at(disk, batch, &place, look);
                    let child = disk.look(&place).flatten();
                    queue.extend(child.filter(|child| child.stat.is_directory()).map(|child| child.id));
                }
            }
        });
    }

    fn sweep_until_quiet(&mut self) {
        self.sweep(Holds::End);
        for turn in 0.. {
            if self.held.is_empty() && self.unfinished.is_empty() {
                return;
            }
            self.sweep(Holds::End);
            assert!(turn < 100, "sweeping ends");
        }
    }

    /// R1: rows, names and links are what the disk has.
    fn check_exact(&self) {
        let live: Vec<EntryId> = self.disk.live().collect();
        let known: Vec<EntryId> = self.memory.rows.keys().copied().collect();
        assert_eq!(known, live, "R1: the entries");
        for entry in live {
            assert_eq!(self.memory.names_of(entry), self.disk.names_of(entry), "R1: the names of {entry}");
            let seen = self.disk.found(entry).unwrap().stat;
            let stored = self.memory.rows[&entry].stat;
            assert!(stored.same(&seen), "R1: the stat of {entry}: {stored:?} {seen:?}");
        }
        assert!(self.memory.detached.is_empty(), "nothing waits");
    }

    /// R2: looking again at everything changes nothing.
    fn check_idle(&mut self) {
        let before = self.memory.clone();
        self.sweep(Holds::End);
        assert_eq!(self.memory, before, "R2: looking again changes nothing");
    }
}

fn everything_in(disk: &Disk, memory: &Memory, dir: EntryId) -> BTreeSet<Place> {
    let stored = memory.names.keys().filter(|place| place.dir == dir).cloned();
    stored.chain(disk.children(dir)).collect()
}

/// A look at a directory's own stat.
fn look_in(disk: &Disk, batch: &mut Batch<'_, &Memory>, dir: EntryId, look: &Look) {
    if let Some(found) = disk.found(dir) {
        batch.entry(&found, look).unwrap();
    }
}

/// A look at one name. What cannot be opened is left alone, what the index does not know waits for its
/// own name, and a directory that is new here is listed: all as the indexer does.
fn look_at(disk: &Disk, batch: &mut Batch<'_, &Memory>, place: &Place, look: &Look) {
    let mut todo = vec![place.clone()];
    while let Some(place) = todo.pop() {
        let Some(found) = disk.look(&place) else { continue };
        let Some(dir) = batch.row_of(place.dir).unwrap() else { continue };
        let here = disk.found(place.dir).unwrap();
        if !crate::same_entry(&dir, &here.stat) {
            continue;
        }
        let decision = batch.name(place.dir, &place.name, found, look).unwrap();
        if let (Decision::Gain | Decision::Relink | Decision::Recycle, Some(found)) = (decision, found)
            && found.stat.is_directory()
        {
            look_in(disk, batch, found.id, look);
            todo.extend(all_in(disk, batch, found.id));
        }
    }
}

/// Names in a directory, on the disk or in the batch.
fn all_in(disk: &Disk, batch: &Batch<'_, &Memory>, dir: EntryId) -> BTreeSet<Place> {
    let all = NAMES.map(|name| place(dir.inode, name));
    let known = all.into_iter().filter(|place| batch.owner(place).unwrap().is_some());
    known.chain(disk.children(dir)).collect()
}

fn stale(disk: &Disk, batch: &mut Batch<'_, &Memory>, look: &Look) {
    for turn in 0.. {
        let stale = batch.take_stale();
        if stale.is_empty() {
            return;
        }
        for (place, _) in stale {
            look_at(disk, batch, &place, look);
        }
        assert!(turn < 100, "re-looks end");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let dir = || 0..5u8;
    let name = || b'a'..=b'd';
    let inode = || 0..6u8;
    let at = || (dir(), name());
    prop_oneof![
        6 => (dir(), name(), inode(), any::<bool>())
            .prop_map(|(dir, name, inode, directory)| Op::Create { dir, name, inode, directory }),
        2 => inode().prop_map(|inode| Op::Write { inode }),
        1 => inode().prop_map(|inode| Op::Chmod { inode }),
        3 => (inode(), dir(), name()).prop_map(|(inode, dir, name)| Op::Link { inode, dir, name }),
        3 => (dir(), name()).prop_map(|(dir, name)| Op::Remove { dir, name }),
        6 => (at(), at()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => (at(), at()).prop_map(|(one, other)| Op::Exchange { one, other }),
        1 => Just(Op::Tick),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => op().prop_map(Step::Disk),
        2 => (0..8u8, b'a'..=b'd', 0..3u8).prop_map(|(dir, name, writer)| Step::Glance { dir, name, writer }),
        2 => Just(Step::Look),
        1 => Just(Step::Commit),
        1 => Just(Step::End),
    ]
}

/// Runs a history in which hints are kept or lost, with batches where the steps say.
fn run(steps: &[Step], limit: usize) -> World {
    let mut world = World::new();
    world.limit = limit;
    for step in steps {
        match *step {
            Step::Disk(op) => world.touch(op),
            Step::Glance { dir, name, writer } => {
                let place = place(u64::from(dir) + 1, name);
                world.batch(Holds::Keep, |disk, batch, look| {
                    let look = Look { written: writer == 1, closed: writer == 2, ..*look };
                    look_at(disk, batch, &place, &look);
                });
            }
            Step::Look | Step::Commit => world.look_at_touched(Holds::Keep),
            Step::End => world.look_at_touched(Holds::End),
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1500), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// R1, R2, R5 and totals: every change is hinted at, batches end anywhere.
    #[test]
    fn r1_rows_equal_the_disk_after_looking_at_what_was_touched(
        steps in prop::collection::vec(step(), 1..40),
        limit in prop_oneof![Just(usize::MAX), Just(1), Just(4)],
    ) {
        let mut world = run(&steps, limit);
        world.drain();
        world.check_exact();
        world.check_idle();
    }

    /// R6: one batch for everything, or a batch for each change.
    #[test]
    fn r6_one_batch_or_many_make_the_same_rows(ops in prop::collection::vec(op(), 1..30)) {
        let mut one = World::new();
        let mut many = World::new();
        for op in &ops {
            one.touch(*op);
            many.touch(*op);
            many.look_at_touched(Holds::Keep);
        }
        one.drain();
        many.drain();
        one.check_exact();
        many.check_exact();
        prop_assert_eq!(one.memory.timeless(), many.memory.timeless());
    }

    /// R3: looks get lost, come twice and in any order, with what they saw long ago; one sweep mends all.
    #[test]
    fn r3_old_looks_in_any_order_are_mended_by_one_sweep(
        ops in prop::collection::vec(op(), 1..30),
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..60),
    ) {
        let mut world = World::new();
        let mut made: Vec<Made> = Vec::new();
        for (nth, op) in ops.iter().enumerate() {
            let touched = world.disk.apply(*op);
            let look = Look { written: nth % 3 == 1, closed: nth % 5 == 2, ..world.plain() };
            for place in touched.places {
                made.extend(world.disk.look(&place).map(|found| (place, found, look)));
            }
        }
        let mut deliver: Vec<Vec<Made>> = vec![Vec::new()];
        for (pick, end) in &picks {
            if !made.is_empty() {
                deliver.last_mut().unwrap().push(pick.get(&made).clone());
            }
            if *end == 0 {
                deliver.push(Vec::new());
            }
        }
        for (nth, looks) in deliver.iter().enumerate() {
            let mut batch = Batch::new(&world.memory, &world.roots);
            for (place, found, look) in looks {
                // A look is made in a directory that the index knows, whichever entry that was by then.
                let known = batch.row_of(place.dir).unwrap().is_some_and(|row| row.stat.is_directory());
                let reached = world.roots.iter().any(|root| root.top == place.dir)
                    || !batch.names_of(place.dir).unwrap().is_empty();
                if known && reached {
                    batch.name(place.dir, &place.name, *found, look).unwrap();
                }
            }
            let holds = if nth % 2 == 0 { Holds::Keep } else { Holds::End };
            let finished = batch.finish(holds, usize::MAX).unwrap();
            world.commit(finished);
            for entry in world.memory.detached.keys() {
                world.held.push((*entry, None));
            }
        }
        world.sweep_until_quiet();
        world.check_exact();
        world.check_idle();
    }
}

/// A name that stands for a directory says so, whatever was there before.
#[test]
fn a_target_tells_directories_apart() {
    let mut world = World::new();
    world.touch(Op::Create { dir: 0, name: b'a', inode: 0, directory: true });
    world.drain();
    assert_eq!(world.memory.names[&Place::new(id(1), b"a")], Target { id: id(3), directory: true });
}

/// Sums that an index has under the number of a file go to no directory that gets the number.
#[test]
fn sums_by_the_number_of_a_file_are_not_inherited() {
    let mut world = World::new();
    world.touch(Op::Create { dir: 0, name: b'a', inode: 0, directory: false });
    world.drain();
    let stale = world.memory.totals[&id(1)];
    world.memory.totals.insert(id(3), stale);
    world.touch(Op::Tick);
    world.touch(Op::Remove { dir: 0, name: b'a' });
    world.touch(Op::Create { dir: 0, name: b'b', inode: 0, directory: true });
    world.drain();
    world.check_exact();
}
