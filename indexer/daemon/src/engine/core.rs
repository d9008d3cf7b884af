//! The engine's thread: the one writer. Boots, follows, answers requests; everything it does is a round of
//! looks that ends in a commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use index::{Edits, RootRow};
use reconcile::{Held, Root};
use record::{EntryId, RootId, Seq, Time, VolumeId};
use rustc_hash::FxHashMap;
use tracing::warn;

use super::audit::Audit;
use super::config::EngineConfig;
use super::error::EngineError;
use super::ghosts::Ghosts;
use super::health::Asked;
use super::mount_watch::Mounts;
use super::roots::Tree;
use super::round::Todo;
use super::shared::{Request, RootView, Shared};
use super::sweeping::background::{Sweeps, Why};
use super::sweeping::schedule::Timetable;
use super::tiering::REFIT_EVERY;
use super::writing::Writing;

/// How often the journal's head is looked at for what may go.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// How often a lost root is looked for.
const LOOK_FOR_LOST_EVERY: Duration = Duration::from_secs(5);

/// How often roots are looked at for being there still: an unmount has no event of its own.
const PRESENCE_EVERY: Duration = Duration::from_secs(30);

/// How often, at most, everything small is looked at for what inotify could not name.
const UNSEEN_EVERY: Duration = Duration::from_secs(10);

/// How often it is stored until when all was known, while there are records.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Events may be queued in the kernel for this long before a reader has made them hints: a second is far more than
/// the readers' window, and makes a gap that much longer, never shorter.
pub(crate) const READING_NS: i128 = 1_000_000_000;

/// Once all was known longer ago than this, the readers are asked before it is said to be known again: this process
/// may have stood still, and they with it.
const MOST_UNASKED_NS: i128 = 2 * READING_NS;

/// How long they may take to answer.
const READERS: Duration = Duration::from_secs(2);

/// A repair that has to wait because the last one is too near.
pub(crate) struct Repair {
    pub(crate) why: String,
    pub(crate) due: Instant,
    /// Until when everything was known: where the gap begins.
    pub(crate) from: Time,
}

/// State of the engine's thread.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: EngineConfig,
    pub(crate) trees: Vec<Tree>,
    /// The trees as reconcile knows them, in the same order.
    pub(crate) tops: Vec<Root>,
    pub(crate) writing: Writing,
    pub(crate) audit: Audit,
    pub(crate) ghosts: Ghosts,
    /// Entries without a name, and when everything queued at their loss had been read.
    pub(crate) held: Vec<(Held, Instant)>,
    pub(crate) todo: VecDeque<Todo>,
    /// Work on directories that were not where they should be.
    pub(crate) astray: Vec<Todo>,
    /// Of these, what nothing pending can say the place of, while a sweep may yet find it.
    pub(crate) put_aside: Vec<Todo>,
    /// Of these, what no hint has said the place of yet: a rename shows before the kernel tells of it.
    pub(crate) late: Vec<Todo>,
    /// Since when hints are waited for that say where these directories are.
    pub(crate) late_since: FxHashMap<EntryId, Instant>,
    pub(crate) sweeps: Sweeps,
    /// When progress was last told.
    pub(crate) last_told: Instant,
    pub(crate) mounts: Mounts,
    pub(crate) repairs: FxHashMap<VolumeId, Repair>,
    /// When a volume was last repaired, and how long to wait before the next time.
    pub(crate) repaired: FxHashMap<VolumeId, (Instant, Duration)>,
    /// When the last round began: commits are at least 5 ms apart.
    pub(crate) last_round: Instant,
    /// Until when everything was known, by the wall clock: where a gap begins.
    pub(crate) drained: Time,
    /// The last record when all hints were last worked off or put off; none before the first time.
    pub(crate) heard: Option<Seq>,
    /// Sweeps of whole trees so far.
    pub(crate) epoch: u64,
    /// The seq when that was last stored.
    pub(crate) noted: u64,
    /// Roots that were followed up to now: what a sweep finds in others happened while nobody looked.
    pub(crate) followed: Vec<RootId>,
    /// Roots whose first scan was gone on with and that were not swept since.
    pub(crate) unverified: Vec<super::seeding::Unverified>,
    /// Times since the last full look that something may have happened unheard.
    pub(crate) unseen: u64,
    pub(crate) last_unseen: Instant,
    /// The last directory that could not be looked at and was tried again.
    pub(crate) retried: Option<EntryId>,
    /// What the boot's sweeps compared.
    pub(crate) swept: super::status::SweepReport,
    last_trim: Instant,
    last_noted: Instant,
    last_presence: Instant,
    pub(crate) timetable: Timetable,
    last_refit: Instant,
    /// The last round had many hints.
    pub(crate) flooded: bool,
    /// A settle is under way: looks at files that a writer is at are not put off.
    pub(crate) settling: bool,
    stopping: bool,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>, config: EngineConfig) -> Core {
        let now = Instant::now();
        // A random number of this index.
        let seed = shared.index.epoch().map_or(0, |epoch| epoch as u64);
        let last_round = shared.ground.clock.instant();
        Core {
            sweeps: Sweeps::new(Arc::clone(&shared)),
            put_aside: Vec::new(),
            late: Vec::new(),
            late_since: FxHashMap::default(),
            last_told: now,
            shared,
            config,
            trees: Vec::new(),
            tops: Vec::new(),
            writing: Writing::default(),
            audit: Audit::new(now, Time::now().0.unsigned_abs() as u64),
            ghosts: Ghosts::default(),
            held: Vec::new(),
            todo: VecDeque::new(),
            astray: Vec::new(),
            mounts: Mounts::default(),
            repairs: FxHashMap::default(),
            repaired: FxHashMap::default(),
            last_round,
            drained: Time::now(),
            heard: None,
            noted: 0,
            epoch: 0,
            followed: Vec::new(),
            unverified: Vec::new(),
            unseen: 0,
            last_unseen: now,
            retried: None,
            swept: super::status::SweepReport::default(),
            // Due at once: a daemon that is often restarted trims too.
            last_trim: now.checked_sub(TRIM_EVERY).unwrap_or(now),
            last_noted: now,
            last_presence: now,
            timetable: Timetable::new(seed),
            last_refit: now,
            flooded: false,
            settling: false,
            stopping: false,
        }
    }

    /// Runs until told to stop, or until an error that only a person can mend.
    pub(crate) fn run(mut self) {
        match self.boot().and_then(|()| self.follow()) {
            Ok(()) | Err(EngineError::Stopped) => {}
            // Said in the log with the change of state that follows.
            Err(error) => {
                let why = match &error {
                    EngineError::Index { .. } => {
                        format!(
                            "in the state folder {}: {error}",
                            crate::paths::shown(&self.shared.state_dir)
                        )
                    }
                    _ => error.to_string(),
                };
                self.shared.set_view(|view| view.failed = Some(why));
            }
        }
        self.sweeps.end();
        if let Err(error) = self.leave() {
            warn!(%error, "could not note the time of leaving");
        }
    }

    fn follow(&mut self) -> Result<(), EngineError> {
        loop {
            self.shared.vitals.turn();
            self.requests()?;
            if self.stopping {
                return Ok(());
            }
            self.take_swept()?;
            self.answer_sweeps()?;
            self.timers()?;
            if self.has_work() {
                self.shared.note_busy(true, self.drained);
                self.step()?;
                continue;
            }
            let unknown = self.unknown_since().is_some();
            if !unknown {
                // After a long rest, or after this process stood still, a queue may hold what no reader has had yet.
                let mut answered = true;
                if Time::now().0 - self.drained.0 > MOST_UNASKED_NS {
                    let answer = self.shared.arms.barrier(Instant::now() + READERS);
                    answered = !matches!(answer, Err(watch::BarrierError::TimedOut));
                    if self.has_work() {
                        continue;
                    }
                }
                // What a reader that stands still has not read yet is known to nobody.
                if answered {
                    self.drained = Time::now().minus_ns(READING_NS);
                }
            }
            // What is put off is known: an overflow does not lose it.
            self.heard = Some(Seq(*self.shared.durable.borrow()));
            self.shared.note_busy(unknown, self.drained);
            let next = self.until_next();
            self.shared.vitals.rest();
            self.shared.pending.wait(next);
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.shared.pending.is_empty()
            || !self.todo.is_empty()
            || !self.held.is_empty()
            || !self.astray.is_empty()
            || self.mounts.is_owed()
    }

    /// How long there is nothing to do but wait for hints and requests.
    fn until_next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let mut next = self.writing.next(self.config.quiet);
        let mut consider = |due: Instant| next = Some(next.map_or(due, |next| next.min(due)));
        for (volume, repair) in &self.repairs {
            // The end of the one under way wakes us.
            if !self.is_repairing(*volume) {
                consider(repair.due);
            }
        }
        consider(self.last_presence + self.presence_every());
        if let Some(due) = self.audit.due(self.config.audit) {
            consider(due);
        }
        if *self.shared.durable.borrow() != self.noted {
            consider(self.last_noted + NOTE_EVERY);
        }
        if let Some(due) = self.next_sweep() {
            consider(due);
        }
        if let Some(due) = self.late_due() {
            consider(due);
        }
        if self.shared.arms.wants_inotify() {
            consider(self.last_refit + REFIT_EVERY);
        }
        if self.unseen > 0 {
            consider(self.last_unseen + UNSEEN_EVERY);
        }
        if self.shared.index.read().is_ok_and(|reader| reader.journal_bytes().is_ok_and(|bytes| bytes > 0)) {
            consider(self.last_trim + TRIM_EVERY * 60);
        }
        next.map(|next| next.saturating_duration_since(now).max(Duration::from_millis(1)))
    }

    fn presence_every(&self) -> Duration {
        if self.trees.iter().all(|tree| tree.present) { PRESENCE_EVERY } else { LOOK_FOR_LOST_EVERY }
    }

    fn timers(&mut self) -> Result<(), EngineError> {
        self.verify_resumed()?;
        self.look_at_mounts()?;
        let now = Instant::now();
        self.due_writing(self.shared.ground.clock.instant(), false);
        let due: Vec<VolumeId> =
            self.repairs.iter().filter(|(_, repair)| repair.due <= now).map(|(id, _)| *id).collect();
        for volume in due {
            if !self.is_repairing(volume) {
                self.repair_now(volume)?;
            }
        }
        if now.duration_since(self.last_trim) >= TRIM_EVERY {
            self.last_trim = now;
            while self.shared.index.trim(self.config.retention, Time::now())? > 0 {}
        }
        self.audit_if_due(now)?;
        self.sweep_hurried(now)?;
        if now.duration_since(self.last_noted) >= NOTE_EVERY {
            self.last_noted = now;
            self.note_known()?;
        }
        if now.duration_since(self.last_presence) >= self.presence_every() {
            self.last_presence = now;
            self.look_for_lost()?;
            self.retry_blind()?;
        }
        if now.duration_since(self.last_refit) >= REFIT_EVERY {
            self.last_refit = now;
            self.refit()?;
        }
        if self.late_due().is_some_and(|due| due <= now) {
            self.try_late_again();
        }
        if self.unseen > 0 && now.duration_since(self.last_unseen) >= UNSEEN_EVERY {
            self.last_unseen = now;
            self.look_for_unseen(Why::Due)?;
        }
        self.sweep_what_is_due()?;
        Ok(())
    }

    pub(super) fn requests(&mut self) -> Result<(), EngineError> {
        while let Some(request) = self.shared.receive() {
            match request {
                Request::Stop => self.stopping = true,
                Request::Settle(deadline, reply) => {
                    let result = self.settle(deadline);
                    answer(&reply, result)?;
                }
                Request::Sweep(path, level, reply) => {
                    self.ask_sweep(path.as_deref(), level, reply)?;
                }
                Request::Accept(path, reply) => {
                    let result = self.accept(&path);
                    answer(&reply, result)?;
                }
                Request::Confirm(consumer, seq, reply) => {
                    let last = self.shared.index.read()?.seq()?;
                    if seq > last {
                        // It would skip what comes between.
                        let _ = reply.send(Err(EngineError::Ahead { consumer, seq, last }));
                        continue;
                    }
                    let edits = Edits { cursors: vec![(consumer, seq)], ..Edits::default() };
                    answer(&reply, self.shared.index.commit(edits).map(drop).map_err(EngineError::from))?;
                }
                Request::Forget(consumer, reply) => {
                    let edits = Edits { forget_cursors: vec![consumer], ..Edits::default() };
                    answer(&reply, self.shared.index.commit(edits).map(drop).map_err(EngineError::from))?;
                }
                Request::Contents(findings, reply) => {
                    let result = self.take_contents(findings);
                    answer(&reply, result)?;
                }
                Request::Reload(config, reply) => {
                    let result = self.reload(*config);
                    answer(&reply, result)?;
                }
            }
        }
        if self.shared.stop.load(Ordering::Relaxed) {
            self.stopping = true;
        }
        Ok(())
    }

    /// Takes over a new configuration: new roots are seeded, changed rules swept, roots no longer named are
    /// no longer followed (their rows stay).
    fn reload(&mut self, config: EngineConfig) -> Result<(), EngineError> {
        let roots = config.roots.clone();
        self.config = EngineConfig { roots, ..config };
        self.shared.arms.share.set(self.config.watches);
        self.refit()?;
        self.bind()?;
        self.bring_up()
    }

    /// Binds the configured roots. A root that cannot be opened at all and was never seeded is an error; one
    /// that was is lost and looked for.
    pub(crate) fn bind(&mut self) -> Result<(), EngineError> {
        let known: Vec<RootRow> = self.shared.index.read()?.roots()?;
        let mut next = known.iter().map(|row| row.id.0).max().unwrap_or(0);
        let mut trees = Vec::new();
        for config in &self.config.roots {
            trees.push(Tree::bind(&self.shared, config, &known, &mut next)?);
        }
        self.trees = trees;
        self.watch_mounts();
        self.tops = self.trees.iter().map(Tree::root).collect();
        let followed: Vec<_> = self.trees.iter().map(|tree| tree.row.id).collect();
        self.sweeps.keep(&followed);
        let asked = Asked { backend: self.config.backend, require: self.config.require };
        let sweep_every = self.config.schedule.unwatched;
        self.shared.set_view(|view| {
            view.asked = asked;
            view.sweep_every = sweep_every;
        });
        self.show_roots("starting");
        Ok(())
    }

    /// Writes what changed of the root rows.
    pub(crate) fn store_roots(&self) -> Result<(), EngineError> {
        let stored = self.shared.index.read()?.roots()?;
        let roots: Vec<RootRow> = self
            .trees
            .iter()
            .map(|tree| tree.row.clone())
            .filter(|row| row.seeded.is_some() && !stored.contains(row))
            .collect();
        if !roots.is_empty() {
            self.shared.index.commit(Edits { roots, ..Edits::default() })?;
        }
        Ok(())
    }

    /// Shows all roots as they are: live if they are there.
    pub(crate) fn show_roots(&self, state: &'static str) {
        let views = self.trees.iter().map(|tree| self.root_view(tree, state)).collect();
        self.shared.set_view(|view| view.roots = views);
    }

    pub(crate) fn show_root(&self, at: usize, state: &'static str) {
        let shown = self.root_view(&self.trees[at], state);
        self.shared.set_view(|view| match view.roots.iter_mut().find(|root| root.path == shown.path) {
            Some(root) => *root = shown,
            None => view.roots.push(shown),
        });
    }

    fn root_view(&self, tree: &Tree, state: &'static str) -> RootView {
        let volumes = tree.scope.volumes();
        let mut backends: Vec<&str> = Vec::new();
        let mut reasons: Vec<String> = Vec::new();
        for (_, volume, _) in &volumes {
            let Some(arm) = self.shared.arms.get(*volume) else { continue };
            if !backends.contains(&arm.word()) {
                backends.push(arm.word());
                reasons.push(arm.reason.clone());
            }
        }
        // Until what it owes is swept.
        let owed = state == "live" && self.sweeps.trouble(tree.row.id).is_some();
        RootView {
            path: tree.row.path.to_vec(),
            state: if !tree.present {
                "lost"
            } else if owed {
                "repairing"
            } else {
                state
            },
            backend: if backends.is_empty() { "none".to_owned() } else { backends.join("+") },
            reason: reasons.join("; "),
            parts: volumes.into_iter().map(|(_, volume, path)| (volume, path)).collect(),
            verified: tree.row.verified,
            swept: tree.swept.clone(),
            doubted: tree.doubt.map_or(0, |(missing, _)| missing),
            trouble: self.sweeps.trouble(tree.row.id).map(str::to_owned),
            layered: tree.scope.layered(),
            lost: tree.row.lost.clone(),
        }
    }

    /// The last commit: everything known is noted, and until when it was true.
    fn leave(&mut self) -> Result<(), EngineError> {
        self.verify_watched(self.drained);
        self.store_roots()
    }

    /// The tree a path lies in.
    pub(crate) fn tree_of(&self, path: &[u8]) -> Option<usize> {
        self.trees.iter().position(|tree| {
            path.strip_prefix(&tree.row.path[..])
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || tree.row.path.ends_with(b"/"))
        })
    }

    /// The directories of one volume's trees: those that a loss on it touches.
    pub(crate) fn trees_on(&self, volume: VolumeId) -> Vec<usize> {
        (0..self.trees.len())
            .filter(|at| {
                let tree = &self.trees[*at];
                tree.row.top.volume == volume || tree.scope.volumes().iter().any(|(_, id, _)| *id == volume)
            })
            .collect()
    }
}

/// Answers; an error of the index ends the engine as well, since its file can no longer be trusted to take
/// writes.
fn answer<T>(reply: &super::shared::Reply<T>, result: Result<T, EngineError>) -> Result<(), EngineError> {
    let fatal = match &result {
        Err(error @ EngineError::Index { .. }) => Some(error.to_string()),
        Err(EngineError::Stopped) => Some("stopped".to_owned()),
        _ => None,
    };
    let _ = reply.send(result);
    match fatal {
        Some(why) if why == "stopped" => Err(EngineError::Stopped),
        Some(why) => Err(EngineError::Failed(why)),
        None => Ok(()),
    }
}
