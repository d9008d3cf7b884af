//! Rules that are followed, over a journal in memory: at least once, each at its own pace, from its own cursor. It could break by
//! a cursor that moves too early, by one rule that waits for another, by an end that waits for a stranger.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::{Journal, PATIENCE, Server, journal, rule, status, wait_for, webhook};
use alert::{AlertError, Alerts, Conditions, Rate, Report, Rule, To, When, op};
use record::{Body, Change, EntryId, Kind, Op, Stat, State, Time, VolumeId};

fn start(journal: &Arc<Journal>, rules: &[Rule]) -> Alerts {
    Alerts::start(Arc::clone(journal) as Arc<dyn consumer::Feed>, rules.to_vec()).unwrap()
}

/// Followed, each with a cursor.
fn begun(journal: &Arc<Journal>, rules: &[Rule]) -> Alerts {
    let alerts = start(journal, rules);
    for rule in rules.iter().filter(|rule| matches!(rule.when, When::Records(_))) {
        wait_for("the rule to begin", || journal.cursor_of(&rule.name));
    }
    alerts
}

fn report(alerts: &Alerts, name: &str) -> Report {
    alerts.reports().into_iter().find(|report| report.rule == name).unwrap()
}

fn keys(server: &Server, count: usize) -> Vec<String> {
    (0..count).map(|_| server.next().headers["idempotency-key"].clone()).collect()
}

#[test]
fn what_failed_is_sent_again_by_the_same_key_and_the_cursor_waits() {
    let journal = journal();
    journal.lose();
    let server = Server::of(&[&status(500), &status(200)]);
    let alerts = begun(&journal, &[rule("r", webhook(&server.url()))]);
    // What was there before the rule is not told.
    assert_eq!(journal.lose(), 2);
    alerts.tell();
    assert_eq!(keys(&server, 1), ["e0/2/r"]);
    let failing = wait_for("the failure to be told", || {
        Some(report(&alerts, "r")).filter(|report| report.failures == 1 && report.waiting == 1)
    });
    assert_eq!(failing.trouble.as_deref(), Some("the answer is 500"));
    assert_eq!((failing.cursor, failing.waiting, journal.cursor_of("r")), (Some(1), 1, Some(1)));
    assert_eq!(keys(&server, 1), ["e0/2/r"]);
    journal.wait_cursor("r", 2);
    let done = wait_for("the delivery to be told", || {
        Some(report(&alerts, "r")).filter(|report| report.waiting == 0 && report.cursor == Some(2))
    });
    assert_eq!((done.delivered, done.lost, done.trouble, done.lag), (1, 0, None, 0));
    assert!(done.last_delivery_ns.is_some());
}

/// However late its thread is: what comes after the start is told.
#[test]
fn a_new_rule_begins_when_it_is_started() {
    let journal = journal();
    journal.lose();
    let server = Server::of(&[&status(200)]);
    let alerts = start(&journal, &[rule("r", webhook(&server.url()))]);
    assert_eq!(journal.lose(), 2);
    alerts.tell();
    assert_eq!(keys(&server, 1), ["e0/2/r"]);
}

#[test]
fn no_message_has_a_key_that_might_be_given_again() {
    let journal = journal();
    let server = Server::of(&[&status(200)]);
    let alerts = begun(&journal, &[rule("r", webhook(&server.url()))]);
    journal.set_full(true);
    assert_eq!(journal.lose(), 1);
    alerts.tell();
    wait_for("the trouble", || report(&alerts, "r").trouble.filter(|why| why.contains("no space")));
    let held = report(&alerts, "r");
    assert_eq!((held.delivered, held.failures, journal.cursor_of("r")), (0, 0, Some(0)));
    journal.set_full(false);
    alerts.tell();
    assert_eq!(keys(&server, 1), ["e0/1/r"]);
    journal.wait_cursor("r", 1);
}

#[test]
fn a_rule_that_hangs_holds_up_neither_others_nor_the_end() {
    let journal = journal();
    let (done, wait) = channel::<()>();
    let hanging = Server::new(1, move |_, _| {
        // Until the test is over.
        let _ = wait.recv_timeout(PATIENCE);
    });
    let good = Server::of(&[&status(200), &status(200)]);
    let slow = Rule { timeout: PATIENCE, ..rule("slow", webhook(&hanging.url())) };
    let command = Rule { timeout: PATIENCE, ..rule("stuck", crate::support::script("sleep 600", &[])) };
    let alerts = begun(&journal, &[slow, command, rule("good", webhook(&good.url()))]);
    for seq in 1..=2 {
        journal.lose();
        alerts.tell();
        if seq == 1 {
            hanging.next();
        }
        assert_eq!(keys(&good, 1), [format!("e0/{seq}/good")]);
        journal.wait_cursor("good", seq);
    }
    let began = Instant::now();
    alerts.stop();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    for name in ["slow", "stuck"] {
        assert_eq!(journal.cursor_of(name), Some(0), "{name} did not arrive");
    }
    let _ = done.send(());
    hanging.join();
}

#[test]
fn a_storm_is_folded_and_nothing_of_it_is_lost() {
    let journal = journal();
    let server = Server::of(&[&status(200), &status(200), &status(200)]);
    let rate = Rate { most: 2, per: Duration::from_secs(2) };
    let alerts = begun(&journal, &[Rule { rate, ..rule("r", webhook(&server.url())) }]);
    for _ in 0..1_000 {
        journal.lose();
    }
    alerts.tell();
    assert_eq!(keys(&server, 2), ["e0/1/r", "e0/2/r"]);
    let summary = server.next();
    assert_eq!(summary.headers["idempotency-key"], "e0/3-1000/r");
    assert_eq!((&summary.body["op"], &summary.body["more"]), (&"summary".into(), &998.into()));
    journal.wait_cursor("r", 1_000);
    let report = wait_for("the summary to be counted", || {
        Some(report(&alerts, "r")).filter(|report| report.cursor == Some(1_000))
    });
    assert_eq!((report.delivered, report.folded, report.lost), (3, 998, 0));
}

#[test]
fn what_is_given_up_is_told_and_passed() {
    let journal = journal();
    let server = Server::of(&[&status(500), &status(500), &status(200)]);
    let rule = Rule { give_up: Duration::from_millis(500), ..rule("r", webhook(&server.url())) };
    let alerts = begun(&journal, &[rule]);
    journal.lose();
    alerts.tell();
    assert_eq!(keys(&server, 2), ["e0/1/r", "e0/1/r"]);
    journal.wait_cursor("r", 1);
    let lost =
        wait_for("the loss to be told", || Some(report(&alerts, "r")).filter(|report| report.lost > 0));
    assert_eq!((lost.lost, lost.failures, lost.delivered), (1, 2, 0));
    assert_eq!(lost.trouble.as_deref(), Some("the answer is 500"));
    journal.lose();
    alerts.tell();
    assert_eq!(keys(&server, 1), ["e0/2/r"]);
    journal.wait_cursor("r", 2);
}

#[test]
fn a_rule_goes_on_at_its_cursor_after_a_restart_and_a_removed_one_is_forgotten() {
    let journal = journal();
    let server = Server::of(&[&status(200), &status(200)]);
    let (kept, removed) = (rule("kept", webhook(&server.url())), rule("removed", To::Log));
    let alerts = begun(&journal, &[kept.clone(), removed]);
    alerts.stop();
    journal.lose();
    let alerts = start(&journal, std::slice::from_ref(&kept));
    assert_eq!(keys(&server, 1), ["e0/1/kept"]);
    assert_eq!(journal.cursor_of("removed"), None);
    journal.wait_cursor("kept", 1);
    // As it was, it goes on; so does everything when the new rules are wrong.
    alerts.replace(vec![kept.clone(), rule("new", To::Log)]).unwrap();
    let broken = rule("broken", webhook("nowhere"));
    let error = alerts.replace(vec![broken]).unwrap_err();
    assert!(matches!(&error, AlertError::Rule { rule, .. } if rule == "broken"), "{error}");
    let names: Vec<String> = alerts.reports().into_iter().map(|report| report.rule).collect();
    assert_eq!(names, ["kept", "new"]);
    journal.lose();
    alerts.tell();
    assert_eq!(keys(&server, 1), ["e0/2/kept"]);
}

#[test]
fn records_that_are_no_longer_kept_are_told() {
    let journal = journal();
    let server = Server::of(&[&status(200)]);
    let kept = rule("r", webhook(&server.url()));
    begun(&journal, std::slice::from_ref(&kept)).stop();
    for _ in 0..10 {
        journal.lose();
    }
    journal.trim(8);
    let alerts = start(&journal, &[kept]);
    let told = server.next();
    assert_eq!((&told.body["missed"], &told.body["more"]), (&8.into(), &2.into()));
    journal.wait_cursor("r", 10);
    assert_eq!(report(&alerts, "r").lost, 8);
}

#[test]
fn lag_is_told_once_and_its_end_too() {
    let journal = journal();
    let server = Server::of(&[&status(200), &status(200)]);
    let lag = Rule { when: When::Lag(Duration::from_secs(30)), ..rule("lag", webhook(&server.url())) };
    let _alerts = start(&journal, &[lag]);
    journal.set_lag(Duration::from_secs(31));
    let begins = server.next();
    assert_eq!((&begins.body["op"], &begins.body["over"]), (&"lag".into(), &false.into()));
    // Not over while it is more than half.
    journal.set_lag(Duration::from_secs(14));
    let ends = server.next();
    assert_eq!((&ends.body["over"], &ends.body["lag_ms"]), (&true.into(), &14_000.into()));
    assert_ne!(begins.body["key"], ends.body["key"]);
}

fn change(op: Op, complete: bool, size: u64) -> Body {
    let zero = Time(0);
    let stat = Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        size,
        allocated: 0,
        modified: zero,
        changed: zero,
        accessed: zero,
        created: Some(zero),
    };
    let state = Some(State { stat, digest: None, category: None });
    Body::Change(Box::new(Change {
        entry: EntryId::new(VolumeId(1), 9),
        birth: Some(zero),
        op,
        at: None,
        old: None,
        before: None,
        after: state,
        parents: Vec::new(),
        complete,
        pair: None,
        path: b"/new.bin".as_slice().into(),
        old_path: None,
    }))
}

/// A new file that was unfinished when the program ended is still new when it is complete.
#[test]
fn an_unfinished_file_is_remembered_over_a_restart() {
    let journal = journal();
    let server = Server::of(&[&status(200)]);
    let When::Records(any) = rule("any", To::Log).when else { panic!("it is about records") };
    let when = When::Records(Conditions { ops: vec![op("created").unwrap()], at_least: Some(10), ..any });
    let created = Rule { when, ..rule("created", webhook(&server.url())) };
    let alerts = begun(&journal, std::slice::from_ref(&created));
    journal.add(change(Op::Created, false, 0));
    alerts.tell();
    wait_for("the record to be looked at", || (report(&alerts, "created").position == Some(1)).then_some(()));
    alerts.stop();
    assert_eq!(journal.cursor_of("created"), Some(1));
    let alerts = start(&journal, &[created]);
    journal.add(change(Op::Modified, true, 10));
    alerts.tell();
    let told = server.next();
    assert_eq!((&told.body["op"], &told.body["matched"]), (&"modified".into(), &"created".into()));
    assert_eq!((&told.body["seq"], &told.body["after"]["size"]), (&2.into(), &10.into()));
}

#[test]
fn there_is_a_bound_on_rules_and_an_unknown_one_cannot_be_tried() {
    let many: Vec<Rule> = (0..33).map(|number| rule(&format!("r{number}"), To::Log)).collect();
    let error = Alerts::check(&many).unwrap_err();
    assert_eq!(error.to_string(), "33 alert rules; at most 32 are followed");
    let journal = journal();
    let alerts = start(&journal, &[rule("one", To::Log)]);
    alerts.test("one").unwrap().unwrap();
    let error = alerts.test("two").unwrap_err();
    assert_eq!(error.to_string(), "no alert rule is called \"two\"; the rules are one");
}
