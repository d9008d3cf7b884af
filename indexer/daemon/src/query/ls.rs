//! `ls`: the entries in one directory, or one entry; and single look-ups by path.

use index::Reader;
use reconcile::Stored as _;
use record::wire::v1;

use crate::query::{Emit, LookupRequest, PathRequest, QueryError, bytes, push_name, resolve};

/// Names read at a time.
const PAGE: usize = 1024;

/// Emits what is in the directory at the path, in byte order; for anything else the entry itself.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there.
pub(crate) fn ls(
    reader: &Reader,
    request: &PathRequest,
    emit: Emit<'_, v1::Entry>,
) -> Result<(), QueryError> {
    let mut path = bytes(&request.path, request.path_raw.as_deref())?;
    let (_, id) = resolve(reader, &path)?;
    let Some(row) = reader.row(id)? else { return Ok(()) };
    if !row.stat.is_directory() {
        emit(v1::Entry::new(&path, id, &row));
        return Ok(());
    }
    let length = path.len();
    let mut page = reader.children(id, None, PAGE)?;
    while let Some((last, _)) = page.last() {
        let last = last.clone();
        for (name, child) in &page {
            let Some(row) = reader.row(*child)? else { continue };
            path.truncate(length);
            push_name(&mut path, name);
            if !emit(v1::Entry::new(&path, *child, &row)) {
                return Ok(());
            }
        }
        page = reader.children(id, Some(&last), PAGE)?;
    }
    Ok(())
}

/// Emits what the index holds at each path, in their order; `None` where it holds nothing.
///
/// # Errors
/// [`QueryError::Bad`] for a path whose `path_raw` is not base64.
pub(crate) fn look_up(
    reader: &Reader,
    request: &LookupRequest,
    emit: Emit<'_, Option<v1::Entry>>,
) -> Result<(), QueryError> {
    for path in &request.paths {
        let path = bytes(&path.path, path.path_raw.as_deref())?;
        let entry = match reader.resolve(&path)? {
            Some((_, id)) => reader.row(id)?.map(|row| v1::Entry::new(&path, id, &row)),
            None => None,
        };
        if !emit(entry) {
            break;
        }
    }
    Ok(())
}
