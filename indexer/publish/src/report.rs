//! How a relay fares, for `status`, health and metrics. Numbers are of this run of the daemon.

use serde::{Deserialize, Serialize};

/// What `status --json` says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The broker, without the password.
    pub broker: String,
    /// The exchange.
    pub exchange: String,
    /// `connecting`, `publishing`, `blocked` (the broker takes nothing for now), `waiting` (for the next attempt).
    pub state: String,
    /// The last record that the broker confirmed, and all before it.
    pub cursor: u64,
    /// Records after it.
    pub lag: u64,
    /// How long ago the oldest of them was seen, in seconds, when the report is made; 0 where there is none.
    pub lag_seconds: u64,
    /// Messages confirmed.
    pub confirmed: u64,
    /// Messages that came back, since nothing is bound that takes them, or were refused.
    pub refused: u64,
    /// Connections made.
    pub connections: u64,
    /// Records that the journal let go of before they were published: subscribers were told by a gap.
    pub lost: u64,
    /// What is wrong; null while nothing is.
    pub trouble: Option<String>,
}
