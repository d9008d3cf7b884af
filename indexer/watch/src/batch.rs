//! What [`crate::Pending`] hands out at once: hints grouped by directory, oldest first. Plain data.

use crate::{Flags, Handle};
use record::{EntryId, How, Name, VolumeId};

/// Some of the pending hints, taken out: whoever holds it looks at them or puts them back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Directories with the names to look at in them.
    pub directories: Vec<DirHints>,
    /// Entries to look at through whatever names they have. One that was just looked at through a name of
    /// `directories` needs no second look.
    pub inodes: Vec<(EntryId, Flags, How)>,
    /// Directories to list whole.
    pub listings: Vec<ListingHint>,
    /// Directories to sweep with all below them.
    pub subtrees: Vec<(EntryId, How)>,
    /// Volumes to sweep whole, and why.
    pub lost: Vec<(VolumeId, String)>,
}

/// The dirty names of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirHints {
    /// Volume of the directory.
    pub volume: VolumeId,
    /// Inode of the directory.
    pub inode: u64,
    /// Its file handle, where fanotify gave one.
    pub handle: Option<Handle>,
    /// The names, sorted by their bytes, each once, at least one.
    pub names: Vec<(Name, Flags)>,
    /// Who reported the newest of them.
    pub how: How,
}

/// A directory of which any name may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingHint {
    /// Volume of the directory.
    pub volume: VolumeId,
    /// Inode of the directory.
    pub inode: u64,
    /// Its file handle, where fanotify gave one.
    pub handle: Option<Handle>,
    /// Who reported the newest of what it covers.
    pub how: How,
}

impl DirHints {
    /// The directory's id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId::new(self.volume, self.inode)
    }
}

impl ListingHint {
    /// The directory's id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId::new(self.volume, self.inode)
    }
}

impl Batch {
    /// Whether there is nothing to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
            && self.inodes.is_empty()
            && self.listings.is_empty()
            && self.subtrees.is_empty()
            && self.lost.is_empty()
    }

    /// Names, inodes, listings, subtrees and lost volumes together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.directories.iter().map(|dir| dir.names.len()).sum::<usize>()
            + self.inodes.len()
            + self.listings.len()
            + self.subtrees.len()
            + self.lost.len()
    }
}
