//! Stretches that the stream cannot vouch for: a `gap` record each. Knows when everything was known; looks at nothing.

use index::Message;
use record::{Body, Gap, How, Time};

use super::core::Core;
use super::error::EngineError;
use super::sweeping::background::Why;

/// Why a root has a gap when nobody followed it for a while.
pub(crate) const NOT_RUNNING: &str = "the daemon did not run";

impl Core {
    /// Commits a record that says: from `from` until now, changes below `scope` that undid each other are not in
    /// the stream. What lasted is told by records of its own, before or after this one.
    pub(crate) fn tell_gap(
        &mut self,
        at: usize,
        scope: &[u8],
        from: Time,
        why: &str,
    ) -> Result<(), EngineError> {
        let to = Time::now();
        let gap = Gap { from: from.min(to), to, scope: scope.into(), why: why.to_owned() };
        tracing::info!(scope = %String::from_utf8_lossy(scope), why, "gap in the stream");
        let root = self.trees[at].row.id;
        self.say(Message { seen: to, how: How::Sweep, root, body: Body::Gap(gap) })
    }

    /// A known root that nobody followed until now was swept: where that found anything, something happened in
    /// between, and what undid itself then will never be told. Where it found nothing, the times of all directories
    /// are what they were, so nothing came or went; a start after an idle night writes nothing.
    pub(crate) fn tell_downtime(&mut self, at: usize, differences: u64) -> Result<(), EngineError> {
        let row = &self.trees[at].row;
        if differences == 0 || self.followed.contains(&row.id) {
            return Ok(());
        }
        let (scope, from) = (row.path.clone(), row.verified);
        self.tell_gap(at, &scope, from, NOT_RUNNING)
    }

    /// Notes until when all was known, where records were written since it was noted last: after a crash that is
    /// where the gap begins. A daemon that has nothing to tell writes nothing.
    pub(crate) fn note_known(&mut self) -> Result<(), EngineError> {
        let seq = *self.shared.durable.borrow();
        if seq == self.noted {
            return Ok(());
        }
        self.noted = seq;
        self.verify_watched(self.drained);
        self.store_roots()
    }

    /// Since when something may have happened that nobody knows of yet, if it may: a repair is owed or under way.
    pub(crate) fn unknown_since(&self) -> Option<Time> {
        let repairing = self.sweeps.orders().filter(|order| order.why == Why::Repair);
        let gaps = repairing.flat_map(|order| order.gaps.iter().map(|(from, _)| *from));
        let unknown = self.repairs.values().map(|repair| repair.from).chain(gaps).min();
        let owed = self.trees.iter().any(|tree| tree.present && self.sweeps.owes(tree.row.id));
        let repairing = self.sweeps.orders().any(|order| order.why == Why::Repair);
        let parked = !self.put_aside.is_empty() || !self.late.is_empty() || repairing || owed;
        unknown.or(parked.then_some(self.drained))
    }

    /// Notes that all that events tell of was known at `known`: for the trees that are followed and that nothing but events
    /// keeps true. Of the others the last whole sweep says until when they were.
    pub(crate) fn verify_watched(&mut self, known: Time) {
        self.note_compared();
        for at in 0..self.trees.len() {
            if self.trees[at].present {
                self.verify_watched_tree(at, known);
            }
        }
    }

    /// Likewise, of one tree.
    pub(crate) fn verify_watched_tree(&mut self, at: usize, known: Time) {
        let arms = &self.shared.arms;
        let tree = &mut self.trees[at];
        let volumes = tree.scope.volumes();
        let watched =
            volumes.iter().all(|(_, volume, _)| arms.get(*volume).is_some_and(|arm| !arm.needs_sweep()));
        let compared = tree.row.seeded.is_some() && tree.doubt.is_none() && !self.sweeps.owes(tree.row.id);
        if watched && compared && self.followed.contains(&tree.row.id) {
            tree.row.verified = tree.row.verified.max(known);
        }
    }
}
