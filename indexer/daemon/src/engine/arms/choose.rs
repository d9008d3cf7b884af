//! The tries at watching a volume, in order: the first that the kernel grants is it, and what refused is kept.
//! Knows which tiers there are and in what order they are wanted; nothing about directories or hints.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use record::VolumeId;
use tracing::warn;
use watch::{FanotifyGroup, InotifyTier, PortableTier};

use super::{Arms, State, Tier};
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
}

/// What a try came to: the tier and what it is in words, or a few words on who refused.
pub(super) type Tried = Result<(Tier, String), String>;

type Try = fn(&Arms, &mut State, &Site<'_>) -> Tried;

impl Site<'_> {
    pub(super) fn new(volume: VolumeId, device: u64, fd: BorrowedFd<'_>) -> Site<'_> {
        Site { volume, device, fd, fs_type: fs_type(device, fd).unwrap_or_default() }
    }
}

/// The type of the mount that `dir` was opened on. By the device alone it cannot be told: a btrfs subvolume has one
/// that the mount table does not know.
fn fs_type(device: u64, dir: BorrowedFd<'_>) -> Option<String> {
    let mount = scan::look_self(dir).map_or(0, |seen| seen.mount);
    let mounts = scan::mounts().ok()?;
    let found = mounts.iter().find(|known| mount != 0 && known.id == mount);
    let found = found.or_else(|| mounts.iter().rfind(|known| known.device == device));
    found.map(|mount| mount.fs_type.clone())
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
            Backend::Auto | Backend::Fanotify => &[Arms::remote, Arms::file_system_mark, Arms::inotify],
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
    fn file_system_mark(&self, _: &mut State, site: &Site<'_>) -> Tried {
        let ignored = self.ignored_on(site.device);
        let armed = FanotifyGroup::arm(site.volume, site.fd, ignored)
            .and_then(|group| group.start(self.pending.clone()))
            .map_err(|error| format!("fanotify: {error}"))?;
        if let Some(file) = &self.index_file {
            // Saves wake-ups alone: kernels before 6.0 refuse, and the folder is ignored anyway.
            let _ = armed.ignore_inode(file.as_fd());
        }
        Ok((Tier::Fanotify(armed), "the whole file system by one mark".to_owned()))
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
