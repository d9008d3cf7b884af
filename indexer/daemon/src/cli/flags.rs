//! The flags of single commands, and the words they take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What a sweep compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelArg {
    /// Names alone
    Names,
    /// Names and stat fields
    Stat,
    /// Those, and contents that were read before
    Content,
}

/// What sums are taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ByArg {
    /// Photo, video, music, document, archive, code, other
    Category,
}

/// Which schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaArg {
    /// JSON Schema of a message's body
    Json,
    /// AsyncAPI: exchange, keys, headers and bodies
    Asyncapi,
    /// Columns of a batch in Arrow's format
    Arrow,
    /// JSON Schema of a job for `consume rehash`
    Job,
    /// JSON Schema of its answer
    Answer,
    /// A ClickHouse table for snapshots
    Clickhouse,
    /// The same for shards and replicas
    ClickhouseCluster,
    /// A DuckDB table for snapshots
    Duckdb,
}

/// How records are written for the message broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AmqpFormatArg {
    /// Each is a message
    Json,
    /// Many are one message, an Arrow IPC stream
    Arrow,
}

/// Which means of watching to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    /// The best there is, root by root
    Auto,
    /// One mark for the whole file system (takes root)
    Fanotify,
    /// One watch a directory
    Inotify,
    /// The portable watcher
    Notify,
    /// Sweeps alone
    Sweep,
}

/// What health asks of every directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RequireArg {
    /// That kernel events tell of it
    Watched,
    /// That sweeps compare it
    Swept,
}

/// Threads, batch and cache together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    /// One thread, little memory
    Conservative,
    /// A thread a core
    Default,
    /// Two threads a core, large caches
    Aggressive,
}

/// Whose contents are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HashArg {
    /// Nobody's
    None,
    /// Files that may have a duplicate
    Candidates,
    /// All files; of those over 10 MiB head, middle and tail
    Sampled,
    /// All files, in full
    Full,
    /// All files, in full, by `indexer consume rehash` on other hosts
    Remote,
}

/// What contents are hashed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlgorithmArg {
    /// BLAKE3
    Blake3,
    /// BLAKE2b with 256 bits
    #[value(name = "blake2b-256")]
    Blake2b256,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

/// What of the trees is indexed, and with what effort.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Scan {
    /// Directories to index
    #[arg(value_name = "ROOT")]
    pub(crate) roots: Vec<PathBuf>,
    /// Look at this many directories at once
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Index this many levels below a root
    #[arg(short, long, value_name = "N")]
    pub(crate) max_depth: Option<u32>,
    /// Leave out what matches, in the syntax of .gitignore (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) ignore_file: Option<PathBuf>,
    /// Index what symbolic links lead to, once each
    #[arg(short, long)]
    pub(crate) follow_symlinks: bool,
    /// Leave out file systems mounted inside a root
    #[arg(long)]
    pub(crate) one_file_system: bool,
    /// Read the contents of these files [default: candidates by `watch`, none by `scan`]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) hash: Option<HashArg>,
    /// Hash contents by this [default: blake3]
    #[arg(long, value_enum)]
    pub(crate) algorithm: Option<AlgorithmArg>,
    /// Read at most so many bytes a second, as 50MiB
    #[arg(long, value_name = "SIZE", value_parser = crate::values::size)]
    pub(crate) hash_rate: Option<u64>,
    /// Set threads, batch and cache together
    #[arg(long, value_enum)]
    pub(crate) profile: Option<ProfileArg>,
    /// Write the log as text or as JSON
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

/// `watch`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Watch {
    /// Watch by this means
    #[arg(long, value_enum)]
    pub(crate) backend: Option<BackendArg>,
    /// Serve /metrics and /healthz at this loopback address too, as 127.0.0.1:9187
    #[arg(long, value_name = "ADDRESS", value_parser = crate::values::loopback)]
    pub(crate) metrics_listen: Option<std::net::SocketAddr>,
    /// Write records for the message broker in this form [default: json]
    #[arg(long, value_enum)]
    pub(crate) amqp_format: Option<AmqpFormatArg>,
    /// What and how.
    #[command(flatten)]
    pub(crate) scan: Scan,
}

/// `changes`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Changes {
    /// Begin after a seq, at a time, or so long ago [default: the oldest record kept]
    #[arg(long, value_name = "SEQ|TIME|AGE")]
    pub(crate) since: Option<String>,
    /// Go on with new records as they come
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only records of this root
    #[arg(long, value_name = "ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// Begin where this consumer left off
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Move the consumer's cursor over what was printed
    #[arg(long, requires = "consumer")]
    pub(crate) ack: bool,
    /// Remove the consumer and its cursor
    #[arg(long, requires = "consumer", conflicts_with_all = ["ack", "follow", "since", "limit", "root"])]
    pub(crate) forget: bool,
    /// Print at most so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// `find`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Find {
    /// Where to begin [default: all roots]
    pub(crate) path: Option<PathBuf>,
    /// Name matches this pattern, of `*`, `?` and `[abc]`
    #[arg(long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
    /// The same, upper and lower case alike
    #[arg(long, value_name = "GLOB")]
    pub(crate) iname: Option<String>,
    /// f d l p s b c, or words: file directory symlink fifo socket block char; several by commas
    #[arg(long = "type", value_name = "KIND", value_delimiter = ',')]
    pub(crate) kinds: Vec<String>,
    /// More than (+), less than (-) or exactly so many bytes; units k M G T
    #[arg(long, value_name = "[+-]N", allow_hyphen_values = true, value_parser = crate::values::size_test)]
    pub(crate) size: Option<(u64, u64)>,
    /// Modified after a time, or within an age
    #[arg(long, value_name = "TIME|AGE")]
    pub(crate) newer: Option<String>,
    /// Modified before a time, or longer ago than an age
    #[arg(long, value_name = "TIME|AGE")]
    pub(crate) older: Option<String>,
    /// photo video music document archive code other; several by commas
    #[arg(long = "category", value_name = "WORD", value_delimiter = ',')]
    pub(crate) categories: Vec<String>,
    /// User number or name
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,
    /// Number of hard links: 2, or 2+ for 2 and more
    #[arg(long, value_name = "N", value_parser = crate::values::links_test)]
    pub(crate) links: Option<(u32, u32)>,
    /// Go this many levels down
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<u32>,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// End each path with a NUL and quote nothing
    #[arg(long, conflicts_with = "json")]
    pub(crate) print0: bool,
}

/// `du`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Du {
    /// Directory [default: all roots]
    pub(crate) path: Option<PathBuf>,
    /// Show directories so many levels down too
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u32>,
    /// Show only the largest so many of them [default depth: 1]
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Count each file with several names wherever one lies below, as du(1) does; walks the index
    #[arg(long)]
    pub(crate) exact: bool,
    /// Show the sums of each sort of file instead; walks the index
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["depth", "top"])]
    pub(crate) by: Option<ByArg>,
}

/// How copies are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkArg {
    /// As names of one file
    Hard,
    /// As files that share blocks (btrfs, XFS)
    Reflink,
}

/// `dups`.
#[derive(Clone, Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("act").args(["link", "undo"]))]
pub(crate) struct Dups {
    /// Only copies of so many bytes and more, as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = crate::values::size)]
    pub(crate) min_size: Option<u64>,
    /// Only sets of files, and all of them, also those in equal directories
    #[arg(long)]
    pub(crate) files: bool,
    /// Only sets with a copy below this directory
    #[arg(long, value_name = "PATH")]
    pub(crate) root: Option<PathBuf>,
    /// Only so many sets, those that waste most
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Join the copies of each set with the one that is kept
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Acting on duplicates")]
    pub(crate) link: Option<LinkArg>,
    /// Only show what would be done [the default]
    #[arg(long, requires = "act", conflicts_with = "apply", help_heading = "Acting on duplicates")]
    pub(crate) dry_run: bool,
    /// Do it
    #[arg(long, requires = "act", help_heading = "Acting on duplicates")]
    pub(crate) apply: bool,
    /// Log what is done to this new file [default: links-TIME.jsonl in the state folder]
    #[arg(long, value_name = "FILE", requires_all = ["apply", "link"], help_heading = "Acting on duplicates")]
    pub(crate) log: Option<PathBuf>,
    /// Undo what this log says was done
    #[arg(long, value_name = "LOG", conflicts_with_all = ["link", "min_size", "root", "top"], help_heading = "Acting on duplicates")]
    pub(crate) undo: Option<PathBuf>,
}

/// `scrub`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Scrub {
    /// Only this file, or what is below this directory [default: all roots]
    pub(crate) path: Option<PathBuf>,
    /// Only what was not read for so long, as 30d
    #[arg(long, value_name = "AGE", value_parser = crate::values::age)]
    pub(crate) older_than: Option<std::time::Duration>,
    /// Read at most so many bytes a second, as 50MiB [default: as `--hash-rate` of the daemon]
    #[arg(long, value_name = "SIZE", value_parser = crate::values::size)]
    pub(crate) rate: Option<u64>,
    /// Read nothing, and show the files that are known to have rotted
    #[arg(long, conflicts_with_all = ["path", "older_than", "rate"])]
    pub(crate) list: bool,
}

/// `prove`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Prove {
    /// A directory on the file system to prove [default: the current one]
    pub(crate) path: Option<PathBuf>,
    /// Repeat the work that this number chooses [default: a new one, printed]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Take about so long
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) seconds: u64,
    /// Make so many rounds of random work [default: as fit into the time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// Change files from so many threads at once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// Kill the daemon so many times
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) kills: u32,
    /// Watch by this means [default: the best there is]
    #[arg(long, value_enum)]
    pub(crate) backend: Option<BackendArg>,
    /// Leave folder and state when all is well too
    #[arg(long)]
    pub(crate) keep: bool,
    /// Keep the state on the same file system [default: in the folder for temporary files]
    #[arg(long)]
    pub(crate) state_beside: bool,
}

/// Which columns a snapshot has instead of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompatArg {
    /// The eleven of an older scanner, with times in seconds since 1970
    Unix,
}

/// `snapshot`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Snapshot {
    /// Only this root [default: all]
    #[arg(long, value_name = "ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// Write to this folder or s3://BUCKET/PREFIX, or this file where it ends in .parquet [default: snapshots in the state folder]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Write over a snapshot that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Write other columns than all
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) compat: Option<CompatArg>,
    /// Encode with this many threads [default: one a core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    /// Give up when the index file grows by more while it is read
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = crate::values::size)]
    pub(crate) max_growth: u64,
}
