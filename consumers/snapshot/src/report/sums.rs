//! Sums by a word, for a bounded number of words. Knows not what the words are.

use std::collections::HashMap;

use record::Kind;

use crate::read::Line;

/// Different words; rows of further ones are told together.
pub(super) const MOST: usize = 1 << 16;
/// Their word.
const OTHERS: &str = "(others)";

/// What adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) entries: u64,
    pub(crate) directories: u64,
    /// Of what is no directory.
    pub(crate) bytes: i64,
    pub(crate) allocated: i64,
    /// Of what is stale: files, bytes, bytes of disk.
    pub(super) stale: (u64, i64, i64),
    pub(super) oldest: Option<i64>,
    pub(super) uid: Option<u32>,
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Sum {
    pub(crate) fn of(line: &Line<'_>) -> Sum {
        let directory = line.kind == Kind::Directory;
        let bytes = |bytes: u64| if directory { 0 } else { signed(bytes) };
        Sum {
            entries: 1,
            directories: u64::from(directory),
            bytes: bytes(line.size),
            allocated: bytes(line.allocated.unwrap_or(0)),
            ..Sum::default()
        }
    }

    pub(super) fn count(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(signed(bytes));
    }

    pub(crate) fn add(&mut self, more: Sum) {
        self.entries += more.entries;
        self.directories += more.directories;
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.allocated = self.allocated.saturating_add(more.allocated);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sums(HashMap<String, Sum>);

impl Sums {
    pub(crate) fn get(&mut self, key: &str) -> &mut Sum {
        let key = if self.0.len() >= MOST && !self.0.contains_key(key) { OTHERS } else { key };
        self.0.entry(key.to_owned()).or_default()
    }

    pub(super) fn add(&mut self, key: &str, sum: Sum, line: &Line<'_>) {
        let at = self.get(key);
        at.add(sum);
        at.uid = at.uid.or(line.uid);
    }

    pub(super) fn add_stale(&mut self, key: &str, sum: Sum, time: i64) {
        let at = self.get(key);
        at.stale.0 += 1;
        at.stale.1 = at.stale.1.saturating_add(sum.bytes);
        at.stale.2 = at.stale.2.saturating_add(sum.allocated);
        at.oldest = Some(at.oldest.map_or(time, |oldest| oldest.min(time)));
    }

    /// Whether there were more words than are held.
    pub(super) fn is_cut(&self) -> bool {
        self.0.len() > MOST || self.0.contains_key(OTHERS)
    }

    pub(super) fn by_key(&self) -> Vec<(&str, &Sum)> {
        let mut all: Vec<_> = self.0.iter().map(|(key, sum)| (key.as_str(), sum)).collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    pub(super) fn largest_first(&self) -> Vec<(&str, &Sum)> {
        let mut all = self.by_key();
        all.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.bytes, sum.entries)));
        all
    }

    /// Those with anything stale.
    pub(super) fn stalest_first(&self) -> Vec<(&str, &Sum)> {
        let mut all = self.by_key();
        all.retain(|(_, sum)| sum.stale.0 > 0);
        all.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.stale.1, sum.stale.0)));
        all
    }

    pub(super) fn into_map(self) -> HashMap<String, Sum> {
        self.0
    }
}
