//! Opening directories for a round: by handle, else by path from the root, never trusting either: the
//! opened directory's identity is compared with the row. Everything is closed when the round ends, since a
//! held descriptor makes the user's umount fail.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use reconcile::{Root, same_entry};
use record::{EntryId, Name, Place, Row, VolumeId};
use rustc_hash::{FxHashMap, FxHashSet};
use scan::{Errno, Seen};
use watch::Handle;

use super::roots::Tree;
use super::shared::Shared;

/// Directories kept open at once.
const MOST_OPEN: usize = 128;

/// Places of directories remembered at once.
const MOST_SPOTS: usize = 65_536;

/// Where a directory is: a name below another directory, up to a root. Shared upwards, so that a tree of
/// any depth costs one of these a directory.
pub(crate) struct Spot {
    /// Which tree.
    pub(crate) tree: usize,
    /// Levels below the root.
    pub(crate) depth: u32,
    /// Bytes of its path from the root, roughly.
    pub(crate) length: usize,
    id: EntryId,
    /// The directory above and the name there; `None` for a root.
    above: Option<(Rc<Spot>, Name)>,
}

impl Spot {
    pub(crate) fn root(tree: usize, id: EntryId) -> Spot {
        Spot { tree, depth: 0, length: 0, id, above: None }
    }

    pub(crate) fn below(above: Rc<Spot>, name: Name, id: EntryId) -> Spot {
        let (depth, length) = (above.depth.saturating_add(1), above.length + name.len() + 1);
        Spot { tree: above.tree, depth, length, id, above: Some((above, name)) }
    }

    /// The names from the root, or from the first directory on the way up that `stop` knows (answered too).
    fn components<T>(&self, stop: impl Fn(EntryId) -> Option<T>) -> (Option<T>, Vec<&[u8]>) {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = self;
        let found = loop {
            if let Some(found) = stop(at.id) {
                break Some(found);
            }
            let Some((above, name)) = &at.above else { break None };
            names.push(name);
            at = above;
        };
        names.reverse();
        (found, names)
    }

    /// The names on the way to it, each with the directory that it is in: its own first, one in the root last.
    pub(crate) fn way(&self) -> impl Iterator<Item = Place> {
        let mut at = self.above.clone();
        std::iter::from_fn(move || {
            let (dir, name) = at.take()?;
            at.clone_from(&dir.above);
            Some(Place::new(dir.id, &name))
        })
    }

    /// The path of `name` in it, from the root.
    pub(crate) fn relative(&self, name: &[u8]) -> Vec<u8> {
        let (_, mut names) = self.components(|_| None::<()>);
        names.push(name);
        names.join(&b'/')
    }

    /// Its absolute path.
    pub(crate) fn path(&self, tops: &[Root]) -> Vec<u8> {
        let mut path = tops[self.tree].path.to_vec();
        for name in self.components(|_| None::<()>).1 {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }
}

impl Drop for Spot {
    /// One after the other: a chain as deep as the tree must not be dropped by recursion.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some((spot, _)) = above {
            above = Rc::into_inner(spot).and_then(|mut spot| spot.above.take());
        }
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
    /// Directories that the rows and looks so far give no way to.
    nowhere: FxHashSet<EntryId>,
    roots: FxHashMap<usize, Result<Option<Rc<OwnedFd>>, Errno>>,
    mounts: FxHashMap<VolumeId, Option<Rc<OwnedFd>>>,
    refused: Option<Errno>,
    /// A spot may be known and those above it not.
    torn: bool,
}

impl Opener {
    pub(crate) fn get(&self, id: EntryId) -> Option<Rc<Dir>> {
        self.dirs.get(&id).cloned()
    }

    pub(crate) fn spot(&self, id: EntryId) -> Option<Rc<Spot>> {
        self.spots.get(&id).cloned()
    }

    /// Whether the rows and looks so far are known to give no way to it.
    pub(crate) fn is_nowhere(&self, id: EntryId) -> bool {
        self.nowhere.contains(&id)
    }

    /// They give no way to these.
    pub(crate) fn nowhere(&mut self, ids: impl Iterator<Item = EntryId>) {
        if self.nowhere.len() >= MOST_SPOTS {
            self.nowhere.clear();
        }
        self.nowhere.extend(ids);
    }

    /// A directory came to a name: there may be a way now.
    pub(crate) fn came(&mut self) {
        self.nowhere.clear();
    }

    pub(crate) fn remember(&mut self, spot: Spot) -> Rc<Spot> {
        if self.spots.len() >= MOST_SPOTS {
            self.spots.clear();
            self.torn = true;
        }
        let spot = Rc::new(spot);
        self.spots.insert(spot.id, Rc::clone(&spot));
        spot
    }

    /// The directory `id` moved or went: where it was, and with it all below it, is to be found anew.
    pub(crate) fn moved(&mut self, id: EntryId) {
        self.dirs.remove(&id);
        let spot = self.spots.remove(&id);
        // Nothing below one that is held here alone is known. So a removal from the bottom up costs one spot each, and not
        // the whole way up anew.
        let sole = spot.map_or(!self.torn, |spot| Rc::strong_count(&spot) == 1 && !self.torn);
        if !sole {
            self.all_moved();
        }
    }

    /// Paths are to be found anew.
    pub(crate) fn all_moved(&mut self) {
        self.spots.clear();
        self.nowhere.clear();
        self.dirs.clear();
        self.torn = false;
    }

    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// Why the last directory could not be opened, where that says something of the directory itself.
    pub(crate) fn refused(&self) -> Option<Errno> {
        self.refused
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
        self.refused = None;
        let opened = handle.and_then(|handle| self.by_handle(shared, id.volume, handle));
        // The kernel says that the directory of this handle is gone. Its number may be another's by now, and the hints
        // about both are one: what is where it was decides.
        let stale = matches!(opened, Some(Err(Errno::STALE))).then_some(Errno::STALE);
        let fd = match opened {
            Some(Ok(fd)) => fd,
            _ => match self.by_path(shared, trees, &spot) {
                Some(Ok(fd)) => fd,
                Some(Err(error)) => {
                    self.refused = Some(error).filter(|error| !is_elsewhere(*error)).or(stale);
                    return None;
                }
                None => {
                    self.refused = stale;
                    return None;
                }
            },
        };
        let seen = match shared.ground.disk.look_self(fd.as_fd()) {
            Ok(seen) => seen,
            Err(error) => {
                self.refused = Some(error).filter(|error| !is_elsewhere(*error)).or(stale);
                return None;
            }
        };
        let device = shared.volumes.device(id.volume);
        let same = seen.inode == id.inode
            && device.is_none_or(|device| device == seen.device)
            && expected.is_none_or(|row| same_entry(row, &seen.stat));
        if !same {
            self.refused = stale;
            return None;
        }
        if self.dirs.len() >= MOST_OPEN {
            self.dirs.clear();
        }
        let dir = Rc::new(Dir { id, fd, seen, spot });
        self.dirs.insert(id, Rc::clone(&dir));
        Some(dir)
    }

    fn by_handle(
        &mut self,
        shared: &Shared,
        volume: VolumeId,
        handle: &Handle,
    ) -> Option<Result<OwnedFd, Errno>> {
        let mount = self.mounts.entry(volume).or_insert_with(|| {
            let point = shared.arms.get(volume)?.point.clone();
            let fd = shared.ground.disk.open_root(&point).ok()?;
            let seen = shared.ground.disk.look_self(fd.as_fd()).ok()?;
            (Some(seen.device) == shared.volumes.device(volume)).then(|| Rc::new(fd))
        });
        let mount = mount.clone()?;
        Some(shared.ground.open_handle(mount.as_fd(), handle))
    }

    fn by_path(&mut self, shared: &Shared, trees: &[Tree], spot: &Spot) -> Option<Result<OwnedFd, Errno>> {
        let tree = &trees[spot.tree];
        if !tree.scope.follow_symlinks {
            let (nearest, names) = spot.components(|id| self.dirs.get(&id));
            if let Some(dir) = nearest {
                return Some(shared.ground.disk.open_below(dir.fd.as_fd(), &names));
            }
        }
        let root = self.roots.entry(spot.tree).or_insert_with(|| {
            let (fd, _) = tree.scope.open()?;
            Ok((tree.scope.root_entry() == Some(tree.row.top)).then(|| Rc::new(fd)))
        });
        let root = match root {
            Ok(root) => root.clone()?,
            Err(error) => return Some(Err(*error)),
        };
        Some(tree.scope.open_below(root.as_fd(), &spot.components(|_| None::<()>).1))
    }
}

/// Whether an error says that the directory is not at that path, and not that it cannot be read.
pub(crate) fn is_elsewhere(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE)
}
