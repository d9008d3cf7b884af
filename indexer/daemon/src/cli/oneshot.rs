//! `scan` without an index: the flags of an older scanner, and the words they take. Decides nothing.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Scan;

/// Which columns rows straight from a walk have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColumnsArg {
    /// The eleven of an older scanner, with times in seconds since 1970
    #[default]
    Unix,
    /// All that `indexer snapshot` writes
    None,
}

/// All flags of `scan`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScanAll {
    /// What and how.
    #[command(flatten)]
    pub(crate) scan: Scan,
    /// Without an index.
    #[command(flatten)]
    pub(crate) once: OneShot,
}

/// What takes the place of an index.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Without an index")]
#[command(group = clap::ArgGroup::new("chunked").args(["incremental", "resume"]).multiple(true))]
pub(crate) struct OneShot {
    /// Write what is below this directory to --output, and index nothing
    #[arg(short, long, value_name = "DIR", requires = "output")]
    pub(crate) path: Option<PathBuf>,
    /// Write to this file, which ends in .parquet
    #[arg(short, long, value_name = "FILE", requires = "path")]
    pub(crate) output: Option<PathBuf>,
    /// Encode this many rows at a time
    #[arg(short, long, value_name = "N", default_value = "8192", requires = "path", value_parser = batch)]
    pub(crate) batch_size: NonZeroUsize,
    /// Write these columns
    #[arg(long, value_enum, value_name = "WHICH", default_value = "unix", requires = "path")]
    pub(crate) compat: ColumnsArg,
    /// Write over what is there
    #[arg(long, requires = "path", conflicts_with = "resume")]
    pub(crate) force: bool,
    /// Write whole files as it goes, NAME_chunk_0001.parquet and on, and NAME_manifest.json
    #[arg(long, requires = "path")]
    pub(crate) incremental: bool,
    /// Go on where a run with --incremental was cut off
    #[arg(long, requires = "path")]
    pub(crate) resume: bool,
    /// End a chunk after this many rows
    #[arg(long, value_name = "N", default_value = "500000", requires = "chunked")]
    pub(crate) rows_per_chunk: NonZeroU64,
    /// End a chunk after this many seconds
    #[arg(long, value_name = "N", default_value = "300", requires = "chunked")]
    pub(crate) chunk_interval_secs: NonZeroU64,
}

fn batch(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 1 << 18;
    let number = text.parse().map_err(|_| format!("{text:?} is no number from 1 to {MOST}"))?;
    if number > NonZeroUsize::new(MOST).unwrap_or(number) {
        return Err(format!("a batch has {MOST} rows at most"));
    }
    Ok(number)
}
