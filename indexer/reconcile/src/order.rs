//! The order of records in one plan, so that a reader who applies them one by one never sees a name taken
//! before it is free, a child before its directory, or a directory going before its children.

use record::{EntryId, Place};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::Stored;
use crate::batch::Batch;

/// What must come before what.
#[derive(Default)]
struct Before {
    /// Who has a name in the end, among the changed.
    takers: FxHashMap<Place, EntryId>,
    /// Who had a name that it loses.
    holders: FxHashMap<Place, EntryId>,
    /// Who loses a name in a directory.
    leaving: FxHashMap<EntryId, Vec<EntryId>>,
}

impl<S: Stored> Batch<'_, S> {
    /// The touched entries in record order: first touched first, but for three rules. A directory comes
    /// before what gets a name in it; who loses a name comes before who takes it; what leaves a directory
    /// comes before the directory's own end. Exchanges are cycles and are cut anywhere.
    pub(crate) fn record_order(&self) -> Vec<EntryId> {
        let before = self.constraints();
        let mut done: FxHashSet<EntryId> = FxHashSet::default();
        let mut order = Vec::with_capacity(self.order.len());
        for start in &self.order {
            // An explicit stack: deep trees die in one batch. `true` marks an entry whose needs are met.
            let mut stack = vec![(*start, false)];
            while let Some((id, ready)) = stack.pop() {
                if ready {
                    order.push(id);
                    continue;
                }
                if !done.insert(id) {
                    continue;
                }
                stack.push((id, true));
                stack.extend(
                    self.needs(id, &before)
                        .into_iter()
                        .filter(|need| !done.contains(need))
                        .map(|id| (id, false)),
                );
            }
        }
        order
    }

    fn constraints(&self) -> Before {
        let mut before = Before::default();
        for id in &self.order {
            let touched = &self.touched[id];
            let old = touched.before.as_ref().map(|node| &node.names[..]).unwrap_or_default();
            let new = touched.after.as_ref().map(|node| &node.names[..]).unwrap_or_default();
            for place in old.iter().filter(|place| !new.contains(place)) {
                before.holders.insert(place.clone(), *id);
                before.leaving.entry(place.dir).or_default().push(*id);
            }
            for place in new.iter().filter(|place| !old.contains(place)) {
                before.takers.insert(place.clone(), *id);
            }
        }
        before
    }

    fn needs(&self, id: EntryId, before: &Before) -> Vec<EntryId> {
        let touched = &self.touched[&id];
        let mut needs = Vec::new();
        if let Some(node) = &touched.after {
            for place in node.names.iter().filter(|place| before.takers.get(place) == Some(&id)) {
                if self.touched.contains_key(&place.dir) {
                    needs.push(place.dir);
                }
                needs.extend(before.holders.get(place).filter(|holder| **holder != id));
            }
        }
        // What leaves a directory comes before its end, also when its inode number lives on.
        if touched.recycled || touched.after.is_none() {
            needs.extend(before.leaving.get(&id).into_iter().flatten().rev());
        }
        needs
    }
}
