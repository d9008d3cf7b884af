//! `scan --path --output`: rows straight from a walk to Parquet, in one file or in chunks. Knows the walk and the files that it
//! fills, and neither an index nor a state folder.

mod visitor;
mod volumes;

use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use record::wire::v1::text_and_raw;
use record::{RootId, Time};
use scan::{Progress, Rules, Scope, Start, WalkError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use snapshot::{
    Begin, Chunk, Chunks, Collected, Collector, Columns, Form, Frontier, Moment, Names, OneFile, Output,
    Pace, Way,
};

use crate::cli::{ColumnsArg, OneShot, Scan, ScanAll};
use crate::commands::progress::Shown;
use crate::commands::snapshot::failure;
use crate::commands::{Context, interrupt};
use crate::engine::status;
use crate::failure::{Failure, Outcome};
use crate::render::{self, Out, bytes, count, quoted};
use visitor::Teller;
use volumes::Volumes;

/// Between two looks at the progress.
const TICK: Duration = Duration::from_millis(100);

/// What `--json` says at the end.
#[derive(Serialize)]
struct Summary<'a> {
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_raw: Option<String>,
    rows: u64,
    bytes: u64,
    files: &'a [Chunk],
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// What could not be looked at.
    unreadable: u64,
    /// Directories of an earlier run that were passed over with all below them.
    passed_over: u64,
    completed: bool,
    took_ms: u64,
}

/// Where it is written to, and what an earlier run left to do.
struct Begun {
    collector: Collector,
    before: Option<Frontier>,
}

/// Scans `path`; all is in place when this returns.
pub(crate) fn run(context: &Context, path: &Path, all: &ScanAll) -> Result<Outcome, Failure> {
    let ScanAll { scan: flags, once } = all;
    let began = Instant::now();
    refuse_index_flags(flags)?;
    let root = crate::paths::root(path)?;
    let names = Names::new(once.output.as_deref().unwrap_or(Path::new(""))).map_err(failure)?;
    let threads = threads(flags)?;
    let scope = scope(&root, flags)?;
    let stop = Arc::new(AtomicBool::new(false));
    let output = output(&root, once, threads);
    let chunked = once.incremental || once.resume;
    let begun = if chunked {
        let begin = if once.resume { Begin::GoOn } else { Begin::Anew { over: once.force } };
        let chunks = Chunks::begin(names.clone(), output, options(flags)?, begin).map_err(failure)?;
        say_resumed(context, once, &chunks);
        if chunks.is_completed() {
            let all = Collected { files: chunks.chunks().to_vec(), unreadable: chunks.unreadable() };
            say(context, &root, &names, &all, (0, true), began.elapsed())?;
            return Ok(Outcome::Done);
        }
        let before = Some(chunks.frontier().clone());
        let interval = Duration::from_secs(once.chunk_interval_secs.get());
        let pace = Pace { rows: once.rows_per_chunk.get(), interval };
        Begun { collector: Collector::chunks(chunks, names.folder(), pace).map_err(failure)?, before }
    } else {
        let file = OneFile::begin(&names, output, once.force, Arc::clone(&stop)).map_err(failure)?;
        Begun { collector: Collector::one(file, names.folder()).map_err(failure)?, before: None }
    };
    let asked = Arc::clone(&stop);
    interrupt::at_first(move || asked.store(true, Ordering::Relaxed))?;
    scan::raise_descriptor_limit();
    let shown = Shown::new(context.global.quiet);
    let ended = walk(&scope, &names, threads, begun, &stop, &shown);
    shown.clear();
    let (collected, passed, walked) = match ended {
        Err(Failure::Failed(why)) if chunked => {
            let manifest = crate::paths::shown(&names.manifest());
            return Err(Failure::Failed(format!(
                "{why}; what {manifest} names stays, and the same command with --resume goes on from there"
            )));
        }
        ended => ended?,
    };
    if let Err(error) = walked {
        return Err(unfinished(&error, chunked, &collected));
    }
    say(context, &root, &names, &collected, (passed, chunked), began.elapsed())?;
    Ok(Outcome::Done)
}

/// What was written, how many directories were passed over, and how the walk ended.
type Walked = (Collected, u64, Result<(), WalkError>);

fn walk(
    scope: &Scope,
    names: &Names,
    threads: NonZeroUsize,
    begun: Begun,
    stop: &AtomicBool,
    shown: &Shown,
) -> Result<Walked, Failure> {
    let Begun { collector, before } = begun;
    let folder = names.folder();
    let doing = |path: String| move |error: std::io::Error| Failure::doing(format!("look at {path}"), error);
    let there = folder.metadata().map_err(doing(crate::paths::shown(folder)))?;
    let (root, _) =
        scope.open().map_err(|error| doing(crate::paths::shown_bytes(&scope.path))(error.into()))?;
    let progress = Progress::default();
    let exporting = AtomicBool::new(false);
    let teller = Teller {
        scope,
        root,
        collector: &collector,
        before,
        ours: ((there.dev(), there.ino()), names.clone()),
        stop,
        passed: AtomicU64::new(0),
        failed: Mutex::new(None),
    };
    std::thread::scope(|jobs| {
        let (end, wait) = channel::<()>();
        jobs.spawn(|| {
            let hook = shown.hook();
            // Moved in: it ends with the sender.
            let wait = wait;
            while wait.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                match exporting.load(Ordering::Relaxed) {
                    true => hook(&written(&collector, &progress), "exporting"),
                    false => hook(&seen(&progress), "scanning"),
                }
                if !collector.tick() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        let walked = Start::root(scope)
            .and_then(|start| scan::walk(scope, start, threads.get(), &teller, stop, &progress));
        exporting.store(true, Ordering::Relaxed);
        let failed = teller.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let collected = collector.finish(walked.is_ok() && failed.is_none());
        drop(end);
        match (collected, failed) {
            // What the writer says came first.
            (Err(error), _) | (Ok(_), Some(error)) => Err(failure(error)),
            (Ok(collected), None) => Ok((collected, teller.passed.load(Ordering::Relaxed), walked)),
        }
    })
}

fn seen(progress: &Progress) -> status::Progress {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (done, left) = (of(&progress.directories), of(&progress.directories_left));
    status::Progress {
        // As of a first scan: directories left grow while more of them are found.
        percent: done as f64 / (done + left).max(1) as f64 * 80.0,
        files_found: of(&progress.entries),
        bytes_processed: of(&progress.bytes),
        directories_left: left,
        ..status::Progress::default()
    }
}

fn written(collector: &Collector, progress: &Progress) -> status::Progress {
    let (rows, all) = (collector.written(), progress.entries.load(Ordering::Relaxed) + 1);
    let percent = (80.0 + rows as f64 / all as f64 * 20.0).min(99.0);
    status::Progress { percent, files_found: rows, ..status::Progress::default() }
}

/// What goes into an index has no place where there is none.
fn refuse_index_flags(flags: &Scan) -> Result<(), Failure> {
    let given = [
        (!flags.roots.is_empty(), "a ROOT"),
        (flags.hash.is_some(), "--hash"),
        (flags.algorithm.is_some(), "--algorithm"),
        (flags.hash_rate.is_some(), "--hash-rate"),
        (flags.profile.is_some(), "--profile"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, word)) => Err(Failure::Usage(format!(
            "--path and --output write rows without an index, and {word} is for one: leave it out, or give `indexer scan ROOT` and then \
             `indexer snapshot`"
        ))),
        None => Ok(()),
    }
}

fn threads(flags: &Scan) -> Result<NonZeroUsize, Failure> {
    match flags.threads.map(NonZeroUsize::new) {
        Some(None) => Err(Failure::Usage("threads is 0; at least one has to do the work".to_owned())),
        Some(Some(threads)) => Ok(threads),
        None => Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    }
}

fn scope(root: &[u8], flags: &Scan) -> Result<Scope, Failure> {
    let volumes = Volumes::default();
    let binder = Box::new(move |identity: &scan::VolumeIdentity, _| volumes.number(identity));
    let mut scope = Scope::new(RootId(1), root.to_vec(), binder);
    let rules = Rules::new(root, &flags.exclude, flags.ignore_file.as_deref());
    scope.rules = rules.map_err(|error| Failure::Usage(error.to_string()))?;
    scope.max_depth = flags.max_depth;
    scope.one_file_system = flags.one_file_system;
    scope.follow_symlinks = flags.follow_symlinks;
    Ok(scope)
}

/// What decides which entries have rows: a scan that goes on has to be told the same.
fn options(flags: &Scan) -> Result<Map<String, Value>, Failure> {
    let file = flags.ignore_file.as_deref().map(crate::paths::absolute).transpose()?;
    let all = [
        ("exclude", json!(flags.exclude)),
        ("follow_symlinks", json!(flags.follow_symlinks)),
        ("ignore_file", file.map_or(Value::Null, |file| json!(file.to_string_lossy()))),
        ("max_depth", json!(flags.max_depth)),
        ("one_file_system", json!(flags.one_file_system)),
    ];
    Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn output(root: &[u8], once: &OneShot, threads: NonZeroUsize) -> Output {
    let columns = match once.compat {
        ColumnsArg::Unix => Columns::Unix,
        ColumnsArg::None => Columns::Native,
    };
    let moment = Moment {
        epoch: String::new(),
        watermark: 0,
        taken_us: i64::try_from(Time::now().0 / 1000).unwrap_or(i64::MAX),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        tool: crate::relaying::tool(),
        roots: 1,
        expected: 0,
    };
    let form = Form { columns, threads, owners: Arc::new(render::Names::read().into()) };
    Output { form, moment, root: root.to_vec(), batch: once.batch_size }
}

/// What an earlier run did is not done again.
fn say_resumed(context: &Context, once: &OneShot, chunks: &Chunks) {
    if !once.resume || context.global.quiet {
        return;
    }
    let (rows, files) = (count(chunks.rows()), count(chunks.chunks().len() as u64));
    if chunks.is_completed() {
        eprintln!(
            "indexer: this scan is complete, with {rows} rows in {files} chunks; nothing is left to do"
        );
    } else if chunks.frontier().is_empty() {
        eprintln!("indexer: there is nothing to go on from; the scan begins anew");
    } else {
        let whole = chunks.frontier().iter().filter(|(_, way)| *way == Way::Whole).count();
        let listed = chunks.frontier().len() - whole;
        eprintln!(
            "indexer: going on after {rows} rows in {files} chunks; passed over: {} directories with all below them, and what lies right \
             in {} more (-v names them)",
            count(whole as u64),
            count(listed as u64)
        );
    }
}

/// Why a walk did not go to its end, and what is left of it.
fn unfinished(error: &WalkError, chunked: bool, collected: &Collected) -> Failure {
    let rows: u64 = collected.files.iter().map(|file| file.rows).sum();
    Failure::Failed(match (error, chunked) {
        (WalkError::Stopped, false) => "it was stopped; nothing is left of it".to_owned(),
        (WalkError::Stopped, true) => format!(
            "it was stopped after {} rows in {} chunks; the same command with --resume goes on from there",
            count(rows),
            count(collected.files.len() as u64)
        ),
        (error, _) => error.to_string(),
    })
}

fn say(
    context: &Context,
    root: &[u8],
    names: &Names,
    collected: &Collected,
    (passed, chunked): (u64, bool),
    took: Duration,
) -> Result<(), Failure> {
    let Collected { files, unreadable } = collected;
    let (rows, size) = (files.iter().map(|file| file.rows).sum(), files.iter().map(|file| file.bytes).sum());
    if *unreadable > 0 && !context.global.quiet {
        eprintln!(
            "indexer: {} names or directories could not be looked at; all others have their rows",
            count(*unreadable)
        );
    }
    let manifest = chunked.then(|| names.manifest());
    let mut out = Out::stdout();
    if context.global.json {
        let (root, root_raw) = text_and_raw(root);
        out.json(&Summary {
            root,
            root_raw,
            rows,
            bytes: size,
            files,
            manifest: manifest.map(|path| path.to_string_lossy().into_owned()),
            unreadable: *unreadable,
            passed_over: passed,
            completed: true,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })?;
    } else if !context.global.quiet {
        let place =
            quoted(crate::paths::bytes(&manifest.unwrap_or_else(|| names.file())).as_slice()).into_owned();
        let chunks =
            if chunked { format!(" in {} chunks", count(files.len() as u64)) } else { String::new() };
        out.text(&format!("{} rows{chunks}, {}: {place}\n", count(rows), bytes(size)))?;
    }
    out.flush()?;
    Ok(())
}
