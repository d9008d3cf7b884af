//! `dups`: sets of files with equal contents, from the digests that the index has. Reads no file.

use std::collections::BinaryHeap;

use index::{IndexError, Reader};
use reconcile::Stored as _;
use record::wire::v1;
use record::{Digest, DigestKind, EntryId, Row};

use crate::engine::wasted;
use crate::paths::is_below;
use crate::query::{DupsRequest, Emit, QueryError, bytes, resolve};

/// Sets held at once without a bound of the asker's; those beyond that waste least.
const MOST_SETS: usize = 1 << 20;

/// A set before its paths are known. Sets compare by what they waste; the heap has the one that wastes least on top.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    wasted: std::cmp::Reverse<u64>,
    digest: Digest,
    size: u64,
    files: Vec<EntryId>,
}

/// Emits every set that `request` asks for, those that waste most first.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there.
pub(crate) fn dups(
    reader: &Reader,
    request: &DupsRequest,
    emit: Emit<'_, v1::Duplicates>,
) -> Result<(), QueryError> {
    let below = match &request.path {
        Some(path) => {
            let path = bytes(path, request.path_raw.as_deref())?;
            resolve(reader, &path)?;
            Some(path)
        }
        None => None,
    };
    let most = request.top.unwrap_or(MOST_SETS).min(MOST_SETS);
    let least = request.min_size.unwrap_or(0);
    let mut heap: BinaryHeap<Set> = BinaryHeap::new();
    let mut take = |set: &mut Vec<EntryId>, digest: Digest, size: u64| -> Result<(), QueryError> {
        let files = std::mem::take(set);
        if files.len() < 2 || size < least || digest.kind == DigestKind::Blake3Sampled {
            return Ok(());
        }
        if let Some(below) = &below
            && !is_any_below(reader, &files, below)?
        {
            return Ok(());
        }
        let wasted = wasted(size, &files, |id| reader.note(id))?;
        heap.push(Set { wasted: std::cmp::Reverse(wasted), digest, size, files });
        if heap.len() > most {
            heap.pop();
        }
        Ok(())
    };
    let mut set = Vec::new();
    let mut last: Option<(Digest, u64)> = None;
    reader.each_digest::<QueryError>(|digest, size, id| {
        if let Some((before, size)) = last.filter(|(before, _)| *before != digest) {
            take(&mut set, before, size)?;
        }
        last = Some((digest, size));
        set.push(id);
        Ok(true)
    })?;
    if let Some((digest, size)) = last {
        take(&mut set, digest, size)?;
    }
    let roots = reader.roots()?;
    for Set { wasted, digest, size, files } in heap.into_sorted_vec() {
        let mut copies = Vec::new();
        for id in files {
            let Some(row) = reader.row(id)? else { continue };
            let mut paths = paths(reader, &roots, id, &row)?.into_iter();
            // What waits for a name, or is out of sight, has none.
            let Some(first) = paths.next() else { continue };
            copies.push((first, paths.collect::<Vec<_>>()));
        }
        if copies.len() < 2 {
            continue;
        }
        copies.sort();
        if !emit(v1::Duplicates::new(&digest, size, wasted.0, &copies)) {
            break;
        }
    }
    Ok(())
}

/// Paths of all names of an entry, in byte order.
fn paths(
    reader: &Reader,
    roots: &[index::RootRow],
    id: EntryId,
    row: &Row,
) -> Result<Vec<Vec<u8>>, IndexError> {
    if !row.many_names {
        return Ok(reader.path(roots, id)?.into_iter().collect());
    }
    let mut paths = Vec::new();
    for place in reader.links(id)? {
        if let Some(mut path) = reader.path(roots, place.dir)? {
            super::push_name(&mut path, &place.name);
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_any_below(reader: &Reader, files: &[EntryId], below: &[u8]) -> Result<bool, IndexError> {
    let roots = reader.roots()?;
    for id in files {
        let Some(row) = reader.row(*id)? else { continue };
        if paths(reader, &roots, *id, &row)?.iter().any(|path| is_below(path, below)) {
            return Ok(true);
        }
    }
    Ok(false)
}
