//! `indexer diff` and `indexer report`: what is told of two snapshots makes the one of the other, sums are those that another engine finds, and
//! what is no snapshot is said to be none.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use indexer_tests::{
    Daemon, Ground, Place, Workload, done, indexer, json_lines, need_tool, parquet_rows, python_with,
    skipped, stderr,
};
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
        assert!(extra.is_empty(), "{from} to {to}: {extra:#?}");
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

/// The engine, in the version that was tried.
const ENGINE: &str = "duckdb==2.0.0";

/// What each report says, as a query: hard links once, at the first path.
const QUERIES: [(&[&str], &str); 6] = [
    (
        &["types"],
        "SELECT file_type AS type, count(*) AS files, sum(size) AS bytes, sum(allocated) AS allocated FROM once \
         WHERE kind = 'file' GROUP BY ALL",
    ),
    (
        &["owners"],
        "SELECT coalesce(owner, uid::varchar) AS owner, uid, count(*) FILTER (kind <> 'directory') AS files, \
         count(*) FILTER (kind = 'directory') AS directories, \
         coalesce(sum(size) FILTER (kind <> 'directory'), 0) AS bytes, \
         coalesce(sum(allocated) FILTER (kind <> 'directory'), 0) AS allocated FROM once GROUP BY ALL",
    ),
    (
        &["sizes"],
        "SELECT CASE WHEN size = 0 THEN 0 WHEN size <= 1024 THEN 1 ELSE 4 ** ceil(log(size) / log(4) - 1) + 1 END::bigint AS least, \
         CASE WHEN size = 0 THEN 0 WHEN size <= 1024 THEN 1024 ELSE 4 ** ceil(log(size) / log(4)) END::bigint AS most, \
         count(*) AS files, sum(size) AS bytes, sum(allocated) AS allocated FROM once WHERE kind = 'file' GROUP BY ALL",
    ),
    (
        &["stale", "--older-than", "1y"],
        "SELECT CASE top_level_dir WHEN '' THEN root ELSE root || '/' || top_level_dir END AS directory, \
         count(*) FILTER (old) AS stale_files, sum(size) FILTER (old) AS stale_bytes, \
         sum(allocated) FILTER (old) AS stale_allocated, count(*) AS files, sum(size) AS bytes, \
         epoch_us(min(modified_time) FILTER (old)) AS oldest_us \
         FROM (SELECT *, epoch_us(modified_time) < taken - 365 * 86400000000 AS old FROM once) WHERE kind = 'file' \
         GROUP BY ALL HAVING stale_files > 0",
    ),
    (
        &["usage"],
        "SELECT * FROM (VALUES \
         ('sizes of all names of files', (SELECT sum(size) FROM snap WHERE kind = 'file')), \
         ('apparent: each file once', (SELECT sum(size) FROM once WHERE kind = 'file')), \
         ('less on disk: holes, compression, data in inodes', \
          (SELECT coalesce(sum(least(allocated - size, 0)), 0) FROM once WHERE kind = 'file')), \
         ('more on disk: last blocks, preallocation', \
          (SELECT coalesce(sum(greatest(allocated - size, 0)), 0) FROM once WHERE kind = 'file')), \
         ('directories', (SELECT sum(allocated) FROM once WHERE kind = 'directory')), \
         ('allocated: what du counts', (SELECT sum(allocated) FROM once))) AS t(what, bytes)",
    ),
    (
        &["growth", "--by", "type", "--since", "BEFORE"],
        "SELECT type, coalesce(a.bytes, 0) AS bytes_before, coalesce(b.bytes, 0) AS bytes, \
         coalesce(b.bytes, 0) - coalesce(a.bytes, 0) AS growth, coalesce(a.files, 0) AS files_before, coalesce(b.files, 0) AS files \
         FROM (SELECT coalesce(file_type, '') AS type, sum(size) AS bytes, count(*) AS files FROM once_before \
               WHERE kind <> 'directory' GROUP BY 1) a \
         FULL JOIN (SELECT coalesce(file_type, '') AS type, sum(size) AS bytes, count(*) AS files FROM once \
               WHERE kind <> 'directory' GROUP BY 1) b USING (type)",
    ),
];

/// Asks the queries on stdin of the snapshots; prints the rows of each as JSON, numbers as numbers.
const SCRIPT: &str = r#"
import json, sys, duckdb
db = duckdb.connect()
names = {"snap": sys.argv[2], "snap_before": sys.argv[1]}
for name, file in names.items():
    db.execute(f"CREATE TABLE {name} AS SELECT *, (SELECT decode(value)::bigint FROM parquet_kv_metadata('{file}') "
               f"WHERE decode(key) = 'indexer.taken_us') AS taken, (SELECT decode(value) FROM parquet_kv_metadata('{file}') "
               f"WHERE decode(key) = 'indexer.root') AS root FROM read_parquet('{file}')")
    db.execute(f"CREATE TABLE {name.replace('snap', 'once')} AS SELECT DISTINCT ON (volume, inode) * FROM {name} ORDER BY path")
for query in json.load(sys.stdin):
    asked = db.execute(query)
    columns = [column[0] for column in asked.description]
    rows = [[int(cell) if cell is not None and not isinstance(cell, str) else cell for cell in row] for row in asked.fetchall()]
    print(json.dumps([dict(zip(columns, row)) for row in rows]))
"#;

/// A row that can be compared, of the columns that both have.
fn sorted(rows: &[Value], columns: &[String]) -> Vec<String> {
    let pick = |row: &Value| {
        let cells = columns.iter().map(|column| match &row[column] {
            // What has no type is nothing here and an empty word there.
            Value::String(text) if text.is_empty() => Value::Null,
            other => other.clone(),
        });
        Value::Array(cells.collect()).to_string()
    };
    let mut rows: Vec<String> = rows.iter().map(pick).collect();
    rows.sort();
    rows
}

#[test]
fn reports_are_what_another_engine_adds_up() {
    let ground = scanned();
    let (root, packages) = (ground.root(), ground.beside("packages"));
    let python = match python_with(&packages, &[ENGINE]) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    // Hard links, holes, old files, owners, sizes at the ends of their steps.
    fs::hard_link(root.join("old/deep/a.txt"), root.join("other/again.md")).unwrap();
    let hole = File::create(root.join("other/hole.img")).unwrap();
    hole.set_len(50 << 20).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("link.txt")).unwrap();
    for (number, size) in [0_u32, 1, 1023, 1024, 1025, 4096, 4097, 16385].into_iter().enumerate() {
        let path = root.join(format!("old/{number}.dat"));
        fs::write(&path, vec![b'x'; size as usize]).unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH
            + std::time::Duration::from_secs(1_000_000_000 + u64::from(size));
        if number % 2 == 0 {
            File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        }
    }
    scan(&ground);
    let before = snapshot(&ground, "before.parquet", &[]);
    fs::remove_file(root.join("old/7.dat")).unwrap();
    fs::write(root.join("other/new.md"), vec![b'x'; 300_000]).unwrap();
    fs::write(root.join("old/0.dat"), "more").unwrap();
    if std::os::unix::fs::chown(root.join("other/b.bin"), Some(1), Some(1)).is_ok() {
        std::os::unix::fs::chown(root.join("old/1.dat"), Some(54321), None).unwrap();
    }
    scan(&ground);
    let after = snapshot(&ground, "after.parquet", &[]);
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT])
        .args([&before, &after])
        .env("PYTHONPATH", &packages)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let queries: Vec<&str> = QUERIES.iter().map(|(_, query)| *query).collect();
    serde_json::to_writer(child.stdin.take().unwrap(), &queries).unwrap();
    let answers = child.wait_with_output().unwrap();
    assert!(answers.status.success());
    for ((words, query), answer) in QUERIES.iter().zip(String::from_utf8(answers.stdout).unwrap().lines()) {
        let expected: Vec<Value> = serde_json::from_str(answer).unwrap();
        let columns: Vec<String> = expected[0].as_object().unwrap().keys().cloned().collect();
        let expected = sorted(&expected, &columns);
        // Of a snapshot, of the index, and as values.
        let words: Vec<&OsStr> = words
            .iter()
            .map(|word| if *word == "BEFORE" { before.as_os_str() } else { OsStr::new(*word) })
            .collect();
        for from in [after.as_os_str(), OsStr::new("now")] {
            let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"report"];
            all.extend(words.iter().map(|word| word as &dyn AsRef<OsStr>));
            all.push(&from);
            let mut json = all.clone();
            json.push(&"--json");
            let said = indexer(&ground.state(), &json);
            done(&said);
            let mut rows = json_lines(&said);
            // Of these the queries tell the most.
            rows.retain(|row| {
                expected.iter().any(|one| row["what"].is_null() || one.contains(&row["what"].to_string()))
            });
            if words[0] == "stale" && from == "now" {
                // It is some seconds older.
                assert_eq!(rows.len(), expected.len());
            } else {
                assert_eq!(sorted(&rows, &columns), expected, "{words:?} of {from:?}: {query}");
            }
            let file = ground.beside("report.parquet");
            let mut parquet = all.clone();
            parquet.extend([&"--format" as &dyn AsRef<OsStr>, &"parquet", &"--force", &"--output", &file]);
            done(&indexer(&ground.state(), &parquet));
            assert!(parquet_rows(&file).len() >= rows.len());
            let mut csv = all;
            csv.extend([&"--format" as &dyn AsRef<OsStr>, &"csv"]);
            let csv = indexer(&ground.state(), &csv);
            assert_eq!(csv.stdout.split(|byte| *byte == b'\n').count(), parquet_rows(&file).len() + 2);
        }
    }
    // What du says, by itself.
    if let Ok(du) = need_tool("du", "coreutils") {
        let said = Command::new(du).args(["-s", "--block-size=1"]).arg(root).output().unwrap();
        let du: i64 =
            String::from_utf8(said.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        let usage = json_lines(&indexer(&ground.state(), &[&"report", &"usage", &"--json"]));
        assert_eq!(usage.last().unwrap()["bytes"], du);
    }
}

#[test]
fn a_report_is_a_table_or_one_page() {
    let ground = scanned();
    let root = ground.root();
    fs::write(root.join("x.<script>alert(1)<"), "x".repeat(5000)).unwrap();
    fs::create_dir(root.join("<img src=x onerror=alert(2)>")).unwrap();
    let old = File::create(root.join("<img src=x onerror=alert(2)>/old")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    scan(&ground);
    let page = ground.beside("page.html");
    let (code, said, why) = run(&ground, &[&"report", &"all", &"--html", &page]);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{why}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;") && html.contains("&lt;img src=x onerror"), "{html}");
    assert!(
        !html.contains("<script") && !html.contains("<img") && !html.contains("://"),
        "nothing runs, nothing is fetched"
    );
    assert_eq!(html.matches("<svg").count(), 5);
    let (code, _, why) = run(&ground, &[&"report", &"all", &"--html", &page]);
    assert_eq!(code, Some(2), "{why}");
    assert!(why.contains("is there already"), "{why}");
    let (code, said, _) = run(&ground, &[&"report", &"types", &"--top", &"1"]);
    assert_eq!((code, said.lines().count()), (Some(0), 3), "{said}");
    assert!(said.contains("█") && said.lines().last().unwrap().ends_with("(3 more)"), "{said}");
    let (_, said, _) = run(&ground, &[&"report", &"all"]);
    assert!(said.contains("Files by owner") || said.contains("By owner"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 160) && !said.contains('\u{1b}'));
    let refused = |words: &[&dyn AsRef<OsStr>], code: i32, why: &str| {
        let (told, _, said) = run(&ground, words);
        assert_eq!(told, Some(code), "{said}");
        assert!(said.contains(why), "{said}");
    };
    let unix = snapshot(&ground, "unix.parquet", &[&"--compat", &"unix"]);
    refused(&[&"report", &"owners", &unix], 2, "does not say who owns what");
    refused(&[&"report", &"usage", &unix], 2, "does not say what is allocated");
    refused(&[&"report", &"types", &unix], 0, "each counts");
    refused(&[&"report", &"types", &foreign(&ground)], 3, "no snapshot of indexer");
    refused(&[&"report", &"types", &"--format", &"parquet"], 2, "name it with --output");
    refused(&[&"report", &"growth"], 2, "no snapshot at all");
    refused(&[&"report", &"stale", &"--by", &"ctime"], 2, "atime");
    refused(&[&"report", &"stale", &"--older-than", &"200y"], 1, "");
}
