//! `du`: sizes of directories, the largest first.

use record::wire::v1;

use crate::cli::Du;
use crate::commands::source::by_spelling;
use crate::commands::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::{DuRequest, PathPair};
use crate::render::{Align, Out, Table, bytes, count, quoted};

/// Prints totals.
pub(crate) fn run(context: &Context, flags: &Du) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let mut found: Vec<v1::Du> = Vec::new();
    let mut any = false;
    by_spelling(flags.path.as_deref(), |path| {
        let pair = path.map(PathPair::new);
        let (path, path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
        let (depth, top) = (flags.depth, flags.top);
        let request = DuRequest { path, path_raw, depth, top, exact: flags.exact.then_some(true) };
        source.du(&request, &mut |answer| {
            any |= answer.print_or_keep(context.global.json, &mut out, &mut found)?;
            Ok(true)
        })
    })?;
    if !found.is_empty() {
        let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]);
        table.row(["allocated".into(), "size".into(), "entries".into(), "path".into()]);
        for du in &found {
            let path = v1::bytes_of(&du.path, du.path_raw.as_deref())
                .map_err(|error| Failure::doing("read a path", error))?;
            table.row([
                bytes(du.allocated),
                bytes(du.bytes),
                count(du.files + du.directories),
                quoted(&path).into_owned(),
            ]);
        }
        out.text(&table.text(Out::width()))?;
    }
    out.flush()?;
    Ok(Outcome::found(any))
}
