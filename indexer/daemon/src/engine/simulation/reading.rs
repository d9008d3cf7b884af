//! Readers of contents in a simulated life: the real ones, on the simulated disk, one file after another, with programs and the
//! engine at work between any two of their steps. Knows what is in each file, and judges what the index says of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use index::{IndexError, Reader};
use reconcile::Stored as _;
use record::{Digest, DigestKind, EntryId, Hashing, Kind, Reading, Stat, Time};
use rehash::{
    Algorithm, Closed, Eye, Found, GRAIN_NS, How, Known, Meter, Opened, Opener, Pace, Proof, Shelf,
    ShelfError, Turn, Work,
};

use super::contents::bytes_of;
use super::model::{Key, Model};
use super::run::{Done, PowerLoss, Simulation};
use super::world::World;
use crate::engine::EngineShelf;
use crate::engine::core::Core;
use crate::engine::ground::Clock as _;

/// How often files that wait are tried: one that is being written is not read, and comes again.
const MOST_TURNS: usize = 8;

/// The engine's own shelf, but that what is found goes to the engine at once, which is on this thread.
struct Beside<'a> {
    shelf: EngineShelf,
    world: &'a World,
    core: Mutex<&'a mut Core>,
    /// Programs and the engine work meanwhile.
    busy: bool,
    /// The daemon is killed instead of the next delivery.
    kill: AtomicBool,
    /// A change time lay ahead of the clock: whoever looked waits before the next look.
    changed: Mutex<Option<Time>>,
    ahead: AtomicBool,
}

impl<'a> Beside<'a> {
    fn new(world: &'a World, core: &'a mut Core, busy: bool) -> Beside<'a> {
        Beside {
            shelf: EngineShelf::new(&core.shared),
            world,
            core: Mutex::new(core),
            busy,
            kill: AtomicBool::new(false),
            changed: Mutex::new(None),
            ahead: AtomicBool::new(false),
        }
    }

    fn core(&self) -> MutexGuard<'_, &'a mut Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In so many of 100 cases something happens between two steps.
    fn chance(&self, percent: u64) -> bool {
        self.busy && self.world.lock().contents(|contents| contents.rng.chance(percent))
    }

    /// Others are first.
    fn others(&self) -> Result<(), ShelfError> {
        if self.chance(20) {
            self.world.lock().work_if_left(2);
        }
        if self.chance(15) {
            self.world.lock().deliver(4);
            let now = self.world.instant();
            let mut core = self.core();
            core.due_writing(now, false);
            core.step().map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ShelfError {
    ShelfError(Box::new(error))
}

impl Eye for Beside<'_> {
    fn look(&self, file: &File) -> io::Result<Stat> {
        if self.ahead.swap(false, Ordering::Relaxed) {
            self.world.rest(Duration::from_nanos(GRAIN_NS as u64));
        }
        if self.chance(10) {
            self.world.lock().work_if_left(1);
        }
        let stat = self.shelf.look(file)?;
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(stat.changed);
        if self.chance(5) {
            self.world.lock().begin_write(file.as_raw_fd());
        }
        Ok(stat)
    }

    fn now(&self) -> Time {
        let now = self.shelf.now();
        let changed = *self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        self.ahead.store(changed.is_some_and(|changed| changed > now), Ordering::Relaxed);
        if self.chance(10) {
            self.world.lock().work_if_left(1);
        }
        now
    }

    fn has_writer(&self, file: &File) -> Option<bool> {
        self.shelf.has_writer(file)
    }
}

impl Shelf for Beside<'_> {
    fn hashing(&self) -> Result<Hashing, ShelfError> {
        self.shelf.hashing()
    }

    fn waiting(&self, from: EntryId, most: usize) -> Result<Vec<(EntryId, Time)>, ShelfError> {
        self.shelf.waiting(from, most)
    }

    fn by_size(&self, after: (u64, EntryId), most: usize) -> Result<Vec<(u64, EntryId)>, ShelfError> {
        self.shelf.by_size(after, most)
    }

    fn of_size(&self, size: u64) -> Result<Vec<EntryId>, ShelfError> {
        self.shelf.of_size(size)
    }

    fn known(&self, ids: &[EntryId]) -> Result<Vec<Option<Known>>, ShelfError> {
        self.shelf.known(ids)
    }

    fn unproved(&self, time: Time, from: EntryId, most: usize) -> Result<Vec<EntryId>, ShelfError> {
        self.shelf.unproved(time, from, most)
    }

    fn opener(&self) -> Box<dyn Opener + '_> {
        Box::new(OpenerBeside { beside: self, opener: self.shelf.opener() })
    }

    fn deliver(&self, found: &[Found]) -> Result<Vec<bool>, ShelfError> {
        self.others()?;
        self.world.lock().model.note(|_| format!("  found {found:?}"));
        if self.kill.load(Ordering::Relaxed) {
            return Err(failed(io::Error::other("killed")));
        }
        let findings = self.shelf.findings(found)?;
        if findings.is_empty() {
            return Ok(Vec::new());
        }
        self.core().take_contents(findings).map_err(failed)
    }
}

struct OpenerBeside<'a, 'b> {
    beside: &'a Beside<'b>,
    opener: Box<dyn Opener + 'a>,
}

impl Opener for OpenerBeside<'_, '_> {
    fn open(&mut self, id: EntryId) -> Result<Opened, Closed> {
        let refused = |error: ShelfError| Closed::Refused(io::Error::other(error.to_string()));
        self.beside.others().map_err(refused)?;
        let opened = self.opener.open(id);
        self.beside.world.lock().model.note(|_| format!("  open {id}: {opened:?}"));
        if self.beside.chance(10) {
            self.beside.world.lock().work_if_left(2);
        }
        opened
    }
}

/// What a content has for a digest: made by the readers' own hash, which is proven elsewhere.
#[derive(Default)]
pub(super) struct Digests(BTreeMap<(u64, u64, u8), Digest>);

impl Digests {
    fn of(&mut self, kind: DigestKind, content: u64, size: u64) -> Digest {
        *self.0.entry((content, size, kind as u8)).or_insert_with(|| {
            let algorithm =
                if kind == DigestKind::Blake2b256 { Algorithm::Blake2b256 } else { Algorithm::Blake3 };
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, &bytes_of(content, size)).unwrap();
            let how = How { algorithm, ..How::default() };
            let read = rehash::read(&file, how, &Later, &mut |_| std::ops::ControlFlow::Continue(()));
            read.unwrap().digest
        })
    }
}

/// An eye that finds nothing too young.
struct Later;

impl Eye for Later {
    fn look(&self, file: &File) -> io::Result<Stat> {
        Ok(scan::look_self(std::os::fd::AsFd::as_fd(file))?.stat)
    }

    fn now(&self) -> Time {
        Time(Time::now().0 + 10_000_000_000)
    }
    fn has_writer(&self, _: &File) -> Option<bool> {
        None
    }
}

impl Simulation {
    /// Readers do some of what is to be done.
    pub(super) fn read_some(&mut self) -> Done<()> {
        let (all, kill) = {
            let mut state = self.world.lock();
            state.contents(|contents| (contents.rng.chance(30), contents.rng.chance(4)))
        };
        self.note(if all { "read all" } else { "read what waits" });
        let done = self.work(true, kill, |work| if all { work.backlog() } else { work.fresh() });
        if kill && done.is_err() && !self.is_off() {
            self.note("kill");
            return self.start();
        }
        done.map(drop)
    }

    /// Calls readers; an error is that of the store, or the kill.
    fn work<T>(
        &mut self,
        busy: bool,
        kill: bool,
        call: impl FnOnce(&mut Work<'_>) -> Result<T, ShelfError>,
    ) -> Done<T> {
        let done = {
            let (core, _) = self.daemon.as_mut().unwrap();
            let beside = Beside::new(&self.world, core, busy);
            beside.kill.store(kill, Ordering::Relaxed);
            let (pace, stop, meter) = (Pace::new(None), AtomicBool::new(false), Meter::default());
            call(&mut Work::new(&beside, &pace, &stop, &meter, 1))
        };
        match done {
            Ok(done) => {
                self.read_journal();
                self.check_digests();
                Ok(done)
            }
            Err(_) if kill || self.is_off() => Err(PowerLoss),
            Err(error) => panic!("reading: {error}"),
        }
    }

    /// All is quiet: readers do all that is to be done.
    pub(super) fn read_all(&mut self, again: bool) -> Done<()> {
        if self.hashing() == Reading::None {
            return Ok(());
        }
        self.note("read all that is left");
        if again || self.behind {
            self.work(false, false, |work| {
                while work.backlog()? == Turn::More {}
                Ok(())
            })?;
            self.behind = false;
        }
        for _ in 0..MOST_TURNS {
            self.world.rest(Duration::from_secs(3));
            self.call("step", |core| {
                let now = core.shared.ground.clock.instant();
                core.due_writing(now, false);
                core.work_off(None)
            })?;
            if self.work(false, false, |work| work.fresh())? != Turn::More {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn hashing(&self) -> Reading {
        self.daemon.as_ref().unwrap().1.index.read().unwrap().hashing().unwrap().reading
    }

    /// A digest in the index is that of what the file had in it while its stat was the stored one.
    pub(super) fn check_digests(&mut self) {
        let shared = &self.daemon.as_ref().unwrap().1;
        let (reader, pending) = (shared.index.read().unwrap(), &shared.pending);
        let mut digests = std::mem::take(&mut self.digests);
        let state = self.world.lock();
        let model = &state.model;
        let mut found = Vec::new();
        each_digest(&reader, |id, stat, digest, carried| {
            let held = model.held(id.inode, stat);
            let right = held.iter().any(|content| digests.of(digest.kind, *content, stat.size) == digest);
            // What was carried before a word came that was late is read again: the word is on its way, or the file waits.
            let late = pending.mentions(id) || model.queue.tells_of_a_write(id.inode);
            let doubted = carried && (late || reader.is_pending(id).unwrap() || model.is_sly(id.inode, stat));
            if !right && !doubted && !model.is_unknowable(id.inode, stat) {
                found.push(format!(
                    "{id} {stat:?} had {held:?}, and that is not {digest:?} (carried: {carried})"
                ));
            }
        });
        drop(state);
        self.digests = digests;
        assert!(found.is_empty(), "R1, contents: {found:#?}");
    }

    /// All is quiet and all was read: every file that is wanted has the digest of what is in it.
    pub(super) fn check_read(&mut self) {
        self.check_digests();
        let reading = self.hashing();
        let hashing = self.daemon.as_ref().unwrap().1.index.read().unwrap().hashing().unwrap();
        let tops = self.tops();
        let reader = self.daemon.as_ref().unwrap().1.index.read().unwrap();
        let mut digests = std::mem::take(&mut self.digests);
        let state = self.world.lock();
        let model = &state.model;
        let mut found = Vec::new();
        let mut sets: BTreeMap<[u8; 32], Vec<(EntryId, bool)>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        each_digest(&reader, |id, _, digest, _| _ = known.insert(id, digest));
        let mut files: Vec<(EntryId, Key)> = super::oracle::files(model, &tops);
        files.retain(|(id, key)| {
            let open = model.opens.iter().any(|open| open.object == *key);
            !open && !model.is_unknowable(id.inode, &model.stat(*key))
        });
        for (id, key) in &files {
            let object = model.get(*key);
            let is = digests.of(hashing.kind, object.content, object.size);
            let digest = known.get(id);
            if let Some(digest) = digest.filter(|digest| digest.kind == is.kind && **digest != is) {
                found.push(format!(
                    "{} has {} in it, and that is not {digest:?}",
                    model.show(*key),
                    object.content
                ));
            }
            let has = digest.is_some_and(|digest| hashing.is_enough(*digest));
            if reading == Reading::Full && !has {
                let waits = reader.is_pending(*id).unwrap();
                let row = reader.row(*id).unwrap().map(|row| (row.writing, row.digest));
                found.push(format!("{} has no digest: waits {waits}, {row:?}", model.show(*key)));
            }
            sets.entry(is.bytes).or_default().push((*id, has));
        }
        if reading == Reading::Candidates {
            let open = sets.values().filter(|set| set.len() > 1).flatten().filter(|(_, has)| !has);
            found.extend(open.map(|(id, _)| {
                let row = reader.row(*id).unwrap().map(|row| (row.writing, row.digest));
                format!(
                    "{id} has an equal, and no digest: waits {}, {row:?}",
                    reader.is_pending(*id).unwrap()
                )
            }));
        }
        drop(state);
        self.digests = digests;
        assert!(found.is_empty(), "contents, after all was read: {found:#?}");
    }

    /// What is read again is what it was, but what rots.
    pub(super) fn scrub(&mut self) -> Done<()> {
        let reader = self.daemon.as_ref().unwrap().1.index.read().unwrap();
        let mut known = BTreeMap::new();
        each_digest(&reader, |id, _, digest, _| _ = known.insert(id, digest));
        drop(reader);
        let tops = self.tops();
        let (key, rotten) = {
            let mut state = self.world.lock();
            let model = &state.model;
            let mut files = super::oracle::files(model, &tops);
            files.retain(|(id, key)| {
                let open = model.opens.iter().any(|open| open.object == *key);
                !open && known.contains_key(id) && !model.is_unknowable(id.inode, &model.stat(*key))
            });
            if files.is_empty() {
                return Ok(());
            }
            let (id, key) = state.contents(|contents| contents.rng.pick(&files));
            let before = (state.model.get(key).content, state.model.get(key).size);
            state.model.rot(key);
            state.refresh();
            let after = (state.model.get(key).content, state.model.get(key).size);
            let differs = bytes_of(before.0, before.1) != bytes_of(after.0, after.1);
            (key, differs.then_some(id))
        };
        self.note("scrub");
        // One that was just written is too young.
        self.world.rest(Duration::from_secs(3));
        let (mut told, mut proofs) = (Vec::new(), Vec::new());
        let all = |_| Ok(true);
        let done = self.work(false, false, |work| {
            work.scrub(Time(i128::MAX), &all, &mut |id, proof| {
                proofs.push((id, proof.clone()));
                if matches!(proof, Proof::Rotten { .. }) {
                    told.push(id);
                }
                true
            })
        });
        let mut state = self.world.lock();
        if done.is_err() {
            // It may be told or not.
            state.model.give_up(key);
            return Err(PowerLoss);
        }
        let sure = |id: &EntryId| {
            let key = super::oracle::files(&state.model, &tops).into_iter().find(|(file, _)| file == id);
            key.is_none_or(|(id, key)| !state.model.is_unknowable(id.inode, &state.model.stat(key)))
        };
        told.retain(sure);
        assert_eq!(told, Vec::from_iter(rotten), "what rotted is told, and nothing else: {proofs:?}");
        Ok(())
    }
}

/// Every current digest: its file, the stat that is stored, and whether it was carried.
fn each_digest(reader: &Reader, mut each: impl FnMut(EntryId, &Stat, Digest, bool)) {
    reader
        .each_row::<IndexError>(|id, row| {
            if let Some(digest) = row.current_digest().filter(|_| row.stat.kind == Kind::File) {
                each(id, &row.stat, digest, row.digest.is_some_and(|stored| stored.carried));
            }
            Ok(true)
        })
        .unwrap();
}

/// What reading is asked for at a start, by the numbers of the life's contents.
pub(super) fn choose(model: &mut Model, first: bool) -> Option<Hashing> {
    let contents = model.contents.as_mut()?;
    if !first && !contents.rng.chance(15) {
        return None;
    }
    let reading = match contents.rng.below(20) {
        0 => Reading::None,
        1..11 => Reading::Candidates,
        _ => Reading::Full,
    };
    let kind = if contents.rng.chance(5) { DigestKind::Blake2b256 } else { DigestKind::Blake3 };
    Some(Hashing { reading, kind })
}
