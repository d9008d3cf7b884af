//! What readers found, gathered and handed over; and which files are tried again for it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use record::EntryId;

use super::later::{Later, Why};
use super::readers::{Job, Read};
use crate::refine::Need;
use crate::shelf::{Found, Known, Shelf, ShelfError};

/// Findings that are delivered at once, and for how long they are gathered.
pub(super) const BATCH: usize = 2048;
pub(super) const GATHER: Duration = Duration::from_millis(200);

/// What was found and is not delivered yet.
pub(super) struct Hand<'a> {
    shelf: &'a dyn Shelf,
    later: &'a mut Later,
    /// Files that are tried again.
    put_off: &'a mut HashSet<EntryId>,
    pub(super) found: Vec<Found>,
    since: Instant,
}

impl<'a> Hand<'a> {
    pub(super) fn new(
        shelf: &'a dyn Shelf,
        later: &'a mut Later,
        put_off: &'a mut HashSet<EntryId>,
    ) -> Hand<'a> {
        Hand { shelf, later, put_off, found: Vec::new(), since: Instant::now() }
    }

    /// What was found by a job, and is known of the file from now on. `None`: nothing, and the file is to be left out.
    pub(super) fn take(&mut self, known: &mut Known, job: &Job, result: Result<Read, Why>) -> Option<Found> {
        let id = job.id;
        match result {
            Ok(Read::Content(content, extents)) => {
                self.later.done(id);
                (known.stamp, known.digest) = (content.stamp, Some(content.digest));
                (known.head, known.tail, known.doubted) = (Some(content.head), content.tail, false);
                Some(Found::Content { id, birth: known.birth, content, extents })
            }
            Ok(Read::Probe(probe)) if known.stamp == probe.stamp => {
                let end = if job.need == Need::Tail { &mut known.tail } else { &mut known.head };
                *end = Some(probe.token);
                let Known { stamp, head, tail, .. } = *known;
                Some(Found::Ends { id, stamp, head, tail })
            }
            // The index is behind; what it knew before is of another moment.
            Ok(Read::Probe(_)) => self.leave(id, Why::Behind),
            Err(why) => self.leave(id, why),
        }
    }

    fn leave(&mut self, id: EntryId, why: Why) -> Option<Found> {
        // Once: where the look that this asks for is still to come, a second would only make it wait longer.
        if matches!(why, Why::Gone | Why::Behind) && !self.later.is_astray(id) {
            self.found.push(Found::Astray(id));
        }
        self.put_off(id, why);
        None
    }

    fn put_off(&mut self, id: EntryId, why: Why) {
        self.later.put_off(id, why);
        if self.later.holds(id) {
            self.put_off.insert(id);
        }
    }

    pub(super) fn deliver_if_due(&mut self) -> Result<(), ShelfError> {
        if self.found.len() >= BATCH || (self.since.elapsed() >= GATHER && !self.found.is_empty()) {
            self.deliver()?;
        }
        Ok(())
    }

    /// Hands over what was gathered. What is not taken is tried again.
    pub(super) fn deliver(&mut self) -> Result<(), ShelfError> {
        self.since = Instant::now();
        if self.found.is_empty() {
            return Ok(());
        }
        let taken = self.shelf.deliver(&self.found)?;
        let contents = self.found.iter().filter_map(|found| match found {
            Found::Content { id, .. } | Found::Rotten { id, .. } => Some(*id),
            _ => None,
        });
        let refused: Vec<EntryId> =
            contents.zip(taken).filter(|(_, taken)| !taken).map(|(id, _)| id).collect();
        for id in refused {
            self.put_off(id, Why::Behind);
        }
        self.found.clear();
        Ok(())
    }
}
