//! Whole directories: what is in them that the index does not have, and the other way round.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::rc::Rc;

use index::{Blind, IndexError, Message};
use reconcile::Found;
use record::{Body, EntryId, Gap, How, Name, Place, RootId, Time};
use scan::{Disk, Errno};
use watch::{Active, Flags};

use super::mounted::is_out_of_sight;
use super::{Fate, MOST_FRESH, Round, Todo};
use crate::engine::error::EngineError;
use crate::engine::open::Dir;

impl Round<'_> {
    /// Lists a known directory, looks at what differs, notices what is gone.
    pub(super) fn list(&mut self, id: EntryId, below: bool, how: How) -> Result<Fate, EngineError> {
        if self.batch.row_of(id)?.is_none() {
            return Ok(Fate::Unknown);
        }
        let Some(dir) = self.open(id, None, how)? else { return self.unopened(id) };
        self.list_open(&dir, below, how)?;
        self.list_fresh()?;
        Ok(Fate::Done)
    }

    pub(super) fn list_fresh(&mut self) -> Result<(), EngineError> {
        while let Some((id, below, how)) = self.fresh.pop() {
            match self.open(id, None, how)? {
                Some(dir) => self.list_open(&dir, below, how)?,
                // In the index without what is in it: it must be listed, wherever it is now.
                None if self.unopened(id)? == Fate::Astray => {
                    self.left.astray.push(Todo::List(id, below, how));
                }
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn blind(&mut self, id: EntryId, doing: &str, error: Errno) -> Result<(), EngineError> {
        self.troubles += 1;
        if self.still_blind(id)?.is_some() {
            return Ok(());
        }
        tracing::warn!(directory = %id, doing, %error, "a directory cannot be read; what is stored of it stays");
        let since = self.shared.ground.clock.now();
        self.coverage.insert(id, Some(Blind { since, why: format!("{doing}: {error}") }));
        Ok(())
    }

    /// Why a directory cannot be vouched for, as this round has it.
    pub(super) fn blind_now(&self, id: EntryId) -> Result<Option<Blind>, EngineError> {
        Ok(match self.coverage.get(&id) {
            Some(blind) => blind.clone(),
            None => self.reader.blind_at(id)?,
        })
    }

    /// Why one that turns out blind was so before; what was to end that in this round came too early.
    pub(super) fn still_blind(&mut self, id: EntryId) -> Result<Option<Blind>, EngineError> {
        if self.coverage.get(&id).is_some_and(Option::is_none) {
            self.coverage.remove(&id);
        }
        self.blind_now(id)
    }

    pub(super) fn list_later(&mut self, id: EntryId, how: How) {
        if self.fresh.len() < MOST_FRESH {
            self.fresh.push((id, self.below, how));
        } else {
            self.left.todo.push_back(Todo::List(id, self.below, how));
        }
    }

    fn list_open(&mut self, dir: &Rc<Dir>, below: bool, how: How) -> Result<(), EngineError> {
        let outer = (std::mem::replace(&mut self.below, below), std::mem::replace(&mut self.listing, true));
        let listed = self.list_each(dir, how);
        (self.below, self.listing) = outer;
        listed
    }

    fn list_each(&mut self, dir: &Rc<Dir>, how: How) -> Result<(), EngineError> {
        let below = self.below;
        let point = || dir.spot.path(self.tops);
        // What is new, or differed, is active; of a subtree that is looked through most may be at rest.
        let active = if below { Active::Since(dir.seen.stat.modified) } else { Active::Now };
        let watched = self.shared.arms.is_watched(dir.id);
        let armed = self.shared.arms.arm(dir.id, dir.seen.device, dir.fd.as_fd(), active, &point);
        // What came and went in it before may have been a name of a file that is known by another. Its own times need not
        // tell: the clock that files are stamped by ticks every few milliseconds.
        self.left.unseen += u64::from(!watched && armed.arm.is_one_by_one());
        let names = match Names::read(&*self.shared.ground.disk, dir) {
            Ok(names) => names,
            // It was removed: the look at its own name says so.
            Err(Errno::NOENT | Errno::STALE) => {
                self.left.astray.push(Todo::List(dir.id, below, how));
                return Ok(());
            }
            Err(error) => return self.trouble(dir, b".", error),
        };
        let was_blind = self.blind_now(dir.id)?;
        // What changed below it meanwhile could not be looked at either.
        let below = below || was_blind.is_some();
        self.below = below;
        let troubles = self.troubles;
        for name in names.iter() {
            let Some(id) = self.listed_name(dir, name, how)? else { continue };
            if below {
                self.left.todo.push_back(Todo::List(id, true, how));
            }
            self.flush_if_large()?;
        }
        self.missing(dir, &names, how)?;
        self.own_stat(dir, how)?;
        if let Some(blind) = was_blind
            && self.troubles == troubles
        {
            self.coverage.insert(dir.id, None);
            if !is_out_of_sight(&blind.why) {
                let (root, now) = (self.trees[dir.spot.tree].row.id, self.shared.ground.clock.now());
                self.message(blind_gap(root, point(), blind, now));
            }
        }
        // What was looked at is decided and committed before this thread does anything else.
        if let Some(watch) = armed.watch {
            self.shared.arms.compared(dir.id, watch);
        }
        Ok(())
    }

    /// One name of a listing; answers the entry if it is a directory that was known before.
    fn listed_name(&mut self, dir: &Rc<Dir>, name: &[u8], how: How) -> Result<Option<EntryId>, EngineError> {
        let new = self.fresh.len();
        self.shared.vitals.looked();
        if let scan::Look::Present(seen) = self.shared.ground.disk.look(dir.fd.as_fd(), name) {
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

/// What came and went in a directory while it could not be read is not in the stream.
pub(crate) fn blind_gap(root: RootId, scope: Vec<u8>, blind: Blind, seen: Time) -> Message {
    let why = format!("it could not be read ({})", blind.why);
    let gap = Gap { from: blind.since.min(seen), to: seen, scope: scope.into(), why };
    Message { seen, how: How::Sweep, root, body: Body::Gap(gap) }
}

/// The names of one directory, sorted, packed: a directory of a million costs some 20 MB for a moment.
struct Names {
    bytes: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

impl Names {
    fn read(disk: &dyn Disk, dir: &Dir) -> Result<Names, Errno> {
        let mut names = Names { bytes: Vec::new(), ends: Vec::new() };
        disk.list(dir.fd.as_fd(), &mut scan::ListBuffer::new(), &mut |name, _| {
            let start = u32::try_from(names.bytes.len()).unwrap_or(u32::MAX);
            names.bytes.extend_from_slice(name.to_bytes());
            let end = u32::try_from(names.bytes.len()).unwrap_or(u32::MAX);
            names.ends.push((start, end));
            ControlFlow::Continue(())
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
