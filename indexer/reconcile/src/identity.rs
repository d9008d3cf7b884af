//! Whether two looks saw the same entry: inode numbers are reused at once, birth times tell.

use record::{Row, Stat, Time};

/// The coarsest clock tick with which a supported kernel stamps births, in nanoseconds: one jiffy at
/// `CONFIG_HZ=100`. Two inodes born within one tick may carry the same birth time.
pub const GRAIN_NS: i128 = 10_000_000;

/// Whether `seen`, found at the same inode number, is the entry that `row` describes. Without birth times
/// the kind alone can tell them apart.
#[must_use]
pub fn same_entry(row: &Row, seen: &Stat) -> bool {
    row.stat.kind == seen.kind && row.stat.created == seen.created
}

/// Whether equal births leave a doubt: the row was looked at within a tick of its birth, so a recycled
/// inode may carry the same one. A modification time that is equal too and lies a tick after the birth
/// ends the doubt, since a new inode would have to repeat it to the nanosecond.
pub(crate) fn doubtful(row: &Row, seen: &Stat) -> bool {
    let Some(birth) = row.stat.created else { return true };
    let young = birth >= row.looked_at.minus_ns(GRAIN_NS);
    let same_later_write = row.stat.modified == seen.modified && seen.modified >= Time(birth.0 + GRAIN_NS);
    young && !same_later_write
}
