//! Entries without a name at the end of a batch: those that wait, and those that are gone with all below.

use record::{EntryId, Name, Place};
use rustc_hash::FxHashMap;

use crate::batch::Batch;
use crate::paths::{Paths, Side, join, top};
use crate::{Detached, Finished, Held, Look, Stored};

/// Names read from the stored rows at a time.
const CHUNK: usize = 256;

/// A directory on its way out, and the last name in it that has been dealt with.
struct Frame {
    dir: EntryId,
    after: Option<Name>,
}

impl<S: Stored> Batch<'_, S> {
    /// Parks entries that lost their last name: nothing is written of the loss, unless another entry took
    /// the name; then the nameless one is noted as detached.
    pub(crate) fn hold(&mut self, finished: &mut Finished) -> Result<(), S::Error> {
        let mut paths = Paths::default();
        for id in self.nameless()? {
            let before = self.touched[&id].before.as_ref().map(|node| node.names.clone()).unwrap_or_default();
            let free: Vec<Place> = before
                .iter()
                .filter(|place| self.names.get(&(place.dir, place.name.clone())) == Some(&None))
                .cloned()
                .collect();
            if let Some(place) = free.first() {
                for place in &free {
                    self.names.remove(&(place.dir, place.name.clone()));
                }
                finished.held.push(Held { id, place: Some(place.clone()) });
            } else {
                finished.held.push(Held { id, place: None });
                if let Some(place) = before.first() {
                    let dir = paths.dir(self, Side::Before, place.dir)?;
                    let detached = Detached { place: place.clone(), path: join(&dir.path, &place.name) };
                    finished.plan.detached.push((id, Some(detached)));
                }
            }
            if let Some(node) = self.touched.get_mut(&id).and_then(|touched| touched.after.as_mut()) {
                node.names = free;
            }
        }
        self.forget_found(finished)?;
        self.doom(Vec::new(), usize::MAX, finished)
    }

    /// Removes entries that have no name left, and everything below them.
    pub(crate) fn end(&mut self, limit: usize, finished: &mut Finished) -> Result<(), S::Error> {
        let mut tops = Vec::new();
        for id in self.nameless()? {
            if let Some(touched) = self.touched.get_mut(&id) {
                touched.after = None;
                if touched.before.as_ref().is_some_and(|node| node.row.stat.is_directory()) {
                    tops.push(id);
                }
            }
        }
        self.doom(tops, limit, finished)?;
        self.forget_found(finished)
    }

    /// Entries that have no name although they need one. New ones that came and went are dropped at once.
    fn nameless(&mut self) -> Result<Vec<EntryId>, S::Error> {
        let mut nameless = Vec::new();
        for id in self.order.clone() {
            let Some(touched) = self.touched.get_mut(&id) else { continue };
            if touched.after.as_ref().is_none_or(|node| !node.names.is_empty())
                || top(self.roots, id).is_some()
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

    /// Detached entries that found a name, or their end, need no note any more.
    fn forget_found(&mut self, finished: &mut Finished) -> Result<(), S::Error> {
        for id in &self.order {
            let touched = &self.touched[id];
            let was_nameless = touched.before.as_ref().is_some_and(|node| node.names.is_empty());
            let ended = touched.recycled || touched.after.as_ref().is_none_or(|node| !node.names.is_empty());
            if was_nameless && ended && top(self.roots, *id).is_none() {
                finished.plan.detached.push((*id, None));
            }
        }
        Ok(())
    }

    /// Takes the names in directories that are gone from what they named: leaves first, so that stopping at
    /// `limit` touched entries leaves a lawful tree; the rest is then named in `finished.unfinished`.
    fn doom(&mut self, tops: Vec<EntryId>, limit: usize, finished: &mut Finished) -> Result<(), S::Error> {
        let mut starts = tops;
        // A directory's inode number that now belongs to something else holds no names any more.
        starts.extend(self.order.iter().copied().filter(|id| {
            let touched = &self.touched[id];
            touched.recycled
                && touched.before.as_ref().is_some_and(|node| node.row.stat.is_directory())
                && touched.after.as_ref().is_some_and(|node| !node.row.stat.is_directory())
        }));
        if starts.is_empty() {
            return Ok(());
        }
        let mut gained = self.gained();
        for start in starts {
            let mut stack = vec![Frame { dir: start, after: None }];
            while let Some(frame) = stack.last_mut() {
                if self.touched.len() > limit {
                    self.spare(&stack, finished);
                    return Ok(());
                }
                let dir = frame.dir;
                let mut children = self.stored.children(dir, frame.after.as_deref(), CHUNK)?;
                let last = children.len() < CHUNK;
                frame.after = children.last().map(|(name, _)| name.clone()).or(frame.after.take());
                if last {
                    children.extend(gained.remove(&dir).unwrap_or_default());
                }
                let mut below = Vec::new();
                for (name, child) in children {
                    self.doom_child(&Place { dir, name }, child, start, &mut below, finished)?;
                }
                if last {
                    stack.pop();
                }
                stack.extend(below.into_iter().map(|dir| Frame { dir, after: None }));
            }
        }
        Ok(())
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
                if touched.before.as_ref().is_some_and(|node| node.row.stat.is_directory()) {
                    below.push(child);
                }
                touched.after = None;
            }
        }
        Ok(())
    }

    /// Gives directories that could not be emptied their names back, for the next batch to go on with.
    fn spare(&mut self, stack: &[Frame], finished: &mut Finished) {
        for frame in stack {
            let Some(touched) = self.touched.get_mut(&frame.dir) else { continue };
            if touched.recycled || touched.after.is_some() {
                continue;
            }
            touched.after.clone_from(&touched.before);
            let names = touched.before.as_ref().map(|node| node.names.clone()).unwrap_or_default();
            for place in names {
                self.names.remove(&(place.dir, place.name.clone()));
                finished.unfinished.push(place);
            }
            if self.released.contains(&frame.dir) {
                finished.held.push(Held { id: frame.dir, place: None });
            }
        }
    }

    /// Names that this batch added, by directory.
    fn gained(&self) -> FxHashMap<EntryId, Vec<(Name, EntryId)>> {
        let mut gained: FxHashMap<EntryId, Vec<(Name, EntryId)>> = FxHashMap::default();
        for ((dir, name), owner) in &self.names {
            if let Some(owner) = owner {
                gained.entry(*dir).or_default().push((name.clone(), *owner));
            }
        }
        gained
    }
}
