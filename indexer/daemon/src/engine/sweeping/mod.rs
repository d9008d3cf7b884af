//! Sweeps: a tree, or a part of it, compared with the index by a thread of its own. Differences become hints; here
//! is what the engine's thread does before and after.

pub(crate) mod background;
mod compare;
mod names;
pub(crate) mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use index::{Blind, Edits};
use reconcile::Stored as _;
use record::{EntryId, How, Name, RootId, Time, VolumeId};
use tracing::{info, warn};

use self::background::{Asker, Done, Limits, Order, Ticket, Why};
use self::schedule::Turn;
use super::arms::{Arm, Counting};
use super::config::Level;
use super::core::Core;
use super::error::EngineError;
use super::gaps::NOT_RUNNING;
use super::live::MOST_LOOKED_FOR;
use super::shared::Reply;
use super::status::{SweepReport, SweptStatus};
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

    fn present_roots(&self) -> Vec<RootId> {
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

    fn swept(&mut self, done: Done) -> Result<(), EngineError> {
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

    /// Whether a sweep of this tree should not believe that a great part is gone: on its first look.
    fn is_doubtful(&self, at: usize, why: Why) -> bool {
        let tree = &self.trees[at];
        let confirms = |(_, since): &(u64, Instant)| why == Why::Asked || since.elapsed() >= SECOND_LOOK;
        self.shared.volumes.may_lie(tree.row.top.volume) && !tree.doubt.as_ref().is_some_and(confirms)
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
            }
        }
    }

    /// Sweeps for somebody who waits for what came of it: every tree, or the part of one below `path`.
    pub(crate) fn ask_sweep(
        &mut self,
        path: Option<&[u8]>,
        level: Level,
        reply: Reply<SweepReport>,
    ) -> Result<(), EngineError> {
        let before = self.shared.index.read()?.seq()?.0;
        let mut failed = Vec::new();
        let trees = match path {
            None => {
                let lost = self.trees.iter().filter(|tree| !tree.present);
                failed.extend(lost.map(|tree| (tree.display(), tree.row.lost.clone().unwrap_or_default())));
                (0..self.trees.len()).filter(|at| self.trees[*at].present).collect()
            }
            Some(path) => match self.start_of(path)? {
                Ok(at) => vec![at],
                Err(error) => {
                    let _ = reply.send(Err(error));
                    return Ok(());
                }
            },
        };
        let began = Instant::now();
        let mut tickets = Vec::new();
        for at in trees {
            tickets.push(self.order(at, path, level, How::Sweep, Why::Asked)?);
        }
        let report = SweepReport::default();
        let one = path.is_some();
        self.sweeps.askers.push(Asker { tickets, reply, began, before, report, one, failed, ended: None });
        Ok(())
    }

    /// Sweeps and returns when what was found is durable, for a process that does nothing else.
    pub(crate) fn sweep_once(
        &mut self,
        path: Option<&[u8]>,
        level: Level,
    ) -> Result<SweepReport, EngineError> {
        self.shared.set_view(|view| view.state = "sweeping");
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.ask_sweep(path, level, reply)?;
        let tickets: Vec<Ticket> =
            self.sweeps.askers.iter().flat_map(|asker| asker.tickets.iter().copied()).collect();
        self.wait_for_sweeps(&tickets, None)?;
        self.work_off(None)?;
        let askers = std::mem::take(&mut self.sweeps.askers);
        self.answer(askers)?;
        answer.try_recv().unwrap_or(Err(EngineError::Stopped))
    }

    /// The tree that a sweep from `path` is of, or why there is none to be made.
    fn start_of(&self, path: &[u8]) -> Result<Result<usize, EngineError>, EngineError> {
        let Some(at) = self.tree_of(path) else { return Ok(Err(outside(path))) };
        let tree = &self.trees[at];
        if !tree.present {
            let why = format!("is lost: {}", tree.row.lost.as_deref().unwrap_or_default());
            return Ok(Err(EngineError::Root { path: tree.display(), why }));
        }
        let error = match compare::begin(&self.shared, &self.trees[at].scope, Some(path))? {
            Ok(_) => return Ok(Ok(at)),
            Err(why) => why,
        };
        Ok(Err(EngineError::Root { path: String::from_utf8_lossy(path).into_owned(), why: error }))
    }

    /// Answers those whose sweeps are done, when what these found is durable.
    pub(crate) fn answer_sweeps(&mut self) -> Result<(), EngineError> {
        let mut askers = std::mem::take(&mut self.sweeps.askers);
        let ready = askers.extract_if(.., |asker| {
            if !asker.tickets.is_empty() {
                return false;
            }
            let ended = *asker.ended.get_or_insert_with(Instant::now);
            self.is_worked_off(ended) && (self.astray.is_empty() || ended.elapsed() > MOST_ASTRAY)
        });
        let ready: Vec<Asker> = ready.collect();
        self.sweeps.askers = askers;
        self.answer(ready)
    }

    /// Whether the hints that were pending at `since` have been looked at, and what came of that is in the index.
    fn is_worked_off(&self, since: Instant) -> bool {
        self.shared.pending.oldest().is_none_or(|oldest| oldest > since)
            && self.todo.is_empty()
            && self.held.iter().all(|(_, at)| *at > since)
    }

    fn answer(&self, askers: Vec<Asker>) -> Result<(), EngineError> {
        if askers.is_empty() {
            return Ok(());
        }
        let seq = self.shared.index.read()?.seq()?.0;
        for asker in askers {
            let took_ms = u64::try_from(asker.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut failed = asker.failed;
            let answer = match failed.pop() {
                Some((path, why)) if asker.one => Err(EngineError::Root { path, why }),
                last => {
                    failed.extend(last);
                    let failed = failed.into_iter().map(|(path, why)| format!("{path}: {why}")).collect();
                    Ok(SweepReport { records: seq - asker.before, took_ms, failed, ..asker.report })
                }
            };
            let _ = asker.reply.send(answer);
        }
        Ok(())
    }

    /// Has swept what is not watched. What is watched directory by directory is gone past only in a large index: in
    /// a small one all of it is looked at, since that takes no time, for changes through a name that is gone from a
    /// directory that is not watched. They have no event. `all`: in a large one too.
    pub(crate) fn sweep_unwatched(&mut self, why: Why, all: bool) -> Result<Vec<Ticket>, EngineError> {
        let mut trees: Vec<usize> = Vec::new();
        for (volume, arm) in self.shared.arms.all() {
            if arm.needs_sweep() || (self.unseen > 0 && arm.how() == How::Inotify) {
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

    /// Whether inotify told of something that may be in this tree, and that no sweep of it has looked for since.
    pub(crate) fn has_unseen(&self, at: usize) -> bool {
        let tree = &self.trees[at];
        let by_inotify = |volume| self.how(volume) == How::Inotify;
        tree.present
            && self.unseen > tree.looked
            && tree.scope.volumes().iter().any(|(_, volume, _)| by_inotify(*volume))
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

pub(crate) fn outside(path: &[u8]) -> EngineError {
    EngineError::Root {
        path: String::from_utf8_lossy(path).into_owned(),
        why: "is in no indexed root; `indexer status` lists them".to_owned(),
    }
}
