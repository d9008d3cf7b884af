//! Following the hints: rounds, holds, and working off what is pending.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use index::Message;
use reconcile::{Held, Holds};
use record::{How, VolumeId};
use rustc_hash::FxHashSet;
use watch::Flags;

use super::config::Level;
use super::core::Core;
use super::error::EngineError;
use super::round::{Fate, Left, Round, Todo, is_out_of_sight};
use super::sweeping::background::{Ticket, Why};

/// Rounds begin at least this far apart, so that a stream of changes is committed in batches.
const PACE: Duration = Duration::from_millis(5);

/// The same while changes pour in: each commit syncs the disk that the producer of the changes writes to.
const PACE_IN_FLOOD: Duration = Duration::from_millis(20);

/// Hints in one round that make a flood.
const FLOOD: usize = 64;

/// Work items of its own that one round takes on.
const MOST_TODO: usize = 64;

/// Hints younger than what is waited for that go along with one round.
const MOST_YOUNGER: usize = 16;

/// Times that the end of holds is waited for, and of those that their end makes; a tree under work always has some.
const MOST_EXTENDED: u32 = 4;

/// How long the readers may take to say that their queues are read.
pub(super) const BARRIER: Duration = Duration::from_secs(10);

/// Entries that wait for a name at most; one more and all of them end.
const MOST_HELD: usize = 65_536;

/// Pieces of work of its own at most; one more and the volume is swept instead.
const MOST_OWED: usize = 262_144;

/// Largest index, in entries, of which all is looked at for what inotify could not name: about 0.1 s.
pub(crate) const MOST_LOOKED_FOR: u64 = 100_000;

/// Most directories remembered as astray; one more and the volume is swept instead.
const MOST_ASTRAY: usize = 65_536;

/// Directories that could not be looked at and are tried again at once.
const MOST_RETRIED: usize = 1024;

/// Times that a settle looks for directories that are not where they should be.
const MOST_TRIES: u32 = 64;

impl Core {
    /// One round over the oldest hints and the engine's own list, then the holds whose time has come.
    pub(crate) fn step(&mut self) -> Result<(), EngineError> {
        self.step_with(self.config.batch)
    }

    /// Likewise, over at most so many hints.
    fn step_with(&mut self, most: usize) -> Result<(), EngineError> {
        self.pace();
        let mut batch = self.shared.pending.take(most);
        self.flooded = batch.len() >= FLOOD;
        for (volume, why) in std::mem::take(&mut batch.lost) {
            self.owe_repair(volume, why);
        }
        for (id, how) in std::mem::take(&mut batch.subtrees) {
            self.todo.push_back(Todo::List(id, true, how));
        }
        for listing in std::mem::take(&mut batch.listings) {
            self.todo.push_back(Todo::List(listing.id(), false, listing.how));
        }
        if !batch.directories.is_empty() {
            // One of them may say where these are.
            self.try_late_again();
        }
        self.put_off_writes(&mut batch)?;
        self.round(batch)?;
        self.tell_mounts()?;
        self.end_expired()?;
        if self.shared.pending.is_empty() && self.todo.is_empty() && self.held.is_empty() {
            self.find_astray()?;
        }
        self.sure_again();
        Ok(())
    }

    /// After a sweep: once all that was queued during it has been looked at, no directory can have passed it by.
    fn sure_again(&mut self) {
        let quiet = |core: &Core| core.shared.pending.is_empty() && core.todo.is_empty();
        let unsure = || self.shared.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if unsure().is_some() && !self.sweeps.is_running() && self.astray.is_empty() && quiet(self) {
            let _ = self.shared.arms.barrier(Instant::now() + BARRIER);
            if quiet(self) {
                *unsure() = None;
            }
        }
    }

    /// Works until nothing is left that was there when it began (`until`: nothing older than that).
    pub(crate) fn work_off(&mut self, deadline: Option<Instant>) -> Result<(), EngineError> {
        let mut until = Instant::now();
        let mut extended = 0;
        let mut tries = 0;
        let mut repaired: FxHashSet<VolumeId> = FxHashSet::default();
        loop {
            self.shared.vitals.turn();
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(EngineError::TimedOut(Duration::ZERO));
            }
            if self.shared.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(EngineError::Stopped);
            }
            let old = self.shared.pending.oldest().is_some_and(|oldest| oldest <= until);
            if old || !self.todo.is_empty() || self.mounts.is_owed() {
                // Younger hints, of a long sweep or of endless work in the tree, may come without end, and each may
                // bring work of our own.
                self.step_with(if old { self.config.batch } else { MOST_YOUNGER })?;
                continue;
            }
            let tickets: Vec<Ticket> = self
                .sweeps
                .orders()
                .filter(|order| order.why == Why::Repair)
                .flat_map(|order| order.tickets.iter().copied())
                .collect();
            if !tickets.is_empty() {
                self.wait_for_sweeps(&tickets, deadline)?;
                // What it found is younger than what this was called for, and belongs to it.
                until = Instant::now();
                continue;
            }
            let owed = self.repairs.keys().find(|volume| deadline.is_some() || !repaired.contains(volume));
            if let Some(volume) = owed.copied() {
                self.repair_now(volume)?;
                // What is lost again meanwhile, and again, must not hold up who gives no deadline: that repair
                // comes when it is due.
                repaired.insert(volume);
                continue;
            }
            if !self.astray.is_empty() && self.held.is_empty() && (deadline.is_some() || tries < MOST_TRIES) {
                tries += 1;
                // Younger hints may say where they went; a stream of those must not hold this up for ever.
                match self.shared.pending.is_empty() {
                    true => self.find_astray()?,
                    false => self.step()?,
                }
                continue;
            }
            if self.held.is_empty()
                || extended >= MOST_EXTENDED && self.held.iter().all(|(_, at)| *at > until)
            {
                return Ok(());
            }
            // Holds end when what was queued at their loss has been looked at: once more, up to the last. The
            // looks at their end may leave others without a name.
            until = self.held.iter().map(|(_, at)| *at).max().unwrap_or(until);
            extended += 1;
            self.end_expired()?;
        }
    }

    /// Makes looks that were put off (`all`, or those that are due) pending, and ends what has been quiet.
    pub(crate) fn due_writing(&mut self, now: Instant, all: bool) {
        if self.writing.is_empty() {
            return;
        }
        let mut batch = self.writing.due(now, all);
        for file in self.writing.quiet(now, self.config.quiet) {
            batch.inodes.push((file, Flags::CLOSED, self.how(file.volume)));
        }
        self.shared.pending.put_back(batch);
    }

    /// Where directories are watched one by one and something may have happened unheard, every file may be meant: all
    /// of them are looked at, as long as that is quick. In larger trees the next periodic sweep has it.
    pub(crate) fn look_for_unseen(&mut self, why: Why) -> Result<Vec<Ticket>, EngineError> {
        let mut tickets = Vec::new();
        self.forget_unseen();
        if self.unseen == 0 || self.shared.index.read()?.entries()? > MOST_LOOKED_FOR {
            return Ok(tickets);
        }
        self.last_unseen = Instant::now();
        for at in 0..self.trees.len() {
            if self.has_unseen(at) {
                let how = self.how(self.trees[at].row.top.volume);
                tickets.push(self.order(at, None, Level::Stat, how, why)?);
            }
        }
        Ok(tickets)
    }

    /// Commits a record about the stream.
    pub(crate) fn say(&mut self, message: Message) -> Result<(), EngineError> {
        let mut round =
            Round::new(&self.shared, &self.trees, &self.tops, &mut self.writing, &mut self.ghosts)?;
        round.message(message);
        round.flush(Holds::Keep)
    }

    pub(crate) fn how(&self, volume: VolumeId) -> How {
        self.shared.arms.get(volume).map_or(How::Sweep, |arm| arm.how())
    }

    /// Has directories that could not be looked at listed again, so many at a time: nothing tells when a disk's errors
    /// are over, or when somebody else has given the right to read.
    pub(crate) fn retry_blind(&mut self) -> Result<(), EngineError> {
        let reader = self.shared.index.read()?;
        if !reader.has_blind()? {
            return Ok(());
        }
        let mut blind = reader.blind()?;
        blind.retain(|(_, blind)| !is_out_of_sight(&blind.why));
        let next = blind.partition_point(|(id, _)| self.retried.is_some_and(|last| *id <= last));
        blind.rotate_left(next);
        blind.truncate(MOST_RETRIED);
        self.retried = blind.last().map(|(id, _)| *id).or(self.retried);
        for (id, _) in blind {
            self.todo.push_back(Todo::List(id, false, self.how(id.volume)));
        }
        Ok(())
    }

    /// Whether what the kernel says of a change is all that happened: nothing was lost, and nothing is being compared.
    fn trusts(&self) -> bool {
        self.shared.view().state == "live"
            && self.repairs.is_empty()
            && self.sweeps.orders().next().is_none()
            && self.shared.unsure.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn pace(&mut self) {
        let pace = if self.flooded && !self.settling { PACE_IN_FLOOD } else { PACE };
        let clock = &self.shared.ground.clock;
        clock.rest(pace.saturating_sub(clock.instant().saturating_duration_since(self.last_round)));
        self.last_round = clock.instant();
    }

    pub(crate) fn round(&mut self, batch: watch::Batch) -> Result<(), EngineError> {
        self.shared.vitals.round();
        let trusting = self.trusts();
        let own = self.todo.len().min(MOST_TODO);
        let work = batch
            .directories
            .into_iter()
            .map(Todo::Names)
            .chain(batch.inodes.into_iter().map(|(id, flags, how)| Todo::Inode(id, flags, how)))
            .chain(self.todo.drain(..own));
        let mut round =
            Round::new(&self.shared, &self.trees, &self.tops, &mut self.writing, &mut self.ghosts)?;
        if trusting {
            round.trust();
        }
        let mut unknown = Vec::new();
        let mut astray = Vec::new();
        for item in work {
            match round.work(&item)? {
                Fate::Done => {}
                Fate::Unknown => unknown.push(item),
                Fate::Astray => astray.push(item),
            }
        }
        round.settle()?;
        // Directories that this round made known were listed; their own hints say what a listing cannot.
        for item in unknown {
            round.work(&item)?;
        }
        for item in astray {
            if round.work(&item)? == Fate::Astray {
                self.astray.push(item);
            }
        }
        round.settle()?;
        let mut at = Instant::now();
        let mut holds = Holds::Keep;
        if round.has_nameless() {
            let _ = self.shared.arms.barrier(Instant::now() + BARRIER);
            at = Instant::now();
            if self.shared.pending.is_empty() && self.todo.is_empty() && self.astray.is_empty() {
                holds = Holds::End;
            }
        }
        round.flush(holds)?;
        let left = round.leave();
        self.take_over(left, at)?;
        if self.astray.len() + self.put_aside.len() + self.late.len() > MOST_ASTRAY
            || self.todo.len() > MOST_OWED
        {
            self.astray.clear();
            self.put_aside.clear();
            self.late.clear();
            self.late_since.clear();
            self.todo.clear();
            for (volume, _) in self.shared.arms.all() {
                self.owe_repair(volume, "the tree changed faster than it could be followed".to_owned());
            }
        }
        Ok(())
    }

    /// Ends the holds of which everything queued at their loss has been looked at.
    fn end_expired(&mut self) -> Result<(), EngineError> {
        if self.held.is_empty() || (!self.todo.is_empty() && self.held.len() <= MOST_HELD) {
            return Ok(());
        }
        let full = self.held.len() > MOST_HELD;
        let oldest = self.shared.pending.oldest();
        let mut expired: Vec<Held> = Vec::new();
        self.held.retain(|(held, at)| {
            let over = full || oldest.is_none_or(|oldest| oldest > *at);
            if over {
                expired.push(held.clone());
            }
            !over
        });
        if expired.is_empty() {
            return Ok(());
        }
        let how = self.how(expired[0].id.volume);
        let mut round =
            Round::new(&self.shared, &self.trees, &self.tops, &mut self.writing, &mut self.ghosts)?;
        round.end_holds(&expired, how)?;
        let left = round.leave();
        self.take_over(left, Instant::now())
    }

    /// Takes over what a round left; `at` is when everything queued at its losses had been read.
    pub(super) fn take_over(&mut self, mut left: Left, at: Instant) -> Result<(), EngineError> {
        self.mounts.take_over(&mut left);
        self.held.extend(left.held.into_iter().map(|held| (held, at)));
        self.todo.extend(left.todo);
        self.astray.extend(left.astray);
        self.unseen += left.unseen;
        for (volume, why) in left.troubled {
            self.check_presence(volume, &why)?;
        }
        Ok(())
    }

    /// Takes out looks at files that a writer is at and that have a young record.
    fn put_off_writes(&mut self, batch: &mut watch::Batch) -> Result<(), EngineError> {
        if self.settling || self.writing.is_empty() {
            return Ok(());
        }
        let reader = self.shared.index.read()?;
        let now = self.shared.ground.clock.instant();
        for hints in &mut batch.directories {
            let id = hints.id();
            let mut kept = Vec::with_capacity(hints.names.len());
            for (name, flags) in std::mem::take(&mut hints.names) {
                let file = match flags == Flags::WRITTEN {
                    true => reader.lookup(id, &name)?.map(|target| target.id),
                    false => None,
                };
                match file {
                    Some(file) if self.writing.is_paced(file, now) => {
                        self.writing.defer(file, hints, name, flags);
                    }
                    _ => kept.push((name, flags)),
                }
            }
            hints.names = kept;
        }
        batch.directories.retain(|hints| !hints.names.is_empty());
        let writing = &mut self.writing;
        batch.inodes.retain(|(id, flags, how)| {
            let paced = *flags == Flags::WRITTEN && writing.is_paced(*id, now);
            if paced {
                writing.defer_inode(*id, *flags, *how);
            }
            !paced
        });
        Ok(())
    }
}
