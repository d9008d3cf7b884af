//! How a rule fares, for `indexer alerts`, `status` and metrics. Numbers are of this run of the daemon.

use serde::{Deserialize, Serialize};

use crate::rule::Rule;

/// One rule: one line of `alerts --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub rule: String,
    /// What it looks for, in words.
    pub when: String,
    /// Whom it tells, without any secret.
    pub to: String,
    /// Messages delivered, summaries among them.
    pub delivered: u64,
    /// Records told by summaries, and not by a message of their own.
    pub folded: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Records that were given up after the time for that, or left unread because the journal no longer had them.
    pub lost: u64,
    /// Records that wait for their delivery.
    pub waiting: u64,
    /// When a message was last delivered, in nanoseconds since 1970; null while none was.
    pub last_delivery_ns: Option<i64>,
    /// When an attempt last failed.
    pub last_failure_ns: Option<i64>,
    /// Why; null while none did, or since the next delivery.
    pub trouble: Option<String>,
    /// The last record it is done with, durably; null for rules that read none.
    pub cursor: Option<u64>,
    /// Records it has yet to see.
    pub lag: u64,
    /// The last record it has looked at: later than the cursor while something waits.
    pub position: Option<u64>,
}

impl Report {
    /// Of a rule that has done nothing yet.
    #[must_use]
    pub fn of(rule: &Rule) -> Report {
        Report { rule: rule.name.clone(), when: rule.when.shown(), to: rule.to.shown(), ..Report::default() }
    }
}
