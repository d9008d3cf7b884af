//! What follows from a change of the mount table: roots lost and found at once, names at mount points looked at, dead
//! marks made anew. Decides nothing about rows; the round does, name by name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use reconcile::Held;
use record::{EntryId, How, Place, Time};
use rustc_hash::FxHashSet;
use tracing::{info, warn};
use watch::{Flags, MountWatch};

use super::core::Core;
use super::error::EngineError;
use super::round::{Hidden, InSight, Left, Todo};

/// The mounts inside the roots, as the engine last looked at them.
#[derive(Default)]
pub(crate) struct Mounts {
    watch: Option<MountWatch>,
    points: BTreeSet<Vec<u8>>,
    /// Entries without a name that are out of sight and kept, until the next change of the table.
    aside: FxHashSet<EntryId>,
    hidden: Vec<Hidden>,
    in_sight: Vec<InSight>,
}

impl Mounts {
    /// Whether something went out of sight or came back that nothing was done about yet.
    pub(crate) fn is_owed(&self) -> bool {
        !self.hidden.is_empty() || !self.in_sight.is_empty()
    }

    /// Takes over what a round says of mounts.
    pub(crate) fn take_over(&mut self, left: &mut Left) {
        self.aside.extend(left.aside.drain(..));
        self.hidden.append(&mut left.hidden);
        self.in_sight.append(&mut left.in_sight);
    }
}

impl Core {
    /// Begins to watch the mount table; before anything is listed.
    pub(crate) fn watch_mounts(&mut self) {
        if !self.shared.one_pass && self.shared.ground.watch.is_none() && self.mounts.watch.is_none() {
            let pending = Arc::clone(&self.shared.pending);
            match MountWatch::start(move || pending.wake()) {
                Ok(watch) => self.mounts.watch = Some(watch),
                Err(error) => warn!(%error, "mounts are not watched, only looked at now and then"),
            }
        }
        self.watch_ways();
        self.mounts.points = self.mount_points();
    }

    /// Watches the directories from `/` to each root for their own renames.
    fn watch_ways(&self) {
        let Some(watch) = &self.mounts.watch else { return };
        let paths: Vec<&Path> =
            self.trees.iter().map(|tree| Path::new(OsStr::from_bytes(&tree.row.path))).collect();
        watch.watch_way(&paths);
    }

    /// Where something is mounted inside the roots now.
    fn mount_points(&self) -> BTreeSet<Vec<u8>> {
        let table = self.shared.ground.disk.mounts().unwrap_or_else(|error| {
            warn!(%error, "the mount table cannot be read");
            Vec::new()
        });
        let inside = |point: &[u8]| {
            self.trees.iter().any(|tree| point != &tree.row.path[..] && scan::is_below(point, &tree.row.path))
        };
        let points: BTreeSet<Vec<u8>> =
            table.into_iter().map(|mount| mount.point).filter(|point| inside(point)).collect();
        for point in &points {
            self.shared.volumes.note_point(point);
        }
        points
    }

    /// Does what a change of the mount table calls for, if there was one since the last call.
    pub(crate) fn look_at_mounts(&mut self) -> Result<(), EngineError> {
        if !self.mounts.watch.as_ref().is_some_and(MountWatch::changed) {
            return Ok(());
        }
        let from = self.drained;
        let dead = self.shared.arms.forget_dead();
        for tree in &self.trees {
            tree.scope.forget_mounts();
        }
        let present: Vec<bool> = self.trees.iter().map(|tree| tree.present).collect();
        self.look_for_lost()?;
        self.watch_ways();
        let now = self.mount_points();
        let before = std::mem::replace(&mut self.mounts.points, now);
        for point in before.union(&self.mounts.points) {
            let todo = self.name_at(point)?;
            self.todo.extend(todo);
        }
        let aside = std::mem::take(&mut self.mounts.aside);
        self.held.extend(aside.into_iter().map(|id| (Held { id, place: None }, Instant::now())));
        // Unmounted and mounted again before anybody looked: only the dead mark tells.
        for (at, was_present) in present.into_iter().enumerate() {
            if !was_present || !self.trees[at].present {
                continue;
            }
            for (_, volume, point) in self.trees[at].scope.volumes() {
                if dead.contains(&volume) {
                    self.back_in_sight(at, &point, Some(from))?;
                }
            }
        }
        Ok(())
    }

    /// A look at the name that a path inside a root stands for; `None` where the directory above is not in the index.
    pub(crate) fn name_at(&self, path: &[u8]) -> Result<Option<Todo>, EngineError> {
        let Some(slash) = path.iter().rposition(|&byte| byte == b'/') else { return Ok(None) };
        let dir = self.shared.index.read()?.resolve(&path[..slash.max(1)])?;
        Ok(dir.map(|(_, dir)| Todo::Name(Place::new(dir, &path[slash + 1..]), Flags::NONE, How::Sweep)))
    }

    /// Tells of what went out of sight in the rounds before, and compares what came back.
    pub(crate) fn tell_mounts(&mut self) -> Result<(), EngineError> {
        for Hidden { path, why } in std::mem::take(&mut self.mounts.hidden) {
            if let Some(at) = self.tree_of(&path) {
                let from = self.drained;
                self.tell_gap(at, &path, from, &why)?;
            }
        }
        for InSight { id, since } in std::mem::take(&mut self.mounts.in_sight) {
            let reader = self.shared.index.read()?;
            let path = reader.path(&reader.roots()?, id)?;
            drop(reader);
            if let Some(path) = path
                && let Some(at) = self.tree_of(&path)
            {
                self.back_in_sight(at, &path, since)?;
            }
        }
        Ok(())
    }

    /// Watches and compares a part of a tree that was out of sight.
    fn back_in_sight(&mut self, at: usize, path: &[u8], since: Option<Time>) -> Result<(), EngineError> {
        info!(path = %String::from_utf8_lossy(path), "in sight again; comparing it");
        self.order_part(at, path, since, "it was out of sight")
    }

    /// Believes that what is stored of a file system at `path` inside a root will not be back. Answers whether there
    /// is such a thing.
    pub(crate) fn give_up(&mut self, path: &[u8]) -> Result<bool, EngineError> {
        let reader = self.shared.index.read()?;
        let rows = reader.roots()?;
        let mut given_up = false;
        for (id, blind) in reader.blind()? {
            use reconcile::Stored as _;
            let named = reader.path(&rows, id)?;
            let was = match named {
                Some(path) => Some(path),
                None => reader.detached(id)?.map(|detached| detached.path.to_vec()),
            };
            if was.as_deref() == Some(path) && blind.why == super::round::NOT_MOUNTED {
                self.shared.volumes.give_up(id.volume);
                self.held.push((Held { id, place: None }, Instant::now()));
                given_up = true;
            }
        }
        if given_up {
            let todo = self.name_at(path)?;
            self.todo.extend(todo);
            self.work_off(None)?;
        }
        Ok(given_up)
    }
}
