//! Many runs as one. Knows nothing of where they are.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::run::{Reader, Run};
use crate::entry::Entry;
use crate::error::SnapshotError;

/// The rows of many runs, in order.
pub(crate) struct Merge {
    heads: BinaryHeap<Reverse<Head>>,
}

struct Head(Reader);

impl Merge {
    pub(crate) fn new(runs: Vec<Run>) -> Result<Merge, SnapshotError> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for run in runs {
            heads.extend(Reader::begin(run)?.map(|reader| Reverse(Head(reader))));
        }
        Ok(Merge { heads })
    }

    /// Calls `visit` with each row.
    pub(crate) fn each(
        mut self,
        visit: &mut dyn FnMut(&Entry<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        while let Some(mut head) = self.heads.peek_mut() {
            visit(&head.0.0.entry())?;
            if !head.0.0.advance()? {
                PeekMut::pop(head);
            }
        }
        Ok(())
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        self.0.text().cmp(other.0.text())
    }
}
