//! `snapshots`: those of a folder, listed, checked, thinned out, and today's written. Knows neither rows nor columns.

mod between;

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::tz::TimeZone;
use record::Time;
use serde::Serialize;
use snapshot::changes::Span;
use snapshot::{Address, Columns, Keep, Place, Shelved, SnapshotError, delta, shelf};

use crate::cli::{KeepArgs, Snapshots, TableArg};
use crate::commands::Context;
use crate::commands::progress::Shown;
use crate::commands::snapshot::{failure, say, write};
use crate::engine::status::Progress;
use crate::failure::{Failure, Outcome};
use crate::query::SnapshotRequest;
use crate::render::{Align, Out, Table, bytes, count, local_time, quoted};

/// Does one of them.
pub(crate) fn run(context: &Context, what: &Snapshots) -> Result<Outcome, Failure> {
    match what {
        Snapshots::List { folder } => list(context, &place(context, folder.as_deref())?),
        Snapshots::Verify { folder } => verify(context, &place(context, folder.as_deref())?),
        Snapshots::Prune { folder, keep, host, dry_run } => {
            let keep = kept(context, *keep).ok_or_else(|| {
                Failure::Usage(
                    "nothing says which are kept: give --keep-daily, --keep-weekly or --keep-monthly, or write keep = { daily = 7 } \
                     below [snapshots] in the configuration"
                        .to_owned(),
                )
            })?;
            prune(context, &place(context, folder.as_deref())?, keep, host.as_deref(), *dry_run)
        }
        Snapshots::Changes { output } => between::run(context, &place(context, output.as_deref())?),
        Snapshots::Roll { output, keep, table } => {
            if let Some(address) = output.as_deref().map(Address::of).transpose().map_err(failure)?.flatten()
            {
                return roll_up(context, &address, *keep, *table);
            }
            let place = place(context, output.as_deref())?;
            let table = table.or(context.file.snapshots.table);
            roll(context, &place, kept(context, *keep), table)
        }
    }
}

/// The folder that was given, or is configured, or is ours.
fn place(context: &Context, given: Option<&Path>) -> Result<PathBuf, Failure> {
    let place = match given.or(context.file.snapshots.folder.as_deref()) {
        Some(folder) => folder.to_owned(),
        None => context.state_path()?.join("snapshots"),
    };
    match Place::new(&place).map_err(failure)? {
        Place::Folder(folder) => Ok(folder),
        Place::File(file) => {
            let shown = crate::paths::shown(&file);
            Err(Failure::Usage(format!(
                "{shown} names a file, and many snapshots lie in a folder; name that"
            )))
        }
        Place::Object(address) | Place::Prefix(address) => {
            Err(failure(SnapshotError::FilesOnly(address.to_string())))
        }
    }
}

/// Counts that were given, or else those of the configuration.
fn kept(context: &Context, given: KeepArgs) -> Option<Keep> {
    let KeepArgs { keep_daily, keep_weekly, keep_monthly } = given;
    let given = [keep_daily, keep_weekly, keep_monthly].iter().any(Option::is_some).then(|| Keep {
        daily: keep_daily.unwrap_or(0),
        weekly: keep_weekly.unwrap_or(0),
        monthly: keep_monthly.unwrap_or(0),
    });
    given.or_else(|| context.file.snapshots.keep())
}

/// The last line of `verify --json` and `prune --json`, where there are files of changes to tell of.
#[derive(Serialize)]
struct ChangesLine {
    /// So many files.
    changes: usize,
    /// What is wrong with them; absent where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<Vec<String>>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    folder: String,
    date: String,
    host: Option<&'a str>,
    root: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_raw: Option<&'a str>,
    epoch: Option<&'a str>,
    watermark: Option<u64>,
    taken_us: Option<i64>,
    rows: Option<u64>,
    bytes: Option<u64>,
    /// What is wrong with it; null where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<Vec<String>>,
}

impl<'a> Line<'a> {
    fn new(shelved: &'a Shelved, wrong: Option<Vec<String>>) -> Line<'a> {
        let manifest = shelved.manifest.as_ref().ok();
        Line {
            folder: shelved.folder.to_string_lossy().into_owned(),
            date: shelved.date.to_string(),
            host: manifest.map(|manifest| &*manifest.host),
            root: manifest.map(|manifest| &*manifest.root),
            root_raw: manifest.and_then(|manifest| manifest.root_raw.as_deref()),
            epoch: manifest.map(|manifest| &*manifest.epoch),
            watermark: manifest.map(|manifest| manifest.watermark),
            taken_us: manifest.map(|manifest| manifest.taken_us),
            rows: manifest.map(|manifest| manifest.rows),
            bytes: manifest.map(|manifest| manifest.bytes),
            wrong,
        }
    }
}

fn list(context: &Context, folder: &Path) -> Result<Outcome, Failure> {
    let all = shelf::snapshots(folder).map_err(failure)?;
    let mut out = Out::stdout();
    if context.global.json {
        all.iter().try_for_each(|shelved| out.json(&Line::new(shelved, None)))?;
    } else {
        out.text(&table(&all).text(Out::width()))?;
    }
    out.flush()?;
    if all.is_empty() && !context.global.quiet && !context.global.json {
        eprintln!("indexer: {} holds no snapshots", crate::paths::shown(folder));
    }
    Ok(Outcome::found(!all.is_empty()))
}

fn table(all: &[Shelved]) -> Table {
    let zone = TimeZone::system();
    let mut table =
        Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Left, Align::Left]);
    if !all.is_empty() {
        table.row(["TAKEN", "ROWS", "SIZE", "SEQ", "HOST", "ROOT"].map(str::to_owned));
    }
    for shelved in all {
        match &shelved.manifest {
            Ok(manifest) => table.row([
                local_time(i128::from(manifest.taken_us) * 1000, &zone),
                count(manifest.rows),
                bytes(manifest.bytes),
                count(manifest.watermark),
                quoted(manifest.host.as_bytes()).into_owned(),
                quoted(manifest.root.as_bytes()).into_owned(),
            ]),
            Err(error) => {
                let why = quoted(error.to_string().as_bytes()).into_owned();
                let none = || "?".to_owned();
                table.row([shelved.date.to_string(), none(), none(), none(), none(), why]);
            }
        }
    }
    table
}

fn verify(context: &Context, folder: &Path) -> Result<Outcome, Failure> {
    let all = shelf::snapshots(folder).map_err(failure)?;
    if all.is_empty() {
        return Err(Failure::Usage(format!(
            "{} holds no snapshots; name the folder that was given to `indexer snapshot --output`",
            crate::paths::shown(folder)
        )));
    }
    let mut out = Out::stdout();
    let (mut bad, mut read, mut files) = (0, 0, 0);
    let mut said = Vec::new();
    let whole: u64 = all.iter().map(length).sum();
    let shown = Shown::new(context.global.quiet || context.global.json);
    let hook = shown.hook();
    for shelved in &all {
        let percent = (read as f64 / whole.max(1) as f64 * 100.0).min(99.0);
        hook(
            &Progress { percent, files_processed: files, bytes_processed: read, ..Progress::default() },
            "hashing",
        );
        let wrong = shelf::verify(shelved);
        bad += u64::from(!wrong.is_empty());
        read += length(shelved);
        files += shelved.manifest.as_ref().map_or(0, |manifest| manifest.files.len() as u64);
        if context.global.json {
            out.json(&Line::new(shelved, Some(wrong)))?;
            out.flush()?;
        } else {
            said.extend(wrong);
        }
    }
    let spans = snapshot::changes::files(folder, None).map_err(failure)?;
    let wrong = snapshot::changes::verify(&spans);
    bad += wrong.len() as u64;
    if context.global.json && !spans.is_empty() {
        out.json(&ChangesLine { changes: spans.len(), wrong: Some(wrong) })?;
    } else {
        said.extend(wrong);
    }
    shown.clear();
    for why in said {
        out.text(&format!("{}\n", quoted(why.as_bytes())))?;
    }
    if !context.global.json && !context.global.quiet {
        let said = match bad {
            0 => "as written".to_owned(),
            bad => format!("{} not as written", count(bad)),
        };
        let snapshots = if all.len() == 1 { "snapshot" } else { "snapshots" };
        let changes = match spans.len() {
            0 => String::new(),
            1 => " and 1 file of changes".to_owned(),
            many => format!(" and {} files of changes", count(many as u64)),
        };
        let all = count(all.len() as u64);
        out.text(&format!("{all} {snapshots}, {} read{changes}: {said}\n", bytes(read)))?;
    }
    out.flush()?;
    Ok(if bad == 0 { Outcome::Done } else { Outcome::found(false) })
}

fn length(shelved: &Shelved) -> u64 {
    shelved.manifest.as_ref().map_or(0, |manifest| manifest.bytes)
}

fn prune(
    context: &Context,
    folder: &Path,
    keep: Keep,
    host: Option<&str>,
    only_say: bool,
) -> Result<Outcome, Failure> {
    let all = shelf::snapshots(folder).map_err(failure)?;
    let spare = shelf::spare(&all, keep, host);
    let spans = snapshot::changes::files(folder, host).map_err(failure)?;
    let old = snapshot::changes::spare(&spans, &all, keep);
    if !only_say {
        remove(folder, &all, (&spare, &old), delta::has_log(folder))?;
    }
    let mut out = Out::stdout();
    for shelved in &spare {
        if context.global.json {
            out.json(&Line::new(shelved, None))?;
        } else {
            let folder = quoted(std::os::unix::ffi::OsStrExt::as_bytes(shelved.folder.as_os_str()));
            out.text(&format!("{} {folder}\n", if only_say { "would remove" } else { "removed" }))?;
        }
    }
    if !old.is_empty() {
        if context.global.json {
            out.json(&ChangesLine { changes: old.len(), wrong: None })?;
        } else {
            let what = if only_say { "would remove" } else { "removed" };
            let files = if old.len() == 1 { "file" } else { "files" };
            out.text(&format!("{what} {} {files} of changes before them\n", count(old.len() as u64)))?;
        }
    }
    if !context.global.json && !context.global.quiet {
        let left = all.len() - spare.len();
        out.text(&format!(
            "{} kept, {} {}\n",
            count(left as u64),
            count(spare.len() as u64),
            if only_say { "to go" } else { "removed" }
        ))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Takes `spare` out of the table, where there is one to be kept, and then away.
fn remove(
    folder: &Path,
    all: &[Shelved],
    (spare, old): (&[&Shelved], &[&Span]),
    table: bool,
) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    if table {
        let left: Vec<&Shelved> =
            all.iter().filter(|one| !spare.iter().any(|gone| gone.folder == one.folder)).collect();
        let now = i64::try_from(Time::now().0 / 1_000_000).unwrap_or(i64::MAX);
        delta::commit(folder, &left, now).map_err(failure)?;
    }
    shelf::sweep_up(folder).map_err(failure)?;
    spare.iter().try_for_each(|shelved| shelf::remove(shelved)).map_err(failure)?;
    snapshot::changes::remove(old).map_err(failure)
}

/// Today's, into a store: which are kept there, and for how long, is the store's own to see to.
fn roll_up(
    context: &Context,
    address: &Address,
    keep: KeepArgs,
    table: Option<TableArg>,
) -> Result<Outcome, Failure> {
    let KeepArgs { keep_daily, keep_weekly, keep_monthly } = keep;
    let counted = [keep_daily, keep_weekly, keep_monthly].iter().any(Option::is_some);
    for (given, word) in [(counted, "--keep-…"), (table.is_some(), "--table")] {
        if given {
            return Err(Failure::Usage(format!(
                "{address} is in an object store, where {word} is not done; leave it out, and have the store expire what is old by a \
                 lifecycle rule"
            )));
        }
    }
    let began = Instant::now();
    let place = Place::new(Path::new(&address.to_string())).map_err(failure)?;
    if matches!(place, Place::Object(_)) {
        return Err(Failure::Usage(format!(
            "{address} names one object, and many snapshots lie below a prefix; name that"
        )));
    }
    let finished = write(context, (place, true), (Columns::Native, None), &SnapshotRequest::default())?;
    say(context, &finished, began.elapsed())?;
    Ok(Outcome::Done)
}

fn roll(
    context: &Context,
    folder: &Path,
    keep: Option<Keep>,
    table: Option<TableArg>,
) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let to = (Place::Folder(folder.to_owned()), true);
    let finished = write(context, to, (Columns::Native, None), &SnapshotRequest::default())?;
    let all = shelf::snapshots(folder).map_err(failure)?;
    let host = &finished.moment.host;
    let spans = snapshot::changes::files(folder, Some(host)).map_err(failure)?;
    let spare = keep.map(|keep| shelf::spare(&all, keep, Some(host))).unwrap_or_default();
    let old = keep.map(|keep| snapshot::changes::spare(&spans, &all, keep)).unwrap_or_default();
    remove(folder, &all, (&spare, &old), table.is_some() || delta::has_log(folder))?;
    say(context, &finished, began.elapsed())?;
    if !context.global.json && !context.global.quiet && !spare.is_empty() {
        let mut out = Out::stdout();
        out.text(&format!("{} older ones removed\n", count(spare.len() as u64)))?;
        out.flush()?;
    }
    Ok(Outcome::Done)
}
