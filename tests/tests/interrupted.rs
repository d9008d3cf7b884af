//! Reading that is cut off by a kill goes on where it was: nothing that was committed is read twice, nothing is left out.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;

use indexer_tests::{Daemon, Place, compare_digests, indexer, indexer_binary, json_lines, stderr, wait_for};

const FILES: u64 = 150;

fn fill(root: &Path) {
    for file in 0..FILES {
        let mut content = vec![0; 1 << 20];
        content[..8].copy_from_slice(&file.to_le_bytes());
        fs::write(root.join(format!("{file:03}")), content).unwrap();
    }
}

/// How many files have their digest, by the index alone.
fn known(state: &Path, root: &Path) -> u64 {
    let said = indexer(state, &[&"find", &root, &"--json"]);
    json_lines(&said).iter().filter(|entry| entry["digest"].is_string()).count() as u64
}

fn assert_whole(state: &Path) {
    let said = indexer(state, &[&"doctor", &"--json"]);
    let report = json_lines(&said).pop().unwrap();
    assert_eq!(report["index"]["faults"], 0, "{report}{}", stderr(&said));
}

/// Killed in the backlog of a first start, again and again.
#[test]
fn r7_killed_while_the_rest_is_read_nothing_is_read_twice() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    fill(root);
    // The rest would take many seconds more: however late the kill, there is some left.
    let slowly = ["--hash", "full", "--hash-rate", "8MiB"];
    let mut last = 0;
    for round in 0..3 {
        let mut daemon = Daemon::start(&state, &[root], &slowly);
        wait_for("some to be read", || (daemon.hashing("hashed") >= last + 10).then_some(()));
        assert!(daemon.hashing("files_read") <= FILES - last);
        daemon.kill9();
        let now = known(&state, root);
        assert!(now >= last + 10 && now < FILES, "round {round}: {now} after {last}");
        last = now;
        assert_whole(&state);
    }
    // Some change while nobody looks: those wait, and belong to the rest as well.
    for file in 0..10 {
        fs::write(root.join(format!("{file:03}")), vec![b'n'; 1 << 20]).unwrap();
    }
    let entries = json_lines(&indexer(&state, &[&"find", &root, &"--json"]));
    let missing = compare_digests(&entries).0.len() as u64;
    assert!(missing >= 10);
    let daemon = Daemon::start(&state, &[root], &["--hash", "full"]);
    assert_eq!(daemon.assert_hashed(root), FILES);
    daemon.wait_at_rest();
    assert_eq!(daemon.hashing("files_read"), missing, "one reading each");
    daemon.assert_exact(root);
}

/// Killed while what just came is read.
#[test]
fn r7_killed_while_changes_are_read_all_are_read_in_the_end() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    let mut daemon = Daemon::start(&state, &[root], &["--hash", "full"]);
    for round in 0..3u64 {
        fill(&{
            let folder = root.join(format!("{round}"));
            fs::create_dir(&folder).unwrap();
            folder
        });
        wait_for("some to be read", || (daemon.hashing("files_read") >= 20).then_some(()));
        daemon.kill9();
        assert_whole(&state);
        let missing = (round + 1) * FILES - known(&state, root);
        daemon = Daemon::spawn(indexer_binary(), &state, &[root], &["--hash", "full"]);
        daemon.wait_live();
        assert_eq!(daemon.assert_hashed(root), (round + 1) * FILES);
        assert!(daemon.hashing("files_read") <= missing, "one reading each of {missing}");
    }
    daemon.assert_exact(root);
}
