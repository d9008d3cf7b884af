//! Contents, as far as the engine's thread has to do with them: what was read goes through the one writer.

mod doubt;
mod once;
mod opener;
mod scrub;
pub(crate) mod sets;
mod shelf;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use index::{Grown, Note, Rot};
use reconcile::{Holds, Observed};
use record::EntryId;
use rehash::{Meter, Pace, ShelfError, Stamp, Work};
use serde::{Deserialize, Serialize};
use watch::Flags;

pub(crate) use self::scrub::{Scrub, ScrubLine, Sum, scrub};
pub(crate) use self::sets::{wasted, wasted_by};
pub(crate) use self::shelf::EngineShelf;
use super::core::Core;
use super::error::EngineError;
use super::round::{Round, Todo};

/// What readers of contents found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Whole contents, what is known of them beside their digests, and of what rotted what it was.
    pub(crate) observed: Vec<(Observed, Note, Option<Rot>)>,
    /// Files of which something else was found out.
    pub(crate) notes: Vec<(EntryId, Note)>,
    /// Files to be read.
    pub(crate) waiting: Vec<EntryId>,
    /// Files that need not be read any more, if they still are what they were then; `None`: no regular file.
    pub(crate) done: Vec<(EntryId, Option<Stamp>)>,
    /// Files that are not what their rows say.
    pub(crate) astray: Vec<EntryId>,
    /// What came of looking through directories.
    pub(crate) grown: Vec<Grown>,
}

/// What came of reading files that were named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashed {
    /// Files that were named, or lie below what was.
    pub(crate) files: u64,
    /// Of those, how many were read now; the others had not changed since they were.
    pub(crate) read: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Those that could not be read, and why.
    pub(crate) failed: Vec<Unread>,
}

/// A file that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unread {
    /// Its path.
    pub(crate) path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// What the system said.
    pub(crate) why: String,
}

/// Files taken on at once: what is named may be a whole tree.
const SLICE: usize = 65_536;

/// Reads all files at and below `paths` in full.
pub(crate) fn hash_files(
    shelf: &EngineShelf,
    (pace, stop, meter): (&Pace, &AtomicBool, &Meter),
    threads: usize,
    paths: &[Vec<u8>],
    patience: Duration,
) -> Result<Hashed, ShelfError> {
    let mut work = Work::new(shelf, pace, stop, meter, threads);
    let mut hashed = Hashed::default();
    for path in paths {
        let mut below = shelf.below(path)?;
        loop {
            let files = below.next(shelf, SLICE)?;
            if files.is_empty() {
                break;
            }
            hashed.files += files.len() as u64;
            for id in work.whole(&files, patience)? {
                let (path, path_raw) = shelf.shown(id)?;
                let why = meter.last_refused().into_iter().rev().find(|(known, _)| *known == id);
                let why =
                    why.map_or_else(|| "it is being written, or not where it was".to_owned(), |(_, why)| why);
                hashed.failed.push(Unread { path, path_raw, why });
            }
        }
    }
    while shelf.grow()? {}
    let counted = meter.counted();
    (hashed.read, hashed.bytes) = (counted.files, counted.bytes);
    Ok(hashed)
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.observed.is_empty()
            && self.notes.is_empty()
            && self.waiting.is_empty()
            && self.done.is_empty()
            && self.astray.is_empty()
            && self.grown.is_empty()
    }
}

impl Core {
    /// Has the index keep what follows from rows about contents, if that is asked for, or was.
    pub(super) fn keep_contents(&mut self) -> Result<(), EngineError> {
        let stored = self.shared.index.read()?.hashing()?;
        self.shared.index.keep_contents(self.config.hashing.unwrap_or(stored))?;
        Ok(())
    }

    /// Commits what was found. Answers, for each observation, whether it speaks of the file as the index has it; where not,
    /// the file is looked at.
    pub(super) fn take_contents(&mut self, findings: Findings) -> Result<Vec<bool>, EngineError> {
        let mut round =
            Round::new(&self.shared, &self.trees, &self.tops, &mut self.writing, &mut self.ghosts)?;
        let mut taken = Vec::with_capacity(findings.observed.len());
        let mut astray = findings.astray;
        for (observed, note, rot) in &findings.observed {
            let yes = round.content(observed, *note, *rot)?;
            if !yes {
                astray.push(observed.id);
            }
            taken.push(yes);
        }
        for (id, note) in findings.notes {
            round.note_content(id, note)?;
        }
        for id in findings.waiting {
            round.wait_content(id)?;
        }
        for (id, stamp) in findings.done {
            round.done_content(id, stamp)?;
        }
        round.grow(findings.grown);
        round.flush(Holds::Keep)?;
        let left = round.leave();
        self.take_over(left, std::time::Instant::now())?;
        for id in astray {
            let how = self.how(id.volume);
            self.todo.push_back(Todo::Inode(id, Flags::NONE, how));
        }
        Ok(taken)
    }
}
