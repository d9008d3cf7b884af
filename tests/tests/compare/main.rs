//! `indexer diff` and `indexer report`: what is told of two snapshots makes the one of the other, sums are those that another engine finds, and
//! what is no snapshot is said to be none.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use indexer_tests::{Daemon, Ground, Place, Workload, done, indexer, json_lines, parquet_rows, stderr};
use serde_json::{Map, Value};

type Row = Map<String, Value>;

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row:?}"))
}

/// What of a row counts: the times and sizes of directories follow from what is in them.
fn counted(row: &Row) -> Vec<Value> {
    let mut columns = vec!["kind", "permissions", "uid", "gid"];
    if row["kind"] != "directory" {
        columns.extend(["size", "modified_time"]);
    }
    columns.into_iter().map(|column| row[column].clone()).collect()
}

fn counted_state(state: &Value) -> Vec<Value> {
    let mut columns = vec!["kind", "mode", "uid", "gid"];
    if state["kind"] != "directory" {
        columns.extend(["size", "modified_us"]);
    }
    columns.into_iter().map(|column| state[column].clone()).collect()
}

/// What the lines of a diff make of `before`: what lies in a renamed directory goes with it, but for what is told itself, and for what is
/// where it was.
fn applied(before: &[Row], after: &[Row], lines: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let told = |line: &Value, field: &str| line[field].as_str().map(str::to_owned);
    let gone: BTreeSet<String> =
        lines.iter().filter(|line| line["op"] == "deleted").filter_map(|line| told(line, "path")).collect();
    let moved: BTreeMap<String, String> =
        lines.iter().filter_map(|line| Some((told(line, "old_path")?, told(line, "path")?))).collect();
    let still: BTreeMap<&str, &Value> = after.iter().map(|row| (text(row, "path"), &row["inode"])).collect();
    let (mut names, mut places) = (BTreeMap::new(), BTreeMap::<&str, String>::new());
    for row in before {
        let path = text(row, "path");
        let place = match (moved.get(path), places.get(text(row, "parent_path"))) {
            (Some(to), _) => to.clone(),
            (None, Some(parent)) if still.get(path) != Some(&&row["inode"]) => {
                format!("{parent}/{}", text(row, "name"))
            }
            _ => path.to_owned(),
        };
        if !gone.contains(path) {
            names.insert(place.clone(), counted(row));
        }
        places.insert(path, place);
    }
    let states = lines.iter().filter(|line| line["after"].is_object());
    names.extend(states.map(|line| (told(line, "path").unwrap(), counted_state(&line["after"]))));
    names
}

/// Rows straight from a walk have no watermark, and inode numbers all the same.
#[test]
fn one_shot_scans_are_compared_too() {
    let ground = scanned();
    let root = ground.root();
    fs::write(root.join("old name"), "x").unwrap();
    let (before, after) = (ground.beside("before.parquet"), ground.beside("after.parquet"));
    let scan = |output: &PathBuf| {
        done(&indexer(
            &ground.state(),
            &[&"scan", &"--path", &root, &"--output", output, &"--compat", &"none"],
        ));
    };
    scan(&before);
    fs::rename(root.join("old name"), root.join("new name")).unwrap();
    scan(&after);
    let said = indexer(&ground.state(), &[&"diff", &before, &after, &"--json"]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    let (lines, summary) = split(&said);
    let told: Vec<(&str, &Value, &Value)> = lines
        .iter()
        .filter(|line| line["path"] != root.to_str().unwrap())
        .map(|line| (line["op"].as_str().unwrap(), &line["old_path"], &line["path"]))
        .collect();
    let path = |name: &str| Value::from(root.join(name).to_str().unwrap());
    assert_eq!(told, [("renamed", &path("old name"), &path("new name"))]);
    assert!(summary["watermark_before"].is_null());
}

/// The lines of a diff, and its summary.
fn split(said: &Output) -> (Vec<Value>, Value) {
    let mut lines = json_lines(said);
    let summary = lines.pop().expect("a summary");
    assert_eq!(summary["op"], "summary");
    let shown = lines.len() as u64;
    let sums = ["created", "deleted", "modified", "renamed"];
    let told: u64 = sums.iter().map(|sum| summary[sum]["entries"].as_u64().unwrap()).sum();
    assert_eq!(told, shown);
    assert_eq!(said.status.code(), Some(i32::from(shown > 0)), "{}", stderr(said));
    (lines, summary)
}

/// Bytes of what is no directory, each entry once.
fn bytes(rows: &[Row]) -> i64 {
    let files = rows.iter().filter(|row| row["kind"] != "directory");
    let sizes: BTreeMap<i64, i64> =
        files.map(|row| (row["inode"].as_i64().unwrap(), row["size"].as_i64().unwrap())).collect();
    sizes.values().sum()
}

#[test]
fn what_is_told_of_random_work_makes_the_one_snapshot_of_the_other() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let work = root.join("work");
    fs::create_dir(&work).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"torn\xff")), "x").unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    let take = |name: &str| {
        daemon.settle();
        let file = ground.beside(name);
        done(&daemon.run(&[&"snapshot", &"--output", &file]));
        file
    };
    let mut taken = vec![take("0.parquet")];
    let mut renamed = 0;
    for round in 1..6 {
        let workload = Workload { seed: round, threads: 2 };
        workload.run_operations(&work, 400);
        taken.push(take(&format!("{round}.parquet")));
    }
    // Also over several rounds at once, and backwards.
    for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (5, 0), (3, 1)] {
        let (a, b) = (&taken[from], &taken[to]);
        let (lines, summary) = split(&daemon.run(&[&"diff", a, b, &"--json"]));
        let (before, after) = (parquet_rows(a), parquet_rows(b));
        let expected: BTreeMap<String, Vec<Value>> =
            after.iter().map(|row| (text(row, "path").to_owned(), counted(row))).collect();
        let made = applied(&before, &after, &lines);
        let wrong: Vec<_> = expected.iter().filter(|(path, row)| made.get(*path) != Some(row)).collect();
        assert!(wrong.is_empty(), "{from} to {to}: {wrong:#?}\n{lines:#?}");
        let extra: Vec<_> = made.keys().filter(|path| !expected.contains_key(*path)).collect();
        assert!(extra.is_empty(), "{from} to {to}: {extra:#?}\n{lines:#?}\n{before:#?}\n{after:#?}");
        let grown: i64 = lines.iter().map(|line| line["bytes"].as_i64().unwrap()).sum();
        assert_eq!(grown, bytes(&after) - bytes(&before), "{from} to {to}");
        assert_eq!(summary["rows_after"].as_u64(), Some(after.len() as u64));
        renamed += summary["renamed"]["entries"].as_u64().unwrap();
        let (none, _) = split(&daemon.run(&[&"diff", a, a, &"--json"]));
        assert!(none.is_empty());
    }
    assert!(renamed > 0, "no rename was met");
    // The index as it is says what its snapshot says, with a daemon and without one.
    let (last, first) = (&taken[5], &taken[0]);
    let of_files = split(&daemon.run(&[&"diff", first, last, &"--json"]));
    let of_daemon = split(&daemon.run(&[&"diff", first, &"now", &"--json"]));
    assert_eq!(of_daemon.0, of_files.0);
    assert!(split(&daemon.run(&[&"diff", &"now", last, &"--json"])).0.is_empty());
    drop(daemon);
    assert_eq!(split(&indexer(&ground.state(), &[&"diff", first, &"now", &"--json"])).0, of_files.0);
}

/// A root with some files in it, indexed.
fn scanned() -> Ground {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for dir in ["old/deep", "other"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for name in ["a.txt", "b.bin"] {
            fs::write(root.join(dir).join(name), name.repeat(100)).unwrap();
        }
    }
    fs::write(root.join(OsStr::from_bytes(b"torn\xff,\"")), "x").unwrap();
    scan(&ground);
    ground
}

fn scan(ground: &Ground) {
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
}

fn snapshot(ground: &Ground, name: &str, more: &[&dyn AsRef<OsStr>]) -> PathBuf {
    let file = ground.beside(name);
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"snapshot", &"--output", &file];
    words.extend(more);
    done(&indexer(&ground.state(), &words));
    file
}

fn run(ground: &Ground, words: &[&dyn AsRef<OsStr>]) -> (Option<i32>, String, String) {
    let said = indexer(&ground.state(), words);
    (said.status.code(), String::from_utf8(said.stdout.clone()).unwrap(), stderr(&said))
}

#[test]
fn a_diff_is_lines_sums_or_values() {
    let ground = scanned();
    let root = ground.root();
    let a = snapshot(&ground, "a.parquet", &[]);
    fs::rename(root.join("old"), root.join("new")).unwrap();
    fs::write(root.join("new/deep/a.txt"), "longer".repeat(1000)).unwrap();
    fs::remove_file(root.join("other/b.bin")).unwrap();
    fs::write(root.join("made, by me"), "x".repeat(2048)).unwrap();
    fs::set_permissions(root.join("other"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(root.join(OsStr::from_bytes(b"torn\xff,\"")), root.join(OsStr::from_bytes(b"torn\xfe")))
        .unwrap();
    scan(&ground);
    let b = snapshot(&ground, "b.parquet", &[]);
    let (code, said, _) = run(&ground, &[&"diff", &a, &b]);
    let here = root.to_str().unwrap();
    assert_eq!(code, Some(1));
    let lines: Vec<String> = said.lines().map(|line| line.replace(&format!("{here}/"), "")).collect();
    let of =
        |word: &str| lines.iter().filter(|line| line.contains(word)).cloned().collect::<Vec<_>>().join("\n");
    assert_eq!(of("made,"), "created      2.0 KiB  made, by me");
    assert_eq!(of("b.bin"), "deleted       -500 B  other/b.bin");
    assert_eq!(of("old/ ->"), "renamed               old/ -> new/  (with 3 below)");
    assert_eq!(of("deep/a.txt"), "modified    +5.4 KiB  old/deep/a.txt -> new/deep/a.txt  (size, modified)");
    assert_eq!(of("permissions"), "modified              other/  (permissions)");
    let torn = of("torn");
    assert!(torn.contains("torn\\xff,\"'") && torn.contains("torn\\xfe'"), "{torn}");
    assert_eq!(
        lines.last().unwrap(),
        "1 created (+2.0 KiB), 1 deleted (-500 B), 2 modified (+5.4 KiB), 2 renamed with 2 in renamed directories; 2 unchanged"
    );
    assert_eq!(lines.len(), 7);

    let (_, said, _) = run(&ground, &[&"diff", &a, &b, &"--summary", &"--json"]);
    let summary: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&summary["along"], &summary["root"]), (&2.into(), &here.into()));
    let (code, said, _) = run(&ground, &[&"diff", &a, &b, &"--csv"]);
    assert_eq!((code, said.lines().count()), (Some(1), 7));
    assert!(
        said.starts_with("op,path,old_path,kind,changed,")
            && said.contains(&format!("created,\"{here}/made, by me\",,file,,,2048,"))
    );
    assert!(said.contains(",\"\"\"") || said.contains(",\"\"\","), "a quote in a name is doubled: {said}");

    let (_, said, _) = run(&ground, &[&"diff", &a, &b, &"--by-dir", &"1", &"--json"]);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let dir = |name: &str| lines.iter().find(|line| line["directory"] == format!("{here}/{name}")).unwrap();
    assert_eq!((&dir("old")["bytes"], &dir("new")["bytes"]), (&(-1000).into(), &6500.into()));
    assert_eq!((&dir("other")["deleted"], &dir("other")["bytes"]), (&1.into(), &(-500).into()));
    let (_, said, _) = run(&ground, &[&"diff", &a, &b, &"--by-dir", &"1", &"--top", &"1"]);
    assert!(said.lines().nth(1).unwrap().contains("/new") && said.lines().count() == 3, "{said}");
    let (_, said, _) = run(&ground, &[&"diff", &a, &b, &"--top", &"2", &"--json"]);
    let ops: Vec<Value> =
        said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["op"].clone()).collect();
    assert_eq!(ops, ["modified", "created", "summary"]);
}

#[test]
fn snapshots_are_named_by_day_folder_or_word() {
    let ground = scanned();
    let folder = ground.beside("snapshots");
    done(&indexer(&ground.state(), &[&"snapshot", &"--output", &folder]));
    // The same a year ago, as a tidy person would keep it.
    let root_folder = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let root_folder = fs::read_dir(root_folder).unwrap().next().unwrap().unwrap().path();
    let today = fs::read_dir(&root_folder).unwrap().next().unwrap().unwrap().path();
    let old = root_folder.join("date=2020-02-02");
    fs::create_dir(&old).unwrap();
    fs::copy(today.join("snapshot.parquet"), old.join("snapshot.parquet")).unwrap();
    fs::write(ground.root().join("new"), "").unwrap();
    scan(&ground);
    done(&indexer(&ground.state(), &[&"snapshot", &"--output", &folder, &"--force"]));
    let differs = |before: &dyn AsRef<OsStr>, after: &dyn AsRef<OsStr>, more: &[&dyn AsRef<OsStr>]| {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"diff", before, after, &"--summary"];
        words.extend(more);
        run(&ground, &words)
    };
    for (before, after, code) in [
        (&"2020-02-02" as &dyn AsRef<OsStr>, &"latest" as &dyn AsRef<OsStr>, 1),
        (&"latest", &"now", 0),
        (&folder, &"now", 0),
        (&old, &today, 1),
        (&old.join("snapshot.parquet"), &folder, 1),
    ] {
        let (told, _, said) = differs(before, after, &[&"--in", &folder]);
        assert_eq!(told, Some(code), "{said}");
    }
    let refused =
        |before: &dyn AsRef<OsStr>, after: &dyn AsRef<OsStr>, more: &[&dyn AsRef<OsStr>], why: &str| {
            let (code, out, said) = differs(before, after, more);
            assert_eq!((code, out.as_str()), (Some(2), ""), "{said}");
            assert!(said.contains(why), "{said}");
        };
    refused(&"2021-01-01", &"now", &[&"--in", &folder], "no snapshot of 2021-01-01 in");
    refused(&"latest", &"now", &[&"--in", &folder, &"--host", &"elsewhere"], "of the host elsewhere");
    refused(&"latest", &"now", &[], "there is no snapshot at all in");
    refused(&"now", &"now", &[], "are the same");
    refused(&"yesterday", &"now", &[], "yesterday is no snapshot");
    refused(&"17", &"now", &[], "the journal ends at");
    refused(&"17", &"latest", &[], "changes --since 17");
    // Two roots.
    let second = ground.beside("second");
    fs::create_dir(&second).unwrap();
    done(&indexer(&ground.state(), &[&"scan", &ground.root(), &second]));
    done(&indexer(&ground.state(), &[&"snapshot", &"--output", &folder, &"--force"]));
    refused(&"latest", &"now", &[&"--in", &folder], "there are several snapshots");
    assert_eq!(differs(&"latest", &"now", &[&"--in", &folder, &"--root", &second]).0, Some(0));
    // What is one root says which of several is meant.
    assert_eq!(differs(&"2020-02-02", &"latest", &[&"--in", &folder]).0, Some(1));
    let own = snapshot(&ground, "second.parquet", &[&"--root", &second]);
    refused(&own, &old, &[], "only snapshots of one root");
}

#[test]
fn what_is_no_snapshot_of_ours_is_said() {
    let ground = scanned();
    let good = snapshot(&ground, "good.parquet", &[]);
    let bytes = fs::read(&good).unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = ground.beside(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut newer = bytes.clone();
    let at = newer.windows(14).position(|part| part == b"indexer.schema").unwrap();
    let version = at + newer[at..].iter().position(|byte| *byte == b'1').unwrap();
    newer[version] = b'9';
    let mut turned = bytes.clone();
    // Where the paths are.
    turned[40..104].iter_mut().for_each(|byte| *byte = !*byte);
    for (path, why) in [
        (written("cut.parquet", &bytes[..bytes.len() / 2]), "is cut off"),
        (written("text.parquet", b"path,size\n/a,1\n"), "is no Parquet file"),
        (written("newer.parquet", &newer), "of version \"9\""),
        (written("turned.parquet", &turned), "is damaged"),
        (foreign(&ground), "no snapshot of indexer"),
        (ground.beside("missing.parquet"), "failed to open"),
    ] {
        for (a, b) in [(&path, &good), (&good, &path)] {
            let (code, _, said) = run(&ground, &[&"diff", a, b]);
            assert_eq!(code, Some(3), "{}: {said}", path.display());
            assert!(said.contains(why) && said.contains(path.to_str().unwrap()), "{said}");
            assert_eq!(said.lines().count(), 1, "one line, and no trace: {said}");
        }
    }
}

/// Parquet of another program.
fn foreign(ground: &Ground) -> PathBuf {
    use parquet::data_type::Int64Type;
    use parquet::file::writer::SerializedFileWriter;
    let path = ground.beside("foreign.parquet");
    let schema = parquet::schema::parser::parse_message_type("message m { required int64 size; }").unwrap();
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn eleven_columns_are_compared_as_far_as_they_go() {
    let ground = scanned();
    let root = ground.root();
    let (native, unix) =
        (snapshot(&ground, "n.parquet", &[]), snapshot(&ground, "u.parquet", &[&"--compat", &"unix"]));
    for (a, b) in [(&native, &unix), (&unix, &native), (&unix, &unix)] {
        let (code, said, why) = run(&ground, &[&"diff", a, b]);
        assert_eq!(code, Some(0), "{said}{why}");
    }
    fs::rename(root.join("old"), root.join("new")).unwrap();
    fs::write(root.join("other/a.txt"), "").unwrap();
    scan(&ground);
    let later = snapshot(&ground, "u2.parquet", &[&"--compat", &"unix"]);
    for before in [&native, &unix] {
        let said = indexer(&ground.state(), &[&"diff", before, &later, &"--json"]);
        let (lines, _) = split(&said);
        let told: Vec<&Value> = lines.iter().map(|line| &line["op"]).collect();
        assert_eq!(told, ["modified", "renamed"]);
        // A write within the second of the one before it has the same time there.
        assert_eq!(lines[0]["changed"][0], "size");
        assert_eq!((&lines[1]["below"], &lines[1]["changed"]), (&3.into(), &Value::Null));
    }
}
