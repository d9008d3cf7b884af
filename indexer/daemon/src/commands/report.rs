//! `report`: sums over the index or a snapshot of it, as a table, as values, or as a page to look at. Adds nothing up itself.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use record::Time;
use serde_json::{Map, Value as Json};
use snapshot::{
    By, Day, Growth, Head, Lacks, Lines, Page, REPORTED, Report, Reports, Shape, Value, date,
    page_to_parquet, put,
};

use crate::cli::{FormatArg, GrowthByArg, Reported, Reporting, StaleByArg};
use crate::commands::Context;
use crate::commands::rows::{self, NOW, Origin, Rows};
use crate::commands::snapshot::failure;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, csv_line, html_page, page_table};
use crate::values;

/// Rows of a table, unless told otherwise.
const SHOWN: usize = 20;

/// Prints a report; ends with 1 when there is nothing in it.
pub(crate) fn run(context: &Context, reporting: &Reporting) -> Result<Outcome, Failure> {
    let (flags, pages, heads) = match reporting {
        Reporting::Growth { by, since, common } => {
            let (page, heads) = growth(context, *by, since.as_deref(), common)?;
            (common, vec![page], heads)
        }
        Reporting::Types(common) => sums(context, common, &[Report::Types])?,
        Reporting::Owners(common) => sums(context, common, &[Report::Owners])?,
        Reporting::Sizes(common) => sums(context, common, &[Report::Sizes])?,
        Reporting::Usage(common) => sums(context, common, &[Report::Usage])?,
        Reporting::Stale { older_than, by, common } => sums(context, common, &[stale(*older_than, *by)])?,
        Reporting::All { older_than, by, common } => sums(
            context,
            common,
            &[Report::Usage, Report::Types, Report::Owners, Report::Sizes, stale(*older_than, *by)],
        )?,
    };
    if let Some(file) = &flags.html {
        let page = html_page(&pages, &heads, flags.top.unwrap_or(SHOWN));
        put(file, flags.force, page.as_bytes()).map_err(failure)?;
    }
    if flags.html.is_none() || flags.output.is_some() {
        print(context, flags, &pages)?;
    }
    if !context.global.quiet && flags.html.is_none() {
        for note in pages.iter().flat_map(|page| &page.notes) {
            eprintln!("indexer: {note}");
        }
    }
    Ok(Outcome::found(pages.iter().any(|page| !page.rows.is_empty())))
}

fn stale(older_than: Duration, by: StaleByArg) -> Report {
    let age_us = i64::try_from(older_than.as_micros()).unwrap_or(i64::MAX);
    Report::Stale { age_us, accessed: by == StaleByArg::Atime }
}

type Told<'a> = (&'a Reported, Vec<Page>, Vec<Head>);

/// Some reports, in one pass over the rows.
fn sums<'a>(context: &Context, flags: &'a Reported, reports: &[Report]) -> Result<Told<'a>, Failure> {
    let origin = rows::origin(context, flags.from.as_deref().unwrap_or(OsStr::new(NOW)), &flags.snapshots)?;
    let root = flags.snapshots.root.as_deref().map(rows::root_bytes).transpose()?;
    let mut rows = Rows::open(context, &origin, root.as_deref(), &REPORTED)?;
    let mut reports = Reports::new(reports);
    let mut heads = Vec::new();
    while let Some(head) = rows.next_head()? {
        reports.begin(&head).map_err(lacks)?;
        heads.push(head);
        while let Some(lines) = rows.next_lines()? {
            reports.add(&lines);
        }
    }
    Ok((flags, reports.pages(), heads))
}

fn growth(
    context: &Context,
    by: GrowthByArg,
    since: Option<&OsStr>,
    flags: &Reported,
) -> Result<(Page, Vec<Head>), Failure> {
    let before = match since {
        None => rows::kept(context, Day::Oldest, &flags.snapshots)?,
        Some(since) => match since.to_str().map(values::age) {
            Some(Ok(age)) => {
                let us = i64::try_from(values::before(Time::now(), age).0 / 1000).unwrap_or(i64::MIN);
                let day = date(us).map_err(|error| Failure::doing("tell the day", error))?;
                rows::kept(context, Day::UpTo(&day), &flags.snapshots)?
            }
            _ => rows::origin(context, since, &flags.snapshots)?,
        },
    };
    let after = match &flags.from {
        Some(word) => rows::origin(context, word, &flags.snapshots)?,
        None => Origin::Now,
    };
    let (mut a, mut b, heads) = rows::pair(context, [before, after], &REPORTED)?;
    let mut growth = Growth::new(match by {
        GrowthByArg::Dir => By::Directory,
        GrowthByArg::Owner => By::Owner,
        GrowthByArg::Category => By::Category,
        GrowthByArg::Type => By::Type,
    });
    for (side, rows) in [&mut a, &mut b].into_iter().enumerate() {
        growth.begin(&heads[side]).map_err(lacks)?;
        while let Some(lines) = rows.next_lines()? {
            let lines: Lines = lines;
            growth.add(side, &lines);
        }
    }
    Ok((growth.page(), heads.into()))
}

fn lacks(lacks: Lacks) -> Failure {
    Failure::Usage(lacks.to_string())
}

fn print(context: &Context, flags: &Reported, pages: &[Page]) -> Result<(), Failure> {
    let format = match (flags.format, context.global.json) {
        (Some(format), _) => format,
        (None, true) => FormatArg::Json,
        (None, false) => FormatArg::Table,
    };
    if format == FormatArg::Parquet {
        let (Some(file), [page]) = (&flags.output, pages) else {
            return Err(Failure::Usage(
                "Parquet is written to a file, of one report: name it with --output".to_owned(),
            ));
        };
        let bytes = page_to_parquet(page).map_err(|error| Failure::doing("write Parquet", error))?;
        return put(file, flags.force, &bytes).map_err(failure);
    }
    let mut text = String::new();
    for (at, page) in pages.iter().enumerate() {
        if at > 0 && format != FormatArg::Json {
            text.push('\n');
        }
        match format {
            FormatArg::Json => json(&mut text, page, (pages.len() > 1).then_some(page.name), flags.top),
            FormatArg::Csv => csv(&mut text, page, flags.top),
            FormatArg::Table | FormatArg::Parquet => {
                if pages.len() > 1 {
                    text += &format!("{}\n\n", page.title);
                }
                text += &page_table(page, flags.top.unwrap_or(SHOWN), width(flags.output.as_deref()));
            }
        }
    }
    match &flags.output {
        Some(file) => put(file, flags.force, text.as_bytes()).map_err(failure),
        None => {
            let mut out = Out::stdout();
            out.text(&text)?;
            Ok(out.flush()?)
        }
    }
}

/// Columns of the terminal, if that is where it goes.
fn width(output: Option<&Path>) -> Option<usize> {
    if output.is_some() { None } else { Out::width() }
}

fn json(text: &mut String, page: &Page, report: Option<&str>, most: Option<usize>) {
    for row in page.rows.iter().take(most.unwrap_or(usize::MAX)) {
        let mut object = Map::new();
        if let Some(report) = report {
            object.insert("report".to_owned(), report.into());
        }
        for ((name, shape), cell) in page.columns.iter().zip(row) {
            let name = if *shape == Shape::Time { format!("{name}_us") } else { (*name).to_owned() };
            object.insert(
                name,
                match cell {
                    Value::Null => Json::Null,
                    Value::Text(text) => text.as_str().into(),
                    Value::Number(number) => (*number).into(),
                },
            );
        }
        text.push_str(&Json::Object(object).to_string());
        text.push('\n');
    }
}

fn csv(text: &mut String, page: &Page, most: Option<usize>) {
    let name = |(name, shape): &(&str, Shape)| match shape {
        Shape::Time => format!("{name}_us"),
        _ => (*name).to_owned(),
    };
    *text += &csv_line(&page.columns.iter().map(name).collect::<Vec<_>>());
    for row in page.rows.iter().take(most.unwrap_or(usize::MAX)) {
        let cell = |cell: &Value| match cell {
            Value::Null => String::new(),
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
        };
        *text += &csv_line(&row.iter().map(cell).collect::<Vec<_>>());
    }
}
