//! The parallel walk: one job a directory, each looked at through its own descriptor. Shows everything to a
//! visitor; keeps nothing.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::ops::{ControlFlow, Range};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use record::{EntryId, Kind, Name};
use rustix::io::Errno;

use crate::batch::{Batch, Gathered};
use crate::directory::{Budget, Directory, HeldFd};
use crate::disk::Disk;
use crate::links;
use crate::listing::ListBuffer;
use crate::look::{Look, Seen};
use crate::scope::{Member, Scope};
use crate::start::{Start, WalkError};
use crate::visitor::{Progress, Visitor};

/// Walks all below `start` that belongs to `scope`, on `threads` threads of its own, and shows it to `visitor`.
/// `stop` is asked once a directory and once some hundred entries.
///
/// Memory holds one buffer a thread, the chain above each directory in work, and the names of the directories
/// waiting; descriptors are bounded by half the process's limit.
///
/// # Errors
/// When the start cannot be opened, threads cannot be made, or the walk was stopped.
pub fn walk<V: Visitor>(
    scope: &Scope,
    start: Start,
    threads: usize,
    visitor: &V,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<(), WalkError> {
    if scope.follow_symlinks && start.depth == 0 {
        links::find(scope, threads, stop)?;
    }
    let follow = scope.follow_symlinks;
    Walk::run(scope, start, threads, visitor, stop, progress, follow, Budget::of_process())
}

/// `walk` that leaves links alone, whatever the scope says.
pub(crate) fn walk_plain<V: Visitor>(
    scope: &Scope,
    start: Start,
    threads: usize,
    visitor: &V,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<(), WalkError> {
    Walk::run(scope, start, threads, visitor, stop, progress, false, Budget::of_process())
}

struct Walk<'a, V: Visitor> {
    scope: &'a Scope,
    disk: &'a dyn Disk,
    visitor: &'a V,
    stop: &'a AtomicBool,
    progress: &'a Progress,
    follow: bool,
    budget: Arc<Budget>,
    /// Directories that the walk began at and that are not done.
    tops: AtomicU64,
    /// What each thread needs, by its number. A list each, since a visitor may run other jobs inside a call.
    desks: Vec<Mutex<Vec<Desk<V::Worker>>>>,
}

struct Desk<W> {
    worker: W,
    buffer: ListBuffer,
}

/// How many entries between two looks at the stop flag, and between two additions to the counts.
const BEAT: u64 = 512;

impl<'a, V: Visitor> Walk<'a, V> {
    #[expect(clippy::too_many_arguments, reason = "one caller each for the two kinds of walk, and the tests")]
    fn run(
        scope: &'a Scope,
        start: Start,
        threads: usize,
        visitor: &'a V,
        stop: &'a AtomicBool,
        progress: &'a Progress,
        follow: bool,
        budget: Budget,
    ) -> Result<(), WalkError> {
        let pool = pool(threads)?;
        let seen = scope.disk.look_self(start.fd.as_fd()).map_err(|source| WalkError::root(scope, source))?;
        let standing = (seen.device, seen.mount);
        let fd = HeldFd::new(start.fd);
        let (path, root) = (start.path, start.root_length);
        let top = Directory::top(start.id, start.depth, standing, path, root, Some(Arc::clone(&fd)));
        let walk = Walk::new(scope, visitor, stop, progress, follow, budget, pool.current_num_threads());
        walk.tops.store(1, Ordering::Relaxed);
        progress.directories_left.fetch_add(1, Ordering::Relaxed);
        pool.scope(|jobs| {
            let walk = &walk;
            jobs.spawn(move |jobs| {
                let mut desk = walk.desk();
                let top = Arc::new(top);
                match walk.visitor.pass(&mut desk.worker, top.id) {
                    Some(children) => walk.passed(jobs, &mut desk, top, children),
                    None => walk.directory(jobs, &mut desk, top, fd, &seen),
                }
                walk.give_back(desk);
            });
        });
        walk.finish()
    }

    fn new(
        scope: &'a Scope,
        visitor: &'a V,
        stop: &'a AtomicBool,
        progress: &'a Progress,
        follow: bool,
        budget: Budget,
        threads: usize,
    ) -> Walk<'a, V> {
        let desks = (0..threads).map(|_| Mutex::default()).collect();
        let (budget, tops) = (Arc::new(budget), AtomicU64::new(0));
        Walk { scope, disk: &*scope.disk, visitor, stop, progress, follow, budget, tops, desks }
    }

    fn finish(self) -> Result<(), WalkError> {
        for desk in self.desks {
            for desk in desk.into_inner().unwrap_or_else(PoisonError::into_inner) {
                self.visitor.finish(desk.worker);
            }
        }
        // Only a stop keeps something waiting; one that came after the last entry cut nothing off.
        if self.tops.into_inner() > 0 { Err(WalkError::Stopped) } else { Ok(()) }
    }

    fn desk(&self) -> Desk<V::Worker> {
        let at = rayon::current_thread_index().unwrap_or(0);
        let kept = self.desks[at].lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Desk { worker: self.visitor.worker(), buffer: ListBuffer::new() })
    }

    fn give_back(&self, desk: Desk<V::Worker>) {
        let at = rayon::current_thread_index().unwrap_or(0);
        self.desks[at].lock().unwrap_or_else(PoisonError::into_inner).push(desk);
    }

    /// Walks some of the directories of a batch: gives away the second half until one is left.
    fn batch<'s>(&'s self, jobs: &rayon::Scope<'s>, batch: Arc<Batch<V::Data>>, mut range: Range<usize>)
    where
        'a: 's,
    {
        while range.len() > 1 {
            let middle = range.start + range.len() / 2;
            let (other, rest) = (Arc::clone(&batch), middle..range.end);
            jobs.spawn(move |jobs| self.batch(jobs, other, rest));
            range.end = middle;
        }
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let mut desk = self.desk();
        self.child(jobs, &mut desk, batch, range.start);
        self.give_back(desk);
    }

    fn child<'s>(
        &'s self,
        jobs: &rayon::Scope<'s>,
        desk: &mut Desk<V::Worker>,
        batch: Arc<Batch<V::Data>>,
        at: usize,
    ) where
        'a: 's,
    {
        let (name, inode) = batch.child(at);
        let id = EntryId::new(batch.volume, inode);
        if batch.target.is_none()
            && let Some(children) = self.visitor.pass(&mut desk.worker, id)
        {
            // Its mount is of no interest: nothing in it is looked at through it.
            let standing = (batch.device, batch.dir.mount);
            let parent = Arc::clone(&batch.dir);
            let dir = Directory::child(parent, name.to_bytes(), id, standing, None, Weak::new());
            drop(batch);
            return self.passed(jobs, desk, Arc::new(dir), children);
        }
        let opened = batch.open(self.disk, name).and_then(|fd| {
            let seen = self.disk.look_self(fd.as_fd())?;
            // Another directory took the name since it was looked at; a hint or the next listing has it.
            if (seen.inode, seen.device) == (inode, batch.device) {
                Ok((fd, seen))
            } else {
                Err(Errno::STALE)
            }
        });
        match opened {
            Ok((fd, seen)) => {
                let fd = HeldFd::new(fd);
                let dir = Directory::child(
                    Arc::clone(&batch.dir),
                    name.to_bytes(),
                    id,
                    (seen.device, seen.mount),
                    batch.target.clone(),
                    Arc::downgrade(&fd),
                );
                // The parent's descriptor goes with the last batch of it, before this one is listed.
                drop(batch);
                self.directory(jobs, desk, Arc::new(dir), fd, &seen);
            }
            Err(error) => {
                self.visitor.failed(&mut desk.worker, &batch.dir, Some(name.to_bytes()), error, "open");
                self.count_directory();
                self.ascend(desk, Arc::clone(&batch.dir));
            }
        }
    }

    /// Goes on with the directories in one that need not be looked at.
    fn passed<'s>(
        &'s self,
        jobs: &rayon::Scope<'s>,
        desk: &mut Desk<V::Worker>,
        dir: Arc<Directory<V::Data>>,
        children: Vec<(Name, u64)>,
    ) where
        'a: 's,
    {
        let mut gathered = Gathered::default();
        for (name, inode) in children {
            gathered.add_unseen(&name, dir.id.volume, dir.device, inode);
            if gathered.is_full() {
                self.send(jobs, &dir, gathered.take_unopened(&dir));
            }
        }
        self.send(jobs, &dir, gathered.take_unopened(&dir));
        self.count_directory();
        self.ascend(desk, dir);
    }

    /// Sends off jobs for the directories of a batch.
    fn send<'s>(&'s self, jobs: &rayon::Scope<'s>, dir: &Directory<V::Data>, batch: Option<Batch<V::Data>>)
    where
        'a: 's,
    {
        let Some(batch) = batch else { return };
        let range = 0..batch.len();
        let more = range.len() as u64;
        dir.pending.fetch_add(more, Ordering::Relaxed);
        self.progress.directories_left.fetch_add(more, Ordering::Relaxed);
        let batch = Arc::new(batch);
        jobs.spawn(move |jobs| self.batch(jobs, batch, range));
    }

    fn directory<'s>(
        &'s self,
        jobs: &rayon::Scope<'s>,
        desk: &mut Desk<V::Worker>,
        dir: Arc<Directory<V::Data>>,
        fd: Arc<HeldFd>,
        seen: &Seen,
    ) where
        'a: 's,
    {
        if self.visitor.enter(&mut desk.worker, &dir, fd.as_fd(), seen)
            && !self.list(jobs, desk, &dir, &fd, seen)
        {
            return;
        }
        drop(fd);
        self.count_directory();
        self.ascend(desk, dir);
    }

    /// Lists one directory, looks at each name, sends off jobs for the directories in it. False: stopped.
    fn list<'s>(
        &'s self,
        jobs: &rayon::Scope<'s>,
        desk: &mut Desk<V::Worker>,
        dir: &Arc<Directory<V::Data>>,
        fd: &Arc<HeldFd>,
        seen: &Seen,
    ) -> bool
    where
        'a: 's,
    {
        let Desk { worker, buffer } = desk;
        let mut complete = true;
        let mut gathered = Gathered::default();
        let (mut entries, mut bytes) = (0, 0);
        let send = |gathered: &mut Gathered| self.send(jobs, dir, gathered.take(dir, fd, &self.budget));
        let prefix = OnceCell::new();
        let mut each = |name: &CStr, _kind| {
            let bare = name.to_bytes();
            let relative = || [prefix.get_or_init(|| prefix_of(dir)), bare].concat();
            let seen = match self.disk.look_listed(fd.as_fd(), name) {
                Look::Present(seen) if self.follow && seen.stat.kind == Kind::Symlink => {
                    self.scope.through(fd.as_fd(), bare, &relative(), &seen)
                }
                Look::Present(seen) => seen,
                // Gone since it was listed: as if it had gone before.
                Look::Absent => return ControlFlow::Continue(()),
                Look::Failed(error) => {
                    self.visitor.failed(worker, dir, Some(bare), error, "look");
                    complete = false;
                    return ControlFlow::Continue(());
                }
            };
            let standing = (dir.device, dir.mount);
            let depth = dir.depth + 1;
            let member = if self.follow {
                self.scope.member(dir.id, standing, &relative, depth, bare, &seen, fd.as_fd())
            } else {
                self.scope.plain_member(dir.id, standing, &relative, depth, bare, &seen, fd.as_fd())
            };
            match member {
                Member::In(volume) => {
                    self.visitor.entry(worker, dir, bare, EntryId::new(volume, seen.inode), &seen);
                    if seen.stat.kind == Kind::Directory {
                        let target = if seen.through { self.scope.target_of(&relative()) } else { None };
                        if !gathered.fits(volume, &seen) || target.is_some() {
                            send(&mut gathered);
                        }
                        gathered.add(name, volume, &seen, target);
                    }
                    entries += 1;
                    bytes += seen.stat.size;
                }
                Member::Out(_) => {}
                Member::Failed(error) => {
                    self.visitor.failed(worker, dir, Some(bare), error, "identify");
                    complete = false;
                }
            }
            if entries >= BEAT {
                self.count_entries(&mut entries, &mut bytes);
                if self.stop.load(Ordering::Relaxed) {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        // At the greatest depth nothing in it belongs to the root, and that is a complete listing.
        let bottom = self.scope.max_depth.is_some_and(|max| dir.depth >= max);
        let result = if bottom { Ok(true) } else { self.disk.list(fd.as_fd(), buffer, &mut each) };
        self.count_entries(&mut entries, &mut bytes);
        match result {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                self.visitor.failed(worker, dir, None, error, "list");
                complete = false;
            }
        }
        let after = self.disk.look_self(fd.as_fd()).unwrap_or_else(|error| {
            self.visitor.failed(worker, dir, None, error, "look");
            complete = false;
            *seen
        });
        self.visitor.listed(worker, dir, &after, complete);
        send(&mut gathered);
        true
    }

    fn count_entries(&self, entries: &mut u64, bytes: &mut u64) {
        if *entries > 0 {
            self.progress.entries.fetch_add(std::mem::take(entries), Ordering::Relaxed);
            self.progress.bytes.fetch_add(std::mem::take(bytes), Ordering::Relaxed);
        }
    }

    fn count_directory(&self) {
        self.progress.directories.fetch_add(1, Ordering::Relaxed);
        self.progress.directories_left.fetch_sub(1, Ordering::Relaxed);
    }

    /// One thing less to wait for in `dir`; if it was the last, `dir` is done, and so on upwards.
    fn ascend(&self, desk: &mut Desk<V::Worker>, dir: Arc<Directory<V::Data>>) {
        let mut at = dir;
        // Acquire and release: who finds the count at 0 sees what all others did below.
        while at.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.visitor.done(&mut desk.worker, &at);
            let Some(parent) = at.parent_arc() else {
                self.tops.fetch_sub(1, Ordering::AcqRel);
                break;
            };
            at = parent;
        }
    }
}

fn pool(threads: usize) -> Result<rayon::ThreadPool, WalkError> {
    let threads = threads.max(1);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("scan-{number}"))
        .build()
        .map_err(|error| WalkError::Threads { threads, why: error.to_string() })
}

/// The path of a directory from the root, with the slash that joins it to a name.
fn prefix_of<D>(dir: &Directory<D>) -> Vec<u8> {
    let mut path = dir.relative_path();
    if !path.is_empty() {
        path.push(b'/');
    }
    path
}

mod rest;

pub use rest::walk_rest;

#[cfg(test)]
mod tests;
