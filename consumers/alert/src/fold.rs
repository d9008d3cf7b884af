//! What many records come to when they are told at once: counts, the first and the last, some paths. Of a bounded size.

use std::collections::BTreeMap;
use std::time::Duration;

use record::{Record, Seq, Time};

use crate::message::{Message, path_of};

/// Paths that a summary names.
const MOST_PATHS: usize = 10;

/// Records that are told by one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fold {
    /// How many.
    pub(crate) count: u64,
    /// How many by each word.
    pub(crate) words: BTreeMap<&'static str, u64>,
    /// The first few paths.
    pub(crate) paths: Vec<Box<[u8]>>,
    /// The records that these are of.
    pub(crate) seqs: Vec<Seq>,
    /// Records that nobody looked at, because the journal no longer has them.
    pub(crate) missed: u64,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    /// When the first of them was seen; `None` when all are missed.
    pub(crate) from: Option<Time>,
    pub(crate) to: Option<Time>,
    /// The only one: then it is told as itself.
    only: Option<Box<(Record, &'static str)>>,
}

impl Fold {
    fn empty(first: Seq) -> Fold {
        Fold {
            count: 0,
            words: BTreeMap::new(),
            paths: Vec::new(),
            seqs: Vec::new(),
            missed: 0,
            first,
            last: first,
            from: None,
            to: None,
            only: None,
        }
    }

    /// Of one record.
    pub(crate) fn of(record: &Record, word: &'static str) -> Fold {
        Fold {
            count: 1,
            words: BTreeMap::from([(word, 1)]),
            paths: vec![path_of(record).into()],
            seqs: vec![record.seq],
            from: Some(record.seen),
            to: Some(record.seen),
            only: Some(Box::new((record.clone(), word))),
            ..Fold::empty(record.seq)
        }
    }

    /// Of records from `first` to `last` that are no longer kept.
    pub(crate) fn of_missed(first: Seq, last: Seq) -> Fold {
        Fold { missed: last.0.saturating_sub(first.0) + 1, last, ..Fold::empty(first) }
    }

    /// Counts one more.
    pub(crate) fn count(&mut self, record: &Record, word: &'static str) {
        self.count += 1;
        *self.words.entry(word).or_default() += 1;
        if self.paths.len() < MOST_PATHS {
            self.paths.push(path_of(record).into());
            self.seqs.push(record.seq);
        }
        self.from.get_or_insert(record.seen);
        self.to = Some(record.seen);
        self.last = record.seq;
        self.only = None;
    }

    /// Counts all of a later one.
    pub(crate) fn merge(&mut self, later: Fold) {
        self.count += later.count;
        self.missed += later.missed;
        for (word, count) in later.words {
            *self.words.entry(word).or_default() += count;
        }
        let room = MOST_PATHS.saturating_sub(self.paths.len());
        self.paths.extend(later.paths.into_iter().take(room));
        self.seqs.extend(later.seqs.into_iter().take(room));
        self.from = self.from.or(later.from);
        self.to = later.to.or(self.to);
        self.last = self.last.max(later.last);
        self.only = None;
    }

    /// As what is sent: one record as itself, more of them as a summary.
    pub(crate) fn message(mut self) -> Message {
        match self.only.take() {
            Some(only) => {
                let (record, word) = *only;
                Message::Record(Box::new(record), word)
            }
            None => Message::Summary(Box::new(self)),
        }
    }

    /// For how long it went on.
    pub(crate) fn lasted(&self) -> Duration {
        let ns = self.to.zip(self.from).map_or(0, |(to, from)| (to.0 - from.0).max(0));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// A length of time in one unit, for people.
pub(crate) fn length(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{} s", time.as_secs()),
        120..7_200 => format!("{} min", time.as_secs() / 60),
        7_200..172_800 => format!("{} h", time.as_secs() / 3_600),
        _ => format!("{} d", time.as_secs() / 86_400),
    }
}
