//! Acting on duplicates: of equal files one is kept, and the others become names of it (hard links) or share its blocks
//! (reflinks). Knows files and a log of its own; no index, no digest's meaning, and nothing of who asks.
//!
//! No step leaves a name without its whole content, and nothing is removed whose bytes do not stand elsewhere at that moment.

mod at;
mod attributes;
mod compare;
mod hard;
mod linker;
mod log;
mod mend;
mod order;
mod share;
mod undo;
mod why;

use std::os::fd::BorrowedFd;

pub use linker::{Linker, Stopped};
pub use log::{Log, LogError};
pub use mend::{Mended, mend};
pub use undo::undo;
pub use why::Why;

/// How a copy is to be joined with the kept file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It becomes one more name of the kept file.
    Hard,
    /// It stays a file of its own and shares the kept file's blocks until one of the two is written to.
    Reflink,
}

/// Files that are said to be equal.
#[derive(Clone, Debug)]
pub struct Set {
    /// Bytes of each.
    pub size: u64,
    /// The digest by which they are, for the log.
    pub digest: String,
    /// The files.
    pub copies: Vec<Copy>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its absolute paths, all that are known, at least one.
    pub names: Vec<Vec<u8>>,
    /// It may be kept, and must not be replaced.
    pub fixed: bool,
}

/// What became of a copy.
#[derive(Debug)]
pub struct Report {
    /// What was done or would be.
    pub what: What,
    /// Its paths.
    pub names: Vec<Vec<u8>>,
    /// A path of the file that it is joined with; empty where none was found.
    pub kept: Vec<u8>,
    /// Bytes that are freed by it: of a hard link those that it had allocated, of a reflink those that are shared now.
    pub bytes: u64,
}

/// What was done with a copy.
#[derive(Debug)]
pub enum What {
    /// Nothing yet: this is what would be done.
    Would,
    /// It was done.
    Done,
    /// It is so already.
    Already,
    /// Nothing was done.
    Skipped(Why),
}

/// What the caller lends: how writers are held off.
pub trait Guard {
    /// Makes who opens `file` for writing wait, until `file` is closed. `Some(false)`: somebody has it open for writing already;
    /// `None`: that cannot be known.
    fn hold(&self, file: BorrowedFd<'_>) -> Option<bool>;

    /// Whether nobody has asked for `file` since [`Guard::hold`].
    fn held(&self, file: BorrowedFd<'_>) -> bool;

    /// Called before each step that changes something on disk, and after the last: tests stop here.
    fn step(&self, _step: Step) {}
}

/// A step of an action or an undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is compared; the log comes next.
    Log,
    /// A name for the kept file is made beside the copy.
    Link,
    /// The two names change places.
    Exchange,
    /// They did; whether all is as it was is checked next.
    Exchanged,
    /// The name beside is removed.
    Remove,
    /// The end is logged.
    End,
    /// An undo makes a file.
    Make,
    /// It has made it.
    Made,
}
