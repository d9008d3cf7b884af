//! Who is who: volumes, entries, names, roots and sequence numbers.

use std::fmt;

/// One file system or subvolume, by our own number. Never `st_dev`, which changes over reboots on btrfs,
/// NFS and removable disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u32);

/// A configured tree, by our own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(pub u32);

/// The number of a change record: gapless, never reused, first 1. `Seq(0)` stands before all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a row lives: an inode number on a volume. Inode numbers are reused, so two entries may hold the
/// same id one after the other; their birth times tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The volume that holds the inode.
    pub volume: VolumeId,
    /// The inode number as the file system gives it, all 64 bits.
    pub inode: u64,
}

impl EntryId {
    /// The entry of `inode` on `volume`.
    #[must_use]
    pub fn new(volume: VolumeId, inode: u64) -> EntryId {
        EntryId { volume, inode }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.volume.0, self.inode)
    }
}

/// One component of a path, any bytes but `/` and NUL, at most 255 of them on Linux.
pub type Name = Box<[u8]>;

/// One name of an entry: a directory and what the entry is called there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The directory that holds the name.
    pub dir: EntryId,
    /// The name in it.
    pub name: Name,
}

impl Place {
    /// The place called `name` in `dir`.
    #[must_use]
    pub fn new(dir: EntryId, name: &[u8]) -> Place {
        Place { dir, name: name.into() }
    }
}
