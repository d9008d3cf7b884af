//! What readers of contents found, as part of a round: it counts for the stat it was found at, or not at all.

use index::{Note, Rot};
use reconcile::{Look, Observed, Stored as _, Taken};
use record::{EntryId, How, Kind};
use rehash::Stamp;

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

    /// Notes something of a content beside its digest, if the file is still there.
    pub(crate) fn note_content(&mut self, id: EntryId, note: Note) -> Result<(), EngineError> {
        if self.file_stamp(id)?.is_some() {
            self.notes.push((id, Some(note)));
        }
        Ok(())
    }

    /// A file is to be read, if it is still there.
    pub(crate) fn wait_content(&mut self, id: EntryId) -> Result<(), EngineError> {
        if self.file_stamp(id)?.is_some() {
            self.waiting.push((id, Some(self.shared.ground.clock.now())));
        }
        Ok(())
    }

    /// A file need not be read any more, if it is what it was when that was found out: one that changed since waits anew.
    pub(crate) fn done_content(&mut self, id: EntryId, stamp: Option<Stamp>) -> Result<(), EngineError> {
        if self.file_stamp(id)? == stamp {
            self.waiting.push((id, None));
        }
        Ok(())
    }

    /// What a regular file is by its row; `None` when there is none by that number.
    fn file_stamp(&mut self, id: EntryId) -> Result<Option<Stamp>, EngineError> {
        let row = self.batch.row_of(id)?.filter(|row| row.stat.kind == Kind::File);
        Ok(row.map(|row| Stamp::of(&row.stat)))
    }
}
