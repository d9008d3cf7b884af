//! What the callers of a reader and its thread tell each other: stop, barriers, health. Reads no event.

use rustix::event::EventfdFlags;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Whether a reader still reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Running,
    /// It was told to stop.
    Stopped,
    /// It ended by itself, for this reason. Its volumes were added to the pending hints as lost.
    Failed(String),
}

/// Why a barrier cannot vouch for anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// The events queued at the request were not all read by the deadline.
    #[error("the reader did not get through what was queued in time")]
    TimedOut,
    /// The reader was told to stop.
    #[error("the reader was stopped")]
    Stopped,
    /// The reader ended by itself.
    #[error("the reader ended: {0}")]
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Rung for each request, so that the thread need not poll for them.
    alarm: OwnedFd,
}

#[derive(Debug)]
struct State {
    health: Health,
    stop: bool,
    /// Number of the newest barrier asked for, and of the newest that was answered with all before it.
    asked: u64,
    answered: u64,
    /// Tests: whether to let the queue fill, and whether the thread has come to rest over it.
    hold: bool,
    held: bool,
}

impl Shared {
    pub(super) fn new(alarm: OwnedFd) -> Shared {
        let state =
            State { health: Health::Running, stop: false, asked: 0, answered: 0, hold: false, held: false };
        Shared { state: Mutex::new(state), changed: Condvar::new(), alarm }
    }

    pub(super) fn barrier(&self, deadline: Instant) -> Result<(), BarrierError> {
        let mut state = self.lock();
        state.asked += 1;
        let mine = state.asked;
        self.ring();
        loop {
            if state.answered >= mine {
                return Ok(());
            }
            match &state.health {
                Health::Running => {}
                Health::Stopped => return Err(BarrierError::Stopped),
                Health::Failed(why) => return Err(BarrierError::Failed(why.clone())),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(BarrierError::TimedOut);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn health(&self) -> Health {
        self.lock().health.clone()
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.ring();
    }

    pub(super) fn stopping(&self) -> bool {
        self.lock().stop
    }

    /// Whether anybody waits for the thread.
    pub(super) fn asked(&self) -> bool {
        let state = self.lock();
        state.stop || state.hold || state.asked > state.answered
    }

    /// The newest barrier that is not answered.
    pub(super) fn request(&self) -> Option<u64> {
        let state = self.lock();
        (state.asked > state.answered).then_some(state.asked)
    }

    /// All that was queued at barrier `request`, hence at those before it, is through.
    pub(super) fn answer(&self, request: u64) {
        self.lock().answered = request;
        self.changed.notify_all();
    }

    pub(super) fn ended(&self, health: Health) {
        self.lock().health = health;
        self.changed.notify_all();
    }

    pub(super) fn alarm(&self) -> &OwnedFd {
        &self.alarm
    }

    fn ring(&self) {
        // Full (EAGAIN) is rung too.
        let _ = rustix::io::write(&self.alarm, &1u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        let mut count = [0; 8];
        while rustix::io::read(self.alarm.as_fd(), &mut count) == Err(Errno::INTR) {}
    }

    /// Whether to let the queue fill; says so to whoever asked for it.
    pub(super) fn hold(&self) -> bool {
        let mut state = self.lock();
        if state.hold && !state.held {
            state.held = true;
            drop(state);
            self.changed.notify_all();
            return true;
        }
        state.hold
    }

    pub(super) fn held(&self) -> bool {
        self.lock().held
    }

    #[cfg(test)]
    pub(super) fn pause(&self) {
        let mut state = self.lock();
        state.hold = true;
        self.ring();
        while !state.held && state.health == Health::Running {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    #[cfg(test)]
    pub(super) fn resume(&self) {
        let mut state = self.lock();
        (state.hold, state.held) = (false, false);
        self.ring();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The flags an alarm is made with: reading or ringing it never blocks.
pub(super) const ALARM: EventfdFlags = EventfdFlags::CLOEXEC.union(EventfdFlags::NONBLOCK);
