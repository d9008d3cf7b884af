//! What the system lets one user watch by inotify. Reads /proc; sets nothing.

use std::path::Path;

/// The limits of inotify for this user, from `/proc/sys/fs/inotify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InotifyLimits {
    /// `max_user_watches`: watches of all processes of one user together.
    pub watches: usize,
    /// `max_user_instances`: queues of all processes of one user together.
    pub instances: usize,
    /// `max_queued_events`: events a queue holds before it overflows.
    pub queued_events: usize,
}

impl InotifyLimits {
    /// The limits now. What cannot be read is taken as what kernels before 5.11 set: 8,192 watches, 128
    /// instances, 16,384 events.
    #[must_use]
    pub fn read() -> InotifyLimits {
        InotifyLimits::read_in(Path::new("/proc/sys/fs/inotify"))
    }

    fn read_in(folder: &Path) -> InotifyLimits {
        InotifyLimits {
            watches: number(folder, "max_user_watches", 8192),
            instances: number(folder, "max_user_instances", 128),
            queued_events: number(folder, "max_queued_events", 16_384),
        }
    }

    /// How many watches to use of them by default: seven eighths, and at least 512 are left for the user's
    /// editors and desktops, whose failures would come without a word of why. Never less than one.
    #[must_use]
    pub fn share(&self) -> usize {
        share(self.watches)
    }
}

/// The number in a file of a folder of limits.
pub(crate) fn number(folder: &Path, name: &str, otherwise: usize) -> usize {
    let text = std::fs::read_to_string(folder.join(name)).ok();
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
}

/// Our part of a limit that one user's programs share.
pub(crate) fn share(all: usize) -> usize {
    let spare = (all / 8).max(512);
    all.saturating_sub(spare).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_leaves_room_for_others() {
        let limits = |watches| InotifyLimits { watches, instances: 128, queued_events: 16_384 };
        assert_eq!(limits(8192).share(), 7168);
        assert_eq!(limits(1024).share(), 512);
        assert_eq!(limits(100).share(), 1);
        assert_eq!(limits(usize::MAX).share(), usize::MAX - usize::MAX / 8);
    }

    #[test]
    fn what_cannot_be_read_has_a_default() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("max_user_watches"), "77\n").unwrap();
        std::fs::write(folder.path().join("max_user_instances"), "many").unwrap();
        let expected = InotifyLimits { watches: 77, instances: 128, queued_events: 16_384 };
        assert_eq!(InotifyLimits::read_in(folder.path()), expected);
    }
}
