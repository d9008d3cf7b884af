//! What tests on real file systems share: mounts to spoil, a daemon to watch them, and the random work and the judgement of
//! `prove`. Knows the program by its command line alone, as its users do.

mod ask;
mod contents;
mod daemon;
mod digests;
pub mod http;
mod killer;
mod layers;
mod licence;
mod mounts;
mod oracle;
mod parquet;
mod place;
mod python;
mod sets;

pub use ask::{done, json_lines, stderr};
pub use brokers::{
    AMQPValue, Delivery, Skipped, Subscriber, broker_url, is_root, need_root, need_tool, skipped, wait_for,
};
pub use contents::{Contents, Piece, Summary as ContentsSummary, make_folders, sets_made};
pub use daemon::{Daemon, Follower, example, indexer, indexer_binary, unprivileged};
pub use digests::{blake3_of, compare_digests};
pub use killer::Killer;
pub use layers::{FuseMount, OverlayMount, SubvolumeMount, TwoLayers, make_subvolume};
pub use licence::licence_allows;
pub use mounts::{Fs, LoopMount, TmpfsMount};
pub use oracle::{Rows, columns_of, compare, find_json, independent_walk, independent_walk_without, micros};
pub use parquet::{parquet_footer, parquet_rows};
pub use place::{Ground, NOBODY, Place};
pub use prove::{Rng, WalkedStat, Work, Workload};
pub use python::python_with;
pub use sets::{Sets, compare_sets, sets_by_indexer, sets_by_jdupes, sets_by_rmlint};
