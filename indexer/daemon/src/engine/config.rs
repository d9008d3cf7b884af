//! What the engine is told to do. Plain data; who parses flags and files is elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use record::Hashing;
use serde::{Deserialize, Serialize};

use super::status::Progress;
pub(crate) use super::sweeping::schedule::Schedule;

/// Called while a seed or sweep runs, with the phase: `scanning`, `loading`, `sweeping`.
pub(crate) type ProgressHook = Arc<dyn Fn(&Progress, &str) + Send + Sync>;

/// How the tree is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backend {
    /// fanotify where the kernel allows it, inotify elsewhere.
    #[default]
    Auto,
    /// fanotify or an error.
    Fanotify,
    /// inotify.
    Inotify,
    /// The portable watcher and sweeps.
    Notify,
    /// No events: sweeps alone.
    Sweep,
}

/// What health asks of every directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Require {
    /// What the chosen backend implies: events, but for [`Backend::Sweep`].
    #[default]
    Backend,
    /// Events.
    Watched,
    /// Sweeps are enough.
    Swept,
}

/// How much a sweep looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    /// Directories whose own times moved.
    Names,
    /// Every entry.
    #[default]
    Stat,
}

impl Level {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Level::Names => "names",
            Level::Stat => "stat",
        }
    }
}

/// One tree to index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RootConfig {
    /// Absolute path without `.`, `..`, doubled or trailing slashes.
    pub(crate) path: Vec<u8>,
    /// Patterns left out, in the syntax of ignore files.
    pub(crate) excludes: Vec<String>,
    /// A file of such patterns.
    pub(crate) ignore_file: Option<PathBuf>,
    /// Levels below the root.
    pub(crate) max_depth: Option<u32>,
    /// Leave out mount points.
    pub(crate) one_file_system: bool,
    /// Enter links that lead out of the root.
    pub(crate) follow_symlinks: bool,
}

/// The rules of a root as stored beside it: without flags, a root keeps those it was seeded by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredRules {
    /// See [`RootConfig`].
    pub(crate) excludes: Vec<String>,
    /// See [`RootConfig`].
    pub(crate) ignore_file: Option<PathBuf>,
    /// See [`RootConfig`].
    pub(crate) max_depth: Option<u32>,
    /// See [`RootConfig`].
    pub(crate) one_file_system: bool,
    /// See [`RootConfig`].
    pub(crate) follow_symlinks: bool,
}

impl StoredRules {
    /// The rules in a root's row; those of an unreadable one are none.
    pub(crate) fn parse(text: &str) -> StoredRules {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<&RootConfig> for StoredRules {
    fn from(config: &RootConfig) -> StoredRules {
        StoredRules {
            excludes: config.excludes.clone(),
            ignore_file: config.ignore_file.clone(),
            max_depth: config.max_depth,
            one_file_system: config.one_file_system,
            follow_symlinks: config.follow_symlinks,
        }
    }
}

impl RootConfig {
    /// A root by its stored rules.
    pub(crate) fn stored(path: &[u8], rules: &str) -> RootConfig {
        let rules = StoredRules::parse(rules);
        RootConfig {
            path: path.to_vec(),
            excludes: rules.excludes,
            ignore_file: rules.ignore_file,
            max_depth: rules.max_depth,
            one_file_system: rules.one_file_system,
            follow_symlinks: rules.follow_symlinks,
        }
    }
}

/// Everything the engine needs to know.
#[derive(Clone)]
pub(crate) struct EngineConfig {
    /// The trees.
    pub(crate) roots: Vec<RootConfig>,
    /// How they are watched.
    pub(crate) backend: Backend,
    /// inotify watches at most, if fewer than our share of the system's limit.
    pub(crate) watches: Option<usize>,
    /// What health asks of every directory.
    pub(crate) require: Require,
    /// Threads of a walk.
    pub(crate) threads: usize,
    /// Bytes of the index's page cache.
    pub(crate) cache_bytes: usize,
    /// Hints looked at for one commit.
    pub(crate) batch: usize,
    /// Bytes of a sort buffer of the seed.
    pub(crate) seed_buffer: usize,
    /// How long a first scan runs before it is made safe, and between two times of that.
    pub(crate) checkpoint: Duration,
    /// How much of the journal is kept.
    pub(crate) retention: index::Retention,
    /// How long a file must be quiet to be called complete without a close.
    pub(crate) quiet: Duration,
    /// How often a directory is compared with the disk to see whether events tell of everything; zero: never.
    pub(crate) audit: Duration,
    /// What a crash costs at the next start.
    pub(crate) repair: index::Repair,
    /// Which contents are to be known; `None`: as the index has it.
    pub(crate) hashing: Option<Hashing>,
    /// Bytes of contents read a second at most.
    pub(crate) hash_rate: Option<u64>,
    /// How often everything is swept.
    pub(crate) schedule: Schedule,
    /// Told of progress about five times a second.
    pub(crate) progress: ProgressHook,
}
