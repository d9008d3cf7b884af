//! The exposition read back by a strict parser: the format is the interface. It could break by a label that is not
//! escaped, a family that is told twice, or a series for each of something that has no bound.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::engine::status::{AuditStatus, ConsumerStatus, CoverageStatus, Problem, Progress};

/// Samples by their series, each in a family that was described; everything else is a panic.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families: BTreeSet<String> = BTreeSet::new();
    let (mut family, mut kind, mut help) = (String::new(), String::new(), String::new());
    let mut lines = text.lines().peekable();
    let good_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            assert!(lines.next().is_none() && text.ends_with("# EOF\n"), "something after the end");
            return samples;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(good_name(name) && name.starts_with("indexer_"), "{name}");
            assert!(!text.is_empty() && !text.ends_with('.') || text.ends_with(';'), "{line}");
            (family, help) = (name.to_owned(), text.to_owned());
            assert!(families.insert(family.clone()), "{family} is described twice");
            let described = lines.next().unwrap_or_default();
            let rest =
                described.strip_prefix("# TYPE ").unwrap_or_else(|| panic!("HELP without TYPE: {line}"));
            let (name, word) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["gauge", "counter", "histogram"].contains(&word), "{described}");
            word.clone_into(&mut kind);
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        assert!(!help.is_empty(), "a sample before any HELP: {line}");
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let suffixes: &[&str] = match &*kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.iter().any(|suffix| format!("{family}{suffix}") == name), "{line} in {family}");
        label_names(labels);
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
    }
    panic!("no end")
}

/// The names in a label set, every value of which is quoted and escaped.
fn label_names(labels: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no value: {labels}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{labels}");
        assert!(!names.contains(&name.to_owned()), "label twice: {labels}");
        names.push(name.to_owned());
        let mut escaped = false;
        let end = after.char_indices().find_map(|(at, c)| match c {
            _ if escaped => {
                assert!(['\\', '"', 'n'].contains(&c), "{labels}");
                escaped = false;
                None
            }
            '\\' => {
                escaped = true;
                None
            }
            '"' => Some(at),
            _ => None,
        });
        rest = &after[end.unwrap_or_else(|| panic!("no end: {labels}")) + 1..];
        if let Some(more) = rest.strip_prefix(',') {
            assert!(!more.is_empty(), "{labels}");
            rest = more;
        } else {
            assert!(rest.is_empty(), "{labels}");
        }
    }
    names
}

fn shot(status: Status) -> Shot {
    let mut counted = Counted { commits: 3, commit_us: 12_345_678, ..Counted::default() };
    counted.by_length[1] = 2;
    *counted.by_length.last_mut().unwrap() = 1;
    counted.records[6] = 9;
    let done = Done { looks: 70, walked: 1000, rounds: 5, owed: 1 };
    Shot { status, done, counted, stalled_s: 1.5 }
}

fn full() -> Status {
    let root = |path: &str, state: &str| RootStatus {
        path: path.into(),
        state: state.into(),
        backend: "fanotify".into(),
        entries: 10,
        verified_ns: Some(1),
        coverage: CoverageStatus { watched: 4, swept: 3, unverified: 2, blind: 1, sweep_every_s: Some(300) },
        ..RootStatus::default()
    };
    Status {
        version: "1.2.3".into(),
        state: "sweeping".into(),
        entries: 1_051_237,
        lag_ms: 1500,
        events: 77,
        overflows: 2,
        audit: AuditStatus { missed: 1, detection_p99_ms: Some(8.0), ..AuditStatus::default() },
        roots: vec![
            root("/srv/a \"b\" \\ c", "live"),
            root("/srv/\n{x=\"y\"} 1\n# EOF", "lost"),
            RootStatus { path_raw: Some("L3Nydi/x".into()), ..root("/srv/\u{fffd}", "surprised") },
            RootStatus {
                path_raw: Some("L3Nydi/y".into()),
                verified_ns: None,
                ..root("/srv/\u{fffd}", "live")
            },
        ],
        consumers: vec![ConsumerStatus { name: "back\"up\n".into(), seq: 1, lag: 4 }],
        progress: Some(Progress { percent: 41.0, ..Progress::default() }),
        problems: vec![Problem { code: "root_lost".into(), ..Problem::default() }; 2],
        alerts: vec![Report { rule: "films".into(), delivered: 7, lost: 2, lag: 3, ..Report::default() }],
        ..Status::default()
    }
}

#[test]
fn the_exposition_is_well_formed_whatever_the_names() {
    let samples = parse(&text(shot(full())).unwrap());
    let get =
        |series: &str| *samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", samples.keys()));
    for (series, value) in [
        ("indexer_build_info{version=\"1.2.3\"}", 1.0),
        ("indexer_entries", 1_051_237.0),
        ("indexer_lag_seconds", 1.5),
        ("indexer_kernel_events_total", 77.0),
        ("indexer_looks_total", 70.0),
        ("indexer_audit_missed", 1.0),
        ("indexer_detection_seconds{quantile=\"0.99\"}", 0.008),
        ("indexer_records_total{op=\"deleted\"}", 9.0),
        ("indexer_records_total{op=\"gap\"}", 0.0),
        ("indexer_state{state=\"sweeping\"}", 1.0),
        ("indexer_state{state=\"live\"}", 0.0),
        ("indexer_healthy", 0.0),
        ("indexer_problems{code=\"root_lost\"}", 2.0),
        ("indexer_walk_progress_ratio{phase=\"sweeping\"}", 0.41),
        ("indexer_root_directories{root=\"/srv/a \\\"b\\\" \\\\ c\",coverage=\"unverified\"}", 2.0),
        ("indexer_root_state{root=\"/srv/a \\\"b\\\" \\\\ c\",state=\"live\"}", 1.0),
        ("indexer_consumer_lag_records{consumer=\"back\\\"up\\n\"}", 4.0),
        ("indexer_alert_delivered_total{rule=\"films\"}", 7.0),
        ("indexer_alert_lost_records_total{rule=\"films\"}", 2.0),
        ("indexer_alert_lag_records{rule=\"films\"}", 3.0),
        ("indexer_commit_seconds_bucket{le=\"0.003\"}", 2.0),
        ("indexer_commit_seconds_bucket{le=\"10.0\"}", 2.0),
        ("indexer_commit_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("indexer_commit_seconds_count", 3.0),
    ] {
        assert_eq!(get(series), value, "{series}");
    }
    assert!((get("indexer_commit_seconds_sum") - 12.345_678).abs() < 1e-6);
    // A state that is new to this module is shown as one, not as none.
    let other = samples.iter().filter(|(series, _)| series.contains("state=\"other\""));
    assert_eq!(other.map(|(_, value)| *value).sum::<f64>(), 1.0);
    // Paths that are no text stay apart, and what was never verified has no age.
    let ages = samples.keys().filter(|series| series.starts_with("indexer_root_verified_age_seconds"));
    assert_eq!(ages.count(), 3);
    assert_eq!(samples.keys().filter(|series| series.starts_with("indexer_root_entries")).count(), 4);
}

#[test]
fn nothing_at_all_is_well_formed_too() {
    let samples = parse(&text(shot(Status::default())).unwrap());
    assert_eq!(samples["indexer_healthy"], 1.0);
    assert!(!samples.keys().any(|series| series.contains("walk_progress")));
}

#[test]
fn consumers_beyond_the_bound_are_counted_and_have_no_series() {
    let consumers =
        (0..1000).map(|nth| ConsumerStatus { name: format!("c{nth}"), seq: 0, lag: nth }).collect();
    let samples = parse(&text(shot(Status { consumers, ..Status::default() })).unwrap());
    let shown: Vec<_> =
        samples.iter().filter(|(series, _)| series.starts_with("indexer_consumer_lag_records")).collect();
    assert_eq!(shown.len(), MOST_CONSUMERS);
    assert!(shown.iter().all(|(_, lag)| **lag >= 800.0), "those furthest behind are the ones");
    assert_eq!(samples["indexer_consumers"], 1000.0);
}
