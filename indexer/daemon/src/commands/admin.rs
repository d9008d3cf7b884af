//! `root accept`: a person decides that what is there now is true.

use std::path::Path;

use crate::commands::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::PathRequest;

/// Tells the daemon to believe what is at `path`.
pub(crate) fn accept(context: &Context, path: &Path) -> Result<Outcome, Failure> {
    let mut client = Source::daemon(&context.state()?)?.ok_or_else(|| {
        Failure::Failed("no daemon runs on this state folder; start `indexer watch`, then accept".to_owned())
    })?;
    let mut first = None;
    for spelling in crate::paths::spellings(path)? {
        match client.post::<()>("/v1/accept", &PathRequest::from(&spelling[..])) {
            Ok(()) => return Ok(Outcome::Done),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    first.map_or(Ok(Outcome::Done), Err)
}
