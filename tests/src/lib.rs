//! What tests on real file systems share: mounts to spoil, a daemon to watch them, random work to do in them, and a walk
//! of its own to judge the outcome. Knows the program by its command line alone, as its users do.

mod daemon;
mod licence;
mod mapping;
mod mounts;
mod oracle;
mod rng;
mod tools;
mod workload;

pub use daemon::{Daemon, Follower, indexer, indexer_binary};
pub use licence::licence_allows;
pub use mounts::{Fs, LoopMount, TmpfsMount};
pub use oracle::{WalkedStat, compare, find_json, independent_walk, independent_walk_without};
pub use rng::Rng;
pub use tools::{Skipped, is_root, need_root, need_tool, skipped};
pub use workload::{Work, Workload};
