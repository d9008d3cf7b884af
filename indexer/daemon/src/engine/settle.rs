//! The barrier that `settle` is: what was done before it is in the index when it returns, or it says what is not.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use record::{How, Time};
use watch::Flags;

use super::config::Level;
use super::core::Core;
use super::error::EngineError;
use super::health::LAYERS;
use super::status::Settled;
use super::sweeping::background::{Ticket, Why};

impl Core {
    /// The barrier: returns when every change made before the call is in the index and the journal.
    pub(crate) fn settle(&mut self, deadline: Instant) -> Result<Settled, EngineError> {
        self.settling = true;
        let settled = self.settle_now(deadline);
        self.settling = false;
        settled
    }

    fn settle_now(&mut self, deadline: Instant) -> Result<Settled, EngineError> {
        let start = Instant::now();
        self.wait_for_resumed(Some(deadline))?;
        let known = Time::now();
        self.due_writing(self.shared.ground.clock.instant(), true);
        self.barrier(deadline)?;
        self.look_at_mounts()?;
        self.try_late_again();
        self.retry_blind()?;
        if self.shared.arms.all().iter().any(|(_, arm)| arm.needs_sweep()) {
            let tickets = self.sweep_unwatched(Why::Settle, false)?;
            self.wait_for_sweeps(&tickets, Some(deadline))?;
        }
        for id in self.ghosts.suspects() {
            self.shared.pending.put_back(watch::Batch {
                inodes: vec![(id, Flags::NONE, How::Inotify)],
                ..watch::Batch::default()
            });
        }
        self.work_off(Some(deadline))?;
        if self.unseen > 0 {
            let tickets = self.look_for_unseen(Why::Settle)?;
            self.wait_for_sweeps(&tickets, Some(deadline))?;
            self.work_off(Some(deadline))?;
        }
        if !self.put_aside.is_empty() {
            // Where these directories are only the sweeps under way may find.
            let tickets: Vec<Ticket> =
                self.sweeps.orders().flat_map(|order| order.tickets.iter().copied()).collect();
            self.wait_for_sweeps(&tickets, Some(deadline))?;
            self.work_off(Some(deadline))?;
        }
        let missed = self.missed()?;
        if !missed.is_empty() {
            let mut trees: Vec<usize> = missed.into_iter().flat_map(|volume| self.trees_on(volume)).collect();
            trees.sort_unstable();
            trees.dedup();
            trees.retain(|at| self.trees[*at].present);
            let order = |at| self.order(at, None, Level::Stat, How::Sweep, Why::Settle);
            let tickets = trees.into_iter().map(order).collect::<Result<Vec<_>, _>>()?;
            self.wait_for_sweeps(&tickets, Some(deadline))?;
            self.late.clear();
            self.work_off(Some(deadline))?;
        }
        if self.look_for_lost()? {
            // Its sweep may have found what no look at the rest did, and has set watches.
            self.barrier(deadline)?;
            self.work_off(Some(deadline))?;
        }
        self.drained = known;
        let unsettled = self
            .trees
            .iter()
            .filter_map(|tree| {
                let doubt = tree.doubt.map(|(missing, _)| {
                    format!(
                        "{missing} entries are not there; `indexer sweep`, or a look in a minute, confirms it"
                    )
                });
                let layered = tree.scope.layered().load(Ordering::Relaxed).then(|| LAYERS.to_owned());
                let owed = || self.sweeps.trouble(tree.row.id).map(|why| format!("cannot be swept: {why}"));
                tree.row
                    .lost
                    .clone()
                    .or(doubt)
                    .or(layered)
                    .or_else(owed)
                    .map(|why| format!("{}: {why}", tree.display()))
            })
            .collect();
        Ok(Settled {
            seq: self.shared.index.read()?.seq()?.0,
            unsettled,
            took_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn barrier(&mut self, deadline: Instant) -> Result<(), EngineError> {
        match self.shared.arms.barrier(deadline) {
            Ok(()) => Ok(()),
            Err(watch::BarrierError::TimedOut) => Err(EngineError::TimedOut(Duration::ZERO)),
            // The reader ended and left its volumes lost: the repair answers for them.
            Err(_) => Ok(()),
        }
    }
}
