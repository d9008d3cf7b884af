//! `du`: recursive totals, which the index keeps; `--exact` adds up the rows instead, as du(1) does.

use index::Reader;
use reconcile::Stored as _;
use record::wire::v1;
use record::{EntryId, Row, Totals};

use crate::query::counted::{Counts, each_counted};
use crate::query::{DuRequest, Emit, QueryError, bytes, push_name, resolve, root_paths};

/// Emits the totals of the path (or of each root) first, then of directories below it down to `depth`, the
/// largest first.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there.
pub(crate) fn du(reader: &Reader, request: &DuRequest, emit: Emit<'_, v1::Du>) -> Result<(), QueryError> {
    let starts = match &request.path {
        Some(path) => vec![bytes(path, request.path_raw.as_deref())?],
        None => root_paths(reader)?,
    };
    let depth = request.depth.unwrap_or(u32::from(request.top.is_some()));
    let exact = request.exact.unwrap_or(false);
    for start in starts {
        let (_, id) = resolve(reader, &start)?;
        let Some(row) = reader.row(id)? else { continue };
        if !emit(v1::Du::new(&start, &sum(reader, id, &row, exact)?)) {
            return Ok(());
        }
        if !row.stat.is_directory() {
            continue;
        }
        for (path, totals) in below(reader, start, id, depth, request.top, exact)? {
            if !emit(v1::Du::new(&path, &totals)) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The directories below `top`, largest first; with `most`, only so many are held and answered.
fn below(
    reader: &Reader,
    start: Vec<u8>,
    top: EntryId,
    depth: u32,
    most: Option<usize>,
    exact: bool,
) -> Result<Vec<(Vec<u8>, Totals)>, QueryError> {
    let mut found: Vec<(Vec<u8>, Totals)> = Vec::new();
    let mut waiting = if depth > 0 { vec![(start, top, 1)] } else { Vec::new() };
    while let Some((path, dir, level)) = waiting.pop() {
        let mut directories = Vec::new();
        reader.each_child::<QueryError>(dir, |name, target| {
            if target.directory {
                let mut below = path.clone();
                push_name(&mut below, name);
                directories.push((below, target.id));
            }
            Ok(true)
        })?;
        for (path, id) in directories {
            let Some(row) = reader.row(id)? else { continue };
            found.push((path.clone(), sum(reader, id, &row, exact)?));
            if level < depth {
                waiting.push((path, id, level + 1));
            }
        }
        // Keeps memory near what is asked for.
        if let Some(most) = most
            && found.len() > most.saturating_mul(2).max(4096)
        {
            largest_first(&mut found);
            found.truncate(most);
        }
    }
    largest_first(&mut found);
    found.truncate(most.unwrap_or(usize::MAX));
    Ok(found)
}

fn largest_first(found: &mut [(Vec<u8>, Totals)]) {
    found.sort_by(|(a_path, a), (b_path, b)| b.allocated.cmp(&a.allocated).then_with(|| a_path.cmp(b_path)));
}

fn sum(reader: &Reader, id: EntryId, row: &Row, exact: bool) -> Result<Totals, QueryError> {
    if !row.stat.is_directory() {
        return Ok(Totals::of(&row.stat));
    }
    if exact {
        return added_up(reader, id, row);
    }
    Ok(reader.totals(id)?.unwrap_or_default())
}

/// Every inode below once, however many names it has there.
fn added_up(reader: &Reader, top: EntryId, row: &Row) -> Result<Totals, QueryError> {
    let mut totals = Totals::default();
    each_counted(reader, top, row, Counts::WhereMet, &mut |row| totals.add(&Totals::of(&row.stat)))?;
    // The newest change ever is not in the rows of today.
    totals.newest = reader.totals(top)?.map_or(totals.newest, |stored| stored.newest);
    Ok(totals)
}
