//! The flags of `diff` and `report`, and the words they take.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Which snapshots are meant by a day, or by `latest`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Meant {
    /// Look for days and `latest` in this folder [default: as `indexer snapshots list`]
    #[arg(long = "in", value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Only of this root
    #[arg(long, value_name = "ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// Only of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

/// `diff`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Diff {
    /// The older one
    #[arg(value_name = "BEFORE")]
    pub(crate) before: OsString,
    /// The newer one
    #[arg(value_name = "AFTER")]
    pub(crate) after: OsString,
    /// Which are meant.
    #[command(flatten)]
    pub(crate) from: Meant,
    /// Add up by directory, down to so many levels below the root
    #[arg(long, value_name = "DEPTH")]
    pub(crate) by_dir: Option<usize>,
    /// Show only the so many that changed most bytes
    #[arg(long, value_name = "N", conflicts_with = "summary")]
    pub(crate) top: Option<usize>,
    /// Show only the sums
    #[arg(long, conflicts_with = "by_dir")]
    pub(crate) summary: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with_all = ["json", "summary"])]
    pub(crate) csv: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// For people, with bars
    Table,
    /// One object a line
    Json,
    /// Comma-separated values
    Csv,
    /// A file of columns
    Parquet,
}

/// What growth is parted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrowthByArg {
    /// Directory right below the root
    Dir,
    /// Who owns it
    Owner,
    /// Photo, video, music, document, archive, code, other
    Category,
    /// Extension
    Type,
}

/// Which time says how old a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StaleByArg {
    /// When it was last read
    Atime,
    /// When it was last written
    Mtime,
}

/// What counts as stale.
#[derive(Clone, Debug, Args)]
pub(crate) struct Old {
    /// Count as stale what is older
    #[arg(long, value_name = "AGE", default_value = "2y", value_parser = crate::values::age)]
    pub(crate) older_than: std::time::Duration,
    /// By this time
    #[arg(long, value_enum, default_value_t = StaleByArg::Mtime)]
    pub(crate) by: StaleByArg,
}

/// What is reported of, and how.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Reported {
    /// A .parquet file, a folder of snapshots, a day, `latest`, or `now` for the index [default: now]
    #[arg(value_name = "FROM")]
    pub(crate) from: Option<OsString>,
    /// Which are meant.
    #[command(flatten)]
    pub(crate) snapshots: Meant,
    /// Show so many rows [default: 20 in a table, else all]
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Print it in this form [default: table]
    #[arg(long, value_enum, conflicts_with = "json")]
    pub(crate) format: Option<FormatArg>,
    /// Write it to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write one page for a browser to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write over what is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// `report …`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Reporting {
    /// Show by how much a tree grew since a snapshot of it
    #[command(after_help = "\
Examples:
  indexer report growth --since latest
  indexer report growth --since 4w --by owner --in /backup/snapshots
  indexer report growth new.parquet --since old.parquet --by type --html growth.html")]
    Growth {
        /// Part it by this
        #[arg(long, value_enum, default_value_t = GrowthByArg::Dir)]
        by: GrowthByArg,
        /// Compare with this snapshot, or the last that is so old, as 4w [default: the oldest]
        #[arg(long, value_name = "SNAPSHOT|AGE")]
        since: Option<OsString>,
        /// What is reported of.
        #[command(flatten)]
        common: Reported,
    },
    /// Show which directories hold files that nobody wrote or read for long
    #[command(after_help = "\
Counted back from when the snapshot was taken.

Examples:
  indexer report stale --older-than 2y
  indexer report stale --by atime --older-than 90d --json")]
    Stale {
        /// What counts.
        #[command(flatten)]
        old: Old,
        /// What is reported of.
        #[command(flatten)]
        common: Reported,
    },
    /// Show how many files are of which size
    #[command(after_help = "Example:\n  indexer report sizes latest --format csv")]
    Sizes(Reported),
    /// Show what files are there, by the extension of their names
    #[command(after_help = "Example:\n  indexer report types --top 50 --html types.html")]
    Types(Reported),
    /// Show who owns how much
    #[command(after_help = "Example:\n  indexer report owners --json")]
    Owners(Reported),
    /// Show why sizes and the disk differ: hard links, holes, blocks, directories
    #[command(after_help = "Example:\n  indexer report usage --root ~/Media")]
    Usage(Reported),
    /// Show usage, types, owners, sizes and stale, in one pass
    #[command(after_help = "Example:\n  indexer report all --html storage.html")]
    All {
        /// What counts.
        #[command(flatten)]
        old: Old,
        /// What is reported of.
        #[command(flatten)]
        common: Reported,
    },
}
