//! Sets of files with equal contents: what a transaction makes of them is told in it. Reads what is stored and what is about
//! to be; writes nothing.

use index::{Edits, IndexError, Message, Note, Reader, RootRow};
use reconcile::Stored as _;
use record::{Body, Digest, DigestKind, Duplicates, EntryId, How, RootId, Row, Time};
use rustc_hash::{FxHashMap, FxHashSet};

/// Files of a set of which it is asked whether they share their extents; in larger ones each is taken to waste all of it.
const MOST_COMPARED: usize = 4096;

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
    let roots = reader.roots()?;
    for (digest, moves) in sets {
        let before = reader.with_digest(&digest, usize::MAX)?;
        let went: FxHashSet<EntryId> = moves.went.iter().copied().collect();
        let kept = before.iter().copied().filter(|id| !went.contains(id));
        let after: Vec<EntryId> = moves.came.iter().copied().chain(kept).collect();
        if before.len() < 2 && after.len() < 2 {
            continue;
        }
        let noted = |id: EntryId| -> Result<Option<Note>, IndexError> {
            match edits.notes.iter().rev().find(|(noted, _)| *noted == id) {
                Some((_, note)) => Ok(*note),
                None => reader.note(id),
            }
        };
        let mut root = None;
        let mut paths = Vec::new();
        for id in after.iter().take(Duplicates::SHOWN) {
            if let Some(path) = reader.path(&roots, *id)? {
                root = root.or_else(|| root_of(&roots, &path));
                paths.push(path.into());
            }
        }
        if root.is_none() {
            // All of them went: it is told where one was.
            let gone = moves.went.first().map_or(Ok(None), |id| reader.path(&roots, *id))?;
            root = gone.and_then(|path| root_of(&roots, &path));
        }
        let set = Duplicates {
            digest,
            size: moves.size,
            copies: after.len() as u64,
            were: before.len() as u64,
            wasted: wasted(moves.size, &after, noted)?,
            paths,
        };
        let body = Body::Duplicates(Box::new(set));
        edits.messages.push(Message { seen: now, how: How::Digest, root: root.unwrap_or(RootId(0)), body });
    }
    Ok(())
}

/// Bytes that would be free if one copy of each were kept: copies that share their extents take them once.
pub(crate) fn wasted(
    size: u64,
    copies: &[EntryId],
    note: impl Fn(EntryId) -> Result<Option<Note>, IndexError>,
) -> Result<u64, IndexError> {
    let mut taken = copies.len() as u64;
    if copies.len() <= MOST_COMPARED {
        let mut known = FxHashSet::default();
        for id in copies {
            if let Some(extents) = note(*id)?.and_then(|note| note.extents)
                && !known.insert((id.volume, extents))
            {
                taken -= 1;
            }
        }
    }
    Ok(taken.saturating_sub(1).saturating_mul(size))
}

/// The digest by which a file is in a set, and its size.
fn whole(row: &Row) -> Option<(Digest, u64)> {
    let digest = row.current_digest().filter(|digest| digest.kind != DigestKind::Blake3Sampled)?;
    (row.stat.size > 0).then_some((digest, row.stat.size))
}

fn root_of(roots: &[RootRow], path: &[u8]) -> Option<RootId> {
    roots.iter().find(|root| crate::paths::is_below(path, &root.path)).map(|root| root.id)
}
