//! Contents, as far as the engine's thread has to do with them: what was read goes through the one writer.

pub(crate) mod sets;

use index::Note;
use reconcile::{Holds, Observed};
use record::{EntryId, Time};
use watch::Flags;

use super::core::Core;
use super::error::EngineError;
use super::round::{Round, Todo};

/// What readers of contents found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Whole contents, and what is known of them beside their digests.
    pub(crate) observed: Vec<(Observed, Note)>,
    /// Files of which something else was found out.
    pub(crate) notes: Vec<(EntryId, Note)>,
    /// Files to be read and since when, or no more.
    pub(crate) waiting: Vec<(EntryId, Option<Time>)>,
    /// Files that are not what their rows say.
    pub(crate) astray: Vec<EntryId>,
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.observed.is_empty() && self.notes.is_empty() && self.waiting.is_empty() && self.astray.is_empty()
    }
}

impl Core {
    /// Commits what was found. Answers, for each observation, whether it speaks of the file as the index has it; where not,
    /// the file is looked at.
    pub(super) fn take_contents(&mut self, findings: Findings) -> Result<Vec<bool>, EngineError> {
        let mut round =
            Round::new(&self.shared, &self.trees, &self.tops, &mut self.writing, &mut self.ghosts)?;
        let mut taken = Vec::with_capacity(findings.observed.len());
        let mut astray = findings.astray;
        for (observed, note) in &findings.observed {
            let yes = round.content(observed, *note)?;
            if !yes {
                astray.push(observed.id);
            }
            taken.push(yes);
        }
        for (id, note) in findings.notes {
            round.note_content(id, note);
        }
        for (id, since) in findings.waiting {
            round.wait_content(id, since);
        }
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
