//! `indexer scan --path --output`: rows straight from a walk, in one file or in chunks, each as an independent walk finds the entry; and a
//! scan that is cut off anywhere goes on with no row lost or doubled.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indexer_tests::{
    Ground, Place, Rng, TmpfsMount, blake3_of, columns_of, done, independent_walk, independent_walk_without,
    indexer, indexer_binary, json_lines, parquet_footer, parquet_rows, python_with, skipped, stderr,
    unprivileged, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

type Row = Map<String, Value>;
/// Rows by the bytes of their path.
type Rows = BTreeMap<Vec<u8>, Row>;

/// Names that are easily confused, several levels, a file with two names, links, and many directories.
fn fill(root: &Path, directories: usize) {
    for dir in ["a", "a!", "a.d", "b/c", "b.c"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for name in ["x", "x.TXT", "line\nbreak", "back\\slash", "ü.tar.gz", ".hidden"] {
            fs::write(root.join(dir).join(name), name.repeat(dir.len())).unwrap();
        }
    }
    for name in [b"torn\xff".as_slice(), b"torn\\xff", b"torn\\xff\\", b"torn\\\xfe", b"\xc3", b"\\xc3"] {
        let dir = root.join("b").join(OsStr::from_bytes(name));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("below"), "x").unwrap();
        fs::write(dir.join(OsStr::from_bytes(b"\xfe")), "xy").unwrap();
        fs::write(dir.join(OsStr::from_bytes(b"\\xfe")), "xyz").unwrap();
    }
    fs::hard_link(root.join("a/x"), root.join("b/c/again")).unwrap();
    symlink("a/x", root.join("link.txt")).unwrap();
    symlink("nowhere", root.join("b/nowhere")).unwrap();
    for number in 0..directories {
        let dir = root.join(format!("many/{}/{}/{number}", number % 3, number % 7));
        fs::create_dir_all(&dir).unwrap();
        (0..number % 30).for_each(|file| fs::write(dir.join(format!("{file}.dat")), "").unwrap());
    }
    let deep = root.join("deep").join(["d"; 60].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), "x").unwrap();
}

fn ground(directories: usize) -> Ground {
    let ground = Place::Here.open().unwrap();
    fill(ground.root(), directories);
    ground
}

/// Runs `scan --path ROOT --output OUTPUT …`.
fn scan(ground: &Ground, output: &Path, more: &[&str]) -> Output {
    let root = ground.root();
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"scan", &"--path", &root, &"--output", &output];
    words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
    indexer(&ground.state(), &words)
}

/// The one object that a scan prints.
fn summary(said: &Output) -> Value {
    done(said);
    let lines = json_lines(said);
    assert_eq!(lines.len(), 1);
    lines[0].clone()
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row:?}"))
}

/// The bytes of a row's path, where it has all columns.
fn path_of(row: &Row) -> Vec<u8> {
    let unhex = |text: &str| {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    row["path_raw"].as_str().map_or_else(|| text(row, "path").as_bytes().to_vec(), unhex)
}

/// The rows of a file, which stand in the order of their paths.
fn in_order(file: &Path) -> Vec<Row> {
    let rows = parquet_rows(file);
    for pair in rows.windows(2) {
        assert!(text(&pair[0], "path").as_bytes() < text(&pair[1], "path").as_bytes(), "{pair:?}");
    }
    let (metadata, footer) = parquet_footer(file);
    let sorting = metadata.row_group(0).sorting_columns().unwrap();
    assert_eq!((sorting.len(), sorting[0].column_idx, sorting[0].descending), (1, 0, false));
    assert!(!footer.contains_key("indexer.epoch") && !footer.contains_key("indexer.watermark"), "{footer:?}");
    assert!(!footer["indexer.scan"].is_empty());
    rows
}

/// Adds rows, none of which was there.
fn add(all: &mut Rows, rows: Vec<Row>) {
    for row in rows {
        if let Some(twice) = all.insert(path_of(&row), row) {
            panic!("there twice: {twice:?}");
        }
    }
}

fn manifest_at(output: &Path) -> Option<Value> {
    let name = format!("{}_manifest.json", output.file_stem().unwrap().to_str().unwrap());
    let text = fs::read(output.with_file_name(name)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn chunk(output: &Path, number: usize) -> PathBuf {
    let stem = output.file_stem().unwrap().to_str().unwrap();
    output.with_file_name(format!("{stem}_chunk_{number:04}.parquet"))
}

/// All rows of the chunks that a manifest names, each whole and where it says.
fn in_chunks(output: &Path) -> Rows {
    let manifest = manifest_at(output).unwrap();
    let chunks = manifest["chunks"].as_array().unwrap();
    assert_eq!(manifest["chunk_count"], chunks.len());
    let mut all = Rows::new();
    for (at, told) in chunks.iter().enumerate() {
        let file = chunk(output, at + 1);
        assert_eq!(told["file_path"], file.to_str().unwrap());
        let rows = in_order(&file);
        assert_eq!(told["rows"], rows.len());
        assert_eq!(told["bytes"], file.symlink_metadata().unwrap().len());
        assert_eq!(
            format!("blake3:{}", text(told.as_object().unwrap(), "blake3")),
            blake3_of(&file).unwrap()
        );
        add(&mut all, rows);
    }
    assert_eq!(manifest["total_rows"], all.len());
    all
}

/// Each name once, with all columns, as the walk finds it.
fn check(rows: &Rows, root: &Path) {
    let walk = independent_walk(root);
    let walked: BTreeSet<&Vec<u8>> = walk.keys().collect();
    assert_eq!(rows.keys().collect::<BTreeSet<_>>(), walked);
    let texts: BTreeMap<&str, &Row> = rows.values().map(|row| (text(row, "path"), row)).collect();
    assert_eq!(texts.len(), rows.len(), "two rows of one text");
    for (path, row) in rows {
        let stat = &walk[path];
        for (column, value) in columns_of(stat) {
            assert_eq!(row[column], value, "{column} of {}", path.escape_ascii());
        }
        assert!(row["digest"].is_null() && row["volume"].as_i64().unwrap() > 0);
        assert_eq!(row["category"].is_null(), stat.kind != "file", "{row:?}");
        let told = text(row, "path");
        if told == root.to_str().unwrap() {
            assert_eq!((&row["depth"], text(row, "top_level_dir")), (&json!(0), ""));
            continue;
        }
        // A directory's text is the one that stands before the names in it.
        let (parent, name) = told.rsplit_once('/').unwrap();
        assert_eq!((text(row, "parent_path"), text(row, "name")), (parent, name));
        assert_eq!(row["depth"].as_i64(), texts[parent]["depth"].as_i64().map(|depth| depth + 1));
        assert!(path.starts_with(&path_of(texts[parent])));
    }
}

#[test]
fn every_row_is_as_a_walk_finds_the_entry_and_chunks_have_the_same_ones() {
    let ground = ground(60);
    let (one, many) = (ground.beside("one.parquet"), ground.beside("many.parquet"));
    let told = summary(&scan(&ground, &one, &["--compat", "none", "--json", "-t", "3", "-b", "100"]));
    let mut rows = Rows::new();
    add(&mut rows, in_order(&one));
    assert_eq!((&told["rows"], &told["completed"]), (&json!(rows.len()), &json!(true)));
    assert_eq!(told["files"][0]["file_path"], one.to_str().unwrap());
    assert_eq!((&told["files"][0]["rows"], &told["unreadable"]), (&json!(rows.len()), &json!(0)));

    let words = ["--compat", "none", "--incremental", "--rows-per-chunk", "70"];
    done(&scan(&ground, &many, &words));
    let manifest = manifest_at(&many).unwrap();
    assert_eq!(manifest["completed"], true);
    assert_eq!(manifest["finished_directories"], json!([{"path": ground.root()}]));
    assert_eq!(manifest["listed_directories"], json!([]));
    assert!(manifest["chunk_count"].as_u64().unwrap() > 5, "{manifest}");
    assert_eq!(in_chunks(&many), rows);
    // Last, since it reads directories as anybody does, and that moves their access times.
    check(&rows, ground.root());
    // Nothing is left to do, and that is said.
    let again = scan(&ground, &many, &["--compat", "none", "--resume"]);
    done(&again);
    assert!(stderr(&again).contains("complete"), "{}", stderr(&again));
    let refused = scan(&ground, &many, &words);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--resume") && stderr(&refused).contains("--force"));

    let state = fs::read_dir(ground.state()).map(Iterator::count);
    assert!(matches!(state, Err(_) | Ok(0)), "no state is made: {state:?}");
    let left = fs::read_dir(ground.beside("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<OsString> = left.filter(|name| name.as_bytes().starts_with(b".")).collect();
    assert_eq!(left, Vec::<OsString>::new());
}

#[test]
fn its_rows_are_those_of_a_snapshot_in_the_same_order() {
    let ground = ground(20);
    let (one, two) = (ground.beside("one.parquet"), ground.beside("two.parquet"));
    done(&scan(&ground, &one, &["--compat", "none"]));
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    done(&indexer(&ground.state(), &[&"snapshot", &"--output", &two]));
    // Numbers of file systems are the index's own there.
    let told = |file: &Path| {
        let mut rows = parquet_rows(file);
        rows.iter_mut().for_each(|row| assert!(row.remove("volume").is_some()));
        rows
    };
    let (scanned, kept) = (told(&one), told(&two));
    assert_eq!(scanned.len(), kept.len());
    for (scanned, kept) in scanned.iter().zip(&kept) {
        assert_eq!(scanned, kept);
    }
    let moved = scanned.iter().filter(|row| text(row, "path").ends_with('\\')).count();
    assert!(moved >= 3, "escapes that had to make way: {moved}");
}

#[test]
fn by_itself_it_writes_the_eleven_columns() {
    let ground = ground(3);
    let file = ground.beside("x.parquet");
    done(&scan(&ground, &file, &[]));
    let schema = parquet_footer(&file).0.file_metadata().schema_descr_ptr();
    let columns: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    let eleven = "path size modified_time accessed_time created_time file_type inode permissions parent_path depth top_level_dir";
    assert_eq!(columns, eleven.split(' ').collect::<Vec<_>>());
    let rows = in_order(&file);
    assert_eq!(scan(&ground, &file, &[]).status.code(), Some(2), "nothing is written over");
    // The same word as with `snapshot` says so too.
    done(&scan(&ground, &file, &["--compat", "unix", "--force"]));
    assert_eq!(parquet_rows(&file), rows);
    let walk = independent_walk(ground.root());
    assert_eq!(rows.len(), walk.len());
    let mut seen = 0;
    for row in &rows {
        // Names that are no text have no other column here.
        let Some(stat) = walk.get(text(row, "path").as_bytes()) else { continue };
        let seconds = i64::try_from(stat.modified_ns.div_euclid(1_000_000_000)).unwrap();
        assert_eq!((&row["size"], &row["inode"]), (&json!(stat.size), &json!(stat.inode)));
        assert_eq!((&row["modified_time"], &row["permissions"]), (&json!(seconds), &json!(stat.mode)));
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_directory_of_any_size_is_in_one_chunk() {
    let ground = ground(0);
    let large = ground.root().join("large");
    fs::create_dir(&large).unwrap();
    (0..40_000).for_each(|number| fs::write(large.join(format!("{number:0>60}")), "").unwrap());
    let output = ground.beside("x.parquet");
    done(&scan(&ground, &output, &["--compat", "none", "--incremental", "--rows-per-chunk", "100"]));
    let rows = in_chunks(&output);
    let sizes = manifest_at(&output).unwrap()["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| chunk["rows"].as_u64().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(sizes.iter().filter(|rows| **rows > 40_000).count(), 1, "{sizes:?}");
    done(&scan(&ground, &output, &["--compat", "none"]));
    let mut one = Rows::new();
    add(&mut one, in_order(&output));
    assert_eq!(one, rows);
    check(&rows, ground.root());
}

/// A scan under way.
fn begin(ground: &Ground, output: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(indexer_binary());
    command.arg("--state").arg(ground.state()).arg("scan").arg("-p").arg(ground.root()).arg("-o").arg(output);
    command.env_remove("INDEXER_CONFIG").env("XDG_CONFIG_HOME", ground.state()).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What is under a final name in the folder can be read to its end, now.
fn check_files(output: &Path) {
    for entry in fs::read_dir(output.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("parquet"))
            && !path.file_name().unwrap().as_bytes().starts_with(b".")
        {
            assert!(!parquet_rows(&path).is_empty(), "{}", path.display());
        }
    }
}

#[test]
fn killed_again_and_again_no_row_is_lost_or_doubled() {
    let ground = ground(250);
    let walked = independent_walk(ground.root()).len();
    let mut rng = Rng::new(17);
    let words = ["--compat", "none", "--resume", "--rows-per-chunk", "60", "-t", "4"];
    let (mut killed, mut between) = (0, 0);
    for round in 0..4 {
        let folder = ground.beside(&format!("{round}"));
        fs::create_dir(&folder).unwrap();
        let output = folder.join("scan.parquet");
        let mut times = 0;
        loop {
            let mut child = begin(&ground, &output, &words);
            // After some chunks, and then at any moment of the next ones.
            let there = (1..).take_while(|number| chunk(&output, *number).is_file()).count();
            let until = chunk(&output, there + rng.below(5) as usize);
            wait_for("some chunks", || {
                (until.is_file()
                    || until.ends_with("scan_chunk_0000.parquet")
                    || child.try_wait().unwrap().is_some())
                .then_some(())
            });
            let (began, after) = (Instant::now(), Duration::from_micros(rng.below(40_000)));
            while began.elapsed() < after {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            let ended = child.wait_with_output().unwrap();
            check_files(&output);
            if ended.status.success() {
                break;
            }
            assert_eq!(ended.status.code(), None, "{}", stderr(&ended));
            times += 1;
            if let Some(manifest) = manifest_at(&output) {
                let rows = in_chunks(&output);
                assert!(rows.len() <= walked);
                // Between a chunk and the manifest.
                let chunks = manifest["chunk_count"].as_u64().unwrap() as usize;
                between += u32::from(chunk(&output, chunks + 1).is_file());
            }
            assert!(times < 400, "it never ends");
        }
        killed += times;
        assert_eq!(manifest_at(&output).unwrap()["completed"], true);
        let rows = in_chunks(&output);
        check(&rows, ground.root());
        // Beyond the manifest's there is nothing that a pattern finds.
        let chunks = manifest_at(&output).unwrap()["chunk_count"].as_u64().unwrap();
        let mut found: Vec<OsString> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.retain(|name| name.to_str().is_none_or(|name| !name.starts_with("scan_chunk_")));
        assert_eq!(found, ["scan_manifest.json"]);
        assert_eq!(fs::read_dir(&folder).unwrap().count() as u64, chunks + 1);
    }
    println!("{killed} were killed, {between} of them between a chunk and the manifest");
    assert!(killed >= 40, "only {killed} were killed");
}

#[test]
fn a_signal_ends_it_with_all_that_was_listed_and_it_goes_on_at_any_directory() {
    let ground = ground(200);
    for (signal, name) in [(Signal::INT, "int"), (Signal::TERM, "term")] {
        let output = ground.beside(&format!("{name}.parquet"));
        let words = ["--compat", "none", "--incremental", "--rows-per-chunk", "20", "-t", "2"];
        let child = begin(&ground, &output, &words);
        let reading = AtomicBool::new(true);
        let said = std::thread::scope(|scope| {
            // What is in place can be read at each moment.
            scope.spawn(|| {
                while reading.load(Ordering::Relaxed) {
                    check_files(&output);
                }
            });
            wait_for("three chunks", || chunk(&output, 3).is_file().then_some(()));
            kill_process(Pid::from_child(&child), signal).unwrap();
            let said = child.wait_with_output().unwrap();
            reading.store(false, Ordering::Relaxed);
            said
        });
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("--resume"), "{}", stderr(&said));
        let before = manifest_at(&output).unwrap();
        assert_eq!(before["completed"], false);
        let rows = in_chunks(&output);
        let finished = before["finished_directories"].as_array().unwrap();
        let depth = |dir: &Value| dir["path"].as_str().unwrap().matches('/').count();
        let top = ground.root().to_str().unwrap().matches('/').count();
        assert!(finished.iter().any(|dir| depth(dir) > top + 1), "not at the top alone: {before}");

        let said = scan(&ground, &output, &["--compat", "none", "--resume", "--json", "-v"]);
        let told = summary(&said);
        assert!(stderr(&said).contains("passed over"), "{}", stderr(&said));
        let named = finished.iter().filter_map(|dir| dir["path"].as_str());
        assert!(named.clone().count() > 0, "{before}");
        for path in named.filter(|path| path.is_ascii()) {
            assert!(stderr(&said).contains(path), "{path} is not named: {}", stderr(&said));
        }
        assert_eq!(told["passed_over"], finished.len());
        let all = in_chunks(&output);
        check(&all, ground.root());
        assert_eq!(told["rows"], all.len());
        assert!(rows.iter().all(|(path, row)| all.get(path) == Some(row)), "what was written is as it was");
    }
}

/// The engines that people read such files with, in the versions that were tried.
const ENGINES: [&str; 4] = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1", "chdb==4.4.0"];

#[test]
fn engines_read_one_file_and_all_chunks_as_one_table() {
    let ground = ground(60);
    let packages = ground.beside("packages");
    let python = match python_with(&packages, &ENGINES) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    for columns in ["unix", "none"] {
        let (one, many) = (ground.beside("one.parquet"), ground.beside("many.parquet"));
        done(&scan(&ground, &one, &["--compat", columns, "--force"]));
        let words = ["--compat", columns, "--incremental", "--force", "--rows-per-chunk", "100"];
        done(&scan(&ground, &many, &words));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oneshot/engines.py");
        let manifest = many.with_file_name("many_manifest.json");
        let mut python = Command::new(&python);
        let said = python.arg(script).args([&one, &manifest]).env("PYTHONPATH", &packages).output().unwrap();
        done(&said);
        let told: Value = serde_json::from_slice(&said.stdout).unwrap();
        for engine in ["duckdb", "polars", "pyarrow", "clickhouse"] {
            assert_eq!(
                told[engine],
                json!([parquet_rows(&one).len(), true]),
                "{engine} of {columns}: {told}"
            );
        }
    }
}

/// All files of a folder, and what is in them.
fn contents(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn what_cannot_be_gone_on_from_is_said_and_left_alone() {
    let ground = ground(30);
    let folder = ground.beside("out");
    fs::create_dir(&folder).unwrap();
    let output = folder.join("x.parquet");
    let (manifest, first) = (folder.join("x_manifest.json"), chunk(&output, 1));
    done(&scan(&ground, &output, &["--incremental", "--rows-per-chunk", "40"]));
    // As if it had been cut off before its end.
    let mut cut = manifest_at(&output).unwrap();
    cut["completed"] = json!(false);
    fs::write(&manifest, cut.to_string()).unwrap();
    let whole = contents(&folder);
    let refused = |more: &[&str], code: i32, why: &str| {
        let before = contents(&folder);
        let said = scan(&ground, &output, more);
        assert_eq!(said.status.code(), Some(code), "{}", stderr(&said));
        assert!(stderr(&said).contains(why), "{why}: {}", stderr(&said));
        assert_eq!(contents(&folder), before, "{why}");
    };
    refused(&["--resume", "--max-depth", "2"], 2, "max_depth");
    refused(&["--resume", "--follow-symlinks"], 2, "follow_symlinks");
    refused(&["--resume", "--exclude", "*.dat"], 2, "exclude");
    refused(&["--resume", "--compat", "none"], 2, "columns are unix-1");
    refused(&["--incremental"], 2, "was begun there already");
    let root = ground.root().join("a");
    let said = indexer(&ground.state(), &[&"scan", &"-p", &root, &"-o", &output, &"--resume"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("its root is"), "{}", stderr(&said));

    let bytes = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    refused(&["--resume"], 3, "is missing");
    fs::write(&first, &bytes[..bytes.len() - 9]).unwrap();
    refused(&["--resume"], 3, "bytes");
    fs::write(&first, vec![b'x'; bytes.len()]).unwrap();
    refused(&["--resume"], 3, "not what was written");
    fs::write(&first, &bytes).unwrap();
    let foreign = chunk(&output, cut["chunk_count"].as_u64().unwrap() as usize + 1);
    fs::copy(&first, folder.join("other")).unwrap();
    fs::write(&foreign, "mine").unwrap();
    refused(&["--resume"], 2, "is there already");
    fs::remove_file(&foreign).unwrap();
    for torn in ["", "{", "[]", "{\"format\": 1}", &cut.to_string().replace("\"format\":1", "\"format\":9")] {
        fs::write(&manifest, torn).unwrap();
        refused(&["--resume"], 3, "no scan can go on");
        refused(&["--incremental"], 3, "no scan can go on");
    }
    fs::remove_file(&manifest).unwrap();
    refused(&["--incremental"], 2, "is there already");
    refused(&["--resume"], 2, "is there already");
    fs::write(&manifest, cut.to_string()).unwrap();
    fs::remove_file(folder.join("other")).unwrap();
    assert_eq!(contents(&folder), whole);
    // As it was left it goes on, and has nothing to do.
    done(&scan(&ground, &output, &["--resume"]));
    assert_eq!(manifest_at(&output).unwrap()["total_rows"], cut["total_rows"]);
    assert_eq!(manifest_at(&output).unwrap()["completed"], true);

    // Anew: what an earlier scan left goes, and nothing else.
    fs::write(folder.join("x_chunk_mine.parquet"), "mine").unwrap();
    fs::write(&manifest, "{").unwrap();
    done(&scan(&ground, &output, &["--incremental", "--force", "--compat", "none"]));
    check(&in_chunks(&output), ground.root());
    let mut names: Vec<OsString> = contents(&folder).into_keys().collect();
    names.sort();
    assert_eq!(names, ["x_chunk_0001.parquet", "x_chunk_mine.parquet", "x_manifest.json"]);
}

#[test]
fn flags_that_are_for_an_index_or_make_no_sense_are_refused() {
    let ground = ground(0);
    let (root, output) = (ground.root(), ground.beside("x.parquet"));
    let refused = |words: &[&dyn AsRef<OsStr>], why: &str| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"scan"];
        all.extend(words);
        let said = indexer(&ground.state(), &all);
        assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
        assert!(stderr(&said).contains(why), "{why}: {}", stderr(&said));
    };
    refused(&[&root, &"-p", &root, &"-o", &output], "ROOT");
    for flag in ["--hash=full", "--algorithm=blake3", "--hash-rate=1MiB", "--profile=default"] {
        let name = flag.split('=').next().unwrap();
        refused(&[&"-p", &root, &"-o", &output, &flag], name);
    }
    refused(&[&"-p", &root], "--output");
    refused(&[&"-o", &output], "--path");
    refused(&[&root, &"--resume"], "--path");
    refused(&[&"-p", &root, &"-o", &output, &"--rows-per-chunk", &"9"], "--incremental");
    refused(&[&"-p", &root, &"-o", &output, &"--resume", &"--force"], "--force");
    refused(&[&"-p", &root, &"-o", &output, &"-b", &"0"], "--batch-size");
    refused(&[&"-p", &root, &"-o", &output, &"-t", &"0"], "at least one");
    refused(&[&"-p", &root, &"-o", &ground.beside("folder")], "ends in .parquet");
    refused(&[&"-p", &root, &"-o", &"s3://bucket/x.parquet"], "with files alone");
    refused(&[&"-p", &root.join("a/x"), &"-o", &output], "not a directory");
    refused(&[&"-p", &root.join("none"), &"-o", &output], "does not exist");
    assert!(!output.try_exists().unwrap());
}

#[test]
fn levels_links_and_its_own_files() {
    let ground = ground(20);
    let (root, output) = (ground.root(), ground.beside("x.parquet"));
    let rows = |output: &Path, more: &[&str]| {
        let mut words = vec!["--compat", "none", "--force"];
        words.extend(more);
        done(&scan(&ground, output, &words));
        let mut rows = Rows::new();
        add(&mut rows, in_order(output));
        rows
    };
    let depth = |path: &[u8]| path[root.as_os_str().len()..].iter().filter(|&&byte| byte == b'/').count();
    for most in [0, 1, 2, 5] {
        let told = rows(&output, &["-m", &most.to_string()]);
        let walk = independent_walk(root);
        let wanted: BTreeSet<&Vec<u8>> = walk.keys().filter(|path| depth(path) <= most).collect();
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), wanted, "{most}");
    }

    let told = rows(&output, &["--exclude", "*.dat", "--exclude", "/deep/"]);
    let walk = independent_walk(root);
    let out =
        |path: &[u8]| path.ends_with(b".dat") || path.starts_with(root.join("deep").as_os_str().as_bytes());
    let wanted: BTreeSet<&Vec<u8>> = walk.keys().filter(|path| !out(path)).collect();
    assert_eq!(told.keys().collect::<BTreeSet<_>>(), wanted);

    // What it writes into the tree itself has no row, and nothing else goes missing by that.
    fs::write(root.join("a/inside.parquet"), "another's").unwrap();
    let inside = root.join("inside.parquet");
    let told = rows(&inside, &[]);
    assert_eq!(told.len(), independent_walk_without(root, &[&inside]).len());
    assert!(told.contains_key(root.join("a/inside.parquet").as_os_str().as_bytes()));
    fs::remove_file(&inside).unwrap();
    done(&scan(&ground, &inside, &["--compat", "none", "--incremental", "--rows-per-chunk", "30"]));
    let chunked = in_chunks(&inside);
    assert_eq!(chunked.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    for entry in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().as_bytes().starts_with(b"inside_") {
            fs::remove_file(entry).unwrap();
        }
    }

    // Links: out of the tree once, however many lead there, and never in circles.
    let other = ground.beside("other");
    fs::create_dir_all(other.join("sub")).unwrap();
    fs::write(other.join("sub/file"), "out").unwrap();
    symlink(root, other.join("back")).unwrap();
    symlink(&other, other.join("sub/self")).unwrap();
    for name in ["first", "second"] {
        symlink(&other, root.join(name)).unwrap();
    }
    symlink(root, root.join("b/circle")).unwrap();
    symlink(other.join("sub"), root.join("third")).unwrap();
    let plain = rows(&output, &[]);
    check(&plain, root);
    let followed = rows(&output, &["-f"]);
    let of = |name: &str| root.join(name).as_os_str().as_bytes().to_vec();
    for (name, kind) in [
        ("first", "directory"),
        ("first/sub", "directory"),
        ("first/sub/file", "file"),
        ("first/back", "symlink"),
        ("first/sub/self", "symlink"),
        ("second", "symlink"),
        ("third", "symlink"),
        ("b/circle", "symlink"),
    ] {
        assert_eq!(followed.get(&of(name)).map(|row| text(row, "kind")), Some(kind), "{name}");
    }
    assert_eq!(followed.len(), plain.len() + 4);
    let directories = followed.values().filter(|row| row["kind"] == "directory");
    let inodes: Vec<&Value> = directories.map(|row| &row["inode"]).collect();
    assert_eq!(inodes.len(), inodes.iter().map(|inode| inode.to_string()).collect::<BTreeSet<_>>().len());
    done(&scan(&ground, &output, &["--compat", "none", "--incremental", "-f", "--rows-per-chunk", "25"]));
    assert_eq!(in_chunks(&output), followed);
}

#[test]
fn a_full_disk_leaves_what_was_whole_and_it_goes_on_with_more_room() {
    let ground = ground(300);
    let mount = match TmpfsMount::new("size=160k") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let output = mount.path().join("x.parquet");
    let said = scan(&ground, &output, &["--compat", "none"]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(stderr(&said).contains("No space left"), "{}", stderr(&said));
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);

    let words = ["--compat", "none", "--resume", "--rows-per-chunk", "300"];
    let said = scan(&ground, &output, &words);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(
        stderr(&said).contains("No space left") && stderr(&said).contains("--resume"),
        "{}",
        stderr(&said)
    );
    check_files(&output);
    assert!(!in_chunks(&output).is_empty(), "some were whole before it was full");
    // Moved to where there is more room.
    let folder = ground.beside("moved");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in contents(mount.path()) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let output = folder.join("x.parquet");
    done(&scan(&ground, &output, &words));
    check(&in_chunks(&output), ground.root());
}

#[test]
fn what_may_not_be_read_or_written_is_said() {
    let ground = Place::Here.open().unwrap();
    let closed = ground.root().join("closed");
    fs::create_dir_all(closed.join("below")).unwrap();
    fs::create_dir_all(ground.root().join("open")).unwrap();
    fs::write(ground.root().join("open/file"), "x").unwrap();
    let program = ground.lend(indexer_binary());
    let run = |words: &[&dyn AsRef<OsStr>]| {
        let mut command = Command::new(&program);
        command.arg("--state").arg(ground.state()).args(words.iter().map(|word| word.as_ref()));
        command.env("HOME", ground.state()).env_remove("XDG_CONFIG_HOME");
        unprivileged(&mut command);
        command.output().unwrap()
    };
    let folder = ground.beside("out");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut names = Vec::new();
    for (name, more) in [("one", &[][..]), ("many", &["--incremental", "--rows-per-chunk", "1"])] {
        let output = folder.join(format!("{name}.parquet"));
        let root = ground.root();
        let mut words: Vec<&dyn AsRef<OsStr>> =
            vec![&"scan", &"-p", &root, &"-o", &output, &"--json", &"--compat", &"none"];
        words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        let said = run(&words);
        let told = summary(&said);
        assert_eq!((&told["unreadable"], &told["rows"]), (&json!(1), &json!(4)), "{}", stderr(&said));
        assert!(stderr(&said).contains("closed") && stderr(&said).contains("could not be looked at"));
        let rows =
            if more.is_empty() { in_order(&output) } else { in_chunks(&output).into_values().collect() };
        let told: BTreeSet<String> = rows.iter().map(|row| text(row, "name").to_owned()).collect();
        assert_eq!(told.len(), 4);
        assert!(told.contains("closed"), "it is there, and that is known: {told:?}");
        names.push(told);
    }
    assert_eq!(names[0], names[1]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();

    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    let before = contents(&folder);
    for more in ["--compat=none", "--incremental"] {
        let said = run(&[&"scan", &"-p", &ground.root(), &"-o", &folder.join("new.parquet"), &more]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("ermission denied"), "{}", stderr(&said));
        let said = run(&[&"scan", &"-p", &ground.root(), &"-o", &ground.beside("none/new.parquet"), &more]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("No such file"), "{}", stderr(&said));
    }
    assert_eq!(contents(&folder), before);
}

#[test]
fn what_changes_between_two_runs_is_taken_as_it_is_found() {
    let ground = ground(150);
    let output = ground.beside("x.parquet");
    let words = ["--compat", "none", "--resume", "--rows-per-chunk", "30", "-t", "1"];
    let mut child = begin(&ground, &output, &words);
    wait_for("two chunks", || chunk(&output, 2).is_file().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let before = in_chunks(&output);
    let manifest = manifest_at(&output).unwrap();
    assert_eq!(manifest["completed"], false, "cut off too late");
    // A directory whose listing is in a chunk gets another one, which nobody has listed.
    let listed = manifest["listed_directories"][0]["path"].as_str().unwrap();
    let new = Path::new(listed).join("new directory");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("file"), "x").unwrap();
    fs::write(Path::new(listed).join("new file"), "x").unwrap();
    done(&scan(&ground, &output, &words));
    let all = in_chunks(&output);
    let has = |path: &Path| all.contains_key(path.as_os_str().as_bytes());
    assert!(has(&new) && has(&new.join("file")), "what lies in no chunk is listed with itself");
    assert!(!has(&Path::new(listed).join("new file")), "what is written is not revised");
    assert!(before.iter().all(|(path, row)| all.get(path) == Some(row)));
}
