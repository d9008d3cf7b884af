//! `find`: a walk down the names, depth first, names in byte order. Rows are read only of what may match.

use index::Reader;
use reconcile::Stored as _;
use record::wire::v1;

use crate::query::walk::Walk;
use crate::query::{Emit, Filter, FindRequest, QueryError, bytes, resolve, root_paths};

/// Emits every entry that `request` asks for, the beginning included, until `emit` has enough.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there, [`QueryError::Bad`] for a test that is none.
pub(crate) fn find(
    reader: &Reader,
    request: &FindRequest,
    emit: Emit<'_, v1::Entry>,
) -> Result<(), QueryError> {
    let starts = match &request.path {
        Some(path) => vec![bytes(path, request.path_raw.as_deref())?],
        None => root_paths(reader)?,
    };
    let filter = Filter::new(request)?;
    let walk = Walk { reader, filter: &filter, max_depth: request.max_depth.unwrap_or(u32::MAX) };
    let mut left = request.limit.unwrap_or(u64::MAX);
    for start in starts {
        let (_, top) = resolve(reader, &start)?;
        let Some(row) = reader.row(top)? else { continue };
        let more = walk.below(start, (top, row.stat.is_directory()), &mut |path, _, id| {
            if left == 0 {
                return Ok(false);
            }
            let Some(row) = reader.row(id)? else { return Ok(true) };
            if !filter.matches(&row) {
                return Ok(true);
            }
            left -= 1;
            Ok(emit(v1::Entry::new(path, id, &row)) && left > 0)
        })?;
        if !more {
            break;
        }
    }
    Ok(())
}
