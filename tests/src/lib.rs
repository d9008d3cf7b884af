//! What tests on real file systems share: mounts to spoil, a daemon to watch them, random work to do in them, and a walk
//! of its own to judge the outcome. Knows the program by its command line alone, as its users do.

mod ask;
mod daemon;
mod licence;
mod mapping;
mod mounts;
mod oracle;
mod place;
mod replay;
mod rng;
mod tools;
mod workload;

pub use ask::{json_lines, stderr, wait_for};
pub use daemon::{Daemon, Follower, indexer, indexer_binary, unprivileged};
pub use licence::licence_allows;
pub use mounts::{Fs, LoopMount, TmpfsMount};
pub use oracle::{WalkedStat, compare, find_json, independent_walk, independent_walk_without};
pub use place::{Ground, NOBODY, Place};
pub use replay::Rows;
pub use rng::Rng;
pub use tools::{Skipped, is_root, need_root, need_tool, skipped};
pub use workload::{Work, Workload};
