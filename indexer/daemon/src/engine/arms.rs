//! How each volume is watched: armed when it is first met, before anything in it is listed. Which tier that is,
//! `choose` finds out by trying.

mod choose;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use record::{EntryId, How, VolumeId};
use rustc_hash::FxHashMap;
use tracing::{info, warn};
use watch::fanotify::FanotifyReader;
use watch::{AddError, InotifyLimits, InotifyTier, Pending};

use self::choose::Site;
use super::config::Backend;
use super::ground::Watch;

/// All watches.
pub(crate) struct Arms {
    pending: Arc<Pending>,
    backend: Backend,
    /// The state folder: (device, inode).
    ignored: Vec<(u64, u64)>,
    /// The index file, whose writes need no event.
    index_file: Option<OwnedFd>,
    /// Watches other than the kernel's.
    pub(crate) watch: Option<Arc<dyn Watch>>,
    state: Mutex<State>,
    /// Directories that got no watch: it is said once.
    unwatched: AtomicU64,
}

#[derive(Default)]
struct State {
    volumes: FxHashMap<VolumeId, Arc<Arm>>,
    inotify: Option<Result<Arc<InotifyTier>, String>>,
}

/// How one volume is watched.
pub(crate) struct Arm {
    tier: Tier,
    /// Why this one.
    pub(crate) reason: String,
    /// A directory of the volume, to open handles through.
    pub(crate) point: Vec<u8>,
    /// Directories that have no watch for want of any.
    pub(crate) unwatched: AtomicU64,
}

enum Tier {
    Fanotify(FanotifyReader),
    Inotify(Arc<InotifyTier>),
    /// Not the kernel's.
    Other(Arc<dyn Watch>),
    Sweep,
}

impl Arm {
    /// What records found by it say.
    pub(crate) fn how(&self) -> How {
        match &self.tier {
            Tier::Other(watch) => watch.how(),
            Tier::Fanotify(_) => How::Fanotify,
            Tier::Inotify(_) => How::Inotify,
            Tier::Sweep => How::Sweep,
        }
    }

    /// A whole sweep has tried every directory anew: those counted before it are counted twice.
    pub(crate) fn forget_unwatched(&self, before: u64) {
        let less = |count: u64| Some(count.saturating_sub(before));
        let _ = self.unwatched.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether only a sweep can tell what changed in it, or in a part of it.
    pub(crate) fn needs_sweep(&self) -> bool {
        matches!(self.tier, Tier::Sweep) || self.unwatched.load(Ordering::Relaxed) > 0
    }
}

impl Arms {
    pub(crate) fn new(
        pending: Arc<Pending>,
        backend: Backend,
        ignored: Vec<(u64, u64)>,
        index_file: Option<OwnedFd>,
    ) -> Arms {
        Arms {
            pending,
            backend,
            ignored,
            index_file,
            watch: None,
            state: Mutex::default(),
            unwatched: AtomicU64::new(0),
        }
    }

    /// Arms a directory that is about to be listed: its volume if that is new, itself where every
    /// directory needs a watch. `point` gives a path to it.
    pub(crate) fn arm(
        &self,
        dir: EntryId,
        device: u64,
        fd: BorrowedFd<'_>,
        point: &dyn Fn() -> Vec<u8>,
    ) -> Arc<Arm> {
        let arm = self.volume(dir.volume, device, fd, point);
        if let Tier::Inotify(tier) = &arm.tier
            && let Err(error) = tier.add(dir, fd)
        {
            self.refused(&arm, dir, &error);
        }
        if let Tier::Other(watch) = &arm.tier {
            watch.arm(dir, fd);
        }
        arm
    }

    /// The arm of a volume, if it was met.
    pub(crate) fn get(&self, volume: VolumeId) -> Option<Arc<Arm>> {
        self.lock().volumes.get(&volume).cloned()
    }

    /// Whether events tell of every change in this directory. False is always safe: it is looked at then.
    pub(crate) fn is_watched(&self, dir: EntryId) -> bool {
        self.get(dir.volume).is_some_and(|arm| match &arm.tier {
            Tier::Fanotify(reader) => reader.health() == watch::Health::Running,
            Tier::Inotify(tier) => tier.watched(dir),
            Tier::Other(_) => true,
            Tier::Sweep => false,
        })
    }

    /// Forgets how a volume is watched, so that it is armed anew: a mark ends with the mount it was made on.
    pub(crate) fn forget(&self, volume: VolumeId) {
        self.lock().volumes.remove(&volume);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(VolumeId, Arc<Arm>)> {
        self.lock().volumes.iter().map(|(id, arm)| (*id, arm.clone())).collect()
    }

    /// Watches in use.
    pub(crate) fn watches(&self) -> u64 {
        match &self.lock().inotify {
            Some(Ok(tier)) => tier.len() as u64,
            _ => 0,
        }
    }

    /// Kernel events read, and times that a queue overflowed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        let mut sum = (0, 0);
        for arm in state.volumes.values() {
            if let Tier::Fanotify(reader) = &arm.tier {
                let counters = reader.counters();
                sum = (sum.0 + counters.events, sum.1 + counters.overflows);
            }
        }
        if let Some(Ok(tier)) = &state.inotify {
            let counters = tier.counters();
            sum = (sum.0 + counters.events, sum.1 + counters.overflows);
        }
        sum
    }

    /// Waits until every event that is queued now is a hint. A reader that died has marked its volume
    /// lost already; that is repaired, not waited for.
    pub(crate) fn barrier(&self, deadline: Instant) -> Result<(), watch::BarrierError> {
        let (arms, inotify) = {
            let state = self.lock();
            let arms: Vec<Arc<Arm>> = state.volumes.values().cloned().collect();
            (arms, state.inotify.as_ref().and_then(|tier| tier.as_ref().ok()).cloned())
        };
        for arm in arms {
            if let Tier::Fanotify(reader) = &arm.tier {
                reader.barrier(deadline)?;
            }
            if let Tier::Other(watch) = &arm.tier {
                watch.barrier();
            }
        }
        inotify.map_or(Ok(()), |tier| tier.barrier(deadline))
    }

    fn volume(
        &self,
        volume: VolumeId,
        device: u64,
        fd: BorrowedFd<'_>,
        point: &dyn Fn() -> Vec<u8>,
    ) -> Arc<Arm> {
        let mut state = self.lock();
        if let Some(arm) = state.volumes.get(&volume) {
            return arm.clone();
        }
        let (tier, reason) = match &self.watch {
            Some(watch) => (Tier::Other(Arc::clone(watch)), "given".to_owned()),
            None => self.choose(&mut state, &Site::new(volume, device, fd)),
        };
        let point = point();
        let tier_name = match &tier {
            Tier::Fanotify(_) => "fanotify",
            Tier::Inotify(_) => "inotify",
            Tier::Other(_) => "other",
            Tier::Sweep => "sweep",
        };
        info!(volume = volume.0, at = %String::from_utf8_lossy(&point), tier = tier_name, reason, "volume armed");
        let arm = Arc::new(Arm { tier, reason, point, unwatched: AtomicU64::new(0) });
        state.volumes.insert(volume, arm.clone());
        arm
    }

    fn refused(&self, arm: &Arm, dir: EntryId, error: &AddError) {
        arm.unwatched.fetch_add(1, Ordering::Relaxed);
        if self.unwatched.fetch_add(1, Ordering::Relaxed) == 0 {
            let share = InotifyLimits::read();
            warn!(
                %dir, %error, limit = share.watches,
                "a directory has no watch; it is kept true by sweeps (see `indexer doctor`)"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
