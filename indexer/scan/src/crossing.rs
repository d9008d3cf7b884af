//! Where a tree goes over into another file system, and whether the root follows it there. Remembers one answer a
//! mount and device; knows no rules, no depth and no links.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use record::VolumeId;
use rustc_hash::FxHashMap;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::disk::{Disk, path_of};
use crate::look::Seen;
use crate::mounts::{Mount, is_below, is_hidden, is_pseudo};
use crate::scope::Member;
use crate::volume::{VolumeIdentity, mount_of};

pub(crate) const PSEUDO: &str = "pseudo file system";
pub(crate) const BIND: &str = "bind mount of an indexed volume";
/// Why a [`Member::Out`] under `one_file_system`.
pub const ANOTHER: &str = "another file system";
pub(crate) const FILE: &str = "a file mounted over another";

/// Whether a [`Member::Out`] says that something is mounted there which is not followed: what lies under it is out of
/// sight and not gone.
#[must_use]
pub fn is_of_mounts(why: &str) -> bool {
    [PSEUDO, BIND, ANOTHER, FILE].contains(&why)
}

/// Gives a volume its number: called with its identity and its device, once each time it is met anew.
pub type Binder = Box<dyn Fn(&VolumeIdentity, u64) -> VolumeId + Send + Sync>;

pub(crate) struct Crossings {
    disk: Arc<dyn Disk>,
    binder: Binder,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    root: Option<Root>,
    /// The mount table changed since the root was last opened: what is mounted there now may have its device and
    /// even its mount id.
    doubted: bool,
    /// By mount and device.
    decided: FxHashMap<(u64, u64), Member>,
    /// By device: the number, and a path to a directory of it.
    volumes: FxHashMap<u64, (VolumeId, Vec<u8>)>,
}

/// The root's own directory, as it was last opened.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) seen: Seen,
    pub(crate) volume: VolumeId,
    /// Its path without any link, as the mount table has it.
    pub(crate) path: Arc<[u8]>,
}

/// A place where the device or the mount changes.
pub(crate) struct Crossing<'a> {
    /// The root's path as it is configured.
    pub(crate) root: &'a [u8],
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a [u8],
    pub(crate) seen: &'a Seen,
    /// Path from the root.
    pub(crate) relative: Vec<u8>,
}

impl Crossings {
    pub(crate) fn new(disk: Arc<dyn Disk>, binder: Binder) -> Crossings {
        Crossings { disk, binder, known: RwLock::default() }
    }

    /// Binds the volume that holds the root's own directory, if it is not the one bound before.
    pub(crate) fn bind_root(&self, path: &[u8], dir: BorrowedFd<'_>, seen: &Seen) -> Result<VolumeId, Errno> {
        // A path too long for the kernel to tell is taken as it is.
        let real: Arc<[u8]> = self.disk.path_of(dir).unwrap_or_else(|_| path.to_vec()).into();
        let known = self.read();
        if let Some(before) = &known.root
            && !known.doubted
            && before.seen.same_inode(seen)
            && before.seen.mount == seen.mount
            && before.seen.stat.created == seen.stat.created
            && before.path == real
        {
            return Ok(before.volume);
        }
        drop(known);
        let identity = self.disk.identify(dir, seen.mount, &self.table()?)?;
        let volume = (self.binder)(&identity, seen.device);
        let mut known = self.write();
        // What was looked at again just now is kept if the root is what it was.
        let same = known.root.as_ref().is_some_and(|before| before.volume == volume && before.path == real);
        if !known.doubted || !same {
            *known = Known::default();
        }
        known.doubted = false;
        known.root = Some(Root { seen: *seen, volume, path: real });
        known.volumes.retain(|_, (known, _)| *known != volume);
        known.volumes.insert(seen.device, (volume, path.to_vec()));
        Ok(volume)
    }

    /// Forgets what was decided about mounts, and looks again at the volumes met: those that are still where they
    /// were met are known again, by what they are. The root is doubted until it is opened.
    pub(crate) fn forget(&self) {
        let (met, own) = {
            let mut known = self.write();
            known.decided.clear();
            known.doubted = true;
            let own = known.root.as_ref().map(|root| root.seen.device);
            let met: Vec<(u64, Vec<u8>)> = known
                .volumes
                .iter()
                .filter(|(device, _)| Some(**device) != own)
                .map(|(device, (_, point))| (*device, point.clone()))
                .collect();
            known.volumes.retain(|device, _| Some(*device) == own);
            (met, own)
        };
        let Ok(table) = self.table() else { return };
        for (device, point) in met {
            let Ok(dir) = self.disk.open_root(&point) else { continue };
            let Ok(seen) = self.disk.look_self(dir.as_fd()) else { continue };
            if seen.device == device && Some(device) != own {
                // What cannot be identified is met anew when it is next seen.
                let _ = self.bind(dir.as_fd(), &seen, point, &table);
            }
        }
    }

    pub(crate) fn root(&self) -> Option<Root> {
        self.read().root.clone()
    }

    pub(crate) fn volumes(&self) -> Vec<(u64, VolumeId, Vec<u8>)> {
        let known = self.read();
        let mut all: Vec<_> =
            known.volumes.iter().map(|(device, (volume, point))| (*device, *volume, point.clone())).collect();
        all.sort_by(|a, b| a.2.cmp(&b.2));
        all
    }

    /// Decides about a directory on another device or mount than its parent's. `admitted` says whether a path
    /// from the root would be in the index were it not for mounts.
    pub(crate) fn cross(&self, crossing: &Crossing<'_>, admitted: &dyn Fn(&[u8]) -> bool) -> Member {
        let seen = crossing.seen;
        if let Some(member) = self.read().decided.get(&(seen.mount, seen.device)) {
            return *member;
        }
        let member = self.decide(crossing, admitted).unwrap_or_else(Member::Failed);
        // A failure is not remembered: the next look may go better.
        if !matches!(member, Member::Failed(_)) {
            self.write().decided.insert((seen.mount, seen.device), member);
        }
        member
    }

    fn decide(&self, crossing: &Crossing<'_>, admitted: &dyn Fn(&[u8]) -> bool) -> Result<Member, Errno> {
        let seen = crossing.seen;
        let table = self.table()?;
        let own = mount_of(seen.mount, seen.device, &table);
        if own.is_some_and(|mount| is_pseudo(&mount.fs_type)) {
            return Ok(Member::Out(PSEUDO));
        }
        let root = self.root();
        if root.as_ref().is_some_and(|root| root.seen.device == seen.device) {
            return Ok(Member::Out(BIND));
        }
        let real = root.as_ref().map_or(crossing.root, |root| &root.path);
        let first = own.and_then(|own| self.first_mount(real, own, seen, &table, admitted));
        if first.is_some_and(|first| first.id != seen.mount) {
            return Ok(Member::Out(BIND));
        }
        let dir = match self.disk.open_dir(crossing.dir, crossing.name) {
            // It may be seen and not read: udev's word must do for the ioctls.
            Err(Errno::ACCESS) => self.disk.open_path(crossing.dir, crossing.name)?,
            opened => opened?,
        };
        if !self.disk.look_self(dir.as_fd())?.same_inode(seen) {
            return Err(Errno::STALE);
        }
        let mut point = crossing.root.to_vec();
        if !point.ends_with(b"/") {
            point.push(b'/');
        }
        point.extend_from_slice(&crossing.relative);
        Ok(Member::In(self.bind(dir.as_fd(), seen, point, &table)?))
    }

    /// Decides about the target of a followed link, `path` being where it is. No mount is a bind mount there:
    /// an inode is followed once, however reached.
    pub(crate) fn outside(&self, seen: &Seen, path: &[u8]) -> Member {
        if let Some((volume, _)) = self.read().volumes.get(&seen.device) {
            return Member::In(*volume);
        }
        self.decide_outside(seen, path).unwrap_or_else(Member::Failed)
    }

    fn decide_outside(&self, seen: &Seen, path: &[u8]) -> Result<Member, Errno> {
        let table = self.table()?;
        if mount_of(seen.mount, seen.device, &table).is_some_and(|mount| is_pseudo(&mount.fs_type)) {
            return Ok(Member::Out(PSEUDO));
        }
        let point = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) if !seen.stat.is_directory() => &path[..slash.max(1)],
            _ => path,
        };
        let dir = self.disk.open_root(point)?;
        if self.disk.look_self(dir.as_fd())?.device != seen.device {
            return Ok(Member::Out(FILE));
        }
        Ok(Member::In(self.bind(dir.as_fd(), seen, point.to_vec(), &table)?))
    }

    fn bind(
        &self,
        dir: BorrowedFd<'_>,
        seen: &Seen,
        point: Vec<u8>,
        table: &[Mount],
    ) -> Result<VolumeId, Errno> {
        if let Some((volume, _)) = self.read().volumes.get(&seen.device) {
            return Ok(*volume);
        }
        let identity = self.disk.identify(dir, seen.mount, table)?;
        // Under the lock: two threads that meet the volume at once must not bind it twice.
        let mut known = self.write();
        if let Some((volume, _)) = known.volumes.get(&seen.device) {
            return Ok(*volume);
        }
        let volume = (self.binder)(&identity, seen.device);
        known.volumes.insert(seen.device, (volume, point));
        Ok(volume)
    }

    /// The first mount, in the order of the table, that shows the device of `seen` inside the root.
    fn first_mount<'t>(
        &self,
        root: &[u8],
        own: &Mount,
        seen: &Seen,
        table: &'t [Mount],
        admitted: &dyn Fn(&[u8]) -> bool,
    ) -> Option<&'t Mount> {
        table.iter().find(|mount| {
            let inside = mount.point != root && is_below(&mount.point, root);
            mount.device == own.device
                && inside
                && admitted(relative_to(&mount.point, root))
                && !is_hidden(mount, table)
                // On btrfs the table has the device of the whole, not that of the subvolume.
                && (mount.device == seen.device || self.disk.device_at(&mount.point) == Some(seen.device))
        })
    }

    fn table(&self) -> Result<Vec<Mount>, Errno> {
        self.disk.mounts().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn relative_to<'a>(path: &'a [u8], root: &[u8]) -> &'a [u8] {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let rest = path.strip_prefix(root).unwrap_or(path);
    rest.strip_prefix(b"/").unwrap_or(rest)
}

/// Where `name` in `dir` leads, through links, as an absolute path without any.
pub(crate) fn canonical(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    path_of(openat(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd())
}
