//! One round: hints in, looks at the disk, a batch decided, committed. What it could not finish comes out.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

use index::{Edits, IndexError, Message, Reader};
use reconcile::{Batch, Decision, Found, Held, Holds, Look, Root, Stored as _, same_entry};
use record::{Body, EntryId, How, Kind, Name, Op, Place, Record, Time, VolumeId};
use scan::{Member, Seen};
use watch::{DirHints, Flags};

use super::error::EngineError;
use super::ghosts::Ghosts;
use super::open::{Dir, Opener, Spot};
use super::roots::Tree;
use super::shared::Shared;
use super::writing::Writing;

/// Entries a batch may touch before it is committed and another begun: about 8 MB.
const MOST_TOUCHED: usize = 8192;

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
    /// inotify events about something that is nowhere to be found: names that came and went, writes by names
    /// that are gone. They may have moved the link count or the times of a file that no event names.
    pub(crate) unseen: u64,
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
    fresh: Vec<(EntryId, How)>,
    messages: Vec<Message>,
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
            messages: Vec::new(),
            left: Left::default(),
        })
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
        if self.batch.row_of(id)?.is_none() {
            return Ok(Fate::Unknown);
        }
        let Some(dir) = self.open(id, hints.handle.as_ref(), hints.how)? else { return Ok(Fate::Astray) };
        for (name, flags) in &hints.names {
            self.name(&dir, name, *flags, hints.how)?;
            if hints.how == How::Inotify {
                self.by_old_name(id, name, *flags, hints.how)?;
            }
            self.flush_if_large()?;
        }
        self.own_stat(&dir, hints.how)?;
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
            let Some(dir) = self.open(id, None, how)? else { return Ok(Fate::Astray) };
            self.own_stat(&dir, how)?;
            return Ok(Fate::Done);
        }
        let mut fate = Fate::Unknown;
        for place in self.batch.names_of(id)? {
            let Some(dir) = self.open(place.dir, None, how)? else {
                fate = Fate::Astray;
                continue;
            };
            self.name(&dir, &place.name, flags, how)?;
            if self.batch.is_fresh(id) {
                return Ok(Fate::Done);
            }
        }
        Ok(fate)
    }

    /// Looks at one stored name.
    fn place(&mut self, place: &Place, flags: Flags, how: How) -> Result<Fate, EngineError> {
        if self.batch.row_of(place.dir)?.is_none() {
            return Ok(Fate::Unknown);
        }
        let Some(dir) = self.open(place.dir, None, how)? else { return Ok(Fate::Astray) };
        self.name(&dir, &place.name, flags, how)?;
        Ok(Fate::Done)
    }

    /// Ends the wait of nameless entries: a last look at where they were.
    pub(crate) fn end_holds(&mut self, held: Vec<Held>, how: How) -> Result<(), EngineError> {
        for Held { id, place } in held {
            match place {
                Some(place) => {
                    if self.place(&place, Flags::NONE, how)? == Fate::Astray {
                        // The directory that held it waits itself, and takes it along.
                        self.left.todo.push_back(Todo::Name(place, Flags::NONE, how));
                    }
                }
                None => {
                    let look = self.look_of(Flags::NONE, how, true);
                    self.batch.release(id, &look)?;
                }
            }
        }
        self.list_fresh()?;
        self.again()?;
        self.flush(Holds::End)
    }

    /// Lists a known directory, looks at what differs, notices what is gone.
    fn list(&mut self, id: EntryId, below: bool, how: How) -> Result<Fate, EngineError> {
        if self.batch.row_of(id)?.is_none() {
            return Ok(Fate::Unknown);
        }
        let Some(dir) = self.open(id, None, how)? else { return Ok(Fate::Astray) };
        self.list_open(&dir, below, how)?;
        self.list_fresh()?;
        Ok(Fate::Done)
    }

    /// A record about the stream, to be committed with the round.
    pub(crate) fn message(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Whether something lost its last name in this round.
    pub(crate) fn has_nameless(&self) -> bool {
        self.batch.has_nameless()
    }

    /// Lists what is new, looks again at what became doubtful. To be called before the last flush.
    pub(crate) fn settle(&mut self) -> Result<(), EngineError> {
        self.list_fresh()?;
        self.again()
    }

    /// Decides and commits what was looked at.
    pub(crate) fn flush(&mut self, holds: Holds) -> Result<(), EngineError> {
        let empty = Batch::new(Rc::clone(&self.reader), self.tops);
        let batch = std::mem::replace(&mut self.batch, empty);
        let finished = batch.finish(holds, MOST_DOOMED)?;
        let mut unfinished: VecDeque<Todo> =
            finished.unfinished.into_iter().map(|place| self.todo_name(place)).collect();
        self.left.todo.append(&mut unfinished);
        self.left.held.extend(finished.held);
        let mut edits = Edits { plan: finished.plan, messages: std::mem::take(&mut self.messages), ..Edits::default() };
        if edits.is_empty() {
            self.note_writing(&finished.writing);
            return Ok(());
        }
        edits.volumes = self.shared.volumes.take_unsaved();
        let records = self.shared.index.commit(edits)?;
        self.reader = Rc::new(self.shared.index.read()?);
        self.batch = Batch::new(Rc::clone(&self.reader), self.tops);
        self.committed(&records);
        self.note_writing(&finished.writing);
        Ok(())
    }

    fn committed(&mut self, records: &[Record]) {
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
                (Op::Deleted, _) => self.ghosts.directory_gone(change.entry),
                _ => {}
            }
        }
        if let Some(last) = records.last() {
            self.shared.durable.send_replace(last.seq.0);
        }
    }

    fn note_writing(&mut self, writing: &[EntryId]) {
        let now = Instant::now();
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

    fn flush_if_large(&mut self) -> Result<(), EngineError> {
        if self.batch.len() < MOST_TOUCHED {
            return Ok(());
        }
        self.again()?;
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

    /// What a name that may be gone was last: a writer that opened the file by it still writes by it.
    fn by_old_name(&mut self, dir: EntryId, name: &[u8], flags: Flags, how: How) -> Result<(), EngineError> {
        if !flags.any(Flags::WRITTEN | Flags::CLOSED | Flags::META) {
            return Ok(());
        }
        if !self.ghosts.is_empty()
            && let Some(file) = self.ghosts.get(dir, name)
        {
            self.inode_or_later(file, flags, how)?;
        }
        // A file made without a name (O_TMPFILE) goes by its number, even after it has one.
        let number = name.strip_prefix(b"#").and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(inode) = number.and_then(|digits| digits.parse().ok()) {
            self.inode_or_later(EntryId::new(dir.volume, inode), flags, how)?;
        }
        Ok(())
    }

    fn inode_or_later(&mut self, id: EntryId, flags: Flags, how: How) -> Result<(), EngineError> {
        if self.inode(id, flags, how)? == Fate::Astray {
            self.left.astray.push(Todo::Inode(id, flags, how));
        }
        Ok(())
    }

    fn look_of(&self, flags: Flags, how: How, sole: bool) -> Look {
        Look {
            at: Time::now(),
            how,
            moved: flags.has(Flags::MOVED),
            written: flags.has(Flags::WRITTEN),
            closed: flags.has(Flags::CLOSED),
            sole,
        }
    }

    fn name(&mut self, dir: &Dir, name: &[u8], flags: Flags, how: How) -> Result<(), EngineError> {
        let trees = self.trees;
        let scope = &trees[dir.spot.tree].scope;
        let mut look = self.look_of(flags, how, !scope.follow_symlinks);
        let relative = || dir.spot.relative(name);
        match scope.look(dir.fd.as_fd(), name, &relative) {
            scan::Look::Absent => {
                self.lost_name(dir, name, &look)?;
            }
            scan::Look::Failed(error) => self.trouble(dir, name, error),
            scan::Look::Present(seen) => {
                let depth = dir.spot.depth() + 1;
                let standing = (dir.seen.device, dir.seen.mount);
                match scope.member(dir.id, standing, &relative, depth, name, &seen, dir.fd.as_fd()) {
                    Member::In(volume) => {
                        // Made and not yet closed: its maker is still at it.
                        look.written |= seen.stat.kind == Kind::File
                            && seen.stat.links == 1
                            && flags.has(Flags::NAMED)
                            && !flags.any(Flags::CLOSED | Flags::MOVED);
                        let id = EntryId::new(volume, seen.inode);
                        self.found(dir, name, id, &seen, &look, flags)?;
                    }
                    Member::Out(_) => self.lost_name(dir, name, &look)?,
                    Member::Failed(error) => self.trouble(dir, name, error),
                }
            }
        }
        Ok(())
    }

    fn lost_name(&mut self, dir: &Dir, name: &[u8], look: &Look) -> Result<(), EngineError> {
        let place = Place::new(dir.id, name);
        if self.batch.owner(&place)?.is_some_and(|owner| owner.volume != dir.id.volume) {
            // A mount point can only go when nothing is mounted on it any more.
            self.left.troubled.push((dir.id.volume, "a mount point is gone".to_owned()));
            return Ok(());
        }
        match self.batch.name(dir.id, name, None, look)? {
            Decision::Lose => self.opener.moved(),
            Decision::Nothing if look.how == How::Inotify => self.left.unseen += 1,
            _ => {}
        }
        Ok(())
    }

    fn found(
        &mut self,
        dir: &Dir,
        name: &[u8],
        id: EntryId,
        seen: &Seen,
        look: &Look,
        flags: Flags,
    ) -> Result<(), EngineError> {
        let directory = seen.stat.is_directory();
        let mut known = true;
        if directory {
            if id.volume != dir.id.volume || self.batch.owner(&Place::new(dir.id, name))?.is_some_and(|owner| owner.volume != id.volume) {
                return self.crossed(dir, name, id, seen, look);
            }
            known = self.batch.row_of(id)?.is_some_and(|row| same_entry(&row, &seen.stat));
        }
        let decision = self.batch.name(dir.id, name, Some(Found { id, stat: seen.stat }), look)?;
        if directory && decision != Decision::Refresh {
            self.opener.moved();
        }
        // One made where another was may have its number and even its birth: only a listing tells.
        let made = flags.has(Flags::NAMED) && !flags.has(Flags::MOVED);
        if directory && (!known || made) {
            self.list_later(id, look.how);
        }
        Ok(())
    }

    fn list_later(&mut self, id: EntryId, how: How) {
        if self.fresh.len() < MOST_FRESH {
            self.fresh.push((id, how));
        } else {
            self.left.todo.push_back(Todo::List(id, false, how));
        }
    }

    /// A name at which another file system begins, or did. What is stored stays until a person or a mount
    /// says otherwise; a mount point that is as stored is refreshed.
    fn crossed(&mut self, dir: &Dir, name: &[u8], id: EntryId, seen: &Seen, look: &Look) -> Result<(), EngineError> {
        let owner = self.batch.owner(&Place::new(dir.id, name))?;
        match owner {
            Some(owner) if owner == id => {
                self.batch.name(dir.id, name, Some(Found { id, stat: seen.stat }), look)?;
            }
            None => {
                self.batch.name(dir.id, name, Some(Found { id, stat: seen.stat }), look)?;
                self.opener.moved();
                self.list_later(id, look.how);
            }
            // Something was mounted on an empty directory, as mount points are: that one is hidden now.
            Some(owner) if owner.volume == dir.id.volume && self.reader.children(owner, None, 1)?.is_empty() => {
                self.batch.name(dir.id, name, Some(Found { id, stat: seen.stat }), look)?;
                self.opener.moved();
                self.list_later(id, look.how);
            }
            Some(owner) => {
                let path = [&dir.spot.path(self.tops)[..], b"/", name].concat();
                let why = format!("{} now shows another file system", String::from_utf8_lossy(&path));
                self.left.troubled.push((owner.volume, why));
            }
        }
        Ok(())
    }

    fn trouble(&mut self, dir: &Dir, name: &[u8], error: scan::Errno) {
        let path = [&dir.spot.path(self.tops)[..], b"/", name].concat();
        tracing::warn!(path = %String::from_utf8_lossy(&path), %error, "cannot look here; what is stored stays");
        if matches!(error, scan::Errno::IO | scan::Errno::STALE | scan::Errno::NOTCONN | scan::Errno::NODEV) {
            self.left.troubled.push((dir.id.volume, error.to_string()));
        }
    }

    fn own_stat(&mut self, dir: &Dir, how: How) -> Result<(), EngineError> {
        if let Ok(seen) = scan::look_self(dir.fd.as_fd()) {
            let look = Look::plain(Time::now(), how);
            self.batch.entry(&Found { id: dir.id, stat: seen.stat }, &look)?;
        }
        Ok(())
    }

    fn open(
        &mut self,
        id: EntryId,
        handle: Option<&watch::Handle>,
        how: How,
    ) -> Result<Option<Rc<Dir>>, EngineError> {
        if let Some(dir) = self.opener.get(id) {
            return Ok(Some(dir));
        }
        let Some(spot) = self.spot(id)? else { return Ok(None) };
        let expected = self.batch.row_of(id)?;
        let dir = self.opener.open(self.shared, self.trees, id, spot, handle, expected.as_ref());
        if dir.is_none() {
            self.search(id, how)?;
            let Some(spot) = self.spot(id)? else { return Ok(None) };
            return Ok(self.opener.open(self.shared, self.trees, id, spot, None, expected.as_ref()));
        }
        Ok(dir)
    }

    /// Looks at every name on the way down to a directory that is not where it was, so that what moved or
    /// went on that way is known.
    fn search(&mut self, id: EntryId, how: How) -> Result<(), EngineError> {
        let mut way = Vec::new();
        let mut at = id;
        while let Some(place) = self.batch.names_of(at)?.into_iter().next() {
            at = place.dir;
            way.push(place);
        }
        for place in way.into_iter().rev() {
            let Some(spot) = self.spot(place.dir)? else { return Ok(()) };
            let expected = self.batch.row_of(place.dir)?;
            let Some(dir) = self.opener.open(self.shared, self.trees, place.dir, spot, None, expected.as_ref()) else {
                return Ok(());
            };
            self.name(&dir, &place.name, Flags::NONE, how)?;
        }
        Ok(())
    }

    /// Where a directory is by the rows and the looks so far.
    fn spot(&mut self, id: EntryId) -> Result<Option<Rc<Spot>>, EngineError> {
        if let Some(spot) = self.opener.spot(id) {
            return Ok(Some(spot));
        }
        let mut components: Vec<Name> = Vec::new();
        let mut at = id;
        let tree = loop {
            if let Some(tree) = self.tops.iter().position(|root| root.top == at) {
                break tree;
            }
            let Some(place) = self.batch.names_of(at)?.into_iter().next() else { return Ok(None) };
            components.push(place.name);
            at = place.dir;
        };
        components.reverse();
        Ok(Some(self.opener.remember(id, Spot { tree, components })))
    }

    fn list_fresh(&mut self) -> Result<(), EngineError> {
        while let Some((id, how)) = self.fresh.pop() {
            match self.open(id, None, how)? {
                Some(dir) => self.list_open(&dir, false, how)?,
                // In the index without what is in it: it must be listed, wherever it is now.
                None => self.left.astray.push(Todo::List(id, false, how)),
            }
        }
        Ok(())
    }

    fn list_open(&mut self, dir: &Rc<Dir>, below: bool, how: How) -> Result<(), EngineError> {
        let point = || dir.spot.path(self.tops);
        self.shared.arms.arm(dir.id, dir.seen.device, dir.fd.as_fd(), &point);
        let names = match Names::read(dir) {
            Ok(names) => names,
            Err(error) => {
                self.trouble(dir, b".", error);
                return Ok(());
            }
        };
        for name in names.iter() {
            let Some(id) = self.listed_name(dir, name, how)? else { continue };
            if below {
                self.left.todo.push_back(Todo::List(id, true, how));
            }
            self.flush_if_large()?;
        }
        self.missing(dir, &names, how)?;
        self.own_stat(dir, how)
    }

    /// One name of a listing; answers the entry if it is a directory that was known before.
    fn listed_name(&mut self, dir: &Rc<Dir>, name: &[u8], how: How) -> Result<Option<EntryId>, EngineError> {
        let new = self.fresh.len();
        if let scan::Look::Present(seen) = scan::look(dir.fd.as_fd(), name) {
            let id = EntryId::new(dir.id.volume, seen.inode);
            if seen.device == dir.seen.device
                && seen.mount == dir.seen.mount
                && self.batch.unchanged(dir.id, name, &Found { id, stat: seen.stat })?
            {
                return Ok(Some(id).filter(|_| seen.stat.is_directory()));
            }
        }
        self.name(dir, name, Flags::NONE, how)?;
        if self.fresh.len() > new {
            return Ok(None);
        }
        let owner = self.batch.owner(&Place::new(dir.id, name))?;
        let Some(id) = owner else { return Ok(None) };
        Ok(self.batch.row_of(id)?.filter(|row| row.stat.is_directory()).map(|_| id))
    }

    /// Looks at stored names that a whole listing did not have.
    fn missing(&mut self, dir: &Rc<Dir>, names: &Names, how: How) -> Result<(), EngineError> {
        let mut listed = names.iter().peekable();
        let mut gone: Vec<Name> = Vec::new();
        self.reader.each_child::<IndexError>(dir.id, |name, _| {
            while listed.peek().is_some_and(|next| *next < name) {
                listed.next();
            }
            if listed.peek().is_none_or(|next| *next != name) {
                gone.push(name.into());
            }
            Ok(true)
        })?;
        for name in gone {
            self.name(dir, &name, Flags::NONE, how)?;
            self.flush_if_large()?;
        }
        Ok(())
    }
}

/// The names of one directory, sorted, packed: a directory of a million costs some 20 MB for a moment.
struct Names {
    bytes: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

impl Names {
    fn read(dir: &Dir) -> Result<Names, scan::Errno> {
        let mut names = Names { bytes: Vec::new(), ends: Vec::new() };
        scan::list(dir.fd.as_fd(), &mut scan::ListBuffer::new(), &mut |name, _| {
            let start = u32::try_from(names.bytes.len()).unwrap_or(u32::MAX);
            names.bytes.extend_from_slice(name);
            let end = u32::try_from(names.bytes.len()).unwrap_or(u32::MAX);
            names.ends.push((start, end));
        })?;
        let bytes = &names.bytes;
        names.ends.sort_unstable_by(|a, b| range(bytes, *a).cmp(range(bytes, *b)));
        Ok(names)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().map(|ends| range(&self.bytes, *ends))
    }
}

fn range(bytes: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &bytes[start as usize..end as usize]
}

