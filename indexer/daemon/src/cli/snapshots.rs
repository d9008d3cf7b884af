//! The flags of `indexer snapshots`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `snapshots …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshots {
    /// List them, of all hosts and roots
    #[command(after_help = "\
Exit code 1: there are none.

Examples:
  indexer snapshots list
  indexer snapshots list /backup/snapshots --json")]
    List {
        /// The folder [default: that of the configuration, or snapshots in the state folder]
        folder: Option<PathBuf>,
    },
    /// Read them, and compare them with what was written
    #[command(after_help = "\
Compares length, BLAKE3 and rows of each file with its manifest. Exit code 1: something is not as it was written, each with what.

Example:
  indexer snapshots verify /backup/snapshots")]
    Verify {
        /// The folder [default: that of the configuration, or snapshots in the state folder]
        folder: Option<PathBuf>,
    },
    /// Remove those that no count keeps
    #[command(after_help = "\
Counts are of days, weeks and months that have a snapshot, for each host and root by itself; the last is always kept. Where the \
folder has a Delta log, they leave the table first.

Examples:
  indexer snapshots prune /backup/snapshots --keep-daily 7 --keep-weekly 4 --dry-run
  indexer snapshots prune                       # by the counts of the configuration")]
    Prune {
        /// The folder [default: that of the configuration, or snapshots in the state folder]
        folder: Option<PathBuf>,
        /// Which are kept.
        #[command(flatten)]
        keep: KeepArgs,
        /// Only this host's [default: those of all]
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// Only say which would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Write what changed since the last snapshot, or since this was last done
    #[command(after_help = "\
The records of the journal as one more Parquet file, below _changes in the folder; each goes on where the last one ended. What the \
daemon does by itself where the configuration has [snapshots] with `changes`.

Examples:
  indexer snapshots changes
  indexer snapshots changes --output /backup/snapshots --json")]
    Changes {
        /// The folder of the snapshots [default: that of the configuration, or snapshots in the state folder]
        #[arg(short, long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
    /// Write today's snapshot of each root, in place of an earlier one of today, and thin out
    #[command(after_help = "\
What the daemon does by itself where the configuration has [snapshots] with `every`; without counts nothing is removed. With \
--table delta, a Delta log makes all snapshots of the folder one table, with host, root and date as columns.

Examples:
  indexer snapshots roll
  indexer snapshots roll --output /backup/snapshots --keep-daily 7 --keep-monthly 12 --table delta")]
    Roll {
        /// The folder, or s3://BUCKET/PREFIX [default: that of the configuration, or snapshots in the state folder]
        #[arg(short, long, value_name = "FOLDER")]
        output: Option<PathBuf>,
        /// Which are kept.
        #[command(flatten)]
        keep: KeepArgs,
        /// Keep a log of the files, for engines that read them as one table
        #[arg(long, value_enum, value_name = "WHICH")]
        table: Option<TableArg>,
    },
}

/// How many snapshots are kept.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct KeepArgs {
    /// Keep those of so many days
    #[arg(long, value_name = "N")]
    pub(crate) keep_daily: Option<usize>,
    /// Keep the last of so many weeks
    #[arg(long, value_name = "N")]
    pub(crate) keep_weekly: Option<usize>,
    /// Keep the last of so many months
    #[arg(long, value_name = "N")]
    pub(crate) keep_monthly: Option<usize>,
}

/// A log that makes many snapshots one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableArg {
    /// Delta, as Spark, Trino, Polars and ClickHouse read it
    Delta,
}
