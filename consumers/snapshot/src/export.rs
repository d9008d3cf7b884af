//! Snapshots into a table of ClickHouse, in batches that may be repeated. What is there already is asked for before anything is sent, each
//! batch has a token by which the engine knows it, and what is there is compared at the end.

mod batch;
mod client;
mod error;
mod server;
mod table;
mod words;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub use batch::Key;
use batch::{Batch, Snapshot, Sums, Want};
pub use error::ExportError;
pub use server::Server;
pub use table::{Table, Watcher};

/// How often a table that need not show at once what it took is asked again, and for how long each time.
const LATE: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// What came of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Which rows of the table are its.
    pub key: Key,
    /// How many.
    pub rows: u64,
    /// Batches that were sent.
    pub sent: u64,
    /// Rows in them.
    pub sent_rows: u64,
    /// Batches that were there already.
    pub there: u64,
    /// Rows that were removed first.
    pub removed: u64,
}

/// One way into a table.
#[derive(Debug)]
pub struct Export<'a> {
    /// The table, checked.
    pub table: &'a Table,
    /// Rows in a batch.
    pub rows: NonZeroUsize,
    /// Whether rows of the same host, root and day go first.
    pub replace: bool,
}

/// The batches of a file, by the numbers of their first rows, that are to be sent.
enum Missing {
    All,
    These(Vec<u64>),
}

impl Missing {
    fn has(&self, batch: &Batch) -> bool {
        match self {
            Missing::All => true,
            Missing::These(these) => these.binary_search(&batch.start).is_ok(),
        }
    }
}

impl Export<'_> {
    /// Of what the file is, and how many rows it says to have.
    ///
    /// # Errors
    /// When it is no snapshot that the table can hold.
    pub fn look(file: &Path) -> Result<(Key, u64), ExportError> {
        Snapshot::look(file).map(|snapshot| (snapshot.key, snapshot.rows))
    }

    /// Puts all rows of `file` into the table that are not in it. They are there, and no others of that host, root and day, when it returns.
    ///
    /// # Errors
    /// What stands against it. What was sent is there, and is known by the next run.
    pub fn put(&self, file: &Path, watcher: &mut dyn Watcher) -> Result<Exported, ExportError> {
        let snapshot = Snapshot::open(file)?;
        let key = snapshot.key.clone();
        let mut done =
            Exported { key: key.clone(), rows: snapshot.rows, sent: 0, sent_rows: 0, there: 0, removed: 0 };
        let mut there = self.table.sums(&key, None, watcher)?;
        // The engine would know batches from before a removal, and take none of them again.
        let mut run = String::new();
        if self.replace {
            run = fresh();
            if there.rows > 0 {
                self.table.remove(&key, watcher)?;
                done.removed = there.rows;
                there = self.settled(&key, &Sums::default(), watcher)?;
            }
        }
        let mut missing = self.missing(&snapshot, there, watcher)?;
        let mut tell = Some(&mut done);
        loop {
            let last = tell.is_none();
            let whole = self.fill(&snapshot, &missing, &run, tell.take(), watcher)?;
            let there = self.settled(&key, &whole, watcher)?;
            if there == whole {
                return Ok(done);
            }
            let (table, key, rows) = (self.table.shown(), key.clone(), whole.rows);
            if there.rows >= rows {
                return Err(ExportError::Other { table, key, there: there.rows, rows });
            }
            if last || !self.table.is_at_once() {
                return Err(ExportError::Fewer { table, key, there: there.rows, rows });
            }
            // It knew the token of a batch whose rows somebody removed since. Nothing with that token is under way any more.
            run = fresh();
            missing = self.missing(&snapshot, there, watcher)?;
        }
    }

    /// What the table lacks. Nothing else of that host, root and day may be in it.
    fn missing(
        &self,
        snapshot: &Snapshot,
        mut there: Sums,
        watcher: &mut dyn Watcher,
    ) -> Result<Missing, ExportError> {
        for pause in [LATE[2], LATE[2], Duration::ZERO] {
            if there.rows == 0 {
                return Ok(Missing::All);
            }
            let (these, known) = self.compared(snapshot, watcher)?;
            if known == there {
                return Ok(Missing::These(these));
            }
            // A batch of a run that was killed may have come in meanwhile.
            if !watcher.pause(pause) {
                return Err(ExportError::Stopped);
            }
            there = self.table.sums(&snapshot.key, None, watcher)?;
        }
        let (table, key) = (self.table.shown(), snapshot.key.clone());
        Err(ExportError::Other { table, key, there: there.rows, rows: snapshot.rows })
    }

    /// The batches of which nothing is there, and what those add up to that are; no further than to one that is there in part.
    fn compared(
        &self,
        snapshot: &Snapshot,
        watcher: &mut dyn Watcher,
    ) -> Result<(Vec<u64>, Sums), ExportError> {
        let mut batches = snapshot.batches(self.rows.get(), Want::Sums)?;
        let (mut these, mut known) = (Vec::new(), Sums::default());
        while let Some(batch) = batches.next()? {
            let is = self.table.sums(&snapshot.key, Some(&batch.between), watcher)?;
            if is == batch.sums {
                known.add(&is);
            } else if is.rows == 0 {
                these.push(batch.start);
            } else {
                break;
            }
            if !watcher.pause(Duration::ZERO) {
                return Err(ExportError::Stopped);
            }
        }
        Ok((these, known))
    }

    /// Sends what is missing, and answers what the whole file adds up to. It is told of once alone.
    fn fill(
        &self,
        snapshot: &Snapshot,
        missing: &Missing,
        run: &str,
        mut tell: Option<&mut Exported>,
        watcher: &mut dyn Watcher,
    ) -> Result<Sums, ExportError> {
        let want = match missing {
            Missing::These(these) if these.is_empty() => Want::Sums,
            _ => Want::All,
        };
        let mut batches = snapshot.batches(self.rows.get(), want)?;
        let mut whole = Sums::default();
        while let Some(batch) = batches.next()? {
            if !watcher.pause(Duration::ZERO) {
                return Err(ExportError::Stopped);
            }
            whole.add(&batch.sums);
            if missing.has(&batch) {
                // Which rows of which file: whatever the size of batches, a token means the same rows.
                let id = format!("indexer-{}-{}-{}", snapshot.blake3, batch.start, batch.sums.rows);
                let body = snapshot.body(&batch)?;
                let mut there = |watcher: &mut dyn Watcher| {
                    Ok(self.table.sums(&snapshot.key, Some(&batch.between), watcher)? == batch.sums)
                };
                self.table.insert((&format!("{id}{run}"), &id), &body, watcher, &mut there)?;
            }
            let Some(done) = &mut tell else { continue };
            if missing.has(&batch) {
                done.sent += 1;
                done.sent_rows += batch.sums.rows;
            } else {
                done.there += 1;
            }
            watcher.rows(batch.sums.rows);
        }
        Ok(whole)
    }

    /// What the rows of `key` add up to, when that is `expected`, or when waiting for it is no use.
    fn settled(&self, key: &Key, expected: &Sums, watcher: &mut dyn Watcher) -> Result<Sums, ExportError> {
        let mut there = self.table.sums(key, None, watcher)?;
        for pause in LATE {
            if there == *expected || self.table.is_at_once() {
                break;
            }
            if !watcher.pause(pause) {
                return Err(ExportError::Stopped);
            }
            there = self.table.sums(key, None, watcher)?;
        }
        Ok(there)
    }
}

/// A text that no run had before.
fn fresh() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("-{:x}-{:x}", now.as_nanos(), std::process::id())
}
