//! `scrub --list`: files whose contents changed though nobody wrote them.

use index::Reader;
use reconcile::Stored as _;
use record::wire::v1;
use serde::{Deserialize, Serialize};

use crate::query::{Emit, QueryError};

/// One line of `scrub --list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RottenLine {
    /// The file.
    pub(crate) path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// The digest that it had.
    pub(crate) was: String,
    /// The digest that it has.
    pub(crate) is: Option<String>,
    /// When that was found.
    pub(crate) found_ns: i64,
}

/// Emits all of them.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn rotten(reader: &Reader, emit: Emit<'_, RottenLine>) -> Result<(), QueryError> {
    let roots = reader.roots()?;
    for (id, rot) in reader.rotten(usize::MAX)? {
        let (path, path_raw) = v1::text_and_raw(&reader.path(&roots, id)?.unwrap_or_default());
        let is = reader.row(id)?.and_then(|row| row.current_digest());
        let line = RottenLine {
            path,
            path_raw,
            was: v1::digest_text(&rot.was),
            is: is.map(|digest| v1::digest_text(&digest)),
            found_ns: i64::try_from(rot.found.0).unwrap_or(i64::MAX),
        };
        if !emit(line) {
            break;
        }
    }
    Ok(())
}
