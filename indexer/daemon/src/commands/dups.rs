//! `dups`: sets of files with equal contents, those that waste most first.

use record::wire::v1;

use crate::cli::Dups;
use crate::commands::source::by_spelling;
use crate::commands::{Context, Source, link};
use crate::failure::{Failure, Outcome};
use crate::query::{DupsRequest, PathPair};
use crate::render::{Out, bytes, count, quoted};

/// Prints sets, or acts on them.
pub(crate) fn run(context: &Context, flags: &Dups) -> Result<Outcome, Failure> {
    if let Some(log) = &flags.undo {
        return link::undo(context, log, flags.apply);
    }
    if let Some(how) = flags.link {
        return link::link(context, flags, how);
    }
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let (mut sets, mut wasted) = (0, 0);
    by_spelling(flags.root.as_deref(), |path| {
        let pair = path.map(PathPair::new);
        let (path, path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
        let (min_size, top, files) = (flags.min_size, flags.top, flags.files);
        let request = DupsRequest { path, path_raw, min_size, top, files };
        source.dups(&request, &mut |answer| {
            let mut kept: Vec<v1::Duplicates> = Vec::new();
            sets += u64::from(answer.print_or_keep(context.global.json, &mut out, &mut kept)?);
            for set in kept {
                wasted += set.wasted;
                out.text(&text(&set)?)?;
            }
            Ok(true)
        })
    })?;
    out.flush()?;
    if !context.global.json && !context.global.quiet {
        eprintln!("{}", summary(sets, wasted));
    }
    Ok(Outcome::found(sets > 0))
}

fn summary(sets: u64, wasted: u64) -> String {
    match sets {
        0 => "no duplicates among the files that were read; `indexer status` tells whether some are still to be".to_owned(),
        1 => format!("1 set, {} wasted", bytes(wasted)),
        sets => format!("{} sets, {} wasted", count(sets), bytes(wasted)),
    }
}

/// A head line and one line a copy, its other names below it.
fn text(set: &v1::Duplicates) -> Result<String, Failure> {
    let (copies, size, wasted) = (count(set.paths.len() as u64), bytes(set.size), bytes(set.wasted));
    let mut text = match set.files {
        Some(1) => format!("{copies} equal directories of {size} in 1 file, {wasted} wasted\n"),
        Some(files) => {
            format!("{copies} equal directories of {size} in {} files, {wasted} wasted\n", count(files))
        }
        None => format!("{copies} copies of {size}, {wasted} wasted\n"),
    };
    for (nth, path) in set.paths.iter().enumerate() {
        text.push_str(&format!("  {}\n", shown(path, set.paths_raw.as_deref(), nth)?));
        for links in set.links.iter().filter(|links| links.of == nth) {
            for (nth, path) in links.paths.iter().enumerate() {
                text.push_str(&format!("    = {}\n", shown(path, links.paths_raw.as_deref(), nth)?));
            }
        }
    }
    Ok(text)
}

fn shown(path: &str, raw: Option<&[String]>, nth: usize) -> Result<String, Failure> {
    let raw = raw.and_then(|raw| raw.get(nth)).map(String::as_str);
    let path = v1::bytes_of(path, raw).map_err(|error| Failure::doing("read a path", error))?;
    Ok(quoted(&path).into_owned())
}
