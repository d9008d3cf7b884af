//! How far a source is known: which seqs were seen, which roots a replay told of, what is missing. Knows no entries.

use std::collections::BTreeMap;

use consumer::stretches;
use serde::{Deserialize, Serialize};

/// An index that publishes: one epoch of its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Of which indexer.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// The epoch of its journal.
    pub epoch: String,
    /// Every record up to this was seen, or what it did was told by a replay.
    pub watermark: u64,
    /// Seqs that were seen behind a hole: first and last.
    pub runs: Vec<(u64, u64)>,
    /// What was gone before this is not remembered any more; a replay as of an older seq cannot be used.
    pub forgotten: u64,
    /// Another epoch of the same indexer came later; this one is kept until that one is complete.
    pub stale: bool,
    /// Entries held.
    pub entries: u64,
    /// Its roots by number.
    pub roots: BTreeMap<u32, Root>,
}

/// A root of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its path.
    pub path: String,
    /// All of it is known as of this seq, by a replay.
    pub whole: Option<u64>,
    /// A replay as of this seq or a later one is needed: the source said so.
    pub needs: u64,
    /// The replay that is on its way.
    pub replay: Option<Replay>,
}

/// A replay that began and has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The last record before it was read.
    pub as_of: u64,
    /// Entries that it told of and that came.
    pub came: u64,
    /// How many it says there are, at its end.
    pub of: Option<u64>,
}

impl Root {
    /// Whether nothing of it is missing up to the watermark.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole.is_some_and(|whole| whole >= self.needs)
    }
}

impl Source {
    /// Notes that a record was seen; false when it had been.
    pub(crate) fn saw(&mut self, seq: u64) -> bool {
        stretches::saw(&mut self.watermark, &mut self.runs, seq)
    }

    /// The last seq that was seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.runs.last().map_or(self.watermark, |(_, last)| *last)
    }

    /// Whether it is known as it was at the watermark, and nothing behind that was seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.runs.is_empty() && !self.roots.is_empty() && self.roots.values().all(Root::is_whole)
    }

    /// Moves the watermark to where replays of all roots say that nothing is missing.
    pub(crate) fn settle(&mut self) {
        let whole = self.roots.values().map(|root| root.whole.filter(|_| root.is_whole())).min().flatten();
        if let Some(whole) = whole.filter(|whole| *whole > self.watermark) {
            self.watermark = whole;
            stretches::join(&mut self.watermark, &mut self.runs);
        }
    }

    /// What is missing, and what to do about it; none when nothing is.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        if self.stale {
            return Some("its journal began anew: replay the new one, then this one is dropped".to_owned());
        }
        let not_whole: Vec<&str> =
            self.roots.values().filter(|root| !root.is_whole()).map(|root| root.path.as_str()).collect();
        if !not_whole.is_empty() {
            return Some(format!("{} not told of as a whole: replay", not_whole.join(", ")));
        }
        let (first, _) = self.runs.first()?;
        Some(format!("records {} to {} did not come: replay", self.watermark + 1, first - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(whole: u64) -> Root {
        Root { whole: Some(whole), ..Root::default() }
    }

    #[test]
    fn the_watermark_stands_before_a_hole_until_it_is_filled() {
        let mut source = Source::default();
        source.roots.insert(1, root(0));
        for seq in [1, 2, 5, 6, 9] {
            assert!(source.saw(seq), "{seq}");
        }
        assert!(!source.saw(2) && !source.saw(5));
        assert_eq!((source.watermark, source.runs.clone()), (2, vec![(5, 6), (9, 9)]));
        assert!(!source.is_complete());
        assert!(source.saw(3) && source.saw(4));
        assert_eq!((source.watermark, source.seen()), (6, 9));
        assert!(source.missing().unwrap().contains("records 7 to 8"), "{:?}", source.missing());
        assert!(source.saw(8) && source.saw(7));
        assert_eq!((source.watermark, source.is_complete()), (9, true));
    }

    #[test]
    fn a_hole_is_closed_by_replays_of_all_roots_as_of_its_end() {
        let mut source = Source::default();
        source.roots.insert(1, root(100));
        source.roots.insert(2, Root::default());
        source.saw(90);
        source.saw(101);
        source.settle();
        assert_eq!(source.watermark, 0, "root 2 was not told of");
        source.roots.insert(2, root(95));
        source.settle();
        assert_eq!((source.watermark, source.is_complete()), (95, false));
        source.roots.insert(2, root(100));
        source.settle();
        assert_eq!((source.watermark, source.is_complete()), (101, true));
        source.roots.get_mut(&1).unwrap().needs = 150;
        assert!(!source.is_complete());
    }

    #[test]
    fn holes_without_end_take_no_room() {
        let mut source = Source::default();
        for seq in (10..1_000).step_by(2) {
            source.saw(seq);
        }
        assert_eq!(source.runs.len(), stretches::MOST_STRETCHES);
        assert_eq!((source.watermark, source.seen()), (0, 998));
        source.saw(u64::MAX);
        source.saw(u64::MAX - 1);
        assert_eq!(source.seen(), u64::MAX);
    }
}
