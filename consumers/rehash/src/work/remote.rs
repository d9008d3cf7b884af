//! Files that are read by others who see them too: which are asked for, and what becomes of the answers. Knows no broker, no path,
//! and not how anybody is asked.
//!
//! What is asked for is a stamp: what the file was between two equal looks here, when nobody was writing it. What is answered
//! counts if the file is that still. A writer in between leaves another change time, since the one that is asked for is older
//! than any clock's grain.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use record::{EntryId, Hashing, Reading, Time};

use super::later::{Later, Why};
use super::{START, after};
use crate::look::{Refused, Stamp, still};
use crate::meter::Meter;
use crate::read::Content;
use crate::shelf::{Closed, Found, Known, Opener, Shelf, ShelfError};

/// Files that were asked for and not answered, at most: those that are asked for again after a restart.
const MOST: usize = 1_000;
/// Files of the backlog that are looked through at once.
const CHUNK: usize = 4_096;
/// An answer that does not come in this time is not waited for any more.
const EXPIRES: Duration = Duration::from_secs(3_600);
/// Before a file that is older than that is asked for: its change time is of another host's clock for whoever reads it, and
/// those may be seconds apart.
const STILL_NS: i128 = 2_000_000_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The file.
    pub id: EntryId,
    /// Its birth.
    pub birth: Option<Time>,
    /// What it is.
    pub stamp: Stamp,
}

/// What somebody answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What was asked for.
    pub wanted: Wanted,
    /// What it holds, or why that is not known.
    pub told: Result<Content, String>,
}

/// Asks for what is to be known and takes what is answered.
pub struct Remote<'a> {
    shelf: &'a dyn Shelf,
    meter: &'a Meter,
    later: Later,
    asked: HashMap<EntryId, (Stamp, Instant)>,
    /// How far the backlog was gone through; `None`: to its end.
    at: Option<(u64, EntryId)>,
    /// When it is gone through again.
    again: Duration,
    ended: Instant,
}

impl<'a> Remote<'a> {
    /// Goes through all files at the begin, and `again` after each end.
    #[must_use]
    pub fn new(shelf: &'a dyn Shelf, meter: &'a Meter, again: Duration) -> Remote<'a> {
        let (later, asked) = (Later::default(), HashMap::new());
        Remote { shelf, meter, later, asked, at: Some(START), again, ended: Instant::now() }
    }

    /// Whether all files were gone through.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.at.is_none() && self.asked.is_empty()
    }

    /// What was asked for may not have arrived: it is asked for again.
    pub fn forget(&mut self) {
        self.asked.clear();
        // What was there before is noted nowhere else.
        self.at = Some(START);
    }

    /// What is to be asked for now: what changed, then what was there before. The second part says when there may be more, if
    /// nothing changes and nothing is answered.
    ///
    /// # Errors
    /// When the index fails.
    pub fn want(&mut self) -> Result<(Vec<Wanted>, Option<Instant>), ShelfError> {
        let now = Instant::now();
        let asked = self.asked.len();
        self.asked.retain(|_, (_, until)| *until > now);
        if self.asked.len() < asked {
            self.at = Some(START);
        }
        let hashing = self.shelf.hashing()?;
        if hashing.reading != Reading::Remote {
            return Ok((Vec::new(), None));
        }
        if self.at.is_none() && self.ended.elapsed() >= self.again {
            self.at = Some(START);
        }
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        let shelf = self.shelf;
        let mut opener = shelf.opener();
        let mut from = Some(START.1);
        while let Some(start) = from.filter(|_| self.has_room()) {
            let some = shelf.waiting(start, CHUNK)?;
            from = some.last().filter(|_| some.len() == CHUNK).and_then(|(last, _)| after(*last));
            let some: Vec<EntryId> = some.into_iter().map(|(id, _)| id).collect();
            self.ask(&some, hashing, &mut *opener, (&mut wanted, &mut found))?;
        }
        while let Some(start) = self.at.filter(|_| self.has_room()) {
            let some = shelf.by_size(start, CHUNK)?;
            let ids: Vec<EntryId> = some.iter().map(|(_, id)| *id).collect();
            let met = self.ask(&ids, hashing, &mut *opener, (&mut wanted, &mut found))?;
            // As far as there was room.
            self.at = match met {
                0 => None,
                met => some.get(met - 1).copied(),
            };
            if self.at.is_none() {
                self.ended = Instant::now();
            }
        }
        drop(opener);
        if !found.is_empty() {
            shelf.deliver(&found)?;
        }
        let expired = self.asked.values().map(|(_, until)| *until).min();
        let again = self.at.is_none().then(|| self.ended + self.again);
        Ok((wanted, [expired, again, self.later.next()].into_iter().flatten().min()))
    }

    fn has_room(&self) -> bool {
        self.asked.len() < MOST
    }

    /// Asks for those that are to be known. How many of them were looked at.
    fn ask(
        &mut self,
        ids: &[EntryId],
        hashing: Hashing,
        opener: &mut dyn Opener,
        (wanted, found): (&mut Vec<Wanted>, &mut Vec<Found>),
    ) -> Result<usize, ShelfError> {
        let now = Instant::now();
        for (nth, (id, known)) in ids.iter().zip(self.shelf.known(ids)?).enumerate() {
            if !self.has_room() {
                return Ok(nth);
            }
            let is_wanted = |known: &Known| {
                !known.writing
                    && known.stamp.size > 0
                    && (known.doubted || !known.digest.is_some_and(|digest| hashing.is_enough(digest)))
            };
            let Some(known) = known.filter(is_wanted) else { continue };
            let asked = self.asked.get(id).is_some_and(|(stamp, _)| *stamp == known.stamp);
            if asked || !self.later.is_due(*id, now) {
                continue;
            }
            match self.still(*id, opener) {
                Ok((stamp, _)) if stamp == known.stamp => {
                    self.asked.insert(*id, (stamp, now + EXPIRES));
                    wanted.push(Wanted { id: *id, birth: known.birth, stamp });
                }
                Ok(_) => found.extend(self.put_off(*id, Why::Behind).into_iter().flatten()),
                Err(why) => {
                    found.extend(self.put_off(*id, why).into_iter().flatten());
                    if why == Why::Refused {
                        found.push(Found::Done { id: *id, stamp: Some(known.stamp) });
                    }
                }
            }
        }
        Ok(ids.len())
    }

    /// What a file is and where it lies, where that can be said, and has been for a while.
    fn still(&self, id: EntryId, opener: &mut dyn Opener) -> Result<(Stamp, Option<u64>), Why> {
        let refused = |why: String| {
            self.meter.refused(id, why);
            Why::Refused
        };
        let opened = opener.open(id).map_err(|closed| match closed {
            Closed::Gone => Why::Gone,
            Closed::Refused(error) => refused(error.to_string()),
        })?;
        let stamp = still(&opened.file, self.shelf).map_err(|why| match why {
            Refused::Young { ready } => Why::Young(self.until(ready)),
            Refused::Changed => Why::Changed,
            Refused::Written => Why::Written,
            other => refused(other.to_string()),
        })?;
        let ready = Time(stamp.changed.0.saturating_add(STILL_NS));
        // A change time ahead of all clocks says nothing of when it was made.
        if self.shelf.now() < ready && stamp.changed <= self.shelf.now() {
            return Err(Why::Young(self.until(ready)));
        }
        Ok((stamp, opened.extents))
    }

    fn until(&self, ready: Time) -> Duration {
        let left = ready.0.saturating_sub(self.shelf.now().0).max(0);
        Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// Has it wait, which the index notes; one that is not what the index has is looked at, once.
    fn put_off(&mut self, id: EntryId, why: Why) -> [Option<Found>; 2] {
        let astray = matches!(why, Why::Gone | Why::Behind) && !self.later.is_astray(id);
        self.later.put_off(id, why);
        [astray.then_some(Found::Astray(id)), self.later.holds(id).then_some(Found::Wait(id))]
    }

    /// Takes answers; what they say is durable afterwards. One that speaks of a file as it is no more is let go: what it is now is
    /// asked for.
    ///
    /// # Errors
    /// When the index fails.
    pub fn take(&mut self, answers: &[Answered]) -> Result<(), ShelfError> {
        let kind = self.shelf.hashing()?.kind;
        let (mut found, mut told) = (Vec::new(), Vec::new());
        let mut opener = self.shelf.opener();
        for Answered { wanted: Wanted { id, birth, stamp }, told: answer } in answers {
            let (id, birth) = (*id, *birth);
            self.asked.remove(&id);
            let content = match answer {
                Ok(content) if content.digest.kind == kind && content.stamp == *stamp => *content,
                Ok(_) => {
                    self.meter.refused(id, "the answer is not to what was asked".to_owned());
                    found.extend(self.put_off(id, Why::Behind).into_iter().flatten());
                    continue;
                }
                Err(why) => {
                    // A folder above it may have another name by now.
                    found.extend(self.put_off(id, Why::Gone).into_iter().flatten());
                    if !self.later.holds(id) {
                        self.meter.refused(id, why.clone());
                        // Until it changes, or all are gone through again.
                        found.push(Found::Done { id, stamp: Some(*stamp) });
                    }
                    continue;
                }
            };
            match self.still(id, &mut *opener) {
                Ok((now, extents)) if now == *stamp => {
                    told.push((id, content.read));
                    found.push(Found::Content { id, birth, content, extents });
                }
                Ok(_) => found.extend(self.put_off(id, Why::Behind).into_iter().flatten()),
                Err(why) => found.extend(self.put_off(id, why).into_iter().flatten()),
            }
        }
        drop(opener);
        if found.is_empty() {
            return Ok(());
        }
        let taken = self.shelf.deliver(&found)?;
        found.clear();
        for ((id, read), taken) in told.into_iter().zip(taken) {
            if taken {
                self.later.done(id);
                self.meter.file();
                self.meter.read(read);
            } else {
                found.extend(self.put_off(id, Why::Behind).into_iter().flatten());
            }
        }
        if !found.is_empty() {
            self.shelf.deliver(&found)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
