//! One look at one name, and what it means for the batch: the entry there, gone, elsewhere, or out of scope.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use reconcile::{Decision, Found, Look, same_entry};
use record::{EntryId, How, Kind, Place};
use scan::{Met, Seen};
use watch::Flags;

use super::mounted::NOT_MOUNTED;
use super::{Fate, Round, Todo};
use crate::engine::error::EngineError;
use crate::engine::open::Dir;

impl Round<'_> {
    /// What a name that may be gone was last: a writer that opened the file by it still writes by it.
    pub(super) fn by_old_name(
        &mut self,
        dir: EntryId,
        name: &[u8],
        flags: Flags,
        how: How,
    ) -> Result<(), EngineError> {
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

    pub(super) fn inode_or_later(&mut self, id: EntryId, flags: Flags, how: How) -> Result<(), EngineError> {
        if self.inode(id, flags, how)? == Fate::Astray {
            self.left.astray.push(Todo::Inode(id, flags, how));
        }
        Ok(())
    }

    pub(super) fn look_of(&self, flags: Flags, how: How, sole: bool) -> Look {
        Look {
            at: self.shared.ground.clock.now(),
            how,
            moved: flags.has(Flags::MOVED),
            written: flags.has(Flags::WRITTEN),
            closed: flags.has(Flags::CLOSED),
            told: self.trusting
                && how == How::Fanotify
                && flags.any(Flags::META | Flags::MOVED | Flags::NAMED)
                && !flags.has(Flags::SWEPT),
            sole,
        }
    }

    pub(super) fn name(&mut self, dir: &Dir, name: &[u8], flags: Flags, how: How) -> Result<(), EngineError> {
        let trees = self.trees;
        let scope = &trees[dir.spot.tree].scope;
        let mut look = self.look_of(flags, how, !scope.follow_symlinks);
        // One by one, directories are watched from some time on, and files may come into them with a past.
        look.told &= !self.shared.arms.is_one_by_one(dir.id);
        self.shared.vitals.looked();
        let relative = || dir.spot.relative(name);
        let standing = (dir.seen.device, dir.seen.mount);
        match scope.meet(dir.id, standing, &relative, dir.spot.depth + 1, name, dir.fd.as_fd()) {
            Met::Absent => self.lost_name(dir, name, &look, flags, false)?,
            Met::Failed(error) => self.trouble(dir, name, error)?,
            Met::In(volume, seen) => {
                // Made and not yet closed: its maker is still at it.
                look.written |= seen.stat.kind == Kind::File
                    && seen.stat.links == 1
                    && flags.has(Flags::NAMED)
                    && !flags.any(Flags::CLOSED | Flags::MOVED);
                let id = EntryId::new(volume, seen.inode);
                self.found(dir, name, id, &seen, &look, flags)?;
            }
            Met::Out(why, seen) if scan::is_of_mounts(why) && seen.mount != dir.seen.mount => {
                self.covered(dir, name, why, &look)?;
            }
            Met::Out(..) => self.lost_name(dir, name, &look, flags, true)?,
        }
        Ok(())
    }

    /// Nothing of the root's is at a name; `barred`: by the rules, whatever is there.
    pub(super) fn lost_name(
        &mut self,
        dir: &Dir,
        name: &[u8],
        look: &Look,
        flags: Flags,
        barred: bool,
    ) -> Result<(), EngineError> {
        let owner = self.batch.owner(&Place::new(dir.id, name))?;
        if let Some(owner) = owner.filter(|owner| !barred && owner.volume != dir.id.volume)
            && self.may_be_back(dir, name, owner)
            && self.batch.names_of(owner)?.len() == 1
        {
            // A mount point can only go when nothing is mounted on it any more.
            return self.out_of_sight(dir, name, owner, NOT_MOUNTED);
        }
        match self.batch.name(dir.id, name, None, look)? {
            Decision::Lose => {
                self.moved_names.insert(dir.id, look.how);
                self.path_bytes += dir.spot.length + name.len();
                if let Some(owner) = owner {
                    self.heard(owner, look)?;
                    if self.batch.row_of(owner)?.is_some_and(|row| row.stat.is_directory()) {
                        self.opener.moved(owner);
                    }
                }
            }
            Decision::Nothing if look.how == How::Inotify => self.left.unseen += 1,
            // A directory came and went before it was watched.
            Decision::Nothing if flags.has(Flags::DIRECTORY) && self.shared.arms.is_one_by_one(dir.id) => {
                self.left.unseen += 1;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn found(
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
        let owner = match directory || self.shared.volumes.are_several() {
            true => self.batch.owner(&Place::new(dir.id, name))?,
            false => None,
        };
        let crosses = id.volume != dir.id.volume || owner.is_some_and(|owner| owner.volume != id.volume);
        if directory {
            if crosses {
                return self.crossed(dir, name, id, seen, look);
            }
            known = self.batch.row_of(id)?.is_some_and(|row| same_entry(&row, &seen.stat));
        }
        if let Some(owner) = owner.filter(|owner| crosses && *owner != id)
            && self.may_be_back(dir, name, owner)
        {
            self.set_aside(dir, name, owner, NOT_MOUNTED)?;
        }
        if look.how == How::Sweep {
            self.in_sight(id, false)?;
        }
        let decision = self.batch.name(dir.id, name, Some(Found { id, stat: seen.stat }), look)?;
        if decision != Decision::Refresh {
            self.moved_names.insert(dir.id, look.how);
            self.path_bytes += dir.spot.length + name.len();
        }
        // What was there, or what came, may be a directory with others below it, whose paths are new then.
        if matches!(decision, Decision::Relink | Decision::Recycle)
            || (decision == Decision::Gain && directory && known)
        {
            self.opener.all_moved();
        } else if decision == Decision::Gain && directory {
            self.opener.came();
        }
        // One made where another was may have its number and even its birth: only a listing tells.
        let made = flags.has(Flags::NAMED) && !flags.has(Flags::MOVED);
        // What could not be read may be readable now.
        let may_see = directory && flags.has(Flags::META) && self.blind_now(id)?.is_some();
        if directory && (!known || made || may_see) {
            self.list_later(id, look.how);
        }
        // Half a rename looks like a directory that was made: it may be a known one, with all below it.
        let moved = decision != Decision::Refresh || flags.any(Flags::NAMED | Flags::MOVED);
        if directory && known && (moved || self.listing && self.is_unsure()) && self.was_passed_by(id) {
            self.left.todo.push_back(Todo::List(id, true, look.how));
        }
        Ok(())
    }

    /// Whether a sweep is or was under way that directories may have passed by.
    fn is_unsure(&self) -> bool {
        self.shared.unsure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether a sweep may have missed a directory that moved: from where it had not been yet to where it had. What
    /// changed below it before is not known then, and nothing may watch it.
    fn was_passed_by(&self, id: EntryId) -> bool {
        let followed = self.shared.arms.get(id.volume).is_some_and(|arm| arm.how() != How::Sweep);
        // Once is enough: after that listing it cannot have been passed by.
        let first = match &mut *self.shared.unsure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(listed) => listed.insert(id),
            None => !self.shared.arms.is_watched(id),
        };
        followed && first
    }

    /// A look failed, and nothing is concluded. The directory is blind until it is listed without such.
    pub(super) fn trouble(&mut self, dir: &Dir, name: &[u8], error: scan::Errno) -> Result<(), EngineError> {
        let path = [&dir.spot.path(self.tops)[..], b"/", name].concat();
        tracing::warn!(path = %String::from_utf8_lossy(&path), %error, "cannot look here; what is stored stays");
        if matches!(error, scan::Errno::IO | scan::Errno::STALE | scan::Errno::NOTCONN | scan::Errno::NODEV) {
            self.left.troubled.push((dir.id.volume, error.to_string()));
        }
        self.blind(dir.id, "look", error)
    }

    pub(super) fn own_stat(&mut self, dir: &Dir, how: How) -> Result<(), EngineError> {
        self.shared.vitals.looked();
        let at = self.shared.ground.clock.now();
        match self.shared.ground.disk.look_self(dir.fd.as_fd()) {
            Ok(seen) => {
                self.batch.entry(&Found { id: dir.id, stat: seen.stat }, &Look::plain(at, how))?;
                Ok(())
            }
            Err(error) => self.trouble(dir, b".", error),
        }
    }
}
