//! What the index stores of an entry, and of the subtree below a directory.

use crate::{Category, Kind, Place, Stat, Time};

/// One row of the index: an entry, however many names it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The last look.
    pub stat: Stat,
    /// Its first name, the least by (directory, name); `None` for the directory a root is configured at
    /// and for a detached entry.
    pub place: Option<Place>,
    /// Whether it has more than one name in the index (all of them are then in the `links` table).
    pub many_names: bool,
    /// When it was looked at, to the millisecond, rounded down. Whether the row is racy follows from it.
    pub looked_at: Time,
    /// Whether its last record was not `complete`: a writer was at it.
    pub writing: bool,
    /// Its content hash and the stat it was taken at.
    pub digest: Option<StoredDigest>,
    /// What its first bytes said, once they were looked at ([`Category::Other`]: nothing known); it goes when size or
    /// modification time change. [`Row::category`] is what the file is.
    pub magic: Option<Category>,
}

impl Row {
    /// Of an entry without a name, with nothing known of its content.
    #[must_use]
    pub fn new(stat: Stat, looked_at: Time) -> Row {
        Row { stat, place: None, many_names: false, looked_at, writing: false, digest: None, magic: None }
    }

    /// What sort of thing it is, by its first name and its first bytes; `None` for what is no regular file.
    #[must_use]
    pub fn category(&self) -> Option<Category> {
        self.category_at(self.place.as_ref())
    }

    /// The same, were `place` its first name. A detached entry is what it was by the name it had.
    #[must_use]
    pub fn category_at(&self, place: Option<&Place>) -> Option<Category> {
        let file = self.stat.kind == Kind::File;
        file.then(|| Category::of(place.map(|place| &*place.name), self.magic))
    }

    /// The digest, if it speaks of the file as the row has it.
    #[must_use]
    pub fn current_digest(&self) -> Option<Digest> {
        let stored = self.digest?;
        let current = stored.size == self.stat.size
            && stored.modified == self.stat.modified
            && stored.changed == self.stat.changed;
        current.then_some(stored.digest)
    }
}

/// How a digest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DigestKind {
    /// BLAKE3 over the whole content.
    Blake3 = 0,
    /// BLAKE2b-256 over the whole content.
    Blake2b256 = 1,
    /// BLAKE3 over head, middle and tail: never equal to a full digest.
    Blake3Sampled = 2,
}

impl DigestKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [DigestKind; 3] = [DigestKind::Blake3, DigestKind::Blake2b256, DigestKind::Blake3Sampled];

    /// The word used in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DigestKind::Blake3 => "blake3",
            DigestKind::Blake2b256 => "blake2b-256",
            DigestKind::Blake3Sampled => "blake3-sampled",
        }
    }
}

/// A content hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// How it was made.
    pub kind: DigestKind,
    /// 256 bits.
    pub bytes: [u8; 32],
}

/// A content hash and what the file's stat was when it was taken; it speaks of the file only while size,
/// modification and change time are these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredDigest {
    /// The hash.
    pub digest: Digest,
    /// Size then, in bytes.
    pub size: u64,
    /// Modification time then.
    pub modified: Time,
    /// Change time then, or of a later change that the kernel said was none of the content.
    pub changed: Time,
    /// The change time was moved on by such word.
    pub carried: bool,
}

/// What lies in and below a directory, the directory itself included. An entry with several names counts
/// once a root, at its least (directory, name) there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries that are not directories.
    pub files: u64,
    /// Directories, itself among them.
    pub directories: u64,
    /// Sum of sizes in bytes.
    pub bytes: u64,
    /// Sum of allocated bytes: what `du` prints.
    pub allocated: u64,
    /// The newest change time ever seen in it: it never goes back, not even when that entry goes.
    pub newest: Time,
}

impl Totals {
    /// What one entry adds to its directory, or a directory to itself.
    #[must_use]
    pub fn of(stat: &Stat) -> Totals {
        let directory = stat.is_directory();
        Totals {
            files: u64::from(!directory),
            directories: u64::from(directory),
            bytes: stat.size,
            allocated: stat.allocated,
            newest: stat.changed,
        }
    }

    /// Adds what counts elsewhere too.
    pub fn add(&mut self, more: &Totals) {
        self.files = self.files.wrapping_add(more.files);
        self.directories = self.directories.wrapping_add(more.directories);
        self.bytes = self.bytes.wrapping_add(more.bytes);
        self.allocated = self.allocated.wrapping_add(more.allocated);
        self.newest = self.newest.max(more.newest);
    }
}
