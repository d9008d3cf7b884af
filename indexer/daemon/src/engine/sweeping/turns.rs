//! Which sweeps come by themselves, and of what: the turns of each root, and what has no watch.

use std::time::{Duration, Instant};

use record::How;

use super::background::{Ticket, Why};
use super::schedule::Turn;
use crate::engine::config::Level;
use crate::engine::core::Core;
use crate::engine::error::EngineError;
use crate::engine::live::MOST_LOOKED_FOR;
use crate::engine::sweep::Pass;

impl Core {
    /// Has swept what is not watched. What is watched directory by directory is gone past only in a large index: in
    /// a small one all of it is looked at, since that takes no time, for changes through a name that is gone from a
    /// directory that is not watched. They have no event. `all`: in a large one too.
    pub(crate) fn sweep_unwatched(&mut self, why: Why, all: bool) -> Result<Vec<Ticket>, EngineError> {
        let mut trees: Vec<usize> = Vec::new();
        for (volume, arm) in self.shared.arms.all() {
            if arm.needs_sweep() || (self.unseen > 0 && arm.is_one_by_one()) {
                trees.extend(self.trees_on(volume));
            }
        }
        trees.sort_unstable();
        trees.dedup();
        let mut tickets = Vec::new();
        for at in trees {
            if self.trees[at].present {
                tickets.push(self.order_unwatched(at, why, all)?);
            }
        }
        Ok(tickets)
    }

    /// Whether something may have happened unheard in this tree, and no sweep of it has looked for that since.
    pub(crate) fn has_unseen(&self, at: usize) -> bool {
        let tree = &self.trees[at];
        let one_by_one = |volume| self.shared.arms.get(volume).is_some_and(|arm| arm.is_one_by_one());
        tree.present
            && self.unseen > tree.looked
            && tree.scope.volumes().iter().any(|(_, volume, _)| one_by_one(*volume))
    }

    /// Begins to count anew when all trees have been looked at.
    pub(crate) fn forget_unseen(&mut self) {
        if (0..self.trees.len()).all(|at| !self.has_unseen(at)) {
            self.unseen = 0;
            for tree in &mut self.trees {
                tree.looked = 0;
            }
            self.sweeps.forget_unseen();
        }
    }

    /// How often a tree has such a turn by itself.
    fn turns_every(&self, at: usize, turn: Turn) -> Option<Duration> {
        let schedule = &self.config.schedule;
        let lacks = |volume| self.shared.arms.get(volume).is_some_and(|arm| arm.needs_sweep());
        match turn {
            Turn::Unwatched => {
                let volumes = self.trees[at].scope.volumes();
                let lacks = || volumes.iter().any(|(_, volume, _)| lacks(*volume));
                schedule.unwatched.filter(|_| self.has_unseen(at) || lacks())
            }
            Turn::Stat => {
                let (root, now) = (self.trees[at].row.id, Instant::now());
                schedule.stat.map(|every| self.audit.raised(root, every, now))
            }
            Turn::Names => schedule.names,
        }
    }

    /// What is due by itself, and when.
    fn due_sweeps(&mut self) -> Vec<(usize, Turn, Instant)> {
        let now = Instant::now();
        let mut due = Vec::new();
        for at in (0..self.trees.len()).filter(|at| self.trees[*at].present) {
            for turn in Turn::ALL {
                let Some(every) = self.turns_every(at, turn) else { continue };
                due.push((at, turn, self.timetable.due(self.trees[at].row.id, turn, every, now)));
            }
        }
        due
    }

    /// When the next sweep is due by itself.
    pub(crate) fn next_sweep(&mut self) -> Option<Instant> {
        let again = self.sweeps.next_again(&self.present_roots());
        self.due_sweeps().into_iter().map(|(_, _, due)| due).chain(again).min()
    }

    /// Orders the sweeps whose time has come.
    pub(crate) fn sweep_what_is_due(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        for (at, turn, due) in self.due_sweeps() {
            if due > now {
                continue;
            }
            self.timetable.swept(self.trees[at].row.id, turn, now);
            match turn {
                Turn::Unwatched => {
                    self.order_unwatched(at, Why::Due, self.has_unseen(at))?;
                }
                Turn::Stat => {
                    self.order(at, None, Level::Stat, How::Sweep, Why::Due)?;
                }
                Turn::Names => {
                    self.order(at, None, Level::Names, How::Sweep, Why::Due)?;
                }
            }
        }
        Ok(())
    }

    /// Has what is not watched of a tree swept; `all`: what is watched one by one as well.
    fn order_unwatched(&mut self, at: usize, why: Why, all: bool) -> Result<Ticket, EngineError> {
        let small = self.shared.index.read()?.entries()? <= MOST_LOOKED_FOR;
        let pass = if all || small { Pass::Marked } else { Pass::Watched };
        let mut order = self.order_of(at, None, Level::Stat, How::Sweep, why)?;
        // Which links are followed decides what is below a directory, and the index does not say.
        // What is gone past is not counted, and would be doubted.
        order.pass = if order.scope.follow_symlinks || order.guarded { Pass::Nothing } else { pass };
        self.submit(order)
    }
}
