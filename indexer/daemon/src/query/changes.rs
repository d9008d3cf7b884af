//! `changes`: where to begin, and the next batch from there. A batch is read whole and its reader let go before
//! anything is sent, so that no slow listener keeps old pages alive.

use index::{Reader, Since};
use record::wire::v1;
use record::{RootId, Seq, Time};

use crate::query::{ChangesRequest, QueryError, bytes};

/// The next records.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Those that are asked for.
    pub(crate) changes: Vec<v1::Change>,
    /// The last record passed, asked for or not.
    pub(crate) last: Seq,
    /// Whether the journal ended here.
    pub(crate) end: bool,
}

/// The last record before the first that `request` asks for.
///
/// # Errors
/// [`index::IndexError::FreshStartRequired`] when that one is no longer kept.
pub(crate) fn start(reader: &Reader, request: &ChangesRequest) -> Result<Seq, QueryError> {
    let cursor = match &request.consumer {
        Some(consumer) => {
            reader.cursors()?.into_iter().find(|(name, _)| name == consumer).map(|(_, seq)| seq)
        }
        None => None,
    };
    let last = reader.seq()?;
    if let Some(seq) = cursor.map(|cursor| cursor.0).or(request.since).filter(|seq| *seq > last.0) {
        // Whoever waits for what comes after it would miss all that comes before.
        return Err(QueryError::Bad(format!(
            "there is no seq {seq} yet: the journal ends at {last}. If it was read before, that was another epoch (see `epoch` in \
             `indexer status --json`); begin anew from `indexer find` and go on with `--since {last}`"
        )));
    }
    let since = match (cursor, request.since, request.since_ns) {
        (Some(cursor), ..) => Since::Seq(cursor),
        (None, Some(seq), _) => Since::Seq(Seq(seq)),
        (None, None, Some(time)) => Since::Time(Time(i128::from(time))),
        (None, None, None) => return Ok(Seq(reader.oldest()?.0.saturating_sub(1))),
    };
    Ok(reader.position(since)?)
}

/// At most `most` records after `after`, of the root asked for.
///
/// # Errors
/// [`index::IndexError::FreshStartRequired`] when some are no longer kept, [`QueryError::Bad`] for no root.
pub(crate) fn batch(
    reader: &Reader,
    request: &ChangesRequest,
    after: Seq,
    most: usize,
) -> Result<Batch, QueryError> {
    let roots = reader.roots()?;
    let only: Option<RootId> = match &request.root {
        None => None,
        Some(path) => {
            let path = bytes(path, request.root_raw.as_deref())?;
            let root = roots.iter().find(|root| *root.path == *path);
            Some(root.map(|root| root.id).ok_or_else(|| {
                let shown: Vec<String> =
                    roots.iter().map(|root| crate::paths::shown_bytes(&root.path)).collect();
                QueryError::Bad(format!(
                    "{} is not a root; the roots are {}",
                    crate::paths::shown_bytes(&path),
                    shown.join(", ")
                ))
            })?)
        }
    };
    let mut batch = Batch { changes: Vec::new(), last: after, end: true };
    let mut passed = 0;
    batch.last = reader.each_record::<QueryError>(after, |record| {
        passed += 1;
        if only.is_none_or(|only| record.root == only) {
            let path = roots.iter().find(|root| root.id == record.root).map_or(&b""[..], |root| &root.path);
            batch.changes.push(v1::Change::new(&record, path));
        }
        // Records of other roots count too: a batch must end for a listener that left to be noticed.
        batch.end = batch.changes.len() < most && passed < most.saturating_mul(16);
        Ok(batch.end)
    })?;
    Ok(batch)
}
