//! What the daemon says of itself: the JSON of `status`, one object. Plain data.

use serde::{Deserialize, Serialize};

/// `status --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process of the daemon; null when no daemon runs and the index was read directly.
    pub pid: Option<u32>,
    /// `starting`, `seeding`, `sweeping`, `live`, `degraded`, `stopping`; `stopped` without a daemon.
    pub state: String,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// The state folder.
    pub state_dir: String,
    /// Rows in the index.
    pub entries: u64,
    /// The last record.
    pub seq: u64,
    /// The oldest record still kept.
    pub oldest_seq: u64,
    /// The journal's epoch, hexadecimal: seqs compare only within one.
    pub epoch: String,
    /// Bytes of the index file.
    pub index_bytes: u64,
    /// Bytes of the records kept.
    pub journal_bytes: u64,
    /// Resident memory of the daemon in bytes.
    pub rss_bytes: u64,
    /// The configured trees.
    pub roots: Vec<RootStatus>,
    /// Who reads the journal.
    pub consumers: Vec<ConsumerStatus>,
    /// Progress of the seed or sweep under way.
    #[serde(flatten)]
    pub progress: Option<Progress>,
    /// Hints nobody has looked at yet.
    pub pending: u64,
    /// Age of the oldest of them in milliseconds.
    pub lag_ms: u64,
    /// Kernel events received since the start.
    pub events: u64,
    /// Times that hints were lost and a sweep repaired it.
    pub overflows: u64,
    /// What needs a person's attention, in words.
    pub warnings: Vec<String>,
}

/// Progress of a seed or sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100, an estimate from directories left.
    pub percent: f64,
    /// Entries found by the walk.
    pub files_found: u64,
    /// Entries that are in the index (or compared with it).
    pub files_processed: u64,
    /// Sum of sizes found.
    pub bytes_processed: u64,
    /// Directories found and not yet listed.
    pub directories_left: u64,
}

/// One configured tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RootStatus {
    /// Its path.
    pub path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// `starting`, `seeding`, `sweeping`, `live`, `repairing`, `lost`, `unwatched`.
    pub state: String,
    /// `fanotify`, `inotify`, `sweep`, `none`; several joined by `+`.
    pub backend: String,
    /// Why that one.
    pub reason: String,
    /// Entries below it, itself included.
    pub entries: u64,
    /// Recursive size in bytes.
    pub bytes: u64,
    /// Everything in it was true at this time; null while that was never so.
    pub verified_ns: Option<i128>,
    /// Directories that cannot be vouched for.
    pub blind: u64,
    /// The first few of them, with the reason.
    pub blind_paths: Vec<BlindPath>,
    /// Directories watched one by one (inotify).
    pub watches: u64,
    /// Why it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// A directory that cannot be vouched for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlindPath {
    /// Its path.
    pub path: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub since_ns: i128,
}

/// A reader of the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// The last record it is done with.
    pub seq: u64,
    /// Records it has yet to see.
    pub lag: u64,
}

/// Result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Entries compared.
    pub entries: u64,
    /// Directories listed.
    pub directories: u64,
    /// Names that differed and were looked at again.
    pub differences: u64,
    /// Records that came of it.
    pub records: u64,
    /// Directories that could not be listed wholly.
    pub partial: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Result of a settle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The last record then.
    pub seq: u64,
    /// Roots that cannot be vouched for, by path and reason; empty when all is settled.
    pub unsettled: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
