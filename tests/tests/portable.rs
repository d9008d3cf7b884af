//! The portable tier: its events make changes known by themselves, and sweeps make the index exact whatever it lost. It could
//! break by believing its silence: it loses what happens in new directories and does not say so.

use std::fs;
use std::time::Duration;

use indexer_tests::{Daemon, Place, Workload, skipped};

/// Long enough for an event to come, and far less than the five minutes between sweeps.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn r1_random_work_by_notify_is_exact_after_each_settle() {
    let ground = match Place::Tmpfs.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    Workload { seed: 400, threads: 2 }.run_operations(root, 500);
    let daemon = Daemon::start(&ground.state(), &[root], &["--backend", "notify"]);
    for seed in 401..404 {
        Workload { seed, threads: 3 }.run_operations(root, 500);
        daemon.settle();
        daemon.assert_exact(root);
    }
    let status = daemon.status();
    assert_eq!(status["roots"][0]["backend"], "notify", "{status}");
    assert!(status["roots"][0]["reason"].as_str().unwrap().contains("at every settle"), "{status}");
    assert!(status["events"].as_u64().unwrap() > 0, "{status}");
    let seq = daemon.seq();
    daemon.settle();
    assert_eq!(daemon.seq(), seq, "what the sweeps find is told twice");
}

#[test]
fn an_event_of_notify_leads_to_a_record_by_itself() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fs::create_dir_all(root.join("old/deep")).unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], &["--backend", "notify"]);
    let since = daemon.seq().to_string();
    let follower = daemon.follow(&[&"changes", &"--follow", &"--json", &"--since", &since]);
    let wait = |path: &std::path::Path, op: &str| {
        loop {
            let (_, line) = follower.next_line(SOON).unwrap_or_else(|| panic!("no record of {path:?}"));
            let record: serde_json::Value = serde_json::from_str(&line).unwrap();
            if record["path"].as_str() == path.to_str() && record["op"] == op {
                assert_eq!(record["how"], "notify", "{record}");
                return;
            }
        }
    };
    fs::write(root.join("old/deep/file"), b"content").unwrap();
    wait(&root.join("old/deep/file"), "created");
    fs::create_dir(root.join("new")).unwrap();
    wait(&root.join("new"), "created");
    // Known now, hence watched.
    fs::write(root.join("new/file"), b"content").unwrap();
    wait(&root.join("new/file"), "created");
    fs::remove_file(root.join("old/deep/file")).unwrap();
    wait(&root.join("old/deep/file"), "deleted");
    daemon.settle();
    daemon.assert_exact(root);
}
