//! Fewer watches than directories: the active ones are watched and the rest is swept, and the index is as exact as with
//! all of them. It could break by going past a directory in a sweep that nothing watches, by believing a watch that came
//! after the change, or by giving watches to and fro.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indexer_tests::{Daemon, Ground, Place, Rng, Workload, indexer_binary, skipped};

/// Long enough for a record to come by itself, and far less than the five minutes between sweeps.
const SOON: Duration = Duration::from_secs(30);

/// A daemon by inotify with so many watches.
fn with_watches(ground: &Ground, watches: usize) -> Daemon {
    let folder = ground.state().join("indexer");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("indexer.toml"), format!("watches = {watches}\n")).unwrap();
    let mut daemon =
        Daemon::spawn(indexer_binary(), &ground.state(), &[ground.root()], &["--backend", "inotify"]);
    daemon.wait_live();
    daemon
}

fn age(dir: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
    File::open(dir).unwrap().set_modified(then).unwrap();
}

fn watches(daemon: &Daemon) -> u64 {
    daemon.status()["roots"][0]["watches"].as_u64().unwrap()
}

/// How a record about `path` after `seq` was found, when it comes without being asked for.
fn comes_by_itself(daemon: &Daemon, seq: u64, path: &Path) -> Option<String> {
    let since = seq.to_string();
    let follower = daemon.follow(&[&"changes", &"--follow", &"--json", &"--since", &since]);
    loop {
        let (_, line) = follower.next_line(SOON)?;
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        if record["path"].as_str() == path.to_str() {
            return record["how"].as_str().map(str::to_owned);
        }
    }
}

/// Directories modified lately have the watches from the first scan on, and others get one when they become active.
#[test]
fn the_watches_follow_the_activity() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let dirs: Vec<PathBuf> = (0..60).map(|dir| root.join(format!("d{dir}"))).collect();
    for (number, dir) in dirs.iter().enumerate() {
        fs::create_dir(dir).unwrap();
        age(dir, if number % 10 == 3 { 1 } else { 1000 });
    }
    age(root, 1);
    let daemon = with_watches(&ground, 10);
    assert_eq!(watches(&daemon), 10);
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("51 directories have no watch"), "{warnings}");

    for dir in dirs.iter().skip(3).step_by(10) {
        let seq = daemon.seq();
        fs::write(dir.join("file"), b"watched from the start").unwrap();
        assert_eq!(comes_by_itself(&daemon, seq, &dir.join("file")).as_deref(), Some("inotify"));
    }
    let mut swept = 0;
    for dir in [&dirs[57], &dirs[20], &dirs[41]] {
        let seq = daemon.seq();
        fs::write(dir.join("first"), b"").unwrap();
        daemon.settle();
        swept += daemon.changes(seq).iter().filter(|record| record["how"] == "sweep").count();
        let seq = daemon.seq();
        fs::write(dir.join("second"), b"").unwrap();
        assert_eq!(comes_by_itself(&daemon, seq, &dir.join("second")).as_deref(), Some("inotify"));
        assert_eq!(watches(&daemon), 10, "never more than were given");
    }
    assert!(swept >= 2, "at most one of them had one of the 10 watches, of which 7 were with the younger");
    daemon.settle();
    daemon.assert_exact(root);
}

/// Every operation there is, in a tree with ten times as many directories as watches.
#[test]
fn r1_random_work_with_a_tenth_of_the_watches() {
    let ground = match Place::Tmpfs.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    Workload { seed: 300, threads: 2 }.run_operations(root, 2_000);
    for still in 0..40 {
        fs::create_dir_all(root.join(format!("still/{still}/below"))).unwrap();
    }
    let daemon = with_watches(&ground, 12);
    for seed in 301..306 {
        Workload { seed, threads: 3 }.run_operations(root, 400);
        daemon.settle();
        daemon.assert_exact(root);
        assert!(watches(&daemon) <= 12);
    }
    let seq = daemon.seq();
    daemon.settle();
    // What the sweeps find is not told twice.
    daemon.assert_nothing_since(seq);
}

/// In an index so large that a settle goes past what is watched.
#[test]
fn r1_a_large_tree_with_a_tenth_of_the_watches() {
    let ground = match Place::Tmpfs.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    let mut dirs = Vec::new();
    for top in 0..100 {
        for below in 0..100 {
            let dir = root.join(format!("{top}/{below}"));
            fs::create_dir_all(&dir).unwrap();
            for file in 0..10 {
                File::create(dir.join(format!("f{file}"))).unwrap();
            }
            dirs.push(dir);
        }
    }
    // What a link and an unlink in one moment do to a file in so large an index, settle does not vouch for: links stay.
    fs::create_dir(root.join("links")).unwrap();
    // Half of it is at rest; some of that above what is not, and some below.
    for (number, dir) in dirs.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
        age(dir, number as u64 / 10 + 1);
    }
    let daemon = with_watches(&ground, 1_000);
    let mut rng = Rng::new(77);
    for round in 0..4 {
        for step in 0..400 {
            let (dir, other) = (&dirs[rng.index(dirs.len())], &dirs[rng.index(dirs.len())]);
            // Refusals (no such name any more, not empty) are part of it.
            let _ = match rng.below(8) {
                0 => fs::write(dir.join(format!("new{step}")), b"new"),
                1 => fs::write(dir.join("f1"), vec![b'x'; step]),
                2 => fs::remove_file(dir.join("f2")),
                3 => fs::rename(dir.join("f3"), other.join(format!("moved{step}"))),
                4 => fs::create_dir_all(dir.join(format!("sub{round}/{step}")))
                    .and_then(|()| fs::write(dir.join(format!("sub{round}/{step}/file")), b"deep")),
                5 => fs::rename(dir, other.join(format!("folder{step}"))),
                6 => fs::hard_link(dir.join("f4"), root.join(format!("links/{round}.{step}"))),
                _ => fs::remove_dir_all(dir),
            };
        }
        daemon.settle();
        daemon.assert_exact(root);
        assert!(watches(&daemon) <= 1_000);
    }
    let all = daemon.changes(1);
    for how in ["inotify", "sweep"] {
        assert!(all.iter().any(|record| record["how"] == how), "nothing was found by {how}");
    }
}
