//! Questions put to a daemon by its command line, and the judgement of a tree at rest. Panics where an answer is no answer.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::{Daemon, compare, find_json, independent_walk_without};

/// The objects of an answer in JSON lines.
///
/// # Panics
/// When a line is no JSON.
#[must_use]
pub fn json_lines(said: &Output) -> Vec<Value> {
    let lines = said.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_slice(line)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)))
        })
        .collect()
}

/// What a command said on stderr.
#[must_use]
pub fn stderr(said: &Output) -> String {
    String::from_utf8_lossy(&said.stderr).into_owned()
}

/// A command that has to have ended well.
///
/// # Panics
/// When it did not, with what it said.
pub fn done(said: &Output) {
    assert!(said.status.success(), "{}: {}", said.status, stderr(said));
}

impl Daemon {
    /// The answer of a command with `--json` that must end with 0, or with 1 for finding nothing.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn ask(&self, arguments: &[&dyn AsRef<OsStr>]) -> Vec<Value> {
        let mut all: Vec<&dyn AsRef<OsStr>> = arguments.to_vec();
        all.push(&"--json");
        let said = self.run(&all);
        assert!(matches!(said.status.code(), Some(0 | 1)), "{}: {}", said.status, stderr(&said));
        json_lines(&said)
    }

    /// `status --json`.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn status(&self) -> Value {
        self.ask(&[&"status"]).pop().expect("status says something")
    }

    /// The number of the last record.
    ///
    /// # Panics
    /// When `status` fails.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.status()["seq"].as_u64().expect("status has a seq")
    }

    /// The records after `since`, which have no gap in their numbers.
    ///
    /// # Panics
    /// When they have.
    #[must_use]
    pub fn changes(&self, since: u64) -> Vec<Value> {
        let records = self.ask(&[&"changes", &"--since", &since.to_string()]);
        for (record, seq) in records.iter().zip(since + 1..) {
            assert_eq!(record["seq"], seq, "a gap or a repetition in the journal after {since}");
        }
        records
    }

    /// The records after `since` as `op name` (`op old name` for renames), without the path above it.
    ///
    /// # Panics
    /// As [`Daemon::changes`].
    #[must_use]
    pub fn told(&self, since: u64) -> Vec<String> {
        let name = |path: &Value| path.as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        let tell = |record: &Value| {
            let op = record["op"].as_str().unwrap_or_default();
            let words = [Some(op.to_owned()), name(&record["old_path"]), name(&record["path"])];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        self.changes(since).iter().map(tell).collect()
    }

    /// Nothing was told after `since` but that a writer is done with what was told before.
    ///
    /// # Panics
    /// When there was.
    pub fn assert_nothing_since(&self, since: u64) {
        let mut records = self.changes(since);
        records.retain(|record| record["complete"] != true || record["before"] != record["after"]);
        assert!(records.is_empty(), "{records:#?}");
    }

    /// Judges a tree at rest: `verify` finds nothing, a walk of our own agrees with `find` on every field, and rows, names
    /// and totals agree among themselves.
    ///
    /// # Panics
    /// When anything differs, with the differences and the daemon's log.
    pub fn assert_exact(&self, root: &Path) {
        self.assert_exact_without(root, &[]);
    }

    /// The same where the folders in `skip` are out of scope.
    ///
    /// # Panics
    /// As [`Daemon::assert_exact`].
    pub fn assert_exact_without(&self, root: &Path, skip: &[&Path]) {
        let said = self.run(&[&"verify", &root]);
        let out = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "verify: {}: {out}{}", said.status, stderr(&said));
        let differences = compare(&independent_walk_without(root, skip), &find_json(self, root));
        assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
        self.assert_whole();
    }

    /// Rows, names, links and totals agree among themselves.
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_whole(&self) {
        let said = self.run(&[&"doctor", &"--json"]);
        let report = json_lines(&said).pop().unwrap_or_default();
        assert_eq!(report["index"]["faults"], 0, "doctor: {}: {report}{}", said.status, stderr(&said));
    }
}
