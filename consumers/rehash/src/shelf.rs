//! What is asked of whoever holds the index and the disk: which files there are, what is known of them, an open file, and that
//! what was found is taken.

use std::error::Error;
use std::fs::File;
use std::io;

use record::{Digest, EntryId, Hashing, Time};

use crate::look::{Eye, Stamp};
use crate::read::Content;
use crate::token::Token;

/// The index or its engine failed: nothing more can be done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ShelfError(#[from] pub Box<dyn Error + Send + Sync>);

/// What the index knows of a regular file and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its birth: with the id, its identity.
    pub birth: Option<Time>,
    /// As of the last look.
    pub stamp: Stamp,
    /// A writer was at it then.
    pub writing: bool,
    /// Its digest, where that speaks of the last look.
    pub digest: Option<Digest>,
    /// Of its first 4 KiB, likewise.
    pub head: Option<Token>,
    /// Of its last 4 KiB, likewise.
    pub tail: Option<Token>,
    /// It waits to be read, since it changed or could not be read before.
    pub waiting: bool,
    /// Its digest went along over changes that touched no content, and somebody opened it for writing since: it has to be read
    /// whatever is known.
    pub doubted: bool,
}

/// A file that can be read.
#[derive(Debug)]
pub struct Opened {
    /// Open for reading, and the entry that was asked for.
    pub file: File,
    /// It lies on solid state, as far as is known: several may be read at once, and one by several cores.
    pub solid: bool,
    /// A hash of where on the volume it lies, where that is known.
    pub extents: Option<u64>,
}

/// Why a file cannot be read now.
#[derive(Debug)]
pub enum Closed {
    /// It is not where the index has it.
    Gone,
    /// The system refused.
    Refused(io::Error),
}

/// What was found out about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its content.
    Content {
        /// The file.
        id: EntryId,
        /// Its birth, as the index had it.
        birth: Option<Time>,
        /// What it holds.
        content: Content,
        /// As of [`Opened`].
        extents: Option<u64>,
    },
    /// Its content is not what it was, and nothing else of it changed.
    Rotten {
        /// The file.
        id: EntryId,
        /// Its birth, as the index had it.
        birth: Option<Time>,
        /// What it holds now.
        content: Content,
        /// What it held.
        was: Digest,
    },
    /// The hashes of its ends: all that are known of them.
    Ends {
        /// The file.
        id: EntryId,
        /// What it was.
        stamp: Stamp,
        /// Of its first 4 KiB.
        head: Option<Token>,
        /// Of its last 4 KiB.
        tail: Option<Token>,
    },
    /// It need not wait any more, if it still is what it was when that was found out.
    Done {
        /// The file.
        id: EntryId,
        /// What it was; `None`: no regular file.
        stamp: Option<Stamp>,
    },
    /// It could not be read now, and waits.
    Wait(EntryId),
    /// It is not what the index has: a look is wanted.
    Astray(EntryId),
}

/// Index and disk, as readers of contents see them.
pub trait Shelf: Eye + Send + Sync {
    /// Which contents are to be known.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn hashing(&self) -> Result<Hashing, ShelfError>;

    /// Files that changed and wait to be read with the times since when, by number, from `from` on, at most `most`.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn waiting(&self, from: EntryId, most: usize) -> Result<Vec<(EntryId, Time)>, ShelfError>;

    /// Regular files that are not empty with their sizes in bytes, by size and number, after `after`, at most `most`.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn by_size(&self, after: (u64, EntryId), most: usize) -> Result<Vec<(u64, EntryId)>, ShelfError>;

    /// All files of a size.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn of_size(&self, size: u64) -> Result<Vec<EntryId>, ShelfError>;

    /// What is known of files, one for each; `None` where there is no regular file by that number.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn known(&self, ids: &[EntryId]) -> Result<Vec<Option<Known>>, ShelfError>;

    /// Files with a digest of which all of the content was last read before `time`, by number, from `from` on, at most `most`.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn unproved(&self, time: Time, from: EntryId, most: usize) -> Result<Vec<EntryId>, ShelfError>;

    /// Has this thread read behind all others, as far as the system lets it.
    fn stand_back(&self) {}

    /// Opens files, one after another, for one thread.
    fn opener(&self) -> Box<dyn Opener + '_>;

    /// Takes what was found, durably. Answers, one for each [`Found::Content`] and [`Found::Rotten`], whether it speaks of the file as the index has it.
    ///
    /// # Errors
    /// When the index cannot be written.
    fn deliver(&self, found: &[Found]) -> Result<Vec<bool>, ShelfError>;
}

/// Opens files. What it remembers from one to the next is its own, and given up when reading takes long.
pub trait Opener {
    /// Opens a file by whatever names it has.
    ///
    /// # Errors
    /// [`Closed`].
    fn open(&mut self, id: EntryId) -> Result<Opened, Closed>;
}
