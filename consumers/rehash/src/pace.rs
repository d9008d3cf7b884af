//! So many bytes a second, for all threads together. Knows no clock and does not sleep: callers bring `now`, and wait.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const SECOND_NS: u128 = 1_000_000_000;

/// How long what is not used may be saved, in nanoseconds: after a rest a tenth of a second's bytes go at once.
const SAVED_NS: u128 = SECOND_NS / 10;

/// A bucket that fills at a rate, and may be overdrawn: who overdraws it waits, and so do those who come after.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: Option<u64>,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    first: Instant,
    /// When all that was taken is paid for, in nanoseconds after `first`.
    paid_at: u128,
}

impl Pace {
    /// A rate in bytes a second, at least 1; `None` for no bound.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Pace {
        Pace { bytes_per_second: bytes_per_second.map(|rate| rate.max(1)), state: Mutex::new(None) }
    }

    /// Takes `bytes` at `now`, and says how long to wait before they are read. None of them come back when they are not. A clock
    /// that goes back costs a longer wait.
    pub fn take(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = state.get_or_insert(State { first: now, paid_at: 0 });
        let now = now.saturating_duration_since(state.first).as_nanos();
        let cost = u128::from(bytes) * SECOND_NS / u128::from(rate);
        state.paid_at = state.paid_at.max(now).saturating_add(cost);
        let wait = state.paid_at.saturating_sub(now + SAVED_NS);
        let seconds = u64::try_from(wait / SECOND_NS).unwrap_or(u64::MAX);
        Duration::new(seconds, u32::try_from(wait % SECOND_NS).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `bytes` again and again for `seconds` of a clock that moves by the waits alone; how many went.
    fn run(pace: &Pace, bytes: u64, seconds: u64) -> u64 {
        let (first, mut now, mut gone) = (Instant::now(), Instant::now(), 0);
        loop {
            now += pace.take(bytes, now);
            if now > first + Duration::from_secs(seconds) {
                return gone;
            }
            gone += bytes;
        }
    }

    #[test]
    fn over_a_minute_it_is_the_rate() {
        for (rate, bytes) in [(1 << 20, 4_096), (1 << 20, 1 << 20), (10 << 20, 1_000_000), (1_000, 999)] {
            let gone = run(&Pace::new(Some(rate)), bytes, 60);
            assert!(gone <= rate * 60 + rate / 10 + bytes, "{gone} of {rate}");
            assert!(gone + bytes >= rate * 60, "{gone} of {rate}");
        }
    }

    #[test]
    fn a_long_rest_saves_a_tenth_of_a_second() {
        let (pace, now) = (Pace::new(Some(1_000)), Instant::now());
        assert_eq!(pace.take(100, now), Duration::ZERO);
        assert_eq!(pace.take(100, now), Duration::from_millis(100));
        let later = now + Duration::from_secs(3_600);
        assert_eq!(pace.take(100, later), Duration::ZERO);
        assert_eq!(pace.take(1, later), Duration::from_millis(1));
    }

    #[test]
    fn who_comes_after_a_large_read_waits_for_it() {
        let (pace, now) = (Pace::new(Some(1_000)), Instant::now());
        assert_eq!(pace.take(10_100, now), Duration::from_secs(10));
        assert_eq!(pace.take(0, now), Duration::from_secs(10));
        assert_eq!(pace.take(1_000, now + Duration::from_secs(10)), Duration::from_secs(1));
    }

    #[test]
    fn threads_share_it() {
        let (pace, now) = (Pace::new(Some(1 << 20)), Instant::now());
        let longest = std::thread::scope(|scope| {
            let take = || (0..16).map(|_| pace.take(1 << 20, now)).max();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("it ends")).max()
        });
        assert_eq!(longest, Some(Duration::from_millis(63_900)));
    }

    #[test]
    fn without_a_rate_nobody_waits_and_no_number_is_too_large() {
        let now = Instant::now();
        assert_eq!(Pace::new(None).take(u64::MAX, now), Duration::ZERO);
        let pace = Pace::new(Some(0));
        assert!(pace.take(u64::MAX, now) > Duration::from_secs(1 << 40));
        for _ in 0..100 {
            pace.take(u64::MAX, now);
        }
    }
}
