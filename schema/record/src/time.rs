//! Points in time as file systems store them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970-01-01T00:00:00Z, negative before it. 128 bits, since ext4 reaches to 2446 and
/// btrfs stores 64-bit seconds, both beyond what 64-bit nanoseconds hold (1677 to 2262).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i128);

impl Time {
    /// From the pair that `statx` gives.
    #[must_use]
    pub fn from_parts(seconds: i64, nanoseconds: u32) -> Time {
        Time(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
    }

    /// The wall clock now.
    #[must_use]
    pub fn now() -> Time {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Time(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)),
            Err(before) => Time(-i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX)),
        }
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        i64::try_from(self.0.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }

    /// The part below a second, in nanoseconds.
    #[must_use]
    pub fn subsec_nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(1_000_000_000)).unwrap_or(0)
    }

    /// This time less `ns` nanoseconds.
    #[must_use]
    pub fn minus_ns(self, ns: i128) -> Time {
        Time(self.0.saturating_sub(ns))
    }
}
