//! Digests that were carried on upon the kernel's word, when some of its words may have been lost: a write that was not heard
//! is seen by no sweep if the modification time was set back before the file was looked at. Knows no content.

use index::{IndexError, Reader, Since};
use reconcile::Stored as _;
use record::{Body, EntryId, Op, Record, Seq};

use super::Findings;
use crate::engine::core::Core;
use crate::engine::error::EngineError;

/// Before the last record: an event is read, and worked off, long within that.
const HEARD_NS: i128 = 60_000_000_000;

/// Files that wait with one commit.
const SLICE: usize = 8192;

impl Core {
    /// Has read again what was carried on since all events were worked off for the last time, and in the last minute.
    pub(crate) fn doubt_carried(&mut self) -> Result<(), EngineError> {
        let reader = self.shared.index.read()?;
        if !reader.keeps_contents()? {
            return Ok(());
        }
        let before_all = Seq(reader.oldest()?.0.saturating_sub(1));
        let mut after = last_minute(&reader, before_all)?;
        // Some of what came since may have been let go of.
        after = self.heard.map_or(after, |heard| heard.min(after)).max(before_all);
        loop {
            let mut waiting = Vec::new();
            after = reader.each_record(after, |record| {
                if let Some(id) = may_be_carried(&record)
                    && reader.row(id)?.is_some_and(|row| row.digest.is_some_and(|digest| digest.carried))
                {
                    waiting.push(id);
                }
                Ok::<bool, IndexError>(waiting.len() < SLICE)
            })?;
            if waiting.is_empty() {
                return Ok(());
            }
            self.take_contents(Findings { waiting, ..Findings::default() })?;
        }
    }
}

/// The last record before the last minute that has any; `before_all` if all are of that minute.
fn last_minute(reader: &Reader, before_all: Seq) -> Result<Seq, IndexError> {
    let last = reader.seq()?;
    let mut seen = None;
    reader.each_record(Seq(last.0.saturating_sub(1)).max(before_all), |record| {
        seen = Some(record.seen);
        Ok::<bool, IndexError>(true)
    })?;
    let Some(seen) = seen else { return Ok(last) };
    match reader.position(Since::Time(seen.minus_ns(HEARD_NS))) {
        Err(IndexError::FreshStartRequired { .. }) => Ok(before_all),
        position => position,
    }
}

fn may_be_carried(record: &Record) -> Option<EntryId> {
    let Body::Change(change) = &record.body else { return None };
    let known = change.after.is_some_and(|state| state.digest.is_some());
    (known && !matches!(change.op, Op::Hashed | Op::Corrupt)).then_some(change.entry)
}
