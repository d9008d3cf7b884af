//! What belongs to a root: rules, depth, the state folder, other file systems, followed links. Looks at the disk
//! to tell; knows no stored row.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use record::{EntryId, Kind, RootId, VolumeId};
use rustix::io::Errno;

use crate::crossing::{ANOTHER, Binder, Crossing, Crossings, FILE};
use crate::disk::{Disk, Kernel};
use crate::links::Links;
use crate::look::{Look, Seen};
use crate::rules::Rules;

/// One root and what of it is indexed. Set the public fields before the first use and not after.
pub struct Scope {
    /// The root's number.
    pub root: RootId,
    /// Its absolute path, without a trailing slash (but for `/` itself).
    pub path: Vec<u8>,
    /// Patterns left out.
    pub rules: Rules,
    /// How many levels below the root are indexed; 0 is the root alone.
    pub max_depth: Option<u32>,
    /// Leave out mount points and subvolumes.
    pub one_file_system: bool,
    /// Enter links to directories outside the root, and index links to files outside it as those files.
    pub follow_symlinks: bool,
    /// What is never indexed, by device and inode: the state folder.
    pub left_out: Vec<(u64, u64)>,
    pub(crate) disk: Arc<dyn Disk>,
    layered: Arc<AtomicBool>,
    crossings: Crossings,
    pub(crate) links: Links,
}

/// Whether an entry is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// It is, on this volume.
    In(VolumeId),
    /// It is not, and why.
    Out(&'static str),
    /// The look at its file system failed: nothing is known of it, so a listing with it is partial.
    Failed(Errno),
}

/// What is at a name, and whether it is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// As of [`Look::Absent`].
    Absent,
    /// An entry of the index, on this volume.
    In(VolumeId, Seen),
    /// Something that is not, and why.
    Out(&'static str, Seen),
    /// The look at it or at its file system failed: nothing is known, and nothing may be concluded.
    Failed(Errno),
}

/// How often a name is looked at whose file system came or went in the middle of a look.
const LOOKS: u32 = 4;

/// The device and mount of a directory.
pub type Standing = (u64, u64);

impl Scope {
    /// A scope without rules and limits. `binder` numbers the volumes met.
    #[must_use]
    pub fn new(root: RootId, path: Vec<u8>, binder: Binder) -> Scope {
        Scope::on(Arc::new(Kernel), root, path, binder)
    }

    /// A scope of a tree on `disk`. Followed links are looked at by the kernel, whatever the disk.
    #[must_use]
    pub fn on(disk: Arc<dyn Disk>, root: RootId, path: Vec<u8>, binder: Binder) -> Scope {
        Scope {
            root,
            path,
            rules: Rules::none(),
            max_depth: None,
            one_file_system: false,
            follow_symlinks: false,
            left_out: Vec::new(),
            crossings: Crossings::new(Arc::clone(&disk), binder),
            disk,
            layered: Arc::default(),
            links: Links::default(),
        }
    }

    /// Whether files were met that have the device of a layer of their file system: each layer numbers its files for itself,
    /// so two of them may have one number, which nothing here can tell apart. Shared, and true from then on.
    #[must_use]
    pub fn layered(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.layered)
    }

    /// Opens the root's own directory and binds its volume.
    ///
    /// # Errors
    /// What opening or identifying says; `ENOENT` when it is not there.
    pub fn open(&self) -> Result<(OwnedFd, Seen), Errno> {
        let dir = self.disk.open_root(&self.path)?;
        let seen = self.disk.look_self(dir.as_fd())?;
        self.crossings.bind_root(&self.path, dir.as_fd(), &seen)?;
        Ok((dir, seen))
    }

    /// The entry of the root's own directory, as it was last opened.
    #[must_use]
    pub fn root_entry(&self) -> Option<EntryId> {
        self.crossings.root().map(|root| EntryId::new(root.volume, root.seen.inode))
    }

    /// May this child be in the index? `parent_seen` is the device and mount of the directory it is in,
    /// `relative_path` its own path from the root with its name, `depth` its own (1 below the root), `seen` from
    /// [`Scope::look`]. Asks nothing about the parents: those were asked about before.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "all of it is at hand in the walk, and packing it costs")]
    pub fn member(
        &self,
        parent: EntryId,
        parent_seen: Standing,
        relative_path: &dyn Fn() -> Vec<u8>,
        depth: u32,
        name: &[u8],
        seen: &Seen,
        dir_fd: BorrowedFd<'_>,
    ) -> Member {
        if let Some(why) = self.barred(relative_path, depth, seen) {
            return Member::Out(why);
        }
        if self.follow_symlinks && !seen.through && seen.stat.is_directory() && self.links.is_target(seen) {
            return Member::Out("followed under another path");
        }
        self.standing(parent, parent_seen, relative_path, name, seen, dir_fd)
    }

    /// `member` as it would be if no link was followed.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    pub(crate) fn plain_member(
        &self,
        parent: EntryId,
        parent_seen: Standing,
        relative_path: &dyn Fn() -> Vec<u8>,
        depth: u32,
        name: &[u8],
        seen: &Seen,
        dir_fd: BorrowedFd<'_>,
    ) -> Member {
        match self.barred(relative_path, depth, seen) {
            Some(why) => Member::Out(why),
            None => self.standing(parent, parent_seen, relative_path, name, seen, dir_fd),
        }
    }

    /// Which file system it is on, and whether that is followed.
    #[inline]
    fn standing(
        &self,
        parent: EntryId,
        parent_seen: Standing,
        relative_path: &dyn Fn() -> Vec<u8>,
        name: &[u8],
        seen: &Seen,
        dir_fd: BorrowedFd<'_>,
    ) -> Member {
        if seen.device == parent_seen.0 && seen.mount == parent_seen.1 && !seen.through {
            return Member::In(parent.volume);
        }
        self.elsewhere(parent, parent_seen, relative_path, name, seen, dir_fd)
    }

    /// Why it is left out, whatever file system it is on.
    #[inline]
    fn barred(&self, relative_path: &dyn Fn() -> Vec<u8>, depth: u32, seen: &Seen) -> Option<&'static str> {
        if self.max_depth.is_some_and(|max| depth > max) {
            return Some("below the maximum depth");
        }
        if self.left_out.iter().any(|&(device, inode)| inode == seen.inode && device == seen.device) {
            return Some("the state folder");
        }
        if !self.rules.is_empty() && self.rules.excluded(&relative_path(), seen.stat.is_directory()) {
            return Some("excluded by a rule");
        }
        None
    }

    #[cold]
    fn elsewhere(
        &self,
        parent: EntryId,
        parent_seen: Standing,
        relative_path: &dyn Fn() -> Vec<u8>,
        name: &[u8],
        seen: &Seen,
        dir_fd: BorrowedFd<'_>,
    ) -> Member {
        if seen.through {
            return match crate::crossing::canonical(dir_fd, name) {
                Ok(path) => self.crossings.outside(seen, &path),
                Err(error) => Member::Failed(error),
            };
        }
        let is_directory = seen.stat.is_directory();
        if seen.mount == parent_seen.1 && !is_directory {
            // overlayfs gives files the device of a layer where it has no numbers of its own for them. Only a directory can be
            // the top of another file system.
            self.layered.store(true, Ordering::Relaxed);
            return Member::In(parent.volume);
        }
        if self.one_file_system {
            return Member::Out(ANOTHER);
        }
        if !is_directory {
            return Member::Out(FILE);
        }
        let crossing = Crossing { root: &self.path, dir: dir_fd, name, seen, relative: relative_path() };
        self.crossings.cross(&crossing, &|path| self.admits(path))
    }

    /// Whether rules and depth let the directory at `relative` in, and all above it.
    fn admits(&self, relative: &[u8]) -> bool {
        let ends = relative.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut depth = 0;
        for end in ends.chain([relative.len()]) {
            depth += 1;
            if self.rules.excluded(&relative[..end], true) {
                return false;
            }
        }
        self.max_depth.is_none_or(|max| depth <= max)
    }

    /// Looks at `name` in `dir` as this root sees it: not through a link, unless it is one that is followed.
    #[must_use]
    pub fn look(&self, dir: BorrowedFd<'_>, name: &[u8], relative_path: &dyn Fn() -> Vec<u8>) -> Look {
        match self.disk.look(dir, name) {
            Look::Present(seen) if self.follow_symlinks && seen.stat.kind == Kind::Symlink => {
                Look::Present(self.through(dir, name, &relative_path(), &seen))
            }
            other => other,
        }
    }

    /// [`Scope::look`] and [`Scope::member`] of one moment. Where a mount comes or goes between the two, what was seen is
    /// not what is opened, and the name is looked at again.
    #[must_use]
    pub fn meet(
        &self,
        parent: EntryId,
        parent_seen: Standing,
        relative_path: &dyn Fn() -> Vec<u8>,
        depth: u32,
        name: &[u8],
        dir: BorrowedFd<'_>,
    ) -> Met {
        let mut failed = Errno::STALE;
        for _ in 0..LOOKS {
            let seen = match self.look(dir, name, relative_path) {
                Look::Absent => return Met::Absent,
                Look::Failed(error) => return Met::Failed(error),
                Look::Present(seen) => seen,
            };
            match self.member(parent, parent_seen, relative_path, depth, name, &seen, dir) {
                Member::In(volume) => return Met::In(volume, seen),
                Member::Out(why) => return Met::Out(why, seen),
                Member::Failed(error @ (Errno::STALE | Errno::NOENT | Errno::NOTDIR)) => failed = error,
                Member::Failed(error) => return Met::Failed(error),
            }
        }
        Met::Failed(failed)
    }

    /// What the link stands for: its target where it is followed, itself otherwise.
    pub(crate) fn through(&self, dir: BorrowedFd<'_>, name: &[u8], relative: &[u8], link: &Seen) -> Seen {
        let target = self.links.resolve(&self.real_path(), dir, name, relative);
        target
            .filter(|(seen, path)| matches!(self.crossings.outside(seen, path), Member::In(_)))
            .map_or(*link, |(seen, _)| seen)
    }

    /// The root's path without any link.
    pub(crate) fn real_path(&self) -> Arc<[u8]> {
        self.crossings.root().map_or_else(|| self.path.as_slice().into(), |root| root.path)
    }

    pub(crate) fn outside(&self, seen: &Seen, path: &[u8]) -> Member {
        self.crossings.outside(seen, path)
    }

    /// Opens the directory called `name` in `dir`, through it if it is a followed link.
    ///
    /// # Errors
    /// What `openat` says. Compare the opened directory's inode with what was seen before.
    pub fn open_child(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        relative_path: &[u8],
    ) -> Result<OwnedFd, Errno> {
        match self.target_of(relative_path) {
            Some(target) => self.disk.open_root(&target),
            None => self.disk.open_dir(dir, name),
        }
    }

    /// Opens the directory `components` below the root, of any depth and length, through followed links only.
    ///
    /// # Errors
    /// What `openat2` says; `ELOOP` or `ENOTDIR` where a component is a symbolic link that is not followed.
    pub fn open_below(&self, root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
        if self.follow_symlinks {
            for length in (1..=components.len()).rev() {
                if let Some(target) = self.target_of(&components[..length].join(&b'/')) {
                    return self
                        .disk
                        .open_below(self.disk.open_root(&target)?.as_fd(), &components[length..]);
                }
            }
        }
        self.disk.open_below(root, components)
    }

    pub(crate) fn target_of(&self, relative_path: &[u8]) -> Option<Vec<u8>> {
        if self.follow_symlinks { self.links.target_of(relative_path) } else { None }
    }

    /// The volumes met so far: device, number, and a directory of it (its mount point, or the root's own
    /// directory), in the order of those paths.
    #[must_use]
    pub fn volumes(&self) -> Vec<(u64, VolumeId, Vec<u8>)> {
        self.crossings.volumes()
    }

    /// Forgets what was decided about mounts, and identifies again what was met. To be called when the mount table
    /// changed: the kernel uses mount ids and devices again.
    pub fn forget_mounts(&self) {
        self.crossings.forget();
    }
}
