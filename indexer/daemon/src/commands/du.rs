//! `du`: sizes of directories, the largest first; or of what is in them, by category.

use record::wire::v1;

use crate::cli::{ByArg, Du};
use crate::commands::source::by_spelling;
use crate::commands::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::{DuRequest, PathPair};
use crate::render::{Align, Out, Table, bytes, count, quoted};

/// Prints totals.
pub(crate) fn run(context: &Context, flags: &Du) -> Result<Outcome, Failure> {
    match flags.by {
        None => directories(context, flags),
        Some(ByArg::Category) => categories(context, flags),
    }
}

fn directories(context: &Context, flags: &Du) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let mut found: Vec<v1::Du> = Vec::new();
    let mut any = false;
    by_spelling(flags.path.as_deref(), |path| {
        source.du(&request(flags, path), &mut |answer| {
            any |= answer.print_or_keep(context.global.json, &mut out, &mut found)?;
            Ok(true)
        })
    })?;
    if !found.is_empty() {
        let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]);
        table.row(["allocated".into(), "size".into(), "entries".into(), "path".into()]);
        for du in &found {
            table.row([
                bytes(du.allocated),
                bytes(du.bytes),
                count(du.files + du.directories),
                shown(&du.path, du.path_raw.as_deref())?,
            ]);
        }
        out.text(&table.text(Out::width()))?;
    }
    out.flush()?;
    Ok(Outcome::found(any))
}

fn categories(context: &Context, flags: &Du) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let mut found: Vec<v1::DuCategory> = Vec::new();
    let mut any = false;
    by_spelling(flags.path.as_deref(), |path| {
        source.du_by(&request(flags, path), &mut |answer| {
            any |= answer.print_or_keep(context.global.json, &mut out, &mut found)?;
            Ok(true)
        })
    })?;
    if !found.is_empty() {
        let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left, Align::Left]);
        table.row(["allocated", "size", "entries", "category", "path"].map(str::to_owned));
        for sum in &found {
            table.row([
                bytes(sum.allocated),
                bytes(sum.bytes),
                count(sum.files + sum.directories),
                sum.category.clone().unwrap_or_else(|| "no file".to_owned()),
                shown(&sum.path, sum.path_raw.as_deref())?,
            ]);
        }
        out.text(&table.text(Out::width()))?;
    }
    out.flush()?;
    Ok(Outcome::found(any))
}

fn request(flags: &Du, path: Option<&[u8]>) -> DuRequest {
    let pair = path.map(PathPair::new);
    let (path, path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
    DuRequest {
        path,
        path_raw,
        depth: flags.depth,
        top: flags.top,
        exact: flags.exact.then_some(true),
        by: flags.by.map(|ByArg::Category| "category".to_owned()),
    }
}

fn shown(path: &str, raw: Option<&str>) -> Result<String, Failure> {
    let path = v1::bytes_of(path, raw).map_err(|error| Failure::doing("read a path", error))?;
    Ok(quoted(&path).into_owned())
}
