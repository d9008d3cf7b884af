//! Repairs of volumes of which hints were lost: owed at once, made when their time has come. What they sweep is
//! ordered elsewhere.

use std::time::{Duration, Instant};

use record::VolumeId;
use tracing::warn;

use super::core::{Core, Repair};
use super::error::EngineError;

/// A repair waits at least this long after the one before it.
const LEAST_BACK_OFF: Duration = Duration::from_millis(200);

/// Repairs of one volume wait twice as long each time, up to this, while they follow on each other.
const MOST_BACK_OFF: Duration = Duration::from_secs(60);

impl Core {
    /// Repairs a volume of which hints were lost: all of it is swept again, and the gap said after that.
    pub(crate) fn repair_now(&mut self, volume: VolumeId) -> Result<(), EngineError> {
        self.check_presence(volume, "hints were lost")?;
        let Some(Repair { why, from, .. }) = self.repairs.remove(&volume) else { return Ok(()) };
        self.shared.arms.forget_failed(volume);
        warn!(volume = volume.0, why, "hints were lost; sweeping what they may have been about");
        self.shared.vitals.owe(self.repairs.len());
        self.shared.set_view(|view| {
            view.repairs += 1;
            view.why_repair.clone_from(&why);
        });
        self.doubt_carried()?;
        self.order_repair(volume, from, &why)
    }

    /// A repair has ended; the next one of that volume waits, and longer each time that they follow on each other.
    pub(crate) fn repaired(&mut self, volume: VolumeId, took: Duration) {
        let now = Instant::now();
        let last = self.repaired.get(&volume).map(|(last, wait)| (now.duration_since(*last), *wait));
        let wait = back_off(last, took);
        self.repaired.insert(volume, (now, wait));
        if let Some(next) = self.repairs.get_mut(&volume) {
            next.due = now + wait;
        }
    }

    pub(crate) fn owe_repair(&mut self, volume: VolumeId, why: String) {
        let now = Instant::now();
        let due = match self.repaired.get(&volume) {
            Some((last, wait)) => (*last + *wait).max(now),
            None => now,
        };
        let from = self.drained;
        self.repairs.entry(volume).or_insert(Repair { why, due, from });
        self.shared.vitals.owe(self.repairs.len());
    }
}

/// How long the next repair of a volume waits: `last` is how long ago the one before ended, and its wait.
fn back_off(last: Option<(Duration, Duration)>, took: Duration) -> Duration {
    match last {
        Some((ago, wait)) if ago < wait * 4 + took => (wait * 2).min(MOST_BACK_OFF),
        _ => (took * 2).clamp(LEAST_BACK_OFF, MOST_BACK_OFF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_that_follow_on_each_other_wait_longer_each_time() {
        let took = Duration::from_millis(10);
        let mut wait = back_off(None, took);
        assert_eq!(wait, LEAST_BACK_OFF);
        let mut waits = Vec::new();
        for _ in 0..12 {
            wait = back_off(Some((wait + took, wait)), took);
            waits.push(wait);
        }
        assert!(waits.is_sorted(), "{waits:?}");
        assert_eq!(waits[0], LEAST_BACK_OFF * 2);
        assert_eq!(waits.last(), Some(&MOST_BACK_OFF));
        // A long peace, and it begins anew; a sweep that takes long waits twice as long at once.
        assert_eq!(back_off(Some((MOST_BACK_OFF * 5, MOST_BACK_OFF)), took), LEAST_BACK_OFF);
        assert_eq!(back_off(None, Duration::from_secs(3)), Duration::from_secs(6));
    }
}
