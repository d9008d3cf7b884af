//! Opening directories for a round: by handle, else by path from the root, never trusting either: the
//! opened directory's identity is compared with the row. Everything is closed when the round ends, since a
//! held descriptor makes the user's umount fail.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use reconcile::{Root, same_entry};
use record::{EntryId, Name, Row, VolumeId};
use rustc_hash::FxHashMap;
use scan::Seen;
use watch::Handle;

use super::roots::Tree;
use super::shared::Shared;

/// Directories kept open at once.
const MOST_OPEN: usize = 128;

/// Where a directory is: a root and the names down from it.
pub(crate) struct Spot {
    /// Which tree.
    pub(crate) tree: usize,
    pub(crate) components: Vec<Name>,
}

impl Spot {
    pub(crate) fn depth(&self) -> u32 {
        u32::try_from(self.components.len()).unwrap_or(u32::MAX)
    }

    /// The path of `name` in it, from the root.
    pub(crate) fn relative(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for component in &self.components {
            path.extend_from_slice(component);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Its absolute path.
    pub(crate) fn path(&self, tops: &[Root]) -> Vec<u8> {
        let mut path = tops[self.tree].path.to_vec();
        for component in &self.components {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        path
    }
}

/// An open directory.
pub(crate) struct Dir {
    pub(crate) id: EntryId,
    pub(crate) fd: OwnedFd,
    /// The look at it when it was opened.
    pub(crate) seen: Seen,
    pub(crate) spot: Rc<Spot>,
}

/// The open directories of a round.
#[derive(Default)]
pub(crate) struct Opener {
    dirs: FxHashMap<EntryId, Rc<Dir>>,
    spots: FxHashMap<EntryId, Rc<Spot>>,
    roots: FxHashMap<usize, Option<Rc<OwnedFd>>>,
    mounts: FxHashMap<VolumeId, Option<Rc<OwnedFd>>>,
}

impl Opener {
    pub(crate) fn get(&self, id: EntryId) -> Option<Rc<Dir>> {
        self.dirs.get(&id).cloned()
    }

    pub(crate) fn spot(&self, id: EntryId) -> Option<Rc<Spot>> {
        self.spots.get(&id).cloned()
    }

    pub(crate) fn remember(&mut self, id: EntryId, spot: Spot) -> Rc<Spot> {
        let spot = Rc::new(spot);
        self.spots.insert(id, Rc::clone(&spot));
        spot
    }

    /// A directory moved or went: paths are to be found anew.
    pub(crate) fn moved(&mut self) {
        self.spots.clear();
        self.dirs.clear();
    }

    /// Opens the directory `id`, which should be at `spot` and be what `expected` says; `None` if it is not.
    pub(crate) fn open(
        &mut self,
        shared: &Shared,
        trees: &[Tree],
        id: EntryId,
        spot: Rc<Spot>,
        handle: Option<&Handle>,
        expected: Option<&Row>,
    ) -> Option<Rc<Dir>> {
        let fd = match handle.and_then(|handle| self.by_handle(shared, id.volume, handle)) {
            Some(fd) => fd,
            None => self.by_path(trees, &spot)?,
        };
        let seen = scan::look_self(fd.as_fd()).ok()?;
        let device = shared.volumes.device(id.volume);
        let same = seen.inode == id.inode
            && device.is_none_or(|device| device == seen.device)
            && expected.is_none_or(|row| same_entry(row, &seen.stat));
        if !same {
            return None;
        }
        if self.dirs.len() >= MOST_OPEN {
            self.dirs.clear();
        }
        let dir = Rc::new(Dir { id, fd, seen, spot });
        self.dirs.insert(id, Rc::clone(&dir));
        Some(dir)
    }

    fn by_handle(&mut self, shared: &Shared, volume: VolumeId, handle: &Handle) -> Option<OwnedFd> {
        let mount = self.mounts.entry(volume).or_insert_with(|| {
            let point = shared.arms.get(volume)?.point.clone();
            let fd = scan::open_root(&point).ok()?;
            let seen = scan::look_self(fd.as_fd()).ok()?;
            (Some(seen.device) == shared.volumes.device(volume)).then(|| Rc::new(fd))
        });
        let mount = mount.clone()?;
        watch::fanotify::open(mount.as_fd(), handle).ok()
    }

    fn by_path(&mut self, trees: &[Tree], spot: &Spot) -> Option<OwnedFd> {
        let tree = &trees[spot.tree];
        let root = self.roots.entry(spot.tree).or_insert_with(|| {
            let (fd, _) = tree.scope.open().ok()?;
            (tree.scope.root_entry() == Some(tree.row.top)).then(|| Rc::new(fd))
        });
        let root = root.clone()?;
        let components: Vec<&[u8]> = spot.components.iter().map(|name| &name[..]).collect();
        tree.scope.open_below(root.as_fd(), &components).ok()
    }
}
