//! `coverage`: how directories are kept true, for people or as lines of JSON.

use std::path::Path;

use record::Time;
use record::wire::v1;

use crate::commands::source::by_spelling;
use crate::commands::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::{Coverage, CoverageRequest, PathPair};
use crate::render::{Align, Out, Table, ago, count, quoted};

/// Prints it for a directory, or for each root.
pub(crate) fn run(context: &Context, path: Option<&Path>, depth: u32, all: bool) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let mut found: Vec<Coverage> = Vec::new();
    let mut any = false;
    by_spelling(path, |path| {
        let pair = path.map(PathPair::new);
        let (path, path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
        let request = CoverageRequest { path, path_raw, depth: Some(depth), all: all.then_some(true) };
        source.coverage(&request, &mut |answer| {
            any |= answer.print_or_keep(context.global.json, &mut out, &mut found)?;
            Ok(true)
        })
    })?;
    if !found.is_empty() {
        out.text(&text(&found, Time::now(), Out::width()))?;
    }
    out.flush()?;
    Ok(Outcome::found(any))
}

fn text(found: &[Coverage], now: Time, width: Option<usize>) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[right, right, right, right, Align::Left, Align::Left]);
    table.row(["watched", "swept", "unverified", "blind", "verified", "path"].map(str::to_owned));
    for line in found {
        table.row([
            count(line.counts.watched),
            count(line.counts.swept),
            count(line.counts.unverified),
            count(line.counts.blind),
            line.verified_ns.map_or("not yet".to_owned(), |then| ago(then, now.0)),
            shown(&line.path, line.path_raw.as_deref()),
        ]);
    }
    let mut text = table.text(width);
    let parts: Vec<_> = found.iter().flat_map(|line| &line.parts).collect();
    if !parts.is_empty() {
        text.push('\n');
    }
    for part in parts {
        let path = shown(&part.path, part.path_raw.as_deref());
        text.push_str(&format!("{path}: {} ({})\n", part.backend, part.reason));
    }
    for line in found.iter().filter(|line| !line.blind_paths.is_empty()) {
        let path = shown(&line.path, line.path_raw.as_deref());
        text.push_str(&format!("\n{} of {path} cannot be looked at:\n", directories(line.counts.blind)));
        for blind in &line.blind_paths {
            let path = shown(&blind.path, blind.path_raw.as_deref());
            text.push_str(&format!("  {path}: {}, since {}\n", blind.why, ago(blind.since_ns, now.0)));
        }
        let more = line.counts.blind.saturating_sub(line.blind_paths.len() as u64);
        if more > 0 {
            text.push_str(&format!("  and {} more: --all names them\n", count(more)));
        }
    }
    text
}

fn directories(number: u64) -> String {
    if number == 1 { "1 directory".to_owned() } else { format!("{} directories", count(number)) }
}

fn shown(path: &str, raw: Option<&str>) -> String {
    quoted(&v1::bytes_of(path, raw).unwrap_or_else(|_| path.as_bytes().to_vec())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_seen_and_what_is_not_is_said_within_the_width() {
        let line: Coverage = serde_json::from_value(json!({
            "path": format!("/{}", "long/".repeat(30)), "state": "watched", "directories": 1207,
            "watched": 1180, "swept": 5, "unverified": 0, "blind": 22, "verified_ns": 1_000_000_000,
            "parts": [{"path": "/r", "volume": 1, "backend": "inotify", "reason": "asked for",
                       "watched": 1180, "swept": 5, "unverified": 0, "blind": 22}],
            "blind_paths": [{"path": "/r/x", "why": "list: permission denied", "since_ns": 0}],
        }))
        .unwrap();
        assert_eq!((line.counts.watched, line.counts.blind), (1180, 22));
        let text = text(&[line], Time(61_000_000_000), Some(80));
        for word in ["1,180", "60 s ago", "/r: inotify (asked for)", "22 directories", "and 21 more: --all"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(text.lines().take(2).all(|line| line.chars().count() <= 80), "{text}");
    }
}
