//! What is remembered of an index that publishes: which of its records were seen, and the numbers that its roots have here. Knows no
//! table.

use std::collections::BTreeMap;

use consumer::stretches;
use record::RootId;
use record::wire::message::Message;
use serde::{Deserialize, Serialize};

/// Roots of one index. A root's number here is that of its index times this, and which of them it is.
pub(crate) const MOST_ROOTS: u32 = 4_096;
/// Numbers that indexes may be given, ever.
pub(crate) const MOST_NUMBERS: u32 = u32::MAX / MOST_ROOTS;

/// One epoch of an index's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Of which indexer.
    pub(crate) name: String,
    /// The host it runs on.
    pub(crate) host: String,
    /// The epoch.
    pub(crate) epoch: String,
    /// Every record up to this was seen.
    pub(crate) watermark: u64,
    /// Seqs that were seen behind a hole: first and last.
    pub(crate) runs: Vec<(u64, u64)>,
    /// Our seq of the last record that it brought.
    pub(crate) last: u64,
    /// Its roots, by the number they have there.
    pub(crate) roots: BTreeMap<u32, Root>,
}

/// A root of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Root {
    /// Which of its index's roots it is here, counted from 0.
    pub(crate) nth: u32,
    /// Its path.
    pub(crate) path: String,
    /// The last seq that its relay said is lost with all before.
    pub(crate) lost: u64,
}

impl Source {
    pub(crate) fn of(message: &Message) -> Source {
        let source = &message.source;
        let (name, host, epoch) = (source.name.clone(), source.host.clone(), source.epoch.clone());
        Source { name, host, epoch, ..Source::default() }
    }

    pub(crate) fn is_of(&self, message: &Message) -> bool {
        self.epoch == message.source.epoch && self.name == message.source.name
    }

    /// Notes that a message came, under the identity `id`. `None` when it had come before; else which root it is of, or that there is
    /// no room for one more.
    pub(crate) fn saw(&mut self, message: &Message, id: &str) -> Option<Result<u32, String>> {
        let source = &message.source;
        let nth = u32::try_from(self.roots.len()).unwrap_or(u32::MAX);
        if nth >= MOST_ROOTS && !self.roots.contains_key(&source.root_id) {
            return Some(Err(format!("one root too many: {MOST_ROOTS} are kept")));
        }
        let root = self.roots.entry(source.root_id).or_insert_with(|| Root { nth, ..Root::default() });
        if root.path != source.root {
            root.path.clone_from(&source.root);
        }
        // What a relay says of lost records has the seq of the last of them, once for each root.
        let new = if message.tells_of_lost(id) {
            let later = source.seq > root.lost;
            root.lost = root.lost.max(source.seq);
            later
        } else {
            stretches::saw(&mut self.watermark, &mut self.runs, source.seq)
        };
        new.then_some(Ok(root.nth))
    }

    /// The path of one of its roots.
    pub(crate) fn path(&self, nth: u32) -> Option<&str> {
        self.roots.values().find(|root| root.nth == nth).map(|root| root.path.as_str())
    }
}

/// The number here of a root.
pub(crate) fn root_of(source: u32, nth: u32) -> RootId {
    RootId(source.saturating_mul(MOST_ROOTS).saturating_add(nth))
}

/// Of which index it is, and which of its roots.
pub(crate) fn parts_of(root: RootId) -> (u32, u32) {
    (root.0 / MOST_ROOTS, root.0 % MOST_ROOTS)
}
