//! The working set: looks in, differences kept. Holds only what the looks touched.

use std::collections::hash_map::Entry as Slot;

use record::{EntryId, How, Name, Place, Row, Stat, State, Time};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::decide::{Decision, decide};
use crate::identity::same_entry;
use crate::{Detached, Finished, Found, Look, Root, Stored};

/// What becomes of entries that have no name left when a batch finishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// They wait: the other half of a rename may still come.
    Keep,
    /// They are gone: everything that could name them has been looked at.
    End,
}

/// A row and all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) row: Row,
    /// Sorted; the first is `row.place`.
    pub(crate) names: Vec<Place>,
    /// Where it was, while it waits without a name.
    pub(crate) detached: Option<Detached>,
}

impl Node {
    /// What records say of it. Without a name it is what it was by the name it had.
    pub(crate) fn state(&self) -> State {
        let place = self.names.first().or(self.detached.as_ref().map(|detached| &detached.place));
        let (digest, category) = (self.row.current_digest(), self.row.category_at(place));
        State { stat: self.row.stat, digest, category }
    }

    fn add(&mut self, place: Place) {
        if let Err(at) = self.names.binary_search(&place) {
            self.names.insert(at, place);
        }
    }

    fn remove(&mut self, place: &Place) {
        if let Ok(at) = self.names.binary_search(place) {
            self.names.remove(at);
        }
    }
}

/// An entry this batch has looked at.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    /// As stored; `None` when the entry is new.
    pub(crate) before: Option<Node>,
    /// As it is now; `None` when it is gone.
    pub(crate) after: Option<Node>,
    /// `after` is another entry with the same inode number.
    pub(crate) recycled: bool,
    /// Its stat was taken in this batch, after its names last changed.
    pub(crate) fresh: bool,
    pub(crate) how: How,
    pub(crate) at: Time,
    pub(crate) moved: bool,
    pub(crate) written: bool,
    pub(crate) closed: bool,
    /// Its content was read.
    pub(crate) read: bool,
    /// It was opened for writing while its digest was believed upon the kernel's word: it has to be read again.
    pub(crate) doubted: bool,
    /// What was read is not what was stored for the same stat.
    pub(crate) corrupt: bool,
}

impl Touched {
    fn note(&mut self, look: &Look) {
        // What an event told of is no sweep's finding because a listing met it too.
        let told = matches!(self.how, How::Fanotify | How::Inotify | How::Notify);
        if !told || look.how != How::Sweep {
            self.how = look.how;
        }
        self.at = look.at;
        self.moved |= look.moved;
        // A write after a close begins again; one look may stand for both, and then the close is later.
        self.written |= look.written;
        self.closed = look.closed || (self.closed && !look.written);
    }

    /// Whether names or stat differ from what is stored, so that there will be a record.
    pub(crate) fn tells(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                self.recycled || before.names != after.names || !before.row.stat.same(&after.row.stat)
            }
            _ => true,
        }
    }
}

/// The looks of one transaction, and what they change.
pub struct Batch<'a, S: Stored> {
    pub(crate) stored: S,
    pub(crate) roots: &'a [Root],
    pub(crate) touched: FxHashMap<EntryId, Touched>,
    /// Entries in the order they were first touched: the tie-break of record order.
    pub(crate) order: Vec<EntryId>,
    /// Names whose owner differs from the stored one.
    pub(crate) names: FxHashMap<(EntryId, Name), Option<EntryId>>,
    /// Rows read for paths and totals alone.
    pub(crate) places: FxHashMap<EntryId, Option<Place>>,
    /// Nameless entries whose wait is over.
    pub(crate) released: FxHashSet<EntryId>,
    /// Entries that are out of sight and not gone: without a name they are kept.
    pub(crate) aside: FxHashSet<EntryId>,
    /// Names that must be looked at again before the batch is finished.
    stale: FxHashMap<Place, How>,
    /// Names that were asked for once: a name in a directory that cannot be opened is never looked at.
    asked: FxHashSet<Place>,
}

impl<'a, S: Stored> Batch<'a, S> {
    /// An empty batch over what is stored.
    #[must_use]
    pub fn new(stored: S, roots: &'a [Root]) -> Batch<'a, S> {
        Batch {
            stored,
            roots,
            touched: FxHashMap::default(),
            order: Vec::new(),
            names: FxHashMap::default(),
            places: FxHashMap::default(),
            released: FxHashSet::default(),
            aside: FxHashSet::default(),
            stale: FxHashMap::default(),
            asked: FxHashSet::default(),
        }
    }

    /// How many entries the batch has touched: its size in memory is proportional to this.
    #[must_use]
    pub fn len(&self) -> usize {
        self.touched.len()
    }

    /// Whether nothing was looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Takes a look at `name` in `dir`.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn name(
        &mut self,
        dir: EntryId,
        name: &[u8],
        found: Option<Found>,
        look: &Look,
    ) -> Result<Decision, S::Error> {
        let place = Place::new(dir, name);
        self.stale.remove(&place);
        let owner = self.owner(&place)?;
        let decision = {
            let row = match owner {
                Some(id) => {
                    self.touch(id, look)?;
                    self.node(id).map(|node| &node.row)
                }
                None => None,
            };
            decide(owner.map(|id| (id, row)), found.as_ref().map(|found| (found.id, &found.stat)))
        };
        match (decision, owner, found) {
            (Decision::Refresh, _, Some(found)) => {
                self.note(found.id, look);
                self.refresh(&found, look);
                if look.sole && is_sole(&found.stat) {
                    self.keep_only(found.id, &place);
                }
            }
            (Decision::Gain, _, Some(found)) => self.gain(place, &found, look)?,
            (Decision::Lose, Some(owner), _) => {
                self.note(owner, look);
                self.lose(owner, &place);
            }
            (Decision::Relink | Decision::Recycle, Some(owner), Some(found)) => {
                self.lose(owner, &place);
                self.gain(place, &found, look)?;
            }
            _ => {}
        }
        Ok(decision)
    }

    /// Whether a look would say nothing new: the name's owner is what was found there, with the same stat and a
    /// finished record, and no look of this batch touched it. Listings ask this first, so that a batch holds
    /// differences alone, and what has to be followed.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn unchanged(&self, dir: EntryId, name: &[u8], found: &Found) -> Result<bool, S::Error> {
        if self.touched.contains_key(&found.id) || self.owner(&Place::new(dir, name))? != Some(found.id) {
            return Ok(false);
        }
        let row = self.stored.row(found.id)?;
        Ok(row.is_some_and(|row| !row.writing && same_entry(&row, &found.stat) && row.stat.same(&found.stat)))
    }

    /// Whether the entry was looked at in this batch and lost no name since.
    #[must_use]
    pub fn is_fresh(&self, id: EntryId) -> bool {
        self.touched.get(&id).is_some_and(|touched| touched.fresh)
    }

    /// Whether an entry has no name left, so that it waits or ends when the batch finishes.
    #[must_use]
    pub fn has_nameless(&self) -> bool {
        self.touched.values().any(|touched| {
            touched.before.as_ref().is_some_and(|node| !node.names.is_empty())
                && touched.after.as_ref().is_some_and(|node| node.names.is_empty())
        })
    }

    /// Entries, not directories, that came or changed their link count in this batch and have more links than known
    /// names: others are outside, or not met yet.
    pub fn lacking_names(&self) -> impl Iterator<Item = EntryId> {
        let links = |node: &Node| node.row.stat.links;
        self.touched.iter().filter_map(move |(id, touched)| {
            let after = touched.after.as_ref().filter(|node| !node.row.stat.is_directory())?;
            let changed = touched.before.as_ref().map(links) != Some(links(after));
            (changed && (after.names.len() as u64) < u64::from(links(after))).then_some(*id)
        })
    }

    /// Takes a look at an entry itself, a directory through its descriptor. Another entry found at the
    /// same number changes nothing here: its name's own look brings it.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn entry(&mut self, found: &Found, look: &Look) -> Result<(), S::Error> {
        self.touch(found.id, look)?;
        if self.node(found.id).is_some_and(|node| same_entry(&node.row, &found.stat)) {
            self.note(found.id, look);
            self.refresh(found, look);
        }
        Ok(())
    }

    /// A kernel witness for an entry that no single name carries: a rename event's own inode.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn witness(&mut self, id: EntryId, look: &Look) -> Result<(), S::Error> {
        self.touch(id, look)?;
        self.note(id, look);
        if look.written || look.closed {
            self.doubt(id);
        }
        Ok(())
    }

    /// Ends the wait of an entry that another entry took the last name from: unless a look of this batch
    /// names it, it is gone when the batch finishes with [`Holds::End`].
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn release(&mut self, id: EntryId, look: &Look) -> Result<(), S::Error> {
        self.touch(id, look)?;
        self.released.insert(id);
        Ok(())
    }

    /// Says that an entry whose last name goes to another in this batch is out of sight and not gone: a mount
    /// covers it, or its own file system is not mounted. It is kept without a name, with all below it, however
    /// the batch finishes, and has no record until it is seen again or ends by [`Batch::release`].
    pub fn set_aside(&mut self, id: EntryId) {
        self.aside.insert(id);
    }

    /// Cuts the circle that the way up from `dir` runs in, if it does: the name at which it closes is lost, and is
    /// to be looked at again.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn cut_circle(&mut self, dir: EntryId, look: &Look) -> Result<(), S::Error> {
        let mut way = FxHashSet::default();
        let mut at = dir;
        while let Some(place) = self.place_after(at)? {
            if !way.insert(at) {
                self.touch(at, look)?;
                self.lose(at, &place);
                self.stale.insert(place, look.how);
                return Ok(());
            }
            at = place.dir;
        }
        Ok(())
    }

    /// Names that have to be looked at before [`Batch::finish`]: those through which an entry that lost or
    /// shares names is seen again (its link count and change time moved, with no event that names it).
    /// Each comes with what made the look that calls for it.
    pub fn take_stale(&mut self) -> Vec<(Place, How)> {
        for id in &self.order {
            let touched = &self.touched[id];
            let (Some(before), Some(after)) = (&touched.before, &touched.after) else { continue };
            if !touched.fresh
                && let Some(first) = after.names.first()
                && before.names != after.names
                && self.asked.insert(first.clone())
            {
                self.stale.insert(first.clone(), touched.how);
            }
        }
        let mut stale: Vec<(Place, How)> = self.stale.drain().collect();
        stale.sort();
        stale
    }

    /// The entry's names as this batch leaves them.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn names_of(&mut self, id: EntryId) -> Result<Vec<Place>, S::Error> {
        match self.touched.get(&id) {
            Some(touched) => Ok(touched.after.as_ref().map(|node| node.names.clone()).unwrap_or_default()),
            None => Ok(self.load(id)?.map(|node| node.names).unwrap_or_default()),
        }
    }

    /// The row as this batch leaves it.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn row_of(&mut self, id: EntryId) -> Result<Option<Row>, S::Error> {
        match self.touched.get(&id) {
            Some(touched) => Ok(touched.after.as_ref().map(|node| node.row.clone())),
            None => self.stored.row(id),
        }
    }

    /// Which entry has a name, as this batch leaves it.
    ///
    /// # Errors
    /// When the stored names cannot be read.
    pub fn owner(&self, place: &Place) -> Result<Option<EntryId>, S::Error> {
        // The map's key owns its name; building one only when the batch changed any name keeps the common
        // first look free of it.
        if !self.names.is_empty()
            && let Some(owner) = self.names.get(&(place.dir, place.name.clone()))
        {
            return Ok(*owner);
        }
        self.stored.name(place.dir, &place.name)
    }

    /// Turns the differences into a plan. Names from [`Batch::take_stale`] should have been looked at.
    ///
    /// `limit` bounds how many entries a directory's removal may add to the batch.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn finish(mut self, holds: Holds, limit: usize) -> Result<Finished, S::Error> {
        let mut finished = Finished::default();
        match holds {
            Holds::Keep => self.hold(&mut finished)?,
            Holds::End => self.end(limit, &mut finished)?,
        }
        self.settle_flags(&mut finished);
        self.plan_totals(&mut finished.plan)?;
        self.plan_rows(&mut finished.plan);
        self.plan_records(&mut finished.plan)?;
        Ok(finished)
    }

    pub(crate) fn node(&self, id: EntryId) -> Option<&Node> {
        self.touched.get(&id).and_then(|touched| touched.after.as_ref())
    }

    pub(crate) fn node_mut(&mut self, id: EntryId) -> Option<&mut Node> {
        self.touched.get_mut(&id).and_then(|touched| touched.after.as_mut())
    }

    pub(crate) fn note(&mut self, id: EntryId, look: &Look) {
        if let Some(touched) = self.touched.get_mut(&id) {
            touched.note(look);
        }
    }

    pub(crate) fn load(&self, id: EntryId) -> Result<Option<Node>, S::Error> {
        let Some(row) = self.stored.row(id)? else { return Ok(None) };
        let mut names = match (&row.place, row.many_names) {
            (_, true) => self.stored.links(id)?,
            (Some(place), false) => vec![place.clone()],
            (None, false) => Vec::new(),
        };
        names.sort();
        let detached = if names.is_empty() { self.stored.detached(id)? } else { None };
        Ok(Some(Node { row, names, detached }))
    }

    pub(crate) fn touch(&mut self, id: EntryId, look: &Look) -> Result<(), S::Error> {
        if self.touched.contains_key(&id) {
            return Ok(());
        }
        let node = self.load(id)?;
        if let Slot::Vacant(slot) = self.touched.entry(id) {
            self.order.push(id);
            slot.insert(Touched {
                before: node.clone(),
                after: node,
                recycled: false,
                fresh: false,
                how: look.how,
                at: look.at,
                moved: false,
                written: false,
                closed: false,
                read: false,
                doubted: false,
                corrupt: false,
            });
        }
        Ok(())
    }

    fn refresh(&mut self, found: &Found, look: &Look) {
        let Some(touched) = self.touched.get_mut(&found.id) else { return };
        touched.fresh = true;
        let Some(node) = &mut touched.after else { return };
        if !node.row.stat.same(&found.stat) {
            let told = look.told && !touched.doubted;
            crate::content::carry(&mut node.row, &found.stat, &Look { told, ..*look });
            node.row.stat = found.stat;
            node.row.looked_at = look.at;
        } else if look.written || look.closed {
            self.doubt(found.id);
        }
    }

    /// A writer was at a file. If a look of this batch carried its digest on before that was known, it is not carried; if an
    /// earlier one did, or the file is on its way to another name, it has to be read again.
    fn doubt(&mut self, id: EntryId) {
        let Some(touched) = self.touched.get_mut(&id) else { return };
        let Some(node) = &mut touched.after else { return };
        if node.names.is_empty() {
            touched.doubted |= node.row.current_digest().is_some();
        } else if node.row.digest.is_some_and(|digest| digest.carried) {
            let was = touched.before.as_ref().and_then(|node| node.row.digest);
            if was == node.row.digest {
                touched.doubted = true;
            } else {
                node.row.digest = was;
            }
        }
    }

    fn gain(&mut self, place: Place, found: &Found, look: &Look) -> Result<(), S::Error> {
        self.touch(found.id, look)?;
        let known = self.node(found.id).map(|node| same_entry(&node.row, &found.stat));
        if known == Some(false) {
            // The inode number was recycled: every name the old entry had is gone with it.
            for old in self.node(found.id).map(|node| node.names.clone()).unwrap_or_default() {
                self.lose(found.id, &old);
            }
        }
        if known.is_some() && found.stat.is_directory() {
            // A recycled number too: what its old directory held may still be stored below it.
            self.cut_cycle(found.id, place.dir, look)?;
        }
        if known == Some(true) {
            self.refresh(found, look);
        } else if let Some(touched) = self.touched.get_mut(&found.id) {
            touched.recycled = touched.before.is_some();
            touched.fresh = true;
            (touched.moved, touched.written, touched.closed) = (false, false, false);
            (touched.read, touched.doubted) = (false, false);
            let row = Row::new(found.stat, look.at);
            touched.after = Some(Node { row, names: Vec::new(), detached: None });
        }
        self.note(found.id, look);
        if let Some(node) = self.node_mut(found.id) {
            node.add(place.clone());
        }
        self.own(&place, Some(found.id));
        if look.sole && is_sole(&found.stat) {
            self.keep_only(found.id, &place);
        } else if self
            .node(found.id)
            .is_some_and(|node| node.names.len() as u64 > u64::from(found.stat.links))
        {
            // More names than links: some went, and nothing has named them yet.
            let names = self.node(found.id).map(|node| node.names.clone()).unwrap_or_default();
            if look.sole {
                self.stale
                    .extend(names.into_iter().filter(|name| *name != place).map(|name| (name, look.how)));
            }
        }
        Ok(())
    }

    pub(crate) fn lose(&mut self, id: EntryId, place: &Place) {
        if let Some(touched) = self.touched.get_mut(&id) {
            touched.fresh = false;
            if let Some(node) = &mut touched.after {
                node.remove(place);
            }
        }
        if self.owner_is(place, id) {
            self.own(place, None);
        }
    }

    /// At the instant of the look the entry had one link and it was `place`, so no other name can be its.
    fn keep_only(&mut self, id: EntryId, place: &Place) {
        let Some(node) = self.node(id) else { return };
        if node.names.len() < 2 {
            return;
        }
        let others: Vec<Place> = node.names.iter().filter(|name| *name != place).cloned().collect();
        for other in others {
            self.lose(id, &other);
        }
        if let Some(touched) = self.touched.get_mut(&id) {
            touched.fresh = true;
        }
    }

    /// Looks made at different times may put a directory below itself. The newest look wins: the link
    /// right under it on the way down to `dir` is dropped and looked at again.
    fn cut_cycle(&mut self, id: EntryId, dir: EntryId, look: &Look) -> Result<(), S::Error> {
        let mut below = dir;
        let mut way = FxHashSet::default();
        while let Some(place) = self.place_after(below)? {
            // A first scan of a tree that moved may have stored a circle that `id` is not in: it is cut too.
            if place.dir == id || !way.insert(below) {
                self.touch(below, look)?;
                self.lose(below, &place);
                self.stale.insert(place, look.how);
                return Ok(());
            }
            below = place.dir;
        }
        Ok(())
    }

    fn owner_is(&self, place: &Place, id: EntryId) -> bool {
        match self.names.get(&(place.dir, place.name.clone())) {
            Some(owner) => *owner == Some(id),
            // An untouched name is as stored, and `id` was loaded with it.
            None => true,
        }
    }

    pub(crate) fn own(&mut self, place: &Place, id: Option<EntryId>) {
        self.names.insert((place.dir, place.name.clone()), id);
    }
}

fn is_sole(stat: &Stat) -> bool {
    stat.links <= 1 || stat.is_directory()
}
