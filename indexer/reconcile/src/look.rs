//! One look at the disk, as a batch takes it.

use record::{EntryId, How, Stat, Time};

/// What a look found under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which inode on which volume.
    pub id: EntryId,
    /// Its stat.
    pub stat: Stat,
}

/// When, how and upon what a look was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The wall clock just before the look.
    pub at: Time,
    /// What made us look.
    pub how: How,
    /// The kernel witnessed a rename of this name.
    pub moved: bool,
    /// Content was written, or the file was just made.
    pub written: bool,
    /// A writer closed it, or it has been quiet for long enough to be called complete.
    pub closed: bool,
    /// The kernel tells of every change on this volume, and told of this one: what was not written has the content it had.
    pub told: bool,
    /// A link count of one proves that all other stored names are gone. Not so for a root that follows
    /// symbolic links, where one inode may stand under two names with one link.
    pub sole: bool,
}

impl Look {
    /// A look that no kernel event called for.
    #[must_use]
    pub fn plain(at: Time, how: How) -> Look {
        Look { at, how, moved: false, written: false, closed: false, told: false, sole: true }
    }
}
