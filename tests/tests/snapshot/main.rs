//! `indexer snapshot`: every row as an independent walk finds the entry, in the order of paths, whole or not at all, and exactly as of
//! its watermark, whatever changes meanwhile.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod folder;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use indexer_tests::{
    Daemon, Ground, Place, Rows, Workload, blake3_of, columns_of, done, independent_walk, indexer,
    json_lines, micros, parquet_footer, parquet_rows, python_with, skipped, stderr,
};
use serde_json::{Map, Value, json};

/// Files, directories and links of both kinds, names that are easily confused, old and far times, a deep tree.
fn fill(root: &Path) {
    for dir in ["a", "a!", "a.d", "b/c", "b.c", "many"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for name in ["x", "x.TXT", "line\nbreak", "back\\slash", "ü.tar.gz", ".hidden"] {
            fs::write(root.join(dir).join(name), name.repeat(dir.len())).unwrap();
        }
    }
    for name in [b"torn\xff".as_slice(), b"torn\\xff", b"torn\\\xfe", b"\xc3", b"\\xc3"] {
        let dir = root.join(OsStr::from_bytes(name));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("below"), "x").unwrap();
        fs::write(dir.join(OsStr::from_bytes(name)), "xy").unwrap();
    }
    for number in 0..1200 {
        fs::write(root.join("many").join(format!("{number}")), "").unwrap();
    }
    fs::write(root.join("many").join(OsString::from_vec(b"500\xff".to_vec())), "").unwrap();
    fs::hard_link(root.join("a/x"), root.join("b/c/again")).unwrap();
    fs::hard_link(root.join("a/x"), root.join("third")).unwrap();
    symlink("a/x", root.join("link.txt")).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(root.join("socket").symlink_metadata().unwrap().file_type().is_socket());
    let mut deep = root.join("deep");
    for _ in 0..120 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), "x").unwrap();
    for (name, seconds) in [("a/x.TXT", -7_000_000_000_i64), ("b/c/x", 15_000_000_000), ("many/1", -1)] {
        let since = Duration::from_secs(seconds.unsigned_abs()) + Duration::from_nanos(1_999);
        let time = if seconds < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since };
        let times = FileTimes::new().set_modified(time).set_accessed(time);
        // A file system may not reach so far: then it says what it made of it, and the walk says the same.
        File::options().write(true).open(root.join(name)).unwrap().set_times(times).unwrap();
    }
}

fn scanned() -> Ground {
    let ground = Place::Here.open().unwrap();
    fill(ground.root());
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    ground
}

/// The one object that a snapshot prints.
fn summary(said: &Output) -> Value {
    done(said);
    let lines = json_lines(said);
    assert_eq!(lines.len(), 1);
    lines[0].clone()
}

/// BLAKE3 of a file, in hex.
fn digest(path: &Path) -> String {
    blake3_of(path).unwrap().trim_start_matches("blake3:").to_owned()
}

fn text<'a>(row: &'a Map<String, Value>, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row:?}"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of a row's path.
fn path_of(row: &Map<String, Value>) -> Vec<u8> {
    match row["path_raw"].as_str() {
        Some(raw) => unhex(raw),
        None => text(row, "path").as_bytes().to_vec(),
    }
}

/// Rows in the declared order, and what they say of paths agrees with itself.
fn check_paths(rows: &[Map<String, Value>], root: &str) {
    for pair in rows.windows(2) {
        assert!(text(&pair[0], "path").as_bytes() < text(&pair[1], "path").as_bytes(), "{pair:?}");
    }
    let all: BTreeMap<&str, &Map<String, Value>> = rows.iter().map(|row| (text(row, "path"), row)).collect();
    for row in rows {
        let path = text(row, "path");
        if path == root {
            assert_eq!((row["depth"].as_i64(), text(row, "top_level_dir")), (Some(0), ""));
            continue;
        }
        let (parent, name) = path.rsplit_once('/').unwrap();
        assert_eq!(text(row, "parent_path"), parent);
        assert_eq!(row["depth"].as_i64().unwrap(), all[parent]["depth"].as_i64().unwrap() + 1);
        if let Some(own) = row.get("name") {
            assert_eq!(own, name);
        }
        let directory = text_or(row, "file_type") == "directory";
        let below = path[root.len() + 1..].split_once('/').map(|(first, _)| first);
        assert_eq!(text(row, "top_level_dir"), below.unwrap_or(if directory { name } else { "" }), "{path}");
    }
}

fn text_or<'a>(row: &'a Map<String, Value>, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// Each name once, as the walk finds it.
fn check_rows(rows: &[Map<String, Value>], root: &Path) {
    check_paths(rows, root.to_str().unwrap());
    let walk = independent_walk(root);
    assert_eq!(rows.len(), walk.len());
    for row in rows {
        let path = path_of(row);
        assert_eq!(row["path_raw"].is_null(), std::str::from_utf8(&path).is_ok(), "{row:?}");
        let stat = walk.get(&path).unwrap_or_else(|| panic!("nobody walked past {}", path.escape_ascii()));
        let told = |column: &str| row[column].clone();
        for (column, value) in columns_of(stat) {
            assert_eq!(told(column), value, "{column} of {}", path.escape_ascii());
        }
        assert!(told("accessed_time").is_i64() && told("volume").is_i64());
        let named = stat.uid != 0 || text_or(row, "owner") == "root" && !text_or(row, "group").is_empty();
        assert!(named, "{row:?}");
        assert_eq!(told("category").is_null(), stat.kind != "file", "{row:?}");
    }
}

#[test]
fn every_row_is_as_a_walk_finds_the_entry() {
    let ground = scanned();
    let (root, file) = (ground.root(), ground.beside("here.parquet"));
    let told = summary(&indexer(&ground.state(), &[&"snapshot", &"--output", &file, &"--json"]));
    let rows = parquet_rows(&file);
    check_rows(&rows, root);
    let of = |path: &str| {
        rows.iter().find(|row| text(row, "path") == format!("{}/{path}", root.display())).unwrap()
    };
    assert_eq!((text(of("a/x.TXT"), "file_type"), text(of("a/x.TXT"), "category")), ("txt", "document"));
    assert_eq!(text(of("a/ü.tar.gz"), "file_type"), "gz");
    assert!(of("a/.hidden")["file_type"].is_null() && of("a/x")["digest"].is_null());
    assert_eq!(of("a/x")["inode"], of("third")["inode"]);

    let (metadata, footer) = parquet_footer(&file);
    assert_eq!(footer["indexer.root"], root.to_str().unwrap());
    assert_eq!(footer["indexer.watermark"], told["watermark"].to_string());
    assert_eq!(footer["indexer.epoch"], told["epoch"].as_str().unwrap());
    assert_eq!(
        (footer["indexer.schema"].as_str(), footer["indexer.tool"].starts_with("indexer ")),
        ("1", true)
    );
    let group = metadata.row_group(0);
    let sorting = group.sorting_columns().unwrap();
    assert_eq!((sorting.len(), sorting[0].column_idx, sorting[0].descending), (1, 0, false));
    let paths = group.column(0).statistics().unwrap();
    let last = rows.last().map(|row| text(row, "path").as_bytes());
    assert_eq!((paths.max_bytes_opt(), paths.max_is_exact()), (last, true), "not cut off");
    assert_eq!(told["rows"].as_u64(), Some(rows.len() as u64));
    assert_eq!(told["bytes"].as_u64(), Some(file.symlink_metadata().unwrap().len()));
    assert_eq!(told["roots"][0]["blake3"], digest(&file));

    // A daemon tells the same, digests among it.
    let flags: [&str; 2] = ["--hash", "full"];
    let daemon = Daemon::start(&ground.state(), &[root], &flags);
    done(&daemon.run(&[&"hash", &root.join("a")]));
    daemon.settle();
    let asked = ground.beside("asked.parquet");
    summary(&daemon.run(&[&"snapshot", &"--root", &root, &"--output", &asked, &"--json"]));
    let again = parquet_rows(&asked);
    check_rows(&again, root);
    let hashed = again.iter().find(|row| text(row, "path").ends_with("/a/x.TXT")).unwrap();
    assert_eq!(text(hashed, "digest"), digest(&root.join("a/x.TXT")));
    assert_eq!((text(hashed, "digest_kind"), hashed["digest_time"].is_i64()), ("blake3", true));
}

#[test]
fn the_eleven_columns_of_an_older_scanner() {
    let ground = scanned();
    let (root, file) = (ground.root(), ground.beside("unix.parquet"));
    done(&indexer(&ground.state(), &[&"snapshot", &"-o", &file, &"--compat", &"unix", &"--threads", &"1"]));
    let (metadata, footer) = parquet_footer(&file);
    assert_eq!(footer["indexer.schema"], "unix-1");
    let columns = metadata.file_metadata().schema_descr().columns().iter();
    let columns: Vec<String> = columns
        .map(|column| {
            let logical = column.logical_type_ref().map(|logical| format!("{logical:?}"));
            format!("{} {} {}", column.name(), column.physical_type(), logical.unwrap_or_default())
        })
        .collect();
    let unsigned = |bits: u8| format!("Integer(IntType {{ bit_width: {bits}, is_signed: false }})");
    assert_eq!(
        columns,
        [
            "path BYTE_ARRAY String".to_owned(),
            format!("size INT64 {}", unsigned(64)),
            "modified_time INT64 ".to_owned(),
            "accessed_time INT64 ".to_owned(),
            "created_time INT64 ".to_owned(),
            "file_type BYTE_ARRAY String".to_owned(),
            format!("inode INT64 {}", unsigned(64)),
            format!("permissions INT32 {}", unsigned(32)),
            "parent_path BYTE_ARRAY String".to_owned(),
            format!("depth INT32 {}", unsigned(32)),
            "top_level_dir BYTE_ARRAY String".to_owned(),
        ]
    );
    let rows = parquet_rows(&file);
    check_paths(&rows, root.to_str().unwrap());
    let walk = independent_walk(root);
    assert_eq!(rows.len(), walk.len());
    for row in &rows {
        // Names that are no text have no other column here.
        let Some(stat) = walk.get(text(row, "path").as_bytes()) else {
            assert!(text(row, "path").contains("\\x"), "{row:?}");
            continue;
        };
        assert_eq!(
            (&row["size"], &row["modified_time"], &row["inode"], &row["permissions"]),
            (
                &json!(stat.size),
                &json!(i64::try_from(stat.modified_ns.div_euclid(1_000_000_000)).unwrap()),
                &json!(stat.inode),
                &json!(stat.mode)
            )
        );
    }
}

/// Rows as `find` would give them, but for times, which are microseconds.
fn as_found(rows: &[Map<String, Value>]) -> BTreeMap<Vec<u8>, Value> {
    let entry = |row: &Map<String, Value>| {
        json!({
            "path": row["path"], "kind": row["kind"], "size": row["size"], "allocated": row["allocated"],
            "modified_ns": row["modified_time"], "changed_ns": row["changed_time"],
            "created_ns": row["created_time"], "accessed_ns": row["accessed_time"],
            "mode": row["permissions"], "uid": row["uid"], "gid": row["gid"], "links": row["links"],
            "inode": row["inode"], "volume": row["volume"], "category": row["category"],
            "digest": row["digest"].as_str().map(|hex| format!("{}:{hex}", text(row, "digest_kind"))),
        })
    };
    rows.iter().map(|row| (path_of(row), entry(row))).collect()
}

/// Every time in a record as a snapshot has it.
fn cut(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_number().and_then(serde_json::Number::as_i128) {
                    Some(ns) if name.ends_with("_ns") => *value = micros(ns),
                    _ => cut(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(cut),
        _ => {}
    }
}

/// R5: taken while the tree changes, a snapshot and the records after it make the next.
#[test]
fn r5_a_snapshot_and_the_records_after_it_make_the_next() {
    let ground = Place::Here.open().unwrap();
    fill(ground.root());
    let root = ground.root();
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    let work = root.join("work");
    fs::create_dir(&work).unwrap();
    let workload = Workload { seed: 11, threads: 1 };
    let mut taken: Vec<(u64, Vec<Map<String, Value>>)> = Vec::new();
    for round in 0..6 {
        let file = ground.beside(&format!("{round}.parquet"));
        let take = || summary(&daemon.run(&[&"snapshot", &"--output", &file, &"--json"]));
        // Beside the work, but for the last one.
        let told = if round < 5 { workload.around(&work, take).0 } else { take() };
        taken.push((told["watermark"].as_u64().unwrap(), parquet_rows(&file)));
        daemon.settle();
    }
    let mut changes = daemon.changes(0);
    changes.iter_mut().for_each(cut);
    let mut moved = 0;
    for pair in taken.windows(2) {
        let ((from, before), (to, after)) = (&pair[0], &pair[1]);
        let mut rows = Rows::of_find(&as_found(before));
        let between = changes.iter().filter(|change| {
            let seq = change["seq"].as_u64().unwrap();
            *from < seq && seq <= *to
        });
        for change in between {
            rows.apply(change);
            moved += 1;
        }
        // A file whose name another took, and that has not shown a new one, is on no path.
        let differences = rows.on_paths().differences(&Rows::of_find(&as_found(after)));
        assert!(differences.is_empty(), "{from} to {to}: {differences:#?}");
    }
    assert!(moved > 100, "too little went on: {moved}");
    let (_, last) = taken.last().unwrap();
    daemon.settle();
    assert_eq!(independent_walk(root).len(), last.len());
}

#[test]
fn the_growth_of_the_index_is_told() {
    let ground = scanned();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    let file = ground.beside("x.parquet");
    let told = summary(&daemon.run(&[&"snapshot", &"--output", &file, &"--json", &"--max-growth", &"1GiB"]));
    assert!(told["index_grown"].is_u64() && told["held_ms"].is_u64());
    let said = daemon.run(&[&"snapshot", &"--output", &file, &"--max-growth", &"nonsense"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    daemon.assert_exact(ground.root());
}

/// The engines that people read snapshots with, in the versions that were tried.
const ENGINES: [&str; 4] = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1", "chdb==4.4.0"];

/// Runs the script beside this file on `file` and, with it, a folder; what it made of them.
fn engines(python: &Path, packages: &Path, file: &Path, folder: &Path) -> Value {
    let schema = parquet_footer(file).0.file_metadata().schema_descr_ptr();
    let values =
        |row: &Map<String, Value>| schema.columns().iter().map(|column| row[column.name()].clone()).collect();
    let expected: String =
        parquet_rows(file).iter().map(|row| format!("{}\n", Value::Array(values(row)))).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshot/engines.py");
    let input = file.with_extension("jsonl");
    fs::write(&input, expected).unwrap();
    let said = Command::new(python)
        .arg(script)
        .args([file, folder])
        .env("PYTHONPATH", packages)
        .stdin(File::open(&input).unwrap())
        .output()
        .unwrap();
    done(&said);
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn duckdb_polars_pyarrow_and_clickhouse_read_it_and_agree() {
    let ground = scanned();
    let packages = ground.beside("packages");
    let python = match python_with(&packages, &ENGINES) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    let daemon = Daemon::start(&ground.state(), &[ground.root()], &["--hash", "full"]);
    done(&daemon.run(&[&"hash", &ground.root()]));
    let folder = ground.beside("hive");
    done(&daemon.run(&[&"snapshot", &"--output", &folder]));
    for (name, more) in [("native", &[][..]), ("unix", &["--compat", "unix"])] {
        let file = ground.beside(&format!("{name}.parquet"));
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"snapshot", &"--output", &file];
        words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        done(&daemon.run(&words));
        let rows = parquet_footer(&file).0.file_metadata().num_rows();
        let said = engines(&python, &packages, &file, &folder);
        for engine in ["by_duckdb", "by_polars", "by_pyarrow", "by_clickhouse"] {
            assert_eq!(said[engine], json!({"rows": rows, "wrong": null}), "{engine} of {name}");
        }
        for engine in ["duckdb", "polars", "pyarrow"] {
            assert_eq!(said["roots"][engine], json!([ground.root()]), "{engine}");
        }
    }
}
