//! `indexer diff` of two seqs: what the journal tells between them is what the snapshots of both moments differ by.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use indexer_tests::{Daemon, Place, Workload, done, indexer, json_lines, stderr, wait_for};
use serde_json::{Value, json};

/// The lines of `diff A B --json` but the sums, by path.
fn told(daemon: &Daemon, before: &str, after: &str) -> (BTreeMap<String, Value>, Value) {
    let said = daemon.run(&[&"diff", &before, &after, &"--json"]);
    assert!(matches!(said.status.code(), Some(0 | 1)), "{}", stderr(&said));
    let mut lines = json_lines(&said);
    let summary = lines.pop().unwrap();
    let key = |line: &Value| format!("{} {} {}", line["path"], line["op"], line["old_path"]);
    (lines.into_iter().map(|line| (key(&line), line)).collect(), summary)
}

/// Writes a snapshot of all, and says of which seq.
fn snapshot(daemon: &Daemon, file: &Path) -> String {
    daemon.settle();
    let said = daemon.run(&[&"snapshot", &"--output", &file, &"--json"]);
    done(&said);
    json_lines(&said)[0]["watermark"].to_string()
}

/// The records of all entries, and of all names, of which something else is told than expected.
fn concerning(daemon: &Daemon, wrong: &BTreeMap<&String, [Option<&Value>; 2]>) -> Vec<Value> {
    let lines = || wrong.values().flatten().flatten();
    let states = || lines().flat_map(|line| [&line["before"], &line["after"]]);
    let inodes: Vec<&Value> =
        states().map(|state| &state["inode"]).filter(|inode| !inode.is_null()).collect();
    let paths: Vec<&Value> =
        lines().flat_map(|line| [&line["path"], &line["old_path"]]).filter(|path| !path.is_null()).collect();
    let mut records = daemon.changes(0);
    records.retain(|record| {
        inodes.contains(&&record["inode"])
            || [&record["path"], &record["old_path"]].iter().any(|path| paths.contains(path))
    });
    records
}

#[test]
fn the_journal_between_two_seqs_is_what_their_snapshots_differ_by() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for dir in ["own a/b/c", "own d/e", "own f"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for number in 0..20 {
            fs::write(root.join(dir).join(format!("{number}")), "x".repeat(number)).unwrap();
        }
    }
    let daemon = Daemon::start(&ground.state(), &[root], &["--hash", "none"]);
    let busy = |seed| {
        let workload = Workload { seed, threads: 2 };
        workload.around(root, || {
            let before = daemon.status()["seq"].as_u64().unwrap();
            wait_for("some changes", || {
                (daemon.status()["seq"].as_u64().unwrap() > before + 400).then_some(())
            });
        });
    };
    busy(3);
    let (old, new) = (ground.beside("old.parquet"), ground.beside("new.parquet"));
    let from = snapshot(&daemon, &old);
    busy(4);
    // Directories that change under what changes in them, and two that exchange their names.
    fs::write(root.join("own a/b/c/1"), "before").unwrap();
    fs::rename(root.join("own a/b"), root.join("own d/b")).unwrap();
    fs::write(root.join("own d/b/c/2"), "after").unwrap();
    fs::create_dir(root.join("own a/b")).unwrap();
    fs::write(root.join("own a/b/c"), "another").unwrap();
    daemon.settle();
    fs::rename(root.join("own d/e"), root.join("own f/aside")).unwrap();
    fs::rename(root.join("own a/b"), root.join("own d/e")).unwrap();
    fs::rename(root.join("own f/aside"), root.join("own a/b")).unwrap();
    let to = snapshot(&daemon, &new);

    let (mut snapshots, sums) = told(&daemon, old.to_str().unwrap(), new.to_str().unwrap());
    let (mut seqs, own) = told(&daemon, &from, &to);
    assert!(snapshots.len() > 20, "{snapshots:?}");
    for lines in [&mut snapshots, &mut seqs] {
        for line in lines.values_mut() {
            let line = line.as_object_mut().unwrap();
            // What came along with a directory did nothing, and is in no record; access times follow looks.
            line.remove("below");
            for side in ["before", "after"] {
                let Some(state) = line.get_mut(side).and_then(Value::as_object_mut) else { continue };
                if state["kind"] == "directory" {
                    state.retain(|name, _| ["kind", "inode", "mode", "uid"].contains(&name.as_str()));
                }
            }
            if line["kind"] == "directory" {
                line.remove("allocated");
            }
        }
    }
    let mut wrong = BTreeMap::new();
    for key in seqs.keys().chain(snapshots.keys()) {
        if seqs.get(key) != snapshots.get(key) {
            wrong.insert(key, [seqs.get(key), snapshots.get(key)]);
        }
    }
    assert!(
        wrong.is_empty(),
        "seqs and snapshots, {} of {}: {wrong:#?}\n{:#?}",
        wrong.len(),
        snapshots.len(),
        concerning(&daemon, &wrong)
    );
    for bytes in ["created", "deleted", "modified", "renamed"] {
        assert_eq!(own[bytes], sums[bytes], "{bytes}");
    }

    let said = daemon.run(&[&"diff", &to, &"now"]);
    assert_eq!(said.status.code(), Some(0), "nothing since: {}", stderr(&said));
    let said = daemon.run(&[&"diff", &from, &to, &"--by-dir", &"1"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    let said = daemon.run(&[&"diff", &to, &from]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("one after the other"), "{}", stderr(&said));
    let said = daemon.run(&[&"diff", &"0", &"now"]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(stderr(&said).contains("compare snapshots instead"), "{}", stderr(&said));
    let said = daemon.run(&[&"diff", &from, &old]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
}

#[test]
fn a_further_name_counts_no_bytes_and_a_root_is_named_where_there_are_two() {
    let ground = Place::Here.open().unwrap();
    let roots = ["one", "two"].map(|name| ground.root().join(name));
    for root in &roots {
        fs::create_dir(root).unwrap();
        fs::write(root.join("file"), "12345").unwrap();
    }
    let scan = || done(&indexer(&ground.state(), &[&"scan", &roots[0], &roots[1]]));
    scan();
    let seq =
        json_lines(&indexer(&ground.state(), &[&"changes", &"--json"])).last().unwrap()["seq"].to_string();
    fs::hard_link(roots[0].join("file"), roots[0].join("again")).unwrap();
    fs::write(roots[1].join("other"), "123").unwrap();
    scan();
    let diff = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let mut words: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"diff", &seq, &"now", &"--json"];
        words.extend(more);
        indexer(&ground.state(), &words)
    };
    let said = diff(&[]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("--root"), "{}", stderr(&said));
    let lines = json_lines(&diff(&[&"--root", &roots[0]]));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["op"], &lines[0]["link"]), (&json!("created"), &json!(true)), "{lines:?}");
    assert_eq!(lines[0]["bytes"], 0);
    let lines = json_lines(&diff(&[&"--root", &roots[1]]));
    assert_eq!((&lines[0]["path"], &lines[0]["bytes"]), (&json!(roots[1].join("other")), &json!(3)));
}
