//! A source of records and the loop over it: read, apply, then move the cursor. A crash between the last two
//! delivers again, so applying must be idempotent.

use record::{Record, Seq};

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Records after the cursor are no longer kept: begin with a snapshot.
    #[error("fresh_start_required: records before seq {oldest} are no longer kept")]
    FreshStartRequired {
        /// The oldest record there still is.
        oldest: Seq,
    },
    /// The source failed.
    #[error("failed to read records: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where records come from: the journal of this process, or a broker.
pub trait Source {
    /// The last record that `consumer` is done with; `Seq(0)` for a new one.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn cursor(&self, consumer: &str) -> Result<Seq, SourceError>;

    /// At most `most` records after `after`, in order, without waiting.
    ///
    /// # Errors
    /// [`SourceError::FreshStartRequired`] when some of them are no longer kept.
    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError>;

    /// Notes durably that `consumer` is done with everything up to `seq`.
    ///
    /// # Errors
    /// When the source cannot be written.
    fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), SourceError>;
}

/// What a consumer does with records.
pub trait Consume {
    /// Its name: the cursor is kept under it.
    fn name(&self) -> &str;

    /// Does what the records ask for. Called again with the same records after a crash.
    ///
    /// # Errors
    /// What went wrong; the cursor stays where it was.
    fn apply(&mut self, records: &[Record]) -> Result<(), SourceError>;
}

/// How far one [`run`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Records applied.
    pub records: u64,
    /// The cursor now.
    pub cursor: Seq,
}

/// Applies everything there is after the consumer's cursor, `batch` records at a time, confirming each batch
/// after its effect.
///
/// # Errors
/// What the source or the consumer says; all before it is confirmed.
pub fn run(source: &impl Source, consumer: &mut impl Consume, batch: usize) -> Result<Consumed, SourceError> {
    let mut cursor = source.cursor(consumer.name())?;
    let mut applied = 0;
    loop {
        let records = source.records(cursor, batch.max(1))?;
        let Some(last) = records.last().map(|record| record.seq) else {
            return Ok(Consumed { records: applied, cursor });
        };
        consumer.apply(&records)?;
        source.confirm(consumer.name(), last)?;
        applied += records.len() as u64;
        cursor = last;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use record::{Body, How, RootId, Time};

    use super::*;

    struct List(u64, Cell<u64>);

    impl Source for List {
        fn cursor(&self, _: &str) -> Result<Seq, SourceError> {
            Ok(Seq(self.1.get()))
        }
        fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
            let record = |seq| Record {
                seq: Seq(seq),
                seen: Time(0),
                how: How::Sweep,
                root: RootId(1),
                body: Body::RootFound { path: b"/r".as_slice().into() },
            };
            Ok((after.0 + 1..=self.0).take(most).map(record).collect())
        }
        fn confirm(&self, _: &str, seq: Seq) -> Result<(), SourceError> {
            self.1.set(seq.0);
            Ok(())
        }
    }

    struct Count(Vec<u64>, Option<u64>);

    impl Consume for Count {
        fn name(&self) -> &'static str {
            "count"
        }
        fn apply(&mut self, records: &[Record]) -> Result<(), SourceError> {
            if records.iter().any(|record| Some(record.seq.0) == self.1) {
                return Err(SourceError::Failed("no".into()));
            }
            self.0.extend(records.iter().map(|record| record.seq.0));
            Ok(())
        }
    }

    #[test]
    fn the_cursor_moves_only_after_the_effect() {
        let source = List(7, Cell::new(0));
        let mut failing = Count(Vec::new(), Some(5));
        run(&source, &mut failing, 2).expect_err("record 5 fails");
        assert_eq!((source.1.get(), failing.0), (4, vec![1, 2, 3, 4]));

        let mut good = Count(Vec::new(), None);
        let done = run(&source, &mut good, 2).expect("nothing fails");
        assert_eq!(done, Consumed { records: 3, cursor: Seq(7) });
        assert_eq!(good.0, vec![5, 6, 7]);
    }
}
