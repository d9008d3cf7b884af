//! The judgement of `prove` for tests: its walk and its comparison, in a form that panics where they cannot be had.

use std::collections::BTreeMap;
use std::path::Path;

use prove::{Found, Walked, WalkedStat};
use serde_json::{Value, json};

use crate::{Daemon, json_lines};

/// Every entry in and at `root`, by absolute path.
///
/// # Panics
/// When something cannot be looked at: the tree is not at rest, or not ours to read.
#[must_use]
pub fn independent_walk(root: &Path) -> Walked {
    independent_walk_without(root, &[])
}

/// The same, without the folders in `skip` (a state folder inside the tree) and what is in them.
///
/// # Panics
/// As [`independent_walk`].
#[must_use]
pub fn independent_walk_without(root: &Path, skip: &[&Path]) -> Walked {
    prove::walk(root, skip).expect("a tree at rest can be walked")
}

/// The columns of a snapshot that a walk knows, as [`crate::parquet_rows`] gives them.
///
/// # Panics
/// For a time that no snapshot holds.
#[must_use]
pub fn columns_of(stat: &WalkedStat) -> [(&'static str, Value); 11] {
    [
        ("kind", json!(stat.kind)),
        ("size", json!(stat.size)),
        ("allocated", json!(stat.allocated)),
        ("modified_time", micros(stat.modified_ns)),
        ("changed_time", micros(stat.changed_ns)),
        ("created_time", stat.created_ns.map_or(Value::Null, micros)),
        ("permissions", json!(stat.mode)),
        ("uid", json!(stat.uid)),
        ("gid", json!(stat.gid)),
        ("links", json!(stat.links)),
        ("inode", json!(stat.inode)),
    ]
}

/// Nanoseconds as the microseconds of a snapshot.
///
/// # Panics
/// Where 64 bits do not hold them.
#[must_use]
pub fn micros(ns: i128) -> Value {
    i64::try_from(ns.div_euclid(1000)).expect("a time of a test is near").into()
}

/// What the index says of `root`: the objects of `indexer find ROOT --json`, by absolute path.
///
/// # Panics
/// When the command fails, a line is no object, or a path comes twice.
#[must_use]
pub fn find_json(daemon: &Daemon, root: &Path) -> Found {
    let said = daemon.run(&[&"find", &root, &"--json"]);
    assert!(
        matches!(said.status.code(), Some(0 | 1)),
        "find: {}: {}",
        said.status,
        String::from_utf8_lossy(&said.stderr)
    );
    prove::found(json_lines(&said)).expect("find answers with entries")
}

/// Every difference between a walk and the index, one line each; empty when they agree on every path and field.
#[must_use]
pub fn compare(walk: &Walked, index: &Found) -> Vec<String> {
    prove::compare(walk, index).iter().map(ToString::to_string).collect()
}

/// Rows rebuilt from the journal, as [`prove::Rows`] does it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows(prove::Rows);

impl Rows {
    /// From the answer of `find ROOT --json`, by path.
    ///
    /// # Panics
    /// When an entry lies in no directory that the answer holds, but the root.
    #[must_use]
    pub fn of_find(find: &BTreeMap<Vec<u8>, serde_json::Value>) -> Rows {
        Rows(prove::Rows::of_find(find).expect("find names every directory"))
    }

    /// Applies a line of `changes --json`.
    ///
    /// # Panics
    /// When the record lacks what its op needs.
    pub fn apply(&mut self, change: &serde_json::Value) {
        self.0.apply(change).expect("a record has what its op needs");
    }

    /// Without entries that no name leads to, as [`prove::Rows::on_paths`].
    #[must_use]
    pub fn on_paths(&self) -> Rows {
        Rows(self.0.on_paths())
    }

    /// What differs, one line each.
    #[must_use]
    pub fn differences(&self, now: &Rows) -> Vec<String> {
        self.0.differences(&now.0)
    }
}
