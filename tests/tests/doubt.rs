//! A program or a server behind a file system may answer with emptiness when it fails. That a great part of such a tree is gone is
//! believed at the second look.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use indexer_tests::{Daemon, FuseMount, Ground, Place, skipped, stderr};

const FILES: u64 = 3_000;

/// A ground, and a FUSE mount whose files are seen elsewhere too.
fn mounted() -> Option<(Ground, FuseMount)> {
    let mount = FuseMount::new().map_err(skipped).ok()?;
    for file in 0..FILES {
        fs::write(mount.below().join(format!("{file}")), b"x").unwrap();
    }
    Some((Place::Here.open().unwrap(), mount))
}

/// Starts on it, ends, removes all but so many files behind its back, and starts again.
fn emptied(ground: &Ground, mount: &FuseMount, left: u64) -> (Daemon, u64) {
    let mut daemon = Daemon::start(&ground.state(), &[mount.path()], &["--backend", "sweep"]);
    assert_eq!(daemon.status()["entries"], FILES + 1);
    let seq = daemon.seq();
    assert!(daemon.terminate().success());
    for file in left..FILES {
        fs::remove_file(mount.below().join(format!("{file}"))).unwrap();
    }
    (Daemon::start(&ground.state(), &[], &["--backend", "sweep"]), seq)
}

#[test]
fn a_great_part_that_is_gone_is_believed_at_the_second_look() {
    let Some((ground, mount)) = mounted() else { return };
    let (daemon, seq) = emptied(&ground, &mount, 1_000);
    for _ in 0..2 {
        // Nor by a settle that follows on it: that would be the same look.
        let settled = daemon.run(&[&"settle"]);
        assert_eq!(settled.status.code(), Some(1), "{}", stderr(&settled));
        assert!(stderr(&settled).contains("2000 entries are not there"), "{}", stderr(&settled));
        let status = daemon.status();
        assert_eq!(
            (&status["entries"], &status["roots"][0]["doubted"]),
            (&(FILES + 1).into(), &2_000.into())
        );
        assert_eq!(status["state"], "degraded");
    }
    let deleted = daemon.changes(seq).iter().filter(|record| record["op"] == "deleted").count();
    assert_eq!(deleted, 0);
    assert!(daemon.run(&[&"sweep"]).status.success());
    daemon.settle();
    assert_eq!(
        (&daemon.status()["entries"], &daemon.status()["roots"][0]["doubted"]),
        (&1_001.into(), &0.into())
    );
    daemon.assert_exact(mount.path());
}

#[test]
fn what_comes_back_was_never_gone() {
    let Some((ground, mount)) = mounted() else { return };
    // Left out by a rule: for the index the files are away.
    let aside = mount.below().join("aside");
    fs::create_dir(&aside).unwrap();
    let flags = ["--backend", "sweep", "--exclude", "/aside/"];
    let mut daemon = Daemon::start(&ground.state(), &[mount.path()], &flags);
    let seq = daemon.seq();
    assert!(daemon.terminate().success());
    // The kind of failure this is for: all of it is away for a while.
    let moved = |from: &std::path::Path, to: &std::path::Path| {
        for file in 0..FILES {
            fs::rename(from.join(format!("{file}")), to.join(format!("{file}"))).unwrap();
        }
    };
    moved(mount.below(), &aside);
    let daemon = Daemon::start(&ground.state(), &[], &["--backend", "sweep"]);
    assert_eq!(daemon.status()["roots"][0]["doubted"], FILES);
    moved(&aside, mount.below());
    fs::remove_dir(&aside).unwrap();
    daemon.settle();
    assert_eq!(daemon.status()["roots"][0]["doubted"], 0);
    let ops: Vec<_> =
        daemon.changes(seq).iter().map(|record| record["op"].as_str().unwrap().to_owned()).collect();
    assert!(!ops.iter().any(|op| op == "deleted" || op == "created"), "{ops:?}");
    daemon.assert_exact(mount.path());
}

#[test]
fn a_small_part_is_believed_at_once() {
    let Some((ground, mount)) = mounted() else { return };
    let (daemon, _) = emptied(&ground, &mount, FILES - 500);
    daemon.settle();
    assert_eq!(daemon.status()["entries"], FILES - 500 + 1);
    daemon.assert_exact(mount.path());
}
