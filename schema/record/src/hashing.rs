//! Which contents are to be known, and by which digest.

use crate::{Digest, DigestKind, Kind, Stat};

/// Which files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reading {
    /// None.
    #[default]
    None = 0,
    /// Those that may have a duplicate: of a size that another file has too, and with equal first and last bytes.
    Candidates = 1,
    /// All; of large ones head, middle and tail.
    Sampled = 2,
    /// All, in full.
    Full = 3,
    /// All, in full, by workers on other hosts: here nothing is read.
    Remote = 4,
}

impl Reading {
    /// All of them, in the order of their numbers.
    pub const ALL: [Reading; 5] =
        [Reading::None, Reading::Candidates, Reading::Sampled, Reading::Full, Reading::Remote];

    /// The word used in JSON and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Reading::None => "none",
            Reading::Candidates => "candidates",
            Reading::Sampled => "sampled",
            Reading::Full => "full",
            Reading::Remote => "remote",
        }
    }

    /// Whether files are read here.
    #[must_use]
    pub fn is_here(self) -> bool {
        !matches!(self, Reading::None | Reading::Remote)
    }

    /// The one called `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Reading> {
        Reading::ALL.into_iter().find(|reading| reading.word() == word)
    }
}

/// Which files are read, and what is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Which files.
    pub reading: Reading,
    /// The digest of a whole content: [`DigestKind::Blake3`] or [`DigestKind::Blake2b256`].
    pub kind: DigestKind,
}

impl Default for Hashing {
    fn default() -> Hashing {
        Hashing { reading: Reading::None, kind: DigestKind::Blake3 }
    }
}

impl Hashing {
    /// Whether a file with this stat and this current digest is to be read, were it a candidate. Empty files never are.
    #[must_use]
    pub fn wants(&self, stat: &Stat, digest: Option<Digest>) -> bool {
        self.reading != Reading::None
            && stat.kind == Kind::File
            && stat.size > 0
            && !digest.is_some_and(|digest| self.is_enough(digest))
    }

    /// Whether a digest says all that is to be known.
    #[must_use]
    pub fn is_enough(&self, digest: Digest) -> bool {
        digest.kind == self.kind
            || (self.reading == Reading::Sampled && digest.kind == DigestKind::Blake3Sampled)
    }
}
