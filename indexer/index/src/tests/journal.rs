//! Where readers of the journal begin, and what they are told when it begins later.

use std::time::Duration;

use proptest::prelude::*;
use record::{Body, How, Record, RootId, Seq, Time};

use crate::{Edits, Index, IndexError, Message, Retention, Settings, Since};

fn commit(index: &Index, times: &[i64]) -> Vec<Record> {
    let message = |at: &i64| Message {
        seen: Time(i128::from(*at)),
        how: How::Sweep,
        root: RootId(1),
        body: Body::RootFound { path: (*b"/root1").into() },
    };
    index.commit(Edits { messages: times.iter().map(message).collect(), ..Edits::default() }).unwrap()
}

fn made() -> (tempfile::TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), Settings::default()).unwrap();
    (folder, index)
}

fn after(index: &Index, seq: u64) -> Result<Vec<u64>, IndexError> {
    let mut seqs = Vec::new();
    let last = index.read()?.each_record::<IndexError>(Seq(seq), |record| {
        seqs.push(record.seq.0);
        Ok(true)
    })?;
    assert_eq!(last.0, seqs.last().copied().unwrap_or(seq), "the last seq passed");
    Ok(seqs)
}

const FOREVER: Duration = Duration::from_secs(u64::MAX / 4);

#[test]
fn a_large_commit_is_cut_into_blocks_and_read_as_one() {
    let (_folder, index) = made();
    commit(&index, &[1; 3]);
    commit(&index, &[2; 1000]);
    assert_eq!(after(&index, 0).unwrap(), (1..=1003).collect::<Vec<_>>());
    assert_eq!(after(&index, 600).unwrap(), (601..=1003).collect::<Vec<_>>());
    assert_eq!(after(&index, 1003).unwrap(), [0u64; 0]);
    let mut seen = 0;
    let stop = |_| {
        seen += 1;
        Ok::<_, IndexError>(seen < 5)
    };
    assert_eq!(index.read().unwrap().each_record(Seq(300), stop).unwrap(), Seq(305), "it stops when told");
}

#[test]
fn what_is_no_longer_kept_is_said() {
    let (_folder, index) = made();
    for at in 0..10 {
        commit(&index, &[at * 1000; 100]);
    }
    let bytes = index.read().unwrap().journal_bytes().unwrap();
    let keep = Retention { age: FOREVER, bytes: bytes / 2 };
    while index.trim(keep, Time(10_000)).unwrap() > 0 {}
    let reader = index.read().unwrap();
    assert!(reader.journal_bytes().unwrap() <= bytes / 2);
    let oldest = reader.oldest().unwrap();
    assert_eq!(oldest.0 % 100, 1, "whole blocks went");
    assert!(oldest.0 > 1 && oldest.0 <= 1000);
    assert!(after(&index, oldest.0 - 1).is_ok(), "what is kept can be read");
    for since in [Since::Seq(Seq(oldest.0 - 2)), Since::Seq(Seq(0)), Since::Time(Time(0))] {
        let error = reader.position(since).unwrap_err();
        assert!(matches!(error, IndexError::FreshStartRequired { oldest: told } if told == oldest));
        assert!(error.to_string().starts_with("fresh_start_required"), "scripts look for this word");
    }
    assert!(matches!(after(&index, 0), Err(IndexError::FreshStartRequired { .. })));
}

#[test]
fn records_go_by_age_and_numbers_go_on() {
    let (_folder, index) = made();
    commit(&index, &[1_000; 5]);
    commit(&index, &[5_000; 5]);
    let keep = Retention { age: Duration::from_nanos(3_000), bytes: u64::MAX };
    assert_eq!(index.trim(keep, Time(4_000)).unwrap(), 0, "none is older than that");
    assert_eq!(index.trim(keep, Time(6_000)).unwrap(), 1);
    assert_eq!(index.read().unwrap().oldest().unwrap(), Seq(6));
    assert_eq!(index.trim(keep, Time(60_000)).unwrap(), 1);
    let reader = index.read().unwrap();
    assert_eq!((reader.oldest().unwrap(), reader.journal_bytes().unwrap()), (Seq(11), 0));
    assert_eq!(reader.position(Since::Seq(Seq(10))).unwrap(), Seq(10), "nothing is missing after the last");
    assert_eq!(commit(&index, &[70_000])[0].seq, Seq(11), "seqs are never used again");
}

#[test]
fn numbers_beyond_all_records_are_no_error() {
    let (_folder, index) = made();
    commit(&index, &[1; 3]);
    for seq in [3, 4, 1000, u64::MAX] {
        assert_eq!(after(&index, seq).unwrap(), [0u64; 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Bisection over blocks finds what counting along would.
    #[test]
    fn a_time_is_found_as_by_a_linear_search(
        steps in prop::collection::vec((0..4i64, 1..400usize), 1..8),
        trim in 0..3usize,
    ) {
        let (_folder, index) = made();
        let mut all = Vec::new();
        let mut at = 10;
        for (step, count) in &steps {
            let times: Vec<i64> = (0..*count).map(|nth| {
                at += i64::from(nth % 100 == 0) * step;
                at
            }).collect();
            all.extend(commit(&index, &times));
        }
        if trim > 0 {
            let bytes = index.read().unwrap().journal_bytes().unwrap();
            index.trim(Retention { age: FOREVER, bytes: bytes - bytes / 4 * trim as u64 }, Time(at.into())).unwrap();
        }
        let reader = index.read().unwrap();
        let oldest = reader.oldest().unwrap();
        let kept = &all[usize::try_from(oldest.0 - 1).unwrap()..];
        for time in 5..at + 5 {
            let time = Time(i128::from(time));
            let earlier = kept.iter().filter(|record| record.seen < time).count() as u64;
            match reader.position(Since::Time(time)) {
                Ok(seq) => prop_assert_eq!(seq.0, oldest.0 - 1 + earlier),
                Err(_) => prop_assert!(earlier == 0 && oldest.0 > 1, "only what was dropped is missing"),
            }
        }
    }
}
