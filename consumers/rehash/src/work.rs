//! Which files are read, in what order, by how many threads, and when those that could not be read are tried again. Knows no
//! index and no path: a [`Shelf`] has both.

mod group;
mod hand;
mod later;
mod readers;
mod remote;
mod scrub;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use record::{EntryId, Hashing, Reading, VolumeId};

use self::group::{Group, enough};
use self::hand::Hand;
use self::later::{Later, Why};
use self::readers::{Job, Outcome, Readers};
pub use self::remote::{Answered, Remote, Wanted};
pub use self::scrub::{Proof, Scrubbed};
use crate::look::Stamp;
use crate::meter::Meter;
use crate::pace::Pace;
use crate::shelf::{Found, Known, Shelf, ShelfError};

/// Files that changed which are taken on at once, and those that wait which are gone through to choose them.
const FRESH: usize = 4096;
const WAITING: usize = 65_536;
/// Files taken on at once of all others.
const CHUNK: usize = 16_384;
/// Bytes of files taken on at once, but for one that is larger by itself.
const CHUNK_BYTES: u64 = 4 << 30;

/// How files are read, and how that gets on.
pub struct Work<'a> {
    shelf: &'a dyn Shelf,
    pace: &'a Pace,
    stop: &'a AtomicBool,
    meter: &'a Meter,
    threads: usize,
    quiet: bool,
    /// Of what changed, files of these sizes in bytes alone.
    sizes: RangeInclusive<u64>,
    later: Later,
    /// How far what waits was gone through, when that is too much for once.
    fresh_at: Option<EntryId>,
    /// How far the backlog was gone through.
    at: (u64, EntryId),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There may be more to do at once.
    More,
    /// Nothing can be done before this time, if no file changes.
    Wait(Option<Instant>),
}

/// What is to be read of some files.
enum Ask {
    /// What the index wants known.
    AsWanted,
    /// Whole contents, whatever else is wanted.
    Whole,
}

/// Takes what came of each file that was read again; answers false for no more.
pub type Told<'t> = &'t mut dyn FnMut(EntryId, Proof) -> bool;

const START: (u64, EntryId) = (0, EntryId { volume: VolumeId(0), inode: 0 });

impl<'a> Work<'a> {
    /// Reads by at most `threads` threads, at `pace`, until `stop` is set.
    #[must_use]
    pub fn new(
        shelf: &'a dyn Shelf,
        pace: &'a Pace,
        stop: &'a AtomicBool,
        meter: &'a Meter,
        threads: usize,
    ) -> Work<'a> {
        Work {
            shelf,
            pace,
            stop,
            meter,
            threads: threads.max(1),
            quiet: false,
            sizes: 0..=u64::MAX,
            later: Later::default(),
            fresh_at: None,
            at: START,
        }
    }

    /// Stands back behind all other work of the machine.
    #[must_use]
    pub fn quietly(mut self) -> Work<'a> {
        self.quiet = true;
        self
    }

    /// Leaves files that changed to another, but those of these sizes in bytes.
    #[must_use]
    pub fn only(mut self, sizes: RangeInclusive<u64>) -> Work<'a> {
        self.sizes = sizes;
        self
    }

    /// Reads some of the files that changed and wait, as far as their time has come.
    ///
    /// # Errors
    /// When the index fails.
    pub fn fresh(&mut self) -> Result<Turn, ShelfError> {
        let now = Instant::now();
        let hashing = self.shelf.hashing()?;
        if !hashing.reading.is_here() {
            return Ok(Turn::Wait(None));
        }
        let due = self.due(now)?;
        if due.is_empty() {
            return Ok(Turn::Wait(self.later.next()));
        }
        let groups = self.groups_of(&due, hashing)?;
        self.read(groups, hashing, &Ask::AsWanted, &due)?;
        Ok(Turn::More)
    }

    /// Some of what changed, waits and may be read now. What changed last comes first: it is wanted most, and where more
    /// changes than can be read, what changed long ago is likely gone.
    fn due(&mut self, now: Instant) -> Result<Vec<EntryId>, ShelfError> {
        let mut later = HashSet::new();
        let mut whole = self.fresh_at.is_none();
        loop {
            let mut found = Vec::new();
            let (mut from, mut seen) = (self.fresh_at.or(Some(START.1)), 0);
            while let Some(start) = from.filter(|_| seen < WAITING) {
                let some = self.shelf.waiting(start, CHUNK)?;
                seen += some.len();
                for (id, since) in &some {
                    if self.later.is_due(*id, now) {
                        found.push((*since, *id));
                    } else {
                        later.insert(*id);
                    }
                }
                from = some.last().filter(|_| some.len() == CHUNK).and_then(|(last, _)| after(*last));
            }
            self.fresh_at = from;
            found.sort_unstable_by(|one, other| other.cmp(one));
            let found: Vec<EntryId> = found.into_iter().map(|(_, id)| id).collect();
            for some in found.chunks(FRESH) {
                let known = self.shelf.known(some)?;
                let size = |known: Option<Known>| known.map_or(0, |known| known.stamp.size);
                let ours = some.iter().zip(known).filter(|(_, known)| self.sizes.contains(&size(*known)));
                let ours: Vec<EntryId> = ours.map(|(id, _)| *id).collect();
                if !ours.is_empty() {
                    return Ok(ours);
                }
            }
            if from.is_none() {
                if whole {
                    // What waits no more went, or was read by others: its time must not wake anybody.
                    self.later.keep(&later);
                    return Ok(Vec::new());
                }
                (whole, later) = (true, HashSet::new());
            }
        }
    }

    /// Reads the next part of all that is to be known and is not, whether it changed or not. `Wait(None)` at its end; after
    /// that it begins anew.
    ///
    /// # Errors
    /// When the index fails.
    pub fn backlog(&mut self) -> Result<Turn, ShelfError> {
        let hashing = self.shelf.hashing()?;
        if !hashing.reading.is_here() {
            return Ok(Turn::Wait(None));
        }
        let Some(groups) = self.next_groups(hashing)? else {
            self.at = START;
            self.meter.clear_left();
            return Ok(Turn::Wait(None));
        };
        self.read(groups, hashing, &Ask::AsWanted, &[])?;
        Ok(Turn::More)
    }

    /// Counts what the backlog has to do: files and bytes that may have to be read.
    ///
    /// # Errors
    /// When the index fails.
    pub fn count_backlog(&mut self) -> Result<(), ShelfError> {
        let hashing = self.shelf.hashing()?;
        let (mut files, mut bytes) = (0, 0);
        let at = std::mem::replace(&mut self.at, START);
        while let Some(groups) = self.next_groups(hashing)? {
            for group in groups {
                let open = group.files.iter().filter(|file| file.known.digest.is_none()).count() as u64;
                files += open;
                bytes += open * group.size;
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        self.at = at;
        self.meter.set_left(files, bytes);
        Ok(())
    }

    /// Reads these files in full, waiting for those that are being written, `patience` at most. Answers those that could not be
    /// read.
    ///
    /// # Errors
    /// When the index fails.
    pub fn whole(&mut self, files: &[EntryId], patience: Duration) -> Result<Vec<EntryId>, ShelfError> {
        let kind = self.shelf.hashing()?.kind;
        let hashing = Hashing { reading: Reading::Full, kind };
        let until = Instant::now() + patience;
        for chunk in files.chunks(CHUNK) {
            let mut left = chunk.to_vec();
            while !left.is_empty() && !self.stop.load(Ordering::Relaxed) {
                let groups = self.groups_of(&left, hashing)?;
                self.read(groups, hashing, &Ask::Whole, &left)?;
                left.retain(|id| self.later.holds(*id));
                let Some(next) = self.later.next().filter(|next| *next <= until) else { break };
                self.sleep_until(next);
            }
        }
        let mut failed = Vec::new();
        for chunk in files.chunks(CHUNK) {
            let open = |known: &Known| known.stamp.size > 0 && !enough(hashing, known);
            failed.extend(self.known(chunk)?.into_iter().filter(|(_, known)| open(known)).map(|(id, _)| id));
        }
        Ok(failed)
    }

    /// Sleeps, and is woken by nothing but the end of that time or `stop`.
    pub fn sleep_until(&self, time: Instant) {
        while !self.stop.load(Ordering::Relaxed) {
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    fn known(&self, ids: &[EntryId]) -> Result<Vec<(EntryId, Known)>, ShelfError> {
        let known = self.shelf.known(ids)?;
        Ok(ids.iter().zip(known).filter_map(|(id, known)| Some((*id, known?))).collect())
    }

    /// Files with all others of their sizes, where those matter.
    fn groups_of(&self, ids: &[EntryId], hashing: Hashing) -> Result<Vec<Group>, ShelfError> {
        let mut sizes: BTreeMap<u64, Vec<(EntryId, Known)>> = BTreeMap::new();
        for (id, known) in self.known(ids)? {
            sizes.entry(known.stamp.size).or_default().push((id, known));
        }
        let mut groups = Vec::new();
        for (size, mut files) in sizes {
            if hashing.reading == Reading::Candidates {
                files = self.known(&self.shelf.of_size(size)?)?;
            }
            groups.push(Group::new(size, files));
        }
        Ok(groups)
    }

    /// The next groups of the backlog that have something to be read; `None` at the end.
    fn next_groups(&mut self, hashing: Hashing) -> Result<Option<Vec<Group>>, ShelfError> {
        loop {
            let page = self.shelf.by_size(self.at, CHUNK)?;
            let Some((last_size, last)) = page.last().copied() else { return Ok(None) };
            let whole = page.len() < CHUNK;
            let mut groups: Vec<Group> = Vec::new();
            let mut bytes = 0u64;
            let mut next_at = (last_size, last);
            let candidates = hashing.reading == Reading::Candidates;
            let mut parts: Vec<(u64, Vec<EntryId>)> = Vec::new();
            for (size, id) in page {
                match parts.last_mut() {
                    Some((known, ids)) if *known == size => ids.push(id),
                    _ => parts.push((size, vec![id])),
                }
            }
            let count = parts.len();
            // All at once: each question opens a view of the index.
            let asked = parts.iter().filter(|(_, ids)| !candidates || ids.len() > 1);
            let asked: Vec<EntryId> = asked.flat_map(|(_, ids)| ids).copied().collect();
            let known: HashMap<EntryId, Known> = self.known(&asked)?.into_iter().collect();
            for (nth, (size, ids)) in parts.into_iter().enumerate() {
                if nth + 1 == count && !whole && candidates {
                    // It may go on in the next page.
                    if count > 1 {
                        break;
                    }
                    let ids = self.shelf.of_size(size)?;
                    let files = self.known(&ids)?;
                    next_at = (size, ids.last().copied().unwrap_or(last));
                    let open = files.iter().any(|(_, known)| !enough(hashing, known));
                    groups.extend(open.then(|| Group::new(size, files)));
                    break;
                }
                next_at = (size, ids.last().copied().unwrap_or(last));
                if candidates && ids.len() < 2 {
                    continue;
                }
                let mut files: Vec<(EntryId, Known)> =
                    ids.iter().filter_map(|id| Some((*id, *known.get(id)?))).collect();
                let wanted = |known: &Known| !enough(hashing, known);
                if files.iter().any(|(_, known)| wanted(known)) {
                    if !candidates {
                        files.retain(|(_, known)| wanted(known));
                    }
                    bytes = bytes.saturating_add(size.saturating_mul(files.len() as u64));
                    groups.push(Group::new(size, files));
                    if bytes >= CHUNK_BYTES {
                        break;
                    }
                }
            }
            self.at = next_at;
            if !groups.is_empty() {
                return Ok(Some(groups));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
    }

    /// Reads what the groups need, delivers what is found, and remembers what has to be tried again. `asked` need not wait any
    /// more when that is done.
    fn read(
        &mut self,
        mut groups: Vec<Group>,
        hashing: Hashing,
        ask: &Ask,
        asked: &[EntryId],
    ) -> Result<(), ShelfError> {
        let now = Instant::now();
        let wanted: HashSet<EntryId> = asked.iter().copied().collect();
        let mut put_off = HashSet::new();
        // What is said at the end is said of what was there at the begin: a change that comes in between waits anew.
        let mut were: HashMap<EntryId, Stamp> =
            self.known(asked)?.into_iter().map(|(id, known)| (id, known.stamp)).collect();
        for file in groups.iter_mut().flat_map(|group| &mut group.files) {
            let (id, known) = (file.id, file.known);
            were.insert(id, known.stamp);
            let due = self.later.is_due(id, now);
            if known.writing && due && wanted.contains(&id) {
                self.later.put_off(id, Why::Written);
                put_off.insert(id);
            }
            // What waits is read by who reads what waits, and not by who goes through the rest as well.
            file.out = known.writing || !due || (asked.is_empty() && known.waiting);
        }
        let readers =
            Readers::new(self.shelf, self.pace, self.stop, self.meter, hashing, (self.threads, self.quiet));
        let mut jobs: Vec<Job> = Vec::new();
        for (nth, group) in groups.iter_mut().enumerate() {
            jobs.extend(group.next(nth, hashing, ask));
        }
        let mut hand = Hand::new(self.shelf, &mut self.later, &mut put_off);
        let mut failed = None;
        readers.run(jobs, |outcomes| {
            let mut more = Vec::new();
            for Outcome { job, result } in outcomes {
                let (nth, at) = job.place;
                let group = &mut groups[nth];
                let file = &mut group.files[at];
                match hand.take(&mut file.known, &job, result) {
                    Some(found) => hand.found.push(found),
                    None => file.out = true,
                }
                group.open -= 1;
                if group.open == 0 {
                    more.extend(group.next(nth, hashing, ask));
                }
            }
            match hand.deliver_if_due() {
                Ok(()) => ControlFlow::Continue(more),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        failed.map_or(Ok(()), Err)?;
        hand.deliver()?;
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        for group in &groups {
            let open = group.files.len() as u64;
            self.meter.done(open, open * group.size);
        }
        let mut found = Vec::new();
        for id in asked {
            // One that was put off before may need nothing more, or no more than an end.
            if !put_off.contains(id) && self.later.is_due(*id, now) {
                self.later.done(*id);
                found.push(Found::Done { id: *id, stamp: were.get(id).copied() });
            }
        }
        // Others of their sizes, and of the rest: from now on they wait as those that changed do, or nobody would come back.
        found.extend(put_off.difference(&wanted).map(|id| Found::Wait(*id)));
        let mut hand = Hand::new(self.shelf, &mut self.later, &mut put_off);
        hand.found = found;
        hand.deliver()
    }
}

/// The next number.
fn after(id: EntryId) -> Option<EntryId> {
    let next = id.inode.checked_add(1).map(|inode| EntryId { inode, ..id });
    next.or_else(|| Some(EntryId { volume: VolumeId(id.volume.0.checked_add(1)?), inode: 0 }))
}

#[cfg(test)]
mod tests;
