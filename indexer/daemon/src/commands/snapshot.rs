//! `snapshot`: from the daemon or the index to Parquet files or objects, with the rights of whoever asks. Knows neither rows nor columns.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use record::Time;
use serde::Serialize;
use snapshot::{Columns, Finished, Form, Moment, Place, Receiver, SnapshotError, Written};

use crate::api::ErrorBody;
use crate::cli::{CompatArg, Snapshot};
use crate::commands::progress::Shown;
use crate::commands::{Context, Source, interrupt, replay};
use crate::engine::status::Progress;
use crate::failure::{Failure, Outcome};
use crate::query::{self, AsOf, PathPair, SnapshotRequest};
use crate::render::{Names, Out, bytes, count, quoted};
use crate::{priority, relaying};

/// Between two looks at the progress.
const TICK: Duration = Duration::from_millis(100);

/// What `--json` says at the end.
#[derive(Serialize)]
struct Summary<'a> {
    epoch: &'a str,
    watermark: u64,
    taken_us: i64,
    rows: u64,
    bytes: u64,
    roots: &'a [Written],
    /// Bytes that the index file grew by meanwhile.
    index_grown: u64,
    /// How long a view of it was held.
    held_ms: u64,
    took_ms: u64,
}

/// Writes all of it; it is in place when this returns.
pub(crate) fn run(context: &Context, flags: &Snapshot) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let output = match &flags.output {
        Some(output) => output.clone(),
        None => context.state_path()?.join("snapshots"),
    };
    let place = Place::new(&output).map_err(failure)?;
    let columns = flags.compat.map_or(Columns::Native, |CompatArg::Unix| Columns::Unix);
    let finished = write(context, (place, flags.force), (columns, flags.threads), &request(flags)?)?;
    say(context, &finished, began.elapsed())?;
    Ok(Outcome::Done)
}

/// Writes what is asked for to `place`, over what is there if so told. It gives way to all else that wants the processors.
pub(crate) fn write(
    context: &Context,
    (place, over): (Place, bool),
    (columns, threads): (Columns, Option<NonZeroUsize>),
    request: &SnapshotRequest,
) -> Result<Finished, Failure> {
    priority::give_way();
    let names = Names::read();
    let threads = threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let form = Form { columns, threads, owners: Arc::new(names.into()) };
    // A watermark goes out, as ids do in a replay.
    replay::vouch(context)?;
    let mut source = Source::open(context)?;
    let stopped = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stopped);
    interrupt::at_first(move || asked.store(true, Ordering::Relaxed))?;
    let mut receiver = Receiver::new(place, form, over);
    let shown = Shown::new(context.global.quiet);
    let hook = shown.hook();
    let mut next = Instant::now() + TICK;
    let done = source.snapshot(request, &mut |piece| {
        if stopped.load(Ordering::Relaxed) {
            return Err(Failure::Failed("it was stopped; nothing is left of what was not whole".to_owned()));
        }
        receiver.feed(piece).map_err(failure)?;
        let now = Instant::now();
        if now >= next {
            next = now + TICK;
            let (rows, expected) = receiver.progress();
            let percent = (rows as f64 / expected.max(1) as f64 * 100.0).min(99.0);
            hook(&Progress { percent, files_found: rows, ..Progress::default() }, "exporting");
        }
        Ok(())
    });
    shown.clear();
    done?;
    receiver.finish().map_err(failure)
}

/// Up to where the journal goes now, and may be shown outside; to be asked after [`replay::vouch`].
pub(super) fn moment(source: &mut Source) -> Result<Moment, Failure> {
    let AsOf { epoch, seq } = match source {
        Source::Daemon(client) => client.get("/v1/as-of")?,
        Source::Local(index) => query::as_of(index, &index.read()?)?,
    };
    Ok(Moment {
        epoch,
        watermark: seq,
        taken_us: i64::try_from(Time::now().0 / 1000).unwrap_or(i64::MAX),
        host: relaying::host(),
        tool: relaying::tool(),
        roots: 0,
        expected: 0,
    })
}

fn request(flags: &Snapshot) -> Result<SnapshotRequest, Failure> {
    let mut request = SnapshotRequest { max_growth: flags.max_growth, ..SnapshotRequest::default() };
    if let Some(root) = &flags.root {
        // A root is stored by its real path; one that is gone is known by how it is written.
        let spelling = crate::paths::spellings(root)?.pop().unwrap_or_default();
        let pair = PathPair::new(&spelling);
        (request.root, request.root_raw) = (Some(pair.path), pair.raw);
    }
    Ok(request)
}

/// Tells of it.
pub(crate) fn say(context: &Context, finished: &Finished, took: Duration) -> Result<(), Failure> {
    let Finished { moment, roots, ending } = finished;
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&Summary {
            epoch: &moment.epoch,
            watermark: moment.watermark,
            taken_us: moment.taken_us,
            rows: roots.iter().map(|root| root.rows).sum(),
            bytes: roots.iter().map(|root| root.bytes).sum(),
            roots,
            index_grown: ending.grown,
            held_ms: ending.held_ms,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })?;
    } else if !context.global.quiet {
        for root in roots {
            let file = quoted(std::os::unix::ffi::OsStrExt::as_bytes(root.file.as_os_str()));
            out.text(&format!("{} rows, {}: {file}\n", count(root.rows), bytes(root.bytes)))?;
        }
        out.text(&format!(
            "as of seq {}; the index file grew by {} meanwhile\n",
            count(moment.watermark),
            bytes(ending.grown)
        ))?;
    }
    out.flush()?;
    Ok(())
}

/// What there is no snapshot for: a usage error where another command line would do.
pub(super) fn failure(error: SnapshotError) -> Failure {
    match error {
        SnapshotError::Told(said) => match serde_json::from_slice::<ErrorBody>(&said) {
            Ok(error) => error.failure(),
            Err(_) => Failure::Failed(String::from_utf8_lossy(&said).into_owned()),
        },
        SnapshotError::Scheme(_)
        | SnapshotError::Address { .. }
        | SnapshotError::FilesOnly(_)
        | SnapshotError::NoStores(_)
        | SnapshotError::Settings { .. }
        | SnapshotError::Exists(_)
        | SnapshotError::Foreign(_)
        | SnapshotError::IsFolder(_)
        | SnapshotError::Begun(_)
        | SnapshotError::Other { .. }
        | SnapshotError::NoFile(_)
        | SnapshotError::NoName(_)
        | SnapshotError::OtherTable(_)
        | SnapshotError::OneRoot(_) => Failure::Usage(error.to_string()),
        other => Failure::Failed(other.to_string()),
    }
}
