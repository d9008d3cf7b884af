//! Numbers for file systems: the same number for the same file system, over reboots and device numbers.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use index::VolumeRow;
use record::{EntryId, VolumeId};
use rustc_hash::{FxHashMap, FxHashSet};
use scan::{Disk, Mount, Seen, VolumeIdentity};
use tracing::warn;

/// Places at which something was mounted that are remembered; with one more, any place may be one.
const MOST_POINTS: usize = 65_536;

/// How often the mount table is read anew for one question, where it changes in the middle of it.
const TABLES: u32 = 4;

/// All volumes ever met, and those that are mounted now.
pub(crate) struct Volumes {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
    /// More than one is known; asked at each look.
    several: AtomicBool,
}

struct State {
    known: Vec<(VolumeId, VolumeRow)>,
    /// Which device a volume was last seen on.
    live: FxHashMap<VolumeId, u64>,
    /// Met and not yet stored.
    unsaved: Vec<(VolumeId, VolumeRow)>,
    /// Where something is mounted inside a root, or was since the start.
    points: FxHashSet<Vec<u8>>,
    /// Volumes that a person said will not be back.
    given_up: FxHashSet<VolumeId>,
}

impl State {
    /// The volumes of an identity, and the devices they were last on.
    fn same(&self, identity: &VolumeIdentity) -> Vec<(VolumeId, Option<u64>)> {
        let same = self.known.iter().filter(|(_, row)| identity_of(row).same_volume(identity));
        same.map(|(id, _)| (*id, self.live.get(id).copied())).collect()
    }
}

impl Volumes {
    pub(crate) fn new(disk: Arc<dyn Disk>, known: Vec<(VolumeId, VolumeRow)>) -> Volumes {
        let several = AtomicBool::new(known.len() > 1);
        let state = State {
            known,
            live: FxHashMap::default(),
            unsaved: Vec::new(),
            points: FxHashSet::default(),
            given_up: FxHashSet::default(),
        };
        Volumes { disk, state: Mutex::new(state), several }
    }

    /// The number of the file system found on `device`.
    pub(crate) fn bind(&self, identity: &VolumeIdentity, device: u64) -> VolumeId {
        // Of clones, who is on the device already keeps its number.
        // What lies on other devices is asked without the lock: a server that hangs must not hold up all else.
        let mut state = loop {
            let same = self.lock().same(identity);
            let on_it = same.iter().find(|(_, on)| *on == Some(device));
            let free = on_it.or_else(|| {
                same.iter().find(|(_, on)| on.is_none_or(|other| !self.is_live(other, identity)))
            });
            let mut state = self.lock();
            if state.same(identity) != same {
                continue;
            }
            if let Some((id, _)) = free {
                state.live.insert(*id, device);
                state.given_up.remove(id);
                return *id;
            }
            // A clone or a snapshot mounted beside the original: told apart by the device while both live.
            if let Some((first, _)) = same.first() {
                let volume = first.0;
                warn!(volume, "two live file systems have one identity; the second is numbered anew");
            }
            break state;
        };
        let id = VolumeId(state.known.iter().map(|(id, _)| id.0).max().unwrap_or(0) + 1);
        let row = row_of(identity);
        state.known.push((id, row.clone()));
        state.unsaved.push((id, row));
        state.live.insert(id, device);
        self.several.store(state.known.len() > 1, Ordering::Relaxed);
        id
    }

    /// Whether there is more than one.
    pub(crate) fn are_several(&self) -> bool {
        self.several.load(Ordering::Relaxed)
    }

    /// Whether a file system of this kind may show empty directories when it fails: a server is behind it, or a program.
    pub(crate) fn may_lie(&self, id: VolumeId) -> bool {
        let state = self.lock();
        let row = state.known.iter().find(|(known, _)| *known == id);
        row.is_some_and(|(_, row)| row.fs_type.starts_with("fuse") || scan::is_remote(&row.fs_type))
    }

    /// Whether files of this kind of file system can share their blocks.
    pub(crate) fn shares_blocks(&self, id: VolumeId) -> bool {
        let state = self.lock();
        let row = state.known.iter().find(|(known, _)| *known == id);
        row.is_some_and(|(_, row)| matches!(&*row.fs_type, "btrfs" | "xfs" | "bcachefs" | "ocfs2"))
    }

    /// The device a volume is on now.
    pub(crate) fn device(&self, id: VolumeId) -> Option<u64> {
        self.lock().live.get(&id).copied()
    }

    /// Whether the file system is mounted anywhere in sight, as far as its device tells.
    pub(crate) fn is_in_sight(&self, id: VolumeId) -> bool {
        let (device, row) = {
            let state = self.lock();
            let row = state.known.iter().find(|(known, _)| *known == id).map(|(_, row)| row.clone());
            (state.live.get(&id).copied(), row)
        };
        let Some(row) = row else { return false };
        if row.fs_type == "btrfs" {
            // The table has the device of the whole, which no directory of it has; a source is given out anew.
            let same = |mount: &Mount| mount.fs_type == row.fs_type && mount.source == row.source[..];
            return self.is_any(same, |_, found| found.uuid == row.uuid);
        }
        device.is_some_and(|device| self.is_live(device, &identity_of(&row)))
    }

    /// Notes that something is mounted at `point`.
    pub(crate) fn note_point(&self, point: &[u8]) {
        let points = &mut self.lock().points;
        if points.len() <= MOST_POINTS && !points.contains(point) {
            points.insert(point.to_vec());
        }
    }

    /// Whether entries of `volume`, stored below a directory of `above` at `path` and not seen there now, may be
    /// back with their file system. Not so a subvolume that lay there as a directory does: that one was removed.
    pub(crate) fn may_be_back(&self, volume: VolumeId, above: VolumeId, path: &[u8]) -> bool {
        let state = self.lock();
        if volume == above || state.given_up.contains(&volume) {
            return false;
        }
        let uuid = |id| state.known.iter().find(|(known, _)| *known == id).and_then(|(_, row)| row.uuid);
        let mounted_here = state.points.len() > MOST_POINTS || state.points.contains(path);
        let subvolume = uuid(volume).is_some() && uuid(volume) == uuid(above);
        mounted_here || !(subvolume && state.live.contains_key(&volume))
    }

    /// Whether the entry is the directory by which its file system is mounted.
    pub(crate) fn is_top(&self, id: EntryId) -> bool {
        let state = self.lock();
        state.known.iter().any(|(volume, row)| *volume == id.volume && row.root_inode == id.inode)
    }

    /// A volume that is not there will not be back; until it is met again.
    pub(crate) fn give_up(&self, volume: VolumeId) {
        self.lock().given_up.insert(volume);
    }

    /// What has to be stored with the next commit.
    pub(crate) fn take_unsaved(&self) -> Vec<(VolumeId, VolumeRow)> {
        std::mem::take(&mut self.lock().unsaved)
    }

    /// Whether the file system of this identity is still on that device: numbers are given out anew, so one that is in
    /// the mount table may be another's by now. What cannot be looked at is taken to be it.
    fn is_live(&self, device: u64, identity: &VolumeIdentity) -> bool {
        let same = |mount: &Mount| mount.device == device;
        // On btrfs that may be the device of another whole, which none of its directories has.
        self.is_any(same, |seen, found| seen.device == device && found.same_volume(identity))
    }

    /// Whether what is looked for is mounted at one of the places in the table that `may_be` it.
    fn is_any(
        &self,
        may_be: impl Fn(&Mount) -> bool,
        is_it: impl Fn(&Seen, &VolumeIdentity) -> bool,
    ) -> bool {
        let table = || self.disk.mounts().ok();
        let look = |table: &[Mount], mount: &Mount| {
            let dir = self.disk.open_root(&mount.point).ok()?;
            let seen = self.disk.look_self(dir.as_fd()).ok()?;
            // Before Linux 5.8 looks tell no mounts.
            let shown = seen.mount == mount.id || seen.device == mount.device;
            let found = self.disk.identify(dir.as_fd(), seen.mount, table).ok()?;
            shown.then(|| is_it(&seen, &found))
        };
        is_any(table, may_be, look)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `look` finds at any mount that `may_be` it what is looked for. Where none of them can be looked at, they count
/// as it; unless they left the table in the middle of the looks, and then those that are in it now are looked at.
/// Without a table it may be anywhere.
fn is_any(
    table: impl Fn() -> Option<Vec<Mount>>,
    may_be: impl Fn(&Mount) -> bool,
    look: impl Fn(&[Mount], &Mount) -> Option<bool>,
) -> bool {
    let candidates =
        |table: &[Mount]| -> Vec<Mount> { table.iter().filter(|mount| may_be(mount)).cloned().collect() };
    let Some(mut now) = table() else { return true };
    for _ in 0..TABLES {
        let mounts = candidates(&now);
        let looks: Vec<Option<bool>> = mounts.iter().map(|mount| look(&now, mount)).collect();
        if looks.is_empty() || looks.iter().any(Option::is_some) {
            return looks.contains(&Some(true));
        }
        match table() {
            Some(then) if candidates(&then) != mounts => now = then,
            _ => return true,
        }
    }
    true
}

fn identity_of(row: &VolumeRow) -> VolumeIdentity {
    VolumeIdentity {
        fs_type: row.fs_type.clone(),
        uuid: row.uuid,
        fsid: row.fsid,
        subvolume: row.subvolume,
        source: row.source.to_vec(),
        root_inode: row.root_inode,
        root_created: row.root_created,
    }
}

fn row_of(identity: &VolumeIdentity) -> VolumeRow {
    VolumeRow {
        fs_type: identity.fs_type.clone(),
        uuid: identity.uuid,
        fsid: identity.fsid,
        subvolume: identity.subvolume,
        source: identity.source.clone().into(),
        root_inode: identity.root_inode,
        root_created: identity.root_created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u64) -> Mount {
        let (point, root) = (b"/mnt".to_vec(), b"/".to_vec());
        Mount {
            id,
            parent: 1,
            device: 7,
            root,
            point,
            fs_type: "ext4".into(),
            source: b"/dev/loop0".to_vec(),
        }
    }

    /// Tables as they are read one after the other, the last for ever; and what a look at each mount says.
    fn answer(tables: &[Option<&[u64]>], looks: &[(u64, Option<bool>)]) -> bool {
        let reads = std::cell::Cell::new(0);
        let table = || {
            let at = reads.replace(reads.get() + 1).min(tables.len() - 1);
            Some(tables[at]?.iter().map(|id| mount(*id)).collect())
        };
        is_any(table, |_| true, |_, mount| looks.iter().find(|(id, _)| *id == mount.id)?.1)
    }

    #[test]
    fn a_disk_that_is_unmounted_in_the_middle_of_a_look_is_not_live() {
        for (tables, looks, live) in [
            (&[Some(&[][..])][..], &[][..], false),
            (&[None], &[], true),
            (&[Some(&[1])], &[(1, Some(true))], true),
            (&[Some(&[1])], &[(1, Some(false))], false),
            (&[Some(&[1, 2])], &[(1, None), (2, Some(true))], true),
            (&[Some(&[1, 2])], &[(1, None), (2, Some(false))], false),
            // In the table before and after, and nothing to be seen: it may well be it.
            (&[Some(&[1])], &[(1, None)], true),
            (&[Some(&[1]), None], &[(1, None)], true),
            (&[Some(&[1]), Some(&[])], &[(1, None)], false),
            (&[Some(&[1]), Some(&[2])], &[(1, None), (2, Some(false))], false),
            (&[Some(&[1]), Some(&[2]), Some(&[3])], &[(1, None), (2, None), (3, Some(true))], true),
        ] {
            assert_eq!(answer(tables, looks), live, "{tables:?} {looks:?}");
        }
    }
}
