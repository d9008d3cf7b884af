//! `indexer snapshots`: today's written by the clock, old ones thinned out, all of them checked, and a table that is what lies there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use indexer_tests::{
    Daemon, Ground, Killer, Place, done, independent_walk, indexer, indexer_binary, json_lines, parquet_rows,
    python_with, skipped, stderr, wait_for,
};
use rustix::process::Signal;
use serde_json::Value;

fn scanned() -> Ground {
    let ground = Place::Here.open().unwrap();
    for number in 0..300 {
        fs::write(ground.root().join(format!("file {number}")), "x".repeat(number)).unwrap();
    }
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    ground
}

/// `indexer snapshots …` without a daemon.
fn snapshots(ground: &Ground, words: &[&dyn AsRef<OsStr>]) -> Output {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"snapshots"];
    all.extend(words);
    indexer(&ground.state(), &all)
}

/// The folder of the only root of the only host in `top`.
fn series(top: &Path) -> PathBuf {
    let only = |folder: &Path, begin: &str| {
        let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(begin);
        entries.find(is).unwrap_or_else(|| panic!("no {begin} in {folder:?}"))
    };
    only(&only(top, "host="), "root=")
}

/// The days in `top`.
fn days(top: &Path) -> Vec<String> {
    let entries = fs::read_dir(series(top)).unwrap();
    let mut days: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap().replace("date=", "")).collect();
    days.sort();
    days
}

/// Makes copies of the one snapshot in `top`, as of other days. Answers its own day.
fn age(top: &Path, others: &[&str]) -> String {
    let today = days(top).pop().unwrap();
    let from = series(top).join(format!("date={today}"));
    for day in others {
        let to = series(top).join(format!("date={day}"));
        fs::create_dir(&to).unwrap();
        for name in ["snapshot.parquet", "_manifest.json"] {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
    today
}

#[test]
fn what_no_count_keeps_goes_and_nothing_else() {
    let ground = scanned();
    let top = ground.beside("out");
    done(&snapshots(&ground, &[&"roll", &"--output", &top]));
    let old = ["2020-01-30", "2020-01-31", "2020-02-27", "2020-02-29", "2020-03-01"];
    let today = age(&top, &old);
    let all = days(&top);

    let said = snapshots(&ground, &[&"prune", &top]);
    assert_eq!(said.status.code(), Some(2), "without counts: {}", stderr(&said));
    assert!(stderr(&said).contains("--keep-daily"), "{}", stderr(&said));
    let prune = |more: &[&dyn AsRef<OsStr>]| {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"prune", &top];
        words.extend(more);
        snapshots(&ground, &words)
    };
    let said = prune(&[&"--keep-monthly", &"3", &"--dry-run", &"--json"]);
    done(&said);
    let would: Vec<String> =
        json_lines(&said).iter().map(|line| line["date"].as_str().unwrap().to_owned()).collect();
    assert_eq!(would, ["2020-01-30", "2020-01-31", "2020-02-27"]);
    assert_eq!(days(&top), all, "nothing went");
    done(&prune(&[&"--keep-daily", &"1", &"--host", &"another"]));
    assert_eq!(days(&top), all, "another host's are its own");

    // What is none of ours stays, and is said; what a killed run left goes.
    let mine = series(&top).join("date=2020-02-27/notes.txt");
    fs::write(&mine, "mine").unwrap();
    let left = series(&top).join(".date=2019-01-01.gone");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("snapshot.parquet"), "half").unwrap();
    let said = prune(&[&"--keep-monthly", &"3"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("no snapshot's"), "{}", stderr(&said));
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    assert!(matches!(left.try_exists(), Ok(false)));
    fs::remove_file(&mine).unwrap();
    fs::write(series(&top).join("date=2020-02-27/_manifest.json"), "{").unwrap();
    done(&prune(&[&"--keep-monthly", &"3"]));
    assert_eq!(
        days(&top),
        ["2020-02-27", "2020-02-29", "2020-03-01", &*today],
        "one without a manifest stays"
    );
    done(&snapshots(&ground, &[&"roll", &"--output", &top, &"--keep-daily", &"1"]));
    assert_eq!(days(&top), ["2020-02-27", &*today]);
}

#[test]
fn what_is_not_as_it_was_written_is_told() {
    let ground = scanned();
    let top = ground.beside("out");
    let verify = || snapshots(&ground, &[&"verify", &top, &"--json"]);
    let said = verify();
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert_eq!(snapshots(&ground, &[&"list", &top]).status.code(), Some(1));
    done(&snapshots(&ground, &[&"roll", &"--output", &top]));
    let old = ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05"];
    let today = age(&top, &old);
    done(&verify());
    let said = snapshots(&ground, &[&"list", &top, &"--json"]);
    let lines = json_lines(&said);
    assert_eq!((lines.len(), lines[0]["rows"].as_u64()), (6, Some(301)));
    let text = snapshots(&ground, &[&"list", &top]);
    assert_eq!(String::from_utf8_lossy(&text.stdout).lines().count(), 7);

    let file = |day: &str, name: &str| series(&top).join(format!("date={day}")).join(name);
    let mut bytes = fs::read(file(old[0], "snapshot.parquet")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file(old[0], "snapshot.parquet"), &bytes).unwrap();
    fs::write(file(old[1], "snapshot.parquet"), &bytes[..middle]).unwrap();
    fs::remove_file(file(old[2], "snapshot.parquet")).unwrap();
    fs::write(file(old[3], "_manifest.json"), "no manifest").unwrap();
    let manifest = fs::read_to_string(file(old[4], "_manifest.json")).unwrap();
    // A name that leads elsewhere is not followed.
    fs::write(file(old[4], "_manifest.json"), manifest.replace("snapshot.parquet", "../x")).unwrap();
    let said = verify();
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    let wrong: BTreeMap<String, String> = json_lines(&said)
        .iter()
        .map(|line| (line["date"].as_str().unwrap().to_owned(), line["wrong"].to_string()))
        .collect();
    let why = [
        "not those that were written",
        "the manifest says",
        "No such file",
        "failed to read",
        "failed to read",
    ];
    for (day, why) in old.iter().zip(why) {
        assert!(wrong[*day].contains(why), "{day}: {wrong:?}");
    }
    assert_eq!(wrong[&today], "[]");
}

/// The counts of a table by date, of every engine the same; and what else they say.
fn table(python: &Path, packages: &Path, top: &Path) -> (BTreeMap<String, u64>, Value) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rolled/table.py");
    let mut command = Command::new(python);
    command.arg(script).arg(top).env("PYTHONPATH", packages).current_dir(top.parent().unwrap());
    let said = command.output().unwrap();
    done(&said);
    let told: Value = serde_json::from_slice(&said.stdout).unwrap();
    let of = |engine: &str| serde_json::from_value::<BTreeMap<String, u64>>(told[engine].clone()).unwrap();
    for engine in ["delta-rs", "clickhouse"] {
        assert_eq!(of(engine), of("polars"), "{engine}");
    }
    (of("polars"), told)
}

#[test]
fn spark_and_its_like_read_the_history_as_one_table() {
    let ground = scanned();
    let packages = ground.beside("packages");
    let python = match python_with(&packages, &["deltalake==1.6.6", "polars==2.1.0", "chdb==4.4.0"]) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    let top = ground.beside("out");
    let roll = |more: &[&dyn AsRef<OsStr>]| {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"roll", &"--output", &top];
        words.extend(more);
        done(&snapshots(&ground, &words));
    };
    roll(&[&"--table", &"delta"]);
    let today = age(&top, &["2020-01-01", "2020-01-02"]);
    // Snapshots that were there are in the table from the next run on; that a table is kept, the folder knows.
    roll(&[]);
    let each = |days: &[&str], rows: u64| days.iter().map(|day| ((*day).to_owned(), rows)).collect();
    let (counts, told) = table(&python, &packages, &top);
    assert_eq!(counts, each(&["2020-01-01", "2020-01-02", &today], 301));
    assert_eq!(told["roots"][0], ground.root().to_str().unwrap());
    let file = series(&top).join(format!("date={today}/snapshot.parquet"));
    let bytes: i64 = parquet_rows(&file).iter().map(|row| row["size"].as_i64().unwrap()).sum();
    assert_eq!(told["bytes"].as_i64(), Some(3 * bytes));
    let columns = told["columns"].to_string();
    for column in ["\"digest Binary\"", "\"size Int64\"", "\"modified_time Datetime", "\"date Date\""] {
        assert!(columns.contains(column), "{columns}");
    }

    // Today's anew, and one of the old ones gone.
    fs::write(ground.root().join("more"), "x").unwrap();
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    roll(&[&"--keep-daily", &"2"]);
    let (counts, _) = table(&python, &packages, &top);
    assert_eq!(counts, [("2020-01-02".to_owned(), 301), (today, 302)].into());
    let commits = fs::read_dir(top.join("_delta_log")).unwrap().count();
    done(&snapshots(&ground, &[&"prune", &top, &"--keep-daily", &"2"]));
    assert_eq!(
        fs::read_dir(top.join("_delta_log")).unwrap().count(),
        commits,
        "nothing to say, nothing said"
    );

    // A table that another program began is not written to.
    let other = ground.beside("other");
    fs::create_dir_all(other.join("_delta_log")).unwrap();
    let theirs = r#"{"metaData":{"id":"x","name":"sales","schemaString":"{}"}}"#;
    fs::write(other.join("_delta_log/00000000000000000000.json"), theirs).unwrap();
    let said = snapshots(&ground, &[&"roll", &"--output", &other, &"--table", &"delta"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("another table"), "{}", stderr(&said));
    assert_eq!(fs::read_dir(other.join("_delta_log")).unwrap().count(), 1);
}

/// The files that a log says are in the table.
fn in_table(top: &Path) -> Vec<String> {
    let mut files = BTreeMap::new();
    let mut commits: Vec<PathBuf> =
        fs::read_dir(top.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    commits.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    commits.sort();
    for commit in commits {
        for line in fs::read_to_string(commit).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                files.insert(path.to_owned(), action["add"]["size"].as_u64().unwrap());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                files.remove(path);
            }
        }
    }
    for (path, size) in &files {
        let file = top.join(path.replace("%25", "%"));
        assert_eq!(file.metadata().map(|metadata| metadata.len()).ok(), Some(*size), "{path}");
    }
    files.into_keys().collect()
}

#[test]
fn killed_at_any_moment_what_is_there_is_whole_and_the_next_run_goes_on() {
    let ground = scanned();
    let top = ground.beside("out");
    let words: [&dyn AsRef<OsStr>; 7] =
        [&"roll", &"--output", &top, &"--table", &"delta", &"--keep-daily", &"2"];
    let began = Instant::now();
    done(&snapshots(&ground, &words));
    let mut killer = Killer::new(5, began.elapsed());
    for round in 0..25 {
        // There is always one to go, and the same rows are another file.
        let day = format!("2020-01-{:02}", round + 1);
        age(&top, &[&day]);
        fs::write(ground.root().join("file 1"), "y".repeat(round)).unwrap();
        done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
        let mut command = Command::new(indexer_binary());
        command
            .arg("--state")
            .arg(ground.state())
            .arg("snapshots")
            .args(words.iter().map(|word| word.as_ref()));
        killer.run(command, Signal::KILL);
        done(&snapshots(&ground, &[&"verify", &top]));
    }
    assert!(killer.died() >= 10, "only {} of 25 were killed before their end", killer.died());
    done(&snapshots(&ground, &words));
    assert_eq!(in_table(&top).len(), 2);
    assert_eq!(days(&top).len(), 2, "nothing is left beside");
    let file = series(&top).join(format!("date={}", days(&top)[1])).join("snapshot.parquet");
    assert_eq!(parquet_rows(&file).len(), independent_walk(ground.root()).len());
}

fn daemon(ground: &Ground, toml: &str) -> Daemon {
    let config = ground.beside("indexer.toml");
    fs::write(&config, toml).unwrap();
    Daemon::start(&ground.state(), &[ground.root()], &["--config", config.to_str().unwrap()])
}

#[test]
fn the_daemon_rolls_by_the_clock_and_says_when_it_cannot() {
    let ground = scanned();
    let top = ground.beside("out");
    // A file where the folder should be.
    fs::write(&top, "in the way").unwrap();
    let toml =
        format!("[snapshots]\nfolder = {top:?}\nevery = \"1d\"\nkeep = {{ daily = 1 }}\ntable = \"delta\"\n");
    let mut daemon = daemon(&ground, &toml);
    let warned = || {
        let status = daemon.status();
        let warnings = status["warnings"].to_string();
        warnings.contains("snapshots: the last one was not written").then_some(warnings)
    };
    let warnings = wait_for("a warning", warned);
    assert!(warnings.contains("failed to"), "with the reason: {warnings}");
    let text = daemon.run(&[&"status"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("snapshots: last never"), "{text}");
    assert!(daemon.terminate().success());

    // The next start tries at once, and the next one after that knows that it is done.
    fs::remove_file(&top).unwrap();
    let mut again = self::daemon(&ground, &toml);
    let last = wait_for("a snapshot", || again.status()["snapshots"]["last_us"].as_i64());
    assert_eq!(days(&top).len(), 1);
    assert_eq!(in_table(&top).len(), 1);
    done(&again.run(&[&"snapshots", &"verify", &top]));
    assert!(again.status()["warnings"].as_array().unwrap().is_empty());
    assert!(again.terminate().success());
    let mut third = self::daemon(&ground, &toml);
    third.settle();
    assert_eq!(third.status()["snapshots"]["last_us"].as_i64(), Some(last));
    assert_eq!(third.status()["snapshots"]["writing"], false);
    assert!(third.terminate().success());
}

#[test]
fn a_setting_that_cannot_be_meant_is_refused() {
    let ground = scanned();
    let config = ground.beside("indexer.toml");
    let said = |toml: &str| {
        fs::write(&config, toml).unwrap();
        let said = indexer(&ground.state(), &[&"snapshots", &"list", &"--config", &config]);
        assert_eq!(said.status.code(), Some(2), "{toml}");
        stderr(&said)
    };
    for (toml, why) in [
        ("[snapshots]\nevery = \"5s\"\n", "less than a minute"),
        ("[snapshots]\nkeep = { daily = 0 }\n", "counts nothing"),
        ("[snapshots]\nkeep = { yearly = 1 }\n", "yearly"),
        ("\n[snapshots]\ntable = \"iceberg\"\n", "expected delta"),
    ] {
        let said = said(toml);
        assert!(said.contains(why) && said.contains("line"), "{said}");
    }
}
