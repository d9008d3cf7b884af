//! `indexer snapshots changes`: the journal between snapshots as Parquet, without a hole, whatever cuts it off.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use indexer_tests::{
    Daemon, Ground, Killer, Place, Workload, done, indexer, indexer_binary, json_lines, micros,
    parquet_footer, parquet_rows, python_with, skipped, stderr, wait_for,
};
use rustix::process::Signal;
use serde_json::{Map, Value, json};

fn snapshots(ground: &Ground, words: &[&dyn AsRef<OsStr>]) -> Output {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"snapshots"];
    all.extend(words);
    indexer(&ground.state(), &all)
}

/// The files of changes in `top`, in order.
fn files(top: &Path) -> Vec<PathBuf> {
    let mut folders = vec![top.join("_changes")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("parquet")) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn rows(top: &Path) -> Vec<Map<String, Value>> {
    files(top).iter().flat_map(|file| parquet_rows(file)).collect()
}

/// What a row has to say of a line of `changes --json`.
fn expected(line: &Value) -> Map<String, Value> {
    let time = |value: &Value| match value {
        Value::Null => Value::Null,
        ns => micros(ns.as_number().unwrap().to_string().parse().unwrap()),
    };
    let mut row = Map::new();
    let mut put = |name: String, value: Value| row.insert(name, value);
    for name in ["seq", "op", "how", "complete", "root", "inode", "volume", "pair", "why", "entries"] {
        put(name.to_owned(), line[name].clone());
    }
    for (name, from) in [("seen_time", "seen_ns"), ("from_time", "from_ns"), ("to_time", "to_ns")] {
        put(name.to_owned(), time(&line[from]));
    }
    // Of names that are no text a row has the escape that snapshots have.
    for name in ["path", "old_path"].iter().filter(|name| line[format!("{name}_raw")].is_null()) {
        put((*name).to_owned(), line[*name].clone());
        put(format!("{name}_raw"), Value::Null);
    }
    for side in ["before", "after"] {
        let state = &line[side];
        for name in ["kind", "category", "size", "allocated", "uid", "gid", "links"] {
            put(format!("{side}_{name}"), state[name].clone());
        }
        put(format!("{side}_permissions"), state["mode"].clone());
        for name in ["modified", "accessed", "created", "changed"] {
            put(format!("{side}_{name}_time"), time(&state[format!("{name}_ns")]));
        }
        let digest = state["digest"].as_str().and_then(|text| text.split_once(':'));
        put(format!("{side}_digest_kind"), digest.map_or(Value::Null, |(kind, _)| kind.into()));
        put(format!("{side}_digest"), digest.map_or(Value::Null, |(_, hex)| hex.into()));
    }
    for name in ["parents", "set"] {
        let told = &line[name];
        put(name.to_owned(), if told.is_null() { Value::Null } else { told.to_string().into() });
    }
    row
}

/// All of `rows` against the journal from `after` on.
fn compare(rows: &[Map<String, Value>], lines: &[Value]) {
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(lines) {
        for (name, value) in expected(line) {
            let told = match name.as_str() {
                // The order of fields is nobody's business.
                "parents" | "set" if !value.is_null() => {
                    let parsed =
                        |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
                    assert_eq!(parsed(&row[&name]), parsed(&value));
                    continue;
                }
                _ => &row[&name],
            };
            assert_eq!(told, &value, "{name} of {line}");
        }
    }
}

fn watermark(top: &Path, ground: &Ground) -> u64 {
    json_lines(&snapshots(ground, &[&"list", &top, &"--json"]))[0]["watermark"].as_u64().unwrap()
}

#[test]
fn files_follow_each_other_and_hold_each_record_of_the_journal() {
    let ground = Place::Here.open().unwrap();
    let (root, top) = (ground.root(), ground.beside("out"));
    fs::write(root.join(OsStr::from_bytes(b"no \xff text")), "x").unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], &["--hash", "full"]);
    let changes = |more: &[&dyn AsRef<OsStr>]| {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"snapshots", &"changes", &"--output", &top];
        words.extend(more);
        daemon.run(&words)
    };
    let said = changes(&[]);
    assert_eq!(said.status.code(), Some(2), "no snapshot yet: {}", stderr(&said));
    assert!(stderr(&said).contains("snapshots roll"), "{}", stderr(&said));
    done(&daemon.run(&[&"snapshots", &"roll", &"--output", &top]));
    let from = watermark(&top, &ground);
    // What has a digest when it changes is told with the one it had.
    wait_for("a digest", || daemon.changes(0).iter().any(|line| line["op"] == "hashed").then_some(()));

    let workload = Workload { seed: 23, threads: 2 };
    workload.around(root, || {
        for _ in 0..4 {
            let before = daemon.status()["seq"].as_u64().unwrap();
            wait_for("some changes", || {
                (daemon.status()["seq"].as_u64().unwrap() > before + 50).then_some(())
            });
            done(&changes(&[]));
        }
    });
    fs::rename(root.join(OsStr::from_bytes(b"no \xff text")), root.join("text")).unwrap();
    daemon.settle();
    // A backup of the index that is put back must not give these numbers to other records.
    let covered = |said: &Output| {
        let text = fs::read(ground.state().join("published")).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let seqs = text.lines().filter_map(|line| line.strip_prefix("seq ")?.parse::<u64>().ok());
        assert!(seqs.max() >= json_lines(said)[0]["watermark"].as_u64(), "{text}");
    };
    let journal = || json_lines(&daemon.run(&[&"changes", &"--since", &from.to_string(), &"--json"]));
    wait_for("a digest", || journal().iter().any(|line| line["op"] == "hashed").then_some(()));
    let said = changes(&[&"--json"]);
    done(&said);
    covered(&said);
    let last = &json_lines(&said)[0];
    assert_eq!(last["file"].as_str().map(PathBuf::from), files(&top).pop());

    let mut lines = journal();
    lines.retain(|line| line["seq"].as_u64() <= last["watermark"].as_u64());
    let all = rows(&top);
    compare(&all, &lines);
    let torn: Vec<_> = all.iter().filter(|row| !row["old_path_raw"].is_null()).collect();
    assert!(torn.iter().any(|row| row["old_path"].as_str().unwrap().ends_with("no \\xff text")), "{torn:?}");
    for column in ["after_digest", "before_digest_kind", "parents", "old_path"] {
        assert!(all.iter().any(|row| !row[column].is_null()), "{column} is always null");
    }
    let (_, footer) = parquet_footer(&files(&top)[4]);
    assert_eq!(footer["indexer.watermark"], last["watermark"].to_string());
    assert_eq!(footer["indexer.epoch"], last["epoch"].as_str().unwrap());
    done(&daemon.run(&[&"snapshots", &"verify", &top]));

    // Another snapshot cuts no chain, and what is as old as one that went goes with it.
    done(&daemon.run(&[&"snapshots", &"roll", &"--output", &top, &"--keep-daily", &"1"]));
    wait_for("nothing more to tell: contents are read meanwhile", || {
        json_lines(&changes(&[&"--json"]))[0]["file"].is_null().then_some(())
    });
    let count = files(&top).len();
    let old = files(&top)[0].parent().unwrap().with_file_name("date=2001-01-01");
    fs::create_dir(&old).unwrap();
    let first = &files(&top)[0];
    fs::rename(first, old.join(first.file_name().unwrap())).unwrap();
    done(&daemon.run(&[&"snapshots", &"prune", &top, &"--keep-daily", &"1"]));
    assert_eq!(files(&top).len(), count - 1, "one went");
    fs::remove_file(&files(&top)[1]).unwrap();
    let said = daemon.run(&[&"snapshots", &"verify", &top]);
    assert_eq!(said.status.code(), Some(1), "a hole: {}", stderr(&said));
}

/// What engines count in all files: rows, and bytes that came and went.
#[test]
fn engines_read_them() {
    let ground = Place::Here.open().unwrap();
    let (root, top, packages) = (ground.root(), ground.beside("out"), ground.beside("packages"));
    let wanted = ["duckdb==2.0.0", "chdb==4.4.0", "polars==2.1.0", "pyarrow"];
    let python = match python_with(&packages, &wanted) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    let scan = || done(&indexer(&ground.state(), &[&"scan", &"--hash", &"full", &root]));
    fs::write(root.join("one"), "1").unwrap();
    scan();
    done(&snapshots(&ground, &[&"roll", &"--output", &top]));
    for turn in 1..4 {
        fs::write(root.join("one"), "x".repeat(turn * 1000)).unwrap();
        fs::write(root.join(format!("new {turn}")), "new").unwrap();
        scan();
        done(&snapshots(&ground, &[&"changes", &"--output", &top]));
    }
    let script = "
import json, sys, os
os.chdir(sys.argv[1])
import chdb, duckdb, polars, pyarrow.dataset as ds
files = '_changes/host=*/date=*/*.parquet'
ask = f\"SELECT count(*) AS n, CAST(sum(coalesce(after_size, 0) - coalesce(before_size, 0)) AS BIGINT) AS grown FROM \"
told = {
    'duckdb': list(duckdb.sql(ask + f\"read_parquet('{files}') WHERE op <> 'hashed'\").fetchall()[0]),
    'clickhouse': json.loads(chdb.query(ask + f\"file('{files}') WHERE op <> 'hashed'\", 'JSONCompactEachRow').bytes() or '[]'),
}
frame = polars.scan_parquet(files).filter(polars.col('op') != 'hashed').collect()
told['polars'] = [len(frame), int((frame['after_size'].fill_null(0) - frame['before_size'].fill_null(0)).sum())]
table = ds.dataset('_changes', partitioning='hive').to_table(filter=ds.field('op') != 'hashed').to_pydict()
told['pyarrow'] = [len(table['seq']), sum((a or 0) - (b or 0) for a, b in zip(table['after_size'], table['before_size']))]
told['clickhouse'] = [int(cell) for cell in told['clickhouse']]
told['snapshots'] = ds.dataset('.', partitioning='hive').count_rows()
print(json.dumps(told))
";
    let said =
        Command::new(python).args(["-c", script]).arg(&top).env("PYTHONPATH", &packages).output().unwrap();
    done(&said);
    let told: Value = serde_json::from_slice(&said.stdout).unwrap();
    let mut all = rows(&top);
    all.retain(|row| row["op"] != "hashed");
    let size = |row: &Map<String, Value>, side: &str| row[side].as_i64().unwrap_or(0);
    let grown: i64 = all.iter().map(|row| size(row, "after_size") - size(row, "before_size")).sum();
    assert!(all.len() >= 6 && grown >= 3000 - 1 + 9, "{grown}");
    for engine in ["duckdb", "clickhouse", "polars", "pyarrow"] {
        assert_eq!(told[engine], json!([all.len(), grown]), "{engine}");
    }
    assert_eq!(told["snapshots"], 2, "readers of snapshots pass over them");
}

#[test]
fn killed_at_any_moment_the_next_run_goes_on_without_a_hole() {
    let ground = Place::Here.open().unwrap();
    let (root, top) = (ground.root(), ground.beside("out"));
    let scan = || done(&indexer(&ground.state(), &[&"scan", &root]));
    scan();
    done(&snapshots(&ground, &[&"roll", &"--output", &top]));
    let from = watermark(&top, &ground);
    let mut killer = None;
    for round in 0..16 {
        for number in 0..40 {
            fs::write(root.join(format!("{number}")), "x".repeat(round + 1)).unwrap();
        }
        scan();
        let mut command = Command::new(indexer_binary());
        command.arg("--state").arg(ground.state()).args(["snapshots", "changes", "--output"]).arg(&top);
        let Some(killer) = &mut killer else {
            // The first says how long it takes.
            let began = Instant::now();
            done(&command.output().unwrap());
            killer = Some(Killer::new(9, began.elapsed()));
            continue;
        };
        killer.run(command, Signal::KILL);
        done(&snapshots(&ground, &[&"verify", &top]));
    }
    let died = killer.map_or(0, |killer| killer.died());
    assert!(died >= 5, "only {died} of 15 were killed before their end");
    done(&snapshots(&ground, &[&"changes", &"--output", &top]));
    let lines =
        json_lines(&indexer(&ground.state(), &[&"changes", &"--since", &from.to_string(), &"--json"]));
    compare(&rows(&top), &lines);
}

#[test]
fn the_daemon_writes_them_by_the_clock() {
    let ground = Place::Here.open().unwrap();
    let (root, top) = (ground.root(), ground.beside("out"));
    fs::write(root.join("one"), "1").unwrap();
    done(&indexer(&ground.state(), &[&"scan", &root]));
    done(&snapshots(&ground, &[&"roll", &"--output", &top]));
    fs::write(root.join("two"), "2").unwrap();
    let config = ground.beside("indexer.toml");
    let start = |changes: &str| {
        let toml = format!("[snapshots]\nfolder = {top:?}\nevery = \"1d\"\nchanges = \"{changes}\"\n");
        fs::write(&config, toml).unwrap();
        indexer(&ground.state(), &[&"--config", &config, &"status"])
    };
    let said = start("2d");
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("between snapshots"), "{}", stderr(&said));
    start("1h");
    let daemon = Daemon::start(&ground.state(), &[root], &["--config", config.to_str().unwrap()]);
    let file = wait_for("a file of changes", || files(&top).pop());
    assert!(parquet_rows(&file).iter().any(|row| row["path"] == root.join("two").to_str().unwrap()));
    assert_eq!(daemon.status()["snapshots"]["changes_s"], 3600);
}
