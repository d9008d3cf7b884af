//! Up to where the journal goes, for those who show its numbers outside. Knows nobody who does.

use index::{Index, IndexError, Reader};
use serde::{Deserialize, Serialize};

/// The last record, and of which journal it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AsOf {
    /// 32 hexadecimal digits.
    pub(crate) epoch: String,
    pub(crate) seq: u64,
}

/// What `reader`, a view of `index`, ends with.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn as_of(index: &Index, reader: &Reader) -> Result<AsOf, IndexError> {
    Ok(AsOf { epoch: format!("{:032x}", index.epoch()?), seq: reader.seq()?.0 })
}
