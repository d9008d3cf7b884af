//! Symbolic links that lead out of a root, for `--follow-symlinks`: which are entered, each target once. The
//! table is made by a walk of its own, so that it follows from the tree alone and not from who came first.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use record::{EntryId, Kind};
use rustc_hash::FxHashSet;
use rustix::io::Errno;

use crate::crossing::canonical;
use crate::directory::Directory;
use crate::look::{Look, Seen, look_self, look_through};
use crate::mounts::is_below;
use crate::open::open_root;
use crate::scope::{Member, Scope};
use crate::start::{Start, WalkError};
use crate::visitor::{Progress, Visitor};
use crate::walk::walk_plain;

#[derive(Default)]
pub(crate) struct Links(RwLock<Table>);

#[derive(Default)]
struct Table {
    /// Links to directories that are entered, by their path from the root.
    entered: BTreeMap<Vec<u8>, Target>,
    /// Device and inode of all targets, and of the root.
    inodes: FxHashSet<(u64, u64)>,
}

#[derive(Clone)]
struct Target {
    /// Where the directory is, without any link.
    path: Vec<u8>,
    seen: Seen,
}

impl Links {
    /// Whether a directory is entered through a link (or is the root), and so not under its own name.
    pub(crate) fn is_target(&self, seen: &Seen) -> bool {
        self.read().inodes.contains(&(seen.device, seen.inode))
    }

    pub(crate) fn target_of(&self, relative: &[u8]) -> Option<Vec<u8>> {
        self.read().entered.get(relative).map(|target| target.path.clone())
    }

    /// The target of a link, and where it is, if the link is followed.
    pub(crate) fn resolve(
        &self,
        root: &[u8],
        dir: BorrowedFd<'_>,
        name: &[u8],
        relative: &[u8],
    ) -> Option<(Seen, Vec<u8>)> {
        let Look::Present(seen) = look_through(dir, name) else { return None };
        let path = canonical(dir, name).ok()?;
        let table = self.read();
        let followed = if seen.stat.is_directory() {
            table
                .entered
                .get(relative)
                .is_some_and(|target| target.path == path && target.seen.same_inode(&seen))
        } else {
            !is_below(&path, root) && !table.entered.values().any(|target| is_below(&path, &target.path))
        };
        followed.then_some((seen, path))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the links of `scope` that are to be entered: those of the plain tree first, then those in each
/// target, always the least path next.
pub(crate) fn find(scope: &Scope, threads: usize, stop: &AtomicBool) -> Result<(), WalkError> {
    let start = Start::root(scope)?;
    let root = look_self(start.fd()).map_err(|source| WalkError::root(scope, source))?;
    let mut table = Table::default();
    table.inodes.insert((root.device, root.inode));
    let finder = Finder { root: scope.real_path(), known: FxHashSet::default(), found: Mutex::default() };
    walk_plain(scope, start, threads, &finder, stop, &Progress::default())?;
    let mut waiting = finder.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    while let Some((link, target)) = waiting.pop_first() {
        let within = table.entered.values().any(|other| is_below(&target.path, &other.path));
        if within || table.inodes.contains(&(target.seen.device, target.seen.inode)) {
            continue;
        }
        let Member::In(volume) = scope.outside(&target.seen, &target.path) else { continue };
        // What cannot be opened stays a link.
        let Ok(fd) = open_root(&target.path) else { continue };
        let components = link.split(|&byte| byte == b'/').map(Into::into).collect();
        let id = EntryId::new(volume, target.seen.inode);
        let start = Start::below(scope, fd, id, components);
        // The target itself is entered; all others, and the root, are not entered again inside it.
        let finder = Finder { root: scope.real_path(), known: table.inodes.clone(), found: Mutex::default() };
        walk_plain(scope, start, threads, &finder, stop, &Progress::default())?;
        waiting.append(&mut finder.found.into_inner().unwrap_or_else(PoisonError::into_inner));
        table.inodes.insert((target.seen.device, target.seen.inode));
        table.entered.insert(link, target);
    }
    *scope.links.0.write().unwrap_or_else(PoisonError::into_inner) = table;
    Ok(())
}

struct Finder {
    /// The root's path without any link.
    root: Arc<[u8]>,
    known: FxHashSet<(u64, u64)>,
    found: Mutex<BTreeMap<Vec<u8>, Target>>,
}

impl Visitor for Finder {
    type Worker = ();
    type Data = ();

    fn worker(&self) {}

    fn finish(&self, (): ()) {}

    fn enter(&self, (): &mut (), _: &Directory<()>, _: BorrowedFd<'_>, seen: &Seen) -> bool {
        !self.known.contains(&(seen.device, seen.inode))
    }

    fn entry(&self, (): &mut (), dir: &Directory<()>, name: &[u8], _: EntryId, seen: &Seen) {
        if seen.stat.kind != Kind::Symlink {
            return;
        }
        let mut path = dir.path();
        path.push(b'/');
        path.extend_from_slice(name);
        // A link that leads nowhere, in circles, or whose path is too long for the kernel stays a link.
        let Ok(target) = std::fs::canonicalize(OsStr::from_bytes(&path)) else { return };
        let target = target.into_os_string().into_encoded_bytes();
        if is_below(&target, &self.root) {
            return;
        }
        let Ok(fd) = open_root(&target) else { return };
        let Ok(seen) = look_self(fd.as_fd()) else { return };
        let mut link = dir.relative_path();
        if !link.is_empty() {
            link.push(b'/');
        }
        link.extend_from_slice(name);
        let target = Target { path: target, seen: Seen { through: true, ..seen } };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(link, target);
    }

    fn failed(&self, (): &mut (), _: &Directory<()>, _: Option<&[u8]>, _: Errno, _: &'static str) {}

    fn listed(&self, (): &mut (), _: &Directory<()>, _: &Seen, _: bool) {}

    fn done(&self, (): &mut (), _: &Directory<()>) {}
}
