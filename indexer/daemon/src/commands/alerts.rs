//! `alerts`: the rules and how they fare; `alerts test` sends a sample by one of them.

use alert::{Alerts, Report};
use record::Time;

use crate::alerting::Tried;
use crate::cli;
use crate::commands::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::AlertRequest;
use crate::render::{Align, Out, Table, ago, count, quoted};

/// Lists the rules, ends with 1 when there are none; or tries one.
pub(crate) fn run(context: &Context, action: Option<&cli::Alerts>) -> Result<Outcome, Failure> {
    match action {
        Some(cli::Alerts::Test { rule }) => test(context, rule),
        None => list(context),
    }
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let reports = read(context)?;
    let mut out = Out::stdout();
    if context.global.json {
        reports.iter().try_for_each(|report| out.json(report))?;
    } else {
        out.text(&text(&reports, Time::now(), Out::width()))?;
    }
    out.flush()?;
    if reports.is_empty() && !context.global.json {
        eprintln!("indexer: the configuration has no [[alert]]");
    }
    Ok(Outcome::found(!reports.is_empty()))
}

/// From the daemon, or from the configuration and the cursors in the index.
fn read(context: &Context) -> Result<Vec<Report>, Failure> {
    let index = match Source::open(context)? {
        Source::Daemon(mut client) => return client.get("/v1/alerts"),
        Source::Local(index) => index,
    };
    let reader = index.read()?;
    let (last, cursors) = (reader.seq()?, reader.cursors()?);
    let reports = context.file.rules.iter().map(|rule| {
        let consumer = rule.consumer();
        let cursor = cursors.iter().find(|(name, _)| *name == consumer).map(|(_, seq)| seq.0);
        let lag = cursor.map_or(0, |cursor| last.0.saturating_sub(cursor));
        Report { cursor, lag, ..Report::of(rule) }
    });
    Ok(reports.collect())
}

fn test(context: &Context, rule: &str) -> Result<Outcome, Failure> {
    let daemon = match context.state_path()?.try_exists() {
        Ok(true) => Source::daemon(&context.state()?)?,
        _ => None,
    };
    let tried = match daemon {
        Some(mut client) => client.post("/v1/alerts/test", &AlertRequest { rule: rule.to_owned() })?,
        None => Tried::of(Alerts::sample(context.file.rules.iter(), rule, "none")),
    };
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&tried)?;
    } else if tried.delivered && !context.global.quiet {
        out.text(&format!("{rule}: the sample arrived\n"))?;
    }
    out.flush()?;
    match tried.why {
        None => Ok(Outcome::Done),
        Some(why) => Err(Failure::Failed(format!("the sample did not arrive: {why}"))),
    }
}

fn text(reports: &[Report], now: Time, width: Option<usize>) -> String {
    let mut table = Table::new(&[
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Left,
    ]);
    table
        .row(["rule", "last", "delivered", "failures", "lost", "waiting", "behind", "to"].map(str::to_owned));
    for report in reports {
        let last = report.last_delivery_ns.map_or("never".to_owned(), |ns| ago(i128::from(ns), now.0));
        table.row([
            report.rule.clone(),
            last,
            count(report.delivered),
            count(report.failures),
            count(report.lost),
            count(report.waiting),
            count(report.lag),
            quoted(report.to.as_bytes()).into_owned(),
        ]);
    }
    let mut text = if reports.is_empty() { String::new() } else { table.text(width) };
    for report in reports {
        text.push_str(&format!("{}: {}\n", report.rule, quoted(report.when.as_bytes())));
        if let Some(why) = &report.trouble {
            text.push_str(&format!("{}: trouble: {}\n", report.rule, quoted(why.as_bytes())));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_numbers_and_its_trouble() {
        let films = Report {
            rule: "films".into(),
            when: "created, /srv/**".into(),
            to: "webhook https://h/…".into(),
            delivered: 1_200,
            failures: 3,
            lost: 2,
            waiting: 1,
            last_delivery_ns: Some(1_000_000_000),
            trouble: Some("the answer is\n500".into()),
            lag: 7,
            ..Report::default()
        };
        let log = Report { rule: "log".into(), when: "gap".into(), to: "log".into(), ..Report::default() };
        let text = text(&[films, log], Time(11_000_000_000), None);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..8], ["films", "10", "s", "ago", "1,200", "3", "2", "1"], "{text}");
        assert!(text.contains("log    never"), "{text}");
        assert!(text.contains("films: trouble: $'the answer is\\n500'"), "{text}");
    }
}
