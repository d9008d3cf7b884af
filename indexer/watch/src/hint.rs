//! What a kernel event comes down to: something may have changed here. Knows no kernel format and no queue.

use record::{How, Name, VolumeId};
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Something may have changed somewhere on a volume. Only a look tells what, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The volume.
    pub volume: VolumeId,
    /// Where on it.
    pub what: What,
    /// What kind of thing the kernel said. Labels, never facts: events merge and lose their order.
    pub flags: Flags,
    /// File handle of the *directory* of an [`What::Entry`], where fanotify gave one.
    pub handle: Option<Handle>,
    /// Who says so.
    pub how: How,
}

/// Where something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// One name of one directory.
    Entry {
        /// Inode of the directory.
        dir: u64,
        /// The name in it.
        name: Name,
    },
    /// An inode, by whatever names it has.
    Inode(u64),
    /// Every name of one directory (its inode).
    Listing(u64),
    /// Everything below one directory (its inode).
    Subtree(u64),
    /// The whole volume: hints were lost.
    Lost {
        /// What happened, for people: `queue overflow`.
        why: String,
    },
}

/// What kind of change the kernel reported; ORed together where hints coalesce.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Nothing is known.
    pub const NONE: Flags = Flags(0);
    /// Content was written or the size changed (MODIFY; also an explicit change of the mtime).
    pub const WRITTEN: Flags = Flags(1);
    /// A writer closed it.
    pub const CLOSED: Flags = Flags(1 << 1);
    /// The kernel witnessed a rename: FAN_RENAME, or both halves of a MOVED pair.
    pub const MOVED: Flags = Flags(1 << 2);
    /// The directory's set of names moved: create, delete, rename.
    pub const NAMED: Flags = Flags(1 << 3);
    /// Metadata: mode, owner, extended attributes, link count.
    pub const META: Flags = Flags(1 << 4);
    /// What came or went by that name was a directory: of fanotify alone.
    pub const DIRECTORY: Flags = Flags(1 << 5);
    /// Found by comparing, without word of the kernel: what else may have happened is not known.
    pub const SWEPT: Flags = Flags(1 << 6);

    /// Whether every flag of `other` is set here.
    #[must_use]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set here.
    #[must_use]
    pub fn any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no flag is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These flags less those of `other`.
    #[must_use]
    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [(Flags, &str); 7] = [
            (Flags::WRITTEN, "WRITTEN"),
            (Flags::CLOSED, "CLOSED"),
            (Flags::MOVED, "MOVED"),
            (Flags::NAMED, "NAMED"),
            (Flags::META, "META"),
            (Flags::DIRECTORY, "DIRECTORY"),
            (Flags::SWEPT, "SWEPT"),
        ];
        let mut set = f.debug_set();
        for (flag, word) in WORDS {
            if self.has(flag) {
                set.entry(&format_args!("{word}"));
            }
        }
        set.finish()
    }
}

/// A file handle as the kernel encodes it: opaque, valid while the file system is mounted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Handle {
    kind: i32,
    bytes: Bytes,
}

/// Longest handle held without an allocation: ext4 has 8 bytes, xfs and tmpfs 12, btrfs 20.
const INLINE: usize = 20;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Bytes {
    Inline(u8, [u8; INLINE]),
    Boxed(Box<[u8]>),
}

impl Handle {
    /// The handle of type `kind` with the `f_handle` bytes `bytes`, at most 128 of them on Linux.
    #[must_use]
    pub fn new(kind: i32, bytes: &[u8]) -> Handle {
        let mut inline = [0; INLINE];
        let bytes = match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(space), Ok(len)) => {
                space.copy_from_slice(bytes);
                Bytes::Inline(len, inline)
            }
            _ => Bytes::Boxed(bytes.into()),
        };
        Handle { kind, bytes }
    }

    /// `handle_type`: the file system's own number for the layout of the bytes.
    #[must_use]
    pub fn kind(&self) -> i32 {
        self.kind
    }

    /// `f_handle`.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Bytes::Boxed(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:#x}:", self.kind)?;
        for byte in self.bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}
