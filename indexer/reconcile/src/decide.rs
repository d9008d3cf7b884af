//! The decision table for one name: what is stored under it, and what a look found there.

use record::{EntryId, Row, Stat};

use crate::identity::same_entry;

/// What one look at one name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing stored, nothing there.
    Nothing,
    /// The same entry still has the name: take its new stat.
    Refresh,
    /// The name is new; the entry may be known under another.
    Gain,
    /// The name went; the entry may yet appear under another.
    Lose,
    /// The name went from one entry to another: an atomic save, an exchange, a move over a victim.
    Relink,
    /// The inode number was recycled: the old entry ended before this one began.
    Recycle,
}

/// Decides for one name. `stored` is the entry that has the name and its row; `seen` is what is there.
///
/// `row` is absent only when a names entry points at a missing row, which [`Decision::Recycle`] mends.
#[must_use]
pub fn decide(stored: Option<(EntryId, Option<&Row>)>, seen: Option<(EntryId, &Stat)>) -> Decision {
    match (stored, seen) {
        (None, None) => Decision::Nothing,
        (None, Some(_)) => Decision::Gain,
        (Some(_), None) => Decision::Lose,
        (Some((id, Some(row))), Some((here, stat))) if id == here && same_entry(row, stat) => {
            Decision::Refresh
        }
        (Some((id, _)), Some((here, _))) if id == here => Decision::Recycle,
        (Some(_), Some(_)) => Decision::Relink,
    }
}
