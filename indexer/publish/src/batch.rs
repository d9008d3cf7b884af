//! Consecutive records of one root as one message of columns. What goes together is what is there: nothing waits for a batch to fill. Knows no
//! broker and no journal.

use std::collections::VecDeque;

use columns::{Row, WriteError};
use record::wire::message::Origin;
use record::{Record, Seq};

use crate::letter::{Batch, Letter};
use crate::subscribe;

/// Bytes of a batch, about; well below what subscribers read.
const MOST_BYTES: usize = 640 << 10;

/// Takes records off the front: of one root, up to the bounds of a batch, and none after `covered`.
pub(crate) fn take(records: &mut VecDeque<Record>, covered: Seq) -> Vec<Record> {
    let mut taken: Vec<Record> = Vec::new();
    let mut bytes = 0;
    while let Some(next) = records.front() {
        bytes += columns::weight(next);
        let fits = taken.len() < columns::MOST_ROWS && bytes <= MOST_BYTES;
        let goes_with = |first: &Record| fits && first.root == next.root;
        if next.seq > covered || !taken.first().is_none_or(goes_with) {
            break;
        }
        taken.extend(records.pop_front());
    }
    taken
}

/// The messages of records that [`take`] gave, and the last seq of each: more than one only where the records are larger than they seemed.
pub(crate) fn letters(
    records: &[Record],
    root: &[u8],
    origin: &Origin,
) -> Result<Vec<(Letter, Seq)>, WriteError> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Vec::new()) };
    let rows: Vec<Row> = records.iter().map(|record| Row::new(record, root, origin, false)).collect();
    let body = columns::write(&rows)?;
    if body.len() > subscribe::MOST_BYTES && records.len() > 1 {
        let (one, other) = records.split_at(records.len() / 2);
        let mut both = letters(one, root, origin)?;
        both.extend(letters(other, root, origin)?);
        return Ok(both);
    }
    let id = format!("{}-{}", origin.id(first.seq.0), last.seq);
    Ok(vec![(letter(id, first, last, records.len(), origin, body), last.seq)])
}

/// The message by itself that records up to this one are lost; the identity says so, too.
pub(crate) fn lost(record: &Record, root: &[u8], origin: &Origin, id: &str) -> Result<Letter, WriteError> {
    let body = columns::write(&[Row::new(record, root, origin, true)])?;
    Ok(letter(id.to_owned(), record, record, 1, origin, body))
}

fn letter(
    id: String,
    first: &Record,
    last: &Record,
    records: usize,
    origin: &Origin,
    body: Vec<u8>,
) -> Letter {
    Letter {
        key: columns::key(first.root),
        id,
        source: origin.source.clone(),
        verb: columns::BATCH.to_owned(),
        subject: None,
        seen: last.seen,
        body,
        batch: Some(Batch { first: first.seq, last: last.seq, records }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::{Body, How, RootId, Time};

    fn record(seq: u64, root: u32, path: Vec<u8>) -> Record {
        let (seen, body) = (Time(7), Body::RootFound { path: path.into() });
        Record { seq: Seq(seq), seen, how: How::Sweep, root: RootId(root), body }
    }

    fn origin() -> Origin {
        let word = str::to_owned;
        let (source, host) = (word("/indexer/nas"), word("nas"));
        Origin { source, host, epoch: "e".repeat(32), version: word("0") }
    }

    fn seqs(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.seq.0).collect()
    }

    #[test]
    fn a_batch_ends_at_another_root_at_what_may_not_go_and_at_its_bounds() {
        let many = |of: &[(u64, u32)]| -> VecDeque<Record> {
            of.iter().map(|(seq, root)| record(*seq, *root, b"/r".to_vec())).collect()
        };
        let mut records = many(&[(1, 1), (2, 1), (3, 2), (4, 1), (5, 1)]);
        assert_eq!(seqs(&take(&mut records, Seq(4))), [1, 2]);
        assert_eq!(seqs(&take(&mut records, Seq(4))), [3]);
        assert_eq!(seqs(&take(&mut records, Seq(4))), [4], "5 is not covered");
        assert_eq!(seqs(&take(&mut records, Seq(4))), [0; 0]);
        assert_eq!(seqs(&take(&mut records, Seq(9))), [5]);
        let all: Vec<(u64, u32)> = (1..=columns::MOST_ROWS as u64 + 1).map(|seq| (seq, 1)).collect();
        let mut records = many(&all);
        assert_eq!(take(&mut records, Seq(9_999)).len(), columns::MOST_ROWS);
        assert_eq!(records.len(), 1);
        // One that is larger than a batch goes by itself, and not never.
        let large = || vec![b'x'; MOST_BYTES];
        let mut records = VecDeque::from([record(1, 1, large()), record(2, 1, large())]);
        assert_eq!(seqs(&take(&mut records, Seq(9))), [1]);
        assert_eq!(seqs(&take(&mut records, Seq(9))), [2]);
    }

    #[test]
    fn a_body_that_grew_beyond_what_is_read_is_several() {
        // Bytes that are no text are three for one, and the bytes themselves.
        let records: Vec<Record> = (1..=60).map(|seq| record(seq, 1, vec![0xff; 9_000])).collect();
        let mut left = VecDeque::from(records.clone());
        assert_eq!(take(&mut left, Seq(99)).len(), 60);
        let letters = letters(&records, b"/r", &origin()).unwrap();
        assert!(letters.len() > 1);
        let mut next = 1;
        for (letter, seq) in &letters {
            assert!(letter.body.len() <= subscribe::MOST_BYTES);
            let batch = letter.batch.unwrap();
            assert_eq!((batch.first.0, batch.last), (next, *seq));
            assert_eq!(letter.id, format!("/indexer/nas/{}/{}-{}", "e".repeat(32), batch.first, batch.last));
            let rows = columns::read(&letter.body).unwrap();
            let told: Vec<u64> = rows.iter().map(|row| row.message.source.seq).collect();
            assert_eq!(told, (next..=seq.0).collect::<Vec<_>>());
            next = seq.0 + 1;
        }
        assert_eq!(next, 61);
    }

    #[test]
    fn what_is_lost_is_told_by_a_batch_of_its_own() {
        let gap = record(9, 2, b"/r".to_vec());
        let letter = lost(&gap, b"/r", &origin(), "an id/r2").unwrap();
        assert_eq!((letter.key.as_str(), letter.id.as_str()), ("fs.v1.r2.any.batch.pall", "an id/r2"));
        assert!(columns::read(&letter.body).unwrap()[0].lost);
    }
}
