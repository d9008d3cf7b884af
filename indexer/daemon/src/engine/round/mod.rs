//! One round: hints in, looks at the disk, a batch decided, committed. What it could not finish comes out.

mod contents;
mod listing;
mod mounted;
mod names;
mod way;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use index::{Blind, Edits, Grown, Message, Note, Reader, Rot};
use reconcile::{Batch, Held, Holds, Look, Root};
use record::{Body, EntryId, How, Op, Place, Record, Time, VolumeId};
use rustc_hash::FxHashMap;
use scan::Errno;
use watch::{DirHints, Flags};

pub(crate) use self::mounted::{Hidden, InSight, NOT_MOUNTED, is_out_of_sight};
use super::contents::sets::tell_duplicates;
use super::error::EngineError;
use super::ghosts::Ghosts;
use super::open::Opener;
use super::roots::Tree;
use super::shared::Shared;
use super::writing::Writing;

/// Entries a batch may touch before it is committed and another begun: about 8 MB.
const MOST_TOUCHED: usize = 8192;

/// Bytes of paths that the records of a batch may hold: in a tree ten thousand deep each has many thousand.
const MOST_PATH_BYTES: usize = 8 << 20;

/// Entries that the end of one directory may add to a batch.
const MOST_DOOMED: usize = 4 * MOST_TOUCHED;

/// New directories that a round lists at its end; the rest is left for later rounds.
const MOST_FRESH: usize = 16_384;

/// Rounds of looking again at names that other looks made doubtful. A tree under heavy work may always have
/// some; their own hints come.
const MOST_AGAIN: usize = 4;

/// One piece of work for a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Look at the dirty names of a directory.
    Names(DirHints),
    /// Look at one name.
    Name(Place, Flags, How),
    /// Look at an entry by whatever names it has.
    Inode(EntryId, Flags, How),
    /// List a directory; `true`: and every one below it.
    List(EntryId, bool, How),
}

impl Todo {
    /// The entry whose place it needs.
    pub(crate) fn about(&self) -> EntryId {
        match self {
            Todo::Names(hints) => hints.id(),
            Todo::Name(place, ..) => place.dir,
            Todo::Inode(id, ..) | Todo::List(id, ..) => *id,
        }
    }
}

/// What came of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// Not in the index: out of scope, or its own hint is still to come, and then it is listed whole.
    Unknown,
    /// In the index and not to be found now: it moved or went, and the hint of that is on its way.
    Astray,
}

/// What a round leaves.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) held: Vec<Held>,
    pub(crate) todo: VecDeque<Todo>,
    /// What could not be done because a directory was not where it should be.
    pub(crate) astray: Vec<Todo>,
    /// What may have moved the link count or the times of a file with no event that names it, where directories are
    /// watched one by one: names that came and went, writes by names that are gone, what was done in a directory before
    /// it was watched, the loss of a name that is not known where a file has more links than names.
    pub(crate) unseen: u64,
    /// Entries without a name that are out of sight and kept.
    pub(crate) aside: Vec<EntryId>,
    /// What went out of sight, and what came back.
    pub(crate) hidden: Vec<Hidden>,
    pub(crate) in_sight: Vec<InSight>,
    /// Volumes that could not be looked at, and the error.
    pub(crate) troubled: Vec<(VolumeId, String)>,
}

/// A round under way.
pub(crate) struct Round<'r> {
    shared: &'r Shared,
    trees: &'r [Tree],
    tops: &'r [Root],
    pub(crate) writing: &'r mut Writing,
    pub(crate) ghosts: &'r mut Ghosts,
    reader: Rc<Reader>,
    batch: Batch<'r, Rc<Reader>>,
    opener: Opener,
    /// New directories to list before the round ends.
    /// `true`: and every known one below it, since what happened there meanwhile has no hint.
    fresh: Vec<(EntryId, bool, How)>,
    /// The directory in work is listed with all below it.
    below: bool,
    /// A directory is listed: what its names were hinted at for is not known.
    listing: bool,
    messages: Vec<Message>,
    /// Directories of which a name came or went: their own times moved, with no event that says so.
    moved_names: FxHashMap<EntryId, How>,
    /// Directories that turned out unreadable, or readable again, since the last commit.
    coverage: BTreeMap<EntryId, Option<Blind>>,
    /// Looks that failed.
    troubles: u64,
    /// Bytes of paths that the records of the batch will hold.
    path_bytes: usize,
    /// Marks on whole file systems tell of every change now: what they say was not written was not.
    trusting: bool,
    /// What is known of contents beside their digests.
    notes: Vec<(EntryId, Option<Note>)>,
    /// Files to be read, or no more.
    waiting: Vec<(EntryId, Option<Time>)>,
    /// Files that rotted, or did not.
    rotten: Vec<(EntryId, Option<Rot>)>,
    /// What came of looking through directories, to be committed with the round.
    grown: Vec<Grown>,
    pub(crate) left: Left,
}

impl<'r> Round<'r> {
    pub(crate) fn new(
        shared: &'r Shared,
        trees: &'r [Tree],
        tops: &'r [Root],
        writing: &'r mut Writing,
        ghosts: &'r mut Ghosts,
    ) -> Result<Round<'r>, EngineError> {
        let reader = Rc::new(shared.index.read()?);
        let batch = Batch::new(Rc::clone(&reader), tops);
        Ok(Round {
            shared,
            trees,
            tops,
            writing,
            ghosts,
            reader,
            batch,
            opener: Opener::default(),
            fresh: Vec::new(),
            below: false,
            listing: false,
            messages: Vec::new(),
            moved_names: FxHashMap::default(),
            coverage: BTreeMap::new(),
            troubles: 0,
            path_bytes: 0,
            trusting: false,
            notes: Vec::new(),
            waiting: Vec::new(),
            rotten: Vec::new(),
            grown: Vec::new(),
            left: Left::default(),
        })
    }

    /// Nothing is owed, under way or in doubt: see [`Round::trusting`].
    pub(crate) fn trust(&mut self) {
        self.trusting = true;
    }

    /// Does a piece of work, as far as the tree can be found now.
    pub(crate) fn work(&mut self, todo: &Todo) -> Result<Fate, EngineError> {
        match todo {
            Todo::Names(hints) => self.directory(hints),
            Todo::Name(place, flags, how) => self.place(place, *flags, *how),
            Todo::Inode(id, flags, how) => self.inode(*id, *flags, *how),
            Todo::List(id, below, how) => self.list(*id, *below, *how),
        }
    }

    /// Looks at the dirty names of one directory, and at the directory: its own times have no event.
    pub(crate) fn directory(&mut self, hints: &DirHints) -> Result<Fate, EngineError> {
        let id = hints.id();
        // Where the row is of no directory, one with that number was elsewhere on the volume and is gone.
        if self.batch.row_of(id)?.is_none_or(|row| !row.stat.is_directory()) {
            if hints.how == How::Inotify {
                // Its watch lives on while a file is open that was made in it.
                for (name, flags) in &hints.names {
                    self.by_old_name(id, name, *flags, hints.how)?;
                }
            }
            return Ok(Fate::Unknown);
        }
        let Some(dir) = self.open(id, hints.handle.as_ref(), hints.how)? else {
            // Gone for good: the look at its own name takes along what was in it.
            let gone = self.opener.refused() == Some(Errno::STALE);
            return if gone { Ok(Fate::Done) } else { self.unopened(id) };
        };
        for (name, flags) in &hints.names {
            self.name(&dir, name, *flags, hints.how)?;
            if hints.how == How::Inotify {
                self.by_old_name(id, name, *flags, hints.how)?;
            }
            self.flush_if_large()?;
        }
        self.own_stat(&dir, hints.how)?;
        self.moved_names.remove(&id);
        Ok(Fate::Done)
    }

    /// Looks at an entry by whatever names it has.
    fn inode(&mut self, id: EntryId, flags: Flags, how: How) -> Result<Fate, EngineError> {
        if self.batch.is_fresh(id) {
            let look = self.look_of(flags, how, true);
            if flags.any(Flags::CLOSED | Flags::WRITTEN | Flags::MOVED) {
                self.batch.witness(id, &look)?;
            }
            return Ok(Fate::Done);
        }
        if self.tops.iter().any(|root| root.top == id) {
            let Some(dir) = self.open(id, None, how)? else { return self.unopened(id) };
            self.own_stat(&dir, how)?;
            return Ok(Fate::Done);
        }
        let mut fate = Fate::Unknown;
        for place in self.batch.names_of(id)? {
            let Some(dir) = self.open(place.dir, None, how)? else {
                fate = match self.unopened(place.dir)? {
                    Fate::Done if fate == Fate::Astray => Fate::Astray,
                    unopened => unopened,
                };
                continue;
            };
            self.name(&dir, &place.name, flags, how)?;
            if self.batch.is_fresh(id) {
                return Ok(Fate::Done);
            }
        }
        if fate != Fate::Astray && self.batch.row_of(id)?.is_some() {
            // Where its next name is met, the name's own hint does not say that it was written.
            self.heard(id, &self.look_of(flags, how, true))?;
        }
        Ok(fate)
    }

    /// A writer was at an entry that has lost its name.
    pub(super) fn heard(&mut self, id: EntryId, look: &Look) -> Result<(), EngineError> {
        if look.written || look.closed {
            self.batch.witness(id, look)?;
        }
        Ok(())
    }

    /// Looks at one stored name.
    fn place(&mut self, place: &Place, flags: Flags, how: How) -> Result<Fate, EngineError> {
        if self.batch.row_of(place.dir)?.is_none() {
            return Ok(Fate::Unknown);
        }
        let Some(dir) = self.open(place.dir, None, how)? else { return self.unopened(place.dir) };
        self.name(&dir, &place.name, flags, how)?;
        Ok(Fate::Done)
    }

    /// Ends the wait of nameless entries: a last look at where they were.
    pub(crate) fn end_holds(&mut self, held: &[Held], how: How) -> Result<(), EngineError> {
        for Held { id, place } in held {
            match place {
                Some(place) => {
                    self.moved_names.insert(place.dir, how);
                    if self.place(place, Flags::NONE, how)? == Fate::Astray {
                        // The directory that held it waits itself, and takes it along.
                        self.left.todo.push_back(Todo::Name(place.clone(), Flags::NONE, how));
                    }
                }
                // It may be there again: a mount that covered it is gone.
                None if self.is_back(*id, how)? => {}
                None if self.is_aside(*id, how)? => self.left.aside.push(*id),
                None => {
                    let look = self.look_of(Flags::NONE, how, true);
                    self.batch.release(*id, &look)?;
                }
            }
            if self.is_large() {
                self.again()?;
                self.stat_parents()?;
                self.flush(Holds::End)?;
            }
        }
        self.settle()?;
        self.flush(Holds::End)
    }

    /// A record about the stream, to be committed with the round.
    pub(crate) fn message(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// What came of looking through directories, likewise.
    pub(crate) fn grow(&mut self, grown: Vec<Grown>) {
        self.grown = grown;
    }

    /// Whether something lost its last name in this round.
    pub(crate) fn has_nameless(&self) -> bool {
        self.batch.has_nameless()
    }

    /// Lists what is new, looks again at what became doubtful. To be called before the last flush.
    pub(crate) fn settle(&mut self) -> Result<(), EngineError> {
        for _ in 0..MOST_AGAIN {
            self.list_fresh()?;
            self.again()?;
            self.stat_parents()?;
            // The way to one of those may have led past others that moved.
            if self.fresh.is_empty() && self.moved_names.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// What the round could not finish, to be taken over after its last flush.
    pub(crate) fn leave(mut self) -> Left {
        let fresh = std::mem::take(&mut self.fresh).into_iter();
        self.left.todo.extend(fresh.map(|(id, below, how)| Todo::List(id, below, how)));
        let moved = std::mem::take(&mut self.moved_names).into_iter();
        self.left.todo.extend(moved.map(|(id, how)| Todo::Inode(id, Flags::NONE, how)));
        self.left
    }

    /// Decides and commits what was looked at.
    pub(crate) fn flush(&mut self, holds: Holds) -> Result<(), EngineError> {
        self.path_bytes = 0;
        // A name in a directory that has no watch yet goes without an event, and takes its link along.
        let mut lacking = self.batch.lacking_names();
        self.left.unseen += u64::from(lacking.any(|id| self.shared.arms.is_one_by_one(id)));
        drop(lacking);
        let empty = Batch::new(Rc::clone(&self.reader), self.tops);
        let batch = std::mem::replace(&mut self.batch, empty);
        let finished = batch.finish(holds, MOST_DOOMED)?;
        let mut unfinished: VecDeque<Todo> =
            finished.unfinished.into_iter().map(|place| self.todo_name(place)).collect();
        self.left.todo.append(&mut unfinished);
        self.left.held.extend(finished.held);
        self.left.aside.extend(finished.aside);
        let mut edits = Edits {
            plan: finished.plan,
            messages: std::mem::take(&mut self.messages),
            coverage: std::mem::take(&mut self.coverage).into_iter().collect(),
            notes: std::mem::take(&mut self.notes),
            waiting: std::mem::take(&mut self.waiting),
            rotten: std::mem::take(&mut self.rotten),
            grown: std::mem::take(&mut self.grown),
            ..Edits::default()
        };
        if self.reader.keeps_contents()? {
            let now = self.shared.ground.clock.now();
            edits.waiting.extend(finished.doubted.iter().map(|id| (*id, Some(now))));
            tell_duplicates(&self.reader, &mut edits, now)?;
        }
        if edits.is_empty() {
            self.note_writing(&finished.writing);
            return Ok(());
        }
        edits.volumes = self.shared.volumes.take_unsaved();
        let waits = edits.waiting.iter().any(|(_, since)| since.is_some());
        let records = self.shared.index.commit(edits)?;
        self.reader = Rc::new(self.shared.index.read()?);
        self.batch = Batch::new(Rc::clone(&self.reader), self.tops);
        self.committed(&records);
        if waits && records.is_empty() {
            // No record tells readers of contents that there is work.
            self.shared.durable.send_modify(|_| {});
        }
        self.note_writing(&finished.writing);
        Ok(())
    }

    fn committed(&mut self, records: &[Record]) {
        self.shared.note_latencies(records);
        for record in records {
            let Body::Change(change) = &record.body else { continue };
            if change.complete {
                self.writing.ended(change.entry);
            }
            match (change.op, &change.at) {
                (Op::Unlinked, Some(at)) if record.how == How::Inotify => {
                    self.ghosts.add(at.dir, at.name.clone(), change.entry);
                }
                // Between two looks, a link and an unlink look like a rename.
                (Op::Renamed, _) if record.how == How::Inotify => {
                    if let Some(old) = &change.old {
                        self.ghosts.add(old.dir, old.name.clone(), change.entry);
                    }
                }
                // Whoever opened it by that name, in a directory without a watch, can write to it unheard.
                (Op::Unlinked | Op::Renamed, _)
                    if record.how == How::Sweep && self.shared.arms.is_one_by_one(change.entry) =>
                {
                    self.ghosts.suspect(change.entry);
                }
                (Op::Deleted, _) => self.ghosts.directory_gone(change.entry),
                _ => {}
            }
        }
        if let Some(last) = records.last() {
            self.shared.durable.send_replace(last.seq.0);
        }
    }

    fn note_writing(&mut self, writing: &[EntryId]) {
        let now = self.shared.ground.clock.instant();
        for id in writing {
            if let Some(quietest) = self.writing.began(*id, now) {
                let todo = self.first_name(quietest);
                self.left.todo.extend(todo);
            }
        }
    }

    fn first_name(&mut self, id: EntryId) -> Option<Todo> {
        let names = self.batch.names_of(id).ok()?;
        names.into_iter().next().map(|place| self.todo_name(place))
    }

    /// A look that an earlier look of ours calls for: as if the watch of that volume had.
    fn todo_name(&self, place: Place) -> Todo {
        let how = self.shared.arms.get(place.dir.volume).map_or(How::Sweep, |arm| arm.how());
        Todo::Name(place, Flags::NONE, how)
    }

    /// Looks at directories of which a name came or went by a look that was not at the whole of them.
    fn stat_parents(&mut self) -> Result<(), EngineError> {
        for (id, how) in std::mem::take(&mut self.moved_names) {
            match self.open(id, None, how)? {
                Some(dir) => self.own_stat(&dir, how)?,
                None => drop(self.unopened(id)?),
            }
        }
        Ok(())
    }

    fn is_large(&self) -> bool {
        self.batch.len() >= MOST_TOUCHED || self.path_bytes >= MOST_PATH_BYTES
    }

    fn flush_if_large(&mut self) -> Result<(), EngineError> {
        if !self.is_large() {
            return Ok(());
        }
        self.again()?;
        self.stat_parents()?;
        self.flush(Holds::Keep)
    }

    fn again(&mut self) -> Result<(), EngineError> {
        for _ in 0..MOST_AGAIN {
            let stale = self.batch.take_stale();
            if stale.is_empty() {
                break;
            }
            for (place, how) in stale {
                if self.place(&place, Flags::NONE, how)? == Fate::Astray {
                    self.left.astray.push(Todo::Name(place, Flags::NONE, how));
                }
            }
            self.list_fresh()?;
        }
        Ok(())
    }
}
