//! The way to a directory: where the rows say it is, and what to do when it is not there.

use std::rc::Rc;

use record::{EntryId, How, Name, Place};
use rustc_hash::FxHashSet;
use scan::Errno;
use watch::Flags;

use super::{Fate, Round};
use crate::engine::error::EngineError;
use crate::engine::open::{Dir, Spot};

impl Round<'_> {
    pub(super) fn open(
        &mut self,
        id: EntryId,
        handle: Option<&watch::Handle>,
        how: How,
    ) -> Result<Option<Rc<Dir>>, EngineError> {
        self.opener.forget_refusal();
        if let Some(dir) = self.opener.get(id) {
            return Ok(Some(dir));
        }
        let Some(spot) = self.spot(id)? else { return Ok(None) };
        let expected = self.batch.row_of(id)?;
        let dir = self.opener.open(self.shared, self.trees, id, spot, handle, expected.as_ref());
        if dir.is_none() && self.opener.refused().is_none() {
            self.search(id, how)?;
            // Not what one above it said.
            self.opener.forget_refusal();
            let Some(spot) = self.spot(id)? else { return Ok(None) };
            return Ok(self.opener.open(self.shared, self.trees, id, spot, None, expected.as_ref()));
        }
        Ok(dir)
    }

    /// What comes of work on a directory that was not opened. One that refuses is blind until it can be listed whole,
    /// and that answers for the work; any other is not where it should be.
    pub(super) fn unopened(&mut self, id: EntryId) -> Result<Fate, EngineError> {
        match self.opener.refused() {
            None | Some(Errno::STALE) => Ok(Fate::Astray),
            Some(error) => {
                self.blind(id, "open", error)?;
                Ok(Fate::Done)
            }
        }
    }

    /// Looks at the names on the way down to a directory that is not where it was, from the nearest above it that
    /// is, so that what moved or went on that way is known.
    pub(super) fn search(&mut self, id: EntryId, how: How) -> Result<(), EngineError> {
        let Some(spot) = self.spot(id)? else { return Ok(()) };
        let way: Vec<Place> = spot.way().collect();
        let (mut from, mut step) = (0, 1);
        // Further up by leaps: of a tree ten thousand deep each of its directories may be sought.
        while from + 1 < way.len() && self.stands(way[from].dir)?.is_none() {
            from = (from + step).min(way.len() - 1);
            step *= 2;
        }
        for place in way.iter().take(from + 1).rev() {
            let Some(dir) = self.stands(place.dir)? else { return Ok(()) };
            self.name(&dir, &place.name, Flags::NONE, how)?;
        }
        Ok(())
    }

    /// A directory, if it is where it should be.
    fn stands(&mut self, id: EntryId) -> Result<Option<Rc<Dir>>, EngineError> {
        if let Some(dir) = self.opener.get(id) {
            return Ok(Some(dir));
        }
        let Some(spot) = self.spot(id)? else { return Ok(None) };
        let expected = self.batch.row_of(id)?;
        Ok(self.opener.open(self.shared, self.trees, id, spot, None, expected.as_ref()))
    }

    fn cut_circle(&mut self, at: EntryId) -> Result<(), EngineError> {
        let look = self.look_of(Flags::NONE, How::Sweep, true);
        self.batch.cut_circle(at, &look)?;
        self.opener.all_moved();
        Ok(())
    }

    /// Where a directory is by the rows and the looks so far.
    pub(super) fn spot(&mut self, id: EntryId) -> Result<Option<Rc<Spot>>, EngineError> {
        let mut way: Vec<(EntryId, Name)> = Vec::new();
        let mut at = id;
        let mut seen = FxHashSet::from_iter([id]);
        let mut spot = loop {
            if let Some(spot) = self.opener.spot(at) {
                break spot;
            }
            if let Some(tree) = self.tops.iter().position(|root| root.top == at) {
                break self.opener.remember(Spot::root(tree, at));
            }
            let place = match self.opener.is_nowhere(at) {
                true => None,
                false => self.batch.names_of(at)?.into_iter().next(),
            };
            let Some(place) = place else {
                self.opener.nowhere(way.iter().map(|(id, _)| *id).chain([at]));
                return Ok(None);
            };
            way.push((at, place.name));
            at = place.dir;
            // Rows may run in a circle where looks made at different times met; the disk does not.
            if !seen.insert(at) {
                self.cut_circle(at)?;
                return Ok(None);
            }
        };
        for (id, name) in way.into_iter().rev() {
            spot = self.opener.remember(Spot::below(spot, name, id));
        }
        Ok(Some(spot))
    }
}
