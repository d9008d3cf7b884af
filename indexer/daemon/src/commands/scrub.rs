//! `scrub`: reads files again, and tells of contents that changed though nobody wrote them.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use record::wire::v1;

use crate::cli;
use crate::commands::progress::Shown;
use crate::commands::{Context, Source};
use crate::engine::{self, Scrub, ScrubLine, Sum};
use crate::failure::{Failure, Outcome};
use crate::query::{PathPair, RottenLine, ScrubRequest};
use crate::render::{Out, bytes, count, local_time, quoted};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs the command.
pub(crate) fn run(context: &Context, flags: &cli::Scrub) -> Result<Outcome, Failure> {
    if flags.list {
        return list(context);
    }
    let older_than = flags.older_than.unwrap_or(Duration::ZERO);
    read(context, flags.path.as_deref(), older_than, flags.rate)
}

/// Reads what lies at and below `path` again, if it was not read for so long.
pub(crate) fn read(
    context: &Context,
    path: Option<&Path>,
    older_than: Duration,
    rate: Option<u64>,
) -> Result<Outcome, Failure> {
    let state = context.state()?;
    let path = path.map(|path| super::hash::indexed(context, path)).transpose()?;
    let mut said = Said { json: context.global.json, quiet: context.global.quiet, ..Said::new() };
    match Source::daemon(&state)? {
        Some(mut client) => {
            let pair = path.as_deref().map(PathPair::new);
            let (path, path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
            let older_than_ms = u64::try_from(older_than.as_millis()).ok();
            let request = ScrubRequest { path, path_raw, older_than_ms, rate };
            client.post_lines("/v1/scrub", &request, &mut |line| {
                let Some(line) = line else { return Ok(true) };
                let line = serde_json::from_slice(line);
                said.take(&line.map_err(|error| Failure::doing("read the daemon's answer", error))?)?;
                Ok(true)
            })?;
        }
        None => {
            let lock = state.lock()?;
            scan::outlive_leases();
            let roots = context.stored_roots(&state)?;
            let shown = Shown::new(true);
            let config = context.settings()?.engine(roots, shown.hook());
            let mut failed = None;
            let what = Scrub { path, older_than, rate };
            engine::scrub_once(&state, lock, config, &what, &mut |line| match said.take(&line) {
                Ok(()) => true,
                Err(failure) => {
                    failed = Some(failure);
                    false
                }
            })?;
            failed.map_or(Ok(()), Err)?;
        }
    }
    said.end()
}

/// What was said so far.
struct Said {
    json: bool,
    quiet: bool,
    out: Out,
    told: Instant,
    sum: Sum,
}

impl Said {
    fn new() -> Said {
        Said { json: false, quiet: false, out: Out::stdout(), told: Instant::now(), sum: Sum::default() }
    }

    fn take(&mut self, line: &ScrubLine) -> Result<(), Failure> {
        if let Some(sum) = line.sum {
            self.sum = sum;
            if line.what == "progress" {
                if !self.quiet && self.told.elapsed() >= PROGRESS {
                    self.told = Instant::now();
                    eprintln!("read {} files again, {}", count(sum.same + sum.changed), bytes(sum.bytes));
                }
                return Ok(());
            }
        }
        if self.json {
            self.out.json(line)?;
        } else if let Some(path) = &line.path {
            let path = v1::bytes_of(path, line.path_raw.as_deref());
            let path = path.map_err(|error| Failure::doing("read a path", error))?;
            let why = match (&line.was, &line.is, &line.why) {
                (Some(was), Some(is), _) => format!("was {was}, is {is}"),
                (_, _, Some(why)) => why.clone(),
                _ => String::new(),
            };
            self.out.text(&format!("{}  {}\n  {why}\n", line.what, quoted(&path)))?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn end(self) -> Result<Outcome, Failure> {
        let Sum { same, changed, rotten, unsure, unread, bytes: read } = self.sum;
        if !self.json && !self.quiet {
            let mut text = format!("{} files are what they were, {} read", count(same), bytes(read));
            for (number, what) in [
                (rotten, "rotted"),
                (unsure, "not sure"),
                (unread, "could not be read"),
                (changed, "changed meanwhile"),
            ] {
                if number > 0 {
                    text.push_str(&format!("; {} {what}", count(number)));
                }
            }
            eprintln!("{text}");
        }
        Ok(Outcome::found(rotten == 0))
    }
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let zone = TimeZone::system();
    let mut any = false;
    source.rotten(&mut |answer| {
        let mut kept: Vec<RottenLine> = Vec::new();
        any |= answer.print_or_keep(context.global.json, &mut out, &mut kept)?;
        for line in kept {
            let path = v1::bytes_of(&line.path, line.path_raw.as_deref());
            let path = path.map_err(|error| Failure::doing("read a path", error))?;
            let found = local_time(i128::from(line.found_ns), &zone);
            out.text(&format!("{found}  {}\n  was {}\n", quoted(&path), line.was))?;
        }
        Ok(true)
    })?;
    out.flush()?;
    Ok(Outcome::found(!any))
}
