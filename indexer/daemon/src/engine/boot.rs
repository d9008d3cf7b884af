//! From stored rows, or none, to live: first scans, boot sweeps, and what to do when a root is not there.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use index::{Blind, Edits, Message, Seed, SeedRoot};
use reconcile::Stored as _;
use record::{Body, EntryId, How, Name, Time, VolumeId};
use tracing::{info, warn};

use super::config::Backend;
use super::core::Core;
use super::error::EngineError;
use super::roots::why_lost;
use super::round::Todo;
use super::seed::SeedVisitor;
use super::shared::Shared;
use super::status::{Progress, SweepReport};
use super::sweep::SweepVisitor;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

impl Core {
    /// Brings everything up: seeds what is new, sweeps what is known, works off what changed meanwhile.
    pub(crate) fn boot(&mut self) -> Result<(), EngineError> {
        self.shared.index.mend_totals()?;
        for id in self.shared.index.read()?.all_detached()? {
            self.held.push((reconcile::Held { id, place: None }, Instant::now()));
        }
        self.bind()?;
        self.bring_up()
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
        if !new.is_empty() {
            self.shared.set_view(|view| view.state = "seeding");
            self.seed(&new)?;
        }
        if !known.is_empty() {
            self.shared.set_view(|view| view.state = "sweeping");
            for at in known {
                self.show_root(at, "sweeping");
                let report = self.sweep_tree(at, None)?;
                self.swept.differences += report.differences;
                self.swept.directories += report.directories;
                self.swept.partial += report.partial;
            }
        }
        self.work_off(None)?;
        let now = Time::now();
        for tree in self.trees.iter_mut().filter(|tree| tree.present) {
            tree.row.verified = now;
        }
        self.store_roots()?;
        self.drained = now;
        self.show_roots("live");
        self.shared.set_view(|view| {
            view.state = "live";
            view.progress = None;
        });
        info!(entries = self.shared.index.read()?.entries()?, "live");
        Ok(())
    }

    /// Watches the roots' own volumes, so that a backend that was asked for and is not to be had is an error
    /// before anything else is done.
    fn arm_roots(&self) -> Result<(), EngineError> {
        for tree in self.trees.iter().filter(|tree| tree.present) {
            let Ok((fd, seen)) = tree.scope.open() else { continue };
            let point = || tree.row.path.to_vec();
            let arm = self.shared.arms.arm(tree.row.top, seen.device, std::os::fd::AsFd::as_fd(&fd), &point);
            if self.config.backend == Backend::Fanotify && arm.how() != How::Fanotify {
                return Err(EngineError::Backend { path: tree.display(), why: arm.reason.clone() });
            }
        }
        Ok(())
    }

    /// Scans trees for the first time, all into one load.
    pub(crate) fn seed(&mut self, trees: &[usize]) -> Result<(), EngineError> {
        let seed = Seed::begin(self.shared.state_dir.join("seed"), self.config.seed_buffer)?;
        let walked = scan::Progress::default();
        let mut blind = Vec::new();
        for at in trees {
            self.show_root(*at, "seeding");
            let tree = &self.trees[*at];
            info!(root = %tree.display(), "first scan begins");
            let visitor = SeedVisitor {
                root: tree.row.id,
                seed: &seed,
                arms: self.config.arms(&self.shared),
                blind: Mutex::default(),
                unlisted: Mutex::default(),
                failed: Mutex::default(),
                stop: &self.shared.stop,
            };
            let start = scan::Start::root(&tree.scope).map_err(|error| walk_error(tree, &error))?;
            let result = self.with_progress("scanning", &walked, || {
                scan::walk(&tree.scope, start, self.config.threads, &visitor, &self.shared.stop, &walked)
            });
            if let Some(error) = visitor.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err(error.into());
            }
            match result {
                Ok(()) => {}
                Err(scan::WalkError::Stopped) => return Err(EngineError::Stopped),
                Err(error) => return Err(walk_error(tree, &error)),
            }
            let unlisted = visitor.unlisted.into_inner().unwrap_or_else(PoisonError::into_inner);
            // They moved under the scan; where something watches, its events say where to.
            for id in unlisted {
                let how = self.shared.arms.get(id.volume).map_or(How::Scan, |arm| arm.how());
                self.todo.push_back(Todo::List(id, false, how));
            }
            blind.append(&mut visitor.blind.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        let seen = Time::now();
        let roots = trees.iter().map(|at| SeedRoot { row: self.trees[*at].row.clone(), seen }).collect();
        let edits = Edits { volumes: self.shared.volumes.take_unsaved(), ..Edits::default() };
        let records =
            self.with_progress("loading", &walked, || self.shared.index.load(seed, roots, edits))?;
        for record in &records {
            if let Body::Seeded(seeded) = &record.body
                && let Some(tree) = self.trees.iter_mut().find(|tree| tree.row.id == record.root)
            {
                tree.row.seeded = Some(record.seq);
                info!(root = %tree.display(), entries = seeded.entries, seq = record.seq.0, "first scan is stored");
            }
            self.shared.durable.send_replace(record.seq.0);
        }
        self.note_blind(blind, &[])
    }

    /// Sweeps every tree, or the part of one below `path`.
    pub(crate) fn sweep_trees(&mut self, path: Option<&[u8]>, why: &str) -> Result<SweepReport, EngineError> {
        let trees: Vec<usize> = match path {
            None => (0..self.trees.len()).collect(),
            Some(path) => match self.tree_of(path) {
                Some(at) => vec![at],
                None => return Err(outside(path)),
            },
        };
        let mut sum = SweepReport::default();
        for at in trees {
            if !self.trees[at].present {
                continue;
            }
            info!(root = %self.trees[at].display(), why, "sweep begins");
            let report = self.sweep_tree(at, path)?;
            sum.entries += report.entries;
            sum.directories += report.directories;
            sum.differences += report.differences;
            sum.partial += report.partial;
        }
        Ok(sum)
    }

    /// Sweeps one tree, or the part of it below `path`: differences become hints.
    pub(crate) fn sweep_tree(&mut self, at: usize, path: Option<&[u8]>) -> Result<SweepReport, EngineError> {
        self.sweep_tree_as(at, path, How::Sweep)
    }

    /// Likewise, for records that say another cause: an event that told too little.
    pub(crate) fn sweep_tree_as(
        &mut self,
        at: usize,
        path: Option<&[u8]>,
        how: How,
    ) -> Result<SweepReport, EngineError> {
        let tree = &self.trees[at];
        if path.is_none() {
            self.shared.arms.reset_unwatched();
        }
        let start = match path.filter(|path| **path != *tree.row.path) {
            None => scan::Start::root(&tree.scope),
            Some(path) => {
                let reader = self.shared.index.read()?;
                let Some((_, id)) = reader.resolve(path)? else { return Err(outside(path)) };
                let (root, _) = tree.scope.open().map_err(|error| outside_error(path, error))?;
                let below = &path[tree.row.path.len()..];
                let names: Vec<&[u8]> =
                    below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
                let fd = tree
                    .scope
                    .open_below(std::os::fd::AsFd::as_fd(&root), &names)
                    .map_err(|error| outside_error(path, error))?;
                Ok(scan::Start::below(&tree.scope, fd, id, names.into_iter().map(Name::from).collect()))
            }
        };
        let start = match start {
            Ok(start) => start,
            Err(error) => {
                self.check_presence(self.trees[at].row.top.volume, &error.to_string())?;
                return Ok(SweepReport::default());
            }
        };
        let walked = scan::Progress::default();
        let arms = self.config.arms(&self.shared);
        let visitor =
            SweepVisitor::new(&self.shared.index, arms, &self.shared.pending, &self.shared.stop, how);
        let result = self.with_progress("sweeping", &walked, || {
            scan::walk(&tree.scope, start, self.config.threads, &visitor, &self.shared.stop, &walked)
        });
        let SweepVisitor { differences, partial, blind, seen_again, failed, .. } = visitor;
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.into());
        }
        match result {
            Ok(()) => {}
            Err(scan::WalkError::Stopped) => return Err(EngineError::Stopped),
            Err(error) => warn!(root = %tree.display(), %error, "the sweep ended early"),
        }
        let seen_again = seen_again.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.note_blind(blind.into_inner().unwrap_or_else(PoisonError::into_inner), &seen_again)?;
        Ok(SweepReport {
            entries: walked.entries.load(Ordering::Relaxed),
            directories: walked.directories.load(Ordering::Relaxed),
            differences: differences.load(Ordering::Relaxed),
            partial: partial.load(Ordering::Relaxed),
            ..SweepReport::default()
        })
    }

    /// Looks at the times of every stored directory and lists those that moved.
    pub(crate) fn sweep_names(&mut self, path: Option<&[u8]>) -> Result<SweepReport, EngineError> {
        let reader = self.shared.index.read()?;
        let starts: Vec<EntryId> = match path {
            None => self.tops.iter().map(|root| root.top).collect(),
            Some(path) => vec![reader.resolve(path)?.ok_or_else(|| outside(path))?.1],
        };
        let mut report = SweepReport::default();
        let mut stack = starts;
        while let Some(dir) = stack.pop() {
            report.directories += 1;
            report.entries += 1;
            reader.each_child::<index::IndexError>(dir, |_, target| {
                if target.directory {
                    stack.push(target.id);
                }
                Ok(true)
            })?;
            let Some(row) = reader.row(dir)? else { continue };
            let path = reader.path(&self.root_rows(), dir)?;
            let seen = path.and_then(|path| {
                let fd = scan::open_root(&path).ok()?;
                scan::look_self(std::os::fd::AsFd::as_fd(&fd)).ok()
            });
            if seen.is_none_or(|seen| seen.inode != dir.inode || !row.stat.same(&seen.stat)) {
                report.differences += 1;
                self.todo.push_back(Todo::List(dir, false, How::Sweep));
            }
        }
        Ok(report)
    }

    /// Sweeps the trees that are not wholly watched.
    pub(crate) fn sweep_unwatched(&mut self) -> Result<(), EngineError> {
        let mut trees: Vec<usize> = Vec::new();
        for (volume, arm) in self.shared.arms.all() {
            if arm.needs_sweep() || (self.unseen > 0 && arm.how() == How::Inotify) {
                trees.extend(self.trees_on(volume));
            }
        }
        trees.sort_unstable();
        trees.dedup();
        for at in trees {
            if self.trees[at].present {
                self.sweep_tree(at, None)?;
            }
        }
        Ok(())
    }

    /// After an error on a volume: whether the roots on it are still what they were.
    pub(crate) fn check_presence(&mut self, volume: VolumeId, why: &str) -> Result<(), EngineError> {
        for at in self.trees_on(volume) {
            if self.trees[at].present && !self.is_there(at)? {
                warn!(root = %self.trees[at].display(), why, "the root is lost; its rows are kept");
                self.trees[at].present = false;
                self.tell_lost(at)?;
            }
        }
        Ok(())
    }

    /// Looks whether lost roots are back, and whether roots are still there.
    pub(crate) fn look_for_lost(&mut self) -> Result<(), EngineError> {
        for at in 0..self.trees.len() {
            let there = self.is_there(at)?;
            match (self.trees[at].present, there) {
                (false, true) => self.welcome_back(at)?,
                (true, false) => {
                    self.trees[at].present = false;
                    self.tell_lost(at)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_there(&self, at: usize) -> Result<bool, EngineError> {
        let tree = &self.trees[at];
        let Ok((_, seen)) = tree.scope.open() else { return Ok(false) };
        if tree.scope.root_entry() != Some(tree.row.top) {
            return Ok(false);
        }
        self.shared.is_same_directory(tree.row.top, &seen.stat)
    }

    fn welcome_back(&mut self, at: usize) -> Result<(), EngineError> {
        let tree = &mut self.trees[at];
        tree.present = true;
        tree.row.lost = None;
        info!(root = %tree.display(), "the root is back");
        let body = Body::RootFound { path: tree.row.path.clone() };
        let message = Message { seen: Time::now(), how: How::Sweep, root: tree.row.id, body };
        let volume = tree.row.top.volume;
        self.say(message)?;
        self.shared.arms.forget(volume);
        self.show_root(at, "sweeping");
        self.sweep_tree(at, None)?;
        self.work_off(None)?;
        self.show_root(at, "live");
        self.store_roots()
    }

    fn tell_lost(&mut self, at: usize) -> Result<(), EngineError> {
        let opened = self.trees[at].scope.open().map(|_| ());
        let why = why_lost(&opened);
        let tree = &mut self.trees[at];
        tree.row.lost = Some(why.clone());
        let id = tree.row.id;
        let stored = self.shared.index.read()?.roots()?;
        let told = stored.iter().any(|row| row.id == id && row.lost.is_some());
        if !told {
            let body = Body::RootLost { path: self.trees[at].row.path.clone(), why: why.clone() };
            self.say(Message { seen: Time::now(), how: How::Sweep, root: id, body })?;
        }
        self.show_root(at, "lost");
        self.store_roots()
    }

    /// Believes what is at a root's path now: the old rows go, with their records, and it is scanned anew.
    pub(crate) fn accept(&mut self, path: &[u8]) -> Result<(), EngineError> {
        let Some(at) = self.trees.iter().position(|tree| tree.row.path[..] == *path) else {
            return Err(outside(path));
        };
        if self.trees[at].present {
            return Ok(());
        }
        let opened = self.trees[at].scope.open();
        let (Ok(_), Some(top)) = (&opened, self.trees[at].scope.root_entry()) else {
            return Err(EngineError::Root {
                path: self.trees[at].display(),
                why: why_lost(&opened.map(|_| ())),
            });
        };
        let old = self.trees[at].row.top;
        self.held.push((reconcile::Held { id: old, place: None }, Instant::now()));
        self.work_off(None)?;
        let tree = &mut self.trees[at];
        tree.row.top = top;
        tree.row.lost = None;
        tree.row.seeded = None;
        tree.row.verified = Time(0);
        tree.present = true;
        self.tops = self.trees.iter().map(super::roots::Tree::root).collect();
        self.seed(&[at])?;
        self.work_off(None)?;
        self.show_root(at, "live");
        self.store_roots()
    }

    /// Stores what cannot be vouched for, and what can be again.
    fn note_blind(
        &self,
        blind: Vec<(EntryId, Option<Name>, Blind)>,
        seen_again: &[EntryId],
    ) -> Result<(), EngineError> {
        let reader = self.shared.index.read()?;
        let mut coverage: HashMap<EntryId, Option<Blind>> = seen_again.iter().map(|id| (*id, None)).collect();
        for (dir, name, why) in blind {
            let id = match &name {
                Some(name) => reader.lookup(dir, name)?.map_or(dir, |target| target.id),
                None => dir,
            };
            if !reader.is_blind(id)? {
                coverage.insert(id, Some(why));
            }
        }
        if !coverage.is_empty() {
            let coverage = coverage.into_iter().collect();
            self.shared.index.commit(Edits { coverage, ..Edits::default() })?;
        }
        Ok(())
    }

    fn root_rows(&self) -> Vec<index::RootRow> {
        self.trees.iter().map(|tree| tree.row.clone()).collect()
    }

    /// Runs `work` while telling how far the walk is.
    fn with_progress<T>(&self, phase: &str, walked: &scan::Progress, work: impl FnOnce() -> T) -> T {
        let done = (Mutex::new(false), Condvar::new());
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut over = done.0.lock().unwrap_or_else(PoisonError::into_inner);
                while !*over {
                    over = done.1.wait_timeout(over, TICK).unwrap_or_else(PoisonError::into_inner).0;
                    let progress = progress_of(walked, phase);
                    (self.config.progress)(&progress, phase);
                    self.shared.set_view(|view| view.progress = Some(progress));
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
    let part = directories as f64 / (directories + left).max(1) as f64;
    let percent = match phase {
        "loading" => 80.0,
        "scanning" => part * 80.0,
        _ => part * 99.0,
    };
    Progress {
        percent,
        files_found: found,
        files_processed: if phase == "sweeping" { found } else { 0 },
        bytes_processed: walked.bytes.load(Ordering::Relaxed),
        directories_left: left,
    }
}

fn walk_error(tree: &super::roots::Tree, error: &scan::WalkError) -> EngineError {
    EngineError::Root { path: tree.display(), why: error.to_string() }
}

fn outside(path: &[u8]) -> EngineError {
    EngineError::Root {
        path: String::from_utf8_lossy(path).into_owned(),
        why: "is in no indexed root; `indexer status` lists them".to_owned(),
    }
}

fn outside_error(path: &[u8], error: scan::Errno) -> EngineError {
    EngineError::Root {
        path: String::from_utf8_lossy(path).into_owned(),
        why: format!("cannot be opened: {error}"),
    }
}

impl super::config::EngineConfig {
    /// The watches, unless this is one pass alone.
    fn arms<'a>(&self, shared: &'a Shared) -> Option<&'a super::arms::Arms> {
        (!shared.one_pass).then_some(&shared.arms)
    }
}
