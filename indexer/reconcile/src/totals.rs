//! Recursive totals from a batch's differences. Only directories on the way up from a change are read.

use std::collections::BinaryHeap;

use record::{EntryId, Stat, Time, Totals};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::batch::{Batch, Node};
use crate::paths::{Paths, Side};
use crate::{Plan, Stored};

/// Names read from the stored rows at a time.
const CHUNK: usize = 256;

/// A difference of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Delta {
    files: i64,
    directories: i64,
    bytes: i128,
    allocated: i128,
    newest: Option<Time>,
}

impl Delta {
    fn of(stat: &Stat) -> Delta {
        let directory = stat.is_directory();
        Delta {
            files: i64::from(!directory),
            directories: i64::from(directory),
            bytes: i128::from(stat.size),
            allocated: i128::from(stat.allocated),
            newest: Some(stat.changed),
        }
    }

    fn whole(totals: &Totals) -> Delta {
        Delta {
            files: totals.files.cast_signed(),
            directories: totals.directories.cast_signed(),
            bytes: i128::from(totals.bytes),
            allocated: i128::from(totals.allocated),
            newest: Some(totals.newest),
        }
    }

    fn add(&mut self, other: &Delta) {
        self.files += other.files;
        self.directories += other.directories;
        self.bytes += other.bytes;
        self.allocated += other.allocated;
        self.newest = self.newest.max(other.newest);
    }

    /// Takes `other` away; the newest change ever seen stays.
    fn subtract(&mut self, other: &Delta) {
        self.files -= other.files;
        self.directories -= other.directories;
        self.bytes -= other.bytes;
        self.allocated -= other.allocated;
    }

    fn apply(&self, totals: &Totals) -> Totals {
        let count = |now: u64, by: i64| now.checked_add_signed(by).unwrap_or(0);
        let sum = |now: u64, by: i128| u64::try_from(i128::from(now) + by).unwrap_or(0);
        Totals {
            files: count(totals.files, self.files),
            directories: count(totals.directories, self.directories),
            bytes: sum(totals.bytes, self.bytes),
            allocated: sum(totals.allocated, self.allocated),
            newest: self.newest.map_or(totals.newest, |newest| newest.max(totals.newest)),
        }
    }
}

/// Whether a file with one name counts as before: most changes of what is known of contents.
fn counts_alike(before: Option<&Node>, after: Option<&Node>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    !before.row.stat.is_directory()
        && !after.row.stat.is_directory()
        && before.names == after.names
        && before.names.len() == 1
        && Delta::of(&before.row.stat) == Delta::of(&after.row.stat)
}

impl<S: Stored> Batch<'_, S> {
    /// Puts the new totals of every directory that the batch moved into `plan`.
    pub(crate) fn plan_totals(&mut self, plan: &mut Plan) -> Result<(), S::Error> {
        let mut paths = Paths::default();
        let mut deltas: FxHashMap<EntryId, Delta> = FxHashMap::default();
        for id in self.order.clone() {
            self.local(id, &mut paths, &mut deltas, plan)?;
        }
        for (_, node) in self.recounted(&mut paths)? {
            for dir in self.counted_at(&node, Side::Before, &mut paths)? {
                deltas.entry(dir).or_default().subtract(&Delta::of(&node.row.stat));
            }
            for dir in self.counted_at(&node, Side::After, &mut paths)? {
                deltas.entry(dir).or_default().add(&Delta::of(&node.row.stat));
            }
        }
        // Deepest first, so that every directory has all of its difference before its parent takes it.
        let mut queued: FxHashSet<EntryId> = FxHashSet::default();
        let mut heap = BinaryHeap::new();
        for id in deltas.keys().copied().collect::<Vec<_>>() {
            if queued.insert(id) {
                heap.push((paths.dir(self, Side::After, id)?.depth, id));
            }
        }
        while let Some((_, id)) = heap.pop() {
            let delta = deltas.remove(&id).unwrap_or_default();
            if !self.is_directory_after(id)? {
                continue;
            }
            // Totals stored under the number of what was no directory are another's, long gone.
            let old = if self.was_directory(id)? { self.stored.totals(id)? } else { None };
            let new = delta.apply(&old.unwrap_or_default());
            if old != Some(new) {
                plan.totals.push((id, Some(new)));
            }
            let Some(up) = self.place_after(id)? else { continue };
            let stays = old.is_some() && self.place_before(id)?.is_some_and(|place| place.dir == up.dir);
            let carried = if stays { delta } else { Delta::whole(&new) };
            if carried == Delta::default() {
                continue;
            }
            deltas.entry(up.dir).or_default().add(&carried);
            if queued.insert(up.dir) {
                heap.push((paths.dir(self, Side::After, up.dir)?.depth, up.dir));
            }
        }
        plan.totals.sort_by_key(|(id, _)| *id);
        Ok(())
    }

    /// What one touched entry changes in the directory that counts it, or in itself.
    fn local(
        &mut self,
        id: EntryId,
        paths: &mut Paths,
        deltas: &mut FxHashMap<EntryId, Delta>,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        let Some(touched) = self.touched.get(&id) else { return Ok(()) };
        let (before, after) = (touched.before.clone(), touched.after.clone());
        if before == after || counts_alike(before.as_ref(), after.as_ref()) {
            return Ok(());
        }
        let was_directory = before.as_ref().filter(|node| node.row.stat.is_directory());
        let is_directory = after.as_ref().filter(|node| node.row.stat.is_directory());
        if let Some(node) = before.as_ref().filter(|node| !node.row.stat.is_directory()) {
            for dir in self.counted_at(node, Side::Before, paths)? {
                deltas.entry(dir).or_default().subtract(&Delta::of(&node.row.stat));
            }
        }
        if let Some(node) = after.as_ref().filter(|node| !node.row.stat.is_directory()) {
            for dir in self.counted_at(node, Side::After, paths)? {
                deltas.entry(dir).or_default().add(&Delta::of(&node.row.stat));
            }
        }
        if let Some(node) = is_directory {
            deltas.entry(id).or_default().add(&Delta::of(&node.row.stat));
        }
        if let Some(node) = was_directory {
            if is_directory.is_some() {
                deltas.entry(id).or_default().subtract(&Delta::of(&node.row.stat));
            } else {
                plan.totals.push((id, None));
            }
            let old_up = node.names.first().map(|place| place.dir);
            let new_up = is_directory.and_then(|node| node.names.first().map(|place| place.dir));
            if let Some(old_up) = old_up.filter(|_| old_up != new_up) {
                let whole = self.stored.totals(id)?.map(|totals| Delta::whole(&totals)).unwrap_or_default();
                deltas.entry(old_up).or_default().subtract(&whole);
            }
        }
        Ok(())
    }

    /// Entries with several names that did not change, but lie below a directory that went from one root
    /// to another: which of their names counts in each may be another now.
    fn recounted(&mut self, paths: &mut Paths) -> Result<FxHashMap<EntryId, Node>, S::Error> {
        let mut moved = Vec::new();
        for id in self.order.clone() {
            let touched = &self.touched[&id];
            let (Some(before), Some(after)) = (&touched.before, &touched.after) else { continue };
            if before.row.stat.is_directory()
                && after.row.stat.is_directory()
                && before.names != after.names
                && paths.dir(self, Side::Before, id)?.top != paths.dir(self, Side::After, id)?.top
            {
                moved.push(id);
            }
        }
        let mut found = FxHashMap::default();
        let mut been = FxHashSet::default();
        while let Some(dir) = moved.pop() {
            // Stored names may run in a circle.
            if !been.insert(dir) {
                continue;
            }
            let mut last = None;
            loop {
                let children = self.stored.children(dir, last.as_deref(), CHUNK)?;
                for (_, child) in &children {
                    let Some(row) = self.stored.row(*child)? else { continue };
                    if row.stat.is_directory() {
                        moved.push(*child);
                    } else if row.many_names
                        && !found.contains_key(child)
                        && self.touched.get(child).is_none_or(|touched| touched.before == touched.after)
                        && let Some(node) = self.load(*child)?
                    {
                        found.insert(*child, node);
                    }
                }
                if children.len() < CHUNK {
                    break;
                }
                last = children.last().map(|(name, _)| name.clone());
            }
        }
        Ok(found)
    }

    /// The directories that count an entry: its least name's, once a root.
    fn counted_at(&mut self, node: &Node, side: Side, paths: &mut Paths) -> Result<Vec<EntryId>, S::Error> {
        if let [only] = &node.names[..] {
            return Ok(vec![only.dir]);
        }
        let mut tops = Vec::new();
        let mut dirs = Vec::new();
        for place in &node.names {
            let top = paths.dir(self, side, place.dir)?.top;
            if !tops.contains(&top) {
                tops.push(top);
                dirs.push(place.dir);
            }
        }
        Ok(dirs)
    }

    fn was_directory(&self, id: EntryId) -> Result<bool, S::Error> {
        Ok(match self.touched.get(&id) {
            Some(touched) => touched.before.as_ref().is_some_and(|node| node.row.stat.is_directory()),
            None => self.stored.row(id)?.is_some_and(|row| row.stat.is_directory()),
        })
    }

    fn is_directory_after(&mut self, id: EntryId) -> Result<bool, S::Error> {
        Ok(match self.touched.get(&id) {
            Some(touched) => touched.after.as_ref().is_some_and(|node| node.row.stat.is_directory()),
            None => self.stored.row(id)?.is_some_and(|row| row.stat.is_directory()),
        })
    }
}
