//! Two seqs as what is compared: of what records tell between them, the rows of both moments. Knows not how differences are found.

use std::sync::Arc;

use snapshot::{Head, Lines, Part, Unframed};

use crate::cli::Diff;
use crate::commands::rows::{NOW, root_bytes};
use crate::commands::snapshot::failure;
use crate::commands::{Context, Source, replay};
use crate::failure::Failure;
use crate::query::{BetweenRequest, PathPair};
use crate::render::Names;

/// The seqs that `flags` name; none where they name something else. `now` is the end of the journal.
pub(super) fn named(flags: &Diff) -> Option<(u64, Option<u64>)> {
    let before = flags.before.to_str()?.parse().ok()?;
    match flags.after.to_str()? {
        NOW => Some((before, None)),
        word => Some((before, Some(word.parse().ok()?))),
    }
}

/// Rows of one of the moments.
pub(super) type Side = std::vec::IntoIter<Lines>;

/// Both moments of the only root, or of that of the flags.
///
/// # Errors
/// When the journal does not tell what lies between.
pub(super) fn pair(
    context: &Context,
    flags: &Diff,
    (after, upto): (u64, Option<u64>),
) -> Result<([Side; 2], [Head; 2]), Failure> {
    // It goes out that something was as of a seq.
    replay::vouch(context)?;
    let pair = flags.from.root.as_deref().map(root_bytes).transpose()?.map(|root| PathPair::new(&root));
    let (root, root_raw) = pair.map(|pair| (Some(pair.path), pair.raw)).unwrap_or_default();
    let mut unframed = Unframed::new(Arc::new(Names::read().into()));
    let mut sides: Vec<(Head, Vec<Lines>)> = Vec::new();
    let request = BetweenRequest { root, root_raw, after, upto };
    Source::open(context)?.between(&request, &mut |piece| {
        let fed = unframed.feed(piece, &mut |part| {
            match (part, sides.last_mut()) {
                (Part::Begin(head), _) => sides.push((*head, Vec::new())),
                (Part::Rows(lines), Some((_, rows))) => rows.push(*lines),
                (Part::Rows(_), None) => {}
            }
            true
        });
        fed.map(drop).map_err(failure)
    })?;
    unframed.finish().map_err(failure)?;
    let both: Result<[_; 2], _> = sides.try_into();
    let [(one, a), (other, b)] =
        both.map_err(|_| Failure::Failed("the answer does not tell of two moments".to_owned()))?;
    Ok(([a.into_iter(), b.into_iter()], [one, other]))
}
