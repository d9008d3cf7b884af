//! The bounded, coalescing set between the readers of kernel queues and whoever looks. Knows no kernel and no
//! index; forgets nothing: when full, it remembers more coarsely.

mod names;
mod state;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;
mod told;

use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::{Batch, Hint};
use record::EntryId;
use state::State;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How many names, inodes, listings and subtrees a set holds by default: at the usual length of names 20 MB when
/// they lie in few directories, 80 MB when each lies in one of its own.
pub const DEFAULT_CAPACITY: usize = 262_144;

/// Hints that nobody has looked at yet.
///
/// Bound: names + inodes + listings + subtrees never exceed the capacity. When it is full, the directory of the
/// next name becomes a listing and its names go; when the next hint is of no known directory, every directory
/// with several names becomes a listing; when that leaves less than an eighth free, the volume with the most
/// hints becomes lost as a whole, and so on until there is room.
///
/// What covers swallows: a lost volume all its hints, a subtree or listing the names of its directory, those
/// that come later too. Their [`Flags`](crate::Flags) go with them, so who lists a directory must not conclude
/// anything from a flag's absence (a close that was seen, a rename that was witnessed).
///
/// Any number of threads may add; one takes and waits.
#[derive(Debug)]
pub struct Pending {
    state: Mutex<State>,
    changed: Condvar,
    /// Less than half full again, after somebody waited for that.
    room: Condvar,
}

/// Why [`Pending::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There is something to take.
    Hints,
    /// Somebody called [`Pending::wake`]; there may be something to take too.
    Called,
    /// Neither, for as long as the time-out said.
    TimedOut,
}

/// Counts since the set was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Hints added.
    pub received: u64,
    /// Of these, how many told nothing new while pending.
    pub coalesced: u64,
    /// How often something had to be remembered more coarsely for want of room.
    pub overflows: u64,
}

impl Pending {
    /// An empty set that holds at most `capacity` (at least 1) names, inodes, listings and subtrees together.
    #[must_use]
    pub fn new(capacity: usize) -> Pending {
        Pending {
            state: Mutex::new(State::new(capacity.max(1))),
            changed: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// Adds one hint.
    pub fn add(&self, hint: Hint) {
        self.add_all(std::iter::once(hint));
    }

    /// Adds many under one lock: what one read of a kernel queue gave. `hints` should be ready-made, since
    /// the taker waits meanwhile.
    pub fn add_all(&self, hints: impl IntoIterator<Item = Hint>) {
        let now = Instant::now();
        let mut state = self.lock();
        for hint in hints {
            state.add(hint, now);
        }
        let some = !state.is_empty();
        drop(state);
        if some {
            self.changed.notify_all();
        }
    }

    /// Puts back what could not be looked at yet. It coalesces like new hints, queues behind what is there, and
    /// is not counted as received.
    pub fn put_back(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let now = Instant::now();
        self.lock().put_back(batch, now);
        self.changed.notify_all();
    }

    /// Takes the oldest hints: whole directories in the order in which their first hint came, until at least
    /// `max` names and others are out, or nothing is left. All lost volumes come at once.
    #[must_use]
    pub fn take(&self, max: usize) -> Batch {
        let mut state = self.lock();
        let batch = state.take(max);
        if state.crowded && state.has_room() {
            state.crowded = false;
            drop(state);
            self.room.notify_all();
        }
        batch
    }

    /// Waits while the set is more than half full, for as long as `timeout`; whether there is room then. For those
    /// who can wait: readers of kernel queues must not.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let until = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        loop {
            if state.has_room() {
                return true;
            }
            let left = until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state.crowded = true;
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether some hint is about this entry: itself, a name in it, or what is in it.
    #[must_use]
    pub fn mentions(&self, id: EntryId) -> bool {
        self.lock().mentions(id)
    }

    /// Waits until there is something to take, somebody calls [`Pending::wake`], or `timeout` is over.
    pub fn wait(&self, timeout: Option<Duration>) -> Woken {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            if state.called {
                state.called = false;
                return Woken::Called;
            }
            if !state.is_empty() {
                return Woken::Hints;
            }
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Woken::TimedOut;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Makes the next or present [`Pending::wait`] return. Calls do not add up.
    pub fn wake(&self) {
        self.lock().called = true;
        self.changed.notify_all();
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Names, inodes, listings, subtrees and lost volumes that are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// When the oldest hint came that is still pending.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.lock().oldest()
    }

    /// Counts since the set was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Nothing panics under the lock but an allocation, and what is there then is still a set of hints.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Pending {
    fn default() -> Pending {
        Pending::new(DEFAULT_CAPACITY)
    }
}
