//! Rows one after the other: neighbours lie on one page, and are found without a look at those above it.

use record::{EntryId, Row};
use redb::{AccessGuard, Range, ReadOnlyTable};

use crate::error::IndexError;
use crate::reader::Reader;
use crate::row_code::row;
use crate::tables::{id, key};

/// Of two numbers that differ by no more, the second is looked for from the first on: so many rows lie between them at most.
const NEAR: u64 = 64;

/// Rows of a view, by number. Fast for numbers in ascending order; right for any.
pub struct Rows<'a> {
    table: &'a ReadOnlyTable<(u32, u64), &'static [u8]>,
    /// The row that was come to last, and those after it.
    at: Option<(EntryId, AccessGuard<'static, &'static [u8]>)>,
    rest: Option<Range<'static, (u32, u64), &'static [u8]>>,
}

impl Reader {
    /// To find many rows.
    #[must_use]
    pub fn rows(&self) -> Rows<'_> {
        Rows { table: &self.entries, at: None, rest: None }
    }
}

impl Rows<'_> {
    /// The row of an entry.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find(&mut self, wanted: EntryId) -> Result<Option<Row>, IndexError> {
        while self.at.as_ref().is_some_and(|(at, _)| is_near(*at, wanted)) {
            self.step()?;
        }
        if self.at.as_ref().is_none_or(|(at, _)| *at != wanted) {
            self.rest = Some(self.table.range(key(wanted)..)?);
            self.step()?;
        }
        match &self.at {
            Some((at, value)) if *at == wanted => row(wanted, value.value())
                .map(Some)
                .map_err(|error| IndexError::damaged(format!("row {wanted}"), error)),
            _ => Ok(None),
        }
    }

    fn step(&mut self) -> Result<(), IndexError> {
        self.at = match self.rest.as_mut().and_then(Iterator::next) {
            Some(item) => {
                let (key, value) = item?;
                Some((id(key.value()), value))
            }
            None => None,
        };
        Ok(())
    }
}

/// Whether `wanted` comes after `at`, and soon.
fn is_near(at: EntryId, wanted: EntryId) -> bool {
    at.volume == wanted.volume && at.inode < wanted.inode && wanted.inode - at.inode <= NEAR
}
