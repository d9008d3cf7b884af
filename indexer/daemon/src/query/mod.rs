//! Questions to the index and their answers, as one reader sees it. Knows no socket and no terminal.

mod as_of;
mod between;
mod changes;
mod check;
mod counted;
mod coverage;
mod du;
mod du_by;
mod dups;
mod filter;
mod find;
mod glob;
mod ls;
mod replay;
mod request;
mod roots;
mod rotten;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
mod walk;
mod whole;

use index::{IndexError, Reader, RootRow};
use record::EntryId;
use record::wire::v1;

pub(crate) use as_of::{AsOf, as_of};
pub(crate) use between::between;
pub(crate) use changes::{batch, start};
pub(crate) use check::{CheckReport, check};
pub(crate) use coverage::{Coverage, Keeper, Kept, coverage};
pub(crate) use du::du;
pub(crate) use du_by::du_by;
pub(crate) use dups::dups;
pub(crate) use filter::Filter;
pub(crate) use find::find;
pub(crate) use ls::{look_up, ls};
pub(crate) use replay::{ReplayEnded, ReplayHead, ReplayLetter, ReplayLine, replay};
pub(crate) use request::{
    AlertRequest, BetweenRequest, ChangesRequest, ConsumerRequest, CoverageRequest, DuRequest, DupsRequest,
    FindRequest, HashRequest, LookupRequest, PathPair, PathRequest, ReplayRequest, ScrubRequest,
    SettleRequest, SnapshotRequest, SweepRequest,
};
pub(crate) use roots::{RootLine, RootView, roots};
pub(crate) use rotten::{RottenLine, rotten};
pub(crate) use snapshot::snapshot;
pub(crate) use whole::whole;

/// Takes answers one by one; answers false when no more are wanted.
pub(crate) type Emit<'a, T> = &'a mut dyn FnMut(T) -> bool;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The path is not in the index.
    #[error("{path} is not in the index; {hint}")]
    NotIndexed {
        /// The path, quoted.
        path: String,
        /// What is, or what to do.
        hint: String,
    },
    /// The question is none.
    #[error("{0}")]
    Bad(String),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What was asked for could not be done.
    #[error("{0}")]
    Failed(String),
}

/// The entry at `path` and the root it is in.
fn resolve(reader: &Reader, path: &[u8]) -> Result<(RootRow, EntryId), QueryError> {
    if let Some(found) = reader.resolve(path)? {
        return Ok(found);
    }
    let roots = reader.roots()?;
    let shown: Vec<String> = roots.iter().map(|root| crate::paths::shown_bytes(&root.path)).collect();
    let hint = if roots.iter().any(|root| crate::paths::is_below(path, &root.path)) {
        "it may not exist, be left out by a rule, or be too new: `indexer settle` waits for what is new"
            .to_owned()
    } else if shown.is_empty() {
        "it has no roots yet: `indexer watch ROOT` makes one".to_owned()
    } else {
        format!("its roots are {}", shown.join(", "))
    };
    Err(QueryError::NotIndexed { path: crate::paths::shown_bytes(path), hint })
}

/// Paths of all roots, in byte order.
fn root_paths(reader: &Reader) -> Result<Vec<Vec<u8>>, QueryError> {
    // A root whose first scan is under way has no rows yet.
    let roots = reader.roots()?.into_iter().filter(|root| root.seeded.is_some());
    let mut paths: Vec<Vec<u8>> = roots.map(|root| root.path.into_vec()).collect();
    paths.sort();
    Ok(paths)
}

/// The bytes of a path in a request.
fn bytes(path: &str, raw: Option<&str>) -> Result<Vec<u8>, QueryError> {
    v1::bytes_of(path, raw).map_err(|_| QueryError::Bad(format!("path_raw of {path:?} is not base64")))
}

/// Appends `/name`, without doubling the slash of the root of all.
fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

#[cfg(test)]
mod tests;
