//! What the system lets one user mark by fanotify, and our part of it. Reads /proc; sets nothing.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{number, share};

/// The limits of fanotify for this user, from `/proc/sys/fs/fanotify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanotifyLimits {
    /// `max_user_marks`: marks of all processes of one user together.
    pub marks: usize,
    /// `max_user_groups`: queues of all processes of one user together.
    pub groups: usize,
    /// `max_queued_events`: events a queue holds before it overflows; those of root here have no bound.
    pub queued_events: usize,
}

impl FanotifyLimits {
    /// The limits now. What cannot be read is taken as the least that kernels with unprivileged marks (5.13) set:
    /// 8,192 marks, 128 groups, 16,384 events.
    #[must_use]
    pub fn read() -> FanotifyLimits {
        FanotifyLimits::read_in(Path::new("/proc/sys/fs/fanotify"))
    }

    fn read_in(folder: &Path) -> FanotifyLimits {
        FanotifyLimits {
            marks: number(folder, "max_user_marks", 8192),
            groups: number(folder, "max_user_groups", 128),
            queued_events: number(folder, "max_queued_events", 16_384),
        }
    }

    /// How many directories to mark by default: seven eighths, and at least 512 are left for the user's other
    /// programs. Never less than one. Root keeps to it too: the limit stands for the kernel's memory.
    #[must_use]
    pub fn share(&self) -> usize {
        share(self.marks)
    }
}

/// Marks that all the groups of this process may have together: the kernel counts them by user.
#[derive(Debug)]
pub struct MarkShare {
    most: usize,
    used: AtomicUsize,
}

impl MarkShare {
    /// At most `most` marks; see [`FanotifyLimits::share`].
    #[must_use]
    pub fn new(most: usize) -> MarkShare {
        MarkShare { most, used: AtomicUsize::new(0) }
    }

    /// The most marks there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Marks in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self) -> bool {
        let more = |used| (used < self.most).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_leaves_room_for_others() {
        let limits = |marks| FanotifyLimits { marks, groups: 128, queued_events: 16_384 };
        assert_eq!(limits(8192).share(), 7168);
        assert_eq!(limits(100).share(), 1);
    }

    #[test]
    fn what_cannot_be_read_has_a_default() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("max_user_marks"), "77\n").unwrap();
        let expected = FanotifyLimits { marks: 77, groups: 128, queued_events: 16_384 };
        assert_eq!(FanotifyLimits::read_in(folder.path()), expected);
    }

    #[test]
    fn a_share_is_given_once() {
        let share = MarkShare::new(2);
        assert_eq!([share.take(), share.take(), share.take()], [true, true, false]);
        share.give_back(1);
        assert_eq!((share.used(), share.take()), (1, true));
    }
}
