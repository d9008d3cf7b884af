//! Changes that come by another mount of the same file system: through a bind mount, and from another mount namespace. A watch
//! on one mount would miss them; a mark of the file system, and watches on inodes, must not.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::Command;

use indexer_tests::{Daemon, Place, need_tool, skipped, stderr, wait_for};

/// Runs `script` in a mount namespace of its own, with `ROOT` and a bind mount of it, `BOUND`, that nobody else sees.
fn elsewhere(unshare: &Path, root: &Path, bound: &Path, script: &str) {
    let script = format!("set -e; mount --bind \"$ROOT\" \"$BOUND\"; {script}");
    let said = Command::new(unshare)
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .env("ROOT", root)
        .env("BOUND", bound)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", stderr(&said));
}

fn seen_from(flags: &[&str], how: &str) {
    let ground = match Place::Ext4.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let unshare = match need_tool("unshare", "util-linux") {
        Ok(unshare) => unshare,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    let bound = ground.beside("bound");
    std::fs::create_dir(&bound).unwrap();
    std::fs::create_dir(root.join("dir")).unwrap();
    std::fs::write(root.join("old"), b"x").unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    for (nth, top) in ["BOUND", "ROOT"].iter().enumerate() {
        let seq = daemon.seq();
        let work = format!(
            "mkdir -p \"${top}/dir/a{nth}/b\"; echo x > \"${top}/dir/a{nth}/b/new\"; echo y >> \"${top}/old\"; \
             mv \"${top}/dir/a{nth}\" \"${top}/moved{nth}\"; echo z > \"${top}/last{nth}\""
        );
        elsewhere(&unshare, root, &bound, &work);
        // By itself, with no sweep that a settle might make.
        let told = wait_for("the last of it to be told", || {
            let told = daemon.changes(seq);
            let last = format!("last{nth}");
            told.iter().any(|record| record["path"].as_str().unwrap().ends_with(&last)).then_some(told)
        });
        for record in &told {
            assert_eq!(record["how"], how, "{record}");
        }
        daemon.settle();
        daemon.assert_exact(root);
        let told = daemon.told(seq);
        for record in [format!("created moved{nth}"), "created new".to_owned(), "modified old".to_owned()] {
            let moved = record.replace("created moved", &format!("renamed a{nth} moved"));
            assert!(told.contains(&record) || told.contains(&moved), "{record}: {told:?}");
        }
        assert!(!bound.join("old").try_exists().unwrap(), "the mount was theirs alone");
    }
}

#[test]
fn other_mounts_and_namespaces_are_seen_by_fanotify() {
    seen_from(&[], "fanotify");
}

#[test]
fn other_mounts_and_namespaces_are_seen_by_inotify() {
    seen_from(&["--backend", "inotify"], "inotify");
}
