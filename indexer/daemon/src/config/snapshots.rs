//! `[snapshots]` in the configuration file: where the daemon rolls snapshots to, how often, and which are kept.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use snapshot::{Address, Keep};

use crate::cli::TableArg;

/// Less would be at it all the time.
const LEAST: Duration = Duration::from_secs(60);

/// What may stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Snapshots {
    /// The folder.
    pub(crate) folder: Option<PathBuf>,
    /// How often the daemon writes one of each root; never where it is absent.
    #[serde(deserialize_with = "super::file::age")]
    pub(crate) every: Option<Duration>,
    /// How often it writes what changed since; never where it is absent.
    #[serde(deserialize_with = "super::file::age")]
    pub(crate) changes: Option<Duration>,
    keep: Option<Counts>,
    /// The log that makes them one table.
    #[serde(deserialize_with = "super::file::word")]
    pub(crate) table: Option<TableArg>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Counts {
    daily: usize,
    weekly: usize,
    monthly: usize,
}

impl Snapshots {
    /// Which are kept; all, where nothing is said.
    pub(crate) fn keep(&self) -> Option<Keep> {
        self.keep.map(|Counts { daily, weekly, monthly }| Keep { daily, weekly, monthly })
    }

    /// # Errors
    /// What is wrong, and what to write.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.every.is_some_and(|every| every < LEAST) {
            return Err(
                "every: less than a minute; write every = \"1d\", or \"6h\" to have the day's renewed"
                    .to_owned(),
            );
        }
        if let Some(changes) = self.changes {
            let Some(every) = self.every else {
                return Err("changes: they follow snapshots; write every = \"1d\" as well".to_owned());
            };
            if changes < LEAST || changes >= every {
                return Err(
                    "changes: they are written between snapshots, at least a minute apart; write changes = \"1h\" with every = \"1d\""
                        .to_owned(),
                );
            }
        }
        if let Some(folder) = &self.folder
            && !matches!(Address::of(folder), Ok(None))
        {
            return Err(
                "folder: the daemon rolls into a folder on a disk alone; for an object store have a timer run indexer snapshots roll --output s3://…"
                    .to_owned(),
            );
        }
        if self.keep == Some(Counts::default()) {
            return Err(
                "keep: it counts nothing, so all but the last would go; write keep = { daily = 7, monthly = 12 }, or leave it out to keep all"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
