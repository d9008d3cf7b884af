//! What audits and detections came to in the last 24 hours, by the hour. Knows no directory and no clock but the hour it is
//! told.

/// Hours looked back on.
const HOURS: u64 = 24;

/// Parts of a doubling: latencies are told to a quarter of their size.
const PARTS: u32 = 4;

/// Doublings from a microsecond on; the last is about 19 hours.
const BUCKETS: usize = 36 * PARTS as usize;

/// One hour.
#[derive(Clone)]
struct Hour {
    /// Hours since the start of the daemon.
    number: u64,
    directories: u64,
    entries: u64,
    missed: u64,
    /// How many detections took about this long.
    latencies: [u32; BUCKETS],
}

/// The last day.
#[derive(Clone, Default)]
pub(crate) struct Window {
    hours: Vec<Hour>,
}

/// What the last day came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Day {
    /// Directories compared.
    pub(crate) directories: u64,
    /// Entries in them.
    pub(crate) entries: u64,
    /// Changes found that no event had told of.
    pub(crate) missed: u64,
    /// Changes found by events whose latency is known.
    pub(crate) detections: u64,
    /// Half of them took no longer, in microseconds.
    pub(crate) p50_us: Option<u64>,
    /// 99 of 100 took no longer.
    pub(crate) p99_us: Option<u64>,
}

impl Window {
    fn hour(&mut self, number: u64) -> &mut Hour {
        self.hours.retain(|hour| hour.number + HOURS > number && hour.number <= number);
        let at = match self.hours.iter().position(|hour| hour.number == number) {
            Some(at) => at,
            None => {
                self.hours.push(Hour {
                    number,
                    directories: 0,
                    entries: 0,
                    missed: 0,
                    latencies: [0; BUCKETS],
                });
                self.hours.len() - 1
            }
        };
        &mut self.hours[at]
    }

    /// A directory of so many entries was compared, and so many changes had been missed.
    pub(crate) fn audited(&mut self, hour: u64, entries: u64, missed: u64) {
        let hour = self.hour(hour);
        hour.directories += 1;
        hour.entries += entries;
        hour.missed += missed;
    }

    /// A change was in the journal so many microseconds after it was made.
    pub(crate) fn detected(&mut self, hour: u64, micros: u64) {
        let count = &mut self.hour(hour).latencies[bucket(micros)];
        *count = count.saturating_add(1);
    }

    /// The last day, seen from `hour`.
    pub(crate) fn day(&self, hour: u64) -> Day {
        let mut day = Day::default();
        let mut latencies = [0u64; BUCKETS];
        for hour in self.hours.iter().filter(|known| known.number + HOURS > hour) {
            day.directories += hour.directories;
            day.entries += hour.entries;
            day.missed += hour.missed;
            for (sum, count) in latencies.iter_mut().zip(hour.latencies) {
                *sum += u64::from(count);
            }
        }
        day.detections = latencies.iter().sum();
        day.p50_us = quantile(&latencies, day.detections, 50);
        day.p99_us = quantile(&latencies, day.detections, 99);
        day
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2();
    // The two bits after the first.
    let part = if doubling >= 2 { (micros >> (doubling - 2)) & 3 } else { (micros << (2 - doubling)) & 3 };
    let at = u64::from(doubling * PARTS) + part;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The end of a bucket, in microseconds.
fn end(bucket: usize) -> u64 {
    let (doubling, part) = (bucket as u64 / u64::from(PARTS), bucket as u64 % u64::from(PARTS));
    ((5 + part) << doubling).div_ceil(4)
}

fn quantile(counts: &[u64], all: u64, percent: u64) -> Option<u64> {
    let rank = (all * percent).div_ceil(100);
    let mut passed = 0;
    counts
        .iter()
        .position(|count| {
            passed += count;
            rank > 0 && passed >= rank
        })
        .map(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_quarter() {
        let mut window = Window::default();
        for micros in 1..=1_000 {
            window.detected(0, micros);
        }
        let day = window.day(0);
        assert_eq!(day.detections, 1_000);
        for (told, true_value) in [(day.p50_us, 500), (day.p99_us, 990)] {
            let told = told.unwrap();
            assert!(told >= true_value && told * 4 <= true_value * 5 + 4, "{told} for {true_value}");
        }
        assert_eq!(Window::default().day(0), Day::default());
        window.detected(0, u64::MAX);
        assert_eq!(window.day(0).detections, 1_001);
    }

    #[test]
    fn every_length_lies_within_its_bucket() {
        for micros in (1..5_000).chain([1 << 20, (1 << 20) + 7, 1 << 33]) {
            let at = bucket(micros);
            assert!(end(at) >= micros && (at == 0 || end(at - 1) <= micros), "{micros}: {at} {}", end(at));
        }
    }

    #[test]
    fn a_day_later_it_is_forgotten() {
        let mut window = Window::default();
        window.audited(0, 10, 1);
        window.audited(5, 20, 0);
        assert_eq!(window.day(5), Day { directories: 2, entries: 30, missed: 1, ..Day::default() });
        assert_eq!(window.day(24), Day { directories: 1, entries: 20, ..Day::default() });
        window.audited(30, 1, 0);
        assert_eq!(window.day(30), Day { directories: 1, entries: 1, ..Day::default() });
    }
}
