//! Which files are read, in what order, by how many threads, and when those that could not be read are tried again. Knows no
//! index and no path: a [`Shelf`] has both.

mod later;
mod readers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use record::{EntryId, Hashing, Reading, VolumeId};

use self::later::Later;
use self::readers::{Job, Outcome, Readers};
use crate::meter::Meter;
use crate::pace::Pace;
use crate::refine::{Member, Need, next};
use crate::shelf::{Found, Known, Shelf, ShelfError};

/// Files taken on at once.
const CHUNK: usize = 4096;
/// Bytes of files taken on at once, but for one that is larger by itself.
const CHUNK_BYTES: u64 = 4 << 30;
/// Findings that are delivered at once, and for how long they are gathered.
const BATCH: usize = 512;
const GATHER: Duration = Duration::from_millis(200);

/// How files are read, and how that gets on.
pub struct Work<'a> {
    shelf: &'a dyn Shelf,
    pace: &'a Pace,
    stop: &'a AtomicBool,
    meter: &'a Meter,
    threads: usize,
    quiet: bool,
    later: Later,
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

/// Files of one size.
struct Group {
    size: u64,
    files: Vec<(EntryId, Known)>,
}

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
            later: Later::default(),
            at: START,
        }
    }

    /// Stands back behind all other work of the machine.
    #[must_use]
    pub fn quietly(mut self) -> Work<'a> {
        self.quiet = true;
        self
    }

    /// Reads some of the files that changed and wait, as far as their time has come.
    ///
    /// # Errors
    /// When the index fails.
    pub fn fresh(&mut self) -> Result<Turn, ShelfError> {
        let now = Instant::now();
        let hashing = self.shelf.hashing()?;
        if hashing.reading == Reading::None {
            return Ok(Turn::Wait(None));
        }
        let mut due = Vec::new();
        let mut from = START.1;
        let mut all = 0;
        while due.len() < CHUNK {
            let some = self.shelf.waiting(from, CHUNK)?;
            all += some.len();
            due.extend(some.iter().copied().filter(|id| self.later.is_due(*id, now)));
            match some.last() {
                Some(last) if some.len() == CHUNK => from = EntryId { inode: last.inode + 1, ..*last },
                _ => break,
            }
        }
        due.truncate(CHUNK);
        if due.is_empty() {
            if all == 0 {
                self.later.clear();
            }
            return Ok(Turn::Wait(self.later.next()));
        }
        let groups = self.groups_of(&due, hashing)?;
        self.read(groups, hashing, &Ask::AsWanted, &due)?;
        Ok(Turn::More)
    }

    /// Reads the next part of all that is to be known and is not, whether it changed or not. `Wait(None)` at its end; after
    /// that it begins anew.
    ///
    /// # Errors
    /// When the index fails.
    pub fn backlog(&mut self) -> Result<Turn, ShelfError> {
        let hashing = self.shelf.hashing()?;
        if hashing.reading == Reading::None {
            return Ok(Turn::Wait(None));
        }
        let Some(groups) = self.next_groups(hashing)? else {
            self.at = START;
            self.meter.set_left(0, 0);
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
                let open = group.files.iter().filter(|(_, known)| known.digest.is_none()).count() as u64;
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
            groups.push(Group { size, files });
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
            for (nth, (size, mut ids)) in parts.into_iter().enumerate() {
                if nth + 1 == count && !whole && candidates {
                    // It may go on in the next page.
                    if count > 1 {
                        break;
                    }
                    ids = self.shelf.of_size(size)?;
                }
                next_at = (size, ids.last().copied().unwrap_or(last));
                if candidates && ids.len() < 2 {
                    continue;
                }
                let mut files = self.known(&ids)?;
                let wanted = |known: &Known| !enough(hashing, known);
                if files.iter().any(|(_, known)| wanted(known)) {
                    if !candidates {
                        files.retain(|(_, known)| wanted(known));
                    }
                    bytes = bytes.saturating_add(size.saturating_mul(files.len() as u64));
                    groups.push(Group { size, files });
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
        for group in &mut groups {
            let later = &self.later;
            group.files.retain(|(id, known)| !known.writing && later.is_due(*id, now));
        }
        let mut put_off: Vec<EntryId> = Vec::new();
        let mut birth = BTreeMap::new();
        loop {
            let mut jobs = Vec::new();
            for (at, group) in groups.iter().enumerate() {
                for (id, need) in needs(group, hashing, ask) {
                    jobs.push(Job { group: at, id, need });
                }
            }
            if jobs.is_empty() || self.stop.load(Ordering::Relaxed) {
                break;
            }
            for job in &jobs {
                let known = groups[job.group].files.iter().find(|(id, _)| *id == job.id);
                birth.insert(job.id, known.and_then(|(_, known)| known.birth));
            }
            // In the order of numbers, which is about that on the disk.
            jobs.sort_by_key(|job| (job.id, job.need));
            let readers = Readers::new(
                self.shelf,
                self.pace,
                self.stop,
                self.meter,
                hashing,
                (self.threads, self.quiet),
            );
            let mut gathered: Vec<Found> = Vec::new();
            let mut since = Instant::now();
            let (shelf, later) = (self.shelf, &mut self.later);
            let mut failed = None;
            readers.run(jobs, |outcome| {
                if let Some(Outcome { job, result }) = outcome {
                    let group = &mut groups[job.group];
                    let place = group.files.iter().position(|(id, _)| *id == job.id);
                    let Some(place) = place else { return true };
                    match result {
                        Ok(readers::Read::Content(content)) => {
                            later.done(job.id);
                            let known = &mut group.files[place].1;
                            (known.stamp, known.digest) = (content.stamp, Some(content.digest));
                            (known.head, known.tail) = (Some(content.head), content.tail);
                            let birth = birth.get(&job.id).copied().flatten();
                            gathered.push(Found::Content { id: job.id, birth, content });
                        }
                        Ok(readers::Read::Probe(probe)) => {
                            let known = &mut group.files[place].1;
                            if known.stamp != probe.stamp {
                                // The index is behind; what it knew before is of another moment.
                                gathered.push(Found::Astray(job.id));
                                put_off.push(job.id);
                                later.put_off(job.id, later::Why::Behind);
                                group.files.remove(place);
                            } else {
                                match job.need {
                                    Need::Tail => known.tail = Some(probe.token),
                                    _ => known.head = Some(probe.token),
                                }
                                let Known { stamp, head, tail, .. } = *known;
                                gathered.push(Found::Ends { id: job.id, stamp, head, tail });
                            }
                        }
                        Err(why) => {
                            if matches!(why, later::Why::Gone) {
                                gathered.push(Found::Astray(job.id));
                            }
                            if later.put_off(job.id, why) {
                                put_off.push(job.id);
                            }
                            group.files.remove(place);
                        }
                    }
                }
                if gathered.len() >= BATCH || (since.elapsed() >= GATHER && !gathered.is_empty()) {
                    since = Instant::now();
                    if let Err(error) = deliver(shelf, &mut gathered, later, &mut put_off) {
                        failed = Some(error);
                        return false;
                    }
                }
                true
            });
            if let Some(error) = failed {
                return Err(error);
            }
            deliver(shelf, &mut gathered, later, &mut put_off)?;
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        for group in &groups {
            let open = group.files.len() as u64;
            self.meter.done(open, open * group.size);
        }
        let mut done: Vec<Found> =
            asked.iter().filter(|id| !put_off.contains(id)).map(|id| Found::Done(*id)).collect();
        done.retain(|found| !matches!(found, Found::Done(id) if self.later.holds(*id)));
        deliver(self.shelf, &mut done, &mut self.later, &mut put_off)
    }
}

/// Whether what is known of a file is all that is to be known.
fn enough(hashing: Hashing, known: &Known) -> bool {
    known.digest.is_some_and(|digest| hashing.is_enough(digest))
}

fn needs(group: &Group, hashing: Hashing, ask: &Ask) -> Vec<(EntryId, Need)> {
    if hashing.reading == Reading::Candidates && matches!(ask, Ask::AsWanted) {
        let full = |known: &Known| known.digest.filter(|digest| digest.kind == hashing.kind);
        let member = |(id, known): &(EntryId, Known)| Member {
            id: *id,
            full: full(known),
            head: known.head,
            tail: known.tail,
        };
        let members: Vec<Member> = group.files.iter().map(member).collect();
        return next(group.size, &members);
    }
    let open = group.files.iter().filter(|(_, known)| known.stamp.size > 0 && !enough(hashing, known));
    open.map(|(id, _)| (*id, Need::Full)).collect()
}

/// Hands over what was gathered. What was not taken is tried again.
fn deliver(
    shelf: &dyn Shelf,
    gathered: &mut Vec<Found>,
    later: &mut Later,
    put_off: &mut Vec<EntryId>,
) -> Result<(), ShelfError> {
    if gathered.is_empty() {
        return Ok(());
    }
    let taken = shelf.deliver(gathered)?;
    let contents = gathered.iter().filter_map(|found| match found {
        Found::Content { id, .. } => Some(*id),
        _ => None,
    });
    for (id, taken) in contents.zip(taken) {
        if !taken && later.put_off(id, later::Why::Behind) {
            put_off.push(id);
        }
    }
    gathered.clear();
    Ok(())
}
