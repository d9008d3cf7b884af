//! What one look at an entry says of it.

use crate::Time;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 0,
    /// A directory.
    Directory = 1,
    /// A symbolic link, looked at and not through.
    Symlink = 2,
    /// A named pipe.
    Fifo = 3,
    /// A Unix-domain socket.
    Socket = 4,
    /// A block device.
    Block = 5,
    /// A character device.
    Char = 6,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 7] =
        [Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::Block, Kind::Char];

    /// The kind in the `S_IFMT` bits of a mode; `None` for bits that no file system should give.
    #[must_use]
    pub fn from_mode(mode: u16) -> Option<Kind> {
        Some(match mode & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Symlink,
            0o010_000 => Kind::Fifo,
            0o140_000 => Kind::Socket,
            0o060_000 => Kind::Block,
            0o020_000 => Kind::Char,
            _ => return None,
        })
    }

    /// The word used in JSON and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::Block => "block",
            Kind::Char => "char",
        }
    }

    /// The kind called `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The stat fields of an entry, as one `statx` gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links, as the file system counts them.
    pub links: u32,
    /// Apparent size in bytes.
    pub size: u64,
    /// Bytes of disk it takes: `st_blocks` × 512.
    pub allocated: u64,
    /// When its content last changed.
    pub modified: Time,
    /// When its inode last changed.
    pub changed: Time,
    /// When it was last read. Refreshed only when the row is otherwise written: outside [`Stat::same`].
    pub accessed: Time,
    /// Birth time, where the file system keeps one. With the inode number it is the entry's identity.
    pub created: Option<Time>,
}

impl Stat {
    /// Equal in all but the access time.
    #[must_use]
    pub fn same(&self, other: &Stat) -> bool {
        Stat { accessed: other.accessed, ..*self } == *other
    }

    /// Equal content as far as a stat can tell: size and modification time.
    #[must_use]
    pub fn same_content(&self, other: &Stat) -> bool {
        self.kind == other.kind && self.size == other.size && self.modified == other.modified
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}
