//! The page of queries: what it says is asked of real engines, and is what the commands say that stand with each query.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use indexer_tests::{Ground, Place, done, indexer, json_lines, python_with, skipped};
use serde_json::{Value, json};

fn lines(ground: &Ground, words: &[&str]) -> Vec<Value> {
    let words: Vec<&dyn AsRef<OsStr>> = words.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
    let said = indexer(&ground.state(), &words);
    done(&said);
    json_lines(&said)
}

/// Extensions, owners, old files, hard links, holes, equal files, numbers as names.
fn fill(root: &Path) {
    for dir in ["music", "photos/2020", "42"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for number in 0_usize..6 {
            let name = root.join(dir).join(format!("{number}.{}", ["jpg", "TXT", "d"][number % 3]));
            fs::write(&name, format!("{}{}", "x".repeat(number * 700), number % 4)).unwrap();
            if number % 2 == 0 {
                let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
                File::options().write(true).open(&name).unwrap().set_modified(old).unwrap();
            }
        }
    }
    fs::write(root.join("none"), "").unwrap();
    fs::hard_link(root.join("music/1.TXT"), root.join("42/again.TXT")).unwrap();
    File::create(root.join("hole.img")).unwrap().set_len(10 << 20).unwrap();
    if std::os::unix::fs::chown(root.join("none"), Some(1), Some(1)).is_ok() {
        std::os::unix::fs::chown(root.join("hole.img"), Some(54321), None).unwrap();
    }
}

/// Of `rows` those fields that `like` has, in an order of their own.
fn picked(rows: &[Value], like: &[Value]) -> Vec<String> {
    let fields: Vec<&String> =
        like.first().and_then(Value::as_object).map(|row| row.keys().collect()).unwrap();
    let mut rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = fields.iter().map(|field| match &row[field] {
                // What has no extension has none here, and an empty one there; 42 is a name as well.
                Value::Null => json!(""),
                Value::Number(number) => json!(number.to_string()),
                other => other.clone(),
            });
            Value::Array(cells.collect()).to_string()
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn engines_say_what_reports_say() {
    let ground = Place::Here.open().unwrap();
    let (root, packages, top) = (ground.root(), ground.beside("packages"), ground.beside("snapshots"));
    let python = match python_with(&packages, &["duckdb==2.0.0", "chdb==4.4.0"]) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    fill(root);
    let scan = || done(&indexer(&ground.state(), &[&"scan", &"--hash", &"full", &root]));
    let roll = || done(&indexer(&ground.state(), &[&"snapshots", &"roll", &"--output", &top]));
    scan();
    roll();
    // That of yesterday: its folder is called so.
    let first = lines(&ground, &["snapshots", "list", top.to_str().unwrap(), "--json"])[0]["folder"].clone();
    let first = Path::new(first.as_str().unwrap());
    let before = first.with_file_name("date=2001-02-03");
    fs::rename(first, &before).unwrap();
    fs::remove_file(root.join("music/5.d")).unwrap();
    fs::write(root.join("photos/new.mkv"), "x".repeat(99_999)).unwrap();
    fs::write(root.join("photos/2020/0.jpg"), "longer than it was").unwrap();
    scan();
    roll();

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/queries.md");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries/ask.py");
    let mut command = Command::new(python);
    command.arg(script).arg(&page).env("PYTHONPATH", &packages).current_dir(ground.beside(""));
    for engine in ["duckdb", "clickhouse"] {
        let said = indexer(&ground.state(), &[&"schema", &engine]);
        done(&said);
        let file = ground.beside(engine).with_extension("sql");
        fs::write(&file, said.stdout).unwrap();
        command.arg(file);
    }
    let said = command.output().unwrap();
    done(&said);
    let answers: Value = serde_json::from_slice(&said.stdout).unwrap();

    let before = before.join("snapshot.parquet");
    let mut largest = lines(&ground, &["find", root.to_str().unwrap(), "--type", "file", "--json"]);
    largest.sort_by_key(|entry| std::cmp::Reverse(entry["size"].as_u64()));
    largest.retain(|entry| entry["path"] != root.join("music/1.TXT").to_str().unwrap());
    largest.truncate(20);
    let mut equal = lines(&ground, &["dups", "--files", "--json"]);
    for set in &mut equal {
        set["copies"] = json!(set["paths"].as_array().unwrap().len());
    }
    let report = |words: &[&str]| {
        let mut all = vec!["report"];
        all.extend(words);
        all.push("--json");
        lines(&ground, &all)
    };
    let expected = [
        ("By owner", report(&["owners"])),
        ("By type", report(&["types"])),
        ("Stale", report(&["stale", "--older-than", "2y"])),
        ("Growth", report(&["growth", "--by", "type", "--since", before.to_str().unwrap()])),
        ("Largest files", largest),
        ("Duplicates", equal),
    ];
    for engine in ["DuckDB", "ClickHouse"] {
        assert_eq!(
            answers[engine].as_object().unwrap().len(),
            expected.len(),
            "each has a command: {engine}"
        );
        for (heading, rows) in &expected {
            let told = answers[engine][heading].as_array().unwrap();
            assert!(!told.is_empty(), "{engine}, {heading}");
            assert_eq!(picked(told, told), picked(rows, told), "{engine}, {heading}");
        }
    }
}
