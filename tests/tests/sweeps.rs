//! Sweeps go on beside everything else, find what no event told, and write nothing where nothing changed. They could
//! break by holding up settle and commits for a whole walk, or by taking the two halves of a rename for two changes.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use indexer_tests::{Daemon, Ground, Place, indexer, json_lines, stderr, wait_for};
use serde_json::Value;

/// A configuration with this schedule.
fn config(ground: &Ground, sweep: &str) -> PathBuf {
    let path = ground.beside("config.toml");
    fs::write(&path, format!("sweep = {{ {sweep} }}\n")).unwrap();
    path
}

fn daemon(ground: &Ground, sweep: &str, flags: &[&str]) -> Daemon {
    let config = config(ground, sweep);
    let flags = [flags, &["--config", config.to_str().unwrap()]].concat();
    Daemon::start(&ground.state(), &[ground.root()], &flags)
}

fn files(dir: &Path, count: usize) {
    fs::create_dir_all(dir).unwrap();
    for number in 0..count {
        fs::write(dir.join(format!("{number}")), b"x").unwrap();
    }
}

/// The sweep under way that was only due, once there is one.
fn under_way(daemon: &Daemon) -> Option<Value> {
    daemon.status()["sweeps"].as_array().unwrap().iter().find(|sweep| sweep["why"] == "due").cloned()
}

#[test]
fn settle_and_commits_do_not_wait_for_a_sweep_that_is_only_due() {
    let ground = Place::Here.open().unwrap();
    files(&ground.root().join("many"), 4_000);
    // It would take more than an hour.
    let mut daemon = daemon(&ground, "stat = \"100ms\", rate = 1", &[]);
    let sweep = wait_for("a sweep to be due", || under_way(&daemon));
    assert_eq!((sweep["level"].as_str(), sweep["root"].as_str()), (Some("stat"), ground.root().to_str()));

    let seq = daemon.seq();
    fs::write(ground.root().join("new"), b"x").unwrap();
    wait_for("the event to be committed", || {
        daemon.told(seq).contains(&"created new".to_owned()).then_some(())
    });
    fs::remove_file(ground.root().join("many/7")).unwrap();
    fs::rename(ground.root().join("many/8"), ground.root().join("moved")).unwrap();
    daemon.settle();
    let told = daemon.told(seq);
    assert!(told.contains(&"deleted 7".to_owned()), "{told:?}");
    assert!(told.contains(&"renamed 8 moved".to_owned()), "{told:?}");
    daemon.assert_exact(ground.root());
    let still = under_way(&daemon).expect("the sweep goes on");
    assert_eq!(still["began_ns"], sweep["began_ns"], "it is the same one");
    let status = daemon.status();
    assert_eq!(status["state"], "live");
    assert!(status["percent"].as_f64().is_some_and(|percent| percent < 100.0), "{status}");

    // One that is asked for does not wait for it either, and nothing keeps the daemon from leaving.
    let report = &daemon.ask(&[&"sweep"])[0];
    assert!(report["entries"].as_u64().unwrap() >= 4_000, "{report}");
    wait_for("the next one to be due", || under_way(&daemon));
    assert!(daemon.terminate().success());
}

#[test]
fn a_sweep_that_is_due_finds_what_no_event_told() {
    let ground = Place::Here.open().unwrap();
    files(&ground.root().join("folder"), 10);
    let daemon = daemon(&ground, "unwatched = \"200ms\"", &["--backend", "sweep"]);
    let seq = daemon.seq();
    let file = ground.root().join("folder/3");
    fs::write(ground.root().join("folder/new"), b"x").unwrap();
    fs::write(&file, b"longer than before").unwrap();
    fs::remove_file(ground.root().join("folder/5")).unwrap();
    for line in ["created new", "modified 3", "deleted 5"] {
        wait_for(line, || daemon.told(seq).contains(&line.to_owned()).then_some(()));
    }
    assert!(daemon.changes(seq).iter().all(|record| record["how"] == "sweep"));
}

#[test]
fn the_level_names_finds_names_and_not_contents() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    files(&root.join("a/deep"), 10);
    files(&root.join("b/deep"), 10);
    files(&root.join("c"), 5);
    // Past the tick of the clock in which a directory may change unseen: those are listed each time.
    wait_for("the clock to move on", || {
        (root.join("c").metadata().unwrap().modified().unwrap().elapsed().unwrap().as_millis() > 100)
            .then_some(())
    });
    let daemon = daemon(&ground, "unwatched = \"off\"", &["--backend", "sweep"]);
    let seq = daemon.seq();
    fs::write(root.join("a/deep/new"), b"x").unwrap();
    fs::remove_file(root.join("a/deep/2")).unwrap();
    fs::rename(root.join("a/deep/3"), root.join("b/deep/moved")).unwrap();
    fs::create_dir_all(root.join("b/made/below")).unwrap();
    // In place: no name of its directory comes or goes.
    let mut file = fs::OpenOptions::new().write(true).open(root.join("c/4")).unwrap();
    file.write_all(b"written in place").unwrap();
    drop(file);
    let report = &daemon.ask(&[&"sweep", &"--level", &"names"])[0];
    assert!(report["differences"].as_u64().unwrap() >= 3, "{report}");
    let told = daemon.told(seq);
    for line in ["created new", "deleted 2", "renamed 3 moved", "created made", "created below"] {
        assert!(told.contains(&line.to_owned()), "{line}: {told:?}");
    }
    assert!(!told.contains(&"modified 4".to_owned()), "{told:?}");
    assert_eq!(daemon.ask(&[&"sweep"]).len(), 1);
    let told = daemon.told(seq);
    assert!(told.contains(&"modified 4".to_owned()), "{told:?}");
    daemon.assert_exact(root);
}

#[test]
fn r2_an_idle_sweep_of_either_level_writes_nothing() {
    let ground = Place::Here.open().unwrap();
    files(&ground.root().join("a/b/c"), 100);
    let daemon = daemon(&ground, "stat = \"100ms\", names = \"100ms\"", &[]);
    let before = daemon.status();
    for level in ["names", "stat", "names", "stat"] {
        let report = &daemon.ask(&[&"sweep", &"--level", &level])[0];
        assert_eq!(report["records"], 0, "{report}");
        assert!(report["directories"].as_u64().unwrap() >= 4, "{report}");
    }
    let below = &daemon.ask(&[&"sweep", &ground.root().join("a/b"), &"--level", &"names"])[0];
    assert_eq!(below["directories"], 2, "{below}");
    let after = daemon.status();
    for field in ["seq", "entries", "journal_bytes"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    daemon.assert_whole();
}

#[test]
fn a_move_while_nobody_ran_is_one_record() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for folder in 0..40 {
        files(&root.join(format!("{folder}")), 20);
    }
    let mut first = daemon(&ground, "stat = \"off\"", &[]);
    let seq = first.seq();
    assert!(first.terminate().success());
    // The old names are met before the new ones, and the other way round.
    fs::rename(root.join("0/1"), root.join("39/away")).unwrap();
    fs::rename(root.join("39/1"), root.join("0/here")).unwrap();
    fs::rename(root.join("5"), root.join("38/inside")).unwrap();
    fs::rename(root.join("7/2"), root.join("7/spare")).unwrap();
    fs::rename(root.join("30/2"), root.join("7/2")).unwrap();
    fs::rename(root.join("7/spare"), root.join("30/2")).unwrap();
    let second = daemon(&ground, "stat = \"off\"", &[]);
    second.settle();
    let mut told = second.told(seq);
    told.retain(|line| {
        line.starts_with("renamed") || line.starts_with("deleted") || line.starts_with("created")
    });
    told.sort();
    let mut expected = ["renamed 1 away", "renamed 1 here", "renamed 2 2", "renamed 2 2", "renamed 5 inside"];
    expected.sort_unstable();
    assert_eq!(told, expected);
    second.assert_exact(root);
}

#[test]
fn a_sweep_without_a_daemon_keeps_to_its_path_and_level() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    files(&root.join("a"), 5);
    files(&root.join("b"), 5);
    let said = indexer(&ground.state(), &[&"scan", &root]);
    assert!(said.status.success(), "{}", stderr(&said));
    fs::write(root.join("a/new"), b"x").unwrap();
    fs::write(root.join("b/new"), b"x").unwrap();
    fs::write(root.join("b/3"), b"longer than it was").unwrap();
    let sweep = |arguments: &[&dyn AsRef<OsStr>]| {
        let all = [&[&"--json" as &dyn AsRef<OsStr>, &"sweep"], arguments].concat();
        let said = indexer(&ground.state(), &all);
        assert!(said.status.success(), "{}", stderr(&said));
        json_lines(&said).remove(0)
    };
    let found = |name: &str| {
        let said = indexer(&ground.state(), &[&"find", &root, &"--name", &name]);
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let report = sweep(&[&root.join("b"), &"--level", &"names"]);
    assert_eq!(report["directories"], 1, "{report}");
    assert!(found("new").contains("b/new"), "{}", found("new"));
    assert!(!found("new").contains("a/new"), "{}", found("new"));
    let report = sweep(&[&root.join("a")]);
    assert_eq!(report["directories"], 1, "{report}");
    assert!(found("new").contains("a/new"), "{}", found("new"));
    let said = indexer(&ground.state(), &[&"sweep", &root.join("nowhere")]);
    assert!(!said.status.success(), "what is not there cannot be swept");
}

#[test]
fn a_sweep_of_a_lost_root_is_an_error_with_the_reason() {
    let ground = Place::Here.open().unwrap();
    let (lost, there) = (ground.root().join("lost"), ground.root().join("there"));
    files(&lost, 3);
    files(&there, 3);
    let daemon = Daemon::start(&ground.state(), &[&lost, &there], &[]);
    fs::rename(&lost, ground.root().join("away")).unwrap();
    wait_for("the root to be lost", || (daemon.status()["roots"][0]["state"] == "lost").then_some(()));
    let one = daemon.run(&[&"sweep", &lost]);
    assert_eq!(one.status.code(), Some(3));
    assert!(stderr(&one).contains("renamed or removed"), "{}", stderr(&one));
    let all = daemon.run(&[&"sweep"]);
    assert_eq!(all.status.code(), Some(1));
    assert!(
        stderr(&all).contains("/lost: ") && stderr(&all).contains("renamed or removed"),
        "{}",
        stderr(&all)
    );
    let report = &daemon.ask(&[&"sweep"])[0];
    assert_eq!(report["failed"].as_array().unwrap().len(), 1, "{report}");
    assert!(report["entries"].as_u64().unwrap() >= 3, "the other is swept: {report}");
}
