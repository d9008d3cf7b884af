//! Numbers for file systems: the same number for the same file system, over reboots and device numbers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use index::VolumeRow;
use record::VolumeId;
use rustc_hash::FxHashMap;
use scan::{Disk, VolumeIdentity};
use tracing::warn;

/// All volumes ever met, and those that are mounted now.
pub(crate) struct Volumes {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

struct State {
    known: Vec<(VolumeId, VolumeRow)>,
    /// Which device a volume is on now.
    live: FxHashMap<VolumeId, u64>,
    /// Met and not yet stored.
    unsaved: Vec<(VolumeId, VolumeRow)>,
}

impl Volumes {
    pub(crate) fn new(disk: Arc<dyn Disk>, known: Vec<(VolumeId, VolumeRow)>) -> Volumes {
        let state = State { known, live: FxHashMap::default(), unsaved: Vec::new() };
        Volumes { disk, state: Mutex::new(state) }
    }

    /// The number of the file system found on `device`.
    pub(crate) fn bind(&self, identity: &VolumeIdentity, device: u64) -> VolumeId {
        let mut state = self.lock();
        let same: Vec<VolumeId> = state
            .known
            .iter()
            .filter(|(_, row)| identity_of(row).same_volume(identity))
            .map(|(id, _)| *id)
            .collect();
        for id in same {
            match state.live.get(&id) {
                Some(other) if *other != device && self.is_mounted(*other) => {
                    // A clone or a snapshot mounted beside the original: told apart by the device while
                    // both live.
                    warn!(
                        volume = id.0,
                        "two live file systems have one identity; the second is numbered anew"
                    );
                }
                _ => {
                    state.live.insert(id, device);
                    return id;
                }
            }
        }
        let id = VolumeId(state.known.iter().map(|(id, _)| id.0).max().unwrap_or(0) + 1);
        let row = row_of(identity);
        state.known.push((id, row.clone()));
        state.unsaved.push((id, row));
        state.live.insert(id, device);
        id
    }

    /// The device a volume is on now.
    pub(crate) fn device(&self, id: VolumeId) -> Option<u64> {
        self.lock().live.get(&id).copied()
    }

    /// What has to be stored with the next commit.
    pub(crate) fn take_unsaved(&self) -> Vec<(VolumeId, VolumeRow)> {
        std::mem::take(&mut self.lock().unsaved)
    }

    fn is_mounted(&self, device: u64) -> bool {
        self.disk.mounts().is_ok_and(|mounts| mounts.iter().any(|mount| mount.device == device))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
