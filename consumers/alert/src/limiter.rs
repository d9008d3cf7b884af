//! So many in any period of a length. Knows no clock: callers bring `now`, any time that does not go back.

use std::collections::VecDeque;
use std::time::Duration;

use crate::rule::Rate;

/// Counts what went out lately; as many times are kept as may go out in a period.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    gone: VecDeque<Duration>,
}

impl Limiter {
    /// One under which nothing has gone out yet.
    pub(crate) fn new(rate: Rate) -> Limiter {
        Limiter { rate, gone: VecDeque::new() }
    }

    /// Whether one more may go out now; if so it is counted.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        if self.free_at().is_some_and(|free| free > now) {
            return false;
        }
        if self.gone.len() >= self.rate.most {
            self.gone.pop_front();
        }
        self.gone.push_back(now);
        true
    }

    /// From when on one more may go out; `None` for at once.
    pub(crate) fn free_at(&self) -> Option<Duration> {
        let oldest = self.gone.front().filter(|_| self.gone.len() >= self.rate.most)?;
        Some(oldest.saturating_add(self.rate.per))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_period_has_at_most_so_many() {
        let mut limiter = Limiter::new(Rate { most: 3, per: Duration::from_secs(10) });
        let taken: Vec<u64> =
            (0..40u64).filter(|second| limiter.take(Duration::from_secs(*second))).collect();
        assert_eq!(taken, [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]);
        assert_eq!(limiter.free_at(), Some(Duration::from_secs(40)));
    }

    #[test]
    fn after_a_rest_all_of_it_is_free_again() {
        let mut limiter = Limiter::new(Rate { most: 2, per: Duration::from_secs(60) });
        assert_eq!(limiter.free_at(), None);
        let at = Duration::from_secs;
        assert!(limiter.take(at(5)) && limiter.take(at(6)) && !limiter.take(at(64)));
        assert!(limiter.take(at(1_000)) && limiter.take(at(1_000)) && !limiter.take(at(1_000)));
    }
}
