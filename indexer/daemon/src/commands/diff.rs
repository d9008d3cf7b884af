//! `diff`: two snapshots, or a snapshot and the index as it is, compared. Knows not how differences are found.

mod by_dir;
mod seqs;
mod shown;

use snapshot::{COMPARED, Head, Lines, MOST_WAITING, Summary, diff};

use crate::cli::Diff;
use crate::commands::Context;
use crate::commands::rows;
use crate::failure::{Failure, Outcome};
use crate::render::Out;
use by_dir::Dirs;
use shown::{Form, Largest};

/// Prints what differs; ends with 1 when anything does.
pub(crate) fn run(context: &Context, flags: &Diff) -> Result<Outcome, Failure> {
    let form = match (context.global.json, flags.csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Text,
    };
    let ([mut a, mut b], heads) = sides(context, flags)?;
    let quiet = context.global.quiet;
    let [before, after] = &heads;
    if before.host != after.host && !quiet {
        eprintln!(
            "indexer: the snapshots are of the hosts {} and {}, whose numbers of files are not the same: a renamed entry is told as \
             deleted and created",
            before.host, after.host
        );
    }
    let mut out = Out::stdout();
    let mut dirs = flags.by_dir.map(|depth| Dirs::new(&before.root, depth));
    let mut largest = flags.top.map(Largest::new);
    if form == Form::Csv && dirs.is_none() && !flags.summary {
        out.text(shown::CSV_HEAD)?;
    }
    let summary = diff::<Failure>([before, after], [&mut *a, &mut *b], MOST_WAITING, &mut |change| {
        if let Some(dirs) = &mut dirs {
            dirs.add(change);
        } else if !change.is_implied() && !flags.summary {
            match &mut largest {
                Some(largest) => largest.add(change, form),
                None => out.text(&form.line(change))?,
            }
        }
        Ok(())
    })?;
    for lines in largest.filter(|_| dirs.is_none()).map(Largest::lines).into_iter().flatten() {
        out.text(&lines)?;
    }
    if let Some(dirs) = dirs {
        dirs.print(&mut out, form, flags.top)?;
    }
    if form != Form::Csv || flags.summary {
        out.text(&form.summary(&heads, &summary))?;
    }
    out.flush()?;
    if !summary.complete && !quiet {
        eprintln!(
            "indexer: more than {MOST_WAITING} names are on one side alone; some that were renamed are told as deleted and created"
        );
    }
    Ok(Outcome::found(is_equal(&summary)))
}

/// Answers the next rows of a side; none at its end.
type Next = Box<dyn FnMut() -> Result<Option<Lines>, Failure>>;

/// What is compared, and of when it is.
fn sides(context: &Context, flags: &Diff) -> Result<([Next; 2], [Head; 2]), Failure> {
    if let Some(seqs) = seqs::named(flags) {
        if flags.by_dir.is_some() {
            return Err(Failure::Usage(
                "--by-dir counts what came along with renamed directories too, and the journal does not tell of that: leave it out, or \
                 compare snapshots"
                    .to_owned(),
            ));
        }
        let (sides, heads) = seqs::pair(context, flags, seqs)?;
        return Ok((sides.map(|mut side| Box::new(move || Ok(side.next())) as Next), heads));
    }
    let sides = [
        rows::origin(context, &flags.before, &flags.from)?,
        rows::origin(context, &flags.after, &flags.from)?,
    ];
    let (mut a, mut b, heads) = rows::pair(context, sides, &COMPARED)?;
    Ok(([Box::new(move || a.next_lines()), Box::new(move || b.next_lines())], heads))
}

fn is_equal(summary: &Summary) -> bool {
    summary.differences() == 0
}
