//! A walk that goes on where another was cut off: from directories that were listed, into those in them that were
//! not. Knows nothing of how it was written down which those are.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use record::{EntryId, Kind};
use rustix::io::Errno;

use super::{Desk, Walk, pool, prefix_of};
use crate::batch::{Batch, Gathered};
use crate::directory::{Budget, Directory, HeldFd};
use crate::links;
use crate::look::Seen;
use crate::scope::{Met, Scope};
use crate::start::{Rest, WalkError};
use crate::visitor::{Progress, Visitor};

/// Walks what `rests` names and all below it, as [`super::walk`] walks a tree. The directories that were listed before
/// are `done` at the end, and neither entered nor listed. What is no longer there, or is another directory, is told
/// as `failed` to `open`.
///
/// A rest is taken when a thread has nothing else to do, so about as many are open as there are threads.
///
/// # Errors
/// When the root cannot be opened, threads cannot be made, or the walk was stopped.
pub fn walk_rest<V: Visitor>(
    scope: &Scope,
    rests: impl Iterator<Item = Rest> + Send,
    threads: usize,
    visitor: &V,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<(), WalkError> {
    let (root, _) = scope.open().map_err(|source| WalkError::root(scope, source))?;
    let follow = scope.follow_symlinks;
    if follow {
        links::find(scope, threads, stop)?;
    }
    let pool = pool(threads)?;
    let budget = Budget::of_process();
    let walk = Walk::new(scope, visitor, stop, progress, follow, budget, pool.current_num_threads());
    let rests = Mutex::new(rests);
    pool.scope(|jobs| {
        let (walk, rests, root) = (&walk, &rests, &root);
        jobs.spawn(move |jobs| walk.rest(jobs, rests, root));
    });
    // What a stop left in it keeps the walk from having been a whole one.
    let left = rests.into_inner().unwrap_or_else(PoisonError::into_inner).next().is_some();
    walk.finish()?;
    if left { Err(WalkError::Stopped) } else { Ok(()) }
}

impl<'a, V: Visitor> Walk<'a, V> {
    fn rest<'s, I: Iterator<Item = Rest> + Send>(
        &'s self,
        jobs: &rayon::Scope<'s>,
        rests: &'s Mutex<I>,
        root: &'s OwnedFd,
    ) where
        'a: 's,
    {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(rest) = rests.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
        // First in this thread's queue is last in turn: the next rest is begun when all below this one is walked, or by
        // a thread that has nothing else.
        jobs.spawn(move |jobs| self.rest(jobs, rests, root));
        let mut desk = self.desk();
        self.go_on(jobs, &mut desk, root, rest);
        self.give_back(desk);
    }

    fn go_on<'s>(&'s self, jobs: &rayon::Scope<'s>, desk: &mut Desk<V::Worker>, root: &OwnedFd, rest: Rest)
    where
        'a: 's,
    {
        let names: Vec<&[u8]> = rest.components.iter().map(|name| &**name).collect();
        let opened = self.scope.open_below(root.as_fd(), &names).and_then(|fd| {
            let seen = self.scope.disk.look_self(fd.as_fd())?;
            if seen.inode == rest.id.inode { Ok((fd, seen)) } else { Err(Errno::STALE) }
        });
        let mut path = self.scope.path.clone();
        for name in &names {
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        let depth = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let (fd, seen) = match opened {
            Ok((fd, seen)) => (Ok(HeldFd::new(fd)), Some(seen)),
            Err(error) => (Err(error), None),
        };
        let standing = seen.map_or((0, 0), |seen| (seen.device, seen.mount));
        let held = fd.as_ref().ok().map(Arc::clone);
        let root_length = self.scope.path.len();
        let dir = Arc::new(Directory::top(rest.id, depth, standing, path, root_length, held));
        self.tops.fetch_add(1, Ordering::Relaxed);
        let count = rest.children.len() as u64;
        self.progress.directories_left.fetch_add(count, Ordering::Relaxed);
        dir.pending.fetch_add(count, Ordering::Relaxed);
        let mut gathered = Gathered::default();
        for (name, id) in &rest.children {
            let found = fd.clone().and_then(|fd| self.child_of(&dir, &fd, name, *id).map(|seen| (fd, seen)));
            match (found, CString::new(&name[..])) {
                (Ok((fd, seen)), Ok(name)) => {
                    let mut relative = prefix_of(&dir);
                    relative.extend_from_slice(name.to_bytes());
                    let target = if seen.through { self.scope.target_of(&relative) } else { None };
                    if !gathered.fits(id.volume, &seen) || target.is_some() {
                        self.send_rest(jobs, gathered.take(&dir, &fd, &self.budget));
                    }
                    gathered.add(&name, id.volume, &seen, target);
                }
                (found, _) => {
                    let error = found.err().unwrap_or(Errno::INVAL);
                    self.visitor.failed(&mut desk.worker, &dir, Some(name), error, "open");
                    self.count_directory();
                    dir.pending.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
        if let Ok(fd) = &fd {
            self.send_rest(jobs, gathered.take(&dir, fd, &self.budget));
        }
        drop(fd);
        self.ascend(desk, dir);
    }

    /// Looks whether `name` is still the directory it was, and still belongs to the root.
    fn child_of(
        &self,
        dir: &Directory<V::Data>,
        fd: &HeldFd,
        name: &[u8],
        id: EntryId,
    ) -> Result<Seen, Errno> {
        let relative = || [prefix_of(dir), name.to_vec()].concat();
        let standing = (dir.device, dir.mount);
        match self.scope.meet(dir.id, standing, &relative, dir.depth + 1, name, fd.as_fd()) {
            Met::In(volume, seen)
                if EntryId::new(volume, seen.inode) == id && seen.stat.kind == Kind::Directory =>
            {
                Ok(seen)
            }
            Met::Absent => Err(Errno::NOENT),
            Met::Failed(error) => Err(error),
            Met::In(..) | Met::Out(..) => Err(Errno::STALE),
        }
    }

    fn send_rest<'s>(&'s self, jobs: &rayon::Scope<'s>, batch: Option<Batch<V::Data>>)
    where
        'a: 's,
    {
        let Some(batch) = batch else { return };
        let range = 0..batch.len();
        let batch = Arc::new(batch);
        jobs.spawn(move |jobs| self.batch(jobs, batch, range));
    }
}
