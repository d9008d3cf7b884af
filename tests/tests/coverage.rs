//! What the daemon says it can vouch for: watched, swept, blind or unverified, per directory and summed up. It could break by
//! claiming more than it knows.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use indexer_tests::{
    Daemon, Ground, Place, TwoLayers, indexer, indexer_binary, json_lines, skipped, stderr, wait_for,
};
use serde_json::Value;

fn counts(line: &Value) -> [u64; 4] {
    ["watched", "swept", "unverified", "blind"].map(|field| line[field].as_u64().unwrap())
}

fn coverage(daemon: &Daemon, path: &Path) -> Value {
    daemon.ask(&[&"coverage", &path])[0].clone()
}

fn with_directories() -> Ground {
    let ground = Place::Here.open().unwrap();
    fs::create_dir_all(ground.root().join("a/b/c")).unwrap();
    fs::create_dir_all(ground.root().join("d")).unwrap();
    ground
}

#[test]
fn every_directory_is_counted_under_what_keeps_it_true() {
    let ground = with_directories();
    let root = ground.root();
    for (flags, expected) in [
        (&[][..], [5, 0, 0, 0]),
        (&["--backend", "inotify"], [5, 0, 0, 0]),
        (&["--backend", "sweep"], [0, 5, 0, 0]),
    ] {
        let mut daemon = Daemon::start(&ground.state(), &[root], flags);
        daemon.settle();
        let all = coverage(&daemon, root);
        assert_eq!(counts(&all), expected, "{flags:?}: {all}");
        assert_eq!(all["directories"], 5);
        assert!(all["verified_ns"].as_i64().unwrap() > 0, "{all}");
        assert_eq!(all["parts"][0]["backend"], daemon.status()["roots"][0]["backend"]);
        let lines = daemon.ask(&[&"coverage", &root, &"--depth", &"1"]);
        let paths: Vec<_> = lines.iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            paths,
            [root.to_path_buf(), root.join("a"), root.join("d")]
                .map(|path| path.to_str().unwrap().to_owned())
        );
        assert_eq!(counts(&lines[1]), expected.map(|count| if count > 0 { 3 } else { 0 }));
        // The same without a walk, in `status`.
        assert_eq!(counts(&daemon.status()["roots"][0]["coverage"]), expected);
        // The last sweep of the whole is told; what is only swept is known to be true as of then.
        assert!(daemon.run(&[&"sweep"]).status.success());
        let root_status = daemon.status()["roots"][0].clone();
        let swept = &root_status["swept"];
        assert_eq!(
            (&swept["why"], &swept["level"], &swept["complete"]),
            (&"asked".into(), &"stat".into(), &true.into())
        );
        let only_swept = expected[1] > 0;
        assert_eq!(root_status["verified_ns"] == swept["began_ns"], only_swept, "{root_status}");
        assert_eq!(root_status["coverage"]["sweep_every_s"].is_null(), !only_swept, "{root_status}");
        assert!(daemon.terminate().success());
    }
    // Nobody watches.
    let lines = json_lines(&indexer(&ground.state(), &[&"coverage", &"--json"]));
    assert_eq!(counts(&lines[0]), [0, 0, 5, 0]);
    assert!(lines[0]["verified_ns"].as_i64().unwrap() > 0);
}

#[test]
fn what_cannot_be_looked_at_is_blind_until_it_can_be() {
    let ground = with_directories();
    let root = ground.root();
    // Its owner or root may look into every directory; this one belongs to whoever runs the test.
    let closed = root.join("a/b");
    let binary = ground.lend(indexer_binary());
    let chmod = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    chmod(0);
    let mut daemon = Daemon::spawn_unprivileged(&binary, &ground.state(), &[root], &[]);
    daemon.wait_live();
    let all = coverage(&daemon, root);
    assert_eq!(counts(&all)[3], 1, "{all}");
    assert_eq!(all["blind_paths"][0]["path"].as_str(), closed.to_str());
    chmod(0o755);
    daemon.settle();
    assert_eq!(counts(&coverage(&daemon, root))[3], 0);
    daemon.assert_exact(root);
}

#[test]
fn a_lost_root_vouches_for_nothing() {
    let ground = with_directories();
    let root = ground.beside("mine");
    fs::create_dir_all(root.join("a/b")).unwrap();
    let daemon = Daemon::start(&ground.state(), &[&root], &[]);
    assert_eq!(counts(&coverage(&daemon, &root)), [3, 0, 0, 0]);
    fs::rename(&root, ground.beside("away")).unwrap();
    let settled = daemon.run(&[&"settle"]);
    assert_eq!(settled.status.code(), Some(1));
    assert_eq!(counts(&coverage(&daemon, &root)), [0, 0, 3, 0]);
    assert_eq!(counts(&daemon.status()["roots"][0]["coverage"]), [0, 0, 3, 0]);
    fs::rename(ground.beside("away"), &root).unwrap();
    wait_for("the root to be found again", || {
        (counts(&coverage(&daemon, &root)) == [3, 0, 0, 0]).then_some(())
    });
}

/// Both layers number their files alike. Where the kernel shows those numbers, nothing can tell two files apart.
#[test]
fn an_overlay_of_two_file_systems_is_exact_or_says_that_it_is_not() {
    let fill = |at: &Path, called: &str| {
        for folder in 0..10 {
            let folder = at.join(format!("{called}{folder}"));
            fs::create_dir(&folder).unwrap();
            (0..40).for_each(|file| fs::write(folder.join(file.to_string()), called).unwrap());
        }
    };
    for exact in [true, false] {
        let options = if exact { "xino=on" } else { "xino=off" };
        let overlay = match TwoLayers::new(options, |lower| fill(lower, "lower")) {
            Ok(overlay) => overlay,
            Err(reason) => return skipped(reason),
        };
        fill(overlay.path(), "upper");
        let ground = Place::Here.open().unwrap();
        let daemon = Daemon::start(&ground.state(), &[overlay.path()], &[]);
        for file in 0..40 {
            fs::write(overlay.path().join(format!("lower1/{file}")), b"copied up").unwrap();
        }
        let status = daemon.status();
        let told = status["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == "layers");
        assert_eq!((told, &status["roots"][0]["layered"]), (!exact, &(!exact).into()), "{status:#}");
        if exact {
            daemon.settle();
            daemon.assert_exact(overlay.path());
        } else {
            let settled = daemon.run(&[&"settle"]);
            assert_eq!(settled.status.code(), Some(1), "{}", stderr(&settled));
            assert!(stderr(&settled).contains("numbers of its layers"), "{}", stderr(&settled));
        }
    }
}
