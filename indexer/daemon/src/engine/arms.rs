//! How each volume is watched: armed when it is first met, before anything in it is listed. Which tier that is,
//! `choose` finds out by trying.

mod choose;
mod top_level;

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use record::{EntryId, How, VolumeId};
use rustc_hash::{FxHashMap, FxHashSet};
use tracing::{info, warn};
use watch::fanotify::FanotifyReader;
use watch::{
    Active, AddError, FanotifyDirectories, FanotifyLimits, Flags, Health, Hint, InotifyTier, MarkShare,
    Pending, PortableTier, Resolve, WatchId, What,
};

use self::choose::{NO_INOTIFY, Site};
use super::config::Backend;
use super::ground::Watch;
use super::shared::Shared;
use super::tiering::Share;

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
    /// How many inotify watches there may be, and what was last said of it.
    pub(super) share: Share,
    /// Marks on single directories, of all volumes together.
    marks: Arc<MarkShare>,
    /// The index, for the portable tier, whose events are paths. Set once, when there is one.
    shared: OnceLock<Weak<Shared>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    volumes: FxHashMap<VolumeId, Arc<Arm>>,
    /// Marks that several volumes may share: those of btrfs, by the superblock's device.
    by_superblock: FxHashMap<u64, Arc<FanotifyReader>>,
    /// Volumes with more directories than there are marks.
    too_large: FxHashSet<VolumeId>,
    inotify: Option<Result<Arc<InotifyTier>, String>>,
    portable: Option<Result<Arc<PortableTier>, String>>,
}

/// How one volume is watched.
pub(crate) struct Arm {
    volume: VolumeId,
    tier: Tier,
    /// Why this one.
    pub(crate) reason: String,
    /// A directory of the volume, to open handles through.
    pub(crate) point: Vec<u8>,
    /// How often directories had lacked a watch ([`Arm::lacking`]) when the last look at all of them began, and
    /// when all of them were last known to have one.
    counted: AtomicU64,
    complete: AtomicU64,
}

enum Tier {
    /// A mark on the file system, which may serve other volumes too.
    Fanotify(Arc<FanotifyReader>),
    /// Marks on single directories.
    Directories(FanotifyDirectories),
    Inotify(Arc<InotifyTier>),
    /// Not the kernel's.
    Other(Arc<dyn Watch>),
    /// Its events come sooner than a sweep, and are not relied on.
    Portable(Arc<PortableTier>),
    Sweep,
}

impl Arm {
    /// What records found by it say.
    pub(crate) fn how(&self) -> How {
        match &self.tier {
            Tier::Other(watch) => watch.how(),
            Tier::Fanotify(_) | Tier::Directories(_) => How::Fanotify,
            Tier::Inotify(_) => How::Inotify,
            Tier::Portable(_) => How::Notify,
            Tier::Sweep => How::Sweep,
        }
    }

    /// Whether each directory is watched by itself. A name that comes or goes in one that is not watched yet is not heard
    /// of, and the file that has it may be known by another.
    pub(crate) fn is_one_by_one(&self) -> bool {
        matches!(self.tier, Tier::Directories(_)) || self.is_rationed()
    }

    fn is_rationed(&self) -> bool {
        match &self.tier {
            Tier::Inotify(_) => true,
            Tier::Other(watch) => watch.how() == How::Inotify,
            _ => false,
        }
    }

    /// What people are told it is.
    pub(crate) fn word(&self) -> &'static str {
        match &self.tier {
            Tier::Directories(_) => "fanotify-dirs",
            _ => self.how().word(),
        }
    }

    /// Whether only a sweep can tell what changed in it, or in a part of it.
    pub(crate) fn needs_sweep(&self) -> bool {
        !self.watches() || self.lacking() > self.complete.load(Ordering::Relaxed)
    }

    /// Whether events tell of what changes in it, of directories that have a watch.
    pub(crate) fn watches(&self) -> bool {
        !matches!(self.tier, Tier::Sweep | Tier::Portable(_)) && self.failure().is_none()
    }

    /// Why its reader ended, if it ended by itself: then it tells of nothing any more.
    pub(crate) fn failure(&self) -> Option<String> {
        let health = match &self.tier {
            Tier::Fanotify(reader) => reader.health(),
            Tier::Directories(tier) => tier.health(),
            Tier::Inotify(tier) => tier.health(),
            Tier::Other(_) | Tier::Portable(_) | Tier::Sweep => return None,
        };
        match health {
            Health::Failed(why) => Some(why),
            Health::Running | Health::Stopped => None,
        }
    }

    /// Directories that have no watch, as the last look at all of them and what came since tell.
    pub(crate) fn unwatched(&self) -> u64 {
        self.lacking().saturating_sub(self.counted.load(Ordering::Relaxed))
    }

    /// How often a directory was refused a watch or lost it. It only grows.
    fn lacking(&self) -> u64 {
        match &self.tier {
            Tier::Inotify(tier) => tier.lacking(self.volume),
            Tier::Directories(tier) => tier.lacking(),
            Tier::Fanotify(_) | Tier::Portable(_) | Tier::Other(_) | Tier::Sweep => 0,
        }
    }

    /// All directories are about to be armed again.
    pub(crate) fn counting(&self) -> Counting {
        Counting(self.lacking())
    }

    /// They were; `wholly`: none was left out. When none lacked a watch meanwhile, every directory has one.
    pub(crate) fn counted(&self, since: &Counting, wholly: bool) {
        self.counted.store(since.0, Ordering::Relaxed);
        if wholly && self.lacking() == since.0 {
            self.complete.store(since.0, Ordering::Relaxed);
        }
    }
}

/// How often directories had lacked a watch when a look at all of them began.
pub(crate) struct Counting(u64);

/// A directory that was armed.
pub(crate) struct Armed {
    pub(crate) arm: Arc<Arm>,
    /// Its own watch, if it has one: to be handed to [`Arms::compared`].
    pub(crate) watch: Option<WatchId>,
}

impl Arms {
    pub(crate) fn new(
        pending: Arc<Pending>,
        backend: Backend,
        ignored: Vec<(u64, u64)>,
        index_file: Option<OwnedFd>,
        share: Share,
    ) -> Arms {
        let marks = FanotifyLimits::read().share().min(share.most()).max(1);
        Arms {
            pending,
            backend,
            ignored,
            index_file,
            watch: None,
            share,
            marks: Arc::new(MarkShare::new(marks)),
            shared: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// Where paths can be looked up.
    pub(crate) fn set_shared(&self, shared: &Arc<Shared>) {
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// What the portable tier asks: which stored entry a path is.
    fn resolver(&self) -> Resolve {
        let shared = self.shared.get().cloned().unwrap_or_default();
        Box::new(move |path| {
            let reader = shared.upgrade()?.index.read().ok()?;
            reader.resolve(path.as_os_str().as_bytes()).ok()?.map(|(_, id)| id)
        })
    }

    /// Arms a directory that is about to be listed: its volume if that is new, itself where every
    /// directory needs a watch; `active` decides who gets one when they are scarce. `point` gives a path to it.
    pub(crate) fn arm(
        &self,
        dir: EntryId,
        device: u64,
        fd: BorrowedFd<'_>,
        active: Active,
        point: &dyn Fn() -> Vec<u8>,
    ) -> Armed {
        let mut arm = self.volume(dir.volume, device, fd, point);
        if let Tier::Directories(tier) = &arm.tier {
            match tier.add(dir, fd) {
                Ok(()) => {}
                Err(AddError::Limit(_)) => {
                    self.outgrown(dir.volume);
                    arm = self.volume(dir.volume, device, fd, point);
                }
                Err(error) => self.share.refused(dir, &error),
            }
        }
        let watch = match &arm.tier {
            Tier::Inotify(tier) => {
                tier.add(dir, fd, active).inspect_err(|error| self.share.refused(dir, error)).ok()
            }
            Tier::Other(watch) => {
                watch.arm(dir, fd);
                None
            }
            Tier::Portable(tier) => {
                if let Err(error) = tier.add(Path::new(OsStr::from_bytes(&point()))) {
                    self.share.refused_portable(dir, &error);
                }
                None
            }
            Tier::Fanotify(_) | Tier::Directories(_) | Tier::Sweep => None,
        };
        Armed { arm, watch }
    }

    /// What is in an armed directory has been looked at since, and all that differed is in the index or pending.
    pub(crate) fn compared(&self, dir: EntryId, watch: WatchId) {
        if let Some(tier) = self.inotify_tier() {
            tier.compared(dir, watch);
        }
    }

    /// The arm of a volume, if it was met.
    pub(crate) fn get(&self, volume: VolumeId) -> Option<Arc<Arm>> {
        self.lock().volumes.get(&volume).cloned()
    }

    /// Whether events tell of every change in this directory. False is always safe: it is looked at then.
    pub(crate) fn is_watched(&self, dir: EntryId) -> bool {
        self.get(dir.volume).is_some_and(|arm| match &arm.tier {
            Tier::Fanotify(reader) => reader.health() == Health::Running,
            Tier::Directories(tier) => tier.health() == Health::Running && tier.watched(dir),
            Tier::Inotify(tier) => tier.health() == Health::Running && tier.vouches(dir),
            Tier::Other(watch) => watch.watches(dir),
            Tier::Portable(_) | Tier::Sweep => false,
        })
    }

    /// Whether nothing in this directory can change without an event, not even through a name that is gone from
    /// another one: its file system is marked as a whole.
    pub(crate) fn is_marked(&self, dir: EntryId) -> bool {
        let arm = self.get(dir.volume);
        arm.is_some_and(|arm| matches!(arm.tier, Tier::Fanotify(_)) && self.is_watched(dir))
    }

    /// Whether directories of its volume are watched one by one, as far as there are watches.
    pub(crate) fn is_one_by_one(&self, dir: EntryId) -> bool {
        self.get(dir.volume).is_some_and(|arm| arm.is_one_by_one())
    }

    /// Whether only some directories of its volume have a watch: those that are active.
    pub(crate) fn is_rationed(&self, dir: EntryId) -> bool {
        self.get(dir.volume).is_some_and(|arm| arm.is_rationed())
    }

    /// The inotify queue, if one was wanted and had.
    pub(super) fn inotify_tier(&self) -> Option<Arc<InotifyTier>> {
        self.lock().inotify.as_ref().and_then(|tier| tier.as_ref().ok()).cloned()
    }

    /// Whether some volume is watched by inotify, or would be.
    pub(crate) fn wants_inotify(&self) -> bool {
        self.lock().inotify.is_some()
    }

    /// Tries again to have an inotify queue where that was refused; the volumes that would have used it.
    pub(super) fn retry_inotify(&self) -> Vec<VolumeId> {
        let mut state = self.lock();
        if !matches!(state.inotify, Some(Err(_))) {
            return Vec::new();
        }
        match InotifyTier::new(self.pending.clone(), self.share.now()) {
            Ok(tier) => state.inotify = Some(Ok(Arc::new(tier))),
            Err(_) => return Vec::new(),
        }
        let swept = |arm: &&Arc<Arm>| matches!(arm.tier, Tier::Sweep) && arm.reason.contains(NO_INOTIFY);
        let volumes: Vec<VolumeId> = state.volumes.values().filter(swept).map(|arm| arm.volume).collect();
        for volume in &volumes {
            state.volumes.remove(volume);
        }
        volumes
    }

    /// Forgets the volumes whose marks the kernel dropped with their last mount; answers which.
    pub(crate) fn forget_dead(&self) -> Vec<VolumeId> {
        let dead = |arm: &Arm| matches!(&arm.tier, Tier::Fanotify(reader) if !reader.is_marked());
        let gone: Vec<VolumeId> =
            self.all().into_iter().filter(|(_, arm)| dead(arm)).map(|(volume, _)| volume).collect();
        gone.iter().for_each(|volume| self.forget(*volume));
        gone
    }

    /// Forgets how a volume is watched, so that it is armed anew: a mark ends with the mount it was made on.
    pub(crate) fn forget(&self, volume: VolumeId) {
        let mut state = self.lock();
        let Some(arm) = state.volumes.remove(&volume) else { return };
        state.too_large.remove(&volume);
        if let Tier::Fanotify(reader) = &arm.tier {
            reader.unbind(volume);
            state.by_superblock.retain(|_, shared| !Arc::ptr_eq(shared, reader));
        }
    }

    /// Forgets how a volume was watched if its reader ended by itself, so that it is armed anew.
    pub(crate) fn forget_failed(&self, volume: VolumeId) {
        let Some(arm) = self.get(volume).filter(|arm| arm.failure().is_some()) else { return };
        self.forget(volume);
        let mut state = self.lock();
        if let Tier::Inotify(failed) = &arm.tier
            && matches!(&state.inotify, Some(Ok(tier)) if Arc::ptr_eq(tier, failed))
        {
            state.inotify = None;
        }
    }

    /// There are no marks for all directories of the volume: it is watched by the next tier, from the beginning. What
    /// the marks so far would have told is lost.
    fn outgrown(&self, volume: VolumeId) {
        let mut state = self.lock();
        if !state.too_large.insert(volume) {
            return;
        }
        state.volumes.remove(&volume);
        let why = "it has more directories than can be marked one by one".to_owned();
        warn!(volume = volume.0, why, "the next tier is tried");
        let what = What::Lost { why };
        self.pending.add(Hint { volume, what, flags: Flags::NONE, handle: None, how: How::Fanotify });
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(VolumeId, Arc<Arm>)> {
        self.lock().volumes.iter().map(|(id, arm)| (*id, arm.clone())).collect()
    }

    /// Watches in use.
    pub(crate) fn watches(&self) -> u64 {
        let state = self.lock();
        let others = match (&state.inotify, &state.portable) {
            (Some(Ok(tier)), _) => tier.len(),
            (_, Some(Ok(tier))) => tier.len(),
            _ => 0,
        };
        (others + self.marks.used()) as u64
    }

    /// Kernel events read, and times that a queue overflowed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        let mut sum = (0, 0);
        let mut counted: Vec<&Arc<FanotifyReader>> = Vec::new();
        for arm in state.volumes.values() {
            let counters = match &arm.tier {
                // One of several volumes is counted once.
                Tier::Fanotify(reader) if counted.iter().any(|other| Arc::ptr_eq(other, reader)) => continue,
                Tier::Fanotify(reader) => {
                    counted.push(reader);
                    reader.counters()
                }
                Tier::Directories(tier) => tier.counters(),
                _ => continue,
            };
            sum = (sum.0 + counters.events, sum.1 + counters.overflows);
        }
        let inotify = state.inotify.as_ref().and_then(|tier| tier.as_ref().ok()).map(|tier| tier.counters());
        let portable =
            state.portable.as_ref().and_then(|tier| tier.as_ref().ok()).map(|tier| tier.counters());
        for counters in inotify.into_iter().chain(portable) {
            sum = (sum.0 + counters.events, sum.1 + counters.overflows);
        }
        sum
    }

    /// Why readers ended by themselves, of those that did.
    pub(crate) fn dead_readers(&self) -> Vec<String> {
        let state = self.lock();
        let mut dead = Vec::new();
        for (volume, arm) in &state.volumes {
            if matches!(arm.tier, Tier::Fanotify(_) | Tier::Directories(_))
                && let Some(why) = arm.failure()
            {
                dead.push(format!("fanotify on volume {}: {why}", volume.0));
            }
        }
        if let Some(Ok(tier)) = &state.inotify
            && let Health::Failed(why) = tier.health()
        {
            dead.push(format!("inotify: {why}"));
        }
        dead
    }

    /// Waits until every event that is queued now is a hint. A reader that died has marked its volume
    /// lost already; that is repaired, not waited for.
    pub(crate) fn barrier(&self, deadline: Instant) -> Result<(), watch::BarrierError> {
        let (arms, inotify) = {
            let state = self.lock();
            let arms: Vec<Arc<Arm>> = state.volumes.values().cloned().collect();
            (arms, state.inotify.as_ref().and_then(|tier| tier.as_ref().ok()).cloned())
        };
        // One that failed must not keep the others from being asked.
        let mut result = Ok(());
        for arm in arms {
            result = result.and(match &arm.tier {
                Tier::Fanotify(reader) => reader.barrier(deadline),
                Tier::Directories(tier) => tier.barrier(deadline),
                Tier::Other(watch) => {
                    watch.barrier();
                    Ok(())
                }
                Tier::Inotify(_) | Tier::Portable(_) | Tier::Sweep => Ok(()),
            });
        }
        result.and(inotify.map_or(Ok(()), |tier| tier.barrier(deadline)))
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
            Tier::Directories(_) => "fanotify-dirs",
            Tier::Inotify(_) => "inotify",
            Tier::Other(_) => "other",
            Tier::Portable(_) => "notify",
            Tier::Sweep => "sweep",
        };
        info!(volume = volume.0, at = %String::from_utf8_lossy(&point), tier = tier_name, reason, "volume armed");
        let (counted, complete) = (AtomicU64::new(0), AtomicU64::new(0));
        let arm = Arc::new(Arm { volume, tier, reason, point, counted, complete });
        state.volumes.insert(volume, arm.clone());
        arm
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
