//! What the kernel could not tell is found by looking, and said aloud: a queue that ran over, and watches that ran out.
//! It could break by believing a queue that has lost the creation of directories, or by saying nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use indexer_tests::{
    Daemon, Ground, Place, Rows, TmpfsMount, Workload, find_json, indexer_binary, skipped, stderr, wait_for,
};
use rustix::process::Signal;

fn limit(name: &str) -> usize {
    let text = fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn r3_a_queue_that_ran_over_is_repaired_and_told() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fs::create_dir_all(root.join("old/deep")).unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], &["--backend", "inotify"]);
    Workload { seed: 1, threads: 2 }.run_operations(root, 500);
    daemon.settle();
    let (seq, then) = (daemon.seq(), Rows::of_find(&find_json(&daemon, root)));

    let stopped = UNIX_EPOCH.elapsed().unwrap().as_nanos();
    daemon.signal(Signal::STOP);
    let many = limit("max_queued_events") + 2_000;
    let folder = root.join("many");
    fs::create_dir(&folder).unwrap();
    for file in 0..many {
        fs::write(root.join(format!("{file}")), b"").unwrap();
    }
    // After the loss: nobody is told of these directories, nor of what happens in them later.
    for dir in 0..200 {
        let dir = folder.join(format!("{dir}/below"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), b"lost").unwrap();
    }
    fs::rename(root.join("old"), folder.join("moved")).unwrap();
    for file in (0..many).step_by(2) {
        fs::remove_file(root.join(format!("{file}"))).unwrap();
    }
    daemon.signal(Signal::CONT);
    daemon.settle();
    daemon.assert_exact(root);

    // The new directories are watched now.
    fs::write(folder.join("7/below/file"), b"found again").unwrap();
    fs::write(folder.join("moved/deep/new"), b"x").unwrap();
    daemon.settle();
    daemon.assert_exact(root);

    let records = daemon.changes(seq);
    let gaps: Vec<_> = records.iter().filter(|record| record["op"] == "gap").collect();
    assert!(!gaps.is_empty(), "no gap is told");
    for gap in gaps {
        assert!(gap["why"].as_str().is_some_and(|why| !why.is_empty()), "{gap}");
        let (from, to) = (gap["from_ns"].as_u64().unwrap(), gap["to_ns"].as_u64().unwrap());
        assert!(from <= to && to <= gap["seen_ns"].as_u64().unwrap(), "{gap}");
        assert!(u128::from(from) <= stopped, "the gap begins after the events were lost: {gap}");
        assert_eq!(gap["path"].as_str(), root.to_str(), "{gap}");
    }
    let status = daemon.status();
    assert!(status["overflows"].as_u64().unwrap() >= 1, "{status}");
    // Only true differences were told, so the fold comes out right over the gap as well.
    let mut rows = then;
    records.iter().for_each(|record| rows.apply(record));
    assert_eq!(rows.differences(&Rows::of_find(&find_json(&daemon, root))), Vec::<String>::new());
}

/// Each volume is repaired by itself: what others were told of there is gone past, and nothing of either is missed.
#[test]
fn r3_two_volumes_in_one_root_are_both_repaired() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let inner = match TmpfsMount::new("size=16m") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    fs::create_dir_all(inner.path().join("old/deep")).unwrap();
    let point = root.join("outer/inner");
    fs::create_dir_all(&point).unwrap();
    let mounted = std::process::Command::new("mount").arg("--bind").args([inner.path(), &point]).status();
    assert!(mounted.unwrap().success());
    let unmount = Unmount(point.clone());
    let daemon = Daemon::start(&ground.state(), &[root], &["--backend", "inotify"]);
    let seq = daemon.seq();
    daemon.while_stopped(|| {
        for file in 0..limit("max_queued_events") + 1_000 {
            fs::write(root.join(format!("{file}")), b"").unwrap();
        }
        for folder in [root.join("outer"), point.join("old/deep")] {
            fs::create_dir_all(folder.join("new/below")).unwrap();
            fs::write(folder.join("new/below/file"), b"lost").unwrap();
        }
        fs::rename(point.join("old"), point.join("moved")).unwrap();
    });
    daemon.settle();
    daemon.assert_exact(root);
    fs::write(point.join("moved/deep/new/below/file"), b"found again").unwrap();
    daemon.settle();
    daemon.assert_exact(root);
    let gaps = daemon.changes(seq).iter().filter(|record| record["op"] == "gap").count();
    assert!(gaps >= 2, "{gaps} gaps for two volumes");
    drop(daemon);
    drop(unmount);
}

/// Takes a mount away at the end of a test, whatever that end is.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A script that runs the daemon in a user namespace in which it has `watches` watches.
fn with_few_watches(ground: &Ground, watches: u32) -> Option<PathBuf> {
    let inner = format!("echo {watches} >/proc/sys/user/max_inotify_watches && exec \"$@\"");
    let text = format!(
        "#!/bin/sh\n[ \"$3\" = watch ] || exec {binary} \"$@\"\nexec unshare --user --map-root-user sh -c '{inner}' sh {binary} \"$@\"\n",
        binary = indexer_binary().display()
    );
    let script = ground.program("few-watches", &text);
    let mut probe = std::process::Command::new("unshare");
    probe.args(["--user", "--map-root-user", "sh", "-c", "echo 10 >/proc/sys/user/max_inotify_watches"]);
    match probe.output() {
        Ok(said) if said.status.success() => Some(script),
        Ok(said) => {
            skipped(format!("a limit of watches takes a user namespace: {}", stderr(&said).trim()));
            None
        }
        Err(error) => {
            skipped(format!("a limit of watches takes unshare(1): {error}"));
            None
        }
    }
}

/// More directories than watches: all of it is indexed, `status` says what is not watched, and a settle looks there.
#[test]
fn the_watch_limit_is_survived_and_told() {
    let ground = Place::Here.open().unwrap();
    let Some(script) = with_few_watches(&ground, 40) else { return };
    let root = ground.root();
    for dir in 0..120 {
        fs::create_dir_all(root.join(format!("{dir}/below"))).unwrap();
    }
    let mut daemon = Daemon::spawn(&script, &ground.state(), &[root], &["--backend", "inotify"]);
    daemon.wait_live();
    daemon.assert_exact(root);
    let status = daemon.status();
    let root_status = &status["roots"][0];
    let said = format!("{} {}", status["warnings"], root_status);
    assert!(said.contains("watch"), "nothing is said of the limit: {status}");
    assert!(root_status["watches"].as_u64().unwrap() <= 40, "{status}");

    for dir in 0..120 {
        fs::write(root.join(format!("{dir}/below/file")), b"seen or swept").unwrap();
    }
    fs::remove_dir(root.join("119/below")).unwrap_err();
    fs::remove_dir_all(root.join("118")).unwrap();
    fs::create_dir_all(root.join("new/and/deep")).unwrap();
    daemon.settle();
    daemon.assert_exact(root);
    Workload { seed: 2, threads: 2 }.run_operations(root, 1_000);
    daemon.settle();
    daemon.assert_exact(root);
    // Nothing but the limit is wrong: what the sweeps find is not told twice.
    let seq = daemon.seq();
    daemon.settle();
    daemon.assert_nothing_since(seq);
}

/// When a process has no instance left, sweeps are what remains, and `status` says so.
#[test]
fn no_inotify_instance_is_survived_and_told() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fs::create_dir(root.join("a")).unwrap();
    let inner = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$@\"";
    let binary = indexer_binary().display();
    let script = ground.program(
        "no-instances",
        &format!("#!/bin/sh\n[ \"$3\" = watch ] || exec {binary} \"$@\"\nexec unshare --user --map-root-user sh -c '{inner}' sh {binary} \"$@\"\n"),
    );
    let mut probe = std::process::Command::new("unshare");
    probe.args(["--user", "--map-root-user", "sh", "-c", "echo 0 >/proc/sys/user/max_inotify_instances"]);
    if !probe.output().is_ok_and(|said| said.status.success()) {
        return skipped("a limit of instances takes a user namespace");
    }
    let mut daemon = Daemon::spawn(&script, &ground.state(), &[root], &["--backend", "inotify"]);
    daemon.wait_live();
    let status = daemon.status();
    assert_eq!(status["roots"][0]["backend"], "sweep", "{status}");
    assert!(status["roots"][0]["reason"].as_str().unwrap().contains("inotify"), "{status}");
    fs::write(root.join("a/file"), b"swept").unwrap();
    wait_for("a settle that sweeps", || {
        daemon.settle();
        find_json(&daemon, root).keys().any(|path| path.ends_with(b"a/file")).then_some(())
    });
    daemon.assert_exact(root);
}
