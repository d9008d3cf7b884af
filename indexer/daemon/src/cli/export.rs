//! `export …`: the flags of what goes to engines. Decides nothing.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Meant;

/// `export …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Exporting {
    /// Send snapshots to a table in ClickHouse, over HTTP
    #[command(after_help = "\
SNAPSHOT is a .parquet file, a folder that `snapshot` or `snapshots roll` wrote, a day as 2026-11-22, or `latest`.
The table is the one that `indexer schema clickhouse` prints. Rows go in batches, and what is \
in the table already is not sent: after a kill, a timeout or Ctrl-C run it again, and nothing is missing or there twice. \
At the end the table is compared with the snapshot. Another snapshot of the same host, root and day stays, \
unless told to --replace it. The password is CLICKHOUSE_PASSWORD, or in a file; an address with one in it is \
seen in the list of processes by other users, but for that of CLICKHOUSE_URL.
Exit code 0: all of it is in the table; 2: the table or the command line does not fit; 3: it failed.

Examples:
  indexer export clickhouse --url http://127.0.0.1:8123 --create
  indexer export clickhouse --url https://db:8443 --all /backup/snapshots
  indexer export clickhouse --url http://db:8123 media.parquet --replace")]
    Clickhouse(Box<ClickHouse>),
}

/// `export clickhouse`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClickHouse {
    /// What to send [default: latest]
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<OsString>,
    /// Which are meant.
    #[command(flatten)]
    pub(crate) from: Meant,
    /// Send the snapshots of all days in the folders, the oldest first
    #[arg(long)]
    pub(crate) all: bool,
    /// Server of ClickHouse, as http://HOST:8123 or https://HOST:8443
    #[arg(long, value_name = "URL", env = "CLICKHOUSE_URL", hide_env_values = true)]
    pub(crate) url: String,
    /// The table
    #[arg(long, value_name = "NAME", default_value = "files")]
    pub(crate) table: String,
    /// The database that it is in
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) database: String,
    /// Send as this user
    #[arg(long, value_name = "NAME", env = "CLICKHOUSE_USER")]
    pub(crate) user: Option<String>,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Know an https address by the certificates in this file alone [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the password over plain HTTP to another host
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Make the table if it is missing, on one node
    #[arg(long)]
    pub(crate) create: bool,
    /// Remove what is there of the same host, root and day first
    #[arg(long)]
    pub(crate) replace: bool,
    /// Rows in a batch; keep to it while a snapshot is half sent
    #[arg(long, value_name = "N", default_value = "100000")]
    pub(crate) rows_per_batch: NonZeroUsize,
    /// Give up on a request after this long, and try again
    #[arg(long, value_name = "AGE", default_value = "5m", value_parser = crate::values::age)]
    pub(crate) timeout: Duration,
}
