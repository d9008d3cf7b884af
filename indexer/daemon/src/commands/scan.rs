//! `scan` and `sweep`: one pass over trees, by the daemon where one runs.

use std::path::Path;

use serde::Serialize;

use crate::cli::{self, LevelArg, Watch};
use crate::commands::progress::Shown;
use crate::commands::{Context, Source};
use crate::engine::status::SweepReport;
use crate::engine::{self, Level, ScanReport};
use crate::failure::{Failure, Outcome};
use crate::query::{PathPair, SweepRequest};
use crate::render::{Out, bytes, count, quoted};
use record::Reading;
use record::wire::v1;

/// One root of `scan --json`.
#[derive(Serialize)]
struct Scanned {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    /// Whether this was its first scan.
    seeded: bool,
    entries: u64,
}

/// Seeds new roots and refreshes known ones, then ends.
pub(crate) fn run(context: &Context, flags: &cli::Scan) -> Result<Outcome, Failure> {
    let shown = Shown::new(context.global.quiet);
    let flags = Watch { scan: flags.clone(), ..Watch::default() };
    let (state, lock, config) = context.prepare(&flags, "scan", shown.hook())?;
    if config.hashing.is_some_and(|hashing| hashing.reading == Reading::Remote) {
        return Err(Failure::Usage(
            "--hash remote is for `indexer watch`, which waits for the answers; a scan reads here: --hash full".to_owned(),
        ));
    }
    scan::outlive_leases();
    let done = engine::scan(&state, lock, config);
    shown.clear();
    print(context, &done?)?;
    Ok(Outcome::Done)
}

/// Looks at `path` (or all roots) again.
pub(crate) fn sweep(context: &Context, path: Option<&Path>, level: LevelArg) -> Result<Outcome, Failure> {
    if matches!(level, LevelArg::Content) {
        let swept = sweep(context, path, LevelArg::Stat)?;
        let read = super::scrub::read(context, path, std::time::Duration::ZERO, None)?;
        return Ok(if matches!(swept, Outcome::Done) { read } else { swept });
    }
    let state = context.state()?;
    if let Some(mut client) = Source::daemon(&state)? {
        return say(context, &ask(&mut client, path, level)?);
    }
    let shown = Shown::new(context.global.quiet);
    let lock = state.lock()?;
    let mut roots = context.stored_roots(&state)?;
    let mut start = None;
    if let Some(path) = path {
        let holds =
            |spelling: &Vec<u8>| roots.iter().any(|root| crate::paths::is_below(spelling, &root.path));
        start = crate::paths::spellings(path)?.into_iter().find(holds);
        roots.retain(|root| start.as_ref().is_some_and(|path| crate::paths::is_below(path, &root.path)));
        if roots.is_empty() {
            return Err(Failure::NotIndexed(format!(
                "{} is in no root of the index",
                crate::paths::shown(path)
            )));
        }
    }
    if roots.is_empty() {
        return Err(Failure::Failed("the index has no roots; `indexer scan ROOT` makes one".to_owned()));
    }
    let config = context.settings()?.engine(roots, shown.hook());
    if start.is_none() && matches!(level, LevelArg::Stat) {
        // All of it, each entry: that is a scan of what the index has.
        let done = engine::scan(&state, lock, config);
        shown.clear();
        print(context, &done?)?;
        return Ok(Outcome::Done);
    }
    let level = match level {
        LevelArg::Names => Level::Names,
        LevelArg::Stat | LevelArg::Content => Level::Stat,
    };
    let report = engine::sweep_once(&state, lock, config, start.as_deref(), level);
    shown.clear();
    say(context, &report?)
}

/// Prints what a sweep compared.
fn say(context: &Context, report: &SweepReport) -> Result<Outcome, Failure> {
    let mut out = Out::stdout();
    if context.global.json {
        out.json(report)?;
    } else {
        out.text(&text(report))?;
    }
    out.flush()?;
    for root in &report.failed {
        eprintln!("indexer: not swept: {root}");
    }
    Ok(Outcome::found(report.failed.is_empty()))
}

fn ask(
    client: &mut crate::api::Client,
    path: Option<&Path>,
    level: LevelArg,
) -> Result<SweepReport, Failure> {
    let level = Some(match level {
        LevelArg::Names => "names".to_owned(),
        LevelArg::Stat | LevelArg::Content => "stat".to_owned(),
    });
    let Some(path) = path else {
        return client.post("/v1/sweep", &SweepRequest { path: None, path_raw: None, level });
    };
    let mut first = None;
    for spelling in crate::paths::spellings(path)? {
        let pair = PathPair::new(&spelling);
        let request = SweepRequest { path: Some(pair.path), path_raw: pair.raw, level: level.clone() };
        match client.post("/v1/sweep", &request) {
            Ok(report) => return Ok(report),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::Failed("there is no such path".to_owned())))
}

fn print(context: &Context, done: &ScanReport) -> Result<(), Failure> {
    let mut out = Out::stdout();
    for (path, seeded, entries) in &done.roots {
        if context.global.json {
            let (text, path_raw) = v1::text_and_raw(path);
            out.json(&Scanned { path: text, path_raw, seeded: *seeded, entries: *entries })?;
        } else {
            let what = if *seeded { "indexed" } else { "up to date" };
            out.text(&format!("{}: {what}, {} entries\n", quoted(path), count(*entries)))?;
        }
    }
    if !context.global.json && done.roots.iter().any(|(_, seeded, _)| !seeded) {
        out.text(&text(&done.report))?;
    }
    if let Some(hashed) = done.hashed.filter(|_| !context.global.json) {
        let read = count(hashed.files);
        out.text(&format!(
            "read {read} files in full and {} ends of files, {}\n",
            count(hashed.ends),
            bytes(hashed.bytes)
        ))?;
        if hashed.refused > 0 {
            out.text(&format!("{} could not be read; `-v` names them\n", count(hashed.refused)))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn text(report: &SweepReport) -> String {
    let mut text = format!(
        "compared {} entries in {} directories: {} differences, {} records, {} ms\n",
        count(report.entries),
        count(report.directories),
        count(report.differences),
        count(report.records),
        count(report.took_ms)
    );
    if report.partial > 0 {
        text.push_str(&format!(
            "{} directories could not be listed wholly; what the index has of them is kept\n",
            count(report.partial)
        ));
    }
    text
}
