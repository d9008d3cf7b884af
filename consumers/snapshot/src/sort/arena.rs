//! Rows in memory, one behind the other as bytes, with where each begins. Knows no disk but for where it is emptied to.

use std::ops::Range;

use super::run::{Run, Scratch};
use crate::entry::Entry;
use crate::error::SnapshotError;
use crate::stream::{Rows, put_whole_row};

/// Rows in no order.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    rows: Vec<Slot>,
}

/// Where a row is.
#[derive(Clone, Debug)]
struct Slot {
    at: usize,
    /// The text of its path.
    text: Range<usize>,
}

impl Arena {
    /// Adds a row.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        let at = self.bytes.len();
        let text = put_whole_row(&mut self.bytes, entry);
        self.rows.push(Slot { at, text });
    }

    /// Takes all rows of another, and leaves it empty.
    pub(crate) fn append(&mut self, other: &mut Arena) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let moved = other
            .rows
            .iter()
            .map(|slot| Slot { at: slot.at + base, text: slot.text.start + base..slot.text.end + base });
        self.rows.extend(moved);
        other.clear();
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How much memory its rows take.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.rows.len() * size_of::<Slot>()
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
    }

    /// Sorts all rows and writes them as a run.
    pub(super) fn spill(&mut self, scratch: &mut Scratch) -> Result<Run, SnapshotError> {
        let Arena { bytes, rows } = self;
        rows.sort_unstable_by(|one, other| bytes[one.text.clone()].cmp(&bytes[other.text.clone()]));
        let run = scratch.write(|writer| {
            let mut text = Vec::new();
            for slot in rows.iter() {
                let mut row = Rows::after(text, &bytes[slot.at..]);
                if let Some(entry) = row.next_row()? {
                    writer.push(&entry)?;
                }
                (text, _) = row.into_last();
            }
            Ok(())
        })?;
        self.clear();
        Ok(run)
    }
}
