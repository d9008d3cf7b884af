//! What the daemon says of itself: the JSON of `status`, one object. Plain data.

use serde::{Deserialize, Serialize};

/// `status --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Version of the program.
    pub(crate) version: String,
    /// Process of the daemon; null when no daemon runs and the index was read directly.
    pub(crate) pid: Option<u32>,
    /// `starting`, `seeding`, `sweeping`, `live`, `degraded`, `stopping`; `stopped` without a daemon.
    pub(crate) state: String,
    /// Seconds since the daemon started.
    pub(crate) uptime_s: u64,
    /// The state folder.
    pub(crate) state_dir: String,
    /// Rows in the index.
    pub(crate) entries: u64,
    /// The last record.
    pub(crate) seq: u64,
    /// The oldest record still kept.
    pub(crate) oldest_seq: u64,
    /// The journal's epoch, hexadecimal: seqs compare only within one.
    pub(crate) epoch: String,
    /// Bytes of the index file.
    pub(crate) index_bytes: u64,
    /// Bytes of the records kept.
    pub(crate) journal_bytes: u64,
    /// Resident memory of the daemon in bytes.
    pub(crate) rss_bytes: u64,
    /// The configured trees.
    pub(crate) roots: Vec<RootStatus>,
    /// Who reads the journal.
    pub(crate) consumers: Vec<ConsumerStatus>,
    /// Progress of the seed or sweep under way.
    #[serde(flatten)]
    pub(crate) progress: Option<Progress>,
    /// Sweeps under way.
    #[serde(default)]
    pub(crate) sweeps: Vec<SweepStatus>,
    /// Hints nobody has looked at yet.
    pub(crate) pending: u64,
    /// Age of the oldest of them in milliseconds.
    pub(crate) lag_ms: u64,
    /// Kernel events received since the start.
    pub(crate) events: u64,
    /// Times that hints were lost and a sweep repaired it.
    pub(crate) overflows: u64,
    /// How well events tell of what happens.
    #[serde(default)]
    pub(crate) audit: AuditStatus,
    /// How the reading of contents fares; null without a daemon.
    #[serde(default)]
    pub(crate) hashing: Option<HashingStatus>,
    /// What needs a person's attention, in words.
    pub(crate) warnings: Vec<String>,
    /// Everything that is not as the configuration asks; empty when all is well.
    #[serde(default)]
    pub(crate) problems: Vec<Problem>,
    /// The alert rules and how they fare; empty without any, and without a daemon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) alerts: Vec<alert::Report>,
    /// The relay to a broker and how it fares; null without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) amqp: Option<publish::Report>,
    /// Snapshots by the clock and how they fare; null without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshots: Option<crate::rolling::Report>,
}

/// How the reading of contents fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HashingStatus {
    /// `none`, `candidates`, `sampled`, `full` or `remote`.
    pub(crate) reading: String,
    /// `blake3` or `blake2b-256`.
    pub(crate) algorithm: String,
    /// Files whose digest is known.
    pub(crate) hashed: u64,
    /// Files that changed and wait to be read.
    pub(crate) waiting: u64,
    /// Other files that may have to be read.
    pub(crate) files_left: u64,
    /// Their bytes.
    pub(crate) bytes_left: u64,
    /// Nothing waits, and all others were gone through.
    pub(crate) at_rest: bool,
    /// Seconds until they are read, at the pace of now; null when there is none.
    pub(crate) eta_s: Option<u64>,
    /// Bytes read a second, of late.
    pub(crate) bytes_per_second: u64,
    /// Files read since the start.
    pub(crate) files_read: u64,
    /// First or last 4 KiB read since the start.
    pub(crate) ends_read: u64,
    /// Bytes read since the start.
    pub(crate) bytes_read: u64,
    /// Times that a file could not be read.
    pub(crate) refused: u64,
    /// Files whose contents changed though nobody wrote them.
    pub(crate) rotten: u64,
}

/// Something that is not as the configuration asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// `starting`, `engine_failed`, `root_lost` and so on: the table in docs/semantics.md.
    pub(crate) code: String,
    /// The root that it is about; null for the daemon as a whole.
    pub(crate) root: Option<String>,
    /// What is wrong, in words.
    pub(crate) why: String,
}

impl Problem {
    /// As one line of text: code, root, reason.
    pub(crate) fn line(&self) -> String {
        let root = self.root.as_deref().map(|root| format!(" {}", crate::render::quoted(root.as_bytes())));
        format!("{}{}: {}", self.code, root.unwrap_or_default(), crate::render::quoted(self.why.as_bytes()))
    }
}

/// What the self-audit and the watch came to in the last 24 hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditStatus {
    /// Directories picked at random and compared with the disk.
    pub(crate) directories: u64,
    /// Entries in them.
    pub(crate) entries: u64,
    /// Changes found that no event had told of.
    pub(crate) missed: u64,
    /// Changes told by events, of which the latency is known.
    pub(crate) detections: u64,
    /// Half of those were in the journal within so many milliseconds; null without any.
    pub(crate) detection_p50_ms: Option<f64>,
    /// 99 of 100 were.
    pub(crate) detection_p99_ms: Option<f64>,
}

/// A sweep under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepStatus {
    /// The root's path.
    pub(crate) root: String,
    /// `stat` or `names`.
    pub(crate) level: String,
    /// `start`, `asked`, `repair`, `settle`, `due`.
    pub(crate) why: String,
    /// When it began.
    pub(crate) began_ns: i128,
    /// 0 to 99, of the entries that the index has.
    pub(crate) percent: f64,
}

/// Progress of a seed or sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// 0 to 100, an estimate from directories left.
    pub(crate) percent: f64,
    /// Entries found by the walk.
    pub(crate) files_found: u64,
    /// Entries that are in the index (or compared with it).
    pub(crate) files_processed: u64,
    /// Sum of sizes found.
    pub(crate) bytes_processed: u64,
    /// Directories found and not yet listed.
    pub(crate) directories_left: u64,
    /// Directories that were listed before the first scan was interrupted, and are not listed again.
    #[serde(default)]
    pub(crate) directories_before: u64,
}

/// One configured tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootStatus {
    /// Its path.
    pub(crate) path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// `starting`, `seeding`, `sweeping`, `live`, `repairing`, `lost`, `unwatched`.
    pub(crate) state: String,
    /// `fanotify`, `fanotify-dirs`, `inotify`, `sweep`, `none`; several joined by `+`.
    pub(crate) backend: String,
    /// Why that one.
    pub(crate) reason: String,
    /// Entries below it, itself included.
    pub(crate) entries: u64,
    /// Recursive size in bytes.
    pub(crate) bytes: u64,
    /// Everything in it was true at this time; null while that was never so.
    pub(crate) verified_ns: Option<i128>,
    /// How its directories are kept true, and since when.
    #[serde(default)]
    pub(crate) coverage: CoverageStatus,
    /// Entries that the last sweep did not find and that are kept until a second look confirms it.
    #[serde(default)]
    pub(crate) doubted: u64,
    /// Why it could not be swept as it has to be; null when it was.
    #[serde(default)]
    pub(crate) trouble: Option<String>,
    /// Its file system numbers files by layers, so that one number may be of two files.
    #[serde(default)]
    pub(crate) layered: bool,
    /// Its last sweep as a whole, if there was one since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swept: Option<SweptStatus>,
    /// Directories that cannot be vouched for.
    pub(crate) blind: u64,
    /// The first few of them, with the reason.
    pub(crate) blind_paths: Vec<BlindPath>,
    /// Directories watched one by one (`inotify`, `fanotify-dirs`), in all roots together.
    pub(crate) watches: u64,
    /// Why it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<String>,
}

/// How the directories of a root are kept true: counts of directories, which add up to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CoverageStatus {
    /// Kernel events tell of them.
    pub(crate) watched: u64,
    /// Only sweeps do.
    pub(crate) swept: u64,
    /// Not compared with the disk since the daemon started, or since a first scan that was interrupted.
    pub(crate) unverified: u64,
    /// They cannot be looked at.
    pub(crate) blind: u64,
    /// Seconds between two sweeps of what is only swept; null where nothing is.
    pub(crate) sweep_every_s: Option<u64>,
}

/// The last sweep of a whole root. Sweeps are numbered from the start of the daemon on; none removes anything by itself, so
/// one that was cut off has done no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SweptStatus {
    /// Its number.
    pub(crate) epoch: u64,
    /// `stat` or `names`.
    pub(crate) level: String,
    /// `start`, `asked`, `repair`, `resumed`, `settle`, `due`.
    pub(crate) why: String,
    /// When it began: what it compared was true then, or later.
    pub(crate) began_ns: i128,
    /// When it ended.
    pub(crate) ended_ns: i128,
    /// It met nothing that it could not look at.
    pub(crate) complete: bool,
    /// Names and directories that differed and were looked at again.
    pub(crate) differences: u64,
}

/// A directory that cannot be vouched for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlindPath {
    /// Its path.
    pub(crate) path: String,
    /// Why.
    pub(crate) why: String,
    /// Since when.
    pub(crate) since_ns: i128,
}

/// A reader of the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConsumerStatus {
    /// Its name.
    pub(crate) name: String,
    /// The last record it is done with.
    pub(crate) seq: u64,
    /// Records it has yet to see.
    pub(crate) lag: u64,
}

/// Result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SweepReport {
    /// Entries compared.
    pub(crate) entries: u64,
    /// Directories listed.
    pub(crate) directories: u64,
    /// Names that differed and were looked at again.
    pub(crate) differences: u64,
    /// Records since it began: those that came of it, and of what was followed meanwhile.
    pub(crate) records: u64,
    /// Directories that could not be listed wholly.
    pub(crate) partial: u64,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// Roots that could not be swept, by path and reason; absent when all were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<String>,
}

impl SweepReport {
    /// Adds what another sweep compared.
    pub(crate) fn add(&mut self, other: &SweepReport) {
        self.entries += other.entries;
        self.directories += other.directories;
        self.differences += other.differences;
        self.partial += other.partial;
    }
}

/// Result of a settle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// The last record then.
    pub(crate) seq: u64,
    /// Roots that cannot be vouched for, by path and reason; empty when all is settled.
    pub(crate) unsettled: Vec<String>,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
}
