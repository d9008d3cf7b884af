//! `du --by category`: what lies below a directory, sort by sort. Adds up rows, since no sums are kept for that.

use index::Reader;
use reconcile::Stored as _;
use record::wire::v1;
use record::{Category, Totals};

use crate::query::counted::{Counts, each_counted};
use crate::query::{DuRequest, Emit, QueryError, bytes, resolve, root_paths};

/// Emits the sums of the path (or of each root) by category, the largest first, and last those of what is no regular file and has
/// none. Together they are the totals of the path.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there, [`QueryError::Bad`] for what sums cannot be taken by.
pub(crate) fn du_by(
    reader: &Reader,
    request: &DuRequest,
    emit: Emit<'_, v1::DuCategory>,
) -> Result<(), QueryError> {
    match request.by.as_deref() {
        Some("category") => {}
        other => return Err(QueryError::Bad(format!("unknown sort of sums {other:?}; write category"))),
    }
    if request.depth.is_some() || request.top.is_some() {
        return Err(QueryError::Bad("sums by category are of one directory: leave out depth and top".into()));
    }
    let starts = match &request.path {
        Some(path) => vec![bytes(path, request.path_raw.as_deref())?],
        None => root_paths(reader)?,
    };
    for start in starts {
        let (root, id) = resolve(reader, &start)?;
        let Some(row) = reader.row(id)? else { continue };
        let mut sums = [(None, Totals::default()); Category::ALL.len() + 1];
        for category in Category::ALL {
            sums[category as usize].0 = Some(category);
        }
        let counts = Counts::new(&root, request.exact.unwrap_or(false));
        each_counted(reader, id, &row, counts, &mut |row| {
            let nth = row.category().map_or(Category::ALL.len(), |category| category as usize);
            sums[nth].1.add(&Totals::of(&row.stat));
        })?;
        sums[..Category::ALL.len()].sort_by_key(|(_, totals)| std::cmp::Reverse(totals.allocated));
        for (category, totals) in sums {
            if totals.files + totals.directories > 0 && !emit(v1::DuCategory::new(&start, category, &totals))
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
