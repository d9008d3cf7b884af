//! Counts of what the index has done since it was opened. Plain numbers for whoever shows them; nothing here decides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record::{Body, Op, Record};

/// Upper bounds of the buckets of [`Counted::by_length`], in milliseconds; what takes longer is in the last one.
pub const COMMIT_BUCKETS_MS: [u64; 9] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// Words of records, in the order of [`Counted::records`].
pub const RECORD_WORDS: [&str; 14] = [
    "created",
    "modified",
    "attrib",
    "renamed",
    "linked",
    "unlinked",
    "deleted",
    "hashed",
    "corrupt",
    "seeded",
    "gap",
    "root_lost",
    "root_found",
    "duplicate",
];

/// Bumped by the one writer, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    steps: AtomicU64,
    commits: AtomicU64,
    commit_us: AtomicU64,
    by_length: [AtomicU64; COMMIT_BUCKETS_MS.len() + 1],
    records: [AtomicU64; RECORD_WORDS.len()],
}

/// What the index has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Grows with every piece of work, also within a long transaction: when it stands still, so does the writer.
    pub steps: u64,
    /// Durable transactions.
    pub commits: u64,
    /// How long they took together, in microseconds.
    pub commit_us: u64,
    /// How many took how long, by [`COMMIT_BUCKETS_MS`].
    pub by_length: [u64; COMMIT_BUCKETS_MS.len() + 1],
    /// Records written, by [`RECORD_WORDS`].
    pub records: [u64; RECORD_WORDS.len()],
}

impl Meter {
    /// A piece of work within a transaction is done.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A transaction that took `took` and wrote `records` is durable.
    pub(crate) fn committed(&self, took: Duration, records: &[Record]) {
        self.step();
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let bucket = COMMIT_BUCKETS_MS.iter().position(|most| took <= Duration::from_millis(*most));
        self.by_length[bucket.unwrap_or(COMMIT_BUCKETS_MS.len())].fetch_add(1, Ordering::Relaxed);
        for record in records {
            self.records[place(&record.body)].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Counted {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            steps: get(&self.steps),
            commits: get(&self.commits),
            commit_us: get(&self.commit_us),
            by_length: self.by_length.each_ref().map(get),
            records: self.records.each_ref().map(get),
        }
    }
}

fn place(body: &Body) -> usize {
    match body {
        // Ops are numbered from 0, in the order of their words above.
        Body::Change(change) => change.op as usize,
        Body::Seeded(_) => Op::ALL.len(),
        Body::Gap(_) => Op::ALL.len() + 1,
        Body::RootLost { .. } => Op::ALL.len() + 2,
        Body::RootFound { .. } => Op::ALL.len() + 3,
        Body::Duplicates(_) => Op::ALL.len() + 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::{Gap, How, RootId, Seeded, Seq, Time};

    fn record(body: Body) -> Record {
        Record { seq: Seq(1), seen: Time(0), how: How::Sweep, root: RootId(1), body }
    }

    #[test]
    fn every_record_counts_under_its_own_word_and_every_commit_in_one_bucket() {
        let meter = Meter::default();
        let gap = Gap { from: Time(0), to: Time(1), scope: b"/"[..].into(), why: String::new() };
        let bodies = [
            Body::Seeded(Seeded { path: b"/"[..].into(), entries: 1 }),
            Body::Gap(gap),
            Body::RootLost { path: b"/"[..].into(), why: String::new() },
            Body::RootFound { path: b"/"[..].into() },
        ];
        meter.committed(Duration::from_millis(3), &bodies.map(record));
        meter.committed(Duration::from_secs(60), &[]);
        let counted = meter.read();
        let told: Vec<&str> = (0..RECORD_WORDS.len())
            .filter(|at| counted.records[*at] == 1)
            .map(|at| RECORD_WORDS[at])
            .collect();
        assert_eq!(told, ["seeded", "gap", "root_lost", "root_found"]);
        assert_eq!((counted.commits, counted.commit_us), (2, 60_003_000));
        assert_eq!(counted.by_length, [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(counted.steps, 2);
    }
}
