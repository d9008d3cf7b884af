//! Rows against looks, many at a time: which of them differ. Decodes no more than tells, and decides nothing.

use record::{EntryId, Stat};
use redb::ReadableTable;

use crate::error::IndexError;
use crate::reader::Reader;
use crate::row_code::is_row_of;
use crate::tables::{id, key};

/// Rows between two that are asked for that cost less to step over than to search anew.
const MOST_BETWEEN: u64 = 24;

/// What was seen under one name of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// What the name stands for.
    pub id: EntryId,
    /// The name.
    pub name: &'a [u8],
    /// Its fields.
    pub stat: &'a Stat,
}

impl Reader {
    /// Looks up what was seen in `dir`, and calls `other` with each sighting that is not exactly as stored: a row with
    /// these fields (but the access time) whose first name is this one, and whose last record was complete. Others
    /// may be as stored all the same, by a second name. Answers how many were as stored.
    ///
    /// Sorts `seen` by number: rows that lie together are read by one search.
    ///
    /// # Errors
    /// When the file cannot be read, or a row is damaged.
    pub fn each_other<'a>(
        &self,
        dir: EntryId,
        seen: &mut [Sighting<'a>],
        mut other: impl FnMut(&Sighting<'a>),
    ) -> Result<u64, IndexError> {
        seen.sort_unstable_by_key(|one| one.id);
        let mut equal = 0;
        let mut rest = &*seen;
        while let Some(first) = rest.first() {
            let near = |pair: &[Sighting<'a>]| {
                pair[0].id.volume == pair[1].id.volume
                    && pair[1].id.inode.saturating_sub(pair[0].id.inode) <= MOST_BETWEEN
            };
            let length = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (run, after) = rest.split_at(length);
            rest = after;
            let mut check = |one: &Sighting<'a>, bytes: Option<&[u8]>| -> Result<(), IndexError> {
                let same = match bytes {
                    Some(bytes) => is_row_of(one.id, bytes, one.stat, dir, one.name)
                        .map_err(|error| IndexError::damaged(format!("row {}", one.id), error))?,
                    None => false,
                };
                if same {
                    equal += 1;
                } else {
                    other(one);
                }
                Ok(())
            };
            if length == 1 {
                let row = self.entries.get(key(first.id))?;
                check(first, row.as_ref().map(|row| row.value()))?;
                continue;
            }
            let mut at = run.iter().peekable();
            for item in self.entries.range(key(first.id)..=key(run[length - 1].id))? {
                let (stored, row) = item?;
                let stored = id(stored.value());
                while let Some(one) = at.next_if(|one| one.id < stored) {
                    check(one, None)?;
                }
                while let Some(one) = at.next_if(|one| one.id == stored) {
                    check(one, Some(row.value()))?;
                }
            }
            for one in at {
                check(one, None)?;
            }
        }
        Ok(equal)
    }

    /// How many names there are in `dir`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_children(&self, dir: EntryId) -> Result<u64, IndexError> {
        let mut count = 0;
        for item in self.name_range(dir, None)? {
            item?;
            count += 1;
        }
        Ok(count)
    }

    /// Whether any directory cannot be vouched for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has_blind(&self) -> Result<bool, IndexError> {
        Ok(self.coverage.first()?.is_some())
    }
}
