//! What has to come after a sweep: what it found out of order is noted, what it owed is told, and one that could not be
//! made is made again. Never is that taken for one that found nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use index::{Blind, Edits};
use reconcile::Stored as _;
use record::{EntryId, Name, RootId, Time};
use tracing::{info, warn};

use super::background::{Done, Order, Why};
use super::schedule::Turn;
use super::{MOST_AWAITED, NOT_COMPARED, SECOND_LOOK, compare};
use crate::engine::config::Level;
use crate::engine::core::Core;
use crate::engine::error::EngineError;
use crate::engine::gaps::NOT_RUNNING;
use crate::engine::status::{SweepReport, SweptStatus};
use crate::engine::sweep::Pass;

impl Core {
    /// What has to come after the sweeps that have ended.
    pub(crate) fn take_swept(&mut self) -> Result<(), EngineError> {
        while let Some(done) = self.sweeps.ended()? {
            self.swept(done)?;
        }
        self.note_compared();
        self.sweep_again()
    }

    /// Tries those again that could not be made, when it is time.
    fn sweep_again(&mut self) -> Result<(), EngineError> {
        let present = self.present_roots();
        while let Some(mut order) = self.sweeps.due_again(&present) {
            let Some(at) = self.trees.iter().position(|tree| tree.row.id == order.root) else { continue };
            let now = self.order_of(at, order.path.as_deref(), order.level, order.how, order.why)?;
            (order.scope, order.expected, order.guarded) = (now.scope, now.expected, now.guarded);
            if order.guarded {
                order.pass = Pass::Nothing;
            }
            self.submit(order)?;
        }
        Ok(())
    }

    pub(super) fn present_roots(&self) -> Vec<RootId> {
        self.trees.iter().filter(|tree| tree.present).map(|tree| tree.row.id).collect()
    }

    /// A sweep could not be made, or not to its end: what it was for is still owed.
    fn not_swept(&mut self, mut order: Order, trouble: String) -> Result<(), EngineError> {
        warn!(
            root = %String::from_utf8_lossy(&order.root_path),
            path = order.path.as_deref().map(String::from_utf8_lossy).as_deref(),
            why = order.why.word(),
            trouble,
            tries = order.tries + 1,
            "a sweep could not be made"
        );
        self.sweeps.fail_askers(&mut order.tickets, &order.root_path, &trouble);
        let Some(at) = self.trees.iter().position(|tree| tree.row.id == order.root) else { return Ok(()) };
        let volume = self.trees[at].row.top.volume;
        // Who only asked for it has been told.
        let owed = order.why != Why::Asked
            || order.trouble.is_some()
            || !(order.tickets.is_empty() && order.gaps.is_empty() && order.repairs.is_empty());
        if owed {
            if order.why == Why::Start && order.trouble.is_none() {
                // What it found by now is told already, so the next one cannot say whether there was something.
                let row = &self.trees[at].row;
                let why = if self.followed.contains(&row.id) { NOT_COMPARED } else { NOT_RUNNING };
                order.gaps.push((row.verified, why.to_owned()));
            }
            if let Some(path) = order.path.take() {
                // What is not there may have moved; the sweep from above finds it, and tells what cannot be looked at.
                order.path = self.nearest_above(at, &path)?;
            }
            order.tries += 1;
            if order.tries > MOST_AWAITED {
                order.tickets.clear();
            }
            order.trouble = Some(trouble.clone());
            self.sweeps.owe(order);
        }
        self.check_presence(volume, &trouble)?;
        if self.shared.view().state == "live" {
            self.show_root(at, "live");
        }
        Ok(())
    }

    /// The nearest directory above `path` that a sweep can begin at; `None` for the root's own.
    fn nearest_above(&self, at: usize, mut path: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let tree = &self.trees[at];
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..slash];
            if path.len() <= tree.row.path.len() {
                break;
            }
            if compare::begin(&self.shared, &tree.scope, Some(path))?.is_ok() {
                return Ok(Some(path.to_vec()));
            }
        }
        Ok(None)
    }

    pub(super) fn swept(&mut self, done: Done) -> Result<(), EngineError> {
        let Done { order, outcome, took } = done;
        if outcome.stopped {
            // Nobody took over what it owed: the daemon is to stop.
            return Err(EngineError::Stopped);
        }
        self.note_blind(outcome.blind, &outcome.seen_again)?;
        // What was not where it should be may have been found.
        self.astray.append(&mut self.put_aside);
        if let Some(trouble) = outcome.trouble {
            return self.not_swept(order, trouble);
        }
        let report = outcome.report;
        for asker in &mut self.sweeps.askers {
            if asker.tickets.iter().any(|ticket| order.tickets.contains(ticket)) {
                asker.tickets.retain(|ticket| !order.tickets.contains(ticket));
                asker.report.add(&report);
            }
        }
        if order.why == Why::Start {
            self.swept.add(&report);
        }
        // A sweep that is due and finds nothing is silent in the log as well.
        if order.why != Why::Due || report.differences > 0 {
            info!(
                root = %String::from_utf8_lossy(&order.root_path),
                why = order.why.word(),
                directories = report.directories,
                differences = report.differences,
                took_ms = took.as_millis(),
                "swept"
            );
        }
        let Some(at) = self.trees.iter().position(|tree| tree.row.id == order.root) else { return Ok(()) };
        let all = order.path.is_none() && !matches!(order.pass, Pass::Others(_));
        if all && order.level == Level::Stat {
            self.note_doubt(at, outcome.doubted, order.expected);
        }
        let whole = all && outcome.doubted.is_none();
        if order.path.is_none() && order.level == Level::Stat && order.pass == Pass::Nothing {
            for turn in Turn::ALL {
                self.timetable.swept(order.root, turn, Instant::now());
            }
        }
        for (arm, counting) in &order.unwatched {
            arm.counted(counting, report.partial == 0);
        }
        let scope = order.path.as_deref().unwrap_or(&order.root_path);
        for (from, why) in &order.gaps {
            self.tell_gap(at, scope, *from, why)?;
        }
        if order.why == Why::Start {
            // One that is made at last has its gap with it.
            if order.trouble.is_none() {
                self.tell_downtime(at, report.differences)?;
            } else if self.shared.view().state == "live" && !self.followed.contains(&order.root) {
                self.followed.push(order.root);
            }
        }
        // After the gap, which reaches back to the sweep before.
        if whole && order.level == Level::Stat && order.pass != Pass::Watched {
            self.trees[at].looked = self.trees[at].looked.max(order.unseen);
            self.forget_unseen();
        }
        if whole {
            self.note_swept(at, &order, &report, took);
        }
        for volume in order.repairs {
            self.repaired(volume, took);
        }
        if self.shared.view().state == "live" && !self.sweeps.orders().any(|other| other.root == order.root) {
            self.show_root(at, "live");
        }
        Ok(())
    }

    /// Keeps, or ends, the doubt about what a sweep did not find.
    fn note_doubt(&mut self, at: usize, doubted: Option<u64>, expected: u64) {
        let tree = &mut self.trees[at];
        let Some(missing) = doubted else {
            tree.doubt = None;
            return;
        };
        let since = tree.doubt.map_or_else(Instant::now, |(_, since)| since);
        if tree.doubt.is_none() {
            warn!(root = %tree.display(), missing, expected, "a great part is not there; a second look has to confirm it");
        }
        tree.doubt = Some((missing, since));
        self.audit.hurry(self.trees[at].row.id, since + SECOND_LOOK);
    }

    /// A whole tree was compared: what has no watch in it was true when that began.
    fn note_swept(&mut self, at: usize, order: &Order, report: &SweepReport, took: Duration) {
        let ended = Time::now();
        let began = ended.minus_ns(i128::try_from(took.as_nanos()).unwrap_or(0));
        self.epoch += 1;
        let tree = &mut self.trees[at];
        if order.level == Level::Stat && order.why != Why::Resumed {
            // An older one whose differences are not all in the index yet is done with this one.
            tree.compared = Some((began, Instant::now()));
        }
        tree.swept = Some(SweptStatus {
            epoch: self.epoch,
            level: if order.level == Level::Stat { "stat" } else { "names" }.to_owned(),
            why: order.why.word().to_owned(),
            began_ns: began.0,
            ended_ns: ended.0,
            complete: report.partial == 0,
            differences: report.differences,
        });
    }

    /// Notes of sweeps that what they compared was known, once all that differed is in the index: after a kill before that
    /// the gap begins at the sweep before.
    pub(crate) fn note_compared(&mut self) {
        for at in 0..self.trees.len() {
            if let Some((began, ended)) = self.trees[at].compared
                && self.is_worked_off(ended)
                && self.astray.is_empty()
            {
                let tree = &mut self.trees[at];
                tree.row.verified = tree.row.verified.max(began);
                tree.compared = None;
                let (path, verified) = (tree.row.path.to_vec(), tree.row.verified);
                self.shared.set_view(|view| {
                    if let Some(root) = view.roots.iter_mut().find(|root| root.path == path) {
                        root.verified = verified;
                    }
                });
            }
        }
    }

    /// Stores what cannot be vouched for, and what can be again.
    pub(crate) fn note_blind(
        &self,
        blind: Vec<(EntryId, Option<Name>, Blind)>,
        seen_again: &[EntryId],
    ) -> Result<(), EngineError> {
        let reader = self.shared.index.read()?;
        let mut coverage: HashMap<EntryId, Option<Blind>> = seen_again.iter().map(|id| (*id, None)).collect();
        for (dir, name, why) in blind {
            let id = match &name {
                // A name that is no directory's is looked at with the directory it is in.
                Some(name) => {
                    let target = reader.lookup(dir, name)?.filter(|target| target.directory);
                    target.map_or(dir, |target| target.id)
                }
                None => dir,
            };
            // What a first scan left out is listed when it is found again.
            if reader.row(id)?.is_some() && !reader.is_blind(id)? {
                coverage.insert(id, Some(why));
            }
        }
        if !coverage.is_empty() {
            let coverage = coverage.into_iter().collect();
            self.shared.index.commit(Edits { coverage, ..Edits::default() })?;
        }
        Ok(())
    }
}
