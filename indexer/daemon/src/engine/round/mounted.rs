//! Names at which file systems meet: what a mount covers, what an unmount takes away, what comes back. Rows of what is
//! out of sight stay, and nothing is concluded from not seeing it.

use index::Blind;
use reconcile::{Found, Look, Stored as _, same_entry};
use record::{EntryId, How, Place, Time};
use scan::Seen;
use watch::Flags;

use super::Round;
use crate::engine::error::EngineError;
use crate::engine::open::Dir;

/// Why what lies under a mount point cannot be vouched for.
pub(crate) const COVERED: &str = "covered by a mount";

/// Why a file system that was followed inside a root cannot be.
pub(crate) const NOT_MOUNTED: &str = "its file system is not mounted";

/// Whether that is why a directory is blind: then its mount tells when it can be looked at again.
pub(crate) fn is_out_of_sight(why: &str) -> bool {
    why.starts_with(COVERED) || why == NOT_MOUNTED
}

/// What went out of sight in a round.
pub(crate) struct Hidden {
    pub(crate) path: Vec<u8>,
    pub(crate) why: String,
}

/// What came into sight again: a directory, and since when it was out of it.
pub(crate) struct InSight {
    pub(crate) id: EntryId,
    pub(crate) since: Option<Time>,
}

impl Round<'_> {
    /// A directory at whose name another file system begins, or did.
    ///
    /// What is seen there and is new or known gets the name. What had it stays stored without one: a mount covers
    /// it, or its file system is not mounted. Only the unknown directory under a mount that is gone is not taken for
    /// what was mounted: that keeps its name.
    pub(super) fn crossed(
        &mut self,
        dir: &Dir,
        name: &[u8],
        id: EntryId,
        seen: &Seen,
        look: &Look,
    ) -> Result<(), EngineError> {
        let place = Place::new(dir.id, name);
        let found = Found { id, stat: seen.stat };
        let known = self.batch.row_of(id)?.is_some_and(|row| same_entry(&row, &seen.stat));
        match self.batch.owner(&place)? {
            Some(owner) if owner == id => {
                self.batch.name(dir.id, name, Some(found), look)?;
                return self.in_sight(id, false);
            }
            Some(owner) if owner.volume == dir.id.volume && seen.mount != dir.seen.mount => {
                self.set_aside(dir, name, owner, COVERED)?;
            }
            Some(owner) if owner.volume == dir.id.volume => {}
            Some(owner) if self.may_be_back(dir, name, owner) => {
                let elsewhere = self.batch.names_of(owner)?.len() > 1;
                if !elsewhere && !known && id.volume == dir.id.volume {
                    return self.out_of_sight(dir, name, owner, NOT_MOUNTED);
                }
                if !elsewhere {
                    let why =
                        if self.shared.volumes.is_in_sight(owner.volume) { COVERED } else { NOT_MOUNTED };
                    self.set_aside(dir, name, owner, why)?;
                }
            }
            _ => {}
        }
        let others = self.batch.names_of(id)?;
        // The kernel shows it at its very place: no birth has to witness that it is the one.
        let look = Look { moved: look.moved || known, ..*look };
        self.batch.name(dir.id, name, Some(found), &look)?;
        self.opener.all_moved();
        // A directory has one name: what was mounted elsewhere before is there no more.
        for other in others.into_iter().filter(|other| *other != place) {
            let todo = self.todo_name(other);
            self.left.todo.push_back(todo);
        }
        if known {
            return self.in_sight(id, true);
        }
        self.list_later(id, look.how);
        Ok(())
    }

    /// A name at which something is mounted that is not followed.
    pub(super) fn covered(
        &mut self,
        dir: &Dir,
        name: &[u8],
        why: &str,
        look: &Look,
    ) -> Result<(), EngineError> {
        match self.batch.owner(&Place::new(dir.id, name))? {
            None => Ok(()),
            // Followed before, and left out by the rules of now.
            Some(owner) if owner.volume != dir.id.volume && why == scan::ANOTHER => {
                self.lost_name(dir, name, look, Flags::NONE, true)
            }
            Some(owner) => {
                self.out_of_sight(dir, name, owner, &format!("{COVERED} that is not followed ({why})"))
            }
        }
    }

    /// Whether the entry of another file system that is stored at this name may be back.
    pub(super) fn may_be_back(&self, dir: &Dir, name: &[u8], owner: EntryId) -> bool {
        let volumes = &self.shared.volumes;
        let links = self.trees[dir.spot.tree].scope.follow_symlinks;
        volumes.may_be_back(owner.volume, dir.id.volume, &self.path_of(dir, name))
            && (!links || volumes.is_top(owner))
    }

    pub(super) fn path_of(&self, dir: &Dir, name: &[u8]) -> Vec<u8> {
        let mut path = dir.spot.path(self.tops);
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// The owner of a name loses it without being gone.
    pub(super) fn set_aside(
        &mut self,
        dir: &Dir,
        name: &[u8],
        owner: EntryId,
        why: &str,
    ) -> Result<(), EngineError> {
        self.batch.set_aside(owner);
        self.out_of_sight(dir, name, owner, why)
    }

    /// Notes that what is stored at a name cannot be seen.
    pub(super) fn out_of_sight(
        &mut self,
        dir: &Dir,
        name: &[u8],
        owner: EntryId,
        why: &str,
    ) -> Result<(), EngineError> {
        let before = self.still_blind(owner)?;
        if before.as_ref().is_some_and(|before| before.why == why) {
            return Ok(());
        }
        let since = before.as_ref().map_or_else(|| self.shared.ground.clock.now(), |before| before.since);
        self.coverage.insert(owner, Some(Blind { since, why: why.to_owned() }));
        if before.is_some_and(|before| is_out_of_sight(&before.why)) {
            return Ok(());
        }
        let path = self.path_of(dir, name);
        tracing::warn!(path = %String::from_utf8_lossy(&path), why, "out of sight; what is stored of it is kept");
        self.left.hidden.push(Hidden { path, why: why.to_owned() });
        Ok(())
    }

    /// Notes that an entry can be seen again. `anew`: what is below it must be compared in any case.
    pub(super) fn in_sight(&mut self, id: EntryId, anew: bool) -> Result<(), EngineError> {
        let blind = self.blind_now(id)?.filter(|blind| is_out_of_sight(&blind.why));
        let since = blind.map(|blind| blind.since);
        if since.is_some() {
            self.coverage.insert(id, None);
        }
        if anew || since.is_some() {
            self.left.in_sight.push(InSight { id, since });
        }
        Ok(())
    }

    /// Looks once more at the name that a nameless entry had; whether it has one now.
    pub(super) fn is_back(&mut self, id: EntryId, how: How) -> Result<bool, EngineError> {
        if let Some(detached) = self.reader.detached(id)?
            && self.batch.names_of(id)?.is_empty()
        {
            self.place(&detached.place, Flags::NONE, how)?;
        }
        Ok(!self.batch.names_of(id)?.is_empty())
    }

    /// Whether a nameless entry is only out of sight: something is mounted where it was, or it is the top of a file
    /// system that is not mounted; or so is what it was in.
    pub(super) fn is_aside(&mut self, mut id: EntryId, how: How) -> Result<bool, EngineError> {
        let mut above = Vec::new();
        let (spot, dir, name) = loop {
            let Some(detached) = self.reader.detached(id)? else { return Ok(false) };
            let Place { dir, name } = detached.place;
            if self.batch.row_of(dir)?.is_none() {
                return Ok(false);
            }
            if dir.volume != id.volume {
                return Ok(self.shared.volumes.may_be_back(id.volume, dir.volume, &detached.path));
            }
            if let Some(spot) = self.spot(dir)? {
                break (spot, dir, name);
            }
            // What it was in has no way up. Where that waits for a name, or ends, so must this one.
            above.push(id);
            id = self.nameless_above(dir)?;
            if above.contains(&id) {
                return Ok(false);
            }
        };
        let Some(dir) = self.open(dir, None, how)? else { return Ok(!self.trees[spot.tree].present) };
        let seen = self.shared.ground.disk.look(std::os::fd::AsFd::as_fd(&dir.fd), &name);
        Ok(matches!(seen, scan::Look::Present(seen) if seen.mount != dir.seen.mount))
    }

    /// The entry without a name at the end of the way up.
    fn nameless_above(&mut self, dir: EntryId) -> Result<EntryId, EngineError> {
        let mut at = dir;
        let mut seen = rustc_hash::FxHashSet::default();
        while seen.insert(at)
            && let Some(place) = self.batch.names_of(at)?.into_iter().next()
        {
            at = place.dir;
        }
        Ok(at)
    }
}
