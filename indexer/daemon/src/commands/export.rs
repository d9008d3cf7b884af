//! `export`: which snapshots go to which table, how far they are, and what came of it. Knows neither rows nor SQL.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use consumer::Secret;
use record::wire::v1;
use serde::Serialize;
use snapshot::{Export, ExportError, Exported, Key, Server, Table, Watcher, shelf};

use crate::cli::{ClickHouse, Exporting};
use crate::commands::progress::Shown;
use crate::commands::rows::{self, Origin};
use crate::commands::{Context, interrupt};
use crate::engine::ProgressHook;
use crate::engine::status::Progress;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, count, quoted};

/// A variable that has the password.
const PASSWORD: &str = "CLICKHOUSE_PASSWORD";
/// A batch has no more rows: it is held in memory, and an engine takes it as one.
const MOST_ROWS: usize = 1_000_000;

/// Sends them.
pub(crate) fn run(context: &Context, what: &Exporting) -> Result<Outcome, Failure> {
    let Exporting::Clickhouse(flags) = what;
    if flags.rows_per_batch.get() > MOST_ROWS {
        return Err(Failure::Usage(format!("--rows-per-batch: {MOST_ROWS} at most")));
    }
    let files = files(context, flags)?;
    let known = known(&files)?;
    let address = address(flags)?;
    let mut table = Table::new(address, (&flags.database, &flags.table), flags.ca.as_deref(), flags.timeout)
        .map_err(failure)?;
    let shown = Shown::new(context.global.quiet);
    let mut watching = Watching::new(context, &shown, known.iter().map(|(_, rows)| rows).sum())?;
    let done = send(context, flags, &mut table, &files, &mut watching);
    shown.clear();
    done?;
    Ok(Outcome::Done)
}

fn send(
    context: &Context,
    flags: &ClickHouse,
    table: &mut Table,
    files: &[PathBuf],
    watching: &mut Watching,
) -> Result<(), Failure> {
    if flags.create {
        table.create(watching).map_err(failure)?;
    }
    table.check(watching).map_err(failure)?;
    if !table.remembers() && !context.global.quiet {
        eprintln!(
            "indexer: {} does not remember what it was sent: a batch that is repeated while it is under way may be there twice; \
             `indexer schema clickhouse` prints a table that does (non_replicated_deduplication_window)",
            table.shown()
        );
    }
    let export = Export { table, rows: flags.rows_per_batch, replace: flags.replace };
    let mut out = Out::stdout();
    for file in files {
        let began = Instant::now();
        let done = export.put(file, watching).map_err(failure)?;
        say(context, &mut out, (file, table), &done, began.elapsed())?;
    }
    Ok(())
}

/// The files that are meant.
fn files(context: &Context, flags: &ClickHouse) -> Result<Vec<PathBuf>, Failure> {
    let latest = [OsString::from("latest")];
    let words = if flags.snapshots.is_empty() { &latest[..] } else { &flags.snapshots };
    let mut files = Vec::new();
    for word in words {
        if flags.all && (flags.snapshots.is_empty() || Path::new(word).is_dir()) {
            let folder = match flags.snapshots.is_empty() {
                true => rows::folder(context, &flags.from)?,
                false => PathBuf::from(word),
            };
            files.extend(all(context, &folder, flags)?);
            continue;
        }
        match rows::origin(context, word, &flags.from)? {
            Origin::Files(found) => files.extend(found),
            Origin::Now => {
                return Err(Failure::Usage(
                    "the index is another at each moment, and what is sent must be the same each time: write a snapshot with \
                     `indexer snapshots roll`, and send that"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(files)
}

/// Those of all days, the oldest first.
fn all(context: &Context, folder: &Path, flags: &ClickHouse) -> Result<Vec<PathBuf>, Failure> {
    let root = flags.from.root.as_deref().map(rows::root_bytes).transpose()?;
    let mut found = Vec::new();
    for shelved in shelf::snapshots(folder).map_err(super::snapshot::failure)? {
        match &shelved.manifest {
            Ok(manifest) => {
                let own = v1::bytes_of(&manifest.root, manifest.root_raw.as_deref()).unwrap_or_default();
                let host = flags.from.host.as_ref().is_none_or(|host| *host == manifest.host);
                if host && root.as_ref().is_none_or(|root| *root == own) {
                    found.push((shelved.date, shelved.file()));
                }
            }
            Err(error) if !context.global.quiet => eprintln!("indexer: passed over: {error}"),
            Err(_) => {}
        }
    }
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "there are no such snapshots in {}; `indexer snapshots list` shows which there are",
            crate::paths::shown(folder)
        )));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// What the files are; no two of one host, root and day.
fn known(files: &[PathBuf]) -> Result<Vec<(Key, u64)>, Failure> {
    let mut known: Vec<(Key, u64)> = Vec::new();
    for file in files {
        let (key, rows) = Export::look(file).map_err(failure)?;
        if known.iter().any(|(other, _)| *other == key) {
            return Err(Failure::Usage(format!(
                "{} is of the host, root and day of another that is to be sent ({}), and a table holds one of them",
                crate::paths::shown(file),
                key.date
            )));
        }
        known.push((key, rows));
    }
    Ok(known)
}

fn address(flags: &ClickHouse) -> Result<Server, Failure> {
    let file = flags.password_file.as_ref().map(|file| Secret::File(file.clone()).read());
    let file = file.transpose().map_err(|why| Failure::Usage(format!("--password-file: {why}")))?;
    let env = match std::env::var_os(PASSWORD) {
        None => None,
        Some(text) if text.is_empty() => None,
        Some(_) => Some(Secret::Env(PASSWORD.to_owned()).read().map_err(Failure::Usage)?),
    };
    // A variable may be there and empty.
    let user = flags.user.clone().filter(|user| !user.is_empty());
    let address = Server::new(&flags.url).map_err(failure)?.with(user, file).or(env);
    if address.tells_a_password() && !flags.insecure {
        return Err(Failure::Usage(format!(
            "{address}: the password would cross the network for everybody to read; give an https address, or --insecure"
        )));
    }
    Ok(address)
}

/// What `--json` says of one.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    table: String,
    host: &'a str,
    root: &'a str,
    date: &'a str,
    rows: u64,
    /// Rows that were sent; the others were there.
    sent_rows: u64,
    batches_sent: u64,
    batches_there: u64,
    /// Rows that were removed first.
    removed_rows: u64,
    took_ms: u64,
}

fn say(
    context: &Context,
    out: &mut Out,
    (file, table): (&Path, &Table),
    done: &Exported,
    took: Duration,
) -> Result<(), Failure> {
    let Key { host, root, date } = &done.key;
    if context.global.json {
        out.json(&Line {
            file: file.to_string_lossy().into_owned(),
            table: table.shown(),
            host,
            root,
            date,
            rows: done.rows,
            sent_rows: done.sent_rows,
            batches_sent: done.sent,
            batches_there: done.there,
            removed_rows: done.removed,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })?;
    } else if !context.global.quiet {
        let how = match (done.sent, done.there) {
            (0, _) => "all of it was there".to_owned(),
            (_, 0) => "sent".to_owned(),
            _ => format!("{} sent, the others were there", count(done.sent_rows)),
        };
        let removed = match done.removed {
            0 => String::new(),
            removed => format!("; {} others removed first", count(removed)),
        };
        out.text(&format!(
            "{} rows of {} on {} of {date}: {how}{removed}\n",
            count(done.rows),
            quoted(root.as_bytes()),
            quoted(host.as_bytes())
        ))?;
    }
    Ok(out.flush()?)
}

/// Shows how it goes, and ends it at the first signal.
struct Watching {
    hook: ProgressHook,
    quiet: bool,
    total: u64,
    rows: u64,
    signals: Receiver<()>,
    stopped: bool,
    /// What was said last: the same is not said again.
    trouble: String,
}

impl Watching {
    fn new(context: &Context, shown: &Shown, total: u64) -> Result<Watching, Failure> {
        let (sender, signals) = channel();
        // It leaves when it is done, and then nobody listens.
        interrupt::at_first(move || sender.send(()).unwrap_or_default())?;
        let quiet = context.global.quiet;
        let (hook, trouble) = (shown.hook(), String::new());
        Ok(Watching { hook, quiet, total, rows: 0, signals, stopped: false, trouble })
    }
}

impl Watcher for Watching {
    fn rows(&mut self, rows: u64) {
        self.rows += rows;
        let percent = (self.rows as f64 / self.total.max(1) as f64 * 100.0).min(99.0);
        (self.hook)(&Progress { percent, files_found: self.rows, ..Progress::default() }, "exporting");
    }

    fn again(&mut self, why: &str) {
        if !self.quiet && self.trouble != why {
            eprintln!("indexer: {why}; it is tried again");
            why.clone_into(&mut self.trouble);
        }
    }

    fn pause(&mut self, time: Duration) -> bool {
        let told = match time.is_zero() {
            true => self.signals.try_recv() != Err(TryRecvError::Empty),
            false => self.signals.recv_timeout(time) != Err(RecvTimeoutError::Timeout),
        };
        self.stopped |= told;
        !self.stopped
    }
}

fn failure(error: ExportError) -> Failure {
    match error {
        ExportError::Snapshot(error) => super::snapshot::failure(error),
        error if error.is_usage() => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}
