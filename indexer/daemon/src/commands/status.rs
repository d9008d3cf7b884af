//! `status`: what the daemon says of itself, or what the index alone tells.

use std::time::Duration;

use record::Time;

use crate::commands::{Context, Source};
use crate::engine::of_index;
use crate::engine::status::{AuditStatus, HashingStatus, Problem, RootStatus, Status};
use crate::failure::{Failure, Outcome};
use crate::render::{Align, Out, Table, ago, bytes, count, quoted};

/// Between two prints of `--follow`.
const PERIOD: Duration = Duration::from_secs(1);

/// Prints the status; with `follow` once a second. With `check` anything that is not as asked ends it with 1.
pub(crate) fn run(context: &Context, follow: bool, check: bool) -> Result<Outcome, Failure> {
    loop {
        let status = read(context)?;
        let mut out = Out::stdout();
        if context.global.json {
            out.json(&status)?;
        } else {
            out.text(&text(&status, Time::now(), Out::width()))?;
        }
        out.flush()?;
        if !follow {
            return Ok(Outcome::found(!check || status.problems.is_empty()));
        }
        std::thread::sleep(PERIOD);
    }
}

fn read(context: &Context) -> Result<Status, Failure> {
    let mut status = match Source::open(context)? {
        Source::Daemon(mut client) => client.get("/v1/status")?,
        Source::Local(index) => {
            let mut status = Status { state: "stopped".into(), ..Status::default() };
            of_index(&index, &index.read()?, &mut status)?;
            let why = "no daemon runs: nothing follows the changes".to_owned();
            status.problems = vec![Problem { code: "stopped".to_owned(), root: None, why }];
            status
        }
    };
    if status.version.is_empty() {
        env!("CARGO_PKG_VERSION").clone_into(&mut status.version);
    }
    if status.state_dir.is_empty() {
        status.state_dir = context.state()?.path.to_string_lossy().into_owned();
    }
    Ok(status)
}

/// How the reading of contents fares, in one line.
fn contents(hashing: &HashingStatus) -> String {
    let mut text = format!("contents: {}, {} hashed", hashing.reading, count(hashing.hashed));
    if hashing.waiting > 0 {
        text.push_str(&format!(", {} changed and wait", count(hashing.waiting)));
    }
    if hashing.files_left > 0 {
        text.push_str(&format!(
            ", up to {} left ({}, {}/s",
            count(hashing.files_left),
            bytes(hashing.bytes_left),
            bytes(hashing.bytes_per_second)
        ));
        text.push_str(&hashing.eta_s.map_or(")".to_owned(), |eta| format!(", {})", duration(eta))));
    } else if !hashing.at_rest && hashing.waiting == 0 {
        text.push_str(", looking for others to read");
    }
    text.push('\n');
    text
}

fn text(status: &Status, now: Time, width: Option<usize>) -> String {
    let mut text = match status.pid {
        Some(pid) => format!("{}: pid {pid}, up {}\n", status.state, duration(status.uptime_s)),
        None => "stopped: no daemon runs; this is what the index says\n".to_owned(),
    };
    if let Some(progress) = &status.progress {
        text.push_str(&format!(
            "progress: {:.0} %, {} entries found, {} in the index, {} directories left\n",
            progress.percent,
            count(progress.files_found),
            count(progress.files_processed),
            count(progress.directories_left)
        ));
    }
    text.push_str(&format!(
        "index: {} entries, {} in {}\n",
        count(status.entries),
        bytes(status.index_bytes),
        quoted(status.state_dir.as_bytes())
    ));
    text.push_str(&format!(
        "journal: seq {}, kept from {}, {}\n",
        status.seq,
        status.oldest_seq,
        bytes(status.journal_bytes)
    ));
    if status.pid.is_some() {
        text.push_str(&format!(
            "watch: {} events, {} pending, {} ms behind, {} overflows; memory {}\n",
            count(status.events),
            count(status.pending),
            count(status.lag_ms),
            count(status.overflows),
            bytes(status.rss_bytes)
        ));
    }
    if let Some(hashing) = &status.hashing {
        text.push_str(&contents(hashing));
    }
    if let Some(amqp) = &status.amqp {
        text.push_str(&format!(
            "amqp: {}, {} confirmed, {} behind; {} at {}\n",
            amqp.state,
            count(amqp.confirmed),
            count(amqp.lag),
            amqp.exchange,
            amqp.broker
        ));
    }
    if let Some(snapshots) = &status.snapshots {
        let last = match snapshots.last_us {
            Some(us) => ago(i128::from(us) * 1000, Time::now().0),
            None => "never".to_owned(),
        };
        let now = if snapshots.writing { ", one is being written" } else { "" };
        text.push_str(&format!("snapshots: last {last}{now}; {}\n", quoted(snapshots.folder.as_bytes())));
    }
    if status.audit.entries > 0 {
        text.push_str(&audit(&status.audit));
    }
    let mut table =
        Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Left, Align::Left]);
    table.row(["state", "backend", "entries", "size", "verified", "root"].map(str::to_owned));
    for root in &status.roots {
        let verified = root.verified_ns.map_or("not yet".to_owned(), |then| ago(then, now.0));
        let path = record::wire::v1::bytes_of(&root.path, root.path_raw.as_deref());
        table.row([
            root.state.clone(),
            root.backend.clone(),
            count(root.entries),
            bytes(root.bytes),
            verified,
            quoted(&path.unwrap_or_default()).into_owned(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text(width));
    for root in &status.roots {
        notes(&mut text, root);
    }
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Left]);
    for consumer in &status.consumers {
        table.row([
            consumer.seq.to_string(),
            format!("{} behind", count(consumer.lag)),
            consumer.name.clone(),
        ]);
    }
    if !table.is_empty() {
        text.push_str("\nconsumers:\n");
        text.push_str(&table.text(width));
    }
    for problem in status.problems.iter().filter(|problem| problem.code != "stopped") {
        text.push_str(&format!("problem: {}\n", problem.line()));
    }
    for warning in &status.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// What the self-audit found.
fn audit(audit: &AuditStatus) -> String {
    let latency = audit.detection_p99_ms.map_or(String::new(), |ms| format!(", detection p99 {ms:.1} ms"));
    format!(
        "audit: missed {} of {} entries in {} directories in 24 h{latency}\n",
        count(audit.missed),
        count(audit.entries),
        count(audit.directories)
    )
}

/// Why a root is watched as it is, and where it cannot be vouched for.
fn notes(text: &mut String, root: &RootStatus) {
    if !root.reason.is_empty() {
        text.push_str(&format!("{}: {}\n", root.path, root.reason));
    }
    if let Some(why) = &root.lost {
        text.push_str(&format!("{}: lost: {why}; its entries are kept\n", root.path));
    }
    let coverage = &root.coverage;
    if coverage.swept > 0 || coverage.unverified > 0 {
        text.push_str(&format!(
            "{}: {} directories watched, {} swept, {} not verified yet\n",
            root.path,
            count(coverage.watched),
            count(coverage.swept),
            count(coverage.unverified)
        ));
    }
    if let Some(swept) = &root.swept {
        let all = if swept.complete { "all of it" } else { "all but what cannot be read" };
        text.push_str(&format!(
            "{}: last swept {} ({}), {all}, {} differences\n",
            root.path,
            ago(swept.ended_ns, Time::now().0),
            swept.why,
            count(swept.differences)
        ));
    }
    if root.blind > 0 {
        text.push_str(&format!("{}: {} directories cannot be vouched for:\n", root.path, count(root.blind)));
        for blind in &root.blind_paths {
            text.push_str(&format!("  {}: {}\n", quoted(blind.path.as_bytes()), blind.why));
        }
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::status::{ConsumerStatus, Progress};

    #[test]
    fn everything_that_matters_is_said_within_the_width() {
        let status = Status {
            pid: Some(77),
            state: "live".into(),
            uptime_s: 300,
            state_dir: "/state".into(),
            entries: 1_051_237,
            seq: 12,
            oldest_seq: 3,
            roots: vec![RootStatus {
                path: format!("/{}", "long/".repeat(40)),
                state: "live".into(),
                backend: "fanotify".into(),
                verified_ns: Some(0),
                ..RootStatus::default()
            }],
            consumers: vec![ConsumerStatus { name: "backup".into(), seq: 10, lag: 2 }],
            progress: Some(Progress { percent: 50.0, ..Progress::default() }),
            warnings: vec!["watch limit".into()],
            ..Status::default()
        };
        let text = text(&status, Time(10_000_000_000), Some(80));
        for word in [
            "live: pid 77, up 5 min",
            "1,051,237",
            "fanotify",
            "10 s ago",
            "2 behind",
            "warning: watch limit",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let table = text.lines().find(|line| line.starts_with("live   fanotify")).unwrap();
        assert!(table.chars().count() <= 80, "{table}");
    }
}
