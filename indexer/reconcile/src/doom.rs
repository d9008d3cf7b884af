//! Entries without a name at the end of a batch: those that wait, and those that are gone with all below.

use record::{EntryId, Name, Place};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::batch::{Batch, Touched};
use crate::paths::{Paths, Side, join, top};
use crate::{Detached, Finished, Held, Look, Stored};

/// Names read from the stored rows at a time.
const CHUNK: usize = 256;

/// A directory on its way out, and the last name in it that has been dealt with.
struct Frame {
    dir: EntryId,
    after: Option<Name>,
}

/// Names added, by directory.
type Gained = FxHashMap<EntryId, Vec<(Name, EntryId)>>;

/// How far the removal has come.
struct Progress {
    gained: Gained,
    /// Entries the batch may have touched before it stops.
    most: usize,
    /// Whether anything is gone for good: without that, going on in the next batch would never end.
    any: bool,
}

impl<S: Stored> Batch<'_, S> {
    /// Parks entries that lost their last name: nothing is written of the loss, unless another entry took
    /// the name; then the nameless one is noted as detached.
    pub(crate) fn hold(&mut self, finished: &mut Finished) -> Result<(), S::Error> {
        for id in self.nameless()? {
            let before = self.touched[&id].before.as_ref().map(|node| node.names.clone()).unwrap_or_default();
            let mut free = Vec::new();
            for place in before {
                if self.is_free(&place) && !self.is_below(place.dir, id)? {
                    self.names.remove(&(place.dir, place.name.clone()));
                    free.push(place);
                }
            }
            for place in &free {
                self.hold_times(place.dir);
            }
            if !free.is_empty() {
                // Each of them: the times of its directory are held too.
                finished.held.extend(free.iter().map(|place| Held { id, place: Some(place.clone()) }));
                if let Some(node) = self.touched.get_mut(&id).and_then(|touched| touched.after.as_mut()) {
                    node.names = free;
                }
            } else {
                self.detach(id, finished)?;
            }
        }
        self.doom(usize::MAX, finished)
    }

    /// Leaves the times of a directory as stored while a name in it waits: they moved with that name, and the
    /// record that will tell of it carries them.
    fn hold_times(&mut self, dir: EntryId) {
        let Some(Touched { before: Some(before), after: Some(after), recycled: false, .. }) =
            self.touched.get_mut(&dir)
        else {
            return;
        };
        let (was, is) = (&before.row.stat, &after.row.stat);
        if was.is_directory() && (was.mode, was.uid, was.gid) == (is.mode, is.uid, is.gid) {
            after.row.stat = before.row.stat;
            after.row.looked_at = before.row.looked_at;
        }
    }

    /// Removes entries that have no name left, and everything below them.
    pub(crate) fn end(&mut self, limit: usize, finished: &mut Finished) -> Result<(), S::Error> {
        for id in self.nameless()? {
            if self.aside.contains(&id) {
                self.detach(id, finished)?;
            } else if let Some(touched) = self.touched.get_mut(&id) {
                touched.after = None;
            }
        }
        self.doom(limit, finished)
    }

    /// Keeps an entry without a name, as it was: what was seen of it since is not told until it is found.
    fn detach(&mut self, id: EntryId, finished: &mut Finished) -> Result<(), S::Error> {
        let Some(touched) = self.touched.get_mut(&id) else { return Ok(()) };
        touched.after.clone_from(&touched.before);
        let Some(node) = &mut touched.after else { return Ok(()) };
        let lost = node.names.first().cloned();
        node.names.clear();
        if self.aside.contains(&id) {
            finished.aside.push(id);
        } else {
            finished.held.push(Held { id, place: None });
        }
        if let Some(place) = lost {
            let dir = Paths::default().dir(self, Side::Before, place.dir)?;
            let path = join(dir.path(), &place.name);
            if let Some(node) = self.touched.get_mut(&id).and_then(|touched| touched.after.as_mut()) {
                node.detached = Some(Detached { place, path });
            }
        }
        Ok(())
    }

    /// Whether this batch took a name away and gave it to no other.
    pub(crate) fn is_free(&self, place: &Place) -> bool {
        self.names.get(&(place.dir, place.name.clone())) == Some(&None)
    }

    /// Whether `dir` lies in or below `id`, as this batch leaves it: a name given back there would close
    /// a circle.
    fn is_below(&mut self, dir: EntryId, id: EntryId) -> Result<bool, S::Error> {
        let mut at = dir;
        let mut way = FxHashSet::default();
        while at != id {
            // A circle without `id` may be stored; a round that comes upon it cuts it.
            match self.place_after(at)? {
                Some(place) if way.insert(at) => at = place.dir,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Entries that have no name although they need one. New ones that came and went are dropped at once.
    fn nameless(&mut self) -> Result<Vec<EntryId>, S::Error> {
        let mut nameless = Vec::new();
        for id in self.order.clone() {
            let Some(touched) = self.touched.get_mut(&id) else { continue };
            if touched.after.as_ref().is_none_or(|node| !node.names.is_empty())
                || (top(self.roots, id).is_some() && !self.released.contains(&id))
            {
                continue;
            }
            match &touched.before {
                None => touched.after = None,
                Some(_) if touched.recycled => touched.after = None,
                Some(before) => {
                    // A detached entry merely looked at waits on; its time ends by `release`.
                    if !before.names.is_empty() || self.released.contains(&id) {
                        nameless.push(id);
                    }
                }
            }
        }
        Ok(nameless)
    }

    /// Takes the names in directories that are gone from what they named: leaves first, so that stopping at
    /// `limit` touched entries leaves a lawful tree; the rest is then named in `finished.unfinished`.
    fn doom(&mut self, limit: usize, finished: &mut Finished) -> Result<(), S::Error> {
        let gained = self.gained();
        let gone: Vec<EntryId> = self.order.iter().copied().filter(|id| self.is_gone(*id, &gained)).collect();
        let most = self.touched.len().saturating_add(limit);
        let mut progress = Progress { gained, most, any: false };
        let mut limited = Vec::new();
        for id in gone {
            if limit < usize::MAX && self.can_spare(id) {
                limited.push(id);
            } else {
                self.empty(id, false, &mut progress, finished)?;
            }
        }
        for (nth, id) in limited.iter().enumerate() {
            if !self.empty(*id, true, &mut progress, finished)? {
                for rest in &limited[nth + 1..] {
                    self.spare(*rest, finished)?;
                }
                break;
            }
        }
        Ok(())
    }

    /// Whether `id` was a directory, stored or in this batch, and is none any more: it ended, or its
    /// inode number now belongs to something else.
    fn is_gone(&self, id: EntryId, gained: &Gained) -> bool {
        let touched = &self.touched[&id];
        let was = touched.before.as_ref().is_some_and(|node| node.row.stat.is_directory());
        let is = touched.after.as_ref().is_some_and(|node| node.row.stat.is_directory());
        !is && (was || gained.contains_key(&id))
    }

    /// Whether a directory that is gone could go a batch later: it, and all that it was in, have only
    /// ended. What was recycled, or came and went, cannot be kept.
    fn can_spare(&self, id: EntryId) -> bool {
        let mut at = id;
        while let Some(Touched { before, after: None, recycled, .. }) = self.touched.get(&at) {
            match before {
                Some(node) if !recycled => match node.names.first() {
                    Some(place) => at = place.dir,
                    None => return true,
                },
                _ => return false,
            }
        }
        self.touched
            .get(&at)
            .and_then(|touched| touched.after.as_ref())
            .is_none_or(|node| node.row.stat.is_directory())
    }

    /// Takes away every name below `start`; false when it stopped.
    fn empty(
        &mut self,
        start: EntryId,
        limited: bool,
        progress: &mut Progress,
        finished: &mut Finished,
    ) -> Result<bool, S::Error> {
        let mut stack = vec![Frame { dir: start, after: None }];
        while let Some(frame) = stack.last_mut() {
            if limited && progress.any && self.touched.len() > progress.most {
                for frame in &stack {
                    self.spare(frame.dir, finished)?;
                }
                return Ok(false);
            }
            let dir = frame.dir;
            let mut children = self.stored.children(dir, frame.after.as_deref(), CHUNK)?;
            let last = children.len() < CHUNK;
            frame.after = children.last().map(|(name, _)| name.clone()).or(frame.after.take());
            if last {
                children.extend(progress.gained.remove(&dir).unwrap_or_default());
                stack.pop();
            }
            let mut below = Vec::new();
            for (name, child) in children {
                self.doom_child(&Place { dir, name }, child, start, &mut below, finished)?;
            }
            progress.any |= last && below.is_empty();
            for dir in below {
                if limited && !self.can_spare(dir) {
                    self.empty(dir, false, progress, finished)?;
                } else {
                    stack.push(Frame { dir, after: None });
                }
            }
        }
        Ok(true)
    }

    fn doom_child(
        &mut self,
        place: &Place,
        child: EntryId,
        start: EntryId,
        below: &mut Vec<EntryId>,
        finished: &mut Finished,
    ) -> Result<(), S::Error> {
        if self.owner(place)? != Some(child) {
            return Ok(());
        }
        let look = self.touched.get(&start).map_or_else(
            || Look::plain(record::Time(0), record::How::Sweep),
            |touched| Look::plain(touched.at, touched.how),
        );
        self.touch(child, &look)?;
        self.lose(child, place);
        let Some(touched) = self.touched.get_mut(&child) else { return Ok(()) };
        let Some(node) = &touched.after else { return Ok(()) };
        match node.names.first() {
            // It lives on under another name, which tells its new link count.
            Some(other) => finished.unfinished.push(other.clone()),
            None => {
                let was = touched.before.as_ref().is_some_and(|node| node.row.stat.is_directory());
                if was || node.row.stat.is_directory() {
                    below.push(child);
                }
                touched.after = None;
            }
        }
        Ok(())
    }

    /// Gives a directory that could not be emptied its names back, for the next batch to go on with; and
    /// likewise what it was in.
    fn spare(&mut self, id: EntryId, finished: &mut Finished) -> Result<(), S::Error> {
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let Some(touched) = self.touched.get_mut(&id) else { continue };
            if touched.recycled || touched.after.is_some() {
                continue;
            }
            touched.after.clone_from(&touched.before);
            let names = touched.before.as_ref().map(|node| node.names.clone()).unwrap_or_default();
            let mut kept = Vec::new();
            if let Some(node) = &mut touched.after {
                node.names.clear();
            }
            for place in names {
                if self.is_free(&place) && !self.is_below(place.dir, id)? {
                    self.names.remove(&(place.dir, place.name.clone()));
                    finished.unfinished.push(place.clone());
                    next = Some(place.dir);
                    kept.push(place);
                }
            }
            if kept.is_empty() {
                self.detach(id, finished)?;
            } else if let Some(node) = self.touched.get_mut(&id).and_then(|touched| touched.after.as_mut()) {
                node.names = kept;
            }
        }
        Ok(())
    }

    /// Names that this batch added, by directory.
    fn gained(&self) -> Gained {
        let mut gained = Gained::default();
        for ((dir, name), owner) in &self.names {
            if let Some(owner) = owner {
                gained.entry(*dir).or_default().push((name.clone(), *owner));
            }
        }
        gained
    }
}
