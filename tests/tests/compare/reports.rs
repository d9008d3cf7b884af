//! Reports are what another engine adds up, in every form.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::process::Command;

use indexer_tests::{done, indexer, json_lines, need_tool, parquet_rows, python_with, skipped};
use serde_json::Value;

use super::{foreign, run, scan, scanned, snapshot};

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
