//! What readers of contents found, as part of a round: it counts for the stat it was found at, or not at all.

use index::{Note, Rot};
use reconcile::{Look, Observed, Stored as _, Taken};
use record::{EntryId, How, Time};

use super::Round;
use crate::engine::error::EngineError;

impl Round<'_> {
    /// Takes an observation. False: the row is of another moment of the file.
    pub(crate) fn content(
        &mut self,
        observed: &Observed,
        note: Note,
        rot: Option<Rot>,
    ) -> Result<bool, EngineError> {
        let was = self.reader.row(observed.id)?.and_then(|row| row.current_digest());
        let look = Look::plain(self.shared.ground.clock.now(), How::Digest);
        let taken = self.batch.content(observed, &look)? == Taken::Yes;
        if taken {
            self.notes.push((observed.id, Some(note)));
            // Where the digest is what it was, no row is written that would say so.
            self.waiting.push((observed.id, None));
            if rot.is_some() || was != Some(observed.digest) {
                self.rotten.push((observed.id, rot));
            }
        }
        self.flush_if_large()?;
        Ok(taken)
    }

    /// Notes something of a content beside its digest.
    pub(crate) fn note_content(&mut self, id: EntryId, note: Note) {
        self.notes.push((id, Some(note)));
    }

    /// A file is to be read, or no more.
    pub(crate) fn wait_content(&mut self, id: EntryId, since: Option<Time>) {
        self.waiting.push((id, since));
    }
}
