//! The daemon under a manager and a monitor: what it says to them must be true, and red must be red. It could break by a
//! pulse that comes from a timer, by a state that changes without a line, or by health that forgets a reason.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use indexer_tests::http::{dial_port, get, receive, send};
use indexer_tests::{Daemon, Place, indexer, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// The next word to the manager, as `KEY=value` lines.
fn heard(manager: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("the daemon says something within a minute");
    String::from_utf8(buffer[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// Everything that is said until `word` is.
fn heard_until(manager: &UnixDatagram, word: &str) -> Vec<String> {
    let mut all = Vec::new();
    while !all.iter().any(|line| line == word) {
        all.extend(heard(manager));
    }
    all
}

#[test]
fn the_manager_hears_when_it_is_ready_gets_on_reloads_and_leaves() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for file in 0..100 {
        fs::write(root.join(format!("{file}")), b"").unwrap();
    }
    let socket = ground.beside("manager");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let environment: [(&str, &OsStr); 2] =
        [("NOTIFY_SOCKET", socket.as_os_str()), ("WATCHDOG_USEC", OsStr::new("300000"))];
    let mut daemon = Daemon::spawn_in(&environment, &ground.state(), &[root], &[]);

    let start = heard_until(&manager, "READY=1");
    assert!(start.iter().any(|line| line.starts_with("STATUS=")), "{start:?}");
    assert!(start.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{start:?}");
    assert_eq!(start.last().map(String::as_str), Some("STATUS=live"), "{start:?}");
    daemon.wait_live();
    for _ in 0..3 {
        heard_until(&manager, "WATCHDOG=1");
    }

    // Work does not stop the pulse, and a daemon that stands still has none: whatever was on its way is read first.
    daemon.while_stopped(|| {
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0; 4096]).is_ok() {}
        manager.set_nonblocking(false).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        manager.recv(&mut [0; 4096]).unwrap_err();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    });
    heard_until(&manager, "WATCHDOG=1");

    daemon.signal(Signal::HUP);
    let reload = heard_until(&manager, "RELOADING=1");
    assert!(reload.iter().all(|line| line != "READY=1"), "{reload:?}");
    assert!(reload.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reload:?}");
    heard_until(&manager, "READY=1");
    daemon.signal(Signal::TERM);
    heard_until(&manager, "STOPPING=1");
    assert!(daemon.wait_gone().success());
}

/// The lines of the log that tell of a change of state of a root, as old and new.
fn transitions(daemon: &Daemon, root: &Path) -> Vec<(String, String)> {
    let log = daemon.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| {
            line["fields"]["message"] == "root changed state"
                && line["fields"]["root"].as_str() == root.to_str()
        })
        .map(|line| {
            let word = |name: &str| line["fields"][name].as_str().unwrap().to_owned();
            assert!(!word("why").is_empty(), "{line}");
            (word("old"), word("new"))
        })
        .collect()
}

/// Waits until that many changes of state are in the log, which may come a moment after the state.
fn wait_transitions(daemon: &Daemon, root: &Path, count: usize) -> Vec<(String, String)> {
    wait_for("changes of state in the log", || {
        Some(transitions(daemon, root)).filter(|told| told.len() >= count)
    })
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
}

#[test]
fn a_lost_root_is_red_with_one_line_and_green_when_it_is_back() {
    let ground = Place::Here.open().unwrap();
    let root = ground.beside("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), b"x").unwrap();
    let state = ground.state();
    let daemon = Daemon::start(&state, &[&root], &["--log-format", "json"]);
    assert_eq!(get(&state, "/healthz").body, "ok\n");
    assert_eq!(get(&state, "/healthz").status, 200);
    assert_eq!(daemon.run(&[&"status", &"--check"]).status.code(), Some(0));
    assert_eq!(
        wait_transitions(&daemon, &root, 3),
        pairs(&[("none", "starting"), ("starting", "seeding"), ("seeding", "live")])
    );

    let away = ground.beside("away");
    fs::rename(&root, &away).unwrap();
    // It says so, and ends with 1.
    assert_eq!(daemon.run(&[&"settle"]).status.code(), Some(1));
    let red = get(&state, "/healthz");
    assert_eq!(red.status, 503, "{red:?}");
    assert!(red.body.starts_with(&format!("root_lost {}: ", root.display())), "{red:?}");
    assert_eq!(red.body.lines().count(), 1, "{red:?}");
    let said = daemon.run(&[&"status", &"--check"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stdout).contains("problem: root_lost"), "{said:?}");
    let status = daemon.status();
    assert_eq!(status["state"], "degraded", "{status}");
    assert_eq!(status["problems"][0]["code"], "root_lost", "{status}");
    assert_eq!(wait_transitions(&daemon, &root, 4)[3..], pairs(&[("live", "lost")]));

    fs::rename(&away, &root).unwrap();
    wait_for("the root to be found and green", || (get(&state, "/healthz").status == 200).then_some(()));
    assert_eq!(daemon.status()["state"], "live");
    assert_eq!(
        wait_transitions(&daemon, &root, 6)[4..],
        pairs(&[("lost", "sweeping"), ("sweeping", "live")])
    );
}

#[test]
fn an_overflow_is_one_line_to_repairing_and_one_back() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let daemon = Daemon::start(&ground.state(), &[root], &["--backend", "inotify", "--log-format", "json"]);
    // The log may come a moment after the word that it is live.
    let before = wait_for("the begin in the log", || {
        let told = transitions(&daemon, root);
        told.last().is_some_and(|(_, new)| new == "live").then_some(told.len())
    });
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let many: usize = most.trim().parse().unwrap();
    daemon.while_stopped(|| {
        for file in 0..many + 2_000 {
            fs::write(root.join(format!("{file}")), b"").unwrap();
        }
    });
    daemon.settle();
    // A settle may answer a moment before the repair's end is shown.
    let told = wait_for("the repair to end", || {
        let told = transitions(&daemon, root)[before..].to_vec();
        (told.len() >= 2 && told.len().is_multiple_of(2)).then_some(told)
    });
    assert_eq!(told[..2], pairs(&[("live", "repairing"), ("repairing", "live")]));
    assert!(told.iter().all(|(old, new)| old != new), "{told:?}");
    wait_for("health", || (get(&ground.state(), "/healthz").status == 200).then_some(()));
}

/// Samples by series. The format itself is judged where it is written; here: described, numeric, and not twice.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut described = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.insert(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let known = ["", "_total", "_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| name.strip_suffix(suffix).is_some_and(|family| described.contains(family)));
            assert!(known, "not described: {line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    assert!(text.ends_with("# EOF\n"), "cut short: {text}");
    samples
}

/// Where the port was opened, by the log.
fn port(daemon: &Daemon) -> String {
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("metrics and health are served")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    line["fields"]["address"].as_str().unwrap().to_owned()
}

#[test]
fn metrics_say_what_status_says_on_the_socket_and_on_the_port() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for file in 0..20 {
        fs::write(root.join(format!("{file}")), b"12345").unwrap();
    }
    let state = ground.state();
    let daemon = Daemon::start(&state, &[root], &["--metrics-listen", "127.0.0.1:0", "--log-format", "json"]);
    fs::remove_file(root.join("7")).unwrap();
    daemon.settle();
    let on_socket = get(&state, "/metrics");
    assert_eq!(on_socket.status, 200);
    let status = daemon.status();
    let shown = samples(&on_socket.body);
    let of = |series: &str| shown.get(series).copied().unwrap_or_else(|| panic!("no {series}: {shown:#?}"));
    assert_eq!(of("indexer_entries"), status["entries"].as_f64().unwrap());
    assert_eq!(of("indexer_journal_seq"), status["seq"].as_f64().unwrap());
    assert_eq!(of("indexer_records_total{op=\"deleted\"}"), 1.0);
    assert_eq!(of("indexer_records_total{op=\"seeded\"}"), 1.0);
    assert_eq!(
        of("indexer_walked_entries_total"),
        20.0,
        "the first scan met them, and the root is no entry of its own"
    );
    assert_eq!((of("indexer_healthy"), of("indexer_engine_failed")), (1.0, 0.0));
    assert_eq!(of("indexer_state{state=\"live\"}"), 1.0);
    assert!(of("indexer_commit_seconds_count") >= 2.0 && of("indexer_commit_seconds_sum") > 0.0);
    assert!(of("indexer_looks_total") >= 1.0 && of("indexer_kernel_events_total") >= 1.0);
    let name = root.display();
    assert_eq!(of(&format!("indexer_root_state{{root=\"{name}\",state=\"live\"}}")), 1.0);
    assert_eq!(of(&format!("indexer_root_directories{{root=\"{name}\",coverage=\"blind\"}}")), 0.0);

    let address = port(&daemon);
    let ask = |method: &str, path: &str| {
        let mut stream = dial_port(&address);
        send(&mut stream, method, path, "");
        receive(&mut stream)
    };
    assert_eq!(samples(&ask("GET", "/metrics").body).len(), shown.len());
    assert_eq!(ask("GET", "/healthz").body, "ok\n");
    for (method, path, status) in
        [("POST", "/metrics", 405), ("GET", "/v1/status", 404), ("POST", "/v1/sweep", 404), ("GET", "/", 404)]
    {
        assert_eq!(ask(method, path).status, status, "{method} {path}");
    }
    // Whoever opens connections and says nothing is cut off, and others are answered then.
    let silent: Vec<_> = (0..16).map(|_| dial_port(&address)).collect();
    assert_eq!(ask("GET", "/healthz").status, 200);
    drop(silent);
}

#[test]
fn sweeps_alone_are_red_where_the_configuration_asks_for_more() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let state = ground.state();
    let mut daemon = Daemon::start(&state, &[root], &["--backend", "sweep"]);
    assert_eq!(get(&state, "/healthz").body, "ok\n");
    assert!(daemon.terminate().success());
    // Nobody follows now, and that is red too.
    assert_eq!(indexer(&state, &[&"status", &"--check"]).status.code(), Some(1));
    assert_eq!(indexer(&state, &[&"status"]).status.code(), Some(0));

    let environment = [("INDEXER_REQUIRE", OsStr::new("watched"))];
    let mut daemon = Daemon::spawn_in(&environment, &state, &[root], &["--backend", "sweep"]);
    daemon.wait_live();
    let red = get(&state, "/healthz");
    assert_eq!(red.status, 503);
    assert!(red.body.starts_with("swept "), "{red:?}");
    assert_eq!(daemon.status()["state"], "degraded");
}

#[test]
fn a_port_that_others_could_reach_is_refused() {
    let ground = Place::Here.open().unwrap();
    let said = indexer(&ground.state(), &[&"watch", &ground.root(), &"--metrics-listen", &"0.0.0.0:9187"]);
    assert_eq!(said.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(stderr.contains("other hosts"), "{stderr}");
}
