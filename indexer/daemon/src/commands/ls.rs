//! `ls`: one directory, short or long.

use std::path::Path;

use jiff::tz::TimeZone;
use record::Kind;

use crate::api::EntryView;
use crate::commands::source::by_spelling;
use crate::commands::{Answer, Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::PathRequest;
use crate::render::{Align, Names, Out, Table, bytes, local_time, mode_text, quoted};

/// Rows of a long listing that are lined up together; a larger directory comes in several tables.
const ROWS: usize = 4096;

/// Prints the directory at `path`, or the entry itself.
pub(crate) fn run(context: &Context, path: &Path, long: bool) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let zone = TimeZone::system();
    let names = if long { Names::read() } else { Names::default() };
    let mut table = columns();
    by_spelling(Some(path), |spelling| {
        let asked = spelling.unwrap_or_default();
        let request = PathRequest::from(asked);
        let mut rows = 0;
        source.ls(&request, &mut |answer| {
            if context.global.json {
                answer.print(&mut out)?;
                return Ok(true);
            }
            let entry = match answer {
                Answer::Line(line) => EntryView::read(line)?,
                Answer::Value(entry) => EntryView::of(entry)?,
                Answer::Pause => return Ok(true),
            };
            let name = below(&entry.path, asked);
            if !long {
                out.line(quoted(name).as_bytes())?;
                return Ok(true);
            }
            let stat = &entry.stat;
            table.row([
                mode_text(Kind::from_word(&stat.kind).unwrap_or(Kind::File), stat.mode),
                stat.links.to_string(),
                names.user(stat.uid),
                names.group(stat.gid),
                bytes(stat.size),
                local_time(stat.modified_ns, &zone),
                quoted(name).into_owned(),
            ]);
            rows += 1;
            if rows % ROWS == 0 {
                out.text(&std::mem::replace(&mut table, columns()).text(Out::width()))?;
            }
            Ok(true)
        })
    })?;
    out.text(&table.text(Out::width()))?;
    out.flush()?;
    Ok(Outcome::Done)
}

fn columns() -> Table {
    use Align::{Left, Right};
    Table::new(&[Left, Right, Left, Left, Right, Left, Left])
}

/// The name of an entry in the directory asked for; the whole path of anything else.
fn below<'a>(path: &'a [u8], dir: &[u8]) -> &'a [u8] {
    let name = path.strip_prefix(dir).map(|rest| rest.strip_prefix(b"/").unwrap_or(rest));
    name.filter(|name| !name.is_empty()).unwrap_or(path)
}
