//! Sets of files with equal contents: what a transaction makes of them is told in it. Reads what is stored and what is about
//! to be; writes nothing.

use index::{Edits, IndexError, Message, Note, Paths, Reader};
use reconcile::Stored as _;
use record::{Body, Digest, DigestKind, Duplicates, EntryId, How, RootId, Row, Time};
use rustc_hash::{FxHashMap, FxHashSet};

/// Files of a set of which it is asked whether they share their extents; in larger ones each is taken to waste all of it.
const MOST_COMPARED: u64 = 4096;

/// How a transaction changes one set.
#[derive(Default)]
struct Moves {
    size: u64,
    came: Vec<EntryId>,
    went: Vec<EntryId>,
}

/// Adds a message for every set that the rows of `edits` make, change or dissolve.
pub(crate) fn tell_duplicates(reader: &Reader, edits: &mut Edits, now: Time) -> Result<(), IndexError> {
    let mut sets: FxHashMap<Digest, Moves> = FxHashMap::default();
    for (id, row) in &edits.plan.rows {
        let old = reader.row(*id)?;
        let (was, is) = (old.as_ref().and_then(whole), row.as_ref().and_then(whole));
        if was == is {
            continue;
        }
        if let Some((digest, size)) = was {
            let moves = sets.entry(digest).or_default();
            moves.size = size;
            moves.went.push(*id);
        }
        if let Some((digest, size)) = is {
            let moves = sets.entry(digest).or_default();
            moves.size = size;
            moves.came.push(*id);
        }
    }
    if sets.is_empty() {
        return Ok(());
    }
    let mut sets: Vec<(Digest, Moves)> = sets.into_iter().collect();
    sets.sort_by_key(|(digest, _)| *digest);
    // The newest word on a file counts.
    let noted: FxHashMap<EntryId, Option<Note>> = edits.notes.iter().copied().collect();
    let note = |id: EntryId| noted.get(&id).map_or_else(|| reader.note(id), |note| Ok(*note));
    let mut paths = Paths::new(reader)?;
    for (digest, Moves { size, came, went }) in sets {
        let known = reader.set(&digest)?;
        let were = match known {
            Some(set) => set.copies,
            None => reader.with_digest(&digest, 2)?.len() as u64,
        };
        let copies = (were + came.len() as u64).saturating_sub(went.len() as u64);
        if were < 2 && copies < 2 {
            continue;
        }
        // Those that stayed, at least as many as are asked for.
        let gone: FxHashSet<EntryId> = went.iter().copied().collect();
        let kept = |most: usize| -> Result<Vec<EntryId>, IndexError> {
            let mut kept = reader.with_digest(&digest, most.saturating_add(gone.len()))?;
            kept.retain(|id| !gone.contains(id));
            Ok(kept)
        };
        let (mut root, mut shown) = (None, Vec::new());
        for id in came.iter().copied().chain(kept(Duplicates::SHOWN)?).take(Duplicates::SHOWN) {
            if let Some((lies_in, path)) = paths.of(id)? {
                root = root.or(Some(lies_in));
                shown.push(path.into());
            }
        }
        if root.is_none() {
            // All of them went: it is told where one was.
            root = went.first().map_or(Ok(None), |id| paths.of(*id))?.map(|(root, _)| root);
        }
        let mut placed = known.is_none_or(|set| set.placed > 0);
        for id in &came {
            placed |= note(*id)?.is_some_and(|note| note.extents.is_some());
        }
        let wasted = if placed && copies <= MOST_COMPARED {
            let copies: Vec<EntryId> = came.into_iter().chain(kept(usize::MAX)?).collect();
            wasted(size, &copies, note)?
        } else {
            wasted_by(size, copies)
        };
        let set = Duplicates { digest, size, copies, were, wasted, paths: shown };
        let body = Body::Duplicates(Box::new(set));
        edits.messages.push(Message { seen: now, how: How::Digest, root: root.unwrap_or(RootId(0)), body });
    }
    Ok(())
}

/// Bytes that would be free if one of so many copies were kept, and none shares its place with another.
pub(crate) fn wasted_by(size: u64, copies: u64) -> u64 {
    copies.saturating_sub(1).saturating_mul(size)
}

/// Bytes that would be free if one copy of each were kept: copies that share their extents take them once.
pub(crate) fn wasted(
    size: u64,
    copies: &[EntryId],
    note: impl Fn(EntryId) -> Result<Option<Note>, IndexError>,
) -> Result<u64, IndexError> {
    let mut taken = copies.len() as u64;
    if taken <= MOST_COMPARED {
        let mut known = FxHashSet::default();
        for id in copies {
            if let Some(extents) = note(*id)?.and_then(|note| note.extents)
                && !known.insert((id.volume, extents))
            {
                taken -= 1;
            }
        }
    }
    Ok(wasted_by(size, taken))
}

/// The digest by which a file is in a set, and its size.
fn whole(row: &Row) -> Option<(Digest, u64)> {
    let digest = row.current_digest().filter(|digest| digest.kind != DigestKind::Blake3Sampled)?;
    (row.stat.size > 0).then_some((digest, row.stat.size))
}
