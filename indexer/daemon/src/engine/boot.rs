//! From stored rows, or none, to live: what is new is scanned, what is known is swept.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use record::{How, Seq, Time};
use watch::Active;

use super::config::{Backend, Level};
use super::core::{Core, READING_NS};
use super::error::EngineError;
use super::roots::Tree;
use super::shared::Shared;
use super::status::Progress;
use super::sweeping::background::Why;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

impl Core {
    /// Brings everything up: seeds what is new, sweeps what is known, works off what changed meanwhile.
    pub(crate) fn boot(&mut self) -> Result<(), EngineError> {
        self.take_up()?;
        self.bring_up()
    }

    /// Takes up what the index has, and binds the roots.
    pub(crate) fn take_up(&mut self) -> Result<(), EngineError> {
        self.shared.index.mend_totals()?;
        for id in self.shared.index.read()?.all_detached()? {
            self.held.push((reconcile::Held { id, place: None }, Instant::now()));
        }
        self.bind()
    }

    /// Seeds, sweeps, then live.
    pub(crate) fn bring_up(&mut self) -> Result<(), EngineError> {
        for at in 0..self.trees.len() {
            if !self.trees[at].present {
                self.tell_lost(at)?;
            }
        }
        if !self.shared.one_pass {
            self.arm_roots()?;
        }
        let new: Vec<usize> =
            (0..self.trees.len()).filter(|at| self.trees[*at].row.seeded.is_none()).collect();
        let known: Vec<usize> =
            (0..self.trees.len()).filter(|at| !new.contains(at) && self.trees[*at].present).collect();
        if new.is_empty() {
            self.forget_seed()?;
        } else {
            self.shared.set_view(|view| view.state = "seeding");
            self.seed(&new)?;
        }
        if !known.is_empty() {
            self.shared.set_view(|view| view.state = "sweeping");
            let mut tickets = Vec::new();
            for at in known {
                self.show_root(at, "sweeping");
                tickets.push(self.order(at, None, Level::Stat, How::Sweep, Why::Start)?);
            }
            self.wait_for_sweeps(&tickets, None)?;
        }
        self.work_off(None)?;
        let now = Time::now().minus_ns(READING_NS);
        let now = self.unknown_since().map_or(now, |since| since.min(now));
        if self.shared.one_pass {
            self.wait_for_resumed(None)?;
            self.work_off(None)?;
        }
        self.keep_contents()?;
        // Whatever ended the last daemon may have swallowed a word.
        self.doubt_carried()?;
        let unverified = std::mem::take(&mut self.unverified);
        let verified = |tree: &Tree| {
            tree.present
                && self.sweeps.trouble(tree.row.id).is_none()
                && unverified.iter().all(|resumed| resumed.root != tree.row.id)
        };
        self.followed = self.trees.iter().filter(|tree| verified(tree)).map(|tree| tree.row.id).collect();
        self.unverified = unverified;
        self.verify_watched(now);
        self.store_roots()?;
        self.drained = now;
        self.heard = Some(Seq(*self.shared.durable.borrow()));
        self.noted = *self.shared.durable.borrow();
        self.show_roots("live");
        for resumed in &self.unverified {
            if let Some(at) = self.trees.iter().position(|tree| tree.row.id == resumed.root) {
                self.show_root(at, "sweeping");
            }
        }
        self.shared.set_view(|view| {
            view.state = "live";
            view.progress = None;
        });
        Ok(())
    }

    /// Watches the roots' own volumes, so that a backend that was asked for and is not to be had is an error
    /// before anything else is done.
    fn arm_roots(&self) -> Result<(), EngineError> {
        for tree in self.trees.iter().filter(|tree| tree.present) {
            let Ok((fd, seen)) = tree.scope.open() else { continue };
            let point = || tree.row.path.to_vec();
            let (top, dir) = (tree.row.top, std::os::fd::AsFd::as_fd(&fd));
            let arm = self.shared.arms.arm(top, seen.device, dir, Active::Now, &point).arm;
            if self.config.backend == Backend::Fanotify && arm.how() != How::Fanotify {
                return Err(EngineError::Backend { path: tree.display(), why: arm.reason.clone() });
            }
        }
        Ok(())
    }

    /// Runs `work` while telling how far the walk is.
    pub(crate) fn with_progress<T>(
        &self,
        phase: &str,
        walked: &scan::Progress,
        work: impl FnOnce() -> T,
    ) -> T {
        let done = (Mutex::new(false), Condvar::new());
        let (hook, shared) = (&self.config.progress, &self.shared);
        // One count may go on through several walks.
        let mut counted = walked.entries.load(Ordering::Relaxed);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut last = (0, 0);
                let mut over = done.0.lock().unwrap_or_else(PoisonError::into_inner);
                // The work may end before this thread begins: what it met is counted then, too.
                loop {
                    let waited = done.1.wait_timeout_while(over, TICK, |over| !*over);
                    over = waited.unwrap_or_else(PoisonError::into_inner).0;
                    let at =
                        (walked.entries.load(Ordering::Relaxed), walked.directories.load(Ordering::Relaxed));
                    if std::mem::replace(&mut last, at) != at {
                        shared.vitals.walked(at.0.saturating_sub(counted));
                        counted = at.0;
                    }
                    let progress = progress_of(walked, phase);
                    hook(&progress, phase);
                    shared.set_view(|view| view.progress = Some(progress));
                    if *over {
                        break;
                    }
                }
            });
            let result = work();
            *done.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            done.1.notify_all();
            result
        })
    }
}

fn progress_of(walked: &scan::Progress, phase: &str) -> Progress {
    let directories = walked.directories.load(Ordering::Relaxed);
    let left = walked.directories_left.load(Ordering::Relaxed);
    let found = walked.entries.load(Ordering::Relaxed);
    // Directories left grow while the walk finds more of them: an estimate, and never 100 before the end.
    let before = walked.directories_before.load(Ordering::Relaxed);
    let part = (before + directories) as f64 / (before + directories + left).max(1) as f64;
    let percent = if phase == "loading" { 80.0 } else { part * 80.0 };
    Progress {
        percent,
        files_found: found,
        files_processed: 0,
        bytes_processed: walked.bytes.load(Ordering::Relaxed),
        directories_left: left,
        directories_before: before,
    }
}

impl super::config::EngineConfig {
    /// The watches, unless this is one pass alone.
    pub(crate) fn arms<'a>(&self, shared: &'a Shared) -> Option<&'a super::arms::Arms> {
        (!shared.one_pass).then_some(&shared.arms)
    }
}
