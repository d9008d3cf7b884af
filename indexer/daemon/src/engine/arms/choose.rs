//! The tries at watching a volume, in order: the first that the kernel grants is it, and what refused is kept.
//! Knows which tiers there are and in what order they are wanted; nothing about directories or hints.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use record::VolumeId;
use scan::Mount;
use tracing::warn;
use watch::fanotify::FanotifyReader;
use watch::{ArmError, FanotifyDirectories, FanotifyGroup, InotifyTier, PortableTier};

use super::{Arms, State, Tier, top_level};
use crate::engine::config::Backend;

/// How the reason begins where no inotify queue was to be had: that may pass.
pub(super) const NO_INOTIFY: &str = "inotify: ";

/// A volume that is to be watched, seen by one directory of it.
pub(super) struct Site<'a> {
    pub(super) volume: VolumeId,
    /// `st_dev` of its directories.
    pub(super) device: u64,
    /// The directory.
    pub(super) fd: BorrowedFd<'a>,
    /// File-system type as in the mount table; empty when that does not tell.
    pub(super) fs_type: String,
    /// Device of its superblock; `None` when the mount table does not tell.
    superblock: Option<u64>,
    mounts: Vec<Mount>,
}

/// What a try came to: the tier and what it is in words, or a few words on who refused.
pub(super) type Tried = Result<(Tier, String), String>;

type Try = fn(&Arms, &mut State, &Site<'_>) -> Tried;

impl Site<'_> {
    /// By the mount that `fd` was opened on: the device alone does not tell, since a btrfs subvolume has one that the
    /// mount table does not know.
    pub(super) fn new(volume: VolumeId, device: u64, fd: BorrowedFd<'_>) -> Site<'_> {
        let id = scan::look_self(fd).map_or(0, |seen| seen.mount);
        let mounts = scan::mounts().unwrap_or_default();
        let found = mounts.iter().find(|known| id != 0 && known.id == id);
        let found = found.or_else(|| mounts.iter().rfind(|known| known.device == device));
        let fs_type = found.map(|mount| mount.fs_type.clone()).unwrap_or_default();
        let superblock = found.map(|mount| mount.device);
        Site { volume, device, fd, fs_type, superblock, mounts }
    }

    /// The superblock, where one mark may serve several volumes.
    fn shared_superblock(&self) -> Option<u64> {
        self.superblock.filter(|_| self.fs_type == "btrfs")
    }
}

impl Arms {
    /// How the volume of `site` is watched, and why so: the type of its file system, each tier that refused, and the
    /// one that did not.
    pub(super) fn choose(&self, state: &mut State, site: &Site<'_>) -> (Tier, String) {
        let mut told: Vec<String> = Vec::new();
        let mut chosen = None;
        for attempt in self.tries() {
            match attempt(self, state, site) {
                Ok((tier, words)) => {
                    told.push(words);
                    chosen = Some(tier);
                    break;
                }
                Err(why) => told.extend(Some(why).filter(|why| !why.is_empty())),
            }
        }
        if chosen.is_none() {
            warn!(volume = site.volume.0, why = told.join("; "), "only sweeps are left");
        }
        let fs_type = if site.fs_type.is_empty() { "unknown type" } else { &site.fs_type };
        (chosen.unwrap_or(Tier::Sweep), format!("{fs_type}: {}", told.join("; ")))
    }

    /// What is tried, in this order.
    fn tries(&self) -> &'static [Try] {
        match self.backend {
            Backend::Auto | Backend::Fanotify => &[
                Arms::remote,
                Arms::file_system_mark,
                Arms::top_level_mark,
                Arms::directory_marks,
                Arms::inotify,
            ],
            Backend::Inotify => &[Arms::remote, Arms::inotify],
            Backend::Notify => &[Arms::portable],
            Backend::Sweep => &[Arms::asked_for_sweeps],
        }
    }

    /// No tier helps where others change the files behind this kernel's back.
    #[expect(clippy::unused_self, reason = "one of the tries")]
    fn remote(&self, _: &mut State, site: &Site<'_>) -> Tried {
        if !scan::is_remote(&site.fs_type) {
            return Err(String::new());
        }
        Ok((Tier::Sweep, "changes made on other hosts have no event here; swept".to_owned()))
    }

    #[expect(clippy::unused_self, reason = "one of the tries")]
    fn asked_for_sweeps(&self, _: &mut State, _: &Site<'_>) -> Tried {
        Ok((Tier::Sweep, "swept, as asked for".to_owned()))
    }

    /// One mark on the whole file system.
    fn file_system_mark(&self, state: &mut State, site: &Site<'_>) -> Tried {
        let words = "the whole file system by one mark".to_owned();
        if let Some(reader) = self.bind_to_mark(state, site) {
            return Ok((Tier::Fanotify(reader), words));
        }
        let group = FanotifyGroup::arm(site.volume, site.fd, self.ignored_on(site.device));
        let refused = |error| refused("a mark on the file system", error);
        let reader = self.start(group.map_err(refused)?).map_err(refused)?;
        if let Some(superblock) = site.shared_superblock() {
            state.by_superblock.insert(superblock, Arc::clone(&reader));
        }
        Ok((Tier::Fanotify(reader), words))
    }

    /// btrfs alone: a mark on the top level, which sees all subvolumes, if that is mounted where we see it.
    fn top_level_mark(&self, state: &mut State, site: &Site<'_>) -> Tried {
        let Some(superblock) = site.shared_superblock() else { return Err(String::new()) };
        let Some(top) = top_level::open(superblock, &site.mounts) else {
            return Err("its top level is not mounted here".to_owned());
        };
        let refused = |error| refused("a mark on its top level", error);
        let reader = self.start(FanotifyGroup::mark(top.as_fd()).map_err(refused)?).map_err(refused)?;
        let bound = reader.bind_subvolume(site.volume, site.fd, self.ignored_on(site.device));
        if !bound.map_err(refused)? {
            return Err("its handles do not tell the subvolume".to_owned());
        }
        state.by_superblock.insert(superblock, Arc::clone(&reader));
        Ok((Tier::Fanotify(reader), "the top level of the file system by one mark".to_owned()))
    }

    /// A mark that is there already and sees the volume too: on its superblock.
    fn bind_to_mark(&self, state: &State, site: &Site<'_>) -> Option<Arc<FanotifyReader>> {
        let reader = state.by_superblock.get(&site.shared_superblock()?)?;
        let running = reader.health() == watch::Health::Running;
        let bound =
            running && reader.bind_subvolume(site.volume, site.fd, self.ignored_on(site.device)).ok()?;
        bound.then(|| Arc::clone(reader))
    }

    fn start(&self, group: FanotifyGroup) -> Result<Arc<FanotifyReader>, ArmError> {
        let reader = group.start(self.pending.clone())?;
        if let Some(file) = &self.index_file {
            // Saves wake-ups alone: kernels before 6.0 refuse, and the folder is ignored anyway.
            let _ = reader.ignore_inode(file.as_fd());
        }
        Ok(Arc::new(reader))
    }

    /// One fanotify mark a directory, where handles tell inodes.
    fn directory_marks(&self, state: &mut State, site: &Site<'_>) -> Tried {
        if state.too_large.contains(&site.volume) {
            return Err(
                "a mark a directory refused (it has more directories than there are marks)".to_owned()
            );
        }
        let share = Arc::clone(&self.marks);
        FanotifyDirectories::new(site.volume, site.fd, share, self.pending.clone())
            .map(|tier| (Tier::Directories(tier), "a fanotify mark a directory".to_owned()))
            .map_err(|error| refused("a mark a directory", error))
    }

    /// One inotify watch a directory, of a queue that all volumes share.
    fn inotify(&self, state: &mut State, _: &Site<'_>) -> Tried {
        let tier = state.inotify.get_or_insert_with(|| {
            let tier = InotifyTier::new(self.pending.clone(), self.share.now());
            tier.map(Arc::new).map_err(|error| error.to_string())
        });
        match tier {
            Ok(tier) => Ok((Tier::Inotify(tier.clone()), "inotify, a watch a directory".to_owned())),
            Err(error) => Err(format!("{NO_INOTIFY}{error}")),
        }
    }

    /// The portable watcher, whose silence means nothing.
    fn portable(&self, state: &mut State, _: &Site<'_>) -> Tried {
        let tier = state.portable.get_or_insert_with(|| {
            let tier = PortableTier::new(self.pending.clone(), self.resolver(), self.share.now());
            tier.map(Arc::new).map_err(|error| error.to_string())
        });
        match tier {
            Ok(tier) => Ok((
                Tier::Portable(tier.clone()),
                "the portable watcher, which may lose events in silence: swept as well, and at every settle"
                    .to_owned(),
            )),
            Err(error) => Err(format!("notify: {error}")),
        }
    }

    /// Inodes of directories on `device` whose events are our own doing.
    fn ignored_on(&self, device: u64) -> Vec<u64> {
        self.ignored.iter().filter(|(on, _)| *on == device).map(|(_, inode)| *inode).collect()
    }
}

fn refused(what: &str, error: ArmError) -> String {
    format!("{what} refused ({})", error.why)
}
