//! Sweeps: a tree, or a part of it, compared with the index. Differences become hints.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use index::{Blind, Edits};
use reconcile::Stored as _;
use record::{EntryId, How, Name};
use tracing::{info, warn};

use super::core::Core;
use super::error::EngineError;
use super::round::Todo;
use super::status::SweepReport;
use super::sweep::SweepVisitor;

impl Core {
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
        let visitor = SweepVisitor::new(&self.shared, arms, how);
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
                let disk = &self.shared.ground.disk;
                let fd = disk.open_root(&path).ok()?;
                disk.look_self(std::os::fd::AsFd::as_fd(&fd)).ok()
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
}

pub(crate) fn outside(path: &[u8]) -> EngineError {
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
