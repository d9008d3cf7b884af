//! The roots with the rules they were seeded by.

use index::Reader;
use record::wire::v1;
use serde::{Deserialize, Serialize};

use crate::query::{QueryError, bytes};

/// A root on its way over the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootLine {
    /// Its path.
    path: String,
    /// Its bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    /// Its rules as JSON.
    rules: String,
    /// Why it cannot be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

/// A root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootView {
    /// Its path.
    pub(crate) path: Vec<u8>,
    /// Its rules as JSON.
    pub(crate) rules: String,
    /// Why it cannot be looked at.
    pub(crate) lost: Option<String>,
}

impl RootLine {
    /// The root, its path as bytes.
    ///
    /// # Errors
    /// When `path_raw` is not base64.
    pub(crate) fn view(self) -> Result<RootView, QueryError> {
        Ok(RootView {
            path: bytes(&self.path, self.path_raw.as_deref())?,
            rules: self.rules,
            lost: self.lost,
        })
    }
}

/// All roots whose first scan is done.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn roots(reader: &Reader) -> Result<Vec<RootLine>, index::IndexError> {
    let roots = reader.roots()?.into_iter().filter(|root| root.seeded.is_some());
    Ok(roots
        .map(|root| {
            let (path, path_raw) = v1::text_and_raw(&root.path);
            RootLine { path, path_raw, rules: root.rules, lost: root.lost }
        })
        .collect())
}
