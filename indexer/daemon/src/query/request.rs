//! Questions as they go over the socket: query strings and JSON bodies. Flat, so that both can hold them.

use record::wire::v1;
use serde::{Deserialize, Serialize};

/// `find`: every test must hold. No path means all roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindRequest {
    /// Where to begin.
    pub(crate) path: Option<String>,
    /// Its bytes in base64, where `path` cannot hold them.
    pub(crate) path_raw: Option<String>,
    /// Pattern of the name.
    pub(crate) name: Option<String>,
    /// The same, upper and lower case alike.
    pub(crate) iname: Option<String>,
    /// Words of kinds, by commas.
    pub(crate) kinds: Option<String>,
    /// Least size in bytes.
    pub(crate) min_size: Option<u64>,
    /// Greatest size in bytes.
    pub(crate) max_size: Option<u64>,
    /// Modified at or after this time, nanoseconds since 1970.
    pub(crate) newer_ns: Option<i64>,
    /// Modified before this time.
    pub(crate) older_ns: Option<i64>,
    /// Words of categories, by commas.
    pub(crate) category: Option<String>,
    /// User number.
    pub(crate) owner: Option<u32>,
    /// Least number of hard links.
    pub(crate) min_links: Option<u32>,
    /// Greatest number of hard links.
    pub(crate) max_links: Option<u32>,
    /// Levels below the beginning.
    pub(crate) max_depth: Option<u32>,
    /// How many at most.
    pub(crate) limit: Option<u64>,
}

/// `ls`, `sweep`, `accept`: a path alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathRequest {
    /// The path.
    pub(crate) path: String,
    /// Its bytes in base64, where `path` cannot hold them.
    pub(crate) path_raw: Option<String>,
}

/// `du`. No path means all roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DuRequest {
    /// The directory.
    pub(crate) path: Option<String>,
    /// Its bytes in base64, where `path` cannot hold them.
    pub(crate) path_raw: Option<String>,
    /// Levels of directories below it that are told too.
    pub(crate) depth: Option<u32>,
    /// How many of those at most, the largest.
    pub(crate) top: Option<usize>,
    /// Count as du(1) does.
    pub(crate) exact: Option<bool>,
    /// `category`: sums of each, and lines of another shape.
    pub(crate) by: Option<String>,
}

/// `coverage`. No path means all roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CoverageRequest {
    /// The directory.
    pub(crate) path: Option<String>,
    /// Its bytes in base64, where `path` cannot hold them.
    pub(crate) path_raw: Option<String>,
    /// Levels of directories below it that are told too.
    pub(crate) depth: Option<u32>,
    /// Name every blind directory, and not the first twenty alone.
    pub(crate) all: Option<bool>,
}

/// `changes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangesRequest {
    /// After this seq.
    pub(crate) since: Option<u64>,
    /// From this time on, nanoseconds since 1970.
    pub(crate) since_ns: Option<i64>,
    /// Only of the root at this path.
    pub(crate) root: Option<String>,
    /// Its bytes in base64.
    pub(crate) root_raw: Option<String>,
    /// Begin at this consumer's cursor.
    pub(crate) consumer: Option<String>,
    /// How many at most.
    pub(crate) limit: Option<u64>,
    /// Go on with new ones.
    pub(crate) follow: Option<bool>,
}

/// `settle`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleRequest {
    /// Give up after so many milliseconds; 30,000 if absent.
    pub(crate) timeout_ms: Option<u64>,
}

/// `sweep`. No path means all roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SweepRequest {
    /// The directory.
    pub(crate) path: Option<String>,
    /// Its bytes in base64.
    pub(crate) path_raw: Option<String>,
    /// `names` or `stat`.
    pub(crate) level: Option<String>,
}

/// `confirm` and `forget`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsumerRequest {
    /// The consumer's name.
    pub(crate) consumer: String,
    /// For `confirm`: the last record it is done with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
}

/// `alerts/test`: which rule to try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertRequest {
    /// Its name.
    pub(crate) rule: String,
}

/// `hash`: read these files, and all below these directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HashRequest {
    /// The paths.
    pub(crate) paths: Vec<PathRequest>,
    /// How long one that is being written is waited for; a minute when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

/// `scrub`: read again what was read before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrubRequest {
    /// Only what lies at or below this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Its bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Only what was not read for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) older_than_ms: Option<u64>,
    /// Bytes a second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
}

/// `dups`: sets of files with equal contents, and of directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DupsRequest {
    /// Only sets with a copy at or below this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Its bytes in base64, where `path` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Bytes of each copy at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_size: Option<u64>,
    /// Only so many sets, those that waste most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top: Option<usize>,
    /// Only files, and all of their sets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) files: bool,
}

/// `lookup`: what the index holds at each of these paths, in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookupRequest {
    /// The paths.
    pub(crate) paths: Vec<PathRequest>,
}

/// `replay`. No root means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// The path of the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<String>,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root_raw: Option<String>,
}

/// `snapshot`. No root means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotRequest {
    /// The path of the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<String>,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root_raw: Option<String>,
    /// Give up when the index file has grown by more bytes than these while it is read.
    pub(crate) max_growth: u64,
}

/// `diff` of two seqs. No root means the only one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BetweenRequest {
    /// The path of the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<String>,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root_raw: Option<String>,
    /// The last record before the first moment.
    pub(crate) after: u64,
    /// The last record before the second; the last of all where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upto: Option<u64>,
}

/// A path as the pair of fields that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPair {
    /// Text, exact or for display.
    pub(crate) path: String,
    /// The bytes in base64, where text cannot hold them.
    pub(crate) raw: Option<String>,
}

impl PathPair {
    /// The pair of `bytes`.
    pub(crate) fn new(bytes: &[u8]) -> PathPair {
        let (path, raw) = v1::text_and_raw(bytes);
        PathPair { path, raw }
    }
}

impl From<&[u8]> for PathRequest {
    fn from(bytes: &[u8]) -> PathRequest {
        let (path, path_raw) = v1::text_and_raw(bytes);
        PathRequest { path, path_raw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_a_query_string() {
        let find = FindRequest {
            path: Some("/a b/ü&=".into()),
            path_raw: Some("L/8=".into()),
            name: Some("*.mp?".into()),
            min_size: Some(u64::MAX),
            newer_ns: Some(-1),
            ..FindRequest::default()
        };
        let text = serde_urlencoded::to_string(&find).unwrap();
        assert_eq!(serde_urlencoded::from_str::<FindRequest>(&text).unwrap(), find);
        let changes = ChangesRequest { since: Some(7), follow: Some(true), ..ChangesRequest::default() };
        let text = serde_urlencoded::to_string(&changes).unwrap();
        assert_eq!(text, "since=7&follow=true");
        assert_eq!(serde_urlencoded::from_str::<ChangesRequest>(&text).unwrap(), changes);
        serde_urlencoded::from_str::<DuRequest>("depht=1").expect_err("a misspelt field is not ignored");
    }
}
