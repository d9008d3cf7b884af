//! Sweeps: a tree, or a part of it, compared with the index by a thread of its own. Differences become hints; here
//! is what the engine's thread does before and after.

mod asked;
pub(crate) mod background;
mod compare;
mod ended;
mod names;
pub(crate) mod schedule;
mod turns;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reconcile::Stored as _;
use record::{How, Time, VolumeId};
use tracing::info;

use self::background::{Limits, Order, Ticket, Why};
use super::arms::{Arm, Counting};
use super::config::Level;
use super::core::Core;
use super::error::EngineError;
use super::sweep::Pass;

/// How long what is not believed at once waits for the look that confirms it.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// How often who waits for a sweep looks whether the daemon is to stop, and tells of progress.
const TICK: Duration = Duration::from_millis(200);

/// Tries of a sweep that who waits for it waits for: a good second. It is tried further on, and its root is not live.
const MOST_AWAITED: u32 = 4;

/// Who asked for a sweep waits so long for directories that are not where they should be: while the tree changes, the
/// word of where they are may be long in coming.
const MOST_ASTRAY: Duration = Duration::from_secs(10);

/// Why there is a gap after a sweep that was made at last.
const NOT_COMPARED: &str = "it could not be compared with the disk for a while";

impl Core {
    /// Has a tree swept in the background, or the part of it below `path`.
    pub(crate) fn order(
        &mut self,
        at: usize,
        path: Option<&[u8]>,
        level: Level,
        how: How,
        why: Why,
    ) -> Result<Ticket, EngineError> {
        let order = self.order_of(at, path, level, how, why)?;
        self.submit(order)
    }

    pub(crate) fn submit(&mut self, order: Order) -> Result<Ticket, EngineError> {
        let limits = Limits { threads: self.config.threads, rate: self.config.schedule.rate };
        self.sweeps.submit(order, limits)
    }

    pub(crate) fn order_of(
        &self,
        at: usize,
        path: Option<&[u8]>,
        level: Level,
        how: How,
        why: Why,
    ) -> Result<Order, EngineError> {
        let tree = &self.trees[at];
        let path = path.filter(|path| **path != *tree.row.path);
        let reader = self.shared.index.read()?;
        let top = match path {
            Some(path) => reader.resolve(path)?.map_or(tree.row.top, |(_, id)| id),
            None => tree.row.top,
        };
        let totals = reader.totals(top)?.unwrap_or_default();
        let expected = match level {
            Level::Stat => totals.files + totals.directories,
            Level::Names => totals.directories,
        };
        let unwatched = match (path, level) {
            (None, Level::Stat) => self.unwatched(at),
            _ => Vec::new(),
        };
        if why != Why::Due {
            info!(root = %tree.display(), why = why.word(), ?level, "sweep begins");
        }
        Ok(Order {
            root: tree.row.id,
            root_path: tree.row.path.clone(),
            scope: Arc::clone(&tree.scope),
            path: path.map(<[u8]>::to_vec),
            level,
            how,
            why,
            pass: Pass::Nothing,
            repairs: Vec::new(),
            gaps: Vec::new(),
            tickets: Vec::new(),
            expected,
            unseen: self.unseen,
            tries: 0,
            trouble: None,
            guarded: path.is_none() && level == Level::Stat && self.is_doubtful(at, why),
            unwatched,
        })
    }

    /// Has a part of a tree compared that was out of sight until now; and the gap said, since when that was known.
    pub(crate) fn order_part(
        &mut self,
        at: usize,
        path: &[u8],
        since: Option<Time>,
        why: &str,
    ) -> Result<(), EngineError> {
        let mut order = self.order_of(at, Some(path), Level::Stat, How::Sweep, Why::Repair)?;
        order.gaps.extend(since.map(|since| (since, why.to_owned())));
        self.submit(order)?;
        Ok(())
    }

    /// How often directories have lacked a watch in the volumes that no other tree is on.
    fn unwatched(&self, at: usize) -> Vec<(Arc<Arm>, Counting)> {
        let volumes = self.trees[at].scope.volumes();
        let own = volumes.iter().filter(|(_, volume, _)| self.trees_on(*volume) == [at]);
        own.filter_map(|(_, volume, _)| self.shared.arms.get(*volume))
            .map(|arm| {
                let counting = arm.counting();
                (arm, counting)
            })
            .collect()
    }

    /// Sweeps one whole tree and returns when all its differences are hints. Hints are worked off meanwhile.
    pub(crate) fn sweep_tree(&mut self, at: usize, why: Why) -> Result<(), EngineError> {
        let ticket = self.order(at, None, Level::Stat, How::Sweep, why)?;
        self.wait_for_sweeps(&[ticket], None)
    }

    /// Works off hints until these sweeps are done.
    pub(crate) fn wait_for_sweeps(
        &mut self,
        tickets: &[Ticket],
        deadline: Option<Instant>,
    ) -> Result<(), EngineError> {
        loop {
            self.take_swept()?;
            if !self.sweeps.any_of(tickets) {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(EngineError::TimedOut(Duration::ZERO));
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err(EngineError::Stopped);
            }
            if self.has_work() {
                self.step()?;
            } else {
                self.shared.pending.wait(Some(TICK));
            }
            self.tell_progress();
        }
    }

    /// Tells whoever started this how far the sweeps of a start are.
    fn tell_progress(&mut self) {
        if self.shared.view().state != "sweeping" || self.last_told.elapsed() < TICK {
            return;
        }
        self.last_told = Instant::now();
        let progress = self.shared.view().sweeps_progress();
        if let Some(progress) = progress {
            (self.config.progress)(&progress, "sweeping");
        }
    }

    /// Whether a sweep of this tree should not believe that a great part is gone: on its first look.
    fn is_doubtful(&self, at: usize, why: Why) -> bool {
        let tree = &self.trees[at];
        let confirms = |(_, since): &(u64, Instant)| why == Why::Asked || since.elapsed() >= SECOND_LOOK;
        self.shared.volumes.may_lie(tree.row.top.volume) && !tree.doubt.as_ref().is_some_and(confirms)
    }

    /// Has what a loss on a volume may have been about swept, and the gap said after it.
    pub(crate) fn order_repair(
        &mut self,
        volume: VolumeId,
        from: Time,
        why: &str,
    ) -> Result<(), EngineError> {
        for at in self.trees_on(volume) {
            if self.trees[at].present {
                self.show_root(at, "repairing");
                let mut order = self.order_of(at, None, Level::Stat, How::Sweep, Why::Repair)?;
                let scope = &self.trees[at].scope;
                // What others tell of was not lost; which links are followed the index does not say.
                if scope.volumes().len() > 1 && !scope.follow_symlinks && !order.guarded {
                    order.pass = Pass::Others(volume);
                    let arm = self.shared.arms.get(volume);
                    order
                        .unwatched
                        .retain(|(other, _)| arm.as_ref().is_some_and(|arm| Arc::ptr_eq(arm, other)));
                }
                order.repairs.push(volume);
                order.gaps.push((from, why.to_owned()));
                self.submit(order)?;
            }
        }
        Ok(())
    }

    /// Whether the repair of a volume waits or is under way.
    pub(crate) fn is_repairing(&self, volume: VolumeId) -> bool {
        self.sweeps.orders().any(|order| order.repairs.contains(&volume))
    }
}

pub(crate) fn outside(path: &[u8]) -> EngineError {
    EngineError::Root {
        path: String::from_utf8_lossy(path).into_owned(),
        why: "is in no indexed root; `indexer status` lists them".to_owned(),
    }
}
