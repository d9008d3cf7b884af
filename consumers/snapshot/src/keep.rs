//! Which days of snapshots are kept. Knows days alone.

use std::collections::BTreeSet;

use jiff::civil::Date;

/// How many are kept; what no count keeps goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Of so many days that have one.
    pub daily: usize,
    /// The last of each of so many weeks (from Monday) that have one.
    pub weekly: usize,
    /// The last of each of so many months that have one.
    pub monthly: usize,
}

impl Keep {
    /// Of days in any order, those that are kept. The last always is.
    #[must_use]
    pub fn of(&self, days: &BTreeSet<Date>) -> BTreeSet<Date> {
        let mut kept: BTreeSet<Date> = days.iter().next_back().copied().into_iter().collect();
        let week = |day: Date| {
            let week = day.iso_week_date();
            (week.year(), week.week())
        };
        kept.extend(days.iter().rev().take(self.daily));
        kept.extend(last_of(days, self.weekly, week));
        kept.extend(last_of(days, self.monthly, |day| (day.year(), day.month())));
        kept
    }
}

/// The last day of each of the last `most` spans.
fn last_of<T: PartialEq>(days: &BTreeSet<Date>, most: usize, span: impl Fn(Date) -> T) -> Vec<Date> {
    let mut last: Option<T> = None;
    let mut kept = Vec::new();
    for day in days.iter().rev() {
        let now = span(*day);
        if last.as_ref() != Some(&now) {
            last = Some(now);
            kept.push(*day);
        }
    }
    kept.truncate(most);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn kept(keep: Keep, days: &[&str]) -> Vec<String> {
        keep.of(&days.iter().map(|text| day(text)).collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn days_weeks_and_months() {
        // 2026-11-22 is a Sunday: with Monday the 16th it is one week.
        let days = [
            "2026-09-30",
            "2026-10-01",
            "2026-10-31",
            "2026-11-15",
            "2026-11-16",
            "2026-11-21",
            "2026-11-22",
        ];
        let keep = |daily, weekly, monthly| kept(Keep { daily, weekly, monthly }, &days);
        assert_eq!(keep(0, 0, 0), ["2026-11-22"], "the last always is");
        assert_eq!(keep(3, 0, 0), ["2026-11-16", "2026-11-21", "2026-11-22"]);
        assert_eq!(keep(0, 2, 0), ["2026-11-15", "2026-11-22"]);
        assert_eq!(keep(0, 0, 3), ["2026-09-30", "2026-10-31", "2026-11-22"]);
        assert_eq!(keep(2, 0, 2), ["2026-10-31", "2026-11-21", "2026-11-22"]);
        assert_eq!(keep(9, 9, 9).len(), days.len());
    }

    #[test]
    fn the_week_of_new_year_is_one() {
        assert_eq!(
            kept(Keep { weekly: 2, ..Keep::default() }, &["2026-12-27", "2026-12-30", "2027-01-02"]),
            ["2026-12-27", "2027-01-02"]
        );
    }

    proptest! {
        /// Pruned day by day or all at once, the same days are left: nothing goes that a later rule would have kept.
        #[test]
        fn pruning_each_day_keeps_what_pruning_once_keeps(
            gaps in prop::collection::vec(1_i64..40, 1..60),
            (daily, weekly, monthly) in (0_usize..8, 0_usize..8, 0_usize..8),
        ) {
            let keep = Keep { daily, weekly, monthly };
            let (mut now, mut all, mut left) = (day("2025-01-01"), BTreeSet::new(), BTreeSet::new());
            for gap in gaps {
                now = now.checked_add(jiff::Span::new().days(gap)).unwrap();
                all.insert(now);
                left.insert(now);
                left = keep.of(&left);
                prop_assert_eq!(&left, &keep.of(&all));
            }
        }
    }
}
